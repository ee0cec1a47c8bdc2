"""What the server's store forgets as time goes by, whatever befalls the store."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, cast

import pytest

from trenza.cluster.server.server import keep_compact
from trenza.cluster.store.errors import FutureRevision, Unavailable
from trenza.cluster.store.protocol import Store

pytestmark = pytest.mark.anyio


class Recorded:
    """A store as far as compaction asks of it: at each time one revision newer, or what it raises."""

    def __init__(self, *times: int | Exception, refusals: dict[int, Exception]) -> None:
        self._times = iter(times)
        self._refusals = refusals
        self.asked: list[int] = []
        self.over = asyncio.Event()

    async def revision(self) -> int:
        now = next(self._times, None)
        if now is None:
            self.over.set()
            await asyncio.Event().wait()
        if isinstance(now, Exception):
            raise now
        return cast(int, now)

    async def compact(self, revision: int) -> None:
        self.asked.append(revision)
        if revision in self._refusals:
            raise self._refusals[revision]


async def asked_of(store: Recorded) -> list[int]:
    task = asyncio.create_task(keep_compact(cast(Store, cast(Any, store)), 0.0))
    async with asyncio.timeout(20):
        await store.over.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return store.asked


async def test_what_was_replaced_before_the_last_time_is_forgotten() -> None:
    assert await asked_of(Recorded(5, 7, 9, refusals={})) == [5, 7]


async def test_a_store_that_does_not_answer_is_asked_again_later() -> None:
    assert await asked_of(Recorded(5, Unavailable("away"), 7, 9, refusals={})) == [5, 7]


async def test_what_cannot_be_forgotten_is_not_asked_for_for_ever() -> None:
    refusals = {5: FutureRevision(3), 7: RuntimeError("odd")}
    assert await asked_of(Recorded(5, 7, 9, 11, refusals=refusals)) == [5, 7, 9]
