"""`check`: the lab's questions are asked until they come true or their time is over, and what that is worth.

Questions that do not disturb each other are asked together. Those that look at the traffic of a place, which must be
their own, and those that break something, come one by one after them.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from trenza.check.marks import CheckpointMark, Latch, Result, mark, taken_as_passed
from trenza.check.telling import Report, finding_data, report_data, title_of
from trenza.check.verdict import NOTHING, Finding, Said, Verdict, cannot_tell, failed, passed, same
from trenza.engine.engine import Engine
from trenza.errors import TrenzaError, UsageError
from trenza.fault.outage import ProbeOutage
from trenza.fault.probes import parse_probe
from trenza.keeper.connection import Connection
from trenza.keeper.measuring import Measuring
from trenza.keeper.questions import Questions
from trenza.keeper.scene import Absent, Scene, look
from trenza.linux.inside import SandboxNodes
from trenza.model.checks import Check, FaultOutcome, Fdb, Http, Mtu, PathTaken, Ping, PingAll, Question, Seen, Tcp
from trenza.model.event import Event
from trenza.model.lab import Checkpoint, Lab
from trenza.model.names import Interface, NicName, NodeName
from trenza.model.state import State
from trenza.theory import convergence_s
from trenza.theory.outage import Fate
from trenza.wire import Message

STAYS_S = 1.0
"""What the configuration says is asked again for so long, and no longer while nothing converges."""

PATIENCE_S = 6.0
"""What may still come true (a daemon that elects, a health check) has so long after the last tree has converged."""

HOLDS_S = 1.0
"""Traffic counts when no link has been lost for so long: one window may fit between two losses of one that flaps."""

_AGAIN_S = 0.1
_TRACE_AGAIN_S = 1.1
_LOOK_EVERY_S = 0.2
_CHANGES = (
    "link",
    "address",
    "route",
    "neighbour",
    "built",
    "service",
    "start",
    "stop",
    "launch",
    "fault",
    "stp",
    "vrrp",
)
_WATCH_AT_LEAST_S = 5.0
Told = Callable[[Checkpoint, int, Result], None]


class Checking:
    """Answers `check`."""

    def __init__(self, engine: Engine, nodes: SandboxNodes, measuring: Measuring) -> None:
        self._engine = engine
        self._questions = Questions(engine, nodes)
        self._measuring = measuring
        self._checking = asyncio.Lock()
        self._lost: tuple[float, str] = (0.0, "")
        """When a link was last lost, on the monotonic clock, and which."""
        engine.journal.listen(self._hear)

    def _hear(self, event: Event) -> None:
        if event.kind == "link" and ("no carrier" in event.text or event.text.endswith(("down", "is gone"))):
            self._lost = time.monotonic(), f"{event.node}.{event.fields.get('nic', '')}"

    def lost(self) -> Said:
        """Which link was lost a moment ago, if one was."""
        ago_s = time.monotonic() - self._lost[0]
        if not self._lost[1] or ago_s >= HOLDS_S:
            return NOTHING
        nic = self._lost[1]
        return Said(f"{nic} was lost {ago_s:.1f} s ago", f"{nic} cayó hace {ago_s:.1f} s")

    async def check(self, connection: Connection, message: Message) -> None:
        """Check all checkpoints or one; with `watch` again whenever something has changed."""
        if self._checking.locked():
            raise UsageError("the lab is being checked already")
        async with self._checking:
            while True:
                run = self._run(message)
                report = await run.report(connection)
                connection.send({"report" if message.get("watch") else "result": report})
                if not message.get("watch") or not await self._changed(connection):
                    return

    def _run(self, message: Message) -> Run:
        hidden = message.get("hidden")
        lab, reference = self._engine.reference(
            None if hidden is None else (base64.b64decode(hidden), message.get("hidden_file") or "hidden.yaml")
        )
        chosen = _chosen(lab, message.get("checkpoint"))
        given = self._given(message.get("map") or {}, reference)
        return Run(
            self._engine, self._questions, self._measuring, lab, reference, chosen, given,
            message.get("language") or "en", message.get("patience_s") or PATIENCE_S, bool(message.get("record")),
            self.lost,
        )  # fmt: skip

    def _given(self, words: Mapping[str, str], reference: State) -> dict[NodeName, NodeName]:
        """What somebody said stands for what. Raises UsageError for names that are not there."""
        given: dict[NodeName, NodeName] = {}
        for name, node in words.items():
            matching = [one for one in reference.nodes if one == name or one.rpartition("/")[2] == name]
            if len(matching) != 1:
                names = " ".join(sorted(one.rpartition("/")[2] for one in reference.nodes))
                raise UsageError(f"the lab's solution has no node {name!r}", hint=f"nodes: {names}")
            given[matching[0]] = self._engine.resolve(node)
        return given

    async def _changed(self, connection: Connection) -> bool:
        """Wait until something was changed, or for a while; False when whoever watches has gone."""
        changed = asyncio.Event()
        stop = self._engine.journal.listen(lambda event: changed.set() if event.kind in _CHANGES else None)
        gone = asyncio.ensure_future(connection.closed.wait())
        waiting = asyncio.ensure_future(changed.wait())
        try:
            await asyncio.wait({gone, waiting}, timeout=_WATCH_AT_LEAST_S, return_when=asyncio.FIRST_COMPLETED)
            return not gone.done()
        finally:
            stop()
            gone.cancel()
            waiting.cancel()


class Run:
    """One run over the chosen checkpoints."""

    def __init__(
        self,
        engine: Engine,
        questions: Questions,
        measuring: Measuring,
        lab: Lab,
        reference: State,
        chosen: Sequence[Checkpoint],
        given: Mapping[NodeName, NodeName],
        language: str,
        patience_s: float,
        record: bool,
        lost: Callable[[], Said],
        stays_s: float = STAYS_S,
    ) -> None:
        self._engine = engine
        self._questions = questions
        self._measuring = measuring
        self._lab = lab
        self._reference = reference
        self._chosen = chosen
        self._given = given
        self._language = language
        self._patience_s = patience_s
        self._record = record
        self._lost = lost
        self._stays_s = stays_s
        self._enough = False
        self._done: set[str] = set()
        """Checkpoints of which every check has passed."""
        self._scene: Scene | None = None
        self._looked = 0.0
        self._moved = time.monotonic()

    async def report(self, connection: Connection) -> dict[str, Any]:
        """Ask everything; each answer is told as it comes. The whole report as plain data."""
        began_s, began = time.time(), time.monotonic()

        def tell(checkpoint: Checkpoint, number: int, result: Result) -> None:
            connection.send(
                {
                    "progress": {
                        "checkpoint": checkpoint.name,
                        "check": number,
                        "title": title_of(result.check).in_language(self._language),
                        **finding_data(result.finding, self._language),
                    }
                }
            )

        marks = self._latched(await self.marks(tell, connection))
        scene = self._look(fresh=True)
        report = Report(self._lab.name, marks, tuple(scene.counterparts.changed()), began_s, time.monotonic() - began)
        return report_data(report, self._language)

    async def marks(self, tell: Told, connection: Connection) -> tuple[CheckpointMark, ...]:
        """Ask everything; what each checkpoint earns."""
        results = await self._ask_all(tell, connection)
        return taken_as_passed(
            [mark(checkpoint, results[checkpoint.name], self._latch_of(checkpoint)) for checkpoint in self._chosen]
        )

    async def find_failing(self, counts: Callable[[Checkpoint, Check], bool], connection: Connection) -> Result | None:
        """The first check found that counts and does not pass; the others are not waited for then."""
        failing: list[Result] = []

        def tell(checkpoint: Checkpoint, number: int, result: Result) -> None:
            if result.finding.verdict is not Verdict.PASS and counts(checkpoint, result.check) and not self._enough:
                failing.append(result)
                self._enough = True

        await self._ask_all(tell, connection)
        return failing[0] if failing else None

    # ------------------------------------------------------------------ looking
    def _look(self, *, fresh: bool = False) -> Scene:
        """What is there now, not older than a moment."""
        now = time.monotonic()
        if self._scene is None or fresh or now - self._looked > _LOOK_EVERY_S:
            self._scene = look(self._engine, self._reference, self._given)
            self._looked = time.monotonic()
            if self._scene.moving:
                self._moved = self._looked
        return self._scene

    # ------------------------------------------------------------------ asking
    async def _ask_all(self, tell: Told, connection: Connection) -> dict[str, list[Result]]:
        results: dict[str, list[Result | None]] = {one.name: [None] * len(one.checks) for one in self._chosen}

        async def ask(checkpoint: Checkpoint, number: int, work: Awaitable[Result]) -> None:
            result = await work
            found = results[checkpoint.name]
            found[number] = result
            if all(one is not None and one.finding.verdict is Verdict.PASS for one in found):
                self._done.add(checkpoint.name)
            tell(checkpoint, number + 1, result)

        alone: list[tuple[Checkpoint, int, Check]] = []
        async with asyncio.TaskGroup() as group:
            for checkpoint in self._chosen:
                for number, check in enumerate(checkpoint.checks):
                    if check.until is not None or _is_alone(check.question):
                        alone.append((checkpoint, number, check))
                    else:
                        group.create_task(ask(checkpoint, number, self._until_true(check)))
        for checkpoint, number, check in sorted(alone, key=_turn):
            if connection.closed.is_set():
                raise UsageError("whoever asked has gone")
            if self._enough:
                break
            before = [one for one in results[checkpoint.name] if one is not None]
            await ask(checkpoint, number, self._alone(checkpoint, check, before, connection))
        return {name: [one for one in found if one is not None] for name, found in results.items()}

    async def _alone(
        self, checkpoint: Checkpoint, check: Check, before: Sequence[Result], connection: Connection
    ) -> Result:
        """A question that is asked while no other is. Nothing is broken where things do not work yet."""
        if not isinstance(check.question, FaultOutcome):
            return await self._until_true(check)
        began_s = time.time()
        still = [one for one in before if not isinstance(one.check.question, FaultOutcome)]
        wrong = next(
            (one for one in still if one.finding.verdict is not Verdict.PASS and not _lasts(one, self._chosen)), None
        )
        if check.until in self._done:
            finding = failed(Said(f"{check.until} has passed", f"{check.until} ya está"))
        elif wrong is not None:
            title = title_of(wrong.check)
            said = Said(f"not broken before this works: {title.en}", f"no se avería antes de que funcione: {title.es}")
            finding = Finding(Verdict.SKIPPED, said)
        elif self._latch_of(checkpoint) is not None:
            finding = passed(Said("it was shown earlier", "ya se demostró"))
        else:
            finding = await self._broken(check.question, connection)
        return Result(check, finding, began_s, time.time(), time.time() - began_s if finding.credit == 1 else None)

    async def _until_true(self, check: Check) -> Result:
        """Ask again and again until it is true, or its time is over."""
        began_s, began = time.time(), time.monotonic()
        if check.until in self._done:
            return Result(check, failed(Said(f"{check.until} has passed", f"{check.until} ya está")), began_s, began_s)
        while True:
            scene = self._look()
            asked = time.monotonic()
            frames = b""
            if self._record:
                finding, frames = await self._questions.recorded(scene, check.question)
            else:
                finding = await self._questions.ask(scene, check.question)
            now = time.monotonic()
            flaps = self._lost() if finding.verdict is Verdict.PASS and _is_traffic(check.question) else NOTHING
            if flaps:
                finding = failed(finding.said, because=flaps, **finding.evidence)
            if finding.verdict is Verdict.PASS or self._enough or self._is_over(check, finding, began, asked):
                break
            await asyncio.sleep(
                _again_s(check.question)
            )  # the next attempt; what it waits for is the answer, not the clock
        took_s = now - began if finding.verdict is Verdict.PASS else None
        return Result(check, finding, began_s, time.time(), took_s, _theory(scene, check.question), frames)

    def _is_over(self, check: Check, finding: Finding, began: float, asked: float) -> bool:
        """Whether an attempt that began at `asked` was the last: everything had its time before it."""
        now, scene = time.monotonic(), self._look()
        if check.within_s is not None:
            return now - began >= check.within_s
        if finding.stays and not scene.moving:
            return now - max(began, self._moved) >= self._stays_s
        if asked - began >= 2 * convergence_s(scene.observed) + self._patience_s:
            return True
        return not scene.moving and asked - max(began, self._moved) >= self._patience_s

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
                    outages.append({"probe": str(one.probe), "seconds": one.seconds, "theory": _predicted(one)})
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
        scene = self._look()
        named = {one.rpartition("/")[2]: one for one in self._reference.nodes}
        source = named.get(probe.source, NodeName(probe.source))
        return text.replace(probe.source, scene.counterparts.find_node(source) or probe.source, 1)

    def _word(self, word: str) -> str:
        """A word of a fault in the student's names: a node, or an interface of one."""
        counterparts = self._look().counterparts
        name, dot, nic = word.partition(".")
        meant = [one for one in self._reference.nodes if name in (one, one.rpartition("/")[2])]
        if len(meant) != 1:
            return word
        interface = counterparts.find_interface(Interface(meant[0], NicName(nic))) if dot else None
        return str(interface) if interface is not None else (counterparts.find_node(meant[0]) or name) + dot + nic

    # ------------------------------------------------------------------ latches
    def _latch_of(self, checkpoint: Checkpoint) -> Latch | None:
        """When a checkpoint of a lab that somebody solves passed earlier; what asks something else does not count."""
        record = self._engine.record
        found = None if record is None or not record.mode.is_somebodys else record.latches.get(checkpoint.name)
        return Latch(found["time_s"]) if found is not None and found["asks"] == _digest(checkpoint) else None

    def _latched(self, marks: Sequence[CheckpointMark]) -> tuple[CheckpointMark, ...]:
        """What passed now is written down; what passed earlier and does not now, says so."""
        record = self._engine.record
        if record is None or not record.mode.is_somebodys:
            return tuple(marks)
        now = time.time()
        new = {
            one.checkpoint.name: {"time_s": now, "asks": _digest(one.checkpoint)}
            for one in marks
            if one.verdict is Verdict.PASS and one.latched is None
        }
        self._engine.latch(new)
        return tuple(marks)


def _chosen(lab: Lab, name: str | None) -> Sequence[Checkpoint]:
    """All checkpoints, or the one of a name or number. Raises UsageError."""
    names = [checkpoint.name for checkpoint in lab.checkpoints]
    if not any(checkpoint.checks for checkpoint in lab.checkpoints):
        raise UsageError(f"{lab.name} has no checks", hint="checkpoints: [{name: …, points: …, checks: […]}]")
    if name is None:
        return lab.checkpoints
    if name in names:
        return [lab.checkpoints[names.index(name)]]
    if name.isdecimal() and 1 <= int(name) <= len(names):
        return [lab.checkpoints[int(name) - 1]]
    raise UsageError(f"there is no checkpoint {name!r}", hint=f"checkpoints: {' '.join(names)}")


def _digest(checkpoint: Checkpoint) -> str:
    return hashlib.blake2b(repr(checkpoint).encode(), digest_size=16).hexdigest()


def _is_alone(question: Question) -> bool:
    """Whether other questions would disturb it, or it them."""
    match question:
        case FaultOutcome() | Seen():
            return True
        case Fdb(count=count, only=only, lacks=lacks):
            return count is not None or only or bool(lacks)
        case Http(served_by=served_by):
            return any(share is not None for share in served_by.values())
        case _:
            return False


def _is_traffic(question: Question) -> bool:
    return isinstance(question, Ping | PingAll | Http | PathTaken | Mtu) or (
        isinstance(question, Tcp) and question.open
    )


def _again_s(question: Question) -> float:
    """How soon an attempt may follow another: a router tells one asker of expired packets once a second."""
    return _TRACE_AGAIN_S if isinstance(question, PathTaken) else _AGAIN_S


def _turn(one: tuple[Checkpoint, int, Check]) -> tuple[bool, bool]:
    """What breaks something comes after what looks, and last what may be true no longer."""
    check = one[2]
    return check.until is not None, isinstance(check.question, FaultOutcome)


def _lasts(result: Result, chosen: Sequence[Checkpoint]) -> bool:
    """Whether something that is not true now may have been: it holds until a later checkpoint."""
    return result.check.until is not None and any(one.name == result.check.until for one in chosen)


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
