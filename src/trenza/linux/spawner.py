"""The spawner: makes nodes and runs commands in them, on request, from inside the nodes' user namespace.

Forked by the sandbox's pid 1 into the user namespace that all nodes share, whose root is never the caller's id, and
confined there once (`trenza.linux.confine`): whatever it forks inherits the limits, so no entry into a node can
forget them. Standard library only. It listens on an abstract socket of the sandbox's network namespace, which no node
shares.

Requests and answers are JSON, one per SEQPACKET message, with descriptors by SCM_RIGHTS:

    {"do": "spawn", "nodes": [{"name", "host", "hostname", "directory", "join", "mounts"}, …], "replace": bool}
                                                                            → {"pids": {name: pid}} | {"error", "name"}
    {"do": "stop", "names": [...], "forget": bool}                          → {"stopped": [...]}
    {"do": "alive", "owner"}                                                → {"nodes": {name: [pid, pid in host]}}
    {"do": "exec", "node", "argv", "env", "cwd", "user", "tty", "detach"}   → {"pid"} (+ pty) …later {"exit": status}
    {"do": "services"}                                                      → {"services": {node: {service: pid}}}
    {"do": "service", "node", "service"}                                    → {"pid", "exit"} + its pidfd

`exec` takes the caller's descriptors for stdin, stdout and stderr (one to three); with `service`, a name, it gives a
pidfd back, which `service` gives again, even when the process has ended: how it did is known to whoever asks later.
What is detached becomes a child of its node's init; with `reap` it stays one of the spawner's, which then knows its
exit status on kernels that tell it to parents only. A pid is one of the sandbox.

`alive` tells of the nodes that were spawned with the same `owner`; the keeper's have none.

A container may `join` namespaces of nodes that are there, {"net": name, "ipc": name}, in place of its own; `mounts`
shows it files and directories of its host, [path in the host, path in the container, whether read-only]. So a pod is
several containers with one network.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import stat
import struct
import termios
import traceback
from dataclasses import dataclass, field
from typing import Any

from trenza.linux import syscalls, template
from trenza.linux.syscalls import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    CLONE_PARENT,
)

SOCKET = "\0trenza-init"
MAX_MESSAGE_BYTES = 400_000
JOINED = {"net": CLONE_NEWNET, "ipc": CLONE_NEWIPC}
NODE_NAMESPACES = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP
ENTERED = (
    ("mnt", CLONE_NEWNS),
    ("net", CLONE_NEWNET),
    ("uts", CLONE_NEWUTS),
    ("ipc", CLONE_NEWIPC),
    ("cgroup", CLONE_NEWCGROUP),
)
_CREDENTIALS = struct.Struct("3i")
_SPAWN_DEADLINE_S = 30.0
_ENTER_DEADLINE_S = 5.0
"""How long a command may take to enter its node: everybody else waits meanwhile."""

_MAX_PASSWD_BYTES = 1 << 20


@dataclass(slots=True)
class _Node:
    name: str
    host: str | None
    directory: str
    pid: int
    pidfd: int
    owner: str | None


@dataclass(slots=True)
class _Service:
    """A declared process of a node; its pidfd tells how it ended for as long as the node is there."""

    pid: int
    pidfd: int
    status: int | None = None
    """Its exit status, where it was our child and has ended."""


@dataclass(slots=True)
class _Client:
    """A connection; `children` maps the pid of what it executes to nothing more than being waited for."""

    sock: socket.socket
    children: set[int] = field(default_factory=set)


class Spawner:
    """Nodes by name, and connections."""

    def __init__(self, *, single_id: bool) -> None:
        self.single_id = single_id
        self.nodes: dict[str, _Node] = {}
        self.clients: dict[int, _Client] = {}
        self.services: dict[str, dict[str, _Service]] = {}
        self.reaped: dict[int, _Service] = {}
        """Those that are our own children, by pid."""
        self.wakeup, self.wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.poll = select.poll()
        self.ends = select.poll()
        """All nodes' pidfds: which of them have ended."""

    # ------------------------------------------------------------------ the loop
    def serve(self, ready: int) -> None:
        """Serve until somebody kills us; writes a byte to `ready` once requests are taken."""
        signal.set_wakeup_fd(self.wakeup_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        listener.bind(SOCKET)
        listener.listen(64)
        for descriptor in (listener.fileno(), self.wakeup):
            self.poll.register(descriptor, select.POLLIN)
        os.write(ready, b"r")
        os.close(ready)
        while True:
            for descriptor, _ in self.poll.poll():
                if descriptor == listener.fileno():
                    connection, _ = listener.accept()
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_MESSAGE_BYTES)
                    self.clients[connection.fileno()] = _Client(connection)
                    self.poll.register(connection.fileno(), select.POLLIN)
                elif descriptor == self.wakeup:
                    os.read(self.wakeup, 4096)
                elif descriptor in self.clients:
                    self._serve_client(self.clients[descriptor])
            self._reap()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            service = self.reaped.pop(pid, None)
            if service is not None:
                service.status = os.waitstatus_to_exitcode(status)
            for client in list(self.clients.values()):
                if pid in client.children:
                    client.children.discard(pid)
                    self._answer(client, {"exit": os.waitstatus_to_exitcode(status)})

    def _serve_client(self, client: _Client) -> None:
        descriptors: list[int] = []
        try:
            message, descriptors, _, _ = socket.recv_fds(client.sock, MAX_MESSAGE_BYTES, 3)
            if not message:
                self._drop(client)
                return
            self._handle(client, json.loads(message), descriptors)
        except (OSError, ValueError, KeyError) as error:
            self._answer(client, {"error": f"{error}", "errno": getattr(error, "errno", None) or 0})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _drop(self, client: _Client) -> None:
        """The other side is gone: what it executed has nobody to answer to."""
        self.poll.unregister(client.sock.fileno())
        del self.clients[client.sock.fileno()]
        client.sock.close()
        for child in client.children:
            try:
                os.killpg(child, signal.SIGHUP)
            except (ProcessLookupError, PermissionError):
                continue

    def _answer(self, client: _Client, answer: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
        try:
            socket.send_fds(client.sock, [json.dumps(answer).encode()], descriptors)
        except OSError:
            return  # it left; its connection reports that by itself

    def _handle(self, client: _Client, request: dict[str, Any], descriptors: list[int]) -> None:
        match request["do"]:
            case "spawn":
                if request.get("replace"):
                    self._stop([node["name"] for node in request["nodes"]], forget=True)
                self._answer(client, self._spawn(request["nodes"]))
            case "stop":
                self._answer(client, self._stop(request["names"], forget=request["forget"]))
            case "alive":
                owner = request.get("owner")
                found = {name: node for name, node in self._alive().items() if node.owner == owner}
                self._answer(client, {"nodes": {name: self._pids(node) for name, node in found.items()}})
            case "exec":
                self._execute(client, request, descriptors)
            case "services":
                pids = {node: {name: one.pid for name, one in found.items()} for node, found in self.services.items()}
                self._answer(client, {"services": pids})
            case "service":
                service = self.services.get(request["node"], {}).get(request["service"])
                if service is None:
                    raise ProcessLookupError(errno.ESRCH, f"{request['node']} was not asked to run that")
                self._answer(client, {"pid": service.pid, "exit": service.status}, (service.pidfd,))
            case other:
                raise ValueError(f"unknown request {other!r}")

    # ------------------------------------------------------------------ nodes
    def _alive(self) -> dict[str, _Node]:
        ended = {descriptor for descriptor, _ in self.ends.poll(0)}
        for name in [name for name, node in self.nodes.items() if node.pidfd in ended] if ended else ():
            node = self.nodes.pop(name)
            self.ends.unregister(node.pidfd)
            os.close(node.pidfd)
            for service in self.services.pop(name, {}).values():
                os.close(service.pidfd)
        return self.nodes

    @staticmethod
    def _pids(node: _Node) -> list[int | None]:
        if node.host is None:
            return [node.pid, None]
        try:
            with open(f"/proc/{node.pid}/status") as status:
                numbers = next(line for line in status if line.startswith("NSpid:")).split()[1:]
            return [node.pid, int(numbers[-2])]
        except (OSError, StopIteration, IndexError):
            return [node.pid, None]

    def _spawn(self, requests: list[dict[str, Any]]) -> dict[str, Any]:
        """Start all inits, then wait for all: the work of several overlaps. Hosts come before their containers."""
        pids: dict[str, int] = {}
        alive = self._alive()
        pending: list[dict[str, Any]] = []
        for request in requests:
            if request["name"] in alive:
                return {"error": f"node {request['name']} is already there", "name": request["name"], "errno": 17}
            pending.append(request)
        while pending:
            round_ = [request for request in pending if _stands_on(request) <= self.nodes.keys()]
            if not round_:
                name = pending[0]["name"]
                missing = ", ".join(sorted(_stands_on(pending[0]) - self.nodes.keys()))
                return {"error": f"{name}: its host {missing} is not there", "name": name, "errno": 2}
            problem = self._spawn_round(round_, pids)
            if problem is not None:
                return problem
            pending = [request for request in pending if request not in round_]
        return {"pids": pids}

    def _spawn_round(self, requests: list[dict[str, Any]], pids: dict[str, int]) -> dict[str, Any] | None:
        reports, child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        reports.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        reports.settimeout(_SPAWN_DEADLINE_S)
        executed, executing = os.pipe2(os.O_CLOEXEC)
        waiting: dict[int, dict[str, Any]] = {}
        try:
            for number, request in enumerate(requests):
                self._fork_node(request, number, child_end, executing)
                waiting[number] = request
                while len(waiting) >= 16:  # the socket's queue is short, and two processors gain nothing from more
                    problem = self._collect(reports, waiting, pids)
                    if problem is not None:
                        return problem
            while waiting:
                problem = self._collect(reports, waiting, pids)
                if problem is not None:
                    return problem
            # The other end closes in each of them when it becomes its init: only then its /proc/PID can be opened.
            os.close(executing)
            executing = -1
            if not _await_end(executed, _SPAWN_DEADLINE_S):
                return {"error": "a node's init was not executed in time", "name": requests[0]["name"], "errno": 110}
        finally:
            reports.close()
            child_end.close()
            os.close(executed)
            if executing >= 0:
                os.close(executing)
        return None

    def _collect(
        self, reports: socket.socket, waiting: dict[int, dict[str, Any]], pids: dict[str, int]
    ) -> dict[str, Any] | None:
        """One node's report: that it is about to become its init, or why it cannot."""
        try:
            message, ancillary, _, _ = reports.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
        except TimeoutError:
            name = next(iter(waiting.values()))["name"]
            return {"error": f"{name} did not start within {_SPAWN_DEADLINE_S:.0f} s", "name": name, "errno": 110}
        report = json.loads(message)
        request = waiting.pop(report["number"])
        if "error" in report:
            return {**report, "name": request["name"]}
        pid = _CREDENTIALS.unpack(ancillary[0][2])[0]
        pidfd = os.pidfd_open(pid)
        name = request["name"]
        self.nodes[name] = _Node(name, request["host"], request["directory"], pid, pidfd, request.get("owner"))
        self.ends.register(pidfd, select.POLLIN)
        pids[name] = pid
        return None

    def _fork_node(self, request: dict[str, Any], number: int, report: socket.socket, executing: int) -> None:
        """Make what becomes the node's init, in namespaces of its own.

        A container's init must be a child of its host's init, or `ps faxu` in the host shows it without a parent: a
        process forked into the host's pid namespace makes it and ends, and the kernel hands it to the host's init.
        """
        host = request["host"]
        if host is None:
            if not syscalls.clone(NODE_NAMESPACES):
                self._become_node(request, number, report, executing)
            return
        if os.fork():
            return
        status = 1
        try:
            _hide(report.fileno(), executing)
            _enter_pid_namespace_of(self.nodes[host].pid)
            joined = {kind: self.nodes[name].pid for kind, name in request.get("join", {}).items()}
            if not os.fork():
                for kind, pid in joined.items():
                    _enter(pid, kind, JOINED[kind])
                if not syscalls.clone(NODE_NAMESPACES & ~sum(JOINED[kind] for kind in joined)):
                    self._become_node(request, number, report, executing)
            status = 0
        except OSError as error:
            report.send(json.dumps({"number": number, "error": f"{error}", "errno": error.errno}).encode())
        finally:
            os._exit(status)

    def _become_node(self, request: dict[str, Any], number: int, report: socket.socket, executing: int) -> None:
        """In the node's new namespaces: build its root, and become its init. Never returns."""
        try:
            _hide(report.fileno(), executing)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            socket.sethostname(request["hostname"])
            directory = f"{template.NODES}/{request['directory']}"
            mounts = self._trees(request) if request.get("mounts") else ()
            template.build_node_root(directory, hostname=request["hostname"], mounts=mounts)
            if "net" not in request.get("join", {}):
                with open("/proc/sys/net/ipv4/ping_group_range", "w") as file:
                    file.write("0 0" if self.single_id else "0 65534")
            report.send(b'{"number": %d}' % number)
            null = os.open("/dev/null", os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
            os.execv("/usr/bin/catatonit", ["/sbin/init", "-P"])
        except BaseException as error:  # whatever it was, the one who asked must hear of it, and this child must end
            text = json.dumps({"number": number, "error": f"{error}", "errno": getattr(error, "errno", None) or 0})
            report.send(text.encode())
        finally:
            os._exit(1)

    def _trees(self, request: dict[str, Any]) -> list[tuple[int, str, bool]]:
        """What a container shows of its host, as detached mounts: they are named in the host's own mount namespace."""
        own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        _enter(self.nodes[request["host"]].pid, "mnt", CLONE_NEWNS)
        trees = [(syscalls.open_tree(source), target, read_only) for source, target, read_only in request["mounts"]]
        syscalls.setns(own, CLONE_NEWNS)
        os.close(own)
        return trees

    def _stop(self, names: list[str], *, forget: bool) -> dict[str, Any]:
        """Kill the inits; the kernel ends everything in their pid namespaces, containers included."""
        alive = self._alive()
        doomed = {name for name in alive if name in names or alive[name].host in names}
        for name in doomed:
            signal.pidfd_send_signal(alive[name].pidfd, signal.SIGKILL)
        for name in doomed:
            _await_end(alive[name].pidfd, 10)
        if forget:
            for name in names:
                directory = name.replace("/", "+")
                self._forget_directory(directory)
        return {"stopped": sorted(doomed), "left": sorted(set(self._alive()) & doomed)}

    def _forget_directory(self, directory: str) -> None:
        """Delete what a node wrote."""
        if "/" in directory or directory in ("", ".", ".."):
            raise ValueError(f"not a node's directory: {directory!r}")
        shutil.rmtree(f"{template.NODES}/{directory}", ignore_errors=True)

    # ------------------------------------------------------------------ commands in nodes
    def _execute(self, client: _Client, request: dict[str, Any], descriptors: list[int]) -> None:
        node = self._alive().get(request["node"])
        if node is None:
            self._answer(client, {"error": f"{request['node']} is not running", "errno": errno.ESRCH})
            return
        namespaces = [
            (os.open(f"/proc/{node.pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), kind) for name, kind in ENTERED
        ]
        receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        try:
            if not os.fork():
                receiver.close()
                self._step_inside(request, node, namespaces, descriptors, sender)
            sender.close()
            receiver.settimeout(_ENTER_DEADLINE_S)
            message, ancillary, _, _ = receiver.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size) + 64)
            self._report_command(client, request, message, ancillary, receiver)
        finally:
            receiver.close()
            for descriptor, _ in namespaces:
                os.close(descriptor)

    def _report_command(
        self,
        client: _Client,
        request: dict[str, Any],
        message: bytes,
        ancillary: list[Any],
        child: socket.socket,
    ) -> None:
        report = json.loads(message) if message else {"error": "the command ended before it began", "errno": 0}
        pty: tuple[int, ...] = ()
        pidfds: tuple[int, ...] = ()
        pid = 0
        for _level, kind, data in ancillary:
            if kind == socket.SCM_RIGHTS:
                pty = tuple(struct.unpack(f"{len(data) // 4}i", data[: len(data) // 4 * 4]))
            elif kind == socket.SCM_CREDENTIALS:
                pid = _CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0]
        if "error" in report:
            self._answer(client, report)
            return
        if not request.get("detach"):
            client.children.add(pid)
        elif "service" in request:
            # for a keeper whose predecessor died before it heard the pid
            services = self.services.setdefault(request["node"], {})
            if request["service"] in services:
                os.close(services[request["service"]].pidfd)
            services[request["service"]] = _Service(pid, os.pidfd_open(pid))
            pidfds = (services[request["service"]].pidfd,)
            if request.get("reap"):
                self.reaped[pid] = services[request["service"]]
            _try_report(child, {"go": True})
            _await_execution(child)
        self._answer(client, {"pid": pid}, (*pty, *pidfds))
        for descriptor in pty:
            os.close(descriptor)

    def _step_inside(
        self,
        request: dict[str, Any],
        node: _Node,
        namespaces: list[tuple[int, int]],
        descriptors: list[int],
        report: socket.socket,
    ) -> None:
        """In a forked child: one more step into the node's pid namespace. Never returns.

        Entering a pid namespace counts for children only, and the spawner could not come back from it (its own is the
        sandbox's, above its user namespace). CLONE_PARENT makes the command the spawner's child, not this one's.
        """
        try:
            _hide(report.fileno(), *descriptors, *(descriptor for descriptor, _ in namespaces))
            _enter_pid_namespace_of(node.pid)
            if not syscalls.clone(CLONE_PARENT):
                self._become_command(request, namespaces, descriptors, report)
        except OSError as error:
            _try_report(report, {"error": f"{node.name} cannot be entered: {error.strerror}", "errno": error.errno})
        finally:
            os._exit(0)

    def _become_command(
        self,
        request: dict[str, Any],
        namespaces: list[tuple[int, int]],
        descriptors: list[int],
        report: socket.socket,
    ) -> None:
        """In the forked child: enter the node for good and become the command. Never returns."""
        status = 125
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            for descriptor, kind in namespaces:
                syscalls.setns(descriptor, kind)
            if request.get("detach") and not request.get("reap") and os.fork():
                os._exit(0)  # what stays is adopted by the node's init
            uid, gid, home, shell = _account(request.get("user") or "root")
            pty: list[int] = []
            os.setsid()
            if request.get("tty"):
                master, slave = os.openpty()
                fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
                os.fchown(slave, uid, -1) if not self.single_id else None
                descriptors = [slave, slave, slave]
                pty = [master]
            while len(descriptors) < 3:
                descriptors.append(os.open("/dev/null", os.O_RDWR))
            environment = {"PATH": template.PATH, "HOME": home, "USER": request.get("user") or "root", "SHELL": shell,
                           "LANG": "C.UTF-8", **request.get("env", {})}  # fmt: skip
            program = _find_program(request["argv"][0], environment["PATH"])
            os.chdir(request.get("cwd") or (home if os.path.isdir(home) else "/"))
            if request.get("log"):
                descriptors = [os.open("/dev/null", os.O_RDWR), *[_open_log(request["log"])] * 2]
            socket.send_fds(report, [json.dumps({"program": program}).encode()], pty)
            if "service" in request:
                report.recv(64)  # until there is a pidfd of us: however soon we end, it is known how
            moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10) for descriptor in descriptors[:3]]
            for target, descriptor in enumerate(moved):
                os.dup2(descriptor, target, inheritable=True)
            os.closerange(3, report.fileno())
            os.closerange(report.fileno() + 1, 65536)  # the report ends when the command is executed
            if uid or gid:
                os.setgroups([])
                os.setresgid(gid, gid, gid)
                os.setresuid(uid, uid, uid)
            status = 126
            os.execve(program, request["argv"], environment)
        except LookupError as error:
            _try_report(report, {"error": f"{error}", "errno": 0, "status": 126})
        except FileNotFoundError as error:
            status = 127
            _try_report(
                report, {"error": f"{request['argv'][0]}: command not found", "errno": error.errno, "status": 127}
            )
        except OSError as error:
            _try_report(
                report, {"error": f"{request['argv'][0]}: {error.strerror}", "errno": error.errno, "status": 126}
            )
        except BaseException:
            _try_report(report, {"error": traceback.format_exc(limit=2), "errno": 0, "status": 125})
        finally:
            os._exit(status)


def _await_execution(child: socket.socket) -> None:
    """Until a child that was let go executes its command: stopped or looked at before, it would still be a spawner."""
    try:
        child.recv(4096)
    except OSError:
        pass  # late, or gone: how it ended will be told like any other end


def _hide(*kept: int) -> None:
    """Close every descriptor but the standard ones and `kept`, and let nobody read or trace this process.

    A fork of the spawner that steps into a node can be seen there, until it executes its command, and holds what the
    spawner holds. Undumpable, with a memory that belongs to the sandbox's user namespace, it is closed to the node's
    root (kernel/ptrace.c, __ptrace_may_access).
    """
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    start = 3
    for descriptor in sorted(set(kept)):
        if descriptor >= start:
            os.closerange(start, descriptor)
            start = descriptor + 1
    os.closerange(start, 65536)


def _await_end(descriptor: int, deadline_s: float) -> bool:
    """Whether a pidfd or a pipe has come to its end before the deadline."""
    poll = select.poll()  # which, other than select, takes any descriptor
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(deadline_s * 1000))


def _stands_on(request: dict[str, Any]) -> set[str]:
    """The nodes that must be there before this one: its host, and those whose namespaces it joins."""
    return {*request.get("join", {}).values(), *([] if request["host"] is None else [request["host"]])}


def _enter_pid_namespace_of(pid: int) -> None:
    """Children that this process makes from now on live in the pid namespace of `pid`."""
    _enter(pid, "pid", CLONE_NEWPID)


def _enter(pid: int, name: str, kind: int) -> None:
    descriptor = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(descriptor, kind)
    finally:
        os.close(descriptor)


def _try_report(report: socket.socket, text: dict[str, Any]) -> None:
    try:
        report.send(json.dumps(text).encode())
    except OSError:
        return  # reported already, or nobody listens; the exit status says the rest


def _find_program(name: str, path: str) -> str:
    """The program's path inside the node; raises FileNotFoundError or PermissionError as a shell would."""
    candidates = [name] if "/" in name else [f"{directory}/{name}" for directory in path.split(":")]
    refused = None
    for candidate in candidates:
        if os.path.isfile(candidate):
            if os.access(candidate, os.X_OK):
                return candidate
            refused = candidate
    if refused is not None or ("/" in name and os.path.exists(name)):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


def _account(user: str) -> tuple[int, int, str, str]:
    """uid, gid, home and shell of an account of the node, by name or number."""
    if user == "root":
        return 0, 0, "/root", "/bin/bash"
    descriptor = os.open("/etc/passwd", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # whatever the node made of it
    try:
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        text = os.read(descriptor, _MAX_PASSWD_BYTES).decode(errors="replace") if regular else ""
    finally:
        os.close(descriptor)
    ids: list[str] = [user, user, "/", "/bin/sh"]
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= 7 and user in (fields[0], fields[2]):
            ids = fields[2:4] + fields[5:7]
            break
    if not all(number.isascii() and number.isdigit() and int(number) <= 65535 for number in ids[:2]):
        raise LookupError(f"no user {user!r} in the node")
    return int(ids[0]), int(ids[1]), ids[2], ids[3]


def _open_log(path: str) -> int:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o644)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, f"{path} is no file")
    return descriptor
