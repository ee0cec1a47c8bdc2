"""Objects against the published schemas: unknown fields named, wrong types refused, values in their stored spelling.

`conformed` is what a typed server does while it decodes: fields that the kind does not have are dropped and told,
nulls mean "not given", quantities become canonical, a text where a number belongs is a 400.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from trenza.cluster.kinds.names import seconds_of
from trenza.cluster.kinds.quantities import amount_of, canonical

Schema = Mapping[str, Any]

META = "io.k8s.apimachinery.pkg.apis.meta.v1."
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_REFERENCE = "#/definitions/"
_INTEGER_BITS = {"int32": 31, "int64": 63}


@cache
def definitions() -> Mapping[str, Schema]:
    """The OpenAPI v2 definitions of everything served, by their full names, as Kubernetes publishes them."""
    packed = files("trenza.cluster.kinds").joinpath("data", "definitions.json.gz").read_bytes()
    loaded: dict[str, Schema] = json.loads(gzip.decompress(packed))
    return MappingProxyType(loaded)


@cache
def _names_by_kind() -> Mapping[tuple[str, str], str]:
    found = {}
    for name, schema in definitions().items():
        for kind in schema.get("x-kubernetes-group-version-kind", ()):
            version = f"{kind['group']}/{kind['version']}" if kind["group"] else kind["version"]
            found[version, kind["kind"]] = name
    return MappingProxyType(found)


def find_definition(api_version: str, kind: str) -> str | None:
    """The definition's full name of a kind, or None if nothing served has it."""
    return _names_by_kind().get((api_version, kind))


def referred(schema: Schema) -> str | None:
    """The definition's name that a field's schema refers to, or None."""
    reference = schema.get("$ref")
    return reference.removeprefix(_REFERENCE) if isinstance(reference, str) else None


def resolved(schema: Schema) -> Schema:
    """A field's schema, the one it refers to if it does: without the markers beside the reference."""
    name = referred(schema)
    return schema if name is None else definitions()[name]


class TypeMismatch(Exception):
    """A value whose JSON type is not the field's; its text is what Go's decoder says."""


@dataclass(slots=True)
class Conformed:
    """`value` is what to store; `unknown` names the fields that were dropped, in the order met."""

    value: Any = None
    unknown: list[str] = field(default_factory=list)


def conformed(value: Any, definition: str) -> Conformed:
    """The object as its kind has it. Raises TypeMismatch.

    Nesting must be bounded by the caller: the walk follows the value.
    """
    found = Conformed()
    found.value = _walk(value, {"$ref": _REFERENCE + definition}, "", definition.rpartition(".")[2], found)
    return found


def _walk(value: Any, schema: Schema, path: str, go_path: str, found: Conformed) -> Any:
    name = referred(schema)
    if name == QUANTITY:
        return _quantity(value, go_path)
    if name == INT_OR_STRING:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise TypeMismatch(f"json: cannot unmarshal {_kind(value)} into Go struct field {go_path} of type int32")
        return value
    inner = schema if name is None else definitions()[name]
    if "properties" in inner:
        return _structure(value, inner["properties"], path, go_path, found)
    match inner.get("type"):
        case "object" if "additionalProperties" in inner:
            return _mapping(value, inner["additionalProperties"], path, go_path, found)
        case "array":
            return _sequence(value, inner["items"], path, go_path, found)
        case "object" | None:
            return value
        case scalar:
            return _scalar(value, scalar, inner.get("format", ""), go_path)


def _structure(value: Any, fields: Schema, path: str, go_path: str, found: Conformed) -> Any:
    if not isinstance(value, dict):
        raise TypeMismatch(f"json: cannot unmarshal {_kind(value)} into Go struct field {go_path} of type struct")
    kept = {}
    for key, inner in value.items():
        below = f"{path}.{key}" if path else key
        if key not in fields:
            found.unknown.append(below)
        elif inner is not None:
            kept[key] = _walk(inner, fields[key], below, f"{go_path}.{key}", found)
    return kept


def _mapping(value: Any, items: Schema, path: str, go_path: str, found: Conformed) -> Any:
    if not isinstance(value, dict):
        raise TypeMismatch(
            f"json: cannot unmarshal {_kind(value)} into Go struct field {go_path} of type map[string]string"
        )
    return {
        key: _zero(items) if inner is None else _walk(inner, items, f"{path}.{key}", go_path, found)
        for key, inner in value.items()
    }


def _sequence(value: Any, items: Schema, path: str, go_path: str, found: Conformed) -> Any:
    if not isinstance(value, list):
        raise TypeMismatch(
            f"json: cannot unmarshal {_kind(value)} into Go struct field {go_path} of type []{_go_type(items)}"
        )
    return [
        _zero(items) if inner is None else _walk(inner, items, f"{path}[{index}]", go_path, found)
        for index, inner in enumerate(value)
    ]


def _scalar(value: Any, scalar: str, form: str, go_path: str) -> Any:
    match scalar, value:
        case "string", str():
            return _text(value, form)
        case "boolean", bool():
            return value
        case "integer", int() if not isinstance(value, bool):
            bits = _INTEGER_BITS.get(form, 63)
            if not -(2**bits) <= value < 2**bits:
                raise TypeMismatch(
                    f"json: cannot unmarshal number {value} into Go struct field {go_path} of type {form}"
                )
            return value
        case "integer", float() if value.is_integer() and abs(value) < 2**53:
            return int(value)
        case "number", int() | float() if not isinstance(value, bool):
            return value
        case _:
            go_type = {"boolean": "bool", "integer": form or "int64", "number": "float64"}.get(scalar, scalar)
            raise TypeMismatch(
                f"json: cannot unmarshal {_kind(value)} into Go struct field {go_path} of type {go_type}"
            )


def _text(value: str, form: str) -> str:
    if form == "date-time" and seconds_of(value) is None:
        layout = "2006-01-02T15:04:05Z07:00"
        raise TypeMismatch(
            f'parsing time {json.dumps(value)} as "{layout}": cannot parse {json.dumps(value)} as "2006"'
        )
    if form == "byte":
        try:
            base64.b64decode(value.encode(), validate=True)
        except (binascii.Error, UnicodeEncodeError):
            valid = re.match(r"[A-Za-z0-9+/]*", value)
            at = valid.end() if valid else 0
            raise TypeMismatch(f"illegal base64 data at input byte {at}") from None
    return value


def _quantity(value: Any, go_path: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeMismatch(f"json: cannot unmarshal {_kind(value)} into Go struct field {go_path} of type string")
    text = str(value)
    try:
        amount_of(text)
    except ValueError as error:
        raise TypeMismatch(str(error)) from None
    return canonical(text)


def _zero(schema: Schema) -> Any:
    inner = resolved(schema)
    return {"string": "", "boolean": False, "integer": 0, "number": 0, "array": []}.get(inner.get("type", ""), {})


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case int() | float():
            return "number"
        case list():
            return "array"
        case None:
            return "null"
        case _:
            return "object"


def _go_type(schema: Schema) -> str:
    name = referred(schema)
    if name is not None:
        parts = name.split(".")
        return f"{parts[-2]}.{parts[-1]}"
    return str(schema.get("type", "object"))
