"""What the tests stand on: small labs as states, commands in a node as a person would type them, pings."""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, ip_address, ip_interface, ip_network

from trenza.linux.bare import BareNodes
from trenza.linux.kernel import LinuxKernel
from trenza.linux.netns import Home
from trenza.model.names import Interface, NicName, NodeName, derived_mac
from trenza.model.state import (
    Address,
    Bridge,
    BridgePort,
    Loopback,
    Node,
    NodeKind,
    Route,
    State,
    Sysctl,
    Thing,
    VethEnd,
    veth,
)
from trenza.plan.diff import diff
from trenza.plan.wanted import WATCHED_SYSCTLS


def nic(node: str, name: str) -> Interface:
    return Interface(NodeName(node), NicName(name))


def end(node: str, name: str, bridge: str | None = None, *, up: bool = True, mtu_bytes: int = 1500) -> VethEnd:
    port = None if bridge is None else BridgePort(NicName(bridge))
    return VethEnd(nic(node, name), derived_mac("lab", node, name), mtu_bytes, up, port)


def node(name: str, kind: NodeKind = NodeKind.HOST, *, forwarding: bool = False) -> tuple[Thing, ...]:
    host = NodeName(name.split("/")[0]) if "/" in name else None
    made: tuple[Thing, ...] = (
        Node(NodeName(name), NodeKind.CONTAINER if host else kind, host, name.split("/")[-1]),
        Loopback(nic(name, "lo")),
    )
    return made + tuple(Sysctl(NodeName(name), one, str(int(forwarding))) for one in WATCHED_SYSCTLS)


def bridge(name: str, nic_name: str, **options: object) -> Bridge:
    return Bridge(nic(name, nic_name), derived_mac("lab", name, nic_name), **options)  # type: ignore[arg-type]


def address(name: str, nic_name: str, text: str) -> Address:
    return Address(nic(name, nic_name), ip_interface(text))


def route(name: str, to: str, via: str | None, dev: str | None, metric: int = 0) -> Route:
    return Route(NodeName(name), ip_network(to), None if via is None else ip_address(via), dev and NicName(dev), metric)  # type: ignore[arg-type]


def star(hosts: int) -> State:
    """Hosts h0… at one switch, 10.0.0.1 and up."""
    things: list[Thing] = [*node("lan", NodeKind.SWITCH), bridge("lan", "lan")]
    for number in range(hosts):
        name = f"h{number}"
        things += node(name)
        things.append(veth(end(name, "eth0"), end("lan", f"{name}-eth0", "lan")))
        things.append(Address(nic(name, "eth0"), IPv4Interface((IPv4Address("10.0.0.1") + number, 16))))
        things.append(route(name, "0.0.0.0/0", "10.0.255.254", "eth0"))
    return State.of(things)


def line(routers: int) -> State:
    """Routers r0…, each with a /30 to the next and a route to every further one."""
    things: list[Thing] = []
    for number in range(routers):
        name = f"r{number}"
        things += node(name, forwarding=True)
        if number:
            here = IPv4Address("10.0.0.0") + 4 * (number - 1)
            things.append(veth(end(f"r{number - 1}", "right"), end(name, "left")))
            things.append(Address(nic(f"r{number - 1}", "right"), IPv4Interface((here + 1, 30))))
            things.append(Address(nic(name, "left"), IPv4Interface((here + 2, 30))))
        for other in range(routers - 1):
            if other not in (number - 1, number):
                to = str(IPv4Address("10.0.0.0") + 4 * other) + "/30"
                side = 1 if other > number else -1
                hop = IPv4Address("10.0.0.0") + (4 * number + 2 if side > 0 else 4 * (number - 1) + 1)
                things.append(route(name, to, str(hop), "right" if side > 0 else "left"))
    return State.of(things)


@dataclass
class Ground:
    """A kernel under test and its nodes."""

    nodes: BareNodes
    kernel: LinuxKernel
    home: Home

    def become(self, wanted: State) -> State:
        """Make the kernel hold `wanted`; what is there then, which must be the same."""
        self.kernel.perform(diff(self.kernel.observe(wanted), wanted))
        there = self.kernel.observe(wanted)
        assert there == wanted, diff(there, wanted)
        return there

    def run(self, name: str, command: str, *, check: bool = True) -> str:
        """The output of a command typed in a node."""
        netns = self.nodes.alive()[NodeName(name)].netns
        done = subprocess.run(
            ["nsenter", f"--net=/proc/{os.getpid()}/fd/{netns}", "sh", "-c", command],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, text=True, capture_output=True, check=False, timeout=20,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def pings(self, name: str, to: str, *, deadline_s: float = 5, ttl: int = 64) -> bool:
        """Whether an echo request from the node is answered before the deadline; one is sent every 20 ms."""
        v4 = ip_address(to).version == 4
        with self._icmp(name, v4=v4) as sock:
            if v4:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
            body = struct.pack("!HH", 77, 1)
            request = struct.pack("!BBH", 8, 0, 0xFFFF - 0x0800 - 78) + body if v4 else b"\x80\0\0\0" + body
            deadline = time.monotonic() + deadline_s
            sock.settimeout(0.02)
            while time.monotonic() < deadline:
                try:
                    sock.sendto(request, (to, 0))
                    while True:
                        answer, source = sock.recvfrom(256)
                        if source[0] == to and answer[20 if v4 else 0] == (0 if v4 else 129):
                            return True
                except TimeoutError:
                    continue
                except OSError:
                    time.sleep(0.005)
        return False

    def _icmp(self, name: str, *, v4: bool) -> socket.socket:
        with self.home.inside(self.nodes.alive()[NodeName(name)].netns):
            protocol = socket.getprotobyname("icmp") if v4 else 58
            return socket.socket(socket.AF_INET if v4 else socket.AF_INET6, socket.SOCK_RAW, protocol)

    def silence_s(self, name: str, to: str, fault: Callable[[], object], *, deadline_s: float) -> float:
        """The longest time without an answer to IPv4 echo requests, one every 20 ms, around a fault.

        Ends when answers have come for a second after a silence, or at the deadline.
        """
        request = struct.pack("!BBHHH", 8, 0, 0xFFFF - 0x0800 - 78, 77, 1)
        longest, silent_until = 0.0, 0.0
        with self._icmp(name, v4=True) as sock:
            sock.setblocking(False)
            assert self.pings(name, to)
            fault()
            begun = last = time.monotonic()
            while (now := time.monotonic()) < begun + deadline_s:
                try:
                    sock.sendto(request, (to, 0))
                except OSError:
                    pass  # no neighbour yet
                select.select([sock], [], [], 0.02)
                while select.select([sock], [], [], 0)[0]:
                    answer, source = sock.recvfrom(256)
                    if source[0] == to and answer[20] == 0:
                        longest = max(longest, now - last)
                        silent_until = now if now - last > 0.5 else silent_until
                        last = now
                if silent_until and now > silent_until + 1 and now - last < 0.5:
                    return longest
                time.sleep(max(0.0, now + 0.02 - time.monotonic()))
        return max(longest, time.monotonic() - last)


@contextmanager
def ground() -> Iterator[Ground]:
    """An empty kernel."""
    home = Home()
    with BareNodes() as nodes:
        kernel = LinuxKernel(nodes)
        try:
            yield Ground(nodes, kernel, home)
        finally:
            kernel.close()
            home.close()
