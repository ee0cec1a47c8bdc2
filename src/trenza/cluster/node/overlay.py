"""Flannel in values: the network's config, subnet leases as its keys hold them, and what a host's kernel should have.

Each host has a subnet of the pod network. With the `vxlan` backend flannel.1 (VNI 1, UDP 8472, no learning) takes
packets to the other hosts: for each of them one onlink route to its x.y.z.0, one permanent neighbour that gives that
address a MAC, and one forwarding entry that gives that MAC an outer address; nothing is ever asked for by ARP. With
`host-gw` each other subnet is one plain route, which takes hosts on one LAN.

Sources: flannel's pkg/backend/vxlan/vxlan_network.go and subnet/etcd/registry.go.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any, Final

from trenza.errors import TrenzaError
from trenza.model.names import Interface, Mac, NicName, NodeName, derived_mac
from trenza.model.state import Address, FdbEntry, Neighbour, Route, Thing, Vxlan

VXLAN: Final = "vxlan"
HOST_GW: Final = "host-gw"
OVERLAY_BYTES: Final = 50
"""Outer IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14 (RFC 7348, section 5)."""

LEASE_S: Final = 24 * 3600.0
RENEW_BEFORE_S: Final = 3600.0
SUBNET_ENV: Final = "/run/flannel/subnet.env"


@dataclass(frozen=True, slots=True)
class OverlayConfig:
    """The value of `/coreos.com/network/config`."""

    network: IPv4Network
    subnet_length: int = 24
    backend: str = VXLAN
    vni: int = 1
    udp_port: int = 8472

    @property
    def nic(self) -> NicName:
        return NicName(f"flannel.{self.vni}")

    def pod_mtu_bytes(self, underlay_bytes: int) -> int:
        """The MTU of pods: what the overlay leaves of the cable's."""
        return underlay_bytes - OVERLAY_BYTES if self.backend == VXLAN else underlay_bytes

    def as_json(self) -> dict[str, Any]:
        backend: dict[str, Any] = {"Type": self.backend}
        if self.backend == VXLAN:
            backend |= {"VNI": self.vni, "Port": self.udp_port}
        return {"Network": str(self.network), "SubnetLen": self.subnet_length, "Backend": backend}


def read_config(value: Mapping[str, Any]) -> OverlayConfig:
    """The config as flannel reads it. Raises TrenzaError for one that cannot be meant."""
    backend = value.get("Backend", {})
    try:
        config = OverlayConfig(
            IPv4Network(value["Network"]),
            int(value.get("SubnetLen", 24)),
            str(backend.get("Type", "udp")),
            int(backend.get("VNI", 1)),
            int(backend.get("Port", 8472)),
        )
    except (KeyError, ValueError) as error:
        raise TrenzaError(f"the overlay's config cannot be read: {error}") from error
    if config.backend not in (VXLAN, HOST_GW):
        raise TrenzaError(f"no overlay of type {config.backend!r}", hint=f"write {VXLAN} or {HOST_GW}")
    if not config.network.prefixlen < config.subnet_length <= 30:
        raise TrenzaError(f"{config.network} has no subnets of /{config.subnet_length}")
    return config


@dataclass(frozen=True, slots=True)
class Lease:
    """A host's subnet, and how packets get there."""

    subnet: IPv4Network
    public_ip: IPv4Address
    backend: str = VXLAN
    vni: int = 1
    mac: Mac | None = None

    @property
    def key(self) -> str:
        """The last part of its key: `172.16.27.0-24`."""
        return f"{self.subnet.network_address}-{self.subnet.prefixlen}"

    @property
    def gateway(self) -> IPv4Interface:
        """docker0's address: the first of the subnet."""
        return IPv4Interface((self.subnet.network_address + 1, self.subnet.prefixlen))

    def as_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {"PublicIP": str(self.public_ip), "PublicIPv6": None, "BackendType": self.backend}
        if self.backend == VXLAN:
            value["BackendData"] = {"VNI": self.vni, "VtepMAC": self.mac}
        return value


def read_lease(key: str, value: Mapping[str, Any]) -> Lease | None:
    """A lease from its key and value, or None where somebody else's tool wrote something that is none."""
    try:
        data = value.get("BackendData") or {}
        mac = data.get("VtepMAC")
        return Lease(
            IPv4Network(key.replace("-", "/")),
            IPv4Address(value["PublicIP"]),
            str(value.get("BackendType", "")),
            int(data.get("VNI", 1)),
            None if mac is None else _mac(str(mac)),
        )
    except (ValueError, KeyError, AttributeError, TypeError):
        return None


def _mac(text: str) -> Mac:
    if not re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", text.lower()):
        raise ValueError(f"{text} is no MAC")
    return Mac(text.lower())


def own_lease(config: OverlayConfig, leases: Iterable[Lease], public_ip: IPv4Address, mac: Mac, *, seed: str) -> Lease:
    """The lease this host should have: the one its address has already, else a free subnet, by chance as flannel does.

    Raises TrenzaError when none is free.
    """
    taken = list(leases)
    for lease in taken:
        if lease.public_ip == public_ip and lease.subnet.subnet_of(config.network):
            return Lease(lease.subnet, public_ip, config.backend, config.vni, mac)
    used = {lease.subnet for lease in taken}
    count = 1 << (config.subnet_length - config.network.prefixlen)
    size = 1 << (32 - config.subnet_length)
    chance = random.Random(seed)
    start = chance.randrange(count)
    for offset in range(count):
        number = (start + offset) % count
        if number == 0:
            continue  # flannel leaves the first subnet out: its x.y.0.0 is the network's own name
        subnet = IPv4Network((config.network.network_address + number * size, config.subnet_length))
        if subnet not in used:
            return Lease(subnet, public_ip, config.backend, config.vni, mac)
    raise TrenzaError(f"all {count - 1} subnets of {config.network} are taken")


def overlap_words(config: OverlayConfig, addresses: Iterable[IPv4Interface]) -> str | None:
    """Why the pod network cannot be used in a host with these addresses, or None."""
    for address in addresses:
        if address.network.overlaps(config.network) and address.network.prefixlen:
            return f"the pod network {config.network} overlaps {address} of this host"
    return None


def vtep_mac(lab: str, node: str, nic: str) -> Mac:
    return derived_mac(lab, node, nic)


def wanted_overlay(
    node: NodeName, config: OverlayConfig, own: Lease, others: Iterable[Lease], *, nic: NicName, mtu_bytes: int
) -> tuple[Thing, ...]:
    """The links, addresses, routes, neighbours and forwarding entries that this host should have for its peers.

    `nic` has the address `own.public_ip`; `mtu_bytes` is the pods'. A lease of another backend, or of what is no part
    of the pod network, is no peer.
    """
    peers = sorted(
        (
            one
            for one in others
            if one.backend == config.backend
            and one.public_ip != own.public_ip
            and one.subnet.subnet_of(config.network)
            and not one.subnet.overlaps(own.subnet)
        ),
        key=lambda lease: lease.subnet,
    )
    if config.backend == HOST_GW:
        return tuple(Route(node, peer.subnet, peer.public_ip, nic) for peer in peers)
    assert own.mac is not None
    tunnel = Interface(node, config.nic)
    things: list[Thing] = [
        Vxlan(
            tunnel, own.mac, config.vni, own.public_ip, udp_port=config.udp_port, dev=nic, learning=False,
            mtu_bytes=mtu_bytes,
        ),
        Address(tunnel, IPv4Interface((own.subnet.network_address, 32))),
    ]  # fmt: skip
    for peer in peers:
        if peer.mac is None:
            continue
        inner = peer.subnet.network_address
        things += [
            Neighbour(tunnel, inner, peer.mac),
            FdbEntry(tunnel, peer.mac, peer.public_ip),
            Route(node, peer.subnet, inner, config.nic, onlink=True),
        ]
    return tuple(things)


def subnet_env(config: OverlayConfig, own: Lease, *, mtu_bytes: int) -> str:
    """The file that flannel leaves for docker."""
    return (
        f"FLANNEL_NETWORK={config.network}\nFLANNEL_SUBNET={own.gateway}\n"
        f"FLANNEL_MTU={mtu_bytes}\nFLANNEL_IPMASQ=false\n"
    )
