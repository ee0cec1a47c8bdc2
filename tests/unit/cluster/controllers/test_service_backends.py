"""Endpoints and slices: who stands behind a service, ready or not, and what is left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_cluster import START_S, Registry, Simulation, cluster, pod, service, workload

from trenza.cluster.controllers.endpoints import endpoints
from trenza.cluster.controllers.endpointslices import MIRROR_MANAGER, SERVICE_NAME, endpoint_slices
from trenza.cluster.controllers.objects import (
    Object,
    is_deleting,
    labels_of,
    metadata_of,
    name_of,
    owners_of,
    spec_of,
    status_of,
    with_metadata,
    with_spec,
)
from trenza.cluster.controllers.pods import is_active, is_ready
from trenza.cluster.controllers.snapshot import ENDPOINT_SLICES, ENDPOINTS, PODS, REPLICA_SETS, SERVICES
from trenza.cluster.controllers.writes import Create, Settled, Step, Update


def behind(registry: Registry, address: str, *, ready: bool = True, phase: str = "Running", **more: Any) -> Object:
    """A pod of `app: web` with an address."""
    thing = pod(f"p{address.replace('.', '-').replace(':', '-')}", labels={"app": "web"}, **{"nodeName": "n1", **more})
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    addresses = [{"ip": each} for each in address.split(",")]
    status = {"phase": phase, "podIP": addresses[0]["ip"], "podIPs": addresses, "conditions": [condition]}
    return registry.create(PODS, {**thing, "status": status})


def subsets(registry: Registry) -> list[Object]:
    """What the Endpoints of the only service are to be."""
    (step,) = endpoints(registry.snapshot(), START_S, Settled())
    assert isinstance(step, Create | Update)
    found: list[Object] = step.object.get("subsets", [])
    return found


def test_ready_and_unready_pods_stand_apart_with_their_target() -> None:
    registry = Registry()
    registry.create(SERVICES, service("web"))
    first = behind(registry, "172.16.1.2")
    behind(registry, "172.16.1.3", ready=False)
    behind(registry, "172.16.1.4", phase="Failed")
    (subset,) = subsets(registry)
    assert subset["addresses"] == [
        {
            "ip": "172.16.1.2",
            "nodeName": "n1",
            "targetRef": {
                "kind": "Pod",
                "namespace": "default",
                "name": name_of(first),
                "uid": metadata_of(first)["uid"],
            },
        }
    ]
    assert [each["ip"] for each in subset["notReadyAddresses"]] == ["172.16.1.3"]
    assert subset["ports"] == [{"port": 80, "protocol": "TCP"}]


def test_a_service_may_publish_what_is_not_ready() -> None:
    registry = Registry()
    registry.create(SERVICES, service("web", publishNotReadyAddresses=True))
    behind(registry, "172.16.1.3", ready=False)
    assert [each["ip"] for each in subsets(registry)[0]["addresses"]] == ["172.16.1.3"]


def test_a_named_port_is_each_pods_own() -> None:
    registry = Registry()
    ports = [{"name": "www", "port": 80, "targetPort": "http", "protocol": "TCP"}]
    registry.create(SERVICES, service("web", ports=ports))
    behind(registry, "172.16.1.2")
    containers = [{"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 8080}]}]
    behind(registry, "172.16.1.3", containers=containers)
    behind(registry, "172.16.1.4", containers=[{"name": "c", "image": "i"}])
    found = {s["ports"][0]["port"]: [a["ip"] for a in s["addresses"]] for s in subsets(registry)}
    assert found == {80: ["172.16.1.2"], 8080: ["172.16.1.3"]}


def test_a_headless_service_without_ports_has_addresses() -> None:
    registry = Registry()
    registry.create(SERVICES, service("web", clusterIP="None", ports=[]))
    behind(registry, "172.16.1.2", hostname="first", subdomain="web")
    (subset,) = subsets(registry)
    assert "ports" not in subset
    assert subset["addresses"][0]["hostname"] == "first"


def test_a_service_without_selector_is_left_alone_and_its_endpoints_are_mirrored() -> None:
    run = cluster(chaos=False)
    run.registry.create(SERVICES, service("db", selector=None))
    by_hand = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "db", "namespace": "default"},
        "subsets": [{"addresses": [{"ip": "10.9.0.9"}], "ports": [{"port": 5432, "protocol": "TCP"}]}],
    }
    made = run.registry.create(ENDPOINTS, by_hand)
    run.run()
    assert run.registry.get(ENDPOINTS, "default", "db") == made
    (mirror,) = run.registry.all(ENDPOINT_SLICES)
    assert labels_of(mirror)["endpointslice.kubernetes.io/managed-by"] == MIRROR_MANAGER
    assert mirror["endpoints"] == [{"addresses": ["10.9.0.9"], "conditions": {"ready": True}}]
    assert mirror["ports"] == [{"name": "", "port": 5432, "protocol": "TCP"}]
    run.registry.delete(SERVICES, run.registry.get(SERVICES, "default", "db"))
    run.run()
    assert not run.registry.all(ENDPOINT_SLICES)
    assert run.registry.all(ENDPOINTS)


def test_slices_say_who_serves_and_who_leaves() -> None:
    registry = Registry()
    registry.create(SERVICES, service("web"))
    behind(registry, "172.16.1.2")
    leaving = behind(registry, "172.16.1.3")
    registry.delete(PODS, leaving)
    (step,) = endpoint_slices(registry.snapshot(), START_S, Settled())
    assert isinstance(step, Create)
    found = {each["addresses"][0]: each["conditions"] for each in step.object["endpoints"]}
    assert found == {
        "172.16.1.2": {"ready": True, "serving": True, "terminating": False},
        "172.16.1.3": {"ready": False, "serving": True, "terminating": True},
    }
    assert step.object["addressType"] == "IPv4"
    assert labels_of(step.object)[SERVICE_NAME] == "web"
    assert owners_of(step.object)[0]["kind"] == "Service"


def test_a_service_of_two_families_has_slices_of_both() -> None:
    registry = Registry()
    registry.create(SERVICES, service("web", ipFamilies=["IPv4", "IPv6"]))
    behind(registry, "172.16.1.2,2001:db8::2")
    made = [
        step.object for step in endpoint_slices(registry.snapshot(), START_S, Settled()) if isinstance(step, Create)
    ]
    assert {each["addressType"]: each["endpoints"][0]["addresses"] for each in made} == {
        "IPv4": ["172.16.1.2"],
        "IPv6": ["2001:db8::2"],
    }


def sliced(run: Simulation) -> list[list[str]]:
    return [[e["addresses"][0] for e in each["endpoints"]] for each in run.registry.all(ENDPOINT_SLICES)]


def test_a_service_without_pods_has_one_empty_slice() -> None:
    run = cluster(chaos=False)
    run.registry.create(SERVICES, service("web"))
    run.run()
    assert sliced(run) == [[]]
    assert "subsets" not in run.registry.get(ENDPOINTS, "default", "web")


def test_a_hundred_to_a_slice_and_a_change_touches_one() -> None:
    run = cluster("n1", chaos=False)
    run.registry.create(SERVICES, service("web"))
    for number in range(230):
        behind(run.registry, f"172.16.{number // 200}.{number % 200 + 1}")
    run.run()
    assert sorted(map(len, sliced(run))) == [30, 100, 100]
    before = {name_of(each): metadata_of(each)["resourceVersion"] for each in run.registry.all(ENDPOINT_SLICES)}
    run.registry.delete(PODS, run.registry.all(PODS)[5], grace_s=0)
    run.run()
    after = {name_of(each): metadata_of(each)["resourceVersion"] for each in run.registry.all(ENDPOINT_SLICES)}
    assert before.keys() == after.keys()
    assert sum(before[name] != after[name] for name in before) == 1
    behind(run.registry, "172.16.9.9")
    run.run()
    assert len(sliced(run)) == 3 and sum(map(len, sliced(run))) == 230


def test_every_label_of_a_selector_must_match() -> None:
    registry = Registry()
    registry.create(SERVICES, service("web", selector={"app": "web", "tier": "front"}))
    behind(registry, "172.16.1.2")
    registry.create(PODS, with_metadata(pod("other"), labels={"tier": "front"}))
    assert subsets(registry) == []


def test_a_services_labels_and_headlessness_are_handed_on() -> None:
    registry = Registry()
    registry.create(SERVICES, with_metadata(service("web", clusterIP="None"), labels={"tier": "front"}))
    for decide in (endpoints, endpoint_slices):
        (step,) = decide(registry.snapshot(), START_S, Settled())
        assert isinstance(step, Create)
        labels = labels_of(step.object)
        assert labels["tier"] == "front" and labels["service.kubernetes.io/headless"] == ""


@given(seed=st.integers(0, 10**6), sizes=st.lists(st.integers(0, 6), min_size=1, max_size=4))
def test_endpoints_follow_the_pods_through_every_change(seed: int, sizes: list[int]) -> None:
    run = cluster("n1", "n2", seed=seed)
    run.registry.create(SERVICES, service("web"))
    run.registry.create(REPLICA_SETS, workload("ReplicaSet", "web", 0))
    for size in sizes:
        for _ in range(run.chance.randint(0, 5)):
            run.once()
        thing = run.registry.get(REPLICA_SETS, "default", "web")
        run.registry.update(REPLICA_SETS, with_spec(thing, replicas=size))
    run.run()
    expected = sorted(status_of(each)["podIP"] for each in run.registry.all(PODS) if is_active(each) and is_ready(each))
    assert len(expected) == sizes[-1]
    found = run.registry.get(ENDPOINTS, "default", "web").get("subsets", [])
    assert sorted(a["ip"] for subset in found for a in subset.get("addresses", [])) == expected
    assert sorted(address for each in sliced(run) for address in each) == expected
    run.registry.delete(SERVICES, run.registry.get(SERVICES, "default", "web"))
    run.run()
    assert not run.registry.all(ENDPOINTS) and not run.registry.all(ENDPOINT_SLICES)
    assert not any(is_deleting(each) or not spec_of(each) for each in run.registry.all(PODS))


class Counting(Settled):
    """Counts the services that were looked at."""

    looked = 0

    def each(
        self,
        things: Iterable[Object],
        sources: Callable[[Object], tuple[object, ...]],
        decide: Callable[[Object], Iterator[Step]],
    ) -> Iterator[Step]:
        def counted(thing: Object) -> Iterator[Step]:
            self.looked += 1
            return decide(thing)

        return super().each(things, sources, counted)


@pytest.mark.parametrize("controller", [endpoints, endpoint_slices])
def test_a_change_has_only_the_services_looked_at_that_it_touches(controller: Callable[..., Iterator[Step]]) -> None:
    run = cluster("n1")
    for number in range(200):
        run.registry.create(SERVICES, service(f"s{number}", selector={"group": str(number // 2)}))
        run.registry.create(PODS, pod(f"p{number}", labels={"group": str(number // 4)}))
    run.run()
    counting, seen = Counting(), run.registry.snapshot()
    assert list(controller(seen, START_S, counting)) == [] and counting.looked == 200
    counting.looked = 0
    assert list(controller(seen.with_changes((), seen.revision + 1), START_S, counting)) == [] and not counting.looked
    known = len(run.registry.log)
    run.report(run.registry.get(PODS, "default", "p0"), ready=False)
    run.registry.create(SERVICES, service("new", selector={"group": "none"}))
    seen = seen.with_changes(run.registry.log[known:], run.registry.revision)
    assert {type(step) for step in controller(seen, START_S, counting)} == {Create, Update} and counting.looked == 3
    # What was wanted and is not there yet is wanted again.
    assert len(list(controller(seen, START_S, counting))) == 3 and counting.looked == 6
