"""DHCP as bytes: a DISCOVER, and the OFFER in what was received (RFC 2131, RFC 2132). No socket here."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

SERVER_PORT: Final = 67
CLIENT_PORT: Final = 68

_FIXED: Final = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s4s")
_MAGIC: Final = b"\x63\x82\x53\x63"
_REQUEST, _REPLY = 1, 2
_BROADCAST: Final = 0x8000
_DISCOVER, _OFFER = 1, 2
_PAD, _NETMASK, _ROUTER, _DNS, _LEASE, _KIND, _SERVER, _WANTED, _END = 0, 1, 3, 6, 51, 53, 54, 55, 255


@dataclass(frozen=True, slots=True)
class DhcpOffer:
    """What a server would lease. `server` is its identifier, else who sent the offer."""

    address: IPv4Address
    server: IPv4Address
    netmask: IPv4Address | None
    router: IPv4Address | None
    dns: tuple[IPv4Address, ...]
    lease_s: int | None


def discover_message(transaction: int, mac: bytes) -> bytes:
    """A DISCOVER of a client with this MAC that wants to be answered by broadcast."""
    none = bytes(4)
    fixed = _FIXED.pack(
        _REQUEST, 1, 6, 0, transaction, 0, _BROADCAST, none, none, none, none, mac.ljust(16, b"\0"), b"", b"", _MAGIC
    )
    wanted = bytes((_NETMASK, _ROUTER, _DNS, _LEASE, _SERVER))
    options = bytes((_KIND, 1, _DISCOVER, _WANTED, len(wanted))) + wanted + bytes((_END,))
    return (fixed + options).ljust(300, b"\0")  # BOOTP's least, which some servers insist on


def read_offer(payload: bytes, transaction: int, mac: bytes, sender: IPv4Address) -> DhcpOffer | None:
    """The OFFER to that client and question in a datagram, or None for everything else."""
    if len(payload) < _FIXED.size:
        return None
    operation, _, _, _, number, _, _, _, yours, _, _, hardware, _, _, magic = _FIXED.unpack_from(payload)
    if (operation, number, hardware[: len(mac)], magic) != (_REPLY, transaction, mac, _MAGIC):
        return None
    options = dict(_options(payload[_FIXED.size :]))
    if options.get(_KIND) != bytes((_OFFER,)):
        return None
    lease = options.get(_LEASE, b"")
    return DhcpOffer(
        IPv4Address(yours),
        next(_addresses(options.get(_SERVER, b"")), sender),
        next(_addresses(options.get(_NETMASK, b"")), None),
        next(_addresses(options.get(_ROUTER, b"")), None),
        tuple(_addresses(options.get(_DNS, b""))),
        int.from_bytes(lease, "big") if len(lease) == 4 else None,
    )


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Options as far as they are whole."""
    at = 0
    while at < len(data) and data[at] != _END:
        if data[at] == _PAD:
            at += 1
            continue
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            return
        yield data[at], data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]


def _addresses(data: bytes) -> Iterator[IPv4Address]:
    return (IPv4Address(data[at : at + 4]) for at in range(0, len(data) - 3, 4))
