"""Layer 2: which interfaces share a segment, that is, hear each other's broadcasts.

A segment is a set of wires joined by bridges and tunnels. A veth is a wire if both ends are up; a bridge that is up
joins the wires of its ports that are up; a macvlan hears the wire of its parent; two tunnel ends join if each has the
other as a destination and their nodes reach each other below (which is for `Network` to say).

Spanning trees are taken as converged: they change which wires carry, not which interfaces hear each other.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping

from trenza.model.names import Interface
from trenza.model.state import (
    Bridge,
    Loopback,
    Macvlan,
    MacvlanMode,
    State,
    Veth,
    VethEnd,
    Vxlan,
)

End = VethEnd | Bridge | Vxlan | Macvlan | Loopback


class Joined:
    """Disjoint sets (union by size, paths halved)."""

    def __init__(self) -> None:
        self._above: dict[Hashable, Hashable] = {}
        self._size: dict[Hashable, int] = {}

    def find(self, one: Hashable) -> Hashable:
        above = self._above
        while (next_one := above.get(one, one)) != one:
            above[one] = above.get(next_one, next_one)
            one = above[one]
        return one

    def join(self, one: Hashable, other: Hashable) -> None:
        one, other = self.find(one), self.find(other)
        if one == other:
            return
        if self._size.get(one, 1) < self._size.get(other, 1):
            one, other = other, one
        self._above[other] = one
        self._size[one] = self._size.get(one, 1) + self._size.get(other, 1)


def link_ends(state: State) -> Mapping[Interface, End]:
    """Every interface that this theory knows, with its configuration."""
    ends: dict[Interface, End] = {}
    for thing in state:
        match thing:
            case Veth(a, b):
                ends[a.interface] = a
                ends[b.interface] = b
            case Bridge() | Vxlan() | Macvlan() | Loopback():
                ends[thing.interface] = thing
            case _:
                pass
    return ends


def every_bridge(bridge: Bridge) -> bool:
    return True


class Segments:
    """The segments of a state. Wires are named by an interface that touches them, a bridge's by the bridge.

    `joins` says which of the bridges that are up join their ports: all of them, for those who want to talk; only those
    without STP for BPDUs, which end at a bridge that takes part.
    """

    def __init__(
        self, state: State, ends: Mapping[Interface, End], joins: Callable[[Bridge], bool] = every_bridge
    ) -> None:
        self._ends = ends
        self._peers: dict[Interface, Interface] = {}
        self._joined = Joined()
        for thing in state:
            if isinstance(thing, Veth):
                self._peers[thing.a.interface] = thing.b.interface
                self._peers[thing.b.interface] = thing.a.interface
                if thing.a.up and thing.b.up:
                    self._joined.join(thing.a.interface, thing.b.interface)
        for interface, end in ends.items():
            if isinstance(end, Macvlan) and end.up and end.parent in ends and ends[end.parent].up:
                self._joined.join(interface, end.parent)
        for interface, end in ends.items():
            if isinstance(end, VethEnd | Vxlan | Macvlan) and end.port is not None and end.up:
                bridge = ends.get(Interface(interface.node, end.port.bridge))
                if isinstance(bridge, Bridge) and bridge.up and joins(bridge):
                    self._joined.join(interface, bridge.interface)

    def join(self, one: Interface, other: Interface) -> None:
        """Join two tunnel ends."""
        self._joined.join(one, other)

    def has_carrier(self, interface: Interface) -> bool:
        """Whether something that is up is at the other end: of a veth its peer, of a macvlan its parent's."""
        end = self._ends.get(interface)
        if isinstance(end, Macvlan):
            parent = self._ends.get(end.parent)
            return parent is not None and parent.up and self.has_carrier(end.parent)
        peer = self._peers.get(interface)
        return peer is None or self._ends[peer].up

    def peer(self, interface: Interface) -> Interface | None:
        """The other end of a veth."""
        return self._peers.get(interface)

    def wire(self, interface: Interface) -> Hashable:
        """A name of what the interface itself touches, be it a port or not."""
        return self._joined.find(interface)

    def segment(self, interface: Interface) -> Hashable | None:
        """A name of the segment on which the interface's own IP speaks; None for one that is down or a port.

        A port's frames belong to its bridge: an address on it sends, but never hears the answer.
        """
        end = self._ends.get(interface)
        if end is None or not end.up or isinstance(end, Loopback):
            return None
        if isinstance(end, VethEnd | Vxlan | Macvlan) and end.port is not None:
            return None
        return self._joined.find(interface)

    def hears(self, one: Interface, other: Interface) -> bool:
        """Whether frames pass between the IP of two interfaces, both ways."""
        segment = self.segment(one)
        if segment is None or segment != self.segment(other):
            return False
        first, second = self._ends[one], self._ends[other]
        for macvlan, far in ((first, other), (second, one)):
            # A parent and its macvlans share the wire beyond the parent, not each other's frames.
            if isinstance(macvlan, Macvlan) and macvlan.parent == far:
                return False
        if isinstance(first, Macvlan) and isinstance(second, Macvlan) and first.parent == second.parent:
            return first.mode is MacvlanMode.BRIDGE and second.mode is MacvlanMode.BRIDGE
        return True
