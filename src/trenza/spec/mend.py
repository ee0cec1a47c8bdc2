"""Mending: mistakes taken for what was meant, so that one mistake is said once.

Misspelled keys, forgotten colons, lists in place of mappings. Only reading on is the aim: the mistake itself is an
error already, and no Lab comes of a mended tree.
"""

from __future__ import annotations

from trenza.spec.kinds import Form, Kind, Many, Record, Table, Wrong
from trenza.spec.report import nearest
from trenza.spec.slips import Slip, is_below, slip_of_key, slip_of_value
from trenza.spec.tree import Entry, Mapped, Place, Scalar, Sequence, Tree


def mended(kind: Kind, tree: Tree, key: Place | None = None) -> Tree:
    """The tree with slips taken for entries, every unknown key of a record renamed to the nearest option that is not
    given, and lists of named things made mappings. `key`: where its own key is written."""
    match kind:
        case Record() | Table() if (slip := slip_in_place_of(kind, tree, key)) is not None:
            tree = Mapped({slip.key: slip.entry(named=_holds_records(kind))}, tree.at, tree.size)
        case Table() if isinstance(tree, Sequence) and not (kind.listable and _all_names(tree)):
            tree = Mapped(entries_of_list(tree, empty=kind.listable), tree.at, tree.size)
    match kind:
        case Record() if isinstance(tree, Mapped):
            entries: dict[str, Entry] = {}
            for name, entry in tree.entries.items():
                if name not in kind.options and (slip := slip_of_key(name, entry)) is not None:
                    name, entry = slip.key, slip.entry(named=False)
                missing = [option for option in kind.options if option not in tree.entries]
                meant = name if name in kind.options else nearest(name, missing) or name
                below = kind.options.get(meant)
                value = entry.value if below is None else mended(below.kind, entry.value, entry.key)
                entries.setdefault(meant, Entry(entry.key, value))
            return Mapped(entries, tree.at, tree.size)
        case Table() if isinstance(tree, Mapped):
            mended_entries: dict[str, Entry] = {}
            for name, entry in tree.entries.items():
                if not _can_be(kind, name) and (slip := slip_of_key(name, entry)) is not None:
                    name, entry = slip.key, slip.entry(named=_holds_records(kind))
                mended_entries.setdefault(name, Entry(entry.key, mended(kind.of, entry.value, entry.key)))
            return Mapped(mended_entries, tree.at, tree.size)
        case Many() if isinstance(tree, Sequence):
            return Sequence(tuple(mended(kind.of, item) for item in tree.items), tree.at, tree.size)
        case Record() | Table() | Many() | Form():
            return tree


def slip_in_place_of(kind: Record | Table, tree: Tree, key: Place | None) -> Slip | None:
    """The slip that stands where a record or table should: `to:lan` where `to: lan` was meant.

    Of a record, it names an option; of a table, it holds something or stands on a line of its own. Where one value may
    stand for the whole, only a value that could not be meant counts.
    """
    slip = slip_of_value(tree, key)
    if slip is None:
        return None
    match kind:
        case Record():
            short = None if kind.scalar is None else kind.options[kind.scalar].kind
            free = isinstance(short, Form) and short.verbatim
            return slip if slip.key in kind.options and not free and (slip.rest or short is None) else None
        case Table():
            holds = is_below(tree, key) or slip.rest[:1] in ("{", "[")
            return slip if kind.short is None and holds and _can_be(kind, slip.key) else None


def entries_of_list(tree: Sequence, *, empty: bool) -> dict[str, Entry]:
    """What a list of named things would be as a mapping: `- h1: {…}`, `- name: h1`, and plain `- h1`.

    `empty`: whether a name alone can be an empty thing.
    """
    entries: dict[str, Entry] = {}
    for item in tree.items:
        match item:
            case Scalar() if item.text:
                entries.setdefault(item.text, Entry(item.at, Scalar("", plain=True, at=item.at, lost=not empty)))
            case Mapped() if isinstance(name := item.get("name"), Scalar) and name.text:
                entries.setdefault(name.text, Entry(item.entries["name"].key, item.without("name")))
            case Mapped() if item.entries:
                first, *more = item.entries
                value = item.entries[first].value
                if more and isinstance(value, Scalar) and value.is_null:  # what it holds is not indented below it
                    entries.setdefault(first, Entry(item.entries[first].key, item.without(first)))
                    continue
                for key, entry in item.entries.items():
                    entries.setdefault(key, entry)
            case _:
                pass
    return entries


def _all_names(tree: Sequence) -> bool:
    return all(isinstance(item, Scalar) for item in tree.items)


def _holds_records(kind: Record | Table) -> bool:
    return isinstance(kind, Table) and isinstance(kind.of, Record)


def _can_be(kind: Table, name: str) -> bool:
    """Whether a table may have this key."""
    try:
        kind.key.parse(Scalar(name, plain=False, at=Place(1, 1)))
    except Wrong:
        return False
    return True
