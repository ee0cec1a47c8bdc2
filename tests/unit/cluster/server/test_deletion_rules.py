"""What a deletion does, by kind, grace, policy and finalizers."""

from __future__ import annotations

from typing import Any

import pytest

from trenza.cluster.kinds.names import timestamp
from trenza.cluster.kinds.resources import Object, Resource, find_resource
from trenza.cluster.kinds.status import ApiError
from trenza.cluster.server.deletion import DeleteOptions, Gone, Marked, delete_options, deleted, may_go

NOW_S = 1_800_000_000.0
AS_IT_IS = DeleteOptions()


def kind(plural: str, group: str = "") -> Resource:
    found = find_resource(group, "v1", plural)
    assert found is not None
    return found


def thing(**fields: Any) -> Object:
    metadata = {"name": "x", "namespace": "default", "uid": "u", "resourceVersion": "7", **fields.pop("metadata", {})}
    return {"kind": "X", "apiVersion": "v1", "metadata": metadata, **fields}


def marked(resource: Resource, live: Object, options: DeleteOptions = AS_IT_IS) -> Object:
    becomes = deleted(resource, live, options, NOW_S)
    assert isinstance(becomes, Marked)
    return becomes.object


def test_most_things_go_at_once() -> None:
    assert deleted(kind("configmaps"), thing(), DeleteOptions(), NOW_S) == Gone()


def test_a_pod_goes_at_once_only_where_no_node_has_it() -> None:
    pods = kind("pods")
    bound = thing(spec={"nodeName": "n", "terminationGracePeriodSeconds": 9}, status={"phase": "Running"})
    assert deleted(pods, thing(spec={}), DeleteOptions(), NOW_S) == Gone()
    assert deleted(pods, {**bound, "status": {"phase": "Failed"}}, DeleteOptions(), NOW_S) == Gone()
    assert deleted(pods, bound, DeleteOptions(grace_s=0), NOW_S) == Gone()
    assert marked(pods, bound)["metadata"]["deletionGracePeriodSeconds"] == 9
    assert marked(pods, bound, DeleteOptions(grace_s=-5))["metadata"]["deletionGracePeriodSeconds"] == 1


def test_grace_gets_shorter_and_never_longer() -> None:
    pods = kind("pods")
    once = marked(pods, thing(spec={"nodeName": "n"}))
    assert marked(pods, once, DeleteOptions(grace_s=50)) == once
    assert marked(pods, once) == once
    assert marked(pods, once, DeleteOptions(grace_s=3))["metadata"]["deletionGracePeriodSeconds"] == 3


@pytest.mark.parametrize(
    ("plural", "group", "policy", "finalizers"),
    [
        ("deployments", "apps", "Foreground", ["foregroundDeletion"]),
        ("deployments", "apps", "Orphan", ["orphan"]),
        ("replicationcontrollers", "", None, ["orphan"]),
        ("jobs", "batch", None, ["orphan"]),
    ],
)
def test_a_policy_is_a_finalizer(plural: str, group: str, policy: str | None, finalizers: list[str]) -> None:
    live = thing(metadata={"generation": 3})
    left = marked(kind(plural, group), live, DeleteOptions(policy=policy))["metadata"]
    assert (left["finalizers"], left["generation"]) == (finalizers, 4)


def test_background_takes_an_earlier_policy_back() -> None:
    waiting = marked(kind("deployments", "apps"), thing(), DeleteOptions(policy="Foreground"))
    assert deleted(kind("deployments", "apps"), waiting, DeleteOptions(policy="Background"), NOW_S) == Gone()
    assert marked(kind("deployments", "apps"), waiting) == waiting


def test_a_namespace_waits_for_its_finalizer_and_says_so() -> None:
    namespaces = kind("namespaces")
    live = thing(spec={"finalizers": ["kubernetes"]}, status={"phase": "Active"})
    ending = marked(namespaces, live)
    assert ending["status"] == {"phase": "Terminating"}
    assert not may_go(namespaces, ending)
    assert may_go(namespaces, {**ending, "spec": {"finalizers": []}})
    with pytest.raises(ApiError, match="may not be deleted"):
        deleted(namespaces, thing(metadata={"name": "default"}), DeleteOptions(), NOW_S)


@pytest.mark.parametrize("options", [DeleteOptions(uid="v"), DeleteOptions(resource_version="8")])
def test_preconditions_are_kept(options: DeleteOptions) -> None:
    with pytest.raises(ApiError, match="Precondition failed"):
        deleted(kind("configmaps"), thing(), options, NOW_S)


@pytest.mark.parametrize(
    "body",
    [{"propagationPolicy": "x"}, {"propagationPolicy": "Orphan", "orphanDependents": True}, {"dryRun": ["x"]}],
)
def test_options_that_mean_nothing_are_refused(body: Object) -> None:
    with pytest.raises(ApiError) as refused:
        delete_options(body)
    assert refused.value.status_code == 422


def test_orphan_dependents_is_the_old_word_for_a_policy() -> None:
    assert delete_options({"orphanDependents": True}).policy == "Orphan"
    assert delete_options({"orphanDependents": False}).policy == "Background"


def test_a_shorter_grace_period_counts_from_when_the_deletion_was_asked_for() -> None:
    pods = kind("pods")
    first = marked(pods, thing(spec={"nodeName": "n"}), DeleteOptions(30))
    second = deleted(pods, first, DeleteOptions(20), NOW_S + 10)
    assert isinstance(second, Marked)
    assert second.object["metadata"]["deletionTimestamp"] == timestamp(NOW_S + 20)
    assert second.object["metadata"]["deletionGracePeriodSeconds"] == 20
