"""Random states that Linux can hold: small alphabets, so that two of them have much in common.

Each is feasible by construction; what Linux would refuse (a route over a link that is down, IPv6 below 1280 bytes, two
routes to one network with one metric, a macvlan on a bridge port) is never drawn. A network is a function of a seed: as
strategies drawn piece by piece they took minutes to shrink to something no easier to read.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_interface, ip_network
from typing import TypeVar

from trenza.model.names import Interface, NicName, NodeName, derived_mac
from trenza.model.state import (
    ZERO_MAC,
    Address,
    Bridge,
    BridgePort,
    FdbEntry,
    File,
    IpNetwork,
    Key,
    Loopback,
    Macvlan,
    MacvlanMode,
    Neighbour,
    Node,
    NodeKind,
    Process,
    Route,
    RouteType,
    State,
    Sysctl,
    Thing,
    Veth,
    VethEnd,
    Vxlan,
    link_key,
    veth,
)
from trenza.plan.losses import without_bridges
from trenza.plan.wanted import WATCHED_SYSCTLS, digest_of

T = TypeVar("T")

NODES = (
    Node(NodeName("h1"), NodeKind.HOST, None, "h1"),
    Node(NodeName("h2"), NodeKind.HOST, None, "h2"),
    Node(NodeName("h1/c1"), NodeKind.CONTAINER, NodeName("h1"), "c1"),
    Node(NodeName("h2/c2"), NodeKind.CONTAINER, NodeName("h2"), "c2"),
    Node(NodeName("s"), NodeKind.SWITCH, None, "s"),
)
NICS = (NicName("eth0"), NicName("eth1"), NicName("eth2"))
BRIDGES = (NicName("br0"), NicName("br1"))


def network(seed: int, *, places: bool = True) -> State:
    """A feasible state of up to five nodes; with files and processes if nodes can hold them (`places`)."""
    return State.of(_Drawing(random.Random(seed)).things(places))


def variation(state: State, seed: int) -> State:
    """A feasible state a few edits away: links down, moved, renumbered; addresses, bridges and others gone."""
    chance = random.Random(seed)
    things = dict(state.things)
    for _ in range(chance.randint(1, 6)):
        links = [thing for thing in things.values() if isinstance(thing, Veth | Bridge | Vxlan | Macvlan)]
        if links and chance.random() < 0.8:
            link = chance.choice(links)
            things[link.key] = varied(link, things, chance)
        else:
            loose = [thing for thing in things.values() if not isinstance(thing, Loopback | Sysctl)]
            if loose:
                things.pop(chance.choice(loose).key)
    return feasible(things.values())


def varied(link: Veth | Bridge | Vxlan | Macvlan, things: Mapping[Key, Thing], chance: random.Random) -> Thing:
    """The link with one attribute changed in a way that Linux can change in place."""
    if isinstance(link, Veth):
        a, b = link.ends
        if chance.random() < 0.5:
            return veth(_varied(a, things, chance), b)
        return veth(a, _varied(b, things, chance))
    return _varied(link, things, chance)


E = TypeVar("E", VethEnd, Bridge, Vxlan, Macvlan)


def _varied(end: E, things: Mapping[Key, Thing], chance: random.Random) -> E:
    match chance.randrange(5):
        case 0 | 1:
            return replace(end, up=not end.up)
        case 2:
            return replace(end, mac=derived_mac(f"lab{chance.randrange(3)}", end.interface.node, end.interface.nic))
        case 3:
            return replace(end, mtu_bytes=chance.choice((1200, 1300)))
        case _:
            if isinstance(end, Bridge):
                return replace(end, stp=not end.stp)
            node = end.interface.node
            bridges = [one.interface.nic for one in things.values() if isinstance(one, Bridge)]
            bridges = [nic for nic in bridges if link_key(Interface(node, nic)) in things]
            if isinstance(end, Macvlan):  # a port of what it lies over would be a circle
                bridges = [nic for nic in bridges if Interface(node, nic) != end.parent]
            port = None if not bridges or chance.random() < 0.3 else BridgePort(chance.choice(bridges))
            carries = any(isinstance(one, Macvlan) and one.parent == end.interface for one in things.values())
            return end if carries and port is not None else replace(end, port=port)


def feasible(things: Iterable[Thing]) -> State:
    """As much of `things` as Linux can hold together."""
    rest = State.of(things)
    while True:
        kept = State.of(_fitted(thing, rest) for thing in rest if _fits(thing, rest))
        if kept == rest:
            return rest
        rest = kept


def _end(interface: Interface, state: State) -> VethEnd | Bridge | Vxlan | Macvlan | Loopback | None:
    match state.provided.get(link_key(interface)):
        case Veth(a, b):
            return a if a.interface == interface else b
        case (Bridge() | Vxlan() | Macvlan() | Loopback()) as end:
            return end
        case _:
            return None


def _fits(thing: Thing, state: State) -> bool:
    if any(below not in state.provided for below in thing.stands_on()):
        return False
    match thing:
        case Address(interface, address):
            return address.version == 4 or _has_ipv6(interface, state)
        case Neighbour(interface, ip):
            return ip.version == 4 or _has_ipv6(interface, state)
        case FdbEntry(interface, _, None):
            end = _end(interface, state)
            return isinstance(end, VethEnd | Vxlan | Macvlan) and end.port is not None
        case Route(node, to, via, dev) if dev is not None:
            end = _end(Interface(node, dev), state)
            reachable = _reachable(Interface(node, dev), state)
            return (
                end is not None
                and end.up
                and (to.version == 4 or end.mtu_bytes >= 1280)
                and (via is None or thing.onlink or any(via in one for one in reachable if one.version == via.version))
            )
        case _:
            return True


def _reachable(interface: Interface, state: State) -> list[IpNetwork]:
    """The networks on which next hops may lie: those of addresses, and of routes without a next hop."""
    networks: list[IpNetwork] = []
    for thing in state:
        match thing:
            case Address(at, address) if at == interface:
                networks.append(address.network)
            case Route(node, to, None, dev) if (node, dev) == (interface.node, interface.nic):
                networks.append(to)
            case _:
                pass
    return networks


def _has_ipv6(interface: Interface, state: State) -> bool:
    end = _end(interface, state)
    return end is not None and end.mtu_bytes >= 1280


def _fitted(thing: Thing, state: State) -> Thing:
    thing = without_bridges(thing, lambda bridge: bridge not in state.provided)
    if isinstance(thing, Macvlan):
        parent = _end(thing.parent, state)
        if parent is not None and parent.mtu_bytes < thing.mtu_bytes:
            return replace(thing, mtu_bytes=parent.mtu_bytes)
    if isinstance(thing, Vxlan) and thing.dev is not None:
        below = _end(Interface(thing.interface.node, thing.dev), state)
        if below is not None:
            return replace(thing, mtu_bytes=min(thing.mtu_bytes, below.mtu_bytes - 50))
    return thing


class _Drawing:
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.made: list[Thing] = []
        self.nodes: list[Node] = []
        self.mtus: dict[Interface, int] = {}
        self.ups: dict[Interface, bool] = {}
        self.members: set[Interface] = set()
        self.tunnels: list[Interface] = []

    def one_of(self, choices: Sequence[T]) -> T:
        return self.chance.choice(choices)

    def maybe(self, percent: int = 50) -> bool:
        return self.chance.randrange(100) < percent

    def things(self, places: bool) -> list[Thing]:
        self._draw_nodes()
        bridges = [
            Interface(node.name, name)
            for node in self.nodes
            for name in BRIDGES
            if self.maybe(40 if name == "br0" else 30)
        ]
        for bridge in bridges:
            self._draw_bridge(bridge)
        self._draw_veths(bridges)
        self._draw_stacked(bridges)
        for interface in list(self.mtus):
            self._draw_ip(interface)
        self._draw_blackholes()
        if places:
            self._draw_placed()
        return self.made

    def _draw_nodes(self) -> None:
        for node in NODES:
            host_is_there = node.host is None or any(one.name == node.host for one in self.nodes)
            if host_is_there and self.maybe(80):
                hostname = self.one_of((node.hostname, f"{node.hostname}-renamed"))
                self.nodes.append(Node(node.name, node.kind, node.host, hostname))
        self.made += self.nodes
        for node in self.nodes:
            loopback = Interface(node.name, NicName("lo"))
            self.made.append(Loopback(loopback, mtu_bytes=self.one_of((65536, 65536, 16436))))
            self.made += [Sysctl(node.name, name, self.one_of("01")) for name in WATCHED_SYSCTLS]
            if node.kind is NodeKind.SWITCH:
                self.made.append(Sysctl(node.name, "net.ipv6.conf.default.disable_ipv6", "1"))

    def _note(self, interface: Interface) -> tuple[int, bool]:
        self.mtus[interface] = self.one_of((1500, 1500, 1400, 1200))
        self.ups[interface] = self.maybe(85)
        return self.mtus[interface], self.ups[interface]

    def _draw_bridge(self, interface: Interface) -> None:
        mtu_bytes, up = self._note(interface)
        stp = self.maybe()
        self.made.append(
            Bridge(
                interface,
                derived_mac(self.one_of(("lab", "other")), interface.node, interface.nic),
                mtu_bytes,
                up,
                ageing_time_s=self.one_of((300, 30)),
                stp=stp,
                priority=self.one_of((32768, 4096)),
                forward_delay_s=self.one_of((15, 4)) if stp else 15,
                hello_time_s=self.one_of((2, 1)),
                max_age_s=self.one_of((20, 6)),
            )
        )

    def _port(self, interface: Interface, bridges: Sequence[Interface]) -> BridgePort | None:
        own = [bridge.nic for bridge in bridges if bridge.node == interface.node]
        if not own or self.maybe(30):
            return None
        self.members.add(interface)
        return BridgePort(self.one_of(own), self.one_of((None, None, 7)), self.one_of((32, 32, 8)))

    def _draw_veths(self, bridges: Sequence[Interface]) -> None:
        slots = [Interface(node.name, nic) for node in self.nodes for nic in NICS]
        self.chance.shuffle(slots)
        for one, other in zip(slots[: len(slots) // 2], slots[len(slots) // 2 :], strict=False):
            if self.maybe(70):
                ends = []
                for interface in (one, other):
                    mtu_bytes, up = self._note(interface)
                    mac = derived_mac(self.one_of(("lab", "lab", "other")), interface.node, interface.nic)
                    ends.append(VethEnd(interface, mac, mtu_bytes, up, self._port(interface, bridges)))
                self.made.append(veth(ends[0], ends[1]))

    def _draw_stacked(self, bridges: Sequence[Interface]) -> None:
        for node in self.nodes:
            if self.maybe(25):
                interface = Interface(node.name, NicName("vx0"))
                below = [one.nic for one in self.mtus if one.node == node.name and one.nic in NICS]
                dev = self.one_of((None, *below))
                mtu_bytes, up = self._note(interface)
                if dev is not None:  # Linux allows no more than fits through it
                    mtu_bytes = min(mtu_bytes, self.mtus[Interface(node.name, dev)] - 50)
                    self.mtus[interface] = mtu_bytes
                self.tunnels.append(interface)
                self.made.append(
                    Vxlan(
                        interface,
                        derived_mac(self.one_of(("lab", "other")), interface.node, interface.nic),
                        vni=self.one_of((10, 20)),
                        local=self.one_of((None, IPv4Address("10.0.0.1"))),
                        remote=self.one_of((None, IPv4Address("10.0.0.2"))),
                        udp_port=self.one_of((4789, 8472)),
                        dev=dev,
                        learning=self.maybe(),
                        mtu_bytes=mtu_bytes,
                        up=up,
                        port=self._port(interface, bridges),
                    )
                )
        for node in self.nodes:
            parents = [
                one
                for one in self.mtus
                if one.node in (node.name, node.host) and one not in self.members and one.nic != "mv0"
            ]
            if parents and self.maybe(30):
                interface, parent = Interface(node.name, NicName("mv0")), self.one_of(parents)
                mtu_bytes, up = self._note(interface)
                mtu_bytes = self.mtus[interface] = min(mtu_bytes, self.mtus[parent])
                mode = self.one_of((MacvlanMode.BRIDGE, MacvlanMode.PRIVATE))
                mac = derived_mac(self.one_of(("lab", "other")), interface.node, interface.nic)
                self.made.append(Macvlan(interface, mac, parent, mode, mtu_bytes, up))

    def _draw_ip(self, interface: Interface) -> None:
        """Addresses, and what needs the interface: routes, neighbours, FDB entries, its own sysctls."""
        number = sorted(self.mtus).index(interface) + 1
        switch = any(node.name == interface.node and node.kind is NodeKind.SWITCH for node in self.nodes)
        ipv6 = self.mtus[interface] >= 1280 and not switch
        addresses = [f"10.{number}.0.1/24", f"10.{number}.0.2/24", f"10.{number}.1.1/30"]
        addresses += [f"fd00:{number}::1/64", f"fd00:{number}::2/64"] if ipv6 else []
        chosen = [ip_interface(address) for address in addresses if self.maybe(35)]
        self.made += [Address(interface, address) for address in chosen]
        for version in (4, 6):
            networks_here = [address.network for address in chosen if address.version == version]
            if networks_here and self.ups[interface]:
                self._draw_routes(interface, number, self.one_of(networks_here))
        if self.maybe(30):
            ips = [f"10.{number}.0.77"] + ([f"fd00:{number}::77"] if ipv6 else [])
            mac = derived_mac(self.one_of(("x", "y")), "somebody", "else")
            self.made += [Neighbour(interface, ip_address(ip), mac) for ip in ips]
        if interface in self.members and self.maybe(60):
            self.made.append(FdbEntry(interface, derived_mac("static", interface.node, interface.nic)))
        if interface in self.tunnels and self.maybe(50):
            tunnel = State.of(self.made).things[link_key(interface)]
            assert isinstance(tunnel, Vxlan)
            if tunnel.remote is None:
                self.made += [FdbEntry(interface, ZERO_MAC, IPv4Address(f"10.0.0.{n}")) for n in (3, 4)]
            self.made.append(FdbEntry(interface, derived_mac("far", "far", "far"), IPv4Address("10.0.0.5")))
        if self.maybe(15):
            self.made.append(Sysctl(interface.node, f"net.ipv4.conf.{interface.nic}.rp_filter", self.one_of("012")))

    def _draw_routes(self, interface: Interface, number: int, subnet: IPv4Network | IPv6Network) -> None:
        default = 0 if subnet.version == 4 else 1024
        via = subnet.network_address + 3
        if subnet.prefixlen == 30:
            via = subnet.network_address + 2
        behind = f"172.16.{number}.0/24" if subnet.version == 4 else f"fd77:{number}::/64"
        if self.maybe():
            self.made.append(Route(interface.node, ip_network(behind), via, interface.nic, default))
        if self.maybe(20):
            lonely = f"172.17.{number}.9/32" if subnet.version == 4 else f"fd78:{number}::9/128"
            self.made.append(Route(interface.node, ip_network(lonely), None, interface.nic, default))
            further = f"172.18.{number}.0/24" if subnet.version == 4 else f"fd79:{number}::/64"
            hop = ip_network(lonely).network_address
            self.made.append(Route(interface.node, ip_network(further), hop, interface.nic, default))
        if self.maybe(20) and subnet.version == 4:
            far = ip_network(f"172.19.{number}.0/24")
            self.made.append(Route(interface.node, far, IPv4Address("192.0.2.1"), interface.nic, 5, onlink=True))

    def _draw_blackholes(self) -> None:
        for node in self.nodes:
            if self.maybe(15):
                kind = self.one_of((RouteType.BLACKHOLE, RouteType.UNREACHABLE, RouteType.PROHIBIT))
                self.made.append(Route(node.name, ip_network("192.168.0.0/16"), metric=9, type=kind))

    def _draw_placed(self) -> None:
        for node in self.nodes:
            if self.maybe(30):
                content = self.one_of((b"one\n", b"two\n"))
                mode = self.one_of((0o644, 0o600))
                self.made.append(File(node.name, "/etc/thing.conf", digest_of(content), mode, content=content))
            if self.maybe(30):
                argv = ("/bin/sleep", self.one_of(("1000", "2000")))
                self.made.append(Process(node.name, "sleeper", argv))
