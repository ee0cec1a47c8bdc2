"""DaemonSets and Jobs: one pod on every node that admits it, and pods until the work is done."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from simulated_cluster import Simulation, cluster, node, template, workload

from trenza.cluster.controllers.controlplane import Settings
from trenza.cluster.controllers.nodes import NodeTimes
from trenza.cluster.controllers.objects import (
    Object,
    condition_of,
    metadata_of,
    name_of,
    spec_of,
    status_of,
    with_metadata,
    with_spec,
)
from trenza.cluster.controllers.pods import is_active, is_finished, is_ready, node_of, phase_of
from trenza.cluster.controllers.snapshot import DAEMON_SETS, JOBS, NODES, PODS
from trenza.cluster.kinds.resources import find_resource
from trenza.cluster.kinds.strategies import for_creation


def daemons(run: Simulation) -> list[str]:
    return sorted(node_of(each) for each in run.registry.all(PODS) if is_active(each))


@given(seed=st.integers(0, 10**6))
def test_every_node_has_one_daemon_and_new_ones_get_theirs(seed: int) -> None:
    run = cluster("n1", "n2", seed=seed)
    run.registry.create(DAEMON_SETS, workload("DaemonSet", "logger", None))
    run.run()
    assert daemons(run) == ["n1", "n2"]
    run.registry.create(NODES, node("n3"))
    run.registry.delete(NODES, run.registry.get(NODES, "", "n1"))
    run.run()
    assert daemons(run) == ["n2", "n3"]
    status = status_of(run.registry.get(DAEMON_SETS, "default", "logger"))
    assert (status["desiredNumberScheduled"], status["currentNumberScheduled"], status["numberReady"]) == (2, 2, 2)
    assert (status["updatedNumberScheduled"], status["numberAvailable"], status["numberMisscheduled"]) == (2, 2, 0)


def test_daemons_go_to_the_nodes_that_are_selected_and_tolerated() -> None:
    run = cluster("plain", chaos=False)
    run.registry.create(NODES, node("ssd", disk="ssd"))
    closed = with_spec(node("closed", disk="ssd"), taints=[{"key": "k", "effect": "NoSchedule"}])
    run.registry.create(NODES, closed)
    cordoned = with_spec(node("cordoned", disk="ssd"), unschedulable=True)
    run.registry.create(NODES, cordoned)
    shape = template()
    shape["spec"]["nodeSelector"] = {"disk": "ssd"}
    run.registry.create(DAEMON_SETS, workload("DaemonSet", "logger", None, template=shape))
    run.run()
    assert daemons(run) == ["cordoned", "ssd"]
    run.registry.update(NODES, with_metadata(run.registry.get(NODES, "", "ssd"), labels={"disk": "hdd"}))
    run.run()
    assert daemons(run) == ["cordoned"]


@given(seed=st.integers(0, 10**6), bound=st.integers(1, 3))
def test_daemons_are_replaced_few_at_a_time(seed: int, bound: int) -> None:
    run = cluster("n1", "n2", "n3", "n4", seed=seed)
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": bound}}
    run.registry.create(DAEMON_SETS, workload("DaemonSet", "logger", None, updateStrategy=strategy))
    run.run()

    def look(registry: Any) -> None:
        assert sum(is_ready(each) and is_active(each) for each in registry.all(PODS)) >= 4 - bound

    run.registry.after_write = look
    thing = run.registry.get(DAEMON_SETS, "default", "logger")
    run.registry.update(DAEMON_SETS, with_spec(thing, template=template("web:2")))
    run.run()
    assert {spec_of(each)["containers"][0]["image"] for each in run.registry.all(PODS)} == {"web:2"}
    assert daemons(run) == ["n1", "n2", "n3", "n4"]


def test_a_failed_daemon_is_replaced() -> None:
    run = cluster("n1", chaos=False)
    run.registry.create(DAEMON_SETS, workload("DaemonSet", "logger", None))
    run.run()
    (first,) = run.registry.all(PODS)
    run.report(first, phase="Failed")
    run.run()
    (second,) = run.registry.all(PODS)
    assert metadata_of(first)["uid"] != metadata_of(second)["uid"]
    message = f"Found failed daemon pod default/{name_of(first)} on node n1, will try to kill it"
    assert ("daemonset-controller", "FailedDaemonPod", message) in run.events()


def test_daemons_that_fail_again_and_again_are_replaced_later_and_later() -> None:
    run = cluster("n1", "n2", chaos=False)
    failing, deleted_s, there = {"n1"}, dict[str, list[float]](), dict[str, str]()
    report = run.report

    def fails(pod: Object, *, phase: str = "Running", ready: bool = True) -> None:
        report(pod, phase="Failed" if node_of(pod) in failing else phase, ready=ready)

    def look(registry: Any) -> None:
        now = {name_of(pod): node_of(pod) for pod in registry.all(PODS)}
        for name in there.keys() - now.keys():
            deleted_s.setdefault(there[name], []).append(registry.now_s - began_s)
        there.clear()
        there.update(now)

    run.report = fails  # type: ignore[method-assign]  # its kubelets have no other way to fail
    run.registry.after_write = look
    began_s = run.registry.now_s
    run.registry.create(DAEMON_SETS, workload("DaemonSet", "logger", None))
    run.pass_time(3000.0, beat_s=4.0)
    assert [round(at) for at in deleted_s["n1"]] == [*(2**n - 1 for n in range(11)), 1023 + 900, 1023 + 1800]
    assert "n2" not in deleted_s
    failing.add("n2")  # which waits for itself only
    (other,) = [pod for pod in run.registry.all(PODS) if node_of(pod) == "n2"]
    report(other, phase="Failed")
    run.run()
    assert [round(at) for at in deleted_s["n2"]] == [3000]
    # an update begins anew
    thing = run.registry.get(DAEMON_SETS, "default", "logger")
    run.registry.update(DAEMON_SETS, with_spec(thing, template=template("web:2")))
    run.run()
    assert [round(at) for at in deleted_s["n1"][13:]] == [3000]


def test_a_daemon_that_ends_is_replaced() -> None:
    run = cluster("n1", chaos=False)
    run.registry.create(DAEMON_SETS, workload("DaemonSet", "logger", None))
    run.run()
    (first,) = run.registry.all(PODS)
    run.report(first, phase="Succeeded")
    run.run()
    assert daemons(run) == ["n1"] and len(run.registry.all(PODS)) == 1
    message = f"Found succeeded daemon pod default/{name_of(first)} on node n1, will try to delete it"
    assert ("daemonset-controller", "SucceededDaemonPod", message) in run.events()


def job(**spec: Any) -> Object:
    shape = template()
    shape["spec"]["restartPolicy"] = "Never"
    wanted = {"completions": 1, "parallelism": 1, "backoffLimit": 6, "template": shape, **spec}
    return workload("Job", "work", None, **wanted)


def status(run: Simulation) -> dict[str, Any]:
    return dict(status_of(run.registry.get(JOBS, "default", "work")))


def end(run: Simulation, phase: str) -> None:
    """Every running pod ends."""
    for each in run.registry.all(PODS):
        if phase_of(each) == "Running":
            run.report(each, phase=phase)


QUICK = Settings(first_retry_s=1.0, node_times=NodeTimes(10**9))


@given(
    seed=st.integers(0, 10**6),
    completions=st.integers(1, 5),
    parallelism=st.integers(1, 4),
    failures=st.integers(0, 3),
)
def test_a_job_runs_until_enough_pods_have_succeeded(
    seed: int, completions: int, parallelism: int, failures: int
) -> None:
    run = cluster("n1", seed=seed, settings=QUICK)
    run.registry.create(JOBS, job(completions=completions, parallelism=parallelism))

    def look(registry: Any) -> None:
        running = sum(not is_finished(each) for each in registry.all(PODS))
        assert running <= parallelism
        assert running + sum(phase_of(each) == "Succeeded" for each in registry.all(PODS)) <= completions

    run.registry.after_write = look
    for _ in range(60):
        run.run(for_s=20)
        running = [each for each in run.registry.all(PODS) if phase_of(each) == "Running"]
        if not running:
            break
        fails = failures > 0
        failures -= fails
        run.report(running[0], phase="Failed" if fails else "Succeeded")
    assert status(run)["succeeded"] == completions
    assert condition_of(run.registry.get(JOBS, "default", "work"), "Complete")["status"] == "True"  # type: ignore[index]
    assert sum(phase_of(each) == "Succeeded" for each in run.registry.all(PODS)) == completions


def test_a_job_that_fails_too_often_gives_up_in_kubernetes_words() -> None:
    run = cluster("n1", chaos=False, settings=QUICK)
    run.registry.create(JOBS, job(backoffLimit=2))
    for _ in range(3):
        run.run(for_s=10)
        end(run, "Failed")
    run.run(for_s=30)
    failed = condition_of(run.registry.get(JOBS, "default", "work"), "Failed")
    assert failed is not None
    assert (failed["reason"], failed["message"]) == (
        "BackoffLimitExceeded",
        "Job has reached the specified backoff limit",
    )
    assert status(run)["failed"] == 3 and len(run.registry.all(PODS)) == 3
    assert ("job-controller", "BackoffLimitExceeded", "Job has reached the specified backoff limit") in run.events()


def test_a_new_job_selects_its_pods_by_its_uid() -> None:
    jobs = find_resource("batch", "v1", "jobs")
    assert jobs is not None
    thing = for_creation(jobs, job(), 1.0, Random(1))
    uid = metadata_of(thing)["uid"]
    assert spec_of(thing)["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    labels = spec_of(thing)["template"]["metadata"]["labels"]
    assert labels["job-name"] == labels["batch.kubernetes.io/job-name"] == "work" and labels["app"] == "web"
    own = with_spec(job(), manualSelector=True, selector={"matchLabels": {"app": "web"}})
    assert spec_of(for_creation(jobs, own, 1.0, Random(1)))["selector"] == {"matchLabels": {"app": "web"}}


def test_retries_come_later_and_later() -> None:
    run = cluster("n1", chaos=False, settings=QUICK)
    run.registry.create(JOBS, job())
    gaps = []
    for _ in range(3):
        run.run()
        end(run, "Failed")
        before_s, count = run.registry.now_s, len(run.registry.all(PODS))
        while len(run.registry.all(PODS)) == count:
            run.run(for_s=0.5)
        gaps.append(round(run.registry.now_s - before_s))
    assert gaps == [1, 2, 4]


def test_a_job_may_not_be_active_for_longer_than_its_deadline() -> None:
    run = cluster("n1", chaos=False)
    run.registry.create(JOBS, job(activeDeadlineSeconds=30))
    run.run(for_s=40)
    failed = condition_of(run.registry.get(JOBS, "default", "work"), "Failed")
    assert failed is not None and failed["reason"] == "DeadlineExceeded"
    assert not run.registry.all(PODS)


def test_a_finished_job_goes_after_its_time_with_its_pods() -> None:
    run = cluster("n1", chaos=False)
    run.registry.create(JOBS, job(ttlSecondsAfterFinished=20))
    run.run()
    end(run, "Succeeded")
    run.run(for_s=10)
    assert status(run)["completionTime"]
    assert ("job-controller", "Completed", "Job completed") in run.events()
    run.run(for_s=15)
    assert not run.registry.all(JOBS) and not run.registry.all(PODS)


def test_a_suspended_job_has_no_pods_until_it_is_resumed() -> None:
    run = cluster("n1", chaos=False)
    run.registry.create(JOBS, job(suspend=True))
    run.run()
    assert not run.registry.all(PODS) and "startTime" not in status(run)
    thing = run.registry.get(JOBS, "default", "work")
    run.registry.update(JOBS, with_spec(thing, suspend=False))
    run.run()
    assert len(run.registry.all(PODS)) == 1 and status(run)["startTime"]
    told = [reason for component, reason, _ in run.events() if component == "job-controller"]
    assert told[0] == "Suspended" and sorted(told[1:]) == ["Resumed", "SuccessfulCreate"]


def test_a_pod_that_leaves_is_replaced_at_once_unless_the_job_waits_for_its_end() -> None:
    for policy, expected in (("TerminatingOrFailed", 2), ("Failed", 1)):
        run = cluster("n1", chaos=False)
        run.registry.create(JOBS, job(podReplacementPolicy=policy))
        run.run()
        run.silent.add("n1")
        run.registry.delete(PODS, run.registry.all(PODS)[0])
        run.run()
        assert len(run.registry.all(PODS)) == expected
