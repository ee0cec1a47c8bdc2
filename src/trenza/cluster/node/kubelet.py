"""The kubelet: does for each pod of its host what `pods.step` says, and tells the API server how it is.

Each pod has a worker, which sleeps until something is seen or the time has come. What it tells the server travels
beside: while that cannot be reached, containers are probed and restarted all the same.

It is long because a worker is one thing: whatever touches a pod's containers goes through it, in one order.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
import traceback
import uuid
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from trenza.cluster.api import PODS, Api, ApiError, Object
from trenza.cluster.node import memory, pods, probing, termination, volumes
from trenza.cluster.node.account_tokens import AccountTokens
from trenza.cluster.node.containers import (
    UNKNOWN_EXIT,
    Containers,
    container_node,
    has_ended,
    log_path,
    pause_node,
    refusal_words,
    send_signal,
)
from trenza.cluster.node.environment import (
    Command,
    ConfigError,
    Image,
    Surroundings,
    command_of,
    find_image,
)
from trenza.cluster.node.events import Events
from trenza.cluster.node.log_times import LogTimes
from trenza.cluster.node.pod_status import status_of
from trenza.cluster.node.pod_volumes import PodVolumes
from trenza.cluster.node.pods import Event, Refusal, Run, Seen
from trenza.cluster.node.probes import probe
from trenza.cluster.node.record import Record, Records
from trenza.cluster.node.sources import Sources
from trenza.cluster.node.surroundings import surroundings
from trenza.cluster.node.terminals import Terminal
from trenza.cluster.node.times import time_of
from trenza.errors import KernelError, TrenzaError

_KILLED_EXIT: Final = 128 + signal.SIGKILL


class PodNetwork(Protocol):
    """Who gives pods their networks."""

    @property
    def problem(self) -> str:
        """Why there can be none now, or nothing."""
        ...

    def connect(self, uid: str, pause_pid: int) -> str:
        """Give a new pod an interface and an address, which is returned. Raises KernelError."""
        ...

    def keep(self, uid: str, address: str) -> None:
        """An address that a pod of an agent before has."""
        ...

    def disconnect(self, uid: str, address: str) -> None: ...

    def resolv_conf(self, pod: Object) -> str: ...


@dataclass(frozen=True, slots=True)
class Host:
    """The host and how its pods are run."""

    name: str
    settings: pods.Settings


class Kubelet:
    """The pods of one host. `services` gives all services, for the variables of containers."""

    def __init__(
        self,
        host: Host,
        api: Api,
        containers: Containers,
        network: PodNetwork,
        records: Records,
        events: Events,
        services: Callable[[], tuple[Object, ...]],
    ) -> None:
        self.host = host
        self.api = api
        self.containers = containers
        self.network = network
        self.records = records
        self.events = events
        self.services = services
        self.sources = Sources(api, self._source_changed)
        self.log_times = LogTimes()
        self.workers: dict[str, PodWorker] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that is kept until it has ended."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def adopt(self) -> None:
        """Take on what an agent before has left; nodes that it did not write down are ended."""
        alive = self.containers.alive()
        known: set[str] = set()
        for record in self.records.load():
            worker = PodWorker(self, record.pod, record.seen, set(record.said))
            self.workers[worker.uid] = worker
            known |= worker.adopt(alive)
        self.containers.remove([name for name in alive if name not in known])
        for worker in self.workers.values():
            self.spawn(worker.run())

    def update(self, pod: Object) -> None:
        """A pod of this host as the server has it now."""
        worker = self.workers.get(pod["metadata"]["uid"])
        if worker is not None:
            worker.update(pod)
            return
        if pod.get("status", {}).get("phase") in ("Succeeded", "Failed") and "deletionTimestamp" not in pod["metadata"]:
            return  # it ended here once, and everything of it is known to the server
        worker = PodWorker(self, pod, Seen(accepted_s=time.time()), set())
        self.workers[worker.uid] = worker
        self.spawn(worker.run())

    def remove(self, uid: str) -> None:
        """A pod that the server does not have any more."""
        worker = self.workers.get(uid)
        if worker is not None:
            worker.lose()

    def _source_changed(self, uid: str) -> None:
        worker = self.workers.get(uid)
        if worker is not None:
            worker.pod_volumes.doubt()

    def keep_only(self, uids: frozenset[str]) -> None:
        """Of the pods of an agent before, those that the server does not have are ended."""
        for uid in [uid for uid in self.workers if uid not in uids]:
            self.remove(uid)

    def find(self, namespace: str, name: str) -> PodWorker | None:
        """The pod of that name; of one that is ending and its successor the successor."""
        for worker in reversed(self.workers.values()):
            metadata = worker.pod["metadata"]
            if (metadata["namespace"], metadata["name"]) == (namespace, name):
                return worker
        return None

    def wake_all(self) -> None:
        """Something that pods wait for has changed."""
        for worker in self.workers.values():
            worker.wake.set()


@dataclass(slots=True, eq=False)
class PodWorker:
    """One pod: as asked for, as seen, and who watches over its containers."""

    kubelet: Kubelet
    pod: Object
    seen: Seen
    said: set[str]
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    terminals: dict[str, Terminal] = field(default_factory=dict)
    _pidfds: dict[str, int] = field(default_factory=dict)
    _probers: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _guards: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    """Of containers whose memory is limited."""
    _wanted: Object | None = None
    _statuses: int = 0
    _statuses_told: int = 0
    """How many statuses there were to tell, and up to which the server has been told."""
    _contradicted: bool = False
    _publisher: asyncio.Task[None] | None = None
    _log_watches: dict[str, int] = field(default_factory=dict)
    _signals: set[tuple[str, int, signal.Signals]] = field(default_factory=set)
    _lost: bool = False
    pod_volumes: PodVolumes = field(init=False)
    _upkeep: asyncio.Task[None] | None = None
    """Of the volumes, as long as the pod has its network."""

    def __post_init__(self) -> None:
        self.pod_volumes = PodVolumes(self.kubelet.containers, AccountTokens(self.kubelet.api))

    @property
    def uid(self) -> str:
        return str(self.pod["metadata"]["uid"])

    @property
    def pause(self) -> str:
        return pause_node(self.kubelet.host.name, self.uid)

    def node_of(self, container: str) -> str | None:
        """The spawner's name for a container that runs now."""
        run = self.seen.runs.get(container)
        return self._node(container, run.attempt) if run is not None and run.is_running else None

    def runs_at(self, container: str, attempt: int) -> bool:
        """Whether that very run of a container goes on."""
        run = self.seen.runs.get(container)
        return run is not None and run.attempt == attempt and run.is_running

    def _node(self, container: str, attempt: int) -> str:
        return container_node(self.kubelet.host.name, self.uid, container, attempt)

    def log_of(self, container: str, attempt: int) -> str:
        metadata = self.pod["metadata"]
        return log_path(metadata["namespace"], metadata["name"], self.uid, container, attempt)

    def stdin_of(self, container: str) -> str:
        return f"{volumes.pod_directory(self.pod)}/containers/{container}/stdin"

    def container(self, name: str) -> Object | None:
        return next((dict(one) for one in pods.every_container(self.pod) if one["name"] == name), None)

    @property
    def _host_network(self) -> bool:
        return bool(self.pod["spec"].get("hostNetwork"))

    # ------------------------------------------------------------------ what is heard
    def update(self, pod: Object) -> None:
        if self._wanted is not None and _readiness(pod.get("status") or {}) != _readiness(self._wanted):
            self._contradicted = True  # while the host was silent others spoke for it
        if any(pod["metadata"].get(key) != self.pod["metadata"].get(key) for key in ("labels", "annotations")):
            self.pod_volumes.doubt()
        self.pod = pod
        self.wake.set()

    def lose(self) -> None:
        """The server forgot the pod: nobody is to be told, and nothing is waited for."""
        self._lost = True
        metadata = {**self.pod["metadata"], "deletionTimestamp": time_of(time.time()), "deletionGracePeriodSeconds": 0}
        self.pod = {**self.pod, "metadata": metadata}
        self.wake.set()

    def adopt(self, alive: Mapping[str, int]) -> set[str]:
        """Find the pod's nodes and processes again; the names of those nodes."""
        names = {self.pause} & alive.keys()
        if self.pause in alive and self.seen.address and not self._host_network:
            self.kubelet.network.keep(self.uid, self.seen.address)
        if self.pause not in alive:
            self.seen = replace(self.seen, sandbox_s=None, address="")
        else:
            self.pod_volumes.doubt()
            self._keep_volumes()
        for name, run in self.seen.runs.items():
            if not run.is_running:
                continue
            node = self._node(name, run.attempt)
            pidfd = self.kubelet.containers.find_started(node) if self.pause in alive and node in alive else None
            if pidfd is None:
                reason = "ContainerStatusUnknown"
                self._set_run(name, replace(run, finished_s=time.time(), exit_code=_KILLED_EXIT, reason=reason))
                continue
            names.add(node)
            self._attend(name, pidfd)
        return names

    # ------------------------------------------------------------------ the loop
    async def run(self) -> None:
        """Until nothing of the pod is left."""
        while True:
            try:
                if await self._turn():
                    return
            except Exception as error:  # a full disk, say, or a pod too odd for us: it is told, and tried again
                if not isinstance(error, TrenzaError | OSError):
                    traceback.print_exc()
                message = f"error syncing pod: {error}"
                self._say((Event("Warning", "FailedSync", message, key=message),))
                await asyncio.sleep(self.kubelet.host.settings.retry_s)

    async def _turn(self) -> bool:
        """Do what there is to do, then sleep until there is more; whether nothing of the pod is left."""
        settings = self.kubelet.host.settings
        self.wake.clear()
        now_s = time.time()
        if self.kubelet.network.problem != self.seen.network_problem:
            self.seen = replace(self.seen, network_problem=self.kubelet.network.problem)
        step = pods.step(self.pod, self.seen, settings, now_s)
        self._say(step.events)
        progress = bool(step.actions)
        for action in step.actions:
            if isinstance(action, pods.Forget):
                await self._finish(step)
                return True
            progress = await self._perform(action) and progress
        if progress:
            return False
        self._publish(step)
        wakes_at_s = now_s + settings.retry_s if step.actions else step.wakes_at_s
        timeout_s = None if wakes_at_s is None else max(0.001, wakes_at_s - time.time())
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.wake.wait()
        return False

    def _say(self, events: tuple[Event, ...]) -> None:
        new = [event for event in events if f"{event.reason} {event.container} {event.key}" not in self.said]
        for event in new:
            self.kubelet.events.say(self.pod, event)
        self.said |= {f"{event.reason} {event.container} {event.key}" for event in new if event.key}

    def _tell(self, kind: str, reason: str, message: str, container: str = "") -> None:
        self.kubelet.events.say(self.pod, Event(kind, reason, message, container))

    async def _perform(self, action: pods.Action) -> bool:
        """Do it; False if it could not be done now."""
        match action:
            case pods.MakeSandbox():
                return await self._make_sandbox()
            case pods.Start():
                await self._start(action)
            case pods.Terminate(name):
                return self._stop(name, signal.SIGTERM)
            case pods.Kill(name):
                return self._stop(name, signal.SIGKILL)
            case pods.RemoveSandbox():
                self._remove_sandbox()
            case pods.Forget():
                pass
        return True

    # ------------------------------------------------------------------ the sandbox
    async def _make_sandbox(self) -> bool:
        kubelet, spec = self.kubelet, self.pod["spec"]
        hostname = spec.get("hostname") or self.pod["metadata"]["name"]
        address = kubelet.host.settings.host_ip
        try:
            self._save()  # before it is there: who comes after us must know whose it is
            if self._host_network:
                await kubelet.containers.make_pause(self.pause, kubelet.host.name, host_network=True)
            else:
                pid = await kubelet.containers.make_pause(self.pause, hostname, host_network=False)
                address = kubelet.network.connect(self.uid, pid)
            directory = volumes.pod_directory(self.pod)
            kubelet.containers.rewrite(f"{directory}/etc-hosts", volumes.hosts_file(self.pod, address).encode())
            kubelet.containers.rewrite(f"{directory}/resolv.conf", kubelet.network.resolv_conf(self.pod).encode())
        except (KernelError, OSError) as error:
            kubelet.containers.remove([self.pause])
            message = f"Failed to create pod sandbox: {error}"
            self._say((Event("Warning", "FailedCreatePodSandBox", message, key=message),))
            return False
        self.seen = replace(self.seen, sandbox_s=time.time(), address=address)
        self._save()
        return True

    def _remove_sandbox(self) -> None:
        for task in self._probers.values():
            task.cancel()
        self._probers.clear()
        self._leave_volumes()
        if self.seen.address and not self._host_network:
            self.kubelet.network.disconnect(self.uid, self.seen.address)
        self.kubelet.containers.remove([self.pause])
        self.seen = replace(self.seen, sandbox_s=None, address="")
        self._save()

    # ------------------------------------------------------------------ containers
    async def _start(self, action: pods.Start) -> None:
        name, attempt = action.container, action.attempt
        container = self.container(name)
        assert container is not None
        image = find_image(container["image"], self.kubelet.host.settings.images)
        assert image is not None
        node = self._node(name, attempt)
        try:
            command, shown = await self._prepare(container, image)
        except ConfigError as error:
            self._refuse(name, "CreateContainerConfigError", error.message)
            return
        except (ApiError, OSError) as error:
            self._refuse(name, "CreateContainerConfigError", f"{error}")
            return
        identity, known = uuid.uuid4().hex, command.environment
        run = Run(attempt, time.time(), action.streak, identity=identity, environment=known)
        containers = self.kubelet.containers
        try:
            await containers.make(node, self._hostname(), self.pause, shown)
        except KernelError as error:
            self._refuse(name, "CreateContainerError", error.message)
            return
        self._tell("Normal", "Pulled", f'Container image "{container["image"]}" already present on machine', name)
        self._tell("Normal", "Created", f"Created container: {name}", name)
        stdin = self.stdin_of(name) if container.get("stdin") else None
        log, tty = self.log_of(name, attempt), bool(container.get("tty"))
        try:
            started = await containers.start(node, command, log, stdin=stdin, tty=tty)
        except (KernelError, OSError) as error:
            refused = error if isinstance(error, KernelError) else KernelError(f"{error}")
            message = refusal_words(command.argv, refused)
            containers.remove([node])
            now_s = time.time()
            ended = replace(run, finished_s=now_s, exit_code=128, reason="StartError", message=message)
            self._set_run(name, ended)
            self._tell("Warning", "Failed", f"Error: {message}", name)
            return
        if started.terminal is not None:
            self.terminals[name] = Terminal(started.terminal, containers.open_log(log, append=True))
        self._set_run(name, run)
        self._attend(name, started.pidfd)
        self._tell("Normal", "Started", f"Started container {name}", name)
        hook = self._hook(name, "postStart")
        if hook is not None:
            self.kubelet.spawn(self._greet(name, hook, attempt))

    def _hostname(self) -> str:
        if self._host_network:
            return self.kubelet.host.name
        return str(self.pod["spec"].get("hostname") or self.pod["metadata"]["name"])

    async def _prepare(self, container: Object, image: Image) -> tuple[Command, tuple[volumes.Mount, ...]]:
        """What to execute and what to show, its files written. Raises ConfigError, ApiError, OSError."""
        around = await self._surroundings()
        try:
            made = self.pod_volumes.make(self.pod, around)
        except ConfigError as error:
            self._say(
                (Event("Warning", "FailedMount", f"MountVolume.SetUp failed: {error.message}", key=error.message),)
            )
            raise
        self._keep_volumes()
        command = command_of(self.pod, container, image, around)
        last_words = termination.make_log(self.kubelet.containers, self.pod, container)
        return command, (*volumes.mounts(self.pod, container, made), last_words)

    async def _surroundings(self) -> Surroundings:
        host = self.kubelet.host
        return await surroundings(
            self.kubelet.sources, self.pod_volumes.tokens, self.pod, self.kubelet.services(),
            host_ip=host.settings.host_ip, pod_ip=self.seen.address, node_name=host.name,
        )  # fmt: skip

    def _keep_volumes(self) -> None:
        if self._upkeep is None:
            retry_s = self.kubelet.host.settings.retry_s
            self._upkeep = self.kubelet.spawn(self.pod_volumes.keep(lambda: self.pod, self._surroundings, retry_s))

    def _leave_volumes(self) -> None:
        if self._upkeep is not None:
            self._upkeep.cancel()
            self._upkeep = None
        self.kubelet.sources.release(self.uid)

    def _refuse(self, name: str, reason: str, message: str) -> None:
        refusals = {**self.seen.refusals, name: Refusal(reason, message, time.time())}
        self.seen = replace(self.seen, refusals=refusals)

    def _set_run(self, name: str, run: Run) -> None:
        before = self.seen.runs.get(name)
        previous = self.seen.previous
        if before is not None and before.attempt != run.attempt:
            forgotten = previous.get(name)
            if forgotten is not None:
                self.kubelet.containers.remove_log(self.log_of(name, forgotten.attempt))
            previous = {**previous, name: before}
        refusals = {key: value for key, value in self.seen.refusals.items() if key != name}
        self.seen = replace(
            self.seen, runs={**self.seen.runs, name: run}, previous=previous, refusals=refusals
        )  # fmt: skip
        self._save()

    def _attend(self, name: str, pidfd: int) -> None:
        """Watch a container that runs: its end, and its probes."""
        self._pidfds[name] = pidfd
        asyncio.get_running_loop().add_reader(pidfd, self._see_end, name, pidfd)
        path = self.log_of(name, self.seen.runs[name].attempt)
        log, times = self.kubelet.containers.open_log(path, append=True), self.kubelet.containers.open_times(path)
        if log is not None and times is not None:
            self._log_watches[name] = self.kubelet.log_times.attend(log, times)
        else:
            for descriptor in (log, times):
                if descriptor is not None:
                    os.close(descriptor)
        container = self.container(name)
        if container is not None and any(probing.probe_of(container, kind) for kind in probing.KINDS):
            self._probers[name] = self.kubelet.spawn(self._probe(name, container, self.seen.runs[name].attempt))

        limit_bytes = None if container is None else memory.find_limit(container)
        if limit_bytes is not None:
            self._guards[name] = self.kubelet.spawn(self._guard(name, self.seen.runs[name].attempt, limit_bytes))

    async def _guard(self, name: str, attempt: int, limit_bytes: int) -> None:
        """End a run that takes more memory than it may."""
        init = self.kubelet.containers.alive().get(self._node(name, attempt))
        if init is None:
            return
        await memory.exceeded(init, limit_bytes)
        if self.runs_at(name, attempt):
            self._set_run(name, replace(self.seen.runs[name], reason="OOMKilled"))
            self._signal(name, signal.SIGKILL)

    def _see_end(self, name: str, pidfd: int) -> None:
        asyncio.get_running_loop().remove_reader(pidfd)
        self.kubelet.spawn(self._ended(name, pidfd))

    async def _ended(self, name: str, pidfd: int) -> None:
        run = self.seen.runs[name]
        code = await self.kubelet.containers.exit_code_of(self._node(name, run.attempt), pidfd)
        os.close(pidfd)
        self._pidfds.pop(name, None)
        if name in self._log_watches:
            self.kubelet.log_times.leave(self._log_watches.pop(name))
        for watchers in (self._probers, self._guards):
            watcher = watchers.pop(name, None)
            if watcher is not None:
                watcher.cancel()
        terminal = self.terminals.pop(name, None)
        if terminal is not None:
            terminal.close()
        run = self.seen.runs[name]
        if code == UNKNOWN_EXIT and (name, run.attempt, signal.SIGKILL) in self._signals:
            code = _KILLED_EXIT
        container = self.container(name) or {"name": name}
        output = self.log_of(name, run.attempt)
        message = termination.message_of(self.kubelet.containers, self.pod, container, output, code)
        ended = replace(run, finished_s=time.time(), exit_code=code, message=message)
        try:
            self.kubelet.containers.remove([self._node(name, run.attempt)])
            self._set_run(name, ended)
        finally:
            self.seen = replace(self.seen, runs={**self.seen.runs, name: ended})
            self.wake.set()

    def _stop(self, name: str, number: signal.Signals) -> bool:
        """Send a signal, and no other time the same; False if it was sent before."""
        run = self.seen.runs[name]
        if (name, run.attempt, number) in self._signals:
            return False
        self._signals.add((name, run.attempt, number))
        hook = self._hook(name, "preStop") if number is signal.SIGTERM else None
        if hook is not None:
            self.kubelet.spawn(self._leave(name, hook, run.attempt))
        else:
            self._signal(name, number)
        if run.is_running:
            self._set_run(name, replace(run, stopping_since_s=run.stopping_since_s or time.time()))
        if number is signal.SIGKILL:
            self.kubelet.containers.remove([self._node(name, run.attempt)])
        return True

    def _signal(self, name: str, number: signal.Signals) -> None:
        if name in self._pidfds and not has_ended(self._pidfds[name]):
            send_signal(self._pidfds[name], number)

    # ------------------------------------------------------------------ hooks
    def _hook(self, name: str, kind: str) -> Object | None:
        hook: Object | None = ((self.container(name) or {}).get("lifecycle") or {}).get(kind)
        return hook

    async def _run_hook(self, name: str, kind: str, hook: Object, attempt: int) -> bool:
        """Run a hook of a container, within its grace period."""
        grace_s = float(self.pod["spec"].get("terminationGracePeriodSeconds", 30))
        if "sleep" in hook:
            await asyncio.sleep(min(float(hook["sleep"].get("seconds", 0)), grace_s))
            return True
        spec = {**hook, "timeoutSeconds": grace_s}
        node = self._node(name, attempt)
        success, said = await probe(spec, self.container(name) or {}, node, self.seen.address, self.kubelet.containers)
        if not success:
            self._tell("Warning", f"Failed{kind[0].upper()}{kind[1:]}Hook", f"{kind} hook failed: {said}".strip(), name)
        return success

    async def _leave(self, name: str, hook: Object, attempt: int) -> None:
        """A container's own goodbye, and then the signal."""
        await self._run_hook(name, "preStop", hook, attempt)
        if self.runs_at(name, attempt):
            self._signal(name, signal.SIGTERM)

    async def _greet(self, name: str, hook: Object, attempt: int) -> None:
        """A hook after the start: a container whose hook fails is ended."""
        if not await self._run_hook(name, "postStart", hook, attempt) and self.runs_at(name, attempt):
            self._signal(name, signal.SIGKILL)

    # ------------------------------------------------------------------ probes
    async def _probe(self, name: str, container: Object, attempt: int) -> None:
        """Make a container's probes, each when it is due, for as long as this run of it lasts."""
        while (run := self.seen.runs.get(name)) is not None and run.is_running and run.attempt == attempt:
            due = probing.due(container, run.health, run.started_s)
            if not due:
                return
            kind = min(due, key=lambda one: due[one])
            await asyncio.sleep(max(0.0, due[kind] - time.time()))
            spec = probing.probe_of(container, kind)
            assert spec is not None
            node = self._node(name, attempt)
            success, output = await probe(spec, container, node, self.seen.address, self.kubelet.containers)
            now = self.seen.runs.get(name)
            if now is None or not now.is_running or now.attempt != attempt or now.stopping_since_s is not None:
                return
            if not success:
                self._tell("Warning", "Unhealthy", f"{kind.capitalize()} probe failed: {output}".strip(), name)
            before = now.health
            health = probing.found(container, before, kind, success, output, time.time())
            runs = {**self.seen.runs, name: replace(now, health=health)}
            self.seen = replace(self.seen, runs=runs)
            if health.verdict(kind) != before.verdict(kind):
                self._save()
                self.wake.set()

    # ------------------------------------------------------------------ what is told
    def _save(self) -> None:
        self.kubelet.records.save(Record(self.pod, self.seen, frozenset(self.said)))

    def _publish(self, step: pods.Step) -> None:
        status = status_of(self.pod, self.seen, step, host_ip=self.kubelet.host.settings.host_ip, now_s=time.time())
        if (status == self._wanted and not self._contradicted) or self._lost:
            return
        self._wanted, self._contradicted = status, False
        self._statuses += 1
        self.pod = {**self.pod, "status": {**self.pod.get("status", {}), **status}}
        if self._publisher is None or self._publisher.done():
            self._publisher = self.kubelet.spawn(self._send_status())

    async def _send_status(self) -> None:
        """Tell the server, again and again until it has the latest."""
        metadata = self.pod["metadata"]
        while self._statuses != self._statuses_told and not self._lost:
            said, status = self._statuses, self._wanted
            patch = {"metadata": {"uid": self.uid}, "status": status}
            try:
                await self.kubelet.api.patch(PODS, metadata["namespace"], metadata["name"], patch, subresource="status")
            except ApiError as error:
                if error.status in (404, 409, 422):
                    return  # it is gone, or another of that name is there: the watch will say so
                await asyncio.sleep(self.kubelet.host.settings.retry_s)
            else:
                self._statuses_told = said

    async def _finish(self, step: pods.Step) -> None:
        """Nothing runs any more: have the server forget the pod, and forget it here."""
        self._publish(step)
        if self._publisher is not None and not self._lost:
            await self._publisher
        metadata = self.pod["metadata"]
        while not self._lost:
            try:
                await self.kubelet.api.delete(PODS, metadata["namespace"], metadata["name"], uid=self.uid, grace_s=0)
                break
            except ApiError as error:
                if error.status in (404, 409):
                    break
                await asyncio.sleep(self.kubelet.host.settings.retry_s)
        self._leave_volumes()
        self.kubelet.containers.remove_tree(volumes.pod_directory(self.pod))
        self.kubelet.containers.remove_tree(os.path.dirname(os.path.dirname(self.log_of("x", 0))))
        self.kubelet.records.forget(self.uid)
        self.kubelet.workers.pop(self.uid, None)


def _readiness(status: Object) -> str | None:
    return next((one["status"] for one in status.get("conditions") or () if one["type"] == "Ready"), None)
