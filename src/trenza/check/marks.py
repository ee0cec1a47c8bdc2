"""Marks: what findings are worth, checkpoint by checkpoint; the sum never depends on what could be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trenza.check.verdict import Finding, Said, Verdict
from trenza.model.checks import Check
from trenza.model.lab import Checkpoint


@dataclass(frozen=True, slots=True)
class Latch:
    """When a checkpoint passed, in seconds since the epoch, and its results as they were then (plain data)."""

    time_s: float
    checks: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """One check with what was found, when it was asked and, if it passed, after how long.

    `frames` is a pcapng file of what passed whoever asked, where that was recorded.
    """

    check: Check
    finding: Finding
    began_s: float = 0.0
    ended_s: float = 0.0
    passed_after_s: float | None = None
    theory: str = ""
    frames: bytes = b""


@dataclass(frozen=True, slots=True)
class CheckpointMark:
    """A checkpoint's results and its points."""

    checkpoint: Checkpoint
    results: tuple[Result, ...]
    verdict: Verdict
    points: float
    latched: Latch | None = None

    @property
    def max_points(self) -> float:
        return self.checkpoint.points

    def points_of(self, result: Result) -> float:
        """What a check contributes, of `max_points_of` it."""
        if self.verdict is Verdict.PASS:
            return self.max_points_of(result)
        if self._gate_shut:
            return 0.0
        return self.max_points_of(result) * result.finding.credit

    def max_points_of(self, result: Result) -> float:
        total = sum(one.check.weight for one in self.results)
        return self.checkpoint.points * result.check.weight / total if total else 0.0

    @property
    def _gate_shut(self) -> bool:
        return any(one.check.required and one.finding.verdict is not Verdict.PASS for one in self.results)


def mark(checkpoint: Checkpoint, results: Sequence[Result], latch: Latch | None = None) -> CheckpointMark:
    """The mark of one checkpoint. All checks pass: it passes. One that passed earlier (`latch`) keeps its points."""
    results = tuple(results)
    verdicts = {result.finding.verdict for result in results}
    if not results:
        return CheckpointMark(checkpoint, results, Verdict.SKIPPED, 0.0)
    if verdicts == {Verdict.PASS}:
        return CheckpointMark(checkpoint, results, Verdict.PASS, checkpoint.points, latch)
    if latch is not None:
        return CheckpointMark(checkpoint, results, Verdict.PASS, checkpoint.points, latch)
    verdict = Verdict.FAIL if Verdict.FAIL in verdicts else Verdict.CANNOT_TELL
    made = CheckpointMark(checkpoint, results, verdict, 0.0)
    return replace(made, points=sum(made.points_of(result) for result in results))


def taken_as_passed(marks: Sequence[CheckpointMark]) -> tuple[CheckpointMark, ...]:
    """Checks that hold only `until` a later checkpoint count as passed when that one has passed."""
    passed: set[str] = set()
    made: list[CheckpointMark] = []
    for one in reversed(marks):
        results = tuple(_taken(result, passed) for result in one.results)
        now = one if results == one.results else mark(one.checkpoint, results, one.latched)
        if now.verdict is Verdict.PASS:
            passed.add(one.checkpoint.name)
        made.append(now)
    return tuple(reversed(made))


def _taken(result: Result, passed: set[str]) -> Result:
    until = result.check.until
    if until not in passed or result.finding.verdict is Verdict.PASS:
        return result
    said = Said(
        f"true until {until} was done, which is", f"cierto hasta completar {until}, que ya está"
    )  # fmt: skip
    finding = Finding(Verdict.PASS, said, 1.0, evidence={"until": until})
    return replace(result, finding=finding)
