"""The scheduler: who may go where, who goes where best, and why a pod stays without a node."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_cluster import START_S, Registry, cluster, node, pod, template, workload

from trenza.cluster.controllers.objects import Object, condition_of, controller_reference, with_metadata, with_spec
from trenza.cluster.controllers.pods import node_of
from trenza.cluster.controllers.quantities import pod_requests, thousandths
from trenza.cluster.controllers.scheduler import schedule
from trenza.cluster.controllers.snapshot import NODES, PODS, REPLICA_SETS
from trenza.cluster.controllers.writes import Bind, UpdateStatus

CUT_OFF = {"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}


def scheduled(nodes: list[Object], pods: list[Object]) -> dict[str, str]:
    """The node, or the words of the refusal, for each pod."""
    registry = Registry()
    for each in nodes:
        registry.create(NODES, each)
    for each in pods:
        registry.create(PODS, each)
    found = {}
    for step in schedule(registry.snapshot(), START_S):
        if isinstance(step, Bind):
            found[step.key[1]] = step.node
        elif isinstance(step, UpdateStatus):
            said = condition_of(step.object, "PodScheduled")
            assert said is not None and step.then[0].reason == "FailedScheduling"
            assert step.then[0].message == said["message"]
            found[step.key[1]] = said["message"]
    return found


def asking(name: str, **requests: str) -> Object:
    return pod(name, containers=[{"name": "c", "image": "i", "resources": {"requests": requests}}])


def tainted(name: str, *taints: Object) -> Object:
    return with_spec(node(name), taints=list(taints))


def refused(lead: str, *, help_words: str = "1 Preemption is not helpful for scheduling", nodes: int = 1) -> str:
    return f"0/{nodes} nodes are available: {lead}. preemption: 0/{nodes} nodes are available: {help_words}.."


@pytest.mark.parametrize(
    ("place", "thing", "words"),
    [
        (with_spec(node("n"), unschedulable=True), pod("p"), "1 node(s) were unschedulable"),
        (tainted("n", CUT_OFF), pod("p"), "1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }"),
        (
            tainted("n", {"key": "only", "value": "db", "effect": "NoExecute"}),
            pod("p", tolerations=[{"key": "only", "operator": "Equal", "value": "web"}]),
            "1 node(s) had untolerated taint {only: db}",
        ),
        (node("n"), pod("p", nodeSelector={"disk": "ssd"}), "1 node(s) didn't match Pod's node affinity/selector"),
    ],
)
def test_a_node_that_cannot_take_a_pod_is_said_to(place: Object, thing: Object, words: str) -> None:
    assert scheduled([place], [thing]) == {"p": refused(words)}


def test_what_is_lacking_is_named_per_resource() -> None:
    thing = asking("p", cpu="9", memory="1Ti")
    expected = refused(
        "1 Insufficient memory, 2 Insufficient cpu",
        help_words="2 No preemption victims found for incoming pod",
        nodes=2,
    )
    assert scheduled([node("a"), node("b", memory="2Ti")], [thing]) == {"p": expected}


def test_a_cluster_without_nodes_says_so() -> None:
    assert scheduled([], [pod("p")]) == {"p": "no nodes available to schedule pods"}


def test_a_full_node_says_that_there_are_too_many_pods() -> None:
    found = scheduled([node("n", pods="2")], [pod("a"), pod("b"), pod("c")])
    assert found["a"] == found["b"] == "n"
    assert found["c"] == refused("1 Too many pods", help_words="1 No preemption victims found for incoming pod")


def test_tolerated_taints_are_no_obstacle() -> None:
    tolerations = [{"key": "node.kubernetes.io/unreachable", "operator": "Exists"}]
    assert scheduled([tainted("n", CUT_OFF)], [pod("p", tolerations=tolerations)]) == {"p": "n"}
    assert scheduled([tainted("n", CUT_OFF)], [pod("p", tolerations=[{"operator": "Exists"}])]) == {"p": "n"}


def test_a_taint_that_only_prefers_is_avoided_where_possible() -> None:
    shy = tainted("a", {"key": "k", "effect": "PreferNoSchedule"})
    assert scheduled([shy, node("b")], [pod("p")]) == {"p": "b"}
    assert scheduled([shy], [pod("p")]) == {"p": "a"}


@pytest.mark.parametrize(
    ("requirement", "chosen"),
    [
        ({"key": "zone", "operator": "In", "values": ["x"]}, "a"),
        ({"key": "zone", "operator": "NotIn", "values": ["x"]}, "b"),
        ({"key": "cores", "operator": "Gt", "values": ["6"]}, "b"),
        ({"key": "cores", "operator": "Lt", "values": ["6"]}, "a"),
        ({"key": "gpu", "operator": "DoesNotExist"}, "a"),
        ({"key": "gpu", "operator": "Exists"}, "b"),
    ],
)
def test_node_affinity_selects(requirement: Object, chosen: str) -> None:
    affinity = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [requirement]}]
            }
        }
    }
    nodes = [node("a", zone="x", cores="4"), node("b", zone="y", cores="8", gpu="1")]
    assert scheduled(nodes, [pod("p", affinity=affinity)]) == {"p": chosen}


def test_preferred_affinity_outweighs_an_emptier_node() -> None:
    preference = {
        "weight": 50,
        "preference": {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["y"]}]},
    }
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preference]}}
    nodes = [node("a", zone="x"), node("b", zone="y")]
    assert scheduled(nodes, [pod("p", affinity=affinity)])["p"] == "b"


def test_two_pods_do_not_share_a_host_port() -> None:
    ports: list[dict[str, Any]] = [{"containerPort": 80, "hostPort": 8080}]
    pods = [pod(name, containers=[{"name": "c", "image": "i", "ports": ports}]) for name in ("a", "b", "c")]
    found = scheduled([node("n1"), node("n2")], pods)
    assert {found["a"], found["b"]} == {"n1", "n2"}
    assert "2 node(s) didn't have free ports for the requested pod ports" in found["c"]


def test_replicas_spread_over_the_nodes() -> None:
    registry = Registry()
    owner = registry.create(REPLICA_SETS, workload("ReplicaSet", "web", 6))
    pods = [with_metadata(pod(f"p{n}"), ownerReferences=[controller_reference(owner)]) for n in range(6)]
    found = scheduled([node("a"), node("b"), node("c")], pods)
    assert Counter(found.values()) == {"a": 2, "b": 2, "c": 2}


def test_a_hard_spread_constraint_refuses_what_would_skew() -> None:
    constraint = {
        "topologyKey": "zone",
        "maxSkew": 1,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    pods = [pod(f"p{n}", labels={"app": "web"}, topologySpreadConstraints=[constraint]) for n in range(4)]
    found = scheduled([node("a", zone="x"), node("b", zone="y", pods="1"), node("c")], pods)
    assert Counter(found[f"p{n}"] for n in range(3)) == {"a": 2, "b": 1}
    unmatched = "1 node(s) didn't match pod topology spread constraints"
    assert found["p3"] == refused(
        f"1 Too many pods, {unmatched}, {unmatched} (missing required label)",
        help_words="1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod",
        nodes=3,
    )


def test_required_anti_affinity_keeps_pods_apart_and_affinity_together() -> None:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    close = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    nodes = [node("a"), node("b")]
    found = scheduled(nodes, [pod(f"p{n}", labels={"app": "web"}, affinity=apart) for n in range(3)])
    assert {found["p0"], found["p1"]} == {"a", "b"}
    assert "2 node(s) didn't match pod anti-affinity rules" in found["p2"]
    found = scheduled(nodes, [pod(f"p{n}", labels={"app": "web"}, affinity=close) for n in range(3)])
    assert len(set(found.values())) == 1
    found = scheduled(nodes, [pod("alone", affinity=close)])
    assert "2 node(s) didn't match pod affinity rules" in found["alone"]


def test_gated_bound_and_foreign_pods_are_left_alone() -> None:
    pods = [
        pod("gated", schedulingGates=[{"name": "later"}]),
        pod("bound", nodeName="n"),
        pod("foreign", schedulerName="mine"),
    ]
    assert scheduled([node("n")], pods) == {}


def test_the_important_come_first() -> None:
    found = scheduled([node("n", pods="1")], [pod("a", priority=0), pod("b", priority=10)])
    assert found["b"] == "n" and found["a"].startswith("0/1 nodes")


def test_a_refusal_is_told_once_and_the_binding_when_it_can_be() -> None:
    run = cluster(chaos=False)
    run.registry.create(PODS, pod("p"))
    run.run()
    run.registry.create(NODES, tainted("n", CUT_OFF))
    run.run()
    run.registry.update(NODES, with_spec(run.registry.get(NODES, "", "n"), taints=[]))
    run.run()
    told = [(reason, message) for component, reason, message in run.events() if component == "default-scheduler"]
    assert [reason for reason, _ in told] == ["FailedScheduling", "FailedScheduling", "Scheduled"]
    assert told[-1][1] == "Successfully assigned default/p to n"


@given(
    requests=st.lists(st.integers(0, 3000), max_size=30),
    capacities=st.lists(st.integers(0, 8000), min_size=1, max_size=4),
    seed=st.integers(0, 10**6),
)
def test_no_node_is_ever_given_more_than_it_has(requests: list[int], capacities: list[int], seed: int) -> None:
    run = cluster(seed=seed)
    for number, capacity in enumerate(capacities):
        run.registry.create(NODES, node(f"n{number}", cpu=f"{capacity}m"))
    for number, request in enumerate(requests):
        run.registry.create(PODS, asking(f"p{number}", cpu=f"{request}m"))
    run.run()
    for number, capacity in enumerate(capacities):
        there = [each for each in run.registry.all(PODS) if node_of(each) == f"n{number}"]
        assert sum(pod_requests(each["spec"]).get("cpu", 0) for each in there) <= capacity
    waiting = [each for each in run.registry.all(PODS) if not node_of(each)]
    smallest = min((pod_requests(each["spec"]).get("cpu", 0) for each in waiting), default=None)
    if smallest is not None:
        for number, capacity in enumerate(capacities):
            there = [each for each in run.registry.all(PODS) if node_of(each) == f"n{number}"]
            assert capacity - sum(pod_requests(each["spec"]).get("cpu", 0) for each in there) < smallest


@pytest.mark.parametrize(
    ("text", "expected"),
    [("100m", 100), ("1", 1000), ("1.5", 1500), ("2k", 2_000_000), ("1Ki", 1_024_000), ("1e3", 1_000_000), ("1n", 1),
     ("0.1", 100), (".5", 500), ("1E", 10**21), ("1Gi", 2**30 * 1000), ("-1", -1000)],
)  # fmt: skip
def test_quantities_are_read(text: str, expected: int) -> None:
    assert thousandths(text) == expected


@pytest.mark.parametrize("text", ["", "m", "1mm", "1 Gi", "x", "1ki"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="quantities must match"):
        thousandths(text)


def test_init_containers_count_for_as_much_as_they_need_alone() -> None:
    def container(cpu: str, **more: str) -> Object:
        return {"name": "c", "resources": {"requests": {"cpu": cpu}}, **more}

    spec = {"containers": [container("1"), container("1")], "initContainers": [container("3"), container("1")]}
    assert pod_requests(spec) == {"cpu": 3000}
    assert template()["spec"]["containers"][0]["name"] == "web"
