"""Who owns which field: managedFields kept through updates, and server-side apply on top of them.

A set of fields is a frozenset of paths; a path is a tuple of elements as FieldsV1 spells them: `f:spec` (a field),
`k:{"name":"c"}` (an element of a keyed list), `v:"x"` (a member of a set). Only owned places are in it: leaves, atomic
lists and maps, elements themselves.

    after_update    the managers of an object that someone wrote: changed fields go to the writer
    applied         the object and its managers after a server-side apply, or the 409 that names the conflicts
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trenza.cluster.kinds.fields import Schema, definitions, find_definition, resolved
from trenza.cluster.kinds.names import timestamp
from trenza.cluster.kinds.resources import Object
from trenza.cluster.kinds.status import ApiError, Cause, Causes, Details, bad_request, manager_required

Path = tuple[str, ...]
FieldSet = frozenset[Path]

_META = ("name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion")
_UNOWNED: FieldSet = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",), *(("f:metadata", f"f:{key}") for key in _META)}
)
_BEFORE = "before-first-apply"
_NAME_LETTERS = 128


@dataclass(frozen=True, slots=True)
class Manager:
    """One entry of managedFields."""

    name: str
    operation: str
    api_version: str
    subresource: str
    time: str
    fields: FieldSet

    def __str__(self) -> str:
        said = json.dumps(self.name)
        if self.subresource:
            said += f" with subresource {json.dumps(self.subresource)}"
        if self.operation != "Update":
            return said
        return f"{said} using {self.api_version}" + (f" at {self.time}" if self.time else "")

    def is_same_as(self, other: Manager) -> bool:
        """Whether both entries are one writer's."""
        return (self.name, self.operation, self.api_version, self.subresource) == (
            other.name,
            other.operation,
            other.api_version,
            other.subresource,
        )


def manager_name(asked: str, user_agent: str, causes: Causes) -> str:
    """Who writes: the query's `fieldManager`, else the program of the User-Agent; `causes` hears what is wrong."""
    if len(asked) > _NAME_LETTERS:
        causes.too_long("fieldManager", _NAME_LETTERS)
    if not asked.isprintable():
        causes.invalid("fieldManager", asked, "should only contain printable characters")
    return asked or user_agent.partition("/")[0][:_NAME_LETTERS] or "unknown"


def managers_of(written: Object) -> tuple[Manager, ...]:
    """The entries of an object's managedFields; entries that cannot be read are left out."""
    found = []
    for entry in (written.get("metadata") or {}).get("managedFields") or ():
        if isinstance(entry, dict) and entry.get("operation") in ("Apply", "Update"):
            fields = entry.get("fieldsV1")
            found.append(
                Manager(
                    str(entry.get("manager", "")),
                    entry["operation"],
                    str(entry.get("apiVersion", "")),
                    str(entry.get("subresource", "")),
                    str(entry.get("time", "")),
                    frozenset(_paths_of(fields if isinstance(fields, dict) else {}, ())),
                )
            )
    return tuple(found)


def written_managers(managers: Sequence[Manager]) -> list[Object]:
    """The managedFields of these managers: applies first, each kind by time and name; owners of nothing left out."""
    order = sorted(managers, key=lambda one: (one.operation != "Apply", one.time, one.name))
    return [_entry(one) for one in order if one.fields]


def after_update(old: Object | None, new: Object, manager: str, now_s: float, *, subresource: str = "") -> Object:
    """The new object with its managers: what it changes against the old one belongs to the writer from now on."""
    known = managers_of(new) if "managedFields" in (new.get("metadata") or {}) else managers_of(old or {})
    schema = _schema(new)
    before = leaves(old or {}, schema) | _containers(old or {}, schema)
    after = leaves(new, schema) | _containers(new, schema)
    changed = frozenset(path for path, value in after.items() if before.get(path) != value)
    gone = frozenset(before) - frozenset(after)
    mine = Manager(manager, "Update", new["apiVersion"], subresource, timestamp(now_s), changed)
    kept = []
    for one in known:
        if one.is_same_as(mine):
            fields = (one.fields - gone) | changed
            mine = replace(mine, fields=fields, time=one.time if fields == one.fields else mine.time)
        else:
            kept.append(replace(one, fields=one.fields - gone - changed))
    return _with_managers(new, [*kept, mine])


def applied(live: Object | None, configuration: Object, manager: str, now_s: float, *, force: bool = False) -> Object:
    """The object after a server-side apply of what `manager` wants said about it.

    Fields that the manager said last time and does not say now are removed, unless others own them too. Raises a 409
    with a cause for each field that another manager owns with another value, unless `force` takes them over.
    """
    if not manager:
        raise manager_required()
    if "managedFields" in (configuration.get("metadata") or {}):
        raise bad_request("metadata.managedFields must be nil")
    schema = _schema(configuration)
    _refuse_duplicates(configuration, schema)
    wanted = leaves(configuration, schema)
    mine = Manager(manager, "Apply", configuration["apiVersion"], "", timestamp(now_s), frozenset(wanted))
    if live is None:
        return _with_managers(copy.deepcopy(configuration), [mine])
    present = leaves(live, schema)
    known = managers_of(live) or (
        Manager(_BEFORE, "Update", live["apiVersion"], "", timestamp(now_s), frozenset(present)),
    )
    others = [one for one in known if not one.is_same_as(mine)]
    before = next((one for one in known if one.is_same_as(mine)), None)
    last = before.fields if before is not None else frozenset()
    taken = frozenset(path for path, value in wanted.items() if present.get(path) != value)
    # An empty map or keyed list that is wanted takes nothing away from whoever filled it.
    taken -= frozenset(path for path in taken if wanted[path] == "" and _is_above(path, present))
    if not force:
        _refuse_conflicts(others, taken)
    owned = mine.fields.union(*(one.fields for one in others))
    dropped = frozenset(path for path in last - owned if not _is_above(path, owned))
    merged = _without(_merged(live, configuration, schema), dropped, owned, schema)
    kept = [replace(one, fields=one.fields - taken) for one in others]
    if before is not None and mine.fields == last:
        mine = replace(mine, time=before.time)
    return _with_managers(merged, [*kept, mine])


def _refuse_duplicates(configuration: Object, schema: Schema) -> None:
    """An element said twice could be owned but not merged."""
    seen: set[Path] = set()
    for path, _ in _leaves(configuration, schema, ()):
        if path in seen:
            kind = f"{configuration['apiVersion']}, Kind={configuration['kind']}"
            place, element = path_text(path[:-1]), path_text(path[-1:])
            raise bad_request(
                f"failed to create typed patch object ({kind}): {place}: duplicate entries for key {element}"
            )
        seen.add(path)


def _is_above(path: Path, others: Iterable[Path]) -> bool:
    return any(other[: len(path)] == path and other != path for other in others)


def _refuse_conflicts(others: Sequence[Manager], taken: FieldSet) -> None:
    found = [(one, path) for one in others for path in sorted(one.fields & taken)]
    if not found:
        return
    causes = tuple(Cause("FieldManagerConflict", f"conflict with {one}", path_text(path)) for one, path in found)
    if len(found) == 1:
        said = f"Apply failed with 1 conflict: conflict with {found[0][0]}: {path_text(found[0][1])}"
    else:
        lines = []
        for name in sorted({str(one) for one, _ in found}):
            lines.append(f"conflicts with {name}:")
            lines += [f"- {path_text(path)}" for one, path in found if str(one) == name]
        said = f"Apply failed with {len(found)} conflicts: " + "\n".join(lines)
    raise ApiError(409, "Conflict", said, Details(causes=causes))


def path_text(path: Path) -> str:
    """A path as people read it: `.spec.template.spec.containers[name="c"].image`."""
    text = ""
    for element in path:
        kind, _, rest = element.partition(":")
        if kind == "f":
            text += f".{rest}"
        elif kind == "k":
            keys = json.loads(rest)
            text += "[" + ",".join(f"{key}={json.dumps(keys[key])}" for key in sorted(keys)) + "]"
        else:
            text += f"[={rest}]"
    return text


def _with_managers(written: Object, managers: Sequence[Manager]) -> Object:
    metadata = {key: value for key, value in (written.get("metadata") or {}).items() if key != "managedFields"}
    entries = written_managers(managers)
    if entries:
        metadata["managedFields"] = entries
    return {**written, "metadata": metadata}


def _entry(manager: Manager) -> Object:
    fields: Object = {}
    for path in sorted(manager.fields):
        place = fields
        for element in path:
            place = place.setdefault(element, {})
        place["."] = {}
    entry: Object = {
        "manager": manager.name,
        "operation": manager.operation,
        "apiVersion": manager.api_version,
        "time": manager.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": _plain_leaves(fields),
    }
    return entry | ({"subresource": manager.subresource} if manager.subresource else {})


def _plain_leaves(fields: Object) -> Object:
    return {key: {} if list(inner) == ["."] else _plain_leaves(inner) for key, inner in fields.items()}


def _paths_of(fields: Mapping[str, Any], path: Path) -> Iterator[Path]:
    for key, inner in fields.items():
        if key == ".":
            yield path
        elif isinstance(inner, dict):
            if inner:
                yield from _paths_of(inner, (*path, key))
            else:
                yield (*path, key)


def _schema(written: Object) -> Schema:
    name = find_definition(written.get("apiVersion", ""), written.get("kind", ""))
    return definitions()[name] if name is not None else {}


def leaves(written: Object, schema: Schema) -> dict[Path, str]:
    """Every owned place of an object, with its value as text; "" where only being there counts."""
    found = dict(_leaves(written, schema, ()))
    return {
        path: value
        for path, value in found.items()
        if path not in _UNOWNED and path[:2] != ("f:metadata", "f:managedFields")
    }


def _leaves(value: Any, field: Schema, path: Path) -> Iterator[tuple[Path, str]]:
    schema = resolved(field)
    match value:
        case dict() if value and not _is_atomic_map(field, schema):
            for key, inner in value.items():
                if inner is not None:
                    yield from _leaves(inner, _below(schema, key), (*path, f"f:{key}"))
        case list() if value and _list_type(field) == "map":
            keys, items = field.get("x-kubernetes-list-map-keys", ()), field.get("items", {})
            for one in value:
                place = (*path, _key_element(one, keys))
                yield place, ""
                yield from _leaves(one, items, place)
        case list() if value and _list_type(field) == "set":
            for one in value:
                yield (*path, f"v:{_json(one)}"), ""
        case dict() if not value and not _is_atomic_map(field, schema):
            yield path, ""
        case list() if not value and _list_type(field) in ("map", "set"):
            yield path, ""
        case _:
            yield path, _json(value)


# Structures that Go has by value: they are always there, so nobody makes them.
_BY_VALUE = frozenset(("metadata", "spec", "status", "template", "strategy", "updateStrategy", "resources"))


def _containers(written: Object, schema: Schema) -> dict[Path, str]:
    """The maps, keyed lists and optional structures of an object: whoever writes the first thing in one owns it."""
    return dict(_containers_of(written, schema, (), is_made=False))


def _containers_of(value: Any, field: Schema, path: Path, *, is_made: bool) -> Iterator[tuple[Path, str]]:
    schema = resolved(field)
    match value:
        case dict() if value and not _is_atomic_map(field, schema):
            if is_made:
                yield path, ""
            needed = schema.get("required", ())
            for key, inner in value.items():
                made = key not in _BY_VALUE and key not in needed
                yield from _containers_of(inner, _below(schema, key), (*path, f"f:{key}"), is_made=made)
        case list() if value and _list_type(field) in ("map", "set"):
            if is_made:
                yield path, ""
            keys, items = field.get("x-kubernetes-list-map-keys", ()), field.get("items", {})
            for one in value if keys else ():
                yield from _containers_of(one, items, (*path, _key_element(one, keys)), is_made=False)
        case _:
            pass


def _below(schema: Schema, key: str) -> Schema:
    properties = schema.get("properties")
    found: Any = properties.get(key, {}) if properties is not None else schema.get("additionalProperties", {})
    return found if isinstance(found, dict) else {}


def _is_atomic_map(field: Schema, schema: Schema) -> bool:
    if "atomic" in (field.get("x-kubernetes-map-type"), schema.get("x-kubernetes-map-type")):
        return True
    return "properties" not in schema and "additionalProperties" not in schema and bool(schema)


def _list_type(field: Schema) -> str:
    return str(field.get("x-kubernetes-list-type", "atomic"))


def _key_element(one: Any, keys: Sequence[str]) -> str:
    # Keys that may be left out have defaults in the schema; protocol is the only one among the served kinds.
    values = {
        key: (one.get(key, "TCP" if key == "protocol" else "") if isinstance(one, dict) else one)
        for key in sorted(keys)
    }
    return f"k:{_json(values)}"


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _merged(live: Any, wanted: Any, field: Schema) -> Any:
    """The live value with what is wanted said into it: maps and keyed lists merge, the rest is replaced."""
    schema = resolved(field)
    match wanted, live:
        case dict(), dict() if not _is_atomic_map(field, schema):
            merged = dict(live)
            for key, value in wanted.items():
                if value is not None:
                    merged[key] = _merged(live.get(key), value, _below(schema, key))
            return merged
        case list(), list() if _list_type(field) == "map":
            keys, items = field.get("x-kubernetes-list-map-keys", ()), field.get("items", {})
            named = {_key_element(one, keys): one for one in wanted}
            known = {_key_element(one, keys): one for one in live}
            kept = [_merged(one, named[key], items) if key in named else one for key, one in known.items()]
            return kept + [copy.deepcopy(one) for key, one in named.items() if key not in known]
        case list(), list() if _list_type(field) == "set":
            return live + [one for one in wanted if one not in live]
        case _:
            return copy.deepcopy(wanted)


def _without(value: Any, dropped: FieldSet, owned: FieldSet, field: Schema, path: Path = ()) -> Any:
    """The value without the dropped places; maps that only held such go with them, unless someone owns them."""
    if not dropped:
        return value
    schema = resolved(field)
    match value:
        case dict() if not _is_atomic_map(field, schema):
            kept = {}
            for key, inner in value.items():
                place = (*path, f"f:{key}")
                below = frozenset(one for one in dropped if one[: len(place)] == place)
                if place in below:
                    continue
                left = _without(inner, below, owned, _below(schema, key), place)
                if left or not below or place in owned:
                    kept[key] = left
            return kept
        case list() if _list_type(field) == "map":
            keys, items = field.get("x-kubernetes-list-map-keys", ()), field.get("items", {})
            return [
                _without(
                    one, frozenset(drop for drop in dropped if drop[: len(path) + 1] == place), owned, items, place
                )
                for one in value
                if (place := (*path, _key_element(one, keys))) not in dropped
            ]
        case list() if _list_type(field) == "set":
            return [one for one in value if (*path, f"v:{_json(one)}") not in dropped]
        case _:
            return value
