"""Jobs: pods until enough have succeeded or too many have failed, and the job itself gone after its ttl.

What counts is the pods that are there: a finished pod that somebody deletes before the job has finished is run again.
(Kubernetes holds them with a finalizer since 1.26.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trenza.cluster.controllers.objects import (
    Object,
    condition_of,
    created_s,
    generated_name,
    is_controlled_by,
    is_deleting,
    name_of,
    oldest_first,
    spec_of,
    status_of,
    time_s,
    uid_of,
    with_condition,
    with_status,
)
from trenza.cluster.controllers.pods import (
    is_active,
    is_finished,
    is_ready,
    least_missed_first,
    phase_of,
    pod_from,
    restarts,
)
from trenza.cluster.controllers.snapshot import JOBS, PODS, Snapshot
from trenza.cluster.controllers.writes import Create, Delete, Event, Propagation, Step, UpdateStatus, Wake, each
from trenza.cluster.kinds.names import timestamp

COMPONENT = "job-controller"
FIRST_RETRY_S = 10.0
LONGEST_RETRY_S = 600.0


def jobs(snapshot: Snapshot, now_s: float, *, first_retry_s: float = FIRST_RETRY_S) -> Iterator[Step]:
    """`first_retry_s`: how long after a failure the next pod is tried; each failure doubles it, up to ten minutes."""

    def decide(thing: Object) -> Iterator[Step]:
        if not is_deleting(thing):
            pods = [pod for pod in snapshot[PODS].owned_by(uid_of(thing)) if is_controlled_by(pod, thing)]
            yield from _Work(snapshot, now_s, thing, pods, first_retry_s).steps()

    return each(snapshot[JOBS].values(), decide)


def generated_labels(job: Object) -> dict[str, str]:
    """The labels by which a job's pods are known, under their old and their new names."""
    named = {"controller-uid": uid_of(job), "job-name": name_of(job)}
    return {**{f"batch.kubernetes.io/{label}": value for label, value in named.items()}, **named}


def finished_at_s(job: Object) -> float | None:
    """When it completed or failed."""
    for kind in ("Complete", "Failed"):
        condition = condition_of(job, kind)
        if condition is not None and condition.get("status") == "True":
            return time_s(condition.get("lastTransitionTime"))
    return None


@dataclass(frozen=True, slots=True)
class _Work:
    snapshot: Snapshot
    now_s: float
    thing: Object
    pods: Sequence[Object]
    first_retry_s: float

    def steps(self) -> Iterator[Step]:
        done_s = finished_at_s(self.thing)
        if done_s is not None:
            yield from self._after(done_s)
            return
        spec = spec_of(self.thing)
        active = [pod for pod in self.pods if is_active(pod)]
        succeeded = sum(phase_of(pod) == "Succeeded" for pod in self.pods)
        failures = [pod for pod in self.pods if phase_of(pod) == "Failed"]
        if end := self._end(succeeded, len(failures) + self._restarts(active), active):
            kind, reason, message = end
            yield from (Delete(PODS, pod) for pod in active)
            yield self._status(0, succeeded, len(failures), (kind, reason, message))
            return
        if spec.get("suspend"):
            yield from (self._delete(pod) for pod in active)
        else:
            yield from self._staffed(active, succeeded, failures)
            limit_s = spec.get("activeDeadlineSeconds")
            started_s = time_s(status_of(self.thing).get("startTime"))
            if limit_s is not None and started_s and started_s + limit_s > self.now_s:
                yield Wake(started_s + limit_s)
        changed = self._status(len(active), succeeded, len(failures), None)
        if changed.object["status"] != status_of(self.thing):
            yield changed

    def _end(self, succeeded: int, failed: int, active: Sequence[Object]) -> tuple[str, str, str] | None:
        """Condition, reason and message of a job that is over."""
        spec = spec_of(self.thing)
        if failed > int(spec.get("backoffLimit", 6)):
            return "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        started_s = time_s(status_of(self.thing).get("startTime"))
        limit_s = spec.get("activeDeadlineSeconds")
        if limit_s is not None and started_s and self.now_s >= started_s + limit_s and not spec.get("suspend"):
            return "Failed", "DeadlineExceeded", "Job was active longer than specified deadline"
        completions = spec.get("completions")
        enough = succeeded >= completions if completions is not None else succeeded > 0 and not active
        if enough:
            return "Complete", "CompletionsReached", "Reached expected number of succeeded pods"
        return None

    def _restarts(self, active: Sequence[Object]) -> int:
        """Failures that the kubelet mended itself count too, where the template lets it."""
        policy = ((spec_of(self.thing).get("template") or {}).get("spec") or {}).get("restartPolicy")
        return sum(restarts(pod) for pod in active) if policy == "OnFailure" else 0

    def _staffed(self, active: Sequence[Object], succeeded: int, failures: Sequence[Object]) -> Iterator[Step]:
        spec = spec_of(self.thing)
        parallelism, completions = spec.get("parallelism", 1), spec.get("completions")
        if completions is not None:
            wanted = min(parallelism, completions - succeeded)
        else:
            wanted = len(active) if succeeded else parallelism
        # A pod on its way out has given up its place, unless the job wants to wait for its end.
        waits = spec.get("podReplacementPolicy") == "Failed"
        leaving = sum(is_deleting(pod) and not is_finished(pod) for pod in self.pods) if waits else 0
        missing = wanted - len(active) - leaving
        for pod in least_missed_first(active, active)[: max(0, len(active) - wanted)]:
            yield self._delete(pod)
        if missing > 0 and (again_s := self._retry_at_s(failures)) > self.now_s:
            yield Wake(again_s)
            return
        for number in range(missing):
            name = generated_name(f"{name_of(self.thing)}-", uid_of(self.thing), self.snapshot.revision, number)
            labels = generated_labels(self.thing)
            pod = pod_from(spec.get("template") or {}, self.thing, name, labels=labels)
            yield Create(PODS, pod, (self._event("SuccessfulCreate", f"Created pod: {name}"),))

    def _retry_at_s(self, failures: Sequence[Object]) -> float:
        """When the next pod may be tried: later with every failure since the last success."""
        good_s = max((_ended_s(pod) for pod in self.pods if phase_of(pod) == "Succeeded"), default=0.0)
        recent = [pod for pod in oldest_first(failures) if _ended_s(pod) >= good_s]
        if not recent:
            return 0.0
        delay_s = min(LONGEST_RETRY_S, self.first_retry_s * 2.0 ** min(20, len(recent) - 1))
        return max(_ended_s(pod) for pod in recent) + delay_s

    def _status(self, active: int, succeeded: int, failed: int, end: tuple[str, str, str] | None) -> UpdateStatus:
        conditions = list(status_of(self.thing).get("conditions") or ())
        told: list[Event] = []
        suspended = bool(spec_of(self.thing).get("suspend"))
        said = condition_of(self.thing, "Suspended")
        if end is None and suspended != (said is not None and said.get("status") == "True"):
            word = "Suspended" if suspended else "Resumed"
            if suspended or said is not None:
                message = f"Job {word.lower()}"
                wanted = self._condition("Suspended", "True" if suspended else "False", f"Job{word}", message)
                conditions = with_condition(conditions, wanted, self.now_s)
                told.append(self._event(word, message))
        if end is not None:
            kind, reason, message = end
            # Since 1.31 what ends a job is said before its pods are gone, and again when they are.
            early = "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget"
            for each in (early, kind):
                conditions = with_condition(conditions, self._condition(each, "True", reason, message), self.now_s)
            completed = kind == "Complete"
            told.append(
                self._event("Completed", "Job completed") if completed else self._event(reason, message, warning=True)
            )
        ready = sum(is_ready(pod) for pod in self.pods if is_active(pod)) if end is None else 0
        fields = {
            "active": active,
            "succeeded": succeeded,
            "failed": failed,
            "conditions": conditions,
            "startTime": None if suspended else status_of(self.thing).get("startTime") or timestamp(self.now_s),
            "completionTime": timestamp(self.now_s) if end is not None and end[0] == "Complete" else None,
        }
        changed = with_status(self.thing, fields)
        changed["status"]["ready"] = ready
        return UpdateStatus(JOBS, changed, tuple(told))

    def _condition(self, kind: str, status: str, reason: str, message: str) -> Object:
        return {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastProbeTime": timestamp(self.now_s),
        }

    def _after(self, done_s: float) -> Iterator[Step]:
        """What is left to do for a finished job: the pods that still run, and the job itself when its time has come."""
        yield from (Delete(PODS, pod) for pod in self.pods if is_active(pod))
        ttl_s = spec_of(self.thing).get("ttlSecondsAfterFinished")
        if ttl_s is None:
            return
        if done_s + ttl_s <= self.now_s:
            yield Delete(JOBS, self.thing, propagation=Propagation.FOREGROUND)
        else:
            yield Wake(done_s + ttl_s)

    def _delete(self, pod: Object) -> Delete:
        return Delete(PODS, pod, (self._event("SuccessfulDelete", f"Deleted pod: {name_of(pod)}"),))

    def _event(self, reason: str, message: str, *, warning: bool = False) -> Event:
        return Event(self.thing, reason, message, COMPONENT, warning)


def _ended_s(pod: Object) -> float:
    """When the last of its containers ended; when it was made, if that is not told."""
    ends = [
        time_s(((status.get("state") or {}).get("terminated") or {}).get("finishedAt"))
        for status in status_of(pod).get("containerStatuses") or ()
    ]
    return max([created_s(pod), *ends])
