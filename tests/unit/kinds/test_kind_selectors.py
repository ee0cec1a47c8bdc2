"""Selectors: what they hold, how they are written, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kind_examples import PODS, SERVICES

from trenza.cluster.kinds.selectors import (
    LabelSelector,
    Requirement,
    field_selector,
    label_selector,
    selector_of,
    selector_of_labels,
)
from trenza.cluster.kinds.status import ApiError

LABELS = {"app": "web", "tier": "front", "n": "5"}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", True),
        ("app=web", True),
        ("app==web,tier!=back", True),
        ("app=api", False),
        ("none!=x", True),
        ("none notin (x)", True),
        ("none in (x)", False),
        ("tier in (front, back)", True),
        ("tier notin (front)", False),
        ("app", True),
        ("!app", False),
        ("!none", True),
        ("n>4,n<6", True),
        ("n>5", False),
        ("app>1", False),
        ("in=x", False),
        ("app in (web),example.com/x!=y", True),
    ],
)
def test_a_label_selector_holds(text: str, selected: bool) -> None:
    assert label_selector(text).holds(LABELS) is selected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!!", "unable to parse requirement: found '!', expected: identifier"),
        ("a=b,", "found '', expected: identifier after ','"),
        ("a in x", "unable to parse requirement: found 'x' expected: '('"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("=", "found '=', expected: !, identifier, or 'end of string'"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
    ],
)
def test_a_label_selector_that_is_none_says_where(text: str, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        label_selector(text)
    assert (refused.value.status_code, refused.value.message) == (400, message)


words = st.text("abz09", min_size=1, max_size=4)
requirements = st.one_of(
    st.builds(lambda key: Requirement(key, "exists"), words),
    st.builds(lambda key: Requirement(key, "!"), words),
    st.builds(
        lambda key, operator, values: Requirement(key, operator, tuple(sorted(values))),
        words.filter(lambda word: word not in ("in", "notin")),
        st.sampled_from(["in", "notin"]),
        st.sets(words, min_size=1, max_size=3),
    ),
)


@given(st.lists(requirements, max_size=3, unique_by=lambda one: one.key), st.dictionaries(words, words, max_size=4))
def test_a_written_selector_selects_the_same(some: list[Requirement], labels: dict[str, str]) -> None:
    selector = LabelSelector(tuple(some))
    assert label_selector(str(selector)).holds(labels) is selector.holds(labels)


@given(st.text("ab=!,()<> intoz\\\n", max_size=12))
def test_any_text_is_a_selector_or_a_bad_request(text: str) -> None:
    for parse in (label_selector, lambda written: field_selector(written, PODS)):
        try:
            parse(text)
        except ApiError as error:
            assert error.status_code == 400


def test_selectors_of_objects() -> None:
    both = {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "In", "values": ["front"]}]}
    assert selector_of(both).holds(LABELS)
    assert selector_of({}).holds({})
    assert not selector_of(None).holds(LABELS)
    assert selector_of_labels({"app": "web"}).holds(LABELS)
    assert not selector_of_labels({}).holds(LABELS)
    assert str(selector_of(both)) == "app=web,tier=front"


POD = {"metadata": {"name": "a,b", "namespace": "n"}, "spec": {"nodeName": "w"}, "status": {"phase": "Pending"}}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", True),
        ("status.phase=Pending,metadata.name!=x", True),
        ("spec.nodeName==w", True),
        ("status.phase!=Pending", False),
        ("metadata.name=a\\,b", True),
        ("spec.hostNetwork=false", True),
        ("status.podIP=", True),
    ],
)
def test_a_field_selector_holds(text: str, selected: bool) -> None:
    assert field_selector(text, PODS).holds(POD) is selected


def test_a_field_selector_gives_the_name_it_asks_for() -> None:
    assert field_selector("metadata.name=x,status.phase!=y", PODS).exact("metadata.name") == "x"
    assert field_selector("metadata.name!=x", PODS).exact("metadata.name") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spec.foo=x", "field label not supported: spec.foo"),
        ("metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
    ],
)
def test_a_field_selector_that_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        field_selector(text, PODS)
    assert (refused.value.status_code, refused.value.message) == (400, message)


def test_a_kind_without_fields_of_its_own_says_which_there_are() -> None:
    with pytest.raises(ApiError) as refused:
        field_selector("spec.type=NodePort", SERVICES)
    assert refused.value.message == (
        '"spec.type" is not a known field selector: only "metadata.name", "metadata.namespace"'
    )
