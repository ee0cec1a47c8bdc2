"""Who owns which field, and what server-side apply makes of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kind_examples import NOW_S, pod, service

from trenza.cluster.kinds.defaults import with_defaults
from trenza.cluster.kinds.managed import after_update, applied, manager_name, managers_of
from trenza.cluster.kinds.resources import Object
from trenza.cluster.kinds.status import ApiError, Causes


def config_map(**data: str) -> Object:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "c", "namespace": "n"}, "data": data}


def deployment(image: str, **more: Any) -> Object:
    spec = {"containers": [{"name": "c", "image": image, "ports": [{"containerPort": 80}]}]}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": spec}
    return {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {"name": "d", "namespace": "n"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template, **more},
    }


def owned(written: Object) -> dict[str, Any]:
    return {entry["manager"]: entry["fieldsV1"] for entry in written["metadata"].get("managedFields", ())}


def test_an_apply_owns_exactly_what_it_said() -> None:
    live = applied(None, deployment("x:1", replicas=2), "m1", NOW_S)
    assert owned(live)["m1"] == {
        "f:spec": {
            "f:replicas": {},
            "f:selector": {},
            "f:template": {
                "f:metadata": {"f:labels": {"f:a": {}}},
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"c"}': {
                            ".": {},
                            "f:image": {},
                            "f:name": {},
                            "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
                        }
                    }
                },
            },
        }
    }
    entry = live["metadata"]["managedFields"][0]
    assert (entry["operation"], entry["fieldsType"], entry["time"]) == ("Apply", "FieldsV1", "2027-01-15T08:00:00Z")


def test_a_field_of_another_manager_is_a_conflict_that_names_it() -> None:
    live = applied(None, config_map(a="1"), "m1", NOW_S)
    with pytest.raises(ApiError) as refused:
        applied(live, config_map(a="2"), "m2", NOW_S)
    status = refused.value.status()
    assert (status["code"], status["reason"]) == (409, "Conflict")
    assert status["message"] == 'Apply failed with 1 conflict: conflict with "m1": .data.a'
    assert status["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "m1"', "field": ".data.a"}
    ]


def test_several_conflicts_are_listed_by_their_manager() -> None:
    live = after_update(None, deployment("x:1", replicas=1), "kubectl-edit", NOW_S)
    with pytest.raises(ApiError) as refused:
        applied(live, deployment("x:2", replicas=2), "m2", NOW_S)
    assert refused.value.message == (
        'Apply failed with 2 conflicts: conflicts with "kubectl-edit" using apps/v1 at 2027-01-15T08:00:00Z:\n'
        '- .spec.replicas\n- .spec.template.spec.containers[name="c"].image'
    )


def test_force_takes_the_field_over() -> None:
    live = applied(None, config_map(a="1", b="1"), "m1", NOW_S)
    taken = applied(live, config_map(a="2"), "m2", NOW_S, force=True)
    assert taken["data"] == {"a": "2", "b": "1"}
    assert owned(taken) == {"m1": {"f:data": {"f:b": {}}}, "m2": {"f:data": {"f:a": {}}}}


def test_the_same_value_is_owned_by_both() -> None:
    live = applied(applied(None, config_map(a="1"), "m1", NOW_S), config_map(a="1"), "m2", NOW_S)
    assert owned(live) == {"m1": {"f:data": {"f:a": {}}}, "m2": {"f:data": {"f:a": {}}}}
    left = applied(live, config_map(), "m1", NOW_S)
    assert left["data"] == {"a": "1"}
    gone = applied(left, config_map(), "m2", NOW_S)
    assert gone["data"] == {}


def test_what_is_no_longer_said_is_removed() -> None:
    live = applied(None, deployment("x:1", replicas=2, paused=True), "m1", NOW_S)
    live["spec"]["template"]["spec"]["containers"].append({"name": "injected", "image": "y"})
    live["spec"]["revisionHistoryLimit"] = 10
    left = applied(live, deployment("x:2"), "m1", NOW_S)
    assert "replicas" not in left["spec"]
    assert "paused" not in left["spec"]
    assert left["spec"]["revisionHistoryLimit"] == 10
    assert [one["name"] for one in left["spec"]["template"]["spec"]["containers"]] == ["c", "injected"]


def test_an_update_moves_ownership_to_the_writer() -> None:
    live = applied(None, config_map(a="1", b="1"), "m1", NOW_S)
    edited = copy.deepcopy(live)
    edited["data"] = {"a": "2", "b": "1", "c": "3"}
    after = after_update(live, edited, "kubectl-edit", NOW_S)
    assert owned(after) == {"m1": {"f:data": {"f:b": {}}}, "kubectl-edit": {"f:data": {"f:a": {}, "f:c": {}}}}


def test_an_update_that_changes_nothing_changes_no_manager() -> None:
    live = after_update(None, config_map(a="1"), "m1", NOW_S)
    assert after_update(live, live, "m1", NOW_S + 60) == live
    assert after_update(live, live, "m2", NOW_S + 60) == live


def test_objects_older_than_their_managers_are_owned_by_a_name_for_it() -> None:
    with pytest.raises(ApiError, match="before-first-apply"):
        applied(config_map(a="1"), config_map(a="2"), "m1", NOW_S)


def test_an_apply_may_not_say_who_manages() -> None:
    written = config_map(a="1")
    written["metadata"]["managedFields"] = []
    with pytest.raises(ApiError, match=r"metadata\.managedFields must be nil"):
        applied(None, written, "m1", NOW_S)


def test_an_element_said_twice_is_refused() -> None:
    written = deployment("x")
    written["spec"]["template"]["spec"]["containers"] *= 2
    with pytest.raises(ApiError, match=r'containers: duplicate entries for key \[name="c"\]') as refused:
        applied(None, written, "m1", NOW_S)
    assert refused.value.status_code == 400


def test_a_writer_has_a_name() -> None:
    fine = Causes()
    assert manager_name("", "kubectl/v1.32.4 (linux/amd64)", fine) == "kubectl"
    assert manager_name("mine", "kubectl/v1", fine) == "mine"
    assert manager_name("", "", fine) == "unknown"
    assert not fine.found
    for wrong in ("x" * 129, "a\n"):
        causes = Causes()
        manager_name(wrong, "", causes)
        assert [cause.field for cause in causes.found] == ["fieldManager"]
    with pytest.raises(ApiError) as refused:
        applied(None, config_map(), "", NOW_S)
    assert refused.value.message == (
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
    )


def test_a_new_pod_is_its_writers_as_recorded() -> None:
    written = with_defaults(pod(nodeSelector={"no": "where"}))
    written["spec"]["containers"][0]["ports"] = [{"containerPort": 80, "protocol": "TCP"}]
    stored = after_update(None, written, "python-httpx", NOW_S)
    port = {".": {}, "f:containerPort": {}, "f:protocol": {}}
    container = {
        ".": {},
        "f:image": {},
        "f:imagePullPolicy": {},
        "f:name": {},
        "f:ports": {".": {}, 'k:{"containerPort":80,"protocol":"TCP"}': port},
        "f:resources": {},
        "f:terminationMessagePath": {},
        "f:terminationMessagePolicy": {},
    }
    assert owned(stored)["python-httpx"] == {
        "f:spec": {
            "f:containers": {'k:{"name":"c"}': container},
            "f:dnsPolicy": {},
            "f:enableServiceLinks": {},
            # An atomic map since 1.21: recorded from 1.20 with its key below it.
            "f:nodeSelector": {},
            "f:restartPolicy": {},
            "f:schedulerName": {},
            "f:securityContext": {},
            "f:terminationGracePeriodSeconds": {},
        }
    }


def test_the_fields_of_a_new_service_are_its_writers_as_recorded() -> None:
    written = with_defaults(service(type="NodePort", sessionAffinity="ClientIP"))
    spec = owned(after_update(None, written, "m1", NOW_S))["m1"]["f:spec"]
    port = {".": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {}}
    assert spec["f:ports"] == {".": {}, 'k:{"port":80,"protocol":"TCP"}': port}
    assert spec["f:sessionAffinityConfig"] == {".": {}, "f:clientIP": {".": {}, "f:timeoutSeconds": {}}}


maps = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("12"), max_size=4)
writes = st.lists(st.tuples(st.sampled_from(["m1", "m2"]), maps), min_size=1, max_size=5)


@given(writes)
def test_forced_applies_leave_what_was_said_last_and_only_that(applies: list[tuple[str, dict[str, str]]]) -> None:
    live: Object | None = None
    for moment, (manager, data) in enumerate(applies):
        live = applied(live, config_map(**data), manager, NOW_S + moment, force=True)
        assert all(live["data"][key] == value for key, value in data.items())
        repeated = applied(live, config_map(**data), manager, NOW_S + 99)
        assert repeated == live
        everything = {path for one in managers_of(live) for path in one.fields}
        present = {("f:data", f"f:{key}") for key in live.get("data") or ()}
        assert present <= everything
        assert {path for path in everything if len(path) == 2} <= present
