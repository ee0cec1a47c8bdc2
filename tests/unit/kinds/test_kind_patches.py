"""Patches: the laws they keep and the examples people know."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kind_examples import deployment

from trenza.cluster.kinds.fields import definitions
from trenza.cluster.kinds.patches import JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, merge_patched, patched
from trenza.cluster.kinds.status import ApiError
from trenza.cluster.kinds.strategic import strategically_merged

POD = definitions()["io.k8s.api.core.v1.Pod"]
DEPLOYMENT = definitions()["io.k8s.api.apps.v1.Deployment"]


def containers(*written: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(written)}}


def merged(original: Any, patch: Any) -> Any:
    return strategically_merged(original, patch, POD)


A, B = {"name": "a", "image": "1"}, {"name": "b", "image": "1"}

LABELLED = {"metadata": {"labels": {"a": "b", "c": "d"}}}

CASES: list[tuple[str, Any, Any, Any]] = [
    (
        "an element is changed by its key",
        containers(A, B),
        containers({"name": "b", "image": "2"}),
        containers(A, B | {"image": "2"}),
    ),
    ("a new element comes first", containers(A), containers(B), containers(B, A)),
    (
        "an element is deleted by a directive",
        containers(A, B),
        containers({"name": "a", "$patch": "delete"}),
        containers(B),
    ),
    ("a list is replaced by a directive", containers(A), containers({"$patch": "replace"}, B), containers(B)),
    (
        "an order is set",
        containers(A, B),
        {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}},
        containers(B, A),
    ),
    (
        "an element is added where the order says",
        containers(A),
        {"spec": {"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}], "containers": [B]}},
        containers(A, B),
    ),
    ("a null removes", LABELLED, {"metadata": {"labels": {"a": None}}}, {"metadata": {"labels": {"c": "d"}}}),
    (
        "primitives are joined",
        {"metadata": {"finalizers": ["a", "b"]}},
        {"metadata": {"finalizers": ["b", "c"]}},
        {"metadata": {"finalizers": ["a", "b", "c"]}},
    ),
    (
        "primitives are deleted by a directive",
        {"metadata": {"finalizers": ["a", "b"]}},
        {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}},
        {"metadata": {"finalizers": ["b"]}},
    ),
    (
        "atomic lists are replaced",
        containers(A | {"args": ["1", "2"]}),
        containers({"name": "a", "args": ["3"]}),
        containers(A | {"args": ["3"]}),
    ),
    (
        "a map is replaced by a directive",
        LABELLED,
        {"metadata": {"labels": {"$patch": "replace", "e": "f"}}},
        {"metadata": {"labels": {"e": "f"}}},
    ),
    (
        "a map is deleted by a directive",
        LABELLED,
        {"metadata": {"labels": {"$patch": "delete"}}},
        {"metadata": {"labels": {}}},
    ),
    (
        "only what is retained stays",
        {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}},
        {"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "secret"], "secret": {"secretName": "s"}}]}},
        {"spec": {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}},
    ),
    (
        "nulls of a new map are no values",
        {},
        {"spec": {"nodeSelector": {"a": None, "b": "c"}}},
        {"spec": {"nodeSelector": {"b": "c"}}},
    ),
    ("a list appears where none was", {"spec": {}}, containers(A), containers(A)),
]


@pytest.mark.parametrize(("original", "patch", "result"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_strategically(original: Any, patch: Any, result: Any) -> None:
    before = json.dumps([original, patch])
    assert merged(original, patch) == result
    assert json.dumps([original, patch]) == before


@pytest.mark.parametrize(
    "patch",
    [
        {"spec": {"containers": [{"image": "x"}]}},
        {"spec": {"$patch": "nonsense"}},
        {"spec": {"$setElementOrder/containers": [{}], "containers": [A]}},
        {"spec": {"volumes": [{"name": "v", "$retainKeys": ["name"], "emptyDir": {}}]}},
    ],
)
def test_a_directive_that_makes_no_sense_is_a_bad_request(patch: Any) -> None:
    with pytest.raises(ApiError) as refused:
        merged({}, patch)
    assert refused.value.status_code == 400


names = st.sampled_from("abcde")
container = st.builds(lambda name, image: {"name": name, "image": image}, names, st.sampled_from("123"))
pods = st.lists(container, max_size=4, unique_by=lambda one: one["name"]).map(lambda some: containers(*some))
labels = st.dictionaries(names, st.sampled_from("xyz"), max_size=3).map(lambda some: {"metadata": {"labels": some}})
objects = st.builds(lambda pod, meta: pod | meta, pods, labels)


@given(objects)
def test_an_object_patched_with_itself_or_nothing_stays(written: Any) -> None:
    assert merged(written, written) == written
    assert merged(written, {}) == written


@given(objects, objects)
def test_a_patch_holds_and_holds_when_repeated(written: Any, patch: Any) -> None:
    once = merged(written, patch)
    assert merged(once, patch) == once
    by_name = {one["name"]: one for one in once["spec"]["containers"]}
    assert all(by_name[one["name"]] == one for one in patch["spec"]["containers"])
    kept = {one["name"] for one in written["spec"]["containers"]}
    assert set(by_name) == kept | {one["name"] for one in patch["spec"]["containers"]}
    wanted = [one["name"] for one in patch["spec"]["containers"]]
    assert [one["name"] for one in once["spec"]["containers"] if one["name"] in wanted] == wanted


@given(objects, st.permutations("abcde"))
def test_an_order_changes_nothing_but_the_order(written: Any, order: list[str]) -> None:
    known = [one for one in order if one in {element["name"] for element in written["spec"]["containers"]}]
    patch = {"spec": {"$setElementOrder/containers": [{"name": one} for one in known]}}
    result = merged(written, patch)["spec"]["containers"]
    assert [one["name"] for one in result] == known
    assert sorted(map(str, result)) == sorted(map(str, written["spec"]["containers"]))


json_values = st.recursive(
    st.booleans() | st.integers(0, 9) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


def difference(old: Any, new: Any) -> Any:
    """The merge patch from one value to another."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    changed = {
        key: difference(old.get(key), value) for key, value in new.items() if old.get(key) != value or key not in old
    }
    return changed | {key: None for key in old if key not in new}


@given(st.dictionaries(names, json_values, max_size=3), st.dictionaries(names, json_values, max_size=3))
def test_a_merge_patch_leads_from_any_object_to_any_other(old: Any, new: Any) -> None:
    assert merge_patched(old, difference(old, new)) == new


def test_the_three_media_types_reach_their_patch() -> None:
    live = deployment()
    json_patch = b'[{"op": "replace", "path": "/metadata/name", "value": "e"}]'
    merge = b'{"spec": {"template": {"spec": {"containers": [{"name": "side"}]}}}}'
    assert patched(live, json_patch, JSON_PATCH, "apps/v1", "Deployment")["metadata"]["name"] == "e"
    replaced = patched(live, merge, MERGE_PATCH, "apps/v1", "Deployment")
    joined = patched(live, merge, STRATEGIC_PATCH, "apps/v1", "Deployment")
    assert [one["name"] for one in replaced["spec"]["template"]["spec"]["containers"]] == ["side"]
    assert [one["name"] for one in joined["spec"]["template"]["spec"]["containers"]] == ["side", "c"]


def test_a_patch_that_copies_into_itself_ends_before_the_memory() -> None:
    doubling = [{"op": "copy", "from": "/spec", "path": f"/spec/x{turn}"} for turn in range(60)]
    with pytest.raises(ApiError, match="the patch copies more than") as refused:
        patched(deployment(), json.dumps(doubling).encode(), JSON_PATCH, "apps/v1", "Deployment")
    assert refused.value.status_code == 400


def test_a_json_patch_whose_test_fails_is_unprocessable_as_recorded() -> None:
    content = b'[{"op": "test", "path": "/metadata/name", "value": "nope"}]'
    with pytest.raises(ApiError) as refused:
        patched(deployment(), content, JSON_PATCH, "apps/v1", "Deployment")
    status = refused.value.status()
    assert (status["code"], status["reason"]) == (422, "Invalid")
    assert status["message"] == "the server rejected our request due to an error in our request"
