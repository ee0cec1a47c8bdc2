"""Report: gathers the problems of one lab file, one for each cause, and turns codes into sentences."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from trenza.errors import Problem, Severity
from trenza.spec.catalogue import CODES, HINTS, WORDS
from trenza.spec.tree import Place

LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What YAML's scanner counts as the end of a line."""

MAX_NEAR = 2000
"""Names to compare with, for the most: a comparison costs some microseconds."""

MAX_EXCERPT = 200
MAX_SAID = 200
"""Characters of a source line, and of a value in a sentence, that are shown."""
SEVERITIES = {"E": Severity.ERROR, "W": Severity.WARNING, "N": Severity.NOTE}

Hint = tuple[str, Mapping[str, object]]
"""A key of the catalogue's hints, and what goes into its sentence."""


class Word(str):
    """A word of trenza's own in a sentence, to be said in the reader's language."""

    __slots__ = ()


class Report:
    """The problems found so far, without repeats of one code at one place."""

    def __init__(self, file: str, text: str, language: str = "en") -> None:
        self.file = file
        self.lines = LINE_BREAK.split(text)
        self.spanish = language == "es"
        self._found: dict[tuple[str, int, int], Problem] = {}

    @property
    def has_errors(self) -> bool:
        return any(problem.severity is Severity.ERROR for problem in self._found.values())

    def problems(self) -> tuple[Problem, ...]:
        """All of them, in file order."""
        return tuple(sorted(self._found.values(), key=lambda p: (p.line, p.column, p.code)))

    def say(self, code: str, at: Place, hint: Hint | None = None, **values: object) -> None:
        """Record problem `code` at a place. The first at a place with a code is kept: copies repeat their cause."""
        line = min(max(at.line, 1), len(self.lines))
        column = max(at.column, 1) if line == at.line else 1
        key = (code, line, column)
        if key in self._found:
            return
        excerpt = _printable(self.lines[line - 1][:MAX_EXCERPT])
        column_shown = column <= len(excerpt) + 1
        self._found[key] = Problem(
            severity=SEVERITIES[code[0]],
            code=code,
            message=self._sentence(CODES[code].english, CODES[code].spanish, values),
            file=self.file,
            line=line,
            column=column,
            length=max(1, min(at.length, len(excerpt) - column + 1)),
            excerpt=excerpt if column_shown else "",
            hint=None if hint is None else self._sentence(*HINTS[hint[0]], hint[1]),
        )

    def _sentence(self, english: str, spanish: str, values: Mapping[str, object]) -> str:
        said = {name: self._said(value) for name, value in values.items()}
        return (spanish if self.spanish else english).format(**said)

    def _said(self, value: object) -> str:
        if isinstance(value, Word):
            return WORDS.get(value, value) if self.spanish else str(value)
        return _printable(value if len(value := str(value)) <= MAX_SAID else value[: MAX_SAID - 1] + "…")


def _printable(text: str) -> str:
    """One character for each, none that a terminal would act upon."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " if c == "\t" else "�" for c in text)


def listed(names: Iterable[str], most: int = 16) -> str:
    """Names in a row, without repeats, cut short."""
    names = sorted(set(names))
    return " ".join(names[:most]) + (" …" if len(names) > most else "")


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that `name` was probably meant to be: its letters in another order, else the most similar."""
    names = list(names)
    for other in names:
        if other != name and sorted(other.lower()) == sorted(name.lower()):
            return other
    if len(names) > MAX_NEAR:
        return None
    close = difflib.get_close_matches(name.lower(), {n.lower(): n for n in names}, n=1, cutoff=0.6)
    return next((n for n in names if n.lower() == close[0]), None) if close else None


def meant(name: str, names: Iterable[str], kind: str) -> Hint | None:
    """A hint for a name that is not there: the nearest that is, and all there are; None where there are none."""
    names = list(names)
    if not names:
        return ("none_there", {"kind": Word(kind)})
    near = nearest(name, names)
    return (
        ("there_are", {"kind": Word(kind), "names": listed(names)}) if near is None else did_you_mean(near, names, kind)
    )


def did_you_mean(near: str, names: Iterable[str], kind: str) -> Hint:
    """The hint for the nearest name, with all there are where that says more."""
    if set(names) <= {near}:
        return ("did_you_mean_one", {"near": near})
    return ("did_you_mean", {"near": near, "kind": Word(kind), "names": listed(names)})
