"""Stages: in which order things can be made, and which can be changed without being made again."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import assert_never

from trenza.model.names import Interface
from trenza.model.state import (
    Address,
    Bridge,
    FdbEntry,
    File,
    Key,
    Loopback,
    Macvlan,
    MacvlanMode,
    Neighbour,
    Node,
    OtherLink,
    Process,
    Route,
    State,
    Sysctl,
    Thing,
    Veth,
    Vxlan,
    link_key,
)
from trenza.plan.operations import Change, Create, Operation, Remove
from trenza.services.daemons import SYSLOG


class Stage(IntEnum):
    """When a thing is made; removals go the other way."""

    NODE = 0
    NODE_SYSCTL = 1
    """Before links, because `conf.default` says what new links are like."""
    LOOPBACK = 2
    BRIDGE = 3
    LINK = 4
    """Veths, then what lies over them: macvlans, tunnels with a `dev`."""
    LINK_SYSCTL = 5
    """Before addresses, because `disable_ipv6` refuses them."""
    ADDRESS = 6
    CONNECTED_ROUTE = 7
    """Without a next hop; the next hops of others may lie behind these."""
    ROUTE = 8
    NEIGHBOUR = 9
    FILE = 10
    LOG = 11
    """A node's syslog, before the daemons that speak to it."""
    PROCESS = 12


_STAGES: Mapping[type, Stage] = {
    Node: Stage.NODE,
    Loopback: Stage.LOOPBACK,
    Bridge: Stage.BRIDGE,
    Veth: Stage.LINK,
    Vxlan: Stage.LINK,
    Macvlan: Stage.LINK,
    OtherLink: Stage.LINK,
    Address: Stage.ADDRESS,
    Neighbour: Stage.NEIGHBOUR,
    FdbEntry: Stage.NEIGHBOUR,
    File: Stage.FILE,
    Process: Stage.PROCESS,
}


def stage_of(thing: Thing) -> Stage:
    """When the thing is made."""
    if isinstance(thing, Route):
        return Stage.ROUTE if thing.via is not None else Stage.CONNECTED_ROUTE
    if isinstance(thing, Process) and thing.name == SYSLOG:
        return Stage.LOG
    if isinstance(thing, Sysctl):
        return Stage.LINK_SYSCTL if thing.stands_on()[0][0] == "link" else Stage.NODE_SYSCTL
    return _STAGES[type(thing)]


def changeable(old: Thing, new: Thing) -> bool:
    """Whether Linux can make `old` into `new` without removing it; both have one key."""
    if type(old) is not type(new):
        return False
    match new:
        case Node():
            return isinstance(old, Node) and (old.kind, old.host) == (new.kind, new.host)
        case Vxlan():
            return isinstance(old, Vxlan) and _tunnel(old) == _tunnel(new)
        case Macvlan():
            return (
                isinstance(old, Macvlan)
                and old.parent == new.parent
                and (old.mode is new.mode or MacvlanMode.PASSTHRU not in (old.mode, new.mode))
            )
        case OtherLink() | Process():
            return False
        case _:
            return True


def _tunnel(vxlan: Vxlan) -> tuple[object, ...]:
    return (vxlan.vni, vxlan.local, vxlan.remote, vxlan.udp_port, vxlan.dev, vxlan.learning)


Place = tuple[int, int, Key]
"""Where a thing's making comes: its stage, how many links it lies over, its key."""


class Order:
    """Sorts the making of things of one state: by stage, then by how many links they lie over, then by key."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._heights: dict[Key, int] = {}

    def __call__(self, operation: Operation) -> Place:
        """The sort key of a creation or a change."""
        match operation:
            case Create(thing) | Change(_, thing) | Remove(thing):
                return self.of(thing.key, thing)
            case _:
                assert_never(operation)

    def of(self, key: Key, thing: Thing) -> Place:
        """The sort key of a thing to be made; `key` is its own, which takes long to spell for ten thousand routes."""
        return (stage_of(thing), self._height(thing), key)

    def _height(self, thing: Thing) -> int:
        match thing:
            case Node():
                return 0 if thing.host is None else 1
            case Macvlan(parent=below):
                return self._height_over(thing.key, below)
            case Vxlan(dev=dev) if dev is not None:
                return self._height_over(thing.key, Interface(thing.interface.node, dev))
            case _:
                return 0

    def _height_over(self, key: Key, below: Interface) -> int:
        if key not in self._heights:
            self._heights[key] = 1  # ends the recursion in a circle, which the kernel will refuse
            provider = self._state.provided.get(link_key(below))
            self._heights[key] = 1 if provider is None else 1 + self._height(provider)
        return self._heights[key]
