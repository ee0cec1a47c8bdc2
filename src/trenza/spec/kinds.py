"""Kinds: the vocabulary in which the lab file's format is declared (`trenza.spec.format`).

One declaration serves four readers: decoding (`decode`), merging (`merge`), JSON Schema and the reference (`schema`,
`reference`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from trenza.spec.report import Hint
from trenza.spec.tree import Scalar


class Wrong(Exception):
    """A scalar that cannot be what its place wants: a code of the catalogue and what goes into its sentence."""

    def __init__(self, code: str, hint: Hint | None = None, **values: object) -> None:
        super().__init__(code)
        self.code = code
        self.hint = hint
        self.values = values


@dataclass(frozen=True, slots=True)
class Form:
    """A kind of scalar. `parse` raises Wrong; `what` is a word of the catalogue; `schema` its JSON Schema.

    `verbatim`: text of other languages (shell, config files), in which an unknown `$name` is left alone.
    """

    what: str
    parse: Callable[[Scalar], object]
    schema: Mapping[str, object] = field(default_factory=lambda: {"type": "string"})
    verbatim: bool = False


@dataclass(frozen=True, slots=True)
class Many:
    """A list; `single`: one value may stand for a list of one. Lists that `append` grow by merging, others replace."""

    of: Kind
    single: bool = False
    appends: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping from names to values of one kind.

    `listable`: `[a, b]` stands for `{a: {}, b: {}}`; `short`: a scalar stands for `{short: scalar}`; `own`: names with
    a kind of their own.
    """

    key: Form
    of: Kind
    listable: bool = False
    short: str | None = None
    own: Mapping[str, Kind] = field(default_factory=dict)

    def kind_of(self, name: str) -> Kind:
        return self.own.get(name, self.of)


@dataclass(frozen=True, slots=True)
class Option:
    """One key of a record. Of those with the same `group` only one may be given, and a later one replaces.

    One that stands `alone` stands for all the others: no other may be given beside it, and a later one replaces them.
    """

    name: str
    kind: Kind
    doc: str
    required: bool = False
    group: str | None = None
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping with known keys.

    Short forms: a scalar stands for `{scalar: …}`, a list for `{sequence: …}`; `switchable`: `true` stands for `{}` and
    `false` for nothing.
    """

    name: str
    doc: str
    options: Mapping[str, Option]
    scalar: str | None = None
    sequence: str | None = None
    switchable: bool = False

    def rivals(self, option: Option) -> tuple[Option, ...]:
        """The options that cannot be given beside one."""
        return tuple(
            other
            for other in self.options.values()
            if other is not option
            and (other.alone or option.alone or (option.group is not None and other.group == option.group))
        )


Kind = Form | Many | Table | Record


def record(
    name: str,
    doc: str,
    *options: Option,
    scalar: str | None = None,
    sequence: str | None = None,
    switchable: bool = False,
) -> Record:
    return Record(name, doc, {option.name: option for option in options}, scalar, sequence, switchable)
