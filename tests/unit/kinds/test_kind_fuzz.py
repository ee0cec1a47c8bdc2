"""Objects that the schemas allow and nobody would write: they are stored or refused, and never break the server."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kind_examples import NOW_S

from trenza.cluster.kinds.bodies import checked
from trenza.cluster.kinds.defaults import with_defaults, with_pod_admission
from trenza.cluster.kinds.fields import find_definition, referred, resolved
from trenza.cluster.kinds.managed import after_update, applied
from trenza.cluster.kinds.patches import merge_patched
from trenza.cluster.kinds.resources import RESOURCES, Object, Resource
from trenza.cluster.kinds.status import ApiError
from trenza.cluster.kinds.strategic import strategically_merged
from trenza.cluster.kinds.strategies import addressed, for_creation, for_update, workload_selector
from trenza.cluster.kinds.tables import table
from trenza.cluster.kinds.validation.objects import validate_new, validate_request, validate_update
from trenza.cluster.server.deletion import DeleteOptions, deleted

STORED = [one for one in RESOURCES if "create" in one.verbs and "list" in one.verbs]
REQUESTED = [one for one in RESOURCES if one.verbs == ("create",)]
WORDS = [
    "a",
    "b",
    "web",
    "",
    "None",
    "TCP",
    "10.0.0.1",
    "Always",
    "Never",
    "25%",
    "-",
    "A/b",
    "x" * 300,
    "9" * 9,
    "é\n",
]
NUMBERS = [0, 1, -1, 80, 30080, 70000, 2**31 - 1, -(2**31)]
INTERESTING = (
    "metadata",
    "spec",
    "template",
    "selector",
    "containers",
    "ports",
    "strategy",
    "matchLabels",
    "name",
    "labels",
)


def value_of(draw: st.DrawFn, schema: Any, depth: int) -> Any:
    named = (referred(schema) or "").rpartition(".")[2]
    if named == "Quantity":
        return draw(st.sampled_from(["1", "500m", "-1", "2Gi"]))
    if named == "IntOrString":
        return draw(st.sampled_from([*NUMBERS, *WORDS]))
    inner = resolved(schema)
    match inner.get("type"):
        case "string" if inner.get("format") == "date-time":
            return "2026-01-01T00:00:00Z"
        case "string" if inner.get("format") == "byte":
            return draw(st.sampled_from(["", "YQ=="]))
        case "string":
            return draw(st.sampled_from(WORDS))
        case "integer":
            return draw(st.sampled_from(NUMBERS))
        case "boolean":
            return draw(st.booleans())
        case "array":
            size = draw(st.integers(0, 2)) if depth < 9 else 0
            return [value_of(draw, inner["items"], depth + 1) for _ in range(size)]
        case "object" if "properties" in inner:
            names = sorted(inner["properties"])
            likely = [name for name in names if name in INTERESTING]
            chosen = set(draw(st.lists(st.sampled_from(names), max_size=3))) | set(likely if depth < 9 else ())
            return {name: value_of(draw, inner["properties"][name], depth + 1) for name in sorted(chosen)}
        case "object" if "additionalProperties" in inner:
            keys = draw(st.lists(st.sampled_from(WORDS), max_size=2))
            return {key: value_of(draw, inner["additionalProperties"], depth + 1) for key in keys}
        case _:
            return {}


@st.composite
def written_objects(draw: st.DrawFn, resource: Resource) -> Object:
    definition = find_definition(resource.api_version, resource.kind)
    written: Object = value_of(draw, {"$ref": f"#/definitions/{definition}"}, 0)
    written["metadata"] = {"name": "a", "namespace": "n" if resource.namespaced else ""} | draw(
        st.fixed_dictionaries({}, optional={"labels": st.just({"a": "b"}), "annotations": st.just({"x": ""})})
    )
    return written


def fresh(resource: Resource, written: Object) -> Object:
    read = checked(written, resource.api_version, resource.kind).object
    filled = with_defaults(addressed(resource, read, "n" if resource.namespaced else ""))
    assert with_defaults(filled) == filled
    admitted = with_pod_admission(filled, token_volume="t") if resource.plural == "pods" else filled
    return for_creation(resource, admitted, NOW_S, Random(1))


@settings(suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_object_is_stored_and_shown_or_refused(data: st.DataObject) -> None:
    resource = data.draw(st.sampled_from(STORED))
    written = data.draw(written_objects(resource))
    other = data.draw(written_objects(resource))
    stored, wanted = fresh(resource, written), with_defaults(checked(other, resource.api_version, resource.kind).object)
    updated = for_update(resource, stored, wanted)
    for validate in (lambda: validate_new(resource, stored), lambda: validate_update(resource, stored, updated)):
        try:
            validate()
        except ApiError as error:
            assert error.status_code == 422
            assert error.details is not None
            assert error.details.causes
            json.dumps(error.status()).encode()
    shown = table(resource, [stored, updated], NOW_S)
    assert all(len(row["cells"]) == len(shown["columnDefinitions"]) for row in shown["rows"])
    str(workload_selector(resource, stored))
    deleted(resource, stored, DeleteOptions(), NOW_S)


@settings(suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_object_has_managers_and_merges(data: st.DataObject) -> None:
    resource = data.draw(st.sampled_from(STORED))
    first, second = (
        checked(data.draw(written_objects(resource)), resource.api_version, resource.kind).object for _ in range(2)
    )
    live = after_update(None, first, "m1", NOW_S)
    assert after_update(live, live, "m1", NOW_S + 1) == live
    for one in (first, second):
        try:
            live = applied(live, one, "m2", NOW_S, force=True)
        except ApiError as error:
            assert "duplicate entries for key" in error.message
        else:
            assert applied(live, one, "m2", NOW_S + 1) == live
    definition = {"$ref": f"#/definitions/{find_definition(resource.api_version, resource.kind)}"}
    assert merge_patched(first, second) == merge_patched(merge_patched(first, second), second)
    try:
        merged = strategically_merged(first, second, definition)
    except ApiError as error:
        assert error.status_code == 400
    else:
        assert strategically_merged(merged, second, definition) == merged


@settings(suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_request_is_answered_or_refused(data: st.DataObject) -> None:
    resource = data.draw(st.sampled_from(REQUESTED))
    read = checked(data.draw(written_objects(resource)), resource.api_version, resource.kind).object
    try:
        validate_request(resource.qualified_kind, with_defaults(read))
    except ApiError as error:
        assert error.status_code == 422
