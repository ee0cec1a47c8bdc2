"""Bodies of type `application/vnd.kubernetes.protobuf` as the JSON objects they stand for.

kubectl 1.32 and later send them for every typed command and do not fall back. A body is four magic bytes and a
runtime.Unknown {typeMeta, raw}; `raw` is the object's own message. The field numbers are the published ones
(`data/messages.json`); fields that are not in it are skipped, as newer clients may send them.

Go writes every field that is no pointer, zero or not, where JSON leaves zeros out; so zeros are dropped, except where
Go has a pointer and a zero was meant (`replicas: 0`).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from trenza.cluster.kinds.fields import find_definition
from trenza.cluster.kinds.names import micro_timestamp, timestamp
from trenza.cluster.kinds.resources import Object

MAGIC = b"k8s\x00"
MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
# A message inside a message, …: published types nest about 15 deep; JSONSchemaProps could go on for ever.
_DEEPEST = 60

Message = Mapping[str, tuple[str, str]]

# The names of Go's pointers to numbers and truths: a zero there was said on purpose.
_POINTERS = """
    activeDeadlineSeconds allocateLoadBalancerNodePorts allowPrivilegeEscalation automountServiceAccountToken
    backoffLimit backoffLimitPerIndex blockOwnerDeletion completions controller defaultMode deletionGracePeriodSeconds
    enableServiceLinks expirationSeconds failedJobsHistoryLimit fsGroup gracePeriodSeconds hostUsers immutable
    leaseDurationSeconds leaseTransitions manualSelector maxFailedIndexes minReplicas mode optional orphanDependents
    parallelism priority privileged progressDeadlineSeconds readOnlyRootFilesystem ready replicas revisionHistoryLimit
    runAsGroup runAsNonRoot runAsUser serving setHostnameAsFQDN shareProcessNamespace startingDeadlineSeconds
    successfulJobsHistoryLimit suspend targetCPUUtilizationPercentage terminating terminationGracePeriodSeconds
    tolerationSeconds ttlSecondsAfterFinished
"""
_MEANT_ZEROS = frozenset(_POINTERS.split())


class Malformed(Exception):
    """Bytes that are no message; its text says what was expected."""


def decoded(body: bytes) -> Object:
    """The object of a protobuf body, apiVersion and kind set where the body names them. Raises Malformed."""
    if not body.startswith(MAGIC):
        raise Malformed("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    api_version = kind = ""
    raw = b""
    for number, wire, value in _fields(body[len(MAGIC) :]):
        if number == 1 and wire == 2:
            for inner, inner_wire, text in _fields(value):
                if inner_wire == 2 and inner == 1:
                    api_version = _text(text)
                elif inner_wire == 2 and inner == 2:
                    kind = _text(text)
        elif number == 2 and wire == 2:
            raw = value
        elif number in (3, 4) and value:
            raise Malformed("encoded or foreign contents are not accepted inside a protobuf body")
    definition = _definition(api_version, kind)
    if definition is None:
        raise Malformed(f'no kind "{kind}" is registered for version "{api_version}"')
    written: Object = {"kind": kind, "apiVersion": api_version}
    written.update(_message(raw, definition, 0))
    return written


def _definition(api_version: str, kind: str) -> str | None:
    found = find_definition(api_version, kind)
    # Options are of every group's version: `apps/v1, DeleteOptions` is meta's.
    return found or (find_definition("v1", kind) if kind.endswith("Options") else None)


@cache
def messages() -> Mapping[str, Message]:
    """Definition name → {field number: (JSON name, type)}; types as `scripts/kubernetes_data.py` writes them."""
    text = files("trenza.cluster.kinds").joinpath("data", "messages.json").read_text()
    return {
        name: {number: (field, kind) for number, (field, kind) in fields.items()}
        for name, fields in json.loads(text).items()
    }


def _message(content: bytes, definition: str, depth: int) -> Object:
    if depth > _DEEPEST:
        raise Malformed("messages nest too deep")
    table = messages().get(definition, {})
    written: Object = {}
    for number, wire, value in _fields(content):
        name, kind = table.get(str(number), ("", ""))
        if not kind:
            continue
        if kind[0] == "%":
            key, item = _entry(value, wire, kind[1:], depth)
            written.setdefault(name, {})[key] = item
        elif kind[0] == "*":
            written.setdefault(name, []).extend(_items(value, wire, kind[1:], depth))
        else:
            found = _value(value, wire, kind, depth)
            if name == "":
                written.update(found)
            elif found is not None and (found or kind[0] == "m" or name in _MEANT_ZEROS):
                written[name] = found
    return written


def _items(value: Any, wire: int, kind: str, depth: int) -> Iterator[Any]:
    if kind in "it" and wire == 2:  # packed
        at = 0
        while at < len(value):
            number, at = _varint(value, at)
            yield _value(number, 0, kind, depth)
    else:
        yield _value(value, wire, kind, depth)


def _entry(content: Any, wire: int, kind: str, depth: int) -> tuple[str, Any]:
    if wire != 2:
        raise Malformed("a map's entry is no message")
    key, item = "", _value(*_EMPTY[kind[0]], kind, depth)
    for number, inner_wire, value in _fields(content):
        if number == 1 and inner_wire == 2:
            key = _text(value)
        elif number == 2:
            item = _value(value, inner_wire, kind, depth)
    return key, item


_EMPTY: Mapping[str, tuple[Any, int]] = {"s": (b"", 2), "b": (b"", 2), "m": (b"", 2), "i": (0, 0), "t": (0, 0)}


def _value(value: Any, wire: int, kind: str, depth: int) -> Any:
    if wire != _EMPTY[kind[0]][1]:
        raise Malformed(f"wire type {wire} where another belongs")
    match kind[0]:
        case "s":
            return _text(value)
        case "b":
            return base64.b64encode(value).decode()
        case "t":
            return value != 0
        case "i":
            return value - 2**64 if value >= 2**63 else value
        case _:
            definition = kind[2:]
            special = _SPECIAL.get(definition.rpartition(".")[2])
            if special is not None and definition not in messages():
                return special({number: found for number, _, found in _fields(value)})
            if definition.endswith("ExtraValue"):
                return [_text(found) for number, found_wire, found in _fields(value) if number == 1 and found_wire == 2]
            return _message(value, definition, depth + 1)


def _moment(fields: Mapping[int, Any]) -> str | None:
    seconds = _signed(fields.get(1, 0))
    return timestamp(seconds) if fields and _is_date(seconds) and seconds else None


def _micro_moment(fields: Mapping[int, Any]) -> str | None:
    seconds = _signed(fields.get(1, 0))
    if not fields or not seconds or not _is_date(seconds):
        return None
    return micro_timestamp(seconds + _signed(fields.get(2, 0)) % 1_000_000_000 / 1e9)


def _is_date(seconds: int) -> bool:
    return -62_135_596_800 < seconds < 253_402_300_800  # year 1, which is Go's zero time, to year 9999


def _signed(value: Any) -> int:
    if not isinstance(value, int):
        raise Malformed("a text where a number belongs")
    return value - 2**64 if value >= 2**63 else value


def _quantity(fields: Mapping[int, Any]) -> str | None:
    text = _text(fields.get(1, b""))
    return text or None


def _int_or_string(fields: Mapping[int, Any]) -> int | str:
    return _text(fields.get(3, b"")) if _signed(fields.get(1, 0)) == 1 else _signed(fields.get(2, 0))


def _json(fields: Mapping[int, Any]) -> Any:
    text = fields.get(1, b"")
    try:
        return json.loads(text) if text else None
    except (ValueError, TypeError, RecursionError) as error:
        raise Malformed(f"the JSON inside is none: {error}") from None


_SPECIAL: Mapping[str, Any] = {
    "Time": _moment,
    "MicroTime": _micro_moment,
    "Quantity": _quantity,
    "IntOrString": _int_or_string,
    "RawExtension": _json,
    "FieldsV1": _json,
}


def _fields(content: Any) -> Iterator[tuple[int, int, Any]]:
    """(number, wire type, value) of a message: an int for a varint, bytes for the rest."""
    if not isinstance(content, bytes):
        raise Malformed("a number where a message belongs")
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise Malformed("field number 0")
        if wire == 0:
            number_value, at = _varint(content, at)
            yield number, wire, number_value
            continue
        if wire == 2:
            length, at = _varint(content, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise Malformed(f"unknown wire type {wire}")
        if at + length > len(content):
            raise Malformed("unexpected EOF")
        yield number, wire, content[at : at + length]
        at += length


def _varint(content: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(content):
            raise Malformed("unexpected EOF")
        byte = content[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number & (2**64 - 1), at
    raise Malformed("a number of more than 64 bits")


def _text(content: Any) -> str:
    if not isinstance(content, bytes):
        raise Malformed("a number where a text belongs")
    return content.decode("utf-8", "replace")
