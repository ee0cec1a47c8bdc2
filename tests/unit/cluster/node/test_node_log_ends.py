"""Logs that lose their beginning while somebody writes them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trenza.cluster.node.log_ends import PART_BYTES, PARTS, begin_of, shorten
from trenza.cluster.node.log_times import LogTimes, read_growth

LINE = b"%01023d\n"
SIZE = 1024
KEPT_BYTES = PARTS * PART_BYTES


def lines(first: int, count: int) -> bytes:
    return b"".join(LINE % number for number in range(first, first + count))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "0.log", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    yield descriptor
    os.close(descriptor)


def test_the_oldest_part_goes_and_the_rest_stays_where_it_is(log: int) -> None:
    os.write(log, lines(0, KEPT_BYTES // SIZE))
    assert shorten(log, begin_of(log), KEPT_BYTES) == begin_of(log) == 0
    os.write(log, b"one more\n")
    end = KEPT_BYTES + 9
    begin = shorten(log, 0, end)
    os.write(log, b"last\n")
    assert begin % SIZE == 0 and 0 <= begin - PART_BYTES - 9 < SIZE
    assert begin == begin_of(log) and os.fstat(log).st_size == end + 5
    assert os.pread(log, SIZE, begin) == LINE % (begin // SIZE)
    assert os.pread(log, 100, KEPT_BYTES) == b"one more\nlast\n"
    assert os.fstat(log).st_blocks * 512 <= KEPT_BYTES - PART_BYTES + (1 << 16)
    assert shorten(log, begin, end + 5) == begin


def test_what_was_noted_of_the_part_that_goes_goes_too(tmp_path: Path) -> None:
    async def run() -> None:
        path = tmp_path / "0.log"
        writer = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        times = os.open(tmp_path / "0.times", os.O_RDWR | os.O_CREAT | os.O_APPEND)
        noted = LogTimes()
        noted.attend(os.open(path, os.O_RDWR | os.O_APPEND), os.dup(times))

        async def until(condition: Callable[[], object]) -> None:
            async with asyncio.timeout(20):
                while not condition():
                    await asyncio.sleep(0.001)

        def sizes() -> list[int]:
            return [one.size_bytes for one in read_growth(os.pread(times, 1 << 20, 0))]

        os.write(writer, b"early\n")
        await until(lambda: sizes() == [6])
        os.write(writer, lines(0, KEPT_BYTES // SIZE))
        await until(lambda: sizes() == [6 + KEPT_BYTES])
        # who empties a log begins anew
        os.truncate(path, 0)
        os.write(writer, b"new\n")
        await until(lambda: sizes() == [4])
        noted.close()
        os.close(writer)
        os.close(times)

    asyncio.run(run())
