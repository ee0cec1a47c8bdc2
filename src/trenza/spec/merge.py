"""Merging: one tree laid over another, as `adds`, `use` and variants do.

Mappings merge by key; lists of addresses, ports, routes, remotes and the like append without repeats; a scalar
replaces; null removes. Short forms are written out first, so that `[eth0]` and
`{ports: {eth0: {cost: 5}}}` meet as equals.
"""

from __future__ import annotations

from trenza.spec.kinds import Form, Kind, Many, Record, Table
from trenza.spec.report import Report
from trenza.spec.tree import Entry, Mapped, Scalar, Sequence, Tree, same_data


def written_out(kind: Kind, tree: Tree) -> Tree:
    """A short form written out, one level deep; anything else as it is."""
    match kind:
        case Record():
            return _record_written_out(kind, tree)
        case Table():
            if kind.listable and isinstance(tree, Sequence) and all(isinstance(item, Scalar) for item in tree.items):
                names = [item for item in tree.items if isinstance(item, Scalar)]
                return Mapped({item.text: Entry(item.at, _empty(kind.of, item)) for item in names}, tree.at)
            if kind.short is not None and isinstance(tree, Scalar) and not tree.is_null:
                return Mapped({kind.short: Entry(tree.at, tree)}, tree.at)
        case Many():
            if kind.single and isinstance(tree, Scalar) and not tree.is_null:
                return Sequence((tree,), tree.at)
        case Form():
            pass
    return tree


def _record_written_out(kind: Record, tree: Tree) -> Tree:
    if isinstance(tree, Scalar) and not tree.is_null:
        if kind.switchable and tree.value is True:
            return Mapped({}, tree.at)
        if kind.scalar is not None:
            return Mapped({kind.scalar: Entry(tree.at, tree)}, tree.at)
    if isinstance(tree, Sequence) and kind.sequence is not None:
        return Mapped({kind.sequence: Entry(tree.at, tree)}, tree.at)
    return tree


def _empty(kind: Kind, item: Scalar) -> Tree:
    return Sequence((), item.at) if isinstance(kind, Many) else Mapped({}, item.at)


def merged(kind: Kind, under: Tree, over: Tree, report: Report | None = None) -> Tree:
    """`over` laid over `under`, both of one kind.

    With a report, a null that removes nothing is a warning and is dropped; without one it stays, for a later merge.
    """
    replaces = isinstance(over, Scalar)
    under, over = written_out(kind, under), written_out(kind, over)
    match kind:
        case Record() | Table() if isinstance(under, Mapped) and isinstance(over, Mapped):
            return _merged_mapping(kind, under, over, report)
        case Record() | Table() if isinstance(over, Mapped) and report is not None:
            return _merged_mapping(kind, Mapped({}, over.at), over, report)
        case Many() if kind.appends and not replaces and isinstance(under, Sequence) and isinstance(over, Sequence):
            new = [item for item in over.items if not any(same_data(item, old) for old in under.items)]
            return Sequence((*under.items, *new), under.at)
        case _:
            return over


def _merged_mapping(kind: Record | Table, under: Mapped, over: Mapped, report: Report | None) -> Mapped:
    entries = dict(under.entries)
    for name, entry in over.entries.items():
        below, old = _kind_below(kind, name), entries.get(name)
        if isinstance(entry.value, Scalar) and entry.value.is_null:
            if old is not None:
                del entries[name]
            elif report is None:
                entries[name] = entry
            else:
                report.say("W013", entry.key, ("empty_one", {}), name=name)
            continue
        if isinstance(kind, Record) and name in kind.options:
            for other in kind.rivals(kind.options[name]):
                if other.name not in over.entries:
                    entries.pop(other.name, None)
        if below is None:
            entries[name] = entry
        elif old is None:
            entries[name] = entry if report is None else Entry(entry.key, _without_removals(below, entry.value, report))
        else:
            entries[name] = Entry(old.key, merged(below, old.value, entry.value, report))
    return Mapped(entries, under.at if under.entries else over.at)


def _without_removals(kind: Kind, tree: Tree, report: Report) -> Tree:
    """A new subtree: nothing is there to remove, but what is empty by nature may be written as null."""
    tree = written_out(kind, tree)
    if not isinstance(tree, Mapped) or not isinstance(kind, Record | Table):
        return tree
    return _merged_mapping(kind, Mapped({}, tree.at), tree, report)


def _kind_below(kind: Record | Table, name: str) -> Kind | None:
    if isinstance(kind, Table):
        return kind.kind_of(name)
    option = kind.options.get(name)
    return None if option is None else option.kind
