"""`check`: all questions of the lab are asked without disturbing each other, and what the answers are worth.

Questions that do not disturb each other are asked together. Those that look at the traffic of a place, which must be
their own, and those that break something, come one by one after them.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from trenza.check.marks import CheckpointMark, Latch, Result, mark, taken_as_passed
from trenza.check.telling import Report, finding_data, report_data, result_data, title_of
from trenza.check.verdict import Finding, Said, Verdict, passed
from trenza.engine.engine import Engine
from trenza.errors import UsageError
from trenza.keeper.connection import Connection
from trenza.keeper.measuring import Measuring
from trenza.keeper.polling import PATIENCE_S, Losses, Polling
from trenza.keeper.questions import Questions
from trenza.model.checks import Check, FaultOutcome, Fdb, Http, Question, Seen
from trenza.model.lab import Checkpoint, Lab
from trenza.model.names import NodeName
from trenza.model.plain import plain_state
from trenza.model.state import State
from trenza.wire import Message

_CHANGES = (
    "link", "address", "route", "neighbour", "built", "service", "start", "stop", "launch", "fault", "stp", "vrrp",
)  # fmt: skip
_WATCH_AT_LEAST_S = 5.0
Told = Callable[[Checkpoint, int, Result], None]


class Checking:
    """Answers `check` and `ask`."""

    def __init__(self, engine: Engine, questions: Questions, measuring: Measuring) -> None:
        self._engine = engine
        self._questions = questions
        self._measuring = measuring
        self._losses = Losses(engine.journal)
        self._checking = asyncio.Lock()

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

    async def ask(self, connection: Connection, message: Message) -> None:
        """Ask one check that comes with the request; who asks several at once knows whether they disturb each other."""
        check = self._engine.read_check(message["check"])
        _, reference = self._engine.reference()
        result = await self._polling(reference, message).result(check, connection)
        connection.send({"result": result_data(result, "check", message.get("language") or "en")})

    def _polling(self, reference: State, message: Message) -> Polling:
        return Polling(
            self._engine, self._questions, self._measuring, self._losses, reference,
            self._given(message.get("map") or {}, reference),
            patience_s=message.get("patience_s") or PATIENCE_S, record=bool(message.get("record")),
        )  # fmt: skip

    def _run(self, message: Message) -> Run:
        hidden = message.get("hidden")
        lab, reference = self._engine.reference(
            None if hidden is None else (base64.b64decode(hidden), message.get("hidden_file") or "hidden.yaml")
        )
        chosen = _chosen(lab, message.get("checkpoint"))
        polling = self._polling(reference, message)
        return Run(self._engine, polling, lab, chosen, message.get("language") or "en")

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

    def __init__(self, engine: Engine, polling: Polling, lab: Lab, chosen: Sequence[Checkpoint], language: str) -> None:
        self._engine = engine
        self._polling = polling
        self._lab = lab
        self._chosen = chosen
        self._language = language
        self._done: set[str] = set()
        """Checkpoints of which every check has passed."""

    async def report(self, connection: Connection) -> dict[str, Any]:
        """Ask everything; each answer is told as it comes. The whole report as plain data."""
        began_s, began = time.time(), time.monotonic()
        before = self._polling.look(fresh=True).observed

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
        scene = self._polling.look(fresh=True)
        report = Report(self._lab.name, marks, tuple(scene.counterparts.changed()), began_s, time.monotonic() - began)
        data = report_data(report, self._language)
        if self._polling.record:
            data["state"] = {"before": plain_state(before), "after": plain_state(scene.observed)}
        return data

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
            failed = result.finding.verdict is not Verdict.PASS and counts(checkpoint, result.check)
            if failed and not self._polling.enough:
                failing.append(result)
                self._polling.enough = True

        await self._ask_all(tell, connection)
        return failing[0] if failing else None

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
        began = unbroken = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for checkpoint in self._chosen:
                for number, check in enumerate(checkpoint.checks):
                    if check.until is not None or _is_alone(check.question):
                        alone.append((checkpoint, number, check))
                    else:
                        group.create_task(ask(checkpoint, number, self._result(check, connection)))
        for checkpoint, number, check in sorted(alone, key=self._turn):
            if connection.closed.is_set():
                raise UsageError("whoever asked has gone")
            if self._polling.enough:
                break
            before = [one for one in results[checkpoint.name] if one is not None]
            times = (time.monotonic() - began, time.monotonic() - unbroken)
            await ask(checkpoint, number, self._alone(checkpoint, check, before, connection, *times))
            if isinstance(check.question, FaultOutcome):
                unbroken = time.monotonic()
        return {name: [one for one in found if one is not None] for name, found in results.items()}

    async def _alone(
        self,
        checkpoint: Checkpoint,
        check: Check,
        before: Sequence[Result],
        connection: Connection,
        asking_s: float,
        left_alone_s: float,
    ) -> Result:
        """A question that is asked while no other is. Nothing is broken where things do not work yet.

        The run has been `asking_s` long, and for `left_alone_s` nothing has been broken.
        """
        if not isinstance(check.question, FaultOutcome):
            waited = asking_s > self._polling.patience_s
            result = await self._polling.result(check, connection, self._done, waited=waited, left_alone_s=left_alone_s)
            if self._breaker_of(check) is not None and self._is_somebodys:
                return replace(result, check=replace(check, until=None))  # it has to be shown, once, before it breaks
            return result
        still = [
            one
            for one in before
            if not isinstance(one.check.question, FaultOutcome) and (check.hidden or not one.check.hidden)
        ]
        wrong = next(
            (one for one in still if one.finding.verdict is not Verdict.PASS and not _lasts(one, self._chosen)), None
        )
        if wrong is not None and check.until not in self._done:
            title = title_of(wrong.check)
            said = Said(f"not broken before this works: {title.en}", f"no se avería antes de que funcione: {title.es}")
            return _unasked(check, Finding(Verdict.SKIPPED, said))
        if self._latch_of(checkpoint) is not None:
            return _unasked(check, passed(Said("it was shown earlier", "ya se demostró")))
        return await self._result(check, connection)

    def _turn(self, one: tuple[Checkpoint, int, Check]) -> tuple[bool, bool]:
        """What breaks something comes after what looks, and last what may be true no longer.

        What a later checkpoint's fault makes untrue is asked before anything is broken.
        """
        _, _, check = one
        lasts = check.until is not None and self._breaker_of(check) is None
        return lasts, isinstance(check.question, FaultOutcome)

    def _breaker_of(self, check: Check) -> Checkpoint | None:
        """The later checkpoint that makes a check untrue by breaking something; None if none does, or another way."""
        later = next((one for one in self._lab.checkpoints if one.name == check.until), None)
        breaks = later is not None and any(isinstance(one.question, FaultOutcome) for one in later.checks)
        return later if breaks else None

    @property
    def _is_somebodys(self) -> bool:
        record = self._engine.record
        return record is not None and record.mode.is_somebodys

    def _result(self, check: Check, connection: Connection) -> Awaitable[Result]:
        return self._polling.result(check, connection, self._done)

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


def _lasts(result: Result, chosen: Sequence[Checkpoint]) -> bool:
    """Whether something that is not true now may have been: it holds until a later checkpoint."""
    return result.check.until is not None and any(one.name == result.check.until for one in chosen)


def _unasked(check: Check, finding: Finding) -> Result:
    """What is known without asking."""
    now_s = time.time()
    return Result(check, finding, now_s, now_s, 0.0 if finding.verdict is Verdict.PASS else None)
