"""State from records: exactly the things that `trenza.plan.wanted` would make, whoever made them here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_interface

from trenza.linux.netlink import NetlinkSocket
from trenza.linux.rtnetlink import CENTISECONDS, link_local
from trenza.linux.rtnetlink_dump import LinkRecord, ip_of, number
from trenza.linux.snapshot import NodeView, parent_of, veth_pairs
from trenza.linux.translate import default_costs
from trenza.model.names import Interface, NicName, NodeName
from trenza.model.state import (
    ZERO_MAC,
    Address,
    Bridge,
    BridgePort,
    FdbEntry,
    IpAddress,
    Link,
    Loopback,
    Macvlan,
    MacvlanMode,
    Neighbour,
    OtherLink,
    Route,
    RouteType,
    State,
    Thing,
    Veth,
    VethEnd,
    Vxlan,
    veth,
)

_IFA_F_PERMANENT = 0x80
_SCOPE_LINK = 253
_PROTOCOL_KERNEL_LO = 1
_PROTOCOL_KERNEL_RA = 2
_PROTOCOL_KERNEL_LL = 3
_CONFIGURED_PROTOCOLS = (3, 4)
"""RTPROT_BOOT, which is what `ip route` writes, and RTPROT_STATIC."""
_ROUTE_TYPES = {1: RouteType.UNICAST, 6: RouteType.BLACKHOLE, 7: RouteType.UNREACHABLE, 8: RouteType.PROHIBIT}
_MACVLAN_MODES = {1: MacvlanMode.PRIVATE, 2: MacvlanMode.VEPA, 4: MacvlanMode.BRIDGE, 8: MacvlanMode.PASSTHRU}
_NUD_NOARP = 0x40
_NUD_PERMANENT = 0x80
_NTF_SELF = 0x02
_TICK_S = 0.015
"""A clock tick of 10 ms at most, and a centisecond cut off."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """The things of a node that depend on nothing outside it, made from one version of its view."""

    version: int
    things: tuple[Thing, ...]
    borrowed: Mapping[Interface, frozenset[str]]
    """Bridges whose times in use are not their own, and which."""


class Observer:
    """Makes states; keeps what it made of nodes that have not changed since."""

    def __init__(self) -> None:
        self._kept: dict[NodeName, _Kept] = {}

    def forget(self, name: NodeName) -> None:
        self._kept.pop(name, None)

    def things(
        self, views: Mapping[NodeName, NodeView], sock: Callable[[NodeName], NetlinkSocket], expected: State
    ) -> Iterator[Thing]:
        """Nodes, links, addresses, routes, neighbours and forwarding entries of all views."""
        pairs = veth_pairs(views, sock)
        costs = _explicit_costs(expected)
        for name, view in views.items():
            kept = self._kept.get(name)
            if kept is None or kept.version != view.version:
                kept = self._kept[name] = _Kept(view.version, tuple(_own_things(view)), _borrowed_times(view))
            yield view.handle.node
            for thing in kept.things:
                if isinstance(thing, Bridge):
                    borrowed = kept.borrowed.get(thing.interface, frozenset())
                    yield _snapped(thing, expected.things.get(thing.key), borrowed)
                else:
                    yield thing
            for link in view.links:
                yield from _links_across(name, link, view, views, pairs, sock, costs)


def _borrowed_times(view: NodeView) -> dict[Interface, frozenset[str]]:
    """Which times of which bridges are not what somebody gave them, but what is in use.

    A bridge that is not the root uses the root's timers, and for as long as the topology changes any bridge ages
    addresses in two forward delays; its own are hidden until that ends (net/bridge/br_stp.c,
    br_record_config_timeout_values, __br_set_topology_change).
    """
    found = {}
    for link in view.links:
        if link.kind == "bridge" and number(link.data.get(5)):
            led = link.data.get(10) != link.data.get(11)
            names = {"forward_delay_s", "hello_time_s", "max_age_s"} if led else set()
            if number(link.data.get(14)):
                names.add("ageing_time_s")
            if names:
                found[Interface(view.handle.node.name, NicName(link.name))] = frozenset(names)
    return found


def _snapped(bridge: Bridge, expected: Thing | None, borrowed: Collection[str]) -> Bridge:
    """The bridge with the times that were asked for, where the kernel does not tell them.

    That is where it uses others (`borrowed`), and where its clock ticks too coarsely to keep them: a tick is 4 ms on
    most kernels, and 6.25 s are told as 6.24.
    """
    if not isinstance(expected, Bridge):
        return bridge
    hidden = {
        name: asked
        for name in ("ageing_time_s", "forward_delay_s", "hello_time_s", "max_age_s")
        if (asked := getattr(expected, name)) != (told := getattr(bridge, name))
        and (name in borrowed or abs(asked - told) < _TICK_S)
    }
    return replace(bridge, **hidden) if hidden else bridge


def _own_things(view: NodeView) -> Iterator[Thing]:
    """What needs no look at another node."""
    node = view.handle.node.name
    for link in view.links:
        if link.kind == "loopback":
            yield Loopback(Interface(node, NicName(link.name)), link.up, link.mtu_bytes)
        elif link.kind == "bridge":
            yield _bridge(node, link)
    yield from _addresses(node, view)
    yield from _routes(node, view)
    for neighbour in view.neighbours:
        nic = view.names.get(neighbour.index)
        if neighbour.state & _NUD_PERMANENT and nic is not None and neighbour.mac and not neighbour.ip.is_multicast:
            yield Neighbour(Interface(node, nic), neighbour.ip, neighbour.mac)
    yield from _fdb_entries(node, view)


def _links_across(
    node: NodeName,
    link: LinkRecord,
    view: NodeView,
    views: Mapping[NodeName, NodeView],
    pairs: Mapping[Interface, Interface],
    sock: Callable[[NodeName], NetlinkSocket],
    costs: Mapping[Interface, int],
) -> Iterator[Link]:
    """Links whose meaning depends on other nodes' links, and those of no kind of ours."""
    interface = Interface(node, NicName(link.name))
    match link.kind:
        case "loopback" | "bridge":
            return
        case "veth":
            peer = pairs.get(interface)
            if peer is None:
                yield OtherLink(interface, "veth", link.up)
            elif interface < peer:
                far_view = views[peer.node]
                far = far_view.by_name[peer.nic]
                yield veth(_veth_end(node, link, view, costs), _veth_end(peer.node, far, far_view, costs))
        case "vxlan":
            yield _vxlan(interface, link, view, costs)
        case "macvlan":
            parent = parent_of(node, link, views, sock)
            if parent is None:
                yield OtherLink(interface, "macvlan", link.up)
            else:
                mode = _MACVLAN_MODES.get(number(link.data.get(1)), MacvlanMode.BRIDGE)
                port = _port(interface, link, view, costs)
                yield Macvlan(interface, link.mac, parent, mode, link.mtu_bytes, link.up, port)
        case _:
            yield OtherLink(interface, link.kind or "physical", link.up)


def _veth_end(node: NodeName, link: LinkRecord, view: NodeView, costs: Mapping[Interface, int]) -> VethEnd:
    interface = Interface(node, NicName(link.name))
    return VethEnd(interface, link.mac, link.mtu_bytes, link.up, _port(interface, link, view, costs))


def _port(interface: Interface, link: LinkRecord, view: NodeView, costs: Mapping[Interface, int]) -> BridgePort | None:
    """Membership of a bridge. A cost that is the kernel's own is None, unless the lab gives that very number."""
    if not link.master or link.port_kind != "bridge" or link.master not in view.names:
        return None
    cost: int | None = number(link.port.get(3))
    lower = number(link.data.get(3)) if link.kind == "vxlan" else link.lower
    if cost in default_costs(link.kind, has_lower=lower != 0) and costs.get(interface) != cost:
        cost = None
    return BridgePort(view.names[link.master], cost, number(link.port.get(2)))


def _explicit_costs(expected: State) -> Mapping[Interface, int]:
    costs: dict[Interface, int] = {}
    for thing in expected:
        ends: Iterable[VethEnd | Vxlan | Macvlan] = ()
        if isinstance(thing, Veth):
            ends = thing.ends
        elif isinstance(thing, Vxlan | Macvlan):
            ends = (thing,)
        for end in ends:
            if end.port is not None and end.port.cost is not None:
                costs[end.interface] = end.port.cost
    return costs


def _bridge(node: NodeName, link: LinkRecord) -> Bridge:
    data = link.data
    return Bridge(
        Interface(node, NicName(link.name)),
        link.mac,
        link.mtu_bytes,
        link.up,
        ageing_time_s=number(data.get(4)) / CENTISECONDS,
        stp=number(data.get(5)) != 0,
        priority=number(data.get(6)),
        forward_delay_s=number(data.get(1)) / CENTISECONDS,
        hello_time_s=number(data.get(2)) / CENTISECONDS,
        max_age_s=number(data.get(3)) / CENTISECONDS,
    )


def _vxlan(interface: Interface, link: LinkRecord, view: NodeView, costs: Mapping[Interface, int]) -> Vxlan:
    data = link.data
    return Vxlan(
        interface,
        link.mac,
        vni=number(data.get(1)),
        local=_given(data, 4, 17),
        remote=_given(data, 2, 16),
        udp_port=int.from_bytes(data.get(15, b""), "big"),
        dev=view.names.get(number(data.get(3))),
        learning=number(data.get(7)) != 0,
        mtu_bytes=link.mtu_bytes,
        up=link.up,
        port=_port(interface, link, view, costs),
    )


def _given(data: Mapping[int, bytes], *kinds: int) -> IpAddress | None:
    for kind in kinds:
        ip = ip_of(data.get(kind))
        if ip is not None and not ip.is_unspecified:
            return ip
    return None


def _addresses(node: NodeName, view: NodeView) -> Iterator[Address]:
    for record in view.addresses:
        nic = view.names.get(record.index)
        if nic is None or not record.flags & _IFA_F_PERMANENT:
            continue  # leased, or from a router's advertisement
        if record.protocol in (_PROTOCOL_KERNEL_LO, _PROTOCOL_KERNEL_RA, _PROTOCOL_KERNEL_LL):
            continue
        if record.protocol == 0 and _looks_born(record.ip, record.prefix_length, view.by_index[record.index]):
            continue
        yield Address(Interface(node, nic), ip_interface((record.ip, record.prefix_length)))


def _looks_born(ip: IpAddress, prefix_length: int, link: LinkRecord) -> bool:
    """Whether the kernel makes such an address by itself, for kernels before 6.3, which do not say so."""
    if link.kind == "loopback":
        return (str(ip), prefix_length) in (("127.0.0.1", 8), ("::1", 128))
    return ip.version == 6 and prefix_length == 64 and len(link.mac) == 17 and ip.packed == link_local(link.mac)


def _routes(node: NodeName, view: NodeView) -> Iterator[Route]:
    for record in view.routes:
        kind = _ROUTE_TYPES.get(record.type)
        if kind is None or record.protocol not in _CONFIGURED_PROTOCOLS:
            continue
        dev = view.names.get(record.dev) if kind is RouteType.UNICAST else None
        yield Route(node, record.to, record.via, dev, record.metric, record.onlink, kind)


def _fdb_entries(node: NodeName, view: NodeView) -> Iterator[FdbEntry]:
    own_macs = {link.mac for link in view.links}
    for record in view.fdb:
        link = view.by_index.get(record.index)
        if link is None or not record.state & (_NUD_NOARP | _NUD_PERMANENT):
            continue
        interface = Interface(node, NicName(link.name))
        if record.destination is not None:
            is_remote = record.mac == ZERO_MAC and record.destination == _given(link.data, 2, 16)
            if link.kind == "vxlan" and not is_remote:
                yield FdbEntry(interface, record.mac, record.destination)
        elif (
            record.master not in (0, record.index)
            and not record.flags & _NTF_SELF
            and (record.state & _NUD_NOARP or record.mac not in own_macs)
        ):
            yield FdbEntry(interface, record.mac)
