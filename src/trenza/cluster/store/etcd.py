"""A store in a real etcd 3.4, so that `etcdctl get --prefix /registry` shows what a cluster is made of.

Reads are linearizable. All watches share one stream of every key: each revision then has an event, so that a revision
which is missing or comes twice is seen, whatever the member does (3.4 may go back in time after a snapshot, and its
progress notifications may run ahead of events: they are not asked for). A stream that says nothing is compared with the
cluster's revision now and then, because a member cut off from the others stays silent for ever.

An etcd that raised an alarm (CORRUPT, NOSPACE) refuses writes; that is ReadOnly here, with the alarm's words. Reads are
answered by whichever member is asked, the corrupt one too: etcd 3.4 does not say which it is, so `status` compares.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import ssl
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from trenza.cluster.store.errors import (
    Compacted,
    Conflict,
    FutureRevision,
    NoSuchLease,
    ReadOnly,
    StoreError,
    TooLarge,
    Unavailable,
)
from trenza.cluster.store.etcd_gateway import NOTHING, READ_S, Gateway, Json, Refused
from trenza.cluster.store.protocol import (
    Batch,
    Committed,
    Delete,
    Event,
    Lease,
    Member,
    Put,
    Range,
    Status,
    Stored,
    Watch,
    Write,
    check_revision,
    check_writes,
    prefix_end,
)
from trenza.cluster.store.watchers import Watchers

PAGE = 500
SILENCE_S = 2.0
"""How long the stream may be silent before the cluster's revision is asked for."""
RECONNECT_S = 0.1

_ALL = "\0"  # as key and as range_end: every key
_MAX_INT64 = (1 << 63) - 1
_OUT_OF_RANGE, _NOT_FOUND = 11, 5  # gRPC codes
_ALARM = re.compile(r"(?:memberID:(\d+) )?alarm:(\w+)")


class EtcdStore:
    """A `protocol.Store` in an etcd cluster."""

    def __init__(self, gateway: Gateway, revision: int) -> None:
        self._gateway = gateway
        self._watchers = Watchers(revision, self._replay)
        self._published = asyncio.Event()
        self._highest = revision  # that any answer has shown
        self._page = PAGE
        self._closed = False
        self._follower = asyncio.create_task(self._follow())

    @classmethod
    async def open(
        cls, endpoints: Sequence[str], *, tls: ssl.SSLContext | None = None, patience_s: float = 10.0
    ) -> Self:
        """The store at these client URLs; `tls` has a client's certificate if they ask for one.

        Raises Unavailable if no quorum answers within `patience_s`. Later that is how long reads are tried again, and
        writes that cannot have been done.
        """
        gateway = Gateway(endpoints, tls=tls, patience_s=patience_s)
        try:
            return cls(gateway, await _newest(gateway))
        except BaseException:
            await gateway.close()
            raise

    async def get(self, key: str, *, revision: int | None = None) -> Stored | None:
        """See Store."""
        body = {"key": _encoded(key), **_at(revision)}
        answer = await self._read("/v3/kv/range", body)
        return next((_stored(item) for item in answer.get("kvs", ())), None)

    async def range(
        self, prefix: str, *, after: str | None = None, limit: int = 0, revision: int | None = None
    ) -> Range:
        """See Store."""
        begin = prefix if after is None or after < prefix else after + "\0"
        items: list[Stored] = []
        while True:
            page = min(self._page, limit - len(items)) if limit else self._page
            body = {"key": _encoded(begin or _ALL), "range_end": _end(prefix), "limit": str(page), **_at(revision)}
            try:
                answer = await self._read("/v3/kv/range", body)
            except TooLarge:  # the gateway takes 4 MiB of gRPC at once
                if page == 1:
                    raise
                self._page = max(1, page // 2)
                continue
            if revision is None:
                revision = _revision(answer)
            items += map(_stored, answer.get("kvs", ()))
            remaining = int(answer.get("count", 0)) - len(answer.get("kvs", ()))
            if remaining <= 0 or len(items) == limit:
                return Range(tuple(items), revision, max(0, remaining))
            begin = items[-1].key + "\0"

    async def put(self, key: str, value: bytes, *, expected: int | None, lease: int = 0) -> int:
        """See Store."""
        done = await self.transact({} if expected is None else {key: expected}, (Write(key, value, lease),))
        return done.revision

    async def delete(self, key: str, *, expected: int | None) -> tuple[Stored, int]:
        """See Store."""
        done = await self.transact({} if expected is None else {key: expected}, (Write(key, None),))
        if not done.deleted:
            raise Conflict(key, None)
        return done.deleted[0], done.revision

    async def transact(self, expected: Mapping[str, int], writes: Sequence[Write]) -> Committed:
        """See Store."""
        check_writes(writes)
        compare = [
            {"key": _encoded(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}
            for key, revision in expected.items()
        ]
        success = [_request(write) for write in writes]
        failure = [{"request_range": {"key": _encoded(key)}} for key in expected]
        answer = await self._ask("/v3/kv/txn", {"compare": compare, "success": success, "failure": failure})
        if not answer.get("succeeded"):
            for (key, wanted), response in zip(expected.items(), answer["responses"], strict=True):
                current = next(map(_stored, response.get("response_range", {}).get("kvs", ())), None)
                if wanted != (0 if current is None else current.mod_revision):
                    raise Conflict(key, current)
        deleted = tuple(
            _stored(item)
            for response in answer.get("responses", ())
            for item in response.get("response_delete_range", {}).get("prev_kvs", ())
        )
        return Committed(_revision(answer), deleted)

    def watch(self, prefix: str, *, from_revision: int) -> Watch:
        """See Store."""
        return self._watchers.watch(prefix, from_revision)

    async def compact(self, revision: int) -> None:
        """See Store. Our own stream goes first, or its watchers would lose what it has not yet read."""
        newest = await self.revision()
        if revision > newest:
            raise FutureRevision(newest)
        with contextlib.suppress(TimeoutError):  # its watchers are told to list again then
            async with asyncio.timeout(READ_S):
                while self._watchers.revision < revision:
                    self._published.clear()
                    await self._published.wait()
        try:
            await self._ask("/v3/kv/compaction", {"revision": str(revision)}, repeatable=True)
        except Compacted:
            pass

    async def grant(self, ttl_s: int) -> Lease:
        """See Store. Asked twice, a lease of which nobody knows is left to expire."""
        answer = await self._ask("/v3/lease/grant", {"TTL": str(max(1, ttl_s))}, repeatable=True)
        return Lease(int(answer["ID"]), int(answer["TTL"]))

    async def keep_alive(self, lease: int) -> int:
        """See Store."""
        answer = await self._ask("/v3/lease/keepalive", {"ID": str(lease)}, repeatable=True)
        ttl_s = int(answer.get("result", {}).get("TTL", 0))
        if ttl_s <= 0:
            raise NoSuchLease(lease)
        return ttl_s

    async def revoke(self, lease: int) -> None:
        """See Store."""
        await self._ask("/v3/lease/revoke", {"ID": str(lease)})

    async def revision(self) -> int:
        """See Store."""
        return _revision(await self._read("/v3/kv/range", NOTHING))

    async def status(self) -> Status:
        """See Store."""
        members, alarms = zip(
            *await asyncio.gather(*(self._member(endpoint) for endpoint in self._gateway.endpoints)), strict=True
        )
        raised = tuple(sorted(frozenset[str]().union(*alarms)))
        if any("CORRUPT" in alarm for alarm in raised):
            members = await self._compared(members)
        return Status(members, raised)

    async def close(self) -> None:
        """See Store."""
        self._closed = True
        self._watchers.close()
        self._follower.cancel()
        await asyncio.gather(self._follower, return_exceptions=True)
        await self._gateway.close()

    # --- asking

    async def _read(self, path: str, body: Json) -> Json:
        return await self._ask(path, body, repeatable=True)

    async def _ask(self, path: str, body: Json, *, repeatable: bool = False) -> Json:
        """etcd's answer; its refusals in this package's words."""
        if self._closed:
            raise Unavailable("the store is closed")
        try:
            answer = await self._gateway.ask(path, body, repeatable=repeatable)
        except Refused as refused:
            raise await self._translated(refused, body) from refused
        self._highest = max(self._highest, int(answer.get("header", {}).get("revision", 0)))
        return answer

    async def _translated(self, refused: Refused, body: Json) -> StoreError:
        message, code = refused.message, refused.code
        if code == _OUT_OF_RANGE and "compacted" in message:
            return Compacted(await self._compacted())
        if code == _OUT_OF_RANGE:
            return FutureRevision(await self.revision())
        if code == _NOT_FOUND and "lease" in message:
            writes = [one.get("request_put", {}) for one in body.get("success", ())]
            return NoSuchLease(int(next((one["lease"] for one in writes if "lease" in one), body.get("ID", 0))))
        if "too large" in message or "larger than max" in message:
            return TooLarge(message)
        if "corrupt" in message or "space exceeded" in message:
            return ReadOnly("; ".join((await self.status()).alarms) or message)
        return StoreError(message)

    async def _compacted(self) -> int:
        """The revision last compacted, which only a watch that comes too late is told."""
        async with self._gateway.stream("/v3/watch", _watch_request(1)) as results:
            async for result in results:
                if "compact_revision" in result:
                    return int(result["compact_revision"])
                if not result.get("created"):
                    break
        return 0

    async def _member(self, endpoint: str) -> tuple[Member, frozenset[str]]:
        """One member, and the alarms it knows of (any member knows of all, without asking the others)."""
        try:
            answer = await self._gateway.ask_member(endpoint, "/v3/maintenance/status", {})
            listed = await self._gateway.ask_member(endpoint, "/v3/cluster/member/list", {})
        except Refused as refused:
            return Member("", endpoint, problem=refused.message), frozenset()
        except Unavailable as error:
            return Member("", endpoint, problem=error.message.removeprefix(f"{endpoint}: ")), frozenset()
        names = {one["ID"]: one.get("name", "") for one in listed.get("members", ())}
        alarms, problems = set(), []
        for problem in answer.get("errors", ()):
            found = _ALARM.match(problem)
            if found is None:
                problems.append(problem)
            else:
                where = f" on member {names.get(found[1]) or found[1]}" if found[1] else ""
                alarms.add(f"etcd raised the alarm {found[2]}{where}")
        identity = answer["header"]["member_id"]
        member = Member(
            names.get(identity, ""),
            endpoint,
            answer.get("leader") == identity,
            int(answer.get("dbSize", 0)),
            answer.get("version", ""),
            "; ".join(problems) or None,
        )
        return member, frozenset(alarms)

    async def _compared(self, members: Sequence[Member]) -> tuple[Member, ...]:
        """The members; those whose data differ from what most have, at one revision, have that as their problem."""
        revision = {"revision": str(self._highest)}
        hashes: dict[str, object] = {}
        for member in members:
            with contextlib.suppress(Refused, Unavailable):  # it has its problem already, and no say in this
                answer = await self._gateway.ask_member(member.endpoint, "/v3/maintenance/hash", revision)
                hashes[member.endpoint] = answer.get("hash")
        common, votes = next(iter(Counter(hashes.values()).most_common(1)), (None, 0))
        if 2 * votes <= len(members):
            return tuple(members)
        return tuple(
            replace(member, problem="its data differ from what most members have")
            if hashes.get(member.endpoint, common) != common
            else member
            for member in members
        )

    # --- watching

    async def _follow(self) -> None:
        """Publish the stream of all events, from whichever member gives it, for as long as the store is open."""
        gaps = 0
        while True:
            before = self._watchers.revision
            try:
                await self._follow_one_member()
            except Unavailable:
                pass  # nobody has missed anything: it goes on where it ended
            except _Gap:
                gaps += 1
                if gaps > len(self._gateway.endpoints):  # every member lacks it
                    await self._start_over()
            except (Compacted, Refused):
                await self._start_over()
            except Exception as error:  # the root of this task: whoever watches hears of it
                self._watchers.fail(StoreError(f"what etcd sent was not understood: {error!r}"))
                await self._start_over()
            if self._watchers.revision > before:
                gaps = 0
            self._gateway.prefer_another()
            await asyncio.sleep(RECONNECT_S)

    async def _follow_one_member(self) -> None:
        """Returns if the cluster has gone on and this member has not; raises Unavailable, Compacted and _Gap."""
        highest = max(self._highest, self._watchers.revision)
        if await self.revision() < highest:  # restored from a backup, or a new cluster altogether
            await self._start_over()
        suspected = 0
        async with _pieces(self._gateway, self._watchers.revision) as pieces:
            following = asyncio.create_task(self._publish(pieces))
            try:
                while True:
                    before = self._watchers.revision
                    done, _ = await asyncio.wait({following}, timeout=SILENCE_S)
                    if done:
                        return following.result()
                    if self._watchers.revision > before:
                        continue
                    if self._watchers.revision < suspected:
                        return None
                    suspected = await self.revision()
                    if suspected < self._watchers.revision:
                        return None
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    async def _publish(self, pieces: AsyncIterator[list[Json]]) -> None:
        """Whatever has come is published without a turn of the loop between: a busy one has few, and would fall behind
        by more with every request that makes it busy."""
        async for piece in pieces:
            events = _events_behind(self._watchers.revision, piece)
            if events:
                self._watchers.publish(Batch(events[-1].revision, events))
                self._published.set()

    async def _start_over(self) -> None:
        """What was missed cannot be had: every watcher is told to list again, and the stream begins at what is now."""
        while True:
            with contextlib.suppress(StoreError):
                newest = await self.revision()
                break
            await asyncio.sleep(RECONNECT_S)
        self._watchers.fail(Compacted(newest))
        self._watchers.revision = self._highest = newest

    async def _replay(self, prefix: str, first: int, last: int) -> Batch:
        """See watchers.Replay. It takes the events of every key, or it could not know when it has all of them."""
        while True:
            try:
                async with asyncio.timeout(READ_S), _pieces(self._gateway, first - 1) as pieces:
                    async for piece in pieces:
                        events = _events_behind(first - 1, piece)
                        if events:
                            through = min(last, events[-1].revision)
                            mine = (one for one in events if one.key.startswith(prefix) and one.revision <= last)
                            return Batch(through, tuple(mine))
            except (Unavailable, _Gap, TimeoutError):  # a member that is behind, or cut off
                self._gateway.prefer_another()
            except Refused as refused:
                raise StoreError(refused.message) from refused
            await asyncio.sleep(RECONNECT_S)


class _Gap(Exception):
    """A revision is missing in what should be all of them."""


@contextlib.asynccontextmanager
async def _pieces(gateway: Gateway, seen: int) -> AsyncIterator[AsyncIterator[list[Json]]]:
    """Events of every key behind revision `seen`, in pieces that end where a revision ends."""

    async def whole(results: AsyncIterator[Json]) -> AsyncGenerator[list[Json], None]:
        piece: list[Json] = []
        async for result in results:
            if result.get("canceled"):
                if "compact_revision" in result:
                    raise Compacted(int(result["compact_revision"]))
                raise Unavailable(str(result.get("cancel_reason", "etcd ended the watch")))
            piece += result.get("events", ())
            if piece and not result.get("fragment"):
                yield piece
                piece = []

    async with (
        gateway.stream("/v3/watch", _watch_request(seen)) as results,
        contextlib.aclosing(whole(results)) as pieces,
    ):
        yield pieces


def _watch_request(seen: int) -> Json:
    """Asks for revision `seen` once more: etcd then refuses if the one behind it may be incomplete."""
    every = _encoded(_ALL)
    wanted = {"key": every, "range_end": every, "start_revision": str(max(1, seen)), "prev_kv": True, "fragment": True}
    return {"create_request": wanted}


def _events_behind(seen: int, piece: list[Json]) -> tuple[Event, ...]:
    """The events above revision `seen`. Raises _Gap if one is missing, Compacted if what one replaced is unknown."""
    events: list[Event] = []
    last = seen
    for raw in piece:
        revision = int(raw["kv"]["mod_revision"])
        if revision <= seen:
            continue
        if revision not in (last, last + 1):
            raise _Gap(f"revision {revision} came behind {last}")
        last = revision
        before = raw.get("prev_kv")
        previous = None if before is None else _stored(before)
        if raw.get("type") == "DELETE":
            if previous is None:
                raise Compacted(revision)
            events.append(Delete(revision, previous))
        else:
            stored = _stored(raw["kv"])
            if previous is None and stored.version > 1:
                raise Compacted(revision)
            events.append(Put(stored, previous))
    return tuple(events)


async def _newest(gateway: Gateway) -> int:
    try:
        return _revision(await gateway.ask("/v3/kv/range", NOTHING, repeatable=True))
    except Refused as refused:
        raise Unavailable(refused.message) from refused


def _request(write: Write) -> Json:
    key = _encoded(write.key)
    if write.value is None:
        return {"request_delete_range": {"key": key, "prev_kv": True}}
    lease = {"lease": str(write.lease)} if write.lease else {}
    return {"request_put": {"key": key, "value": base64.b64encode(write.value).decode(), **lease}}


def _at(revision: int | None) -> Json:
    check_revision(revision)
    return {} if revision is None else {"revision": str(min(revision, _MAX_INT64))}


def _encoded(key: str) -> str:
    return base64.b64encode(key.encode()).decode()


def _end(prefix: str) -> str:
    end = prefix_end(prefix.encode()) or _ALL.encode()
    return base64.b64encode(end).decode()


def _stored(raw: Mapping[str, Any]) -> Stored:
    return Stored(
        base64.b64decode(raw["key"]).decode(errors="replace"),  # others may write what they like beside us
        base64.b64decode(raw.get("value", "")),
        int(raw.get("create_revision", 0)),
        int(raw["mod_revision"]),
        int(raw.get("version", 0)),
        int(raw.get("lease", 0)),
    )


def _revision(answer: Json) -> int:
    return int(answer["header"]["revision"])
