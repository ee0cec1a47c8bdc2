"""Every object of the cluster at one revision, with the indexes that controllers look things up by.

A snapshot must be a consistent cut: whatever was written before its revision is in it, of every resource. (One watch
over the whole registry gives that.) It does not change; `with_changes` makes the next one, which shares the
collections that did not change together with their indexes.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from trenza.cluster.controllers.objects import (
    Object,
    ObjectKey,
    finalizers_of,
    is_deleting,
    labels_of,
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


class Collection(Mapping[ObjectKey, Object]):
    """The objects of one resource by namespace and name. Indexes are made when first asked for."""

    def __init__(self, objects: Mapping[ObjectKey, Object]) -> None:
        self._objects = objects

    def __getitem__(self, key: ObjectKey) -> Object:
        return self._objects[key]

    def __iter__(self) -> Iterator[ObjectKey]:
        return iter(self._objects)

    def __len__(self) -> int:
        return len(self._objects)

    def copied(self) -> dict[ObjectKey, Object]:
        return dict(self._objects)

    def values(self) -> ValuesView[Object]:
        return self._objects.values()

    def items(self) -> ItemsView[ObjectKey, Object]:
        return self._objects.items()

    @cached_property
    def _of_namespace(self) -> Mapping[str, list[Object]]:
        found: dict[str, list[Object]] = {}
        for (namespace, _), thing in self._objects.items():
            found.setdefault(namespace, []).append(thing)
        return found

    @cached_property
    def _of_label(self) -> Mapping[tuple[str, str, str], list[Object]]:
        found: dict[tuple[str, str, str], list[Object]] = {}
        for (namespace, _), thing in self._objects.items():
            for label, value in labels_of(thing).items():
                found.setdefault((namespace, label, value), []).append(thing)
        return found

    @cached_property
    def _of_owner(self) -> Mapping[str, list[Object]]:
        found: dict[str, list[Object]] = {}
        for thing in self._objects.values():
            for owner in owners_of(thing):
                found.setdefault(owner["uid"], []).append(thing)
        return found

    @cached_property
    def references(self) -> Mapping[OwnerPlace, list[Object]]:
        """The objects by each owner that they name, and by where they name it from."""
        found: dict[OwnerPlace, list[Object]] = {}
        for (namespace, _), thing in self._objects.items():
            for owner in owners_of(thing):
                place = OwnerPlace(owner["apiVersion"], owner["kind"], owner["uid"], namespace)
                found.setdefault(place, []).append(thing)
        return found

    @cached_property
    def held(self) -> tuple[Object, ...]:
        """Those that are being deleted and that finalizers hold."""
        return tuple(thing for thing in self._objects.values() if is_deleting(thing) and finalizers_of(thing))

    @cached_property
    def _of_uid(self) -> Mapping[str, Object]:
        return {uid_of(thing): thing for thing in self._objects.values()}

    def in_namespace(self, namespace: str) -> list[Object]:
        return self._of_namespace.get(namespace, [])

    def labelled(self, namespace: str, labels: Mapping[str, str]) -> list[Object]:
        """Those of a namespace that carry every one of `labels`; all of the namespace for no labels."""
        if not labels:
            return self.in_namespace(namespace)
        candidates = min((self._of_label.get((namespace, *label), []) for label in labels.items()), key=len)
        return [thing for thing in candidates if labels.items() <= labels_of(thing).items()]

    def owned_by(self, uid: str) -> list[Object]:
        return self._of_owner.get(uid, [])

    def find_uid(self, uid: str) -> Object | None:
        return self._of_uid.get(uid)


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
    """Every object at `revision`. A resource without objects may be missing from `collections`."""

    collections: Mapping[str, Collection] = field(default_factory=dict)
    revision: int = 0

    @staticmethod
    def of(objects: Mapping[str, Mapping[ObjectKey, Object]], revision: int) -> Snapshot:
        return Snapshot({resource: Collection(dict(things)) for resource, things in objects.items()}, revision)

    def __getitem__(self, resource: str) -> Collection:
        return self.collections.get(resource, EMPTY)

    def with_changes(self, changes: Iterable[Change], revision: int) -> Snapshot:
        changed: dict[str, dict[ObjectKey, Object]] = {}
        for change in changes:
            if change.resource not in changed:
                changed[change.resource] = self[change.resource].copied()
            if change.now is None:
                changed[change.resource].pop(change.key, None)
            else:
                changed[change.resource][change.key] = change.now
        collections = {name: Collection(things) for name, things in changed.items()}
        return Snapshot({**self.collections, **collections}, revision)
