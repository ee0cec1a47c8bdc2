"""What every store promises (`trenza.cluster.store.protocol`), asked of each of them."""

from __future__ import annotations

import asyncio

import pytest
from store_contestants import WAIT_S, Contestant, events_of, events_through, next_batch
from store_recorder import Recorder

from trenza.cluster.store import watchers
from trenza.cluster.store.errors import (
    Compacted,
    Conflict,
    FutureRevision,
    NoSuchLease,
    TooLarge,
    TooSlow,
    Unavailable,
)
from trenza.cluster.store.history import violations
from trenza.cluster.store.protocol import MAX_VALUE_BYTES, MAX_WRITES, Delete, Put, Store, Stored, Write

pytestmark = pytest.mark.anyio


async def test_a_created_key_is_read_back_with_its_revision(store: Store, prefix: str) -> None:
    revision = await store.put(f"{prefix}a", b"\x00one\xff", expected=0)
    assert await store.get(f"{prefix}a") == Stored(f"{prefix}a", b"\x00one\xff", revision, revision, 1)
    assert await store.revision() == revision
    assert await store.get(f"{prefix}b") is None


async def test_each_write_gets_the_next_revision(store: Store, prefix: str) -> None:
    revisions = [await store.put(f"{prefix}{i}", b"", expected=0) for i in range(5)]
    assert revisions == list(range(revisions[0], revisions[0] + 5))


async def test_creating_what_exists_is_a_conflict_that_shows_it(store: Store, prefix: str) -> None:
    revision = await store.put(f"{prefix}a", b"1", expected=0)
    with pytest.raises(Conflict) as refused:
        await store.put(f"{prefix}a", b"2", expected=0)
    assert refused.value.current == Stored(f"{prefix}a", b"1", revision, revision, 1)
    assert await store.revision() == revision


async def test_an_update_needs_the_revision_it_was_made_from(store: Store, prefix: str) -> None:
    first = await store.put(f"{prefix}a", b"1", expected=0)
    second = await store.put(f"{prefix}a", b"2", expected=first)
    with pytest.raises(Conflict) as refused:
        await store.put(f"{prefix}a", b"3", expected=first)
    assert refused.value.current == Stored(f"{prefix}a", b"2", first, second, 2)
    with pytest.raises(Conflict) as absent:
        await store.put(f"{prefix}b", b"3", expected=first)
    assert absent.value.current is None
    third = await store.put(f"{prefix}a", b"3", expected=None)
    assert await store.get(f"{prefix}a") == Stored(f"{prefix}a", b"3", first, third, 3)


async def test_deleting_returns_what_was_there_and_begins_anew(store: Store, prefix: str) -> None:
    first = await store.put(f"{prefix}a", b"1", expected=0)
    with pytest.raises(Conflict):
        await store.delete(f"{prefix}a", expected=first + 1)
    deleted, revision = await store.delete(f"{prefix}a", expected=first)
    assert (deleted, revision) == (Stored(f"{prefix}a", b"1", first, first, 1), first + 1)
    assert await store.get(f"{prefix}a") is None
    for expected in (first, None):
        with pytest.raises(Conflict) as gone:
            await store.delete(f"{prefix}a", expected=expected)
        assert gone.value.current is None
    again = await store.put(f"{prefix}a", b"2", expected=0)
    assert await store.get(f"{prefix}a") == Stored(f"{prefix}a", b"2", again, again, 1)


async def test_a_range_is_its_prefix_in_byte_order_and_nothing_else(store: Store, prefix: str) -> None:
    names = ["a/", "a/b", "a/b/c", "a/ñ", "a/z", "a/é€", "a/\U0001f600", "a/￿"]
    for name in [*reversed(names), "a", "a0", "b/"]:
        await store.put(prefix + name, name.encode(), expected=0)
    found = await store.range(f"{prefix}a/")
    assert [item.key for item in found.items] == sorted((prefix + name for name in names), key=str.encode)
    assert (found.more, found.remaining, found.revision) == (False, 0, await store.revision())
    assert (await store.range(f"{prefix}nothing")).items == ()


async def test_pages_are_of_one_revision_whatever_is_written_between(store: Store, prefix: str) -> None:
    for i in range(7):
        await store.put(f"{prefix}{i}", b"old", expected=0)
    first = await store.range(prefix, limit=3)
    assert ([item.key for item in first.items], first.remaining) == ([f"{prefix}{i}" for i in range(3)], 4)
    await store.put(f"{prefix}4", b"new", expected=None)
    await store.delete(f"{prefix}5", expected=None)
    await store.put(f"{prefix}55", b"new", expected=0)
    second = await store.range(prefix, after=first.items[-1].key, limit=3, revision=first.revision)
    assert [(item.key, item.value) for item in second.items] == [(f"{prefix}{i}", b"old") for i in (3, 4, 5)]
    assert (second.remaining, second.more, second.revision) == (1, True, first.revision)
    last = await store.range(prefix, after=second.items[-1].key, limit=3, revision=first.revision)
    assert ([item.key for item in last.items], last.more) == ([f"{prefix}6"], False)


async def test_the_past_is_read_as_it_was(store: Store, prefix: str) -> None:
    first = await store.put(f"{prefix}a", b"1", expected=0)
    second = await store.put(f"{prefix}a", b"2", expected=first)
    await store.delete(f"{prefix}a", expected=second)
    values = [await store.get(f"{prefix}a", revision=at) for at in range(first - 1, first + 3)]
    assert [value and value.value for value in values] == [None, b"1", b"2", None]
    assert [item.value for item in (await store.range(prefix, revision=second)).items] == [b"2"]


async def test_the_future_is_refused(store: Store, prefix: str) -> None:
    now = await store.put(f"{prefix}a", b"1", expected=0)
    for ask in (store.get(f"{prefix}a", revision=now + 1), store.range(prefix, revision=now + 1)):
        with pytest.raises(FutureRevision) as refused:
            await ask
        assert refused.value.revision == now
    with pytest.raises(FutureRevision):
        await store.get(f"{prefix}a", revision=1 << 70)
    with pytest.raises(FutureRevision):
        await store.compact(now + 1)


async def test_what_was_compacted_is_refused_and_the_rest_stays(store: Store, prefix: str) -> None:
    first = await store.put(f"{prefix}a", b"1", expected=0)
    await store.put(f"{prefix}gone", b"", expected=0)
    await store.delete(f"{prefix}gone", expected=None)
    second = await store.put(f"{prefix}a", b"2", expected=first)
    third = await store.put(f"{prefix}a", b"3", expected=second)
    await store.compact(second)
    await store.compact(second)
    for ask in (store.get(f"{prefix}a", revision=first), store.range(prefix, revision=second - 1)):
        with pytest.raises(Compacted) as refused:
            await ask
        assert refused.value.revision == second
    at_second = await store.get(f"{prefix}a", revision=second)
    assert at_second is not None and at_second.value == b"2"
    for too_old in (first, second):
        with store.watch(prefix, from_revision=too_old) as watch:
            with pytest.raises(Compacted):
                await next_batch(watch)
            with pytest.raises(StopAsyncIteration):
                await next_batch(watch)
    with store.watch(prefix, from_revision=third) as watch:
        (event,) = await events_of(watch, 1)
        assert isinstance(event, Put) and event.previous == at_second


async def test_a_transaction_is_one_revision_or_nothing(store: Store, prefix: str) -> None:
    first = await store.put(f"{prefix}a", b"1", expected=0)
    writes = (Write(f"{prefix}a", None), Write(f"{prefix}b", b"2"), Write(f"{prefix}absent", None))
    done = await store.transact({f"{prefix}a": first, f"{prefix}b": 0}, writes)
    assert (done.revision, [item.key for item in done.deleted]) == (first + 1, [f"{prefix}a"])
    with pytest.raises(Conflict) as refused:
        await store.transact({f"{prefix}a": 0, f"{prefix}b": first}, (Write(f"{prefix}c", b"3"),))
    assert (refused.value.key, refused.value.current is not None) == (f"{prefix}b", True)
    assert [item.key for item in (await store.range(prefix)).items] == [f"{prefix}b"]
    nothing = await store.transact({}, (Write(f"{prefix}absent", None),))
    assert (nothing.revision, nothing.deleted) == (done.revision, ())
    assert await store.revision() == done.revision
    with store.watch(prefix, from_revision=first + 1) as watch:
        events = await events_of(watch, 2)
        assert [(type(event), event.key, event.revision) for event in events] == [
            (Delete, f"{prefix}a", first + 1),
            (Put, f"{prefix}b", first + 1),
        ]


async def test_what_no_caller_should_send_is_an_error(store: Store, prefix: str) -> None:
    twice = (Write(f"{prefix}a", b"1"), Write(f"{prefix}a", b"2"))
    many = tuple(Write(f"{prefix}{i}", b"") for i in range(MAX_WRITES + 1))
    for writes in (twice, many, (Write("", b""),), (Write("\ud800", b""),)):
        with pytest.raises(ValueError):
            await store.transact({}, writes)
    with pytest.raises(TooLarge):
        await store.put(f"{prefix}a", bytes(MAX_VALUE_BYTES + 1), expected=0)
    with pytest.raises(ValueError):
        await store.get(f"{prefix}a", revision=0)
    with pytest.raises(ValueError):
        store.watch(prefix, from_revision=0)
    await store.put(f"{prefix}a", bytes(MAX_VALUE_BYTES), expected=0)
    await store.transact({}, many[:MAX_WRITES])


async def test_large_values_are_listed_all(store: Store, prefix: str) -> None:
    for i in range(8):
        await store.put(f"{prefix}{i}", bytes([i]) * 1_000_000, expected=0)
    found = await store.range(prefix)
    assert [len(item.value) for item in found.items] == [1_000_000] * 8
    assert (await store.range(prefix, limit=7)).remaining == 1
    with store.watch(prefix, from_revision=found.items[0].mod_revision) as watch:
        assert len(await events_of(watch, 8)) == 8


async def test_a_watch_delivers_what_happened_and_what_happens(store: Store, prefix: str) -> None:
    first = await store.put(f"{prefix}a", b"1", expected=0)
    await store.put(f"{prefix}a", b"2", expected=first)
    with store.watch(prefix, from_revision=first) as watch:
        past = await events_of(watch, 2)
        await store.put("/elsewhere", b"", expected=None)
        await store.delete(f"{prefix}a", expected=None)
        (gone,) = await events_of(watch, 1)
    one, two = Stored(f"{prefix}a", b"1", first, first, 1), Stored(f"{prefix}a", b"2", first, first + 1, 2)
    assert [*past, gone] == [Put(one, None), Put(two, one), Delete(first + 3, two)]


async def test_a_watch_from_the_future_begins_there(store: Store, prefix: str) -> None:
    now = await store.revision()
    with store.watch(prefix, from_revision=now + 3) as watch:
        for i in range(4):
            await store.put(f"{prefix}{i}", b"", expected=0)
        assert [event.key for event in await events_of(watch, 2)] == [f"{prefix}2", f"{prefix}3"]


async def test_a_resting_watch_is_told_how_far_it_has_come(store: Store, prefix: str) -> None:
    with store.watch(prefix, from_revision=await store.revision() + 1) as watch:
        for _ in range(2):
            revision = await store.put("/elsewhere", b"", expected=None)
            assert await events_through(watch, revision) == []
        revision = await store.put(f"{prefix}a", b"", expected=0)
        assert [event.revision for event in await events_through(watch, revision)] == [revision]


async def test_waiting_for_a_batch_may_be_cancelled_and_loses_nothing(store: Store, prefix: str) -> None:
    first = await store.put(f"{prefix}0", b"", expected=0)
    seen: list[int] = []
    with store.watch(prefix, from_revision=first) as watch:
        for i in range(1, 50):
            await store.put(f"{prefix}{i}", b"", expected=0)
            try:
                batch = await asyncio.wait_for(anext(watch), 0.0005 * (i % 4))
            except TimeoutError:
                continue
            seen += [event.revision for event in batch.events]
        seen += [event.revision for event in await events_through(watch, first + 49)]
    assert seen == list(range(first, first + 50))


async def test_a_closed_watch_ends_and_so_do_all_when_the_store_closes(contestant: Contestant, prefix: str) -> None:
    async with contestant.opened() as store:
        now = await store.revision()
        closed, waiting = (store.watch(prefix, from_revision=now + 1) for _ in range(2))
        wait = asyncio.ensure_future(anext(closed, None))
        left = asyncio.ensure_future(anext(waiting, None))
        await asyncio.sleep(0)
        closed.close()
        assert await asyncio.wait_for(wait, WAIT_S) is None
    assert await asyncio.wait_for(left, WAIT_S) is None
    with pytest.raises(Unavailable):
        await store.get("/a")
    with pytest.raises(StopAsyncIteration):
        await next_batch(store.watch(prefix, from_revision=1))


@pytest.mark.parametrize("limit", ["MAX_WAITING_EVENTS", "MAX_WAITING_BYTES"])
async def test_a_slow_watcher_is_dropped_and_the_others_go_on(
    store: Store, prefix: str, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(watchers, limit, 100)
    first = await store.revision() + 1
    with store.watch(prefix, from_revision=first) as slow, store.watch(prefix, from_revision=first) as quick:
        for i in range(150):
            await store.put(f"{prefix}{i:03}", b"x", expected=0)
            assert [event.revision for event in await events_of(quick, 1)] == [first + i]
        with pytest.raises(TooSlow):
            await next_batch(slow)
        with pytest.raises(StopAsyncIteration):
            await next_batch(slow)


async def test_vanished_watchers_are_forgotten(store: Store, prefix: str) -> None:
    for _ in range(50):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(store.watch(prefix, from_revision=await store.revision() + 1)), 0.001)
    revision = await store.put(f"{prefix}a", b"", expected=0)
    with store.watch(prefix, from_revision=revision) as watch:
        await events_through(watch, revision)
    counted = len(vars(store)["_watchers"]._watches)
    assert counted <= 1


async def test_compaction_does_not_disturb_who_is_up_to_date(store: Store, prefix: str) -> None:
    first = await store.revision() + 1
    with store.watch(prefix, from_revision=first) as watch:
        seen: list[int] = []
        for i in range(20):
            revision = await store.put(f"{prefix}a", str(i).encode(), expected=None)
            seen += [event.revision for event in await events_of(watch, 1)]
            await store.compact(revision)
    assert seen == list(range(first, first + 20))


async def test_compaction_under_a_watch_of_the_past_leaves_no_hole(store: Store, prefix: str) -> None:
    first = await store.revision() + 1
    await asyncio.gather(*(store.put(f"{prefix}{i % 7}", str(i).encode(), expected=None) for i in range(2500)))
    with store.watch(prefix, from_revision=first) as watch:
        seen = [event.revision for event in (await next_batch(watch)).events]
        await store.compact(first + 2400)
        try:
            seen += [event.revision for event in await events_through(watch, first + 2499)]
        except Compacted:
            assert len(seen) < 2500
        else:
            assert len(seen) == 2500
    assert seen == list(range(first, first + len(seen)))


async def test_an_expired_lease_takes_its_keys(store: Store, prefix: str) -> None:
    short, long = await store.grant(1), await store.grant(60)
    assert short.ttl_s >= 1 and long.ttl_s == 60 and short.id != long.id
    first = await store.put(f"{prefix}a", b"", expected=0, lease=short.id)
    await store.put(f"{prefix}b", b"", expected=0, lease=short.id)
    await store.put(f"{prefix}kept", b"", expected=0, lease=long.id)
    await store.put(f"{prefix}freed", b"", expected=0, lease=short.id)
    await store.put(f"{prefix}freed", b"", expected=None)
    with store.watch(prefix, from_revision=first + 5) as watch:
        events = await events_of(watch, 2)
    assert [(type(event), event.key, event.revision) for event in events] == [
        (Delete, f"{prefix}a", first + 5),
        (Delete, f"{prefix}b", first + 5),
    ]
    assert [(item.key, item.lease) for item in (await store.range(prefix)).items] == [
        (f"{prefix}freed", 0),
        (f"{prefix}kept", long.id),
    ]
    with pytest.raises(NoSuchLease):
        await store.keep_alive(short.id)
    await store.revoke(long.id)
    assert await store.get(f"{prefix}kept") is None


async def test_a_lease_kept_alive_does_not_expire(store: Store, prefix: str) -> None:
    kept, left = await store.grant(2), await store.grant(2)
    await store.put(f"{prefix}kept", b"", expected=0, lease=kept.id)
    await store.put(f"{prefix}left", b"", expected=0, lease=left.id)
    async with asyncio.timeout(WAIT_S):
        while await store.get(f"{prefix}left") is not None:
            assert await store.keep_alive(kept.id) == kept.ttl_s
            await asyncio.sleep(0.05)
    assert await store.get(f"{prefix}kept") is not None
    await store.revoke(kept.id)


async def test_a_lease_that_is_not_there_is_refused(store: Store, prefix: str) -> None:
    lease = await store.grant(60)
    await store.revoke(lease.id)
    for ask in (
        store.put(f"{prefix}a", b"", expected=0, lease=lease.id),
        store.keep_alive(lease.id),
        store.revoke(lease.id),
    ):
        with pytest.raises(NoSuchLease) as refused:
            await ask
        assert refused.value.lease == lease.id
    assert await store.get(f"{prefix}a") is None


async def test_writers_at_the_same_time_lose_no_update(store: Store, prefix: str) -> None:
    async def add(times: int) -> None:
        for _ in range(times):
            while True:
                current = await store.get(f"{prefix}sum")
                value = int(current.value) if current else 0
                try:
                    await store.put(
                        f"{prefix}sum",
                        str(value + 1).encode(),
                        expected=current.mod_revision if current else 0,
                    )
                    break
                except Conflict:
                    continue

    await asyncio.gather(*(add(10) for _ in range(8)))
    total = await store.get(f"{prefix}sum")
    assert total is not None and (total.value, total.version) == (b"80", 80)


async def test_the_history_of_many_clients_is_right(store: Store, prefix: str) -> None:
    start = await store.revision()
    recorder = Recorder(store, prefix, seed=1)
    stop = asyncio.Event()
    watching = asyncio.create_task(recorder.watch(start + 1))
    clients = [asyncio.create_task(recorder.work(stop)) for _ in range(8)]
    await recorder.more_writes(200)
    stop.set()
    await asyncio.gather(*clients)
    await recorder.watched_through(await store.revision(), start + 1)
    watching.cancel()
    assert violations(recorder.history, start=start) == ()


async def test_ten_thousand_objects_are_created_listed_and_watched(store: Store, prefix: str) -> None:
    count, writers = 10_000, 50
    value = b"x" * 500
    first = await store.revision() + 1

    async def create(writer: int) -> None:
        for i in range(writer, count, writers):
            await store.put(f"{prefix}{i:05}", value, expected=0)

    await asyncio.gather(*(create(writer) for writer in range(writers)))
    found = await store.range(prefix)
    assert [item.key for item in found.items] == [f"{prefix}{i:05}" for i in range(count)]
    assert (await store.range(prefix, limit=500)).remaining == count - 500
    with store.watch(prefix, from_revision=first) as watch:
        seen = [event.revision for event in await events_through(watch, found.revision)]
    assert seen == list(range(first, first + count))


async def test_status_shows_the_members(store: Store) -> None:
    status = await store.status()
    assert status.alarms == () and status.database_bytes > 0
    assert [(member.leader, member.problem) for member in status.members] == [(True, None)]
