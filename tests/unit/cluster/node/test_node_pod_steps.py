"""The kubelet's steps: a pod that is played through time, with containers that do as they are told."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trenza.cluster.kinds.defaults import quality_of_service
from trenza.cluster.node import pods, probing
from trenza.cluster.node.environment import Image
from trenza.cluster.node.pod_status import status_of
from trenza.cluster.node.pods import Forget, Kill, MakeSandbox, RemoveSandbox, Run, Seen, Settings, Start, Terminate
from trenza.cluster.node.times import time_of

SETTINGS = Settings("10.9.0.2", images={"apache": Image(("apache2",))})


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    named = [{"name": f"c{number}", "image": "host", **one} for number, one in enumerate(containers)]
    return {
        "kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "default", "uid": "u-1"},
        "spec": {"containers": named, **spec},
    }  # fmt: skip


@dataclass
class Play:
    """A pod, its containers and a clock. `ends` says with what code a run of a container ends, and after how long."""

    pod: dict[str, Any]
    ends: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    seen: Seen = field(default_factory=lambda: Seen(accepted_s=1000.0))
    now_s: float = 1000.0
    started: list[tuple[float, str, int]] = field(default_factory=list)
    done: list[pods.Action] = field(default_factory=list)
    events: list[pods.Event] = field(default_factory=list)
    status: dict[str, Any] = field(default_factory=dict)
    deaf: bool = False

    def settle(self) -> pods.Step:
        for _ in range(20):
            if Forget() in self.done:
                return pods.Step((), (), {}, None)
            step = pods.step(self.pod, self.seen, SETTINGS, self.now_s)
            self.events += [event for event in step.events if event not in self.events]
            self.status = status_of(self.pod, self.seen, step, host_ip="10.9.0.2", now_s=self.now_s)
            self.pod = {**self.pod, "status": self.status}
            if not step.actions:
                return step
            for action in step.actions:
                self.perform(action)
            if any(isinstance(action, Forget) for action in step.actions):
                return step
        raise AssertionError("it does not settle")

    def perform(self, action: pods.Action) -> None:
        self.done.append(action)
        runs = dict(self.seen.runs)
        match action:
            case MakeSandbox():
                self.seen = replace(self.seen, sandbox_s=self.now_s, address="172.16.27.2")
            case RemoveSandbox():
                self.seen = replace(self.seen, sandbox_s=None, address="")
            case Start(name, attempt, streak):
                self.started.append((self.now_s, name, attempt))
                previous = {**self.seen.previous, **({name: runs[name]} if name in runs else {})}
                runs[name] = Run(attempt, self.now_s, streak)
                self.seen = replace(self.seen, runs=runs, previous=previous)
            case Terminate(name):
                run = replace(runs[name], stopping_since_s=self.now_s)
                ended = run if self.deaf else replace(run, finished_s=self.now_s, exit_code=143)
                self.seen = replace(self.seen, runs={**runs, name: ended})
            case Kill(name):
                self.seen = replace(
                    self.seen, runs={**runs, name: replace(runs[name], finished_s=self.now_s, exit_code=137)}
                )

    def go(self, seconds: float) -> None:
        """Let time pass: to each wake-up and each end of a run."""
        until = self.now_s + seconds
        while True:
            step = self.settle()
            ends = {name: at for name, run in self.seen.runs.items() if (at := self.end_of(name, run)) is not None}
            at_s = min([until, *ends.values(), *([step.wakes_at_s] if step.wakes_at_s else [])])
            self.now_s = max(self.now_s, at_s)
            for name, end_s in ends.items():
                if end_s <= self.now_s:
                    run = self.seen.runs[name]
                    code = self.ends[name][min(run.attempt, len(self.ends[name]) - 1)][1]
                    ended = replace(run, finished_s=end_s, exit_code=code)
                    self.seen = replace(self.seen, runs={**self.seen.runs, name: ended})
            if self.now_s >= until:
                self.settle()
                return

    def end_of(self, name: str, run: Run) -> float | None:
        if not run.is_running or name not in self.ends:
            return None
        return run.started_s + self.ends[name][min(run.attempt, len(self.ends[name]) - 1)][0]

    def state(self, name: str = "c0") -> dict[str, Any]:
        statuses = [*self.status["containerStatuses"], *self.status.get("initContainerStatuses", ())]
        return next(one for one in statuses if one["name"] == name)

    def condition(self, kind: str) -> dict[str, Any]:
        return next(one for one in self.status["conditions"] if one["type"] == kind)


def test_a_pod_gets_its_network_and_then_runs() -> None:
    play = Play(pod({}))
    play.go(1)
    assert play.done == [MakeSandbox(), Start("c0", 0, 0)]
    assert play.status["phase"] == "Running" and play.status["podIP"] == "172.16.27.2"
    assert play.condition("Ready")["status"] == "True"


def test_without_a_network_it_waits_and_says_why() -> None:
    play = Play(pod({}), seen=Seen(accepted_s=1000.0, network_problem="no lease"))
    play.go(1)
    assert not play.done and play.status["phase"] == "Pending"
    assert play.state()["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert [(one.reason, one.message) for one in play.events] == [
        ("NetworkNotReady", "network is not ready: no lease")
    ]  # fmt: skip


def test_restarts_back_off_by_doubling_up_to_five_minutes() -> None:
    play = Play(pod({}), {"c0": [(0.0, 1)]})
    play.go(1500)
    times = [at for at, _, _ in play.started]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[:8] == [0, 10, 20, 40, 80, 160, 300, 300]
    state = play.state()
    assert state["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert state["state"]["waiting"]["message"] == "back-off 5m0s restarting failed container=c0 pod=p_default(u-1)"
    assert state["lastState"]["terminated"]["exitCode"] == 1 and play.status["phase"] == "Running"
    assert state["restartCount"] == len(times) - 1


def test_a_run_that_lasted_ends_the_back_off() -> None:
    play = Play(pod({}), {"c0": [(0.0, 1), (0.0, 1), (700.0, 1), (0.0, 1)]})
    play.go(720)
    times = [at - 1000 for at, _, _ in play.started]
    assert times[:4] == [0, 0, 10, 710]


@pytest.mark.parametrize(
    ("policy", "code", "phase", "starts"),
    [
        ("Never", 0, "Succeeded", 1),
        ("Never", 2, "Failed", 1),
        ("OnFailure", 0, "Succeeded", 1),
        ("OnFailure", 2, "Running", 3),
    ],
)
def test_the_restart_policy_decides(policy: str, code: int, phase: str, starts: int) -> None:
    play = Play(pod({}, restartPolicy=policy), {"c0": [(1.0, code)]})
    play.go(15)
    assert play.status["phase"] == phase and len(play.started) == starts
    assert (RemoveSandbox() in play.done) == (phase != "Running")


def test_init_containers_run_one_after_the_other() -> None:
    inits = [{"name": "a", "image": "host"}, {"name": "b", "image": "host"}]
    play = Play(pod({}, initContainers=inits), {"a": [(5.0, 0)], "b": [(5.0, 1), (5.0, 0)]})
    play.go(7)
    assert play.status["phase"] == "Pending" and play.state()["state"]["waiting"]["reason"] == "PodInitializing"
    assert play.condition("Initialized")["message"] == "containers with incomplete status: [b]"
    play.go(20)
    assert [name for _, name, _ in play.started] == ["a", "b", "b", "c0"]
    assert play.status["phase"] == "Running" and play.condition("Initialized")["status"] == "True"


def test_an_init_container_that_fails_for_good_fails_the_pod() -> None:
    play = Play(pod({}, initContainers=[{"name": "a", "image": "host"}], restartPolicy="Never"), {"a": [(1.0, 1)]})
    play.go(5)
    assert play.status["phase"] == "Failed" and [name for _, name, _ in play.started] == ["a"]


def test_a_sidecar_goes_on_and_ends_with_the_others() -> None:
    side = {"name": "side", "image": "host", "restartPolicy": "Always"}
    play = Play(pod({}, initContainers=[side], restartPolicy="Never"), {"c0": [(5.0, 0)]})
    play.go(2)
    assert [name for _, name, _ in play.started] == ["side", "c0"]
    play.go(5)
    assert Terminate("side") in play.done and play.status["phase"] == "Succeeded"


def test_a_container_that_is_added_runs_once_beside_the_others() -> None:
    play = Play(pod({}, initContainers=[{"name": "init", "image": "host"}]), {"look": [(3.0, 1)], "init": [(9.0, 0)]})
    play.settle()
    added = [{"name": "look", "image": "host"}]
    play.pod = {**play.pod, "spec": {**play.pod["spec"], "ephemeralContainers": added}}
    play.go(100.0)
    # it does not wait for init containers, and is not run again whatever the policy
    assert [(at, name) for at, name, _ in play.started] == [(1000.0, "init"), (1000.0, "look"), (1009.0, "c0")]
    assert play.status["phase"] == "Running" and play.status["containerStatuses"][0]["ready"]
    (status,) = play.status["ephemeralContainerStatuses"]
    assert status["state"]["terminated"]["exitCode"] == 1 and not status["ready"] and status["lastState"] == {}
    assert [one["status"] for one in play.status["conditions"] if one["type"] == "Ready"] == ["True"]


def test_a_container_that_was_added_ends_with_its_pod() -> None:
    play = Play(pod({}, restartPolicy="Never"), {"c0": [(5.0, 0)]})
    play.settle()
    added = [{"name": "look", "image": "host"}]
    play.pod = {**play.pod, "spec": {**play.pod["spec"], "ephemeralContainers": added}}
    play.go(10.0)
    assert play.status["phase"] == "Succeeded"
    assert not play.seen.runs["look"].is_running and play.seen.sandbox_s is None


def test_an_image_that_is_not_there_is_tried_again_and_again() -> None:
    play = Play(pod({"image": "nginx"}))
    play.go(1)
    assert play.state()["state"]["waiting"]["reason"] == "ErrImagePull"
    assert "the images here: apache, host" in play.state()["state"]["waiting"]["message"]
    play.go(2)
    assert play.state()["state"]["waiting"]["reason"] == "ImagePullBackOff"
    play.go(100)
    assert sum(one.reason == "Pulling" for one in play.events) == 4  # at 0, 10, 30, 70 s
    assert play.status["phase"] == "Pending" and not play.started


def test_an_image_of_the_lab_is_there() -> None:
    play = Play(pod({"image": "apache:latest"}))
    play.go(1)
    assert play.started


def test_an_end_is_asked_for_and_enforced() -> None:
    play = Play(pod({}), deaf=True)
    play.go(1)
    deadline = {"deletionTimestamp": time_of(play.now_s + 30), "deletionGracePeriodSeconds": 30}
    play.pod = {**play.pod, "metadata": {**play.pod["metadata"], **deadline}}
    play.go(29)
    assert play.done[-1] == Terminate("c0")
    play.go(2)
    assert play.done[-3:] == [Kill("c0"), RemoveSandbox(), Forget()]
    assert play.state()["state"]["terminated"]["exitCode"] == 137


def test_a_pod_that_is_ended_before_it_began_is_only_forgotten() -> None:
    play = Play(pod({}))
    play.pod["metadata"]["deletionTimestamp"] = time_of(1030)
    play.settle()
    assert play.done == [Forget()]


def test_a_deadline_ends_a_pod() -> None:
    play = Play(pod({}, activeDeadlineSeconds=60))
    play.go(59)
    assert play.status["phase"] == "Running"
    play.go(3)
    assert play.status["phase"] == "Failed" and play.status["reason"] == "DeadlineExceeded"


def test_a_probe_that_gives_up_restarts() -> None:
    probe = {"exec": {"command": ["x"]}, "failureThreshold": 2, "periodSeconds": 1}
    play = Play(pod({"livenessProbe": probe, "readinessProbe": probe}))
    play.go(1)
    assert play.condition("ContainersReady")["message"] == "containers with unready status: [c0]"
    container = play.pod["spec"]["containers"][0]
    run = play.seen.runs["c0"]
    for kind, success in (("readiness", True), ("liveness", False), ("liveness", False)):
        run = replace(run, health=probing.found(container, run.health, kind, success, "", play.now_s))
    play.seen = replace(play.seen, runs={"c0": run})
    play.go(1)
    assert Terminate("c0") in play.done and play.state()["restartCount"] == 1
    assert any(one.message == "Container c0 failed liveness probe, will be restarted" for one in play.events)


@pytest.mark.parametrize(("given", "until_s"), [(None, 30), (2, 2)])
def test_a_probe_may_give_its_own_time_to_end(given: int | None, until_s: int) -> None:
    probe = {"periodSeconds": 1, "failureThreshold": 1, **({"terminationGracePeriodSeconds": given} if given else {})}
    failed = probing.found({"livenessProbe": probe}, probing.NEW, "liveness", False, "", 1001.0)
    run = Run(0, 1000.0, health=failed, stopping_since_s=1002.0)
    seen = Seen(sandbox_s=1000.0, address="172.16.27.2", runs={"c0": run}, accepted_s=1000.0)
    asked = pod({"livenessProbe": probe})
    assert pods.step(asked, seen, SETTINGS, 1002.0 + until_s - 0.1).wakes_at_s == 1002.0 + until_s
    assert pods.step(asked, seen, SETTINGS, 1002.0 + until_s).actions == (Kill("c0"),)


def test_liveness_waits_for_startup() -> None:
    container = {
        "startupProbe": {"periodSeconds": 2, "initialDelaySeconds": 3},
        "livenessProbe": {},
        "readinessProbe": {},
    }
    assert probing.due(container, probing.NEW, 100.0) == {"startup": 103.0}
    started = probing.found(container, probing.NEW, "startup", True, "", 103.0)
    assert set(probing.due(container, started, 100.0)) == {"liveness", "readiness"}
    assert not probing.is_ready(container, started)
    failing = probing.NEW
    for number in range(3):
        failing = probing.found(container, failing, "startup", False, "", 103.0 + 2 * number)
    assert probing.failed_probe(container, failing) == "startup" and not probing.due(container, failing, 100.0)


def test_conditions_keep_their_times() -> None:
    play = Play(pod({}), {"c0": [(100.0, 1)]})
    play.go(50)
    assert play.condition("Ready")["lastTransitionTime"] == time_of(1000)
    play.go(51)
    assert play.condition("Ready")["lastTransitionTime"] == time_of(1100)


def test_quality_of_service() -> None:
    full = {"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}
    assert quality_of_service(pod({})) == "BestEffort"
    assert quality_of_service(pod(full)) == "Guaranteed"
    assert quality_of_service(pod(full, {})) == "Burstable"


@given(
    st.sampled_from(["Always", "OnFailure", "Never"]),
    st.lists(st.tuples(st.floats(0, 700), st.integers(0, 2)), min_size=1, max_size=4),
    st.integers(0, 3000),
)
def test_whatever_containers_do_a_pod_settles_and_ends(policy: str, ends: list[tuple[float, int]], after: int) -> None:
    play = Play(pod({}, restartPolicy=policy), {"c0": ends})
    play.go(after)
    attempts = [attempt for _, _, attempt in play.started]
    assert attempts == list(range(len(attempts)))
    play.pod = {**play.pod, "metadata": {**play.pod["metadata"], "deletionTimestamp": time_of(play.now_s)}}
    play.go(60)
    assert play.done[-1] == Forget() and play.seen.sandbox_s is None
