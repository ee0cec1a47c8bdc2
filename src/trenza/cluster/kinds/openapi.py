"""The schema documents: `/openapi/v2` as JSON and as protobuf, `/openapi/v3` by group and version.

kubectl 1.20 checks bodies itself by the v2 protobuf document and takes patch strategies and `explain` from it; 1.32
reads v3: that a PATCH has a `fieldValidation` parameter (so the server checks), and `explain`. Both come from the
published definitions and RESOURCES; only the paths that clients look at are listed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from trenza.cluster.kinds.discovery import GIT_VERSION
from trenza.cluster.kinds.fields import META, Schema, definitions, find_definition
from trenza.cluster.kinds.resources import RESOURCES, Object, Resource

# kubectl 1.32 accepts this name only for the protobuf document; older ones take the bytes whatever they are called.
OCTET_STREAM = "application/octet-stream"
_KIND_MARK = "x-kubernetes-group-version-kind"
_TITLE = "Kubernetes"
_VERBS = {"get": "get", "list": "get", "create": "post", "update": "put", "patch": "patch", "delete": "delete"}


@cache
def openapi_v2_json() -> bytes:
    """`/openapi/v2` for clients that take JSON."""
    return json.dumps(_v2_document(), separators=(",", ":")).encode()


@cache
def openapi_v2_protobuf() -> bytes:
    """`/openapi/v2` as a gnostic openapi.v2.Document, which is what kubectl asks for."""
    return _document(_v2_document())


@cache
def openapi_v3_index() -> Object:
    """`/openapi/v3`: where each group and version's document is; the hash changes when the document does."""
    paths = {}
    for group, version in dict.fromkeys((resource.group, resource.version) for resource in RESOURCES):
        path = f"apis/{group}/{version}" if group else f"api/{version}"
        digest = hashlib.sha256(openapi_v3(group, version) or b"").hexdigest().upper()
        paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return {"paths": paths}


@cache
def openapi_v3(group: str, version: str) -> bytes | None:
    """`/openapi/v3/apis/GROUP/VERSION` (group "" is `/openapi/v3/api/v1`) as JSON, or None where nothing is served."""
    resources = [resource for resource in RESOURCES if (resource.group, resource.version) == (group, version)]
    if not resources:
        return None
    document = {
        "openapi": "3.0.0",
        "info": {"title": _TITLE, "version": GIT_VERSION},
        "paths": {path: item for resource in resources for path, item in _paths(resource, _operation_v3).items()},
        "components": {"schemas": {name: _schema_v3(definitions()[name]) for name in sorted(_needed(resources))}},
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _needed(resources: Iterable[Resource]) -> set[str]:
    waiting = [META + "DeleteOptions", META + "Status"]
    for resource in resources:
        kinds = [(resource.api_version, resource.kind), (resource.api_version, f"{resource.kind}List")]
        for below in resource.subresources:
            below_group = below.group if below.version else resource.group
            below_version = below.version or resource.version
            kinds.append((f"{below_group}/{below_version}" if below_group else below_version, below.kind))
        waiting += [name for name in (find_definition(*kind) for kind in kinds) if name is not None]
    needed: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += _references(definitions()[name])
    return needed


def _references(schema: Any) -> list[str]:
    match schema:
        case dict() | Mapping():
            inner = [name for key, value in schema.items() if key != "$ref" for name in _references(value)]
            reference = schema.get("$ref")
            return [reference.rpartition("/")[2], *inner] if isinstance(reference, str) else inner
        case list():
            return [name for one in schema for name in _references(one)]
        case _:
            return []


def _paths(resource: Resource, operation: Any) -> dict[str, Object]:
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    scope = "/namespaces/{namespace}" if resource.namespaced else ""
    collection = f"{root}{scope}/{resource.plural}"
    paths: dict[str, Object] = {}
    for verb in resource.verbs:
        if verb in _VERBS:
            path = collection if verb in ("list", "create") else f"{collection}/{{name}}"
            item = paths.setdefault(path, {"parameters": []} if "{" in path else {})
            item[_VERBS[verb]] = operation(resource, verb)
    for path, item in paths.items():
        item["parameters"] = [
            _path_parameter(name, operation is _operation_v3) for name in ("name", "namespace") if f"{{{name}}}" in path
        ]
    return paths


def _path_parameter(name: str, v3: bool) -> Object:
    kind = {"schema": {"type": "string", "uniqueItems": True}} if v3 else {"type": "string", "uniqueItems": True}
    return {"name": name, "in": "path", "required": True, "description": f"{name} of the object", **kind}


def _kind_mark(resource: Resource) -> Object:
    return {"group": resource.group, "kind": resource.kind, "version": resource.version}


def _query(verb: str) -> tuple[str, ...]:
    return ("dryRun", "fieldManager", "fieldValidation") if verb in ("create", "update", "patch") else ()


def _operation_v2(resource: Resource, verb: str) -> Object:
    named = find_definition(resource.api_version, resource.kind)
    body = {"name": "body", "in": "body", "required": True, "schema": {"$ref": f"#/definitions/{named}"}}
    parameters: list[Object] = [body] if verb in ("create", "update") else []
    parameters += [{"name": name, "in": "query", "type": "string", "uniqueItems": True} for name in _query(verb)]
    return {
        "operationId": f"{verb}{resource.kind}{resource.group}{resource.version}",
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": verb,
        _KIND_MARK: _kind_mark(resource),
    }


def _operation_v3(resource: Resource, verb: str) -> Object:
    named = find_definition(resource.api_version, resource.kind)
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{named}"}}}
    written: Object = {
        "operationId": f"{verb}{resource.kind}{resource.group}{resource.version}",
        "parameters": [
            {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}} for name in _query(verb)
        ],
        "responses": {"200": {"description": "OK", "content": content}},
        "x-kubernetes-action": verb,
        _KIND_MARK: _kind_mark(resource),
    }
    if verb in ("create", "update"):
        written["requestBody"] = {"content": {"*/*": {"schema": {"$ref": f"#/components/schemas/{named}"}}}}
    return written


def _schema_v3(schema: Any) -> Any:
    match schema:
        case {"$ref": str() as reference, **beside}:
            # OpenAPI v3 allows nothing beside a reference: hence allOf, as Kubernetes writes it.
            moved = {"$ref": reference.replace("#/definitions/", "#/components/schemas/")}
            return {**beside, "allOf": [moved]} if beside else moved
        case dict() | Mapping():
            return {key: _schema_v3(value) for key, value in schema.items()}
        case list():
            return [_schema_v3(one) for one in schema]
        case _:
            return schema


def _v2_document() -> Object:
    paths: dict[str, Object] = {}
    for resource in RESOURCES:
        paths |= _paths(resource, _operation_v2)
    return {
        "swagger": "2.0",
        "info": {"title": _TITLE, "version": GIT_VERSION},
        "paths": paths,
        "definitions": dict(definitions()),
    }


# gnostic's OpenAPIv2.proto (openapi.v2), the messages and fields used here. Each function is one message's bytes.


def _document(document: Object) -> bytes:
    info = document["info"]
    paths = b"".join(_part(2, _named(path, _path_item(item))) for path, item in document["paths"].items())
    schemas = b"".join(_part(1, _named(name, _schema(schema))) for name, schema in document["definitions"].items())
    return (
        _part(1, document["swagger"])
        + _part(2, _part(1, info["title"]) + _part(2, info["version"]))
        + _part(8, paths)
        + _part(9, schemas)
    )


def _named(name: str, value: bytes) -> bytes:
    return _part(1, name) + _part(2, value)


_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "patch": 8}


def _path_item(item: Object) -> bytes:
    operations = b"".join(
        _part(number, _operation(item[method])) for method, number in _METHODS.items() if method in item
    )
    return operations + b"".join(_part(9, _parameter(one)) for one in item["parameters"])


def _operation(operation: Object) -> bytes:
    answers = b"".join(
        _part(1, _named(code, _part(1, _part(1, answer["description"]))))
        for code, answer in operation["responses"].items()
    )
    return (
        _part(5, operation["operationId"])
        + b"".join(_part(8, _parameter(one)) for one in operation["parameters"])
        + _part(9, answers)
        + _extensions(13, operation)
    )


def _parameter(parameter: Object) -> bytes:
    name, place = parameter["name"], parameter["in"]
    if place == "body":
        body = _part(2, name) + _part(3, place) + b"\x20\x01" + _part(5, _schema(parameter["schema"]))
        return _part(1, _part(1, body))
    if place == "path":
        return _part(1, _part(2, _part(4, b"\x08\x01" + _part(2, place) + _part(4, name) + _part(5, "string"))))
    return _part(1, _part(2, _part(3, _part(2, place) + _part(4, name) + _part(6, "string"))))


def _schema(schema: Schema) -> bytes:
    parts = b"".join(_part(number, schema[key]) for key, number in _TEXTS.items() if key in schema)
    parts += b"".join(_part(19, one) for one in schema.get("required", ()))
    if "additionalProperties" in schema:
        parts += _part(21, _part(1, _schema(schema["additionalProperties"])))
    if "type" in schema:
        parts += _part(22, _part(1, schema["type"]))
    if "items" in schema:
        parts += _part(23, _part(1, _schema(schema["items"])))
    if "properties" in schema:
        fields = b"".join(_part(1, _named(name, _schema(field))) for name, field in schema["properties"].items())
        parts += _part(25, fields)
    return parts + _extensions(31, schema)


_TEXTS = {"$ref": 1, "format": 2, "description": 4}


def _extensions(number: int, holder: Mapping[str, Any]) -> bytes:
    marks = ((key, json.dumps(value)) for key, value in holder.items() if key.startswith("x-"))
    return b"".join(_part(number, _named(key, _part(2, text))) for key, text in marks)


def _part(number: int, content: str | bytes) -> bytes:
    """One length-delimited field."""
    raw = content.encode() if isinstance(content, str) else content
    return _varint(number << 3 | 2) + _varint(len(raw)) + raw


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    written.append(number)
    return bytes(written)
