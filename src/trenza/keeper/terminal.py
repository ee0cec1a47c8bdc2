"""Terminals of nodes: a pty relayed to a client, and a record of the command lines typed at its prompt.

The node's bash (see `trenza.linux.template.BASHRC`) announces each command line in an OSC sequence, number 7133, when
it begins and, with its status, when it ended; the keeper takes both out of the stream. So what is recorded is what was
entered at a prompt, nothing that was typed into a program with the echo off.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import struct
import termios
from dataclasses import dataclass

_BEGIN = b"\x1b]7133;"
_END = b"\x07"
_MAX_SEQUENCE_BYTES = 1 << 19


@dataclass(frozen=True, slots=True)
class CommandLine:
    """One line entered at a prompt, and the status it ended with: None where it begins.

    `shell` tells shells of one terminal apart.
    """

    line: str
    status: int | None
    shell: str = ""


class CommandLines:
    """Takes command lines out of a terminal's output. Bytes in; bytes to show and lines out."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, list[CommandLine]]:
        """What to show now, and the lines announced. A sequence cut in two is held until the rest comes."""
        data = self._held + data
        self._held = b""
        shown = bytearray()
        lines: list[CommandLine] = []
        while True:
            start = data.find(_BEGIN)
            if start < 0:
                keep = _partial_length(data)
                shown += data[: len(data) - keep]
                self._held = data[len(data) - keep :]
                return bytes(shown), lines
            end = data.find(_END, start)
            if end < 0:
                if len(data) - start > _MAX_SEQUENCE_BYTES:  # not one of ours: show it
                    shown += data
                    return bytes(shown), lines
                shown += data[:start]
                self._held = data[start:]
                return bytes(shown), lines
            shown += data[:start]
            line = _parse(data[start + len(_BEGIN) : end])
            if line is not None:
                lines.append(line)
            data = data[end + 1 :]


def _partial_length(data: bytes) -> int:
    """How many bytes at the end may be the beginning of a sequence."""
    for length in range(min(len(_BEGIN) - 1, len(data)), 0, -1):
        if _BEGIN.startswith(data[-length:]):
            return length
    return 0


def _parse(body: bytes) -> CommandLine | None:
    status, _, rest = body.partition(b";")
    encoded, _, shell = rest.partition(b";")
    try:
        line = base64.b64decode(encoded, validate=True).decode(errors="replace")
        return CommandLine(line, int(status) if status else None, shell.decode("ascii")[:40])
    except (ValueError, binascii.Error):
        return None


def resize(descriptor: int, rows: int, columns: int) -> None:
    """Set a pty's size in characters."""
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0))
