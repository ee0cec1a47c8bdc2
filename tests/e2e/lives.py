"""A lab as the machine sees it: its pid 1, its keeper, every process of it; and the seeds of random moments."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import struct
from pathlib import Path

from conftest import Cli

_FLOCK = struct.Struct("hhqqi4x")

SINGLE_ID = os.environ.get("TRENZA_SINGLE_ID") == "1"
"""Whether all nodes have one id, the caller's: then no file changes its owner, and no process its user."""

Life = tuple[int, str]
"""A process that cannot be taken for another: its pid and when it began."""


def soak() -> bool:
    """Whether there is an hour for many more random cases."""
    return os.environ.get("TRENZA_SOAK") == "1"


def dice(what: str) -> random.Random:
    """A source of randomness whose seed is printed, and taken from TRENZA_SEED to repeat a run."""
    seed = int(os.environ.get("TRENZA_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"{what}: TRENZA_SEED={seed}")
    return random.Random(seed)


def lab_directory(cli: Cli, lab: str) -> Path:
    return Path(cli.environment["XDG_RUNTIME_DIR"]) / "trenza" / lab


def pid_one(cli: Cli, lab: str) -> int | None:
    """The machine's pid of the lab's pid 1: who holds the lock on its lock file."""
    return lock_holder(lab_directory(cli, lab) / "lock")


def lock_holder(path: Path) -> int | None:
    """The machine's pid of who holds a lock on a file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    finally:
        os.close(descriptor)
    return None if kind == fcntl.F_UNLCK else int(pid)


def began(pid: int) -> str | None:
    """When a process began, or None if it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else fields[19]


def family(pid: int | None) -> set[Life]:
    """A process and all of its descendants that live."""
    found: set[Life] = set()
    todo = [] if pid is None else [pid]
    while todo:
        one = todo.pop()
        when = began(one)
        if when is not None:
            found.add((one, when))
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                todo += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue  # it ended while we looked
    return found


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def keepers(cli: Cli, lab: str) -> list[int]:
    """The machine's pids of the lab's keepers, of which there is never more than one."""
    place = _pid_namespace(pid_one(cli, lab))
    found = [pid for pid, _ in named_processes(f' -m trenza.keeper {{"lab": "{lab}"')]
    return [pid for pid in found if place is not None and _pid_namespace(pid) == place]


def keeper(cli: Cli, lab: str) -> int | None:
    """The machine's pid of the lab's keeper."""
    return next(iter(keepers(cli, lab)), None)


def _pid_namespace(pid: int | None) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return None


def named_processes(marker: str) -> set[Life]:
    """Processes of this machine whose command line or open files have the marker in their names."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and _names(entry, marker):
            when = began(int(entry.name))
            if when is not None:
                found.add((int(entry.name), when))
    return found


def _names(process: Path, marker: str) -> bool:
    if marker in command_line(int(process.name)):
        return True
    try:
        return any(marker in os.readlink(file) for file in (process / "fd").iterdir())
    except OSError:
        return False  # somebody else's, or it ended while we looked


def lives(life: Life) -> bool:
    return began(life[0]) == life[1]


def kill(pid: int | None) -> bool:
    """SIGKILL; whether there was such a process."""
    if pid is None:
        return False
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def fifty_nodes(lab: str) -> str:
    """Seven hosts with a bridge and six containers each on one switch; a service and a file in each host."""
    lines = [f"lab: {lab}", "switches: {lan: {}}", "hosts:"]
    for host in range(1, 8):
        lines += [
            f"  h{host}:",
            "    nics: {eth0: {to: lan}}",
            "    bridges: {br0: [eth0]}",
            f"    files: {{/etc/motd: {{text: 'host {host}'}}}}",
            "    services: {beat: {run: [sleep, infinity]}}",
            "    containers:",
        ]
        lines += [
            f"      c{host}{one}: {{nics: {{eth0: {{to: br0, ip: 10.0.{host}.{one}/16}}}}}}" for one in range(1, 7)
        ]
    return "\n".join(lines) + "\n"


def pings(cli: Cli, source: str, destination: str, *words: str) -> None:
    """The test fails unless a ping passes."""
    cli.ok("exec", *words, source, "--", "ping", "-n", "-c", "1", "-W", "5", destination)
