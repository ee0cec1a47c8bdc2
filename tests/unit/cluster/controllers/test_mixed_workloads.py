"""Everything at once: people, kubelets and all controllers do what they like, and in the end all is as it was asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from simulated_cluster import Simulation, cluster, namespace, node, service, template, workload

from trenza.cluster.controllers.objects import (
    Object,
    is_controlled_by,
    is_deleting,
    name_of,
    namespace_of,
    owners_of,
    spec_of,
    status_of,
    uid_of,
    with_metadata,
    with_spec,
)
from trenza.cluster.controllers.pods import is_active, is_ready, node_of
from trenza.cluster.controllers.snapshot import (
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    SERVICES,
)
from trenza.cluster.controllers.writes import Propagation

KINDS = {
    "Deployment": DEPLOYMENTS,
    "ReplicaSet": REPLICA_SETS,
    "ReplicationController": REPLICATION_CONTROLLERS,
    "DaemonSet": DAEMON_SETS,
}
SPACES = ("default", "lesson")


def applied(run: Simulation, kind: str, space: str) -> None:
    """One workload per kind and namespace, made or changed."""
    if ("", space) not in run.registry.objects[NAMESPACES] or is_deleting(run.registry.get(NAMESPACES, "", space)):
        return
    name, labels = kind.lower(), {"app": kind.lower()}
    replicas = None if kind == "DaemonSet" else run.chance.randint(0, 4)
    selector = labels if kind == "ReplicationController" else {"matchLabels": labels}
    wanted = workload(
        kind, name, replicas, space=space, selector=selector, template=template(run.chance.choice(["a", "b"]), **labels)
    )
    known = run.registry.objects[KINDS[kind]].get((space, name))
    if known is None:
        run.registry.create(KINDS[kind], wanted)
    elif not is_deleting(known):
        run.registry.update(KINDS[kind], with_spec(known, **spec_of(wanted)))


def deleted(run: Simulation, kind: str, space: str) -> None:
    known = run.registry.objects[KINDS[kind]].get((space, kind.lower()))
    if known is not None:
        run.registry.delete(KINDS[kind], known, propagation=run.chance.choice(list(Propagation)))


def disturbed(run: Simulation) -> None:
    """A pod loses its label or is deleted; a node is cordoned; a node, a namespace, a service comes or goes."""
    chance, registry = run.chance, run.registry
    pods = registry.all(PODS)
    match chance.choice(["label", "pod", "cordon", "node", "namespace", "service"]):
        case "label" if pods:
            registry.update(PODS, with_metadata(chance.choice(pods), labels={"app": "lost"}))
        case "pod" if pods:
            registry.delete(PODS, chance.choice(pods))
        case "cordon" if registry.all(NODES):
            thing = chance.choice(registry.all(NODES))
            registry.update(NODES, with_spec(thing, unschedulable=not spec_of(thing).get("unschedulable")))
        case "node":
            if ("", "n3") in registry.objects[NODES]:
                registry.delete(NODES, registry.get(NODES, "", "n3"))
            else:
                registry.create(NODES, node("n3"))
        case "namespace":
            if ("", "lesson") not in registry.objects[NAMESPACES]:
                registry.create(NAMESPACES, namespace("lesson"))
            else:
                registry.delete(NAMESPACES, registry.get(NAMESPACES, "", "lesson"))
        case "service":
            if ("default", "web") in registry.objects[SERVICES]:
                registry.delete(SERVICES, registry.get(SERVICES, "default", "web"))
            else:
                registry.create(SERVICES, service("web", selector={"app": "deployment"}))


def wanted_pods(run: Simulation, kind: str, owner: Object) -> int:
    if kind != "DaemonSet":
        return int(spec_of(owner)["replicas"])
    return len(run.registry.all(NODES))  # daemons tolerate cordons


@given(seed=st.integers(0, 10**9), length=st.integers(1, 25))
def test_all_is_as_it_was_asked_for_in_the_end(seed: int, length: int) -> None:
    run = cluster("n1", "n2", seed=seed)
    chance, registry = run.chance, run.registry
    for _ in range(length):
        act = chance.random()
        if act < 0.4:
            applied(run, chance.choice(list(KINDS)), chance.choice(SPACES))
        elif act < 0.55:
            deleted(run, chance.choice(list(KINDS)), chance.choice(SPACES))
        else:
            disturbed(run)
        for _ in range(chance.randint(0, 4)):
            run.once()
    for each in registry.all(NODES):
        registry.update(NODES, with_spec(each, unschedulable=False))
    run.run(for_s=120)  # what was refused in an ending namespace is held back for a minute at most

    for kind, resource in KINDS.items():
        for owner in registry.all(resource):
            assert not is_deleting(owner)
            if kind == "Deployment":
                sets = [each for each in registry.all(REPLICA_SETS) if is_controlled_by(each, owner)]
                mine = [p for p in registry.all(PODS) if any(is_controlled_by(p, each) for each in sets)]
            else:
                mine = [pod for pod in registry.all(PODS) if is_controlled_by(pod, owner)]
            assert len(mine) == wanted_pods(run, kind, owner), (kind, name_of(owner))
            assert all(is_active(pod) and is_ready(pod) for pod in mine)
            if kind in ("Deployment", "DaemonSet"):
                assert {spec_of(pod)["containers"][0]["image"] for pod in mine} <= {
                    spec_of(owner)["template"]["spec"]["containers"][0]["image"]
                }
    uids = {uid_of(each) for things in registry.objects.values() for each in things.values()}
    spaces = {name_of(each) for each in registry.all(NAMESPACES)}
    for things in registry.objects.values():
        for each in things.values():
            assert all(owner["uid"] in uids for owner in owners_of(each))
            assert namespace_of(each) in {"", *spaces}
    for pod in registry.all(PODS):
        assert node_of(pod) in {name_of(each) for each in registry.all(NODES)}
    services = {name_of(each) for each in registry.all(SERVICES)}
    assert {name_of(each) for each in registry.all(ENDPOINTS)} == services
    serving = sorted(
        status_of(pod)["podIP"] for pod in registry.all(PODS)
        if namespace_of(pod) == "default" and pod["metadata"]["labels"].get("app") == "deployment"
    )  # fmt: skip
    found = sorted(e["addresses"][0] for each in registry.all(ENDPOINT_SLICES) for e in each["endpoints"])
    assert found == (serving if services else [])
