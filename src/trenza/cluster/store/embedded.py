"""A store of one process on SQLite: what a cluster has when there is no etcd.

One thread writes. While it makes one group of transactions durable the next gathers, and all of a group share one sync
of the write-ahead log; that is why many writers at once are not slower than one. Readers have a connection of their
own and never wait for a writer. Every version of a key is a row that says until when it held, so the state at any
revision is one condition, `revision <= R AND until > R`; compaction deletes rows nobody may ask for any more.

Nothing in memory matters but watches and the leases' deadlines: SIGKILL loses what was not answered, at most, and each
lease has its whole time again afterwards, as when etcd gets a new leader.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from trenza.cluster.store.errors import (
    Compacted,
    Conflict,
    FutureRevision,
    NoSuchLease,
    ReadOnly,
    StoreError,
    Unavailable,
)
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

FOREVER = 1 << 62
REPLAY_EVENTS = 1000
COMPACT_ROWS = 2000  # in one transaction, so that writers wait for no more than that
FORMAT = 1

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO counter VALUES ('revision', 1), ('compacted', 0);
CREATE TABLE IF NOT EXISTS entry (
  id INTEGER PRIMARY KEY,          -- within one revision: the order of its events
  revision INTEGER NOT NULL,
  key BLOB NOT NULL,
  value BLOB,                      -- NULL: deleted
  created INTEGER NOT NULL,
  version INTEGER NOT NULL,
  lease INTEGER NOT NULL,
  until INTEGER NOT NULL           -- the revision that replaced it
);
CREATE UNIQUE INDEX IF NOT EXISTS entry_key ON entry (key, revision);
CREATE INDEX IF NOT EXISTS entry_until ON entry (until, key);
CREATE INDEX IF NOT EXISTS entry_revision ON entry (revision);
CREATE INDEX IF NOT EXISTS entry_lease ON entry (lease) WHERE lease <> 0;
CREATE TABLE IF NOT EXISTS lease (id INTEGER PRIMARY KEY AUTOINCREMENT, ttl_s INTEGER NOT NULL);
PRAGMA user_version = {FORMAT};
"""
_COLUMNS = "key, value, created, revision, version, lease"
_FULL = frozenset({"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE"})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Asked(Generic[T]):
    """A write that waits for its turn: `work` makes it in the open transaction, at the revision it is given."""

    work: Callable[[int], tuple[T, tuple[Event, ...]]]
    answer: asyncio.Future[T]


class EmbeddedStore:
    """A `protocol.Store` in the file `path`, which belongs to one process at a time."""

    def __init__(
        self, path: Path, lock: int, writer: sqlite3.Connection, reader: sqlite3.Connection, now_s: Callable[[], float]
    ) -> None:
        self._path = path
        self._lock = lock
        self._writer = writer
        self._reader = reader
        self._now_s = now_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._committed = self._counter(writer, "revision")
        self._watchers = Watchers(self._committed, self._replay)
        self._asked: list[_Asked[Any]] = []
        self._asking = asyncio.Event()
        self._broken: str | None = None  # for good
        self._full: str | None = None  # until a write finds room
        self._closed = False
        leases = writer.execute("SELECT id, ttl_s FROM lease").fetchall()
        self._leases = {lease: Lease(lease, ttl_s) for lease, ttl_s in leases}
        self._expires_s = {lease: now_s() + ttl_s for lease, ttl_s in leases}
        self._leases_changed = asyncio.Event()
        self._tasks = (asyncio.create_task(self._write_groups()), asyncio.create_task(self._expire()))

    @classmethod
    async def open(cls, path: Path, *, now_s: Callable[[], float] = time.monotonic) -> Self:
        """The store in `path`, made if it is not there. Raises Unavailable, also if another process has it."""
        with contextlib.ExitStack() as undo:
            try:
                lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                undo.callback(os.close, lock)
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                writer = _connected(path, undo)
                writer.execute("PRAGMA journal_mode = WAL")
                writer.execute("PRAGMA synchronous = FULL")  # in WAL mode: the log is synced at each commit
                found = writer.execute("PRAGMA user_version").fetchone()[0]
                if found > FORMAT:
                    raise Unavailable(f"{path} is of a newer trenza (format {found}; this one knows {FORMAT})")
                if found < FORMAT:
                    writer.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
                store = cls(path, lock, writer, _connected(path, undo), now_s)
            except BlockingIOError:
                raise Unavailable(f"{path} is in use by another process") from None
            except (OSError, sqlite3.Error) as error:
                raise Unavailable(f"{path} cannot be opened: {error}") from error
            undo.pop_all()
            return store

    async def get(self, key: str, *, revision: int | None = None) -> Stored | None:
        """See Store."""
        with self._snapshot(revision) as (held, at):
            row = self._reader.execute(
                f"SELECT {_COLUMNS} FROM entry WHERE key = ? AND {held} AND value IS NOT NULL", (key.encode(), *at)
            ).fetchone()
        return _stored(row) if row else None

    async def range(
        self, prefix: str, *, after: str | None = None, limit: int = 0, revision: int | None = None
    ) -> Range:
        """See Store."""
        first = prefix.encode()
        begin = max(first, after.encode() + b"\0") if after is not None else first
        end = prefix_end(first)
        bounds = "key >= ?" if end is None else "key >= ? AND key < ?"
        between = (begin,) if end is None else (begin, end)
        with self._snapshot(revision) as (held, at):
            condition = f"{bounds} AND {held} AND value IS NOT NULL"
            parameters = (*between, *at)
            rows = self._reader.execute(
                f"SELECT {_COLUMNS} FROM entry WHERE {condition} ORDER BY key LIMIT ?", (*parameters, limit or -1)
            ).fetchall()
            remaining = 0
            if limit and len(rows) == limit:
                count = self._reader.execute(f"SELECT count(*) FROM entry WHERE {condition}", parameters).fetchone()[0]
                remaining = count - limit
            shown = self._counter(self._reader, "revision") if revision is None else revision
        return Range(tuple(_stored(row) for row in rows), shown, remaining)

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

        def work(revision: int) -> tuple[Committed, tuple[Event, ...]]:
            for key, wanted in expected.items():
                current = self._current(key)
                if wanted != (0 if current is None else current.mod_revision):
                    raise Conflict(key, current)
            for write in writes:
                if write.lease and write.lease not in self._leases:
                    raise NoSuchLease(write.lease)
            events = tuple(event for write in writes if (event := self._written(write, revision)))
            deleted = tuple(event.previous for event in events if isinstance(event, Delete))
            return Committed(revision if events else revision - 1, deleted), events

        return await self._write(work)

    def watch(self, prefix: str, *, from_revision: int) -> Watch:
        """See Store."""
        return self._watchers.watch(prefix, from_revision)

    async def compact(self, revision: int) -> None:
        """See Store."""
        if revision > self._committed:
            raise FutureRevision(self._committed)

        def forget(_: int) -> tuple[int, tuple[Event, ...]]:
            count = self._writer.execute(
                "DELETE FROM entry WHERE id IN (SELECT id FROM entry WHERE until <= :at OR until = :forever"
                " AND value IS NULL AND revision <= :at LIMIT :rows)",
                {"at": revision, "forever": FOREVER, "rows": COMPACT_ROWS},
            ).rowcount
            self._writer.execute("UPDATE counter SET value = max(value, ?) WHERE name = 'compacted'", (revision,))
            return count, ()

        while await self._write(forget) == COMPACT_ROWS:
            pass

    async def grant(self, ttl_s: int) -> Lease:
        """See Store."""
        ttl_s = max(1, ttl_s)

        def work(_: int) -> tuple[int, tuple[Event, ...]]:
            made = self._writer.execute("INSERT INTO lease (ttl_s) VALUES (?)", (ttl_s,)).lastrowid
            assert made is not None
            return made, ()

        lease = Lease(await self._write(work), ttl_s)
        self._leases[lease.id] = lease
        self._expires_s[lease.id] = self._now_s() + ttl_s
        self._leases_changed.set()
        return lease

    async def keep_alive(self, lease: int) -> int:
        """See Store."""
        if lease not in self._leases:
            raise NoSuchLease(lease)
        self._expires_s[lease] = self._now_s() + self._leases[lease].ttl_s
        return self._leases[lease].ttl_s

    async def revoke(self, lease: int) -> None:
        """See Store."""

        def work(revision: int) -> tuple[None, tuple[Event, ...]]:
            if not self._writer.execute("DELETE FROM lease WHERE id = ?", (lease,)).rowcount:
                raise NoSuchLease(lease)
            keys = self._writer.execute(
                f"SELECT key FROM entry WHERE lease = ? AND lease <> 0 AND until = {FOREVER} ORDER BY key", (lease,)
            ).fetchall()
            return None, tuple(
                event for (key,) in keys if (event := self._written(Write(key.decode(), None), revision))
            )

        held = self._leases.pop(lease, None)  # from now on nobody writes with it or keeps it alive
        try:
            await self._write(work)
        except (ReadOnly, Unavailable):
            if held is not None:
                self._leases[lease] = held
            raise
        self._expires_s.pop(lease, None)

    async def revision(self) -> int:
        """See Store."""
        with self._snapshot(None):
            return self._counter(self._reader, "revision")

    async def status(self) -> Status:
        """See Store."""
        size = sum(
            path.stat().st_size
            for path in (self._path, self._path.with_name(self._path.name + "-wal"))
            if path.exists()
        )
        alarm = self._broken or self._full
        member = Member("embedded", str(self._path), True, size, sqlite3.sqlite_version, alarm)
        return Status((member,), () if alarm is None else (alarm,))

    async def close(self) -> None:
        """See Store."""
        if self._closed:
            return
        self._closed = True
        self._watchers.close()
        self._asking.set()
        await self._tasks[0]
        self._tasks[1].cancel()
        await asyncio.gather(self._tasks[1], return_exceptions=True)
        self._thread.shutdown()
        self._reader.close()
        with contextlib.suppress(sqlite3.Error):  # a full disk: the log is folded in at the next opening
            self._writer.close()
        os.close(self._lock)

    # --- reading

    @contextlib.contextmanager
    def _snapshot(self, revision: int | None) -> Iterator[tuple[str, tuple[int, ...]]]:
        """One state of the file, and the condition (with its parameters) for rows that held at `revision` in it."""
        self._ensure_open()
        check_revision(revision)
        try:
            self._reader.execute("BEGIN")
            try:
                if revision is None:
                    yield f"until = {FOREVER}", ()
                    return
                newest, compacted = self._counter(self._reader, "revision"), self._counter(self._reader, "compacted")
                if revision > newest:
                    raise FutureRevision(newest)
                if revision < compacted:
                    raise Compacted(compacted)
                yield "revision <= ? AND until > ?", (revision, revision)
            finally:
                self._reader.execute("COMMIT")
        except sqlite3.Error as error:
            raise Unavailable(f"{self._path} cannot be read: {error}") from error

    async def _replay(self, prefix: str, first: int, last: int) -> Batch:
        """See watchers.Replay."""
        begin = prefix.encode()
        end = prefix_end(begin)
        with self._snapshot(None):
            compacted = self._counter(self._reader, "compacted")
            if first <= compacted:
                raise Compacted(compacted)
            rows = self._reader.execute(
                f"SELECT {_COLUMNS}, id FROM entry WHERE revision BETWEEN ? AND ? AND key >= ?"
                f"{'' if end is None else ' AND key < ?'} ORDER BY revision, id LIMIT ?",
                (first, last, begin, *(() if end is None else (end,)), REPLAY_EVENTS),
            ).fetchall()
            if len(rows) == REPLAY_EVENTS and rows[0][3] != rows[-1][3]:  # the last revision may have more events
                last = rows[-1][3] - 1
                rows = [row for row in rows if row[3] <= last]
            events: list[Event] = []
            for row in rows:
                before = self._reader.execute(
                    f"SELECT {_COLUMNS} FROM entry WHERE key = ? AND until = ? AND value IS NOT NULL", (row[0], row[3])
                ).fetchone()
                previous = _stored(before) if before else None
                if row[1] is not None:
                    events.append(Put(_stored(row), previous))
                elif previous is not None:
                    events.append(Delete(row[3], previous))
        return Batch(last, tuple(events))

    @staticmethod
    def _counter(connection: sqlite3.Connection, name: str) -> int:
        value = connection.execute("SELECT value FROM counter WHERE name = ?", (name,)).fetchone()[0]
        assert isinstance(value, int)
        return value

    def _ensure_open(self) -> None:
        if self._closed:
            raise Unavailable("the store is closed")

    # --- writing

    async def _write(self, work: Callable[[int], tuple[T, tuple[Event, ...]]]) -> T:
        """What `work` answers, when it is durable. It runs in the writing thread, and raises before it changes."""
        self._ensure_open()
        if self._broken is not None:
            raise ReadOnly(self._broken)
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._asked.append(_Asked(work, answer))
        self._asking.set()
        return await answer

    async def _write_groups(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._closed or self._asked:
            await self._asking.wait()
            self._asking.clear()
            group, self._asked = self._asked, []
            if not group:
                continue
            try:
                answers, events = await loop.run_in_executor(self._thread, self._commit, group)
            except Exception as error:  # the root of this task: whoever asked hears of it, the next group goes on
                for asked in group:
                    _answer(asked.answer, error)
                continue
            if events:
                self._committed = events[-1].revision
                self._watchers.publish(Batch(self._committed, events))
            for asked, answer in zip(group, answers, strict=True):
                _answer(asked.answer, answer)

    def _commit(self, group: list[_Asked[Any]]) -> tuple[list[Any], tuple[Event, ...]]:
        """The answers to a group (refusals too) and its events, now durable. Raises ReadOnly if nothing was done."""
        revision = self._committed
        answers: list[Any] = []
        events: list[Event] = []
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for asked in group:
                try:
                    answer, made = asked.work(revision + 1)
                except StoreError as error:
                    answer, made = error, ()
                answers.append(answer)
                if made:
                    revision += 1
                    events += made
            self._writer.execute("UPDATE counter SET value = ? WHERE name = 'revision'", (revision,))
            self._writer.execute("COMMIT")
        except Exception as error:
            with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back already
                self._writer.execute("ROLLBACK")
            if not isinstance(error, sqlite3.Error):
                raise
            name = getattr(error, "sqlite_errorname", "")
            if name in _FULL:  # the next write may find room again
                self._full = f"no room to write {self._path}: {error}"
                raise ReadOnly(self._full) from error
            # After a failed sync nobody knows what is on the disk, and trying again would not tell.
            self._broken = f"{self._path} could not be written: {error} ({name})"
            raise Unavailable(self._broken, maybe_done=True) from error
        self._full = None
        return answers, tuple(events)

    def _current(self, key: str) -> Stored | None:
        row = self._writer.execute(
            f"SELECT {_COLUMNS} FROM entry WHERE until = {FOREVER} AND key = ? AND value IS NOT NULL", (key.encode(),)
        ).fetchone()
        return _stored(row) if row else None

    def _written(self, write: Write, revision: int) -> Event | None:
        """The event of one write in the open transaction; None if there is nothing to delete."""
        previous = self._current(write.key)
        if write.value is None and previous is None:
            return None
        key = write.key.encode()
        self._writer.execute(f"UPDATE entry SET until = ? WHERE until = {FOREVER} AND key = ?", (revision, key))
        created, version = (revision, 1) if previous is None else (previous.create_revision, previous.version + 1)
        self._writer.execute(
            "INSERT INTO entry (revision, key, value, created, version, lease, until) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (revision, key, write.value, created, version, write.lease, FOREVER),
        )
        if write.value is None:
            assert previous is not None
            return Delete(revision, previous)
        return Put(Stored(write.key, write.value, created, revision, version, write.lease), previous)

    async def _expire(self) -> None:
        """Revoke each lease at its deadline."""
        while True:
            self._leases_changed.clear()
            due_s = min(self._expires_s.values(), default=None)
            wait_s = None if due_s is None else max(0.0, due_s - self._now_s())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):  # wait_for may swallow a cancellation in Python 3.11
                    await self._leases_changed.wait()
            now_s = self._now_s()
            for lease in [one for one, expires_s in self._expires_s.items() if expires_s <= now_s]:
                try:
                    await self.revoke(lease)
                except NoSuchLease:
                    self._expires_s.pop(lease, None)
                except StoreError:  # the disk is full: the keys stay, and it is tried again
                    self._expires_s[lease] = now_s + 1


def _connected(path: Path, undo: contextlib.ExitStack) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5, cached_statements=256)
    undo.callback(connection.close)
    connection.execute("PRAGMA cache_size = -16000")
    return connection


def _stored(row: Sequence[Any]) -> Stored:
    key, value, created, revision, version, lease = row[:6]
    return Stored(key.decode(), value, created, revision, version, lease)


def _answer(future: asyncio.Future[Any], answer: Any) -> None:
    if future.cancelled():  # who asked has gone; the write is done all the same
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
