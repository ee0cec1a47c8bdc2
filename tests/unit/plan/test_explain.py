"""Plans in words."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

from example_labs import interface, link, routed

from trenza.model.names import Mac, NicName, NodeName
from trenza.model.state import (
    ZERO_MAC,
    Address,
    Bridge,
    BridgePort,
    FdbEntry,
    File,
    Loopback,
    Macvlan,
    Neighbour,
    Node,
    NodeKind,
    Process,
    Route,
    RouteType,
    Sysctl,
    Veth,
    Vxlan,
)
from trenza.plan.explain import explain
from trenza.plan.operations import Change, Create, Operation, Plan, Remove
from trenza.plan.wanted import wanted_state

H = NodeName("h")
AT = interface("h.eth0")
MAC = Mac("02:00:00:00:00:01")


def plan() -> Plan:
    cable = link(wanted_state(routed()), "host1.eth0")
    assert isinstance(cable, Veth)
    port = replace(cable.b, port=BridgePort(NicName("lan"), 5, 16), up=False)
    bridge = Bridge(interface("h.br0"), MAC)
    operations: list[Operation] = [
        Remove(Address(AT, ip_interface("10.0.0.9/24"))),
        Create(Node(H, NodeKind.HOST)),
        Create(replace(bridge, stp=True, mtu_bytes=1400, up=False)),
        Create(Vxlan(interface("h.vx1"), MAC, 42, port=BridgePort(NicName("br0")), mtu_bytes=1500)),
        Create(Macvlan(interface("h.mv0"), MAC, AT)),
        Create(Route(H, ip_network("0.0.0.0/0"), ip_address("10.0.0.1"), AT.nic, 5, onlink=True)),
        Create(Route(H, ip_network("10.0.0.0/8"), metric=0, type=RouteType.BLACKHOLE)),
        Create(Neighbour(AT, ip_address("10.0.0.1"), MAC)),
        Create(FdbEntry(interface("h.vx1"), ZERO_MAC, ip_address("10.0.0.2"))),
        Create(Process(H, "web", ("httpd",))),
        Change(cable, Veth(replace(cable.a, mtu_bytes=1400), port)),
        Change(bridge, replace(bridge, stp=True, forward_delay_s=4.5, priority=4096)),
        Change(Loopback(interface("h.lo")), Loopback(interface("h.lo"), up=False)),
        Change(Node(H, NodeKind.HOST, None, "h"), Node(H, NodeKind.HOST, None, "z")),
        Change(Sysctl(H, "net.ipv4.ip_forward", "0"), Sysctl(H, "net.ipv4.ip_forward", "1")),
        Change(File(H, "/etc/x", "1"), File(H, "/etc/x", "2", 0o600)),
    ]
    return tuple(operations)


def test_a_plan_in_english() -> None:
    assert explain(plan()) == [
        "- h.eth0: address 10.0.0.9/24",
        "+ h: host",
        "+ h: bridge br0, STP, mtu 1400, down",
        "+ h: vxlan vx1, vni 42, port of br0",
        "+ h: macvlan mv0 over h.eth0",
        "+ h: route default via 10.0.0.1 dev eth0 metric 5 onlink",
        "+ h: route blackhole 10.0.0.0/8",
        "+ h.eth0: neighbour 10.0.0.1 is at 02:00:00:00:00:01",
        "+ h.vx1: static entry * dst 10.0.0.2",
        "+ h: process web",
        "~ h.br0: stp off → on, priority 32768 → 4096, forward_delay 15 → 4.5",
        "~ h.lo: state up → down",
        "~ h: hostname h → z",
        "~ h: net.ipv4.ip_forward 0 → 1",
        "~ h: file /etc/x (content, mode 644 → 600)",
        "~ host1.eth0: mtu 1500 → 1400",
        "~ lan.host1-eth0: state up → down, cost the kernel's → 5, priority 32 → 16",
    ]


def test_a_plan_in_spanish() -> None:
    lines = explain(plan(), "es_ES.UTF-8")
    assert "- h.eth0: dirección 10.0.0.9/24" in lines
    assert "+ h: puente br0, STP, mtu 1400, caída" in lines
    assert "+ h: ruta por defecto vía 10.0.0.1 dev eth0 metric 5 onlink" in lines
    assert "~ h: fichero /etc/x (contenido, modo 644 → 600)" in lines
    assert "~ lan.host1-eth0: estado activa → caída, coste el del núcleo → 5, prioridad 32 → 16" in lines


def test_every_kind_of_thing_has_words_in_both_languages() -> None:
    for language in ("en", "es"):
        assert len(explain(tuple(Create(thing) for thing in wanted_state(routed())), language)) == len(
            wanted_state(routed())
        )
