"""Which pod a question means, and why there is none."""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import Any

import pytest

from trenza.keeper.absent import Absent
from trenza.keeper.pods import Pods, names_pods
from trenza.model.checks import ClusterService, Http, Ping, Pod, Seen
from trenza.model.cluster import KINDS
from trenza.model.names import NodeName


def pod(name: str, *, node: str = "n1", ready: bool = True, **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "labels": {"app": "web"}, **metadata},
        "spec": {"nodeName": node},
        "status": {
            "podIP": "172.16.1.2",
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(ready), "message": "" if ready else "it starts"}],
        },
    }


SERVICES = [
    {"metadata": {"name": "web", "namespace": "default"}, "spec": {"clusterIP": "10.254.0.9"}},
    {"metadata": {"name": "bare", "namespace": "default"}, "spec": {"clusterIP": "None"}},
    {
        "metadata": {"name": "served", "namespace": "default"},
        "spec": {"clusterIP": "10.254.0.8", "ports": [{"port": 80, "nodePort": 30080, "targetPort": 8080}]},
    },
    {
        "metadata": {"name": "lonely", "namespace": "default"},
        "spec": {"clusterIP": "10.254.0.7", "ports": [{"port": 80, "nodePort": 30070}], "selector": {"app": "wbe"}},
    },
    {
        "metadata": {"name": "waiting", "namespace": "default"},
        "spec": {"clusterIP": "10.254.0.6", "ports": [{"port": 80, "nodePort": 30060}], "selector": {"app": "web"}},
    },
]
SLICES = [
    {
        "addressType": "IPv4",
        "metadata": {"namespace": "default", "labels": {"kubernetes.io/service-name": "served"}},
        "endpoints": [{"addresses": ["172.16.1.2"]}],
    }
]


def there(*pods: dict[str, Any]) -> Pods:
    namespaces = {str(one["metadata"]["uid"]): os.open("/proc/self/ns/net", os.O_RDONLY) for one in pods}
    return Pods(pods, SERVICES, SLICES, namespaces)


@pytest.mark.parametrize(
    ("meant", "found"),
    [
        (Pod(), "pod/a"),
        (Pod("b"), "pod/b"),
        (Pod(labels="app=web"), "pod/a"),
        (Pod(labels="app!=web"), None),
        (Pod(labels="app=web", node=NodeName("n2")), "pod/c"),
        (Pod(node=NodeName("n3")), None),
        (Pod("b", namespace="other"), None),
    ],
)
def test_a_pod_is_meant_by_name_labels_and_node(meant: Pod, found: str | None) -> None:
    pods = there(
        pod("c", node="n2"),
        pod("b"),
        pod("a"),
        pod("0", deletionTimestamp="2026-01-01T00:00:00Z"),
        pod("1", ready=False),
    )
    try:
        if found is None:
            with pytest.raises(Absent, match="there is no pod"):
                pods.handle(meant)
        else:
            assert pods.handle(meant).node.name == found
            assert str(pods.address(meant)) == "172.16.1.2"
    finally:
        pods.close()


def test_one_that_starts_is_waited_for_and_one_that_is_nowhere_is_not() -> None:
    pods = there(pod("a", ready=False))
    with pytest.raises(Absent, match="a is not Ready: it starts") as starting:
        pods.handle(Pod())
    assert not starting.value.stays
    with pytest.raises(Absent, match="there is no pod b with x=y on n9") as nowhere:
        pods.handle(Pod("b", "x=y", NodeName("n9")))
    assert nowhere.value.stays
    assert nowhere.value.said.es == "no hay ningún pod b con x=y en n9"
    pods.close()


def test_why_a_container_waits_is_said_first() -> None:
    waiting = pod("a", ready=False)
    waiting["status"]["containerStatuses"] = [{"state": {"waiting": {"reason": "ErrImagePull", "message": "no nginx"}}}]
    with pytest.raises(Absent, match="a is not Ready: ErrImagePull: no nginx"):
        there(waiting).handle(Pod())


def running(name: str, attempt: int, *, ready: bool) -> dict[str, Any]:
    made = pod(name, ready=ready)
    made["spec"]["containers"] = [{"name": "page"}, {"name": "box"}]
    made["status"]["containerStatuses"] = [
        {"name": "box", "restartCount": attempt, "state": {"running": {}}},
        {"name": "page", "restartCount": 7, "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
    ]
    return made


def test_who_works_in_a_pod_needs_a_container_that_runs_and_not_that_it_is_ready() -> None:
    pods = there(pod("a", ready=False), running("b", 3, ready=False))
    assert pods.container(Pod()) == ("pod/b", "n1/pod.uid-b.box.3")
    assert pods.network(Pod("a")).node.name == "pod/a"
    with pytest.raises(Absent, match="a is not Ready: it starts"):
        pods.container(Pod("a"))
    with pytest.raises(Absent, match="there is no pod x"):
        pods.container(Pod("x"))
    pods.close()
    pods = there(running("b", 3, ready=False), running("c", 0, ready=True))
    assert pods.container(Pod())[0] == "pod/c"
    pods.close()


def test_services_have_cluster_addresses() -> None:
    pods = there()
    assert str(pods.address(ClusterService("web"))) == "10.254.0.9"
    for name in ("bare", "wbe"):
        with pytest.raises(Absent):
            pods.address(ClusterService(name))


def test_whose_questions_need_the_clusters_pods() -> None:
    host = NodeName("h")
    assert not names_pods(Ping(host, host))
    assert names_pods(Ping(Pod(), host))
    assert names_pods(Seen("x", "icmp", Ping(host, Pod("a"))))
    assert names_pods(Http(host, host, served_by={Pod(labels="app=web"): None}))
    assert names_pods(Http(host, ClusterService("web")))


def test_the_kinds_that_checks_know_are_the_servers() -> None:
    from trenza.cluster.kinds.resources import RESOURCES

    known = {one.plural: {one.singular, *one.short_names} - {one.plural} for one in RESOURCES if "list" in one.verbs}
    for plural, names in KINDS.items():
        assert set(names) == known[plural]


@pytest.mark.parametrize(
    ("to", "port", "why"),
    [
        ("10.9.0.2", 30080, "the pods of the Service served do not answer at its targetPort 8080"),
        ("10.254.0.8", 80, "the pods of the Service served do not answer at its targetPort 8080"),
        ("10.254.0.8", 81, "the Service served has the port 80"),
        ("10.9.0.2", 30070, "the Service lonely has no endpoints: no pod has its labels app=wbe"),
        ("10.9.0.2", 30060, "the Service waiting has no endpoints: a is not Ready: it starts"),
        ("10.9.0.2", 30081, "no Service has the node port 30081"),
        ("10.9.0.2", 80, ""),
    ],
)
def test_why_nobody_serves_is_said(to: str, port: int, why: str) -> None:
    trouble = there(pod("a", ready=False)).why_unserved(ip_address(to), port)
    assert (trouble.said.en if trouble is not None else "") == why
    assert trouble is None or trouble.stays == ("has the port" in why or "no Service" in why)
    silent = there(pod("a", ready=False)).why_silent(ip_address(to), port)
    assert silent == (trouble if "has no endpoints" in why else None)
