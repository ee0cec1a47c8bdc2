"""In which sends messages go out: as few as the order of things allows.

A plan of a thousand nodes is a thousand little conversations, and most of it may happen in any order. What may not: a
message about a link goes after the one that makes it, even if that is sent in another namespace (a veth is made from
one of its ends); and what happens inside one node happens in the plan's order, because a route needs an address.

So every message gets a wave. Messages of one wave and one node travel together, and a wave begins when all of the one
before is done. A star of a thousand hosts takes three waves: its bridge with all the veths, the hosts' own ends with
their addresses and routes, the bridge coming up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from trenza.model.names import NodeName
from trenza.model.state import Key


@dataclass(frozen=True, slots=True)
class SysctlWrite:
    """A value for a sysctl, by its name with dots."""

    name: str
    value: str


class Item(NamedTuple):
    """A message or a sysctl of the operation at `place` in the plan; errnos in `tolerated` do not matter.

    A tuple and no dataclass: there are as many as routes in the lab, and a tuple is made in a third of the time.
    """

    place: int
    payload: bytes | SysctlWrite
    tolerated: tuple[int, ...] = ()


class Schedule:
    """Items by wave and node."""

    def __init__(self) -> None:
        self._waves: list[dict[NodeName, list[Item]]] = []
        self._made: dict[Key, tuple[int, NodeName]] = {}
        self._latest: dict[NodeName, int] = {}

    def make(self, node: NodeName, makes: Iterable[Key], needs: Iterable[Key], items: Iterable[Item]) -> None:
        """Something that others need, sent in `node`, as early as its own needs allow."""
        wave = self._after(node, needs)
        for key in makes:
            self._made[key] = (wave, node)
        self._at(wave, node).extend(items)

    def then(self, node: NodeName, needs: Iterable[Key], items: Iterable[Item]) -> None:
        """Something inside `node`, after everything that this was called for before."""
        wave = self._latest.get(node, 0)
        if needs:
            wave = max(wave, self._after(node, needs))
        self._latest[node] = wave
        self._at(wave, node).extend(items)

    def add(self, node: NodeName, item: Item) -> None:
        """Like `then`, of one thing that needs nothing else."""
        self._at(self._latest.get(node, 0), node).append(item)

    def waves(self) -> Iterator[dict[NodeName, list[Item]]]:
        """The waves in order, each with the items of every node in order."""
        return iter(self._waves)

    def _after(self, node: NodeName, needs: Iterable[Key]) -> int:
        wave = 0
        for key in needs:
            made = self._made.get(key)
            if made is not None:
                wave = max(wave, made[0] if made[1] == node else made[0] + 1)
        return wave

    def _at(self, wave: int, node: NodeName) -> list[Item]:
        while len(self._waves) <= wave:
            self._waves.append({})
        items = self._waves[wave].get(node)
        if items is None:
            items = self._waves[wave][node] = []
        return items
