"""Plans as they read, and what Linux takes along."""

from __future__ import annotations

import time
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from example_labs import bridged_lan, interface, link, plus, routed, star, without

from trenza.memory import MemoryKernel
from trenza.model.names import Interface, Mac, NicName, NodeName, derived_mac
from trenza.model.state import (
    Address,
    Bridge,
    BridgePort,
    FdbEntry,
    Macvlan,
    MacvlanMode,
    Neighbour,
    Node,
    NodeKind,
    OtherLink,
    Process,
    Route,
    State,
    Thing,
    Veth,
    VethEnd,
    Vxlan,
    veth,
)
from trenza.plan.diff import diff
from trenza.plan.explain import explain
from trenza.plan.operations import Change, Create, Remove
from trenza.plan.stages import changeable
from trenza.plan.wanted import wanted_state


def becomes(observed: State, wanted: State) -> list[str]:
    """The plan as lines, after seeing that it does what it is for."""
    kernel = MemoryKernel()
    kernel.perform(diff(State(), observed))
    assert kernel.observe(wanted) == observed
    plan = diff(observed, wanted)
    kernel.perform(plan)
    assert kernel.observe(wanted) == wanted
    assert diff(kernel.observe(wanted), wanted) == ()
    return explain(plan)


def test_a_fresh_build_reads_from_the_bottom_up() -> None:
    plan = diff(State(), wanted_state(bridged_lan()))
    assert all(isinstance(operation, Create) for operation in plan)
    assert explain(plan) == [
        "+ host1: host",
        "+ host1: bridge br0",
        "+ host1.c1-eth0: cable to host1/c1.eth0, port of br0",
        "+ host1.eth0: cable to lan.host1-eth0, port of br0",
        "+ host1/c1: container",
        "+ host1/c1.eth0: address 10.0.0.11/24",
        "+ host2: host",
        "+ host2: bridge br0",
        "+ host2.c2-eth0: cable to host2/c2.eth0, port of br0",
        "+ host2.eth0: cable to lan.host2-eth0, port of br0",
        "+ host2/c2: container",
        "+ host2/c2.eth0: address 10.0.0.12/24",
        "+ lan: switch",
        "+ lan: net.ipv6.conf.default.disable_ipv6 = 1",
        "+ lan: bridge lan",
    ]


def test_the_same_twice_is_no_plan() -> None:
    assert diff(wanted_state(routed()), wanted_state(routed())) == ()


def test_a_teardown_removes_only_the_roots() -> None:
    wanted = wanted_state(routed())
    plan = diff(wanted, State())
    assert {operation.key for operation in plan} == {("node", "lan"), ("node", "host1"), ("node", "host2")}
    assert all(isinstance(operation, Remove) for operation in plan)


def test_moving_a_cable_keeps_its_address() -> None:
    """An address dies with its interface: it, and the routes over it, come back with the new one."""
    wanted = wanted_state(routed())
    cable = link(wanted, "host1.eth0")
    assert isinstance(cable, Veth)
    elsewhere = veth(cable.a, replace(cable.b, interface=interface("lan.port9")))
    assert becomes(plus(without(wanted, cable), elsewhere), wanted) == [
        "- host1.eth0: cable to lan.port9",
        "+ host1.eth0: cable to lan.host1-eth0",
        "+ host1.eth0: address 10.1.0.1/24",
        "+ host1: route default via 10.1.0.2 dev eth0",
    ]


def test_a_missing_bridge_comes_back_with_its_ports() -> None:
    wanted = wanted_state(bridged_lan())
    cables = [link(wanted, "host1.eth0"), link(wanted, "host1.c1-eth0")]
    freed = []
    for cable in cables:
        assert isinstance(cable, Veth)
        a, b = (replace(end, port=None) if end.interface.node == "host1" else end for end in cable.ends)
        freed.append(veth(a, b))
    observed = plus(without(wanted, link(wanted, "host1.br0"), *cables), *freed)
    assert becomes(observed, wanted) == [
        "+ host1: bridge br0",
        "~ host1.c1-eth0: bridge none → br0",
        "~ host1.eth0: bridge none → br0",
    ]


def test_ports_survive_a_bridge_that_is_replaced() -> None:
    """The name is another kind of interface's now: it goes, and the ports, free for a moment, join the bridge."""
    wanted = wanted_state(bridged_lan())
    bridge = link(wanted, "host1.br0")
    assert isinstance(bridge, Bridge)
    other = replace(bridge, interface=interface("host1.br9"))
    cable = link(wanted, "host1.eth0")
    assert isinstance(cable, Veth)
    moved = veth(replace(cable.a, port=BridgePort(NicName("br9"))), cable.b)
    observed = plus(without(wanted, cable), other, moved)
    assert becomes(observed, wanted) == ["- host1: bridge br9", "~ host1.eth0: bridge none → br0"]


@pytest.mark.parametrize("number", [4, 6])
def test_a_renumbered_interface_keeps_what_stands_on_it(number: int) -> None:
    """The last IPv4 address takes routes and neighbours along: they are made again; IPv6 ones stay."""
    wanted = wanted_state(routed())
    eth0 = interface("host1.eth0")
    old, new, via, to = {
        4: ("10.1.0.1/24", "10.1.0.9/24", "10.1.0.7", "172.16.0.0/16"),
        6: ("fd00::1/64", "fd00::9/64", "fd00::7", "fd77::/64"),
    }[number]
    addresses = [thing for thing in wanted if isinstance(thing, Address) and thing.interface == eth0]
    routes = [thing for thing in wanted if isinstance(thing, Route) and thing.node == "host1"]
    bare = without(wanted, *addresses, *routes)
    stays: list[Thing] = [
        Route(eth0.node, ip_network(to), ip_address(via), eth0.nic, 0 if number == 4 else 1024),
        Neighbour(eth0, ip_address(via), Mac("02:00:00:00:00:01")),
    ]
    before = plus(bare, Address(eth0, ip_interface(old)), *stays)
    after = plus(bare, Address(eth0, ip_interface(new)), *stays)
    lines = becomes(before, after)
    assert len(lines) == (4 if number == 4 else 2)


def test_an_extra_address_goes_alone() -> None:
    wanted = wanted_state(routed())
    extra = Address(interface("host1.eth0"), ip_interface("10.1.0.77/24"))
    assert becomes(plus(wanted, extra), wanted) == ["- host1.eth0: address 10.1.0.77/24"]


def test_a_new_mac_address_keeps_permanent_neighbours() -> None:
    wanted = wanted_state(routed())
    cable = link(wanted, "host1.eth0")
    assert isinstance(cable, Veth)
    neighbour = Neighbour(interface("host1.eth0"), ip_address("10.1.0.2"), Mac("02:00:00:00:00:01"))
    other = veth(replace(cable.a, mac=Mac("02:00:00:00:00:02")), cable.b)
    lines = becomes(plus(without(wanted, cable), other, neighbour), plus(wanted, neighbour))
    assert lines == [
        f"~ host1.eth0: mac 02:00:00:00:00:02 → {cable.a.mac}",
        "+ host1.eth0: neighbour 10.1.0.2 is at 02:00:00:00:00:01",
    ]


def test_a_port_that_changes_bridges_keeps_its_static_entries() -> None:
    node = Node(NodeName("h"), NodeKind.HOST)
    bridges = [
        Bridge(Interface(node.name, NicName(name)), derived_mac("lab", "h", name), stp=False) for name in ("br0", "br1")
    ]
    entry = FdbEntry(interface("h.a"), Mac("02:00:00:00:00:01"))

    def cable(bridge: str) -> Veth:
        a = VethEnd(interface("h.a"), Mac("02:00:00:00:00:0a"), port=BridgePort(NicName(bridge)))
        return veth(a, VethEnd(interface("h.b"), Mac("02:00:00:00:00:0b")))

    before, after = (State.of([node, *bridges, cable(name), entry]) for name in ("br0", "br1"))
    plan = diff(before, after)
    assert plan == (Change(cable("br0"), cable("br1")), Create(entry))


def test_a_port_whose_bridge_is_removed_keeps_its_static_entries() -> None:
    wanted = wanted_state(bridged_lan())
    cable, bridge = link(wanted, "host1.eth0"), link(wanted, "host1.br0")
    assert isinstance(cable, Veth) and isinstance(bridge, Bridge)
    br9 = replace(bridge, interface=interface("host1.br9"))
    moved = veth(replace(cable.a, port=BridgePort(br9.interface.nic)), cable.b)
    entry = FdbEntry(interface("host1.eth0"), Mac("02:00:00:00:00:01"))
    lines = becomes(plus(without(wanted, cable), br9, moved, entry), plus(wanted, entry))
    assert lines == [
        "- host1: bridge br9",
        "~ host1.eth0: bridge none → br0",
        "+ host1.eth0: static entry 02:00:00:00:00:01",
    ]


def test_setting_a_link_down_keeps_its_ipv6_address() -> None:
    wanted = wanted_state(routed())
    cable = link(wanted, "host2/c3.eth0")
    assert isinstance(cable, Veth)
    address = Address(interface("host2/c3.eth0"), ip_interface("fd00::3/64"))
    route = next(thing for thing in wanted if isinstance(thing, Route) and thing.node == "host2/c3")
    downed = Veth(*(replace(end, up=end.interface.node != "host2/c3") for end in cable.ends))
    lines = becomes(plus(wanted, address), plus(without(wanted, cable, route), downed, address))
    assert lines == [
        "- host2/c3: route default via 192.168.2.1 dev eth0",
        "~ host2/c3.eth0: state up → down",
        "+ host2/c3.eth0: address fd00::3/64",
    ]


def test_a_name_taken_by_another_kind_is_freed_first() -> None:
    wanted = wanted_state(bridged_lan())
    bridge = link(wanted, "host1.br0")
    assert isinstance(bridge, Bridge)
    squatter = OtherLink(bridge.interface, "tun")
    plan = diff(plus(wanted, squatter), wanted)
    assert plan[:2] == (Remove(squatter), Create(bridge))


def test_a_changed_daemon_is_started_again() -> None:
    node = Node(NodeName("h"), NodeKind.HOST)
    old, new = (Process(node.name, "web", ("httpd", flag)) for flag in ("-1", "-2"))
    assert diff(State.of([node, old]), State.of([node, new])) == (Remove(old), Create(new))


def test_what_linux_can_change_in_place() -> None:
    at = interface("h.x")
    mac, other = Mac("02:00:00:00:00:01"), Mac("02:00:00:00:00:02")
    vxlan = Vxlan(at, mac, 1)
    macvlan = Macvlan(at, mac, interface("h.eth0"))
    node = Node(NodeName("h"), NodeKind.HOST, None, "h")
    assert changeable(vxlan, replace(vxlan, mac=other, mtu_bytes=1400, up=False))
    assert not changeable(vxlan, replace(vxlan, vni=2))
    assert not changeable(vxlan, replace(vxlan, learning=False))
    assert changeable(macvlan, replace(macvlan, mode=MacvlanMode.VEPA))
    assert not changeable(macvlan, replace(macvlan, mode=MacvlanMode.PASSTHRU))
    assert not changeable(macvlan, replace(macvlan, parent=interface("h.eth1")))
    assert changeable(node, replace(node, hostname="other"))
    assert not changeable(node, replace(node, kind=NodeKind.CONTAINER, host=NodeName("g")))
    assert not changeable(vxlan, macvlan)


def test_a_thousand_nodes_are_compared_in_no_time() -> None:
    """A guard against quadratic plans: measured 10 to 40 ms; the bound leaves room for a busy machine."""
    wanted = wanted_state(star(1000))
    same = wanted_state(star(1000))
    bridge = link(wanted, "lan.lan")
    for observed, target in ((State(), wanted), (same, wanted), (without(wanted, bridge), wanted), (wanted, State())):
        begin = time.process_time()
        diff(observed, target)
        assert time.process_time() - begin < 1
