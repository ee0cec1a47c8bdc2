"""Lists and their pages, deletions, bindings, and events in both spellings."""

from __future__ import annotations

import copy
from ipaddress import IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kind_examples import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, NOW_S, PODS, SERVICES, created, deployment, pod, service

from trenza.cluster.kinds.conversion import served_form, stored_form
from trenza.cluster.kinds.deletion import DeleteOptions, Propagation, delete_options, deleted, is_gone
from trenza.cluster.kinds.listing import Continue, list_options, read_continue, revision_of, write_continue
from trenza.cluster.kinds.names import timestamp
from trenza.cluster.kinds.protobuf import MAGIC, decoded
from trenza.cluster.kinds.resources import Object, find_resource
from trenza.cluster.kinds.status import ApiError
from trenza.cluster.kinds.strategies import addressed, bound, for_update
from trenza.cluster.kinds.validation.objects import validate_new
from trenza.cluster.kinds.validation.services import Ranges, cluster_ip_taken, node_port_taken


def test_a_query_is_read_once() -> None:
    query = {"watch": "1", "resourceVersion": "7", "allowWatchBookmarks": "true", "timeoutSeconds": "30"}
    options = list_options(query | {"labelSelector": "a=b", "fieldSelector": "metadata.name=x"}, PODS)
    assert (options.watch, options.bookmarks, options.revision, options.timeout_s) == (True, True, 7, 30)
    assert options.labels.holds({"a": "b"})
    assert options.fields.exact("metadata.name") == "x"
    assert list_options({}, PODS).revision is None
    assert list_options({"watch": "false", "limit": "500"}, PODS).limit == 500


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        (
            {"resourceVersionMatch": "Exact"},
            422,
            'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden '
            "unless resourceVersion is provided",
        ),
        (
            {"watch": "1", "resourceVersion": "abc"},
            500,
            'resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": invalid syntax',
        ),
        ({"continue": "zzz"}, 400, "invalid continue token: continue key is not valid: "),
        ({"fieldSelector": "spec.foo=x"}, 400, "field label not supported: spec.foo"),
        ({"watch": "1", "sendInitialEvents": "true"}, 422, "sendInitialEvents: Forbidden: "),
        ({"limit": "many"}, 400, "unable to decode query parameter limit"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused_as_recorded(query: dict[str, str], code: int, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        list_options(query, PODS)
    assert refused.value.status_code == code
    assert message in refused.value.message


@given(st.integers(1, 2**62), st.text(min_size=1, max_size=20))
def test_a_page_goes_on_where_the_last_one_ended(revision: int, key: str) -> None:
    place = Continue(revision, key)
    assert read_continue(write_continue(place)) == place


@given(st.text(max_size=20))
def test_any_token_is_a_place_or_a_bad_request(token: str) -> None:
    for read in (read_continue, revision_of):
        try:
            read(token)
        except ApiError as error:
            assert error.status_code in (400, 500)


def scheduled(**more: Any) -> Object:
    return created(PODS, pod(nodeName="w", **more))


def test_a_pod_on_a_node_is_given_its_grace() -> None:
    ended = deleted(PODS, scheduled(), DeleteOptions(), NOW_S)
    assert not ended.gone
    assert ended.object["metadata"]["deletionTimestamp"] == timestamp(NOW_S + 30)
    assert ended.object["metadata"]["deletionGracePeriodSeconds"] == 30
    again = deleted(PODS, ended.object, DeleteOptions(grace_s=5), NOW_S + 1)
    assert again.object["metadata"]["deletionTimestamp"] == timestamp(NOW_S + 6)
    slower = deleted(PODS, again.object, DeleteOptions(grace_s=60), NOW_S + 2)
    assert slower.object["metadata"]["deletionTimestamp"] == timestamp(NOW_S + 6)
    assert deleted(PODS, ended.object, DeleteOptions(grace_s=0), NOW_S).gone


def test_what_no_node_runs_is_gone_at_once() -> None:
    assert deleted(PODS, created(PODS, pod()), DeleteOptions(), NOW_S).gone
    assert deleted(PODS, scheduled() | {"status": {"phase": "Failed"}}, DeleteOptions(), NOW_S).gone
    assert deleted(SERVICES, created(SERVICES, service()), DeleteOptions(), NOW_S).gone


def test_finalizers_hold_an_object_as_recorded() -> None:
    live = created(CONFIG_MAPS, {"metadata": {"name": "fin", "finalizers": ["x.io/f"]}})
    ended = deleted(CONFIG_MAPS, live, DeleteOptions(), NOW_S)
    assert ended.object["metadata"]["deletionTimestamp"] == timestamp(NOW_S)
    assert ended.object["metadata"]["deletionGracePeriodSeconds"] == 0
    assert not is_gone(ended.object)
    released = copy.deepcopy(ended.object)
    del released["metadata"]["finalizers"]
    assert is_gone(for_update(CONFIG_MAPS, ended.object, released))


@pytest.mark.parametrize(
    ("propagation", "finalizers"),
    [(Propagation.FOREGROUND, ["foregroundDeletion"]), (Propagation.ORPHAN, ["orphan"])],
)
def test_dependents_are_waited_for(propagation: Propagation, finalizers: list[str]) -> None:
    live = created(DEPLOYMENTS, deployment())
    ended = deleted(DEPLOYMENTS, live, DeleteOptions(propagation=propagation), NOW_S)
    assert ended.object["metadata"]["finalizers"] == finalizers
    assert ended.object["metadata"]["generation"] == 2
    assert deleted(DEPLOYMENTS, ended.object, DeleteOptions(propagation=Propagation.BACKGROUND), NOW_S).gone


def test_a_namespace_goes_when_it_is_empty() -> None:
    live = created(NAMESPACES, {"metadata": {"name": "probe"}})
    ended = deleted(NAMESPACES, live, DeleteOptions(), NOW_S)
    assert ended.object["status"]["phase"] == "Terminating"
    assert not is_gone(ended.object)
    ended.object["spec"]["finalizers"] = []
    assert is_gone(ended.object)


def test_preconditions_are_kept() -> None:
    with pytest.raises(ApiError, match="UID in precondition: other") as refused:
        deleted(PODS, scheduled(), DeleteOptions(uid="other"), NOW_S)
    assert refused.value.status_code == 409


def test_the_options_of_a_deletion() -> None:
    body = {"gracePeriodSeconds": 0, "propagationPolicy": "Foreground", "preconditions": {"uid": "u"}}
    assert delete_options(body, {}) == DeleteOptions(0, Propagation.FOREGROUND, "u")
    assert delete_options({}, {"gracePeriodSeconds": "5", "dryRun": "All"}) == DeleteOptions(5, dry_run=True)
    assert delete_options({"orphanDependents": True}, {}).propagation is Propagation.ORPHAN
    for wrong in ({"propagationPolicy": "Sideways"}, {"gracePeriodSeconds": -1}, {"dryRun": ["Some"]}):
        with pytest.raises(ApiError, match=r"DeleteOptions\.meta\.k8s\.io") as refused:
            delete_options(wrong, {})
        assert refused.value.status_code == 422


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


def test_an_event_is_the_same_in_both_spellings() -> None:
    new = find_resource("events.k8s.io", "v1", "events")
    assert new is not None
    event = {
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "a"},
        "reason": "Pulled",
        "message": "done",
        "count": 2,
        "reportingComponent": "kubelet",
    }
    served = served_form(event, new)
    assert (served["regarding"]["name"], served["note"], served["apiVersion"]) == ("a", "done", "events.k8s.io/v1")
    assert served["reportingController"] == "kubelet"
    assert stored_form(served) == event


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
    assert cluster_ip_taken("10.0.0.1").message == (
        'Invalid value: []string{"10.0.0.1"}: failed to allocated ip:10.0.0.1 with error:provided IP is '
        "already allocated"
    )
    taken = node_port_taken(0, 30080)
    assert (taken.field, taken.message) == (
        "spec.ports[0].nodePort",
        "Invalid value: 30080: provided port is already allocated",
    )
