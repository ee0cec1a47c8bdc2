"""Bodies: what they mean, what is told of strange fields, and that no bytes at all break the reader."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trenza.cluster.kinds.bodies import FieldValidation, field_validation, read_body
from trenza.cluster.kinds.patches import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, patched
from trenza.cluster.kinds.protobuf import MAGIC, MEDIA_TYPE
from trenza.cluster.kinds.resources import RESOURCES
from trenza.cluster.kinds.status import BODY_TYPES, ApiError

JSON = "application/json"


def refusal(content: bytes, media_type: str = JSON, kind: str = "ConfigMap", **more: Any) -> ApiError:
    with pytest.raises(ApiError) as refused:
        read_body(content, media_type, "v1", kind, **more)
    return refused.value


def test_json_and_yaml_say_the_same() -> None:
    from_json = read_body(b'{"metadata": {"name": "a"}, "data": {"on": "2020-01-01"}}', JSON, "v1", "ConfigMap")
    from_yaml = read_body(b"metadata: {name: a}\ndata: {'on': '2020-01-01'}\n", "application/yaml", "v1", "ConfigMap")
    assert from_json == from_yaml
    assert from_json.object == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": "a"},
        "data": {"on": "2020-01-01"},
    }


def test_a_date_in_yaml_is_a_text() -> None:
    assert read_body(b"data: {a: 2020-01-01}", "application/yaml", "v1", "ConfigMap").object["data"] == {
        "a": "2020-01-01"
    }


STRANGE = (
    b'{"spec": {"replicas": 1, "replicas": 2, "foo": 1, '
    b'"template": {"spec": {"containers": [{"bar": 1, "name": "c"}]}}}}'
)
NAMED = (
    'unknown field "spec.foo"',
    'unknown field "spec.template.spec.containers[0].bar"',
    'duplicate field "spec.replicas"',
)


def test_strange_fields_are_refused_told_or_dropped() -> None:
    strict = FieldValidation.STRICT
    with pytest.raises(ApiError) as refused:
        read_body(STRANGE, JSON, "apps/v1", "Deployment", strict)
    assert (refused.value.status_code, refused.value.reason) == (400, "BadRequest")
    assert refused.value.message == (
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: ' + ", ".join(NAMED)
    )
    told = read_body(STRANGE, JSON, "apps/v1", "Deployment", FieldValidation.WARN)
    assert told.warnings == NAMED
    assert told.object["spec"]["template"]["spec"]["containers"] == [{"name": "c"}]
    assert read_body(STRANGE, JSON, "apps/v1", "Deployment", FieldValidation.IGNORE).warnings == ()


def test_the_choice_of_validation_is_one_of_three_words() -> None:
    assert field_validation(None) is FieldValidation.WARN
    assert field_validation("Strict") is FieldValidation.STRICT
    with pytest.raises(ApiError) as refused:
        field_validation("strict")
    assert refused.value.status_code == 422


def test_refusals_of_bodies_read_as_recorded() -> None:
    assert refusal(b'{"kind": "Pod", "apiVersion": "v1"}').message == (
        'Pod in version "v1" cannot be handled as a ConfigMap: '
        "converting (v1.Pod) to (core.ConfigMap): unknown conversion"
    )
    assert refusal(b"{nope").message == (
        "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; "
        "json parse error: invalid character 'n' looking for beginning of object key string ({nope)"
    )
    wrong_type = refusal(b'{"metadata": {"name": "wt"}, "data": {"a": 1}}')
    assert (wrong_type.status_code, wrong_type.reason) == (400, "BadRequest")
    assert wrong_type.message.startswith('ConfigMap in version "v1" cannot be handled as a ConfigMap: ')
    media = refusal(b"{}", "text/plain")
    assert (media.status_code, media.message) == (
        415,
        "the body of the request was in an unknown format - accepted media types include: application/json, "
        "application/yaml, application/vnd.kubernetes.protobuf",
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"apiVersion": "apps/v1", "kind": "Deployment"}', "does not match the expected API version (v1)"),
        (b'{"kind": "Nope"}', 'no kind "Nope" is registered for version "v1"'),
        (b'{"kind": 3}', "couldn't get version/kind"),
        (b"[]", "unrecognized"),
        (b"", "unexpected end of JSON input"),
        (b'{"data": {"a": NaN}}', "invalid character 'N'"),
        (b'{"immutable": "yes"}', "cannot unmarshal string into Go struct field ConfigMap.immutable of type bool"),
        (b'{"binaryData": {"a": "%"}}', "illegal base64 data at input byte 0"),
        (b'{"metadata": {"creationTimestamp": "now"}}', 'parsing time "now"'),
        (b'{"metadata": {"generation": 99999999999999999999}}', "cannot unmarshal number 99999999999999999999"),
        (b'{"data":' * 300 + b"1" + b"}" * 300, "exceeded max depth"),
        (b"[" * 100_000, "exceeded max depth"),
    ],
)
def test_what_is_no_config_map_is_a_bad_request(content: bytes, why: str) -> None:
    error = refusal(content)
    assert error.status_code == 400
    assert why in error.message


def test_aliases_are_refused_before_they_unfold() -> None:
    bomb = b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    assert "aliases are not accepted" in refusal(bomb, "application/yaml").message


def test_nulls_mean_not_given_and_quantities_have_one_spelling() -> None:
    written = {
        "metadata": {"name": "a", "creationTimestamp": None},
        "spec": {
            "containers": [{"name": "c", "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}}}],
            "nodeName": None,
        },
    }
    body = read_body(json.dumps(written).encode(), JSON, "v1", "Pod", FieldValidation.STRICT)
    assert body.object["metadata"] == {"name": "a"}
    assert body.object["spec"] == {
        "containers": [{"name": "c", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}}]
    }


KEYS = "kind apiVersion metadata name labels spec containers ports status $patch $retainKeys op path value"
keys = st.sampled_from(KEYS.split(" ")) | st.text(max_size=4)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
raw = (
    st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()) | st.text(max_size=40).map(str.encode)
)
contents = raw | raw.map(lambda content: MAGIC + content) | raw.map(lambda content: b"- " + content)
resources = st.sampled_from([one for one in RESOURCES if "list" in one.verbs])


@given(contents, st.sampled_from([*BODY_TYPES, "", "text/html"]), resources)
@example(b"'\xed\xa0\x80'", "application/yaml", RESOURCES[1])
@example(b'"\\ud800"', "application/json", RESOURCES[1])
@example(b'{"data": {"\\ud800": "\\udfff"}}', "application/json", RESOURCES[1])
@example(b"? [a]\n: b", "application/yaml", RESOURCES[1])
@example(b"!!python/object:os.system {}", "application/yaml", RESOURCES[1])
@example(b"=: =", "application/yaml", RESOURCES[1])
def test_any_bytes_are_an_object_or_a_refusal(content: bytes, media_type: str, resource: Any) -> None:
    try:
        body = read_body(content, media_type, resource.api_version, resource.kind)
    except ApiError as error:
        assert error.status_code in (400, 415)
        json.dumps(error.status()).encode()
    else:
        assert body.object["kind"] == resource.kind
        json.dumps(body.object, allow_nan=False).encode()


LIVE = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {"name": "a", "labels": {"x": "y"}, "finalizers": ["f"]},
    "spec": {"containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]},
}


@given(contents, st.sampled_from([JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH, "text/html"]))
@example(b'[{"op": "add", "path": "/metadata/labels/-", "value": 1}]', JSON_PATCH)
@example(b'[{"op": "replace", "path": "", "value": 1}]', JSON_PATCH)
@example(b'[{"op": "copy", "from": "/spec", "path": "/spec/x"}]', JSON_PATCH)
@example(b'[{"op": "test", "path": "/spec/containers/99", "value": 1}]', JSON_PATCH)
@example(b'[{"op": 1, "path": 1}]', JSON_PATCH)
@example(b'[{"op": "remove"}]', JSON_PATCH)
@example(b"[1]", JSON_PATCH)
@example(b'{"spec": {"containers": [1]}}', STRATEGIC_PATCH)
@example(b'{"spec": {"containers": [{"name": {}}]}}', STRATEGIC_PATCH)
@example(b'{"spec": {"$setElementOrder/containers": [{"name": "z"}], "containers": 1}}', STRATEGIC_PATCH)
@example(b'{"metadata": {"$deleteFromPrimitiveList/finalizers": ["f"]}}', STRATEGIC_PATCH)
@example(b'{"spec": {"$setElementOrder/containers": 1}}', STRATEGIC_PATCH)
def test_any_patch_is_an_object_or_a_refusal(content: bytes, media_type: str) -> None:
    before = json.dumps(LIVE)
    try:
        changed = patched(LIVE, content, media_type, "v1", "Pod")
    except ApiError as error:
        assert error.status_code in (400, 415, 422)
    else:
        assert isinstance(changed, dict)
    assert json.dumps(LIVE) == before


def test_a_protobuf_body_must_begin_as_one() -> None:
    assert "expected prefix [107 56 115 0]" in refusal(b"{}", MEDIA_TYPE).message
