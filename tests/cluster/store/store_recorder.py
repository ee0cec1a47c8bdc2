"""Clients of a store who write down what they asked and heard, for `trenza.cluster.store.history`."""

from __future__ import annotations

import asyncio
import random
import time

from trenza.cluster.store.errors import Conflict, Unavailable
from trenza.cluster.store.history import Got, Listed, Record, Refused, Watched, Wrote
from trenza.cluster.store.protocol import Batch, Store, Write


class Recorder:
    """Clients at work, and one watcher of everything. `written` counts answered writes."""

    def __init__(self, store: Store, prefix: str, seed: int) -> None:
        self.history: list[Record] = []
        self.written = 0
        self.lost = 0
        self._store = store
        self._prefix = prefix
        self._chance = random.Random(seed)
        self._batches: list[Batch] = []
        self._numbers = 0
        self._moved = asyncio.Event()

    async def work(self, stop: asyncio.Event) -> None:
        """One client, until `stop`."""
        while not stop.is_set():
            key = f"{self._prefix}{self._chance.randrange(5)}"
            began_s = time.monotonic()
            try:
                match self._chance.randrange(8):
                    case 0:
                        found = await self._store.range(self._prefix)
                        self.history.append(Listed(began_s, time.monotonic(), self._prefix, found))
                    case 1 | 2:
                        stored = await self._store.get(key)
                        self.history.append(Got(began_s, time.monotonic(), key, stored))
                    case 3:
                        await self._write(key, None)
                    case _:
                        self._numbers += 1
                        await self._write(key, str(self._numbers).encode())
            except Unavailable:
                await asyncio.sleep(0.01)

    async def _write(self, key: str, value: bytes | None) -> None:
        current = await self._store.get(key)
        expected = current.mod_revision if current else 0
        began_s = time.monotonic()
        write = Write(key, value)
        if value is None and current is None:
            return
        try:
            done = await self._store.transact({key: expected}, (write,))
        except Conflict as conflict:
            at = conflict.current.mod_revision if conflict.current else 0
            self.history.append(Refused(began_s, time.monotonic(), key, expected, at))
            return
        except Unavailable as error:
            if error.maybe_done:
                self.lost += 1
                self.history.append(Wrote(began_s, time.monotonic(), (write,), None, {key: expected}))
            raise
        self.history.append(Wrote(began_s, time.monotonic(), (write,), done.revision, {key: expected}))
        self.written += 1
        self._moved.set()

    async def watch(self, from_revision: int) -> None:
        """Write down what the watch of everything says, until cancelled."""
        with self._store.watch(self._prefix, from_revision=from_revision) as watch:
            async for batch in watch:
                self._batches.append(batch)
                self._moved.set()

    async def more_writes(self, count: int, within_s: float = 30.0) -> None:
        """Return when `count` more writes have been answered."""
        target = self.written + count
        async with asyncio.timeout(within_s):
            while self.written < target:
                self._moved.clear()
                await self._moved.wait()

    async def watched_through(self, revision: int, from_revision: int, within_s: float = 30.0) -> None:
        """Return when the watch has come to `revision`, and enter it into the history."""
        async with asyncio.timeout(within_s):
            while not self._batches or self._batches[-1].revision < revision:
                self._moved.clear()
                await self._moved.wait()
        self.history.append(Watched(self._prefix, from_revision, tuple(self._batches)))
