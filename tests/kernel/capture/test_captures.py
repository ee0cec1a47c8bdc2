"""Captures of a real cable: what is seen, in what order, and how a capture ends."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from capture_cable import WAIT_S, Body, Cable

from trenza.linux import pcapng
from trenza.linux.capture import Settings
from trenza.linux.pcapng import Direction

pytestmark = pytest.mark.kernel

InCable = Callable[[Body], None]


def test_both_ends_of_a_cable_share_a_file_in_the_order_of_time(in_cable: InCable, tmp_path: Path) -> None:
    path = tmp_path / "both.pcapng"

    def body(cable: Cable) -> None:
        settings = Settings((cable.source("host1"), cable.source("host2")), pcapng=True, expression="icmp")
        cable.captured(path, settings, lambda: cable.ping("host1", "10.0.0.2", 20))

    in_cable(body)
    packets = list(pcapng.read(path.read_bytes()))
    assert len(packets) == 80
    assert all(earlier.timestamp_ns <= later.timestamp_ns for earlier, later in pairwise(packets))
    steps = [(packet.interface.name, packet.direction) for packet in packets[:4]]
    assert steps == [
        ("host1.eth0", Direction.OUT),
        ("host2.eth0", Direction.IN),
        ("host2.eth0", Direction.OUT),
        ("host1.eth0", Direction.IN),
    ]


def test_tshark_reads_the_file(in_cable: InCable, tmp_path: Path) -> None:
    path = tmp_path / "tshark.pcapng"

    def body(cable: Cable) -> None:
        settings = Settings((cable.source("host1"),), pcapng=True, expression="icmp", comment="lab pair")
        cable.captured(path, settings, lambda: cable.ping("host1", "10.0.0.2", 2))

    in_cable(body)
    fields = ["frame.interface_name", "frame.packet_flags_direction", "icmp.type", "icmp.seq"]
    argv = ["tshark", "-n", "-r", str(path), "-T", "fields", *(word for field in fields for word in ("-e", field))]
    read = subprocess.run(argv, capture_output=True, text=True, timeout=WAIT_S, check=True)
    rows = [line.split("\t") for line in read.stdout.splitlines()]
    assert [(row[0], row[2], row[3]) for row in rows] == [
        ("host1.eth0", "8", "1"), ("host1.eth0", "0", "1"), ("host1.eth0", "8", "2"), ("host1.eth0", "0", "2"),
    ]  # fmt: skip


def test_a_whole_node_shows_each_frame_of_lo_once(in_cable: InCable, tmp_path: Path) -> None:
    path = tmp_path / "node.pcapng"

    def during(cable: Cable) -> None:
        cable.ping("host1", "127.0.0.1")
        cable.ping("host1", "10.0.0.2")

    def body(cable: Cable) -> None:
        settings = Settings((cable.source("host1", None),), pcapng=True, expression="icmp")
        cable.captured(path, settings, lambda: during(cable))

    in_cable(body)
    names = [packet.interface.name for packet in pcapng.read(path.read_bytes())]
    assert names == ["host1.lo", "host1.lo", "host1.eth0", "host1.eth0"]


def test_a_cable_that_is_made_again_is_found_again(in_cable: InCable, tmp_path: Path) -> None:
    path = tmp_path / "again.pcapng"

    def during(cable: Cable) -> None:
        cable.ping("host1", "10.0.0.2")
        cable.ip("host1", "link", "del", "eth0")
        cable.plug()
        cable.ping("host1", "10.0.0.2", 3)

    def body(cable: Cable) -> None:
        settings = Settings((cable.source("host2"),), pcapng=True, expression="icmp[icmptype] = icmp-echo")
        cable.captured(path, settings, lambda: during(cable))

    in_cable(body)
    # Binding again takes a moment in which frames may pass unseen; the last ones are there.
    assert len(list(pcapng.read(path.read_bytes()))) >= 2


def test_a_vlan_tag_is_seen_and_filtered_as_on_the_wire(in_cable: InCable, tmp_path: Path) -> None:
    path = tmp_path / "vlan.pcapng"
    frames = [
        bytes.fromhex("ffffffffffff020000000001") + struct.pack("!HHH", 0x8100, number, 0x88B5) + bytes(46)
        for number in (10, 11)
    ]

    def during(cable: Cable) -> None:
        with cable.home.inside(cable.source("host1").netns):
            sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        with sender:
            sender.bind(("eth0", 0))
            for frame in frames:
                sender.send(frame)

    def body(cable: Cable) -> None:
        settings = Settings((cable.source("host2"),), pcapng=True, expression="vlan 10")
        cable.captured(path, settings, lambda: during(cable))

    in_cable(body)
    assert [packet.data for packet in pcapng.read(path.read_bytes())] == [frames[0]]


def test_it_ends_at_its_count_and_snaps(in_cable: InCable, tmp_path: Path) -> None:
    path = tmp_path / "count.pcapng"

    def body(cable: Cable) -> None:
        with path.open("wb") as file:
            settings = Settings(
                (cable.source("host1"),), file.fileno(), pcapng=True, expression="icmp", snaplen_bytes=40, max_frames=3
            )
            with cable.capturing(settings) as running:
                cable.ping("host1", "10.0.0.2", 5)
                assert running.wait() == 0
        assert running.said[0] == {"event": "listening", "on": ["host1.eth0"], "filter": "icmp"}
        assert running.said[-1] == {"event": "ended", "frames": 3, "dropped": 0}

    in_cable(body)
    packets = list(pcapng.read(path.read_bytes()))
    assert [(len(packet.data), packet.original_bytes) for packet in packets] == [(40, 98)] * 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_everything_written(in_cable: InCable, tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "signal.pcapng"

    def body(cable: Cable) -> None:
        with path.open("wb") as file:
            settings = Settings((cable.source("host1"),), file.fileno(), pcapng=True, expression="icmp")
            with cable.capturing(settings) as running:
                cable.ping("host1", "10.0.0.2", 2)
                running.process.send_signal(number)
                assert running.wait() == 0
                assert running.said[-1]["frames"] == 4

    in_cable(body)
    assert len(list(pcapng.read(path.read_bytes()))) == 4


def test_it_ends_when_its_time_is_up(in_cable: InCable) -> None:
    def body(cable: Cable) -> None:
        with open(os.devnull, "wb") as nowhere:
            settings = Settings((cable.source("host1"),), nowhere.fileno(), max_s=0.2)
            with cable.capturing(settings) as running:
                assert running.wait() == 0

    in_cable(body)


def test_it_ends_when_its_reader_leaves_though_nothing_is_sent(in_cable: InCable) -> None:
    def body(cable: Cable) -> None:
        reader, output = os.pipe()
        with cable.capturing(Settings((cable.source("host1"),), output, pcapng=True)) as running:
            os.close(output)
            os.close(reader)
            assert running.wait() == 0

    in_cable(body)


def test_a_reader_that_does_not_read_cannot_hold_it(in_cable: InCable) -> None:
    def body(cable: Cable) -> None:
        reader, output = os.pipe()
        with cable.capturing(Settings((cable.source("host1"),), output, pcapng=True)) as running:
            os.close(output)
            cable.run("host1", "ping", "-n", "-q", "-c", "200", "-i", "0.001", "-s", "1400", "10.0.0.2")
            running.close_control()
            assert running.wait() == 0
        os.close(reader)

    in_cable(body)


def test_lines_come_while_it_runs(in_cable: InCable) -> None:
    def body(cable: Cable) -> None:
        reader, output = os.pipe()
        with cable.capturing(Settings((cable.source("host1"),), output, expression="arp or icmp")) as running:
            os.close(output)
            assert running.ready
            cable.ping("host1", "10.0.0.2")
            with os.fdopen(reader, encoding="utf-8") as lines:
                first = [lines.readline() for _ in range(4)]
        assert first[0].split()[:3] == ["0.000000", "host1.eth0", "out"]
        assert first[0].rstrip().endswith("→ broadcast ARP who-has 10.0.0.2 tell 10.0.0.1")
        assert "10.0.0.1 → 10.0.0.2 ICMP echo request id" in first[2]
        assert "10.0.0.2 → 10.0.0.1 ICMP echo reply id" in first[3]

    in_cable(body)


def test_a_bad_expression_is_refused_in_tcpdumps_words(in_cable: InCable) -> None:
    def body(cable: Cable) -> None:
        with cable.capturing(Settings((cable.source("host1"),), expression="icmp or frob 3")) as running:
            assert not running.ready
            assert running.wait() == 2
        (error,) = running.said
        assert error["code"] == "usage"
        assert "syntax error" in error["message"]
        assert error["message"].startswith("bad capture filter 'icmp or frob 3': ")

    in_cable(body)


def test_an_interface_that_is_not_there_is_named_beside_those_that_are(in_cable: InCable) -> None:
    def body(cable: Cable) -> None:
        with cable.capturing(Settings((cable.source("host1", "eth7"),))) as running:
            assert running.wait() == 2
        (error,) = running.said
        assert error["message"] == "host1 has no interface 'eth7'"
        assert error["hint"] == "it has: lo, eth0"

    in_cable(body)


def test_a_full_disk_is_said(in_cable: InCable) -> None:
    def body(cable: Cable) -> None:
        full = os.open("/dev/full", os.O_WRONLY)
        with cable.capturing(Settings((cable.source("host1"),), full, pcapng=True)) as running:
            assert running.wait() == 1
        assert running.said[-1]["message"] == "cannot write the capture: No space left on device"

    in_cable(body)
