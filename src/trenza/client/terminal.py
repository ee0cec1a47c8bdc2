"""This side of a command in a node: its descriptors, or this terminal in raw mode, and the signals people send."""

from __future__ import annotations

import base64
import os
import select
import signal
import stat
import sys
import termios
import tty
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

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
    forwarding: bool = True,
    language: str = "en",
    told: Callable[[str], None] = lambda _: None,
) -> int:
    """Run a command in a node or pod with our own stdin, stdout and stderr, or in a terminal; its exit status.

    Of a `shell` the lines typed in it are recorded, of any other command itself. With `forwarding` the signals that
    people send us go to the command; without, they mean us, and the command ends with us. Of the pods that were meant,
    `told` hears which one it is.
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
        "language": language,
        "descriptors": 0 if terminal else len(descriptors),
    }
    try:
        channel.socket.settimeout(None)
        if terminal:
            size = os.get_terminal_size(1)
            request["size"] = [size.lines, size.columns]
            request["env"].setdefault("TERM", os.environ.get("TERM", "xterm"))
            channel.send(request)
            return _interact(channel, told)

        def typed(data: bytes) -> None:
            channel.send({"typed": base64.b64encode(data).decode()})

        with _Pumps(descriptors, typed if shell and record else None) as pumps:
            channel.send(request, pumps.given)
            pumps.begin()
            return _wait(channel, pumps, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if forwarding else (), told)
    finally:
        channel.close()


class _Pumps:
    """Pipes for a command in place of our own descriptors, and what carries bytes between the two.

    A process of a lab never holds this terminal or a file of the user's: it could go on reading what is typed here when
    the command has ended, or write to what was opened for reading. Pipes are passed on as they are, but not the input
    of which `typed` is to hear.
    """

    def __init__(self, descriptors: Sequence[int], typed: Callable[[bytes], None] | None = None) -> None:
        self.given: list[int] = []
        """What the command gets for each descriptor."""
        self._made: list[int] = []
        self._outputs: dict[int, int] = {}
        self._input: tuple[int, int] | None = None
        self._typed = b""
        self._tell = typed
        for number, descriptor in enumerate(descriptors):
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode) and (number or typed is None):
                self.given.append(descriptor)
                continue
            read_end, write_end = os.pipe()
            if number == 0:
                self._input = (descriptor, write_end)
            else:
                self._outputs[read_end] = descriptor
            self.given.append(read_end if number == 0 else write_end)
            self._made.append(self.given[-1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.begin()
        self._end_input()
        for read_end in self._outputs:
            os.close(read_end)

    def begin(self) -> None:
        """The command has its ends; ours are enough from now on."""
        while self._made:
            os.close(self._made.pop())

    def wait(self, also: int) -> bool:
        """Carry bytes until `also` is readable, or something was carried; whether it is readable."""
        reading, writing = [also, *self._outputs], []
        if self._input is not None:
            if self._typed:
                writing.append(self._input[1])
            else:
                reading.append(self._input[0])
        readable, writable, _ = select.select(reading, writing, [])
        for read_end in [one for one in self._outputs if one in readable]:
            self._carry(read_end)
        if self._input is not None and (self._input[0] in readable or writable):
            self._feed()
        return also in readable

    def drain(self) -> None:
        """What the command left in its pipes; something it left running may hold them open, and is not waited for."""
        while ready := select.select(list(self._outputs), [], [], 0)[0] if self._outputs else []:
            for read_end in ready:
                self._carry(read_end)

    def _carry(self, read_end: int) -> None:
        data = memoryview(os.read(read_end, CHUNK_BYTES))
        if not data:
            del self._outputs[read_end]
            os.close(read_end)
        while data:
            data = data[os.write(self._outputs[read_end], data) :]

    def _feed(self) -> None:
        """A piece of our input: small enough for a pipe that takes any, so that nobody waits for anybody."""
        assert self._input is not None
        source, target = self._input
        try:
            if self._typed:
                os.write(target, self._typed)
                self._typed = b""
            else:
                self._typed = os.read(source, select.PIPE_BUF)
                if not self._typed:
                    self._end_input()
                elif self._tell is not None:
                    self._tell(self._typed)
        except OSError:  # the command takes no more, or our terminal is gone
            self._end_input()

    def _end_input(self) -> None:
        if self._input is not None:
            os.close(self._input[1])
            self._input = None


def _wait(channel: Channel, pumps: _Pumps, forwarded: Sequence[int], told: Callable[[str], None]) -> int:
    """Until the command ends; some signals go to it, as if it ran here."""

    def forward(number: int, _: object) -> None:
        channel.send({"signal": number})

    before = {number: signal.signal(number, forward) for number in forwarded}
    try:
        while True:
            if not channel.pending() and not pumps.wait(channel.socket.fileno()):
                continue
            status = _status(_heard(channel), told)
            if status is not None:
                pumps.drain()
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


def _status(message: Any, told: Callable[[str], None]) -> int | None:
    if message is None:
        raise KeeperError("the keeper ended while the command ran")
    if isinstance(message, bytes):
        return None
    if "error" in message:
        raise RemoteError(message["error"])
    if "in" in message:
        told(message["in"])
    if "result" in message:
        return int(message["result"]["status"])
    return None


def _interact(channel: Channel, told: Callable[[str], None]) -> int:
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
                status = _status(message, told)
                if status is not None:
                    return status
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
        signal.set_wakeup_fd(previous_wakeup)
        signal.signal(signal.SIGWINCH, previous_handler)
        os.close(wake_read)
        os.close(wake_write)
