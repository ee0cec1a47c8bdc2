"""Everybody who watches a store, in one process: what is published reaches each of them once and in order.

A store has one stream of events, of all keys; that is what makes progress certain, because every revision has an event
and so a missing one is seen. `Watchers` deals the stream out by prefix. A watch that begins in the past first asks the
store for what is already behind the stream, page by page, while the stream's own waits in its queue.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Self
from weakref import WeakSet

from trenza.cluster.store.errors import StoreError, TooSlow
from trenza.cluster.store.protocol import Batch, Event, Put, check_revision

MAX_WAITING_EVENTS = 8192
MAX_WAITING_BYTES = 64 << 20
"""Of values that wait for one watcher, which is what a slow one costs."""
PROGRESS_S = 1.0
"""How long a watch whose keys rest may be left without a progress mark: waking every watch at every write of other
keys would cost more than the writes."""

Replay = Callable[[str, int, int], Awaitable[Batch]]
"""(prefix, first, last): some of the events from revision `first` on, at most through `last`; the batch's revision is
how far they go. Raises Compacted."""


class Watchers:
    """The watches of one store. `revision` is how far the stream has come; only the event loop's thread calls."""

    def __init__(self, revision: int, replay: Replay) -> None:
        self.revision = revision
        self._replay = replay
        self._watches: WeakSet[QueuedWatch] = WeakSet()  # one that was forgotten without being closed costs nothing
        self._closed = False
        self._tick: asyncio.TimerHandle | None = None

    def watch(self, prefix: str, from_revision: int) -> QueuedWatch:
        """A new watch; Compacted, if so, is raised by its first batch."""
        check_revision(from_revision)
        watch = QueuedWatch(prefix, from_revision, self.revision, self._replay)
        if self._closed:
            watch.close()
        else:
            self._watches.add(watch)
        return watch

    def publish(self, batch: Batch) -> None:
        """The stream has come to `batch.revision`."""
        self.revision = batch.revision
        for watch in self._watches:
            watch.offer(batch)
        if self._tick is None and self._watches:
            self._tick = asyncio.get_running_loop().call_later(PROGRESS_S, self._mark)

    def fail(self, error: StoreError) -> None:
        """Every watch there is now raises `error` once it has delivered what it holds."""
        for watch in self._watches:
            watch.fail(error)
        self._watches.clear()

    def close(self) -> None:
        """Every watch ends, later ones at once."""
        self._closed = True
        if self._tick is not None:
            self._tick.cancel()
        for watch in list(self._watches):
            watch.close()

    def _mark(self) -> None:
        self._tick = None
        for watch in self._watches:
            watch.mark(self.revision)


class QueuedWatch:
    """One watch (`protocol.Watch`)."""

    def __init__(self, prefix: str, from_revision: int, streamed: int, replay: Replay) -> None:
        self._prefix = prefix
        self._from_revision = from_revision
        self._replay = replay
        self._replayed = max(1, from_revision - 1)  # revision 1 is the empty store: no event
        self._replay_through = streamed
        self._delivered = from_revision - 1
        self._marked = 0
        self._queue: deque[Batch] = deque()
        self._waiting_events = self._waiting_bytes = 0
        self._error: StoreError | None = None
        self._closed = False
        self._changed = asyncio.Event()

    def offer(self, batch: Batch) -> None:
        """The stream's next batch, of all keys."""
        events = tuple(
            event
            for event in batch.events
            if event.key.startswith(self._prefix) and event.revision >= self._from_revision
        )
        if not events or self._error is not None:
            return
        self._waiting_events += len(events)
        self._waiting_bytes += _bytes_of(events)
        if self._waiting_events > MAX_WAITING_EVENTS or self._waiting_bytes > MAX_WAITING_BYTES:
            self._queue.clear()
            self._replay_through = 0
            limit = f"{MAX_WAITING_EVENTS} events or {MAX_WAITING_BYTES >> 20} MiB"
            self._error = TooSlow(f"more than {limit} of {self._prefix} waited for their watcher")
        else:
            self._queue.append(Batch(batch.revision, events))
        self._changed.set()

    def mark(self, revision: int) -> None:
        """The stream has come to `revision`, and the watcher may like to know."""
        self._marked = revision
        self._changed.set()

    def fail(self, error: StoreError) -> None:
        """Raise `error` behind what is queued."""
        self._error = self._error or error
        self._changed.set()

    def close(self) -> None:
        """No more batches."""
        self._closed = True
        self._queue.clear()
        self._changed.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        while not self._closed:
            if self._replayed < self._replay_through:
                try:
                    batch = await self._replay(self._prefix, self._replayed + 1, self._replay_through)
                except StoreError:
                    self.close()
                    raise
                self._replayed = self._delivered = batch.revision
                return batch
            if self._queue:
                batch = self._queue.popleft()
                self._waiting_events -= len(batch.events)
                self._waiting_bytes -= _bytes_of(batch.events)
                self._delivered = batch.revision
                return batch
            if self._error is not None:
                self._closed = True
                raise self._error
            if self._marked > self._delivered:
                self._delivered = self._marked
                return Batch(self._marked)
            self._changed.clear()
            await self._changed.wait()
        raise StopAsyncIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _bytes_of(events: Sequence[Event]) -> int:
    return sum(len((event.stored if isinstance(event, Put) else event.previous).value) for event in events)
