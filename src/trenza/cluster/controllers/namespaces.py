"""The end of namespaces: everything in one that is being deleted goes, and then the namespace itself.

What is left is told in its conditions, in Kubernetes' words. The finalizer `kubernetes` of its spec goes last; the
registry removes a namespace that is being deleted and has no finalizer left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trenza.cluster.controllers.objects import (
    Object,
    finalizers_of,
    is_deleting,
    name_of,
    spec_of,
    status_of,
    with_condition,
    with_spec,
    with_status,
)
from trenza.cluster.controllers.snapshot import NAMESPACES, Snapshot
from trenza.cluster.controllers.writes import Delete, Step, Update, UpdateStatus, each

FINALIZER = "kubernetes"


def namespaces(snapshot: Snapshot, now_s: float) -> Iterator[Step]:
    ending = [thing for thing in snapshot[NAMESPACES].values() if is_deleting(thing)]
    return each(ending, lambda thing: _ending(snapshot, now_s, thing))


def is_ending(snapshot: Snapshot, namespace: str) -> bool:
    """It is being deleted: nothing can be made in it any more."""
    thing = snapshot[NAMESPACES].get(("", namespace))
    return thing is not None and is_deleting(thing)


def _ending(snapshot: Snapshot, now_s: float, thing: Object) -> Iterator[Step]:
    left: dict[str, list[Object]] = {}
    for resource, things in snapshot.collections.items():
        if resource != NAMESPACES and (inside := things.in_namespace(name_of(thing))):
            left[resource] = list(inside)
    for resource, inside in left.items():
        yield from (Delete(resource, one) for one in inside if not is_deleting(one))
    finalizers = spec_of(thing).get("finalizers") or []
    if not left and FINALIZER in finalizers:
        yield Update(
            NAMESPACES,
            with_spec(thing, finalizers=[one for one in finalizers if one != FINALIZER]),
            subresource="finalize",
        )
        return
    conditions = list(status_of(thing).get("conditions") or ())
    for condition in remaining_conditions(left):
        conditions = with_condition(conditions, condition, now_s)
    changed = with_status(thing, {"phase": "Terminating", "conditions": conditions})
    if changed["status"] != status_of(thing):
        yield UpdateStatus(NAMESPACES, changed)


def remaining_conditions(left: Mapping[str, list[Object]]) -> list[Object]:
    """What a namespace says of the objects that are still in it, by resource."""
    counts, finalizers = [], dict[str, int]()
    for resource, inside in sorted(left.items()):
        group, _, plural = resource.rpartition("/")
        counts.append(f"{plural}.{group} has {len(inside)} resource instances")
        for thing in inside:
            for finalizer in finalizers_of(thing):
                finalizers[finalizer] = finalizers.get(finalizer, 0) + 1
    held = [f"{finalizer} in {count} resource instances" for finalizer, count in sorted(finalizers.items())]

    def condition(kind: str, bad: str, good: str, lead: str, found: list[str], well: str) -> Object:
        if found:
            return {"type": kind, "status": "True", "reason": bad, "message": lead + ", ".join(found)}
        return {"type": kind, "status": "False", "reason": good, "message": well}

    return [
        condition(
            "NamespaceContentRemaining",
            "SomeResourcesRemain",
            "ContentRemoved",
            "Some resources are remaining: ",
            counts,
            "All content successfully removed",
        ),
        condition(
            "NamespaceFinalizersRemaining",
            "SomeFinalizersRemain",
            "ContentHasNoFinalizers",
            "Some content in the namespace has finalizers remaining: ",
            held,
            "All content-preserving finalizers finished",
        ),
    ]
