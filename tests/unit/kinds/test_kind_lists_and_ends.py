"""Bindings, and what of a write belongs to its path and to the cluster's ranges."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from kind_examples import NOW_S, PODS, SERVICES, created, pod, service

from trenza.cluster.kinds.protobuf import MAGIC, decoded
from trenza.cluster.kinds.status import ApiError
from trenza.cluster.kinds.strategies import addressed, bound
from trenza.cluster.kinds.validation.objects import validate_new
from trenza.cluster.kinds.validation.services import Ranges


def test_delete_options_may_come_as_protobuf() -> None:
    meta, grace = b"\x0a\x02v1\x12\x0dDeleteOptions", b"\x08\x05"
    body = MAGIC + b"\x0a" + bytes([len(meta)]) + meta + b"\x12" + bytes([len(grace)]) + grace
    assert decoded(body) == {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 5}


def test_a_binding_is_made_once() -> None:
    free = created(PODS, pod())
    assigned = bound(PODS, free, {"metadata": {"name": "a"}, "target": {"name": "w"}}, NOW_S)
    assert assigned["spec"]["nodeName"] == "w"
    assert assigned["status"]["conditions"][0]["type"] == "PodScheduled"
    with pytest.raises(ApiError, match="name in URL does not match name in Binding object"):
        bound(PODS, free, {"metadata": {"name": "b"}, "target": {"name": "w"}}, NOW_S)
    with pytest.raises(ApiError, match='pod a is already assigned to node "w"') as refused:
        bound(PODS, assigned, {"target": {"name": "v"}}, NOW_S)
    assert refused.value.status_code == 409


def test_the_path_says_where_an_object_belongs() -> None:
    assert addressed(PODS, pod(), "n", "a")["metadata"]["namespace"] == "n"
    with pytest.raises(ApiError, match=r"the name of the object \(a\) does not match the name on the URL \(b\)"):
        addressed(PODS, pod(), "n", "b")
    nameless = pod() | {"metadata": {}}
    with pytest.raises(ApiError, match=r"the name of the object \(ap based on URL\) was undeterminable"):
        addressed(PODS, nameless, "n", "ap")
    elsewhere = pod() | {"metadata": {"name": "a", "namespace": "m"}}
    with pytest.raises(ApiError, match="does not match the namespace sent on the request"):
        addressed(PODS, elsewhere, "n")


def test_addresses_and_ports_of_the_cluster_are_its_own() -> None:
    ranges = Ranges(IPv4Network("10.0.0.0/24"))
    with pytest.raises(ApiError) as refused:
        validate_new(SERVICES, created(SERVICES, service("s1", clusterIP="10.9.9.9")), ranges)
    assert refused.value.message == (
        'Service "s1" is invalid: spec.clusterIPs: Invalid value: []string{"10.9.9.9"}: failed to allocated '
        "ip:10.9.9.9 with error:provided IP is not in the valid range. The range of valid IPs is 10.0.0.0/24"
    )
