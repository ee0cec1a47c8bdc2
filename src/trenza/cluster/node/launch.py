"""How an agent is started and found again, and how it gets to where it belongs.

    start(settings_json, directory, log)     executes it; it is there, or not, when this returns
    find(directory)                          the pid of the one that runs, by the lock that it holds

Its settings come on a descriptor and its command line is wiped: the host's `ps` shows `kubelet`, and no path of the
machine's. The directory that paths in the settings are relative to comes on another: a lab of root's has one that its
sandbox may use, in one that it may not enter.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trenza.errors import KeeperError
from trenza.linux import syscalls
from trenza.linux.syscalls import CLONE_NEWNET, CLONE_NEWPID
from trenza.model.cluster import AGENT

MODULE: Final = "trenza.cluster.node"
TITLE: Final = AGENT.encode()
_SETTINGS: Final = 3
_DIRECTORY: Final = 4
_FLOCK: Final = struct.Struct("hhqqi4x")
_TITLE_FIELDS: Final = (47, 48)
"""arg_start and arg_end in /proc/PID/stat, counted from 0."""


# ------------------------------------------------------------------ from the keeper
def start(settings: str, directory: Path, log: int, module: str = MODULE) -> None:
    """Execute an agent, or another `module` that enters a host, in `directory`; output and errors go to `log`.

    The caller is in the sandbox, as the keeper is. It waits until the process is in its host (0.2 s, most of it
    imports): several are best started from threads.

    Raises KeeperError if it cannot enter its host; what comes later it says in its log.
    """
    given = os.memfd_create("settings")
    place = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.write(given, settings.encode())
        os.lseek(given, 0, os.SEEK_SET)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        actions = [
            (os.POSIX_SPAWN_DUP2, null, 0),
            (os.POSIX_SPAWN_DUP2, log, 1),
            (os.POSIX_SPAWN_DUP2, log, 2),
            (os.POSIX_SPAWN_DUP2, place, 100 + _DIRECTORY),  # first out of the other's way
            (os.POSIX_SPAWN_DUP2, given, _SETTINGS),
            (os.POSIX_SPAWN_DUP2, 100 + _DIRECTORY, _DIRECTORY),
            (os.POSIX_SPAWN_CLOSE, 100 + _DIRECTORY),
        ]
        argv = [sys.executable, "-I", "-m", module]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        pid = os.posix_spawn(sys.executable, argv, environment, file_actions=actions, setsid=False)
        os.close(null)
    finally:
        os.close(given)
        os.close(place)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        raise KeeperError(f"a node's agent could not be started (status {status})")


def find(directory: Path) -> int | None:
    """The pid of the agent that has this directory, in the pid namespace of whoever asks; None if none runs."""
    try:
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    finally:
        os.close(descriptor)
    kind, _, _, _, pid = _FLOCK.unpack(answer)
    return int(pid) if kind != fcntl.F_UNLCK else None


# ------------------------------------------------------------------ in the agent
def take_settings() -> str:
    """The settings that it was started with; from now on it is in its directory."""
    os.fchdir(_DIRECTORY)
    os.close(_DIRECTORY)
    with os.fdopen(_SETTINGS) as file:
        return file.read()


@dataclass(frozen=True, slots=True)
class Place:
    """Where the agent came from: a descriptor of the sandbox's network namespace."""

    sandbox_netns: int


def enter(host_pid: int, run: Callable[[Place], None], *, title: bytes = TITLE) -> None:
    """Fork into a host's pid and network namespaces and `run` there, a child of the host's init. The parent returns.

    `title` is what the host's `ps` shows.

    A pid namespace is entered by children only; of two forks the first ends, and the kernel hands the second to the
    host's init.
    """
    _wipe_command_line(title)
    sandbox_netns = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    for name, kind in (("pid", CLONE_NEWPID), ("net", CLONE_NEWNET)):
        descriptor = os.open(f"/proc/{host_pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
        syscalls.setns(descriptor, kind)
        os.close(descriptor)
    first = os.fork()
    if first:
        status = os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])
        os.close(sandbox_netns)
        if status:
            raise KeeperError(f"the host cannot be entered (status {status})")
        return
    try:
        os.setsid()
        if not os.fork():
            run(Place(sandbox_netns))
    finally:
        os._exit(0)


def hold(directory: Path) -> int:
    """Lock an agent's directory, which tells who it is; the descriptor is kept for as long as it runs.

    Raises BlockingIOError where another holds it.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _wipe_command_line(title: bytes) -> None:
    """Write over the arguments where the kernel shows them: prctl would want capabilities over the machine."""
    fields = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()
    start, end = (int(fields[number - 2]) for number in _TITLE_FIELDS)
    shown = title[: end - start - 1]
    ctypes.memmove(start, shown.ljust(end - start, b"\0"), end - start)
    name = ctypes.create_string_buffer(title)
    syscalls.prctl(syscalls.PR_SET_NAME, ctypes.addressof(name))
