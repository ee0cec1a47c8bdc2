"""From bytes to a tree: PyYAML's parser for the syntax, our own composing for positions and for what we refuse.

Refused, each with its place: bytes that are not UTF-8, control characters, several documents, tags, merge keys, keys
given twice or that are not text, aliases of nothing or of themselves, aliases that blow up, deep nesting, large files.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from trenza.spec.report import LINE_BREAK, Report
from trenza.spec.slips import slip_of_value
from trenza.spec.syntax import say_syntax
from trenza.spec.tree import Entry, Mapped, Place, Scalar, Sequence, Tree

MAX_BYTES = 1 << 20
MAX_DEPTH = 40
MAX_VALUES = 200_000
"""Values of a file with every alias written out."""

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufffe\uffff]")
_STRING_TAG = "tag:yaml.org,2002:str"


class Unreadable(Exception):
    """Reading cannot go on; the report knows why."""


def decoded(source: bytes) -> tuple[str, tuple[str, Place, dict[str, object]] | None]:
    """The text of a file, and what is wrong with its bytes (a code, a place, values), if anything."""
    if len(source) > MAX_BYTES:
        return "", ("E010", Place(1, 1), {"most": f"{MAX_BYTES} bytes"})
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = LINE_BREAK.split(source[: error.start].decode("utf-8", errors="replace"))
        text = source.decode("utf-8", errors="replace")
        return text, ("E001", Place(len(before), len(before[-1]) + 1), {"byte": f"0x{source[error.start]:02x}"})
    if found := _CONTROL.search(text):
        before = LINE_BREAK.split(text[: found.start()])
        where = Place(len(before), len(before[-1]) + 1)
        return text, ("E002", where, {"character": f"U+{ord(found.group()):04X}"})
    return text, None


def tree_of(text: str, report: Report) -> Mapped:
    """The mapping that a text holds. Raises Unreadable, after reporting, when there is none."""
    import yaml  # here, because it costs more than the rest of this package: 25 ms

    try:
        from yaml._yaml import CParser as Parser
    except ImportError:  # a PyYAML built without libyaml
        from yaml import Loader as Parser  # type: ignore[assignment]  # the same events, more slowly

    composer = _Composer(Parser(text).get_event, report, yaml)
    try:
        tree = composer.document()
    except yaml.MarkedYAMLError as error:
        say_syntax(error, composer.quoted, report)
        raise Unreadable from error
    except yaml.YAMLError as error:
        report.say("E003", Place(1, 1), problem=str(error))
        raise Unreadable from error
    if tree is None:
        report.say("E005", Place(1, 1), ("start_small", {}))
        raise Unreadable
    if not isinstance(tree, Mapped):
        if (slip := slip_of_value(tree, None)) is not None:
            slip.say(report)
        elif not (isinstance(tree, Scalar) and tree.lost):
            report.say("E006", tree.at, ("start_small", {}))
        raise Unreadable
    return tree


class _Composer:
    """Events in, one tree out."""

    def __init__(self, event: Callable[[], Any], report: Report, yaml: Any) -> None:
        self.event = event
        self.report = report
        self.yaml = yaml
        self.anchors: dict[str, Tree | None] = {}
        self.quoted: Any = None
        """The event of the scalar read last, where that was a quoted one."""

    def document(self) -> Tree | None:
        yaml = self.yaml
        self.event()  # the stream starts
        if isinstance(self.event(), yaml.StreamEndEvent):
            return None
        tree = self.value(self.event(), 0)
        self.event()  # the document ends
        after = self.event()
        if not isinstance(after, yaml.StreamEndEvent):
            self.report.say("E004", _place(after))
            raise Unreadable
        return None if isinstance(tree, Scalar) and tree.is_null else tree

    def value(self, event: Any, depth: int) -> Tree:
        yaml, at = self.yaml, _place(event)
        if depth > MAX_DEPTH:
            self.report.say("E011", at, most=MAX_DEPTH)
            raise Unreadable
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, at)
        if event.anchor is not None:
            self.anchors[event.anchor] = None  # until it is whole
        if event.tag is not None and event.tag not in ("!", _STRING_TAG):
            self.report.say("E008", at, ("without_tag", {}), tag=event.tag)
        tree: Tree
        if isinstance(event, yaml.ScalarEvent):
            if found := _CONTROL.search(event.value):
                self.report.say("E002", at, character=f"U+{ord(found.group()):04X}")
            tree = Scalar(event.value, plain=event.implicit[0], at=at)
            self.quoted = None if tree.plain or event.style not in ("'", '"') else event
        elif isinstance(event, yaml.SequenceStartEvent):
            tree = self.sequence(at, depth)
        else:
            tree = self.mapping(at, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = tree
        return tree

    def alias(self, event: Any, at: Place) -> Tree:
        tree = self.anchors.get(event.anchor)
        if tree is None:
            code = "E013" if event.anchor in self.anchors else "E009"
            self.report.say(code, at, ("quote_star", {"text": event.anchor}), name=event.anchor)
            return Scalar("", plain=True, at=at, lost=True)
        return tree

    def sequence(self, at: Place, depth: int) -> Sequence:
        items: list[Tree] = []
        size = 1
        while not isinstance(event := self.event(), self.yaml.SequenceEndEvent):
            items.append(self.value(event, depth + 1))
            size = self.grown(size, items[-1], at)
        return Sequence(tuple(items), at, size)

    def mapping(self, at: Place, depth: int) -> Mapped:
        entries: dict[str, Entry] = {}
        size = 1
        while not isinstance(event := self.event(), self.yaml.MappingEndEvent):
            key = self.value(event, depth + 1)
            value = self.value(self.event(), depth + 1)
            size = self.grown(size, value, at)
            if not isinstance(key, Scalar):
                self.report.say("E012", _place(event), ("quote_braces", {}))
            elif key.lost:
                continue
            elif key.text == "<<" and key.plain:
                self.report.say("E007", key.at, ("use_templates", {}))
            elif key.text in entries:
                first = entries[key.text].key
                self.report.say("E015", key.at, name=key.text, line=first.line)
            else:
                entries[key.text] = Entry(_place(event), value)
        return Mapped(entries, at, size)

    def grown(self, size: int, child: Tree, at: Place) -> int:
        if size + child.size > MAX_VALUES:
            self.report.say("E010", at, most=f"{MAX_VALUES} values")
            raise Unreadable
        return size + child.size


def _place(event: Any) -> Place:
    start, end = event.start_mark, event.end_mark
    length = end.column - start.column if end.line == start.line else 1
    return Place(start.line + 1, start.column + 1, max(1, length))
