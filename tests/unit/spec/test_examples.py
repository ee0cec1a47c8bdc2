"""The design's examples work as written, and so do the shipped labs."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface, ip_address

import pytest

from trenza.model.checks import PathTaken, Ping
from trenza.model.lab import ToBridge, ToHost, ToNic, Unplugged
from trenza.model.names import Interface, NicName, NodeName
from trenza.model.services import Keepalived, VrrpOptions
from trenza.model.state import NodeKind
from trenza.spec import Choices, read

from . import labs
from .labs import bridge, lab_of, nic, node

VIRTUAL = IPv4Interface("172.16.1.254/32")
LAN = ToBridge(NodeName("lan"), NicName("lan"))


def test_the_bridged_lab_as_designed() -> None:
    lab = lab_of(labs.BRIDGED)
    assert [(each.name, each.kind) for each in lab.nodes] == [
        ("lan", NodeKind.SWITCH),
        ("host1", NodeKind.HOST),
        ("host1/c1", NodeKind.CONTAINER),
        ("host2", NodeKind.HOST),
        ("host2/c2", NodeKind.CONTAINER),
    ]
    assert nic(lab, "host1.eth0").to == LAN
    assert [port.name for port in bridge(lab, "host1.br0").ports] == ["eth0"]
    c1 = nic(lab, "host1/c1.eth0")
    assert c1.to == ToBridge(NodeName("host1"), NicName("br0"))
    assert c1.addresses == (IPv4Interface("10.0.0.11/24"),)
    assert node(lab, "lan").bridges[0].name == "lan"
    (checkpoint,) = lab.checkpoints
    assert (checkpoint.name, checkpoint.points) == ("bridged", 50)
    assert checkpoint.title["es"] == "Puenteado a través de la LAN"
    c1, c2 = NodeName("host1/c1"), NodeName("host2/c2")
    ping, way = checkpoint.checks[0].question, checkpoint.checks[1].question
    assert ping == Ping(c1, c2)
    assert way == PathTaken(c1, c2, hops=(ip_address("10.0.0.12"),))


def test_the_base_of_the_bridged_lab_is_bare_machines() -> None:
    lab = lab_of(labs.BRIDGED, Choices(start=True))
    assert [each.name for each in lab.nodes] == ["lan", "host1", "host2"]
    assert node(lab, "host1").bridges == ()


def test_the_routed_lab_as_designed() -> None:
    lab = lab_of(labs.ROUTED)
    assert node(lab, "host1").forwarding
    assert str(node(lab, "host1").routes[0].via) == "10.1.0.2"
    c3 = nic(lab, "host2/c3.eth0")
    assert c3.to == ToHost(NodeName("host2"))
    assert c3.peer.name == "v3"
    assert c3.peer.addresses == (IPv4Interface("192.168.2.1/30"),)
    assert str(c3.gateways[0]) == "192.168.2.1"


def test_the_balanced_lab_as_designed() -> None:
    lab = lab_of(labs.BALANCED)
    assert nic(lab, "swout1.eth1").to == ToNic(Interface(NodeName("vm1"), NicName("enp0s8")))
    assert nic(lab, "vm1.enp0s8").cable == "w1"
    assert nic(lab, "vm1/bal1.out").peer.name == "vbal1out"
    (keepalived,) = node(lab, "vm1/bal1").services
    assert isinstance(keepalived, Keepalived)
    assert keepalived.vrrp == (VrrpOptions("vrrpext", NicName("out"), 12, 150, addresses=(VIRTUAL,)),)
    stp = bridge(lab, "swout2.swout2").stp
    assert stp is not None
    assert (stp.priority, stp.forward_delay_s, stp.hello_time_s) == (4096, 15, None)
    assert [variant.name for variant in lab.variants] == ["garp-refresh"]


def test_a_profile_changes_parameters() -> None:
    lab = labs.reading(labs.BALANCED, Choices(profile="fast")).lab
    stp = bridge(lab, "swout2.swout2").stp
    assert stp is not None
    assert stp.forward_delay_s == 2
    assert lab.parameters == {"forward_delay": 2, "hello_time": 1, "max_age": 6}


def test_until_counts_checkpoints_by_name_and_by_number() -> None:
    by_name = lab_of(labs.BALANCED, Choices(until="outer-subnet"))
    assert by_name == lab_of(labs.BALANCED, Choices(until="1"))
    assert "vm1/bal1" not in [each.name for each in by_name.nodes]
    assert lab_of(labs.BALANCED, Choices(until="2")) == lab_of(labs.BALANCED)


@pytest.mark.parametrize("choices", [Choices(), Choices(start=True), Choices(until="1")], ids=str)
@pytest.mark.parametrize("name", labs.SHIPPED)
def test_shipped_labs_have_nothing_to_be_said_about(name: str, choices: Choices) -> None:
    if choices.until is not None and not read(labs.SHIPPED[name], name).lab.checkpoints:
        return  # nothing to stop at
    result = read(labs.SHIPPED[name], name, choices)
    assert result.problems == ()
    assert result.lab.name == name
    assert {"en", "es"} <= result.lab.title.keys()
    assert all({"en", "es"} <= checkpoint.title.keys() for checkpoint in result.lab.checkpoints)


def test_the_shipped_routed_lab_is_the_designed_one_but_for_its_silence() -> None:
    lab = read(labs.SHIPPED["routed"], "routed").lab
    machines = [each for each in lab.nodes if each.kind is not NodeKind.SWITCH]
    assert all(("net.ipv6.conf.default.disable_ipv6", "1") in each.sysctls for each in machines)
    assert tuple(replace(each, sysctls=()) for each in lab.nodes) == lab_of(labs.ROUTED).nodes
    assert [checkpoint.points for checkpoint in lab.checkpoints] == [45]


def test_the_shipped_routed_lab_starts_as_bare_machines() -> None:
    lab = read(labs.SHIPPED["routed"], "routed", Choices(start=True)).lab
    assert [each.name for each in lab.nodes] == ["lan", "host1", "host2"]
    assert not any(each.forwarding or each.routes or each.bridges for each in lab.nodes if each.name != "lan")
    assert nic(lab, "host1.eth0").addresses == ()


def test_the_shipped_bridged_lab_gives_the_hosts_addresses_on_their_bridges() -> None:
    lab = read(labs.SHIPPED["bridged-lan"], "bridged-lan").lab
    assert bridge(lab, "host1.br0").addresses == (IPv4Interface("10.0.0.1/24"),)
    assert bridge(lab, "host2.br0").addresses == (IPv4Interface("10.0.0.2/24"),)
    assert sum(checkpoint.points for checkpoint in lab.checkpoints) == 50
    assert nic(lab, "host1.eth0").addresses == ()


def test_the_shipped_namespaces_are_a_triangle_of_container_routers() -> None:
    lab = read(labs.SHIPPED["namespaces"], "namespaces").lab
    assert [each.name for each in lab.nodes if each.forwarding] == ["host/r1", "host/r2", "host/r3"]
    for each in lab.nodes:
        for one in each.nics:
            assert isinstance(one.to, ToNic)
            assert nic(lab, str(one.to.other)).to == ToNic(Interface(each.name, one.name))
    start = read(labs.SHIPPED["namespaces"], "namespaces", Choices(start=True)).lab
    assert [each.name for each in start.nodes] == ["host"]


def test_a_nic_without_a_plug_is_unplugged() -> None:
    lab = lab_of("lab: x\nhosts: {h1: {nics: {eth0: {}}}}\n")
    assert nic(lab, "h1.eth0").to == Unplugged()
