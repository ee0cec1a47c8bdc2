"""Parameters: `$name` and `${name}` in values, filled in from a set of scalars.

A value that is exactly `$name` becomes the parameter's own scalar, type included; inside a longer value its text is
inserted, and a number stays one although flow style wants quotes around braces. `$$` stands for one `$`. In texts of
other languages (files, commands) only known names are replaced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from trenza.spec.format import CONTAINER, HOST, SWITCH
from trenza.spec.kinds import Form, Kind, Many, Record, Table
from trenza.spec.report import Report, meant
from trenza.spec.tree import Entry, Mapped, Scalar, Sequence, Tree

_NAME = r"(?:\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)\}|(?P<bare>[A-Za-z_][A-Za-z0-9_]*))"
_USE = re.compile(rf"\$\$|\${_NAME}")
_VERBATIM_USE = re.compile(rf"(?P<escape>\$)?\${_NAME}")
COPY = "n"
"""The parameter that holds a copy's own number or word."""

UNTOUCHED = frozenset({"parameters", "profiles", "seeded"})
_NODES = (HOST, CONTAINER, SWITCH)


def is_unfilled(text: str) -> bool:
    """Whether a value still names a parameter: one that nobody knows, or a copy's own."""
    return "$" in text and _USE.search(text) is not None


class Filling:
    """One set of parameters, and which of them were used.

    A lab is filled in twice: whole, and then each node with its copy's own `$n`. The first filling leaves `$n` and `$$`
    in nodes to the second.
    """

    def __init__(self, known: Mapping[str, Scalar], report: Report, *, last: bool) -> None:
        """`last`: no other filling follows, in nodes."""
        self.known = known
        self.report = report
        self.last = last
        self.used: set[str] = set()

    def filled(self, kind: Kind | None, tree: Tree, last: bool = True) -> Tree:
        """The tree with its parameters filled in; `kind` tells which texts are of other languages."""
        if kind in _NODES:
            last = self.last
        match tree:
            case Scalar():
                return self._scalar(tree, _is_verbatim(kind), last) if "$" in tree.text else tree
            case Sequence():
                below = _item_kind(kind)
                items = tuple(self.filled(below, item, last) for item in tree.items)
                changed = any(new is not old for new, old in zip(items, tree.items, strict=True))
                return replace(tree, items=items) if changed else tree
            case Mapped():
                entries = {
                    name: Entry(entry.key, self.filled(_entry_kind(kind, name), entry.value, last))
                    for name, entry in tree.entries.items()
                }
                changed = any(entries[name].value is not entry.value for name, entry in tree.entries.items())
                return replace(tree, entries=entries) if changed else tree

    def _scalar(self, scalar: Scalar, verbatim: bool, last: bool) -> Scalar:
        whole = _USE.fullmatch(scalar.text)
        if whole is not None and (name := whole["braced"] or whole["bare"]) in self.known:
            self.used.add(name)
            given = self.known[name]
            return Scalar(given.text, given.plain, scalar.at)
        pattern = _VERBATIM_USE if verbatim else _USE
        text = pattern.sub(lambda found: self._inserted(found, scalar, verbatim, last), scalar.text)
        return scalar if text == scalar.text else Scalar(text, plain=True, at=scalar.at)

    def _inserted(self, found: re.Match[str], scalar: Scalar, verbatim: bool, last: bool) -> str:
        name: str | None = found["braced"] or found["bare"]
        if name is None:  # `$$`
            return "$" if last else "$$"
        if name in self.known:
            self.used.add(name)
            return found[0][1:] if verbatim and found["escape"] else self.known[name].text
        due = last if name == COPY else not self.last  # each name is said by one filling
        if due and not verbatim:
            hint = ("n_needs_each", {}) if name == COPY else meant(name, self.known, "parameters")
            self.report.say("E030", scalar.at, hint, name=name)
        return found[0]


def _is_verbatim(kind: Kind | None) -> bool:
    """Whether a scalar in place of this kind, short forms included, is text of another language."""
    match kind:
        case Form():
            return kind.verbatim
        case Many():
            return _is_verbatim(kind.of)
        case Record() if kind.scalar is not None:
            return _is_verbatim(kind.options[kind.scalar].kind)
        case _:
            return False


def _item_kind(kind: Kind | None) -> Kind | None:
    """The kind of a list's items; short forms of records included, where lists stand for one of their options."""
    match kind:
        case Many():
            return kind.of
        case Record() if kind.sequence is not None:
            return _item_kind(kind.options[kind.sequence].kind)
        case _:
            return None


def _entry_kind(kind: Kind | None, name: str) -> Kind | None:
    match kind:
        case Table():
            return kind.of
        case Record():
            option = kind.options.get(name)
            return None if option is None else option.kind
        case Many() | Form() | None:
            return None
