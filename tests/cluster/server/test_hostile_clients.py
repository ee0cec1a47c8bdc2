"""Clients that ask for more than they may, or say what nobody should: refused, and nobody else is hurt."""

from __future__ import annotations

import asyncio
import json
import ssl

import pytest
from raw_requests import Client

from trenza.cluster.server.server import Server
from trenza.cluster.server.users import Tokens

pytestmark = pytest.mark.anyio

PODS = "/api/v1/namespaces/default/pods"
REQUIRED, PREFERRED = (f"{how}DuringSchedulingIgnoredDuringExecution" for how in ("required", "preferred"))
WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@pytest.mark.parametrize("below", ["exec?command=id&stdout=1", "attach?stdout=1", "portforward?ports=80"])
async def test_who_may_only_read_runs_nothing_in_pods(ask: Client, tls: ssl.SSLContext, below: str) -> None:
    spec = {"nodeName": "n", "containers": [{"name": "c", "image": "host"}]}
    await ask("POST", "/api/v1/nodes", {"metadata": {"name": "n"}})
    await ask("POST", PODS, {"metadata": {"name": "a"}, "spec": spec})
    reader = Client(ask.port, tls, "reading")
    assert (await reader("GET", f"{PODS}/a")).status == 200
    assert (await reader("GET", f"{PODS}/a/{below}", headers=WEBSOCKET)).status == 403


@pytest.mark.parametrize("target", ["//[", "/api?" + "&".join("a" * 1001)])
async def test_a_target_that_is_none_is_refused(ask: Client, tls: ssl.SSLContext, target: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", ask.port, ssl=tls, server_hostname="localhost")
    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(10):
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()


@pytest.mark.parametrize("name", ["limit", "timeoutSeconds"])
async def test_a_number_beyond_64_bits_is_refused(ask: Client, name: str) -> None:
    answered = await ask("GET", PODS, **{name: "9" * 400})
    assert (answered.status, answered.json["reason"]) == (400, "BadRequest"), answered
    assert "value out of range" in answered.json["message"]


async def test_a_token_that_nobody_signed_is_not_read(server: Server, ask: Client, tls: ssl.SSLContext) -> None:
    account = {"metadata": {"namespace": "default", "name": "x", "uid": ""}}
    head = Tokens(server.authority).signed(account, (), 0, 1).partition(".")[0]
    nested = "W1tb" * 12_000  # [[[…
    assert (await Client(ask.port, tls, f"{head}.{nested}.AAAA")("GET", PODS)).status == 401


@pytest.mark.parametrize("path", ["../escaped", "a/../../escaped", "/etc/passwd"])
@pytest.mark.parametrize(
    "volume",
    [
        {"configMap": {"name": "m", "items": [{"key": "a", "path": "PATH"}]}},
        {"secret": {"secretName": "m", "items": [{"key": "a", "path": "PATH"}]}},
        {"downwardAPI": {"items": [{"path": "PATH", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"projected": {"sources": [{"configMap": {"name": "m", "items": [{"key": "a", "path": "PATH"}]}}]}},
        {"projected": {"sources": [{"serviceAccountToken": {"path": "PATH"}}]}},
    ],
)
async def test_a_file_of_a_volume_stays_in_it(ask: Client, volume: dict[str, object], path: str) -> None:
    spec = json.loads(json.dumps(volume).replace("PATH", path))
    pod = {"containers": [{"name": "c", "image": "host"}], "volumes": [{"name": "v", **spec}]}
    answered = await ask("POST", PODS, {"metadata": {"name": "a"}, "spec": pod})
    assert answered.status == 422, answered
    assert path in answered.json["message"]


async def test_the_end_of_the_initial_events_is_told_where_there_are_none(ask: Client) -> None:
    query = {"watch": "1", "timeoutSeconds": "1", "sendInitialEvents": "true", "allowWatchBookmarks": "true"}
    events = await ask.lines("/api/v1/secrets", resourceVersionMatch="NotOlderThan", **query)
    assert [event["type"] for event in events[:1]] == ["BOOKMARK"]
    assert events[0]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


@pytest.mark.parametrize(
    "spec",
    [
        {"affinity": {"podAntiAffinity": {REQUIRED: [{}]}}},
        {"affinity": {"podAffinity": {REQUIRED: [{"topologyKey": "a b"}]}}},
        {"affinity": {"podAffinity": {PREFERRED: [{"weight": 0, "podAffinityTerm": {"topologyKey": "k"}}]}}},
        {"affinity": {"podAffinity": {REQUIRED: [{"topologyKey": "k", "labelSelector": {"matchExpressions": [{}]}}]}}},
        {"affinity": {"nodeAffinity": {REQUIRED: {}}}},
        {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [{}]}]}}}},
        {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchFields": [{"key": "kind"}]}]}}}},
        {"affinity": {"nodeAffinity": {PREFERRED: [{"weight": 101, "preference": {}}]}}},
        {"topologySpreadConstraints": [{}]},
        {"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "k", "whenUnsatisfiable": "DoNotSchedule"}]},
        {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "k", "whenUnsatisfiable": "Sometimes"}]},
    ],
)
async def test_where_a_pod_may_not_run_is_said_whole(ask: Client, spec: dict[str, object]) -> None:
    pod = {"containers": [{"name": "c", "image": "host"}], **spec}
    answered = await ask("POST", PODS, {"metadata": {"name": "a"}, "spec": pod})
    assert (answered.status, answered.json["reason"]) == (422, "Invalid"), answered
