"""What `kubectl get pods` says of a pod: how many containers are ready, the one word for its state, its restarts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from trenza.cluster.kinds.ages import duration_text
from trenza.cluster.kinds.names import seconds_of
from trenza.cluster.kinds.resources import Object


@dataclass(frozen=True, slots=True)
class PodState:
    """`ready` of `containers`; `reason` is Running, CrashLoopBackOff, Init:0/1, …; `restarts` as `3 (2m ago)`."""

    ready: int
    containers: int
    reason: str
    restarts: str


def pod_state(pod: Object, now_s: float) -> PodState:
    """The state of a pod as kubectl's printer works it out (k8s.io/kubernetes/pkg/printers, printPod)."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    init_statuses = status.get("initContainerStatuses") or []
    statuses = status.get("containerStatuses") or []
    sidecars = {one.get("name") for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always"}
    conditions = {one.get("type"): one for one in status.get("conditions") or ()}
    reason = status.get("reason") or status.get("phase") or "Unknown"
    if (conditions.get("PodScheduled") or {}).get("reason") == "SchedulingGated":
        reason = "SchedulingGated"
    ready = sum(1 for one in init_statuses if one.get("name") in sidecars and one.get("started") and one.get("ready"))
    initializing = _initializing(init_statuses, spec.get("initContainers") or [], sidecars)
    if initializing is not None:
        reason = initializing
        counted: Iterable[Object] = init_statuses
    else:
        said, running, ready_now = _of_containers(statuses)
        reason = said or reason
        ready += ready_now
        if reason == "Completed" and running:
            reason = "Running" if (conditions.get("Ready") or {}).get("status") == "True" else "NotReady"
        counted = [*statuses, *(one for one in init_statuses if one.get("name") in sidecars)]
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif status.get("phase") not in ("Succeeded", "Failed"):
            reason = "Terminating"
    total = len(spec.get("containers") or ()) + len(sidecars)
    return PodState(ready, total, reason, _restarts(counted, now_s))


def _initializing(statuses: list[Object], containers: list[Object], sidecars: set[Any]) -> str | None:
    """`Init:…` while init containers are not done, else None."""
    for index, one in enumerate(statuses):
        state = one.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting")
        if terminated is not None and terminated.get("exitCode", 0) == 0:
            continue
        if one.get("name") in sidecars and one.get("started"):
            continue
        if terminated is not None:
            return f"Init:{_ended(terminated)}"
        if waiting is not None and waiting.get("reason") not in (None, "", "PodInitializing"):
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{len(containers)}"
    return None


def _of_containers(statuses: list[Object]) -> tuple[str, bool, int]:
    """The word of the first container that has one, whether any runs, how many are ready."""
    reason, running, ready = "", False, 0
    for one in reversed(statuses):
        state = one.get("state") or {}
        waiting, terminated = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif terminated is not None:
            reason = _ended(terminated)
        elif one.get("ready") and state.get("running") is not None:
            running = True
            ready += 1
    return reason, running, ready


def _ended(terminated: Object) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _restarts(statuses: Iterable[Object], now_s: float) -> str:
    count, last = 0, None
    for one in statuses:
        count += one.get("restartCount", 0)
        ended = ((one.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
        moment = seconds_of(ended) if ended else None
        if moment is not None and (last is None or moment > last):
            last = moment
    return f"{count} ({duration_text(now_s - last)} ago)" if count and last is not None else str(count)
