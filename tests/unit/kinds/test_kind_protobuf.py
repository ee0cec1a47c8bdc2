"""Protobuf bodies: those that a real kubectl 1.32 sent, and every published message there and back."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trenza.cluster.kinds.fields import definitions, find_definition
from trenza.cluster.kinds.protobuf import MAGIC, Malformed, decoded, messages
from trenza.cluster.kinds.resources import RESOURCES

SENT_BY_KUBECTL = {
    "create namespace demo": (
        "6b3873000a0f0a02763112094e616d657370616365121c0a140a0464656d6f12001a0022002a0032003800420012001a020a001a002200",
        {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "demo"}, "spec": {}, "status": {}},
    ),
    "create secret generic s --from-literal=a=b": (
        "6b3873000a0c0a0276311206536563726574121d0a110a017312001a0022002a0032003800420012060a01611201621a001a002200",
        {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s"}, "data": {"a": "Yg=="}},
    ),
    "create token sa --duration 1h": (
        "6b3873000a280a1861757468656e7469636174696f6e2e6b38732e696f2f7631120c546f6b656e52657175657374121d0a100a0012001a00"
        "22002a00320038004200120320901c1a040a0012001a002200",
        {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {},
            "spec": {"expirationSeconds": 3600},
            "status": {},
        },
    ),
    "create service clusterip svc --tcp=80:8080": (
        "6b3873000a0d0a02763112075365727669636512690a1f0a0373766312001a0022002a003200380042005a0a0a03617070120373766312420a"
        "1b0a0738302d38303830120354435018502207080010903f1a002800120a0a0361707012037376631a002209436c757374657249503a004200"
        "52005a00600068001a020a001a002200",
        {
            "kind": "Service",
            "apiVersion": "v1",
            "metadata": {"name": "svc", "labels": {"app": "svc"}},
            "spec": {
                "ports": [{"name": "80-8080", "protocol": "TCP", "port": 80, "targetPort": 8080}],
                "selector": {"app": "svc"},
                "type": "ClusterIP",
            },
            "status": {"loadBalancer": {}},
        },
    ),
    "create deployment web --image=nginx --replicas=0 --port=80": (
        "6b3873000a150a07617070732f7631120a4465706c6f796d656e7412b8010a1f0a0377656212001a0022002a003200380042005a0a0a0361"
        "707012037765621286010800120c0a0a0a0361707012037765621a6c0a1c0a0012001a0022002a003200380042005a0a0a03617070120377"
        "6562124c122e0a056e67696e7812056e67696e782a00320a0a001000185022002a0042006a007200800100880100900100a201001a003200"
        "42004a0052005800600068008201008a01009a0100c2010022020a00280038001a0c0800100018002000280038001a002200",
        {
            "kind": "Deployment",
            "apiVersion": "apps/v1",
            "metadata": {"name": "web", "labels": {"app": "web"}},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {
                        "containers": [
                            {"name": "nginx", "image": "nginx", "ports": [{"containerPort": 80}], "resources": {}}
                        ]
                    },
                },
                "strategy": {},
            },
            "status": {"replicas": 0},
        },
    ),
    "create job j --image=x -- a": (
        "6b3873000a0f0a0862617463682f763112034a6f6212750a110a016a12001a0022002a00320038004200125632540a100a0012001a002200"
        "2a003200380042001240121d0a016a1201781a01612a0042006a007200800100880100900100a201001a054e65766572320042004a005200"
        "5800600068008201008a01009a0100c201001a082000280030003a001a002200",
        {
            "kind": "Job",
            "apiVersion": "batch/v1",
            "metadata": {"name": "j"},
            "spec": {
                "template": {
                    "metadata": {},
                    "spec": {
                        "containers": [{"name": "j", "image": "x", "command": ["a"], "resources": {}}],
                        "restartPolicy": "Never",
                    },
                }
            },
            "status": {},
        },
    ),
}


@pytest.mark.parametrize("command", SENT_BY_KUBECTL)
def test_what_kubectl_sent_is_understood(command: str) -> None:
    sent, meant = SENT_BY_KUBECTL[command]
    assert decoded(bytes.fromhex(sent)) == meant


def varint(number: int) -> bytes:
    number &= 2**64 - 1
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes([*written, number])


def part(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def one(number: int, kind: str, value: Any) -> bytes:
    """A field as an independent writer would write it."""
    match kind[0]:
        case "*":
            return b"".join(one(number, kind[1:], inner) for inner in value)
        case "%":
            return b"".join(
                part(number, part(1, key.encode()) + one(2, kind[1:], inner)) for key, inner in value.items()
            )
        case "s":
            return part(number, value.encode())
        case "b":
            return part(number, base64.b64decode(value))
        case "i" | "t":
            return varint(number << 3) + varint(int(value))
        case _:
            return part(number, message(kind[2:], value))


def message(definition: str, value: Any) -> bytes:
    match definition.rpartition(".")[2], value:
        case "Quantity", str():
            return part(1, value.encode())
        case "IntOrString", int():
            return b"\x08\x00" + varint(2 << 3) + varint(value)
        case "IntOrString", str():
            return b"\x08\x01" + part(3, value.encode())
        case _:
            written = b""
            for number, (name, kind) in messages()[definition].items():
                if name and name in value:
                    written += one(int(number), kind, value[name])
                elif not name:
                    inline = {key: inner for key, inner in value.items() if key in inline_names(kind[2:])}
                    written += part(int(number), message(kind[2:], inline)) if inline else b""
            return written


def inline_names(definition: str) -> set[str]:
    return {name for name, _ in messages()[definition].values()}


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    return MAGIC + part(1, part(1, api_version.encode()) + part(2, kind.encode())) + part(2, raw)


name_texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)


def sample(draw: st.DrawFn, definition: str, depth: int) -> Any:
    """A random object of a published message: only values that JSON writes too (no zeros, no empties)."""
    match definition.rpartition(".")[2]:
        case "Quantity":
            return draw(st.sampled_from(["1", "500m", "2Gi"]))
        case "IntOrString":
            return draw(st.integers(1, 70000) | name_texts)
    table = [(name, kind) for name, kind in messages()[definition].values() if name]
    chosen = draw(st.lists(st.sampled_from(table), max_size=4, unique=True)) if table else []
    written = {}
    for name, kind in chosen:
        bare = kind.lstrip("*%")
        of = bare[2:]
        if bare[0] == "m" and of not in messages() and not of.endswith(("Quantity", "IntOrString")):
            continue  # times and free JSON have their own examples
        if depth > 3 or of.endswith("ExtraValue"):
            continue
        inner = value_of(draw, bare, depth)
        written[name] = [inner] if kind[0] == "*" else {draw(name_texts): inner} if kind[0] == "%" else inner
    return written


def value_of(draw: st.DrawFn, kind: str, depth: int) -> Any:
    match kind[0]:
        case "s":
            return draw(name_texts)
        case "b":
            return base64.b64encode(draw(st.binary(min_size=1, max_size=4))).decode()
        case "t":
            return True
        case "i":
            return draw(st.integers(-(2**31), 2**31).filter(bool))
        case _:
            return sample(draw, kind[2:], depth + 1)


@given(st.data())
def test_every_published_message_comes_back_as_it_was_written(data: st.DataObject) -> None:
    resource = data.draw(st.sampled_from(RESOURCES))
    definition = find_definition(resource.api_version, resource.kind)
    assert definition is not None
    written = data.draw(st.composite(lambda draw: sample(draw, definition, 0))())
    for said in ("kind", "apiVersion"):
        written.pop(said, None)
    read = decoded(envelope(resource.api_version, resource.kind, message(definition, written)))
    assert read == {"kind": resource.kind, "apiVersion": resource.api_version} | written


def test_times_are_read_and_go_zero_times_are_none() -> None:
    meta = part(1, b"a")
    timed = meta + part(8, varint(1 << 3) + varint(1_800_000_000))
    zero = meta + part(8, varint(1 << 3) + varint(-62_135_596_800))
    read = decoded(envelope("v1", "ConfigMap", part(1, timed)))
    assert read["metadata"] == {"name": "a", "creationTimestamp": "2027-01-15T08:00:00Z"}
    assert decoded(envelope("v1", "ConfigMap", part(1, zero)))["metadata"] == {"name": "a"}


def test_fields_of_newer_clients_are_skipped() -> None:
    assert decoded(envelope("v1", "ConfigMap", part(1, part(1, b"a")) + part(900, b"new")))["metadata"] == {"name": "a"}


def test_every_served_kind_has_its_message() -> None:
    missing = [one.kind for one in RESOURCES if find_definition(one.api_version, one.kind) not in messages()]
    assert missing == []
    named = {kind.lstrip("*%")[2:] for table in messages().values() for _, kind in table.values() if "m:" in kind}
    scalar = {name for name in named if name not in messages()}
    assert {name.rpartition(".")[2] for name in scalar} <= {
        "FieldsV1",
        "IntOrString",
        "MicroTime",
        "Quantity",
        "RawExtension",
        "Time",
    }
    assert definitions()["io.k8s.api.core.v1.Pod"]["properties"]["spec"]["$ref"].endswith("core.v1.PodSpec")


@given(st.binary(max_size=80), st.sampled_from([("v1", "Pod"), ("apps/v1", "Deployment"), ("v1", "Event")]))
def test_broken_messages_are_malformed_and_nothing_else(raw: bytes, kind: tuple[str, str]) -> None:
    for body in (MAGIC + raw, envelope(*kind, raw), envelope(*kind, part(1, raw)), envelope(*kind, part(2, raw))):
        try:
            decoded(body)
        except Malformed:
            pass
