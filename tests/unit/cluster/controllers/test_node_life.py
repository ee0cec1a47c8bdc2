"""Nodes that fall silent: conditions, taints, evictions, and the pods made elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from simulated_cluster import START_S, Simulation, cluster, node, pod, service, workload

from trenza.cluster.controllers.controlplane import Settings
from trenza.cluster.controllers.nodes import (
    NodeTimes,
    node_lifecycle,
    tolerated_until_s,
    wanted_taints,
)
from trenza.cluster.controllers.objects import (
    condition_of,
    is_deleting,
    metadata_of,
    spec_of,
    status_of,
    with_spec,
    with_status,
)
from trenza.cluster.controllers.pods import is_active, is_ready, node_of
from trenza.cluster.controllers.snapshot import ENDPOINTS, LEASES, NODES, PODS, REPLICATION_CONTROLLERS, SERVICES
from trenza.cluster.controllers.writes import Step, UpdateStatus, Wake
from trenza.cluster.kinds.defaults import with_pod_admission
from trenza.cluster.kinds.names import timestamp

SHORT = Settings(node_times=NodeTimes(grace_s=4.0))
TOLERATIONS = spec_of(with_pod_admission(pod("p"), toleration_s=3))["tolerations"]


def lab(**options: Any) -> Simulation:
    """Two nodes and a master's, a replication controller of four, and its service."""
    run = cluster("larrain", "concepcion", settings=SHORT, **options)
    thing = workload("ReplicationController", "web", 4)
    thing["spec"]["template"]["spec"]["tolerations"] = TOLERATIONS
    run.registry.create(REPLICATION_CONTROLLERS, thing)
    run.registry.create(SERVICES, service("web"))
    run.pass_time(2)
    return run


def taints(run: Simulation, name: str) -> list[tuple[str, str]]:
    return [(each["key"], each["effect"]) for each in spec_of(run.registry.get(NODES, "", name)).get("taints", [])]


def addresses(run: Simulation) -> tuple[int, int]:
    """How many ready and how many other addresses the service has."""
    subsets = run.registry.get(ENDPOINTS, "default", "web").get("subsets", [])
    return tuple(sum(len(s.get(kind, [])) for s in subsets) for kind in ("addresses", "notReadyAddresses"))  # type: ignore[return-value]


def test_a_silent_node_becomes_unknown_and_its_pods_are_replaced_elsewhere() -> None:
    run = lab(chaos=False)
    assert {node_of(each) for each in run.registry.all(PODS)} == {"larrain", "concepcion"}
    assert addresses(run) == (4, 0)
    run.silent.add("larrain")
    run.pass_time(4.5)
    said = condition_of(run.registry.get(NODES, "", "larrain"), "Ready")
    assert said is not None
    assert (said["status"], said["reason"]) == ("Unknown", "NodeStatusUnknown")
    assert said["message"] == "Kubelet stopped posting node status."
    unreachable = "node.kubernetes.io/unreachable"
    assert taints(run, "larrain") == [(unreachable, "NoSchedule"), (unreachable, "NoExecute")]
    assert addresses(run) == (2, 2)
    assert ("node-controller", "NodeNotReady", "Node larrain status is now: NodeNotReady") in run.events()
    assert ("node-controller", "NodeNotReady", "Node is not ready") in run.events()
    run.pass_time(4)
    active = [each for each in run.registry.all(PODS) if is_active(each)]
    assert [node_of(each) for each in active] == ["concepcion"] * 4
    assert addresses(run) == (4, 0)
    lost = [each for each in run.registry.all(PODS) if is_deleting(each)]
    assert len(lost) == 2  # they terminate when their kubelet hears of it
    assert any(reason == "TaintManagerEviction" for _, reason, _ in run.events())


def test_a_node_that_comes_back_loses_its_taints_and_its_old_pods() -> None:
    run = lab(chaos=False)
    run.silent.add("larrain")
    run.pass_time(10)
    run.silent.clear()
    run.pass_time(2)
    assert taints(run, "larrain") == []
    assert all(is_active(each) for each in run.registry.all(PODS))
    assert len(run.registry.all(PODS)) == 4


def test_when_every_node_is_silent_nobody_is_evicted() -> None:
    run = lab(chaos=False)
    run.silent.update(("larrain", "concepcion"))
    run.pass_time(20)
    assert not any(is_deleting(each) for each in run.registry.all(PODS))
    assert taints(run, "larrain") == [("node.kubernetes.io/unreachable", "NoSchedule")]
    assert not any(is_ready(each) for each in run.registry.all(PODS))


@given(seed=st.integers(0, 10**6))
def test_a_lost_node_is_survived_in_every_order_of_things(seed: int) -> None:
    run = lab(seed=seed)
    run.silent.add("larrain")
    run.pass_time(12)
    active = [each for each in run.registry.all(PODS) if is_active(each)]
    assert [node_of(each) for each in active] == ["concepcion"] * 4
    assert addresses(run) == (4, 0)


def test_a_renewed_lease_is_a_sign_of_life() -> None:
    run = cluster("n1", settings=SHORT, chaos=False)
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "n1", "namespace": "kube-node-lease"},
        "spec": {"renewTime": timestamp(START_S + 100).replace("Z", ".250000Z")},
    }
    run.registry.create(LEASES, lease)
    run.run(for_s=104)
    assert condition_of(run.registry.get(NODES, "", "n1"), "Ready")["status"] == "True"  # type: ignore[index]
    run.run(for_s=1)
    assert condition_of(run.registry.get(NODES, "", "n1"), "Ready")["status"] == "Unknown"  # type: ignore[index]


def test_a_node_that_never_reported_is_said_to() -> None:
    run = cluster(settings=SHORT, chaos=False)
    run.registry.create(NODES, with_status(node("n1"), {"conditions": None}))
    run.run()
    assert taints(run, "n1") == [("node.kubernetes.io/not-ready", "NoSchedule")]
    run.run(for_s=5)
    said = condition_of(run.registry.get(NODES, "", "n1"), "Ready")
    assert said is not None and said["message"] == "Kubelet never posted node status."


def test_a_cordoned_node_is_tainted_and_others_taints_are_kept() -> None:
    mine = {"key": "mine", "effect": "NoSchedule"}
    thing = with_spec(node("n"), unschedulable=True, taints=[mine])
    found = wanted_taints(thing, START_S, evicting=True)
    assert found == [
        mine,
        {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule", "timeAdded": timestamp(START_S)},
    ]
    assert wanted_taints(with_spec(thing, taints=found, unschedulable=False), START_S, evicting=True) == [mine]


def test_pressure_taints() -> None:
    thing = node("n")
    pressed = {"type": "DiskPressure", "status": "True"}
    thing = with_status(thing, {"conditions": [*status_of(thing)["conditions"], pressed]})
    assert [each["key"] for each in wanted_taints(thing, START_S, evicting=True)] == [
        "node.kubernetes.io/disk-pressure"
    ]


def test_how_long_a_pod_stays_beside_a_taint() -> None:
    taint = {"key": "k", "effect": "NoExecute", "timeAdded": timestamp(START_S)}
    now_s = START_S + 1
    assert tolerated_until_s(pod("p"), [taint], now_s) == now_s
    assert tolerated_until_s(pod("p", tolerations=[{"key": "k", "operator": "Exists"}]), [taint], now_s) is None
    some = [{"operator": "Exists", "tolerationSeconds": 7}]
    assert tolerated_until_s(pod("p", tolerations=some), [taint], now_s) == START_S + 7
    late = pod("p", tolerations=some)
    late["metadata"]["creationTimestamp"] = timestamp(START_S + 20)
    assert tolerated_until_s(late, [taint], START_S + 20) == START_S + 27, "it came when the taint was there already"


def test_admission_adds_tolerations_only_where_none_is() -> None:
    own = [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}]
    found = spec_of(with_pod_admission(pod("p", tolerations=own), toleration_s=300))["tolerations"]
    assert [(each["key"], each["tolerationSeconds"]) for each in found] == [
        ("node.kubernetes.io/not-ready", 1),
        ("node.kubernetes.io/unreachable", 300),
    ]


def test_pods_of_a_node_that_is_gone_are_gone() -> None:
    run = cluster("n1", "n2", chaos=False)
    run.registry.create(REPLICATION_CONTROLLERS, workload("ReplicationController", "web", 4))
    run.run()
    run.registry.delete(NODES, run.registry.get(NODES, "", "n1"))
    run.run()
    assert [node_of(each) for each in run.registry.all(PODS)] == ["n2"] * 4
    assert any(message == "PodGC: node no longer exists: n1" for _, _, message in run.events())


def test_finished_pods_are_cleared_beyond_the_threshold() -> None:
    run = cluster("n1", chaos=False, settings=Settings(node_times=NodeTimes(10**9), most_finished_pods=2))
    for number in range(5):
        run.registry.now_s += 1
        run.registry.create(PODS, with_status(pod(f"p{number}", nodeName="n1"), {"phase": "Succeeded"}))
    run.run()
    assert [metadata_of(each)["name"] for each in run.registry.all(PODS)] == ["p3", "p4"]


def test_only_a_snapshot_that_is_known_to_be_complete_shows_silence() -> None:
    registry = cluster("n1", settings=SHORT, chaos=False).registry
    now_s = START_S + 100

    def decided(**times: float) -> list[Step]:
        seen = replace(registry.snapshot(), **times)
        return list(node_lifecycle(seen, now_s, NodeTimes(grace_s=4.0)))

    assert [type(step) for step in decided()] == [UpdateStatus]
    assert decided(as_of_s=START_S + 3.9) == [Wake(START_S + 4)]  # the watch has come no further
    assert [type(step) for step in decided(as_of_s=START_S + 4)] == [UpdateStatus]
    assert decided(since_s=now_s - 3) == [Wake(now_s + 1)]  # the store was away until then
    assert [type(step) for step in decided(since_s=now_s - 4, as_of_s=now_s)] == [UpdateStatus]
