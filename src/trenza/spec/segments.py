"""Segments: which interfaces of a lab share layer 2, and where bridges form a loop that no spanning tree would cut.

`trenza.theory` asks the same of a state; here it is asked of a lab's own words, with STP's cut left out.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from trenza.model.lab import Lab, Nic, NodeSpec, ToBridge, ToHost, ToNat, ToNic, Unplugged
from trenza.model.names import Interface, NicName
from trenza.model.state import NodeKind
from trenza.spec.wiring import Wiring


class Sets:
    """Disjoint sets."""

    def __init__(self) -> None:
        self._above: dict[Hashable, Hashable] = {}

    def find(self, one: Hashable) -> Hashable:
        while (above := self._above.get(one, one)) != one:
            self._above[one] = self._above.get(above, above)
            one = above
        return one

    def join(self, one: Hashable, other: Hashable) -> bool:
        """Join two sets; False if they were one already."""
        one, other = self.find(one), self.find(other)
        if one == other:
            return False
        self._above[other] = one
        return True


@dataclass(frozen=True, slots=True)
class Link:
    """Two interfaces at the ends of one wire (or tunnel), and what it is written as: a NIC, a cable, a tunnel end."""

    one: Hashable
    other: Hashable
    written: Interface | str


class Segments:
    def __init__(self, lab: Lab, wiring: Wiring) -> None:
        self.lab = lab
        self.wiring = wiring
        self.bridge_of: dict[Hashable, Interface] = {}
        """The bridge an interface is a port of."""
        self.has_stp = {
            Interface(node.name, bridge.name): bridge.stp is not None for node in lab.nodes for bridge in node.bridges
        }
        for node in lab.nodes:
            for bridge in node.bridges:
                for port in bridge.ports:
                    self.bridge_of[Interface(node.name, port.name)] = Interface(node.name, bridge.name)
        for nic, far in wiring.far.items():
            if isinstance(to := wiring.to[nic], ToBridge):
                self.bridge_of[far] = Interface(to.node, to.bridge)
        self.links = tuple(self._links())
        self._sets = Sets()
        for link in self.links:
            self._sets.join(link.one, link.other)
        for end, master in self.bridge_of.items():
            self._sets.join(end, master)

    def segment(self, interface: Interface) -> Hashable:
        """What two interfaces have in common when they hear each other's broadcasts."""
        return self._sets.find(interface)

    def loops(self) -> Iterator[Interface | str]:
        """What closes a loop of bridges without STP: one answer for each wire too many."""
        sets = Sets()
        for link in self.links:
            one, other = self._bridge_at(link.one), self._bridge_at(link.other)
            if one is not None and other is not None and not sets.join(one, other):
                yield link.written

    def _bridge_at(self, end: Hashable) -> Hashable | None:
        """The bridge that forwards what arrives at an end; None where nothing does, or where STP would cut."""
        if isinstance(end, tuple):
            return end  # a tunnel's network: it reaches everyone, as a bridge without STP does
        bridge = self.bridge_of.get(end)
        return None if bridge is None or self.has_stp.get(bridge, False) else bridge

    def _links(self) -> Iterator[Link]:
        for node in self.lab.nodes:
            for nic in node.nics:
                yield from self._nic_links(node, nic)
            for vxlan in node.vxlans:
                interface = Interface(node.name, vxlan.name)
                yield Link(interface, ("vni", vxlan.vni, vxlan.udp_port), interface)
            for macvlan in node.macvlans:
                interface = Interface(node.name, macvlan.name)
                yield Link(interface, macvlan.parent, interface)
        switches = {node.name for node in self.lab.nodes if node.kind is NodeKind.SWITCH}
        for cable in self.lab.cables:
            one, other = cable.ends
            if isinstance(one, ToBridge) and isinstance(other, ToBridge) and {one.node, other.node} <= switches:
                name = NicName(cable.name)
                ends = Interface(one.node, name), Interface(other.node, NicName(name + "-2") if one == other else name)
                for end, bridge in zip(ends, (one, other), strict=True):
                    self.bridge_of[end] = Interface(bridge.node, bridge.bridge)
                yield Link(*ends, cable.name)

    def _nic_links(self, node: NodeSpec, nic: Nic) -> Iterator[Link]:
        interface = Interface(node.name, nic.name)
        match nic.to:
            case ToBridge() | ToHost():
                yield Link(interface, self.wiring.far[interface], interface)
            case ToNic(other):
                if interface < other:
                    yield Link(interface, other, interface)
            case ToNat() | Unplugged():
                pass
