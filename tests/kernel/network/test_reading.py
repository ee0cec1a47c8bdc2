"""What is read back: by pyroute2, which shares no code with ours, and by observe and measure what others made."""

from __future__ import annotations

import os
import select
import time
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from grounds import Ground, address, bridge, end, ground, nic, node, route, star

from trenza.model.measurements import PortMeasure
from trenza.model.names import Mac, NicName, NodeName, derived_mac
from trenza.model.state import (
    ZERO_MAC,
    Bridge,
    BridgePort,
    FdbEntry,
    Macvlan,
    MacvlanMode,
    Neighbour,
    NodeKind,
    OtherLink,
    Route,
    RouteType,
    State,
    Thing,
    Vxlan,
    link_key,
    veth,
)
from trenza.plan.diff import diff

pytestmark = pytest.mark.kernel


def read_by_pyroute2(there: Ground, name: str) -> dict[str, list[Any]]:
    """Everything in a node, as pyroute2 decodes it."""
    from pyroute2 import IPRoute  # type: ignore[import-untyped]  # it has no types

    with there.home.inside(there.nodes.alive()[NodeName(name)].netns), IPRoute() as reader:
        return {
            "links": list(reader.get_links()),
            "addresses": list(reader.get_addr()),
            "routes": list(reader.get_routes(table=254)),
            "neighbours": list(reader.get_neighbours()),
            "fdb": list(reader.fdb("dump")),
        }


def test_pyroute2_reads_what_we_wrote() -> None:
    with ground() as there:
        things = [*node("s", NodeKind.SWITCH), *node("h")]
        tree = bridge(
            "s", "br0", mtu_bytes=1400, ageing_time_s=30, stp=True, priority=4096, forward_delay_s=4.5,
            hello_time_s=1, max_age_s=6.25,
        )  # fmt: skip
        port = replace(end("s", "p", "br0", mtu_bytes=1400), port=BridgePort(NicName("br0"), 7, 8))
        things += [tree, veth(end("h", "eth0", mtu_bytes=1400), port)]
        things += [address("h", "eth0", "10.0.0.1/24"), address("h", "eth0", "fd00::1/64")]
        things += [route("h", "10.9.0.0/16", "10.0.0.9", "eth0", 5), route("h", "fd09::/64", "fd00::9", "eth0", 77)]
        things += [Route(NodeName("h"), route("h", "10.8.0.0/16", None, None).to, type=RouteType.PROHIBIT)]
        things += [Neighbour(nic("h", "eth0"), ip_address("10.0.0.7"), Mac("02:00:00:00:00:07"))]
        tunnel = Vxlan(
            nic("h", "vx"), derived_mac("lab", "h", "vx"), 4242, ip_address("10.0.0.1"), None, 8472, NicName("eth0"),
            learning=False, mtu_bytes=1350,
        )  # fmt: skip
        things += [tunnel, FdbEntry(tunnel.interface, ZERO_MAC, ip_address("10.0.0.8"))]
        things += [FdbEntry(nic("s", "p"), Mac("02:00:00:00:00:09"))]
        there.become(State.of(things))

        switch, host = read_by_pyroute2(there, "s"), read_by_pyroute2(there, "h")
        links = {link.get("ifname"): link for link in (*switch["links"], *host["links"])}
        data = links["br0"].get(("linkinfo", "data"))
        assert links["br0"].get("mtu") == 1400
        assert links["br0"].get("address") == tree.mac
        assert (data.get("br_forward_delay"), data.get("br_hello_time")) == (450, 100)
        assert data.get("br_max_age") in (624, 625)  # a clock of 250 ticks a second cannot keep the latter
        assert (data.get("br_ageing_time"), data.get("br_stp_state"), data.get("br_priority")) == (3000, 1, 4096)
        slave = dict(dict(links["p"].get("linkinfo")["attrs"])["IFLA_INFO_SLAVE_DATA"]["attrs"])
        assert (slave["IFLA_BRPORT_COST"], slave["IFLA_BRPORT_PRIORITY"]) == (7, 8)
        assert links["p"].get("master") == links["br0"]["index"]
        assert links["p"].get("link") == links["eth0"]["index"]
        assert links["p"].get("num_tx_queues") == 1
        vx = links["vx"].get(("linkinfo", "data"))
        assert (vx.get("vxlan_id"), vx.get("vxlan_port"), vx.get("vxlan_learning")) == (4242, 8472, 0)
        assert vx.get("vxlan_local") == "10.0.0.1"
        assert vx.get("vxlan_link") == links["eth0"]["index"]
        shown = {(one.get("address"), one["prefixlen"]) for one in host["addresses"]}
        assert {("10.0.0.1", 24), ("fd00::1", 64)} <= shown
        routes = {(one.get("dst"), one["dst_len"]): one for one in host["routes"] if one.get("dst")}
        assert routes["10.9.0.0", 16].get("gateway") == "10.0.0.9"
        assert routes["10.9.0.0", 16].get("priority") == 5
        assert routes["fd09::", 64].get("priority") == 77
        assert routes["10.8.0.0", 16]["type"] == 8
        assert ("10.0.0.7", "02:00:00:00:00:07", 0x80) in {
            (one.get("dst"), one.get("lladdr"), one["state"]) for one in host["neighbours"]
        }
        assert ("00:00:00:00:00:00", "10.0.0.8") in {(one.get("lladdr"), one.get("dst")) for one in host["fdb"]}
        assert ("02:00:00:00:00:09", links["br0"]["index"]) in {
            (one.get("lladdr"), one.get("master")) for one in switch["fdb"]
        }


def test_what_a_person_typed_is_observed() -> None:
    with ground() as there:
        base = State.of([*node("a"), *node("b"), veth(end("a", "eth0"), end("b", "eth0"))])
        there.become(base)
        there.run(
            "a",
            "ip link add br7 type bridge stp_state 1 forward_delay 400 &&"
            "ip link set br7 up address 02:00:00:00:00:77 &&"
            "ip link set eth0 master br7 && bridge link set dev eth0 cost 9 priority 3 &&"
            "ip address add 10.7.0.1/24 dev br7 && ip route add 10.8.0.0/16 via 10.7.0.2 &&"
            "ip route add blackhole 10.9.0.0/16 && ip neighbour add 10.7.0.9 lladdr 02:00:00:00:00:09 dev br7 &&"
            "bridge fdb add 02:00:00:00:00:55 dev eth0 master static &&"
            "ip link add mv link br7 type macvlan mode private && ip link add ifb7 type ifb",
        )
        seen = there.kernel.observe(base)
        assert seen.things[link_key(nic("a", "br7"))] == Bridge(
            nic("a", "br7"), Mac("02:00:00:00:00:77"), stp=True, forward_delay_s=4
        )
        joined = seen.provided[link_key(nic("a", "eth0"))]
        assert joined == veth(replace(end("a", "eth0"), port=BridgePort(NicName("br7"), 9, 3)), end("b", "eth0"))
        macvlan = seen.things[link_key(nic("a", "mv"))]
        assert isinstance(macvlan, Macvlan)
        assert (macvlan.parent, macvlan.mode) == (nic("a", "br7"), MacvlanMode.PRIVATE)
        assert seen.things[link_key(nic("a", "ifb7"))] == OtherLink(nic("a", "ifb7"), "ifb")
        added = {
            address("a", "br7", "10.7.0.1/24"),
            route("a", "10.8.0.0/16", "10.7.0.2", "br7"),
            Route(NodeName("a"), route("a", "10.9.0.0/16", None, None).to, type=RouteType.BLACKHOLE),
            Neighbour(nic("a", "br7"), ip_address("10.7.0.9"), Mac("02:00:00:00:00:09")),
            FdbEntry(nic("a", "eth0"), Mac("02:00:00:00:00:55")),
        }
        assert added <= set(seen)
        there.kernel.perform(diff(seen, base))
        assert there.kernel.observe(base) == base


def test_leases_and_routes_of_daemons_are_not_configuration() -> None:
    with ground() as there:
        base = State.of([*node("a"), *node("b"), veth(end("a", "eth0"), end("b", "eth0"))])
        there.become(base)
        there.run(
            "a",
            "ip address add 10.0.0.1/24 dev eth0 valid_lft 600 preferred_lft 600 &&"
            "ip route add 10.5.0.0/16 via 10.0.0.2 proto dhcp && ip route add 10.6.0.0/16 via 10.0.0.2 proto bird",
        )
        assert there.kernel.observe(base) == base
        measured = there.kernel.measure([NodeName("a")])
        assert ("10.0.0.1/24", "dhcp") in {(one.address, one.origin) for one in measured.addresses}
        assert {"dhcp", "bird", "kernel"} <= {one.protocol for one in measured.routes}


def test_veths_of_people_with_equal_numbers_are_told_apart() -> None:
    """A kernel left to itself numbers alike in every namespace, so that only the namespaces' ids tell the pairs."""
    with ground() as there:
        names = ("a", "b", "c", "d")
        base = State.of([thing for name in names for thing in node(name)])
        there.become(base)
        for one, other in (("a", "b"), ("c", "d")):
            far = there.nodes.alive()[NodeName(other)].netns
            there.run(one, f"ip link add x type veth peer name y netns /proc/{os.getpid()}/fd/{far}")
        measured = {link.interface: link for link in there.kernel.measure().links}
        assert measured[nic("a", "x")].index == measured[nic("c", "x")].index
        assert measured[nic("a", "x")].peer == nic("b", "y")
        assert measured[nic("d", "y")].peer == nic("c", "x")
        assert there.kernel.observe(base).provided[link_key(nic("b", "y"))].key == ("veth", "a", "x", "b", "y")


def test_a_veth_whose_peer_left_the_lab_is_another_link() -> None:
    with ground() as there:
        base = State.of(node("a"))
        there.become(base)
        foreign = there.home.make_netns()
        there.run("a", f"ip link add x type veth peer name y netns /proc/{os.getpid()}/fd/{foreign}")
        assert there.kernel.observe(base).things[link_key(nic("a", "x"))] == OtherLink(nic("a", "x"), "veth")
        os.close(foreign)


def test_an_explicit_cost_equal_to_the_kernels_is_kept() -> None:
    with ground() as there:
        things = [*node("s", NodeKind.SWITCH), *node("h"), bridge("s", "br0")]
        port = replace(end("s", "p"), port=BridgePort(NicName("br0"), 2))
        there.become(State.of([*things, veth(end("h", "eth0"), port)]))


def ring() -> State:
    """Three bridges in a ring, the first with the best priority, the third with the worst."""
    things: list[Thing] = []
    names = ("one", "two", "three")
    for number, name in enumerate(names):
        things += node(name, NodeKind.SWITCH)
        things.append(
            bridge(name, "br", stp=True, priority=4096 * (number + 1), forward_delay_s=2, hello_time_s=1, max_age_s=6)
        )
    for first, second in (("one", "two"), ("two", "three"), ("one", "three")):
        things.append(veth(end(first, f"to-{second}", "br"), end(second, f"to-{first}", "br")))
    return State.of(things)


def await_ports(there: Ground, expected: dict[str, tuple[str, str]], deadline_s: float = 15) -> list[PortMeasure]:
    """The ports, as soon as their roles and states are as expected."""
    deadline = time.monotonic() + deadline_s
    watch = there.kernel.watch()
    while True:
        ports = list(there.kernel.measure().ports)
        seen = {str(port.interface): (port.role, port.state) for port in ports}
        if seen == expected:
            watch.close()
            return ports
        left = deadline - time.monotonic()
        assert left > 0, seen
        select.select([watch], [], [], min(left, 1))
        watch.read()


def test_the_spanning_tree_is_told_with_roles_and_the_right_root() -> None:
    with ground() as there:
        there.become(ring())
        ports = await_ports(
            there,
            {
                "one.to-two": ("designated", "forwarding"),
                "one.to-three": ("designated", "forwarding"),
                "two.to-one": ("root", "forwarding"),
                "two.to-three": ("designated", "forwarding"),
                "three.to-one": ("root", "forwarding"),
                "three.to-two": ("alternate", "blocking"),
            },
        )
        root = "1000." + derived_mac("lab", "one", "br").replace(":", "")
        assert {port.designated_root for port in ports} == {root}
        bridges = {one.interface.node: one for one in there.kernel.measure().bridges}
        assert {one.root_id for one in bridges.values()} == {root}
        assert bridges[NodeName("one")].bridge_id == root
        assert bridges[NodeName("three")].root_port == "to-one"
        assert (bridges[NodeName("one")].root_path_cost, bridges[NodeName("three")].root_path_cost) == (0, 2)


def test_tables_are_measured_with_ages_and_counters_with_peers() -> None:
    with ground() as there:
        there.become(star(2))
        assert there.pings("h0", "10.0.0.2")
        measured = there.kernel.measure()
        learnt = {one.interface.nic: one for one in measured.fdb if one.origin == "learnt"}
        assert learnt[NicName("h0-eth0")].mac == derived_mac("lab", "h0", "eth0")
        assert learnt[NicName("h0-eth0")].bridge == "lan"
        assert 0 <= (learnt[NicName("h0-eth0")].age_s or 0) < 5
        assert "REACHABLE" in {one.state for one in measured.neighbours if one.interface == nic("h0", "eth0")}
        link = next(one for one in measured.links if one.interface == nic("h0", "eth0"))
        assert link.carrier
        assert link.peer == nic("lan", "h0-eth0")
        assert min(link.rx_packets, link.tx_packets, link.rx_bytes, link.tx_bytes) > 0
        assert ("127.0.0.1/8", "host", "kernel") in {
            (one.address, one.scope, one.origin) for one in measured.addresses if one.interface.node == "h0"
        }


def test_a_pulled_cable_a_new_address_and_a_new_link_are_heard() -> None:
    with ground() as there:
        there.become(star(2))
        watch = there.kernel.watch()
        watch.read()
        there.run("h0", "ip link set eth0 down; ip address add 10.5.0.1/24 dev lo; ip link add q type bridge")
        texts: set[tuple[str, str, str]] = set()
        deadline = time.monotonic() + 3
        expected = {
            ("h0", "link", "eth0: down, no carrier"),
            ("h0", "link", "q is there"),
            ("h0", "address", "lo has 10.5.0.1/24"),
            ("lan", "link", "h0-eth0: no carrier"),
            ("lan", "stp", "h0-eth0 of lan is disabled"),
        }
        while not expected <= texts and time.monotonic() < deadline:
            select.select([watch], [], [], 0.5)
            texts |= {(event.node, event.kind, event.text) for event in watch.read()}
        assert expected <= texts, texts
        watch.follow({})
        assert watch.read() == ()
        watch.close()


def test_a_watch_says_when_it_lost_something() -> None:
    with ground() as there:
        there.become(star(1))
        watch = there.kernel.watch()
        lines = "for i in $(seq 6000); do echo address add 10.7.$((i / 250)).$((i % 250 + 1))/32 dev lo; done"
        there.run("h0", f"{lines} | ip -batch -")
        assert "lost" in {event.kind for event in watch.read()}
        watch.close()


def test_observing_twice_reads_only_what_changed() -> None:
    with ground() as there:
        wanted = star(20)
        there.become(wanted)
        there.run("h3", "ip address add 10.7.0.1/24 dev eth0")
        plan = diff(there.kernel.observe(wanted), wanted)
        assert [operation.key for operation in plan] == [("address", "h3", "eth0", "10.7.0.1/24")]
