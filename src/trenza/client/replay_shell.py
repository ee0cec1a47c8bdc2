"""A shell of a node into which a replay types: lines in, statuses out, with nobody at a terminal.

A bash reads lines that end in a zero byte from its standard input, does each with no input of its own and its output
nowhere, and answers with the status. `cd`, variables and functions last, as they did. A line that starts a shell itself
(`ip netns exec c1 bash`) gets that very input, and the same program to begin with.
"""

from __future__ import annotations

import os
import select
import shlex
import signal
import time
from collections.abc import Sequence
from typing import Any

from trenza.client.archive import SavedCommand
from trenza.client.session import RemoteError, connect
from trenza.client.typed_lines import EDITORS, Way
from trenza.errors import KeeperError, TrenzaError, UsageError
from trenza.wire import Channel, Message

BEGIN_DEADLINE_S = 10.0
INTERRUPT_GRACE_S = 2.0
# One compound command: bash reads it whole before its standard input becomes another one.
_PROGRAM = (
    "{ exec 3<&0 4>&1 </dev/null >/dev/null 2>&1; shopt -s expand_aliases; trap : INT; "
    + "".join(f"{name}() {{ :; }}; " for name in EDITORS)
    + "printf 'ready\\0' >&4; while IFS= read -r -d '' __trenza_line <&3; do case $__trenza_line in "
    'r*) eval "${__trenza_line:1}" 3<&- 4>&-;; '
    'l*) eval "${__trenza_line:1}" 3<&- 4>&- & ;; '
    'e*) eval "${__trenza_line:1}" <&3 >&4 3<&- 4>&-;; '
    "*) break;; esac; printf '%d\\0' \"$?\" >&4; done; exit; }\n"
)
_LETTERS = {Way.RUN: "r", Way.LEAVE: "l", Way.ENTER: "e"}


class ReplayShell:
    """One terminal's shells, one within the other. `close` it; what it left running stays."""

    def __init__(self, lab: str, command: SavedCommand) -> None:
        reading, self._input = os.pipe()
        self._output, writing = os.pipe()
        os.set_blocking(self._input, False)
        self._answers = b""
        self._entered = 0
        self.is_open = True
        self._channel = connect(lab)
        argv = ["bash", "-c", _PROGRAM]
        try:
            self._channel.send({**_request(command, argv), "descriptors": 2}, [reading, writing])
        finally:
            os.close(reading)
            os.close(writing)
        self._answer(BEGIN_DEADLINE_S)

    def run(self, line: str, way: Way, *, deadline_s: float) -> int | None:
        """Type a line, and wait for its status; None if it had to be interrupted, or the shell is gone."""
        self._write(f"{_LETTERS[way]}{line}\0".encode(errors="surrogateescape"))
        if way is Way.ENTER:
            self._write(_PROGRAM.encode())
            if self._answer(deadline_s) == b"ready":
                self._entered += 1
                return 0
            self.close()
            raise KeeperError("it started no shell for what was typed next")
        answer = self._answer(deadline_s, or_give_up=False)
        if answer is None and self.is_open:
            self._channel.send({"signal": signal.SIGINT})
            self._answer(INTERRUPT_GRACE_S)
            return None
        return int(answer) if answer is not None and answer.isdigit() else None

    def leave_down_to(self, depth: int) -> bool:
        """Leave shells until only so many lie around the current one; whether so many do."""
        while self._entered > depth and self.is_open:
            self._write(b"\0")
            self._entered -= 1
            self._answer(INTERRUPT_GRACE_S)
        return self.is_open and self._entered == depth

    def close(self) -> None:
        """End all of it."""
        if not self.is_open:
            return
        self.leave_down_to(0)
        self.is_open = False
        try:
            os.write(self._input, b"\0")
            _wait_for_end(self._channel, time.monotonic() + INTERRUPT_GRACE_S)
        except (OSError, TrenzaError):
            pass  # it is gone, which is what was wanted
        for descriptor in (self._input, self._output):
            os.close(descriptor)
        self._channel.close()

    def _write(self, data: bytes) -> None:
        """Type; a shell that takes nothing for a while is given up."""
        while data:
            try:
                data = data[os.write(self._input, data) :]
            except BlockingIOError:
                if not select.select([], [self._input], [], INTERRUPT_GRACE_S)[1]:
                    self._give_up()
                    raise KeeperError("its shell takes no more lines") from None
            except OSError as error:
                self._give_up()
                raise KeeperError("its shell is gone") from error

    def _answer(self, deadline_s: float, *, or_give_up: bool = True) -> bytes | None:
        """What the shell says next; None if nothing until the deadline."""
        until = time.monotonic() + deadline_s
        while b"\0" not in self._answers:
            left_s = until - time.monotonic()
            if left_s <= 0 or not select.select([self._output], [], [], left_s)[0]:
                if or_give_up:
                    self._give_up()
                return None
            data = os.read(self._output, 4096)
            if not data or len(self._answers) > 4096:
                self._give_up()
                return None
            self._answers += data
        answer, _, self._answers = self._answers.partition(b"\0")
        return answer

    def _give_up(self) -> None:
        if self.is_open:
            self.is_open = False
            for descriptor in (self._input, self._output):
                os.close(descriptor)
            self._channel.close()


def run_once(lab: str, command: SavedCommand, *, leave: bool, deadline_s: float) -> int | None:
    """Do what `exec` did, with no input, or what a shell was given as its input; its status.

    None if it had to be interrupted. `leave` does not wait for it.
    """
    argv = ["bash"] if command.stdin else _words(command.line)
    if leave:
        argv = ["bash", "-c", '"$@" &', "bash", *argv]
    given = []
    if command.stdin:
        given.append(os.memfd_create("typed"))
        with os.fdopen(os.dup(given[0]), "wb") as file:
            file.write(command.line.encode())
        os.lseek(given[0], 0, os.SEEK_SET)
    channel = connect(lab)
    try:
        channel.send({**_request(command, argv), "descriptors": len(given)}, given)
        until = time.monotonic() + deadline_s
        status = _wait_for_end(channel, until)
        if status is None:
            channel.send({"signal": signal.SIGINT})
            _wait_for_end(channel, time.monotonic() + INTERRUPT_GRACE_S)
        return status
    except RemoteError as error:
        if "status" not in error.fields:
            raise
        return int(error.fields["status"])
    finally:
        for descriptor in given:
            os.close(descriptor)
        channel.close()


def _words(line: str) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"it is no command line: {error}") from error
    if not words:
        raise UsageError("it is no command line")
    return words


def _request(command: SavedCommand, argv: Sequence[str]) -> Message:
    env = {name: value for name, value in command.env.items() if name != "TERM"}
    request: dict[str, Any] = {"verb": "exec", "node": command.node, "argv": list(argv), "env": env, "record": False}
    return {**request, "user": command.user, "cwd": command.cwd, "tty": False}


def _wait_for_end(channel: Channel, until: float) -> int | None:
    """The status that the keeper tells until a moment, or None."""
    while (left_s := until - time.monotonic()) > 0:
        if not channel.pending() and not select.select([channel.socket], [], [], left_s)[0]:
            return None
        try:
            message = channel.receive()
        except ConnectionError:  # it closed while a signal of ours was on its way
            message = None
        if message is None:
            raise KeeperError("the keeper ended while the command ran")
        if isinstance(message, dict) and "error" in message:
            raise RemoteError(message["error"])
        if isinstance(message, dict) and "result" in message:
            return int(message["result"]["status"])
    return None
