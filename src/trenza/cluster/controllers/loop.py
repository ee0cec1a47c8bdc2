"""The driver of controllers: changes of the store in, writes to the API out; a machine in values, without a clock.

    loop = Loop(controllers, snapshot)
    loop.observe(changes, revision)           whenever the watch brings something
    loop.caught_up(as_of_s)                   whenever it is known to have brought everything until then
    for decided in loop.decide(now_s): …      make these writes, in any order, and
        loop.settle(decided, outcome, now_s)  tell of each how it went
    loop.wakes_at_s()                         until then, or until the watch, there is nothing to do

What was written is seen at once: it lies over the observed snapshot until the watch has come as far. So nothing is
created twice because a watch is slow. A controller runs when something that it reads has changed or its time has
come. A refusal because something has changed meanwhile (a conflict, a name that is taken, an object that is gone)
means that the watch has news: the controller runs again when they are here. Any other refusal is told as an event and
tried again later, each time twice as late. A write with a `Spacing` waits for its turn. A controller that raises is in
`failures`; the others go on.

Every write of a decision must be settled before the next decision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from trenza.cluster.controllers.events import event_name, recorded
from trenza.cluster.controllers.objects import Object, ObjectKey, controller_of, metadata_of, uid_of
from trenza.cluster.controllers.snapshot import Change, Snapshot
from trenza.cluster.controllers.writes import Create, Delete, Event, Spacing, Step, Stumble, Wake, Write

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 60.0


@dataclass(frozen=True, slots=True)
class Controller:
    """A controller with its name and the resources it reads: those named, or all but those that it ignores."""

    name: str
    decide: Callable[[Snapshot, float], Iterable[Step]]
    reads: frozenset[str] = frozenset()
    ignores: frozenset[str] = frozenset()

    def is_touched_by(self, resource: str) -> bool:
        return resource in self.reads if self.reads else resource not in self.ignores


@dataclass(frozen=True, slots=True)
class Decided:
    """A write, who wants it, and the revision up to which the watch had come when it was decided."""

    controller: str
    write: Write
    revision: int


@dataclass(frozen=True, slots=True)
class Done:
    """The write was made at `revision`. `now`: the object as it is since then, None if it is gone."""

    now: Object | None
    revision: int


@dataclass(frozen=True, slots=True)
class Outdated:
    """Refused because the object is not as it was (409 Conflict), exists already, or is gone (404)."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Refused for another reason, in the API's words: a quota, a validation, a namespace that is being deleted."""

    message: str


@dataclass(frozen=True, slots=True)
class Lost:
    """Nobody knows whether the write was made. Nothing is decided until the store has been read anew (`replace`)."""


Outcome = Done | Outdated | Refused | Lost


@dataclass(slots=True)
class _Held:
    """A write that is refused time and again: not before `until_s`."""

    until_s: float
    failures: int = 1


@dataclass(frozen=True, slots=True)
class _Spaced:
    """The last write of a spacing's key, and after how long another may follow."""

    last_s: float
    delay_s: float
    longest_s: float

    def is_forgotten(self, now_s: float) -> bool:
        return now_s - self.last_s > 2 * self.longest_s

    def next(self, now_s: float) -> _Spaced:
        return _Spaced(now_s, min(self.longest_s, 2 * self.delay_s), self.longest_s)


@dataclass(slots=True)
class _Schedule:
    """When a controller is to run: now, after the next news of the watch, at a moment."""

    controller: Controller
    due: bool = True
    after_news: bool = False
    at_s: float = math.inf


@dataclass(slots=True)
class _Queue:
    """Events that wait to be recorded, in order."""

    waiting: list[Event] = field(default_factory=list)

    def take(self) -> list[Event]:
        """One event of each kind: a second one counts the first, which must have been written."""
        taken: dict[str, Event] = {}
        left = []
        for event in self.waiting:
            name = event_name(event)
            if name in taken:
                left.append(event)
            else:
                taken[name] = event
        self.waiting = left
        return list(taken.values())


class Loop:
    """See the module. `snapshot` is what the store held when the watch began."""

    def __init__(self, controllers: Sequence[Controller], snapshot: Snapshot) -> None:
        self._observed = snapshot.revision  # how far the watch has come
        self._unseen: dict[tuple[str, ObjectKey], Change] = {}
        self._snapshot = snapshot
        self._news: list[Change] = []  # that are not in it yet
        self._schedules = {controller.name: _Schedule(controller) for controller in controllers}
        self._held: dict[tuple[str, ...], _Held] = {}
        self._spaced: dict[tuple[str, ...], _Spaced] = {}
        self._events = _Queue()
        self._recording: dict[str, Event] = {}
        self._lost = False
        self.failures: dict[str, Exception] = {}  # by controller, those whose last run ended in an error

    @property
    def snapshot(self) -> Snapshot:
        """What controllers see: what the watch has brought, and over it the writes that it has not brought yet."""
        revision = max((change.revision for change in self._unseen.values()), default=self._observed)
        if self._news or self._snapshot.revision != revision:
            self._snapshot = self._snapshot.with_changes(self._news, revision)
            self._news = []
        return self._snapshot

    def observe(self, changes: Iterable[Change], revision: int) -> None:
        """The watch has come to `revision`, and these are the changes since the last time, in order."""
        for change in changes:
            ours = self._unseen.get((change.resource, change.key))
            if ours is None or ours.revision != change.revision:  # what we wrote ourselves is no news
                self._touch(change.resource)
            if ours is None or ours.revision < change.revision:
                self._news.append(change)
        self._observed = revision
        self._unseen = {place: change for place, change in self._unseen.items() if change.revision > revision}
        for schedule in self._schedules.values():
            schedule.due = schedule.due or schedule.after_news
            schedule.after_news = False

    def caught_up(self, as_of_s: float) -> None:
        """Everything that was written until `as_of_s` has been observed."""
        self._snapshot = replace(self._snapshot, as_of_s=as_of_s)

    def replace(self, snapshot: Snapshot) -> None:
        """The store was read anew, after a watch that broke or a write whose outcome was lost."""
        self._observed, self._snapshot = snapshot.revision, snapshot
        self._unseen = {place: change for place, change in self._unseen.items() if change.revision > snapshot.revision}
        self._news = list(self._unseen.values())
        self._lost = False
        for schedule in self._schedules.values():
            schedule.due = True

    def decide(self, now_s: float) -> tuple[Decided, ...]:
        """What is to be written now: the events that are waiting, and what the controllers want whose time it is."""
        if self._lost:
            return ()
        # Who has not tried again for so long is no longer wanted, or gone.
        self._held = {key: held for key, held in self._held.items() if held.until_s + LONGEST_DELAY_S > now_s}
        self._spaced = {key: spaced for key, spaced in self._spaced.items() if not spaced.is_forgotten(now_s)}
        decided = []
        self._recording = {event_name(event): event for event in self._events.take()}
        for event in self._recording.values():
            decided.append(Decided("", recorded(self.snapshot, event, now_s), self._observed))
        for schedule in self._schedules.values():
            if schedule.due or schedule.at_s <= now_s:
                decided += self._run(schedule, now_s)
        return tuple(decided)

    def settle(self, decided: Decided, outcome: Outcome, now_s: float) -> None:
        """How one of the writes went."""
        write = decided.write
        identity = _identity(decided)
        match outcome:
            case Done(now, revision):
                self._held.pop(identity, None)
                self._space(write, now_s)
                self._events.waiting.extend(write.then)
                if revision > self._observed:
                    place = (write.resource, write.key)
                    known = self._unseen.get(place)
                    if known is None or known.revision < revision:
                        self._unseen[place] = Change(write.resource, write.key, now, revision)
                        self._news.append(self._unseen[place])
                    self._touch(write.resource)
            case Outdated():
                if not decided.controller:
                    self._again(write)
                else:
                    self._run_again(decided)
            case Refused(message):
                self._refused(decided, identity, message, now_s)
            case Lost():
                self._lost = True
                if not decided.controller:
                    self._again(write)

    def wakes_at_s(self) -> float:
        """When there is something to decide without news: 0 for at once, infinity for never."""
        if self._lost:
            return math.inf
        if self._events.waiting or any(schedule.due for schedule in self._schedules.values()):
            return 0.0
        return self.alarm_s

    @property
    def alarm_s(self) -> float:
        """When somebody wants to decide because of the time: on what is known to be everything until then."""
        return min((schedule.at_s for schedule in self._schedules.values()), default=math.inf)

    @property
    def needs_replacing(self) -> bool:
        """A write was lost: read the store anew and `replace`."""
        return self._lost

    def _touch(self, resource: str) -> None:
        for schedule in self._schedules.values():
            schedule.due = schedule.due or schedule.controller.is_touched_by(resource)

    def _run(self, schedule: _Schedule, now_s: float) -> list[Decided]:
        schedule.due, schedule.at_s = False, math.inf
        decided = []
        for step in self._steps(schedule, now_s):
            if isinstance(step, Wake):
                schedule.at_s = min(schedule.at_s, step.at_s)
                continue
            if isinstance(step, Stumble):
                self.failures[schedule.controller.name] = step.error
                schedule.at_s = min(schedule.at_s, now_s + LONGEST_DELAY_S)
                continue
            wanted = Decided(schedule.controller.name, step, self._observed)
            until_s = self._not_before_s(wanted)
            if until_s > now_s:
                schedule.at_s = min(schedule.at_s, until_s)
            else:
                decided.append(wanted)
        return decided

    def _not_before_s(self, wanted: Decided) -> float:
        """When a write may be tried that was refused, or that is one of several with a spacing."""
        held, spacing = self._held.get(_identity(wanted)), _spacing_of(wanted.write)
        spaced = None if spacing is None else self._spaced.get(spacing.key)
        return max(
            -math.inf if held is None else held.until_s,
            -math.inf if spaced is None else spaced.last_s + spaced.delay_s,
        )

    def _space(self, write: Write, now_s: float) -> None:
        spacing = _spacing_of(write)
        if spacing is not None:
            last = self._spaced.get(spacing.key)
            first = _Spaced(now_s, spacing.first_s, spacing.longest_s)
            self._spaced[spacing.key] = first if last is None else last.next(now_s)

    def _steps(self, schedule: _Schedule, now_s: float) -> Iterator[Step]:
        """What the controller wants; up to its error, if an object that validation let pass is too odd for it."""
        self.failures.pop(schedule.controller.name, None)
        try:
            yield from schedule.controller.decide(self.snapshot, now_s)
        except Exception as error:
            # One odd object must not stop the other controllers. The caller reports it; it is tried again.
            yield Stumble(error)

    def _run_again(self, decided: Decided) -> None:
        """Once the news that refused the write are here; they may have come while it was under way."""
        schedule = self._schedules[decided.controller]
        if self._observed > decided.revision:
            schedule.due = True
        else:
            schedule.after_news = True

    def _again(self, write: Write) -> None:
        """An event whose object was changed by another: recorded anew."""
        event = self._recording.get(write.key[1])
        if event is not None:
            self._events.waiting.append(event)

    def _refused(self, decided: Decided, identity: tuple[str, ...], message: str, now_s: float) -> None:
        if not decided.controller:
            return  # an event that cannot be recorded is no reason to stop; its namespace may be going
        held = self._held.setdefault(identity, _Held(now_s, 0))
        delay_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(held.failures, 10))
        held.failures += 1
        held.until_s = now_s + delay_s
        schedule = self._schedules[decided.controller]
        schedule.at_s = min(schedule.at_s, held.until_s)
        write = decided.write
        owner = controller_of(write.object)
        if isinstance(write, Create) and owner is not None and write.then:
            told = write.then[0]
            self._events.waiting.append(
                Event(told.about, "FailedCreate", f"Error creating: {message}", told.component, warning=True)
            )


def _spacing_of(write: Write) -> Spacing | None:
    return write.spacing if isinstance(write, Delete) else None


def _identity(decided: Decided) -> tuple[str, ...]:
    """What is the same when a refused write is tried again; a creation by its owner, for its name may be another."""
    write = decided.write
    owner = controller_of(write.object)
    if isinstance(write, Create) and owner is not None:
        name = str(owner["uid"])
    else:
        name = uid_of(write.object) or str(metadata_of(write.object).get("name"))
    return decided.controller, type(write).__name__, write.resource, write.key[0], name
