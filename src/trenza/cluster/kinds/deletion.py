"""What a DELETE does to an object: it is gone, or marked and waits for its grace, finalizers or dependents.

The body and the query say how; `deleted` decides. Who then removes what is marked: the node for pods, controllers for
finalizers, the collector for dependents.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from trenza.cluster.kinds.names import seconds_of, timestamp
from trenza.cluster.kinds.resources import Object, Resource
from trenza.cluster.kinds.status import Causes, conflict, invalid, uid_mismatch

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


class Propagation(StrEnum):
    """What becomes of dependents: removed after the owner, before it, or let go."""

    BACKGROUND = "Background"
    FOREGROUND = "Foreground"
    ORPHAN = "Orphan"


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """How to delete. `grace_s` None is the object's own; `propagation` None is the kind's default, Background."""

    grace_s: int | None = None
    propagation: Propagation | None = None
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Deletion:
    """`gone`: take it out of the store. Otherwise store `object`, which is marked."""

    gone: bool
    object: Object


def delete_options(body: Object, query: Mapping[str, str]) -> DeleteOptions:
    """The options of a decoded DeleteOptions body, else of the query. Raises a 422."""
    causes = Causes()
    said = {key: value for key, value in body.items() if key not in ("kind", "apiVersion")}
    grace = said.get("gracePeriodSeconds", query.get("gracePeriodSeconds") or None)
    policy = said.get("propagationPolicy") or query.get("propagationPolicy") or ""
    orphans = said.get("orphanDependents")
    dry_run = said.get("dryRun") or ([query["dryRun"]] if query.get("dryRun") else [])
    if isinstance(grace, str):
        grace = int(grace) if grace.isascii() and grace.lstrip("-").isdigit() and len(grace) < 19 else -1
    if grace is not None and grace < 0:
        causes.invalid("gracePeriodSeconds", grace, "must be greater than or equal to 0")
    if orphans is not None and policy:
        why = "orphanDependents and deletionPropagation cannot be both set"
        causes.invalid("propagationPolicy", policy, why)
    elif policy and policy not in tuple(Propagation):
        causes.unsupported("propagationPolicy", policy, ("Background", "Foreground", "Orphan", "nil"))
    if any(one != "All" for one in dry_run):
        causes.unsupported("dryRun", dry_run[0], ("All",))
    if causes.found:
        raise invalid("DeleteOptions.meta.k8s.io", "", causes.found)
    if orphans is not None:
        policy = Propagation.ORPHAN if orphans else Propagation.BACKGROUND
    preconditions = said.get("preconditions") or {}
    return DeleteOptions(
        grace,
        Propagation(policy) if policy else None,
        preconditions.get("uid", ""),
        preconditions.get("resourceVersion", ""),
        bool(dry_run),
    )


def deleted(resource: Resource, live: Object, options: DeleteOptions, now_s: float) -> Deletion:
    """What the deletion makes of the object. Raises a 409 where a precondition does not hold."""
    metadata = live["metadata"]
    if options.uid and options.uid != metadata.get("uid"):
        raise uid_mismatch(resource, metadata["name"], options.uid, metadata.get("uid", ""))
    version = metadata.get("resourceVersion", "")
    if options.resource_version and options.resource_version != version:
        why = "Precondition failed: ResourceVersion in precondition: "
        raise conflict(
            resource, metadata["name"], f"{why}{options.resource_version}, ResourceVersion in object meta: {version}"
        )
    marked = copy.deepcopy(live)
    finalizers = _finalizers(marked["metadata"].get("finalizers") or [], options.propagation)
    if finalizers:
        marked["metadata"]["finalizers"] = finalizers
    else:
        marked["metadata"].pop("finalizers", None)
    grace_s = _grace(resource, live, options)
    waits_for_namespace = resource.group_plural == "/namespaces" and bool((live.get("spec") or {}).get("finalizers"))
    if grace_s == 0 and not finalizers and not waits_for_namespace:
        return Deletion(True, live)
    _mark(marked, grace_s, now_s)
    if waits_for_namespace:
        marked["metadata"].pop("deletionGracePeriodSeconds", None)
        marked["status"] = {**(marked.get("status") or {}), "phase": "Terminating"}
    return Deletion(False, marked)


def is_gone(live: Object) -> bool:
    """Whether a marked object waits for nothing any more (its last finalizer went): take it out of the store."""
    metadata = live["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    if live.get("kind") == "Namespace":
        return not (live.get("spec") or {}).get("finalizers")
    return bool(metadata.get("deletionGracePeriodSeconds", 0) == 0)


def _finalizers(present: list[str], propagation: Propagation | None) -> list[str]:
    kept = [one for one in present if propagation is None or one not in (FOREGROUND, ORPHAN)]
    added = {Propagation.FOREGROUND: FOREGROUND, Propagation.ORPHAN: ORPHAN}
    return [*kept, added[propagation]] if propagation in added else kept


def _grace(resource: Resource, live: Object, options: DeleteOptions) -> int:
    """Only pods linger, and only those that a node may be running."""
    if resource.group_plural != "/pods":
        return 0
    spec, phase = live.get("spec") or {}, (live.get("status") or {}).get("phase")
    if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    asked = options.grace_s if options.grace_s is not None else spec.get("terminationGracePeriodSeconds", 30)
    before = live["metadata"].get("deletionGracePeriodSeconds")
    # A second deletion may hurry, never slow down.
    return int(asked if before is None or asked < before else before)


def _mark(marked: Object, grace_s: int, now_s: float) -> None:
    metadata = marked["metadata"]
    ends = seconds_of(metadata["deletionTimestamp"]) if metadata.get("deletionTimestamp") else None
    if ends is None or now_s + grace_s < ends:
        metadata["deletionTimestamp"] = timestamp(now_s + grace_s)
        metadata["deletionGracePeriodSeconds"] = grace_s
        if "generation" in metadata and ends is None:
            metadata["generation"] += 1
