"""What is written is read back, by this reader and by tshark; what is no pcapng is refused."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from handmade import arp, over_ip4
from hypothesis import given
from hypothesis import strategies as st

from trenza.linux import pcapng
from trenza.linux.pcapng import CapturedInterface, Direction, NotPcapngError, Packet, PacketFlags

ETH0 = CapturedInterface("host1/c1.eth0", "eth0 of host1/c1", filter="arp or icmp")
LO = CapturedInterface("host1.lo", "lo of host1", snaplen_bytes=96)
NOON_NS = 1_700_000_000_123_456_789

PACKETS = (
    Packet(ETH0, NOON_NS, arp(1, "10.0.0.1", "10.0.0.2"), 60, Direction.OUT, PacketFlags.BROADCAST, "who is it?"),
    Packet(LO, NOON_NS + 1, over_ip4(b"", 1), 34, Direction.IN, PacketFlags.UNICAST | PacketFlags.CHECKSUM_NOT_READY),
    Packet(ETH0, NOON_NS + 2, b"odd", 3),
)


def test_what_is_written_is_read_back() -> None:
    assert tuple(pcapng.read(pcapng.document(PACKETS, comment="evidence"))) == PACKETS


@given(
    st.binary(max_size=70),
    st.integers(0, (1 << 64) - 1),
    st.sampled_from(Direction),
    st.text(st.characters(codec="utf-8"), max_size=20),
)
def test_any_packet_is_read_back(data: bytes, timestamp_ns: int, direction: Direction, comment: str) -> None:
    packet = Packet(ETH0, timestamp_ns, data, len(data) + 5, direction, comment=comment)
    assert list(pcapng.read(pcapng.document([packet]))) == [packet]


def test_tshark_agrees(tmp_path: Path) -> None:
    path = tmp_path / "written.pcapng"
    statistics = pcapng.interface_statistics(0, NOON_NS + 3, delivered=2, dropped=1, comment="x")
    path.write_bytes(pcapng.document(PACKETS, comment="evidence") + statistics)
    fields = ["frame.interface_name", "frame.time_epoch", "frame.len", "frame.cap_len", "frame.packet_flags_direction"]
    argv = ["tshark", "-n", "-r", str(path), "-T", "fields", *(word for field in fields for word in ("-e", field))]
    read = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    rows = [line.split("\t") for line in read.stdout.splitlines()]
    assert [row[:4] for row in rows] == [
        ["host1/c1.eth0", "1700000000.123456789", "60", "42"],
        ["host1.lo", "1700000000.123456790", "34", "34"],
        ["host1/c1.eth0", "1700000000.123456791", "3", "3"],
    ]
    assert [row[4] for row in rows] == ["0x00000002", "0x00000001", ""]


def test_another_programs_file_is_read(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.pcapng", tmp_path / "theirs.pcapng"
    ours.write_bytes(pcapng.document(PACKETS))
    argv = ["tshark", "-n", "-r", str(ours), "-w", str(theirs)]
    subprocess.run(argv, capture_output=True, timeout=30, check=True)
    read = list(pcapng.read(theirs.read_bytes()))
    assert [(one.interface.name, one.timestamp_ns, one.data, one.direction) for one in read] == [
        (one.interface.name, one.timestamp_ns, one.data, one.direction) for one in PACKETS
    ]


def test_a_big_endian_file_in_microseconds_is_read() -> None:
    def block(kind: int, body: bytes) -> bytes:
        return struct.pack(">II", kind, len(body) + 12) + body + struct.pack(">I", len(body) + 12)

    data = block(0x0A0D0D0A, struct.pack(">IHHq", 0x1A2B3C4D, 1, 0, -1)) + block(1, struct.pack(">HHI", 1, 0, 0))
    data += block(0xBAD, b"four") + block(6, struct.pack(">IIIII", 0, 0, 1_000_001, 4, 4) + b"abcd")
    (packet,) = pcapng.read(data)
    assert (packet.timestamp_ns, packet.data) == (1_000_001_000, b"abcd")


def test_a_file_whose_writer_was_killed_gives_what_is_whole() -> None:
    data = pcapng.document(PACKETS)
    assert tuple(pcapng.read(data[:-5])) == PACKETS[:2]


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\necho hello\n", bytes(40), b"\xd4\xc3\xb2\xa1" + bytes(20)])
def test_what_is_no_pcapng_is_refused(data: bytes) -> None:
    with pytest.raises(NotPcapngError):
        list(pcapng.read(data))


@given(st.data())
def test_a_damaged_file_is_read_or_refused(data: st.DataObject) -> None:
    damaged = bytearray(pcapng.document(PACKETS))
    for _ in range(4):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        list(pcapng.read(bytes(damaged)))
    except NotPcapngError:
        pass
