"""DaemonSets: one pod on every node that the template's selector, affinity and tolerations admit.

The pods are pinned by a node affinity and go through the scheduler, as Kubernetes' do. They tolerate what a node in
trouble is tainted with, so they are there when it comes back. One that fails is replaced at once, and later and later
if the next ones on that node fail, too. A rolling update replaces at most maxUnavailable at a time. ControllerRevisions
are not kept: what version a pod is of is told by its label alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trenza.cluster.controllers.matching import (
    NO_EXECUTE,
    NO_SCHEDULE,
    UNSCHEDULABLE_TAINT,
    find_untolerated,
    pod_selects_node,
    taints_of,
)
from trenza.cluster.controllers.objects import (
    Object,
    annotations_of,
    generated_name,
    is_deleting,
    labels_of,
    metadata_of,
    name_of,
    namespace_of,
    oldest_first,
    spec_of,
    status_of,
    uid_of,
    with_counts,
)
from trenza.cluster.controllers.pods import (
    available_at_s,
    is_active,
    is_ready,
    node_of,
    phase_of,
    pod_from,
    template_hash,
)
from trenza.cluster.controllers.replicas import claimed
from trenza.cluster.controllers.snapshot import DAEMON_SETS, NODES, PODS, Snapshot
from trenza.cluster.controllers.surge import scaled_value
from trenza.cluster.controllers.writes import Create, Delete, Event, Spacing, Step, UpdateStatus, Wake, each

COMPONENT = "daemonset-controller"
HASH_LABEL = "controller-revision-hash"
GENERATION_LABEL = "pod-template-generation"
GENERATION_ANNOTATION = "deprecated.daemonset.template.generation"
FAILED_FIRST_S, FAILED_LONGEST_S = 1.0, 900.0
ADDED_TOLERATIONS: tuple[tuple[str, str], ...] = (
    ("node.kubernetes.io/not-ready", NO_EXECUTE),
    ("node.kubernetes.io/unreachable", NO_EXECUTE),
    ("node.kubernetes.io/disk-pressure", NO_SCHEDULE),
    ("node.kubernetes.io/memory-pressure", NO_SCHEDULE),
    ("node.kubernetes.io/pid-pressure", NO_SCHEDULE),
    ("node.kubernetes.io/unschedulable", NO_SCHEDULE),
)


def daemon_sets(snapshot: Snapshot, now_s: float) -> Iterator[Step]:
    def decide(thing: Object) -> Iterator[Step]:
        pods, changes = claimed(snapshot, PODS, thing, spec_of(thing).get("selector") or {})
        yield from changes
        if not changes:
            yield from _Daemons(snapshot, now_s, thing, pods).steps()

    return each(snapshot[DAEMON_SETS].values(), decide)


def pinned_node(pod: Object) -> str:
    """The node that a daemon pod is bound to, or meant for while it is not."""
    if bound := node_of(pod):
        return bound
    affinity: Mapping[str, Any] = (spec_of(pod).get("affinity") or {}).get("nodeAffinity") or {}
    required: Mapping[str, Any] = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for requirement in term.get("matchFields") or ():
            if requirement.get("key") == "metadata.name" and requirement.get("values"):
                return str(requirement["values"][0])
    return ""


class _Daemons:
    def __init__(self, snapshot: Snapshot, now_s: float, thing: Object, pods: Sequence[Object]) -> None:
        self.snapshot = snapshot
        self.now_s = now_s
        self.thing = thing
        self.template: Mapping[str, Any] = spec_of(thing).get("template") or {}
        self.hash = template_hash(self.template)
        self.min_ready_s = float(spec_of(thing).get("minReadySeconds") or 0)
        self.here: dict[str, list[Object]] = {}
        for pod in pods:
            self.here.setdefault(pinned_node(pod), []).append(pod)
        self.may_start, self.may_stay = self._nodes()

    def steps(self) -> Iterator[Step]:
        if not is_deleting(self.thing):
            yield from self._placed()
            yield from self._rolled()
        yield from self._status()

    def _nodes(self) -> tuple[set[str], set[str]]:
        """The nodes on which a pod is to be started, and those on which one that is there may stay."""
        spec = self._pod_spec("")
        may_start, may_stay = set(), set()
        for node in self.snapshot[NODES].values():
            taints = [*taints_of(node), *([UNSCHEDULABLE_TAINT] if spec_of(node).get("unschedulable") else [])]
            if not pod_selects_node(self.template.get("spec") or {}, node):
                continue
            if find_untolerated(taints, spec["tolerations"], (NO_EXECUTE,)) is None:
                may_stay.add(name_of(node))
                if find_untolerated(taints, spec["tolerations"], (NO_SCHEDULE,)) is None:
                    may_start.add(name_of(node))
        return may_start, may_stay

    def _pod_spec(self, node: str) -> dict[str, Any]:
        """The template's pod for `node`, with the tolerations that daemons get."""
        spec: dict[str, Any] = dict(self.template.get("spec") or {})
        keys = [*ADDED_TOLERATIONS]
        if spec.get("hostNetwork"):
            keys.append(("node.kubernetes.io/network-unavailable", NO_SCHEDULE))
        added = [{"key": key, "operator": "Exists", "effect": effect} for key, effect in keys]
        spec["tolerations"] = [*(spec.get("tolerations") or ()), *added]
        field = {"key": "metadata.name", "operator": "In", "values": [node]}
        affinity = spec.get("affinity") or {}
        node_affinity = affinity.get("nodeAffinity") or {}
        required = node_affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
        alternatives: Sequence[Mapping[str, Any]] = required.get("nodeSelectorTerms") or ({},)
        terms = [{**term, "matchFields": [*(term.get("matchFields") or ()), field]} for term in alternatives]
        pinned = {**node_affinity, "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        spec["affinity"] = {**affinity, "nodeAffinity": pinned}
        return spec

    def _placed(self) -> Iterator[Step]:
        """One pod where one is due, none where none may be; finished ones are replaced, of several the oldest stays."""
        for node in sorted(self.may_start):
            if not self.here.get(node):
                yield self._create(node)
        for node, pods in sorted(self.here.items()):
            for pod in pods:
                which = f"{namespace_of(pod)}/{name_of(pod)} on node {node}"
                if is_deleting(pod):
                    continue
                if phase_of(pod) == "Failed":
                    message = f"Found failed daemon pod {which}, will try to kill it"
                    event = self._event("FailedDaemonPod", message, warning=True)
                    yield Delete(PODS, pod, (event,), spacing=self._spacing(node))
                elif phase_of(pod) == "Succeeded":
                    message = f"Found succeeded daemon pod {which}, will try to delete it"
                    yield Delete(PODS, pod, (self._event("SucceededDaemonPod", message),))
            active = oldest_first(pod for pod in pods if is_active(pod))
            for pod in active[1:] if node in self.may_stay else active:
                yield self._delete(pod)

    def _spacing(self, node: str) -> Spacing:
        """How those that fail on a node are replaced; an update begins anew (failedPodsBackoff, as in Kubernetes)."""
        key = ("failed daemons", uid_of(self.thing), str(metadata_of(self.thing).get("generation")), node)
        return Spacing(key, FAILED_FIRST_S, FAILED_LONGEST_S)

    def _rolled(self) -> Iterator[Step]:
        strategy = spec_of(self.thing).get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return
        rolling = strategy.get("rollingUpdate") or {}
        bound = scaled_value(rolling.get("maxUnavailable", 1), len(self.may_start), round_up=True)
        missing = sum(not any(self._is_available(pod) for pod in self.here.get(node, ())) for node in self.may_start)
        for node in sorted(self.may_start):
            for pod in oldest_first(pod for pod in self.here.get(node, ()) if is_active(pod))[:1]:
                if self._is_current(pod):
                    continue
                # One that is not available is replaced at once: nobody misses it.
                if not self._is_available(pod):
                    yield self._delete(pod)
                elif missing < max(1, bound):
                    missing += 1
                    yield self._delete(pod)

    def _status(self) -> Iterator[Step]:
        def count(nodes: set[str], holds: Any) -> int:
            return sum(any(holds(pod) for pod in self.here.get(node, ()) if is_active(pod)) for node in nodes)

        elsewhere = {node for node, pods in self.here.items() if any(is_active(pod) for pod in pods)} - self.may_start
        available = count(self.may_start, self._is_available)
        changed = with_counts(
            self.thing,
            {
                "currentNumberScheduled": count(self.may_start, lambda pod: True),
                "numberMisscheduled": len(elsewhere),
                "desiredNumberScheduled": len(self.may_start),
                "numberReady": count(self.may_start, is_ready),
            },
            {
                "observedGeneration": metadata_of(self.thing).get("generation"),
                "updatedNumberScheduled": count(self.may_start, self._is_current),
                "numberAvailable": available,
                "numberUnavailable": len(self.may_start) - available,
            },
        )
        if changed["status"] != status_of(self.thing):
            yield UpdateStatus(DAEMON_SETS, changed)
        moments = (available_at_s(pod, self.min_ready_s) for pods in self.here.values() for pod in pods)
        if later := [moment for moment in moments if moment is not None and moment > self.now_s]:
            yield Wake(min(later))

    def _is_available(self, pod: Object) -> bool:
        moment = available_at_s(pod, self.min_ready_s)
        return is_active(pod) and moment is not None and moment <= self.now_s

    def _is_current(self, pod: Object) -> bool:
        return labels_of(pod).get(HASH_LABEL) == self.hash

    def _create(self, node: str) -> Create:
        name = generated_name(f"{name_of(self.thing)}-", uid_of(self.thing), self.snapshot.revision, node)
        labels = {HASH_LABEL: self.hash}
        if generation := annotations_of(self.thing).get(GENERATION_ANNOTATION):
            labels[GENERATION_LABEL] = generation
        pod = pod_from({**self.template, "spec": self._pod_spec(node)}, self.thing, name, labels=labels)
        return Create(PODS, pod, (self._event("SuccessfulCreate", f"Created pod: {name}"),))

    def _delete(self, pod: Object) -> Delete:
        return Delete(PODS, pod, (self._event("SuccessfulDelete", f"Deleted pod: {name_of(pod)}"),))

    def _event(self, reason: str, message: str, *, warning: bool = False) -> Event:
        return Event(self.thing, reason, message, COMPONENT, warning)
