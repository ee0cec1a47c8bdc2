"""The bridge that a host's pods are on, as docker makes it with flannel's options: a gateway, and NAT to elsewhere.

Packets from a pod to the pod network keep their source, or a pod would see the other's host in its place; so the
masquerade begins with a return for them.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any, Final

from trenza.cluster.node import nft
from trenza.cluster.node.overlay import Lease
from trenza.model.cluster import BRIDGE
from trenza.model.names import Interface, Mac, NicName, NodeName
from trenza.model.state import Address, Bridge, Route, Sysctl, Thing

TABLE: Final = "docker"
BRIDGED: Final = "net.bridge.bridge-nf-call-iptables"
"""Between two pods of one host the answer to a translated packet is only bridged: netfilter has to see it all the same.

Where a kernel does not have it, the proxy masquerades there (`proxy.Network.bridged_seen`).
"""


def docker_mac(address: IPv4Address) -> Mac:
    """The MAC that docker gives whoever has this address: 02:42 and its four octets."""
    return Mac("02:42:" + ":".join(f"{octet:02x}" for octet in address.packed))


def wanted_bridge(node: NodeName, own: Lease, services: IPv4Network, *, mtu_bytes: int) -> tuple[Thing, ...]:
    """docker0 with its address; and a route, so that a host without a default route can speak to services, too.

    No packet goes there: it is translated or refused before. By way of docker0 a pod that asks for a service would be
    sent an ICMP redirect, and that uses up what the kernel's rate limit allows it of refusals.
    """
    bridge = Interface(node, BRIDGE)
    return (
        Sysctl(node, "net.ipv4.ip_forward", "1"),
        Bridge(bridge, docker_mac(own.gateway.ip), mtu_bytes=mtu_bytes),
        Address(bridge, IPv4Interface(own.gateway)),
        Route(node, services, dev=NicName("lo")),
    )


def masquerade(subnet: IPv4Network, network: IPv4Network) -> list[dict[str, Any]]:
    """The nft commands that replace docker's table: pods leave under their host's address, but not to other pods."""
    table = {"family": "ip", "table": TABLE}
    here = nft.match(nft.payload("ip", "saddr"), nft.prefix(subnet))
    chain = {
        **table, "name": "postrouting", "type": "nat", "hook": "postrouting", "prio": 100, "policy": "accept",
    }  # fmt: skip
    return [
        {"add": {"table": {"family": "ip", "name": TABLE}}},
        {"delete": {"table": {"family": "ip", "name": TABLE}}},
        {"add": {"table": {"family": "ip", "name": TABLE}}},
        {"add": {"chain": chain}},
        nft.rule(TABLE, "postrouting", [here, nft.match(nft.payload("ip", "daddr"), nft.prefix(network)), nft.RETURN]),
        nft.rule(
            TABLE, "postrouting", [here, nft.match(nft.meta("oifname"), BRIDGE, "!="), {"counter": None},
            {"masquerade": None}],
        ),
    ]  # fmt: skip
