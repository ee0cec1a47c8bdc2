"""Labs as values: what reading the design's examples gives; and small words for states made of them."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network

from trenza.model.lab import (
    BridgeSpec,
    Lab,
    Nic,
    NodeSpec,
    Peer,
    Port,
    RouteSpec,
    ToBridge,
    ToHost,
)
from trenza.model.names import Interface, NicName, NodeName
from trenza.model.state import Link, NodeKind, State, Thing, link_key

NO_PEER = Peer()
LAN = ToBridge(NodeName("lan"), NicName("lan"))


def nic(name: str, to: ToBridge | ToHost, *ips: str, gateway: str | None = None, peer: Peer = NO_PEER) -> Nic:
    gateways = () if gateway is None else (ip_address(gateway),)
    return Nic(NicName(name), to, addresses=tuple(ip_interface(ip) for ip in ips), gateways=gateways, peer=peer)


def switch(name: str) -> NodeSpec:
    return NodeSpec(NodeName(name), NodeKind.SWITCH, bridges=(BridgeSpec(NicName(name)),))


def bridged_lan() -> Lab:
    """Two hosts on a switch, each with a container bridged to it."""
    nodes = [switch("lan")]
    for number in (1, 2):
        host = NodeName(f"host{number}")
        bridge = BridgeSpec(NicName("br0"), ports=(Port(NicName("eth0")),))
        nodes.append(NodeSpec(host, NodeKind.HOST, nics=(nic("eth0", LAN),), bridges=(bridge,)))
        plug = nic("eth0", ToBridge(host, NicName("br0")), f"10.0.0.1{number}/24")
        nodes.append(NodeSpec(NodeName(f"{host}/c{number}"), NodeKind.CONTAINER, host, nics=(plug,)))
    return Lab("bridged-lan", nodes=tuple(nodes))


def routed(*, forwarding: bool = True) -> Lab:
    """Two routing hosts: one with a bridge for its containers, one with a veth each."""
    host1, host2 = NodeName("host1"), NodeName("host2")
    br0 = ToBridge(host1, NicName("br0"))
    default = ip_network("0.0.0.0/0")
    return Lab(
        "routed",
        nodes=(
            switch("lan"),
            NodeSpec(
                host1,
                NodeKind.HOST,
                nics=(nic("eth0", LAN, "10.1.0.1/24"),),
                bridges=(BridgeSpec(NicName("br0"), addresses=(ip_interface("192.168.1.1/24"),)),),
                routes=(RouteSpec(default, ip_address("10.1.0.2")),),
                forwarding=True,
            ),
            NodeSpec(
                NodeName("host1/c1"),
                NodeKind.CONTAINER,
                host1,
                nics=(nic("eth0", br0, "192.168.1.11/24", gateway="192.168.1.1"),),
            ),
            NodeSpec(
                host2,
                NodeKind.HOST,
                nics=(nic("eth0", LAN, "10.1.0.2/24"),),
                routes=(RouteSpec(default, ip_address("10.1.0.1")),),
                forwarding=forwarding,
            ),
            NodeSpec(
                NodeName("host2/c3"),
                NodeKind.CONTAINER,
                host2,
                nics=(
                    nic(
                        "eth0",
                        ToHost(host2),
                        "192.168.2.2/30",
                        gateway="192.168.2.1",
                        peer=Peer(NicName("v3"), (ip_interface("192.168.2.1/30"),)),
                    ),
                ),
            ),
        ),
    )


def star(nodes: int) -> Lab:
    """Hosts around one switch... more than a bridge's 1023 ports are a matter for the kernel, not for a plan."""
    hosts = [
        NodeSpec(
            NodeName(f"h{number}"),
            NodeKind.HOST,
            nics=(nic("eth0", LAN, f"10.0.{number // 250}.{number % 250 + 1}/16", gateway="10.0.255.254"),),
        )
        for number in range(nodes)
    ]
    return Lab("star", nodes=(switch("lan"), *hosts))


def interface(text: str) -> Interface:
    node, _, nic = text.rpartition(".")
    return Interface(NodeName(node), NicName(nic))


def link(state: State, text: str) -> Link:
    found = state.provided[link_key(interface(text))]
    assert isinstance(found, Link)
    return found


def without(state: State, *gone: Thing) -> State:
    return State.of(thing for thing in state if thing not in gone)


def plus(state: State, *more: Thing) -> State:
    return State.of([*state, *more])
