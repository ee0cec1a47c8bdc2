"""JSON Schema (2020-12) of the lab file, out of its declaration, so that editors complete and check lab files.

Wider than the reader where a value may be `$name`, and where null removes.
"""

from __future__ import annotations

from trenza.spec.format import LAB, RECORDS
from trenza.spec.kinds import Form, Kind, Many, Record, Table

_PARAMETER: dict[str, object] = {"type": "string", "pattern": r"\$"}


def lab_schema() -> dict[str, object]:
    """The schema; records are definitions, so that each is described once."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "trenza lab file",
        "$ref": f"#/$defs/{LAB.name}",
        "$defs": {record.name: _record(record) for record in RECORDS},
    }


def _record(record: Record) -> dict[str, object]:
    schema: dict[str, object] = {
        "type": "object",
        "description": record.doc,
        "properties": {
            option.name: {"description": option.doc, **_schema(option.kind)} for option in record.options.values()
        },
        "additionalProperties": False,
    }
    if record is LAB:
        schema["required"] = [option.name for option in record.options.values() if option.required]
    return schema


def _schema(kind: Kind) -> dict[str, object]:
    match kind:
        case Form():
            return _form(kind)
        case Many():
            items = _schema(kind.of)
            array: dict[str, object] = {"type": "array", "items": items}
            return _any_of(array, items) if kind.single else _any_of(array)
        case Table():
            return _table(kind)
        case Record():
            return _short_forms(kind)


def _form(form: Form) -> dict[str, object]:
    schema = dict(form.schema)
    return (
        schema
        if "type" not in schema or (schema["type"] == "string" and len(schema) == 1)
        else _any_of(schema, _PARAMETER)
    )


def _table(table: Table) -> dict[str, object]:
    names = {key: value for key, value in table.key.schema.items() if key in ("pattern", "maxLength")}
    mapping: dict[str, object] = {"type": "object", "additionalProperties": _schema(table.of)}
    if table.own:
        mapping["properties"] = {name: _schema(kind) for name, kind in table.own.items()}
    if names:
        mapping["propertyNames"] = names
    others: list[dict[str, object]] = []
    if table.listable:
        others.append({"type": "array", "items": {"type": "string"}})
    if table.short is not None:
        others.append({"type": "string"})
    return _any_of(mapping, *others)


def _short_forms(record: Record) -> dict[str, object]:
    others: list[dict[str, object]] = []
    if record.scalar is not None:
        others.append(_schema(record.options[record.scalar].kind))
    if record.sequence is not None:
        others.append({"type": "array"})
    if record.switchable:
        others.append({"type": "boolean"})
    return _any_of({"$ref": f"#/$defs/{record.name}"}, *others)


def _any_of(*schemas: dict[str, object]) -> dict[str, object]:
    return {"anyOf": [*schemas, {"type": "null"}]}
