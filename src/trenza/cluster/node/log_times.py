"""When each line of a container's log was written: how long the log was at what time, noted as it grows.

Containers write to plain files, with nobody in between who could put a time before each line; so the agent is told of
every growth (inotify) and notes it beside the log, 50 times a second at most. What is written while there is no agent
has the time at which the next one found it. Who hears of growth is also who keeps a log short (`log_ends`).
"""

from __future__ import annotations

import asyncio
import os
import struct
import sys
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from trenza.cluster.node.log_ends import begin_of, shorten
from trenza.linux.inotify import IN_MODIFY, Inotify

_ENTRY: Final = struct.Struct("!Qd")
_NOTED_EVERY_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Growth:
    """A log had this size at this time."""

    size_bytes: int
    at_s: float


def read_growth(data: bytes) -> tuple[Growth, ...]:
    """What was noted, as far as it grows: a host's root can write anything there."""
    found: list[Growth] = []
    for size_bytes, at_s in _ENTRY.iter_unpack(data[: len(data) // _ENTRY.size * _ENTRY.size]):
        if not found or (size_bytes > found[-1].size_bytes and at_s >= found[-1].at_s):
            found.append(Growth(size_bytes, at_s))
    return tuple(found)


def time_at(growth: Sequence[Growth], offset: int, *, now_s: float) -> float:
    """When the byte before `offset` was written; now, where that was not noted yet."""
    place = bisect_left(growth, offset, key=lambda one: one.size_bytes)
    return growth[place].at_s if place < len(growth) else now_s


def offset_since(growth: Sequence[Growth], since_s: float) -> int:
    """Where begins what was written at `since_s` or later."""
    place = bisect_left(growth, since_s, key=lambda one: one.at_s)
    return growth[place - 1].size_bytes if place else 0


def stamp(at_s: float) -> bytes:
    """`2026-11-26T15:00:00.123456000Z `, as kubectl shows it before a line."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z ").encode()


@dataclass(slots=True)
class _Log:
    log: int
    times: int
    size_bytes: int
    begin: int


class LogTimes:
    """Notes the growth of logs, and keeps them short. `close` it."""

    def __init__(self) -> None:
        self._inotify = Inotify()
        self._loop = asyncio.get_running_loop()
        self._logs: dict[int, _Log] = {}
        self._listen()

    def close(self) -> None:
        self._loop.remove_reader(self._inotify.fileno())
        for watch in list(self._logs):
            self.leave(watch)
        self._inotify.close()

    def attend(self, log: int, times: int) -> int:
        """Note from now on how a log grows; both descriptors, to read and to append, are ours now.

        The answer is for `leave`.
        """
        watch = self._inotify.watch(log, IN_MODIFY)
        noted = os.fstat(times).st_size // _ENTRY.size
        before = os.pread(times, _ENTRY.size, (noted - 1) * _ENTRY.size) if noted else b""
        self._logs[watch] = _Log(log, times, _ENTRY.unpack(before)[0] if before else 0, begin_of(log))
        self._note(self._logs[watch])
        return watch

    def leave(self, watch: int) -> None:
        """Note the last of a log that will not grow any more."""
        log = self._logs.pop(watch, None)
        if log is not None:
            self._note(log)
            self._inotify.forget(watch)
            os.close(log.log)
            os.close(log.times)

    def _listen(self) -> None:
        self._loop.add_reader(self._inotify.fileno(), self._hear)

    def _hear(self) -> None:
        for watch in {seen.watch for seen in self._inotify.read()}:
            if watch in self._logs:
                self._note(self._logs[watch])
        # one who writes without end must not keep us busy without end
        self._loop.remove_reader(self._inotify.fileno())
        self._loop.call_later(_NOTED_EVERY_S, self._listen)

    @staticmethod
    def _note(log: _Log) -> None:
        size_bytes = os.fstat(log.log).st_size
        if size_bytes < log.size_bytes:  # the host's root has emptied it
            os.ftruncate(log.times, 0)
            log.size_bytes, log.begin = 0, begin_of(log.log)
        if size_bytes > log.size_bytes:
            log.size_bytes = size_bytes
            try:
                os.write(log.times, _ENTRY.pack(size_bytes, time.time()))
            except OSError:
                pass  # a full disk: these lines get the time of the next ones
        begin = log.begin
        try:
            log.begin = shorten(log.log, begin, size_bytes)
            if log.begin > begin:
                _forget(log.times, log.begin)
        except OSError as error:
            log.begin = size_bytes  # and again when there is as much more
            print(f"a log of {size_bytes} bytes cannot be shortened: {error}", file=sys.stderr, flush=True)


def _forget(times: int, begin: int) -> None:
    """Of what was noted, keep what is of a log from `begin` on."""
    data = os.pread(times, os.fstat(times).st_size, 0)
    kept = [_ENTRY.pack(one.size_bytes, one.at_s) for one in read_growth(data) if one.size_bytes > begin]
    os.ftruncate(times, 0)
    os.write(times, b"".join(kept))
