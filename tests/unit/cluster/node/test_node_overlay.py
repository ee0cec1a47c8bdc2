"""Flannel's keys and what a host makes of them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trenza.cluster.node.docker0 import docker_mac, wanted_bridge
from trenza.cluster.node.overlay import (
    HOST_GW,
    Lease,
    OverlayConfig,
    overlap_words,
    own_lease,
    read_config,
    read_lease,
    subnet_env,
    wanted_overlay,
)
from trenza.errors import TrenzaError
from trenza.model.names import Interface, Mac, NicName, NodeName
from trenza.model.state import Address, Bridge, FdbEntry, Neighbour, Route, State, Vxlan
from trenza.plan.diff import diff

CONFIG = OverlayConfig(IPv4Network("172.16.0.0/16"))
LARRAIN = Lease(IPv4Network("172.16.27.0/24"), IPv4Address("10.9.0.2"), mac=Mac("02:00:00:00:00:02"))
CONCEPCION = Lease(IPv4Network("172.16.24.0/24"), IPv4Address("10.9.0.3"), mac=Mac("02:00:00:00:00:03"))
NODE, ETH0 = NodeName("larrain"), NicName("eth0")
TUNNEL = Interface(NODE, NicName("flannel.1"))


def test_a_peer_is_one_neighbour_one_forwarding_entry_and_one_route() -> None:
    things = wanted_overlay(NODE, CONFIG, LARRAIN, [LARRAIN, CONCEPCION], nic=ETH0, mtu_bytes=1450)
    assert set(things) == {
        Vxlan(
            TUNNEL, Mac("02:00:00:00:00:02"), 1, IPv4Address("10.9.0.2"), udp_port=8472, dev=ETH0, learning=False,
            mtu_bytes=1450,
        ),
        Address(TUNNEL, IPv4Interface("172.16.27.0/32")),
        Neighbour(TUNNEL, IPv4Address("172.16.24.0"), Mac("02:00:00:00:00:03")),
        FdbEntry(TUNNEL, Mac("02:00:00:00:00:03"), IPv4Address("10.9.0.3")),
        Route(NODE, IPv4Network("172.16.24.0/24"), IPv4Address("172.16.24.0"), NicName("flannel.1"), onlink=True),
    }  # fmt: skip


def test_a_peer_on_the_lan_is_one_route() -> None:
    config = OverlayConfig(CONFIG.network, backend=HOST_GW)
    leases = [Lease(one.subnet, one.public_ip, HOST_GW) for one in (LARRAIN, CONCEPCION)]
    things = wanted_overlay(NODE, config, leases[0], leases, nic=ETH0, mtu_bytes=1500)
    assert things == (Route(NODE, IPv4Network("172.16.24.0/24"), IPv4Address("10.9.0.3"), ETH0),)
    assert config.pod_mtu_bytes(1500) == 1500 and CONFIG.pod_mtu_bytes(1500) == 1450


@pytest.mark.parametrize("subnet", ["10.9.0.0/24", "0.0.0.0/0", "172.16.27.128/25", "172.16.0.0/16"])
def test_a_lease_that_would_take_other_packets_is_no_peer(subnet: str) -> None:
    taker = Lease(IPv4Network(subnet), IPv4Address("10.9.0.3"), mac=Mac("02:00:00:00:00:03"))
    assert len(wanted_overlay(NODE, CONFIG, LARRAIN, [taker], nic=ETH0, mtu_bytes=1450)) == 2


@pytest.mark.parametrize(
    "value",
    [
        {"PublicIP": "10.9.0.3", "BackendData": {"VtepMAC": "nonsense"}},
        {"PublicIP": "10.9.0.3", "BackendData": {"VtepMAC": ["02:00:00:00:00:03"]}},
        {"PublicIP": "10.9.0.3", "BackendData": {"VNI": []}},
        {"PublicIP": "10.9.0.3", "BackendData": 1},
        {"PublicIP": "10.9.0.3", "BackendData": {"VNI": "y"}},
        {"PublicIP": "x"},
        {"PublicIP": None},
        {},
    ],
)
def test_what_is_no_lease_is_passed_over(value: dict[str, object]) -> None:
    assert read_lease("172.16.24.0-24", value) is None
    assert read_lease("nonsense", {"PublicIP": "10.9.0.3"}) is None


def test_a_lease_of_another_backend_is_no_peer() -> None:
    other = Lease(CONCEPCION.subnet, CONCEPCION.public_ip, HOST_GW)
    assert len(wanted_overlay(NODE, CONFIG, LARRAIN, [other], nic=ETH0, mtu_bytes=1450)) == 2


def test_a_lease_is_what_flannel_writes() -> None:
    assert LARRAIN.key == "172.16.27.0-24"
    assert LARRAIN.as_json() == {
        "PublicIP": "10.9.0.2",
        "PublicIPv6": None,
        "BackendType": "vxlan",
        "BackendData": {"VNI": 1, "VtepMAC": "02:00:00:00:00:02"},
    }
    assert read_lease(LARRAIN.key, LARRAIN.as_json()) == LARRAIN
    assert subnet_env(CONFIG, LARRAIN, mtu_bytes=1450).splitlines() == [
        "FLANNEL_NETWORK=172.16.0.0/16", "FLANNEL_SUBNET=172.16.27.1/24", "FLANNEL_MTU=1450", "FLANNEL_IPMASQ=false",
    ]  # fmt: skip


@given(st.sets(st.integers(0, 255), max_size=254), st.text(max_size=9))
def test_a_new_subnet_is_free_and_never_the_first(taken: set[int], seed: str) -> None:
    leases = [Lease(IPv4Network(f"172.16.{n}.0/24"), IPv4Address("10.9.1.0") + n) for n in taken]
    if set(range(1, 256)) <= taken:
        return
    own = own_lease(CONFIG, leases, IPv4Address("10.9.0.2"), Mac("02:00:00:00:00:02"), seed=seed)
    assert own.subnet not in {one.subnet for one in leases} and own.subnet != IPv4Network("172.16.0.0/24")
    again = own_lease(CONFIG, [*leases, own], IPv4Address("10.9.0.2"), Mac("02:00:00:00:00:02"), seed="another")
    assert again == own


def test_a_full_network_says_so() -> None:
    leases = [Lease(IPv4Network(f"172.16.{n}.0/24"), IPv4Address("10.9.1.0") + n) for n in range(256)]
    with pytest.raises(TrenzaError, match="all 255 subnets of 172.16.0.0/16 are taken".replace(".", r"\.")):
        own_lease(CONFIG, leases, IPv4Address("10.9.0.2"), Mac("02:00:00:00:00:02"), seed="")


def test_a_config_is_read_or_refused() -> None:
    assert read_config(CONFIG.as_json()) == CONFIG
    for value in ({}, {"Network": "x"}, {"Network": "10.0.0.0/24", "SubnetLen": 24}, {"Network": "10.0.0.0/16"}):
        with pytest.raises(TrenzaError):
            read_config(value)


def test_a_pod_network_that_overlaps_a_hosts_own_is_told() -> None:
    assert overlap_words(CONFIG, [IPv4Interface("10.9.0.2/24")]) is None
    words = overlap_words(CONFIG, [IPv4Interface("172.16.5.5/24")])
    assert words == "the pod network 172.16.0.0/16 overlaps 172.16.5.5/24 of this host"


def test_the_bridge_is_dockers() -> None:
    assert docker_mac(IPv4Address("172.16.27.7")) == "02:42:ac:10:1b:07"
    things = wanted_bridge(NODE, LARRAIN, IPv4Network("10.254.0.0/16"), mtu_bytes=1450)
    bridge = next(thing for thing in things if isinstance(thing, Bridge))
    assert bridge.mac == "02:42:ac:10:1b:01" and bridge.mtu_bytes == 1450


def test_a_peer_that_goes_takes_only_its_own_along() -> None:
    both = State.of(wanted_overlay(NODE, CONFIG, LARRAIN, [CONCEPCION], nic=ETH0, mtu_bytes=1450))
    alone = State.of(wanted_overlay(NODE, CONFIG, LARRAIN, [], nic=ETH0, mtu_bytes=1450))
    assert len(diff(both, alone)) == 3
