"""What a DELETE does to an object: it goes at once, or is marked and waits for its node or its finalizers.

Pure. The options are a DeleteOptions body with the query's parameters in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trenza.cluster.controllers.garbage import FOREGROUND, ORPHAN
from trenza.cluster.kinds.names import seconds_of, timestamp
from trenza.cluster.kinds.resources import Object, Resource
from trenza.cluster.kinds.status import Causes, conflict, forbidden_because, invalid, uid_mismatch

POD_GRACE_S = 30
_POLICIES = ("Background", "Foreground", "Orphan")
# As real servers do, for whoever asks without a policy.
_ORPHANS_BY_DEFAULT = frozenset(("/replicationcontrollers", "batch/jobs"))
_LASTING_NAMESPACES = frozenset(("default", "kube-system", "kube-public", "kube-node-lease"))
ANSWERS_WITH_OBJECT = frozenset(("/pods", "/services", "/serviceaccounts", "/namespaces"))
"""Kinds whose DELETE answers with the object itself; strict clients refuse a Status there."""


@dataclass(frozen=True, slots=True)
class Marked:
    """The object stays, being deleted; equal to the old one if that had been so already."""

    object: Object


@dataclass(frozen=True, slots=True)
class Gone:
    """The object goes now."""


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """How to delete. `grace_s` and `policy` None leave it to the object and its kind."""

    grace_s: int | None = None
    policy: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    dry_run: bool = False


def delete_options(body: Mapping[str, Any]) -> DeleteOptions:
    """The options of a DeleteOptions object. Raises a 422."""
    causes = Causes()
    policy, orphan = body.get("propagationPolicy"), body.get("orphanDependents")
    if policy is not None and orphan is not None:
        causes.invalid("propagationPolicy", policy, "orphanDependents and deletionPropagation cannot be both set")
    elif policy is not None and policy not in _POLICIES:
        causes.unsupported("propagationPolicy", policy, (*_POLICIES, "nil"))
    dry_run = [str(one) for one in body.get("dryRun") or ()]
    for one in dry_run:
        if one != "All":
            causes.unsupported("dryRun", dry_run, ["All"])
    if causes.found:
        raise invalid("DeleteOptions.meta.k8s.io", "", causes.found)
    if orphan is not None:
        policy = "Orphan" if orphan else "Background"
    wanted = body.get("preconditions") or {}
    grace_s = body.get("gracePeriodSeconds")
    return DeleteOptions(grace_s, policy, wanted.get("uid"), wanted.get("resourceVersion"), bool(dry_run))


def deleted(resource: Resource, live: Object, options: DeleteOptions, now_s: float) -> Marked | Gone:
    """What becomes of `live`. Raises a 409 if it is not the object meant, a 403 for namespaces that have to stay."""
    metadata = live["metadata"]
    name = metadata["name"]
    if options.uid is not None and options.uid != metadata.get("uid", ""):
        raise uid_mismatch(resource, name, options.uid, metadata.get("uid", ""))
    if options.resource_version is not None and options.resource_version != metadata["resourceVersion"]:
        found = metadata["resourceVersion"]
        why = f"ResourceVersion in precondition: {options.resource_version}, ResourceVersion in object meta: {found}"
        raise conflict(resource, name, f"Precondition failed: {why}")
    if resource.group_plural == "/namespaces" and name in _LASTING_NAMESPACES:
        raise forbidden_because(resource, name, "this namespace may not be deleted")
    finalizers = _finalizers(resource, live, options)
    grace_s = _grace_s(resource, live, options)
    changed = {**metadata, "finalizers": finalizers}
    if not finalizers:
        changed.pop("finalizers")
    if "deletionTimestamp" not in metadata:
        changed |= {"deletionTimestamp": timestamp(now_s + grace_s), "deletionGracePeriodSeconds": grace_s}
        if "generation" in metadata:
            changed["generation"] = metadata["generation"] + 1
    elif grace_s < (known_s := metadata.get("deletionGracePeriodSeconds", 0)):  # it gets shorter, never longer
        asked_s = (seconds_of(metadata["deletionTimestamp"]) or now_s) - known_s
        changed |= {"deletionTimestamp": timestamp(asked_s + grace_s), "deletionGracePeriodSeconds": grace_s}
    marked = {**live, "metadata": changed}
    if resource.group_plural == "/namespaces":
        marked["status"] = {**(live.get("status") or {}), "phase": "Terminating"}
    return Gone() if may_go(resource, marked) else Marked(marked)


def may_go(resource: Resource, live: Object) -> bool:
    """Whether an object that is being deleted has nothing to wait for any more."""
    metadata = live["metadata"]
    if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
        return False
    if resource.group_plural == "/namespaces":
        return not (live.get("spec") or {}).get("finalizers")
    return not metadata.get("deletionGracePeriodSeconds")


def _finalizers(resource: Resource, live: Object, options: DeleteOptions) -> list[str]:
    kept = list(live["metadata"].get("finalizers") or ())
    policy = options.policy
    if policy is None:
        if FOREGROUND in kept or ORPHAN in kept:
            return kept
        policy = "Orphan" if resource.group_plural in _ORPHANS_BY_DEFAULT else "Background"
    kept = [one for one in kept if one not in (FOREGROUND, ORPHAN)]
    match policy:
        case "Foreground":
            kept.append(FOREGROUND)
        case "Orphan":
            kept.append(ORPHAN)
        case _:
            pass
    return kept


def _grace_s(resource: Resource, live: Object, options: DeleteOptions) -> int:
    """Only pods are given time: their node ends them, and confirms with a deletion without grace."""
    if resource.group_plural != "/pods":
        return 0
    spec, status = live.get("spec") or {}, live.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    grace_s = options.grace_s
    if grace_s is None:
        known = live["metadata"].get("deletionGracePeriodSeconds")
        grace_s = known if known is not None else spec.get("terminationGracePeriodSeconds", POD_GRACE_S)
    return grace_s if grace_s >= 0 else 1
