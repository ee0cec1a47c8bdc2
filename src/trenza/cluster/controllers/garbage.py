"""Garbage collection by ownerReferences: dependents go when their last owner has gone.

Background: the owner goes at once, dependents are found without it. Foreground: the owner is held by the finalizer
`foregroundDeletion` until no dependent blocks it. Orphan: it is held by `orphan` until no dependent names it.
An owner of a resource that is not served is left alone, and so are its dependents. Events, of which there are more
than of anything else, have no owners: nobody looks among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from trenza.cluster.controllers.objects import (
    Object,
    ObjectKey,
    finalizers_of,
    is_deleting,
    key_of,
    namespace_of,
    owners_of,
    uid_of,
    with_metadata,
)
from trenza.cluster.controllers.snapshot import EVENTS, Collection, OwnerPlace, Snapshot, resource_key
from trenza.cluster.controllers.writes import Delete, Propagation, Step, Update

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


def garbage(snapshot: Snapshot, now_s: float) -> Iterator[Step]:
    for resource, things in snapshot.collections.items():
        if resource == EVENTS:
            continue
        yield from _dangling(snapshot, resource, things)
        for thing in things.held:
            if ORPHAN in finalizers_of(thing):
                yield from _orphaning(snapshot, resource, thing)
            elif FOREGROUND in finalizers_of(thing) and not _blockers(snapshot, thing):
                yield Update(resource, without_finalizer(thing, FOREGROUND))


def without_finalizer(thing: Object, finalizer: str) -> Object:
    left = [each for each in finalizers_of(thing) if each != finalizer]
    return with_metadata(thing, finalizers=left or None)


@lru_cache
def owner_resource(version: str, kind: str) -> str:
    """The resource of an owner by its apiVersion and kind, by the rule that Kubernetes' plurals follow."""
    singular = kind.lower()
    if singular.endswith("s"):
        plural = singular if singular == "endpoints" else f"{singular}es"
    else:
        plural = f"{singular[:-1]}ies" if singular.endswith("y") and singular[-2] not in "aeiou" else f"{singular}s"
    return resource_key(version.rpartition("/")[0], plural)


def find_owner(snapshot: Snapshot, place: OwnerPlace) -> Object | None:
    """The owner that is meant: with that uid, in the same namespace or of the whole cluster."""
    owner = snapshot[owner_resource(place.version, place.kind)].find_uid(place.uid)
    return owner if owner is not None and namespace_of(owner) in ("", place.namespace) else None


def _dangling(snapshot: Snapshot, resource: str, things: Collection) -> Iterator[Step]:
    """Deletions and cut references of the objects of one resource whose owners have gone, or wait for them to go."""
    suspects: dict[ObjectKey, Object] = {}
    for place, dependents in things.references.items():
        owner = find_owner(snapshot, place)
        if owner is None or _waits(owner):
            suspects.update((key_of(thing), thing) for thing in dependents.values() if not is_deleting(thing))
    for thing in suspects.values():
        yield from _judged(snapshot, resource, thing)


def _judged(snapshot: Snapshot, resource: str, thing: Object) -> Iterator[Step]:
    solid, waiting = [], []
    for reference in owners_of(thing):
        place = OwnerPlace(reference["apiVersion"], reference["kind"], reference["uid"], namespace_of(thing))
        if owner_resource(place.version, place.kind) not in snapshot.collections:
            solid.append(reference)
            continue
        owner = find_owner(snapshot, place)
        if owner is not None and _waits(owner):
            waiting.append(reference)
        elif owner is not None:
            solid.append(reference)
    if solid:
        if len(solid) < len(owners_of(thing)):
            yield Update(resource, with_metadata(thing, ownerReferences=solid))
    elif waiting:
        # What blocks its owner and is itself an owner goes the same way, from the leaves up.
        has_dependents = any(things.owned_by(uid_of(thing)) for things in snapshot.collections.values())
        propagation = Propagation.FOREGROUND if has_dependents else Propagation.BACKGROUND
        yield Delete(resource, thing, propagation=propagation, unchanged=True)
    else:
        propagation = Propagation.ORPHAN if ORPHAN in finalizers_of(thing) else Propagation.BACKGROUND
        if FOREGROUND in finalizers_of(thing):
            propagation = Propagation.FOREGROUND
        yield Delete(resource, thing, propagation=propagation, unchanged=True)


def _waits(owner: Object) -> bool:
    """It is being deleted in the foreground and goes when its dependents have gone."""
    return is_deleting(owner) and FOREGROUND in finalizers_of(owner)


def _blockers(snapshot: Snapshot, owner: Object) -> bool:
    return any(
        reference.get("blockOwnerDeletion")
        for things in snapshot.collections.values()
        for thing in things.owned_by(uid_of(owner))
        for reference in owners_of(thing)
        if reference["uid"] == uid_of(owner) and namespace_of(owner) in ("", namespace_of(thing))
    )


def _orphaning(snapshot: Snapshot, resource: str, owner: Object) -> Iterator[Step]:
    """First every dependent forgets its owner; when none is left the owner goes."""
    left = True
    for of_resource, things in snapshot.collections.items():
        for thing in things.owned_by(uid_of(owner)):
            left = False
            others = [reference for reference in owners_of(thing) if reference["uid"] != uid_of(owner)]
            yield Update(of_resource, with_metadata(thing, ownerReferences=others or None))
    if left:
        yield Update(resource, without_finalizer(owner, ORPHAN))
