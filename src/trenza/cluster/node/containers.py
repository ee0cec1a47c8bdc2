"""Pods' containers made so: nodes of the sandbox's spawner, commands in them, and their files in the host.

A pod's network belongs to its *pause*, a node with nothing but an init; each run of a container is a node of its own
that joins it. What they write to is a file of the host, never a pipe of the agent: they go on when that ends, and the
next agent finds them by name.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import shutil
import signal
import struct
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trenza.cluster.node import payload
from trenza.cluster.node.descriptors import readable
from trenza.cluster.node.environment import Command
from trenza.cluster.node.volumes import Mount, Volume
from trenza.errors import KernelError
from trenza.linux import beneath
from trenza.linux.exits import find_exit_code, is_reaped, tells_exit_codes
from trenza.linux.inside import CommandRefused, SpawnerClient
from trenza.linux.netns import Home

MAIN: Final = "main"
LOGS: Final = "/var/log/pods"
_REAPED_WITHIN_S: Final = 1.0
_REAP_POLL_S: Final = 0.002
UNKNOWN_EXIT: Final = 255
"""Where nobody can tell how a process ended: a kernel before 6.15."""


def pause_node(host: str, uid: str) -> str:
    """The spawner's name for what a pod's network belongs to."""
    return f"{host}/pod.{uid}"


def container_node(host: str, uid: str, container: str, attempt: int) -> str:
    """The spawner's name for one run of a container; `attempt` is how often it was started before."""
    return f"{pause_node(host, uid)}.{container}.{attempt}"


@dataclass(slots=True)
class Started:
    """A container's own command. `pidfd` becomes readable at its end; both descriptors are the caller's to close."""

    pidfd: int
    terminal: int | None = None


@dataclass(slots=True)
class Running:
    """A command beside a container's own: its way of answering, and its terminal where it has one."""

    client: SpawnerClient
    terminal: int | None


class Containers:
    """The pods of one host. `sandbox_netns` is where the spawner listens; `first_id` the nodes' root.

    With `init_adopts` commands are children of their containers' inits, as they look best in `ps`; without it they are
    the spawner's, for kernels that tell exit codes to parents only.
    """

    def __init__(
        self, host: str, host_pid: int, sandbox_netns: int, *, first_id: int, init_adopts: bool | None = None
    ) -> None:
        self.host = host
        self._reap = not (tells_exit_codes() if init_adopts is None else init_adopts)
        self._owner = f"kubelet {host}"
        self._root = os.open(f"/proc/{host_pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._home = Home()
        self._sandbox_netns = sandbox_netns
        self._first_id = first_id
        self._client = self._connect()
        self._starter = self._connect()
        self._starting = asyncio.Lock()

    def close(self) -> None:
        self._client.close()
        self._starter.close()
        os.close(self._root)
        self._home.close()

    def _connect(self) -> SpawnerClient:
        with self._home.inside(self._sandbox_netns):
            return SpawnerClient()

    async def _started(
        self, request: Mapping[str, Any], descriptors: Sequence[int] = ()
    ) -> tuple[dict[str, Any], list[int]]:
        """The spawner's answer to what takes long; others of this process go on meanwhile, and start theirs in turn."""
        async with self._starting:
            try:
                self._starter.send(request, descriptors)
                await readable(self._starter.fileno())
            except BaseException:  # nobody may take the answer to this for the answer to his own
                self._starter.close()
                self._starter = self._connect()
                raise
            return self._starter.receive()

    # ------------------------------------------------------------------ nodes
    async def make_pause(self, name: str, hostname: str, *, host_network: bool) -> int:
        """Make a pod's pause, in the place of one that may be there; its pid in the sandbox. Raises KernelError."""
        return await self._spawn(name, hostname, {"net": self.host} if host_network else {}, ())

    async def make(self, name: str, hostname: str, pause: str, mounts: Sequence[Mount]) -> None:
        """Make a container with a pod's network and what it shows of the host. Raises KernelError."""
        await self._spawn(name, hostname, {"net": pause, "ipc": pause}, mounts)

    async def _spawn(self, name: str, hostname: str, join: Mapping[str, str], mounts: Sequence[Mount]) -> int:
        node = {
            "name": name,
            "host": self.host,
            "hostname": hostname[:63],
            "directory": name.replace("/", "+"),
            "owner": self._owner,
            "join": join,
            "mounts": [[mount.source, mount.target, mount.read_only] for mount in mounts],
        }
        answer, _ = await self._started({"do": "spawn", "nodes": [node], "replace": True})
        return int(answer["pids"][name])

    def remove(self, names: Sequence[str]) -> None:
        """End pauses and containers, and delete what they wrote."""
        if names:
            self._client.ask({"do": "stop", "names": list(names), "forget": True})

    def alive(self) -> Mapping[str, int]:
        """The pods' nodes of this host that live, with the pids of their inits in the sandbox."""
        answer, _ = self._client.ask({"do": "alive", "owner": self._owner})
        return {name: pids[0] for name, pids in answer["nodes"].items()}

    # ------------------------------------------------------------------ commands
    async def start(self, name: str, command: Command, log: str, *, stdin: str | None, tty: bool) -> Started:
        """Start a container's own command, its output appended to a file of the host.

        `stdin` is a FIFO of the host, made if it is missing. Raises CommandRefused where it cannot be executed.
        """
        with self._as_nodes_root():
            output = self._open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            given = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC) if stdin is None else self._open_fifo(stdin)
        try:
            request = {**_request(name, command), "detach": True, "service": MAIN, "tty": tty, "reap": self._reap}
            _, received = await self._started(request, () if tty else (given, output, output))
        finally:
            os.close(output)
            os.close(given)
        return Started(received[-1], received[0] if tty else None)

    def find_started(self, name: str) -> int | None:
        """A pidfd of a container's own command, which may have ended; None where none was started."""
        try:
            return self._client.ask({"do": "service", "node": name, "service": MAIN})[1][0]
        except KernelError:
            return None

    async def exit_code_of(self, name: str, pidfd: int) -> int:
        """The exit code of a container's own command that has ended, 128 and its number for a signal."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _REAPED_WITHIN_S
        while not is_reaped(pidfd) and loop.time() < until:
            await asyncio.sleep(_REAP_POLL_S)  # its parent is about to; nobody tells us when it has
        code = find_exit_code(pidfd)
        while code is None and self._reap and loop.time() < until:
            try:
                answer, (again,) = self._client.ask({"do": "service", "node": name, "service": MAIN})
            except KernelError:
                break  # it has been removed meanwhile
            os.close(again)
            code = answer["exit"]
            if code is None:
                await asyncio.sleep(_REAP_POLL_S)
        if code is None:
            return UNKNOWN_EXIT
        return code if code >= 0 else 128 - code

    def execute(self, name: str, command: Command, descriptors: Sequence[int], *, tty: bool = False) -> Running:
        """Run a command beside a container's own. Raises CommandRefused. Close the client to hang up."""
        client = self._connect()
        try:
            _, received = client.ask({**_request(name, command), "tty": tty}, () if tty else descriptors)
        except BaseException:
            client.close()
            raise
        return Running(client, received[0] if tty else None)

    # ------------------------------------------------------------------ files of the host
    @contextmanager
    def _as_nodes_root(self) -> Iterator[None]:
        with beneath.acting_as(self._first_id):
            yield

    def _open(self, path: str, flags: int) -> int:
        beneath.make_directories(self._root, os.path.dirname(path))
        return beneath.open_in_root(self._root, path, flags | os.O_NONBLOCK, 0o640 if flags & os.O_CREAT else 0)

    def _open_fifo(self, path: str) -> int:
        """Open for both, so that it neither blocks nor ever ends."""
        beneath.make_directories(self._root, os.path.dirname(path))
        parent = beneath.open_in_root(self._root, os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.mkfifo(os.path.basename(path), 0o600, dir_fd=parent)
        except FileExistsError:
            pass
        finally:
            os.close(parent)
        descriptor = beneath.open_in_root(self._root, path, os.O_RDWR | os.O_NONBLOCK)
        os.set_blocking(descriptor, True)
        return descriptor

    def open_for_input(self, path: str) -> int:
        """A container's FIFO, to write to."""
        with self._as_nodes_root():
            return self._open(path, os.O_RDWR)

    def open_log(self, path: str, *, append: bool = False) -> int | None:
        """A log of a container; None where there is none."""
        try:
            flags = os.O_RDWR | os.O_APPEND if append else os.O_RDONLY
            return beneath.open_in_root(self._root, path, flags | os.O_NONBLOCK)  # whatever the host made of it
        except OSError:
            return None

    def remove_log(self, path: str) -> None:
        """Delete a log, and what was noted of its growth."""
        with suppress(OSError):  # whatever the host made of it
            for one in (path, times_path(path)):
                beneath.remove_file(self._root, one)

    def open_times(self, log: str) -> int | None:
        """What is noted of a log's growth, to read and to append to; None where it cannot be."""
        try:
            with self._as_nodes_root():
                return self._open(times_path(log), os.O_RDWR | os.O_CREAT | os.O_APPEND)
        except OSError:
            return None

    def write(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """Replace a file of the host, unless it is so already."""
        there = beneath.read_file(self._root, path, limit_bytes=len(content))
        if there is not None and there[0] == content:
            return
        with self._as_nodes_root():
            beneath.write_file(self._root, path, content, mode=mode)

    def rewrite(self, path: str, content: bytes) -> None:
        """Write over a file in place: a container that shows it goes on seeing it."""
        with self._as_nodes_root():
            descriptor = self._open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)

    def read(self, path: str, *, limit_bytes: int = 1 << 16) -> bytes:
        found = beneath.read_file(self._root, path, limit_bytes=limit_bytes)
        return b"" if found is None else found[0]

    def make_volume(self, volume: Volume) -> None:
        """Make a volume's directory, and have it show the files that are given. Raises OSError."""
        if not volume.make:
            return
        with self._as_nodes_root():
            beneath.make_directories(self._root, volume.path)
            descriptor = beneath.open_in_root(self._root, volume.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                if volume.files is None:
                    os.fchmod(descriptor, 0o777)
                else:
                    payload.show(descriptor, volume.files)
            finally:
                os.close(descriptor)

    def remove_tree(self, path: str) -> None:
        """Delete a directory of the host with all that is in it, following no link."""
        parent, name = os.path.split(path)
        try:
            descriptor = beneath.open_in_root(self._root, parent, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return
        try:
            shutil.rmtree(name, ignore_errors=True, dir_fd=descriptor)
        finally:
            os.close(descriptor)


def _request(name: str, command: Command) -> dict[str, Any]:
    return {
        "do": "exec",
        "node": name,
        "argv": list(command.argv),
        "env": dict(command.environment),
        "cwd": command.cwd,
        "user": command.user,
    }


def refusal_words(argv: Sequence[str], error: KernelError) -> str:
    """Why a command cannot be executed, as a container runtime says it."""
    word = argv[0]
    if isinstance(error, CommandRefused) and error.status == 127:
        where = "no such file or directory" if "/" in word else "executable file not found in $PATH"
    elif isinstance(error, CommandRefused) and error.status == 126:
        where = "permission denied" if "permission" in error.message.lower() else error.message
    else:
        return error.message
    return f'failed to create containerd task: exec: "{word}": {where}: unknown'


async def exit_of(running: Running) -> int:
    """The exit code of a command beside a container's own, once it has ended."""
    await readable(running.client.fileno())
    code = int(running.client.receive()[0]["exit"])
    return code if code >= 0 else 128 - code


def has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def send_signal(pidfd: int, number: signal.Signals) -> None:
    """Signal a process; one that has ended is no error."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return


def resize_terminal(terminal: int, rows: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def log_path(namespace: str, name: str, uid: str, container: str, attempt: int) -> str:
    """Where a run's output is in the host."""
    return f"{LOGS}/{namespace}_{name}_{uid}/{container}/{attempt}.log"


def times_path(log: str) -> str:
    """Where the growth of a log is noted (`log_times`)."""
    return f"{log.removesuffix('.log')}.times"


def write_whole(path: Path, text: str) -> None:
    """Replace a file of the agent's own in one step."""
    temporary = path.with_suffix(".new")
    temporary.write_text(text)
    temporary.rename(path)
