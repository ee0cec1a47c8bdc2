"""Layer 3: how a state forwards packets, node by node, as its routes, addresses and sysctls say.

What is left out, so that the prediction is a lower bound: firewalls, reverse-path filters, ARP answered for another
interface's address, learnt tunnel destinations, IPv6 link-local addresses (the kernel makes them).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from trenza.model.names import Interface, NicName, NodeName
from trenza.model.state import (
    Address,
    Bridge,
    FdbEntry,
    IpAddress,
    IpInterface,
    Loopback,
    Route,
    RouteType,
    State,
    Sysctl,
    Vxlan,
)
from trenza.theory.segments import End, Segments, link_ends

TTL_HOPS = 64
"""Linux's default; a packet that needs more routers does not arrive."""

FORWARDING_SYSCTLS: Mapping[int, str] = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}
CONNECTED_METRICS: Mapping[int, int] = {4: 0, 6: 256}


class Wrong(str):
    """What is wrong with a way, in English; `spanish` is the same sentence."""

    spanish: str

    def __new__(cls, english: str, spanish: str) -> Wrong:
        made = super().__new__(cls, english)
        made.spanish = spanish
        return made


@dataclass(frozen=True, slots=True)
class Hop:
    """A node that a packet reaches: the address that was asked for on the segment, and the interface that has it.

    `sender` is the interface of the node before that it left through.
    """

    node: NodeName
    ip: IpAddress
    interface: Interface
    sender: Interface


@dataclass(frozen=True, slots=True)
class Path:
    """The way of a packet: the nodes after the sender, and the first thing wrong (None: it arrives).

    `unheard`: where nobody answers for an address, the interface that asks and the address, of the way or its answer's.
    """

    hops: tuple[Hop, ...]
    wrong: Wrong | None = None
    unheard: tuple[Interface, IpAddress] | None = None

    @property
    def arrives(self) -> bool:
        return self.wrong is None


@dataclass(frozen=True, slots=True)
class Pair:
    """A node that can exchange packets with an address of another."""

    source: NodeName
    target: NodeName
    ip: IpAddress


@dataclass(slots=True)
class _Router:
    """What one node knows: its routes by version, prefix length and network bits; its own addresses; its sysctls."""

    routes: dict[int, dict[int, dict[int, Route]]] = field(default_factory=lambda: {4: {}, 6: {}})
    lengths: dict[int, list[int]] = field(default_factory=lambda: {4: [], 6: []})
    addresses: dict[NicName, list[IpInterface]] = field(default_factory=dict)
    own: set[IpAddress] = field(default_factory=set)
    forwards: set[int] = field(default_factory=set)

    def add(self, route: Route) -> None:
        """Note a route; of two to one network the smaller metric counts."""
        version, length = route.to.version, route.to.prefixlen
        by_network = self.routes[version].get(length)
        if by_network is None:
            by_network = self.routes[version][length] = {}
            self.lengths[version] = sorted(self.routes[version], reverse=True)
        bits = int(route.to.network_address) >> (route.to.max_prefixlen - length)
        known = by_network.get(bits)
        if known is None or route.metric < known.metric:
            by_network[bits] = route

    def find_route(self, to: IpAddress) -> Route | None:
        """The route with the longest prefix."""
        number, width = int(to), to.max_prefixlen
        for length in self.lengths[to.version]:
            found = self.routes[to.version][length].get(number >> (width - length))
            if found is not None:
                return found
        return None

    def source(self, dev: NicName, towards: IpAddress) -> IpAddress | None:
        """The address that a packet leaving by `dev` carries: on the next hop's subnet, else of `dev`, else any."""
        version = towards.version
        on_dev = [address for address in self.addresses.get(dev, ()) if address.version == version]
        for address in on_dev:
            if towards in address.network:
                return address.ip
        if on_dev:
            return on_dev[0].ip
        others = (one.ip for addresses in self.addresses.values() for one in addresses if one.version == version)
        return next(others, None)


class Network:
    """A state, ready to be asked who can talk to whom. Making it is linear; a question costs its hops."""

    def __init__(self, state: State) -> None:
        self._ends: Mapping[Interface, End] = link_ends(state)
        self._segments = Segments(state, self._ends)
        self._routers: dict[NodeName, _Router] = {name: _Router() for name in state.nodes}
        self._holders: dict[IpAddress, list[Interface]] = {}
        self._destinations: dict[Interface, set[IpAddress]] = {}
        self._tunnels: list[tuple[Interface, Interface]] = []
        for thing in state:
            self._note(thing)
        self._join_tunnels()

    def _note(self, thing: object) -> None:
        match thing:
            case Address(interface, address):
                self._note_address(interface, address)
            case Route(node=node):
                self._routers[node].add(thing)
            case Sysctl(node, name, value):
                for version, forwarding in FORWARDING_SYSCTLS.items():
                    if name == forwarding and value != "0":
                        self._routers[node].forwards.add(version)
            case Vxlan(interface, remote=remote) if remote is not None:
                self._destinations.setdefault(interface, set()).add(remote)
            case FdbEntry(interface, _, destination) if destination is not None:
                self._destinations.setdefault(interface, set()).add(destination)
            case _:
                pass

    def _note_address(self, interface: Interface, address: IpInterface) -> None:
        end = self._ends.get(interface)
        up = end is not None and end.up
        router = self._routers[interface.node]
        if not up and address.version == 6:
            return
        router.own.add(address.ip)  # IPv4 answers for an address even while its interface is down
        if up:
            router.addresses.setdefault(interface.nic, []).append(address)
            metric = CONNECTED_METRICS[address.version]
            router.add(Route(interface.node, address.network, None, interface.nic, metric))
            if not isinstance(end, Loopback):
                self._holders.setdefault(address.ip, []).append(interface)

    def _join_tunnels(self) -> None:
        """Join the tunnel ends that reach each other; again while that lets further ones do so (tunnels in tunnels)."""
        tunnels: dict[tuple[int, int], list[Vxlan]] = {}
        for end in self._ends.values():
            if isinstance(end, Vxlan) and end.up:
                tunnels.setdefault((end.vni, end.udp_port), []).append(end)
        waiting = [
            (one, other)
            for group in tunnels.values()
            for number, one in enumerate(group)
            for other in group[number + 1 :]
            if self._names(one, other) and self._names(other, one)
        ]
        while waiting:
            rest = []
            for one, other in waiting:
                if self._carries(one, other) and self._carries(other, one):
                    self._segments.join(one.interface, other.interface)
                    self._tunnels.append((one.interface, other.interface))
                else:
                    rest.append((one, other))
            if len(rest) == len(waiting):
                return
            waiting = rest

    def _names(self, one: Vxlan, other: Vxlan) -> bool:
        """Whether a tunnel end has an address of another's node among its destinations."""
        own = self._routers[other.interface.node].own
        return one.interface.node != other.interface.node and any(
            ip in own for ip in self._destinations.get(one.interface, ())
        )

    def _carries(self, one: Vxlan, other: Vxlan) -> bool:
        node, far = one.interface.node, other.interface.node
        if one.local is not None and one.local not in self._routers[node].own:
            return False
        return any(
            ip in self._routers[far].own and (path := self._walk(node, ip)).arrives and path.hops[-1].node == far
            for ip in self._destinations.get(one.interface, ())
        )

    # Questions

    @property
    def segments(self) -> Segments:
        """Who hears whom."""
        return self._segments

    @property
    def tunnels(self) -> tuple[tuple[Interface, Interface], ...]:
        """The pairs of VXLAN ends that carry frames to each other."""
        return tuple(self._tunnels)

    def path(self, source: NodeName, to: IpAddress) -> Path:
        """The way of a packet from a node to an address and, if it arrives, of its answer: the first thing wrong."""
        there = self._walk(source, to)
        if not there.arrives or not there.hops:
            return there
        answer_to = self._source(source, to)
        if answer_to is None:
            wrong = Wrong(
                f"{source} has no IPv{to.version} address to send from",
                f"{source} no tiene dirección IPv{to.version} desde la que enviar",
            )
            return Path(there.hops, wrong)
        target = there.hops[-1].node
        back = self._walk(target, answer_to)
        if not back.arrives:
            assert back.wrong is not None
            wrong = Wrong(
                f"the answer to {answer_to} does not come back: {back.wrong}",
                f"la respuesta a {answer_to} no vuelve: {back.wrong.spanish}",
            )
            return Path(there.hops, wrong, back.unheard)
        if back.hops and back.hops[-1].node != source:
            other = back.hops[-1].node
            wrong = Wrong(
                f"the answer to {answer_to} goes to {other}, which has it too",
                f"la respuesta a {answer_to} va a {other}, que también la tiene",
            )
            return Path(there.hops, wrong)
        return there

    def underlay(self, one: Interface, other: Interface) -> IpAddress | None:
        """The address of the other tunnel end's node that packets of the first are sent to."""
        own = self._routers[other.node].own
        found = (ip for ip in sorted(self._destinations.get(one, ()), key=str) if ip in own)
        return next((ip for ip in found if self._walk(one.node, ip).arrives), None)

    def way_back(self, source: NodeName, to: IpAddress) -> Path:
        """The way of the answer, from whoever has `to`."""
        there, answer_to = self._walk(source, to), self._source(source, to)
        if not there.arrives or not there.hops or answer_to is None:
            return Path(())
        return self._walk(there.hops[-1].node, answer_to)

    def can_talk(self, source: NodeName, to: IpAddress) -> bool:
        """Whether a packet gets there and its answer back."""
        return source in self._routers and self.path(source, to).arrives

    def addresses(self) -> Iterator[tuple[Interface, IpAddress]]:
        """Every address that others could reach, with its interface."""
        for ip, holders in self._holders.items():
            for holder in holders:
                yield holder, ip

    def reachable_pairs(self) -> Iterator[Pair]:
        """Each node with each address of another that it can exchange packets with. Lazy: their number is quadratic."""
        addresses = sorted(self.addresses(), key=lambda one: (one[0], one[1].version, int(one[1])))
        for source in self._routers:
            for interface, ip in addresses:
                if interface.node != source and self._meets(source, interface.node, ip):
                    yield Pair(source, interface.node, ip)

    def _meets(self, source: NodeName, target: NodeName, ip: IpAddress) -> bool:
        path = self.path(source, ip)
        return path.arrives and bool(path.hops) and path.hops[-1].node == target

    def _source(self, node: NodeName, to: IpAddress) -> IpAddress | None:
        router = self._routers[node]
        route = router.find_route(to)
        if route is None or route.dev is None:
            return None
        return router.source(route.dev, route.via or to)

    def _walk(self, source: NodeName, to: IpAddress) -> Path:
        """One way only."""
        hops: list[Hop] = []
        at = source
        while True:
            router = self._routers.get(at)
            if router is None:
                return Path(tuple(hops), Wrong(f"there is no node {at}", f"no hay ningún nodo {at}"))
            if to in router.own:
                return Path(tuple(hops))
            if len(hops) >= TTL_HOPS:
                wrong = Wrong(
                    f"the TTL of a packet to {to} is over at {at}, after {TTL_HOPS - 1} routers",
                    f"el TTL de un paquete a {to} se agota en {at}, tras {TTL_HOPS - 1} routers",
                )
                return Path(tuple(hops), wrong)
            if hops and to.version not in router.forwards:
                sysctl = FORWARDING_SYSCTLS[to.version]
                wrong = Wrong(f"{at} does not forward ({sysctl} is 0)", f"{at} no reenvía ({sysctl} vale 0)")
                return Path(tuple(hops), wrong)
            route = router.find_route(to)
            if route is None:
                return Path(tuple(hops), Wrong(f"{at} has no route to {to}", f"{at} no tiene ruta a {to}"))
            if route.type is not RouteType.UNICAST or route.dev is None:
                wrong = Wrong(
                    f"{at} refuses {to} (a {route.type} route to {route.to})",
                    f"{at} rechaza {to} (una ruta {route.type} a {route.to})",
                )
                return Path(tuple(hops), wrong)
            dev, ip = Interface(at, route.dev), route.via or to
            holder = self._find_holder(dev, ip)
            if holder is None:
                return Path(tuple(hops), self._silence(dev, ip), (dev, ip))
            hops.append(Hop(holder.node, ip, holder, dev))
            at = holder.node

    def _find_holder(self, dev: Interface, ip: IpAddress) -> Interface | None:
        """The interface on the segment of `dev` that answers for an address."""
        for holder in self._holders.get(ip, ()):
            if holder.node != dev.node and self._segments.hears(dev, holder):
                return holder
        return None

    def _silence(self, dev: Interface, ip: IpAddress) -> Wrong:
        """Why nobody answers for `ip` at `dev`."""
        end = self._ends.get(dev)
        if end is None:
            return Wrong(f"{dev.node} has no interface {dev.nic}", f"{dev.node} no tiene interfaz {dev.nic}")
        if not end.up:
            return Wrong(f"{dev} is down", f"{dev} está bajado")
        port = None if isinstance(end, Bridge | Loopback) else end.port
        if port is not None:
            return Wrong(
                f"{dev} is a port of {port.bridge}: what it hears goes to the bridge, not to its own addresses",
                f"{dev} es un puerto de {port.bridge}: lo que oye va al puente, no a sus propias direcciones",
            )
        if not self._segments.has_carrier(dev):
            return Wrong(
                f"{dev} has no carrier: the far end is down", f"{dev} no tiene portadora: el otro extremo está bajado"
            )
        holders = self._holders.get(ip, ())
        if not holders:
            return Wrong(f"nobody has {ip}, which {dev} looks for", f"nadie tiene {ip}, que {dev} busca")
        return Wrong(
            f"{ip} ({holders[0]}) is not on the segment of {dev}",
            f"{ip} ({holders[0]}) no está en el segmento de {dev}",
        )
