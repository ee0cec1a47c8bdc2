"""Tables: the columns of real kubectl, and what the cells say."""

from __future__ import annotations

from typing import Any

import pytest
from kind_examples import DEPLOYMENTS, JOBS, NOW_S, PODS, SERVICES, created, deployment, pod, service

from trenza.cluster.kinds.names import timestamp
from trenza.cluster.kinds.negotiation import (
    Form,
    aggregated_discovery,
    discovery_media_type,
    wanted_form,
    warning_header,
)
from trenza.cluster.kinds.resources import RESOURCES, Object, find_resource
from trenza.cluster.kinds.status import ApiError
from trenza.cluster.kinds.tables import partial_list, table

KUBECTL_TABLE = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)
HEADERS = {
    "/pods": "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED-NODE READINESS-GATES",
    "/services": "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE SELECTOR",
    "/nodes": "NAME STATUS ROLES AGE VERSION INTERNAL-IP EXTERNAL-IP OS-IMAGE KERNEL-VERSION CONTAINER-RUNTIME",
    "/endpoints": "NAME ENDPOINTS AGE",
    "/replicationcontrollers": "NAME DESIRED CURRENT READY AGE CONTAINERS IMAGES SELECTOR",
    "/events": "LAST-SEEN TYPE REASON OBJECT SUBOBJECT SOURCE MESSAGE FIRST-SEEN COUNT NAME",
    "/namespaces": "NAME STATUS AGE",
    "apps/deployments": "NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR",
    "apps/daemonsets": "NAME DESIRED CURRENT READY UP-TO-DATE AVAILABLE NODE-SELECTOR AGE CONTAINERS IMAGES SELECTOR",
    "batch/jobs": "NAME STATUS COMPLETIONS DURATION AGE CONTAINERS IMAGES SELECTOR",
}


@pytest.mark.parametrize(
    "resource", [one for one in RESOURCES if "list" in one.verbs], ids=lambda one: one.group_plural
)
def test_every_row_has_a_cell_for_every_column(resource: Any) -> None:
    bare = {"kind": resource.kind, "metadata": {"name": "a", "creationTimestamp": timestamp(NOW_S)}}
    written = table(resource, [bare], NOW_S + 5)
    header = [column["name"].upper().replace(" ", "-") for column in written["columnDefinitions"]]
    assert " ".join(header) == HEADERS.get(resource.group_plural, " ".join(header))
    assert len(written["rows"][0]["cells"]) == len(header)
    cells = dict(zip(header, written["rows"][0]["cells"], strict=True))
    assert cells["NAME"] == "a"
    assert cells.get("AGE", "5s") == "5s"
    for column, cell in zip(written["columnDefinitions"], written["rows"][0]["cells"], strict=True):
        assert isinstance(cell, int if column["type"] == "integer" else str), column


def cells_of(resource: Any, written: Object, now_s: float = NOW_S) -> dict[str, Any]:
    made = table(resource, [written], now_s)
    return dict(zip((one["name"] for one in made["columnDefinitions"]), made["rows"][0]["cells"], strict=True))


def status(**more: Any) -> Object:
    return {"status": {"phase": "Running", **more}}


RUNNING = {"name": "c", "ready": True, "state": {"running": {}}, "restartCount": 0}
CRASHED = {
    "name": "c",
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"finishedAt": timestamp(NOW_S - 150)}},
    "restartCount": 3,
}
INIT = [{"name": "i"}, {"name": "j"}]


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ({"status": {"phase": "Pending"}}, "0/1 Pending 0"),
        (status(containerStatuses=[RUNNING]), "1/1 Running 0"),
        (status(containerStatuses=[CRASHED]), "0/1 CrashLoopBackOff 3 (2m30s ago)"),
        (status(containerStatuses=[{"name": "c", "state": {"terminated": {"exitCode": 3}}}]), "0/1 ExitCode:3 0"),
        (status(containerStatuses=[{"name": "c", "state": {"terminated": {"signal": 9}}}]), "0/1 Signal:9 0"),
        (
            status(containerStatuses=[{"name": "c", "state": {"terminated": {"reason": "Completed"}}}]),
            "0/1 Completed 0",
        ),
        ({"status": {"phase": "Failed", "reason": "Evicted"}}, "0/1 Evicted 0"),
        (
            {"spec": {"containers": [{"name": "c"}], "initContainers": INIT}}
            | status(
                initContainerStatuses=[
                    {"name": "i", "state": {"terminated": {"exitCode": 0}}},
                    {"name": "j", "state": {}},
                ]
            ),
            "0/1 Init:1/2 0",
        ),
        (
            {"spec": {"containers": [{"name": "c"}], "initContainers": INIT}}
            | status(initContainerStatuses=[{"name": "i", "state": {"waiting": {"reason": "ErrImagePull"}}}]),
            "0/1 Init:ErrImagePull 0",
        ),
        (
            {"metadata": {"name": "a", "deletionTimestamp": timestamp(NOW_S)}} | status(containerStatuses=[RUNNING]),
            "1/1 Terminating 0",
        ),
    ],
)
def test_a_pods_state_is_one_word(more: Object, shown: str) -> None:
    cells = cells_of(PODS, pod() | more)
    assert f"{cells['Ready']} {cells['Status']} {cells['Restarts']}" == shown


def test_a_service_shows_its_ports_and_addresses() -> None:
    ports = [{"name": "a", "port": 80, "nodePort": 30080}, {"name": "b", "port": 53, "protocol": "UDP"}]
    cells = cells_of(SERVICES, created(SERVICES, service(ports=ports, type="NodePort", clusterIP="10.0.0.7")))
    assert (cells["Cluster-IP"], cells["External-IP"]) == ("10.0.0.7", "<none>")
    assert (cells["Port(s)"], cells["Selector"]) == ("80:30080/TCP,53/UDP", "a=b")
    assert cells_of(SERVICES, service(type="LoadBalancer"))["External-IP"] == "<pending>"


def test_workloads_count() -> None:
    live = created(DEPLOYMENTS, deployment(replicas=3))
    live["status"] = {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1}
    cells = cells_of(DEPLOYMENTS, live, NOW_S + 3600)
    assert [cells[name] for name in ("Ready", "Up-to-date", "Available", "Age")] == ["2/3", 3, 1, "60m"]
    assert (cells["Containers"], cells["Images"], cells["Selector"]) == ("c", "x", "a=b")
    job = {
        "metadata": {"name": "j"},
        "spec": {"completions": 2},
        "status": {
            "succeeded": 2,
            "startTime": timestamp(NOW_S - 10),
            "completionTime": timestamp(NOW_S - 4),
            "conditions": [{"type": "Complete", "status": "True"}],
        },
    }
    cells = cells_of(JOBS, job)
    assert (cells["Status"], cells["Completions"], cells["Duration"]) == ("Complete", "2/2", "6s")


def test_endpoints_are_cut_after_three() -> None:
    endpoints = find_resource("", "v1", "endpoints")
    subset = {"addresses": [{"ip": f"10.0.0.{n}"} for n in range(5)], "ports": [{"port": 80}]}
    shown = cells_of(endpoints, {"metadata": {"name": "e"}, "subsets": [subset]})["Endpoints"]
    assert shown == "10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 2 more..."
    assert cells_of(endpoints, {"metadata": {"name": "e"}})["Endpoints"] == "<none>"


def test_a_node_says_that_it_is_cordoned() -> None:
    nodes = find_resource("", "v1", "nodes")
    node = {
        "metadata": {"name": "w", "labels": {"node-role.kubernetes.io/worker": ""}},
        "spec": {"unschedulable": True},
        "status": {
            "conditions": [{"type": "Ready", "status": "Unknown"}],
            "addresses": [{"type": "InternalIP", "address": "10.9.0.2"}],
        },
    }
    cells = cells_of(nodes, node)
    assert (cells["Status"], cells["Roles"], cells["Internal-IP"]) == (
        "NotReady,SchedulingDisabled",
        "worker",
        "10.9.0.2",
    )


def test_rows_carry_metadata_the_object_or_nothing() -> None:
    written = created(PODS, pod())
    by_default = table(PODS, [written], NOW_S, list_metadata={"resourceVersion": "7"})
    assert by_default["metadata"] == {"resourceVersion": "7"}
    assert by_default["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert table(PODS, [written], NOW_S, include_object="Object")["rows"][0]["object"] == written
    assert "object" not in table(PODS, [written], NOW_S, include_object="None")["rows"][0]
    assert partial_list([written], {})["items"][0]["metadata"]["name"] == "a"


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (KUBECTL_TABLE, Form.TABLE),
        ("application/json", Form.OBJECT),
        ("", Form.OBJECT),
        ("*/*", Form.OBJECT),
        ("application/vnd.kubernetes.protobuf,application/json", Form.OBJECT),
        ("application/json, */*", Form.OBJECT),
        ("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", Form.METADATA),
    ],
)
def test_an_answer_has_the_form_that_was_asked_for(accept: str, form: Form) -> None:
    assert wanted_form(accept) is form


def test_a_form_that_nobody_writes_is_not_acceptable() -> None:
    with pytest.raises(ApiError) as refused:
        wanted_form("text/html")
    assert (refused.value.status_code, refused.value.reason) == (406, "NotAcceptable")


def test_a_warning_is_one_line_of_a_header() -> None:
    assert warning_header('unknown field "spec.foo"\n') == '299 - "unknown field \\"spec.foo\\" "'


def test_only_those_who_ask_get_aggregated_discovery() -> None:
    kubectl = (
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
    )
    assert aggregated_discovery(kubectl) == "v2"
    assert aggregated_discovery("application/json, */*") is None
    assert aggregated_discovery(discovery_media_type("v2beta1")) == "v2beta1"
