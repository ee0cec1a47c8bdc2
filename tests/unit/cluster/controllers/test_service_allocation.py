"""Cluster addresses and node ports: given once, refused in the words of a real server."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_cluster import service

from trenza.cluster.controllers.allocation import AllocationError, Pool, allocated, pool_of
from trenza.cluster.controllers.objects import Object, spec_of

NETWORK = ip_network("10.0.0.0/24")


def asked(**spec: Any) -> Object:
    return service("web", **{"clusterIP": None, **spec})


@given(seeds=st.lists(st.text(max_size=4), max_size=40), kind=st.sampled_from(["ClusterIP", "NodePort"]))
def test_nothing_is_given_twice(seeds: list[str], kind: str) -> None:
    services: list[Object] = []
    for seed in seeds:
        services.append(allocated(asked(type=kind), pool_of(NETWORK, services), seed=seed))
    addresses = [spec_of(each)["clusterIP"] for each in services]
    assert len(set(addresses)) == len(seeds)
    assert all(ip_address(each) in NETWORK for each in addresses)
    ports = [spec_of(each)["ports"][0].get("nodePort") for each in services]
    assert kind == "ClusterIP" or len(set(ports)) == len(seeds)
    assert kind == "ClusterIP" or all(30000 <= port <= 32767 for port in ports)


def test_a_service_has_all_that_belongs_to_its_address() -> None:
    spec = spec_of(allocated(asked(clusterIP="10.0.0.10"), Pool(NETWORK), seed="s"))
    assert spec["clusterIP"] == "10.0.0.10" and spec["clusterIPs"] == ["10.0.0.10"]
    assert spec["ipFamilies"] == ["IPv4"] and spec["ipFamilyPolicy"] == "SingleStack"


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        (
            {"clusterIP": "10.9.9.9"},
            "spec.clusterIPs",
            "failed to allocated ip:10.9.9.9 with error:provided IP is not in the valid range. "
            "The range of valid IPs is 10.0.0.0/24",
        ),
        (
            {"clusterIP": "10.0.0.1"},
            "spec.clusterIPs",
            "failed to allocated ip:10.0.0.1 with error:provided IP is already allocated",
        ),
        (
            {"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]},
            "spec.ports[0].nodePort",
            "provided port is not in the valid range. The range of valid ports is 30000-32767",
        ),
        (
            {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]},
            "spec.ports[0].nodePort",
            "provided port is already allocated",
        ),
    ],
)
def test_a_wish_that_cannot_be_had_is_refused(spec: dict[str, Any], field: str, message: str) -> None:
    other = asked(clusterIP="10.0.0.1", type="NodePort", ports=[{"port": 1, "nodePort": 30080, "protocol": "TCP"}])
    with pytest.raises(AllocationError) as refused:
        allocated(asked(**spec), pool_of(NETWORK, [other]), seed="s")
    assert (refused.value.field, refused.value.message) == (field, message)


def test_headless_and_external_services_have_no_address() -> None:
    assert spec_of(allocated(asked(clusterIP="None"), Pool(NETWORK), seed="s"))["clusterIPs"] == ["None"]
    assert "clusterIP" not in spec_of(allocated(asked(type="ExternalName"), Pool(NETWORK), seed="s"))


def test_tcp_and_udp_of_one_port_share_their_node_port() -> None:
    ports = [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}, {"port": 80, "protocol": "TCP"}]
    given_ports = spec_of(allocated(asked(type="NodePort", ports=ports), Pool(NETWORK), seed="s"))["ports"]
    assert given_ports[0]["nodePort"] == given_ports[1]["nodePort"] != given_ports[2]["nodePort"]


def test_a_service_that_is_no_longer_published_gives_its_node_port_back() -> None:
    ports = [{"port": 80, "nodePort": 30080, "protocol": "TCP"}]
    assert "nodePort" not in spec_of(allocated(asked(ports=ports), Pool(NETWORK), seed="s"))["ports"][0]


def test_a_full_network_says_so() -> None:
    network = ip_network("10.0.0.0/30")
    services: list[Object] = []
    for number in range(2):
        services.append(allocated(asked(), pool_of(network, services), seed=str(number)))
    with pytest.raises(AllocationError, match="range is full"):
        allocated(asked(), pool_of(network, services), seed="s")
