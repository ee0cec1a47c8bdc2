"""Decoding: a tree becomes a record of values, each checked against the format, each with its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import TypeVar

from trenza.model.state import IpAddress, IpInterface
from trenza.spec.check_format import CHECK, CHECK_KINDS, CHECK_RECORDS, MEANWHILE
from trenza.spec.format import CHECKPOINT, DAEMONS, FDB, LAB, ROUTE, SERVICE, SERVICE_KINDS
from trenza.spec.forms import PLAIN
from trenza.spec.kinds import Form, Kind, Many, Record, Table, Wrong
from trenza.spec.mend import entries_of_list, slip_in_place_of
from trenza.spec.merge import written_out
from trenza.spec.parameters import is_unfilled
from trenza.spec.report import Hint, Report, Word, meant, nearest
from trenza.spec.slips import slip_of_key
from trenza.spec.tree import Entry, Mapped, Place, Scalar, Sequence, Tree

T = TypeVar("T")

_WHOLE = (LAB, CHECKPOINT, ROUTE, FDB, *CHECK_RECORDS)
"""Records that nothing is laid under, so that a draft of them is complete."""


@dataclass(frozen=True, slots=True)
class Given:
    """A decoded value and where it is written."""

    value: object
    at: Place


@dataclass(slots=True)
class Decoded:
    """A record's values by option name. What was wrong is absent, and `bad` names it, so that nobody says it twice."""

    at: Place
    values: dict[str, Given] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def get(self, name: str, kind: type[T]) -> T | None:
        given = self.values.get(name)
        if given is None:
            return None
        assert isinstance(given.value, kind), (name, given)
        return given.value

    def text(self, name: str) -> str | None:
        return self.get(name, str)

    def whole(self, name: str) -> int | None:
        return self.get(name, int)

    def flag(self, name: str, default: bool) -> bool:
        value = self.get(name, bool)
        return default if value is None else value

    def number(self, name: str) -> float | None:
        given = self.values.get(name)
        if given is None:
            return None
        assert isinstance(given.value, int | float)
        return given.value

    def record(self, name: str) -> Decoded | None:
        return self.get(name, Decoded)

    def address(self, name: str) -> IpAddress | None:
        given = self.values.get(name)
        return None if given is None else _address(given.value)

    def place(self, name: str) -> Place:
        """Where an option's value is written; the record's own place where it is not given."""
        given = self.values.get(name)
        return self.at if given is None else given.at

    def many(self, name: str) -> tuple[Given, ...]:
        """The items of a list."""
        return self.get(name, tuple) or ()

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(str(given.value) for given in self.many(name))

    def addresses(self, name: str) -> tuple[tuple[IpAddress, Place], ...]:
        return tuple((_address(given.value), given.at) for given in self.many(name))

    def interfaces(self, name: str) -> tuple[tuple[IpInterface, Place], ...]:
        return tuple((_interface(given.value), given.at) for given in self.many(name))

    def records(self, name: str) -> tuple[Decoded, ...]:
        return tuple(given.value for given in self.many(name) if isinstance(given.value, Decoded))

    def table(self, name: str) -> Mapping[str, Decoded]:
        """A table of records."""
        table = self.get(name, dict) or {}
        return {key: given.value for key, given in table.items() if isinstance(given.value, Decoded)}

    def scalars(self, name: str) -> Mapping[str, Given]:
        """A table of anything but records: its values with their places."""
        return self.get(name, dict) or {}


def _address(value: object) -> IpAddress:
    assert isinstance(value, IPv4Address | IPv6Address)
    return value


def _interface(value: object) -> IpInterface:
    assert isinstance(value, IPv4Interface | IPv6Interface)
    return value


class Decoder:
    """Decodes one tree.

    A draft (a template, an `adds`, a base that something will be laid over) may lack required options, remove with
    null, and leave `$n` to its copies.
    """

    def __init__(self, report: Report, *, draft: bool) -> None:
        self.report = report
        self.draft = draft

    def record(self, kind: Record, tree: Tree, at: Place | None = None) -> Decoded:
        """A record at the place of its key, or of its own where it has none."""
        slip = slip_in_place_of(kind, tree, at)
        at = tree.at if at is None else at
        decoded = Decoded(at)
        if slip is not None:
            slip.say(self.report)
            decoded.bad.update(kind.options)
            return decoded
        if kind in (CHECK, MEANWHILE) and not self._is_check(tree):
            decoded.bad.update(kind.options)
            return decoded
        tree = written_out(kind, tree)
        if isinstance(tree, Scalar) and tree.is_null:
            tree = Mapped({}, tree.at)
        if not isinstance(tree, Mapped):
            self._unlike("a mapping", tree)
            decoded.bad.update(kind.options)
            return decoded
        for name, entry in tree.entries.items():
            option = kind.options.get(name)
            if option is None and (slip := slip_of_key(name, entry)) is not None:
                slip.say(self.report)
                decoded.bad.add(slip.key)
                continue
            if option is None:
                hint = meant(name, kind.options, "keys")
                self.report.say("E019", entry.key, hint, name=name, kind=Word(kind.name))
                continue
            given = self._given(option.kind, entry.value, entry.key)
            if given is not None:
                decoded.values[name] = given
            elif not (isinstance(entry.value, Scalar) and entry.value.is_null):
                decoded.bad.add(name)
        self._relations(kind, tree, decoded)
        return decoded

    def _relations(self, kind: Record, tree: Mapped, decoded: Decoded) -> None:
        """What options demand of each other: the required ones, and one of a group."""
        for name, option in kind.options.items():
            if name in tree.entries:
                for other in kind.rivals(option):
                    if other.name in tree.entries and _comes_before(tree, other.name, name):
                        self.report.say("E031", tree.entries[name].key, None, one=other.name, other=name)
            if (
                option.required
                and name not in tree.entries
                and name not in decoded.bad
                and not (self.draft and kind not in _WHOLE)
            ):
                decoded.bad.add(name)
                self.report.say("E029", decoded.at, None, name=name, kind=Word(kind.name))

    def _given(self, kind: Kind, tree: Tree, key: Place) -> Given | None:
        """A decoded value, or None where there is none or it is wrong (and said)."""
        if isinstance(tree, Scalar) and tree.lost:
            return None
        match kind:
            case Record():
                if kind.switchable and isinstance(tree, Scalar) and tree.value is False:
                    return None
                return Given(self.record(kind, tree, key), tree.at)
            case Table():
                return self._table(kind, tree, key)
            case Many():
                return self._many(kind, tree)
            case Form():
                return self._scalar(kind, tree)

    def _table(self, kind: Table, tree: Tree, at: Place) -> Given | None:
        if (slip := slip_in_place_of(kind, tree, at)) is not None:
            slip.say(self.report)
            return None
        tree = written_out(kind, tree)
        if isinstance(tree, Scalar) and tree.is_null:
            return None
        if not isinstance(tree, Mapped):
            self._unlike("a mapping", tree, _mapping_hint(kind, tree))
            if not isinstance(tree, Sequence):
                return None
            tree = Mapped(entries_of_list(tree, empty=kind.listable), tree.at)  # for what else is wrong
        values: dict[str, Given] = {}
        for name, entry in tree.entries.items():
            try:
                kind.key.parse(Scalar(name, plain=False, at=entry.key))
            except Wrong as wrong:
                if (slip := slip_of_key(name, entry)) is not None:
                    slip.say(self.report)
                    continue
                self.report.say(wrong.code, entry.key, wrong.hint, **wrong.values)
                self._given(kind.kind_of(name), entry.value, entry.key)  # for what else is wrong
                continue
            below = kind.kind_of(name)
            if below is SERVICE and not self._is_service(name, entry):
                continue
            given = self._given(below, entry.value, entry.key)
            if given is not None:
                values[name] = given
            elif isinstance(below, Many):  # an empty one, as of a cable that is only named
                values[name] = Given((), entry.key)
        return Given(values, tree.at)

    def _many(self, kind: Many, tree: Tree) -> Given | None:
        tree = written_out(kind, tree)
        if isinstance(tree, Scalar) and tree.is_null:
            if kind.single and isinstance(kind.of, Form) and not self.draft:
                self.report.say("E016", tree.at, None, what=Word(kind.of.what), got=Word("nothing"))
            return None
        if not isinstance(tree, Sequence):
            self._unlike("a list", tree)
            return None
        given = [self._given(kind.of, item, item.at) for item in tree.items]
        if isinstance(kind.of, Form) and any(item is None for item in given):
            return None
        return Given(tuple(item for item in given if item is not None), tree.at)

    def _scalar(self, kind: Form, tree: Tree) -> Given | None:
        if not isinstance(tree, Scalar):
            self._unlike(kind.what, tree)
            return None
        if tree.is_null:
            if not self.draft and not kind.verbatim and kind is not PLAIN:
                self.report.say("E016", tree.at, None, what=Word(kind.what), got=Word("nothing"))
            return Given(tree.text, tree.at) if kind.verbatim else None
        try:
            return Given(kind.parse(tree), tree.at)
        except Wrong as wrong:
            if is_unfilled(tree.text):
                return None  # said already, or left to the copies
            self.report.say(wrong.code, tree.at, wrong.hint, **wrong.values)
            return None

    def _unlike(self, what: str, tree: Tree, hint: Hint | None = None) -> None:
        match tree:
            case Scalar():
                got: object = Word("nothing") if tree.is_null else tree.text
            case Sequence():
                got = Word("a list")
            case Mapped():
                got = Word("a mapping")
        self.report.say("E016", tree.at, hint, what=Word(what), got=got)

    def _is_service(self, name: str, entry: Entry) -> bool:
        """Whether this is a `run` service, or a part of one; says that other kinds do not exist."""
        tree = written_out(SERVICE, entry.value)
        if not isinstance(tree, Mapped) or "run" in tree.entries:
            return True
        known = tree.entries.keys() & SERVICE.options.keys()
        if self.draft and known and len(known) == len(tree.entries):
            return True
        near = nearest(name, DAEMONS)
        hint: Hint = ("service_form", {"name": name}) if near is None else ("did_you_mean_one", {"near": near})
        self.report.say("E053", entry.key, hint, name=name, kinds=" ".join(SERVICE_KINDS))
        return False

    def _is_check(self, tree: Tree) -> bool:
        """Whether it is a mapping with one kind of question; says so if it is not."""
        if not isinstance(tree, Mapped):
            self.report.say("E054", tree.at, ("check_form", {"names": " ".join(CHECK_KINDS)}))
            return False
        kinds = [name for name in tree.entries if name in CHECK_KINDS]
        if len(kinds) == 1:
            return True
        at = next((entry.key for entry in tree.entries.values()), tree.at)
        name = next(iter(tree.entries), "")
        near = nearest(name, CHECK_KINDS) if not kinds else None
        names = {"names": " ".join(CHECK_KINDS), "kind": Word("checks")}
        hint = ("did_you_mean", {**names, "near": near}) if near is not None else ("check_form", names)
        self.report.say("E054", at, hint)
        return False


def _comes_before(tree: Mapped, one: str, other: str) -> bool:
    names = list(tree.entries)
    return names.index(one) < names.index(other)


def _mapping_hint(kind: Table, tree: Tree) -> Hint | None:
    """How to write a mapping instead of a list of named things."""
    names = list(entries_of_list(tree, empty=True)) if isinstance(tree, Sequence) else []
    if not names:
        return None
    match kind.of:
        case Record() | Table():
            value = "{…}"
        case Many():
            value = "[…]"
        case Form():
            value = "…"
    return ("mapping_not_list", {"text": f"{names[0]}: {value}"})
