"""This side of a command in a node: its descriptors, or this terminal in raw mode, and the signals people send."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Mapping, Sequence
from typing import Any

from trenza.client.session import RemoteError, connect
from trenza.errors import KeeperError
from trenza.wire import CHUNK_BYTES, Channel, Message

FAILED = 125


def run_command(
    lab: str,
    node: str,
    argv: Sequence[str],
    *,
    terminal: bool,
    record: bool,
    shell: bool = False,
    environment: Mapping[str, str] | None = None,
    user: str | None = None,
    cwd: str | None = None,
    descriptors: Sequence[int] = (0, 1, 2),
) -> int:
    """Run a command in a node with our own stdin, stdout and stderr, or in a terminal; its exit status.

    Of a `shell` the lines typed in it are recorded, of any other command itself.
    """
    channel = connect(lab)
    request: dict[str, Any] = {
        "verb": "exec",
        "node": node,
        "argv": list(argv),
        "env": dict(environment or {}),
        "user": user,
        "cwd": cwd,
        "tty": terminal,
        "record": record,
        "shell": shell,
        "descriptors": 0 if terminal else len(descriptors),
    }
    try:
        channel.socket.settimeout(None)
        if terminal:
            size = os.get_terminal_size(1)
            request["size"] = [size.lines, size.columns]
            request["env"].setdefault("TERM", os.environ.get("TERM", "xterm"))
            channel.send(request)
            return _interact(channel)
        channel.send(request, descriptors)
        return _wait(channel)
    finally:
        channel.close()


def _wait(channel: Channel) -> int:
    """Until the command ends; SIGINT and SIGTERM go to it, as if it ran here."""

    def forward(number: int, _: object) -> None:
        channel.send({"signal": number})

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        while True:
            status = _status(_heard(channel))
            if status is not None:
                return status
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _heard(channel: Channel) -> Message | bytes | None:
    """The next message; None also if the keeper was killed in the middle of one."""
    try:
        return channel.receive()
    except ConnectionError:
        return None


def _status(message: Any) -> int | None:
    if message is None:
        raise KeeperError("the keeper ended while the command ran")
    if isinstance(message, bytes):
        return None
    if "error" in message:
        raise RemoteError(message["error"])
    if "result" in message:
        return int(message["result"]["status"])
    return None


def _interact(channel: Channel) -> int:
    """Carry this terminal to the node's and back."""
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    resized = False

    def note(*_: object) -> None:
        nonlocal resized
        resized = True

    before = termios.tcgetattr(0)
    previous_handler = signal.signal(signal.SIGWINCH, note)
    previous_wakeup = signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    try:
        tty.setraw(0)
        watched = [0, channel.socket.fileno(), wake_read]
        while True:
            ready = [] if channel.pending() else select.select(watched, [], [])[0]
            if wake_read in ready:
                os.read(wake_read, 64)
            if resized:
                resized = False
                size = os.get_terminal_size(1)
                channel.send({"resize": [size.lines, size.columns]})
            if 0 in ready:
                typed = os.read(0, CHUNK_BYTES)
                if typed:
                    channel.send(typed)
                else:
                    watched.remove(0)
            if channel.socket.fileno() in ready or channel.pending():
                message = _heard(channel)
                if isinstance(message, bytes):
                    sys.stdout.buffer.write(message)
                    sys.stdout.buffer.flush()
                    continue
                status = _status(message)
                if status is not None:
                    return status
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
        signal.set_wakeup_fd(previous_wakeup)
        signal.signal(signal.SIGWINCH, previous_handler)
        os.close(wake_read)
        os.close(wake_write)
