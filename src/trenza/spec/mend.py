"""Mending: misspelled keys taken for what they were meant to be, so that one mistake is said once.

Only reading on is the aim: the mistake itself is an error already, and no Lab comes of a mended tree.
"""

from __future__ import annotations

from trenza.spec.kinds import Data, Form, Kind, Many, Record, Table
from trenza.spec.report import nearest
from trenza.spec.tree import Entry, Mapped, Sequence, Tree


def mended(kind: Kind, tree: Tree) -> Tree:
    """The tree with every unknown key of a record renamed to the nearest option that is not given."""
    match kind:
        case Record() if isinstance(tree, Mapped):
            entries: dict[str, Entry] = {}
            for name, entry in tree.entries.items():
                missing = [option for option in kind.options if option not in tree.entries]
                meant = name if name in kind.options else nearest(name, missing) or name
                below = kind.options.get(meant)
                value = entry.value if below is None else mended(below.kind, entry.value)
                entries.setdefault(meant, Entry(entry.key, value))
            return Mapped(entries, tree.at, tree.size)
        case Table() if isinstance(tree, Mapped):
            mended_entries = {
                name: Entry(entry.key, mended(kind.of, entry.value)) for name, entry in tree.entries.items()
            }
            return Mapped(mended_entries, tree.at, tree.size)
        case Many() if isinstance(tree, Sequence):
            return Sequence(tuple(mended(kind.of, item) for item in tree.items), tree.at, tree.size)
        case Record() | Table() | Many() | Form() | Data():
            return tree
