"""Submissions: what a class's directory holds, whose each is, and who of the roster handed in nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trenza.errors import UsageError
from trenza.grade.marks import Student
from trenza.grade.roster import Row, folded, rows_by_calling

SUFFIX = ".trenza"
MAX_DEPTH = 3
_MOODLE = re.compile(r"(?P<name>.+)_(?P<id>[0-9]+)_assignsubmission_(?:file|onlinetext)(?:_.*)?", re.DOTALL)
_UNFIT = re.compile(r"[^\w.@ -]")
_TAKEN = frozenset({"gradescope", "report.html", "report.json", "junit.xml", "moodle.csv", "seal.json", "grade.lock"})
"""Names in a directory of results that are no student's."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What lies under one name: an archive, or the reason why there is none to grade (`problem`).

    `empty`: the name is there, with no archive below it, as Moodle leaves one for whoever handed in something else.
    """

    name: str
    archive: Path | None = None
    problem: str = ""
    participant: str = ""

    @property
    def empty(self) -> bool:
        return self.archive is None and not self.problem


@dataclass(frozen=True, slots=True)
class Entry:
    """A student and what she handed in, if anything."""

    student: Student
    submission: Submission | None
    on_roster: bool


def find_submissions(directory: Path, skip: Path | None = None) -> tuple[Submission, ...]:
    """The submissions below a class's directory, by name; `skip` is the directory of results. Links are not followed.

    Raises UsageError if it cannot be read.
    """
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError as error:
        raise UsageError(f"cannot read {directory}: {error.strerror}") from error
    found: list[Submission] = []
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith(".") or (skip is not None and path.resolve() == skip):
            continue
        if entry.is_symlink():
            if entry.name.endswith(SUFFIX):
                found.append(_named(entry.name.removesuffix(SUFFIX), problem="a link, and links are not followed"))
        elif entry.is_dir():
            found.append(_below(path))
        elif entry.name.endswith(SUFFIX):
            found.append(_named(entry.name.removesuffix(SUFFIX), archive=path))
    return tuple(found)


def _named(text: str, *, archive: Path | None = None, problem: str = "") -> Submission:
    """By Moodle's way of naming what it packs together, else by the name itself."""
    text = text.encode(errors="surrogateescape").decode(errors="replace")
    moodle = _MOODLE.fullmatch(text)
    if moodle is None:
        return Submission(text, archive, problem)
    return Submission(moodle["name"], archive, problem, moodle["id"])


def _below(directory: Path) -> Submission:
    archives = list(_archives(directory, MAX_DEPTH))
    if len(archives) > 1:
        names = ", ".join(archive.name for archive in archives[:5])
        return _named(directory.name, problem=f"{len(archives)} archives in it: {names}; leave the one that counts")
    return _named(directory.name, archive=archives[0] if archives else None)


def _archives(directory: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False) and depth > 1:
            yield from _archives(Path(entry.path), depth - 1)
        elif entry.is_file(follow_symlinks=False) and entry.name.endswith(SUFFIX):
            yield Path(entry.path)


def entries_of(submissions: Sequence[Submission], roster: Sequence[Row]) -> tuple[Entry, ...]:
    """Everybody of the class: the roster in its order, then whoever handed in and is not on it.

    Raises UsageError where two submissions are one student's.
    """
    known = rows_by_calling(tuple(roster))
    of_row: dict[int, Submission] = {}
    strangers: list[Submission] = []
    for submission in submissions:
        row = known.get(folded(submission.name))
        if row is None:
            strangers.append(submission)
        elif row.line in of_row:
            raise UsageError(f"two submissions of {row.shown}: {_where(of_row[row.line])} and {_where(submission)}",
                             hint="leave the one that counts")  # fmt: skip
        else:
            of_row[row.line] = submission
    names = [submission.name for submission in strangers]
    taken: set[str] = set()
    entries = [
        Entry(
            Student(row.shown, row.key, _directory(row.student or row.shown, taken), row.email, row.idnumber),
            of_row.get(row.line),
            on_roster=True,
        )
        for row in roster
    ]
    for submission in strangers:
        several = names.count(submission.name) > 1
        if several and not submission.participant:
            raise UsageError(f"two submissions are called {submission.name}", hint="leave the one that counts")
        name = f"{submission.name} ({submission.participant})" if several else submission.name
        entries.append(Entry(Student(name, submission.name, _directory(name, taken)), submission, on_roster=False))
    return tuple(entries)


def _where(submission: Submission) -> str:
    return str(submission.archive or submission.name)


def _directory(name: str, taken: set[str]) -> str:
    """A name for a student's directory: hers, without what paths and shells stumble over; unlike all others'."""
    plain = _UNFIT.sub("_", name).strip(" .").lstrip("-")[:80] or "student"
    candidate, number = plain, 2
    while candidate.casefold() in taken | _TAKEN:
        candidate, number = f"{plain}-{number}", number + 1
    taken.add(candidate.casefold())
    return candidate
