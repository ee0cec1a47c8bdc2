"""Layer 2 with loops: the spanning trees that bridges settle to (IEEE 802.1D-1998, clause 8; net/bridge/br_stp.c).

Every bridge that runs STP and is up says in BPDUs which root it knows, at what cost, and who it is itself. A BPDU goes
as far as the next such bridge: bridges with STP off, tunnels and macvlans pass it on, so that several ports can share
one segment. Of two offers the better one is that of, in this order, the lower root id, the lower cost to the root, the
lower id of the bridge that offers, the lower id of its port, and last the lower id of the port that hears.

A port's number is the order in which it joined, which no state knows: it is an argument, else guessed as trenza makes
ports in a fresh lab, and said to be a guess wherever it decides.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from types import MappingProxyType

from trenza.model.measurements import PortMeasure
from trenza.model.names import Interface, NicName, NodeName
from trenza.model.state import Bridge, BridgePort, Loopback, Macvlan, State, Thing, Veth, VethEnd, Vxlan
from trenza.theory.network import Network
from trenza.theory.segments import End, Joined, Segments, link_ends

PORT_NUMBER_BITS = 10
"""BR_PORT_BITS (net/bridge/br_private.h): a port id is the priority, then the number."""
UNKNOWN_SPEED_COST = 100
TEN_GIGABIT_COST = 2
"""port_cost (net/bridge/br_if.c): what a veth costs, and what does not know its speed."""


class Tie(StrEnum):
    """The first of 802.1D's comparisons in which two offers differ."""

    ONLY = "only"
    """There is no other offer."""
    ROOT = "root-id"
    COST = "root-path-cost"
    BRIDGE = "bridge-id"
    PORT = "port-id"
    OWN_PORT = "own-port-id"


@dataclass(frozen=True, slots=True)
class Reason:
    """What decided for one offer against the next best: `won` and `lost` are costs or ids, `over` whose offer lost.

    `winner` is whose offer won. `by_number`: the ports' priorities are equal, so that the order of joining decided;
    `guessed`: that order is not known.
    """

    tie: Tie
    winner: Interface
    over: Interface | None = None
    won: str = ""
    lost: str = ""
    by_number: bool = False
    guessed: bool = False


@dataclass(frozen=True, slots=True)
class PortPrediction:
    """What becomes of a bridge port: `state`, `role` and ids in the words of `PortMeasure`.

    `for_segment` says why the segment's designated port is it, `for_root` why the bridge's root port is it; a port that
    is neither has both, as the loser. A disabled port, and one of a bridge with STP off, has none.
    """

    interface: Interface
    bridge: NicName
    state: str
    role: str
    cost: int
    priority: int
    number: int
    designated_root: str
    designated_bridge: str
    designated_port: int
    designated_cost: int
    for_root: Reason | None = None
    for_segment: Reason | None = None

    @property
    def port_id(self) -> int:
        return (self.priority << PORT_NUMBER_BITS) | self.number


@dataclass(frozen=True, slots=True)
class BridgePrediction:
    """What becomes of a bridge. The times are those in force, which are the root's; ids as in `BridgeMeasure`.

    `for_root` says why the root is the root, against the next best bridge. A bridge that is down, or has STP off, is
    taken as a root by itself.
    """

    interface: Interface
    stp: bool
    up: bool
    bridge_id: str
    root_id: str
    root: Interface
    root_path_cost: int
    root_port: NicName | None
    forward_delay_s: float
    hello_time_s: float
    max_age_s: float
    for_root: Reason | None
    ports: tuple[PortPrediction, ...]

    @property
    def is_root(self) -> bool:
        return self.root == self.interface


@dataclass(frozen=True)
class SpanningTrees:
    """All bridges of a state, with their ports.

    `twins` are bridges of one tree with one id: there 802.1D promises nothing, and neither does this prediction.
    """

    bridges: Mapping[Interface, BridgePrediction]
    ports: Mapping[Interface, PortPrediction]
    twins: tuple[tuple[Interface, Interface], ...] = ()

    def forwards(self, port: Interface) -> bool:
        """Whether frames pass through a bridge port."""
        predicted = self.ports.get(port)
        return predicted is not None and predicted.state == "forwarding"


def bridge_id(bridge: Bridge) -> str:
    """A bridge's id as sysfs writes it, `8000.02aabbccddee`; Linux takes the priority whole, without a system id."""
    return f"{bridge.priority:04x}.{bridge.mac.replace(':', '')}"


def port_id_text(port_id: int) -> str:
    """A port's id as `brctl showstp` writes it: `8001`."""
    return f"{port_id:04x}"


def spanning_trees(state: State, measured: Iterable[PortMeasure] = ()) -> SpanningTrees:
    """The trees that the bridges of a state settle to.

    `measured` ports give their numbers and, where no configuration and no speed of a veth says it, their costs.
    """
    return _Forest(state, {port.interface: port for port in measured}).grown()


@dataclass(slots=True)
class _Port:
    """A port as the algorithm sees it. `wire` None: it is down, or has no carrier."""

    interface: Interface
    bridge: Bridge
    cost: int
    priority: int
    number: int = 0
    guessed: bool = True
    wire: Hashable | None = None

    @property
    def id(self) -> int:
        return (self.priority << PORT_NUMBER_BITS) | self.number


@dataclass(frozen=True, slots=True)
class _Offer:
    """A way to the root: what 802.1D compares, in its order. `hearer` is the port that hears it, if one does."""

    root: str
    cost: int
    bridge: str
    port: _Port
    hearer: _Port | None = None

    @property
    def vector(self) -> tuple[str, int, str, int, int]:
        return (self.root, self.cost, self.bridge, self.port.id, 0 if self.hearer is None else self.hearer.id)

    @property
    def whose(self) -> _Port:
        return self.port if self.hearer is None else self.hearer


class _Forest:
    def __init__(self, state: State, measured: Mapping[Interface, PortMeasure]) -> None:
        self._ends = link_ends(state)
        self._measured = measured
        self._bridges = {end.interface: end for end in self._ends.values() if isinstance(end, Bridge)}
        self._segments = Segments(state, self._ends, lambda bridge: not bridge.stp)
        if any(isinstance(end, Vxlan) and end.up for end in self._ends.values()):
            for one, other in Network(state).tunnels:
                self._segments.join(one, other)
        self._ports: dict[Interface, list[_Port]] = {interface: [] for interface in self._bridges}
        for port in self._find_ports(state):
            self._ports[port.bridge.interface].append(port)
        for ports in self._ports.values():
            _number(ports, measured)
        self._on_wire: dict[Hashable, list[_Port]] = defaultdict(list)
        for ports in self._ports.values():
            for port in ports:
                if port.wire is not None and port.bridge.stp:
                    self._on_wire[port.wire].append(port)

    def _find_ports(self, state: State) -> Iterator[_Port]:
        """Ports in the order in which they join in a fresh lab (`trenza.linux.translate`, `trenza.linux.schedule`).

        In order of their keys, what lies over other links last; but whatever comes after a veth that another node's
        bridge has born waits for that one, and a veth is born in the bridge of its first end that is a port.
        """
        early: list[VethEnd | Vxlan | Macvlan] = []
        late: list[VethEnd | Vxlan | Macvlan] = []
        behind: set[NodeName] = set()
        for thing in sorted(state, key=lambda one: (_lies_over(one), one.key)):
            match thing:
                case Veth(a, b):
                    near, far = (a, b) if a.port is not None or b.port is None else (b, a)
                    early.append(near)
                    if near.interface.node != far.interface.node:
                        behind.add(far.interface.node)
                    (late if far.interface.node in behind else early).append(far)
                case Vxlan() | Macvlan():
                    (late if thing.interface.node in behind else early).append(thing)
                case _:
                    pass
        for end in (*early, *late):
            if end.port is not None:
                bridge = self._bridges.get(Interface(end.interface.node, end.port.bridge))
                if bridge is not None:
                    yield self._port(end, end.port, bridge)

    def _port(self, end: VethEnd | Vxlan | Macvlan, options: BridgePort, bridge: Bridge) -> _Port:
        cost = options.cost
        if cost is None:
            cost = self._default_cost(end)
            told = self._measured.get(end.interface)
            if told is not None and told.cost and not isinstance(end, VethEnd):
                cost = told.cost
        alive = bridge.up and end.up and self._segments.has_carrier(end.interface)
        wire = self._segments.wire(end.interface) if alive else None
        return _Port(end.interface, bridge, cost, options.priority, wire=wire)

    def _default_cost(self, end: End | None, depth: int = 0) -> int:
        """The kernel's own cost, by speed: a tunnel or a macvlan says what the link below says."""
        below: Interface | None = None
        match end:
            case VethEnd():
                return TEN_GIGABIT_COST
            case Macvlan(parent=parent):
                below = parent
            case Vxlan(interface, dev=dev) if dev is not None:
                below = Interface(interface.node, dev)
            case Bridge(interface, up=True):
                ports = [one for one in self._ends.values() if _port_of(one) == interface and one.up]
                return min((self._default_cost(one, depth + 1) for one in ports), default=UNKNOWN_SPEED_COST)
            case _:
                pass
        if below is None or depth > len(self._ends):
            return UNKNOWN_SPEED_COST
        return self._default_cost(self._ends.get(below), depth + 1)

    # The algorithm

    def grown(self) -> SpanningTrees:
        trees = Joined()
        for ports in self._on_wire.values():
            for port in ports[1:]:
                trees.join(ports[0].bridge.interface, port.bridge.interface)
        members: dict[Hashable, list[Bridge]] = defaultdict(list)
        for bridge in self._bridges.values():
            members[trees.find(bridge.interface)].append(bridge)
        bridges: dict[Interface, BridgePrediction] = {}
        twins: list[tuple[Interface, Interface]] = []
        for tree in members.values():
            tree.sort(key=lambda bridge: (bridge_id(bridge), bridge.interface))
            twins += (
                (one.interface, other.interface) for one, other in pairwise(tree) if bridge_id(one) == bridge_id(other)
            )
            for prediction in self._tree(tree):
                bridges[prediction.interface] = prediction
        ordered = {interface: bridges[interface] for interface in sorted(bridges)}
        ports_by_name = {port.interface: port for bridge in ordered.values() for port in bridge.ports}
        return SpanningTrees(MappingProxyType(ordered), MappingProxyType(ports_by_name), tuple(twins))

    def _tree(self, tree: list[Bridge]) -> Iterator[BridgePrediction]:
        """The predictions for bridges that hear each other, the best first."""
        root = tree[0]
        why: Reason | None = None
        if root.stp and root.up:
            why = Reason(Tie.ONLY, root.interface)
            if len(tree) > 1:
                second = tree[1]
                why = Reason(Tie.ROOT, root.interface, second.interface, bridge_id(root), bridge_id(second))
        costs = self._costs(root)
        designated = self._designated(costs, root, tree)
        for bridge in tree:
            yield self._bridge(bridge, root, why, costs, designated)

    def _costs(self, root: Bridge) -> dict[Interface, int]:
        """Each bridge's cost to the root (Dijkstra): it pays for the ports that hear, not for those that send."""
        costs: dict[Interface, int] = {}
        waiting: list[tuple[int, Interface]] = [(0, root.interface)]
        while waiting:
            cost, at = heapq.heappop(waiting)
            if at in costs:
                continue
            costs[at] = cost
            for port in self._ports[at]:
                for hearer in self._on_wire.get(port.wire, ()) if port.wire is not None else ():
                    if hearer.bridge.interface not in costs:
                        heapq.heappush(waiting, (cost + hearer.cost, hearer.bridge.interface))
        return costs

    def _designated(
        self, costs: Mapping[Interface, int], root: Bridge, tree: Collection[Bridge]
    ) -> dict[Hashable, list[_Offer]]:
        """What is offered on each wire, the best first."""
        offers: dict[Hashable, list[_Offer]] = defaultdict(list)
        for bridge in tree:
            for port in self._ports[bridge.interface]:
                if port.wire is not None and bridge.stp:
                    offers[port.wire].append(_Offer(bridge_id(root), costs[bridge.interface], bridge_id(bridge), port))
        for there in offers.values():
            there.sort(key=lambda offer: offer.vector)
        return offers

    def _bridge(
        self,
        bridge: Bridge,
        root: Bridge,
        why: Reason | None,
        costs: Mapping[Interface, int],
        designated: Mapping[Hashable, list[_Offer]],
    ) -> BridgePrediction:
        ports = self._ports[bridge.interface]
        heard: list[_Offer] = []
        if bridge is not root:
            for port in ports:
                best = designated[port.wire][0] if port.wire is not None else None
                if best is not None and best.port.bridge is not bridge:
                    heard.append(_Offer(best.root, best.cost + port.cost, best.bridge, best.port, port))
        heard.sort(key=lambda offer: offer.vector)
        root_port = heard[0].hearer if heard else None
        own = bridge_id(bridge)
        cost = costs[bridge.interface]
        return BridgePrediction(
            bridge.interface,
            bridge.stp,
            bridge.up,
            own,
            bridge_id(root),
            root.interface,
            cost,
            None if root_port is None else root_port.interface.nic,
            root.forward_delay_s,
            root.hello_time_s,
            root.max_age_s,
            why,
            tuple(_predicted(port, bridge_id(root), cost, heard, designated.get(port.wire, [])) for port in ports),
        )


def _lies_over(thing: Thing) -> bool:
    return isinstance(thing, Macvlan) or (isinstance(thing, Vxlan) and thing.dev is not None)


def _port_of(end: End) -> Interface | None:
    """The bridge that a link is a port of."""
    if isinstance(end, Bridge | Loopback) or end.port is None:
        return None
    return Interface(end.interface.node, end.port.bridge)


def _number(ports: list[_Port], measured: Mapping[Interface, PortMeasure]) -> None:
    """Give each port its number: as measured, else the lowest that is free, in the order given."""
    taken = set()
    for port in ports:
        told = measured.get(port.interface)
        if told is not None and told.number and told.bridge == port.bridge.interface.nic:
            port.number, port.guessed = told.number, False
            taken.add(told.number)
    free = (number for number in range(1, len(ports) + len(taken) + 1) if number not in taken)
    for port in ports:
        if port.guessed:
            port.number = next(free)
    if len(ports) == 1:
        ports[0].guessed = False


def _predicted(port: _Port, root: str, own_cost: int, heard: list[_Offer], on_wire: list[_Offer]) -> PortPrediction:
    bridge = port.bridge
    own = bridge_id(bridge)
    told = (port.interface, bridge.interface.nic)
    numbers = (port.cost, port.priority, port.number)
    if port.wire is None:
        return PortPrediction(*told, "disabled", "disabled", *numbers, root, own, port.id, own_cost)
    if not bridge.stp:
        return PortPrediction(*told, "forwarding", "designated", *numbers, own, own, port.id, 0)
    best = on_wire[0]
    for_root = _reason(heard, port) if heard else None
    for_segment: Reason | None = _reason(on_wire, port)
    state = "forwarding"
    if best.port is port:
        role, for_root = "designated", None
    elif heard and heard[0].hearer is port:
        role, for_segment = "root", None
    else:
        state, role = "blocking", "backup" if best.port.bridge is bridge else "alternate"
    return PortPrediction(
        *told, state, role, *numbers, root, best.bridge, best.port.id, best.cost, for_root, for_segment
    )


def _reason(offers: list[_Offer], port: _Port) -> Reason:
    """Why the first of the offers is the first: against the port's own, or, if that is it, against the next."""
    best = offers[0]
    other = next((offer for offer in offers[1:] if offer.whose is port), None)
    if other is None and len(offers) > 1:
        other = offers[1]
    if other is None:
        return Reason(Tie.ONLY, best.whose.interface)
    over = (best.whose.interface, other.whose.interface)
    if best.cost != other.cost:
        return Reason(Tie.COST, *over, str(best.cost), str(other.cost))
    if best.bridge != other.bridge:
        return Reason(Tie.BRIDGE, *over, best.bridge, other.bridge)
    if best.port.id != other.port.id:
        return _by_port(Tie.PORT, over, best.port, other.port)
    return _by_port(Tie.OWN_PORT, over, best.whose, other.whose)


def _by_port(tie: Tie, over: tuple[Interface, Interface], best: _Port, other: _Port) -> Reason:
    by_number = best.priority == other.priority
    guessed = by_number and (best.guessed or other.guessed)
    return Reason(tie, *over, port_id_text(best.id), port_id_text(other.id), by_number, guessed)
