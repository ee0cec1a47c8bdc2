"""The flowchart of a state: what is drawn, with which words, and that Mermaid can read it."""

from __future__ import annotations

import random
import re
from ipaddress import ip_address, ip_interface

from hypothesis import given
from hypothesis import strategies as st

from trenza.model.names import Interface, NicName, NodeName, derived_mac
from trenza.model.state import (
    ZERO_MAC,
    Address,
    Bridge,
    BridgePort,
    FdbEntry,
    Macvlan,
    Node,
    NodeKind,
    OtherLink,
    State,
    Thing,
    Veth,
    VethEnd,
    Vxlan,
    veth,
)
from trenza.plan.graph import mermaid

# What a line of a flowchart may be. Labels hold no quote, angle bracket or backtick but those of `<br/>`.
ID = r"[A-Za-z0-9_]+"
LABEL = r'"(?:[^"<>`\\;&]|#\d+;|<br/>)*"'
GRAMMAR = re.compile(
    rf"flowchart TB|\s+subgraph {ID}\[{LABEL}\]|\s+end"
    rf"|\s+{ID}(?:\[{LABEL}\]|\({LABEL}\)|\(\({LABEL}\)\)|\{{\{{{LABEL}\}}\}})"
    rf"|\s+{ID} (?:---|-\.-)(?:\|{LABEL}\|)? {ID}"
)


def interface(node: str, nic: str) -> Interface:
    return Interface(NodeName(node), NicName(nic))


def end(node: str, nic: str, bridge: str | None = None) -> VethEnd:
    port = None if bridge is None else BridgePort(NicName(bridge))
    return VethEnd(interface(node, nic), derived_mac("x", node, nic), port=port)


def bridge(node: str, nic: str, *, stp: bool = False) -> Bridge:
    return Bridge(interface(node, nic), derived_mac("x", node, nic), stp=stp)


def address(node: str, nic: str, text: str) -> Address:
    return Address(interface(node, nic), ip_interface(text))


def host(name: str) -> Node:
    return Node(NodeName(name), NodeKind.HOST)


def container(name: str) -> Node:
    return Node(NodeName(name), NodeKind.CONTAINER, NodeName(name.split("/", maxsplit=1)[0]))


def vxlan(node: str, nic: str, local: str | None, remote: str | None, port: str | None = None) -> Vxlan:
    return Vxlan(
        interface(node, nic), derived_mac("x", node, nic), 42,
        None if local is None else ip_address(local), None if remote is None else ip_address(remote),
        port=None if port is None else BridgePort(NicName(port)),
    )  # fmt: skip


def two_hosts() -> list[Thing]:
    things: list[Thing] = [Node(NodeName("lan"), NodeKind.SWITCH), bridge("lan", "lan", stp=True)]
    for number, other in ((1, 2), (2, 1)):
        name = f"host{number}"
        things += [
            host(name),
            bridge(name, "br0"),
            veth(end(name, "eth0"), end("lan", f"{name}-eth0", "lan")),
            address(name, "eth0", f"10.1.0.{number}/24"),
            container(f"{name}/c{number}"),
            veth(end(f"{name}/c{number}", "eth0"), end(name, f"c{number}-eth0", "br0")),
            address(f"{name}/c{number}", "eth0", f"192.168.0.1{number}/24"),
            vxlan(name, "vx1", f"10.1.0.{number}", f"10.1.0.{other}", "br0"),
        ]
    return things


def test_hosts_are_boxes_bridges_hexagons_and_tunnels_dashed() -> None:
    assert mermaid(State.of(two_hosts()), 'Two "hosts"') == (
        r"""---
title: "Two \"hosts\""
---
flowchart TB
  subgraph box_n_host1["host1"]
    n_host1["host1<br/>eth0 10.1.0.1/24"]
    n_host1__br0{{"br0"}}
    n_host1_2fc1("c1<br/>eth0 192.168.0.11/24")
  end
  subgraph box_n_host2["host2"]
    n_host2["host2<br/>eth0 10.1.0.2/24"]
    n_host2__br0{{"br0"}}
    n_host2_2fc2("c2<br/>eth0 192.168.0.12/24")
  end
  n_lan{{"lan<br/>STP, priority 32768"}}
  n_host1 ---|"eth0 – host1-eth0"| n_lan
  n_host1__br0 ---|"c1-eth0 – eth0"| n_host1_2fc1
  n_host1__br0 -.-|"vx1 – vx1<br/>VNI 42"| n_host2__br0
  n_host2 ---|"eth0 – host2-eth0"| n_lan
  n_host2__br0 ---|"c2-eth0 – eth0"| n_host2_2fc2
"""
    )


def test_the_same_state_gives_the_same_text() -> None:
    things = two_hosts()
    text = mermaid(State.of(things))
    random.Random(1).shuffle(things)
    assert mermaid(State.of(things)) == text


def test_a_host_without_containers_is_a_node() -> None:
    assert mermaid(State.of([host("user"), address("user", "eth0", "172.16.1.100/24")])) == (
        'flowchart TB\n  n_user["user<br/>eth0 172.16.1.100/24"]\n'
    )


def test_a_router_is_joined_to_its_own_bridge() -> None:
    things: list[Thing] = [
        host("r"), host("other"), bridge("r", "br0"), address("r", "br0", "192.168.1.1/24"),
        veth(end("r", "eth0"), end("other", "eth0")),
    ]  # fmt: skip
    lines = mermaid(State.of(things)).splitlines()
    assert '    n_r__br0{{"br0<br/>192.168.1.1/24"}}' in lines
    assert "  n_r --- n_r__br0" in lines


def test_a_tunnel_to_several_ends_is_drawn_to_each_once() -> None:
    things: list[Thing] = []
    for number in (1, 2, 3):
        name = f"h{number}"
        things += [host(name), address(name, "eth0", f"10.0.0.{number}/24"), vxlan(name, "vx", None, None)]
        things += [
            FdbEntry(interface(name, "vx"), ZERO_MAC, ip_address(f"10.0.0.{other}"))
            for other in (1, 2, 3)
            if other != number
        ]
    dashed = [line.split() for line in mermaid(State.of(things)).splitlines() if "-.-" in line]
    assert [(line[0], line[-1]) for line in dashed] == [("n_h1", "n_h2"), ("n_h1", "n_h3"), ("n_h2", "n_h3")]


def test_a_tunnel_to_nobody_in_the_lab_ends_in_its_address() -> None:
    lines = mermaid(State.of([host("h"), vxlan("h", "vx", "10.0.0.1", "203.0.113.9")])).splitlines()
    assert '  n___203_2e0_2e113_2e9(("203.0.113.9"))' in lines
    assert '  n_h -.-|"vx<br/>VNI 42"| n___203_2e0_2e113_2e9' in lines


def test_a_macvlan_and_links_of_other_kinds_are_there() -> None:
    things: list[Thing] = [
        host("h"), container("h/c"), OtherLink(interface("h", "tun0"), "tun"),
        Macvlan(interface("h/c", "eth0"), derived_mac("x", "h/c", "eth0"), interface("h", "eth1")),
    ]  # fmt: skip
    lines = mermaid(State.of(things)).splitlines()
    assert '    n_h["h<br/>tun0 (tun)"]' in lines
    assert '  n_h_2fc ---|"eth0 – eth1<br/>macvlan bridge"| n_h' in lines


def test_an_empty_state_is_an_empty_flowchart() -> None:
    assert mermaid(State.of([])) == "flowchart TB\n"


NAMES = st.text(min_size=1, max_size=8)


@given(st.lists(NAMES, min_size=1, max_size=6, unique=True), st.data())
def test_any_names_give_what_mermaid_reads(names: list[str], data: st.DataObject) -> None:
    things: list[Thing] = [host(name) for name in names]
    for number in range(4):
        one, other = data.draw(st.sampled_from(names)), data.draw(st.sampled_from(names))
        nic = data.draw(NAMES)
        things.append(veth(end(one, f"{nic}{number}a"), end(other, f"{nic}{number}b", data.draw(st.none() | NAMES))))
    for name in names[:2]:
        things.append(bridge(name, data.draw(NAMES)))
    text = mermaid(State.of(things))
    for line in text.rstrip("\n").split("\n"):
        assert GRAMMAR.fullmatch(line), line
    ids = re.findall(rf"^\s+({ID})[\[({{]", text, re.MULTILINE)
    assert len(ids) == len(set(ids))


def test_every_cable_is_drawn() -> None:
    state = State.of(two_hosts())
    cables = [thing for thing in state if isinstance(thing, Veth)]
    assert sum(" ---|" in line for line in mermaid(state).splitlines()) == len(cables)
