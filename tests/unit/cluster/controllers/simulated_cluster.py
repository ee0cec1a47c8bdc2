"""A registry, a watch that lags, and kubelets, all in values: what the controllers are tried in.

The registry keeps the rules that controllers lean on: resourceVersions, uids, generations, finalizers, grace
periods, namespaces that end. `Simulation` plays one run of chance: how late the watch is, who writes in between, which
writes are lost on their way. `after_write` is called with the registry after each change, to look at what must hold
at every moment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from trenza.cluster.controllers.controlplane import Settings, control_plane
from trenza.cluster.controllers.loop import Decided, Done, Loop, Lost, Outcome, Outdated, Refused
from trenza.cluster.controllers.nodes import NodeTimes
from trenza.cluster.controllers.objects import (
    Object,
    ObjectKey,
    finalizers_of,
    is_deleting,
    key_of,
    metadata_of,
    name_of,
    namespace_of,
    spec_of,
    status_of,
    uid_of,
    with_condition,
    with_metadata,
    with_spec,
    with_status,
)
from trenza.cluster.controllers.pods import is_finished, node_of
from trenza.cluster.controllers.snapshot import EVENTS, NAMESPACES, NODES, PODS, Change, Snapshot
from trenza.cluster.controllers.writes import Bind, Create, Delete, Propagation, Update, UpdateStatus, Write
from trenza.cluster.kinds.names import timestamp

START_S = 1_800_000_000.0
RESOURCES = (
    "apps/daemonsets", "apps/deployments", "apps/replicasets", "batch/jobs", "configmaps", "coordination.k8s.io/leases",
    "discovery.k8s.io/endpointslices", "endpoints", "events", "namespaces", "nodes", "pods", "replicationcontrollers",
    "serviceaccounts", "services",
)  # fmt: skip


@dataclass
class Registry:
    """The objects by resource, and the log of every change."""

    objects: dict[str, dict[ObjectKey, Object]] = field(default_factory=lambda: {name: {} for name in RESOURCES})
    log: list[Change] = field(default_factory=list)
    after_write: Callable[[Registry], None] = lambda registry: None
    now_s: float = START_S
    uids: int = 0

    @property
    def revision(self) -> int:
        return len(self.log)

    def snapshot(self) -> Snapshot:
        return Snapshot.of(self.objects, self.revision)

    def all(self, resource: str) -> list[Object]:
        return list(self.objects[resource].values())

    def get(self, resource: str, namespace: str, name: str) -> Object:
        return self.objects[resource][namespace, name]

    def _put(self, resource: str, thing: Object) -> Object:
        thing = with_metadata(thing, resourceVersion=str(self.revision + 1))
        self.objects[resource][key_of(thing)] = thing
        self.log.append(Change(resource, key_of(thing), thing, self.revision + 1))
        self.after_write(self)
        return thing

    def _remove(self, resource: str, thing: Object) -> None:
        del self.objects[resource][key_of(thing)]
        self.log.append(Change(resource, key_of(thing), None, self.revision + 1))
        self.after_write(self)

    def create(self, resource: str, thing: Object) -> Object:
        self.uids += 1
        added: dict[str, Any] = {"uid": f"uid-{self.uids}", "creationTimestamp": timestamp(self.now_s)}
        if "spec" in thing:
            added["generation"] = 1
        return self._put(resource, with_metadata(thing, **added))

    def update(self, resource: str, thing: Object) -> Object | None:
        """Everything but the status and what only the registry writes. None if that lets the object go."""
        known = self.objects[resource][key_of(thing)]
        new = {**thing, "status": known["status"]} if "status" in known else thing
        kept = {key: metadata_of(known).get(key) for key in ("uid", "creationTimestamp", "deletionTimestamp")}
        new = with_metadata(new, resourceVersion=metadata_of(known)["resourceVersion"], **kept)
        if spec_of(new) != spec_of(known) and resource != NODES:
            new = with_metadata(new, generation=metadata_of(known).get("generation", 0) + 1)
        held = finalizers_of(new) or spec_of(new).get("finalizers") or (resource == PODS and node_of(new))
        if is_deleting(new) and not held:
            self._remove(resource, new)
            return None
        return known if new == known else self._put(resource, new)

    def update_status(self, resource: str, thing: Object) -> Object:
        known = self.objects[resource][key_of(thing)]
        return (
            known if status_of(known) == status_of(thing) else self._put(resource, {**known, "status": thing["status"]})
        )

    def delete(
        self,
        resource: str,
        thing: Object,
        *,
        grace_s: int | None = None,
        propagation: Propagation = Propagation.BACKGROUND,
    ) -> Object | None:
        known = self.objects[resource][key_of(thing)]
        held = {Propagation.FOREGROUND: ["foregroundDeletion"], Propagation.ORPHAN: ["orphan"]}.get(propagation, [])
        finalizers = [*finalizers_of(known), *(each for each in held if each not in finalizers_of(known))]
        waits = resource == PODS and node_of(known) and not is_finished(known) and grace_s != 0
        if resource == NAMESPACES:
            known = with_status(known, {"phase": "Terminating"})
            waits = bool(spec_of(known).get("finalizers"))
        if finalizers or waits:
            if is_deleting(known):
                return known
            return self._put(
                resource, with_metadata(known, deletionTimestamp=timestamp(self.now_s), finalizers=finalizers or None)
            )
        self._remove(resource, known)
        return None

    def apply(self, write: Write) -> Outcome:
        """What an API server would answer to a controller."""
        place, known = write.key, self.objects[write.resource].get(write.key)
        if isinstance(write, Create):
            namespace = self.objects[NAMESPACES].get(("", place[0]))
            if place[0] and namespace is None:
                return Refused(f'namespaces "{place[0]}" not found')
            if namespace is not None and is_deleting(namespace):
                return Refused(f"unable to create new content in namespace {place[0]} because it is being terminated")
            return Outdated() if known else Done(self.create(write.resource, write.object), self.revision)
        if known is None or uid_of(known) != uid_of(write.object):
            return Outdated()
        current = metadata_of(known)["resourceVersion"] == metadata_of(write.object)["resourceVersion"]
        match write:
            case Update() if current:
                return Done(self.update(write.resource, write.object), self.revision)
            case UpdateStatus() if current:
                return Done(self.update_status(write.resource, write.object), self.revision)
            case Delete() if current or not write.unchanged:
                now = self.delete(write.resource, known, grace_s=write.grace_s, propagation=write.propagation)
                return Done(now, self.revision)
            case Bind() if not node_of(known) and not is_deleting(known):
                return Done(self._put(PODS, with_spec(known, nodeName=write.node)), self.revision)
        return Outdated()


@dataclass
class Simulation:
    """One run: a registry, its control plane, and chance from a seed."""

    seed: int = 0
    settings: Settings = field(default_factory=Settings)
    registry: Registry = field(default_factory=Registry)
    chaos: bool = True
    ready_at_once: bool = True  # kubelets report a started pod as ready
    silent: set[str] = field(default_factory=set)  # nodes that are cut off

    def __post_init__(self) -> None:
        self.chance = Random(self.seed)
        self.loop = Loop(control_plane(self.settings), self.registry.snapshot())
        self.seen = self.registry.revision
        self.addresses = 0

    def run(self, *, for_s: float = 0.0, rounds: int = 3000) -> None:
        """Until nothing is left to do at this moment, or within the next `for_s` seconds."""
        end_s = self.registry.now_s + for_s
        for _ in range(rounds):
            moved = self.once()
            wakes_s = self.loop.wakes_at_s()
            if moved or self.seen < self.registry.revision or wakes_s <= self.registry.now_s:
                continue
            if wakes_s > end_s:
                self.registry.now_s = max(self.registry.now_s, end_s)
                return
            self.registry.now_s = wakes_s
        raise AssertionError(f"still not quiet after {rounds} rounds")

    def once(self) -> bool:
        """One round: some news, one decision, its writes with others between them. Did a kubelet do anything?"""
        self._deliver()
        for decided in self.loop.decide(self.registry.now_s):
            self._perform(decided)
            if self.chaos and self.chance.random() < 0.3:
                self.kubelet()
            if self.chaos and self.chance.random() < 0.3:
                self._deliver()
        assert not self.loop.failures, self.loop.failures
        if self.loop.needs_replacing:
            self.loop.replace(self.registry.snapshot())
            self.seen = self.registry.revision
        return self.kubelet()

    def _deliver(self) -> None:
        """Some of what the watch has not brought yet."""
        behind = self.registry.revision - self.seen
        until = self.seen + (self.chance.randint(0, behind) if self.chaos else behind)
        self.loop.observe(self.registry.log[self.seen : until], until)
        self.seen = until

    def _perform(self, decided: Decided) -> None:
        fate = self.chance.random() if self.chaos else 1.0
        if fate < 0.02:  # lost on its way back, or on its way there
            if fate < 0.01:
                self.registry.apply(decided.write)
            self.loop.settle(decided, Lost(), self.registry.now_s)
        else:
            self.loop.settle(decided, self.registry.apply(decided.write), self.registry.now_s)

    def kubelet(self) -> bool:
        """Every kubelet that can be reached has a look at its pods; in chaos it looks at some. Did anything change?"""
        moved = False
        for pod in self.registry.all(PODS):
            if not node_of(pod) or node_of(pod) in self.silent or (self.chaos and self.chance.random() < 0.3):
                moved = moved or bool(node_of(pod) and node_of(pod) not in self.silent and self._unfinished(pod))
                continue
            moved = self._look_at(pod) or moved
        return moved

    def _unfinished(self, pod: Object) -> bool:
        phase = status_of(pod).get("phase", "Pending")
        return (is_deleting(pod) and not finalizers_of(pod)) or (phase == "Pending" and not is_deleting(pod))

    def _look_at(self, pod: Object) -> bool:
        if not self._unfinished(pod):
            return False
        if is_deleting(pod):
            self.registry._remove(PODS, pod)
            return True
        self.addresses += 1
        self.report(pod, ready=self.ready_at_once)
        return True

    def report(self, pod: Object, *, phase: str = "Running", ready: bool = True) -> None:
        """A kubelet says how a pod is."""
        known = self.registry.get(PODS, namespace_of(pod), name_of(pod))
        wanted = {"type": "Ready", "status": "True" if ready and phase == "Running" else "False"}
        conditions = with_condition(status_of(known).get("conditions") or (), wanted, self.registry.now_s)
        address = status_of(known).get("podIP") or f"172.16.{self.addresses // 250}.{self.addresses % 250 + 2}"
        fields = {"phase": phase, "conditions": conditions, "podIP": address, "podIPs": [{"ip": address}]}
        self.registry.update_status(PODS, with_status(known, fields))

    def heartbeat(self) -> None:
        """Every node that can be reached says that it lives."""
        for node in self.registry.all(NODES):
            if name_of(node) not in self.silent:
                self.registry.update_status(
                    NODES, with_status(node, {"conditions": [ready_condition(self.registry.now_s)]})
                )

    def pass_time(self, seconds: float, *, beat_s: float = 1.0) -> None:
        """Time goes by, with heartbeats every `beat_s` seconds."""
        end_s = self.registry.now_s + seconds
        while self.registry.now_s < end_s:
            self.heartbeat()
            self.run(for_s=min(beat_s, end_s - self.registry.now_s))

    def events(self) -> list[tuple[str, str, str]]:
        """Component, reason and message of every event, in the order of their making."""
        return [(each["source"]["component"], each["reason"], each["message"]) for each in self.registry.all(EVENTS)]


def ready_condition(now_s: float, status: str = "True") -> Object:
    said = timestamp(now_s)
    return {"type": "Ready", "status": status, "lastHeartbeatTime": said, "lastTransitionTime": timestamp(START_S)}


def node(name: str, *, cpu: str = "8", memory: str = "16Gi", pods: str = "110", **labels: str) -> Object:
    room = {"cpu": cpu, "memory": memory, "pods": pods}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}},
        "spec": {},
        "status": {"allocatable": room, "capacity": room, "conditions": [ready_condition(START_S)]},
    }


def namespace(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def template(image: str = "web:1", *, cpu: str | None = None, **labels: str) -> Object:
    container: Object = {"name": "web", "image": image, "ports": [{"containerPort": 80, "name": "http"}]}
    if cpu:
        container["resources"] = {"requests": {"cpu": cpu}}
    return {"metadata": {"labels": labels or {"app": "web"}}, "spec": {"containers": [container]}}


def pod(name: str, *, space: str = "default", labels: dict[str, str] | None = None, **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": space, "labels": labels or {}},
        "spec": {**template()["spec"], **spec},
        "status": {"phase": "Pending"},
    }


def workload(kind: str, name: str, replicas: int | None, *, space: str = "default", **spec: Any) -> Object:
    """A ReplicaSet, Deployment, DaemonSet, Job or ReplicationController of `template()`."""
    version = {"ReplicationController": "v1", "Job": "batch/v1"}.get(kind, "apps/v1")
    selector: Any = {"app": "web"} if kind == "ReplicationController" else {"matchLabels": {"app": "web"}}
    wanted = {} if replicas is None else {"replicas": replicas}
    described = {} if kind == "Job" else {"selector": selector}
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": space},
        "spec": {**wanted, **described, "template": template(), **spec},
        "status": {},
    }


def service(name: str, *, space: str = "default", **spec: Any) -> Object:
    described = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http", "protocol": "TCP"}]}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": space},
        "spec": {"clusterIP": "10.254.0.7", "type": "ClusterIP", **described, **spec},
    }


def cluster(*nodes: str, **options: Any) -> Simulation:
    """A simulation with the namespace `default` and these nodes, which need no heartbeats unless `settings` say so."""
    found = Simulation(**{"settings": Settings(node_times=NodeTimes(grace_s=10**9)), **options})
    found.registry.create(NAMESPACES, namespace("default"))
    for name in nodes:
        found.registry.create(NODES, node(name))
    return found
