"""What a watcher tells of a cluster's objects, one change at a time."""

from __future__ import annotations

from typing import Any

import pytest

from trenza.cluster.changes import endpoint_changes, node_changes, pod_changes, store_changes

Object = dict[str, Any]


def node(ready: str, message: str = "") -> Object:
    return {
        "metadata": {"name": "larrain"},
        "status": {"conditions": [{"type": "Ready", "status": ready, "message": message}]},
    }


def pod(phase: str, *, ending: bool = False) -> Object:
    metadata: Object = {"namespace": "default", "name": "web"}
    if ending:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {
        "metadata": metadata,
        "spec": {"nodeName": "larrain"},
        "status": {"phase": phase, "podIP": "172.16.88.2"},
    }


def endpoint_slice(*addresses: str, unready: str = "") -> Object:
    endpoints: list[Object] = [{"addresses": [address]} for address in addresses]
    if unready:
        endpoints.append({"addresses": [unready], "conditions": {"ready": False}})
    labels = {"kubernetes.io/service-name": "web"}
    return {"metadata": {"namespace": "default", "name": "web-x", "labels": labels}, "endpoints": endpoints}


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (None, node("False"), []),
        (None, node("True"), ["larrain is Ready"]),
        (node("True"), node("True", "still"), []),
        (node("True"), node("Unknown", "silence"), ["larrain is NotReady: silence"]),
        (node("Unknown"), node("True"), ["larrain is Ready"]),
        (node("True"), None, ["larrain is no node of the cluster any more"]),
    ],
)
def test_whether_the_cluster_counts_on_a_node(before: Object | None, now: Object | None, told: list[str]) -> None:
    assert [one.text for one in node_changes(before, now)] == told


def test_changes_are_told_in_spanish_too() -> None:
    every = (
        *node_changes(None, node("True")),
        *node_changes(node("True"), node("Unknown", "silence")),
        *node_changes(node("True"), None),
        *pod_changes(pod("Pending"), pod("Running")),
        *pod_changes(pod("Running"), pod("Failed")),
        *endpoint_changes(endpoint_slice("172.16.88.2"), endpoint_slice("172.16.59.2")),
    )
    assert [one.text_es for one in every] == [
        "larrain está Ready",
        "larrain está NotReady: silence",
        "larrain ya no es nodo del clúster",
        "el pod default/web está en marcha en 172.16.88.2",
        "el pod default/web ha fallado",
        "el servicio default/web ha ganado 172.16.59.2 y ha perdido 172.16.88.2",
    ]


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (None, pod("Pending"), []),
        (pod("Pending"), pod("Running"), [("the pod default/web runs at 172.16.88.2", "Running")]),
        (pod("Running"), pod("Running"), []),
        (pod("Running"), pod("Running", ending=True), [("the pod default/web is to end", "Terminating")]),
        (pod("Running", ending=True), None, [("the pod default/web is gone", "Deleted")]),
        (pod("Running"), pod("Failed"), [("the pod default/web has failed", "Failed")]),
    ],
)
def test_how_far_a_pod_is(before: Object | None, now: Object | None, told: list[tuple[str, str]]) -> None:
    changes = list(pod_changes(before, now))
    assert [(one.text, one.fields["state"]) for one in changes] == told
    assert all(one.node == "larrain" for one in changes)


def test_a_services_endpoints_are_those_that_are_ready() -> None:
    (gained,) = endpoint_changes(None, endpoint_slice("172.16.88.2", unready="172.16.59.2"))
    assert gained.text == "the service default/web has got 172.16.88.2"
    (both,) = endpoint_changes(endpoint_slice("172.16.88.2"), endpoint_slice("172.16.59.2"))
    assert both.text == "the service default/web has got 172.16.59.2 and has lost 172.16.88.2"
    assert both.fields == {
        "state": "endpoints", "service": "default/web", "gained": ["172.16.59.2"], "lost": ["172.16.88.2"],
    }  # fmt: skip
    assert not list(endpoint_changes(endpoint_slice("172.16.88.2"), endpoint_slice("172.16.88.2")))
    (lost,) = endpoint_changes(endpoint_slice("172.16.88.2"), None)
    assert lost.fields["lost"] == ["172.16.88.2"]


URL = "http://10.9.0.2:2379"
CORRUPT = "etcd raised the alarm CORRUPT"


def store(problem: str | None = None, *alarms: str, endpoint: str = URL) -> Object:
    return {"alarms": list(alarms), "members": [{"endpoint": endpoint, "problem": problem}]}


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (None, store(), []),
        (store(), store("connection refused"), [("larrain", "Unwell", "etcd of larrain: connection refused")]),
        (store("no answer"), store("no answer"), []),
        (store("no answer"), store(), [("larrain", "Well", "etcd of larrain is well again")]),
        (None, store(None, CORRUPT), [("", "ReadOnly", f"the store is read-only: {CORRUPT}")]),
        (store(None, CORRUPT), store(None, CORRUPT), []),
        (store(None, CORRUPT), store(), [("", "Writable", "the store takes writes again")]),
        (store(), store("full", "full", endpoint="/x"), [("", "ReadOnly", "the store is read-only: full")]),
    ],
)
def test_what_is_told_of_a_store(before: Object | None, now: Object, told: list[tuple[str, str, str]]) -> None:
    found = [(one.node, one.fields["state"], one.text) for one in store_changes(before, now, {URL: "larrain"})]
    assert found == told
