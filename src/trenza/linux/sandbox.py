"""Sandboxes from outside: where they keep their state, making one, finding it again, entering it, ending it.

One lab is one sandbox; its identity is a lock. Pid 1 holds an fcntl record lock on the lab's `lock` file, and F_GETLK
gives its pid on the machine: no pid file can go stale, two starters cannot both win, and SIGKILL of that one process
removes everything. Nothing here imports more than it needs: it is on the path of every command.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import select
import shutil
import signal
import socket
import stat
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from trenza.errors import MachineError, SandboxError
from trenza.linux import syscalls
from trenza.linux.syscalls import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
)

_ALL = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET
_FLOCK = struct.Struct("hhqqi4x")
_START_DEADLINE_S = 20.0
MAX_PROCESSES = 8000
SUBORDINATE_IDS = 65536
ROOTS_FIRST_ID = 0x6FFF_0000
"""Where root has no line in /etc/subuid: the last 65537 ids of the range that systemd keeps for containers."""


# ---------------------------------------------------------------- where state lives
def runtime_directory() -> Path:
    """`$XDG_RUNTIME_DIR/trenza`, else a directory of the user's own under /tmp; made with mode 0700 if absent."""
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given and os.path.isdir(given) and os.stat(given).st_uid == os.getuid():
        return _own_directory(Path(given) / "trenza")
    return _own_directory(Path(f"/tmp/trenza-{os.getuid()}"))


def history_directory(lab: str) -> Path:
    """`$XDG_STATE_HOME/trenza/LAB`: what outlives `down` (journals, recorded sessions)."""
    home = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return _own_directory(Path(home) / "trenza" / lab)


def _own_directory(path: Path) -> Path:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise SandboxError(
            f"cannot make {path}: {error.strerror}", hint="trenza keeps its state there; see XDG_RUNTIME_DIR"
        ) from error
    if status.st_uid not in _our_ids() or not stat.S_ISDIR(status.st_mode):
        raise SandboxError(
            f"{path} belongs to somebody else (uid {status.st_uid})", hint="remove it, or set XDG_RUNTIME_DIR"
        )
    if status.st_mode & 0o022:
        raise SandboxError(f"{path} can be written by others", hint=f"chmod 700 {path}")
    return path


def _our_ids() -> set[int]:
    """Whom our directories may belong to: us, and where we are root, the id that keepers run under."""
    ids = {os.getuid()}
    if os.getuid() == 0:
        ids.add(id_map().first_uid or ROOTS_FIRST_ID)
    return ids


def lab_directory(lab: str) -> Path:
    return runtime_directory() / lab


def known_labs() -> list[str]:
    """Names of labs that run now, in alphabetical order; those that are being made are among them."""
    names = [entry.name for entry in runtime_directory().iterdir() if not entry.name.startswith(".")]
    return sorted(name for name in names if holder(name))


# ---------------------------------------------------------------- lock = identity
def holder(lab: str) -> int | None:
    """The pid, on this machine, of the lab's living pid 1, or None."""
    try:
        descriptor = os.open(lab_directory(lab) / "lock", os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    finally:
        os.close(descriptor)
    kind, _, _, _, pid = _FLOCK.unpack(answer)
    return int(pid) if kind != fcntl.F_UNLCK else None


@contextmanager
def working_on(lab: str, *, deadline_s: float = 60.0) -> Iterator[Path]:
    """The lab's directory, held against every other command that makes or ends this lab.

    Raises SandboxError when another command still holds it at the deadline.
    """
    until = time.monotonic() + deadline_s
    while True:
        directory = _own_directory(lab_directory(lab))
        try:
            descriptor = os.open(directory / "commands", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # another command removed the directory just now
        except OSError as error:
            raise SandboxError(f"cannot write {directory}: {error.strerror}") from error
        try:
            _lock_with_deadline(descriptor, lab, until - time.monotonic(), deadline_s)
            if _is_at(descriptor, directory / "commands"):  # else it was removed while we waited: begin again
                yield directory
                return
        finally:
            os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that the path names now."""
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)


def discard(directory: Path) -> None:
    """Remove a lab's directory, held by `working_on`, in one step for whoever looks: it is moved away first."""
    doomed = directory.with_name(f".gone-{directory.name}-{os.getpid()}")
    try:
        directory.rename(doomed)
    except FileNotFoundError:
        return
    shutil.rmtree(doomed, ignore_errors=True)


def _lock_with_deadline(descriptor: int, lab: str, remaining_s: float, deadline_s: float) -> None:
    def expire(*_: object) -> None:
        raise SandboxError(f"another command has been working on {lab} for {deadline_s:.0f} s")

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    except BlockingIOError:
        if remaining_s <= 0:
            expire()
        before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, remaining_s)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---------------------------------------------------------------- ids
@dataclass(frozen=True, slots=True)
class IdMap:
    """How ids of the sandbox map to the machine's: `first` is the first subordinate id; None maps the caller alone."""

    first_uid: int | None
    first_gid: int | None

    @property
    def single(self) -> bool:
        return self.first_uid is None


def id_map() -> IdMap:
    """The caller's map: a range of 65536 subordinate ids of each kind, or the caller's one id.

    TRENZA_SINGLE_ID=1 forces the latter.
    """
    uid = os.getuid()
    if uid == 0:
        first = _range_of("/etc/subuid", SUBORDINATE_IDS + 1), _range_of("/etc/subgid", SUBORDINATE_IDS + 1)
        return IdMap(first[0] or ROOTS_FIRST_ID, first[1] or ROOTS_FIRST_ID)
    if os.environ.get("TRENZA_SINGLE_ID") == "1":
        return IdMap(None, None)
    first_uid, first_gid = _range_of("/etc/subuid", SUBORDINATE_IDS), _range_of("/etc/subgid", SUBORDINATE_IDS)
    if first_uid is None or first_gid is None or not _find_tool("newuidmap") or not _find_tool("newgidmap"):
        return IdMap(None, None)
    return IdMap(first_uid, first_gid)


def _range_of(path: str, count: int) -> int | None:
    import pwd

    uid = os.getuid()
    try:
        names = (pwd.getpwuid(uid).pw_name, str(uid))
    except KeyError:
        names = (str(uid), str(uid))
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[0] in names and fields[2].isdigit() and int(fields[2]) >= count:
            return int(fields[1])
    return None


def _find_tool(name: str) -> str | None:
    for directory in (*os.environ.get("PATH", "").split(":"), "/usr/bin", "/usr/sbin"):
        if directory and os.access(f"{directory}/{name}", os.X_OK):
            return f"{directory}/{name}"
    return None


def _write_maps(pid: int, ids: IdMap) -> None:
    uid, gid = os.getuid(), os.getgid()
    if ids.first_uid is None or ids.first_gid is None:
        for name, line in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            Path(f"/proc/{pid}/{name}").write_text(line)
    elif uid == 0:
        Path(f"/proc/{pid}/uid_map").write_text(f"0 {ids.first_uid} {SUBORDINATE_IDS + 1}")
        Path(f"/proc/{pid}/gid_map").write_text(f"0 {ids.first_gid} {SUBORDINATE_IDS + 1}")
    else:
        for tool, mine, first in (("newuidmap", uid, ids.first_uid), ("newgidmap", gid, ids.first_gid)):
            program = _find_tool(tool)
            assert program is not None  # id_map() looked
            arguments = [tool, str(pid), "0", str(mine), "1", "1", str(first), str(SUBORDINATE_IDS)]
            status = os.waitstatus_to_exitcode(os.waitpid(os.posix_spawn(program, arguments, os.environ), 0)[1])
            if status:
                raise MachineError(
                    f"{tool} refused to map the ids {first}… of /etc/sub{tool[3]}id",
                    hint="run `trenza doctor`; it names what to change",
                )


# ---------------------------------------------------------------- making one
def package_root() -> str:
    """The directory to put on sys.path so that `trenza` can be imported by a bare Python."""
    return str(Path(__file__).resolve().parents[2])


def _template_size_bytes() -> int:
    return int(min(4 << 30, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4))


@dataclass(frozen=True, slots=True)
class Limits:
    """What a sandbox may take of the machine: processes, and bytes that its nodes write to their files."""

    processes: int = MAX_PROCESSES
    size_bytes: int = field(default_factory=_template_size_bytes)


@dataclass(slots=True)
class Lease:
    """A sandbox that ends with this process until it is committed."""

    write_end: int
    pid: int

    def commit(self) -> None:
        """From now on the sandbox stays until somebody ends it."""
        os.write(self.write_end, b"c")
        os.close(self.write_end)
        self.write_end = -1

    def abandon(self) -> None:
        """End the sandbox, unless it was committed."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1
            _await_end(self.pid)


def create(lab: str, directory: Path, limits: Limits) -> Lease:
    """Make the lab's sandbox; call within `working_on`. Its pid 1 serves requests when this returns.

    Raises MachineError when the machine does not allow it, SandboxError when it fails otherwise.
    """
    ids = id_map()
    log = os.open(directory / "init.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if ids.first_uid is not None and os.getuid() == 0:
        _require_readable_by_all()
        os.fchown(lock, ids.first_uid, ids.first_uid)
    lease_read, lease_write = os.pipe()
    ready_read, ready_write = os.pipe()
    ours, theirs = socket.socketpair()
    child = os.fork()
    if not child:
        try:
            os.close(lease_write)
            os.close(ready_read)
            ours.close()
            _become_init(theirs, lock=lock, lease=lease_read, ready=ready_write, log=log, ids=ids, limits=limits)
        except BaseException as error:  # the parent reads it from the socket; this child must end here
            theirs.send(f"e{getattr(error, 'errno', None) or 0} {error}".encode())
        finally:
            os._exit(1)
    for descriptor in (lease_read, ready_write, lock, log):
        os.close(descriptor)
    theirs.close()
    lease = Lease(lease_write, 0)
    try:
        _expect_unshared(ours.recv(4096))
        _write_maps(child, ids)
        ours.send(b"m")
        os.waitpid(child, 0)
        if not select.select([ready_read], [], [], _START_DEADLINE_S)[0] or os.read(ready_read, 1) != b"r":
            said = (directory / "init.log").read_text(errors="replace").strip()
            refusal = ours.recv(4096, socket.MSG_DONTWAIT).decode(errors="replace") if _readable(ours) else ""
            raise SandboxError("the sandbox's init ended before it was ready", hint=said or refusal[1:] or None)
    except BaseException:
        os.close(lease_write)
        raise
    finally:
        os.close(ready_read)
        ours.close()
    pid = holder(lab)
    if pid is None:
        os.close(lease_write)
        raise SandboxError("the sandbox ended as soon as it began")
    lease.pid = pid
    return lease


def _readable(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])


def _expect_unshared(message: bytes) -> None:
    if message == b"u":
        return
    number, _, text = message.decode(errors="replace")[1:].partition(" ")
    if number.isdigit() and int(number) in (errno.EPERM, errno.ENOSPC, errno.EINVAL, errno.EACCES, errno.ENOSYS):
        raise MachineError(
            f"this machine does not let an ordinary user make namespaces ({text})",
            hint="run `trenza doctor`; it names what to change",
        )
    raise SandboxError(f"cannot make namespaces: {text or 'the process ended'}")


def _become_init(
    channel: socket.socket, *, lock: int, lease: int, ready: int, log: int, ids: IdMap, limits: Limits
) -> None:
    """In the forked child: new namespaces, ids from the parent, and a grandchild that becomes pid 1 by exec."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))  # 0 would still feed a program that core_pattern names
    from trenza.linux import alpine  # of no use to the commands that make no sandbox

    executable = os.path.realpath(sys.executable)
    syscalls.unshare(_ALL)
    channel.send(b"u")
    if channel.recv(1) != b"m":
        os._exit(1)
    if not ids.single:
        os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    # Not before: the limit of whoever makes a user namespace is held against all that its user runs elsewhere, too
    # (kernel/ucount.c), so that a large lab would leave no room for a small one.
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    limit = limits.processes if hard == resource.RLIM_INFINITY else min(limits.processes, hard)
    resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
    if os.fork():
        os._exit(0)
    skeleton = os.memfd_create("skeleton")  # not on the command line, which everybody's `ps` shows
    with open(skeleton, "w", closefd=False) as file:
        json.dump({"directories": alpine.DIRECTORIES, "files": {**node_files(), **alpine.files()}}, file)
    os.lseek(skeleton, 0, os.SEEK_SET)
    settings = {
        "lock": lock,
        "lease": lease,
        "ready": ready,
        "single_id": ids.single,
        "size_bytes": limits.size_bytes,
        "skeleton": skeleton,
    }
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.dup2(log, 2)
    start = 3
    for descriptor in sorted((lock, lease, ready, skeleton)):
        os.set_inheritable(descriptor, True)
        os.closerange(start, descriptor)  # whatever the caller had open is no business of the lab's
        start = descriptor + 1
    os.closerange(start, 65536)
    code = f"import sys; sys.path.insert(0, {package_root()!r}); from trenza.linux.init import main; main()"
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
    try:
        os.execve(executable, [executable, "-I", "-S", "-B", "-c", code, json.dumps(settings)], environment)
    except OSError as error:
        os.write(2, f"{executable}: {error.strerror}\n".encode())


def node_files() -> dict[str, tuple[str, int]]:
    """Files of trenza's own that every node has: text and mode by path."""
    here = Path(__file__).parent
    return {
        "/opt/trenza/bin/trenza": ((here / "node_tool.py").read_text(), 0o755),
        "/etc/udhcpc/default.script": ((here / "udhcpc.sh").read_text(), 0o755),
    }


def _require_readable_by_all() -> None:
    """A sandbox of root's runs under subordinate ids, which must reach trenza itself. Raises MachineError if not."""
    for path in (package_root(), sys.prefix, os.path.realpath(sys.executable)):
        for part in (Path(path), *Path(path).parents):
            if not part.stat().st_mode & 0o001:
                raise MachineError(
                    f"{path} is closed to others at {part}, and a sandbox of root's runs as nobody of this machine",
                    hint="install trenza where everybody may read it (PIPX_HOME=/opt/pipx), or run it as a user",
                )


# ---------------------------------------------------------------- entering and ending
def execute_inside(
    lab: str,
    argv: list[str],
    *,
    keep: Mapping[int, int],
    log: int,
    environment: Mapping[str, str],
    outside: bool = False,
) -> int:
    """Execute a program of the machine in the lab's user, pid and network namespaces, in a mount namespace of its own.

    That is how the keeper runs: it sees the machine's files and the sandbox's processes; no node sees it. `keep` maps
    descriptors of the new process to ours; `log` becomes its stdout and stderr. Returns the pid of a child of ours
    that ends at once; the program itself becomes a child of the sandbox's pid 1.

    `outside`: it stays in the machine's network, and ends with the sandbox all the same, since it is in its pid
    namespace. The one program for which that is done is the helper of an uplink.
    """
    pid = holder(lab)
    if pid is None:
        raise SandboxError(f"{lab} is not running")
    namespaces = [
        (os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), kind)
        for name, kind in (
            ("user", CLONE_NEWUSER),
            ("pid", CLONE_NEWPID),
            ("net", CLONE_NEWNET),
            ("cgroup", CLONE_NEWCGROUP),
        )
        if not (outside and name == "net")
    ]
    child = os.fork()
    if child:
        for descriptor, _ in namespaces:
            os.close(descriptor)
        return child
    try:
        os.setsid()
        Path("/proc/self/oom_score_adj").write_text("800")  # of the user's processes, a lab's are the first to go
        for descriptor, kind in namespaces:
            syscalls.setns(descriptor, kind)
        if Path("/proc/self/setgroups").read_text().strip() == "allow":
            os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        syscalls.unshare(CLONE_NEWNS)
        # Two forks: of the first, in the sandbox's pid namespace, the second is handed to its pid 1. After one
        # it would be the machine's init that had to reap it, and pid 1 could not end before that.
        first = os.fork()
        if first:
            os._exit(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]) & 0xFF)
        if os.fork():
            os._exit(0)
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
        syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
        null = os.open("/dev/null", os.O_RDWR)
        moved = {target: fcntl.fcntl(source, fcntl.F_DUPFD, 100) for target, source in {**keep, 1: log, 2: log}.items()}
        moved[0] = fcntl.fcntl(null, fcntl.F_DUPFD, 100)
        for target, source in moved.items():
            os.dup2(source, target, inheritable=True)
        os.closerange(max(moved) + 1, 65536)
        os.execve(argv[0], argv, dict(environment))
    except BaseException as error:  # a forked child: report to the log and end
        os.write(log, f"cannot enter the sandbox: {error}\n".encode())
    finally:
        os._exit(1)


def end(lab: str) -> bool:
    """Kill the lab's pid 1, and so everything in it; False if it was not running. Waits until it is gone."""
    pid = holder(lab)
    if pid is None:
        return False
    descriptor = os.pidfd_open(pid)
    try:
        if holder(lab) == pid:  # still the same process: the pidfd is surely it
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        if not select.select([descriptor], [], [], 30)[0]:
            raise SandboxError(f"pid {pid}, the init of {lab}, does not end")
    finally:
        os.close(descriptor)
    return True


def _await_end(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([descriptor], [], [], 30)
    finally:
        os.close(descriptor)
