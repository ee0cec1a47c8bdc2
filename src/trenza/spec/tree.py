"""Trees: what a YAML text says, every value with its place, and scalars read by YAML 1.2's core rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

Plain = str | int | float | bool | None
"""What a scalar can mean by YAML 1.2's core schema (section 10.3)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is written: line and column from 1, and how many characters of that line it covers."""

    line: int
    column: int
    length: int = 1


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value. `plain` means written without quotes, so that `1500` is a number and `"1500"` is not.

    `lost`: it stands for something that could not be had, which is said already; nobody says more about it.
    """

    text: str
    plain: bool
    at: Place
    size: int = field(default=1, compare=False)
    lost: bool = False

    @property
    def value(self) -> Plain:
        return core_value(self.text) if self.plain else self.text

    @property
    def is_null(self) -> bool:
        return self.plain and self.text in _NULLS and not self.lost


@dataclass(frozen=True, slots=True)
class Sequence:
    items: tuple[Tree, ...]
    at: Place
    size: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """One `key: value` of a mapping; `key` is where the key is written."""

    key: Place
    value: Tree


@dataclass(frozen=True, slots=True)
class Mapped:
    """A mapping in the order written; keys are the text of their scalars."""

    entries: Mapping[str, Entry]
    at: Place
    size: int = field(default=1, compare=False)

    def get(self, name: str) -> Tree | None:
        entry = self.entries.get(name)
        return None if entry is None else entry.value

    def without(self, *names: str) -> Mapped:
        return replace(self, entries={key: entry for key, entry in self.entries.items() if key not in names})


Tree = Scalar | Sequence | Mapped


def plain_data(tree: Tree) -> object:
    """The tree as Python values, without places."""
    match tree:
        case Scalar():
            return tree.value
        case Sequence():
            return [plain_data(item) for item in tree.items]
        case Mapped():
            return {key: plain_data(entry.value) for key, entry in tree.entries.items()}


def same_data(one: Tree, other: Tree) -> bool:
    return plain_data(one) == plain_data(other)


_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}|0o[0-7]{1,18}|0x[0-9a-fA-F]{1,15}")
_FRACTION = re.compile(r"[-+]?(\.[0-9]{1,18}|[0-9]{1,18}(\.[0-9]{0,18})?)([eE][-+]?[0-9]{1,2})?")
"""Lengths are bounded: a longer run of digits is text, and no lab needs it to be a number."""


def core_value(text: str) -> Plain:
    """What an unquoted scalar means: null, boolean, integer, float, else text. `on`, `no` and `12:30` are text."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text[0] in "+-.0123456789":
        if _WHOLE.fullmatch(text):
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        if _FRACTION.fullmatch(text):
            return float(text)
    return text
