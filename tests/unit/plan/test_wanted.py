"""What a lab wants: names, MACs, MTUs, routes, and the decisions that its file does not show."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, ip_address, ip_interface, ip_network
from typing import TypeVar

import pytest
from example_labs import LAN, bridged_lan, nic, routed, star, switch

from trenza.errors import UsageError
from trenza.linux.doctor import requirements
from trenza.memory import MemoryKernel
from trenza.model.lab import (
    BridgeSpec,
    Cable,
    FdbSpec,
    FileSpec,
    Lab,
    MacvlanSpec,
    Nic,
    NodeSpec,
    Port,
    RouteSpec,
    Stp,
    ToBridge,
    ToHost,
    ToNat,
    ToNic,
    VxlanSpec,
)
from trenza.model.names import Interface, NicName, NodeName, derived_mac
from trenza.model.services import RunService
from trenza.model.state import (
    ZERO_MAC,
    Address,
    Bridge,
    BridgePort,
    FdbEntry,
    File,
    Macvlan,
    MacvlanMode,
    Node,
    NodeKind,
    Process,
    Route,
    State,
    Sysctl,
    Thing,
    Veth,
    VethEnd,
    Vxlan,
)
from trenza.plan.diff import diff
from trenza.plan.wanted import WATCHED_SYSCTLS, digest_of, wanted_state

T = TypeVar("T", bound=Thing)


def of(state: State, kind: type[T]) -> list[T]:
    return [thing for thing in state if isinstance(thing, kind)]


def ends(state: State) -> dict[str, VethEnd]:
    return {str(end.interface): end for thing in of(state, Veth) for end in thing.ends}


def host(name: str, *nics: Nic, **more: object) -> NodeSpec:
    return replace(NodeSpec(NodeName(name), NodeKind.HOST, nics=nics), **more)  # type: ignore[arg-type]


def lab(*nodes: NodeSpec, cables: tuple[Cable, ...] = ()) -> Lab:
    return Lab("lab", nodes=nodes, cables=cables)


@pytest.mark.parametrize("example", [bridged_lan(), routed(), star(30)], ids=lambda example: example.name)
def test_a_lab_can_be_built_and_is_then_there(example: Lab) -> None:
    wanted = wanted_state(example)
    kernel = MemoryKernel()
    kernel.perform(diff(State(), wanted))
    assert kernel.observe(wanted) == wanted


def test_far_ends_are_named_after_the_node_and_join_the_bridge() -> None:
    found = ends(wanted_state(bridged_lan()))
    assert set(found) == {
        "host1.eth0", "lan.host1-eth0", "host2.eth0", "lan.host2-eth0",
        "host1/c1.eth0", "host1.c1-eth0", "host2/c2.eth0", "host2.c2-eth0",
    }  # fmt: skip
    assert found["lan.host1-eth0"].port == BridgePort(NicName("lan"))
    assert found["host1.eth0"].port == BridgePort(NicName("br0"))
    assert found["host1.c1-eth0"].port == BridgePort(NicName("br0"))
    assert found["host1/c1.eth0"].port is None


def test_macs_are_derived_from_lab_node_and_nic() -> None:
    wanted = wanted_state(bridged_lan())
    assert ends(wanted)["host1.c1-eth0"].mac == derived_mac("bridged-lan", "host1", "c1-eth0")
    assert {bridge.mac for bridge in of(wanted, Bridge)} == {
        derived_mac("bridged-lan", "lan", "lan"),
        derived_mac("bridged-lan", "host1", "br0"),
        derived_mac("bridged-lan", "host2", "br0"),
    }


def test_gateways_and_routes_find_their_interface() -> None:
    default = IPv4Network("0.0.0.0/0")
    assert {(route.node, route.to, str(route.via), route.dev) for route in of(wanted_state(routed()), Route)} == {
        ("host1", default, "10.1.0.2", "eth0"),
        ("host2", default, "10.1.0.1", "eth0"),
        ("host1/c1", default, "192.168.1.1", "eth0"),
        ("host2/c3", default, "192.168.2.1", "eth0"),
    }


def test_the_host_side_of_a_veth_has_its_name_and_addresses() -> None:
    wanted = wanted_state(routed())
    assert "host2.v3" in ends(wanted)
    at_v3 = [one.address for one in of(wanted, Address) if str(one.interface) == "host2.v3"]
    assert at_v3 == [ip_interface("192.168.2.1/30")]


def test_forwarding_is_wanted_of_every_node() -> None:
    values = {(one.node, one.name): one.value for one in of(wanted_state(routed()), Sysctl)}
    for node, value in (("host1", "1"), ("host1/c1", "0"), ("lan", "0")):
        assert [values[(NodeName(node), name)] for name in WATCHED_SYSCTLS] == [value, value]
    assert values[(NodeName("lan"), "net.ipv6.conf.default.disable_ipv6")] == "1"


def test_a_sysctl_has_one_name_and_single_blanks() -> None:
    sysctls = (("net.ipv4.conf.all.forwarding", "1"), ("net.ipv4.ip_local_port_range", "1024\t 2048 "))
    found = {one.name: one.value for one in of(wanted_state(lab(host("h", sysctls=sysctls))), Sysctl)}
    assert found["net.ipv4.ip_forward"] == "1"
    assert found["net.ipv4.ip_local_port_range"] == "1024 2048"
    assert "net.ipv4.conf.all.forwarding" not in found


def test_an_unplugged_nic_has_a_far_end_that_is_down_in_its_own_node() -> None:
    wanted = wanted_state(lab(host("h", Nic(NicName("eth0")))))
    found = ends(wanted)
    assert found["h.eth0"].up and not found["h.free-eth0"].up


def test_a_cable_between_nics_is_tied_once() -> None:
    one, other = Interface(NodeName("a"), NicName("eth0")), Interface(NodeName("b"), NicName("eth1"))
    wanted = wanted_state(lab(host("a", Nic(one.nic, ToNic(other))), host("b", Nic(other.nic, ToNic(one)))))
    (veth,) = of(wanted, Veth)
    assert (veth.a.interface, veth.b.interface) == (one, other)


def test_a_cable_between_switches_names_both_ports() -> None:
    def end(name: str) -> ToBridge:
        return ToBridge(NodeName(name), NicName(name))

    cables = (
        Cable("k12", (end("s1"), end("s2"))),
        Cable("loop", (end("s1"), end("s1"))),
        Cable("loose", (end("s1"), None)),
        Cable("nowhere", (None, None)),
    )
    s1 = NodeSpec(
        NodeName("s1"), NodeKind.SWITCH, bridges=(BridgeSpec(NicName("s1"), ports=(Port(NicName("k12"), cost=9),)),)
    )
    found = ends(wanted_state(lab(s1, switch("s2"), cables=cables)))
    assert set(found) == {"s1.k12", "s2.k12", "s1.loop", "s1.loop-2", "s1.loose", "s1.free-loose"}
    assert found["s1.k12"].port == BridgePort(NicName("s1"), 9)
    assert found["s2.k12"].port == BridgePort(NicName("s2"))
    assert not found["s1.free-loose"].up


def test_port_options_apply_to_ports_of_either_kind() -> None:
    ports = (Port(NicName("eth0"), cost=2), Port(NicName("c-eth0"), priority=16))
    node = host("h", Nic(NicName("eth0"), LAN), bridges=(BridgeSpec(NicName("br0"), ports=ports),))
    inner = NodeSpec(
        NodeName("h/c"), NodeKind.CONTAINER, node.name, nics=(nic("eth0", ToBridge(node.name, NicName("br0"))),)
    )
    found = ends(wanted_state(lab(switch("lan"), node, inner)))
    assert found["h.eth0"].port == BridgePort(NicName("br0"), None)  # 2 is the kernel's own for a veth
    assert found["h.c-eth0"].port == BridgePort(NicName("br0"), None, 16)


def test_stp_options_have_the_standards_defaults() -> None:
    specs = (BridgeSpec(NicName("br0"), stp=Stp(priority=4096, forward_delay_s=4)), BridgeSpec(NicName("br1")))
    br0, br1 = of(wanted_state(lab(host("h", bridges=specs))), Bridge)
    assert (br0.stp, br0.priority, br0.forward_delay_s, br0.hello_time_s, br0.max_age_s) == (True, 4096, 4, 2, 20)
    assert (br1.stp, br1.priority, br1.forward_delay_s) == (False, 32768, 15)


def tunnel(**more: object) -> VxlanSpec:
    return replace(VxlanSpec(NicName("vx1"), 42), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "mtu_bytes"),
    [
        (tunnel(), 1450),
        (tunnel(local=ip_address("10.0.0.1"), remotes=(ip_address("10.0.0.2"),)), 1550),
        (tunnel(local=ip_address("fd00::1")), 1530),
        (tunnel(dev=NicName("eth0")), 1550),
        (tunnel(dev=NicName("eth0"), mtu_bytes=1600), 1550),
        (tunnel(mtu_bytes=1400), 1400),
    ],
)
def test_a_tunnel_is_as_wide_as_what_is_below_allows(spec: VxlanSpec, mtu_bytes: int) -> None:
    below = replace(nic("eth0", LAN, "10.0.0.1/24", "fd00::1/64"), mtu_bytes=1600)
    (vxlan,) = of(wanted_state(lab(switch("lan"), host("h", below, vxlans=(spec,)))), Vxlan)
    assert vxlan.mtu_bytes == mtu_bytes


def test_a_bridge_is_as_wide_as_its_narrowest_port() -> None:
    bridge = BridgeSpec(NicName("br0"), ports=(Port(NicName("vx1")), Port(NicName("eth0"))))
    node = host("h", Nic(NicName("eth0"), LAN), bridges=(bridge,), vxlans=(tunnel(),))
    found = {one.interface.nic: one.mtu_bytes for one in of(wanted_state(lab(switch("lan"), node)), Bridge)}
    assert found == {"br0": 1450, "lan": 1500}


def test_a_tunnel_over_its_own_bridge_still_has_an_mtu() -> None:
    address = ip_interface("10.0.0.1/24")
    bridge = BridgeSpec(NicName("br0"), ports=(Port(NicName("vx1")),), addresses=(address,))
    (vxlan,) = of(wanted_state(lab(host("h", bridges=(bridge,), vxlans=(tunnel(local=address.ip),)))), Vxlan)
    assert 1400 <= vxlan.mtu_bytes <= 1450


def test_several_remotes_are_entries_and_a_single_one_is_the_tunnels_own() -> None:
    two, three = ip_address("10.0.0.2"), ip_address("10.0.0.3")
    mac = derived_mac("a", "b", "c")
    several = wanted_state(lab(host("h", vxlans=(tunnel(remotes=(two, three), fdb=(FdbSpec(mac, two),)),))))
    (vxlan,) = of(several, Vxlan)
    assert vxlan.remote is None
    assert {(one.mac, one.destination) for one in of(several, FdbEntry)} == {
        (ZERO_MAC, two),
        (ZERO_MAC, three),
        (mac, two),
    }
    single = wanted_state(lab(host("h", vxlans=(tunnel(remotes=(two,), fdb=(FdbSpec(ZERO_MAC, two),)),))))
    (vxlan,) = of(single, Vxlan)
    assert vxlan.remote == two and not of(single, FdbEntry)


def test_a_passthru_macvlan_has_its_parents_mac_and_none_is_wider_than_it() -> None:
    eth0 = Interface(NodeName("h"), NicName("eth0"))
    specs = (
        MacvlanSpec(NicName("mv0"), eth0, MacvlanMode.PASSTHRU),
        MacvlanSpec(NicName("mv1"), eth0, mtu_bytes=9000),
    )
    wanted = wanted_state(lab(switch("lan"), host("h", Nic(eth0.nic, LAN, mtu_bytes=1400), macvlans=specs)))
    passthru, bridge = of(wanted, Macvlan)
    assert passthru.mac == ends(wanted)["h.eth0"].mac
    assert (passthru.mtu_bytes, bridge.mtu_bytes) == (1400, 1400)


def test_no_route_is_wanted_over_a_nic_that_is_down() -> None:
    down = replace(nic("eth0", LAN, "10.0.0.1/24", gateway="10.0.0.254"), up=False)
    routes = (RouteSpec(ip_network("172.16.0.0/16"), ip_address("10.0.0.9")),)
    assert not of(wanted_state(lab(switch("lan"), host("h", down, routes=routes))), Route)


def test_a_next_hop_may_lie_behind_a_route_of_the_interface() -> None:
    routes = (
        RouteSpec(ip_network("192.0.2.1/32"), dev=NicName("eth0")),
        RouteSpec(ip_network("172.16.0.0/16"), ip_address("192.0.2.1")),
    )
    wanted = wanted_state(lab(switch("lan"), host("h", nic("eth0", LAN, "10.0.0.1/24"), routes=routes)))
    assert {route.dev for route in of(wanted, Route)} == {"eth0"}


def test_ipv6_routes_have_the_kernels_metric() -> None:
    wanted = wanted_state(lab(switch("lan"), host("h", nic("eth0", LAN, "fd00::1/64", gateway="fd00::ff"))))
    (route,) = of(wanted, Route)
    assert (str(route.to), route.metric) == ("::/0", 1024)


def test_an_interface_below_1280_bytes_has_no_ipv6() -> None:
    small = replace(nic("eth0", LAN, "10.0.0.1/24", "fd00::1/64", gateway="fd00::ff"), mtu_bytes=1279)
    wanted = wanted_state(lab(switch("lan"), host("h", small)))
    assert [str(one.address) for one in of(wanted, Address)] == ["10.0.0.1/24"]
    assert not of(wanted, Route)


def test_a_nic_that_goes_out_leads_into_a_node_of_its_own() -> None:
    wanted = wanted_state(lab(host("h", Nic(NicName("eth0"), ToNat())), host("i", Nic(NicName("eth0"), ToNat()))))
    kinds = {node.name: node.kind for node in of(wanted, Node)}
    assert kinds == {
        "h": NodeKind.HOST, "i": NodeKind.HOST, "nat:h:eth0": NodeKind.UPLINK, "nat:i:eth0": NodeKind.UPLINK,
    }  # fmt: skip
    found = ends(wanted)
    assert {"h.eth0", "nat:h:eth0.up", "nat:h:eth0.relay", "nat:h:eth0.slirp"} <= found.keys()
    ports = {name for name, end in found.items() if name.startswith("nat:h:") and end.port is not None}
    assert ports == {"nat:h:eth0.up", "nat:h:eth0.slirp"}
    assert diff(wanted, wanted) == ()
    assert requirements(wanted) >= {"program:slirp4netns", "program:nft"}


def test_a_nic_with_dhcp_has_a_client_that_waits_for_its_lease_and_for_the_spanning_tree() -> None:
    leasing = Nic(NicName("eth0"), LAN, dhcp=True)
    (client,) = of(wanted_state(lab(switch("lan"), host("h", leasing))), Process)
    assert client.name == "dhcp-eth0"
    assert client.argv[0] == "udhcpc"
    assert client.ready.file == "/run/udhcpc/eth0"
    assert requirements(State.of([client])) >= {"program:udhcpc"}
    tree = BridgeSpec(NicName("br0"), stp=Stp(forward_delay_s=4))
    (slow,) = of(wanted_state(lab(switch("lan"), host("h", leasing), replace(host("s"), bridges=(tree,)))), Process)
    assert slow.ready.deadline_s == client.ready.deadline_s + 8


def test_files_have_digests_and_daemons_restart_with_their_config() -> None:
    run = RunService("web", ("httpd", "-f", "/etc/web.conf"))
    files = (FileSpec("/etc/web.conf", source="web.conf"), FileSpec("/etc/motd", text="hello\n"))
    example = lab(host("h", files=files, services=(run,)))
    one = wanted_state(example, {"web.conf": b"1"})
    other = wanted_state(example, {"web.conf": b"2"})
    assert [file.digest for file in of(one, File)] == [digest_of(b"1"), digest_of(b"hello\n")]
    assert of(one, File)[0].content == b"1"
    assert of(one, Process) != of(other, Process)
    with pytest.raises(UsageError, match=r"web\.conf"):
        wanted_state(example)


def test_hostnames_are_bare() -> None:
    assert [node.hostname for node in of(wanted_state(routed()), Node)] == ["lan", "host1", "c1", "host2", "c3"]


def test_a_host_end_can_itself_be_a_port() -> None:
    bridge = BridgeSpec(NicName("br0"), ports=(Port(NicName("c-eth0")),))
    inner = NodeSpec(NodeName("h/c"), NodeKind.CONTAINER, NodeName("h"), nics=(nic("eth0", ToHost(NodeName("h"))),))
    found = ends(wanted_state(lab(host("h", bridges=(bridge,)), inner)))
    assert found["h.c-eth0"].port == BridgePort(NicName("br0"))
