"""pcapng, the file format of captures: bytes out, packets in. No file is opened here.

The parts of draft-ietf-opsawg-pcapng that a capture of several interfaces needs: section header, one interface
description per interface (named `NODE.NIC`, nanoseconds), enhanced packet blocks with direction, statistics at the end.
The reader takes whatever other programs wrote within those parts, in either byte order, and skips other blocks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

LINKTYPE_ETHERNET: Final = 1
LINKTYPE_RAW_IP: Final = 101
DEFAULT_SNAPLEN_BYTES: Final = 262144

_SECTION_HEADER: Final = 0x0A0D0D0A
_INTERFACE_DESCRIPTION: Final = 1
_INTERFACE_STATISTICS: Final = 5
_ENHANCED_PACKET: Final = 6
_MAGIC: Final = 0x1A2B3C4D
_MAX_BLOCK_BYTES: Final = 16 << 20

_END: Final = 0
_COMMENT: Final = 1
_SHB_HARDWARE: Final = 2
_SHB_OS: Final = 3
_SHB_USERAPPL: Final = 4
_IF_NAME: Final = 2
_IF_DESCRIPTION: Final = 3
_IF_TSRESOL: Final = 9
_IF_FILTER: Final = 11
_IF_TSOFFSET: Final = 14
_EPB_FLAGS: Final = 2
_ISB_OSDROP: Final = 7
_ISB_USRDELIV: Final = 8


class NotPcapngError(ValueError):
    """The bytes are not pcapng, or a block in them contradicts itself."""


class Direction(IntEnum):
    """Which way a frame went at the interface where it was seen."""

    UNKNOWN = 0
    IN = 1
    OUT = 2


class PacketFlags(IntFlag):
    """What `epb_flags` says beside the direction (pcapng, section 4.3.1)."""

    NONE = 0
    UNICAST = 1 << 2
    MULTICAST = 2 << 2
    BROADCAST = 3 << 2
    PROMISCUOUS = 4 << 2
    CHECKSUM_NOT_READY = 1 << 9


@dataclass(frozen=True, slots=True)
class CapturedInterface:
    """An interface that frames were seen at. `name` is `NODE.NIC`."""

    name: str
    description: str = ""
    link_type: int = LINKTYPE_ETHERNET
    snaplen_bytes: int = DEFAULT_SNAPLEN_BYTES
    filter: str = ""


@dataclass(frozen=True, slots=True)
class Packet:
    """One captured frame: at most the first `snaplen` bytes of `original_bytes`; time since 1970 in nanoseconds."""

    interface: CapturedInterface
    timestamp_ns: int
    data: bytes
    original_bytes: int
    direction: Direction = Direction.UNKNOWN
    flags: PacketFlags = PacketFlags.NONE
    comment: str = ""


def section_header(*, application: str = "trenza", comment: str = "") -> bytes:
    """The block that every file begins with."""
    options = _text(_COMMENT, comment) + _text(_SHB_USERAPPL, application)
    return _block(_SECTION_HEADER, struct.pack("<IHHq", _MAGIC, 1, 0, -1) + _ended(options))


def interface_description(interface: CapturedInterface) -> bytes:
    """The block that declares an interface. Its number is the count of such blocks before it in the section."""
    options = _text(_IF_NAME, interface.name) + _text(_IF_DESCRIPTION, interface.description)
    options += _option(_IF_TSRESOL, b"\x09")
    if interface.filter:
        options += _option(_IF_FILTER, b"\0" + interface.filter.encode())
    fixed = struct.pack("<HHI", interface.link_type, 0, interface.snaplen_bytes)
    return _block(_INTERFACE_DESCRIPTION, fixed + _ended(options))


def enhanced_packet(number: int, packet: Packet) -> bytes:
    """The block of one frame, seen at the interface with this number."""
    fixed = struct.pack(
        "<IIIII",
        number,
        packet.timestamp_ns >> 32 & 0xFFFFFFFF,
        packet.timestamp_ns & 0xFFFFFFFF,
        len(packet.data),
        packet.original_bytes,
    )
    options = _text(_COMMENT, packet.comment)
    flags = packet.direction | packet.flags
    if flags:
        options += _option(_EPB_FLAGS, struct.pack("<I", flags))
    return _block(_ENHANCED_PACKET, fixed + _padded(packet.data) + _ended(options))


def interface_statistics(number: int, timestamp_ns: int, *, delivered: int, dropped: int, comment: str = "") -> bytes:
    """The block that closes an interface's account: frames written, and frames the kernel dropped for want of room."""
    fixed = struct.pack("<III", number, timestamp_ns >> 32 & 0xFFFFFFFF, timestamp_ns & 0xFFFFFFFF)
    options = (
        _text(_COMMENT, comment)
        + _option(_ISB_OSDROP, struct.pack("<Q", dropped))
        + _option(_ISB_USRDELIV, struct.pack("<Q", delivered))
    )
    return _block(_INTERFACE_STATISTICS, fixed + _ended(options))


def document(packets: Iterable[Packet], *, comment: str = "") -> bytes:
    """A whole file of these packets, in this order: what a slice of a capture is written with."""
    numbers: dict[CapturedInterface, int] = {}
    blocks = [section_header(comment=comment)]
    for packet in packets:
        number = numbers.get(packet.interface)
        if number is None:
            number = numbers[packet.interface] = len(numbers)
            blocks.append(interface_description(packet.interface))
        blocks.append(enhanced_packet(number, packet))
    return b"".join(blocks)


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _text(code: int, text: str) -> bytes:
    return _option(code, text.encode(errors="replace")[:0xFFFF]) if text else b""


def _ended(options: bytes) -> bytes:
    return options + bytes(4) if options else b""


@dataclass(frozen=True, slots=True)
class _Described:
    """An interface of a file being read, and its clock: units a second, seconds to add."""

    interface: CapturedInterface
    units_s: int
    offset_s: int

    def nanoseconds(self, units: int) -> int:
        return units * 1_000_000_000 // self.units_s + self.offset_s * 1_000_000_000


def read(data: bytes) -> Iterator[Packet]:
    """The packets of a file's bytes, in file order. A last block that was cut short (a killed writer) ends them.

    Raises NotPcapngError at bytes that are no pcapng.
    """
    order = "<"
    interfaces: list[_Described] = []
    at = 0
    if len(data) < 12 or struct.unpack_from("<I", data)[0] != _SECTION_HEADER:
        raise NotPcapngError("this is no pcapng file: it does not begin with a section header")
    while len(data) - at >= 12:
        kind = struct.unpack_from(order + "I", data, at)[0]
        if kind == _SECTION_HEADER:
            order, interfaces = _byte_order(data, at), []
        length = struct.unpack_from(order + "I", data, at + 4)[0]
        if length < 12 or length % 4 or length > _MAX_BLOCK_BYTES:
            raise NotPcapngError(f"the block at byte {at} says that it is {length} bytes long")
        if at + length > len(data):
            return
        if struct.unpack_from(order + "I", data, at + length - 4)[0] != length:
            raise NotPcapngError(f"the two lengths of the block at byte {at} differ")
        body = data[at + 8 : at + length - 4]
        try:
            if kind == _INTERFACE_DESCRIPTION:
                interfaces.append(_described(body, order))
            elif kind == _ENHANCED_PACKET:
                yield _packet(body, order, interfaces)
        except (struct.error, IndexError) as error:
            raise NotPcapngError(f"the block at byte {at} is too short for what it holds") from error
        at += length


def _byte_order(data: bytes, at: int) -> str:
    magic = data[at + 8 : at + 12]
    if magic == struct.pack("<I", _MAGIC):
        return "<"
    if magic == struct.pack(">I", _MAGIC):
        return ">"
    raise NotPcapngError(f"the section at byte {at} has no byte-order magic")


def _described(body: bytes, order: str) -> _Described:
    link_type, _, snaplen_bytes = struct.unpack_from(order + "HHI", body)
    options = _options(body[8:], order)
    resolution = options.get(_IF_TSRESOL, b"\x06")[0]
    units_s = 2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution
    offset_s = struct.unpack(order + "q", options[_IF_TSOFFSET])[0] if _IF_TSOFFSET in options else 0
    interface = CapturedInterface(
        name=options.get(_IF_NAME, b"").decode(errors="replace"),
        description=options.get(_IF_DESCRIPTION, b"").decode(errors="replace"),
        link_type=link_type,
        snaplen_bytes=snaplen_bytes,
        filter=options.get(_IF_FILTER, b"\0")[1:].decode(errors="replace"),
    )
    return _Described(interface, units_s, offset_s)


def _packet(body: bytes, order: str, interfaces: list[_Described]) -> Packet:
    number, high, low, captured_bytes, original_bytes = struct.unpack_from(order + "IIIII", body)
    if captured_bytes > len(body) - 20:
        raise IndexError(captured_bytes)
    described = interfaces[number]
    options = _options(body[20 + captured_bytes + -captured_bytes % 4 :], order)
    flags = struct.unpack(order + "I", options[_EPB_FLAGS])[0] if _EPB_FLAGS in options else 0
    return Packet(
        described.interface,
        described.nanoseconds(high << 32 | low),
        body[20 : 20 + captured_bytes],
        original_bytes,
        Direction(flags & 3) if flags & 3 != 3 else Direction.UNKNOWN,
        PacketFlags(flags & ~3),
        options.get(_COMMENT, b"").decode(errors="replace"),
    )


def _options(data: bytes, order: str) -> dict[int, bytes]:
    """Options by code; of a repeated one the first."""
    options: dict[int, bytes] = {}
    at = 0
    while len(data) - at >= 4:
        code, length = struct.unpack_from(order + "HH", data, at)
        if code == _END:
            break
        value = data[at + 4 : at + 4 + length]
        if len(value) < length:
            raise IndexError(length)
        options.setdefault(code, value)
        at += 4 + length + -length % 4
    return options
