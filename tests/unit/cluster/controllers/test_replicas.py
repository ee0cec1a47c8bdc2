"""ReplicationControllers and ReplicaSets: as many pods as wanted, whatever there was and however late the news are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from simulated_cluster import START_S, Registry, cluster, pod, template, workload

from trenza.cluster.controllers.loop import Outcome, Refused
from trenza.cluster.controllers.objects import (
    Object,
    controller_reference,
    is_controlled_by,
    name_of,
    owners_of,
    status_of,
    with_condition,
    with_metadata,
    with_spec,
    with_status,
)
from trenza.cluster.controllers.pods import is_active, least_missed_first
from trenza.cluster.controllers.replicaset import replica_sets
from trenza.cluster.controllers.snapshot import PODS, REPLICA_SETS, REPLICATION_CONTROLLERS
from trenza.cluster.controllers.writes import Create, Delete, Update, UpdateStatus, Wake, Write

STARTS = st.lists(st.sampled_from(["orphan", "owned", "failed", "strayed", "another's"]), max_size=8)


def started(registry: Registry, owner: Object, kinds: list[str]) -> None:
    """Pods of every kind that a replica set may find."""
    for number, kind in enumerate(kinds):
        thing = pod(f"p{number}", labels={"app": "other" if kind == "strayed" else "web"})
        if kind in ("owned", "failed", "strayed"):
            thing = with_metadata(thing, ownerReferences=[controller_reference(owner)])
        if kind == "another's":
            labels = {"app": "web", "keeper": f"rc{number}"}
            keeper = workload("ReplicationController", f"rc{number}", 1, selector=labels, template=template(**labels))
            keeper = registry.create(REPLICATION_CONTROLLERS, keeper)
            thing = with_metadata(thing, labels=labels, ownerReferences=[controller_reference(keeper)])
        if kind == "failed":
            thing = with_status(thing, {"phase": "Failed"})
        registry.create(PODS, thing)


@given(seed=st.integers(0, 10**6), wanted=st.integers(0, 7), kinds=STARTS)
def test_a_replica_set_gets_its_number_of_pods_from_any_start(seed: int, wanted: int, kinds: list[str]) -> None:
    run = cluster("n1", "n2", seed=seed)
    owner = run.registry.create(REPLICA_SETS, workload("ReplicaSet", "web", wanted))
    started(run.registry, owner, kinds)
    run.loop.replace(run.registry.snapshot())
    run.run()
    mine = [each for each in run.registry.all(PODS) if is_controlled_by(each, owner) and is_active(each)]
    assert len(mine) == wanted
    status = status_of(run.registry.get(REPLICA_SETS, "default", "web"))
    assert (status["replicas"], status.get("readyReplicas", 0), status.get("availableReplicas", 0)) == (wanted,) * 3
    orphans = [
        each for each in run.registry.all(PODS) if not owners_of(each) and each["metadata"]["labels"]["app"] == "web"
    ]
    assert not orphans


@given(seed=st.integers(0, 10**6), wanted=st.integers(0, 7))
def test_a_slow_watch_never_doubles_a_pod(seed: int, wanted: int) -> None:
    made: set[str] = set()

    def watch(registry: Registry) -> None:
        made.update(name_of(each) for each in registry.all(PODS))

    run = cluster("n1", seed=seed)
    run.registry.after_write = watch
    run.registry.create(REPLICATION_CONTROLLERS, workload("ReplicationController", "web", wanted))
    run.run()
    assert len(made) == wanted


def test_the_same_seed_plays_the_same_run() -> None:
    logs = []
    for _ in range(2):
        run = cluster("n1", "n2", seed=7)
        run.registry.create(REPLICA_SETS, workload("ReplicaSet", "web", 5))
        run.run()
        logs.append(run.registry.log)
    assert logs[0] == logs[1]


def test_creating_and_deleting_are_told_in_kubernetes_words() -> None:
    run = cluster("n1", chaos=False)
    owner = run.registry.create(REPLICATION_CONTROLLERS, workload("ReplicationController", "web", 1))
    run.run()
    name = name_of(run.registry.all(PODS)[0])
    run.registry.update(REPLICATION_CONTROLLERS, with_spec(owner, replicas=0))
    run.run()
    told = [event for event in run.events() if event[0] == "replication-controller"]
    assert told == [
        ("replication-controller", "SuccessfulCreate", f"Created pod: {name}"),
        ("replication-controller", "SuccessfulDelete", f"Deleted pod: {name}"),
    ]
    assert name.startswith("web-") and len(name) == len("web-") + 5


def test_deciding_twice_on_one_snapshot_decides_the_same() -> None:
    registry = Registry()
    registry.create(REPLICA_SETS, workload("ReplicaSet", "web", 3))
    once, again = (list(replica_sets(registry.snapshot(), START_S)) for _ in range(2))
    assert once == again
    assert len({step.key for step in once if isinstance(step, Create)}) == 3


def test_a_pod_that_no_longer_matches_is_released_and_replaced() -> None:
    run = cluster("n1", chaos=False)
    owner = run.registry.create(REPLICA_SETS, workload("ReplicaSet", "web", 1))
    run.run()
    first = run.registry.all(PODS)[0]
    run.registry.update(PODS, with_metadata(first, labels={"app": "quarantine"}))
    run.run()
    kept = run.registry.get(PODS, "default", name_of(first))
    assert not owners_of(kept)
    assert sum(is_controlled_by(each, owner) for each in run.registry.all(PODS)) == 1


def test_adoption_counts_before_anything_is_created() -> None:
    registry = Registry()
    registry.create(REPLICA_SETS, workload("ReplicaSet", "web", 2))
    registry.create(PODS, pod("stray", labels={"app": "web"}))
    steps = list(replica_sets(registry.snapshot(), START_S))
    assert [type(step) for step in steps] == [Update, Create, UpdateStatus]


def test_what_is_not_ready_goes_first() -> None:
    ready = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-26T10:00:00Z"}]
    pods = [
        with_status(pod("ready", nodeName="n1"), {"phase": "Running", "conditions": ready}),
        with_status(pod("running", nodeName="n1"), {"phase": "Running"}),
        pod("unassigned"),
        pod("pending", nodeName="n1"),
        with_metadata(
            with_status(pod("cheap", nodeName="n1"), {"phase": "Running", "conditions": ready}),
            annotations={"controller.kubernetes.io/pod-deletion-cost": "-5"},
        ),
    ]
    names = [name_of(each) for each in least_missed_first(pods, pods)]
    assert names == ["unassigned", "pending", "running", "cheap", "ready"]


def test_a_pod_counts_as_available_after_min_ready_seconds() -> None:
    registry = Registry()
    owner = registry.create(REPLICA_SETS, workload("ReplicaSet", "web", 1, minReadySeconds=10))
    thing = pod("p", labels={"app": "web"}, nodeName="n1")
    conditions = with_condition((), {"type": "Ready", "status": "True"}, START_S)
    thing = with_status(thing, {"phase": "Running", "conditions": conditions})
    registry.create(PODS, with_metadata(thing, ownerReferences=[controller_reference(owner)]))
    early = list(replica_sets(registry.snapshot(), START_S + 1))
    assert Wake(START_S + 10) in early
    statuses = [step.object["status"] for step in early if isinstance(step, UpdateStatus)]
    assert statuses == [{"replicas": 1, "fullyLabeledReplicas": 1, "readyReplicas": 1, "observedGeneration": 1}]
    late = [
        step.object["status"]
        for step in replica_sets(registry.snapshot(), START_S + 10)
        if isinstance(step, UpdateStatus)
    ]
    assert late[0]["availableReplicas"] == 1


def test_a_refused_creation_is_told_and_tried_again_later() -> None:
    run = cluster("n1", chaos=False)
    run.registry.create(REPLICA_SETS, workload("ReplicaSet", "web", 1))
    real, refusals = run.registry.apply, 3

    def apply(write: Write) -> Outcome:
        nonlocal refusals
        if isinstance(write, Create) and write.resource == PODS and refusals:
            refusals -= 1
            return Refused('pods "web" is forbidden: exceeded quota')
        return real(write)

    run.registry.apply = apply  # type: ignore[method-assign]
    run.run(for_s=3)
    assert not run.registry.all(PODS)
    assert (
        "replicaset-controller",
        "FailedCreate",
        'Error creating: pods "web" is forbidden: exceeded quota',
    ) in run.events()
    run.run(for_s=10)
    assert len(run.registry.all(PODS)) == 1


def test_deletions_of_a_shrinking_set_come_with_events() -> None:
    registry = Registry()
    owner = registry.create(REPLICA_SETS, workload("ReplicaSet", "web", 0))
    registry.create(
        PODS,
        with_metadata(pod("p", labels=template()["metadata"]["labels"]), ownerReferences=[controller_reference(owner)]),
    )
    (deletion,) = (step for step in replica_sets(registry.snapshot(), START_S) if isinstance(step, Delete))
    assert deletion.then[0].message == "Deleted pod: p"
