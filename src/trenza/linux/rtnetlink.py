"""What to say to rtnetlink: requests about links, addresses, routes, neighbours and forwarding entries, as bytes.

Interfaces are numbers here and namespaces descriptors; `rtnetlink_dump` reads what the kernel answers. Sources: Linux
include/uapi/linux/{rtnetlink,if_link,if_addr,neighbour}.h.

Two refusals shape this module (net/core/rtnetlink.c, drivers/net/veth.c): IFLA_AF_SPEC is refused while a link is made
(EAFNOSUPPORT: no family has taken notice of the device yet), and the peer of a veth cannot be born up (ENOTCONN). Both
are said in a second message.
"""

from __future__ import annotations

from ipaddress import IPv6Address
from struct import Struct
from typing import Final

from trenza.linux.netlink import APPEND, CREATE, DUMP, EXCLUSIVE, REPLACE, REQUEST, attribute, message, u16, u32
from trenza.model.names import Mac
from trenza.model.state import (
    ZERO_MAC,
    Bridge,
    IpAddress,
    IpInterface,
    Macvlan,
    MacvlanMode,
    Route,
    RouteType,
    Vxlan,
)
from trenza.plan.wanted import MIN_IPV6_MTU_BYTES

NEWLINK: Final = 16
DELLINK: Final = 17
GETLINK: Final = 18
NEWADDR: Final = 20
DELADDR: Final = 21
GETADDR: Final = 22
NEWROUTE: Final = 24
DELROUTE: Final = 25
GETROUTE: Final = 26
NEWNEIGH: Final = 28
DELNEIGH: Final = 29
GETNEIGH: Final = 30
NEWMULTICAST: Final = 56
GETMULTICAST: Final = 58
GETNETCONF: Final = 82
GETNSID: Final = 90

AF_INET: Final = 2
AF_BRIDGE: Final = 7
AF_INET6: Final = 10

_LINK: Final = Struct("=BxHiII").pack
_ADDRESS: Final = Struct("=BBBBI").pack
_ROUTE: Final = Struct("=BBBBBBBBI").pack
_NEIGHBOUR: Final = Struct("=BxxxiHBB").pack
# attributes of one size, whole: routes and veths are made by the ten thousand
_NUMBER: Final = Struct("=HHI").pack
_IPV4: Final = Struct("=HH4s").pack
_IPV6: Final = Struct("=HH16s").pack
_MAC_AND_MTU: Final = Struct("=HH6s2xHHI").pack
_PLAIN_IPV4_ROUTE: Final = Struct("=IHHIIBBBBBBBBIHH4sHH4sHHI").pack
"""A whole request for a unicast IPv4 route with a next hop, a device and no metric: nearly all there are."""

IFF_UP: Final = 1
_SKIP_STATISTICS: Final = 1 << 3
_IFA_F_NODAD: Final = 2
_MAIN_TABLE: Final = 254
_PROTOCOL_STATIC: Final = 4
_SCOPE_LINK: Final = 253
_SCOPE_HOST: Final = 254
_SCOPE_NOWHERE: Final = 255
_RTNH_F_ONLINK: Final = 4
_NUD_NOARP: Final = 0x40
_NUD_PERMANENT: Final = 0x80
_NTF_SELF: Final = 2
_NTF_MASTER: Final = 4
CENTISECONDS: Final = 100
"""Netlink takes a bridge's times in USER_HZ, 100 a second on every architecture."""

_ROUTE_TYPE: Final = {
    RouteType.UNICAST: 1,
    RouteType.BLACKHOLE: 6,
    RouteType.UNREACHABLE: 7,
    RouteType.PROHIBIT: 8,
}
_MACVLAN_MODE: Final = {
    MacvlanMode.PRIVATE: 1,
    MacvlanMode.VEPA: 2,
    MacvlanMode.BRIDGE: 4,
    MacvlanMode.PASSTHRU: 8,
}

# IFLA_AF_SPEC, ready made: no IPv6 link-local address of the kernel's own (bridge ports are plumbing); and IPv4
# addresses that stay when the first of their subnet goes (promote_secondaries, IPV4_DEVCONF 20).
_AF_SPEC: Final = 26
_PROMOTE: Final = attribute(AF_INET, attribute(1, attribute(20, u32(1))))
_AS_PLUMBING: Final = attribute(_AF_SPEC, _PROMOTE + attribute(AF_INET6, attribute(8, b"\x01")))
AS_NIC: Final = attribute(_AF_SPEC, _PROMOTE)

_ONE_QUEUE: Final = attribute(31, u32(1)) + attribute(32, u32(1))
"""One queue each way: queues take memory and sysfs entries, and a veth's are as many as the machine has CPUs."""


def as_plumbing(mtu_bytes: int) -> bytes:
    """The settings of a bridge port; a link with so small an MTU has no IPv6, and refuses settings for it."""
    return _AS_PLUMBING if mtu_bytes >= MIN_IPV6_MTU_BYTES else AS_NIC


def mac_bytes(mac: Mac) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def link_local(mac: Mac) -> bytes:
    """The IPv6 link-local address that the kernel makes from a MAC (RFC 4291, appendix A)."""
    octets = mac_bytes(mac)
    return b"\xfe\x80" + bytes(6) + bytes((octets[0] ^ 2,)) + octets[1:3] + b"\xff\xfe" + octets[3:]


def solicited_node(address: IPv6Address) -> IPv6Address:
    """The multicast group in which others ask for the owner of an address (RFC 4291, section 2.7.1)."""
    return IPv6Address(b"\xff\x02" + bytes(9) + b"\x01\xff" + address.packed[-3:])


def named(nic: str) -> bytes:
    return attribute(3, nic.encode() + b"\0")


def address_of_link(mac: Mac) -> bytes:
    return attribute(1, mac_bytes(mac))


def mtu(mtu_bytes: int) -> bytes:
    return attribute(4, u32(mtu_bytes))


def master(index: int) -> bytes:
    """Membership of the bridge with this ifindex; 0: of none."""
    return attribute(10, u32(index))


def netns(descriptor: int) -> bytes:
    return attribute(28, u32(descriptor))


def port_options(cost: int | None, priority: int) -> bytes:
    """IFLA_LINKINFO with a bridge port's cost and priority; the link must be a port already."""
    options = attribute(2, u16(priority))
    if cost is not None:
        options = attribute(3, u32(cost)) + options
    return attribute(18, attribute(4, b"bridge\0") + attribute(5, options))


def hairpin() -> bytes:
    """IFLA_LINKINFO that lets a bridge send a frame back where it came from; the link must be a port already."""
    return attribute(18, attribute(4, b"bridge\0") + attribute(5, attribute(4, b"\x01")))


def set_link(index: int, options: bytes = b"", *, up: bool | None = None) -> bytes:
    """Change a link; `up` None leaves it as it is."""
    flags, mask = (0, 0) if up is None else (IFF_UP if up else 0, IFF_UP)
    return message(NEWLINK, 0, _LINK(0, 0, index, flags, mask) + options)


def delete_link(nic: str) -> bytes:
    return message(DELLINK, 0, _LINK(0, 0, 0, 0, 0) + named(nic))


def _new_link(index: int, kind: bytes, options: bytes, data: bytes, *, up: bool = False) -> bytes:
    flags = IFF_UP if up else 0
    info = attribute(18, attribute(1, kind) + (attribute(2, data) if data else b""))
    return message(NEWLINK, CREATE | EXCLUSIVE, _LINK(0, 0, index, flags, flags) + options + info)


def veth_end(nic: str, mac: Mac, mtu_bytes: int) -> bytes:
    return named(nic) + _MAC_AND_MTU(10, 1, mac_bytes(mac), 8, 4, mtu_bytes) + _ONE_QUEUE


def new_veth(
    index: int, end: bytes, peer_index: int, peer: bytes, *, bridge_index: int = 0, peer_netns: int | None, up: bool
) -> bytes:
    """A veth pair, each end born in its own namespace; `end` and `peer` are made by `veth_end`.

    `bridge_index` makes `end` a port at once; `peer_netns` None leaves the peer in the sender's namespace, down.
    """
    if bridge_index:
        end += _NUMBER(8, 10, bridge_index)
    if peer_netns is not None:
        peer += _NUMBER(8, 28, peer_netns)
    return _new_link(index, b"veth", end, attribute(1, _LINK(0, 0, peer_index, 0, 0) + peer), up=up)


def new_bridge(index: int, bridge: Bridge) -> bytes:
    """A bridge, down, with an MTU of one byte less than wanted.

    Setting the MTU is what makes a bridge keep it when ports join (net/bridge/br_device.c: br_change_mtu), but setting
    it to what it is already goes unnoticed; hence a birth with another one, for `set_link` to change.
    """
    options = named(bridge.interface.nic) + address_of_link(bridge.mac) + mtu(bridge.mtu_bytes - 1)
    return _new_link(index, b"bridge", options, _bridge_options(bridge))


def change_bridge_options(index: int, old: Bridge, new: Bridge) -> list[bytes]:
    """Messages that give a bridge other options.

    Leaving STP goes first and alone: while it is on, a forward delay outside 802.1D's range is refused.
    """
    messages = []
    if old.stp and not new.stp:
        messages.append(_set_info(index, b"bridge", attribute(5, u32(0))))
    messages.append(_set_info(index, b"bridge", _bridge_options(new)))
    return messages


def _bridge_options(bridge: Bridge) -> bytes:
    return (
        attribute(1, u32(round(bridge.forward_delay_s * CENTISECONDS)))
        + attribute(2, u32(round(bridge.hello_time_s * CENTISECONDS)))
        + attribute(3, u32(round(bridge.max_age_s * CENTISECONDS)))
        + attribute(4, u32(round(bridge.ageing_time_s * CENTISECONDS)))
        + attribute(6, u16(bridge.priority))
        + attribute(5, u32(bridge.stp))
    )


def _set_info(index: int, kind: bytes, data: bytes) -> bytes:
    return message(NEWLINK, 0, _LINK(0, 0, index, 0, 0) + attribute(18, attribute(1, kind) + attribute(2, data)))


def new_vxlan(index: int, vxlan: Vxlan, dev_index: int) -> bytes:
    """A VXLAN, down, without its MTU: given at birth, one too large for `dev` would be made smaller without a word."""
    options = named(vxlan.interface.nic) + address_of_link(vxlan.mac)
    data = attribute(1, u32(vxlan.vni)) + attribute(15, vxlan.udp_port.to_bytes(2, "big"))
    return _new_link(index, b"vxlan", options, data + _vxlan_options(vxlan, dev_index))


def _vxlan_options(vxlan: Vxlan, dev_index: int) -> bytes:
    data = attribute(7, bytes((vxlan.learning,)))
    if vxlan.remote is not None:
        data += attribute(2 if vxlan.remote.version == 4 else 16, vxlan.remote.packed)
    if vxlan.local is not None:
        data += attribute(4 if vxlan.local.version == 4 else 17, vxlan.local.packed)
    if dev_index:
        data += attribute(3, u32(dev_index))
    return data


def new_macvlan(index: int, macvlan: Macvlan, parent_index: int, descriptor: int | None) -> bytes:
    """A macvlan over a link of the sender's namespace; `descriptor` is its own namespace where that is another."""
    options = named(macvlan.interface.nic) + mtu(macvlan.mtu_bytes) + attribute(5, u32(parent_index))
    if macvlan.mode is not MacvlanMode.PASSTHRU:  # which takes its parent's MAC
        options += address_of_link(macvlan.mac)
    if descriptor is not None:
        options += netns(descriptor)
    return _new_link(index, b"macvlan", options, attribute(1, u32(_MACVLAN_MODE[macvlan.mode])))


def change_macvlan_mode(index: int, mode: MacvlanMode) -> bytes:
    return _set_info(index, b"macvlan", attribute(1, u32(_MACVLAN_MODE[mode])))


def new_address(index: int, address: IpInterface) -> bytes:
    """Add an address; an IPv6 one is used at once, without duplicate address detection."""
    packed = address.ip.packed
    if address.version == 4:
        scope = _SCOPE_HOST if address.ip.is_loopback else 0
        body = _ADDRESS(AF_INET, address.network.prefixlen, 0, scope, index)
        return message(NEWADDR, CREATE | EXCLUSIVE, body + _IPV4(8, 2, packed) + _IPV4(8, 1, packed))
    scope = _SCOPE_LINK if address.ip.is_link_local else 0
    body = _ADDRESS(AF_INET6, address.network.prefixlen, _IFA_F_NODAD, scope, index)
    return message(NEWADDR, CREATE | EXCLUSIVE, body + attribute(2, packed) + attribute(1, packed))


def delete_address(index: int, address: IpInterface) -> bytes:
    family = AF_INET if address.version == 4 else AF_INET6
    packed = address.ip.packed
    body = _ADDRESS(family, address.network.prefixlen, 0, 0, index) + attribute(2, packed) + attribute(1, packed)
    return message(DELADDR, 0, body)


def delete_link_local(index: int, mac: Mac) -> bytes:
    """Take the link-local address away that the kernel made; refused with EADDRNOTAVAIL where there is none."""
    return message(DELADDR, 0, _ADDRESS(AF_INET6, 64, 0, _SCOPE_LINK, index) + attribute(1, link_local(mac)))


def new_route(route: Route, dev_index: int) -> bytes:
    to, via = route.to, route.via
    if via is not None and to.version == 4 == via.version and dev_index and not (route.metric or route.onlink):
        return _PLAIN_IPV4_ROUTE(
            52, NEWROUTE, REQUEST | CREATE | EXCLUSIVE, 0, 0,
            AF_INET, to.prefixlen, 0, 0, _MAIN_TABLE, _PROTOCOL_STATIC, 0, 1, 0,
            8, 1, to.network_address.packed, 8, 5, via.packed, 8, 4, dev_index,
        )  # fmt: skip
    scope = _SCOPE_LINK if route.to.version == 4 and route.via is None and route.type is RouteType.UNICAST else 0
    return message(NEWROUTE, CREATE | EXCLUSIVE, _route(route, dev_index, _PROTOCOL_STATIC, scope))


def delete_route(route: Route, dev_index: int) -> bytes:
    """Take a route away, whoever made it: without a protocol, and with the scope that stands for any."""
    return message(DELROUTE, 0, _route(route, dev_index, 0, _SCOPE_NOWHERE))


def _route(route: Route, dev_index: int, protocol: int, scope: int) -> bytes:
    to, via = route.to, route.via
    version = to.version
    family = AF_INET if version == 4 else AF_INET6
    flags = _RTNH_F_ONLINK if route.onlink else 0
    length = to.prefixlen
    body = _ROUTE(family, length, 0, 0, _MAIN_TABLE, protocol, scope, _ROUTE_TYPE[route.type], flags)
    if length:
        body += _ip_attribute(1, to.network_address)
    if via is not None:
        if via.version == version:
            body += _ip_attribute(5, via)
        else:  # RTA_VIA: an IPv4 network behind an IPv6 next hop (RFC 5549)
            body += attribute(18, u16(AF_INET6 if via.version == 6 else AF_INET) + via.packed)
    if dev_index:
        body += _NUMBER(8, 4, dev_index)
    if route.metric:
        body += _NUMBER(8, 6, route.metric)
    return body


def _ip_attribute(kind: int, ip: IpAddress) -> bytes:
    packed = ip.packed
    return _IPV4(8, kind, packed) if len(packed) == 4 else _IPV6(20, kind, packed)


def new_neighbour(index: int, ip: IpAddress, mac: Mac) -> bytes:
    """A permanent neighbour, in place of whatever is known about it."""
    family = AF_INET if ip.version == 4 else AF_INET6
    body = _NEIGHBOUR(family, index, _NUD_PERMANENT, 0, 0) + attribute(1, ip.packed) + attribute(2, mac_bytes(mac))
    return message(NEWNEIGH, CREATE | REPLACE, body)


def delete_neighbour(index: int, ip: IpAddress) -> bytes:
    family = AF_INET if ip.version == 4 else AF_INET6
    return message(DELNEIGH, 0, _NEIGHBOUR(family, index, 0, 0, 0) + attribute(1, ip.packed))


def new_fdb_entry(index: int, mac: Mac, destination: IpAddress | None) -> bytes:
    """A static entry: of the bridge that the link is a port of, or of a VXLAN device towards `destination`.

    The zero MAC may have several destinations.
    """
    flags = CREATE | (APPEND if mac == ZERO_MAC else REPLACE if destination is None else EXCLUSIVE)
    return message(NEWNEIGH, flags, _fdb(index, mac, destination))


def delete_fdb_entry(index: int, mac: Mac, destination: IpAddress | None) -> bytes:
    return message(DELNEIGH, 0, _fdb(index, mac, destination))


def _fdb(index: int, mac: Mac, destination: IpAddress | None) -> bytes:
    if destination is None:
        body = _NEIGHBOUR(AF_BRIDGE, index, _NUD_NOARP, _NTF_MASTER, 0)
        return body + attribute(2, mac_bytes(mac))
    body = _NEIGHBOUR(AF_BRIDGE, index, _NUD_PERMANENT, _NTF_SELF, 0)
    return body + attribute(2, mac_bytes(mac)) + attribute(1, destination.packed)


# Questions

DUMP_LINKS: Final = message(GETLINK, DUMP, _LINK(0, 0, 0, 0, 0) + attribute(29, u32(_SKIP_STATISTICS)))
"""All links without the counters that can be left out (those of IPv6)."""
DUMP_LINKS_WITH_COUNTERS: Final = message(GETLINK, DUMP, _LINK(0, 0, 0, 0, 0))
DUMP_ADDRESSES: Final = message(GETADDR, DUMP, _ADDRESS(0, 0, 0, 0, 0))
DUMP_GROUPS: Final = message(GETMULTICAST, DUMP, _ADDRESS(AF_INET6, 0, 0, 0, 0))
DUMP_ROUTES: Final = message(
    GETROUTE, DUMP, _ROUTE(0, 0, 0, 0, 0, 0, 0, 0, 0) + attribute(15, u32(_MAIN_TABLE))
)  # fmt: skip
DUMP_NEIGHBOURS: Final = message(GETNEIGH, DUMP, _NEIGHBOUR(0, 0, 0, 0, 0))
DUMP_FDB: Final = message(GETNEIGH, DUMP, _NEIGHBOUR(AF_BRIDGE, 0, 0, 0, 0))


def ask_forwarding(family: int) -> bytes:
    """The `all` settings of IPv4 (`net.ipv4.ip_forward`) or IPv6, without a walk through /proc."""
    return message(GETNETCONF, 0, bytes((family, 0, 0, 0)) + attribute(1, u32(0xFFFFFFFF)))


def ask_route(target: IpAddress) -> bytes:
    """The route that a packet to `target` would take."""
    family, length = (AF_INET, 32) if target.version == 4 else (AF_INET6, 128)
    return message(GETROUTE, 0, _ROUTE(family, length, 0, 0, 0, 0, 0, 0, 0) + _ip_attribute(1, target))


def ask_namespace_id(descriptor: int) -> bytes:
    """The id by which the asked namespace knows the one behind `descriptor`."""
    return message(GETNSID, 0, bytes(4) + attribute(3, u32(descriptor)))
