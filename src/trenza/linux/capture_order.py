"""Frames of several sockets, put into the order of their timestamps."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

# How long a frame waits for earlier ones of other sockets. The kernel stamps a frame before it queues it, so that two
# sockets read one after the other may give neighbours in the wrong order. The gap is microseconds; on a loaded machine
# a scheduler's tick or two.
HELD_S: Final = 0.02

MAX_HELD: Final = 20_000

T = TypeVar("T")


class Ordering(Generic[T]):
    """Holds items until each has waited `HELD_S`, then gives them up oldest stamp first.

    Waiting is counted on the caller's monotonic clock, so that a step of the wall clock cannot keep a frame for ever.
    """

    def __init__(self, held_s: float = HELD_S, max_held: int = MAX_HELD) -> None:
        self._held_s = held_s
        self._max_held = max_held
        self._heap: list[tuple[int, int, float, T]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, timestamp_ns: int, now_s: float, item: T) -> None:
        """Takes an item that was read at `now_s`."""
        heapq.heappush(self._heap, (timestamp_ns, self._count, now_s, item))
        self._count += 1

    def ready(self, now_s: float) -> Iterator[T]:
        """The items whose turn has come, and any beyond `max_held`."""
        while self._heap and (len(self._heap) > self._max_held or self._heap[0][2] + self._held_s <= now_s):
            yield heapq.heappop(self._heap)[3]

    def rest(self) -> Iterator[T]:
        """Everything that is left."""
        while self._heap:
            yield heapq.heappop(self._heap)[3]

    def wait_s(self, now_s: float) -> float | None:
        """How long until the next item is due; None if there is none."""
        return max(0.0, self._heap[0][2] + self._held_s - now_s) if self._heap else None
