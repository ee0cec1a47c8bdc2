"""Item statistics: what a class's credits say about each check, so that a bad check is seen before marks are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt

from trenza.grade.marks import Checked, CheckMark, Verdict

FEWEST_FOR_DISCRIMINATION = 5
"""Of fewer students a correlation says nothing."""
NEGATIVE_BELOW = -0.1
OFTEN_ABOVE = 0.1


class Flag(StrEnum):
    NOBODY = "nobody-passes"
    EVERYBODY = "everybody-passes"
    NEGATIVE = "negative-discrimination"
    CANNOT_TELL = "often-cannot-tell"


@dataclass(frozen=True, slots=True)
class Item:
    """One check over a class. `difficulty` is the mean credit: 1 is easy.

    `discrimination` is the correlation of its credit with the points of all other checks (for credits of 0 and 1 the
    point-biserial coefficient, corrected for the item itself); None where one of the two does not vary, or for few.
    """

    check: CheckMark
    students: int
    difficulty: float
    discrimination: float | None
    cannot_tell: float
    flags: tuple[Flag, ...]


def items(class_marks: Sequence[Checked]) -> tuple[Item, ...]:
    """The checks in their order; a check that a student does not have counts nothing in her."""
    found: dict[str, list[tuple[CheckMark, float]]] = {}
    for checked in class_marks:
        for check in checked.checks:
            found.setdefault(check.id, []).append((check, checked.points - check.points))
    return tuple(_item(marks) for marks in found.values())


def _item(marks: Sequence[tuple[CheckMark, float]]) -> Item:
    earned = [check.credit for check, _ in marks]
    difficulty = sum(earned) / len(earned)
    cannot_tell = sum(check.verdict is Verdict.CANNOT_TELL for check, _ in marks) / len(marks)
    discrimination = correlation(earned, [rest for _, rest in marks]) if _are_enough(marks) else None
    flags = {
        Flag.NOBODY: not any(check.verdict is Verdict.PASS for check, _ in marks),
        Flag.EVERYBODY: all(check.verdict is Verdict.PASS for check, _ in marks),
        Flag.NEGATIVE: discrimination is not None and discrimination < NEGATIVE_BELOW,
        Flag.CANNOT_TELL: cannot_tell > OFTEN_ABOVE,
    }
    raised = tuple(flag for flag, is_raised in flags.items() if is_raised)
    return Item(marks[0][0], len(marks), difficulty, discrimination, cannot_tell, raised)


def _are_enough(marks: Sequence[object]) -> bool:
    return len(marks) >= FEWEST_FOR_DISCRIMINATION


def correlation(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """Pearson's coefficient; None where one of the two does not vary."""
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread_x = sqrt(sum((x - mean_x) ** 2 for x in xs))
    spread_y = sqrt(sum((y - mean_y) ** 2 for y in ys))
    if spread_x < 1e-9 or spread_y < 1e-9:
        return None
    together = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return together / (spread_x * spread_y)
