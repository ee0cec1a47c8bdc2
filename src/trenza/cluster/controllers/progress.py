"""What a deployment says of its rollout: its counts, and the conditions Available and Progressing in Kubernetes' words.

`kubectl rollout status` waits for the counts and gives up at the reason ProgressDeadlineExceeded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trenza.cluster.controllers.objects import (
    Object,
    condition_of,
    metadata_of,
    name_of,
    spec_of,
    status_of,
    time_s,
    with_condition,
)
from trenza.cluster.controllers.revisions import Revisions, available_of
from trenza.cluster.controllers.surge import Bounds
from trenza.cluster.controllers.writes import Step, Wake
from trenza.cluster.kinds.names import timestamp

FINISHED = "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened now and that the condition Progressing is to say."""

    status: str
    reason: str
    message: str


def paused_notice() -> Notice:
    return Notice("Unknown", PAUSED, "Deployment is paused")


def resumed_notice() -> Notice:
    return Notice("Unknown", "DeploymentResumed", "Deployment is resumed")


def created_notice(replica_set: str) -> Notice:
    return Notice("True", "NewReplicaSetCreated", f'Created new replica set "{replica_set}"')


def found_notice(deployment: Object, replica_set: Object) -> Notice | None:
    """For a deployment that says nothing yet, and whose replica set was there before it."""
    if condition_of(deployment, "Progressing") is not None:
        return None
    return Notice("True", "FoundNewReplicaSet", f'Found new replica set "{name_of(replica_set)}"')


def deadline_s(deployment: Object) -> int | None:
    """Seconds without progress after which a rollout counts as stuck; the largest int32 means never."""
    seconds = spec_of(deployment).get("progressDeadlineSeconds")
    return None if seconds is None or seconds >= 2**31 - 1 else int(seconds)


def rollout_status(deployment: Object, found: Revisions, bounds: Bounds, now_s: float) -> dict[str, Any]:
    """The fields of the status, conditions included, as the replica sets' own statuses add up to."""

    def together(field: str) -> int:
        return sum(int(status_of(thing).get(field) or 0) for thing in found.every)

    new = {} if found.new is None else status_of(found.new)
    available = sum(available_of(thing) for thing in found.every)
    fields: dict[str, Any] = {
        "observedGeneration": metadata_of(deployment).get("generation"),
        "replicas": together("replicas"),
        "updatedReplicas": int(new.get("replicas") or 0),
        "readyReplicas": together("readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, found.wanted_pods - available),
    }
    conditions = list(status_of(deployment).get("conditions") or ())
    if available >= bounds.least_available:
        words = Notice("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        words = Notice("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    conditions = _said(conditions, "Available", words, now_s)
    if deadline_s(deployment) is None:
        conditions = [condition for condition in conditions if condition["type"] != "Progressing"]
    elif not spec_of(deployment).get("paused") and (said := _progress(deployment, found, bounds, fields, now_s)):
        conditions = _said(conditions, "Progressing", said, now_s)
    return {**fields, "conditions": conditions}


def with_notice(deployment: Object, status: dict[str, Any], notice: Notice | None, now_s: float) -> dict[str, Any]:
    if notice is None or deadline_s(deployment) is None:
        return status
    return {**status, "conditions": _said(status["conditions"], "Progressing", notice, now_s)}


def deadline_steps(deployment: Object, now_s: float) -> Iterator[Step]:
    """The moment at which a rollout that is under way will have run out of time."""
    at_s = _deadline_at_s(deployment)
    if at_s is not None and at_s > now_s:
        yield Wake(at_s)


def is_complete(fields: dict[str, Any], bounds: Bounds) -> bool:
    return bool(fields["updatedReplicas"] == fields["replicas"] == fields["availableReplicas"] == bounds.wanted)


def _deadline_at_s(deployment: Object) -> float | None:
    seconds, said = deadline_s(deployment), condition_of(deployment, "Progressing")
    if seconds is None or said is None or said.get("reason") in (FINISHED, TIMED_OUT, PAUSED):
        return None
    return time_s(said.get("lastUpdateTime")) + seconds


def _progress(
    deployment: Object, found: Revisions, bounds: Bounds, fields: dict[str, Any], now_s: float
) -> Notice | None:
    before = status_of(deployment)
    said = condition_of(deployment, "Progressing") or {}
    subject = f'Deployment "{name_of(deployment)}"' if found.new is None else f'ReplicaSet "{name_of(found.new)}"'
    if said.get("reason") == FINISHED and fields["replicas"] == fields["updatedReplicas"]:
        return None  # over; scaling it or losing a pod does not start the clock again
    if is_complete(fields, bounds) and found.new is not None:
        return Notice("True", FINISHED, f"{subject} has successfully progressed.")

    def more(field: str) -> bool:
        return bool(fields[field] > int(before.get(field) or 0))

    old_before = int(before.get("replicas") or 0) - int(before.get("updatedReplicas") or 0)
    fewer_old = fields["replicas"] - fields["updatedReplicas"] < old_before
    if more("updatedReplicas") or more("readyReplicas") or more("availableReplicas") or fewer_old:
        return Notice("True", "ReplicaSetUpdated", f"{subject} is progressing.")
    at_s = _deadline_at_s(deployment)
    if at_s is not None and now_s >= at_s:
        return Notice("False", TIMED_OUT, f"{subject} has timed out progressing.")
    return None


def _said(conditions: list[Object], kind: str, words: Notice, now_s: float) -> list[Object]:
    """The conditions with these words; lastUpdateTime moves when they differ, or when progress is told again."""
    old = next((condition for condition in conditions if condition["type"] == kind), {})
    wanted = {"type": kind, "status": words.status, "reason": words.reason, "message": words.message}
    repeated = all(old.get(key) == value for key, value in wanted.items())
    if repeated and words.reason != "ReplicaSetUpdated":
        return conditions
    return with_condition(conditions, {**wanted, "lastUpdateTime": timestamp(now_s)}, now_s)
