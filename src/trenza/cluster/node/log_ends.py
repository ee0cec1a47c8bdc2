"""A container's log is kept short: its oldest part is given back to the file system, and the rest stays where it is.

A kubelet renames a log and has the container runtime open a new one. Here containers write to plain files, with nobody
in between who could open another, and copying and truncating would lose what is written meanwhile. So the log gets a
hole at its beginning (fallocate(2)): writers append as before, no byte of the rest is touched, and offsets stay what
they are for those who follow the log and for the times of its lines.
"""

from __future__ import annotations

import os
from typing import Final

from trenza.linux.syscalls import punch_hole

PART_BYTES: Final = 10 << 20
PARTS: Final = 5
"""A kubelet's containerLogMaxSize and containerLogMaxFiles."""

_BLOCK_BYTES: Final = 1 << 16


def begin_of(log: int) -> int:
    """Where the part of a log begins that is still there; it moves the descriptor's place.

    What is given back reads as NULs, which end within what the file system still calls data.
    """
    try:
        place = os.lseek(log, 0, os.SEEK_DATA)
    except OSError:  # nothing is there, or it is no file
        return 0
    while block := os.pread(log, _BLOCK_BYTES, place):
        rest = block.lstrip(b"\0")
        if rest:
            return place + len(block) - len(rest)
        place += len(block)
    return 0


def shorten(log: int, begin: int, end: int) -> int:
    """Give back a log's oldest part if [begin, end) is more than may be kept; where it begins then, at a line.

    The descriptor is open for both. Raises OSError where the file system has no holes.
    """
    if end - begin <= PARTS * PART_BYTES:
        return begin
    cut = end - (PARTS - 1) * PART_BYTES
    line_end = os.pread(log, _BLOCK_BYTES, cut).find(b"\n")
    cut += line_end + 1
    punch_hole(log, 0, cut)
    return cut
