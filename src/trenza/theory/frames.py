"""Layer 2 in detail: through which bridges and ports a frame passes, and so everything that a packet crosses."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from trenza.model.names import Interface, NodeName
from trenza.model.state import Bridge, IpAddress, Loopback, Macvlan, State, Veth
from trenza.theory.network import Hop, Network
from trenza.theory.segments import link_ends
from trenza.theory.spanning_tree import SpanningTrees, spanning_trees

MAX_TUNNELS_IN_TUNNELS = 4


@dataclass(frozen=True, slots=True)
class BridgeHop:
    """A bridge on a frame's way. `enters` None: the frame is the bridge's own; `leaves` None: it is for the bridge."""

    bridge: Interface
    enters: Interface | None
    leaves: Interface | None


@dataclass(frozen=True, slots=True)
class FramePath:
    """The way of a frame: its bridges, every interface in between in order, and what is wrong (None: it arrives)."""

    hops: tuple[BridgeHop, ...]
    interfaces: tuple[Interface, ...]
    wrong: str | None = None

    @property
    def arrives(self) -> bool:
        return self.wrong is None

    @property
    def ports(self) -> tuple[Interface, ...]:
        """The bridge ports that it passes."""
        return tuple(port for hop in self.hops for port in (hop.enters, hop.leaves) if port is not None)


@dataclass(frozen=True, slots=True)
class Leg:
    """One hop of a packet: its frame's way, and for each tunnel that the frame crosses the legs of the packet below."""

    hop: Hop
    frame: FramePath
    under: tuple[tuple[Leg, ...], ...] = ()

    def ports(self) -> Iterator[Interface]:
        """Every bridge port on the way, those below tunnels too."""
        yield from self.frame.ports
        for legs in self.under:
            for leg in legs:
                yield from leg.ports()


class Frames:
    """A state ready to be asked which way frames and packets take. `trees` are its spanning trees."""

    def __init__(self, state: State, trees: SpanningTrees | None = None, network: Network | None = None) -> None:
        self.network = Network(state) if network is None else network
        self.trees = spanning_trees(state) if trees is None else trees
        self._ends = link_ends(state)
        self._next: dict[Interface, list[Interface]] = {}
        for thing in state:
            if isinstance(thing, Veth) and thing.a.up and thing.b.up:
                self._wire(thing.a.interface, thing.b.interface)
        for interface, end in self._ends.items():
            if isinstance(end, Macvlan) and end.up and end.parent in self._ends and self._ends[end.parent].up:
                self._wire(interface, end.parent)
            if isinstance(end, Bridge | Loopback) or end.port is None:
                continue
            bridge = Interface(interface.node, end.port.bridge)
            if bridge in self._ends and self.trees.forwards(interface):
                self._wire(interface, bridge)
        for one, other in self.network.tunnels:
            self._wire(one, other)

    def _wire(self, one: Interface, other: Interface) -> None:
        self._next.setdefault(one, []).append(other)
        self._next.setdefault(other, []).append(one)

    def path(self, source: Interface, to: Interface) -> FramePath:
        """The way of a frame that `source` sends to `to`, once the spanning trees have settled."""
        for interface in (source, to):
            end = self._ends.get(interface)
            if end is None:
                return FramePath((), (), f"{interface.node} has no interface {interface.nic}")
            if not end.up:
                return FramePath((), (), f"{interface} is down")
        before: dict[Interface, Interface | None] = {source: None}
        waiting = deque([source])
        while waiting and to not in before:
            at = waiting.popleft()
            for further in self._next.get(at, ()):
                if further not in before:
                    before[further] = at
                    waiting.append(further)
        if to not in before:
            return FramePath((), (), f"no frame of {source} gets to {to}")
        way: list[Interface] = []
        at_last: Interface | None = to
        while at_last is not None:
            way.append(at_last)
            at_last = before[at_last]
        way.reverse()
        return FramePath(tuple(self._bridges(way)), tuple(way))

    def _bridges(self, way: list[Interface]) -> Iterator[BridgeHop]:
        for place, interface in enumerate(way):
            if isinstance(self._ends[interface], Bridge):
                enters = way[place - 1] if place else None
                leaves = way[place + 1] if place + 1 < len(way) else None
                yield BridgeHop(interface, enters, leaves)

    def legs(self, source: NodeName, to: IpAddress) -> tuple[Leg, ...]:
        """Everything that a packet from a node to an address crosses; nothing if it does not arrive."""
        return self._legs(self.network.path(source, to).hops, 0)

    def legs_back(self, source: NodeName, to: IpAddress) -> tuple[Leg, ...]:
        """Everything that its answer crosses."""
        return self._legs(self.network.way_back(source, to).hops, 0)

    def _legs(self, hops: tuple[Hop, ...], depth: int) -> tuple[Leg, ...]:
        made = []
        for hop in hops:
            frame = self.path(hop.sender, hop.interface)
            under = tuple(self._under(frame, depth)) if depth < MAX_TUNNELS_IN_TUNNELS else ()
            made.append(Leg(hop, frame, under))
        return tuple(made)

    def _under(self, frame: FramePath, depth: int) -> Iterator[tuple[Leg, ...]]:
        tunnels = set(self.network.tunnels)
        for one, other in zip(frame.interfaces, frame.interfaces[1:], strict=False):
            if (one, other) in tunnels or (other, one) in tunnels:
                ip = self.network.underlay(one, other)
                if ip is not None:
                    yield self._legs(self.network.path(one.node, ip).hops, depth + 1)


def l2_path(state: State, source: Interface, to: Interface) -> FramePath:
    """The bridges that a frame passes from one interface to another, over forwarding ports."""
    return Frames(state).path(source, to)
