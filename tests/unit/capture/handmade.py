"""Frames put together by hand, layer by layer."""

from __future__ import annotations

import ipaddress
import struct

HERE = bytes.fromhex("020000aabb01")
THERE = bytes.fromhex("020000aabb02")
BROADCAST = b"\xff" * 6


def ethernet(payload: bytes, ethertype: int, *, source: bytes = HERE, destination: bytes = THERE) -> bytes:
    return destination + source + struct.pack("!H", ethertype) + payload


def ipv4(
    payload: bytes, protocol: int, source: str = "10.0.0.1", destination: str = "10.0.0.2", ttl: int = 64
) -> bytes:
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 7, 0, ttl, protocol, 0)
    return header + ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed + payload


def ipv6(payload: bytes, protocol: int, source: str = "fd00::1", destination: str = "fd00::2") -> bytes:
    header = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 255)
    return header + ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed + payload


def udp(payload: bytes, source: int, destination: int) -> bytes:
    return struct.pack("!HHHH", source, destination, 8 + len(payload), 0) + payload


def tcp(payload: bytes, source: int, destination: int, flags: int, seq: int = 1, ack: int = 0) -> bytes:
    return struct.pack("!HHIIBBHHH", source, destination, seq, ack, 5 << 4, flags, 1024, 0, 0) + payload


def over_ip4(payload: bytes, protocol: int, **where: str | int) -> bytes:
    return ethernet(ipv4(payload, protocol, **where), 0x0800)  # type: ignore[arg-type]


def over_ip6(payload: bytes, protocol: int) -> bytes:
    return ethernet(ipv6(payload, protocol), 0x86DD)


def arp(operation: int, sender: str, target: str, *, destination: bytes = BROADCAST) -> bytes:
    addresses = ipaddress.ip_address(sender).packed, ipaddress.ip_address(target).packed
    packet = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + HERE + addresses[0] + bytes(6) + addresses[1]
    return ethernet(packet, 0x0806, destination=destination)


def bpdu(body: bytes) -> bytes:
    frame = b"\x42\x42\x03" + body
    return ethernet(frame, len(frame), destination=bytes.fromhex("0180c2000000"))


def config_bpdu(flags: int, *, kind: int = 0) -> bytes:
    root, bridge = bytes.fromhex("1000020000000001"), bytes.fromhex("8000020000000002")
    times = struct.pack("!HHHH", 256, 20 * 256, 2 * 256, 15 * 256)
    version = 2 if kind else 0
    return bpdu(
        struct.pack("!HBBB", 0, version, kind, flags) + root + struct.pack("!I", 4) + bridge + b"\x80\x02" + times
    )


def dns_name(name: str) -> bytes:
    return b"".join(bytes((len(label),)) + label.encode() for label in name.split(".")) + b"\0"
