"""Slips: a key without its colon, or a colon without the space after it.

YAML takes both for text, so that the mistake shows up elsewhere: as an odd key, an odd value, or a line further down.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from trenza.spec.report import Hint, Report
from trenza.spec.tree import Entry, Place, Scalar, Tree

WORD = r"[A-Za-z0-9_/][A-Za-z0-9_./$+~-]*"
_SLIP = re.compile(rf"(?P<word>{WORD})(?:(?P<colon>:)(?!//)(?P<after>\S.*)| +(?P<rest>[^\s#].*))?")
_SHOWN = {"{": "{…}", "[": "[…]"}


@dataclass(frozen=True, slots=True)
class Slip:
    """What was probably meant by a text: `key: rest`. `at`: where the key is written, and the colon if it is there."""

    key: str
    rest: str
    colon: bool
    at: Place

    @property
    def code(self) -> str:
        return "E061" if self.colon else "E060"

    @property
    def hint(self) -> Hint:
        rest = _SHOWN.get(self.rest[:1], self.rest)
        return ("write", {"text": f"{self.key}: {rest}".rstrip()})

    def say(self, report: Report) -> None:
        report.say(self.code, self.at, self.hint, name=self.key)

    def entry(self, *, named: bool) -> Entry:
        """The entry that was meant, its value left out. `named`: the key alone says something already."""
        return Entry(self.at, Scalar("", plain=True, at=self.at, lost=not named))


def find_slip(text: str, line: int, column: int) -> Slip | None:
    """The slip that a text is, if it can be one: a lone word counts as a key without its colon."""
    if (found := _SLIP.fullmatch(text.strip())) is None:
        return None
    key, colon = found["word"], found["colon"] is not None
    rest = found["after"] if colon else found["rest"] or ""
    return Slip(key, rest.strip(), colon, Place(line, column, len(key) + colon))


def slip_of_key(key: str, entry: Entry) -> Slip | None:
    """The slip of a key without a value, as in `{to:lan}` and `{ip 10.0.0.1/24}`; a lone word is none."""
    value = entry.value
    if not isinstance(value, Scalar) or value.text or not value.is_null:
        return None
    slip = find_slip(key, entry.key.line, entry.key.column)
    return slip if slip is not None and slip.rest else None


def slip_of_value(tree: Tree, key: Place | None) -> Slip | None:
    """The slip of an unquoted text in place of a mapping; a lone word is one where it stands below its key."""
    if not isinstance(tree, Scalar) or not tree.plain or tree.is_null:
        return None
    slip = find_slip(tree.text, tree.at.line, tree.at.column)
    if slip is None or not (slip.rest or is_below(tree, key)):
        return None
    several_lines = tree.at.length < len(tree.text)
    return replace(slip, rest="") if several_lines and not slip.colon else slip


def is_below(tree: Tree, key: Place | None) -> bool:
    """Whether a value stands on a line of its own."""
    return key is None or key.line != tree.at.line
