"""ICMP as bytes: echo answers, errors about a request, and the addresses of a recorded route. No socket here."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from typing import Final

from trenza.model.state import IpAddress

ECHO_REPLY: Final = {4: 0, 6: 129}
ECHO_REQUEST: Final = {4: 8, 6: 128}
_HEADER_BYTES: Final = {4: 20, 6: 40}
_ERRORS: Final = {4: frozenset({3, 11, 12}), 6: frozenset({1, 2, 3, 4})}
"""Unreachable, time exceeded, parameter problem; in IPv6 too big as well (RFC 792, RFC 4443)."""

TIME_EXCEEDED: Final = {4: 11, 6: 3}
_IPPROTO: Final = {4: 1, 6: 58}
_FRAGMENT: Final = 44

_RECORD_ROUTE: Final = 7
_END_OF_OPTIONS: Final = 0
_NO_OPERATION: Final = 1
_ROUTE_SLOTS: Final = 9
RECORD_ROUTE_OPTION: Final = (
    bytes((_NO_OPERATION, _RECORD_ROUTE, 3 + 4 * _ROUTE_SLOTS, 4)) + bytes(4 * _ROUTE_SLOTS)
)  # fmt: skip
"""What asks every machine on the way, out and back, to write its address into the packet (RFC 791, section 3.1)."""


@dataclass(frozen=True, slots=True)
class EchoReply:
    """An answer: which request, and what its IP header brought along (`ttl` only in IPv4)."""

    identifier: int
    sequence: int
    ttl: int | None
    route: tuple[IPv4Address, ...] | None


@dataclass(frozen=True, slots=True)
class IcmpError:
    """Somebody's ICMP error about a request. `mtu_bytes` where it said which packet would have passed."""

    sender: IpAddress
    type: int
    code: int
    mtu_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Blamed:
    """An error, and the echo request that it quotes."""

    error: IcmpError
    identifier: int
    sequence: int


def recorded_route(options: bytes) -> tuple[IPv4Address, ...] | None:
    """The addresses in an IPv4 header's options, in the order of the way; None if no route was recorded."""
    at = 0
    while at < len(options) and options[at] != _END_OF_OPTIONS:
        if options[at] == _NO_OPERATION:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if length < 2 or at + length > len(options):
            return None
        if options[at] == _RECORD_ROUTE:
            if length < 3:
                return None
            pointer = options[at + 2]  # counts from 1, and names the first free place
            filled = options[at + 3 : at + min(pointer - 1, length)] if pointer >= 4 else b""
            return tuple(IPv4Address(filled[place : place + 4]) for place in range(0, len(filled) - 3, 4))
        at += length
    return None


def read_echo_reply(version: int, packet: bytes) -> EchoReply | None:
    """The echo reply that a raw socket received, or None. IPv4 packets come with their header, IPv6 ones without."""
    start = _payload_start(version, packet) if version == 4 else 0
    if start is None or len(packet) < start + 8 or packet[start] != ECHO_REPLY[version]:
        return None
    identifier, sequence = struct.unpack_from("!HH", packet, start + 4)
    if version == 6:
        return EchoReply(identifier, sequence, None, None)
    return EchoReply(identifier, sequence, packet[8], recorded_route(packet[20:start]))


def read_error(version: int, packet: bytes, sender: IpAddress) -> Blamed | None:
    """The ICMP error about an echo request that a raw socket received, or None."""
    start = _payload_start(version, packet) if version == 4 else 0
    if start is None or len(packet) < start + 8 or packet[start] not in _ERRORS[version]:
        return None
    kind, code, _, high, low = struct.unpack_from("!BBHHH", packet, start)
    mtu_bytes = None
    if version == 4 and (kind, code) == (3, 4):
        mtu_bytes = low or None
    elif version == 6 and kind == 2:
        mtu_bytes = high << 16 | low
    quoted = packet[start + 8 :]
    inner = _payload_start(version, quoted)
    if inner is None or len(quoted) < inner + 8 or quoted[inner] != ECHO_REQUEST[version]:
        return None
    identifier, sequence = struct.unpack_from("!HH", quoted, inner + 4)
    return Blamed(IcmpError(sender, kind, code, mtu_bytes), identifier, sequence)


def _payload_start(version: int, packet: bytes) -> int | None:
    """Where ICMP begins in a packet with an IP header; None if it holds none or is cut short."""
    if len(packet) < _HEADER_BYTES[version] or packet[0] >> 4 != version:
        return None
    if version == 4:
        start = (packet[0] & 15) * 4
        return start if packet[9] == _IPPROTO[4] and 20 <= start <= len(packet) else None
    following, start = packet[6], 40
    if following == _FRAGMENT and len(packet) >= 48:
        following, start = packet[40], 48
    return start if following == _IPPROTO[6] else None


def address_of(text: str) -> IpAddress:
    """The address that a socket says a packet came from, its scope left out."""
    return ip_address(text.split("%", 1)[0])
