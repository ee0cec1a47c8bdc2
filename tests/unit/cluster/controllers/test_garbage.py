"""What becomes of dependents, and of namespaces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_cluster import Registry, Simulation, cluster, namespace, pod, service, workload

from trenza.cluster.controllers.controlplane import Settings
from trenza.cluster.controllers.garbage import owner_resource
from trenza.cluster.controllers.nodes import NodeTimes
from trenza.cluster.controllers.objects import (
    Object,
    condition_of,
    controller_reference,
    is_deleting,
    name_of,
    owners_of,
    uid_of,
    with_metadata,
)
from trenza.cluster.controllers.snapshot import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    SERVICE_ACCOUNTS,
    SERVICES,
)
from trenza.cluster.controllers.writes import Propagation

ACCOUNTS = Settings(root_certificate="PEM", node_times=NodeTimes(10**9))


def deployed(**options: object) -> tuple[Simulation, Object]:
    run = cluster("n1", **options)
    thing = run.registry.create(DEPLOYMENTS, workload("Deployment", "web", 3))
    run.run()
    return run, thing


@given(seed=st.integers(0, 10**6), propagation=st.sampled_from([Propagation.BACKGROUND, Propagation.FOREGROUND]))
def test_what_a_deployment_made_goes_with_it(seed: int, propagation: Propagation) -> None:
    run, thing = deployed(seed=seed)
    order = []

    def look(registry: Registry) -> None:
        change = registry.log[-1]
        if change.now is None and change.resource in (DEPLOYMENTS, REPLICA_SETS, PODS):
            order.append(change.resource)

    run.registry.after_write = look
    run.registry.delete(DEPLOYMENTS, thing, propagation=propagation)
    run.run()
    assert not any(run.registry.all(resource) for resource in (DEPLOYMENTS, REPLICA_SETS, PODS))
    expected = [PODS] * 3 + [REPLICA_SETS, DEPLOYMENTS]
    assert propagation is not Propagation.FOREGROUND or order == expected


@given(seed=st.integers(0, 10**6))
def test_orphans_stay_and_forget(seed: int) -> None:
    run, thing = deployed(seed=seed)
    run.registry.delete(DEPLOYMENTS, thing, propagation=Propagation.ORPHAN)
    run.run()
    assert not run.registry.all(DEPLOYMENTS)
    (kept,) = run.registry.all(REPLICA_SETS)
    assert not owners_of(kept)
    assert len(run.registry.all(PODS)) == 3


def test_an_orphaned_replica_set_is_adopted_by_the_next_deployment() -> None:
    run, thing = deployed(chaos=False)
    before = {uid_of(each) for each in run.registry.all(PODS)}
    run.registry.delete(DEPLOYMENTS, thing, propagation=Propagation.ORPHAN)
    run.run()
    again = run.registry.create(DEPLOYMENTS, workload("Deployment", "web", 3))
    run.run()
    (kept,) = run.registry.all(REPLICA_SETS)
    assert owners_of(kept)[0]["uid"] == uid_of(again)
    assert {uid_of(each) for each in run.registry.all(PODS)} == before


def config(name: str, *owners: Object, space: str = "default", blocks: bool = True) -> Object:
    references = [
        {**controller_reference(owner), "controller": False, "blockOwnerDeletion": blocks} for owner in owners
    ]
    thing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": space}}
    return with_metadata(thing, ownerReferences=references or None)


@given(data=st.data(), seed=st.integers(0, 10**6))
def test_in_any_forest_exactly_what_has_no_owner_left_goes(data: st.DataObject, seed: int) -> None:
    run = cluster(seed=seed)
    made: list[Object] = []
    for number in range(data.draw(st.integers(1, 10))):
        owners = data.draw(st.lists(st.sampled_from(made), max_size=2, unique_by=name_of)) if made else []
        made.append(run.registry.create(CONFIG_MAPS, config(f"c{number}", *owners)))
    run.run()
    doomed = data.draw(st.lists(st.sampled_from(made), max_size=3, unique_by=name_of))
    foreground = data.draw(st.booleans())
    gone: set[str] = {name_of(each) for each in doomed}
    for each in made:
        owners = {reference["name"] for reference in owners_of(each)}
        if owners and owners <= gone:
            gone.add(name_of(each))
    for each in doomed:
        if ("default", name_of(each)) in run.registry.objects[CONFIG_MAPS]:
            run.registry.delete(
                CONFIG_MAPS, each, propagation=Propagation.FOREGROUND if foreground else Propagation.BACKGROUND
            )
    run.run()
    left = {name_of(each) for each in run.registry.all(CONFIG_MAPS) if name_of(each) != "kube-root-ca.crt"}
    assert left == {name_of(each) for each in made} - gone
    living = {uid_of(each) for each in run.registry.all(CONFIG_MAPS)}
    for each in run.registry.all(CONFIG_MAPS):
        assert all(reference["uid"] in living for reference in owners_of(each))


def test_an_owner_of_an_unknown_resource_keeps_its_dependents() -> None:
    run = cluster(chaos=False)
    reference = {"apiVersion": "example.org/v1", "kind": "Widget", "name": "w", "uid": "w"}
    run.registry.create(CONFIG_MAPS, with_metadata(config("c"), ownerReferences=[reference]))
    run.run()
    assert ("default", "c") in run.registry.objects[CONFIG_MAPS]


def test_an_owner_in_another_namespace_is_no_owner() -> None:
    run = cluster(chaos=False)
    run.registry.create(NAMESPACES, namespace("other"))
    owner = run.registry.create(CONFIG_MAPS, config("owner", space="other"))
    run.registry.create(CONFIG_MAPS, config("c", owner))
    run.run()
    assert ("default", "c") not in run.registry.objects[CONFIG_MAPS]
    assert ("other", "owner") in run.registry.objects[CONFIG_MAPS]


@pytest.mark.parametrize(
    ("version", "kind", "expected"),
    [
        ("v1", "Pod", "pods"),
        ("apps/v1", "ReplicaSet", "apps/replicasets"),
        ("v1", "Endpoints", "endpoints"),
        ("networking.k8s.io/v1", "NetworkPolicy", "networking.k8s.io/networkpolicies"),
        ("networking.k8s.io/v1", "Ingress", "networking.k8s.io/ingresses"),
        ("gateway.networking.k8s.io/v1", "Gateway", "gateway.networking.k8s.io/gateways"),
    ],
)
def test_the_resource_of_an_owner(version: str, kind: str, expected: str) -> None:
    assert owner_resource(version, kind) == expected


@given(seed=st.integers(0, 10**6))
def test_a_namespace_goes_with_everything_in_it(seed: int) -> None:
    run = cluster("n1", seed=seed, settings=ACCOUNTS)
    run.registry.create(NAMESPACES, namespace("lesson"))
    run.registry.create(DEPLOYMENTS, workload("Deployment", "web", 2, space="lesson"))
    run.registry.create(SERVICES, service("web", space="lesson"))
    run.run()
    assert run.registry.get(SERVICE_ACCOUNTS, "lesson", "default")
    assert run.registry.get(CONFIG_MAPS, "lesson", "kube-root-ca.crt")["data"] == {"ca.crt": "PEM"}
    run.registry.delete(NAMESPACES, run.registry.get(NAMESPACES, "", "lesson"))
    run.run(for_s=200)
    assert not [key for things in run.registry.objects.values() for key in things if "lesson" in key]
    assert run.registry.get(SERVICE_ACCOUNTS, "default", "default")


def test_a_namespace_says_what_holds_it() -> None:
    run = cluster("n1", chaos=False)
    run.registry.create(NAMESPACES, namespace("lesson"))
    run.registry.create(PODS, with_metadata(pod("p", space="lesson"), finalizers=["example.org/hold"]))
    run.run()
    run.registry.delete(NAMESPACES, run.registry.get(NAMESPACES, "", "lesson"))
    run.run()
    thing = run.registry.get(NAMESPACES, "", "lesson")
    said = {kind: condition_of(thing, kind) for kind in ("NamespaceContentRemaining", "NamespaceFinalizersRemaining")}
    assert {kind: (each["status"], each["reason"], each["message"]) for kind, each in said.items() if each} == {
        "NamespaceContentRemaining": (
            "True",
            "SomeResourcesRemain",
            "Some resources are remaining: pods. has 1 resource instances",
        ),
        "NamespaceFinalizersRemaining": (
            "True",
            "SomeFinalizersRemain",
            "Some content in the namespace has finalizers remaining: example.org/hold in 1 resource instances",
        ),
    }
    held = run.registry.get(PODS, "lesson", "p")
    assert is_deleting(held)
    run.registry.update(PODS, with_metadata(held, finalizers=None))
    run.run()
    assert ("", "lesson") not in run.registry.objects[NAMESPACES]


def test_a_root_certificate_that_was_changed_is_put_right() -> None:
    run = cluster(chaos=False, settings=ACCOUNTS)
    run.run()
    known = run.registry.get(CONFIG_MAPS, "default", "kube-root-ca.crt")
    run.registry.update(CONFIG_MAPS, {**known, "data": {"ca.crt": "forged"}})
    run.run()
    assert run.registry.get(CONFIG_MAPS, "default", "kube-root-ca.crt")["data"] == {"ca.crt": "PEM"}
