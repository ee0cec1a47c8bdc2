"""The keeper's requests: each verb of the wire is a method, and the engine does the work."""

from __future__ import annotations

import asyncio
import base64
import errno
import os
import signal
import socket
import stat
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trenza.engine.engine import Engine, Request
from trenza.engine.journal import Journal
from trenza.engine.record import Mode
from trenza.errors import TrenzaError, UsageError
from trenza.keeper.breaking import Breaking
from trenza.keeper.checking import Checking
from trenza.keeper.cluster_objects import ClusterObjects
from trenza.keeper.clustering import Clustering
from trenza.keeper.commands import Commands
from trenza.keeper.connection import Connection, problem_as_json
from trenza.keeper.door import Doors
from trenza.keeper.forwarding import Forwarding
from trenza.keeper.logs import Logs
from trenza.keeper.measuring import Measuring
from trenza.keeper.places import Places
from trenza.keeper.questions import Questions
from trenza.keeper.saving import Saving
from trenza.keeper.sessions import Sessions
from trenza.keeper.showing import show
from trenza.keeper.solving import Solving
from trenza.keeper.supervise import Supervisor
from trenza.keeper.ways_out import WaysOut
from trenza.keeper.witness import Witness
from trenza.linux import beneath
from trenza.linux.doctor import missing_for, requirements
from trenza.linux.doctor.probe import MachineProbe
from trenza.linux.faulting import FaultyNodes
from trenza.linux.inside import MAX_PLACED_BYTES, SandboxNodes
from trenza.linux.kernel import LinuxKernel
from trenza.linux.netns import Home
from trenza.linux.probes import Pair, unanswered
from trenza.model.names import NodeName, is_uplink
from trenza.model.state import NodeKind, Process, State
from trenza.plan.explain import explain, explain_left_alone
from trenza.plan.operations import Change, Create, Remove
from trenza.theory import convergence_s, reachable_pairs
from trenza.wire import Message

Handler = Callable[[Connection, Message], Awaitable[None]]
_PROGRESS_EVERY_S = 0.1
MAX_WAITED_PAIRS = 2000


@dataclass(frozen=True, slots=True)
class Settings:
    """How a keeper is started: descriptors of its listening socket, of the lab's directory and of its history's."""

    lab: str
    listener: int
    directory: int
    history: int
    single_id: bool
    forwards: list[tuple[int, list[int]]] = field(default_factory=list)
    """Descriptors of listeners for the forwarded ports, by their place in the lab's record."""


class Keeper:
    """One lab's keeper. `run` serves until the sandbox ends."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        directory = Path(f"/proc/self/fd/{settings.directory}")
        self.history = Path(f"/proc/self/fd/{settings.history}")
        self.home = Home()
        self.nodes = SandboxNodes(directory / "nodes.json", single_id=settings.single_id)
        self.kernel = LinuxKernel(self.nodes)
        self.journal = Journal(self.history / "journal.jsonl")
        self._lab_directory = -1
        self.engine = Engine(
            self.kernel, self.nodes, self.journal, directory / "lab.json", self._fetch, self._require,
            FaultyNodes(self.nodes, self.home, lambda node: self.clustering.processes(node)),
            lambda program: os.access(program, os.X_OK),
        )  # fmt: skip
        self._busy = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self.sessions = Sessions(self.history / "sessions.jsonl", self.journal)
        self.clustering = Clustering(
            self.engine,
            self.nodes,
            self.home,
            directory,
            lambda: self.forwarding.attend(),
            single_id=settings.single_id,
        )
        self.objects = ClusterObjects(self.engine, self.nodes, self.clustering, directory)
        self.places = Places(self.engine, self.nodes, self.objects)
        self.commands = Commands(self.engine, self.places, self.sessions, self._pids_in)
        self.supervisor = Supervisor(self.engine, self.nodes, self.home, self.commands.run_quietly)
        self.doors = Doors(self.nodes, self._serve_door)
        self.logs = Logs(self.engine, self.nodes)
        self.witness = Witness(self.engine, self.nodes)
        self.breaking = Breaking(self.engine, self._busy, self._attend)
        self.measuring = Measuring(
            self.engine,
            self.places,
            self.clustering,
            self.breaking,
            self.witness,
            self.kernel.watch(neighbours=True, follow=False),
        )
        questions = Questions(self.engine, self.nodes, self.objects)
        self.checking = Checking(self.engine, questions, self.measuring)
        self.solving = Solving(
            self.engine, questions, self.measuring, self.supervisor, self.objects, self._busy, self._attend
        )  # fmt: skip
        self.forwarding = Forwarding(self.engine, self.nodes, self.home)
        self.ways_out = WaysOut(self.engine, self.nodes, settings.directory)
        self._changes = self.kernel.watch(neighbours=False)
        self._loop.add_reader(self._changes.fileno(), self._hear)
        self._tasks: set[asyncio.Task[None]] = set()
        self.saving = Saving(self.engine, self.nodes, self.sessions, self.commands, self.objects)
        by_hand: dict[str, Handler] = {
            "launch": self._launch,
            "start": self._start,
            "stop": self._stop,
            "restart": self._restart,
            "rm": self._remove,
        }
        from_outside = {**by_hand, "fault": self.breaking.fault, "heal": self.breaking.heal, "put": self._put}
        self._by_hand = by_hand
        self._verbs: dict[str, Handler] = {
            "up": self._up,
            "plan": self._plan,
            "show": self._show,
            "exec": self.commands.execute,
            "get": self._get,
            "events": self._events,
            "history": self._history,
            "logs": self.logs.logs,
            "capture": self._capture,
            "graph": self._graph,
            "outage": self.measuring.outage,
            "check": self.checking.check,
            "ask": self.checking.ask,
            "solve": self._solve,
            "cluster": self.clustering.show,
            "kubeconfig": self.clustering.kubeconfig,
            "api_server": self.clustering.where,
            "forward": self.forwarding.forward,
            "forwards": self.forwarding.forwards,
            "unforward": self.forwarding.unforward,
            "nodes": self._nodes,
            "services_in": self._services_in,
            "started": self._started,
            "save": self.saving.save,
            "export": self.saving.export,
            "state": self.saving.state,
            "remember": self.saving.remember,
            **{verb: self._kept(verb, handler) for verb, handler in from_outside.items()},
        }

    def _kept(self, verb: str, handler: Handler) -> Handler:
        """A handler whose request is kept among what people did, once it was done."""

        async def handle(connection: Connection, message: Message) -> None:
            await handler(connection, message)
            self.saving.keep(verb, message)

        return handle

    def _pids_in(self, host: NodeName) -> dict[int, NodeName]:
        """The containers of a host by the pids of their inits there."""
        return {
            handle.pid_in_host: name
            for name, handle in self.nodes.alive().items()
            if handle.node.host == host and handle.pid_in_host is not None
        }

    async def run(self) -> None:
        """Adopt what is there, then serve."""
        listener = socket.socket(fileno=self.settings.listener)
        listener.setblocking(False)
        if self.engine.record is not None:
            self._attend()
            self.breaking.adopt()
            self.forwarding.adopt(self.settings.forwards)
            self.journal.say("keeper", "", "a new keeper adopted the lab")
        while True:
            try:
                sock, _ = await self._loop.sock_accept(listener)
            except OSError as error:  # no descriptors left: what is going on has to end first
                self.journal.say("error", "", f"a client could not be heard: {error.strerror}")
                await asyncio.sleep(0.2)
                continue
            if not _is_ours(sock):
                sock.close()
                continue
            self._spawn(self._serve(Connection(sock, self._loop)))

    def _attend(self) -> None:
        """Look after what is there now: services at once; doors and changes when whoever asked has the answer."""
        self.supervisor.watch()
        self.ways_out.watch()
        self._loop.call_soon(self.clustering.attend)
        self.forwarding.attend()
        self._loop.call_soon(self._attend_further)

    def _attend_further(self) -> None:
        try:
            self.doors.open()
            self._changes.follow(self.nodes.alive())
        except (OSError, TrenzaError) as error:  # too many nodes for this process's descriptors, or one that just died
            self.journal.say("error", "", f"not every node is looked after: {error}")

    def _hear(self) -> None:
        """What the kernel tells goes to the journal."""
        for change in self._changes.read():
            if is_uplink(change.node):
                continue
            self.journal.say(change.kind, change.node, change.text, **{**change.fields, "nic": change.nic})
            self.witness.hear(change)

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: Connection) -> None:
        """One request of one connection. The task root: whatever fails is reported to the client and the journal."""
        try:
            message = await connection.receive()
            if not isinstance(message, dict):
                return
            handler = self._verbs.get(str(message.get("verb")))
            if handler is None:
                raise UsageError(f"this keeper does not know {message.get('verb')!r}")
            await handler(connection, message)
        except TrenzaError as error:
            connection.send_error(error)
        except Exception as error:
            self.journal.say("error", "", f"{type(error).__name__}: {error}")
            print_traceback()
            connection.send({"error": {"code": "internal", "exit": 1, "hint": "see keeper.log in the lab's directory",
                                       "message": f"trenza failed: {type(error).__name__}: {error}"}})  # fmt: skip
        finally:
            await connection.close()

    # ------------------------------------------------------------------ what the engine needs
    def _fetch(self, source: str) -> bytes:
        """A file below the lab's directory; no link and no `..` leads out of it, and hidden ones are not for labs."""
        if any(part.startswith(".") for part in source.split("/")):
            raise UsageError(f"files: from: {source}: a name that begins with a dot is not for labs")
        try:
            if self._lab_directory < 0:
                if self.engine.record is None or not self.engine.record.directory:
                    raise UsageError(f"files: from: {source}: the archive that this lab comes from does not hold it")
                self._lab_directory = os.open(self.engine.record.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            descriptor = beneath.open_beneath(self._lab_directory, source, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            why = "it leads out of the lab's directory" if error.errno == errno.EXDEV else error.strerror
            raise UsageError(f"files: from: {source}: {why}") from error
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UsageError(f"files: from: {source}: it is no file")
            if status.st_size > MAX_PLACED_BYTES:
                raise UsageError(f"files: from: {source}: it is larger than {MAX_PLACED_BYTES >> 20} MiB")
            with os.fdopen(os.dup(descriptor), "rb") as file:
                return file.read(MAX_PLACED_BYTES)
        finally:
            os.close(descriptor)

    def _require(self, wanted: State) -> None:
        """Name everything that this machine lacks for a lab, before anything is built."""
        missing_for(requirements(wanted), MachineProbe())

    # ------------------------------------------------------------------ up, plan
    def _request(self, message: Message) -> Request:
        """The request as typed; with `keep`, the way the lab was started stays."""
        source, file, directory = base64.b64decode(message["source"]), message["file"], message["directory"]
        shown = message.get("shown") or file
        record = self.engine.record
        if message.get("keep") and record is not None:
            return Request(
                source,
                file,
                shown,
                directory,
                record.mode,
                record.profile,
                record.parameters,
                tuple(record.variants),
                record.until,
                message.get("language") or "en",
                tuple(message.get("nat") or ()),
            )
        return Request(
            source=source,
            file=file,
            shown=shown,
            directory=directory,
            mode=Mode(message["mode"]),
            profile=message.get("profile"),
            parameters=message.get("parameters") or {},
            variants=tuple(message.get("variants") or ()),
            until=message.get("until"),
            language=message.get("language") or "en",
            nat=tuple(message.get("nat") or ()),
            files=message.get("files") or {},
            has_etcd=message.get("has_etcd", True),
        )

    def _take_lab_directory(self, connection: Connection, message: Message) -> None:
        for descriptor in connection.take_descriptors(message.get("descriptors", 0)):
            if self._lab_directory >= 0:
                os.close(self._lab_directory)
            self._lab_directory = descriptor

    async def _up(self, connection: Connection, message: Message) -> None:
        self._take_lab_directory(connection, message)
        request = self._request(message) if "source" in message else None
        async with self._busy:
            began = time.monotonic()
            last = began

            def done(operation: object, number: int, of: int) -> None:
                nonlocal last
                now = time.monotonic()
                if now - last > _PROGRESS_EVERY_S:
                    last = now
                    connection.send({"progress": {"done": number, "of": of}})

            if request is None:
                self.engine.allow(message.get("nat") or ())
            outcome = self.engine.up(request, done)
            await self.ways_out.open(connection)
            self._attend()
            processes = [thing for thing in self.engine.wanted if isinstance(thing, Process)]
            if processes:
                connection.send({"progress": {"services": ", ".join(each.name for each in processes)}})
            unready = await self.supervisor.unready(processes)
            unready_cluster = await self.objects.settle()
        wanted = self.engine.wanted
        for each in unready:
            self.journal.say("service", each.process.node, each.words())
        counts = {"created": 0, "changed": 0, "removed": 0}
        for operation in outcome.plan:
            match operation:
                case Create():
                    counts["created"] += 1
                case Change():
                    counts["changed"] += 1
                case Remove():
                    counts["removed"] += 1
        kinds = [node.kind for node in wanted.nodes.values()]
        assert self.engine.record is not None
        result: Message = {
            "lab": outcome.lab.name,
            "title": dict(outcome.lab.title),
            "fresh": outcome.fresh,
            **counts,
            "lines": explain(outcome.plan, message.get("language") or "en") if not outcome.fresh else [],
            "left_alone": explain_left_alone(outcome.left_alone, message.get("language") or "en"),
            "warnings": [problem_as_json(problem) for problem in outcome.warnings],
            "hosts": kinds.count(NodeKind.HOST),
            "containers": kinds.count(NodeKind.CONTAINER),
            "switches": kinds.count(NodeKind.SWITCH),
            "nodes": [name for name in self.engine.names() if name in wanted.nodes][:50],
            "mode": self.engine.record.mode.value,
            "until": self.engine.record.until,
            "nat": self.engine.record.nat if kinds.count(NodeKind.UPLINK) else [],
            "converges_s": convergence_s(wanted),
            "unready": [one.as_json() for one in unready],
            "cluster": outcome.lab.cluster is not None,
            "unready_cluster": unready_cluster,
            "seconds": time.monotonic() - began,
        }
        if message.get("wait") and not unready:
            result["silent_pairs"] = await self._await_pairs(connection, message.get("deadline_s"))
        connection.send({"result": result})

    async def _solve(self, connection: Connection, message: Message) -> None:
        self._take_lab_directory(connection, message)
        await self.solving.solve(connection, self._request({**message, "mode": Mode.TRIAL}), message)

    async def _await_pairs(self, connection: Connection, deadline_s: float | None) -> list[list[str]]:
        """Until every pair that theory says can talk has exchanged a packet; the pairs that did not."""
        expected = self.kernel.observe(self.engine.wanted)
        pairs = [Pair(pair.source, pair.ip) for pair in reachable_pairs(expected)]
        if len(pairs) > MAX_WAITED_PAIRS:
            step = len(pairs) / MAX_WAITED_PAIRS
            pairs = [pairs[int(index * step)] for index in range(MAX_WAITED_PAIRS)]
        limit_s = deadline_s if deadline_s is not None else 2 * convergence_s(expected) + 10
        until = time.monotonic() + limit_s
        netns = {name: handle.netns for name, handle in self.nodes.alive().items()}
        while pairs and time.monotonic() < until and not connection.closed.is_set():
            pairs = list(unanswered(self.home, netns, pairs, deadline_s=min(0.25, until - time.monotonic())))
            if pairs:
                connection.send({"progress": {"waiting": len(pairs)}})
            await asyncio.sleep(0)
        return [[pair.source, str(pair.destination)] for pair in pairs]

    async def _plan(self, connection: Connection, message: Message) -> None:
        self._take_lab_directory(connection, message)
        request = self._request(message) if "source" in message else None
        async with self._busy:
            plan, left_alone = self.engine.plan(request)
        lines = explain(plan, message.get("language") or "en")
        alone = explain_left_alone(left_alone, message.get("language") or "en")
        connection.send({"result": {"lines": lines, "operations": len(plan), "left_alone": alone}})

    # ------------------------------------------------------------------ nodes by hand
    async def _launch(self, connection: Connection, message: Message) -> None:
        async with self._busy:
            name = self.engine.launch(self.engine.resolve(message["host"]), message["name"])
            self._attend()
        connection.send({"result": {"node": name}})

    async def _start(self, connection: Connection, message: Message) -> None:
        async with self._busy:
            name = self.engine.resolve(message["node"])
            self.engine.start(name)
            self._attend()
        connection.send({"result": {"node": name}})

    async def _stop(self, connection: Connection, message: Message) -> None:
        async with self._busy:
            name = self.engine.resolve(message["node"])
            dangling = [f"/run/netns/{link}" for link in self.nodes.names_of_netns(name)]
            self.engine.stop(name)
            self._attend()
        connection.send({"result": {"node": name, "dangling": dangling}})

    async def _restart(self, connection: Connection, message: Message) -> None:
        async with self._busy:
            name = self.engine.resolve(message["node"])
            if name in self.nodes.alive():
                self.engine.stop(name)
            self.engine.start(name)
            self._attend()
        connection.send({"result": {"node": name}})

    async def _remove(self, connection: Connection, message: Message) -> None:
        async with self._busy:
            name = self.engine.resolve(message["node"])
            self.engine.remove(name)
            self._attend()
        connection.send({"result": {"node": name}})

    async def _serve_door(self, host: NodeName, connection: Connection) -> None:
        """A request from inside a host: only for that host's own containers."""
        try:
            message = await connection.receive()
            if not isinstance(message, dict):
                return
            verb = str(message.get("verb"))
            if verb == "ls":
                alive = self.nodes.alive()
                known = {**self.engine.wanted.nodes, **{name: handle.node for name, handle in alive.items()}}
                containers = [
                    {
                        "name": name.split("/", 1)[1],
                        "state": "running" if name in alive else "stopped",
                        "pid": alive[name].pid_in_host if name in alive else None,
                    }
                    for name, node in sorted(known.items())
                    if node.host == host
                ]
                connection.send({"result": {"containers": containers}})
                return
            name = str(message.get("name"))
            if "/" in name:
                host_given, _, name = name.partition("/")
                if host_given != host:
                    raise UsageError(f"from {host} one sees only its own containers, not {host_given}'s")
            if verb == "launch":
                await self._launch(connection, {"host": host, "name": name})
            elif verb in ("start", "stop", "restart", "rm"):
                full = NodeName(f"{host}/{name}")
                if full not in self.engine.wanted.nodes and full not in self.nodes.alive():
                    raise UsageError(f"{host} has no container {name!r}")
                await self._by_hand[verb](connection, {"node": full})
            else:
                raise UsageError(f"{verb!r} is not known inside a host", hint="ls, launch, start, stop, restart, rm")
        except TrenzaError as error:
            connection.send_error(error)
        finally:
            await connection.close()

    # ------------------------------------------------------------------ looking
    async def _nodes(self, connection: Connection, message: Message) -> None:
        """The nodes; with `pods` also those of the cluster."""
        names = await self.places.names() if message.get("pods") else self.engine.names()
        connection.send({"result": {"nodes": names}})

    async def _services_in(self, connection: Connection, message: Message) -> None:
        """What of a node a fault may kill, stop or pause."""
        connection.send({"result": {"services": self.engine.services_in(self.engine.resolve(message["node"]))}})

    async def _started(self, connection: Connection, message: Message) -> None:
        """How the lab was started, so that it can begin again."""
        record = self.engine.record
        if record is None:
            raise UsageError("nothing was built yet")
        connection.send(
            {
                "result": {
                    "file": record.file,
                    "mode": record.mode.value,
                    "until": record.until,
                    "profile": record.profile,
                    "parameters": record.parameters,
                    "variants": record.variants,
                    "nat": record.nat,
                }
            }
        )

    async def _show(self, connection: Connection, message: Message) -> None:
        seen = (message.get("what") or "nodes") in ("nodes", "links")
        connection.send(
            {"result": show(self.engine, self.nodes, message, await self.places.pod_links() if seen else {})}
        )

    async def _graph(self, connection: Connection, message: Message) -> None:
        from trenza.plan.graph import mermaid

        observed = self.kernel.observe(self.engine.wanted)
        connection.send({"result": {"text": mermaid(observed, self.engine.lab.name)}})

    async def _events(self, connection: Connection, message: Message) -> None:
        kinds = set(message.get("kinds") or ())
        since = self._since(message)
        for event in self.journal.past():
            if (not kinds or event["kind"] in kinds) and event["time"] >= since:
                connection.send({"event": event})
        if message.get("follow"):
            stop = self.journal.listen(
                lambda event: connection.send({"event": event.as_json()}) if not kinds or event.kind in kinds else None
            )
            try:
                with self.witness.listening():
                    await connection.closed.wait()
            finally:
                stop()
        else:
            await connection.drained()
            connection.send({"result": {}})

    def _since(self, message: Message) -> float:
        """When this run of the lab began; 0 to see earlier runs too."""
        return 0.0 if message.get("all") or self.engine.record is None else self.engine.record.began_s

    async def _history(self, connection: Connection, message: Message) -> None:
        node = self.engine.resolve(message["node"]) if message.get("node") else None
        connection.send({"result": {"lines": self.sessions.lines(node, self._since(message))}})

    # ------------------------------------------------------------------ files
    async def _get(self, connection: Connection, message: Message) -> None:
        node = self.engine.resolve(message["node"])
        read = self.nodes.read(node, message["path"])
        if read is None:
            raise UsageError(
                f"{message['path']} is no file in {node}", hint="one file at a time; directories are not copied"
            )
        connection.send({"result": {"content": base64.b64encode(read[0]).decode(), "mode": read[1]}})

    async def _put(self, connection: Connection, message: Message) -> None:
        node = self.engine.resolve(message["node"])
        content, owner = base64.b64decode(message["content"]), message.get("owner") or "root"
        self.nodes.write(node, message["path"], content, mode=message["mode"], owner=owner)
        unready = await self.objects.settle() if self.objects.has_manifest(node, message["path"]) else []
        connection.send({"result": {"node": node, "unready_cluster": unready}})

    # ------------------------------------------------------------------ captures
    async def _capture(self, connection: Connection, message: Message) -> None:
        from trenza.keeper.capturing import capture

        await capture(self.engine, self.places, connection, message)


def _is_ours(sock: socket.socket) -> bool:
    """Whether the peer is the lab's owner: uid 0 of the sandbox, or (for labs of root) an id outside of it."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    uid = int.from_bytes(credentials[4:8], sys.byteorder)
    return uid in (0, 65534)


def print_traceback() -> None:
    import traceback

    traceback.print_exc()


async def serve(settings: Settings) -> None:
    """Run a keeper until its sandbox ends."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    await Keeper(settings).run()
