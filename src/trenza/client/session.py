"""Sessions with a lab's keeper: starting it where it is not there, asking it, ending its sandbox."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trenza.errors import KeeperError, MachineError, SandboxError, TrenzaError, UsageError
from trenza.linux import sandbox
from trenza.wire import Channel, Message

SOCKET_NAME = "keeper.socket"
MAKING = "making"
"""A file in the directory of a lab that has not committed yet."""
TRIALS = ".solve-"
"""How the names of sandboxes begin in which labs are tried out: no lab that runs has, or is listed by, such a name."""
_KEPT_FILES = ("commands", "lock", "root", MAKING)
ANSWER_DEADLINE_S = 600.0
REQUIRED_PROGRAMS = {"/usr/bin/catatonit": "catatonit"}


class RemoteError(TrenzaError):
    """An error that the keeper answered with; `fields` are its JSON."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__(fields["message"], hint=fields.get("hint"))
        self.exit_code = int(fields.get("exit", 1))
        self.code = str(fields.get("code", "failed"))
        self.fields = dict(fields)


Listener = Callable[[Message], None]


def running_labs() -> list[str]:
    """Names of the labs that run now."""
    return sandbox.known_labs()


def get_running(given: str | None) -> str:
    """The running lab that is meant: the one named, else the only one, else the one of `lab.yaml` here."""
    labs = running_labs()
    if given is not None:
        if given in labs:
            return given
        name = _name_of_file(given)
        if name is not None and name in labs:
            return name
        raise UsageError(f"lab {given!r} is not running", hint=_what_runs(labs))
    if len(labs) == 1:
        return labs[0]
    if not labs:
        raise UsageError("no lab is running", hint="start one: trenza up bridged-lan")
    here = _name_of_file(None)
    if here in labs:
        return str(here)
    raise UsageError(f"several labs run: {', '.join(labs)}", hint=f"say which: --lab {labs[0]}")


def _name_of_file(given: str | None) -> str | None:
    from trenza.client.labfiles import get_lab_file

    try:
        return get_lab_file(given).find_name()
    except UsageError:
        return None


def _what_runs(labs: Sequence[str]) -> str:
    return f"running: {', '.join(labs)}" if labs else "no lab is running"


# ---------------------------------------------------------------- keepers
def connect(lab: str) -> Channel:
    """A channel to the lab's keeper, which is started if it is not there. Raises UsageError if the lab does not run.

    A lab that another command is making right now is waited for.
    """
    directory = sandbox.lab_directory(lab)
    if (directory / MAKING).exists():
        with sandbox.working_on(lab):
            if sandbox.holder(lab) is None:
                sandbox.discard(directory)
    if sandbox.holder(lab) is None or (directory / MAKING).exists():
        raise UsageError(f"lab {lab!r} is not running", hint=_what_runs(running_labs()))
    return _connect_running(lab, directory)


def _connect_running(lab: str, directory: Path) -> Channel:
    try:
        return Channel(_connect(directory))
    except OSError:
        pass
    try:
        with open(directory / "keeper.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                return Channel(_connect(directory))
            except OSError:
                start_keeper(lab, directory)
                return Channel(_connect(directory))
    except OSError as error:
        if sandbox.holder(lab) is None:
            raise UsageError(f"lab {lab!r} is not running", hint=_what_runs(running_labs())) from error
        raise KeeperError(f"cannot start a keeper: {error.strerror}", hint=_log_tail(directory)) from error


def _connect(directory: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.settimeout(ANSWER_DEADLINE_S)
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:  # by descriptor: a socket's path may have 107 bytes, a runtime directory's has what it has
        sock.connect(f"/proc/self/fd/{descriptor}/{SOCKET_NAME}")
    except OSError:
        sock.close()
        raise
    finally:
        os.close(descriptor)
    return sock


def start_keeper(lab: str, directory: Path) -> None:
    """Execute a keeper inside the lab's sandbox. Its socket listens when this returns; it answers once it adopted."""
    ids = sandbox.id_map()
    history = sandbox.history_directory(lab)
    if os.getuid() == 0 and ids.first_uid is not None:
        for path in (directory, history):
            os.chown(path, ids.first_uid, ids.first_uid)
    directory_descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    history_descriptor = os.open(history, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    log = os.open(
        directory / "keeper.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
    )
    from trenza.client.forwards import reopened

    forwarded = reopened(directory / "lab.json")
    try:
        path = directory / SOCKET_NAME
        path.unlink(missing_ok=True)
        listener.bind(f"/proc/self/fd/{directory_descriptor}/{SOCKET_NAME}")
        path.chmod(0o600)
        listener.listen(64)
        keep = {3: listener.fileno(), 4: directory_descriptor, 5: history_descriptor}
        places = []
        for number, sockets in forwarded:
            targets = [len(keep) + 3 + offset for offset in range(len(sockets))]
            keep |= {target: sock.fileno() for target, sock in zip(targets, sockets, strict=True)}
            places.append((number, targets))
        settings = {
            "lab": lab, "listener": 3, "directory": 4, "history": 5, "single_id": ids.single, "forwards": places,
        }  # fmt: skip
        child = sandbox.execute_inside(
            lab,
            [sys.executable, "-I", "-m", "trenza.keeper", json.dumps(settings)],
            keep=keep,
            log=log,
            environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        )
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            raise KeeperError("the keeper cannot enter the sandbox", hint=_log_tail(directory))
    finally:
        for sock in (listener, *(sock for _, sockets in forwarded for sock in sockets)):
            sock.close()
        for descriptor in (directory_descriptor, history_descriptor, log):
            os.close(descriptor)


def _log_tail(directory: Path) -> str | None:
    try:
        lines = (directory / "keeper.log").read_text(errors="replace").strip().splitlines()
    except OSError:
        return None
    return lines[-1] if lines else None


# ---------------------------------------------------------------- asking
def converse(
    channel: Channel,
    request: Mapping[str, Any],
    descriptors: Sequence[int] = (),
    listener: Listener = lambda _: None,
    *,
    lab: str | None = None,
) -> Message:
    """Send a request; every message before the answer goes to `listener`. Raises RemoteError, or KeeperError.

    With `lab`, its name, the keeper is served when it asks for the helper of an uplink.
    """
    channel.send({**request, "descriptors": len(descriptors)}, descriptors)
    while True:
        try:
            message = channel.receive()
        except TimeoutError as error:
            raise KeeperError(f"the keeper did not answer within {ANSWER_DEADLINE_S:.0f} s") from error
        except ConnectionError as error:
            raise KeeperError("the keeper ended before it answered") from error
        if message is None:
            raise KeeperError("the keeper ended before it answered", hint="the next command starts another")
        if isinstance(message, bytes):
            continue
        if "error" in message:
            raise RemoteError(message["error"])
        if "result" in message:
            result: Message = message["result"]
            return result
        if "uplink" in message and lab is not None:
            from trenza.client.helpers import serve_uplink

            serve_uplink(channel, lab, message["uplink"])
            continue
        listener(message)


def ask(
    lab: str, request: Mapping[str, Any], descriptors: Sequence[int] = (), listener: Listener = lambda _: None
) -> Message:
    """One request to a running lab's keeper."""
    return _ask(lab, connect(lab), request, descriptors, listener)


def _ask(
    lab: str, channel: Channel, request: Mapping[str, Any], descriptors: Sequence[int], listener: Listener
) -> Message:
    try:
        return converse(channel, request, descriptors, listener, lab=lab)
    finally:
        channel.close()


# ---------------------------------------------------------------- up and down
@contextmanager
def _lab_descriptors(directory: str) -> Iterator[list[int]]:
    """The lab's directory; nothing where it has none, as one from an archive."""
    if not directory:
        yield []
        return
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield [descriptor]
    finally:
        os.close(descriptor)


def up(lab: str, request: Mapping[str, Any], lab_directory: str, listener: Listener = lambda _: None) -> Message:
    """Bring a lab up, making its sandbox if there is none; all or nothing until the keeper has answered."""
    request = {**request, "verb": "up"}
    with sandbox.working_on(lab) as directory, _lab_descriptors(lab_directory) as descriptors:
        if (directory / MAKING).exists():  # whoever made it was killed; its sandbox is about to end, or has ended
            sandbox.end(lab)
        elif sandbox.holder(lab) is not None:
            return _ask(lab, _connect_running(lab, directory), request, descriptors, listener)
        return _make(lab, directory, request, descriptors, listener, sandbox.Limits(), keep=True)[0]


@contextmanager
def lent(
    lab: str,
    request: Mapping[str, Any],
    lab_directory: str,
    limits: sandbox.Limits,
    listener: Listener = lambda _: None,
) -> Iterator[Message]:
    """A lab for the length of a block, and in no case longer than this process lives; what `up` answers.

    One that runs under its name ends first.
    """
    down(lab)
    with sandbox.working_on(lab) as directory, _lab_descriptors(lab_directory) as descriptors:
        result, lease = _make(lab, directory, {**request, "verb": "up"}, descriptors, listener, limits, keep=False)
    try:
        yield result
    finally:
        lease.abandon()
        down(lab)


def _make(
    lab: str,
    directory: Path,
    request: Message,
    descriptors: Sequence[int],
    listener: Listener,
    limits: sandbox.Limits,
    *,
    keep: bool,
) -> tuple[Message, sandbox.Lease]:
    """Make a lab's sandbox and all that is in it, or leave nothing; unless `keep`, it ends with this process."""
    missing = [package for program, package in REQUIRED_PROGRAMS.items() if not os.access(program, os.X_OK)]
    if missing:
        raise MachineError(f"missing programs: {', '.join(missing)}", hint=f"sudo apt install {' '.join(missing)}")
    try:
        _clear(directory)
        (directory / MAKING).touch()
        lease = sandbox.create(lab, directory, limits)
        try:
            start_keeper(lab, directory)
            result = _ask(lab, Channel(_connect(directory)), request, descriptors, listener)
            (directory / MAKING).unlink()
            if keep:
                lease.commit()
        except BaseException:
            lease.abandon()
            raise
        return result, lease
    except BaseException as error:
        said = _log_tail(directory)
        sandbox.discard(directory)
        if isinstance(error, KeeperError):
            error.hint = said
        if isinstance(error, OSError):
            raise SandboxError(f"cannot make {lab}: {_words(error)}") from error
        raise


def solve(lab: str, request: Mapping[str, Any], lab_directory: str, listener: Listener = lambda _: None) -> Message:
    """Have a lab tested in a sandbox that never becomes a lab: it ends with this call, or with the calling process."""
    _discard_abandoned_trials()
    lab = f"{TRIALS}{lab}-{os.getpid()}"
    with sandbox.working_on(lab) as directory, _lab_descriptors(lab_directory) as descriptors:
        request = {**request, "verb": "solve"}
        try:
            result, lease = _make(lab, directory, request, descriptors, listener, sandbox.Limits(), keep=False)
            lease.abandon()
            return result
        finally:
            sandbox.end(lab)
            sandbox.discard(directory)
            shutil.rmtree(sandbox.history_directory(lab), ignore_errors=True)


def _discard_abandoned_trials() -> None:
    """Remove the directories of trials whose command was killed; their sandboxes ended with it."""
    for entry in list(sandbox.runtime_directory().glob(f"{TRIALS}*")):
        try:
            with sandbox.working_on(entry.name, deadline_s=0.1) as directory:
                sandbox.end(entry.name)
                sandbox.discard(directory)
                shutil.rmtree(sandbox.history_directory(entry.name), ignore_errors=True)
        except SandboxError:
            continue  # somebody's trial goes on there


def _words(error: OSError) -> str:
    return str(error.strerror) if error.filename is None else f"{error.filename}: {error.strerror}"


def _clear(directory: Path) -> None:
    """Remove what a lab that ended without `down` left in its directory."""
    for entry in directory.iterdir():
        if entry.name in _KEPT_FILES:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)


def down(lab: str) -> bool:
    """End a lab and everything in it; False if it was not running."""
    if not sandbox.lab_directory(lab).exists():
        return False
    with sandbox.working_on(lab) as directory:
        was_running = sandbox.end(lab)
        sandbox.discard(directory)
    return was_running
