"""The kubelet in values: a pod as asked for and as seen, and the time; what is to be done, said and shown.

`step` is called again and again, whenever something is seen or the time that it named has come. It has no memory but
what it is given: runs carry their number and their streak of failures, so that restarts and their back-off follow.

Sources: Kubernetes' pkg/kubelet/kubelet_pods.go, kuberuntime/kuberuntime_manager.go, status/generate.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from trenza.cluster.node import probing
from trenza.cluster.node.environment import Images, find_image
from trenza.cluster.node.times import seconds_of

Object = Mapping[str, Any]

CREATING: Final = "ContainerCreating"
CRASH_LOOP: Final = "CrashLoopBackOff"
_PULL_SHOWN_PART: Final = 0.2
"""For which part of the first back-off a failed pull is shown as such, before it is shown as backing off."""


# ------------------------------------------------------------------ what is seen
@dataclass(frozen=True, slots=True)
class Run:
    """One run of a container, numbered from 0. `streak` counts the runs before it that ended soon."""

    attempt: int
    started_s: float
    streak: int = 0
    finished_s: float | None = None
    exit_code: int = 0
    """128 and its number for a signal."""
    reason: str = ""
    message: str = ""
    stopping_since_s: float | None = None
    health: probing.Health = probing.NEW
    identity: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What it was given, for commands that are to run beside it."""

    @property
    def is_running(self) -> bool:
        return self.finished_s is None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A container that could not be made from what its pod says, so that there was no run at all."""

    reason: str
    message: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Seen:
    """A pod as it is in its host."""

    sandbox_s: float | None = None
    """Since when its network is there."""
    address: str = ""
    network_problem: str = ""
    """Why a pod cannot have a network now."""
    runs: Mapping[str, Run] = field(default_factory=dict)
    previous: Mapping[str, Run] = field(default_factory=dict)
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    accepted_s: float = 0.0
    """When this host took the pod on."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What may be shorter in a lab."""

    host_ip: str
    backoff_s: float = 10.0
    max_backoff_s: float = 300.0
    retry_s: float = 2.0
    images: Images = field(default_factory=dict)


# ------------------------------------------------------------------ what is to be done
@dataclass(frozen=True, slots=True)
class MakeSandbox:
    """Give the pod its network."""


@dataclass(frozen=True, slots=True)
class Start:
    """Run a container."""

    container: str
    attempt: int
    streak: int


@dataclass(frozen=True, slots=True)
class Terminate:
    """Ask a container to end."""

    container: str


@dataclass(frozen=True, slots=True)
class Kill:
    """End a container that did not."""

    container: str


@dataclass(frozen=True, slots=True)
class RemoveSandbox:
    """Take the pod's network away: nothing of it runs any more, or will."""


@dataclass(frozen=True, slots=True)
class Forget:
    """Tell the API server that nothing is left."""


Action = MakeSandbox | Start | Terminate | Kill | RemoveSandbox | Forget


@dataclass(frozen=True, slots=True)
class Event:
    """What a kubelet says; said once for a `key`."""

    type: str
    reason: str
    message: str
    container: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A container that does not run, and why."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """What follows from a pod as seen. `waiting` is of containers that neither run nor are done."""

    actions: tuple[Action, ...]
    events: tuple[Event, ...]
    waiting: Mapping[str, Waiting]
    wakes_at_s: float | None
    failed: tuple[str, str] | None = None
    """Reason and message of a pod that failed as a whole."""


@dataclass(slots=True)
class _Work:
    """What a step has found so far."""

    pod: Object
    seen: Seen
    settings: Settings
    now_s: float
    actions: list[Action] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    wakes: list[float] = field(default_factory=list)
    failed: tuple[str, str] | None = None

    def done(self) -> Step:
        wakes = [at for at in self.wakes if at > self.now_s]
        return Step(
            tuple(self.actions), tuple(self.events), self.waiting, min(wakes) if wakes else None, self.failed
        )  # fmt: skip


def step(pod: Object, seen: Seen, settings: Settings, now_s: float) -> Step:
    """What is to be done about a pod now."""
    work = _Work(pod, seen, settings, now_s)
    if pod["metadata"].get("deletionTimestamp"):
        _end(work, seconds_of(pod["metadata"]["deletionTimestamp"]), forget=True)
    elif pod.get("status", {}).get("phase") in ("Succeeded", "Failed") or _is_finished(work) or _is_overdue(work):
        _end(work, now_s + _grace_s(pod), forget=False)
    elif seen.sandbox_s is None:
        _ask_for_sandbox(work)
    else:
        _run_all(work)
    return work.done()


def containers(pod: Object) -> Sequence[Object]:
    return tuple(pod["spec"].get("containers", ()))


def init_containers(pod: Object) -> Sequence[Object]:
    return tuple(pod["spec"].get("initContainers", ()))


def ephemeral_containers(pod: Object) -> Sequence[Object]:
    """Those that were added to a pod that runs, by `kubectl debug` say; each runs once."""
    return tuple(pod["spec"].get("ephemeralContainers", ()))


def every_container(pod: Object) -> Sequence[Object]:
    return (*containers(pod), *init_containers(pod), *ephemeral_containers(pod))


def is_sidecar(container: Object) -> bool:
    """An init container that goes on beside the others."""
    return container.get("restartPolicy") == "Always"


def _grace_s(pod: Object) -> float:
    return float(pod["spec"].get("terminationGracePeriodSeconds", 30))


def restarts(pod: Object, container: Object, run: Run) -> bool:
    """Whether a container that ended so is to run again."""
    policy = pod["spec"].get("restartPolicy", "Always")
    if container in ephemeral_containers(pod):
        return False
    if container in init_containers(pod):
        return is_sidecar(container) or (run.exit_code != 0 and policy != "Never")
    return policy == "Always" or (policy == "OnFailure" and run.exit_code != 0)


def outcome(pod: Object, runs: Mapping[str, Run]) -> str | None:
    """`Succeeded` or `Failed`, once nothing of a pod runs or will run again; else None."""
    for container in init_containers(pod):
        run = runs.get(container["name"])
        if run is not None and not run.is_running and run.exit_code and not restarts(pod, container, run):
            return "Failed"
    codes: list[int] = []
    for container in containers(pod):
        run = runs.get(container["name"])
        if run is None or run.is_running or restarts(pod, container, run):
            return None
        codes.append(run.exit_code)
    return "Failed" if any(codes) else "Succeeded"


def _is_finished(work: _Work) -> bool:
    return outcome(work.pod, work.seen.runs) is not None


def _is_overdue(work: _Work) -> bool:
    limit_s = work.pod["spec"].get("activeDeadlineSeconds")
    if limit_s is None:
        return False
    until = work.seen.accepted_s + limit_s
    if work.now_s < until:
        work.wakes.append(until)
        return False
    work.failed = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
    return True


# ------------------------------------------------------------------ the end
def _end(work: _Work, deadline_s: float, *, forget: bool) -> None:
    """End what runs, in good order until the deadline; then take the network away."""
    running = [(name, run) for name, run in work.seen.runs.items() if run.is_running]
    grace_s = _grace_s(work.pod)
    for name, run in running:
        if run.stopping_since_s is None and work.pod["metadata"].get("deletionGracePeriodSeconds") != 0:
            work.actions.append(Terminate(name))
            work.events.append(Event("Normal", "Killing", f"Stopping container {name}", name, f"end {run.attempt}"))
            work.wakes.append(deadline_s)
        elif work.now_s >= (deadline_s if forget else (run.stopping_since_s or work.now_s) + grace_s):
            work.actions.append(Kill(name))
        else:
            work.wakes.append(deadline_s if forget else (run.stopping_since_s or work.now_s) + grace_s)
    if running:
        return
    if work.seen.sandbox_s is not None:
        work.actions.append(RemoveSandbox())
    if forget:
        work.actions.append(Forget())


# ------------------------------------------------------------------ the beginning
def _ask_for_sandbox(work: _Work) -> None:
    waiting = "PodInitializing" if init_containers(work.pod) else CREATING
    work.waiting = {one["name"]: Waiting(waiting) for one in (*init_containers(work.pod), *containers(work.pod))}
    if work.seen.network_problem and not work.pod["spec"].get("hostNetwork"):
        message = f"network is not ready: {work.seen.network_problem}"
        work.events.append(Event("Warning", "NetworkNotReady", message, key=message))
    else:
        work.actions.append(MakeSandbox())


def _run_all(work: _Work) -> None:
    pod, seen = work.pod, work.seen
    assert seen.sandbox_s is not None
    since_s = seen.sandbox_s
    for container in ephemeral_containers(pod):  # first: they are there to find out why others do not run
        _keep(work, container, since_s)
    for place, container in enumerate(init_containers(pod)):
        run = seen.runs.get(container["name"])
        if run is not None and not run.is_running and not run.exit_code and not is_sidecar(container):
            since_s = run.finished_s or since_s
            continue
        _keep(work, container, since_s)
        if run is not None and run.is_running and is_sidecar(container) and probing.is_started(container, run.health):
            continue
        later = (*init_containers(pod)[place + 1 :], *containers(pod))
        work.waiting |= {one["name"]: Waiting("PodInitializing") for one in later if one["name"] not in seen.runs}
        return
    for container in containers(pod):
        _keep(work, container, since_s)


def _keep(work: _Work, container: Object, since_s: float) -> None:
    """Have a container run whose turn it has been since `since_s`."""
    name = container["name"]
    run = work.seen.runs.get(name)
    if run is not None and run.is_running:
        _watch(work, container, run)
    elif run is not None and not restarts(work.pod, container, run):
        return
    elif find_image(container["image"], work.settings.images) is None:
        _pull_in_vain(work, container, since_s)
    elif run is None:
        refusal = work.seen.refusals.get(name)
        if refusal is not None and work.now_s < refusal.at_s + work.settings.retry_s:
            work.waiting[name] = Waiting(refusal.reason, refusal.message)
            work.wakes.append(refusal.at_s + work.settings.retry_s)
            work.events.append(Event("Warning", "Failed", f"Error: {refusal.message}", name, refusal.message))
        else:
            work.waiting[name] = Waiting(CREATING)
            work.actions.append(Start(name, 0, 0))
    else:
        _restart(work, container, run)


def backoff_s(settings: Settings, streak: int) -> float:
    """How long to wait after a run that followed on `streak` others that ended soon: not at all after the first."""
    return 0.0 if streak == 0 else min(settings.max_backoff_s, settings.backoff_s * 2 ** min(streak - 1, 30))


def _restart(work: _Work, container: Object, run: Run) -> None:
    assert run.finished_s is not None
    name, settings = container["name"], work.settings
    lasted = run.finished_s - run.started_s >= 2 * settings.max_backoff_s
    streak = 0 if lasted else run.streak
    delay_s = backoff_s(settings, streak)
    at_s = run.finished_s + delay_s
    if work.now_s >= at_s:
        work.actions.append(Start(name, run.attempt + 1, streak + 1))
        return
    metadata = work.pod["metadata"]
    place = f"pod={metadata['name']}_{metadata['namespace']}({metadata['uid']})"
    message = f"back-off {_go_duration(delay_s)} restarting failed container={name} {place}"
    work.waiting[name] = Waiting(CRASH_LOOP, message)
    work.wakes.append(at_s)
    said = f"Back-off restarting failed container {name} in pod {place[4:]}"
    work.events.append(Event("Warning", "BackOff", said, name, f"crash {run.attempt}"))


def _go_duration(seconds: float) -> str:
    """`10s`, `1m20s`, as Go prints a duration."""
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"


def _watch(work: _Work, container: Object, run: Run) -> None:
    """End a container that its probes have given up."""
    name = container["name"]
    probe = probing.failed_probe(container, run.health)
    given = None if probe is None else (probing.probe_of(container, probe) or {}).get("terminationGracePeriodSeconds")
    grace_s = _grace_s(work.pod) if given is None else float(given)
    if run.stopping_since_s is not None:
        if work.now_s >= run.stopping_since_s + grace_s:
            work.actions.append(Kill(name))
        else:
            work.wakes.append(run.stopping_since_s + grace_s)
    elif probe is not None:
        message = f"Container {name} failed {probe} probe, will be restarted"
        work.events.append(Event("Normal", "Killing", message, name, f"{probe} {run.attempt}"))
        work.actions.append(Terminate(name))
        work.wakes.append(work.now_s + grace_s)


def _pull_in_vain(work: _Work, container: Object, since_s: float) -> None:
    """An image that cannot be had: tried again and again, as by a kubelet, with the reason why it is in vain."""
    name, image, settings = container["name"], container["image"], work.settings
    if container.get("imagePullPolicy") == "Never":
        message = f'Container image "{image}" is not present with pull policy of Never'
        work.waiting[name] = Waiting("ErrImageNeverPull", message)
        work.events.append(Event("Warning", "ErrImageNeverPull", message, name, "never"))
        return
    known = ", ".join(sorted({*settings.images, "host"}))
    why = f'failed to pull image "{image}": there is no registry in a lab; the images here: {known}'
    number, begun_s, delay_s = _pull_attempt(settings, since_s, work.now_s)
    shown_until_s = begun_s + _PULL_SHOWN_PART * settings.backoff_s
    said: Iterator[tuple[str, str, str]] = iter(
        (
            ("Normal", "Pulling", f'Pulling image "{image}"'),
            ("Warning", "Failed", f'Failed to pull image "{image}": {why}'),
            ("Warning", "Failed", "Error: ErrImagePull"),
        )
    )
    work.events += [Event(kind, reason, message, name, f"pull {number}") for kind, reason, message in said]
    if work.now_s < shown_until_s:
        work.waiting[name] = Waiting("ErrImagePull", why)
        work.wakes.append(shown_until_s)
        return
    work.waiting[name] = Waiting("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {why}')
    key = f"pull-back-off {number}"
    work.events.append(Event("Normal", "BackOff", f'Back-off pulling image "{image}"', name, key))
    work.events.append(Event("Warning", "Failed", "Error: ImagePullBackOff", name, key))
    work.wakes.append(begun_s + delay_s)


def _pull_attempt(settings: Settings, since_s: float, now_s: float) -> tuple[int, float, float]:
    """The latest attempt at a pull: its number, when it was, and how long until the next."""
    number, begun_s = 0, since_s
    while True:
        delay_s = min(settings.max_backoff_s, settings.backoff_s * 2 ** min(number, 30))
        if now_s < begun_s + delay_s:
            return number, begun_s, delay_s
        number, begun_s = number + 1, begun_s + delay_s
