"""What is wrong with a recorded history of a store: sentences, none if it kept its promises.

Clients write down what they asked and heard, with times of one clock. Values are best unique and one watch sees every
key, so that a write whose answer was lost is recognised by its effect. Judged is:

- revisions are in the order of real time: there is a moment within each write's window, and within each read's, such
  that the moments are in the order of revisions (Wing and Gong's linearizability, which revisions make easy: the order
  is given, so one sweep decides);
- a write that was answered happened, at its revision, on what it expected; one that was refused was refused rightly;
- a read shows the state at its revision, all of it and nothing else;
- a watch delivers each event of its prefix once, in order, none missing, with the right previous value, and nothing
  behind a mark that it has passed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from operator import itemgetter

from trenza.cluster.store.protocol import Batch, Delete, Event, Put, Range, Stored, Write


@dataclass(frozen=True, slots=True)
class Wrote:
    """A transaction between two moments. `revision` None: the answer was lost, it may have happened or not."""

    began_s: float
    ended_s: float
    writes: tuple[Write, ...]
    revision: int | None
    expected: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    """A transaction refused because `key` was at `current` (0: absent, None: it was not told) and not at `expected`."""

    began_s: float
    ended_s: float
    key: str
    expected: int
    current: int | None


@dataclass(frozen=True, slots=True)
class Listed:
    """Everything below `prefix`, as the newest state (`pinned` False) or as the past at the revision asked for."""

    began_s: float
    ended_s: float
    prefix: str
    range: Range
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Got:
    """One key, as it is."""

    began_s: float
    ended_s: float
    key: str
    stored: Stored | None


@dataclass(frozen=True, slots=True)
class Watched:
    """All batches of one watch, in the order they came."""

    prefix: str
    from_revision: int
    batches: tuple[Batch, ...]


Record = Wrote | Refused | Listed | Got | Watched


def violations(history: Iterable[Record], *, start: int = 1, counted: bool = True) -> tuple[str, ...]:
    """What contradicts the promises of `protocol.Store`.

    The keys were absent at revision `start`, nobody else wrote to them, and they have no leases. Unless `counted`,
    nobody was told when a key was created and how often it was written: `create_revision` and `version` are 0.
    """
    return _Judge(tuple(history), start, counted).verdict()


@dataclass(slots=True)
class _Change:
    """What one revision did, and between which moments."""

    values: dict[str, bytes | None] = field(default_factory=dict)
    began_s: float = -inf
    ended_s: float = inf
    expected: Mapping[str, int] = field(default_factory=dict)


class _Judge:
    def __init__(self, history: Sequence[Record], start: int, counted: bool) -> None:
        self._start = start
        self._counted = counted
        self._wrote = [one for one in history if isinstance(one, Wrote)]
        self._refused = [one for one in history if isinstance(one, Refused)]
        self._listed = [one for one in history if isinstance(one, Listed)]
        self._got = [one for one in history if isinstance(one, Got)]
        self._watched = [one for one in history if isinstance(one, Watched)]
        self._changes: dict[int, _Change] = {}
        self._unanswered = sorted((one for one in self._wrote if one.revision is None), key=lambda one: one.began_s)
        self._of_key: dict[str, list[tuple[int, Stored | None]]] = defaultdict(list)
        self._found: list[str] = []

    def verdict(self) -> tuple[str, ...]:
        self._place_answered()
        self._place_observed()
        self._build_states()
        self._judge_time()
        for refused in self._refused:
            self._judge_refused(refused)
        for listed in self._listed:
            self._judge_listed(listed)
        for got in self._got:
            self._judge_got(got)
        for watched in self._watched:
            self._judge_watched(watched)
        return tuple(dict.fromkeys(self._found))

    # --- what happened at which revision

    def _place_answered(self) -> None:
        for wrote in self._wrote:
            if wrote.revision is None:
                continue
            if wrote.revision in self._changes:
                self._found.append(f"two writes were given revision {wrote.revision}")
                continue
            values = {write.key: write.value for write in wrote.writes}
            self._changes[wrote.revision] = _Change(values, wrote.began_s, wrote.ended_s, wrote.expected)

    def _place_observed(self) -> None:
        """Revisions that nobody was told of, but somebody saw, are effects of writes whose answers were lost."""
        seen: dict[int, dict[str, bytes | None]] = defaultdict(dict)
        for revision, key, value in self._observations():
            if revision in self._changes:
                continue
            if seen[revision].setdefault(key, value) != value:
                self._found.append(f"revision {revision} was seen to give {key} two values")
        for revision, values in sorted(seen.items()):
            mine = next((one for one in self._unanswered if self._explains(one, values)), None)
            if mine is None:
                self._found.append(f"nobody wrote what was seen at revision {revision}: {', '.join(sorted(values))}")
                self._changes[revision] = _Change(dict(values))
                continue
            self._unanswered.remove(mine)
            whole = {write.key: write.value for write in mine.writes}
            self._changes[revision] = _Change(whole, mine.began_s, inf, mine.expected)

    @staticmethod
    def _explains(wrote: Wrote, values: Mapping[str, bytes | None]) -> bool:
        written = {write.key: write.value for write in wrote.writes}
        return all(key in written and written[key] == value for key, value in values.items())

    def _observations(self) -> Iterable[tuple[int, str, bytes | None]]:
        for listed in self._listed:
            for item in listed.range.items:
                yield item.mod_revision, item.key, item.value
        for got in self._got:
            if got.stored is not None:
                yield got.stored.mod_revision, got.key, got.stored.value
        for watched in self._watched:
            for batch in watched.batches:
                for event in batch.events:
                    yield event.revision, event.key, event.stored.value if isinstance(event, Put) else None

    def _build_states(self) -> None:
        """Each key's versions in order; the expectations of writes are judged on the way."""
        for revision, change in sorted(self._changes.items()):
            for key, expected in change.expected.items():
                at = self._mod_revision(self._at(key, revision - 1))
                if at != expected:
                    self._found.append(f"revision {revision} expected {key} at {expected}, and it was at {at}")
            for key, value in change.values.items():
                before = self._at(key, revision - 1)
                if value is None:
                    if before is not None:
                        self._of_key[key].append((revision, None))
                    continue
                created, version = (revision, 1) if before is None else (before.create_revision, before.version + 1)
                if not self._counted:
                    created = version = 0
                self._of_key[key].append((revision, Stored(key, value, created, revision, version)))

    def _at(self, key: str, revision: int) -> Stored | None:
        versions = self._of_key.get(key, [])
        place = bisect_right(versions, revision, key=itemgetter(0))
        return versions[place - 1][1] if place else None

    @staticmethod
    def _mod_revision(stored: Stored | None) -> int:
        return 0 if stored is None else stored.mod_revision

    # --- real time

    def _judge_time(self) -> None:
        """One sweep over the revisions: each moment is as early as those before it allow."""
        reads: dict[int, list[Listed]] = defaultdict(list)
        for listed in self._listed:
            if not listed.pinned:
                reads[listed.range.revision].append(listed)
        moment_s = -inf
        because = "the beginning"
        for revision in sorted({*self._changes, *reads}):
            change = self._changes.get(revision)
            if change is not None:
                if change.ended_s < moment_s:
                    self._found.append(f"the write at revision {revision} had ended before {because} began")
                if change.began_s > moment_s:
                    moment_s, because = change.began_s, f"the write at revision {revision}"
            for read in reads.get(revision, ()):
                if read.ended_s < moment_s:
                    self._found.append(f"a read at revision {revision} had ended before {because} began")
            for read in reads.get(revision, ()):
                if read.began_s > moment_s:
                    moment_s, because = read.began_s, f"a read at revision {revision}"

    def _judge_held(self, what: str, key: str, mod_revision: int, began_s: float, ended_s: float) -> None:
        """Whether `key` can have been at `mod_revision` at some moment between the two."""
        versions = self._of_key.get(key, [])
        if mod_revision == 0:  # absent: before the first version, or while deleted
            spans = [(self._start, versions[0][0] if versions else None)]
            spans += [
                (since, versions[place + 1][0] if place + 1 < len(versions) else None)
                for place, (since, stored) in enumerate(versions)
                if stored is None
            ]
        else:
            spans = [
                (since, versions[place + 1][0] if place + 1 < len(versions) else None)
                for place, (since, stored) in enumerate(versions)
                if since == mod_revision and stored is not None
            ]
        for since, until in spans:
            earliest_s = self._changes[since].began_s if since in self._changes else -inf
            latest_s = inf if until is None else self._changes[until].ended_s
            if earliest_s <= ended_s and began_s <= latest_s:
                return
        if mod_revision == 0 and any(
            write.key == key and write.value is None for one in self._unanswered for write in one.writes
        ):
            return  # deleted by one whose answer was lost
        self._found.append(f"{what} {key} at {mod_revision}, where it was not at that time")

    def _judge_refused(self, refused: Refused) -> None:
        if refused.current == refused.expected:
            self._found.append(f"a write of {refused.key} was refused though it was at {refused.expected} as expected")
        if refused.current is not None:
            self._judge_held("a refusal found", refused.key, refused.current, refused.began_s, refused.ended_s)
        elif any(
            since_s < refused.began_s and refused.ended_s < until_s
            for since_s, until_s in self._surely_at(refused.key, refused.expected)
        ):
            self._found.append(f"a write of {refused.key} was refused though it was at {refused.expected} all the time")

    def _surely_at(self, key: str, mod_revision: int) -> Iterator[tuple[float, float]]:
        """Between which moments `key` was nowhere but at `mod_revision`, as far as the watches saw."""
        versions: list[tuple[int, Stored | None]] = [(self._start, None), *self._of_key.get(key, [])]
        for (since, stored), (until, _) in pairwise((*versions, (0, None))):
            if self._mod_revision(stored) == mod_revision:
                since_s = self._changes[since].ended_s if since in self._changes else -inf
                yield since_s, self._changes[until].began_s if until else inf

    # --- reads and watches

    def _judge_got(self, got: Got) -> None:
        if got.stored is not None and (should := self._at(got.key, got.stored.mod_revision)) != got.stored:
            self._found.append(f"a read of {got.key} showed {got.stored}, and it was {should}")
        self._judge_held("a read found", got.key, self._mod_revision(got.stored), got.began_s, got.ended_s)

    def _judge_listed(self, listed: Listed) -> None:
        revision = listed.range.revision
        shown = {item.key: item for item in listed.range.items}
        keys = [item.key for item in listed.range.items]
        if keys != sorted(set(keys), key=str.encode):
            self._found.append(f"a list at revision {revision} is out of order")
        for key in {*shown, *(key for key in self._of_key if key.startswith(listed.prefix))}:
            should = self._at(key, revision)
            if shown.get(key) != should:
                self._found.append(f"a list at revision {revision} showed {key} as {shown.get(key)}, not {should}")

    def _judge_watched(self, watched: Watched) -> None:
        through = watched.batches[-1].revision if watched.batches else watched.from_revision - 1
        due = self._events(watched.prefix, watched.from_revision, through)
        came: dict[tuple[int, str], Event] = {}
        what = f"the watch of {watched.prefix} from {watched.from_revision}"
        last = promised = watched.from_revision - 1
        for batch in watched.batches:
            for event in batch.events:
                name = (event.revision, event.key)
                if name in came:
                    self._found.append(f"{what} delivered {event.key} at {event.revision} twice")
                elif event.revision < last:
                    self._found.append(f"{what} delivered {event.revision} behind {last}")
                elif event.revision <= promised:
                    self._found.append(f"{what} delivered {event.revision} though it had come to {promised}")
                came[name] = event
                last = max(last, event.revision)
            if batch.revision < last:
                self._found.append(f"{what} had come to {batch.revision} and yet delivered {last}")
            promised = max(promised, batch.revision)
        for name, event in due.items():
            if name not in came:
                self._found.append(f"{what} lacks {event.key} at {event.revision}")
            elif came[name] != event:
                self._found.append(f"{what} delivered {came[name]}, not {event}")
        for revision, key in came.keys() - due.keys():
            self._found.append(f"{what} delivered {key} at {revision}, which did not happen")

    def _events(self, prefix: str, first: int, last: int) -> dict[tuple[int, str], Event]:
        events: dict[tuple[int, str], Event] = {}
        for key, versions in self._of_key.items():
            if not key.startswith(prefix):
                continue
            previous: Stored | None = None
            for revision, stored in versions:
                if first <= revision <= last:
                    if stored is not None:
                        events[revision, key] = Put(stored, previous)
                    elif previous is not None:
                        events[revision, key] = Delete(revision, previous)
                previous = stored
        return events
