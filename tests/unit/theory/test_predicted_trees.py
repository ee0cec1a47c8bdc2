"""The textbook's trees: roots, roles, costs, and what decided."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest
from practica6 import at, practica6, without

from trenza.model.measurements import PortMeasure
from trenza.model.names import Mac, NicName, NodeName, derived_mac
from trenza.model.state import (
    Address,
    Bridge,
    BridgePort,
    Loopback,
    Macvlan,
    Node,
    NodeKind,
    State,
    Thing,
    Veth,
    VethEnd,
    Vxlan,
    veth,
)
from trenza.theory.outage import notices_at_once
from trenza.theory.spanning_tree import SpanningTrees, Tie, spanning_trees
from trenza.theory.words import port_text, tie_text


def bridges(*names: str, **options: object) -> list[Thing]:
    """Bridges with STP, one in a node of its own name each; ids rise in the order given."""
    made: list[Thing] = []
    for number, name in enumerate(names):
        made += [Node(NodeName(name), NodeKind.SWITCH), Loopback(at(f"{name}.lo"))]
        mac = Mac(f"02:00:00:00:00:{number:02x}")
        made.append(replace(Bridge(at(f"{name}.br"), mac, stp=True), **options))  # type: ignore[arg-type]
    return made


def cable(one: str, other: str, *, cost: int | None = None, priority: int = 32) -> Veth:
    """A cable between ports of two bridges; `cost` and `priority` are those of the first."""
    ends = [
        VethEnd(at(text), derived_mac("lab", text, ""), port=BridgePort(NicName("br"), *options))
        for text, options in ((one, (cost, priority)), (other, (None, 32)))
    ]
    return veth(*ends)


def roles(trees: SpanningTrees) -> dict[str, str]:
    return {str(port.interface): port.role for port in trees.ports.values()}


def blocked(trees: SpanningTrees) -> set[str]:
    return {str(port.interface) for port in trees.ports.values() if port.state == "blocking"}


def test_in_practica_6_the_port_of_swout1_towards_vswout2_is_blocked() -> None:
    trees = spanning_trees(practica6())
    swout1 = trees.bridges[at("swout1.swout1")]
    assert blocked(trees) == {"swout1.eth2"}
    assert swout1.root == at("swout2.swout2")
    assert swout1.root_id == "1000.020000000a02"
    assert (swout1.root_path_cost, swout1.root_port) == (4, "eth1")
    port = trees.ports[at("swout1.eth2")]
    assert port.role == "alternate"
    assert port.for_root is not None
    assert (port.for_root.tie, port.for_root.won, port.for_root.lost) == (
        Tie.BRIDGE, "8000.020000000b01", "8000.020000000b02",
    )  # fmt: skip
    assert port.for_root.winner == at("swout1.eth1")
    assert port.for_segment is not None
    assert (port.for_segment.tie, port.for_segment.winner) == (Tie.COST, at("vm2.enp0s8"))
    assert (port.for_segment.won, port.for_segment.lost) == ("2", "4")


def test_in_a_ring_the_port_of_vswout1_towards_vswout2_is_blocked() -> None:
    """swout1, swout2, vswout2, vswout1, with a cable between the two switches; swout1 has the lower id."""
    made = bridges("swout1", "swout2", "vswout1", "vswout2")
    made = [replace(one, priority=4096) if one.key == ("link", "swout2", "br") else one for one in made]  # type: ignore[call-arg]
    ring = [
        cable("swout1.a", "swout2.a"), cable("swout2.b", "vswout2.a"), cable("vswout2.b", "vswout1.a"),
        cable("vswout1.b", "swout1.b"),
    ]  # fmt: skip
    trees = spanning_trees(State.of([*made, *ring]))
    assert blocked(trees) == {"vswout1.a"}
    reason = trees.ports[at("vswout1.a")].for_root
    assert reason is not None
    assert reason.tie is Tie.BRIDGE


def test_a_cost_that_is_set_moves_the_tree() -> None:
    made = bridges("a", "b", "c")
    ring = [cable("b.x", "a.x", cost=10), cable("c.x", "a.y"), cable("b.y", "c.y")]
    trees = spanning_trees(State.of([*made, *ring]))
    assert blocked(trees) == {"b.x"}
    assert trees.bridges[at("b.br")].root_path_cost == 4
    reason = trees.ports[at("b.x")].for_root
    assert reason is not None
    assert (reason.tie, reason.won, reason.lost) == (Tie.COST, "4", "10")


def test_of_two_cables_the_order_of_joining_decides_and_is_a_guess_unless_measured() -> None:
    state = State.of([*bridges("a", "b"), cable("a.x", "b.x"), cable("a.y", "b.y")])
    trees = spanning_trees(state)
    assert blocked(trees) == {"b.y"}
    reason = trees.ports[at("b.y")].for_root
    assert reason is not None
    assert (reason.tie, reason.won, reason.lost) == (Tie.PORT, "8001", "8002")
    assert reason.by_number
    assert reason.guessed
    assert "whichever port joined first" in tie_text(reason)
    measured = [
        PortMeasure(at(name), NicName("br"), "forwarding", "designated", 2, "", "", 0, number=number)
        for name, number in (("a.x", 2), ("a.y", 1), ("b.x", 1), ("b.y", 2))
    ]
    trees = spanning_trees(state, measured)
    assert blocked(trees) == {"b.x"}
    reason = trees.ports[at("b.x")].for_root
    assert reason is not None
    assert reason.by_number
    assert not reason.guessed


def test_a_ports_priority_decides_before_its_number_and_is_no_guess() -> None:
    trees = spanning_trees(
        State.of([*bridges("a", "b"), cable("a.x", "b.x"), cable("a.y", "b.y", priority=16)])
    )  # fmt: skip
    assert blocked(trees) == {"b.x"}
    reason = trees.ports[at("b.x")].for_root
    assert reason is not None
    assert (reason.tie, reason.won, reason.by_number, reason.guessed) == (Tie.PORT, "4002", False, False)


def test_a_bridge_without_stp_is_a_segment_that_several_ports_share() -> None:
    made = bridges("a", "b", "c", "hub")
    made = [replace(one, stp=False) if one.key == ("link", "hub", "br") else one for one in made]  # type: ignore[call-arg]
    cables = [cable(f"{name}.x", f"hub.{name}") for name in "abc"]
    trees = spanning_trees(State.of([*made, *cables, cable("b.y", "c.y")]))
    assert roles(trees) == {
        "a.x": "designated", "b.x": "root", "c.x": "root", "b.y": "designated", "c.y": "alternate",
        "hub.a": "designated", "hub.b": "designated", "hub.c": "designated",
    }  # fmt: skip
    assert trees.bridges[at("c.br")].root_path_cost == 2
    reason = trees.ports[at("c.y")].for_segment
    assert reason is not None
    assert reason.tie is Tie.BRIDGE


def test_two_ports_of_one_bridge_on_one_segment_are_a_designated_and_a_backup() -> None:
    trees = spanning_trees(State.of([*bridges("a"), cable("a.x", "a.y")]))
    assert roles(trees) == {"a.x": "designated", "a.y": "backup"}
    assert blocked(trees) == {"a.y"}


def test_two_ports_that_hear_the_same_offer_are_told_apart_by_their_own_ids() -> None:
    made = bridges("a", "b", "hub")
    made = [replace(one, stp=False) if one.key == ("link", "hub", "br") else one for one in made]  # type: ignore[call-arg]
    cables = [cable("a.x", "hub.a"), cable("b.x", "hub.b"), cable("b.y", "hub.c", priority=8)]
    trees = spanning_trees(State.of([*made, *cables]))
    assert roles(trees)["b.y"] == "root"
    assert roles(trees)["b.x"] == "alternate"
    reason = trees.ports[at("b.x")].for_root
    assert reason is not None
    assert reason.tie is Tie.OWN_PORT


def test_a_bridge_believes_its_own_old_offer_that_a_loop_of_its_own_brings_back() -> None:
    """It takes the backup port for the way to the root, instead of the alternate one, until max age."""
    made = [*bridges("a", "b"), cable("b.x", "a.x"), cable("b.y", "a.y", cost=100)]
    for loop, direct in (((), True), ((cable("b.v", "b.w"),), False)):
        state = State.of([*made, *loop])
        before, after = spanning_trees(state), spanning_trees(without(state, "a.x", "b.x"))
        assert after.ports[at("b.y")].role == "root"
        assert notices_at_once(after.ports[at("b.y")], before, after) is direct


def test_ports_without_carrier_and_ports_of_a_bridge_that_is_down_are_disabled() -> None:
    state = practica6()
    trees = spanning_trees(without(state, "vm1.enp0s8"))
    assert trees.ports[at("swout1.eth1")].state == "disabled"
    assert trees.ports[at("swout1.eth2")].role == "root"
    trees = spanning_trees(without(state, "vm1.vswout1"))
    assert trees.ports[at("vm1.enp0s8")].state == "disabled"
    alone = trees.ports[at("swout1.eth1")]
    assert (alone.state, alone.role) == ("forwarding", "designated"), "its cable keeps carrier"
    assert alone.for_segment is not None
    assert alone.for_segment.tie is Tie.ONLY


@pytest.mark.parametrize(("dev", "cost"), [(None, 100), ("u", 2)])
def test_a_tunnel_joins_the_ports_at_its_ends_and_costs_what_its_device_costs(dev: str | None, cost: int) -> None:
    made = bridges("a", "b")
    made.append(veth(VethEnd(at("a.u"), Mac("02:00:00:00:01:01")), VethEnd(at("b.u"), Mac("02:00:00:00:01:02"))))
    for name, own, far in (("a", "10.9.0.1", "10.9.0.2"), ("b", "10.9.0.2", "10.9.0.1")):
        made.append(Address(at(f"{name}.u"), ip_interface(f"{own}/24")))
        below = None if dev is None else NicName(dev)
        made.append(
            Vxlan(
                at(f"{name}.vx"), derived_mac("lab", name, "vx"), 42, ip_address(own), ip_address(far), dev=below,
                port=BridgePort(NicName("br")),
            )
        )  # fmt: skip
    trees = spanning_trees(State.of(made))
    assert roles(trees) == {"a.vx": "designated", "b.vx": "root"}
    assert trees.bridges[at("b.br")].root_path_cost == cost


def test_a_macvlan_costs_what_its_parent_costs_and_hears_its_cable() -> None:
    made = bridges("a", "b")
    made.append(
        veth(
            VethEnd(at("a.u"), Mac("02:00:00:00:01:01")),
            VethEnd(at("b.p"), Mac("02:00:00:00:01:02"), port=BridgePort(NicName("br"))),
        )
    )
    made.append(Macvlan(at("a.mv"), Mac("02:00:00:00:01:03"), at("a.u"), port=BridgePort(NicName("br"))))
    trees = spanning_trees(State.of(made))
    assert roles(trees) == {"a.mv": "designated", "b.p": "root"}
    assert trees.ports[at("a.mv")].cost == 2


def test_the_timers_in_force_are_the_roots() -> None:
    made = bridges("a", "b")
    made = [replace(one, forward_delay_s=4.0) if one.key == ("link", "a", "br") else one for one in made]  # type: ignore[call-arg]
    trees = spanning_trees(State.of([*made, cable("a.x", "b.x")]))
    assert trees.bridges[at("b.br")].forward_delay_s == 4


def test_two_bridges_with_one_id_are_named() -> None:
    made = [replace(one, mac=Mac("02:00:00:00:00:07")) if isinstance(one, Bridge) else one for one in bridges("a", "b")]
    assert spanning_trees(State.of([*made, cable("a.x", "b.x")])).twins == ((at("a.br"), at("b.br")),)
    assert not spanning_trees(State.of(made)).twins, "they do not hear each other"


def test_reasons_are_told_in_both_languages() -> None:
    port = spanning_trees(practica6()).ports[at("swout1.eth2")]
    assert port_text(port.role, port.for_root, port.for_segment) == (
        "designated is vm2.enp0s8: lower root path cost (2 < 4) than swout1.eth2; root port is eth1: "
        "equal cost, lower bridge id (8000.020000000b01 < 8000.020000000b02) than swout1.eth2"
    )
    assert "menor coste hasta la raíz (2 < 4) que swout1.eth2" in port_text(
        port.role, port.for_root, port.for_segment, "es"
    )
