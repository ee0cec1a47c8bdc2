"""From operations to messages: what to say where, in which order, and what to see to when all of it is said.

The shapes come from what was measured: a veth is made in one message from the end that has a bridge (that end can join
it in the same message), its peer born in its own namespace, with explicit ifindexes; moving an interface afterwards
costs thirty times as much.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final, Protocol, assert_never

from trenza.errors import KernelError
from trenza.linux import netns, rtnetlink, sysctl
from trenza.linux.netlink import NetlinkSocket
from trenza.linux.nodes import NodeHandle
from trenza.linux.schedule import Item, Schedule, SysctlWrite
from trenza.linux.words import operation_words
from trenza.model.names import Interface, NicName, NodeName
from trenza.model.state import (
    Address,
    Bridge,
    BridgePort,
    FdbEntry,
    File,
    Key,
    Loopback,
    Macvlan,
    Neighbour,
    Node,
    OtherLink,
    Process,
    Route,
    Sysctl,
    Veth,
    VethEnd,
    Vxlan,
    link_key,
    node_key,
)
from trenza.plan.operations import Change, Create, Operation, Remove
from trenza.plan.wanted import MIN_IPV6_MTU_BYTES

_LOOPBACK_INDEX: Final = 1
_NO_LINK_LOCAL: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENXIO)
_WITHOUT_IPV6: Final = (errno.EAFNOSUPPORT,)
"""What settings for IPv6 answer where it is not: below an MTU of 1280 bytes, or on a kernel without it."""
_GONE: Final = (errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL)
"""What a removal may answer: that the thing is not there is what was wanted."""


def default_costs(kind: str, *, has_lower: bool) -> tuple[int, ...]:
    """What a bridge port may cost where nobody set it: by its speed when it joined (net/bridge/br_if.c, port_cost).

    A veth says 10 Gbit/s, which costs 2. A VXLAN over nothing does not know, which costs 100. A macvlan, or a VXLAN
    with a `dev`, says what the link below says.
    """
    if kind == "veth":
        return (2,)
    return (2, 100) if has_lower else (100,)


class Places(Protocol):
    """What a translation asks about the nodes it speaks to."""

    def handle(self, node: NodeName) -> NodeHandle:
        """The living node. Raises KernelError if it is not."""
        ...

    def sock(self, node: NodeName) -> NetlinkSocket:
        """The node's netlink socket. Raises KernelError if the node does not live."""
        ...

    def new_index(self, *nodes: NodeName) -> int:
        """An ifindex that no link of the lab has, nor any link of these nodes."""
        ...

    def take_unraised(self, node: NodeName) -> bool:
        """Whether the node's loopback has yet to be raised; asked once."""
        ...


@dataclass(frozen=True, slots=True)
class Rise:
    """A new bridge that comes up when its ports are in."""

    place: int
    index: int


class Translation:
    """The messages of one run of operations, in a `schedule`.

    Besides, what comes after it: `touched` are the links whose carrier may have changed, `rising` the new bridges to
    bring up then, `postponed` the routes of their nodes, which may lead over them; `listening` are the groups that the
    nodes' new IPv6 addresses join, with the interface's index.
    """

    def __init__(self, places: Places) -> None:
        self.schedule = Schedule()
        self.rising: dict[NodeName, list[Rise]] = {}
        self.postponed: dict[NodeName, list[Item]] = {}
        self.touched: dict[Interface, None] = {}
        self.listening: dict[NodeName, set[tuple[int, IPv6Address]]] = {}
        self._places = places
        self._indexes: dict[Interface, int] = {}
        self._raised: set[NodeName] = set()
        self._route_devices: dict[tuple[NodeName, NicName], int] = {}

    def add(self, place: int, operation: Operation) -> None:
        """Translate the operation at `place` of the run.

        Raises KernelError if it cannot be meant, or if its node or interface is not there.
        """
        match operation:
            case Create(thing):
                match thing:
                    case Veth():
                        self._make_veth(place, thing)
                    case Bridge():
                        self._make_bridge(place, thing)
                    case Vxlan():
                        self._make_vxlan(place, thing)
                    case Macvlan():
                        self._make_macvlan(place, thing)
                    case Address(interface, address):
                        index = self._index(interface)
                        self._in_order(place, interface, rtnetlink.new_address(index, address))
                        if isinstance(address.ip, IPv6Address) and index != _LOOPBACK_INDEX:
                            group = rtnetlink.solicited_node(address.ip)
                            self.listening.setdefault(interface.node, set()).add((index, group))
                    case Route():
                        self._make_route(place, thing)
                    case Neighbour(interface, ip, mac):
                        self._in_order(place, interface, rtnetlink.new_neighbour(self._index(interface), ip, mac))
                    case FdbEntry(interface, mac, to):
                        self._in_order(place, interface, rtnetlink.new_fdb_entry(self._index(interface), mac, to))
                    case Sysctl():
                        self._set_sysctl(place, thing)
                    case Loopback() | OtherLink() | Node() | File() | Process():
                        raise KernelError(f"could not {operation_words(operation)}: it cannot be made")
                    case _:
                        assert_never(thing)
            case Change(old, new):
                self._change(place, operation, old, new)
            case Remove(thing):
                self._remove(place, operation)
            case _:
                assert_never(operation)

    def _change(self, place: int, operation: Operation, old: object, new: object) -> None:
        match old, new:
            case Veth(), Veth():
                for before, after in zip(old.ends, new.ends, strict=True):
                    if before != after:
                        self._change_end(place, before, after, "veth")
                for end in new.ends:
                    self.touched[end.interface] = None
            case Bridge(), Bridge():
                self._change_bridge(place, old, new)
            case Vxlan(), Vxlan():
                self._change_end(place, old, new, "vxlan")
                self.touched[new.interface] = None
            case Macvlan(), Macvlan():
                self._change_end(place, old, new, "macvlan")
                if old.mode is not new.mode:
                    index = self._index(new.interface)
                    self._in_order(place, new.interface, rtnetlink.change_macvlan_mode(index, new.mode))
                self.touched[new.interface] = None
            case Loopback(), Loopback():
                node = new.interface.node
                if old.mtu_bytes != new.mtu_bytes:
                    self._in_node(place, node, rtnetlink.set_link(_LOOPBACK_INDEX, rtnetlink.mtu(new.mtu_bytes)))
                if old.up != new.up:
                    self._in_node(place, node, rtnetlink.set_link(_LOOPBACK_INDEX, up=new.up))
            case Neighbour(), Neighbour(interface, ip, mac):
                self._in_order(place, interface, rtnetlink.new_neighbour(self._index(interface), ip, mac))
            case Sysctl(), Sysctl():
                self._set_sysctl(place, new)
            case _:
                raise KernelError(f"could not {operation_words(operation)}: it cannot be changed in place")

    def _remove(self, place: int, operation: Remove) -> None:
        try:
            node, message = self._removal(operation)
            self._places.sock(node)
        except KernelError as error:
            if error.errno in _GONE:
                return
            raise
        self._within(place, node, (), (message,), _GONE)

    def _removal(self, operation: Remove) -> tuple[NodeName, bytes]:
        """Where to send what. Raises KernelError with an errno of _GONE if the interface is not there any more."""
        match thing := operation.thing:
            case Veth(a, _):
                return a.interface.node, rtnetlink.delete_link(a.interface.nic)
            case Bridge() | Vxlan() | Macvlan() | OtherLink():
                return thing.interface.node, rtnetlink.delete_link(thing.interface.nic)
            case Address(interface, address):
                return interface.node, rtnetlink.delete_address(self._index(interface), address)
            case Route():
                dev = 0 if thing.dev is None else self._index(Interface(thing.node, thing.dev))
                return thing.node, rtnetlink.delete_route(thing, dev)
            case Neighbour(interface, ip, _):
                return interface.node, rtnetlink.delete_neighbour(self._index(interface), ip)
            case FdbEntry(interface, mac, to):
                return interface.node, rtnetlink.delete_fdb_entry(self._index(interface), mac, to)
            case Loopback() | Sysctl() | Node() | File() | Process():
                raise KernelError(f"could not {operation_words(operation)}: it cannot be removed")
            case _:
                assert_never(thing)

    def _make_veth(self, place: int, veth: Veth) -> None:
        near, far = veth.ends if veth.a.port is not None or veth.b.port is None else (veth.b, veth.a)
        node, far_node = near.interface.node, far.interface.node
        far_handle = self._places.handle(far_node)
        port = near.port
        needs = [node_key(node), node_key(far_node)]
        bridge_index = 0
        if port is not None:
            bridge = Interface(node, port.bridge)
            needs.append(link_key(bridge))
            bridge_index = self._index(bridge)
        index = self._places.new_index(node, far_node)
        far_index = self._places.new_index(node, far_node)
        self._indexes[near.interface], self._indexes[far.interface] = index, far_index
        birth = rtnetlink.new_veth(
            index,
            rtnetlink.veth_end(near.interface.nic, near.mac, near.mtu_bytes),
            far_index,
            rtnetlink.veth_end(far.interface.nic, far.mac, far.mtu_bytes),
            bridge_index=bridge_index,
            peer_netns=None if far_node == node else far_handle.netns,
            up=near.up and port is not None,
        )
        items = [Item(place, birth)]
        if port is not None:
            # Its peer is still down, so that there is no carrier yet, and no link-local address to prevent.
            items.append(Item(place, rtnetlink.set_link(index, rtnetlink.as_plumbing(near.mtu_bytes)), _WITHOUT_IPV6))
            if _has_options(port):
                items.append(Item(place, rtnetlink.set_link(index, _port_options(port))))
        keys = (link_key(near.interface), link_key(far.interface))
        self.schedule.make(node, keys, needs, items)
        if port is None:
            self._settle(place, near, index)
        self._settle(place, far, far_index)
        self.touched[near.interface] = self.touched[far.interface] = None

    def _settle(self, place: int, end: VethEnd, index: int) -> None:
        """The second message about an end that was born down: its bridge, its families' settings, up."""
        node = end.interface.node
        needs = [link_key(end.interface)]
        up = True if end.up else None
        if end.port is None:
            self._within(place, node, needs, [rtnetlink.set_link(index, rtnetlink.AS_NIC, up=up)])
            return
        self._join(place, end.interface, index, end.mtu_bytes, end.port, needs)
        if end.up:
            self._within(place, node, (), [rtnetlink.set_link(index, up=True)])

    def _make_bridge(self, place: int, bridge: Bridge) -> None:
        _require_times(bridge)
        node = bridge.interface.node
        index = self._indexes[bridge.interface] = self._places.new_index(node)
        key = link_key(bridge.interface)
        settings = rtnetlink.mtu(bridge.mtu_bytes) + rtnetlink.AS_NIC
        items = [
            Item(place, rtnetlink.new_bridge(index, bridge)),
            Item(place, rtnetlink.set_link(index, settings)),
        ]
        self.schedule.make(node, (key,), (node_key(node),), items)
        self.schedule.then(node, (), self._loopback(place, node))
        if bridge.up:
            self.rising.setdefault(node, []).append(Rise(place, index))
        self.touched[bridge.interface] = None

    def _make_vxlan(self, place: int, vxlan: Vxlan) -> None:
        node = vxlan.interface.node
        index = self._indexes[vxlan.interface] = self._places.new_index(node)
        needs = list(vxlan.stands_on())
        dev_index = 0 if vxlan.dev is None else self._index(Interface(node, vxlan.dev))
        items = [
            Item(place, rtnetlink.new_vxlan(index, vxlan, dev_index)),
            Item(place, rtnetlink.set_link(index, rtnetlink.mtu(vxlan.mtu_bytes))),
        ]
        self.schedule.make(node, (link_key(vxlan.interface),), needs, items)
        self._settle_single(place, vxlan, index)

    def _make_macvlan(self, place: int, macvlan: Macvlan) -> None:
        node, parent_node = macvlan.interface.node, macvlan.parent.node
        index = self._indexes[macvlan.interface] = self._places.new_index(node, parent_node)
        descriptor = None if node == parent_node else self._places.handle(node).netns
        parent_index = self._index(macvlan.parent)
        birth = Item(place, rtnetlink.new_macvlan(index, macvlan, parent_index, descriptor))
        self.schedule.make(parent_node, (link_key(macvlan.interface),), macvlan.stands_on(), [birth])
        self._settle_single(place, macvlan, index)

    def _settle_single(self, place: int, link: Vxlan | Macvlan, index: int) -> None:
        """Like `_settle`, of a link that may have carrier at once: its families' settings come before `up`."""
        node = link.interface.node
        needs = [link_key(link.interface)]
        if link.port is None:
            self._within(place, node, needs, [rtnetlink.set_link(index, rtnetlink.AS_NIC)])
        else:
            self._join(place, link.interface, index, link.mtu_bytes, link.port, needs)
        if link.up:
            self._within(place, node, (), [rtnetlink.set_link(index, up=True)])
        self.touched[link.interface] = None

    def _join(
        self, place: int, interface: Interface, index: int, mtu_bytes: int, port: BridgePort, needs: list[Key]
    ) -> None:
        """Make a link that has been a port of nothing so far a port."""
        bridge = Interface(interface.node, port.bridge)
        needs.append(link_key(bridge))
        self._within(place, interface.node, needs, [rtnetlink.set_link(index, rtnetlink.master(self._index(bridge)))])
        plumbing = rtnetlink.set_link(index, rtnetlink.as_plumbing(mtu_bytes))
        self._within(place, interface.node, (), [plumbing], _WITHOUT_IPV6)
        if _has_options(port):
            self._within(place, interface.node, (), [rtnetlink.set_link(index, _port_options(port))])

    def _make_route(self, place: int, route: Route) -> None:
        node, nic = route.node, route.dev
        dev = 0
        if nic is not None:
            found = self._route_devices.get((node, nic))
            if found is None:
                found = self._route_devices[node, nic] = self._index(Interface(node, nic))
            dev = found
        item = Item(place, rtnetlink.new_route(route, dev))
        if node in self.rising:
            self.postponed.setdefault(node, []).append(item)
        elif node in self._raised:
            self.schedule.add(node, item)
        else:
            self._in_node(place, node, item.payload)

    def _change_end(
        self, place: int, old: VethEnd | Vxlan | Macvlan, new: VethEnd | Vxlan | Macvlan, kind: str
    ) -> None:
        """What the links that can be ports have in common: MAC, MTU, membership of a bridge, up or down."""
        interface = new.interface
        index = self._index(interface)
        joins = (old.port and old.port.bridge) != (new.port and new.port.bridge)
        options = b""
        if old.mac != new.mac:
            options += rtnetlink.address_of_link(new.mac)
        if old.mtu_bytes != new.mtu_bytes:
            options += rtnetlink.mtu(new.mtu_bytes)
        if joins and new.port is None:
            options += rtnetlink.master(0)
        elif joins and new.port is not None:
            options += rtnetlink.master(self._index(Interface(interface.node, new.port.bridge)))
        if options:
            self._in_order(place, interface, rtnetlink.set_link(index, options))
        if joins and new.port is None:
            self._in_order(place, interface, rtnetlink.set_link(index, rtnetlink.AS_NIC))
            # Written by sysctl and not by netlink: only so the kernel makes the link-local address at once.
            name = f"net.ipv6.conf.{interface.nic.replace('.', '/')}.addr_gen_mode"
            self._in_order(place, interface, SysctlWrite(name, "0"), tolerated=(errno.ENOENT,))
        elif new.port is not None and (joins or old.mtu_bytes < MIN_IPV6_MTU_BYTES <= new.mtu_bytes):
            plumbing = rtnetlink.set_link(index, rtnetlink.as_plumbing(new.mtu_bytes))
            self._in_order(place, interface, plumbing, tolerated=_WITHOUT_IPV6)
            for mac in {old.mac, new.mac}:
                message = rtnetlink.delete_link_local(index, mac)
                self._in_order(place, interface, message, tolerated=_NO_LINK_LOCAL)
        if new.port is not None and (_has_options(new.port) if joins else old.port != new.port):
            cost = new.port.cost
            if cost is None and not joins:
                cost = default_costs(kind, has_lower=not isinstance(new, Vxlan) or new.dev is not None)[0]
            message = rtnetlink.set_link(index, rtnetlink.port_options(cost, new.port.priority))
            self._in_order(place, interface, message)
        if old.up != new.up:
            self._in_order(place, interface, rtnetlink.set_link(index, up=new.up))

    def _change_bridge(self, place: int, old: Bridge, new: Bridge) -> None:
        _require_times(new)
        interface = new.interface
        index = self._index(interface)
        if _bridge_timing(old) != _bridge_timing(new):
            for message in rtnetlink.change_bridge_options(index, old, new):
                self._in_order(place, interface, message)
        options = rtnetlink.address_of_link(new.mac) if old.mac != new.mac else b""
        if old.mtu_bytes != new.mtu_bytes:
            options += rtnetlink.mtu(new.mtu_bytes)
        if options or old.up != new.up:
            up = new.up if old.up != new.up else None
            self._in_order(place, interface, rtnetlink.set_link(index, options, up=up))
        self.touched[interface] = None

    def _set_sysctl(self, place: int, thing: Sysctl) -> None:
        sysctl.sysctl_path(thing.name)
        needs = thing.stands_on()
        if needs == (node_key(thing.node),):
            # Links born later, also from another node's side, take it over: it is made before them.
            self.schedule.make(thing.node, needs, (), [Item(place, SysctlWrite(thing.name, thing.value))])
        else:
            self._within(place, thing.node, needs, [SysctlWrite(thing.name, thing.value)])

    def _in_order(
        self, place: int, interface: Interface, payload: bytes | SysctlWrite, tolerated: tuple[int, ...] = ()
    ) -> None:
        self._within(place, interface.node, (link_key(interface),), (payload,), tolerated)

    def _in_node(self, place: int, node: NodeName, payload: bytes | SysctlWrite) -> None:
        self._within(place, node, (), (payload,))

    def _within(
        self,
        place: int,
        node: NodeName,
        needs: Sequence[Key],
        payloads: Sequence[bytes | SysctlWrite],
        tolerated: tuple[int, ...] = (),
    ) -> None:
        items = [Item(place, payload, tolerated) for payload in payloads]
        if node not in self._raised and isinstance(payloads[0], bytes):
            items[:0] = self._loopback(place, node)
        self.schedule.then(node, needs, items)

    def _loopback(self, place: int, node: NodeName) -> list[Item]:
        """What raises the node's loopback, the first time that something is said to a new node."""
        self._raised.add(node)
        if not self._places.take_unraised(node):
            return []
        return [Item(place, rtnetlink.set_link(_LOOPBACK_INDEX, up=True))]

    def _index(self, interface: Interface) -> int:
        """The ifindex of an interface made in this run, or there already."""
        known = self._indexes.get(interface)
        if known is not None:
            return known
        found = netns.find_index(self._places.sock(interface.node).fileno(), interface.nic)
        if found is None:
            raise KernelError(f"{interface.node} has no interface {interface.nic}", errno=errno.ENODEV)
        return found


def _has_options(port: BridgePort) -> bool:
    return port.cost is not None or port.priority != 32


def _port_options(port: BridgePort) -> bytes:
    return rtnetlink.port_options(port.cost, port.priority)


def _bridge_timing(bridge: Bridge) -> tuple[object, ...]:
    return (
        bridge.ageing_time_s,
        bridge.stp,
        bridge.priority,
        bridge.forward_delay_s,
        bridge.hello_time_s,
        bridge.max_age_s,
    )


def _require_times(bridge: Bridge) -> None:
    """Refuse what the kernel would quietly change: with STP it clamps the forward delay (net/bridge/br_stp_if.c)."""
    if bridge.stp and not 2 <= bridge.forward_delay_s <= 30:
        raise KernelError(
            f"bridge {bridge.interface}: with STP a forward delay of {bridge.forward_delay_s:g} s is not possible",
            errno=errno.ERANGE,
            hint="the kernel takes 2–30 s",
        )
