"""What happens to a real etcd happens to its store too: members killed, frozen, emptied and damaged."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from etcd_members import UNVERIFIED, EtcdCluster
from store_contestants import WAIT_S, events_of, fresh_prefix
from store_recorder import Recorder

from trenza.cluster.store.errors import Compacted, ReadOnly, Unavailable
from trenza.cluster.store.etcd import EtcdStore
from trenza.cluster.store.history import violations
from trenza.cluster.store.protocol import Store

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed (Debian: etcd-server)"),
]
ROUNDS = 10 if os.environ.get("TRENZA_SOAK") else 1


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """Three members; each test leaves them well."""
    cluster = EtcdCluster(tmp_path_factory.mktemp("three"), 3)
    yield cluster
    cluster.kill()


@asynccontextmanager
async def opened(cluster: EtcdCluster, patience_s: float = 10.0) -> AsyncIterator[Store]:
    store = await EtcdStore.open(cluster.endpoints, patience_s=patience_s)
    try:
        yield store
    finally:
        await store.close()


async def in_thread(work: object, *arguments: object) -> None:
    assert callable(work)
    await asyncio.to_thread(work, *arguments)


@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_killed_members_are_never_seen_in_the_history(three: EtcdCluster, seed: int) -> None:
    async with opened(three) as store:
        recorder = Recorder(store, fresh_prefix(), seed)
        start = await store.revision()
        stop = asyncio.Event()
        watching = asyncio.create_task(recorder.watch(start + 1))
        clients = [asyncio.create_task(recorder.work(stop)) for _ in range(6)]
        for member in three.members:  # the leader is among them
            await recorder.more_writes(50)
            member.kill()
            await recorder.more_writes(50)
            three.restart(member)
            await in_thread(member.wait_healthy)
        await recorder.more_writes(50)
        stop.set()
        await asyncio.gather(*clients)
        newest = await store.put("/end", b"", expected=None)
        await recorder.watched_through(newest - 1, start + 1)
        watching.cancel()
    assert violations(recorder.history, start=start) == ()
    assert recorder.written >= 350


async def test_without_a_quorum_nothing_is_answered_and_nothing_is_missed(three: EtcdCluster) -> None:
    prefix = fresh_prefix()
    async with opened(three, patience_s=1.0) as store:
        first = await store.put(f"{prefix}a", b"1", expected=0)
        with store.watch(prefix, from_revision=first) as watch:
            await events_of(watch, 1)
            for member in three.members[:2]:
                member.kill()
            with pytest.raises(Unavailable):
                await store.get(f"{prefix}a")
            problems = [member.problem for member in (await store.status()).members]
            assert problems[0] and problems[1], problems
            for member in three.members[:2]:
                three.restart(member)
            await in_thread(three.members[0].wait_healthy)
            await in_thread(three.members[1].wait_healthy)
            second = await store.put(f"{prefix}a", b"2", expected=None)
            events = await events_of(watch, 1)
            assert [event.revision for event in events] == [second]


async def test_a_frozen_member_holds_up_neither_reads_nor_watches(three: EtcdCluster) -> None:
    prefix = fresh_prefix()
    async with opened(three) as store:
        first = await store.put(f"{prefix}a", b"1", expected=0)
        with store.watch(prefix, from_revision=first) as watch:
            await events_of(watch, 1)
            frozen = three.members[0]  # asked first, and followed
            frozen.signal(signal.SIGSTOP)
            try:
                assert await store.get(f"{prefix}a") is not None
                second = await store.put(f"{prefix}a", b"2", expected=first)
                assert [event.revision for event in await events_of(watch, 1)] == [second]
            finally:
                frozen.signal(signal.SIGCONT)
        await in_thread(frozen.wait_healthy)


async def test_an_etcd_that_lost_everything_sends_watchers_back_to_list(tmp_path: Path) -> None:
    cluster = EtcdCluster(tmp_path, 1)
    try:
        async with opened(cluster) as store:
            for i in range(20):
                newest = await store.put(f"/a{i}", b"", expected=0)
            with store.watch("/", from_revision=newest + 1) as watch:
                cluster.kill()
                cluster.restart(cluster.members[0], empty=True)
                await in_thread(cluster.members[0].wait_healthy)
                with pytest.raises(Compacted):
                    async with asyncio.timeout(WAIT_S):
                        await anext(watch)
            assert (await store.range("/")).items == ()
            first = await store.put("/new", b"", expected=0)
            with store.watch("/", from_revision=first) as watch:
                assert [event.key for event in await events_of(watch, 1)] == ["/new"]
    finally:
        cluster.kill()


async def test_a_corrupt_member_makes_the_store_read_only_in_the_alarms_words(tmp_path: Path) -> None:
    cluster = EtcdCluster(tmp_path, 3, "--experimental-corrupt-check-time", "1s")
    try:
        async with opened(cluster) as store:
            await store.put("/a", b"what-it-says", expected=0)
            for i in range(20):
                await store.put(f"/b{i}", b"", expected=0)
            bad = cluster.members[2]
            await in_thread(bad.stop)
            database = bad.directory / "member/snap/db"
            content = database.read_bytes()
            assert b"what-it-says" in content
            database.write_bytes(content.replace(b"what-it-says", b"what-it-lies"))
            cluster.restart(bad)
            with pytest.raises(ReadOnly, match="etcd raised the alarm CORRUPT"):
                async with asyncio.timeout(WAIT_S):
                    while True:
                        await store.put("/c", b"", expected=None)
                        await asyncio.sleep(0.1)
            status = await store.status()
            assert status.alarms == ("etcd raised the alarm CORRUPT",)
            assert [bool(member.problem) for member in status.members] == [False, False, True]
            assert [item.key for item in (await store.range("/b")).items] == sorted(f"/b{i}" for i in range(20))
            with store.watch("/b", from_revision=2) as watch:
                assert len(await events_of(watch, 20)) == 20
    finally:
        cluster.kill()


async def test_a_full_etcd_is_read_only_in_the_alarms_words(tmp_path: Path) -> None:
    cluster = EtcdCluster(tmp_path, 1, "--quota-backend-bytes", "2000000")
    try:
        async with opened(cluster) as store:
            with pytest.raises(ReadOnly, match="NOSPACE"):
                for i in range(50):
                    await store.put(f"/a{i}", bytes(100_000), expected=0)
            assert await store.get("/a0") is not None
            assert (await store.status()).alarms == ("etcd raised the alarm NOSPACE on member m0",)
    finally:
        cluster.kill()


async def test_tls_is_spoken_where_the_endpoint_says_so(tmp_path: Path) -> None:
    cluster = EtcdCluster(tmp_path, 1, "--auto-tls")
    try:
        with pytest.raises(Unavailable, match="certificate"):
            await EtcdStore.open(cluster.endpoints, patience_s=0.2)
        store = await EtcdStore.open(cluster.endpoints, tls=UNVERIFIED)
        revision = await store.put("/a", b"1", expected=0)
        with store.watch("/", from_revision=revision) as watch:
            assert [event.revision for event in await events_of(watch, 1)] == [revision]
        await store.close()
    finally:
        cluster.kill()


async def test_where_nobody_listens_opening_says_so() -> None:
    with pytest.raises(Unavailable):
        await EtcdStore.open(["http://127.0.0.1:1"], patience_s=0.2)


async def test_what_a_busy_server_was_sent_is_published_in_a_few_turns_of_its_loop(three: EtcdCluster) -> None:
    """A turn is long where much is asked: with some for every event a busy server falls behind its etcd."""
    async with opened(three) as store:
        prefix, first, many = fresh_prefix(), await store.revision() + 1, 300
        turns, counting = 0, True

        def turn() -> None:
            nonlocal turns
            turns += 1
            if counting:
                loop.call_soon(turn)

        with store.watch(prefix, from_revision=first) as watch:
            await store.put(f"{prefix}first", b"", expected=0)
            await events_of(watch, 1)
            written_while_nobody_looks(three.endpoints[0], prefix, many)
            loop = asyncio.get_running_loop()
            loop.call_soon(turn)
            await events_of(watch, many)
            counting = False
        # Its bytes come in several pieces, and each of them takes a few turns.
        assert turns < many


def written_while_nobody_looks(endpoint: str, prefix: str, count: int) -> None:
    """So many writes by another client, during which this loop stands still."""
    for number in range(count):
        key, value = (base64.b64encode(text.encode()).decode() for text in (f"{prefix}{number}", "x"))
        body = json.dumps({"key": key, "value": value}).encode()
        with urllib.request.urlopen(f"{endpoint}/v3/kv/put", body, timeout=WAIT_S):
            pass
