"""Every object of the cluster at one revision, with the indexes that controllers look things up by.

A snapshot must be a consistent cut: whatever was written before its revision is in it, of every resource. (One watch
over the whole registry gives that.) It does not change; `with_changes` makes the next one, which shares the
collections that did not change together with their indexes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, ItemsView, Iterable, Iterator, Mapping, ValuesView
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, cast

from trenza.cluster.controllers.objects import (
    Object,
    ObjectKey,
    finalizers_of,
    is_deleting,
    labels_of,
    namespace_of,
    owners_of,
    uid_of,
)

CONFIG_MAPS = "configmaps"
DAEMON_SETS = "apps/daemonsets"
DEPLOYMENTS = "apps/deployments"
ENDPOINTS = "endpoints"
ENDPOINT_SLICES = "discovery.k8s.io/endpointslices"
EVENTS = "events"
JOBS = "batch/jobs"
LEASES = "coordination.k8s.io/leases"
NAMESPACES = "namespaces"
NODES = "nodes"
PODS = "pods"
REPLICA_SETS = "apps/replicasets"
REPLICATION_CONTROLLERS = "replicationcontrollers"
SERVICES = "services"
SERVICE_ACCOUNTS = "serviceaccounts"


def resource_key(group: str, plural: str) -> str:
    """What a snapshot calls a resource: `apps/deployments`; those of the core group have their plural alone."""
    return f"{group}/{plural}" if group else plural


class OwnerPlace(NamedTuple):
    """An owner as an ownerReference names it, and the namespace of who names it."""

    version: str
    kind: str
    uid: str
    namespace: str


Bucket = dict[ObjectKey, Object]
Buckets = dict[Hashable, Bucket]
Index = Callable[[Object], Iterable[Hashable]]
"""Where an object is to be found."""

NOTHING: Final[Bucket] = {}


def _namespace(thing: Object) -> Iterable[Hashable]:
    return (namespace_of(thing),)


def _labels(thing: Object) -> Iterable[Hashable]:
    return [(namespace_of(thing), label, value) for label, value in labels_of(thing).items()]


def _owner_uids(thing: Object) -> Iterable[Hashable]:
    return [owner["uid"] for owner in owners_of(thing)]


def _owner_places(thing: Object) -> Iterable[Hashable]:
    space = namespace_of(thing)
    return [OwnerPlace(owner["apiVersion"], owner["kind"], owner["uid"], space) for owner in owners_of(thing)]


def _held(thing: Object) -> Iterable[Hashable]:
    return (True,) if is_deleting(thing) and finalizers_of(thing) else ()


def _uid(thing: Object) -> Iterable[Hashable]:
    return (uid_of(thing),)


def _places(index: Index, thing: Object | None) -> frozenset[Hashable]:
    """Where an index has an object: nowhere if it is too odd, as what people write into a store by hand may be."""
    try:
        return frozenset(() if thing is None else index(thing))
    except (AttributeError, KeyError, TypeError, ValueError):
        return frozenset()


class Collection(Mapping[ObjectKey, Object]):
    """The objects of one resource by namespace and name. It does not change; `with_changes` makes the next one.

    Indexes are made when first asked for and handed on to the next collection, which looks only at what has changed:
    a `Bucket` of an index is the same one for as long as nothing in it has changed.
    """

    def __init__(self, objects: Mapping[ObjectKey, Object], indexes: Mapping[Index, Buckets] | None = None) -> None:
        self._objects = objects
        self._indexes = dict(indexes or {})

    def __getitem__(self, key: ObjectKey) -> Object:
        return self._objects[key]

    def __iter__(self) -> Iterator[ObjectKey]:
        return iter(self._objects)

    def __len__(self) -> int:
        return len(self._objects)

    def values(self) -> ValuesView[Object]:
        return self._objects.values()

    def items(self) -> ItemsView[ObjectKey, Object]:
        return self._objects.items()

    def with_changes(self, changes: Mapping[ObjectKey, Object | None]) -> Collection:
        """The next collection: with these objects as they are now, without those that are None."""
        objects = dict(self._objects)
        indexes = {index: dict(buckets) for index, buckets in self._indexes.items()}
        ours: set[tuple[Index, Hashable]] = set()  # buckets that are no longer shared with this collection
        for key, now in changes.items():
            before = objects.get(key)
            if now is not None:
                objects[key] = now
            elif before is not None:
                del objects[key]
            for index, buckets in indexes.items():
                had, has = _places(index, before), _places(index, now)
                for place in had | has:
                    if (index, place) not in ours:
                        ours.add((index, place))
                        buckets[place] = dict(buckets.get(place, NOTHING))
                    if now is not None and place in has:
                        buckets[place][key] = now
                    else:
                        del buckets[place][key]
                    if not buckets[place]:
                        del buckets[place]
                        ours.discard((index, place))
        return Collection(objects, indexes)

    def _by(self, index: Index) -> Buckets:
        if index not in self._indexes:
            found: Buckets = {}
            for key, thing in self._objects.items():
                for place in _places(index, thing):
                    found.setdefault(place, {})[key] = thing
            self._indexes[index] = found
        return self._indexes[index]

    @property
    def references(self) -> Mapping[OwnerPlace, Bucket]:
        """The objects by each owner that they name, and by where they name it from."""
        return cast(Mapping[OwnerPlace, Bucket], self._by(_owner_places))

    @property
    def held(self) -> tuple[Object, ...]:
        """Those that are being deleted and that finalizers hold."""
        return tuple(self._by(_held).get(True, NOTHING).values())

    def in_namespace(self, namespace: str) -> list[Object]:
        return [*self._by(_namespace).get(namespace, NOTHING).values()]

    def carrying(self, namespace: str, labels: Mapping[str, str]) -> tuple[Bucket, ...]:
        """For each of `labels` those of the namespace that carry it. While none has changed, none is another object."""
        by_label = self._by(_labels)
        return tuple(by_label.get((namespace, *label), NOTHING) for label in labels.items())

    def labelled(self, namespace: str, labels: Mapping[str, str]) -> list[Object]:
        """Those of a namespace that carry every one of `labels`; all of the namespace for no labels."""
        if not labels:
            return self.in_namespace(namespace)
        candidates = min(self.carrying(namespace, labels), key=len)
        return [thing for thing in candidates.values() if labels.items() <= labels_of(thing).items()]

    def owned_by(self, uid: str) -> list[Object]:
        return [*self._by(_owner_uids).get(uid, NOTHING).values()]

    def find_uid(self, uid: str) -> Object | None:
        return next(iter(self._by(_uid).get(uid, NOTHING).values()), None)


@dataclass(frozen=True, slots=True)
class Change:
    """An object of `resource` is now `now`, or gone if that is None, since the store's `revision`."""

    resource: str
    key: ObjectKey
    now: Object | None
    revision: int


EMPTY = Collection({})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every object at `revision`. A resource without objects may be missing from `collections`.

    Whatever was written until `as_of_s` is in it, and whatever anybody had to say since `since_s` could be written: in
    the time outside, that nothing is heard of somebody says nothing about him.
    """

    collections: Mapping[str, Collection] = field(default_factory=dict)
    revision: int = 0
    since_s: float = 0.0
    as_of_s: float = math.inf

    @staticmethod
    def of(objects: Mapping[str, Mapping[ObjectKey, Object]], revision: int, read_s: float | None = None) -> Snapshot:
        """What a store held that was read at `read_s`; None: nobody asks when."""
        collections = {resource: Collection(dict(things)) for resource, things in objects.items()}
        return Snapshot(collections, revision) if read_s is None else Snapshot(collections, revision, read_s, read_s)

    def __getitem__(self, resource: str) -> Collection:
        return self.collections.get(resource, EMPTY)

    def with_changes(self, changes: Iterable[Change], revision: int) -> Snapshot:
        changed: dict[str, dict[ObjectKey, Object | None]] = {}
        for change in changes:
            changed.setdefault(change.resource, {})[change.key] = change.now
        collections = {name: self[name].with_changes(things) for name, things in changed.items()}
        return replace(self, collections={**self.collections, **collections}, revision=revision)
