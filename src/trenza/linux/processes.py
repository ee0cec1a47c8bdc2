"""Processes of a node, found and signalled from outside it: declared ones, and those that somebody started by hand."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

_COMM_BYTES = 15
_MAX_WORDS_BYTES = 1 << 17
_INITS = ("init", "catatonit")


@dataclass(frozen=True, slots=True)
class RunningProcess:
    """A process of a node; `pid` and `parent` as the sandbox numbers them."""

    pid: int
    parent: int
    session: int
    name: str
    """Its `comm`: the program's name, cut after 15 bytes."""
    state: str
    """R, S, D, T (stopped) … (proc_pid_stat(5))."""


def own_processes(init_pid: int) -> list[RunningProcess]:
    """The processes of a node itself, without its containers' and without its init."""
    try:
        namespace = os.readlink(f"/proc/{init_pid}/ns/pid")
    except OSError:
        return []
    return [
        one for one in _all() if one.pid != init_pid and one.name not in _INITS and _namespace(one.pid) == namespace
    ]


def of_service(init_pid: int, program: str, declared_pid: int | None) -> list[RunningProcess]:
    """A service's processes: the session of the declared one, and whatever else of the node runs its program."""
    session = _session(declared_pid) if declared_pid is not None else None
    name = program[:_COMM_BYTES]
    return [one for one in own_processes(init_pid) if one.name == name or (session and one.session == session)]


def signal_all(pids: Collection[int], number: signal.Signals) -> None:
    """Signal processes; one that has ended is no error."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def command_of(pid: int) -> tuple[list[str], dict[str, str]]:
    """A process's program with its arguments, and its environment; both empty if it has ended."""
    try:
        argv = _read(f"/proc/{pid}/cmdline").rstrip(b"\0").split(b"\0")
        program = os.readlink(f"/proc/{pid}/exe")  # a daemon may have changed its title, and with it its first word
        environ = _read(f"/proc/{pid}/environ").rstrip(b"\0").split(b"\0")
    except OSError:
        return [], {}
    pairs = (entry.decode(errors="replace").partition("=") for entry in environ if b"=" in entry)
    words = [word.decode(errors="replace") for word in argv[1:]]
    return [program, *words], {name: value for name, _, value in pairs}


def _read(path: str) -> bytes:
    """The beginning of a file of /proc whose length the process itself chooses (PR_SET_MM)."""
    with open(path, "rb") as file:
        return file.read(_MAX_WORDS_BYTES)


def _all() -> Iterator[RunningProcess]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            found = _find(int(entry))
            if found is not None and found.state not in ("Z", "X"):
                yield found


def _find(pid: int) -> RunningProcess | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return RunningProcess(pid, int(fields[1]), int(fields[3]), head.partition("(")[2], fields[0])


def _session(pid: int) -> int | None:
    found = _find(pid)
    return None if found is None else found.session


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""
