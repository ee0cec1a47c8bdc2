"""What frames look like in words, and that no bytes whatever upset it."""

from __future__ import annotations

import struct

import pytest
from handmade import (
    arp,
    bpdu,
    config_bpdu,
    dns_name,
    ethernet,
    ipv4,
    over_ip4,
    over_ip6,
    tcp,
    udp,
)  # fmt: skip
from hypothesis import given
from hypothesis import strategies as st

from trenza.linux.dissect import summary
from trenza.linux.pcapng import LINKTYPE_RAW_IP

ECHO = struct.pack("!BBHHH", 8, 0, 0, 77, 3) + bytes(56)
ND_TARGET = bytes.fromhex("fd000000000000000000000000000009")
ALL_NODES = bytes.fromhex("ff0200000000000000000001ff000009")
DNS_QUESTION = dns_name("www.lab") + struct.pack("!HH", 1, 1)
DNS_RECORD = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + bytes((10, 0, 0, 9))
DHCP_OFFER = (
    bytes(16) + bytes((10, 0, 0, 50)) + bytes(8) + bytes.fromhex("020000aabb01") + bytes(202)
    + b"\x63\x82\x53\x63" + b"\x35\x01\x02" + b"\x36\x04\x0a\x00\x00\x01" + b"\x33\x04\x00\x00\x0e\x10" + b"\xff"
)  # fmt: skip

IN_WORDS = {
    "arp request": (
        arp(1, "10.0.0.1", "10.0.0.2"),
        "…aa:bb:01 → broadcast ARP who-has 10.0.0.2 tell 10.0.0.1",
    ),
    "arp reply": (
        arp(2, "10.0.0.2", "10.0.0.1", destination=bytes.fromhex("020000aabb02")),
        "…aa:bb:01 → …aa:bb:02 ARP 10.0.0.2 is-at 02:00:00:aa:bb:01",
    ),
    "gratuitous arp request": (
        arp(1, "10.0.0.9", "10.0.0.9"),
        "…aa:bb:01 → broadcast ARP gratuitous who-has 10.0.0.9, is-at 02:00:00:aa:bb:01",
    ),
    "gratuitous arp reply": (
        arp(2, "10.0.0.9", "10.0.0.9"),
        "…aa:bb:01 → broadcast ARP gratuitous 10.0.0.9 is-at 02:00:00:aa:bb:01",
    ),
    "arp probe": (arp(1, "0.0.0.0", "10.0.0.9"), "…aa:bb:01 → broadcast ARP probe who-has 10.0.0.9"),
    "echo request": (over_ip4(ECHO, 1), "10.0.0.1 → 10.0.0.2 ICMP echo request id 77 seq 3 (56 bytes)"),
    "a router was crossed": (
        over_ip4(ECHO, 1, ttl=63),
        "10.0.0.1 → 10.0.0.2 ICMP echo request id 77 seq 3 (56 bytes) ttl 63",
    ),
    "echo reply over ipv6": (
        over_ip6(struct.pack("!BBHHH", 129, 0, 0, 5, 1) + bytes(8), 58),
        "fd00::1 → fd00::2 ICMPv6 echo reply id 5 seq 1 (8 bytes)",
    ),
    "port unreachable": (
        over_ip4(struct.pack("!BBHI", 3, 3, 0, 0) + ipv4(udp(b"", 40000, 33434), 17, "10.0.0.2", "10.0.0.1"), 1),
        "10.0.0.1 → 10.0.0.2 ICMP unreachable: port (for 10.0.0.2 → 10.0.0.1 UDP 40000 → 33434)",
    ),
    "fragmentation needed": (
        over_ip4(struct.pack("!BBHHH", 3, 4, 0, 0, 1450) + ipv4(ECHO, 1), 1),
        "10.0.0.1 → 10.0.0.2 ICMP unreachable: fragmentation needed mtu 1450 "
        "(for 10.0.0.1 → 10.0.0.2 ICMP id 77 seq 3)",
    ),
    "time exceeded": (
        over_ip4(struct.pack("!BBHI", 11, 0, 0, 0) + ipv4(ECHO, 1, ttl=1), 1),
        "10.0.0.1 → 10.0.0.2 ICMP time exceeded in transit (for 10.0.0.1 → 10.0.0.2 ICMP id 77 seq 3)",
    ),
    "neighbour solicitation": (
        over_ip6(struct.pack("!BBHI", 135, 0, 0, 0) + ND_TARGET + b"\x01\x01\x02\x00\x00\xaa\xbb\x01", 58),
        "fd00::1 → fd00::2 ICMPv6 neighbour solicitation who-has fd00::9 from 02:00:00:aa:bb:01",
    ),
    "neighbour advertisement": (
        over_ip6(struct.pack("!BBHI", 136, 0, 0, 0x60000000) + ND_TARGET + b"\x02\x01\x02\x00\x00\xaa\xbb\x01", 58),
        "fd00::1 → fd00::2 ICMPv6 neighbour advertisement fd00::9 at 02:00:00:aa:bb:01 (solicited, override)",
    ),
    "router advertisement": (
        over_ip6(
            struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
            + bytes((3, 4, 64, 0xC0)) + bytes(12) + bytes.fromhex("fd00000000000000") + bytes(8),
            58,
        ),
        "fd00::1 → fd00::2 ICMPv6 router advertisement lifetime 1800 s prefix fd00::/64",
    ),
    "mld report": (
        over_ip6(struct.pack("!BBHHH", 143, 0, 0, 0, 1) + struct.pack("!BBH", 4, 0, 0) + ALL_NODES, 58),
        "fd00::1 → fd00::2 ICMPv6 MLDv2 report ff02::1:ff00:9",
    ),
    "tcp syn": (over_ip4(tcp(b"", 40000, 80, 2, 5), 6), "10.0.0.1:40000 → 10.0.0.2:80 TCP SYN seq 5 len 0"),
    "http request": (
        over_ip4(tcp(b"GET /a HTTP/1.1\r\nHost: x\r\n", 40000, 80, 24, 6, 9), 6),
        "10.0.0.1:40000 → 10.0.0.2:80 TCP PSH ACK seq 6 ack 9 len 26 HTTP GET /a HTTP/1.1",
    ),
    "http answer with an escape sequence": (
        over_ip4(tcp(b"HTTP/1.1 200 \x1b[31mred\n", 80, 40000, 16, 6, 9), 6),
        "10.0.0.1:80 → 10.0.0.2:40000 TCP ACK seq 6 ack 9 len 22 HTTP/1.1 200 \\x1b[31mred",
    ),
    "udp over ipv6": (over_ip6(udp(b"hello", 1000, 2000), 17), "[fd00::1]:1000 → [fd00::2]:2000 UDP len 5"),
    "dns query": (
        over_ip4(udp(struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + DNS_QUESTION, 5353, 53), 17),
        "10.0.0.1:5353 → 10.0.0.2:53 DNS query A www.lab id 7",
    ),
    "dns answer": (
        over_ip4(udp(struct.pack("!6H", 7, 0x8180, 1, 1, 0, 0) + DNS_QUESTION + DNS_RECORD, 53, 999), 17),
        "10.0.0.1:53 → 10.0.0.2:999 DNS answer www.lab A 10.0.0.9 id 7",
    ),
    "dns no such name": (
        over_ip4(udp(struct.pack("!6H", 7, 0x8183, 1, 0, 0, 0) + DNS_QUESTION, 53, 999), 17),
        "10.0.0.1:53 → 10.0.0.2:999 DNS answer no such name: A www.lab id 7",
    ),
    "dns pointer in a circle": (
        over_ip4(udp(struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + b"\xc0\x0c", 999, 53), 17),
        "10.0.0.1:999 → 10.0.0.2:53 DNS [cut short]",
    ),
    "dhcp offer": (
        over_ip4(udp(DHCP_OFFER, 67, 68), 17),
        "10.0.0.1:67 → 10.0.0.2:68 DHCP offer for 02:00:00:aa:bb:01 address 10.0.0.50 server 10.0.0.1 lease 3600 s",
    ),
    "vxlan": (
        over_ip4(udp(struct.pack("!II", 0x08000000, 42 << 8) + over_ip4(ECHO, 1, source="192.168.1.11"), 1, 4789), 17),
        "10.0.0.1:1 → 10.0.0.2:4789 VXLAN VNI 42 "
        "( 192.168.1.11 → 10.0.0.2 ICMP echo request id 77 seq 3 (56 bytes) )",
    ),
    "vxlan on flannel's port": (
        over_ip4(udp(struct.pack("!II", 0x08000000, 1 << 8) + arp(1, "10.0.0.1", "10.0.0.2"), 1, 8472), 17),
        "10.0.0.1:1 → 10.0.0.2:8472 VXLAN VNI 1 ( …aa:bb:01 → broadcast ARP who-has 10.0.0.2 tell 10.0.0.1 )",
    ),
    "vlan": (
        ethernet(struct.pack("!HH", 0x600A, 0x0800) + ipv4(ECHO, 1), 0x8100),
        "VLAN 10 priority 3, 10.0.0.1 → 10.0.0.2 ICMP echo request id 77 seq 3 (56 bytes)",
    ),
    "config bpdu": (
        config_bpdu(0x81),
        "…aa:bb:01 → all bridges STP config root 1000.020000000001 cost 4 bridge 8000.020000000002 "
        "port 8002 age 1/20 hello 2 delay 15 (TC, TCA)",
    ),
    "rapid bpdu": (
        config_bpdu(0x3C, kind=2),
        "…aa:bb:01 → all bridges RSTP root 1000.020000000001 cost 4 bridge 8000.020000000002 "
        "port 8002 age 1/20 hello 2 delay 15 (role designated, learning, forwarding)",
    ),
    "topology change notification": (
        bpdu(b"\0\0\0\x80"),
        "…aa:bb:01 → all bridges STP topology change notification (TCN)",
    ),
    "vrrp 2": (
        over_ip4(
            bytes((0x21, 12, 150, 1, 0, 1, 0, 0)) + bytes((172, 16, 1, 254)) + bytes(8), 112,
            source="172.16.1.250", destination="224.0.0.18", ttl=255,
        ),
        "172.16.1.250 → 224.0.0.18 VRRPv2 advertisement vrid 12 priority 150 every 1 s addresses 172.16.1.254",
    ),
    "vrrp 3 leaving": (
        over_ip6(bytes((0x31, 12, 0, 1, 0, 100, 0, 0)) + ND_TARGET, 112),
        "fd00::1 → fd00::2 VRRPv3 advertisement vrid 12 priority 0 (leaving) every 1 s addresses fd00::9",
    ),
    "later fragment": (
        ethernet(ipv4(bytes(16), 17)[:6] + struct.pack("!H", 185) + ipv4(bytes(16), 17)[8:], 0x0800),
        "10.0.0.1 → 10.0.0.2 IPv4 fragment id 7 offset 1480 length 16",
    ),
    "unknown ethertype": (ethernet(bytes(46), 0x88B5), "…aa:bb:01 → …aa:bb:02 ethertype 0x88b5 length 46"),
    "nothing": (b"", "0 bytes [cut short]"),
}  # fmt: skip


@pytest.mark.parametrize(("frame", "words"), IN_WORDS.values(), ids=IN_WORDS.keys())
def test_a_frame_in_words(frame: bytes, words: str) -> None:
    assert summary(frame) == words


def test_padding_after_a_short_packet_is_not_counted() -> None:
    frame = over_ip4(tcp(b"", 40000, 80, 16), 6)
    assert summary(frame + bytes(6)) == summary(frame)


def test_a_packet_without_a_frame_around_it() -> None:
    assert summary(ipv4(ECHO, 1), link_type=LINKTYPE_RAW_IP) == summary(over_ip4(ECHO, 1))


def test_tunnels_in_tunnels_come_to_an_end() -> None:
    frame = over_ip4(ECHO, 1)
    for _ in range(20):
        frame = over_ip4(udp(struct.pack("!II", 0x08000000, 0) + frame, 1, 4789), 17)
    assert "a tunnel too deep" in summary(frame)


def shows(words: str) -> bool:
    return words.isprintable() and "\n" not in words


@given(st.binary(max_size=200))
def test_no_bytes_upset_it(data: bytes) -> None:
    assert shows(summary(data))
    assert shows(summary(data, link_type=LINKTYPE_RAW_IP))


@given(
    st.sampled_from([1, 2, 4, 6, 17, 41, 58, 89, 112]),
    st.sampled_from([53, 67, 80, 546, 4789, 8472, 9999]),
    st.binary(max_size=300),
)
def test_no_payload_upsets_it(protocol: int, port: int, data: bytes) -> None:
    for payload in (data, struct.pack("!HHHH", port, port, 8 + len(data), 0) + data):
        assert shows(summary(over_ip4(payload, protocol)))
        assert shows(summary(over_ip6(payload, protocol)))


@given(st.sampled_from([frame for frame, _ in IN_WORDS.values()]), st.data())
def test_no_damage_to_a_good_frame_upsets_it(frame: bytes, data: st.DataObject) -> None:
    damaged = bytearray(frame[: data.draw(st.integers(0, len(frame)))])
    for _ in range(3 if damaged else 0):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    assert shows(summary(bytes(damaged)))
