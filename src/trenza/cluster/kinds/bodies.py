"""A request's body as an object of the kind that the path wants: JSON, YAML or protobuf in, one `Body` out.

Whatever the bytes, the only exceptions are ApiErrors: 400 for what cannot be read or is something else, 415 for a
media type nobody reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import yaml

from trenza.cluster.kinds import protobuf
from trenza.cluster.kinds.fields import TypeMismatch, conformed, find_definition
from trenza.cluster.kinds.resources import Object
from trenza.cluster.kinds.status import (
    BODY_TYPES,
    ApiError,
    Causes,
    bad_request,
    cannot_be_handled,
    invalid,
    unsupported_media_type,
)

# Objects of the published kinds nest about 20 deep; the walks over them recurse.
DEEPEST = 100
_SHOWN_BYTES = 50


class FieldValidation(StrEnum):
    """What becomes of unknown and repeated fields: refused, told in a Warning header, or dropped silently."""

    STRICT = "Strict"
    WARN = "Warn"
    IGNORE = "Ignore"


@dataclass(frozen=True, slots=True)
class Body:
    """The object, pruned to its kind's fields, and `warnings` to send in Warning headers."""

    object: Object
    warnings: tuple[str, ...] = ()


def field_validation(asked: str | None) -> FieldValidation:
    """The query parameter `fieldValidation` as a choice. Raises a 422 for any other word."""
    if not asked:
        return FieldValidation.WARN
    try:
        return FieldValidation(asked)
    except ValueError:
        causes = Causes()
        causes.unsupported("fieldValidation", asked, list(FieldValidation))
        raise invalid("CreateOptions.meta.k8s.io", "", causes.found) from None


def read_body(
    content: bytes,
    media_type: str,
    api_version: str,
    kind: str,
    validation: FieldValidation = FieldValidation.WARN,
) -> Body:
    """The body as an object of that kind. `media_type` is the Content-Type without parameters; "" means JSON."""
    value, repeated = read_value(content, media_type, kind)
    if not isinstance(value, dict):
        raise _unrecognized(kind, "json: cannot unmarshal into Go value of type struct", content)
    _expect_kind(value, api_version, kind)
    return checked(value, api_version, kind, validation, repeated)


def checked(
    value: Object,
    api_version: str,
    kind: str,
    validation: FieldValidation = FieldValidation.IGNORE,
    repeated: tuple[str, ...] = (),
) -> Body:
    """An object, read or patched, pruned to its kind. Raises 400s: wrong types and, if strict, strange fields."""
    definition = find_definition(api_version, kind)
    assert definition is not None, f"{kind} of {api_version} is served, so it has a schema"
    version = api_version.rpartition("/")[2]
    try:
        found = conformed(value, definition)
    except TypeMismatch as error:
        raise cannot_be_handled(kind, version, kind, str(error)) from None
    strange = tuple(f'unknown field "{path}"' for path in found.unknown) + tuple(
        f'duplicate field "{path}"' for path in repeated
    )
    if strange and validation is FieldValidation.STRICT:
        raise cannot_be_handled(kind, version, kind, f"strict decoding error: {', '.join(strange)}")
    pruned: Object = {"kind": kind, "apiVersion": api_version}
    pruned.update({key: inner for key, inner in found.value.items() if key not in ("kind", "apiVersion")})
    return Body(pruned, strange if validation is FieldValidation.WARN else ())


def read_value(content: bytes, media_type: str, kind: str) -> tuple[Any, tuple[str, ...]]:
    """What the bytes say, of whatever shape, and the paths of the fields that they say twice."""
    match media_type:
        case "" | "application/json" | "application/json-patch+json" | "application/merge-patch+json":
            value, repeated = _json(content, kind)
        case "application/strategic-merge-patch+json":
            value, repeated = _json(content, kind)
        case "application/yaml" | "application/apply-patch+yaml":
            value, repeated = _yaml(content, kind), ()
        case protobuf.MEDIA_TYPE:
            try:
                value, repeated = protobuf.decoded(content), ()
            except protobuf.Malformed as error:
                raise _unrecognized(kind, str(error), content) from None
        case _:
            raise unsupported_media_type(BODY_TYPES)
    return _sound(value, kind, 0), repeated


def _expect_kind(value: Object, api_version: str, kind: str) -> None:
    said_version, said_kind = value.get("apiVersion") or api_version, value.get("kind") or kind
    if not isinstance(said_version, str) or not isinstance(said_kind, str):
        raise bad_request("couldn't get version/kind; json: cannot unmarshal into Go struct field .kind of type string")
    if (said_version, said_kind) == (api_version, kind):
        return
    version = api_version.rpartition("/")[2]
    if find_definition(said_version, said_kind) is None and said_version == api_version:
        raise bad_request(f'no kind "{said_kind}" is registered for version "{said_version}" in scheme "trenza"')
    if said_version != api_version and not kind.endswith("Options"):
        raise bad_request(
            f"the API version in the data ({said_version}) does not match the expected API version ({api_version})"
        )
    if said_kind != kind:
        package = api_version.rpartition("/")[0].partition(".")[0] or "core"
        why = f"converting ({version}.{said_kind}) to ({package}.{kind}): unknown conversion"
        raise cannot_be_handled(said_kind, said_version.rpartition("/")[2], kind, why)


class _Repeating(dict[str, Any]):
    """A JSON object that remembers which of its keys were said twice."""

    repeated: tuple[str, ...] = ()


def _object_of(pairs: list[tuple[str, Any]]) -> _Repeating:
    built = _Repeating(pairs)
    if len(built) != len(pairs):
        seen: set[str] = set()
        built.repeated = tuple(dict.fromkeys(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return built


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"invalid character '{text[0]}' looking for beginning of value")


def _json(content: bytes, kind: str) -> tuple[Any, tuple[str, ...]]:
    try:
        text = content.decode("utf-8", "replace")
        value = json.loads(text, object_pairs_hook=_object_of, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise _unrecognized(kind, f"couldn't get version/kind; json parse error: {_go_words(error)}", content) from None
    except (ValueError, RecursionError) as error:
        said = str(error) if isinstance(error, ValueError) else "exceeded max depth"
        raise _unrecognized(kind, f"couldn't get version/kind; json parse error: {said}", content) from None
    return value, tuple(_repeated(value, "", 0))


def _repeated(value: Any, path: str, depth: int) -> Iterator[str]:
    if depth > DEEPEST:
        return
    if isinstance(value, _Repeating):
        for key in value.repeated:
            yield f"{path}.{key}" if path else key
        for key, inner in value.items():
            yield from _repeated(inner, f"{path}.{key}" if path else key, depth + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _repeated(inner, f"{path}[{index}]", depth + 1)


def _go_words(error: json.JSONDecodeError) -> str:
    at = error.pos
    while at < len(error.doc) and error.doc[at] in " \t\r\n":
        at += 1
    if at >= len(error.doc):
        return "unexpected end of JSON input"
    place = {
        "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
        "Expecting value": "looking for beginning of value",
        "Expecting ':' delimiter": "after object key",
        "Expecting ',' delimiter": "after object key:value pair",
        "Extra data": "after top-level value",
    }.get(error.msg, "in string literal")
    return f"invalid character '{error.doc[at]}' {place}"


class _Loader(yaml.CSafeLoader):
    """YAML without times: JSON has none, they stay texts."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag != "tag:yaml.org,2002:timestamp"]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _yaml(content: bytes, kind: str) -> Any:
    if content.lstrip()[:1] == b"{":
        return _json(content, kind)[0]
    try:
        text = content.decode("utf-8")
        _refuse_bombs(text)
        return yaml.load(text, Loader=_Loader)
    # PyYAML lets other exceptions out for strange scalars and unhashable keys; a body of a stranger ends here.
    except (yaml.YAMLError, ValueError, AttributeError, TypeError, KeyError, IndexError, RecursionError) as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise _unrecognized(kind, f"error converting YAML to JSON: yaml: {first}", content) from None


def _refuse_bombs(text: str) -> None:
    """Aliases and deep nesting, before anything is built: libyaml's composer recurses without end."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not accepted")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise yaml.YAMLError("exceeded max depth")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _sound(value: Any, kind: str, depth: int) -> Any:
    """The value with plain mappings, text keys, whole characters and bounded nesting; else a 400."""
    if depth > DEEPEST:
        raise bad_request(f"the object provided is unrecognized (must be of type {kind}): exceeded max depth")
    match value:
        case str():
            return _whole(value)
        case dict():
            return {
                _whole(key if isinstance(key, str) else json.dumps(key, default=str)): _sound(inner, kind, depth + 1)
                for key, inner in value.items()
            }
        case list():
            return [_sound(inner, kind, depth + 1) for inner in value]
        case bool() | int() | None:
            return value
        case float() if value - value == 0:
            return value
        case _:
            raise bad_request(
                f"the object provided is unrecognized (must be of type {kind}): {type(value).__name__} is no JSON"
            )


def _whole(text: str) -> str:
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _unrecognized(kind: str, why: str, content: bytes) -> ApiError:
    shown = content[:_SHOWN_BYTES]
    text = shown.decode("utf-8", "replace") if content[:1] == b"{" else shown.hex()
    more = " ..." if len(content) > _SHOWN_BYTES else ""
    return bad_request(f"the object provided is unrecognized (must be of type {kind}): {why} ({text}{more})")
