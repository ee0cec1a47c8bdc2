"""The sandbox from inside: a client of the spawner, and the nodes it spawns. Used by the keeper."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from enum import Enum
from errno import E2BIG
from pathlib import Path
from typing import Any

from trenza.errors import KernelError
from trenza.linux import beneath
from trenza.linux.descriptors import received
from trenza.linux.nodes import NodeHandle
from trenza.linux.spawner import MAX_MESSAGE_BYTES, SOCKET
from trenza.linux.uplinks import Uplinks
from trenza.model.names import NodeName
from trenza.model.state import File, Node, NodeKind, Process, Ready, Restart, State, Thing
from trenza.services.daemons import SYSLOG

_SPAWN_CHUNK = 200
_END_GRACE_S = 3.0
MAX_PLACED_BYTES = 64 << 20
SERVICE_VARIABLE = "TRENZA_SERVICE"
"""In the environment of a declared process: its name."""

STOPS = "/run/trenza.stopped"
"""A directory of a node: `/etc/init.d/NAME stop` leaves a mark there for the service that it stopped, and `start`
adds the word to it. The mark is there until the service is started."""

MAX_MARK_BYTES = 4096
_LISTENS_WITHIN_S = 2.0


class ByHand(Enum):
    """What whoever stopped a service by hand wants of it now."""

    REST = "rest"
    START = "start"


def stop_mark(process: Process) -> str:
    """The file that says that a service was stopped by hand."""
    return f"{STOPS}/{process.name}"


class SpawnerClient:
    """One connection to the sandbox's spawner: a request, its answer."""

    def __init__(self, address: str = SOCKET) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_MESSAGE_BYTES)
        self._socket.connect(address)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def ask(self, request: Mapping[str, Any], descriptors: Sequence[int] = ()) -> tuple[dict[str, Any], list[int]]:
        """The answer and the descriptors that came with it. Raises KernelError if the spawner refuses."""
        self.send(request, descriptors)
        return self.receive()

    def send(self, request: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Ask, and `receive` the answer later. Raises KernelError."""
        message = json.dumps(request).encode()
        if len(message) > MAX_MESSAGE_BYTES:
            raise KernelError(f"argument list too long: {len(message)} bytes, {MAX_MESSAGE_BYTES} at most", errno=E2BIG)
        try:
            socket.send_fds(self._socket, [message], list(descriptors))
        except OSError as error:
            raise KernelError(
                f"the sandbox's spawner was not asked: {error.strerror}", errno=error.errno or 0
            ) from error

    def receive(self) -> tuple[dict[str, Any], list[int]]:
        """The next message (after `exec`, the exit status when it comes)."""
        message, descriptors = received(self._socket, MAX_MESSAGE_BYTES, 4)
        if not message:
            raise KernelError("the sandbox's spawner closed the connection")
        answer = json.loads(message)
        if "error" in answer:
            refusal = CommandRefused if "status" in answer else KernelError
            error = refusal(answer["error"], errno=answer.get("errno", 0))
            if isinstance(error, CommandRefused):
                error.status = answer["status"]
            raise error
        return answer, descriptors


class CommandRefused(KernelError):
    """A command could not be executed in a node; `status` is what a shell would return (125, 126 or 127)."""

    status = 125


@dataclass(frozen=True, slots=True)
class _Started:
    """A declared process that was started: which, its pid in the sandbox, and when the kernel says it began.

    Its log holds what earlier ones wrote in the first `log_from` bytes.
    """

    process: Process
    pid: int
    began: int
    log_from: int = 0


class SandboxNodes:
    """`Nodes` of a sandbox. What was started is kept in `memory`, so that a new keeper knows it."""

    def __init__(self, memory: Path, *, single_id: bool) -> None:
        self._client = SpawnerClient()
        self._uplinks = Uplinks()
        self._memory = memory
        self._first_id = 0 if single_id else 1
        self._single_id = single_id
        self._handles: dict[NodeName, NodeHandle] = {}
        self._known: dict[NodeName, Node] = {}
        self._started: dict[tuple[str, str], _Started] = {}
        self._pidfds: dict[tuple[str, str], int] = {}
        self._load()

    # ------------------------------------------------------------------ nodes
    def spawn(self, nodes: Sequence[Node]) -> None:
        outside = [node for node in nodes if node.kind is NodeKind.UPLINK]
        if outside:
            self._known |= {node.name: node for node in outside}
            self._save()
            for node in outside:
                self._uplinks.spawn(node)
        nodes = [node for node in nodes if node.kind is not NodeKind.UPLINK]
        for start in range(0, len(nodes), _SPAWN_CHUNK):
            chunk = nodes[start : start + _SPAWN_CHUNK]
            requests = [
                {
                    "name": node.name,
                    "host": node.host,
                    "hostname": node.hostname,
                    "directory": node.name.replace("/", "+"),
                }
                for node in chunk
            ]
            for node in chunk:  # before they are there: who adopts them after our death must know what they are
                self._known[node.name] = node
            self._save()
            self._client.ask({"do": "spawn", "nodes": requests})

    def rename(self, node: Node) -> None:
        """Give a living node another hostname, now and in its /etc/hostname."""
        client = SpawnerClient()
        try:
            client.ask({"do": "exec", "node": node.name, "argv": ["/bin/hostname", node.hostname]})
            status = client.receive()[0]["exit"]
        finally:
            client.close()
        if status:
            raise KernelError(f"{node.name}: hostname {node.hostname} was refused (status {status})")
        self.write(node.name, "/etc/hostname", f"{node.hostname}\n".encode(), mode=0o644)
        self._known[node.name] = node
        self._save()

    def stop(self, names: Sequence[NodeName]) -> None:
        self._stop(names, forget=False)

    def forget(self, names: Sequence[NodeName]) -> None:
        """End nodes and delete what they wrote."""
        self._stop(names, forget=True)

    def _stop(self, names: Sequence[NodeName], *, forget: bool) -> None:
        outside = self._uplinks.alive().keys() & set(names)
        self._uplinks.stop(outside)
        names = [name for name in names if name not in outside]
        answer, _ = self._client.ask({"do": "stop", "names": list(names), "forget": forget})
        if answer["left"]:
            raise KernelError(f"{', '.join(answer['left'])} did not end")

    def alive(self) -> Mapping[NodeName, NodeHandle]:
        answer, _ = self._client.ask({"do": "alive"})
        pids: dict[NodeName, tuple[int, int | None]] = {
            NodeName(name): (pid, inner) for name, (pid, inner) in answer["nodes"].items()
        }
        for name, handle in list(self._handles.items()):
            if name not in pids or pids[name][0] != handle.pid:
                os.close(handle.netns)
                del self._handles[name]
        for name, (pid, inner) in pids.items():
            node = self._known.get(name)
            if node is None:
                continue
            if name not in self._handles:
                try:
                    netns = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
                except OSError:
                    continue  # it died between the question and now
                self._handles[name] = NodeHandle(node, netns, pid, inner)
            elif self._handles[name].node != node:
                self._handles[name] = dataclasses.replace(self._handles[name], node=node)
        return {**self._handles, **self._uplinks.alive()}

    def open_netns(self, owner: str, names: Set[str]) -> dict[str, int]:
        """The network namespaces of these of the nodes that another made; the descriptors are the caller's."""
        answer, _ = self._client.ask({"do": "alive", "owner": owner})
        found = {}
        for name in names & answer["nodes"].keys():
            pid, _ = answer["nodes"][name]
            try:
                found[name] = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue  # it died between the question and now
        return found

    def _pid_of(self, name: NodeName) -> int:
        handle = self._handles.get(name) or self.alive().get(name)
        if handle is None or handle.pid is None:
            raise KernelError(f"{name} is not running")
        return handle.pid

    # ------------------------------------------------------------------ files
    @property
    def root_id(self) -> int:
        """The nodes' root as an id of the sandbox."""
        return self._first_id

    def _ids_of(self, root: int, owner: str) -> tuple[int, int]:
        """An account of the node as ids of the sandbox."""
        if owner in ("root", "0"):
            return self._first_id, self._first_id
        found = (owner, owner)
        read = beneath.read_file(root, "/etc/passwd", limit_bytes=1 << 20)
        for line in (read[0] if read else b"").decode(errors="replace").splitlines():
            fields = line.split(":")
            if len(fields) > 3 and fields[0] == owner:
                found = (fields[2], fields[3])
                break
        if not all(number.isascii() and number.isdigit() and int(number) <= 65535 for number in found):
            raise KernelError(f"no account {owner!r} in the node")
        return int(found[0]) + self._first_id, int(found[1]) + self._first_id

    def place(self, file: File) -> None:
        assert file.content is not None, f"{file.path} travels without its bytes"
        self.write(file.node, file.path, file.content, mode=file.mode, owner=file.owner)

    def write(self, node: NodeName, path: str, content: bytes, *, mode: int, owner: str = "root") -> None:
        """Replace a file of a node. Raises KernelError, also when the disk is full; the old file is whole then."""
        with beneath.root_of(self._pid_of(node)) as root:
            ids = None if self._single_id else self._ids_of(root, owner)
            try:
                with beneath.acting_as(self._first_id):
                    beneath.write_file(root, path, content, mode=mode, owner=ids)
            except OSError as error:
                raise KernelError(f"{node}: cannot write {path}: {error.strerror}", errno=error.errno or 0) from error

    def read(self, node: NodeName, path: str, *, limit_bytes: int = MAX_PLACED_BYTES) -> tuple[bytes, int] | None:
        """A file's bytes and mode, or None if it is not there, or larger than the limit."""
        with beneath.root_of(self._pid_of(node)) as root:
            read = beneath.read_file(root, path, limit_bytes=limit_bytes)
        return None if read is None else (read[0], read[1].st_mode & 0o7777)

    def names_in(self, node: NodeName, directory: str) -> list[str]:
        """The names in a directory of a node; none where it is not there."""
        with beneath.root_of(self._pid_of(node)) as root:
            try:
                descriptor = beneath.open_in_root(root, directory, os.O_RDONLY | os.O_DIRECTORY)
            except OSError:
                return []
            try:
                return sorted(os.listdir(descriptor))
            finally:
                os.close(descriptor)

    def names_of_netns(self, node: NodeName) -> list[str]:
        """The links in the host's /run/netns that name a container's network namespace through its init's pid."""
        handle = self.alive().get(node)
        if handle is None or handle.node.host is None or handle.pid_in_host is None:
            return []
        with beneath.root_of(self._pid_of(handle.node.host)) as root:
            try:
                directory = beneath.open_in_root(root, "/run/netns", os.O_RDONLY | os.O_DIRECTORY)
            except OSError:
                return []
        try:
            target = f"/proc/{handle.pid_in_host}/ns/net"
            return sorted(name for name in os.listdir(directory) if _link_at(directory, name) == target)
        finally:
            os.close(directory)

    def remove_file(self, file: File) -> None:
        with beneath.root_of(self._pid_of(file.node)) as root:
            beneath.remove_file(root, file.path)

    # ------------------------------------------------------------------ processes
    def start(self, process: Process) -> None:
        log = f"/var/log/{process.name}.log"
        request = {
            "do": "exec",
            "node": process.node,
            "argv": list(process.argv),
            "env": {**dict(process.env), SERVICE_VARIABLE: process.name},
            "user": process.user,
            "detach": True,
            "log": log,
            "service": process.name,
        }
        with beneath.root_of(self._pid_of(process.node)) as root:
            log_from = beneath.size_of(root, log)
            try:
                beneath.remove_file(root, stop_mark(process))  # whoever stopped it by hand is overruled
            except OSError:
                pass  # the node's root made something else of it: then its end counts as stopped by hand, no more
        key = (process.node, process.name)
        # Before it runs: should we die now, who adopts it asks for its pid.
        self._started[key] = _Started(process, 0, 0, log_from)
        self._save()
        answer, (pidfd,) = self._client.ask(request)
        self._keep_pidfd(key, pidfd)
        self._started[key] = _Started(process, answer["pid"], _began(answer["pid"]) or 0, log_from)
        self._save()
        if process.name == SYSLOG:
            self._await_log(process)

    def _await_log(self, process: Process) -> None:
        """Until a syslog listens: daemons that start before it would speak to nobody."""
        until = time.monotonic() + _LISTENS_WITHIN_S
        assert process.ready.file is not None
        with beneath.root_of(self._pid_of(process.node)) as root:
            while time.monotonic() < until and self.is_running(process):
                try:
                    os.close(beneath.open_in_root(root, process.ready.file, os.O_PATH))
                except OSError:
                    time.sleep(0.001)  # nobody tells when a socket gets its name
                else:
                    return

    def _keep_pidfd(self, key: tuple[str, str], pidfd: int | None) -> None:
        old = self._pidfds.pop(key, None)
        if old is not None:
            os.close(old)
        if pidfd is not None:
            self._pidfds[key] = pidfd

    def take_pidfd(self, process: Process) -> tuple[int, int] | None:
        """The pid of a process that was started and a pidfd, which is the caller's to close; None if it is gone.

        Where we started it ourselves, there is one even if it has ended already.
        """
        key = (process.node, process.name)
        started = self._started.get(key)
        if started is None:
            return None
        if key in self._pidfds:
            return started.pid, self._pidfds.pop(key)
        if _began(started.pid) != started.began:
            return None
        try:
            return started.pid, os.pidfd_open(started.pid)
        except ProcessLookupError:
            return None

    def end(self, process: Process) -> None:
        started = self._started.get((process.node, process.name))
        if started is not None and _began(started.pid) == started.began:
            descriptor = os.pidfd_open(started.pid)
            try:
                for number in (signal.SIGTERM, signal.SIGKILL):
                    _signal_group(started.pid, number)
                    if select.select([descriptor], [], [], _END_GRACE_S)[0]:
                        break
            finally:
                os.close(descriptor)
            _kill_session(started.pid)
        self.give_up(process)

    def end_rest(self, pid: int) -> None:
        """End what a declared process that is dead left behind in its session."""
        _kill_session(pid)

    def give_up(self, process: Process) -> None:
        """A declared process that ended and is to stay so: nobody who adopts it starts it again."""
        self._keep_pidfd((process.node, process.name), None)
        if self._started.pop((process.node, process.name), None) is not None:
            self._save()

    def has_died(self, process: Process) -> bool:
        """Whether a process was started with this very definition, was not given up, and does not live."""
        started = self._started.get((process.node, process.name))
        return started is not None and started.process == process and _began(started.pid) != started.began

    def is_running(self, process: Process) -> bool:
        """Whether the process we started under this name, with this very definition, lives."""
        started = self._started.get((process.node, process.name))
        return started is not None and started.process == process and _began(started.pid) == started.began

    def pid_of_process(self, process: Process) -> int | None:
        """The pid in the sandbox of a declared process that lives."""
        started = self._started.get((process.node, process.name))
        return None if started is None or _began(started.pid) != started.began else started.pid

    def services_of(self, node: NodeName) -> list[str]:
        """The names of a node's declared processes that live."""
        return [name for place, name in self._started if place == node and self.pid_of_service(node, name) is not None]

    def pid_of_service(self, node: NodeName, name: str) -> int | None:
        """The pid in the sandbox of the declared process of that name, if it lives."""
        started = self._started.get((node, name))
        return None if started is None else self.pid_of_process(started.process)

    def pid_of_start(self, process: Process) -> int | None:
        """The pid in the sandbox that a process was given, whether or not it lives."""
        started = self._started.get((process.node, process.name))
        return None if started is None else started.pid

    def log_start(self, process: Process) -> int:
        """Where in its log the output of a process that was started begins."""
        started = self._started.get((process.node, process.name))
        return 0 if started is None else started.log_from

    def stop_by_hand(self, process: Process) -> ByHand | None:
        """Whether somebody in the node stopped a service in good order, and what they want now."""
        handle = self._handles.get(process.node)
        if handle is None or handle.pid is None:
            return None
        try:
            with beneath.root_of(handle.pid) as root:
                read = beneath.read_file(root, stop_mark(process), limit_bytes=MAX_MARK_BYTES)
        except OSError:
            return None
        if read is None:
            return None
        return ByHand.START if b"start" in read[0].split() else ByHand.REST

    def leave_to_hands(self, process: Process) -> None:
        """Mark a service as stopped, so that whoever starts it by hand in the node has it started here."""
        self.write(process.node, stop_mark(process), f"{process.argv[0]}\n".encode(), mode=0o644)

    def placed(self, expected: State) -> Sequence[Thing]:
        found: list[Thing] = []
        alive = self.alive()
        for thing in expected:
            match thing:
                case File() if thing.node in alive:
                    observed = self._observed_file(thing)
                    if observed is not None:
                        found.append(observed)
                case _:
                    pass
        for started in self._started.values():
            if started.process.node in alive and _began(started.pid) == started.began:
                wanted = expected.things.get(started.process.key)
                found.append(wanted if isinstance(wanted, Process) and wanted == started.process else started.process)
        return found

    def _observed_file(self, file: File) -> File | None:
        with beneath.root_of(self._pid_of(file.node)) as root:
            read = beneath.read_file(root, file.path, limit_bytes=MAX_PLACED_BYTES)
            if read is None:
                return None
            content, status = read
            owner = file.owner
            if not self._single_id and (status.st_uid, status.st_gid) != self._ids_of(root, file.owner):
                owner = "root" if status.st_uid == self._first_id else str(status.st_uid - self._first_id)
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        return File(file.node, file.path, digest, status.st_mode & 0o7777, owner)

    # ------------------------------------------------------------------ memory
    def _save(self) -> None:
        """Write down nodes and processes before anybody relies on them, atomically."""
        record = {
            "nodes": [[node.name, node.kind, node.host, node.hostname] for node in self._known.values()],
            "processes": [
                {
                    # what follows from its config is the lab's to say
                    "process": dataclasses.asdict(
                        dataclasses.replace(started.process, config=None, vrrp=(), health_checks=())
                    ),
                    "pid": started.pid,
                    "began": started.began,
                    "log_from": started.log_from,
                }
                for started in self._started.values()
            ],
        }
        temporary = self._memory.with_suffix(".new")
        try:
            temporary.write_text(json.dumps(record))
            temporary.rename(self._memory)
        except OSError as error:
            raise KernelError(f"cannot write down what runs: {error.strerror}", errno=error.errno or 0) from error

    def _load(self) -> None:
        if not self._memory.exists():
            return
        record = json.loads(self._memory.read_text())
        for name, kind, host, hostname in record["nodes"]:
            node = Node(NodeName(name), NodeKind(kind), None if host is None else NodeName(host), hostname)
            self._known[node.name] = node
            if node.kind is NodeKind.UPLINK:
                self._uplinks.adopt(node)
        for item in record["processes"]:
            fields = item["process"]
            ready = fields["ready"]
            ready["command"] = None if ready["command"] is None else tuple(ready["command"])
            process = Process(
                NodeName(fields["node"]),
                fields["name"],
                tuple(fields["argv"]),
                tuple((name, value) for name, value in fields["env"]),
                fields["user"],
                Restart(fields["restart"]),
                Ready(**ready),
                fields["digest"],
            )
            self._started[process.node, process.name] = _Started(process, item["pid"], item["began"], item["log_from"])
        if any(not started.pid for started in self._started.values()):
            self._find_started()

    def _find_started(self) -> None:
        """The pids of processes whose start outlived the keeper that asked for it."""
        services = self._client.ask({"do": "services"})[0]["services"]
        for key, started in self._started.items():
            pid = services.get(key[0], {}).get(key[1], 0)
            if not started.pid and pid:
                self._started[key] = _Started(started.process, pid, _began(pid) or 0, started.log_from)


def _without_consequences(process: Process) -> Process:
    """A process without what follows from its config: that is the lab's to say."""
    return dataclasses.replace(process, config=None, vrrp=(), health_checks=())


def _link_at(directory: int, name: str) -> str | None:
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError:
        return None


def _began(pid: int) -> int | None:
    """When a process began (field 22 of /proc/PID/stat, ticks since boot), or None if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rsplit(")", 1)[1].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _kill_session(leader: int) -> None:
    """End every process of a session, whatever process group it made for itself."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if int(fields[3]) == leader and fields[0] not in ("Z", "X"):
                    os.kill(int(entry.name), signal.SIGKILL)
            except (OSError, ValueError):
                continue  # it ended while we looked


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return
