"""`solve`: a lab tests itself, in a sandbox of nobody's that becomes its base, each step, and wrong solutions.

The base earns nothing, each checkpoint passes once its `adds` are there, the whole earns everything, and every wrong
solution loses points. Theory says which of them are not wrong; checks that break something are asked only where all
others see nothing, because they take long.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from trenza.check.behaviour import behaviour, difference
from trenza.check.marks import CheckpointMark, Result
from trenza.check.mutants import Mutant, mutants
from trenza.check.telling import title_of
from trenza.check.verdict import NOTHING, Said, Verdict
from trenza.engine.engine import Aim, Engine, Request
from trenza.errors import KernelError, TrenzaError
from trenza.keeper.checking import Run
from trenza.keeper.cluster_objects import ClusterObjects
from trenza.keeper.connection import Connection
from trenza.keeper.measuring import Measuring
from trenza.keeper.polling import PATIENCE_S, Polling
from trenza.keeper.questions import Questions
from trenza.keeper.supervise import Supervisor
from trenza.model.checks import Check, FaultOutcome
from trenza.model.lab import Checkpoint, Lab
from trenza.model.state import Bridge, Process, State
from trenza.theory import convergence_s
from trenza.wire import Message

STAYS_S = 0.2
"""What the configuration says is believed at once: nobody else changes it."""

BASE_PATIENCE_S = 2.0
"""So long one waits for what should not come true, after the base's own trees have converged."""

RETURN_S = 25.0
"""The whole has so long to earn its points again: what was learnt of a wrong network has to be forgotten first."""

_READY_S = 8.0
"""A wrong service has so long to become ready; some never do."""


@dataclass(slots=True)
class _Told:
    """What became of the mutants."""

    killed: list[dict[str, str]] = field(default_factory=list)
    equal: list[str] = field(default_factory=list)
    listed: list[dict[str, str]] = field(default_factory=list)
    survived: list[dict[str, str]] = field(default_factory=list)
    left_out: int = 0


class Solving:
    """Answers `solve`. `attend` looks after what the engine made; `busy` is held while it makes."""

    def __init__(
        self, engine: Engine, questions: Questions, measuring: Measuring, supervisor: Supervisor,
        there: ClusterObjects, busy: asyncio.Lock, attend: Callable[[], None],
    ) -> None:  # fmt: skip
        self._engine = engine
        self._questions = questions
        self._objects = there
        self._measuring = measuring
        self._supervisor = supervisor
        self._busy = busy
        self._attend = attend

    async def solve(self, connection: Connection, request: Request, message: Message) -> None:
        """Try out a lab. The sandbox is no lab afterwards: whoever asked ends it."""
        async with self._busy:
            aims = self._engine.begin_trial(request)
        trial = _Trial(self, connection, self._questions, aims, request.language)
        connection.send({"result": await trial.result(message.get("sample"), message.get("seed"))})

    async def become(self, aim: Aim, *, ready_s: float | None = None) -> None:
        """Make the lab as an aim says, and wait until its services are ready, or for so long."""
        async with self._busy:
            self._engine.become(aim)
            self._attend()
        processes = [thing for thing in self._engine.wanted if isinstance(thing, Process)]
        try:
            async with asyncio.timeout(ready_s):
                await self._supervisor.unready(processes)
                await self._objects.settle(keep_unread=False)
        except TimeoutError:
            pass  # the checks see it

    def run(self, questions: Questions, lab: Lab, chosen: Sequence[Checkpoint], patience_s: float) -> Run:
        _, reference = self._engine.reference()
        polling = Polling(
            self._engine, questions, self._measuring, None, reference, {}, patience_s=patience_s, stays_s=STAYS_S
        )
        return Run(self._engine, polling, lab, chosen, "en")


class _Trial:
    """One lab on trial."""

    def __init__(
        self, solving: Solving, connection: Connection, questions: Questions, aims: Sequence[Aim], language: str
    ) -> None:
        self._solving = solving
        self._connection = connection
        self._questions = questions
        self._aims = aims
        self._whole = aims[-1]
        self._language = language
        self._lab = self._whole.lab

    def _say(self, doing: str, number: int = 0, of: int = 0) -> None:
        self._connection.send({"progress": {"doing": doing, "number": number, "of": of}})

    async def result(self, sample: int | None, seed: int | None) -> dict[str, Any]:
        """All that the trial found out, as plain data."""
        began = time.monotonic()
        base = await self._base()
        steps = [await self._step(number, brief=sample is not None) for number in range(len(self._aims) - 2)]
        last, whole = await self._all()
        bred = mutants(self._aims[0].state, self._whole.state)
        told = _Told()
        if whole["passed"]:
            await self._mutants(bred, told, sample, seed)
        unused = [one for one in self._lab.equivalent if not any(mutant.is_like(one) for mutant in bred)]
        steps = [*steps, *last]
        return {
            "lab": self._lab.name,
            "base": base,
            "checkpoints": steps,
            "whole": whole,
            "mutants": {
                "killed": told.killed, "equal": told.equal, "listed": told.listed, "survived": told.survived,
                "left_out": told.left_out,
            },
            "unused": unused,
            "passed": all(one["right"] for one in base) and all(one["passed"] for one in steps) and whole["passed"]
            and not told.survived,
            "seconds": time.monotonic() - began,
        }  # fmt: skip

    # ------------------------------------------------------------------ what is right
    async def _base(self) -> list[dict[str, Any]]:
        """What each checkpoint earns before anybody has done anything: nothing, unless it adds nothing."""
        self._say("base")
        await self._solving.become(self._aims[0])
        chosen = [replace(one, checks=_quiet(one.checks)) for one in self._lab.checkpoints]
        found = await self._marks(chosen, BASE_PATIENCE_S)
        told = []
        for number, one in enumerate(found):
            adds = self._aims[number + 1].state != self._aims[number].state
            earns = one.points > 0 if one.max_points else one.verdict is Verdict.PASS and adds
            true = [result for result in one.results if result.finding.credit and _counts(one.checkpoint, result.check)]
            told.append({**_mark_data(one), "right": not earns, "true": [self._title(result.check) for result in true]})
        return told

    async def _step(self, number: int, *, brief: bool) -> dict[str, Any]:
        """Whether a checkpoint passes when its `adds` are there and those of later ones are not.

        In `brief`, what breaks something and is asked of the whole anyway is left to that.
        """
        checkpoint = self._lab.checkpoints[number]
        if brief:
            spared = _loud(_lasting(checkpoint.checks))
            checkpoint = replace(checkpoint, checks=tuple(one for one in checkpoint.checks if one not in spared))
        self._say(checkpoint.name)
        await self._solving.become(self._aims[number + 1])
        return self._passed((await self._marks([checkpoint], self._patience_s(self._aims[number + 1].state)))[0])

    async def _all(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """The last checkpoint, and whether the whole earns all there is."""
        self._say("all")
        await self._solving.become(self._whole)
        found = await self._marks(self._lab.checkpoints, self._patience_s(self._whole.state))
        points, of = sum(one.points for one in found), sum(one.max_points for one in found)
        told = [self._passed(one) for one in found]
        wrong = next((one["because"] for one in told if not one["passed"]), "")
        whole = {"points": points, "max_points": of, "passed": all(one["passed"] for one in told), "because": wrong}
        return told[-1:], whole

    async def _marks(self, chosen: Sequence[Checkpoint], patience_s: float) -> tuple[CheckpointMark, ...]:
        run = self._solving.run(self._questions, self._lab, chosen, patience_s)
        return await run.marks(lambda *_: None, self._connection)

    def _passed(self, one: CheckpointMark) -> dict[str, Any]:
        wrong = next((result for result in one.results if result.finding.verdict is not Verdict.PASS), None)
        passed = one.verdict is Verdict.PASS or not one.results
        return {**_mark_data(one), "passed": passed, "because": "" if wrong is None else self._because(wrong)}

    # ------------------------------------------------------------------ what is wrong
    async def _mutants(self, bred: Sequence[Mutant], told: _Told, sample: int | None, seed: int | None) -> None:
        right = behaviour(self._whole.state)
        wrong: list[tuple[Mutant, Said]] = []
        for mutant in bred:
            reason = next((why for name, why in self._lab.equivalent.items() if mutant.is_like(name)), None)
            if reason is not None:
                told.listed.append({"name": mutant.name, "reason": reason})
            elif (said := difference(right, behaviour(mutant.state))) is NOTHING:
                told.equal.append(mutant.name)
            else:
                wrong.append((mutant, said))
        if sample is not None and sample < len(wrong):
            told.left_out = len(wrong) - sample
            kept = sorted(random.Random(seed).sample(range(len(wrong)), sample))
            wrong = [wrong[number] for number in kept]
        for number, (mutant, said) in enumerate(wrong):
            self._say(mutant.name, number + 1, len(wrong))
            try:
                killer = await self._killer(mutant)
            except KernelError as error:  # nobody can have built it
                told.killed.append({"name": mutant.name, "by": error.message})
            else:
                if killer is None:
                    told.survived.append({"name": mutant.name, "theory": said.in_language(self._language)})
                else:
                    told.killed.append({"name": mutant.name, "by": self._title(killer.check)})
            await self._return(mutant)

    async def _killer(self, mutant: Mutant) -> Result | None:
        """The check that sees a wrong solution, if there is one."""
        await self._solving.become(replace(self._whole, state=mutant.state), ready_s=_READY_S)
        settled = time.monotonic() + _settling_s(mutant.state)
        quiet = [replace(one, checks=_quiet(_lasting(one.checks))) for one in self._lab.checkpoints]
        while True:
            killer = await self._find_failing(quiet, self._patience_s(mutant.state))
            if killer is not None:
                return killer
            if time.monotonic() >= settled:  # what is to be noticed first, as a silent root, is noticed by now
                break
        loud = [replace(one, checks=_loud(_lasting(one.checks))) for one in self._lab.checkpoints]
        return await self._find_failing(loud, self._patience_s(mutant.state))

    async def _return(self, mutant: Mutant) -> None:
        """The solution again, and all its points: by the difference, else by way of the base, which forgets more."""
        said = ""
        for way in ((self._whole,), (self._aims[0], self._whole)):
            for aim in way:
                await self._solving.become(aim)
            quiet = [replace(one, checks=_quiet(_lasting(one.checks))) for one in self._lab.checkpoints]
            wrong = await self._find_failing(quiet, RETURN_S)
            if wrong is None:
                return
            said = self._because(wrong)
        raise TrenzaError(f"after {mutant.name!r} was mended, the solution does not earn its points again: {said}")

    async def _find_failing(self, chosen: Sequence[Checkpoint], patience_s: float) -> Result | None:
        run = self._solving.run(self._questions, self._lab, chosen, patience_s)
        return await run.find_failing(_counts, self._connection)

    # ------------------------------------------------------------------ words
    def _patience_s(self, state: State) -> float:
        """How long what no configuration explains may take to come true: daemons that elect and check included."""
        return PATIENCE_S + _daemons_s(state)

    def _title(self, check: Check) -> str:
        return title_of(check).in_language(self._language)

    def _because(self, result: Result) -> str:
        why = result.finding.because or result.finding.said
        return f"{self._title(result.check)}: {why.in_language(self._language)}"


def _mark_data(one: CheckpointMark) -> dict[str, Any]:
    return {"name": one.checkpoint.name, "points": one.points, "max_points": one.max_points}


def _counts(checkpoint: Checkpoint, check: Check) -> bool:
    """Whether points are lost with a check, or a checkpoint that is worth none."""
    return checkpoint.points == 0 or check.weight > 0 or check.required


def _quiet(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Those that break nothing."""
    return tuple(check for check in checks if not isinstance(check.question, FaultOutcome))


def _loud(checks: Sequence[Check]) -> tuple[Check, ...]:
    return tuple(check for check in checks if isinstance(check.question, FaultOutcome))


def _lasting(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Those that are still true of the whole."""
    return tuple(check for check in checks if check.until is None)


def _daemons_s(state: State) -> float:
    """How long daemons may take to notice: to elect another master, to find a server dead or alive."""
    slowest = 0.0
    for process in state:
        if isinstance(process, Process):
            waits_s = [3 * one.advert_s + 1 for one in process.vrrp]
            waits_s += [one.inter_s * max(one.fall, one.rise) for one in process.health_checks]
            slowest = max([slowest, *waits_s])
    return slowest


def _settling_s(state: State) -> float:
    """How long a changed network may look as it did: until bridges miss their root, and daemons each other."""
    ages_s = [thing.max_age_s for thing in state if isinstance(thing, Bridge) and thing.stp and thing.up]
    return max(ages_s, default=0) + convergence_s(state) + _daemons_s(state)
