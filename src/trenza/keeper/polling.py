"""Polling: one check is asked until it is true or its time is over; what it breaks is mended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Container, Iterator, Mapping
from typing import Any

from trenza.check.marks import Result
from trenza.check.telling import title_of
from trenza.check.verdict import NOTHING, Finding, Said, Verdict, cannot_tell, failed, passed, same
from trenza.engine.engine import Engine
from trenza.engine.journal import Journal
from trenza.errors import TrenzaError
from trenza.fault.outage import ProbeOutage
from trenza.fault.probes import parse_probe
from trenza.keeper.absent import Absent
from trenza.keeper.connection import Connection
from trenza.keeper.measuring import Measuring
from trenza.keeper.questions import Questions
from trenza.keeper.scene import Scene, look
from trenza.model.checks import Check, FaultOutcome, Http, Mtu, PathTaken, Ping, PingAll, Question, Seen, Tcp
from trenza.model.event import Event
from trenza.model.names import Interface, NicName, NodeName
from trenza.model.state import State
from trenza.theory import convergence_s
from trenza.theory.outage import Fate

STAYS_S = 1.0
"""What the configuration says is asked again for so long, and no longer while nothing converges."""

PATIENCE_S = 6.0
"""What may still come true (a daemon that elects, a health check) has so long after the last tree has converged."""

WAITED_S = 3.0
"""The same for a question whose turn comes when the lab has had its time already."""

HOLDS_S = 1.0
"""Traffic counts when no link has been lost for so long: one window may fit between two losses of one that flaps."""

_AGAIN_S = 0.1
_TRACE_AGAIN_S = 1.1
_LOOK_EVERY_S = 0.2


class Losses:
    """Hears of links that are lost."""

    def __init__(self, journal: Journal) -> None:
        self._last: tuple[float, str] = (0.0, "")
        """When, on the monotonic clock, and which."""
        journal.listen(self._hear)

    def _hear(self, event: Event) -> None:
        if event.kind == "link" and ("no carrier" in event.text or event.text.endswith(("down", "is gone"))):
            self._last = time.monotonic(), f"{event.node}.{event.fields.get('nic', '')}"

    def recent(self) -> Said:
        """Which link was lost a moment ago, if one was."""
        when, nic = self._last
        ago_s = time.monotonic() - when
        if not nic or ago_s >= HOLDS_S:
            return NOTHING
        return Said(f"{nic} was lost {ago_s:.1f} s ago", f"{nic} cayó hace {ago_s:.1f} s")


class Polling:
    """Asks checks of one lab, `given` being which of its nodes are said to stand for which of the reference's."""

    def __init__(
        self,
        engine: Engine,
        questions: Questions,
        measuring: Measuring,
        losses: Losses | None,
        reference: State,
        given: Mapping[NodeName, NodeName],
        *,
        patience_s: float,
        record: bool = False,
        stays_s: float = STAYS_S,
    ) -> None:
        self._engine = engine
        self._questions = questions
        self._measuring = measuring
        self._reference = reference
        self._given = given
        self._losses = losses
        self.patience_s = patience_s
        self.record = record
        self.enough = False
        """Whether whoever asks knows enough: no check is asked again then."""
        self._stays_s = stays_s
        self._scene: Scene | None = None
        self._looked = 0.0
        self._moved = time.monotonic()

    async def result(
        self,
        check: Check,
        connection: Connection,
        done: Container[str] = (),
        *,
        waited: bool = False,
        left_alone_s: float = 0.0,
    ) -> Result:
        """What a check found out in the end; a fault is injected for it, and undone whatever happens.

        `done` are the checkpoints that have passed by now: what holds only until one of them is not asked any more.
        `waited`: the lab has had its time to come true already, while others were asked. `left_alone_s`: how long
        nobody has broken anything here.
        """
        began_s = time.time()
        if check.until in done:
            return Result(check, failed(Said(f"{check.until} has passed", f"{check.until} ya está")), began_s, began_s)
        if not isinstance(check.question, FaultOutcome):
            return await self._until_true(check, waited=waited, left_alone_s=left_alone_s)
        finding = await self._broken(check.question, connection)
        ended_s = time.time()
        return Result(check, finding, began_s, ended_s, ended_s - began_s if finding.verdict is Verdict.PASS else None)

    # ------------------------------------------------------------------ looking
    def look(self, *, fresh: bool = False) -> Scene:
        """What is there now, not older than a moment."""
        now = time.monotonic()
        if self._scene is None or fresh or now - self._looked > _LOOK_EVERY_S:
            self._scene = look(self._engine, self._reference, self._given)
            self._looked = time.monotonic()
            if self._scene.moving:
                self._moved = self._looked
        return self._scene

    # ------------------------------------------------------------------ asking
    async def _until_true(self, check: Check, *, waited: bool = False, left_alone_s: float = 0.0) -> Result:
        """Ask again and again until it is true, or its time is over."""
        began_s, began = time.time(), time.monotonic()
        since = began - left_alone_s
        while True:
            scene = self.look()
            asked = time.monotonic()
            frames = b""
            if self.record:
                finding, frames = await self._questions.recorded(scene, check.question)
            else:
                finding = await self._questions.ask(scene, check.question)
            now = time.monotonic()
            lost = NOTHING if self._losses is None else self._losses.recent()
            if lost and finding.verdict is Verdict.PASS and _is_traffic(check.question):
                finding = failed(finding.said, because=lost, **finding.evidence)
            if (
                finding.verdict is Verdict.PASS
                or self.enough
                or self._is_over(check, finding, began, asked, since, waited=waited)
            ):
                break
            await asyncio.sleep(_again_s(check.question))  # between attempts: whoever answers tells nobody before
        took_s = now - began if finding.verdict is Verdict.PASS else None
        return Result(check, finding, began_s, time.time(), took_s, _theory(scene, check.question), frames)

    def _is_over(
        self, check: Check, finding: Finding, began: float, asked: float, since: float, *, waited: bool
    ) -> bool:
        """Whether an attempt that began at `asked` was the last: everything had its time before it."""
        now, scene = time.monotonic(), self.look()
        patience_s = min(self.patience_s, WAITED_S) if waited else self.patience_s
        if check.within_s is not None:
            return now - began >= check.within_s
        if finding.stays and not scene.moving:
            return now - max(since if finding.unasked else began, self._moved) >= self._stays_s
        if asked - began >= 2 * convergence_s(scene.observed) + patience_s:
            return True
        return not scene.moving and asked - max(began, self._moved) >= patience_s

    # ------------------------------------------------------------------ breaking
    async def _broken(self, question: FaultOutcome, connection: Connection) -> Finding:
        """What a fault does. It is undone whatever happens."""
        probes = [self._probe(text) for text in question.probes]
        outages: list[dict[str, Any]] = []
        wrong: list[Said] = []
        right = asked = 0
        try:
            async with self._measuring.broken(
                {"words": [self._word(word) for word in question.fault.split()], "probes": probes}, connection
            ) as report:
                for one in () if report is None else report.probes:
                    for problem in _outage_problems(question, one):
                        asked += 1
                        right += problem is None
                        wrong += [problem] if problem is not None else []
                    outages.append(
                        {
                            "probe": str(one.probe),
                            "seconds": one.seconds,
                            "theory": _predicted(one),
                            "sent": one.sent,
                            "lost": one.lost,
                            "reasons": dict(one.reasons),
                            "windows": [list(window) for window in one.windows],
                        }
                    )
                for check in question.checks:
                    result = await self._until_true(check)
                    asked += 1
                    right += result.finding.verdict is Verdict.PASS
                    if result.finding.verdict is not Verdict.PASS:
                        title = title_of(check)
                        why = result.finding.because or result.finding.said
                        wrong.append(Said(f"{title.en}: {why.en}", f"{title.es}: {why.es}"))
        except TrenzaError as error:
            return cannot_tell(same(error.message))
        shown = ", ".join(f"{one['probe']}: {_seconds(one['seconds'])}" for one in outages)
        said = same(shown) if shown else Said("broken and healed", "averiado y reparado")
        if not wrong:
            return passed(said, outages=outages)
        return failed(said, credit=right / asked if asked else 0, because=wrong[0], outages=outages)

    def _probe(self, text: str) -> str:
        """A probe in the student's names."""
        probe = parse_probe(text)
        scene = self.look()
        named = {one.rpartition("/")[2]: one for one in self._reference.nodes}
        source = named.get(probe.source, NodeName(probe.source))
        return text.replace(probe.source, scene.counterparts.find_node(source) or probe.source, 1)

    def _word(self, word: str) -> str:
        """A word of a fault in the student's names: a node, or an interface of one."""
        counterparts = self.look().counterparts
        name, dot, nic = word.partition(".")
        meant = [one for one in self._reference.nodes if name in (one, one.rpartition("/")[2])]
        if len(meant) != 1:
            return word
        interface = counterparts.find_interface(Interface(meant[0], NicName(nic))) if dot else None
        return str(interface) if interface is not None else (counterparts.find_node(meant[0]) or name) + dot + nic


def _is_traffic(question: Question) -> bool:
    return isinstance(question, Ping | PingAll | Http | PathTaken | Mtu) or (
        isinstance(question, Tcp) and question.open
    )


def _again_s(question: Question) -> float:
    """How soon an attempt may follow another: a router tells one asker of expired packets once a second."""
    return _TRACE_AGAIN_S if isinstance(question, PathTaken) else _AGAIN_S


def _theory(scene: Scene, question: Question) -> str:
    """What theory says of a way, in a line."""
    match question:
        case Ping() | PathTaken() | Http() | Tcp() | Mtu():
            try:
                source = scene.node(question.source)
                return scene.explainer.route_text(source, scene.address(question.to, source))
            except Absent:
                return ""
        case Seen():
            return _theory(scene, question.during)
        case _:
            return ""


def _outage_problems(question: FaultOutcome, outage: ProbeOutage) -> Iterator[Said | None]:
    """What is wrong with an outage, for each thing that was asked of it; None for what is right."""
    limit_s, seconds = question.at_most_s, outage.seconds
    shown = f"{outage.probe}: {_seconds(seconds)}"
    if limit_s is not None:
        good = seconds is not None and seconds <= limit_s
        yield None if good else Said(f"{shown}, more than {limit_s:g} s", f"{shown}, más de {limit_s:g} s")
    elif not question.like_theory:
        yield None if outage.is_over else Said(f"{outage.probe} does not come back", f"{outage.probe} no vuelve")
    if question.like_theory:
        theory = _predicted(outage)
        yield None if outage.fits else Said(f"{shown}; theory says {theory}", f"{shown}; la teoría dice {theory}")


def _predicted(outage: ProbeOutage) -> str:
    said = outage.prediction
    if said is None:
        return "-"
    return f"{said.low_s:.2f}–{said.high_s:.2f} s" if said.fate is Fate.OUTAGE else said.fate.value


def _seconds(seconds: float | None) -> str:
    return "∞" if seconds is None else f"{seconds:.2f} s"
