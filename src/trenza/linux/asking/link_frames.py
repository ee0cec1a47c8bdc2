"""Frames of the link as bytes: Ethernet, ARP, IPv6 neighbour discovery, UDP in IPv4. No socket here."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from trenza.fault.probes import internet_checksum
from trenza.model.names import Mac
from trenza.model.state import IpAddress

ETHERTYPE_IPV4: Final = 0x0800
ETHERTYPE_ARP: Final = 0x0806
ETHERTYPE_IPV6: Final = 0x86DD
BROADCAST: Final = b"\xff" * 6
_ARP: Final = struct.Struct("!HHBBH6s4s6s4s")
_ARP_REQUEST: Final = 1
_ARP_REPLY: Final = 2
_ICMPV6: Final = 58
_UDP: Final = 17
_SOLICITATION: Final = 135
_ADVERTISEMENT: Final = 136
_SOURCE_LINK_ADDRESS: Final = 1
_TARGET_LINK_ADDRESS: Final = 2
_TTL: Final = 64


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody says: this address is at this MAC."""

    address: IpAddress
    mac: Mac


def ethernet(destination: bytes, source: bytes, ethertype: int, payload: bytes) -> bytes:
    return destination + source + struct.pack("!H", ethertype) + payload


def who_has(address: IpAddress, own_mac: bytes, own_address: IpAddress | None) -> bytes:
    """The frame that asks for the MAC of an address: ARP (RFC 826), or a neighbour solicitation (RFC 4861).

    Without an address of its own it asks as one does before taking it (RFC 5227, RFC 4862): nobody learns from that.
    """
    if isinstance(address, IPv4Address):
        sender = bytes(4) if own_address is None else own_address.packed
        body = _ARP.pack(1, ETHERTYPE_IPV4, 6, 4, _ARP_REQUEST, own_mac, sender, bytes(6), address.packed)
        return ethernet(BROADCAST, own_mac, ETHERTYPE_ARP, body)
    group = b"\xff\x02" + bytes(9) + b"\x01\xff" + address.packed[13:]
    source = bytes(16) if own_address is None else own_address.packed
    options = b"" if own_address is None else bytes((_SOURCE_LINK_ADDRESS, 1)) + own_mac
    message = bytes((_SOLICITATION, 0, 0, 0)) + bytes(4) + address.packed + options
    pseudo_header = source + group + struct.pack("!II", len(message), _ICMPV6)
    checksum = struct.pack("!H", internet_checksum(pseudo_header + message))
    header = struct.pack("!IHBB", 6 << 28, len(message), _ICMPV6, 255) + source + group
    return ethernet(
        b"\x33\x33" + group[12:], own_mac, ETHERTYPE_IPV6, header + message[:2] + checksum + message[4:]
    )  # fmt: skip


def read_claim(frame: bytes) -> Claim | None:
    """The answer to such a question in a frame, an ARP reply or a neighbour advertisement, or None."""
    if len(frame) < 14:
        return None
    ethertype, payload = struct.unpack_from("!H", frame, 12)[0], frame[14:]
    if ethertype == ETHERTYPE_ARP and len(payload) >= _ARP.size:
        hardware, protocol, mac_bytes, ip_bytes, operation, mac, ip, _, _ = _ARP.unpack_from(payload)
        if (hardware, protocol, mac_bytes, ip_bytes, operation) != (1, ETHERTYPE_IPV4, 6, 4, _ARP_REPLY):
            return None
        return Claim(IPv4Address(ip), Mac(mac.hex(":")))
    if ethertype == ETHERTYPE_IPV6 and len(payload) >= 64 and payload[0] >> 4 == 6 and payload[6] == _ICMPV6:
        if payload[7] != 255 or payload[40] != _ADVERTISEMENT:  # from beyond a router it counts for nothing
            return None
        mac = _link_address(payload[64:]) or frame[6:12]
        return Claim(IPv6Address(payload[48:64]), Mac(mac.hex(":")))
    return None


def _link_address(options: bytes) -> bytes | None:
    at = 0
    while at + 8 <= len(options) and options[at + 1]:
        if options[at] == _TARGET_LINK_ADDRESS:
            return options[at + 2 : at + 8]
        at += 8 * options[at + 1]
    return None


def udp_broadcast(own_mac: bytes, source_port: int, port: int, payload: bytes) -> bytes:
    """A frame with a UDP datagram from nobody (0.0.0.0) to everybody on the link."""
    source, destination = bytes(4), b"\xff" * 4
    datagram = struct.pack("!HHHH", source_port, port, 8 + len(payload), 0) + payload
    pseudo_header = source + destination + struct.pack("!HH", _UDP, len(datagram))
    checksum = internet_checksum(pseudo_header + datagram) or 0xFFFF
    datagram = datagram[:6] + struct.pack("!H", checksum) + datagram[8:]
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, _TTL, _UDP, 0) + source + destination
    header = header[:10] + struct.pack("!H", internet_checksum(header)) + header[12:]
    return ethernet(BROADCAST, own_mac, ETHERTYPE_IPV4, header + datagram)


def read_udp(frame: bytes, port: int) -> tuple[IPv4Address, bytes] | None:
    """Sender and payload of a whole UDP datagram to `port` in an IPv4 frame, or None."""
    if len(frame) < 14 + 28 or frame[12:14] != b"\x08\x00":
        return None
    packet = frame[14:]
    start, whole = (packet[0] & 15) * 4, int.from_bytes(packet[2:4], "big")
    if packet[0] >> 4 != 4 or start < 20 or packet[9] != _UDP or not start + 8 <= whole <= len(packet):
        return None
    if int.from_bytes(packet[6:8], "big") & 0x3FFF:  # a fragment
        return None
    _, to, length, _ = struct.unpack_from("!HHHH", packet, start)
    if to != port or not 8 <= length <= whole - start:
        return None
    return IPv4Address(packet[12:16]), packet[start + 8 : start + length]
