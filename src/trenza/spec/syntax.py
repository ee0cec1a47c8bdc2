"""Syntax errors: what PyYAML stumbled over becomes what the writer did, at the place where it was done."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from trenza.spec.format import RECORDS
from trenza.spec.report import Hint, Report
from trenza.spec.slips import WORD, Slip, find_slip
from trenza.spec.tree import Place

_KEYS = frozenset(option for record in RECORDS for option in record.options)
_COMMENT = re.compile(r"(^|\s)#.*$")
_ITEM = re.compile(r"\s*(?:- +)*")
_BEFORE_BRACKET = re.compile(rf"(?:^|[{{,])\s*(?P<word>{WORD})\s+$")
_BEFORE_COLON = re.compile(rf"(?:^|[{{,\[])\s*(?P<word>{WORD})$")


def say_syntax(error: Any, quoted: Any, report: Report) -> None:
    """Say a syntax error at the character that caused it, with the likely cure.

    `error`: PyYAML's, with marks. `quoted`: the event of the scalar read last, where that was a quoted one, else None.
    """
    line, column = _mark(error.problem_mark or error.context_mark)
    if (opening := _opening_quote(error, quoted, (line, column))) is not None:
        at = Place(opening[0] + 1, opening[1] + 1)
        quote = report.lines[opening[0]][opening[1] : opening[1] + 1]
        report.say("E062", at, ("close_quote", {"quote": quote}))
        return
    if error.context in ("while scanning an alias", "while scanning a simple key") and error.context_mark is not None:
        line, column = _mark(error.context_mark)
    lines = report.lines
    if line >= len(lines) or (line and not lines[line].strip() and column == 0):  # the end: point at the last line
        line = max((number for number, content in enumerate(lines) if content.strip()), default=0)
        column = len(lines[line].rstrip())
    slip = _slip(error, lines, line, column)
    if slip is not None and _is_likely(slip):
        slip.say(report)
        return
    if quoted is not None and _mark(quoted.end_mark) == (line, column):  # a quote in the text ended it
        hint: Hint | None = ("quote_inside", {})
    else:
        hint = _cure(error, lines[line], column)
    report.say("E003", Place(line + 1, column + 1), hint, problem=_problem(error))


def _mark(mark: Any) -> tuple[int, int]:
    return (0, 0) if mark is None else (mark.line, mark.column)


def _opening_quote(error: Any, quoted: Any, at: tuple[int, int]) -> tuple[int, int] | None:
    """Where the quote stands that nothing closes, or only a quote further down that was meant to open."""
    if "quoted scalar" in (error.context or "") and "end of stream" in (error.problem or ""):
        return _mark(error.context_mark)
    if quoted is not None and _mark(quoted.end_mark) == at and quoted.start_mark.line < at[0]:
        return _mark(quoted.start_mark)
    return None


def _slip(error: Any, lines: Sequence[str], line: int, column: int) -> Slip | None:
    """The missing colon, or the missing space after one, that an error comes from."""
    problem, source = error.problem or "", lines[line]
    before, here = source[:column], source[column : column + 1]
    if error.context == "while scanning a simple key":
        return find_slip(_bare(source[column:]), line + 1, column + 1)
    if "mapping values are not allowed" in problem:
        return None if ": " in before else _slip_above(lines, line)
    if "did not find expected" in problem and here in ("{", "[") and "flow mapping" in (error.context or ""):
        found = _BEFORE_BRACKET.search(before)
        return found and Slip(found["word"], here, colon=False, at=_place(found, line, 0))
    if "unexpected ':'" in problem and (rest := source[column + 1 : column + 2]) in ("{", "["):
        found = _BEFORE_COLON.search(before)
        return found and Slip(found["word"], rest, colon=True, at=_place(found, line, 1))
    if "did not find expected key" in problem:
        start = _start(source)
        slip = find_slip(_bare(source), line + 1, start + 1) if start == len(source) - len(source.lstrip()) else None
        return slip if slip is not None and slip.rest[:1] in ("{", "[") else None
    return None


def _is_likely(slip: Slip) -> bool:
    """Whether this is no sentence: behind a word that is no key of the format, one word or bracket follows at most."""
    return slip.key in _KEYS or slip.rest[:1] in ("{", "[") or " " not in slip.rest


def _place(found: re.Match[str], line: int, more: int) -> Place:
    return Place(line + 1, found.start("word") + 1, len(found["word"]) + more)


def _slip_above(lines: Sequence[str], line: int) -> Slip | None:
    """The slip in the first of the lines without a key that YAML joined to one text, up to the one at `line`."""
    first: int | None = None
    for number in range(line - 1, -1, -1):
        bare = _bare(lines[number])
        if not bare:
            continue
        if bare.endswith(":"):
            break
        if ": " in bare or bare.startswith(("---", "%")):
            # A value that goes on in the lines below it is a text of several lines.
            deeper = first is not None and _indent(lines[first]) > _start(lines[number])
            first = None if deeper else first
            break
        first = number
        if bare.startswith("- "):
            break
    if first is None:
        return None
    start = _start(lines[first])
    return find_slip(_bare(lines[first])[start - _indent(lines[first]) :], first + 1, start + 1)


def _bare(source: str) -> str:
    """A line's text without its indentation and comment."""
    return _COMMENT.sub("", source).strip()


def _indent(source: str) -> int:
    return len(source) - len(source.lstrip())


def _start(source: str) -> int:
    """The column in which a line's key begins, hyphens of a list left out."""
    found = _ITEM.match(source)
    return 0 if found is None else found.end()


def _cure(error: Any, source: str, column: int) -> Hint | None:
    here = source[column : column + 1]
    flow = "flow" in (error.context or "")
    if here == "\t" or "\t" in source[: len(source) - len(source.lstrip())]:
        return ("no_tabs", {})
    if here == "*":
        return ("quote_star", {"text": source[column + 1 :].split(",")[0].split("}")[0].strip()})
    if "mapping values are not allowed" in (error.problem or ""):
        return ("quote_or_indent", {})
    if (here == ":" and not source[column - 1 : column].isalnum()) or source[column : column + 2] == "::":
        return ("quote_colons", {})
    if flow and here == "-" and source[column + 1 : column + 2] in ("", " "):
        return ("no_hyphens", {})
    if flow and here in ("{", "[") and column:
        return ("quote_braces", {})
    if here in ("@", "`", "%", "&", "!", "|", ">"):
        return ("quote_first", {"character": here})
    if flow:
        return ("close_or_comma", {})
    if "quoted scalar" in (error.context or ""):
        return ("known_escapes", {})
    return ("indent", {}) if "block" in (error.context or "") else None


def _problem(error: Any) -> str:
    context = f"{error.context}: " if error.context else ""
    return f"{context}{error.problem}"
