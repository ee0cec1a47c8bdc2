"""Deployments: rollouts within their bounds at every moment, revisions, pauses, deadlines, in kubectl's words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_cluster import Registry, Simulation, cluster, template, workload

from trenza.cluster.controllers.objects import (
    Object,
    annotations_of,
    condition_of,
    created_s,
    is_controlled_by,
    labels_of,
    metadata_of,
    name_of,
    spec_of,
    status_of,
    with_spec,
)
from trenza.cluster.controllers.pods import is_active, is_ready
from trenza.cluster.controllers.revisions import REVISION, Revisions, replicas_of
from trenza.cluster.controllers.snapshot import DEPLOYMENTS, PODS, REPLICA_SETS
from trenza.cluster.controllers.surge import Bounds, bounds_of, new_replicas, old_replicas, proportional_replicas

AMOUNTS = st.one_of(st.integers(0, 4), st.sampled_from(["0%", "25%", "50%", "100%"]))


def deployment_of(run: Simulation) -> Object:
    return run.registry.get(DEPLOYMENTS, "default", "web")


def change(run: Simulation, **spec: Any) -> None:
    run.registry.update(DEPLOYMENTS, with_spec(deployment_of(run), **spec))


def rolled_out(deployment: Object) -> bool:
    """What `kubectl rollout status` calls successfully rolled out."""
    status, wanted = status_of(deployment), replicas_of(deployment)
    updated = status.get("updatedReplicas", 0)
    return bool(
        metadata_of(deployment)["generation"] <= status.get("observedGeneration", 0)
        and updated >= wanted
        and status.get("replicas", 0) <= updated
        and status.get("availableReplicas", 0) >= updated
    )


def replica_sets(run: Simulation) -> dict[int, int]:
    """How many pods each revision wants."""
    return {int(annotations_of(each)[REVISION]): replicas_of(each) for each in run.registry.all(REPLICA_SETS)}


def active(registry: Registry) -> list[Object]:
    return [each for each in registry.all(PODS) if is_active(each)]


@given(
    seed=st.integers(0, 10**6), wanted=st.integers(1, 8), surge=AMOUNTS, unavailable=AMOUNTS, images=st.integers(1, 3)
)
def test_a_rollout_keeps_its_bounds_at_every_moment(
    seed: int, wanted: int, surge: int | str, unavailable: int | str, images: int
) -> None:
    run = cluster("n1", "n2", seed=seed)
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    thing = run.registry.create(DEPLOYMENTS, workload("Deployment", "web", wanted, strategy=strategy))
    bounds = bounds_of(thing)
    run.run()
    assert rolled_out(deployment_of(run))

    def look(registry: Registry) -> None:
        assert len(active(registry)) <= bounds.most
        assert sum(is_ready(each) for each in active(registry)) >= bounds.least_available

    run.registry.after_write = look
    for image in range(images):
        change(run, template=template(f"web:{image + 2}"))
        run.run()
        assert rolled_out(deployment_of(run))
    assert all(spec_of(each)["containers"][0]["image"] == f"web:{images + 1}" for each in active(run.registry))
    assert len(active(run.registry)) == wanted
    assert all(is_controlled_by(each, deployment_of(run)) for each in run.registry.all(REPLICA_SETS))


@given(seed=st.integers(0, 10**6), moves=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8)), max_size=5))
def test_a_deployment_that_is_changed_amid_its_rollout_arrives(seed: int, moves: list[tuple[int, int]]) -> None:
    run = cluster("n1", "n2", seed=seed)
    run.registry.create(DEPLOYMENTS, workload("Deployment", "web", 3))
    for image, wanted in moves:
        for _ in range(run.chance.randint(0, 6)):
            run.once()
        change(run, template=template(f"web:{image}"), replicas=wanted)
    run.run()
    assert rolled_out(deployment_of(run))
    wanted = replicas_of(deployment_of(run))
    assert len(active(run.registry)) == wanted
    assert sorted(replicas_of(each) for each in run.registry.all(REPLICA_SETS))[-1:] == [wanted]
    assert sum(replicas_of(each) for each in run.registry.all(REPLICA_SETS)) == wanted


@given(seed=st.integers(0, 10**6))
def test_recreate_never_runs_two_versions_at_once(seed: int) -> None:
    run = cluster("n1", seed=seed)
    run.registry.create(DEPLOYMENTS, workload("Deployment", "web", 3, strategy={"type": "Recreate"}))
    run.run()

    def look(registry: Registry) -> None:
        assert len({spec_of(each)["containers"][0]["image"] for each in registry.all(PODS)}) <= 1

    run.registry.after_write = look
    change(run, template=template("web:2"))
    run.run()
    assert rolled_out(deployment_of(run))


def test_the_events_and_conditions_of_a_rollout_are_kubernetes() -> None:
    run = cluster("n1", chaos=False)
    run.registry.create(DEPLOYMENTS, workload("Deployment", "web", 3, progressDeadlineSeconds=600))
    run.run()
    first = name_of(run.registry.all(REPLICA_SETS)[0])
    change(run, template=template("web:2"))
    run.run()
    second = next(name_of(each) for each in run.registry.all(REPLICA_SETS) if name_of(each) != first)
    told = [message for component, reason, message in run.events() if reason == "ScalingReplicaSet"]
    assert told == [
        f"Scaled up replica set {first} from 0 to 3",
        f"Scaled up replica set {second} from 0 to 1",
        f"Scaled down replica set {first} from 3 to 2",
        f"Scaled up replica set {second} from 1 to 2",
        f"Scaled down replica set {first} from 2 to 1",
        f"Scaled up replica set {second} from 2 to 3",
        f"Scaled down replica set {first} from 1 to 0",
    ]
    thing = deployment_of(run)
    said = [(c["type"], c["status"], c["reason"], c["message"]) for c in status_of(thing)["conditions"]]
    assert said == [
        ("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability."),
        ("Progressing", "True", "NewReplicaSetAvailable", f'ReplicaSet "{second}" has successfully progressed.'),
    ]
    assert annotations_of(thing)[REVISION] == "2"
    assert replica_sets(run) == {1: 0, 2: 3}


def test_every_replica_set_has_its_hash_in_name_labels_selector_and_template() -> None:
    run = cluster("n1", chaos=False)
    run.registry.create(DEPLOYMENTS, workload("Deployment", "web", 1))
    run.run()
    (thing,) = run.registry.all(REPLICA_SETS)
    digest = labels_of(thing)["pod-template-hash"]
    assert name_of(thing) == f"web-{digest}"
    assert spec_of(thing)["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": digest}
    assert labels_of(run.registry.all(PODS)[0]) == {"app": "web", "pod-template-hash": digest}
    assert name_of(run.registry.all(PODS)[0]).startswith(f"web-{digest}-")


def test_undoing_makes_the_old_replica_set_the_newest_revision() -> None:
    run = cluster("n1", chaos=False)
    run.registry.create(DEPLOYMENTS, workload("Deployment", "web", 2))
    run.run()
    change(run, template=template("web:2"))
    run.run()
    change(run, template=template())
    run.run()
    assert replica_sets(run) == {2: 0, 3: 2}
    again = next(each for each in run.registry.all(REPLICA_SETS) if annotations_of(each)[REVISION] == "3")
    assert annotations_of(again)["deployment.kubernetes.io/revision-history"] == "1"
    assert annotations_of(deployment_of(run))[REVISION] == "3"


def test_the_change_cause_is_handed_on_and_the_applied_text_is_not() -> None:
    run = cluster("n1", chaos=False)
    thing = workload("Deployment", "web", 1)
    thing["metadata"]["annotations"] = {
        "kubernetes.io/change-cause": "first",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
    }
    run.registry.create(DEPLOYMENTS, thing)
    run.run()
    notes = annotations_of(run.registry.all(REPLICA_SETS)[0])
    assert notes["kubernetes.io/change-cause"] == "first"
    assert "kubectl.kubernetes.io/last-applied-configuration" not in notes


def test_a_paused_deployment_scales_but_does_not_roll() -> None:
    run = cluster("n1", chaos=False)
    run.registry.create(DEPLOYMENTS, workload("Deployment", "web", 2, progressDeadlineSeconds=600))
    run.run()
    change(run, paused=True)
    run.run()
    said = condition_of(deployment_of(run), "Progressing")
    assert said is not None and (said["status"], said["reason"]) == ("Unknown", "DeploymentPaused")
    change(run, template=template("web:2"), replicas=4)
    run.run()
    assert replica_sets(run) == {1: 4}
    change(run, paused=False)
    run.run()
    assert replica_sets(run) == {1: 0, 2: 4}
    assert rolled_out(deployment_of(run))


def test_a_rollout_without_progress_runs_out_of_time_and_recovers() -> None:
    run = cluster("n1", chaos=False)
    run.registry.create(DEPLOYMENTS, workload("Deployment", "web", 2, progressDeadlineSeconds=60))
    run.run()
    run.ready_at_once = False
    change(run, template=template("web:2"))
    run.run(for_s=200)
    said = condition_of(deployment_of(run), "Progressing")
    newest = next(name_of(each) for each in run.registry.all(REPLICA_SETS) if annotations_of(each)[REVISION] == "2")
    assert said is not None
    assert (said["status"], said["reason"]) == ("False", "ProgressDeadlineExceeded")
    assert said["message"] == f'ReplicaSet "{newest}" has timed out progressing.'
    run.ready_at_once = True
    for each in active(run.registry):
        run.report(each)
    run.run(for_s=1)
    assert rolled_out(deployment_of(run))
    said = condition_of(deployment_of(run), "Progressing")
    assert said is not None and said["reason"] == "NewReplicaSetAvailable"


def test_a_bad_image_never_costs_more_than_may_be_unavailable() -> None:
    run = cluster("n1", chaos=False)
    run.registry.create(DEPLOYMENTS, workload("Deployment", "web", 4))
    run.run()
    run.ready_at_once = False
    change(run, template=template("broken"))
    run.run()
    assert sum(is_ready(each) for each in active(run.registry)) == 3
    assert len(active(run.registry)) == 5


def test_old_revisions_go_beyond_the_history_limit() -> None:
    run = cluster("n1", chaos=False)
    run.registry.create(DEPLOYMENTS, workload("Deployment", "web", 1, revisionHistoryLimit=2))
    for image in range(6):
        run.run()
        change(run, template=template(f"web:{image + 10}"))
    run.run()
    assert sorted(replica_sets(run)) == [5, 6, 7]


def test_a_name_that_is_taken_by_another_counts_a_collision() -> None:
    run = cluster("n1", chaos=False)
    run.registry.create(DEPLOYMENTS, workload("Deployment", "web", 1))
    run.run()
    taken = name_of(run.registry.all(REPLICA_SETS)[0])
    other = cluster("n1", chaos=False)
    other.registry.create(REPLICA_SETS, workload("ReplicaSet", taken, 0, selector={"matchLabels": {"no": "one"}}))
    other.registry.create(DEPLOYMENTS, workload("Deployment", "web", 1))
    other.loop.replace(other.registry.snapshot())
    other.run()
    assert status_of(deployment_of(other))["collisionCount"] == 1
    assert rolled_out(deployment_of(other))


@pytest.mark.parametrize(
    ("surge", "unavailable", "wanted", "expected"),
    [
        ("25%", "25%", 3, Bounds(3, 1, 0)),
        ("25%", "25%", 4, Bounds(4, 1, 1)),
        (0, 0, 3, Bounds(3, 0, 1)),
        (0, "10%", 3, Bounds(3, 0, 1)),
        ("100%", "100%", 3, Bounds(3, 3, 3)),
        (2, 5, 3, Bounds(3, 2, 3)),
    ],
)
def test_percentages_of_the_surge_round_up_and_of_unavailability_down(
    surge: int | str, unavailable: int | str, wanted: int, expected: Bounds
) -> None:
    strategy = {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    assert bounds_of(workload("Deployment", "web", wanted, strategy=strategy)) == expected


def sized(name: str, replicas: int, available: int, most: int, made: int) -> Object:
    thing = workload("ReplicaSet", name, replicas)
    thing["metadata"] |= {
        "creationTimestamp": f"2026-11-26T10:00:0{made}Z",
        "annotations": {"deployment.kubernetes.io/max-replicas": str(most)},
    }
    return {**thing, "status": {"replicas": replicas, "availableReplicas": available}}


@given(sizes=st.lists(st.integers(1, 9), min_size=2, max_size=4), wanted=st.integers(0, 30), surge=st.integers(0, 5))
def test_scaling_amid_a_rollout_shares_out_exactly_what_is_allowed(sizes: list[int], wanted: int, surge: int) -> None:
    things = [sized(f"rs{number}", size, size, sum(sizes), number) for number, size in enumerate(sizes)]
    found = Revisions(things[-1], tuple(things[:-1]), dict(zip(map(name_of, things), sizes, strict=True)))
    shared = proportional_replicas(workload("Deployment", "web", wanted), found, Bounds(wanted, surge, 0))
    assert sum(shared.values()) == (wanted + surge if wanted else 0)
    assert all(share >= 0 for share in shared.values())
    assert created_s(things[0]) < created_s(things[1])


def test_pods_that_an_old_replica_set_still_has_take_their_part_of_the_surge() -> None:
    found = Revisions(sized("new", 1, 1, 4, 2), (sized("old", 2, 2, 4, 1),), {"new": 1, "old": 3})
    assert new_replicas(found, Bounds(3, 1, 0), recreate=False) == 1
    gone = Revisions(found.new, found.old, {"new": 1, "old": 2})
    assert new_replicas(gone, Bounds(3, 1, 0), recreate=False) == 2


def test_unhealthy_old_pods_go_before_healthy_ones() -> None:
    found = Revisions(sized("new", 1, 1, 4, 3), (sized("bad", 2, 0, 4, 1), sized("good", 3, 3, 4, 2)), {})
    assert old_replicas(found, Bounds(4, 1, 0)) == {"bad": 0}
    assert old_replicas(found, Bounds(3, 1, 0)) == {"bad": 0, "good": 2}
