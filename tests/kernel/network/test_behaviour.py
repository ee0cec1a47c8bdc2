"""What the kernel was told is what the network does: packets get through at once, and survive changes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from grounds import address, bridge, end, ground, line, nic, node, route, star

from trenza.model.names import Mac, NicName, derived_mac
from trenza.model.state import BridgePort, FdbEntry, Macvlan, Neighbour, NodeKind, State, Veth, Vxlan, veth

pytestmark = pytest.mark.kernel


def test_hosts_of_a_star_answer_at_once() -> None:
    """Within a fraction of the second that the kernel's link watch would take."""
    with ground() as there:
        there.become(star(5))
        assert there.pings("h0", "10.0.0.5", deadline_s=0.5)
        assert there.pings("h4", "10.0.0.1", deadline_s=0.5)


def test_a_line_of_routers_forwards_from_end_to_end() -> None:
    with ground() as there:
        there.become(line(12))
        assert there.pings("r0", "10.0.0.42", deadline_s=0.5)
        assert there.pings("r11", "10.0.0.1", deadline_s=0.5)


def test_ipv6_answers_without_waiting_for_duplicate_address_detection() -> None:
    with ground() as there:
        things = [*node("a"), *node("b"), veth(end("a", "eth0"), end("b", "eth0"))]
        things += [address("a", "eth0", "fd00::1/64"), address("b", "eth0", "fd00::2/64")]
        things.append(route("a", "fd01::/64", "fd00::2", "eth0", 1024))
        there.become(State.of(things))
        assert there.pings("a", "fd00::2", deadline_s=1)


def test_routes_over_a_new_bridge_wait_for_it() -> None:
    with ground() as there:
        things = [*node("host", forwarding=True), *node("host/c1"), bridge("host", "br0")]
        things += [veth(end("host", "c1-eth0", "br0"), end("host/c1", "eth0"))]
        things += [address("host", "br0", "10.1.0.1/24"), address("host/c1", "eth0", "10.1.0.2/24")]
        things += [route("host", "10.9.0.0/24", "10.1.0.2", "br0"), route("host/c1", "0.0.0.0/0", "10.1.0.1", "eth0")]
        there.become(State.of(things))
        assert there.pings("host/c1", "10.1.0.1", deadline_s=0.5)


def test_a_vxlan_carries_frames_between_bridges() -> None:
    with ground() as there:
        things = [*node("u"), *node("v"), veth(end("u", "eth0"), end("v", "eth0"))]
        things += [address("u", "eth0", "172.16.0.1/24"), address("v", "eth0", "172.16.0.2/24")]
        for own, here, far in (("u", "172.16.0.1", "172.16.0.2"), ("v", "172.16.0.2", "172.16.0.1")):
            things.append(bridge(own, "br0", mtu_bytes=1450))
            things.append(
                Vxlan(
                    nic(own, "vx1"), derived_mac("lab", own, "vx1"), 42, ip_address(here), ip_address(far),
                    port=BridgePort(NicName("br0")),
                )
            )  # fmt: skip
            things += node(f"{own}/c")
            things.append(veth(end(f"{own}/c", "eth0", mtu_bytes=1450), end(own, "c-eth0", "br0", mtu_bytes=1450)))
        things += [address("u/c", "eth0", "10.0.0.1/24"), address("v/c", "eth0", "10.0.0.2/24")]
        there.become(State.of(things))
        assert there.pings("u/c", "10.0.0.2", deadline_s=2)


def test_flannel_style_entries_lead_through_a_tunnel_that_learns_nothing() -> None:
    with ground() as there:
        things = [*node("u", forwarding=True), *node("v", forwarding=True), veth(end("u", "eth0"), end("v", "eth0"))]
        things += [address("u", "eth0", "172.16.0.1/24"), address("v", "eth0", "172.16.0.2/24")]
        own = {"u": ("172.16.0.1", "10.1.0.0"), "v": ("172.16.0.2", "10.2.0.0")}
        macs = {name: derived_mac("lab", name, "flannel.1") for name in own}
        for name, other in (("u", "v"), ("v", "u")):
            device = nic(name, "flannel.1")
            things.append(
                Vxlan(
                    device, macs[name], 1, ip_address(own[name][0]), udp_port=8472, dev=NicName("eth0"), learning=False
                )
            )
            far, net = ip_address(own[other][0]), ip_address(own[other][1])
            things += [address(name, "flannel.1", f"{own[name][1]}/32"), Neighbour(device, net, macs[other])]
            things.append(FdbEntry(device, macs[other], far))
            things.append(replace(route(name, f"{net}/24", str(net), "flannel.1"), onlink=True))
        there.become(State.of(things))
        assert there.pings("u", "10.2.0.0", deadline_s=2)


def test_a_macvlan_of_a_container_reaches_the_cable_of_its_host() -> None:
    with ground() as there:
        things = [*node("h"), *node("h/c"), *node("k"), veth(end("h", "eth0"), end("k", "eth0"))]
        things.append(Macvlan(nic("h/c", "mv0"), derived_mac("lab", "h/c", "mv0"), nic("h", "eth0")))
        things += [address("h/c", "mv0", "10.0.0.1/24"), address("k", "eth0", "10.0.0.2/24")]
        there.become(State.of(things))
        assert there.pings("h/c", "10.0.0.2", deadline_s=1)


def test_a_host_that_moves_to_another_bridge_answers_there() -> None:
    with ground() as there:
        things = [*node("s", NodeKind.SWITCH), bridge("s", "one"), bridge("s", "two")]
        for name in ("a", "b", "c"):
            things += [*node(name), veth(end(name, "eth0"), end("s", name, "one" if name != "c" else "two"))]
            things.append(address(name, "eth0", f"10.0.0.{ord(name) - 96}/24"))
        first = State.of(things)
        there.become(first)
        assert there.pings("a", "10.0.0.2", deadline_s=0.5)
        assert not there.pings("a", "10.0.0.3", deadline_s=0.1)
        moved = State.of([*things, veth(end("a", "eth0"), end("s", "a", "two"))])
        there.become(moved)
        assert there.pings("a", "10.0.0.3", deadline_s=3)  # it asked in vain before, and asks again after a second
        assert not there.pings("a", "10.0.0.2", deadline_s=0.1)


def test_a_bridge_keeps_its_mtu_when_ports_join() -> None:
    with ground() as there:
        things = [*node("s", NodeKind.SWITCH), *node("h"), bridge("s", "br0", mtu_bytes=1500)]
        there.become(State.of(things))
        narrow = veth(end("h", "eth0", mtu_bytes=1300), end("s", "p", "br0", mtu_bytes=1300))
        there.become(State.of([*things, narrow]))
        assert "mtu 1500" in there.run("s", "ip link show br0")


def test_the_first_address_of_a_subnet_goes_without_the_second() -> None:
    with ground() as there:
        things = [*node("a"), *node("b"), veth(end("a", "eth0"), end("b", "eth0"))]
        both = [address("a", "eth0", "10.0.0.1/24"), address("a", "eth0", "10.0.0.2/24")]
        there.become(State.of([*things, *both]))
        there.become(State.of([*things, both[1]]))


def test_a_bridge_port_has_no_link_local_address_and_gets_one_when_it_leaves() -> None:
    with ground() as there:
        things = [*node("s", NodeKind.SWITCH), *node("h"), bridge("s", "br0")]
        port = veth(end("h", "eth0"), end("s", "p", "br0"))
        there.become(State.of([*things, port]))
        assert "fe80" not in there.run("s", "ip -6 address show dev p")
        free = Veth(port.a, replace(port.b, port=None))
        there.become(State.of([*things, free]))
        assert "fe80" in there.run("s", "ip -6 address show dev p")
        there.become(State.of([*things, port]))
        assert "fe80" not in there.run("s", "ip -6 address show dev p")


def test_a_static_entry_sends_frames_to_its_port() -> None:
    with ground() as there:
        wanted = star(3)
        mac = Mac("02:00:00:00:00:99")
        wanted = State.of([*wanted, FdbEntry(nic("lan", "h1-eth0"), mac)])
        there.become(wanted)
        assert "static" in there.run("lan", f"bridge fdb show dev h1-eth0 | grep {mac}")
