"""Writes src/trenza/cluster/kinds/data/ out of what Kubernetes publishes; `verify` only compares.

    python -m pip download --no-deps -d /tmp/schemas kubernetes-validate==1.37.0
    .venv/bin/python scripts/kubernetes_data.py update|verify /tmp/schemas/*.whl [KUBECTL]

`definitions.json.gz` holds the OpenAPI definitions of the served kinds (Apache-2.0; from the wheel, which keeps them
with the patch and list markers). `messages.json` holds the protobuf field numbers of the same types: Go programs carry
the descriptors of their .proto files, so any kubectl 1.32 (KUBECTL, by default the one in PATH) is the source.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trenza.cluster.kinds.resources import RESOURCES

DATA = Path(__file__).parent.parent / "src" / "trenza" / "cluster" / "kinds" / "data"
RELEASE = "v1.32.0"
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
ALWAYS = (
    *(META + kind for kind in ("DeleteOptions", "Status", "WatchEvent", "PatchOptions", "CreateOptions")),
    "io.k8s.api.autoscaling.v1.Scale",
    "io.k8s.api.authentication.v1.TokenRequest",
    "io.k8s.api.policy.v1.Eviction",
)
# Messages that are one JSON value; protobuf.py reads each in its own way.
SCALARS = ("Time", "MicroTime", "Duration", "FieldsV1", "Quantity", "IntOrString", "RawExtension", "JSON")
MESSAGE, STRING, BYTES, BOOL, REPEATED = 11, 9, 12, 8, 3


def main(verb: str, wheel: str, kubectl: str | None = None) -> int:
    """0 when the files are (now) right."""
    definitions = served_definitions(published_definitions(Path(wheel)))
    binary = kubectl or shutil.which("kubectl")
    if binary is None:
        raise SystemExit("no kubectl in PATH; give the path of one as the last argument")
    messages = served_messages(embedded_messages(Path(binary).read_bytes()), definitions)
    written = {
        "definitions.json.gz": gzip.compress(lines(definitions), 9, mtime=0),
        "messages.json": lines(messages),
    }
    wrong = 0
    for name, content in written.items():
        path = DATA / name
        if verb == "update":
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        elif not path.exists() or unpacked(path.read_bytes()) != unpacked(content):
            print(f"{path} differs from what is published")
            wrong = 1
    return wrong


def unpacked(content: bytes) -> bytes:
    """The text itself: two compressors may pack it differently."""
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def lines(entries: dict[str, Any]) -> bytes:
    """JSON with one type a line, so that a change of the data reads as one."""
    inner = ",\n".join(
        f"{json.dumps(key)}:{json.dumps(entries[key], separators=(',', ':'), sort_keys=True)}"
        for key in sorted(entries)
    )
    return f"{{\n{inner}\n}}\n".encode()


def published_definitions(wheel: Path) -> dict[str, Any]:
    """Every definition of RELEASE, in OpenAPI v2's own spelling again."""
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"kubernetes_validate/kubernetes-json-schema/{RELEASE}-local/_definitions.json")
    return {name: as_published(schema) for name, schema in json.loads(text)["$defs"].items()}


def as_published(schema: Any) -> Any:
    """The schema without what its packager added: null types, enums of kind and apiVersion, unions."""
    match schema:
        case {"oneOf": _, **rest}:
            return {**rest, "type": "string"}
        case dict():
            kept = {}
            for key, value in schema.items():
                if key == "$ref":
                    kept[key] = value.replace("#/$defs/", "#/definitions/")
                elif key == "type" and isinstance(value, list):
                    kept[key] = next(one for one in value if one != "null")
                elif key in ("properties",):
                    kept[key] = {name: as_published(field) for name, field in value.items()}
                elif key not in ("enum", "x-kubernetes-unions"):
                    kept[key] = as_published(value)
            return kept
        case list():
            return [as_published(one) for one in schema]
        case _:
            return schema


def served_definitions(published: dict[str, Any]) -> dict[str, Any]:
    """What the resources need, and all that it refers to."""
    for name in published:
        if name.endswith("util.intstr.IntOrString"):
            published[name]["format"] = "int-or-string"
    by_kind = {
        (found["group"], found["version"], found["kind"]): name
        for name, schema in published.items()
        for found in schema.get("x-kubernetes-group-version-kind", ())
        if len(schema["x-kubernetes-group-version-kind"]) == 1
    }
    waiting = [name for name in ALWAYS if name in published]
    for resource in RESOURCES:
        waiting.append(by_kind[resource.group, resource.version, resource.kind])
        of_list = by_kind.get((resource.group, resource.version, f"{resource.kind}List"))
        waiting += [of_list] if of_list else []
    kept: dict[str, Any] = {}
    while waiting:
        name = waiting.pop()
        if name not in kept:
            kept[name] = published[name]
            waiting += [one.removeprefix("#/definitions/") for one in references(published[name])]
    return kept


def references(schema: Any) -> Iterator[str]:
    """Every $ref in a schema."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value
            else:
                yield from references(value)
    elif isinstance(schema, list):
        for one in schema:
            yield from references(one)


def embedded_messages(program: bytes) -> dict[str, dict[str, Any]]:
    """Message name (`k8s.io.api.core.v1.Pod`) → its descriptor, from the gzipped descriptors inside a Go program."""
    messages: dict[str, dict[str, Any]] = {}
    at = 0
    while (at := program.find(b"\x1f\x8b\x08", at)) >= 0:
        unpacker = zlib.decompressobj(31)
        try:
            descriptor = unpacker.decompress(program[at : at + 1_000_000])
        except zlib.error:
            descriptor = b""
        if unpacker.eof and descriptor[2:8] == b"k8s.io":
            package = next(value for number, value in wire_fields(descriptor) if number == 2).decode()
            for number, value in wire_fields(descriptor):
                if number == 4:
                    message = described(value)
                    messages[f"{package}.{message['name']}"] = message
        at += 1
    return messages


def described(content: bytes) -> dict[str, Any]:
    """Name, fields and nested messages of a DescriptorProto (descriptor.proto of protobuf)."""
    message: dict[str, Any] = {"fields": [], "nested": {}, "map": False}
    for number, value in wire_fields(content):
        match number:
            case 1:
                message["name"] = value.decode()
            case 2:
                field = dict(wire_fields(value))
                kind = (field[5], field.get(6, b"").decode().lstrip("."))
                message["fields"].append((field[3], field[1].decode(), field[4] == REPEATED, *kind))
            case 3:
                inner = described(value)
                message["nested"][inner["name"]] = inner
            case 7:
                message["map"] = any(option == 7 for option, _ in wire_fields(value))
    return message


def wire_fields(content: bytes) -> Iterator[tuple[int, Any]]:
    """(field number, value) of one protobuf message: ints for varints, bytes for the rest."""
    at = 0
    while at < len(content):
        key, at = varint(content, at)
        value: Any
        if key & 7 == 0:
            value, at = varint(content, at)
        else:
            length, at = varint(content, at)
            value, at = content[at : at + length], at + length
        yield key >> 3, value


def varint(content: bytes, at: int) -> tuple[int, int]:
    """A number and the place behind it."""
    number = shift = 0
    while True:
        byte = content[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at


def served_messages(embedded: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Definition name → {field number: [JSON name, type]}.

    Types: `s` text, `b` bytes, `t` truth, `i` number, `m:NAME` a message; `*` before a list's, `%` before a map's
    values. JSON name "" is a message whose fields JSON has inline.
    """
    kept: dict[str, Any] = {}
    waiting = list(definitions)
    while waiting:
        name = waiting.pop()
        message = embedded.get(name.replace("io.k8s.", "k8s.io.", 1))
        if message is None or name in kept or name.rpartition(".")[2] in SCALARS:
            continue
        properties = definitions.get(name, {}).get("properties", {})
        table = kept[name] = {}
        for number, json_name, repeated, kind, of in message["fields"]:
            written = type_of(message, repeated, kind, of)
            # A few fields are spelled otherwise in JSON: uID is uid there.
            spelled = next((known for known in properties if known.lower() == json_name.lower()), None)
            if properties and spelled is None and kind != MESSAGE:
                print(f"{name}.{json_name} is in no schema: left out", file=sys.stderr)
                continue
            table[str(number)] = [(spelled or "") if properties else json_name, written]
            if "m:" in written:
                waiting.append(written.partition("m:")[2])
    return kept


def type_of(message: dict[str, Any], repeated: bool, kind: int, of: str) -> str:
    """The type's letter, as `served_messages` explains."""
    nested = message["nested"].get(of.rpartition(".")[2]) if kind == MESSAGE else None
    if nested is not None and nested["map"]:
        value = next(field for field in nested["fields"] if field[0] == 2)
        return "%" + type_of(nested, False, value[3], value[4])
    letter = {MESSAGE: "m:" + of.replace("k8s.io.", "io.k8s.", 1), STRING: "s", BYTES: "b", BOOL: "t"}.get(kind, "i")
    return ("*" if repeated else "") + letter


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
