"""The stores under test: how each is opened, and what they have in common."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from trenza.cluster.store.embedded import EmbeddedStore
from trenza.cluster.store.etcd import EtcdStore
from trenza.cluster.store.protocol import Batch, Event, Store, Watch

WAIT_S = 20.0
_numbers = itertools.count(1)


def fresh_prefix() -> str:
    """A prefix that no other test of this process uses: etcd is shared by all of them."""
    return f"/test{next(_numbers)}/"


class EmbeddedContestant:
    """SQLite, each opening a new file unless named."""

    name = "embedded"

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Store]:
        store = await EmbeddedStore.open(self._directory / f"{next(_numbers)}.db")
        try:
            yield store
        finally:
            await store.close()


class EtcdContestant:
    """A real etcd of one member."""

    name = "etcd"

    def __init__(self, endpoints: tuple[str, ...]) -> None:
        self._endpoints = endpoints

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Store]:
        store = await EtcdStore.open(self._endpoints)
        try:
            yield store
        finally:
            await store.close()


Contestant = EmbeddedContestant | EtcdContestant


async def next_batch(watch: Watch) -> Batch:
    """The next batch, which must come in time."""
    return await asyncio.wait_for(anext(watch), WAIT_S)


async def events_of(watch: Watch, count: int) -> list[Event]:
    """At least the next `count` events."""
    events: list[Event] = []
    async with asyncio.timeout(WAIT_S):
        while len(events) < count:
            events += (await anext(watch)).events
    return events


async def events_through(watch: Watch, revision: int) -> list[Event]:
    """All events until the watch says that it has come to `revision`."""
    events: list[Event] = []
    async with asyncio.timeout(WAIT_S):
        while True:
            batch = await anext(watch)
            events += batch.events
            if batch.revision >= revision:
                return events
