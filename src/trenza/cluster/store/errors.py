"""How a store refuses, as one tree.

StoreError
├── Conflict            a key is not at the revision it was expected to have; carries what is there
├── Compacted           the past that was asked for is gone: list again
├── FutureRevision      nothing has happened yet at the revision asked for
├── NoSuchLease         the lease has expired, was revoked, or never was
├── TooLarge            one value is larger than any store takes
├── TooSlow             a watcher did not keep up and was dropped: list again
├── Unavailable         nobody answered; `maybe_done` says whether a write may yet have happened
└── ReadOnly            writes are refused until somebody repairs the store; `reason` in its own words
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trenza.errors import TrenzaError

if TYPE_CHECKING:
    from trenza.cluster.store.protocol import Stored


class StoreError(TrenzaError):
    """The cluster's store refused, or did not answer."""

    code = "store"


class Conflict(StoreError):
    """`key` is not at the revision it was expected to have; `current` is what is there, None if nothing."""

    code = "store-conflict"

    def __init__(self, key: str, current: Stored | None) -> None:
        there = "it does not exist" if current is None else f"it is at {current.mod_revision}"
        super().__init__(f"{key} is not at the expected revision: {there}")
        self.key = key
        self.current = current


class Compacted(StoreError):
    """The past that was asked for is gone; `revision` is the first whose state can still be read."""

    code = "store-compacted"

    def __init__(self, revision: int) -> None:
        super().__init__(f"what was before revision {revision} has been compacted", hint="list again")
        self.revision = revision


class FutureRevision(StoreError):
    """Nothing has happened yet at the revision asked for; `revision` is the newest there is."""

    code = "store-future"

    def __init__(self, revision: int) -> None:
        super().__init__(f"the newest revision is {revision}")
        self.revision = revision


class NoSuchLease(StoreError):
    """The lease has expired, was revoked, or never was."""

    code = "store-no-lease"

    def __init__(self, lease: int) -> None:
        super().__init__(f"there is no lease {lease}")
        self.lease = lease


class TooLarge(StoreError):
    """One value is larger than any store takes."""

    code = "store-too-large"


class TooSlow(StoreError):
    """A watcher did not keep up and was dropped."""

    code = "store-too-slow"


class Unavailable(StoreError):
    """Nobody answered in time. A write may yet have happened if `maybe_done`; it has not, otherwise."""

    code = "store-unavailable"

    def __init__(self, message: str, *, maybe_done: bool = False) -> None:
        super().__init__(message)
        self.maybe_done = maybe_done


class ReadOnly(StoreError):
    """Writes are refused until somebody repairs the store; this one was not done. Reads are still answered."""

    code = "store-read-only"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the store is read-only: {reason}")
        self.reason = reason
