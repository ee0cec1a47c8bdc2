"""In a lab where the person's changes count, only what the base declares and is gone comes back."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface, ip_network

from example_labs import bridged_lan, interface, link, plus, routed, without

from trenza.memory import MemoryKernel
from trenza.model.names import Mac, NicName
from trenza.model.state import Address, Bridge, Route, State, Veth, VethEnd, veth
from trenza.plan.diff import diff
from trenza.plan.explain import explain, explain_left_alone
from trenza.plan.missing import missing
from trenza.plan.operations import Remove
from trenza.plan.wanted import wanted_state


def restored(observed: State, base: State) -> tuple[list[str], list[str]]:
    """The plan and what is left alone, as lines; the plan works, and repeated it is empty."""
    kernel = MemoryKernel()
    kernel.perform(diff(State(), observed))
    plan, left = missing(kernel.observe(base), base)
    assert not any(isinstance(operation, Remove) for operation in plan)
    kernel.perform(plan)
    assert missing(kernel.observe(base), base)[0] == ()
    return explain(plan), explain_left_alone(left)


def test_a_students_bridge_and_address_are_left_alone() -> None:
    base = wanted_state(routed())
    bridge = Bridge(interface("host2.br0"), Mac("02:00:00:00:00:01"))
    address = Address(bridge.interface, ip_interface("192.168.9.1/24"))
    plan, left = restored(plus(base, bridge, address), base)
    assert plan == []
    assert left == [
        "host2: bridge br0 (not of the lab)",
        "host2.br0: address 192.168.9.1/24 (not of the lab)",
    ]


def test_a_removed_cable_comes_back_with_address_and_route() -> None:
    base = wanted_state(routed())
    cable = link(base, "host1.eth0")
    lost = [
        thing
        for thing in base
        if thing == cable
        or (isinstance(thing, Address) and thing.interface == interface("host1.eth0"))
        or (isinstance(thing, Route) and thing.node == "host1")
    ]
    plan, left = restored(without(base, *lost), base)
    assert plan == [
        "+ host1.eth0: cable to lan.host1-eth0",
        "+ host1.eth0: address 10.1.0.1/24",
        "+ host1: route default via 10.1.0.2 dev eth0",
    ]
    assert left == []


def test_a_removed_bridge_comes_back_with_its_ports() -> None:
    base = wanted_state(bridged_lan())
    kernel = MemoryKernel()
    kernel.perform(diff(State(), base))
    kernel.perform((Remove(link(base, "host1.br0")),))
    plan, left = missing(kernel.observe(base), base)
    kernel.perform(plan)
    assert kernel.observe(base) == base
    assert left == ()


def test_an_address_moved_to_the_students_bridge_does_not_come_back() -> None:
    base = wanted_state(routed())
    old = Address(interface("host1.eth0"), ip_interface("10.1.0.1/24"))
    route = next(thing for thing in base if isinstance(thing, Route) and thing.node == "host1")
    moved = Address(interface("host1.br0"), old.address)
    plan, left = restored(plus(without(base, old, route), moved), base)
    assert plan == []
    assert "host1.eth0: address 10.1.0.1/24 (is gone or cannot be made beside what is there)" in left


def test_changed_links_are_named_with_both_values() -> None:
    base = wanted_state(routed())
    cable = link(base, "host1.eth0")
    assert isinstance(cable, Veth)
    narrow = Veth(replace(cable.a, mtu_bytes=1400), cable.b)
    plan, left = restored(plus(base, narrow), base)
    assert plan == []
    assert left == ["host1.eth0: mtu 1500 → 1400"]


def test_a_taken_name_and_what_would_stand_on_it_are_left_alone() -> None:
    base = wanted_state(routed())
    cable = link(base, "host1.eth0")
    assert isinstance(cable, Veth)
    other = VethEnd(interface("host1.mine"), Mac("02:00:00:00:00:02"))
    squatter = veth(VethEnd(interface("host1.eth0"), Mac("02:00:00:00:00:01")), other)
    gone = [thing for thing in base if isinstance(thing, Route) and thing.node == "host1"]
    plan, left = restored(plus(without(base, cable, *gone), squatter), base)
    assert not any("cable" in line for line in plan)
    assert any("lan.host1-eth0" in line for line in left)


def test_another_route_to_the_same_place_stays() -> None:
    base = wanted_state(routed())
    route = next(thing for thing in base if isinstance(thing, Route) and thing.node == "host1")
    assert route.via is not None
    own = replace(route, via=route.via + 5)
    blackhole = Route(route.node, ip_network("172.16.0.0/12"), dev=NicName("eth0"))
    plan, left = restored(plus(without(base, route), own, blackhole), base)
    assert plan == []
    assert len(left) == 3
