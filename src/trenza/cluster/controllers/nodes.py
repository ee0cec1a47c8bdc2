"""The life of nodes: a silent one becomes Unknown, one in trouble is tainted, its pods go when they tolerate no more.

A node shows that it lives by renewing its lease in `kube-node-lease` (or by posting its status). When it has been
silent for `grace_s`, its conditions become Unknown and its pods not ready, so that services stop sending to them;
after each pod's tolerationSeconds the pod is deleted and its owner makes another elsewhere. When every node is silent
the fault is taken to be the master's own: nothing is evicted. Silence is what a snapshot shows that is known to be
complete: a watch that lags, and a store that was away, are no silence of the nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from trenza.cluster.controllers.matching import NO_EXECUTE, NO_SCHEDULE, taints_of, tolerates
from trenza.cluster.controllers.objects import (
    Object,
    condition_of,
    created_s,
    is_deleting,
    name_of,
    namespace_of,
    spec_of,
    status_of,
    time_s,
    with_condition,
    with_spec,
    with_status,
)
from trenza.cluster.controllers.pods import is_finished, is_ready, node_of
from trenza.cluster.controllers.snapshot import LEASES, NODES, PODS, Snapshot
from trenza.cluster.controllers.writes import Delete, Event, Step, Update, UpdateStatus, Wake, each
from trenza.cluster.kinds.names import timestamp

LEASE_NAMESPACE = "kube-node-lease"
NODE_COMPONENT = "node-controller"
EVICTION_COMPONENT = "taint-eviction-controller"
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
PRESSURES = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
}
OURS = frozenset((NOT_READY, UNREACHABLE, UNSCHEDULABLE, *PRESSURES.values()))
JUDGED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")

Taint = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class NodeTimes:
    """How long a node may be silent before it counts as lost. (Kubernetes: 50 s; labs: a few.)"""

    grace_s: float = 50.0


def node_lifecycle(snapshot: Snapshot, now_s: float, times: NodeTimes) -> Iterator[Step]:
    every = list(snapshot[NODES].values())
    all_lost = all(_readiness(node) != "True" for node in every)

    def decide(node: Object) -> Iterator[Step]:
        heard_s = heartbeat_s(snapshot, node)
        silent_s = max(heard_s, snapshot.since_s) + times.grace_s
        if min(now_s, snapshot.as_of_s) >= silent_s:
            yield from _silenced(node, heard_s, now_s)
        else:
            yield Wake(silent_s)
        wanted = wanted_taints(node, now_s, evicting=not all_lost)
        if wanted != list(taints_of(node)):
            yield Update(NODES, with_spec(node, taints=wanted))
        silent = _readiness(node) == "Unknown"
        expelling = [taint for taint in taints_of(node) if taint["effect"] == NO_EXECUTE]
        if silent or expelling:
            pods = [pod for pod in snapshot[PODS].values() if node_of(pod) == name_of(node)]
            yield from _unready(pods, now_s) if silent else ()
            yield from _evicted(expelling, pods, now_s) if expelling else ()

    return each(every, decide)


def heartbeat_s(snapshot: Snapshot, node: Object) -> float:
    """When the node was last heard of: by its lease, its status, or its own making."""
    lease = snapshot[LEASES].get((LEASE_NAMESPACE, name_of(node)))
    renewed_s = time_s(spec_of(lease).get("renewTime")) if lease is not None else 0.0
    return max(renewed_s, time_s((condition_of(node, "Ready") or {}).get("lastHeartbeatTime")), created_s(node))


def _readiness(node: Object) -> str:
    """The status of its condition Ready: True, False, Unknown; empty before it has ever said."""
    return str((condition_of(node, "Ready") or {}).get("status", ""))


def _silenced(node: Object, heard_s: float, now_s: float) -> Iterator[Step]:
    conditions = list(status_of(node).get("conditions") or ())
    for kind in JUDGED:
        said = condition_of(node, kind)
        if said is None:
            reason, message = "NodeStatusNeverUpdated", "Kubelet never posted node status."
        elif said["status"] != "Unknown":
            reason, message = "NodeStatusUnknown", "Kubelet stopped posting node status."
        else:
            continue
        told = {"type": kind, "status": "Unknown", "reason": reason, "message": message}
        conditions = with_condition(conditions, {"lastHeartbeatTime": timestamp(heard_s), **told}, now_s)
    if conditions != list(status_of(node).get("conditions") or ()):
        message = f"Node {name_of(node)} status is now: NodeNotReady"
        told_events = (Event(node, "NodeNotReady", message, NODE_COMPONENT),) if _readiness(node) == "True" else ()
        yield UpdateStatus(NODES, with_status(node, {"conditions": conditions}), told_events)


def wanted_taints(node: Object, now_s: float, *, evicting: bool) -> list[Taint]:
    """The node's taints as its conditions ask for them; those of others, and the time of those it has, are kept."""
    wanted: list[tuple[str, str]] = []
    ready = _readiness(node)
    if ready != "True":
        key = UNREACHABLE if ready == "Unknown" else NOT_READY
        wanted.append((key, NO_SCHEDULE))
        if evicting and ready:
            wanted.append((key, NO_EXECUTE))
    wanted += [
        (key, NO_SCHEDULE)
        for kind, key in PRESSURES.items()
        if (condition_of(node, kind) or {}).get("status") == "True"
    ]
    if spec_of(node).get("unschedulable"):
        wanted.append((UNSCHEDULABLE, NO_SCHEDULE))
    have = [t for t in taints_of(node) if t["key"] not in OURS or (t["key"], t["effect"]) in wanted]
    known = {(taint["key"], taint["effect"]) for taint in have}
    added = [
        {"key": key, "effect": effect, "timeAdded": timestamp(now_s)}
        for key, effect in wanted
        if (key, effect) not in known
    ]
    return [*have, *added]


def _unready(pods: Sequence[Object], now_s: float) -> Iterator[Step]:
    """The pods of a silent node are not ready either, whatever they last said: services stop sending to them.

    (A kubelet that says itself that its node is not ready still speaks for its pods.)
    """
    for pod in pods:
        if is_ready(pod) and not is_finished(pod):
            old = status_of(pod)["conditions"]
            conditions = [
                {**c, "status": "False", "lastTransitionTime": timestamp(now_s)} if c["type"] == "Ready" else c
                for c in old
            ]
            told = Event(pod, "NodeNotReady", "Node is not ready", NODE_COMPONENT, warning=True)
            yield UpdateStatus(PODS, with_status(pod, {"conditions": conditions}), (told,))


def _evicted(taints: Sequence[Mapping[str, str]], pods: Sequence[Object], now_s: float) -> Iterator[Step]:
    """The pods that do not tolerate these NoExecute taints, or have tolerated them for as long as they would."""
    for pod in pods:
        if is_deleting(pod):
            continue
        until_s = tolerated_until_s(pod, taints, now_s)
        if until_s is None:
            continue
        if until_s <= now_s:
            message = f"Marking for deletion Pod {namespace_of(pod)}/{name_of(pod)}"
            yield Delete(PODS, pod, (Event(pod, "TaintManagerEviction", message, EVICTION_COMPONENT),))
        else:
            yield Wake(until_s)


def tolerated_until_s(pod: Object, taints: Sequence[Mapping[str, str]], now_s: float) -> float | None:
    """Until when the pod may stay beside these NoExecute taints: `now_s` if not at all, None for ever.

    One that came after a taint has its time from then on.
    """
    tolerations = spec_of(pod).get("tolerations") or ()
    ends = []
    for taint in taints:
        covering = [toleration for toleration in tolerations if tolerates(toleration, taint)]
        if not covering:
            return now_s
        seconds = [toleration["tolerationSeconds"] for toleration in covering if "tolerationSeconds" in toleration]
        if seconds:
            begun_s = max(time_s(taint.get("timeAdded")), created_s(pod)) or now_s
            ends.append(begun_s + max(0, min(seconds)))
    return min(ends, default=None)
