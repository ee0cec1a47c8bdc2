"""Who can talk to whom, by which way, and what is wrong otherwise."""

from __future__ import annotations

import time
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from itertools import pairwise

import pytest

from trenza import theory
from trenza.model.names import Interface, NicName, NodeName, derived_mac
from trenza.model.state import (
    Address,
    Bridge,
    BridgePort,
    FdbEntry,
    Loopback,
    Macvlan,
    MacvlanMode,
    Node,
    NodeKind,
    Route,
    RouteType,
    State,
    Sysctl,
    Thing,
    Veth,
    VethEnd,
    Vxlan,
    veth,
)


def interface(text: str) -> Interface:
    node, _, nic = text.rpartition(".")
    return Interface(NodeName(node), NicName(nic))


def end(text: str, *, bridge: str | None = None, up: bool = True) -> VethEnd:
    at = interface(text)
    return VethEnd(at, derived_mac("lab", at.node, at.nic), 1500, up, (bridge and BridgePort(NicName(bridge))) or None)


def bridge(text: str, **options: object) -> Bridge:
    at = interface(text)
    return replace(Bridge(at, derived_mac("lab", at.node, at.nic)), **options)  # type: ignore[arg-type]


def address(text: str, *ips: str) -> list[Thing]:
    return [Address(interface(text), ip_interface(ip)) for ip in ips]


def route(node: str, to: str, via: str | None, dev: str, **more: object) -> Route:
    made = Route(NodeName(node), ip_network(to), None if via is None else ip_address(via), NicName(dev))
    return replace(made, **more)  # type: ignore[arg-type]


def forwards(*nodes: str) -> list[Thing]:
    names = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
    return [Sysctl(NodeName(node), name, "1") for node in nodes for name in names]


def network(*things: Thing) -> State:
    """The things, and a node with a loopback for each node that they name."""
    names = {thing.stands_on()[0][1] for thing in things} | {
        one.interface.node for thing in things if isinstance(thing, Veth) for one in thing.ends
    }
    nodes = [Node(NodeName(name), NodeKind.HOST) for name in sorted(names)]
    loopbacks = [Loopback(Interface(node.name, NicName("lo"))) for node in nodes]
    return State.of([*nodes, *loopbacks, *things])


def talks(state: State, source: str, to: str) -> bool:
    return theory.can_talk(state, NodeName(source), ip_address(to))


def wrong(state: State, source: str, to: str) -> str | None:
    return theory.path(state, NodeName(source), ip_address(to)).wrong


def line(*, forwarding: bool = True) -> State:
    """a — r — b, both families."""
    return network(
        veth(end("a.eth0"), end("r.a")),
        veth(end("b.eth0"), end("r.b")),
        *address("a.eth0", "10.0.1.2/24", "fd01::2/64"),
        *address("r.a", "10.0.1.1/24", "fd01::1/64"),
        *address("r.b", "10.0.2.1/24", "fd02::1/64"),
        *address("b.eth0", "10.0.2.2/24", "fd02::2/64"),
        route("a", "0.0.0.0/0", "10.0.1.1", "eth0"),
        route("b", "0.0.0.0/0", "10.0.2.1", "eth0"),
        route("a", "::/0", "fd01::1", "eth0", metric=1024),
        route("b", "::/0", "fd02::1", "eth0", metric=1024),
        *(forwards("r") if forwarding else ()),
    )


@pytest.mark.parametrize("to", ["10.0.2.2", "fd02::2"])
def test_a_router_takes_packets_from_one_subnet_to_another(to: str) -> None:
    path = theory.path(line(), NodeName("a"), ip_address(to))
    assert path.arrives
    assert [hop.node for hop in path.hops] == ["r", "b"]
    assert path.hops[-1].ip == ip_address(to)


def test_a_host_that_does_not_forward_is_named() -> None:
    state = line(forwarding=False)
    assert wrong(state, "a", "10.0.2.2") == "r does not forward (net.ipv4.ip_forward is 0)"
    assert wrong(state, "a", "fd02::2") == "r does not forward (net.ipv6.conf.all.forwarding is 0)"
    assert talks(state, "a", "10.0.2.1")  # the router's own far address is not forwarded


def test_an_answer_that_does_not_come_back_is_named() -> None:
    state = State.of(thing for thing in line() if not (isinstance(thing, Route) and thing.node == "b"))
    assert wrong(state, "a", "10.0.2.2") == "the answer to 10.0.1.2 does not come back: b has no route to 10.0.1.2"
    assert not talks(state, "a", "10.0.2.2")


def test_a_missing_route_a_refusing_one_and_a_silent_address_are_named() -> None:
    state = network(
        veth(end("a.eth0"), end("b.eth0")),
        *address("a.eth0", "10.0.0.1/24"),
        *address("b.eth0", "10.0.0.2/24"),
        Route(NodeName("a"), ip_network("192.168.0.0/16"), type=RouteType.BLACKHOLE),
    )
    assert wrong(state, "a", "172.16.0.1") == "a has no route to 172.16.0.1"
    assert wrong(state, "a", "192.168.0.1") == "a refuses 192.168.0.1 (a blackhole route to 192.168.0.0/16)"
    assert wrong(state, "a", "10.0.0.9") == "nobody has 10.0.0.9, which a.eth0 looks for"


def test_pairs_are_those_that_exchange_packets_both_ways() -> None:
    pairs = {(pair.source, str(pair.ip)) for pair in theory.reachable_pairs(line()) if pair.ip.version == 4}
    assert pairs == {
        ("a", "10.0.1.1"), ("a", "10.0.2.1"), ("a", "10.0.2.2"),
        ("b", "10.0.1.1"), ("b", "10.0.2.1"), ("b", "10.0.1.2"),
        ("r", "10.0.1.2"), ("r", "10.0.2.2"),
    }  # fmt: skip


def switched(**options: object) -> list[Thing]:
    return [
        bridge("s.s", **options),
        veth(end("a.eth0"), end("s.a", bridge="s")),
        veth(end("b.eth0"), end("s.b", bridge="s")),
        *address("a.eth0", "10.0.0.1/24"),
        *address("b.eth0", "10.0.0.2/24"),
    ]


def test_a_switch_joins_and_a_switch_that_is_down_does_not() -> None:
    assert talks(network(*switched()), "a", "10.0.0.2")
    assert wrong(network(*switched(up=False)), "a", "10.0.0.2") == "10.0.0.2 (b.eth0) is not on the segment of a.eth0"


def test_a_free_or_downed_far_end_means_no_carrier() -> None:
    state = network(veth(end("a.eth0"), end("a.free-eth0", up=False)), *address("a.eth0", "10.0.0.1/24"))
    assert wrong(state, "a", "10.0.0.2") == "a.eth0 has no carrier: the far end is down"


def test_an_address_on_a_bridge_port_is_deaf() -> None:
    state = network(
        bridge("a.br0"),
        veth(end("a.eth0", bridge="br0"), end("b.eth0")),
        *address("a.eth0", "10.0.0.1/24"),
        *address("b.eth0", "10.0.0.2/24"),
    )
    assert not talks(state, "b", "10.0.0.1")
    assert "is a port of br0" in (wrong(state, "a", "10.0.0.2") or "")


def test_ipv6_addresses_of_a_downed_interface_do_not_answer_but_ipv4_ones_do() -> None:
    state = network(
        veth(end("a.eth0"), end("b.eth0")),
        veth(end("b.eth1", up=False), end("b.far")),
        *address("a.eth0", "10.0.0.1/24", "fd00::1/64"),
        *address("b.eth0", "10.0.0.2/24", "fd00::2/64"),
        *address("b.eth1", "10.9.0.1/24", "fd09::1/64"),
        route("a", "10.9.0.0/24", "10.0.0.2", "eth0"),
        route("a", "fd09::/64", "fd00::2", "eth0"),
    )
    assert talks(state, "a", "10.9.0.1")
    assert not talks(state, "a", "fd09::1")


def tunnel(text: str, local: str | None, remote: str | None, **more: object) -> Vxlan:
    at = interface(text)
    ends = [None if ip is None else ip_address(ip) for ip in (local, remote)]
    made = Vxlan(at, derived_mac("lab", at.node, at.nic), 42, ends[0], ends[1])
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other", "joined"),
    [
        (("10.0.1.2", "10.0.2.2"), ("10.0.2.2", "10.0.1.2"), True),
        (("10.0.1.2", "10.0.2.2"), ("10.0.2.2", "10.0.1.9"), False),
        (("10.0.1.9", "10.0.2.2"), ("10.0.2.2", "10.0.1.2"), False),
        ((None, "10.0.2.2"), (None, "10.0.1.2"), True),
    ],
)
def test_tunnel_ends_that_name_each_other_share_a_segment(
    one: tuple[str | None, str | None], other: tuple[str | None, str | None], joined: bool
) -> None:
    tunnels = [tunnel("a.vx1", *one), tunnel("b.vx1", *other)]
    inner = [*address("a.vx1", "192.168.0.1/24"), *address("b.vx1", "192.168.0.2/24")]
    assert talks(State.of([*line(), *tunnels, *inner]), "a", "192.168.0.2") == joined


def test_tunnels_that_differ_in_number_or_port_do_not_join() -> None:
    inner = [*address("a.vx1", "192.168.0.1/24"), *address("b.vx1", "192.168.0.2/24")]
    for other in ({"vni": 43}, {"udp_port": 8472}, {"up": False}):
        ends = [tunnel("a.vx1", None, "10.0.2.2"), tunnel("b.vx1", None, "10.0.1.2", **other)]
        assert not talks(State.of([*line(), *ends, *inner]), "a", "192.168.0.2")


def test_a_tunnel_in_a_tunnel() -> None:
    outer = [tunnel("a.vx1", None, "10.0.2.2"), tunnel("b.vx1", None, "10.0.1.2")]
    middle = [*address("a.vx1", "192.168.0.1/24"), *address("b.vx1", "192.168.0.2/24")]
    remotes = [FdbEntry(interface(f"{node}.vx2"), derived_mac("m", "m", node), ip_address(ip)) for node, ip in (
        ("a", "192.168.0.2"), ("b", "192.168.0.1"),
    )]  # fmt: skip
    inner = [tunnel("a.vx2", None, None, vni=7), tunnel("b.vx2", None, None, vni=7), *remotes]
    ips = [*address("a.vx2", "172.16.0.1/24"), *address("b.vx2", "172.16.0.2/24")]
    assert talks(State.of([*line(), *inner, *ips, *outer, *middle]), "a", "172.16.0.2")


def test_macvlans_talk_to_each_other_and_out_but_not_to_their_parent() -> None:
    def over(text: str, mode: MacvlanMode = MacvlanMode.BRIDGE) -> Macvlan:
        at = interface(text)
        return Macvlan(at, derived_mac("lab", at.node, at.nic), interface("a.eth0"), mode)

    state = network(
        *switched(),
        over("c.mv0"),
        over("d.mv0"),
        over("e.mv0", MacvlanMode.PRIVATE),
        *address("c.mv0", "10.0.0.3/24"),
        *address("d.mv0", "10.0.0.4/24"),
        *address("e.mv0", "10.0.0.5/24"),
    )
    assert talks(state, "c", "10.0.0.2") and talks(state, "c", "10.0.0.4") and talks(state, "e", "10.0.0.2")
    assert not talks(state, "c", "10.0.0.1")
    assert not talks(state, "c", "10.0.0.5")


def test_flannel_style_routes_go_through_the_remotes_tunnel_address() -> None:
    tunnels: list[Thing] = []
    for node, other, number, far in (("a", "b", 1, "10.0.2.2"), ("b", "a", 2, "10.0.1.2")):
        vtep = tunnel(f"{node}.flannel.1", None, None, vni=1, udp_port=8472, learning=False)
        vtep = replace(vtep, interface=Interface(NodeName(node), NicName("flannel.1")))
        peer = 3 - number
        tunnels += [
            vtep,
            FdbEntry(vtep.interface, derived_mac("lab", other, "flannel.1"), ip_address(far)),
            Address(vtep.interface, ip_interface(f"10.244.{number}.0/32")),
            route(node, f"10.244.{peer}.0/24", f"10.244.{peer}.0", "flannel.1", onlink=True),
            bridge(f"{node}.cni0"),
            veth(end(f"{node}.pod", bridge="cni0"), end(f"{node}/pod.eth0")),
            *address(f"{node}.cni0", f"10.244.{number}.1/24"),
            *address(f"{node}/pod.eth0", f"10.244.{number}.2/24"),
            route(f"{node}/pod", "0.0.0.0/0", f"10.244.{number}.1", "eth0"),
            *forwards(node),
        ]
    state = State.of([*line(), *network(*tunnels)])
    path = theory.path(state, NodeName("a/pod"), ip_address("10.244.2.2"))
    assert path.wrong is None
    assert [str(hop.ip) for hop in path.hops] == ["10.244.1.1", "10.244.2.0", "10.244.2.2"]


def routers(count: int) -> State:
    """A line: a host at either end of `count` routers."""
    names = ["a", *(f"r{number}" for number in range(count)), "z"]
    things: list[Thing] = []
    for number, (left, right) in enumerate(pairwise(names)):
        things += [veth(end(f"{left}.right"), end(f"{right}.left"))]
        things += address(f"{left}.right", f"10.0.{number}.1/24") + address(f"{right}.left", f"10.0.{number}.2/24")
        things.append(route(left, f"10.0.{len(names) - 2}.0/24", f"10.0.{number}.2", "right", metric=1))
        things.append(route(right, "10.0.0.0/24", f"10.0.{number}.1", "left", metric=1))
    return network(*things, *forwards(*names[1:-1]))


def test_the_ttl_is_enough_for_63_routers() -> None:
    assert wrong(routers(63), "a", "10.0.63.2") is None
    assert "TTL" in (wrong(routers(64), "a", "10.0.64.2") or "")


def test_mutual_default_routes_loop() -> None:
    state = network(
        veth(end("a.eth0"), end("b.eth0")),
        *address("a.eth0", "10.0.0.1/24"),
        *address("b.eth0", "10.0.0.2/24"),
        route("a", "0.0.0.0/0", "10.0.0.2", "eth0"),
        route("b", "0.0.0.0/0", "10.0.0.1", "eth0"),
        *forwards("a", "b"),
    )
    assert "TTL" in (wrong(state, "a", "8.8.8.8") or "")


def test_convergence_is_two_forward_delays_with_stp_and_nothing_without() -> None:
    assert theory.convergence_s(network(*switched())) == 0
    assert theory.convergence_s(network(*switched(stp=True, forward_delay_s=4))) == 8
    assert theory.convergence_s(network(*switched(stp=True, forward_delay_s=4, up=False))) == 0


def test_a_thousand_nodes_are_asked_in_no_time() -> None:
    """A guard against quadratic questions: measured 20 ms for the network, 20 µs a question."""
    things: list[Thing] = [bridge("s.s")]
    for number in range(1000):
        things.append(veth(end(f"h{number}.eth0"), end(f"s.h{number}", bridge="s")))
        things += address(f"h{number}.eth0", f"10.0.{number // 250}.{number % 250 + 1}/16")
    state = network(*things)
    begin = time.process_time()
    asked = theory.Network(state)
    assert all(asked.can_talk(NodeName(f"h{number}"), ip_address("10.0.3.250")) for number in range(999))
    assert time.process_time() - begin < 2
