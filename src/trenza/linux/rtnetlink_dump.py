"""What rtnetlink answers: dumps of links, addresses, groups, routes, neighbours and forwarding entries as records.

Records hold what the kernel says, by ifindex; names, peers and meaning are `observe`'s and `measure`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from struct import Struct
from typing import Final

from trenza.linux.netlink import ATTRIBUTE, attributes, split_messages
from trenza.linux.rtnetlink import (
    AF_BRIDGE,
    AF_INET,
    AF_INET6,
    DELADDR,
    DELLINK,
    DELNEIGH,
    DELROUTE,
    GETMULTICAST,
    IFF_UP,
    NEWADDR,
    NEWLINK,
    NEWMULTICAST,
    NEWNEIGH,
    NEWROUTE,
)
from trenza.model.names import Mac
from trenza.model.state import IpAddress, IpNetwork

_LINK: Final = Struct("=BxHiII")
_ADDRESS: Final = Struct("=BBBBI")
_ROUTE: Final = Struct("=BBBBBBBBI")
_NEIGHBOUR: Final = Struct("=BxxxiHBB")
_NEXT_HOP: Final = Struct("=HBBi")
_u32: Final = Struct("=I").unpack
_u64: Final = Struct("=Q").unpack
_cacheinfo: Final = Struct("=IIII").unpack_from
_LOWER_UP: Final = 0x10000
_ARPHRD_LOOPBACK: Final = 772
_CLONED: Final = 0x200
_MAIN_TABLE: Final = 254
_IFA_MULTICAST: Final = 7


def number(data: bytes | None) -> int:
    """An integer of the machine's byte order, whatever its width; 0 for a missing attribute."""
    return 0 if data is None else int.from_bytes(data, _ORDER)


_ORDER: Final = "little" if Struct("=H").pack(1)[0] else "big"


def text(data: bytes | None) -> str:
    return "" if data is None else data.rstrip(b"\0").decode(errors="replace")


def mac_text(data: bytes | None) -> Mac:
    return Mac("" if data is None else data.hex(":"))


def ip_of(data: bytes | None) -> IpAddress | None:
    """An address from its 4 or 16 bytes."""
    if data is None:
        return None
    if len(data) == 4:
        return IPv4Address(data)
    return IPv6Address(data) if len(data) == 16 else None


@dataclass(frozen=True, slots=True)
class LinkRecord:
    """A link. `kind` is `loopback` for lo and "" for hardware; `data` and `port` are its kind's and port's options.

    `lower` is IFLA_LINK (a veth's peer, a macvlan's parent), in the namespace with the id `lower_netns`, or in this
    one where that is None. `counters` are received and sent packets, then received and sent bytes.
    """

    index: int
    name: str
    kind: str
    up: bool
    carrier: bool
    mac: Mac
    mtu_bytes: int
    master: int
    lower: int
    lower_netns: int | None
    data: dict[int, bytes]
    port_kind: str
    port: dict[int, bytes]
    counters: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class AddressRecord:
    """An address. `protocol` (IFA_PROTO) is 0 where an older kernel does not say who made it."""

    index: int
    ip: IpAddress
    prefix_length: int
    scope: int
    flags: int
    protocol: int


@dataclass(frozen=True, slots=True)
class RouteRecord:
    """A route of the main table, one record for each next hop."""

    to: IpNetwork
    via: IpAddress | None
    dev: int
    metric: int
    protocol: int
    type: int
    onlink: bool
    source: IpAddress | None


@dataclass(frozen=True, slots=True)
class NeighbourRecord:
    index: int
    ip: IpAddress
    mac: Mac | None
    state: int


@dataclass(frozen=True, slots=True)
class FdbRecord:
    """A forwarding entry: `master` is the bridge's ifindex, 0 for a device's own (`bridge fdb` says `self`)."""

    index: int
    mac: Mac
    master: int
    state: int
    flags: int
    destination: IpAddress | None
    age_s: float | None


def links(data: bytes) -> tuple[LinkRecord, ...]:
    """The links of a dump."""
    return tuple(
        link_record(data, start, end)
        for kind, _flags, _sequence, start, end in split_messages(data)
        if kind in (NEWLINK, DELLINK)
    )


def link_record(data: bytes, start: int, end: int) -> LinkRecord:
    _family, hardware, index, flags, _mask = _LINK.unpack_from(data, start)
    found = attributes(data, start + 16, end)
    information = attributes(found[18]) if 18 in found else {}
    kind = text(information.get(1)) or ("loopback" if hardware == _ARPHRD_LOOPBACK else "")
    statistics = found.get(23)
    return LinkRecord(
        index,
        text(found.get(3)),
        kind,
        bool(flags & IFF_UP),
        bool(flags & _LOWER_UP),
        mac_text(found.get(1)),
        number(found.get(4)),
        number(found.get(10)),
        number(found.get(5)),
        None if 37 not in found else int.from_bytes(found[37], _ORDER, signed=True),
        attributes(information[2]) if 2 in information else {},
        text(information.get(4)),
        attributes(information[5]) if 5 in information else {},
        (0, 0, 0, 0) if statistics is None else _LINK_COUNTERS(statistics),
    )


_LINK_COUNTERS: Final = Struct("=QQQQ").unpack_from
"""rtnl_link_stats64 begins with rx_packets, tx_packets, rx_bytes, tx_bytes."""


def addresses(data: bytes) -> tuple[AddressRecord, ...]:
    """The addresses of a dump, IPv4 and IPv6."""
    return tuple(
        record
        for kind, _flags, _sequence, start, end in split_messages(data)
        if kind in (NEWADDR, DELADDR) and (record := address_record(data, start, end)) is not None
    )


def address_record(data: bytes, start: int, end: int) -> AddressRecord | None:
    family, length, flags, scope, index = _ADDRESS.unpack_from(data, start)
    if family not in (AF_INET, AF_INET6):
        return None
    found = attributes(data, start + 8, end)
    # IFA_LOCAL is the address itself; of an IPv6 address without a peer only IFA_ADDRESS is there
    ip = ip_of(found.get(2, found.get(1)))
    if ip is None:
        return None
    return AddressRecord(index, ip, length, scope, number(found[8]) if 8 in found else flags, number(found.get(11)))


def groups(data: bytes) -> set[tuple[int, IPv6Address]]:
    """The IPv6 multicast groups that interfaces have joined, each with the interface's index."""
    return {
        (_ADDRESS.unpack_from(data, start)[4], IPv6Address(attributes(data, start + 8, end)[_IFA_MULTICAST]))
        for kind, _flags, _sequence, start, end in split_messages(data)
        if kind in (NEWMULTICAST, GETMULTICAST)
    }


def routes(data: bytes) -> tuple[RouteRecord, ...]:
    """The routes of a dump that lie in the main table."""
    return tuple(
        record
        for kind, _flags, _sequence, start, end in split_messages(data)
        if kind in (NEWROUTE, DELROUTE)
        for record in route_records(data, start, end)
    )


def route_records(data: bytes, start: int, end: int) -> Iterator[RouteRecord]:
    family, length, _source_length, _tos, table, protocol, _scope, kind, flags = _ROUTE.unpack_from(data, start)
    found = attributes(data, start + 12, end)
    if family not in (AF_INET, AF_INET6) or flags & _CLONED:
        return
    if (number(found[15]) if 15 in found else table) != _MAIN_TABLE:
        return
    to: IpNetwork
    if family == AF_INET:
        to = IPv4Network((found.get(1, bytes(4)), length))
    else:
        to = IPv6Network((found.get(1, bytes(16)), length))
    metric, source = number(found.get(6)), ip_of(found.get(7))
    if 9 not in found:
        yield RouteRecord(
            to, next_hop(found), number(found.get(4)), metric, protocol, kind, bool(flags & 4), source
        )  # fmt: skip
        return
    hops, offset = found[9], 0
    while offset + 8 <= len(hops):
        size, hop_flags, _weight, dev = _NEXT_HOP.unpack_from(hops, offset)
        if size < 8:
            return
        hop = attributes(hops, offset + 8, offset + size)
        yield RouteRecord(to, next_hop(hop), dev, metric, protocol, kind, bool(hop_flags & 4), source)
        offset += (size + 3) & ~3


def next_hop(found: dict[int, bytes]) -> IpAddress | None:
    """The next hop among a route's attributes, of either family (RTA_VIA, RTA_GATEWAY)."""
    return ip_of(found[18][2:]) if 18 in found else ip_of(found.get(5))


def neighbours(data: bytes) -> tuple[NeighbourRecord, ...]:
    """The ARP and ND entries of a dump."""
    return tuple(
        record
        for kind, _flags, _sequence, start, end in split_messages(data)
        if kind in (NEWNEIGH, DELNEIGH) and (record := neighbour_record(data, start, end)) is not None
    )


def neighbour_record(data: bytes, start: int, end: int) -> NeighbourRecord | None:
    family, index, state, _flags, _type = _NEIGHBOUR.unpack_from(data, start)
    if family not in (AF_INET, AF_INET6):
        return None
    found = attributes(data, start + 12, end)
    ip = ip_of(found.get(1))
    if ip is None:
        return None
    return NeighbourRecord(index, ip, mac_text(found[2]) if 2 in found else None, state)


def fdb_entries(data: bytes) -> tuple[FdbRecord, ...]:
    """The forwarding entries of a dump, bridges' and devices' own."""
    return tuple(
        record
        for kind, _flags, _sequence, start, end in split_messages(data)
        if kind in (NEWNEIGH, DELNEIGH) and (record := fdb_record(data, start, end)) is not None
    )


def fdb_record(data: bytes, start: int, end: int) -> FdbRecord | None:
    family, index, state, flags, _type = _NEIGHBOUR.unpack_from(data, start)
    if family != AF_BRIDGE:
        return None
    found = attributes(data, start + 12, end)
    if 2 not in found:
        return None
    cache = found.get(3)
    # nda_cacheinfo: confirmed, used, updated, in clock ticks since; `updated` is when the address was last seen
    age_s = None if cache is None or len(cache) < 16 else _cacheinfo(cache)[2] / 100
    return FdbRecord(
        index, mac_text(found[2]), number(found.get(9)), state, flags, ip_of(found.get(1)), age_s
    )  # fmt: skip


# What changes by itself, by the type of the attribute: of links, counters (IFLA_STATS and IFLA_STATS64) and, inside
# their options, timers of bridges and ports; of neighbours and forwarding entries, ages and probes.
_UNSTEADY: Final = {NEWLINK: frozenset((7, 23)), NEWNEIGH: frozenset((3, 4))}
_UNSTEADY_INSIDE: Final = {2: frozenset((16, 17, 18, 19)), 5: frozenset((21, 22, 23))}
_LINK_INFORMATION: Final = 18


def steady_parts(data: bytes) -> tuple[slice, ...]:
    """The parts of a dump that stay as they are while nobody configures anything.

    Only payloads are left out, so that two dumps with equal steady parts and lengths have one structure.
    """
    parts: list[slice] = []
    kept = 0
    for kind, _flags, _sequence, start, end in split_messages(data):
        for first, last in _unsteady_ranges(data, kind, start, end):
            parts.append(slice(kept, first))
            kept = last
    parts.append(slice(kept, len(data)))
    return tuple(parts)


def _unsteady_ranges(data: bytes, kind: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    types = _UNSTEADY.get(kind)
    if types is None:
        return
    for attribute, first, last in _ranges(data, start + (16 if kind == NEWLINK else 12), end):
        if attribute in types:
            yield first, last
        elif kind == NEWLINK and attribute == _LINK_INFORMATION:
            for inner, inner_first, inner_last in _ranges(data, first, last):
                timers = _UNSTEADY_INSIDE.get(inner, frozenset())
                for option, option_first, option_last in _ranges(data, inner_first, inner_last) if timers else ():
                    if option in timers:
                        yield option_first, option_last


def _ranges(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(type, start, end) of the payload of every attribute."""
    while start + 4 <= end:
        size, kind = ATTRIBUTE.unpack_from(data, start)
        if size < 4:
            return
        yield kind & 0x3FFF, start + 4, start + size
        start += (size + 3) & ~3
