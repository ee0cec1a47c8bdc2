"""What the command line says: in English or Spanish, as text or as JSON, errors in one form."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

from trenza.errors import LabFileError, TrenzaError

_language = "en"


def choose_language(given: str | None) -> str:
    """The language of messages: as given, else by the locale's own variables; `en` or `es`."""
    global _language
    word = given or os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    _language = "es" if word.lower().startswith("es") else "en"
    return _language


def language() -> str:
    return _language


def tr(english: str, spanish: str) -> str:
    """The sentence in the person's language."""
    return spanish if _language == "es" else english


def printable(text: str, *, keep: str = "\n\t") -> str:
    """Text that does nothing to a terminal: control characters but `keep` in Python's escapes.

    Whoever is root in a node chooses names of interfaces, command lines and what services write.
    """
    return _CONTROL.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def put(text: str = "") -> None:
    """A line for people, on stdout."""
    print(printable(text), flush=True)


def note(text: str) -> None:
    """A line beside the answer, on stderr."""
    print(printable(text), file=sys.stderr)


def put_json(kind: str, data: dict[str, Any]) -> None:
    """One object, of the documented schema `kind`."""
    print(json.dumps({"version": 1, "kind": kind, **data}, ensure_ascii=False, indent=2))


def put_line(data: dict[str, Any]) -> None:
    """One object of a stream, on a line."""
    print(json.dumps(data, ensure_ascii=False), flush=True)


def put_error(error: TrenzaError, *, as_json: bool) -> None:
    """An error as people read it, on stderr; as JSON, on stdout."""
    if as_json:
        problems = getattr(error, "fields", {}).get("problems")
        if problems is None and isinstance(error, LabFileError):
            problems = [{name: getattr(one, name) for name in type(one).__slots__} for one in error.problems]
        if problems is None:
            problems = [{"code": error.code, "message": error.message, "hint": error.hint}]
        put_json("errors", {"errors": problems})
    elif error.code == "lab-file":
        note(error.message)
    else:
        note(f"trenza: {error.message}")
        if error.hint:
            note("\n".join(f"  {line}" for line in error.hint.splitlines()))


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as they need to be; the last one is not padded."""
    cells = [[printable(str(cell), keep="") if cell not in (None, "") else "-" for cell in row] for row in rows]
    widths = [max([len(title), *(len(row[index]) for row in cells)]) for index, title in enumerate(header)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (list(header), *cells)
    ]
    return "\n".join(lines)
