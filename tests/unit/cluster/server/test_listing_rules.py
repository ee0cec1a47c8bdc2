"""What the query of a list or a watch asks for, its pages, and events in both spellings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trenza.cluster.kinds.resources import Resource, find_resource
from trenza.cluster.kinds.status import ApiError
from trenza.cluster.server.listing import Continue, list_options
from trenza.cluster.server.versions import from_storage, to_storage


def kind(plural: str, group: str = "") -> Resource:
    found = find_resource(group, "v1", plural)
    assert found is not None
    return found


PODS = kind("pods")


def test_a_query_is_read_once() -> None:
    query = {"resourceVersion": "7", "allowWatchBookmarks": "true", "timeoutSeconds": "30"}
    options = list_options(query | {"labelSelector": "a=b", "fieldSelector": "metadata.name=x"}, PODS, watch=True)
    assert (options.bookmarks, options.version, options.timeout_s) == (True, 7, 30)
    assert options.labels.holds({"a": "b"})
    assert options.fields.exact("metadata.name") == "x"
    assert list_options({}, PODS).version is None
    assert list_options({"limit": "500"}, PODS).limit == 500


@pytest.mark.parametrize(
    ("query", "watch", "code", "message"),
    [
        (
            {"resourceVersionMatch": "Exact"}, False, 422,
            'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden '
            "unless resourceVersion is provided",
        ),
        (
            {"resourceVersion": "abc"}, True, 500,
            'resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": invalid syntax',
        ),
        ({"continue": "zzz"}, False, 400, "continue key is not valid"),
        ({"fieldSelector": "spec.foo=x"}, False, 400, "field label not supported: spec.foo"),
        ({"sendInitialEvents": "true"}, False, 422, "sendInitialEvents: Forbidden: "),
        ({"limit": "many"}, False, 400, 'parsing "many": invalid syntax'),
    ],
)  # fmt: skip
def test_a_query_that_makes_no_sense_is_refused(query: dict[str, str], watch: bool, code: int, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        list_options(query, PODS, watch=watch)
    assert refused.value.status_code == code
    assert message in refused.value.message


@given(st.integers(1, 2**62), st.text(min_size=1, max_size=20))
def test_a_page_goes_on_where_the_last_one_ended(revision: int, key: str) -> None:
    place = Continue(revision, key)
    assert list_options({"continue": str(place)}, PODS).page == place


@given(st.sampled_from(["continue", "resourceVersion", "limit", "timeoutSeconds"]), st.text(max_size=20))
def test_any_text_is_understood_or_refused(name: str, text: str) -> None:
    try:
        list_options({name: text}, PODS)
    except ApiError as error:
        assert error.status_code in (400, 500)


def test_an_event_is_the_same_in_both_spellings() -> None:
    new = kind("events", "events.k8s.io")
    event = {
        "kind": "Event", "apiVersion": "v1", "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "a"},
        "reason": "Pulled", "message": "done", "count": 2, "reportingComponent": "kubelet",
    }  # fmt: skip
    served = from_storage(new, event)
    assert (served["regarding"]["name"], served["note"], served["apiVersion"]) == ("a", "done", "events.k8s.io/v1")
    assert served["reportingController"] == "kubelet"
    assert to_storage(new, served) == event
    assert to_storage(kind("events"), event) is from_storage(kind("events"), event) is event
