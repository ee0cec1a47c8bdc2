"""What every store of a cluster promises: the Store protocol and the values that cross it.

The promise, in words of etcd's. Every write that changes something gets the next revision, all of a transaction the
same one. A read answers with the state at one revision, no older than any write that had been answered when the read
began. A write that was answered is on disk. A watch delivers every event of its prefix once and in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from trenza.cluster.store.errors import TooLarge

MAX_VALUE_BYTES = 1_500_000  # etcd refuses requests over 1.5 MiB (--max-request-bytes), keys and framing included
MAX_WRITES = 128  # in one transaction (etcd's --max-txn-ops)


@dataclass(frozen=True, slots=True)
class Stored:
    """A key as it was from `mod_revision` on. `version` counts writes since its creation, from 1; `lease` 0 is none."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Range:
    """A page of keys in order, all as they were at `revision`; `remaining` keys follow (`more`: at least one)."""

    items: tuple[Stored, ...]
    revision: int
    remaining: int = 0

    @property
    def more(self) -> bool:
        """Whether keys follow this page: ask again with `after` its last key and this `revision`."""
        return self.remaining > 0


@dataclass(frozen=True, slots=True)
class Write:
    """One write of a transaction: the key's new value, or None to delete it (nothing happens if it is not there)."""

    key: str
    value: bytes | None
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Committed:
    """A transaction that was done: its revision (the newest there is, if it changed nothing) and what it deleted."""

    revision: int
    deleted: tuple[Stored, ...] = ()


@dataclass(frozen=True, slots=True)
class Put:
    """A key got a value; `previous` is None if that created it."""

    stored: Stored
    previous: Stored | None

    @property
    def key(self) -> str:
        """The key written."""
        return self.stored.key

    @property
    def revision(self) -> int:
        """When it was written."""
        return self.stored.mod_revision


@dataclass(frozen=True, slots=True)
class Delete:
    """A key went at `revision`; `previous` is how it was until then."""

    revision: int
    previous: Stored

    @property
    def key(self) -> str:
        """The key deleted."""
        return self.previous.key


Event = Put | Delete


@dataclass(frozen=True, slots=True)
class Batch:
    """Events in order, and the promise that no other event at or below `revision` will follow.

    Without events it is a progress mark: nothing below the prefix happened up to `revision`.
    """

    revision: int
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Lease:
    """Keys written with `id` are deleted when nobody has kept it alive for `ttl_s` (which may be more than asked)."""

    id: int
    ttl_s: int


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a store. `problem` is None if it is well; what is not known of a silent member is zero or ''."""

    name: str
    endpoint: str
    leader: bool = False
    database_bytes: int = 0
    version: str = ""
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """How a store is: its members, and its alarms in its own words (any alarm: read-only)."""

    members: tuple[Member, ...]
    alarms: tuple[str, ...] = ()

    @property
    def has_majority(self) -> bool:
        """Whether so many members are well that the store can answer."""
        return 2 * sum(member.problem is None for member in self.members) > len(self.members)

    @property
    def database_bytes(self) -> int:
        """The size of the largest member's database."""
        return max((member.database_bytes for member in self.members), default=0)


class Watch(Protocol):
    """Batches of one prefix, without end; usable as a context manager, which closes it.

    Iterating raises Compacted if what comes next is lost, TooSlow if too much was waiting; it ends when it or the store
    is closed. Waiting for the next batch may be cancelled, and loses nothing.
    """

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Batch: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None:
        """No more batches; may be called at any time, more than once."""


class Store(Protocol):
    """A store. Everything may raise Unavailable; every write ReadOnly."""

    async def get(self, key: str, *, revision: int | None = None) -> Stored | None:
        """The key as it is, or was at `revision`, from 1 (then: Compacted, FutureRevision)."""

    async def range(
        self, prefix: str, *, after: str | None = None, limit: int = 0, revision: int | None = None
    ) -> Range:
        """The keys that begin with `prefix`, in order of their UTF-8 bytes; those behind `after`; at most `limit` (0:
        all). Raises Compacted and FutureRevision when `revision` is given.
        """

    async def put(self, key: str, value: bytes, *, expected: int | None, lease: int = 0) -> int:
        """The revision of the write, done if the key's mod revision was `expected` (0: absent; None: whatever).

        Raises Conflict, NoSuchLease, TooLarge.
        """

    async def delete(self, key: str, *, expected: int | None) -> tuple[Stored, int]:
        """What was deleted and the revision that did it. Raises Conflict, also if there was nothing to delete."""

    async def transact(self, expected: Mapping[str, int], writes: Sequence[Write]) -> Committed:
        """All of `writes` at one revision if every key of `expected` is at its mod revision (0: absent), else Conflict.

        At most MAX_WRITES, a key once. Raises NoSuchLease and TooLarge too.
        """

    def watch(self, prefix: str, *, from_revision: int) -> Watch:
        """Every event of `prefix` at `from_revision` and later; Compacted if `from_revision` is not above the
        revision last compacted. A progress mark follows within about a second whenever only other keys changed.
        """

    async def compact(self, revision: int) -> None:
        """Forget what is not needed for states at `revision` and later; nothing if that was done. FutureRevision."""

    async def grant(self, ttl_s: int) -> Lease:
        """A new lease."""

    async def keep_alive(self, lease: int) -> int:
        """The lease begins anew; the seconds it has. Raises NoSuchLease."""

    async def revoke(self, lease: int) -> None:
        """The lease ends now, its keys are deleted at one revision. Raises NoSuchLease."""

    async def revision(self) -> int:
        """The newest revision; 1 in a store that was never written to."""

    async def status(self) -> Status:
        """How the store is. Never raises Unavailable: silent members are shown as such."""

    async def close(self) -> None:
        """Let go of everything; watches end."""


def prefix_end(prefix: bytes) -> bytes | None:
    """The first key behind all that begin with `prefix`; None if there is no such key."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else None


def check_writes(writes: Sequence[Write]) -> None:
    """Raises TooLarge for a value no store takes, ValueError for what no caller should send."""
    keys = [write.key for write in writes]
    if len(set(keys)) < len(keys):
        raise ValueError("a transaction writes a key once")
    if len(keys) > MAX_WRITES:
        raise ValueError(f"a transaction has at most {MAX_WRITES} writes")
    if not all(keys):
        raise ValueError("a key is not empty")
    for key in keys:
        key.encode()  # a lone surrogate is a ValueError too
    size = sum(len(write.value or b"") for write in writes)
    if size > MAX_VALUE_BYTES:
        raise TooLarge(f"{keys[0]} has {size} bytes; a store takes {MAX_VALUE_BYTES} at once")


def check_revision(revision: int | None) -> None:
    """Raises ValueError for what is no revision; etcd would take it for the newest."""
    if revision is not None and revision < 1:
        raise ValueError("revisions begin at 1")
