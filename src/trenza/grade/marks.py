"""Marks: what a student's checks came to, read from what the keeper answered, and what became of her submission."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Json = Mapping[str, Any]


class Verdict(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    CANNOT_TELL = "cannot-tell"
    SKIPPED = "skipped"


class Outcome(StrEnum):
    """GRADED has the mark that checks gave; ABSENT, REFUSED and ENDED have 0; UNGRADED, by no fault of hers, none."""

    GRADED = "graded"
    ABSENT = "not-handed-in"
    REFUSED = "refused"
    ENDED = "ended"
    UNGRADED = "ungraded"


@dataclass(frozen=True, slots=True)
class CheckMark:
    """One check: `credit` from 0 to 1, `points` what it is worth; `because` and `hint` are "" if nothing is wrong."""

    id: str
    kind: str
    title: str
    verdict: Verdict
    credit: float
    points: float
    max_points: float
    hidden: bool
    required: bool
    said: str
    because: str
    hint: str
    passed_after_s: float | None
    asked: Json
    evidence: Json

    @staticmethod
    def of(said: Json) -> CheckMark:
        return CheckMark(
            id=said["id"], kind=said["kind"], title=said["title"], verdict=Verdict(said["verdict"]),
            credit=float(said["credit"]), points=float(said["points"]), max_points=float(said["max_points"]),
            hidden=bool(said["hidden"]), required=bool(said["required"]), said=said["said"], because=said["because"],
            hint=said["hint"], passed_after_s=said["passed_after_s"], asked=said.get("asked") or {},
            evidence=said.get("evidence") or {},
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class CheckpointMark:
    """A checkpoint with its checks; `title` is by language."""

    name: str
    title: Mapping[str, str]
    points: float
    max_points: float
    verdict: Verdict
    hidden: bool
    checks: tuple[CheckMark, ...]

    @staticmethod
    def of(said: Json) -> CheckpointMark:
        return CheckpointMark(
            said["name"], said["title"], float(said["points"]), float(said["max_points"]), Verdict(said["verdict"]),
            bool(said["hidden"]), tuple(CheckMark.of(check) for check in said["checks"]),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Checked:
    """What `trenza check` found in one lab; `said` is its JSON."""

    points: float
    max_points: float
    passed: bool
    seconds: float
    mapping: tuple[Json, ...]
    checkpoints: tuple[CheckpointMark, ...]
    said: Json

    @staticmethod
    def of(said: Json) -> Checked:
        """Out of the keeper's JSON; raises KeyError or ValueError for what no keeper says."""
        return Checked(
            float(said["points"]), float(said["max_points"]), bool(said["passed"]), float(said["seconds"]),
            tuple(said["mapping"]), tuple(CheckpointMark.of(checkpoint) for checkpoint in said["checkpoints"]), said,
        )  # fmt: skip

    @property
    def checks(self) -> tuple[CheckMark, ...]:
        return tuple(check for checkpoint in self.checkpoints for check in checkpoint.checks)


@dataclass(frozen=True, slots=True)
class Student:
    """Somebody of the class. `name` is what the report calls her, `key` what her seeded values are drawn by,
    `directory` where her results lie; `email` and `idnumber` are Moodle's, "" where they are not known."""

    name: str
    key: str
    directory: str
    email: str = ""
    idnumber: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What one student is told. `points` is None where there is no mark; `digest` seals her evidence ("": none).

    `streams` are the lines that she typed, by node, and of the text files that she changed, by node and path.
    """

    student: Student
    outcome: Outcome
    reason: str = ""
    checked: Checked | None = None
    notes: tuple[str, ...] = ()
    streams: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seconds: float = 0.0
    digest: str = ""

    @property
    def points(self) -> float | None:
        if self.outcome is Outcome.UNGRADED:
            return None
        return self.checked.points if self.checked is not None and self.outcome is Outcome.GRADED else 0.0
