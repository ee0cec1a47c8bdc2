"""What is found out about a cluster's objects, and what is said where it is not so."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from trenza.check.verdict import Finding, Verdict
from trenza.keeper.cluster_objects import ClusterObjects
from trenza.keeper.questions.kubernetes import objects
from trenza.keeper.scene import Scene
from trenza.model.checks import KubernetesObject
from trenza.model.names import NodeName


def node(name: str, status: str) -> dict[str, Any]:
    condition = {"type": "Ready", "status": status, "message": "Kubelet stopped posting node status."}
    return {"metadata": {"name": name}, "spec": {}, "status": {"conditions": [condition]}}


def pod(name: str, app: str, host: str, *, ready: bool = True, gone: bool = False) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "default", "labels": {"app": app}}
    if gone:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    conditions = [{"type": "Ready", "status": str(ready), "message": "" if ready else "it starts"}]
    return {"metadata": metadata, "spec": {"nodeName": host, "dnsPolicy": "x"}, "status": {"conditions": conditions}}


THERE: dict[str, list[dict[str, Any]]] = {
    "nodes": [node("n1", "True"), node("n2", "Unknown")],
    "pods": [pod("a", "web", "n1"), pod("b", "web", "n2", ready=False), pod("c", "web", "n1", gone=True)],
    "services": [
        {"metadata": {"name": "web", "namespace": "default"}, "spec": {"ports": [{"port": 80}], "on": True}},
        {"metadata": {"name": "behind", "namespace": "default"}, "spec": {"selector": {"app": "web"}}},
    ],
    "deployments": [
        {
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "replicas": 1},
            "status": {"conditions": [{"type": "Available", "status": "False"}], "readyReplicas": 1},
        }
    ],
    "daemonsets": [],
    "replicasets": [],
    "replicationcontrollers": [],
    "endpointslices": [
        {
            "addressType": "IPv4",
            "metadata": {"namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
            "endpoints": [
                {"addresses": ["172.16.1.2"], "conditions": {"ready": True}},
                {"addresses": ["172.16.2.2"], "conditions": {"ready": False}},
            ],
        }
    ],
    "jobs": [],
}


class There:
    def __init__(self, **otherwise: list[dict[str, Any]]) -> None:
        self._objects = {**THERE, **otherwise}

    async def list(self, plural: str) -> list[dict[str, Any]]:
        return self._objects[plural]


class Same:
    def node(self, name: NodeName) -> NodeName:
        return name


def asked(kind: str, there: There | None = None, **more: Any) -> Finding:
    objects_there = cast(ClusterObjects, there or There())
    return asyncio.run(objects(objects_there, cast(Scene, Same()), KubernetesObject(kind, **more)))


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("nodes", {"name": "n1", "condition": "Ready"}),
        ("nodes", {"name": "n2", "condition": "Ready=Unknown"}),
        ("nodes", {"condition": "Ready", "count": 1}),
        ("pods", {"labels": "app=web", "count": 2}),
        ("pods", {"labels": "app=web", "node": NodeName("n1"), "condition": "Ready"}),
        ("pods", {"labels": "app=web", "condition": "Ready", "at_least": 1}),
        ("pods", {"name": "c", "count": 0}),
        ("pods", {"namespace": "other", "count": 0}),
        ("services", {"name": "web", "endpoints": 1, "has": {"spec.ports.0.port": "80", "spec.on": "true"}}),
    ],
)
def test_what_is_so_passes(kind: str, more: dict[str, Any]) -> None:
    assert asked(kind, **more).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("kind", "more", "because", "credit"),
    [
        ("nodes", {"condition": "Ready"}, "n2: Ready=Unknown (Kubelet stopped posting node status.)", 0.5),
        ("nodes", {"condition": "Ready", "count": 0}, "node: 1, not 0: n1", 0.0),
        ("pods", {"labels": "app=web", "name": "a", "count": 2}, "pod a app=web: 1, not 2: a", 0.5),
        ("nodes", {"name": "n1", "condition": "DiskPressure=False"}, "n1: DiskPressure=-", 0.0),
        ("pods", {"labels": "app=web", "condition": "Ready", "count": 2}, "b: Ready=False (it starts)", 0.5),
        ("pods", {"labels": "app=web", "condition": "Ready", "at_least": 2}, "b: Ready=False (it starts)", 0.5),
        ("pods", {"labels": "app=db", "at_least": 1}, "there is no pod app=db", 0.0),
        ("pods", {"labels": "app=db"}, "there is no pod app=db", 0.0),
        ("jobs", {}, "there is no job", 0.0),
        ("services", {"name": "web", "endpoints": 2}, "web is served by 1, not 2: 172.16.1.2", 0.0),
        ("services", {"name": "web", "has": {"spec.ports.1.port": "80"}}, "web: spec.ports.1.port is -, not 80", 0.0),
    ],
)
def test_what_is_not_so_is_said(kind: str, more: dict[str, Any], because: str, credit: float) -> None:
    finding = asked(kind, **more)
    assert (finding.verdict, finding.because.en, finding.credit) == (Verdict.FAIL, because, credit)
    look = "kubectl describe pod b" if "b: Ready=False" in because else f"kubectl get {kind}"
    assert finding.hint.en.startswith(look)


def test_what_stands_for_pods_is_put_down_to_those_that_are_not_ready() -> None:
    failing = {
        "services": asked("services", name="behind", endpoints=2),
        "deployments": asked("deployments", condition="Available"),
    }
    for kind, finding in failing.items():
        assert finding.because.en.endswith("; b is not Ready: it starts"), kind
        assert finding.because.es.endswith("; b no está Ready: it starts"), kind
        assert finding.hint.en == "kubectl describe pod b"


def test_what_nobody_is_about_to_make_is_not_waited_for() -> None:
    missing = {"labels": "app=db", "at_least": 1}
    assert asked("pods", **missing).stays
    assert asked("services", name="db").stays
    assert asked("jobs").stays
    late = {"kind": "ReplicationController", "metadata": {"name": "db"}, "spec": {"replicas": 2}, "status": {}}
    assert not asked("pods", There(replicationcontrollers=[late]), **missing).stays
    nowhere = {"metadata": {"name": "d", "namespace": "default"}, "spec": {}}
    assert not asked("pods", There(pods=[nowhere]), **missing).stays, "it may be bound to a node any moment"
    assert not asked("nodes", name="n3", condition="Ready").stays, "nodes come by themselves"
    assert not asked("pods", labels="app=web", condition="Ready", count=2).stays, "what is there may become Ready"
    assert not asked("services", name="web", endpoints=2).stays
