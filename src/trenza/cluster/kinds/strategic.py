"""Strategic merge patches: kubectl's `patch`, `apply` and `rollout undo` merge lists by key instead of replacing them.

How each field merges is in the published definitions (patch strategy and merge key). Beside values a patch may hold
directives: `$patch: replace|delete`, `$retainKeys`, `$deleteFromPrimitiveList/FIELD`, `$setElementOrder/FIELD`.
Elements that a patch adds go before those it does not name, as in Kubernetes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trenza.cluster.kinds.fields import Schema, resolved
from trenza.cluster.kinds.status import bad_request

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_DELETE_FROM = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"


def strategically_merged(original: Any, patch: Any, schema: Schema) -> Any:
    """The original with the patch in it; neither is changed. Raises a 400 for a patch that is none."""
    if not isinstance(patch, dict):
        raise bad_request("cannot unmarshal the patch into a map")
    return _map(original if isinstance(original, dict) else {}, patch, resolved(schema))


def _map(original: dict[str, Any], patch: dict[str, Any], schema: Schema) -> dict[str, Any]:
    match patch.get(_PATCH):
        case None:
            pass
        case "replace":
            return _map({}, {key: value for key, value in patch.items() if key != _PATCH}, schema)
        case "delete":
            return {}
        case "merge":
            patch = {key: value for key, value in patch.items() if key != _PATCH}
        case other:
            raise bad_request(f"unknown patch type found: {other}")
    merged = _retained(original, patch)
    for key, value in patch.items():
        if key.startswith(_DELETE_FROM):
            name = key.removeprefix(_DELETE_FROM)
            gone = _list(value, key)
            if isinstance(merged.get(name), list):
                merged[name] = [one for one in merged[name] if one not in gone]
    for key, value in patch.items():
        if key.startswith((_DELETE_FROM, _ORDER)) or key == _RETAIN:
            continue
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _field(merged.get(key), value, _field_schema(schema, key))
    for key, value in patch.items():
        if key.startswith(_ORDER):
            _order(original, merged, key.removeprefix(_ORDER), _list(value, key), schema)
    return merged


def _retained(original: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    if _RETAIN not in patch:
        return dict(original)
    kept = _list(patch[_RETAIN], _RETAIN)
    if any(key not in kept for key, value in patch.items() if not key.startswith("$") and value is not None):
        raise bad_request("patch format for the retainKeys directive is wrong: a key is set that is not retained")
    return {key: value for key, value in original.items() if key in kept}


def _field_schema(schema: Schema, key: str) -> Schema:
    properties = schema.get("properties")
    if properties is None:
        inner = schema.get("additionalProperties", {})
        return inner if isinstance(inner, dict) else {}
    found: Schema = properties.get(key, {})
    return found


def _strategies(field: Schema) -> list[str]:
    return str(field.get("x-kubernetes-patch-strategy", "")).split(",")


def _field(original: Any, value: Any, field: Schema) -> Any:
    match value:
        case dict() if "replace" in _strategies(field):
            return _map({}, value, resolved(field))
        case dict():
            return _map(original if isinstance(original, dict) else {}, value, resolved(field))
        case list() if "merge" in _strategies(field):
            return _merged_list(original if isinstance(original, list) else [], value, field)
        case list():
            return [_map({}, one, resolved(field.get("items", {}))) if isinstance(one, dict) else one for one in value]
        case _:
            return value


def _merged_list(original: list[Any], patch: list[Any], field: Schema) -> list[Any]:
    key = field.get("x-kubernetes-patch-merge-key")
    if key is None:
        every = {_hashable(one): one for one in [*reversed(patch), *reversed(original)]}
        joined = dict.fromkeys(_hashable(one) for one in [*original, *patch])
        return _in_order([every[key] for key in joined], patch, original, _itself)
    items = resolved(field.get("items", {}))
    if any(isinstance(one, dict) and one.get(_PATCH) == "replace" for one in patch):
        return [_map({}, one, items) for one in patch if isinstance(one, dict) and one.get(_PATCH) != "replace"]
    identity = _by(key)
    merged = {_hashable(identity(one)): one for one in original if isinstance(one, dict)}
    named = []
    for one in patch:
        if not isinstance(one, dict) or key not in one:
            raise bad_request(f"map: {one} does not contain declared merge key: {key}")
        place = _hashable(one[key])
        if one.get(_PATCH) == "delete":
            merged.pop(place, None)
        else:
            merged[place] = _map(merged.get(place, {}), one, items)
            named.append(merged[place])
    return _in_order(list(merged.values()), named, original, identity)


def _in_order(
    elements: list[Any], named: list[Any], server_order: list[Any], identity: Callable[[Any], Any]
) -> list[Any]:
    """The elements: the named in their patch's order, the others in the server's, woven where it knew both."""
    wanted = {_hashable(identity(one)): place for place, one in reversed(list(enumerate(named)))}
    served = {_hashable(identity(one)): place for place, one in reversed(list(enumerate(server_order)))}
    keyed = [(_hashable(identity(one)), one) for one in elements]
    others = [(key, one) for key, one in keyed if key not in wanted]
    by_patch = sorted(((key, one) for key, one in keyed if key in wanted), key=lambda pair: wanted[pair[0]])
    woven: list[Any] = []
    left, right = 0, 0
    while left < len(others) or right < len(by_patch):
        if right >= len(by_patch):
            first = True
        elif left >= len(others):
            first = False
        else:
            mine, theirs = others[left][0], by_patch[right][0]
            first = mine in served and theirs in served and served[mine] < served[theirs]
        woven.append(others[left][1] if first else by_patch[right][1])
        left, right = (left + 1, right) if first else (left, right + 1)
    return woven


def _order(original: dict[str, Any], merged: dict[str, Any], name: str, order: list[Any], schema: Schema) -> None:
    elements = merged.get(name)
    if not isinstance(elements, list):
        return
    key = _field_schema(schema, name).get("x-kubernetes-patch-merge-key")
    if key is not None and any(not isinstance(one, dict) or key not in one for one in order):
        raise bad_request(f"patch format for the setElementOrder list of {name} is wrong: each element names its {key}")
    server_order = original.get(name)
    merged[name] = _in_order(
        elements, order, server_order if isinstance(server_order, list) else [], _itself if key is None else _by(key)
    )


def _itself(one: Any) -> Any:
    return one


def _by(key: str) -> Callable[[Any], Any]:
    return lambda one: one.get(key) if isinstance(one, dict) else one


def _hashable(value: Any) -> Any:
    # The type is in it, for True is 1 in Python and "1" is not 1 in JSON.
    return type(value).__name__, value if isinstance(value, str | int | float | None) else repr(value)


def _list(value: Any, key: str) -> list[Any]:
    if not isinstance(value, list):
        raise bad_request(f"patch format for {key} is wrong: a list is needed")
    return value
