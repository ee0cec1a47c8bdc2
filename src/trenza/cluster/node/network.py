"""A host's network made so: links, routes and rules of the overlay, docker0 and the proxy; and pods' own.

What should be there is compared with what is, whoever changed it, and only the difference is done. What is not the
cluster's stays as it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Final

from trenza.cluster.node.docker0 import BRIDGED, docker_mac
from trenza.cluster.node.nft import Command
from trenza.errors import KernelError
from trenza.linux import conntrack, netns, rtnetlink, rtnetlink_dump
from trenza.linux.conntrack import Flow
from trenza.linux.kernel import LinuxKernel
from trenza.linux.netlink import NetlinkSocket, Refusal
from trenza.linux.netns import Home
from trenza.linux.nodes import NodeHandle
from trenza.model.cluster import BRIDGE
from trenza.model.names import NicName, NodeName, derived_mac
from trenza.model.state import (
    Address,
    Bridge,
    FdbEntry,
    File,
    Neighbour,
    Node,
    Process,
    Route,
    State,
    Thing,
    Vxlan,
)
from trenza.plan.diff import diff

NFT: Final = "/usr/sbin/nft"
_COMMANDS_AT_ONCE: Final = 500
"""In one transaction, where it is to be larger: an ordinary user's netlink sockets take no more (EMSGSIZE)."""

_NFT_DEADLINE_S: Final = 30.0


class _OneHost:
    """`Nodes` that only knows the host it is in."""

    def __init__(self, handle: NodeHandle) -> None:
        self._handle = handle

    def alive(self) -> Mapping[NodeName, NodeHandle]:
        return {self._handle.node.name: self._handle}

    def placed(self, expected: State) -> Sequence[Thing]:
        return ()

    def spawn(self, nodes: Sequence[Node]) -> None:
        raise KernelError("a host's agent makes no nodes of a lab")

    def stop(self, names: Sequence[NodeName]) -> None:
        raise KernelError("a host's agent ends no nodes of a lab")

    def place(self, file: File) -> None:
        raise KernelError("a host's agent places no files of a lab")

    def remove_file(self, file: File) -> None:
        raise KernelError("a host's agent places no files of a lab")

    def start(self, process: Process) -> None:
        raise KernelError("a host's agent runs no services of a lab")

    def end(self, process: Process) -> None:
        raise KernelError("a host's agent runs no services of a lab")


@dataclass(frozen=True, slots=True)
class HostNic:
    """An interface of the host with one of its addresses."""

    name: NicName
    address: IPv4Interface
    mtu_bytes: int


class HostNetwork:
    """The network namespace of a host, in which this process is. `close` it."""

    def __init__(self, node: Node) -> None:
        self.node = node.name
        self._home = Home()
        self._netns = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._kernel = LinuxKernel(_OneHost(NodeHandle(node, self._netns)))
        self._sock = NetlinkSocket(self._home, self._netns)
        self._rules = asyncio.Lock()

    def close(self) -> None:
        self._sock.close()
        self._kernel.close()
        os.close(self._netns)
        self._home.close()

    def nics(self) -> tuple[HostNic, ...]:
        """The host's interfaces with IPv4 addresses, the cluster's own left out."""
        links = {one.index: one for one in rtnetlink_dump.links(self._sock.dump(rtnetlink.DUMP_LINKS))}
        found = []
        for one in rtnetlink_dump.addresses(self._sock.dump(rtnetlink.DUMP_ADDRESSES)):
            link = links.get(one.index)
            if link is None or one.ip.version != 4 or one.ip.is_loopback:
                continue
            if _is_the_hosts_own(link.name):
                found.append(HostNic(NicName(link.name), IPv4Interface((one.ip, one.prefix_length)), link.mtu_bytes))
        return tuple(found)

    def addresses(self) -> tuple[IPv4Address, ...]:
        """Those of `nics`, without a look at all the ports of docker0."""
        found = []
        for one in rtnetlink_dump.addresses(self._sock.dump(rtnetlink.DUMP_ADDRESSES)):
            if isinstance(one.ip, IPv4Address) and not one.ip.is_loopback:
                name = netns.find_name(self._sock.fileno(), one.index)
                if name is not None and _is_the_hosts_own(name):
                    found.append(one.ip)
        return tuple(found)

    def become(self, wanted: Sequence[Thing], pods: IPv4Network, tunnel: NicName) -> bool:
        """Make the cluster's part of the host's network as wanted; whether anything was different.

        Raises KernelError at the first refusal.
        """
        there = self._kernel.observe(State.of(wanted))
        kept = [thing for thing in there if not _is_ours(thing, pods, tunnel)]
        keys = {thing.key for thing in wanted}
        plan = diff(there, State.of([*(thing for thing in kept if thing.key not in keys), *wanted]))
        if plan:
            self._kernel.perform(plan)
        return bool(plan)

    def see_bridged(self) -> bool:
        """Have netfilter see what docker0 bridges; False where this kernel cannot."""
        path = f"/proc/sys/{BRIDGED.replace('.', '/')}"
        try:
            with open(path, "w") as file:
                file.write("1")
        except OSError:
            return False
        return True

    # ------------------------------------------------------------------ pods
    def connect_pod(
        self, pod_netns: int, nic: str, address: IPv4Interface, gateway: IPv4Address, mtu_bytes: int
    ) -> None:
        """Give a pod its loopback and an eth0 in docker0, both ends born where they belong. Raises KernelError."""
        bridge = netns.find_index(self._sock.fileno(), BRIDGE)
        if bridge is None:
            raise KernelError(f"{BRIDGE} is not there")
        inner = rtnetlink.veth_end("eth0", docker_mac(address.ip), mtu_bytes)
        outer = rtnetlink.veth_end(nic, derived_mac("", self.node, nic), mtu_bytes)
        born = rtnetlink.new_veth(0, outer, 0, inner, bridge_index=bridge, peer_netns=pod_netns, up=True)
        _check(self._sock.send([born]), nic)
        port = netns.find_index(self._sock.fileno(), nic)
        assert port is not None
        # A pod that reaches itself through a service: its translated packet is bridged back to where it came from.
        _check(self._sock.send([rtnetlink.set_link(port, rtnetlink.hairpin())]), nic)
        pod = NetlinkSocket(self._home, pod_netns)
        try:
            index = netns.find_index(pod.fileno(), "eth0")
            assert index is not None
            default = Route(self.node, IPv4Network("0.0.0.0/0"), gateway, NicName("eth0"))
            up = [rtnetlink.set_link(1, up=True), rtnetlink.set_link(index, up=True)]
            _check(pod.send([*up, rtnetlink.new_address(index, address), rtnetlink.new_route(default, index)]), nic)
            netns.flush_carrier(pod.fileno(), "eth0")
        finally:
            pod.close()
        netns.flush_carrier(self._sock.fileno(), nic)

    def disconnect_pod(self, nic: str) -> None:
        """Take a pod's interface away, if it is still there: it would go with the pod, but later."""
        self._sock.send([rtnetlink.delete_link(nic)])

    # ------------------------------------------------------------------ rules
    async def say(self, commands: Sequence[Command]) -> None:
        """Have nft do this, in one transaction unless it is too large for one. Raises KernelError."""
        async with self._rules:
            for start in range(0, len(commands), _COMMANDS_AT_ONCE):
                await _nft(commands[start : start + _COMMANDS_AT_ONCE])

    def forget(self, unwanted: Callable[[Flow], bool]) -> None:
        """Have the kernel forget flows that it tracks, so that their next packets are asked of the rules."""
        sock = NetlinkSocket(self._home, self._netns, protocol=conntrack.NETLINK_NETFILTER)
        try:
            for flow in conntrack.flows(sock.dump(conntrack.DUMP_FLOWS)):
                if unwanted(flow):
                    sock.send([conntrack.forget(flow)])  # refused if it has ended meanwhile
        finally:
            sock.close()


def host_nic_name(uid: str) -> str:
    """The host's end of a pod's veth, named as docker does: `veth` and seven hexadecimal digits."""
    return "veth" + hashlib.blake2b(uid.encode(), digest_size=4).hexdigest()[:7]


def _is_the_hosts_own(nic: str) -> bool:
    return nic != BRIDGE and not nic.startswith("flannel.")


def _is_ours(thing: Thing, pods: IPv4Network, tunnel: NicName) -> bool:
    nics = (BRIDGE, tunnel)
    match thing:
        case Bridge() | Vxlan() | Address() | Neighbour() | FdbEntry():
            return thing.interface.nic in nics
        case Route():
            return thing.dev in nics or (isinstance(thing.to, IPv4Network) and thing.to.subnet_of(pods))
        case _:
            return False


def _check(refusals: Iterable[Refusal], nic: str) -> None:
    for refusal in refusals:
        raise KernelError(f"{nic}: {refusal.text or os.strerror(refusal.errno)}", errno=refusal.errno)


async def _nft(commands: Sequence[Command]) -> None:
    text = json.dumps({"nftables": list(commands)}, separators=(",", ":")).encode()
    process = await asyncio.create_subprocess_exec(
        NFT, "-j", "-f", "-", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )  # fmt: skip
    try:
        async with asyncio.timeout(_NFT_DEADLINE_S):
            _, said = await process.communicate(text)
    except TimeoutError as error:
        process.kill()
        raise KernelError(f"nft did not end within {_NFT_DEADLINE_S:.0f} s") from error
    if process.returncode:
        raise KernelError(f"nft refused: {said.decode(errors='replace').strip()[:400]}")
