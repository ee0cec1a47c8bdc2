"""What `show cluster SERVICE` answers, from hand-made objects."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest

from trenza.cluster.explained import explained
from trenza.errors import UsageError
from trenza.model.cluster import Cluster, Member
from trenza.model.names import NodeName

CLUSTER = Cluster(
    Member(NodeName("playancha"), IPv4Address("10.9.0.1")),
    (Member(NodeName("larrain"), IPv4Address("10.9.0.2")), Member(NodeName("concepcion"), IPv4Address("10.9.0.3"))),
)
SLICE = {
    "metadata": {"namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
    "addressType": "IPv4",
    "endpoints": [{"addresses": ["172.16.88.2"], "nodeName": "larrain"}],
    "ports": [{"port": 80, "protocol": "TCP"}],
}


def lines(language: str = "en", **spec: Any) -> list[str]:
    whole = {"clusterIP": "10.254.0.7", "ports": [{"port": 80, "nodePort": 30080}], **spec}
    service = {"metadata": {"namespace": "default", "name": "web"}, "spec": whole}
    return explained(CLUSTER, [service], [SLICE], "default", "web", language)


def test_one_host_speaks_for_all() -> None:
    said = lines()
    assert said[0] == "larrain (10.9.0.2), as every node does"
    assert "    every connection goes to 172.16.88.2:80" in said
    assert not any("concepcion" in line for line in said)
    assert lines("es")[0] == "larrain (10.9.0.2), como cada nodo"


def test_where_each_host_serves_with_its_own_pods_each_speaks() -> None:
    said = lines(externalTrafficPolicy="Local")
    assert [line for line in said if not line.startswith(" ")] == ["larrain (10.9.0.2)", "concepcion (10.9.0.3)"]
    assert said[-1].endswith("none, so it is dropped")
    said = lines(internalTrafficPolicy="Local")
    assert [line for line in said if not line.startswith(" ")] == ["larrain (10.9.0.2)", "concepcion (10.9.0.3)"]
    assert said.count("    every connection goes to 172.16.88.2:80") == 1
    assert "    this host has no endpoint, and a packet is dropped" in said


def test_a_service_without_an_address_says_so() -> None:
    assert lines(clusterIP="None") == [
        "default/web has no address of its own: its name has those of its pods, and no host rewrites anything"
    ]
    assert lines(type="ExternalName", externalName="example.org") == ["default/web is another name of example.org"]


def test_an_unknown_service_is_refused_with_the_names_there_are() -> None:
    known = {"metadata": {"namespace": "default", "name": "kubernetes"}, "spec": {}}
    with pytest.raises(UsageError) as caught:
        explained(CLUSTER, [known], [], "default", "web", "en")
    assert caught.value.hint == "services: default/kubernetes"
