"""What the filter of an uplink lets pass, by frames that are sent through it in a namespace without a way out."""

from __future__ import annotations

import socket
import struct
import subprocess
import time

import pytest
from grounds import bridge, end, ground, node

from trenza.linux.uplink_filter import INTERNET, LOOPBACK, PRIVATE, rules
from trenza.linux.uplink_holder import RELAY
from trenza.model.names import NodeName
from trenza.model.state import NodeKind, State, Sysctl, veth

pytestmark = pytest.mark.kernel

UPLINK = NodeName("nat")
TCP, UDP, ICMP = 6, 17, 1
OUTSIDE = ("1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "192.169.0.1", "223.255.255.254")
PRIVATE_ONES = ("10.0.0.1", "10.255.255.254", "100.64.0.1", "172.16.0.1", "172.31.9.9", "192.168.1.1", "198.18.0.1")
NEVER = ("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.9.9.9", "169.254.169.254", "224.0.0.1", "239.1.1.1", "240.0.0.1")


def state() -> State:
    quiet = [Sysctl(NodeName(name), "net.ipv6.conf.default.disable_ipv6", "1") for name in ("h", UPLINK)]
    return State.of(
        [
            *node("h"), *node(UPLINK, NodeKind.UPLINK), *quiet, bridge(UPLINK, "lan"),
            veth(end("h", "eth0"), end(UPLINK, "up", "lan")),
            veth(end(UPLINK, RELAY), end(UPLINK, "slirp", "lan")),
        ]
    )  # fmt: skip


def ip_frame(destination: str, protocol: int = TCP, port: int = 80) -> bytes:
    payload = struct.pack("!HHHHI", 40000, port, 12, 0, 0) + bytes(8)
    if protocol == ICMP:
        payload = struct.pack("!BBHI", 8, 0, 0, 0)
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0)
    header += socket.inet_aton("10.0.2.15") + socket.inet_aton(destination)
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack("!H", ~total & 0xFFFF) + header[12:]
    return bytes.fromhex("52550a000202 020000000001 0800") + header + payload


def passing(frames: dict[str, bytes], grants: tuple[str, ...]) -> set[str]:
    """The names of the frames that come out where the holder reads."""
    with ground() as there:
        there.become(state())
        handles = there.kernel.alive()
        home = there.home
        with home.inside(handles[UPLINK].netns):
            subprocess.run(["/usr/sbin/nft", "-f", "-"], input=rules(grants), text=True, check=True)
            reader = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            reader.setsockopt(263, 23, 1)
            reader.bind((RELAY, 3))
        with home.inside(handles[NodeName("h")].netns):
            writer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            writer.bind(("eth0", 3))
        by_frame = {frame: name for name, frame in frames.items()}
        found = set()
        last = bytes.fromhex("ffffffffffff 020000000001 0806") + b"last" + bytes(42)  # any ARP passes, if anything does
        for frame in (*frames.values(), last):
            writer.send(frame)
        reader.settimeout(0.5 if not grants else 5)
        until = time.monotonic() + 5
        while time.monotonic() < until:
            try:
                frame = reader.recv(2000)
            except TimeoutError:
                break
            if frame == last:
                break
            if frame in by_frame:
                found.add(by_frame[frame])
        return found


def test_public_addresses_pass_and_no_others() -> None:
    everywhere = {ip: ip_frame(ip) for ip in (*OUTSIDE, *PRIVATE_ONES, *NEVER, "255.255.255.255", "10.0.2.2")}
    assert passing(everywhere, (INTERNET,)) == set(OUTSIDE)
    assert passing(everywhere, (INTERNET, PRIVATE)) == {*OUTSIDE, *PRIVATE_ONES}
    assert passing(everywhere, (INTERNET, LOOPBACK)) == {*OUTSIDE, "10.0.2.2"}
    assert passing(everywhere, ()) == set()


def test_of_the_uplinks_own_network_only_its_services_are_reached() -> None:
    frames = {
        "dns": ip_frame("10.0.2.3", UDP, 53),
        "dns over tcp": ip_frame("10.0.2.3", TCP, 53),
        "renewal": ip_frame("10.0.2.2", UDP, 67),
        "discover": ip_frame("255.255.255.255", UDP, 67),
        "echo": ip_frame("10.0.2.2", ICMP),
        "ssh to the gateway": ip_frame("10.0.2.2", TCP, 22),
        "ssh to the name server": ip_frame("10.0.2.3", TCP, 22),
        "tftp": ip_frame("10.0.2.2", UDP, 69),
        "smb": ip_frame("10.0.2.4", TCP, 445),
        "broadcast": ip_frame("255.255.255.255", UDP, 137),
        "ipv6": bytes.fromhex("52550a000202 020000000001 86dd 60000000 0000 3b40") + bytes(32),
        "bpdu": bytes.fromhex("0180c2000000 020000000001 0026 424203") + bytes(35),
    }
    assert passing(frames, (INTERNET,)) == {"dns", "dns over tcp", "renewal", "discover", "echo"}
