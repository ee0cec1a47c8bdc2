"""The report of a class as one value, from which every file of it is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trenza.grade.items import Item, items
from trenza.grade.marks import CheckMark, Outcome, Result
from trenza.grade.similarity import Pair, similar_pairs


@dataclass(frozen=True, slots=True)
class Subject:
    """What was graded, so that it can be told again: `digests` are of the lab file, the hidden file and the seed."""

    lab: str
    title: Mapping[str, str]
    max_points: float
    version: str
    language: str
    digests: Mapping[str, str]
    given: tuple[str, ...] = ()
    """Lines that were handed out to everybody."""


@dataclass(frozen=True, slots=True)
class ClassReport:
    """A class: everybody's results in order, what the checks did over all of them, and who is alike."""

    subject: Subject
    results: tuple[Result, ...]
    items: tuple[Item, ...]
    pairs: tuple[Pair, ...]

    @property
    def max_points(self) -> float:
        """What there was to earn: as checked, hidden checks included; the lab's own where nobody could be checked."""
        checked = [result.checked.max_points for result in self.results if result.checked is not None]
        return max(checked, default=self.subject.max_points)

    @property
    def checks(self) -> tuple[CheckMark, ...]:
        """One of each check, in order."""
        return tuple(item.check for item in self.items)

    @property
    def mean(self) -> float | None:
        """Of those who handed in."""
        points = [
            result.points for result in self.results
            if result.points is not None and result.outcome is not Outcome.ABSENT
        ]  # fmt: skip
        return sum(points) / len(points) if points else None

    def count(self, outcome: Outcome) -> int:
        return sum(result.outcome is outcome for result in self.results)


def class_report(subject: Subject, results: Sequence[Result]) -> ClassReport:
    """Everything that follows from the results."""
    graded = [result for result in results if result.checked is not None and result.outcome is Outcome.GRADED]
    return ClassReport(
        subject,
        tuple(results),
        items([result.checked for result in graded if result.checked is not None]),
        similar_pairs({result.student.name: result.streams for result in results if result.streams}, subject.given),
    )


def report_as_json(report: ClassReport) -> dict[str, Any]:
    """The report as `report.json` and `trenza grade -f json` have it."""
    subject = report.subject
    return {
        "version": 1,
        "kind": "grade",
        "lab": subject.lab,
        "title": dict(subject.title),
        "trenza": subject.version,
        "max_points": report.max_points,
        "mean": rounded(report.mean),
        "digests": dict(subject.digests),
        "students": [_student_as_json(result) for result in report.results],
        "items": [
            {
                "id": item.check.id, "title": item.check.title, "hidden": item.check.hidden,
                "students": item.students, "difficulty": rounded(item.difficulty),
                "discrimination": rounded(item.discrimination), "cannot_tell": rounded(item.cannot_tell),
                "flags": [flag.value for flag in item.flags],
            }
            for item in report.items
        ],
        "similar": [
            {
                "students": [pair.first, pair.second], "jaccard": rounded(pair.jaccard),
                "containment": rounded(pair.containment), "shared": pair.shared, "lines": list(pair.lines),
            }
            for pair in report.pairs
        ],
    }  # fmt: skip


def _student_as_json(result: Result) -> dict[str, Any]:
    student = result.student
    return {
        "name": student.name, "key": student.key, "directory": student.directory, "email": student.email,
        "idnumber": student.idnumber, "outcome": result.outcome.value, "reason": result.reason,
        "points": rounded(result.points), "max_points": None if result.checked is None else result.checked.max_points,
        "seconds": rounded(result.seconds), "notes": list(result.notes), "digest": result.digest,
        "check": None if result.checked is None else result.checked.said,
    }  # fmt: skip


def rounded(value: float | None) -> float | None:
    """Without the noise of floating point: four places."""
    return None if value is None else round(value, 4)
