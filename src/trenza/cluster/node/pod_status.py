"""A pod's status as kubectl shows it: phase, conditions, and a status for each container."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trenza.cluster.kinds.defaults import quality_of_service
from trenza.cluster.node import probing
from trenza.cluster.node.pods import (
    CREATING,
    Run,
    Seen,
    Step,
    Waiting,
    containers,
    ephemeral_containers,
    init_containers,
    is_sidecar,
    outcome,
    restarts,
)
from trenza.cluster.node.times import time_of

Object = Mapping[str, Any]


def status_of(pod: Object, seen: Seen, step: Step, *, host_ip: str, now_s: float) -> dict[str, Any]:
    """The status that follows from a pod as seen and the step taken; times of conditions are kept where they hold."""
    before: Object = pod.get("status") or {}
    deleting = bool(pod["metadata"].get("deletionTimestamp"))
    phase = _phase(pod, seen, step, before)
    done = phase in ("Succeeded", "Failed")
    inits = [_container_status(pod, one, seen, step, done=done) for one in init_containers(pod)]
    mains = [_container_status(pod, one, seen, step, done=done) for one in containers(pod)]
    status: dict[str, Any] = {
        "phase": phase,
        "conditions": _conditions(pod, seen, before, inits, mains, done=done, phase=phase, now_s=now_s),
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "startTime": before.get("startTime") or time_of(seen.accepted_s),
        "containerStatuses": mains,
        "qosClass": before.get("qosClass") or quality_of_service(pod),
    }
    if inits:
        status["initContainerStatuses"] = inits
    added = [_container_status(pod, one, seen, step, done=done) for one in ephemeral_containers(pod)]
    if added:  # nobody waits for one to be ready
        status["ephemeralContainerStatuses"] = [{**one, "ready": False, "started": False} for one in added]
    address = seen.address or (before.get("podIP", "") if done or deleting else "")
    if address:
        status |= {"podIP": address, "podIPs": [{"ip": address}]}
    if step.failed is not None:
        status |= {"reason": step.failed[0], "message": step.failed[1]}
    elif phase == "Failed":
        status |= {key: before[key] for key in ("reason", "message") if key in before}
    return status


def _phase(pod: Object, seen: Seen, step: Step, before: Object) -> str:
    if before.get("phase") in ("Succeeded", "Failed"):
        return str(before["phase"])
    if step.failed is not None:
        return "Failed"
    end = outcome(pod, seen.runs)
    if end is not None:
        return end
    for container in init_containers(pod):
        run = seen.runs.get(container["name"])
        if run is None or (not is_sidecar(container) and (run.is_running or run.exit_code)):
            return "Pending"
    if any(one["name"] not in seen.runs for one in containers(pod)):
        return "Pending"
    return "Running"


# ------------------------------------------------------------------ containers
def _container_status(pod: Object, container: Object, seen: Seen, step: Step, *, done: bool) -> dict[str, Any]:
    name = container["name"]
    run, previous = seen.runs.get(name), seen.previous.get(name)
    waiting = step.waiting.get(name)
    last: dict[str, Any] = {}
    if run is None:
        state = _waiting_state(waiting or Waiting("ContainerStatusUnknown" if done else CREATING))
    elif run.is_running:
        state = {"running": {"startedAt": time_of(run.started_s)}}
        last = {} if previous is None else _terminated(previous)
    elif waiting is not None:
        state, last = _waiting_state(waiting), _terminated(run)
    else:
        state = _terminated(run)
        last = {} if previous is None or restarts(pod, container, run) else _terminated(previous)
    runs = run is not None and run.is_running
    is_init = container in init_containers(pod) and not is_sidecar(container)
    started = run is not None and runs and probing.is_started(container, run.health)
    if is_init:
        ready = run is not None and not runs and run.exit_code == 0
    else:
        ready = run is not None and runs and probing.is_ready(container, run.health)
    status: dict[str, Any] = {
        "name": name,
        "state": state,
        "lastState": last,
        "ready": ready and (is_init or not done),
        "restartCount": 0 if run is None else run.attempt,
        "image": container["image"],
        "imageID": "" if run is None else f"trenza://{container['image']}",
        "started": started,
    }
    if run is not None:
        status["containerID"] = f"trenza://{run.identity}"
    return status


def _waiting_state(waiting: Waiting) -> dict[str, Any]:
    said = {"reason": waiting.reason}
    return {"waiting": {**said, "message": waiting.message} if waiting.message else said}


def _terminated(run: Run) -> dict[str, Any]:
    reason = run.reason or ("Error" if run.exit_code else "Completed")
    ended: dict[str, Any] = {
        "exitCode": run.exit_code,
        "reason": reason,
        "startedAt": time_of(run.started_s),
        "finishedAt": time_of(run.finished_s or run.started_s),
        "containerID": f"trenza://{run.identity}",
    }
    if run.message:
        ended["message"] = run.message
    return {"terminated": ended}


# ------------------------------------------------------------------ conditions
def _conditions(
    pod: Object,
    seen: Seen,
    before: Object,
    inits: Sequence[Object],
    mains: Sequence[Object],
    *,
    done: bool,
    phase: str,
    now_s: float,
) -> list[dict[str, Any]]:
    sidecars = {one["name"] for one in init_containers(pod) if is_sidecar(one)}
    waiting_for = [one["name"] for one in inits if not one["started" if one["name"] in sidecars else "ready"]]
    unready = [
        one["name"] for one in (*mains, *inits) if not one["ready"] and (one in mains or one["name"] in sidecars)
    ]
    if done and phase == "Succeeded":
        initialized, ready = (True, "PodCompleted", ""), (False, "PodCompleted", "")
    elif done:
        initialized, ready = (not waiting_for, "", ""), (False, "PodFailed", "")
    else:
        initialized = _all_of(waiting_for, "ContainersNotInitialized", "containers with incomplete status")
        ready = _all_of(unready, "ContainersNotReady", "containers with unready status")
    found = {
        "PodReadyToStartContainers": (seen.sandbox_s is not None, "", ""),
        "Initialized": initialized,
        "Ready": ready,
        "ContainersReady": ready,
        "PodScheduled": (True, "", ""),
    }
    old = {one["type"]: one for one in before.get("conditions") or ()}
    for gate in pod["spec"].get("readinessGates", ()):
        if (old.get(gate["conditionType"]) or {}).get("status") != "True" and ready[0]:
            message = f'corresponding condition of pod readiness gate "{gate["conditionType"]}" does not exist.'
            found["Ready"] = (False, "ReadinessGatesNotReady", message)
    made = [_condition(kind, *said, old.get(kind), now_s) for kind, said in found.items()]
    return made + [dict(one) for kind, one in old.items() if kind not in found]


def _all_of(missing: Sequence[str], reason: str, words: str) -> tuple[bool, str, str]:
    return (False, reason, f"{words}: [{' '.join(missing)}]") if missing else (True, "", "")


def _condition(kind: str, holds: bool, reason: str, message: str, old: Object | None, now_s: float) -> dict[str, Any]:
    status = "True" if holds else "False"
    since = old["lastTransitionTime"] if old and old.get("status") == status else None
    made = {
        "type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": since or time_of(now_s),
    }  # fmt: skip
    return {**made, **({"reason": reason} if reason else {}), **({"message": message} if message else {})}
