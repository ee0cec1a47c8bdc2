"""Numbers, addresses and text out of a frame's bytes, none of which can be trusted."""

from __future__ import annotations

import ipaddress
import struct
from typing import Final

_MAX_TEXT: Final = 80

_GROUPS: Final = {b"\xff" * 6: "broadcast", b"\x01\x80\xc2\x00\x00\x00": "all bridges"}


class CutShortError(Exception):
    """The bytes end before what they announced: a small snap length, or a liar."""


def u8(data: bytes, at: int) -> int:
    """The byte at `at`."""
    if at >= len(data):
        raise CutShortError
    return data[at]


def u16(data: bytes, at: int) -> int:
    """The big-endian number in two bytes at `at`."""
    if at + 2 > len(data):
        raise CutShortError
    return int(struct.unpack_from("!H", data, at)[0])


def u32(data: bytes, at: int) -> int:
    """The big-endian number in four bytes at `at`."""
    if at + 4 > len(data):
        raise CutShortError
    return int(struct.unpack_from("!I", data, at)[0])


def part(data: bytes, at: int, length: int) -> bytes:
    """Exactly `length` bytes from `at`."""
    piece = data[at : at + length]
    if len(piece) < length:
        raise CutShortError
    return piece


def ipv4(data: bytes, at: int) -> str:
    """The IPv4 address at `at`."""
    return ".".join(str(octet) for octet in part(data, at, 4))


def ipv6(data: bytes, at: int) -> str:
    """The IPv6 address at `at`."""
    return str(ipaddress.IPv6Address(part(data, at, 16)))


def mac(data: bytes, at: int) -> str:
    """The whole MAC address at `at`."""
    return part(data, at, 6).hex(":")


def short_mac(data: bytes, at: int) -> str:
    """The MAC address at `at` by its last three octets, which tell a lab's interfaces apart, or a word for a group."""
    octets = part(data, at, 6)
    if octets in _GROUPS:
        return _GROUPS[octets]
    if octets[0] & 1:
        return f"multicast …{octets[3:].hex(':')}"
    return f"…{octets[3:].hex(':')}"


def escaped(text: str, longest: int = _MAX_TEXT) -> str:
    """Text that does nothing to a terminal: control and format characters as escapes, cut after `longest`."""
    cut = text[:longest]
    shown = "".join(character if character.isprintable() else _escape(character) for character in cut)
    return shown + "…" if len(text) > longest else shown


def _escape(character: str) -> str:
    return character.encode("unicode_escape", errors="replace").decode("ascii")
