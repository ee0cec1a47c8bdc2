"""Operations: the steps a plan is made of."""

from __future__ import annotations

from dataclasses import dataclass

from trenza.model.state import Key, Thing


@dataclass(frozen=True, slots=True)
class Create:
    """Make a thing that is not there. What it stands on is there by then."""

    thing: Thing

    @property
    def key(self) -> Key:
        return self.thing.key


@dataclass(frozen=True, slots=True)
class Change:
    """Change a thing in place; both have the same key."""

    old: Thing
    new: Thing

    @property
    def key(self) -> Key:
        return self.new.key


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a thing; whatever stands on it goes with it, without an operation of its own.

    A thing that is already gone is no error: two removals may take the same along.
    """

    thing: Thing

    @property
    def key(self) -> Key:
        return self.thing.key


Operation = Create | Change | Remove
Plan = tuple[Operation, ...]
