"""A small Linux in memory: namespaces with mutable links, and the rules by which the real one accepts and forgets.

The rules are the kernel's, written down once more and apart from `trenza.plan`, so that the two can contradict each
other in the conformance suite. Only what states can express is here: no packets, nothing learnt, no time.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import NoReturn

from trenza.errors import KernelError
from trenza.model.names import MAX_NIC_BYTES, Interface, Mac, NicName, NodeName
from trenza.model.state import (
    ZERO_MAC,
    Bridge,
    File,
    IpAddress,
    IpInterface,
    IpNetwork,
    Macvlan,
    Node,
    Process,
    Route,
    RouteType,
    Vxlan,
)

MAX_PORTS = 1023
"""Of a bridge: BR_MAX_PORTS less the number 0 (net/bridge/br_private.h)."""

MIN_IPV6_MTU_BYTES = 1280
LOOPBACK = NicName("lo")


def refuse(number: int, what: object) -> NoReturn:
    """Raise KernelError for an errno, in the kernel's words."""
    raise KernelError(f"{what}: {os.strerror(number)}", errno=number)


@dataclass(eq=False, slots=True)
class Port:
    """A link's membership of a bridge, and the bridge's static entries for it."""

    bridge: Link
    cost: int | None
    priority: int
    fdb: set[Mac] = field(default_factory=set)


@dataclass(eq=False, slots=True)
class Link:
    """An interface. `make` is what it was made as, where more than its common attributes matter."""

    space: Space
    nic: NicName
    index: int
    kind: str
    mac: Mac
    mtu_bytes: int
    up: bool = False
    make: Bridge | Vxlan | Macvlan | None = None
    peer: Link | None = None
    below: Link | None = None
    port: Port | None = None
    ports: dict[Link, None] = field(default_factory=dict)
    disable_ipv6: bool = False
    addresses: dict[IpInterface, None] = field(default_factory=dict)
    neighbours: dict[IpAddress, Mac] = field(default_factory=dict)
    destinations: set[tuple[Mac, IpAddress]] = field(default_factory=set)
    sysctls: dict[str, str] = field(default_factory=dict)

    @property
    def interface(self) -> Interface:
        return Interface(self.space.node.name, self.nic)

    @property
    def has_ipv6(self) -> bool:
        return self.mtu_bytes >= MIN_IPV6_MTU_BYTES and not self.disable_ipv6

    @property
    def overhead_bytes(self) -> int:
        """What a tunnel adds to each packet."""
        if not isinstance(self.make, Vxlan):
            return 0
        return 70 if any(end is not None and end.version == 6 for end in (self.make.local, self.make.remote)) else 50

    @property
    def carrier(self) -> bool:
        match self.kind:
            case "veth":
                return self.up and self.peer is not None and self.peer.up
            case "macvlan":
                return self.up and self.below is not None and self.below.carrier
            case "bridge":
                return self.up and any(port.carrier for port in self.ports)
            case _:
                return self.up

    # What an administrator sets

    def set_up(self, up: bool) -> None:
        if self.up and not up:
            self.forget_ip(4)
            self.forget_ip(6)
        self.up = up

    def set_mtu(self, mtu_bytes: int) -> None:
        if mtu_bytes == self.mtu_bytes:
            return
        if not 68 <= mtu_bytes <= 65536:
            refuse(errno.EINVAL, f"{self.interface}: mtu {mtu_bytes}")
        if self.below is not None and mtu_bytes > self.below.mtu_bytes - self.overhead_bytes:
            refuse(errno.EINVAL, f"{self.interface}: mtu {mtu_bytes} over {self.below.interface}'s")
        self.mtu_bytes = mtu_bytes
        if mtu_bytes < MIN_IPV6_MTU_BYTES:
            self.forget_ip(6)
        for above in list(self.space.machine.over):
            if above.kind == "macvlan" and above.below is self and above.mtu_bytes > mtu_bytes:
                above.set_mtu(mtu_bytes)

    def set_mac(self, mac: Mac) -> None:
        if mac == ZERO_MAC or int(mac[:2], 16) & 1:
            refuse(errno.EADDRNOTAVAIL, f"{self.interface}: address {mac}")
        if mac != self.mac:
            self.neighbours.clear()
            self.mac = mac

    def set_bridge(self, bridge: NicName | None) -> None:
        """Join a bridge of the same node, or leave the one it is in; its static entries are lost with a change."""
        if self.port is not None and self.port.bridge.nic == bridge:
            return
        if bridge is None:
            self._leave_bridge()
            return
        master = self.space.link(bridge)
        if master.kind != "bridge":
            refuse(errno.EOPNOTSUPP, f"{self.interface}: {bridge} is no bridge")
        if self.kind in ("bridge", "loopback"):
            refuse(errno.ELOOP if self.kind == "bridge" else errno.EINVAL, f"{self.interface}: port of {bridge}")
        if any(above.below is self and above.kind == "macvlan" for above in self.space.machine.over):
            refuse(errno.EBUSY, f"{self.interface}: carries a macvlan")
        if len(master.ports) >= MAX_PORTS:
            refuse(errno.EXFULL, f"{master.interface}: {MAX_PORTS} ports")
        self._leave_bridge()
        master.ports[self] = None
        self.port = Port(master, None, 32)

    def _leave_bridge(self) -> None:
        if self.port is not None:
            del self.port.bridge.ports[self]
            self.port = None

    def set_disable_ipv6(self, disabled: bool) -> None:
        self.disable_ipv6 = disabled
        if disabled:
            self.forget_ip(6)

    def forget_ip(self, version: int) -> None:
        """What a link that goes down forgets: routes, neighbours, and IPv6 addresses."""
        self.space.drop_routes(self.nic, version)
        self.neighbours = {ip: mac for ip, mac in self.neighbours.items() if ip.version != version}
        if version == 6:
            self.addresses = {address: None for address in self.addresses if address.version == 4}

    def add_address(self, address: IpInterface) -> None:
        if address.version == 6 and not self.has_ipv6:
            refuse(errno.EACCES if self.disable_ipv6 else errno.EINVAL, f"{self.interface}: {address}")
        if address in self.addresses:
            refuse(errno.EEXIST, f"{self.interface}: {address}")
        self.addresses[address] = None

    def remove_address(self, address: IpInterface) -> None:
        if address not in self.addresses:
            return
        del self.addresses[address]
        if address.version == 4 and self.nic != LOOPBACK and not any(one.version == 4 for one in self.addresses):
            self.forget_ip(4)

    def add_neighbour(self, ip: IpAddress, mac: Mac) -> None:
        if ip.version == 6 and not self.has_ipv6:
            refuse(errno.EINVAL, f"{self.interface}: neighbour {ip}")
        if ip in self.neighbours:
            refuse(errno.EEXIST, f"{self.interface}: neighbour {ip}")
        self.neighbours[ip] = mac

    def add_fdb(self, mac: Mac, destination: IpAddress | None) -> None:
        if destination is not None:
            if self.kind != "vxlan":
                refuse(errno.EOPNOTSUPP, f"{self.interface}: fdb entry with a destination")
            if (mac, destination) in self.destinations:
                refuse(errno.EEXIST, f"{self.interface}: fdb {mac} dst {destination}")
            self.destinations.add((mac, destination))
        elif self.port is None:
            refuse(errno.EOPNOTSUPP, f"{self.interface}: fdb entry of what is no bridge port")
        elif mac in self.port.fdb:
            refuse(errno.EEXIST, f"{self.interface}: fdb {mac}")
        else:
            self.port.fdb.add(mac)


@dataclass(eq=False, slots=True)
class Space:
    """A node: its namespaces' links, routes, sysctls, and what was placed in it."""

    machine: Machine
    node: Node
    links: dict[NicName, Link] = field(default_factory=dict)
    routes: dict[tuple[IpNetwork, int], Route] = field(default_factory=dict)
    sysctls: dict[str, str] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)

    def link(self, nic: NicName) -> Link:
        found = self.links.get(nic)
        if found is None:
            refuse(errno.ENODEV, f"{self.node.name}.{nic}")
        return found

    def add_link(self, nic: NicName, kind: str, mac: Mac, mtu_bytes: int) -> Link:
        if nic in self.links:
            refuse(errno.EEXIST, f"{self.node.name}.{nic}")
        if not 0 < len(nic.encode()) <= MAX_NIC_BYTES or any(sign in nic for sign in "/: \t\n") or nic in (".", ".."):
            refuse(errno.EINVAL, f"{self.node.name}: interface name {nic!r}")
        link = Link(self, nic, self.machine.next_index(), kind, mac, mtu_bytes)
        link.disable_ipv6 = self.sysctls.get("net.ipv6.conf.default.disable_ipv6") == "1"
        self.links[nic] = link
        return link

    def remove_link(self, link: Link) -> None:
        """The link, its veth peer, and what lies over either; ports of a bridge are only set free."""
        if self.links.get(link.nic) is not link:
            return
        del self.links[link.nic]
        self.drop_routes(link.nic, 4)
        self.drop_routes(link.nic, 6)
        link.set_bridge(None)
        for port in list(link.ports):
            port.set_bridge(None)
        if link.peer is not None:
            link.peer.space.remove_link(link.peer)
        if link.kind in ("veth", "bridge", "vxlan", "macvlan"):
            for above in [one for one in self.machine.over if one.below is link]:
                above.space.remove_link(above)
        self.machine.over.discard(link)

    def add_route(self, route: Route) -> None:
        version = route.to.version
        if (route.to, route.metric) in self.routes:
            refuse(errno.EEXIST, f"{self.node.name}: route {route.to}")
        if route.type is RouteType.UNICAST:
            route = self._resolved(route)
            assert route.dev is not None
            link = self.link(route.dev)
            if not link.up:
                refuse(errno.ENETDOWN, f"{link.interface}: route {route.to}")
            if version == 6 and not link.has_ipv6:
                refuse(errno.EINVAL, f"{link.interface}: route {route.to}")
            if route.metric == 0 and any(
                address.network == route.to and address.network.prefixlen < 32
                for address in link.addresses
                if address.version == 4
            ):
                refuse(errno.EEXIST, f"{link.interface}: route {route.to} is the kernel's own")
        self.routes[(route.to, route.metric)] = route

    def _resolved(self, route: Route) -> Route:
        """The route with its interface, the next hop being on a connected network of it."""
        if route.via is None:
            if route.dev is None:
                refuse(errno.ENODEV, f"{self.node.name}: route {route.to}")
            return route
        via = route.via
        if route.dev is not None and (route.onlink or (isinstance(via, IPv6Address) and via.is_link_local)):
            return route
        for link in self.links.values() if route.dev is None else (self.link(route.dev),):
            if any(via == address.ip for address in link.addresses):
                refuse(errno.EINVAL, f"{self.node.name}: route via {via}, its own address")
            if not link.up:
                if route.dev is not None:
                    refuse(errno.ENETDOWN, f"{link.interface}: route {route.to}")
                continue
            connected = any(via in one.network for one in link.addresses if one.version == via.version)
            if connected or any(
                via in other.to
                for other in self.routes.values()
                if other.dev == link.nic and other.via is None and other.to.version == via.version
            ):
                return Route(route.node, route.to, via, link.nic, route.metric)
        return refuse(
            errno.ENETUNREACH if via.version == 4 else errno.EHOSTUNREACH,
            f"{self.node.name}: route {route.to} via {via}",
        )

    def drop_routes(self, nic: NicName, version: int) -> None:
        if self.routes:
            self.routes = {
                key: route for key, route in self.routes.items() if route.dev != nic or route.to.version != version
            }

    def write_sysctl(self, name: str, value: str) -> None:
        words = name.split(".")
        if len(words) >= 5 and words[2] in ("conf", "neigh") and words[3] not in ("all", "default"):
            link = self.link(NicName(words[3].replace("/", ".")))
            link.sysctls[name] = value
            if words[1] == "ipv6" and words[4] == "disable_ipv6":
                link.set_disable_ipv6(value == "1")
            return
        self.sysctls[name] = value
        if name == "net.ipv6.conf.all.disable_ipv6":
            self.sysctls["net.ipv6.conf.default.disable_ipv6"] = value
            for link in self.links.values():
                link.set_disable_ipv6(value == "1")


class Machine:
    """All nodes of one lab."""

    def __init__(self) -> None:
        self.spaces: dict[NodeName, Space] = {}
        self.over: set[Link] = set()
        """Links that lie over another: macvlans, and tunnels with a `dev`."""
        self._last_index = 0

    def next_index(self) -> int:
        self._last_index += 1
        return self._last_index

    def space(self, node: NodeName) -> Space:
        found = self.spaces.get(node)
        if found is None:
            refuse(errno.ENOENT, node)
        return found

    def link(self, interface: Interface) -> Link:
        return self.space(interface.node).link(interface.nic)

    def add_node(self, node: Node, born: dict[str, str]) -> None:
        if node.name in self.spaces:
            refuse(errno.EEXIST, node.name)
        if node.host is not None:
            self.space(node.host)
        space = Space(self, node, sysctls=dict(born))
        self.spaces[node.name] = space
        loopback = space.add_link(LOOPBACK, "loopback", ZERO_MAC, 65536)
        loopback.up = True

    def remove_node(self, name: NodeName) -> None:
        """The node, its containers, and every link that ends in one of them."""
        space = self.spaces.pop(name, None)
        if space is None:
            return
        for inner in [one.node.name for one in self.spaces.values() if one.node.host == name]:
            self.remove_node(inner)
        for link in list(space.links.values()):
            space.remove_link(link)
