"""An outage, read from what probes saw and what was told meanwhile: how long, how much, and what it waited for.

Nothing is invented: a probe's silence is split at the events that mattered to it, each stretch is put down to the layer
whose event ended it, and what no event explains is said to be unexplained.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby

from trenza.fault.probes import Probe, ProbeKind
from trenza.model.event import Event
from trenza.model.names import bare_name
from trenza.theory.outage import Fate, Prediction

GOOD_INTERVALS = 3
"""So many good answers in a row, and a probe is well."""

QUIET_S = 1.0
"""So long without an event, and trees, routers and balancers are quiet."""

_MOMENT_S = 0.25
_LATEST = 1000
"""How many samples back one looks; more than two seconds' worth."""

_MOVING = ("stp", "vrrp", "haproxy", "service", "cluster")
_TOGETHER_S = 0.25
"""Events of one layer so close to each other are one milestone."""

_TOLD_WITHIN_S = 0.1
"""An event is told a little after it took effect, and the first good answer may be there before."""

_PARTLY = 0.8
_CHANCE = 0.01
"""How improbable as many good answers in a row must be to show that it is over, where only some are lost."""

"""A smaller share of lost questions, and the way there was open."""

_SOON_S = 0.5
_REST_S = 0.1
"""So much after the last milestone is its own: the first packet has to come and go."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One question: when it was sent and answered (None: it was lost), in seconds since the epoch.

    `note` is what an answer said, or why there was none.
    """

    sent_s: float
    answered_s: float | None
    note: str = ""


class Layer(StrEnum):
    """What a part of an outage waited for."""

    LINK = "link"
    STP = "stp"
    VRRP = "vrrp"
    ARP = "arp"
    HEALTH = "health-check"
    SERVICE = "service"
    CLUSTER = "cluster"
    FAULT = "fault"
    UNEXPLAINED = "unexplained"


_ABOVE = (Layer.HEALTH, Layer.SERVICE, Layer.CLUSTER)
_CLUSTER_STATES = ("NotReady", "endpoints", "Ready", "Running")
_FELT_STATES = ("endpoints", "Running")
"""What packets notice of those; that a node is Ready or not is what somebody thinks of it."""


@dataclass(frozen=True, slots=True)
class Milestone:
    """An event that may have ended a part of an outage."""

    time_s: float
    layer: Layer
    node: str
    event: Event

    @property
    def text(self) -> str:
        return self.event.text


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a probe's silence, and what ended it (None: nothing that was told)."""

    begin_s: float
    end_s: float
    layer: Layer
    milestone: Milestone | None = None

    @property
    def seconds(self) -> float:
        return self.end_s - self.begin_s


@dataclass(frozen=True, slots=True)
class ProbeOutage:
    """What one probe saw.

    `last_good_s` and `first_good_s` are when answers came, `first_lost_s` when the first question was sent that got
    none; None where there was no such thing.

    `windows` are the stretches without an answer, from the last good reply before to the first after; `lost` of `sent`
    counts from the first question that was lost to the last one. `answers` counts what good answers said before,
    during and after.
    """

    probe: Probe
    sent: int
    lost: int
    last_good_s: float | None = None
    first_lost_s: float | None = None
    first_good_s: float | None = None
    windows: tuple[tuple[float, float | None], ...] = ()
    segments: tuple[Segment, ...] = ()
    reasons: Mapping[str, int] = field(default_factory=dict)
    answers: tuple[Mapping[str, int], Mapping[str, int], Mapping[str, int]] = ({}, {}, {})
    slowest_s: float = 0
    """The longest that a good answer took after the fault."""
    prediction: Prediction | None = None

    @property
    def harmed(self) -> bool:
        return self.lost > 0

    @property
    def is_over(self) -> bool:
        return not self.harmed or self.first_good_s is not None

    @property
    def seconds(self) -> float | None:
        """From the first lost question to the first good reply; 0 where nothing was lost, None where it is not over.

        What was out may have gone an interval before, and have come back an interval before: the two even out.
        """
        if self.first_lost_s is None:
            return 0.0
        return None if self.first_good_s is None else self.first_good_s - self.first_lost_s

    @property
    def resolution_s(self) -> float:
        """How exact `seconds` is: questions are asked so far from each other."""
        return self.probe.interval_s

    @property
    def intermittent(self) -> bool:
        """Whether good answers came between the lost ones."""
        return len(self.windows) > 1

    @property
    def fits(self) -> bool | None:
        """Whether theory says the same; None where they cannot be compared."""
        said, seconds = self.prediction, self.seconds
        if said is None:
            return None
        match said.fate:
            case Fate.UNHARMED:
                return not self.harmed
            case Fate.LOST:
                return seconds is None
            case _ if seconds is None:
                return None
            case _:
                return said.low_s - self.resolution_s <= seconds <= said.high_s + self.resolution_s

    def by_layer(self) -> dict[Layer, float]:
        """Seconds put down to each layer."""
        found: dict[Layer, float] = {}
        for segment in self.segments:
            found[segment.layer] = found.get(segment.layer, 0.0) + segment.seconds
        return found


@dataclass(frozen=True, slots=True)
class OutageReport:
    """A fault, what each probe saw of it, and what was told meanwhile. `settled`: all was well and quiet at the end."""

    fault: str
    fault_s: float
    end_s: float
    settled: bool
    probes: tuple[ProbeOutage, ...]
    events: tuple[Event, ...] = ()


# ---------------------------------------------------------------- reading
def read_outage(
    probe: Probe,
    samples: Sequence[Sample],
    events: Sequence[Event],
    fault_s: float,
    prediction: Prediction | None = None,
) -> ProbeOutage:
    """What a probe saw of a fault."""
    ordered = sorted(samples, key=lambda sample: sample.sent_s)
    bad = [sample for sample in ordered if sample.answered_s is None and sample.sent_s >= fault_s - probe.timeout_s]
    # A question of just before may have been on its way; one of long before is none of this fault's.
    bad = [sample for sample in bad if sample.sent_s >= fault_s - 2 * probe.interval_s]
    after = [sample for sample in ordered if sample.sent_s >= fault_s]
    slowest = max((s.answered_s - s.sent_s for s in after if s.answered_s is not None), default=0.0)
    if not bad:
        answers = (_said([s for s in ordered if s.sent_s < fault_s]), _said([]), _said(after))
        return ProbeOutage(probe, len(after), 0, answers=answers, slowest_s=slowest, prediction=prediction)
    first_lost, last_lost = bad[0].sent_s, bad[-1].sent_s
    before = [s for s in ordered if s.sent_s < first_lost and s.answered_s is not None]
    during = [s for s in ordered if first_lost <= s.sent_s <= last_lost]
    later = [s for s in ordered if s.sent_s > last_lost and s.answered_s is not None]
    last_good = max((s.answered_s for s in before if s.answered_s is not None), default=None)
    first_good = min((s.answered_s for s in later if s.answered_s is not None), default=None)
    windows = tuple(_windows(ordered, first_lost - probe.interval_s))
    return ProbeOutage(
        probe,
        len(during),
        len(bad),
        last_good,
        first_lost,
        first_good,
        windows,
        _segments(
            probe,
            first_lost,
            first_good,
            events,
            fault_s,
            None if prediction is None else prediction.master_after,
            lost_share=len(bad) / len(during),
        ),
        Counter(sample.note for sample in bad),
        (_said(before), _said(during), _said(later)),
        slowest,
        prediction,
    )


def _said(samples: Sequence[Sample]) -> dict[str, int]:
    return dict(Counter(sample.note for sample in samples if sample.answered_s is not None and sample.note))


def _windows(ordered: Sequence[Sample], since_s: float) -> Iterator[tuple[float, float | None]]:
    """Stretches of lost questions: from the last good reply before to the first good one after."""
    last_good: float | None = None
    begun: float | None = None
    for lost, run in groupby(ordered, key=lambda sample: sample.answered_s is None):
        group = list(run)
        if lost and group[-1].sent_s >= since_s:
            begun = last_good if last_good is not None else group[0].sent_s
        elif not lost:
            answered = [s.answered_s for s in group if s.answered_s is not None]
            if begun is not None:
                yield begun, answered[0]
                begun = None
            last_good = max(answered)
    if begun is not None:
        yield begun, None


# ---------------------------------------------------------------- attribution
def milestone_of(event: Event) -> Milestone | None:
    """The milestone that an event is, if any: something that came to work, or that was given up."""
    state = event.fields.get("state")
    layer: Layer | None = None
    match event.kind:
        case "stp" if state == "forwarding":
            layer = Layer.STP
        case "vrrp" if state == "MASTER":
            layer = Layer.VRRP
        case "arp":
            layer = Layer.ARP
        case "haproxy":
            layer = Layer.HEALTH
        case "service" if state == "running":
            layer = Layer.SERVICE
        case "cluster" if state in _CLUSTER_STATES:
            layer = Layer.CLUSTER
        case "link" if event.text.endswith("carrier") and not event.text.endswith("no carrier"):
            layer = Layer.LINK
        case "fault" if state == "healed":
            layer = Layer.FAULT
        case _:
            pass
    return None if layer is None else Milestone(event.time_s, layer, event.node, event)


def _matters(milestone: Milestone, probe: Probe, server: str | None) -> bool:
    """Whether a milestone can have ended a probe's silence."""
    match milestone.layer:
        case Layer.HEALTH:
            return probe.kind is ProbeKind.HTTP and server in (None, milestone.node)
        case Layer.SERVICE:
            return probe.kind is not ProbeKind.PING
        case Layer.CLUSTER:
            return probe.kind is not ProbeKind.PING and milestone.event.fields.get("state") in _FELT_STATES
        case Layer.ARP:
            return bare_name(milestone.node) == bare_name(probe.source)
        case _:
            return True


def _segments(
    probe: Probe,
    first_lost_s: float,
    first_good_s: float | None,
    events: Sequence[Event],
    fault_s: float,
    server: str | None,
    *,
    lost_share: float,
) -> tuple[Segment, ...]:
    """The silence, split at the milestones that mattered. `server` is the balancer that answers at the end.

    Where others were answered meanwhile, the way there was not what was waited for; only what came right before the end
    can have been. The end itself may have come later than the first of the answers: those may be chance.
    """
    if first_good_s is None:
        return ()
    partly = lost_share < _PARTLY
    by_chance_s = probe.interval_s * math.log(_CHANCE) / math.log(1 - lost_share) if partly else 0
    told_by_s = first_good_s + max(_TOLD_WITHIN_S, by_chance_s)
    found = [
        milestone
        for event in events
        if fault_s <= event.time_s <= told_by_s
        and (milestone := milestone_of(event)) is not None
        and _matters(milestone, probe, server)
    ]
    found.sort(key=lambda milestone: milestone.time_s)
    # What happens above the network matters only once the network lets requests through.
    way = max((one.time_s for one in found if one.layer not in _ABOVE), default=fault_s)
    found = [one for one in found if one.layer not in _ABOVE or one.time_s > way]
    if partly:
        return (_one_segment(first_lost_s, first_good_s, found),)
    segments: list[Segment] = []
    begin = first_lost_s
    for milestone in _clustered(found):
        end = min(milestone.time_s, first_good_s)
        if end <= begin:
            continue
        if segments and segments[-1].layer is milestone.layer:
            begin = segments.pop().begin_s
        segments.append(Segment(begin, end, milestone.layer, milestone))
        begin = end
    rest = first_good_s - begin
    if segments and rest <= max(_REST_S, 3 * probe.interval_s):
        last = segments.pop()
        segments.append(Segment(last.begin_s, first_good_s, last.layer, last.milestone))
    elif rest > 0:
        segments.append(Segment(begin, first_good_s, Layer.UNEXPLAINED))
    return tuple(segments)


def _one_segment(begin_s: float, end_s: float, found: Sequence[Milestone]) -> Segment:
    near = [one for one in found if one.time_s >= end_s - _SOON_S]
    if not near:
        return Segment(begin_s, end_s, Layer.UNEXPLAINED)
    ended = next((one for one in reversed(near) if one.time_s <= end_s + _TOLD_WITHIN_S), near[0])
    return Segment(begin_s, end_s, ended.layer, ended)


def _clustered(milestones: Sequence[Milestone]) -> Iterator[Milestone]:
    """Of milestones of one layer that come together, the last."""
    for place, milestone in enumerate(milestones):
        following = milestones[place + 1 :]
        if not any(
            later.layer is milestone.layer and later.time_s - milestone.time_s < _TOGETHER_S for later in following
        ):
            yield milestone


# ---------------------------------------------------------------- when it is over
@dataclass(frozen=True, slots=True)
class Watched:
    """A probe at work: what was settled so far, and when the oldest question that still waits was sent."""

    probe: Probe
    samples: Sequence[Sample]
    waiting_since_s: float | None = None


def is_well(watched: Watched, now: float) -> bool:
    """Whether a probe gets its answers: for three intervals and at least a moment, none lost, none late."""
    samples = watched.samples
    span_s = max(GOOD_INTERVALS * watched.probe.interval_s, _MOMENT_S)
    if watched.waiting_since_s is not None and now - watched.waiting_since_s > span_s:
        return False
    recent = [sample for sample in samples[-_LATEST:] if sample.sent_s >= now - 2 * span_s]
    return len(recent) >= GOOD_INTERVALS and all(sample.answered_s is not None for sample in recent)


def is_settled(
    probes: Sequence[Watched],
    events: Sequence[Event],
    *,
    now: float,
    since_s: float,
    moving: bool,
    unnoticed_s: float = 0,
) -> bool:
    """Whether an outage is over: every probe is well and has been for a while, and nothing moves that could harm it.

    `moving`: a port still listens or learns, or a balancer is about to change its mind. For `unnoticed_s` after the
    fault there may be quiet because nobody has noticed it.
    """
    if moving or now - since_s < max(QUIET_S, unnoticed_s):
        return False
    last = max((event.time_s for event in events if event.kind in _MOVING and event.time_s >= since_s), default=since_s)
    if now - last < QUIET_S:
        return False
    return all(
        is_well(watched, now)
        and not any(s.answered_s is None and s.sent_s > now - QUIET_S - watched.probe.timeout_s
                    for s in watched.samples[-_LATEST:])
        for watched in probes
    )  # fmt: skip
