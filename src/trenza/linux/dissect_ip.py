"""IPv4 and IPv6 packets and what they carry, in words: TCP, UDP, ICMP, ICMPv6, VRRP and the like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from trenza.linux.dissect_applications import dhcp6_words, dhcp_words, dns_words, find_http_words
from trenza.linux.dissect_icmp import icmp6_words, icmp_words
from trenza.linux.dissect_octets import CutShortError, ipv4, ipv6, u8, u16, u32

_ICMP: Final = 1
_IGMP: Final = 2
_IPIP: Final = 4
_TCP: Final = 6
_UDP: Final = 17
_IPV6_IN_IP: Final = 41
_ICMP6: Final = 58
_VRRP: Final = 112

_PROTOCOLS: Final = {
    _ICMP: "ICMP", _IGMP: "IGMP", _IPIP: "IP in IP", _TCP: "TCP", _UDP: "UDP", _IPV6_IN_IP: "IP in IP", 47: "GRE",
    50: "ESP", 51: "AH", _ICMP6: "ICMPv6", 59: "nothing more", 88: "EIGRP", 89: "OSPF", 103: "PIM", _VRRP: "VRRP",
    132: "SCTP",
}  # fmt: skip

_MULTICAST4: Final = 0xE0
_MULTICAST6: Final = 0xFF
_FRESH_TTLS: Final = (64, 255)

_HOP_BY_HOP: Final = 0
_ROUTING: Final = 43
_FRAGMENT: Final = 44
_DESTINATION: Final = 60
_MAX_HEADERS: Final = 8

_TCP_FLAGS: Final = (
    (2, "SYN"), (1, "FIN"), (4, "RST"), (8, "PSH"), (16, "ACK"), (32, "URG"), (64, "ECE"), (128, "CWR"),
)  # fmt: skip

_IGMP_V3_REPORT: Final = 0x22
_IGMP_TYPES: Final = {
    0x11: "query", 0x12: "v1 report", 0x16: "v2 report", 0x17: "leave", _IGMP_V3_REPORT: "v3 report",
}  # fmt: skip

# 8472 is what Linux took before the number was assigned, and flannel still takes.
_VXLAN_PORTS: Final = frozenset((4789, 8472))
_DNS_PORTS: Final = frozenset((53, 5353))
_DHCP_PORTS: Final = frozenset((67, 68))
_DHCP6_PORTS: Final = frozenset((546, 547))

# An IP packet inside another goes back to the top, dressed as a frame, where depth is counted.
_AS_ETHERNET: Final = {_IPIP: bytes(12) + b"\x08\x00", _IPV6_IN_IP: bytes(12) + b"\x86\xdd"}

Tunnelled = Callable[[bytes], str]
"""Words for an Ethernet frame inside a tunnel."""


def ip_words(data: bytes, tunnelled: Tunnelled) -> str:
    """`10.0.0.1 → 10.0.0.2 ICMP echo request …`, of either version by its first four bits."""
    version = u8(data, 0) >> 4
    if version == 4:
        return _ipv4_words(data, tunnelled)
    if version == 6:
        return _ipv6_words(data, tunnelled)
    return f"IP of version {version}"


def _ipv4_words(data: bytes, tunnelled: Tunnelled) -> str:
    header_bytes = (u8(data, 0) & 0xF) * 4
    total_bytes, fragment = u16(data, 2), u16(data, 6)
    ttl, protocol = u8(data, 8), u8(data, 9)
    source, destination = ipv4(data, 12), ipv4(data, 16)
    if header_bytes < 20:
        return f"{source} → {destination} IPv4 with a header of {header_bytes} bytes"
    # Bytes after the packet's own length are Ethernet's padding. An offloaded packet may say 0: then all of it is ours.
    payload = data[header_bytes : total_bytes or None]
    length = (total_bytes or len(data)) - header_bytes
    notes = "" if u8(data, 16) & 0xF0 == _MULTICAST4 else _hop_notes(ttl)
    notes += f" (options, {header_bytes - 20} bytes)" if header_bytes > 20 else ""
    offset = (fragment & 0x1FFF) * 8
    if offset:
        return f"{source} → {destination} IPv4 fragment id {u16(data, 4)} offset {offset} length {length}{notes}"
    if fragment & 0x2000:
        notes += f" (first fragment, id {u16(data, 4)})"
    return _carried(protocol, source, destination, payload, length, tunnelled) + notes


def _ipv6_words(data: bytes, tunnelled: Tunnelled) -> str:
    length, protocol, hops = u16(data, 4), u8(data, 6), u8(data, 7)
    source, destination = ipv6(data, 8), ipv6(data, 24)
    payload = data[40 : 40 + length] if length else data[40:]
    length = length or len(payload)
    notes = "" if u8(data, 24) == _MULTICAST6 else _hop_notes(hops)
    for _ in range(_MAX_HEADERS):
        if protocol in (_HOP_BY_HOP, _ROUTING, _DESTINATION):
            skipped = (u8(payload, 1) + 1) * 8
        elif protocol == _FRAGMENT:
            skipped = 8
            offset = u16(payload, 2) & 0xFFF8
            if offset:
                return f"{source} → {destination} IPv6 fragment id {u32(payload, 4)} offset {offset}{notes}"
            if u16(payload, 2) & 1:
                notes += f" (first fragment, id {u32(payload, 4)})"
        else:
            return _carried(protocol, source, destination, payload, length, tunnelled) + notes
        protocol = u8(payload, 0)
        payload, length = payload[skipped:], length - skipped
    return f"{source} → {destination} IPv6 with more than {_MAX_HEADERS} extension headers"


def _hop_notes(ttl: int) -> str:
    """The TTL where it tells something: that the packet crossed routers, or is not to."""
    return "" if ttl in _FRESH_TTLS else f" ttl {ttl}"


def _carried(protocol: int, source: str, destination: str, payload: bytes, length: int, tunnelled: Tunnelled) -> str:
    ends = f"{source} → {destination}"
    try:
        if protocol == _TCP:
            return _tcp_words(source, destination, payload, length)
        if protocol == _UDP:
            return _udp_words(source, destination, payload, tunnelled)
        if protocol == _ICMP:
            return f"{ends} {icmp_words(payload, length)}"
        if protocol == _ICMP6:
            return f"{ends} {icmp6_words(payload, length)}"
        if protocol == _IGMP:
            return f"{ends} {_igmp_words(payload)}"
        if protocol == _VRRP:
            return f"{ends} {_vrrp_words(payload, is_ipv6=':' in source)}"
        if protocol in (_IPIP, _IPV6_IN_IP):
            return f"{ends} IP in IP ( {tunnelled(_AS_ETHERNET[protocol] + payload)} )"
    except CutShortError:
        return f"{ends} {_PROTOCOLS.get(protocol, f'protocol {protocol}')} [cut short]"
    return f"{ends} {_PROTOCOLS.get(protocol, f'protocol {protocol}')} length {length}"


def _ends(source: str, source_port: int, destination: str, destination_port: int) -> str:
    if ":" in source:
        return f"[{source}]:{source_port} → [{destination}]:{destination_port}"
    return f"{source}:{source_port} → {destination}:{destination_port}"


def _tcp_words(source: str, destination: str, segment: bytes, length: int) -> str:
    ends = _ends(source, u16(segment, 0), destination, u16(segment, 2))
    header_bytes, bits = (u8(segment, 12) >> 4) * 4, u8(segment, 13)
    flags = " ".join(name for bit, name in _TCP_FLAGS if bits & bit) or "no flags"
    words = f"{ends} TCP {flags} seq {u32(segment, 4)}"
    if bits & 16:
        words += f" ack {u32(segment, 8)}"
    words += f" len {max(0, length - header_bytes)}"
    http = find_http_words(segment[header_bytes:]) if header_bytes >= 20 else None
    return f"{words} {http}" if http else words


def _udp_words(source: str, destination: str, datagram: bytes, tunnelled: Tunnelled) -> str:
    source_port, destination_port, length = u16(datagram, 0), u16(datagram, 2), u16(datagram, 4)
    ends = _ends(source, source_port, destination, destination_port)
    payload = datagram[8 : length if length >= 8 else None]
    ports = {source_port, destination_port}
    name = "UDP"
    try:
        if destination_port in _VXLAN_PORTS:
            name = "VXLAN"
            return f"{ends} {_vxlan_words(payload, tunnelled)}"
        if ports & _DNS_PORTS:
            name = "DNS"
            return f"{ends} {dns_words(payload)}"
        if ports & _DHCP_PORTS:
            name = "DHCP"
            return f"{ends} {dhcp_words(payload)}"
        if ports & _DHCP6_PORTS:
            name = "DHCPv6"
            return f"{ends} {dhcp6_words(payload)}"
    except CutShortError:
        return f"{ends} {name} [cut short]"
    return f"{ends} UDP len {max(0, length - 8)}"


def _vxlan_words(payload: bytes, tunnelled: Tunnelled) -> str:
    """RFC 7348, section 5: a valid-VNI bit, the VNI, then a whole Ethernet frame."""
    flags, vni = u8(payload, 0), u32(payload, 4) >> 8
    number = f"VNI {vni}" if flags & 0x08 else "without a VNI"
    return f"VXLAN {number} ( {tunnelled(payload[8:])} )"


def _igmp_words(message: bytes) -> str:
    kind = u8(message, 0)
    group = "" if kind == _IGMP_V3_REPORT else f" {ipv4(message, 4)}"
    return f"IGMP {_IGMP_TYPES.get(kind, f'type {kind}')}{group}"


def _vrrp_words(message: bytes, *, is_ipv6: bool) -> str:
    """VRRP version 2 (RFC 3768) and 3 (RFC 5798); priority 0 is a master that leaves."""
    version, kind = u8(message, 0) >> 4, u8(message, 0) & 0xF
    vrid, priority, count = u8(message, 1), u8(message, 2), u8(message, 3)
    words = f"VRRPv{version} {'advertisement' if kind == 1 else f'type {kind}'} vrid {vrid} priority {priority}"
    if priority == 0:
        words += " (leaving)"
    width, address = (16, ipv6) if is_ipv6 else (4, ipv4)
    addresses = []
    try:
        addresses = [address(message, 8 + width * number) for number in range(count)]
        timer_cs = u16(message, 4) & 0xFFF
        words += f" every {timer_cs / 100:g} s" if version == 3 else f" every {u8(message, 5)} s"
    except CutShortError:
        return f"{words} [cut short]"
    return f"{words} addresses {', '.join(addresses) or 'none'}"
