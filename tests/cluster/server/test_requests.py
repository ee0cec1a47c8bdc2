"""Answers to single requests: forms, refusals, versions, watches; what clients other than kubectl depend on."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from typing import Any

import pytest
from fake_nodes import PODS, FakeNode, resource
from raw_requests import Client

from trenza.cluster.server.registry import Writer
from trenza.cluster.server.server import Server
from trenza.cluster.store import watchers

pytestmark = pytest.mark.anyio

MAPS = "/api/v1/namespaces/default/configmaps"
PODS_PATH = "/api/v1/namespaces/default/pods"
POD = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "host"}]}}


def named(name: str, **data: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}, "data": data}


async def test_who_asks_decides_what_is_answered(ask: Client, tls: ssl.SSLContext) -> None:
    anonymous = await Client(ask.port, tls)("GET", "/api/v1/pods")
    assert anonymous.status == 403
    said = 'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" at the cluster scope'
    assert anonymous.json["message"] == said
    assert (await Client(ask.port, tls)("GET", "/healthz")).content == b"ok"
    assert (await Client(ask.port, tls, "wrong")("GET", "/api/v1/pods")).status == 401
    reader = Client(ask.port, tls, "reading")
    assert (await reader("GET", "/api/v1/pods")).status == 200
    assert (await reader("POST", MAPS, named("x"))).status == 403
    assert (await Client(ask.port, tls, "nobody")("GET", "/api/v1/pods")).status == 403
    assert (await Client(ask.port, tls, "nobody")("GET", "/apis")).status == 200
    assert (await reader("GET", "/api/v1/pods", headers={"Impersonate-User": "x"})).status == 403


@pytest.mark.parametrize(
    ("method", "path", "body", "media_type", "status", "reason"),
    [
        ("GET", "/nope", None, "", 404, "NotFound"),
        ("GET", "/apis/foo.io/v1", None, "", 404, "NotFound"),
        ("GET", "/api/v1/foos", None, "", 404, "NotFound"),
        ("GET", "/api/v1/namespaces/default/nodes", None, "", 404, "NotFound"),
        ("GET", "/api/v1/pods/a", None, "", 404, "NotFound"),
        ("POST", "/api/v1/pods", b"{}", "application/json", 405, "MethodNotAllowed"),
        ("POST", f"{PODS_PATH}/a", b"{}", "application/json", 405, "MethodNotAllowed"),
        ("PUT", MAPS, b"{}", "application/json", 405, "MethodNotAllowed"),
        ("BREW", MAPS, None, "", 405, "MethodNotAllowed"),
        ("POST", MAPS, b"x: [", "application/yaml", 400, "BadRequest"),
        ("POST", MAPS, b"{nope", "application/json", 400, "BadRequest"),
        ("POST", MAPS, b"[]", "application/json", 400, "BadRequest"),
        ("POST", MAPS, b'"x"', "application/json", 400, "BadRequest"),
        ("POST", MAPS, b"k8s\x00\xff\xff", "application/vnd.kubernetes.protobuf", 400, "BadRequest"),
        ("POST", MAPS, b"{}", "text/plain", 415, "UnsupportedMediaType"),
        ("POST", MAPS, b"{}", "application/json", 422, "Invalid"),
        ("POST", MAPS, b'{"kind": "Pod", "apiVersion": "v1"}', "application/json", 400, "BadRequest"),
        ("PATCH", f"{MAPS}/x", b"{}", "application/json", 415, "UnsupportedMediaType"),
        ("PATCH", f"{MAPS}/absent", b"{}", "application/merge-patch+json", 404, "NotFound"),
        ("PATCH", f"{MAPS}/x", b"[1]", "application/merge-patch+json", 400, "BadRequest"),
        ("PATCH", f"{MAPS}/x", b"{}", "application/json-patch+json", 400, "BadRequest"),
        ("PATCH", f"{MAPS}/x", b'[{"op": "x"}]', "application/json-patch+json", 400, "BadRequest"),
        ("PATCH", f"{MAPS}/x", b'[{"op": "test", "path": "/kind", "value": 1}]', "application/json-patch+json", 422,
         "Invalid"),
        ("PATCH", f"{MAPS}/x", b"{}", "application/apply-patch+yaml", 422, "Invalid"),
        ("PATCH", f"{MAPS}/x?fieldManager=m", b"metadata: 1", "application/apply-patch+yaml", 400, "BadRequest"),
        ("DELETE", f"{MAPS}/x", b'{"propagationPolicy": "Sometimes"}', "application/json", 422, "Invalid"),
        ("DELETE", f"{MAPS}/x", b"{", "application/json", 400, "BadRequest"),
        ("DELETE", f"{MAPS}/x", b'{"preconditions": {"uid": "other"}}', "application/json", 409, "Conflict"),
        ("POST", f"{MAPS}?dryRun=Some", b"{}", "application/json", 422, "Invalid"),
        ("POST", f"{MAPS}?fieldManager=a%0Ab", b'{"metadata": {"name": "y"}}', "application/json", 422, "Invalid"),
        ("POST", f"{MAPS}?fieldValidation=Often", b"{}", "application/json", 422, "Invalid"),
        ("GET", f"{MAPS}?labelSelector=!!", None, "", 400, "BadRequest"),
        ("GET", f"{PODS_PATH}?fieldSelector=spec.foo%3Dx", None, "", 400, "BadRequest"),
        ("GET", f"{MAPS}?continue=zzz", None, "", 400, "BadRequest"),
        ("GET", f"{MAPS}?limit=many", None, "", 400, "BadRequest"),
        ("GET", f"{MAPS}?resourceVersion=abc", None, "", 500, None),
        ("GET", f"{MAPS}?resourceVersion=99999999", None, "", 504, "Timeout"),
        ("GET", f"{MAPS}?resourceVersionMatch=Exact", None, "", 422, "Invalid"),
        ("GET", f"{MAPS}/x?watch=1&resourceVersion=abc", None, "", 500, None),
        ("GET", f"{PODS_PATH}/a/log", None, "", 400, "BadRequest"),
        ("POST", f"{PODS_PATH}/a/exec?command=x&stdout=1", None, "", 400, "BadRequest"),
        ("POST", f"{PODS_PATH}/a/binding", b'{"metadata": {"name": "b"}, "target": {"name": "n"}}', "application/json",
         400, "BadRequest"),
        ("POST", f"{PODS_PATH}/a/eviction", b"[]", "application/json", 400, "BadRequest"),
        ("PUT", "/apis/apps/v1/namespaces/default/deployments/absent/scale", b"{}", "application/json", 404,
         "NotFound"),
    ],
)  # fmt: skip
async def test_refusals(
    ask: Client, method: str, path: str, body: bytes | None, media_type: str, status: int, reason: str | None
) -> None:
    await ask("POST", MAPS, named("x"))
    await ask("POST", PODS_PATH, POD)
    answered = await ask(method, path, body, media_type=media_type)
    assert (answered.status, answered.json.get("reason")) == (status, reason), answered
    assert answered.json["kind"] == "Status"
    assert answered.json["status"] == "Failure"


async def test_what_is_no_http_ends_only_its_own_connection(ask: Client, tls: ssl.SSLContext) -> None:
    for sent in (b"\x16\x03\x01 nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"A" * 100_000):
        reader, writer = await asyncio.open_connection("127.0.0.1", ask.port, ssl=tls, server_hostname="localhost")
        async with asyncio.timeout(10):
            writer.write(sent)
            answer = await reader.read()
        assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")) or not answer
        writer.close()
    huge = await ask("POST", MAPS, named("huge", a="x" * 3_200_000))
    assert huge.status == 413
    large = await ask("POST", MAPS, named("large", a="x" * 2_000_000))
    assert large.status in (413, 422)
    assert (await ask("GET", "/version")).status == 200


async def test_a_warning_stays_within_its_header(ask: Client) -> None:
    strange = {**named("strange"), "x\r\nX-Injected: y": 1}
    answered = await ask("POST", MAPS, strange, fieldValidation="Warn")
    assert answered.status == 201, answered


async def test_a_generated_name_and_a_dry_run(ask: Client) -> None:
    made = await ask("POST", MAPS, {"metadata": {"generateName": "g-"}})
    assert made.status == 201
    assert made.json["metadata"]["name"].startswith("g-")
    tried = await ask("POST", MAPS, named("dry"), dryRun="All")
    assert tried.status == 201
    assert (await ask("GET", f"{MAPS}/dry")).status == 404
    await ask("POST", MAPS, named("kept"))
    for method, body in (("PUT", named("kept", a="b")), ("DELETE", None)):
        assert (await ask(method, f"{MAPS}/kept", body, dryRun="All")).status == 200
    assert (await ask("GET", f"{MAPS}/kept")).json["data"] == {}


async def test_versions_are_the_stores_and_a_stale_writer_is_refused(ask: Client) -> None:
    first = (await ask("POST", MAPS, named("x", a="1"))).json
    second = (await ask("PUT", f"{MAPS}/x", {**first, "data": {"a": "2"}})).json
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    stale = await ask("PUT", f"{MAPS}/x", {**first, "data": {"a": "3"}})
    assert (stale.status, stale.json["reason"]) == (409, "Conflict")
    same = (await ask("PUT", f"{MAPS}/x", second)).json
    assert (
        same["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
    )  # nothing changed, nothing written
    assert (await ask("PUT", f"{MAPS}/x", named("x", a="4"))).status == 200  # no version: whatever there is
    assert (await ask("GET", f"{MAPS}/x")).json["data"] == {"a": "4"}


async def test_a_writer_need_not_say_what_it_saw_but_of_leases_and_accounts(ask: Client) -> None:
    await ask("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}})
    assert (await ask("PUT", "/api/v1/namespaces/n", {"metadata": {"name": "n", "labels": {"a": "b"}}})).status == 200
    accounts = "/api/v1/namespaces/n/serviceaccounts"
    await ask("POST", accounts, {"metadata": {"name": "robot"}})
    refused = await ask("PUT", f"{accounts}/robot", {"metadata": {"name": "robot"}})
    assert refused.status == 422
    said = "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
    assert refused.json["message"] == f'ServiceAccount "robot" is invalid: {said}'


async def test_concurrent_patches_all_count(ask: Client) -> None:
    await ask("POST", MAPS, named("x"))
    patches = [
        ask("PATCH", f"{MAPS}/x", {"data": {f"k{number}": "v"}}, media_type="application/merge-patch+json")
        for number in range(12)
    ]
    assert {answered.status for answered in await asyncio.gather(*patches)} == {200}
    assert len((await ask("GET", f"{MAPS}/x")).json["data"]) == 12


async def test_lists_come_in_pages_of_one_revision(ask: Client) -> None:
    for number in range(7):
        await ask("POST", MAPS, named(f"m{number}"))
    first = (await ask("GET", MAPS, limit="3")).json
    await ask("DELETE", f"{MAPS}/m6")
    names = [one["metadata"]["name"] for one in first["items"]]
    page, revision = first, first["metadata"]["resourceVersion"]
    while "continue" in page["metadata"]:
        page = (await ask("GET", MAPS, limit="3", **{"continue": page["metadata"]["continue"]})).json
        assert page["metadata"]["resourceVersion"] == revision
        names += [one["metadata"]["name"] for one in page["items"]]
    assert names == ["kube-root-ca.crt", *(f"m{number}" for number in range(7))]
    exact = (await ask("GET", MAPS, resourceVersion=revision, resourceVersionMatch="Exact")).json
    assert len(exact["items"]) == 8
    assert len((await ask("GET", MAPS)).json["items"]) == 7


async def test_an_old_past_is_gone_for_lists_and_for_watches(ask: Client, server: Server) -> None:
    for number in range(3):
        await ask("POST", MAPS, named(f"m{number}"))
    await server.registry.store.compact(await server.registry.store.revision())
    gone = await ask("GET", MAPS, resourceVersion="2", resourceVersionMatch="Exact")
    assert (gone.status, gone.json["reason"]) == (410, "Expired")
    events = await ask.lines(MAPS, watch="1", resourceVersion="2", timeoutSeconds="5")
    assert [event["type"] for event in events] == ["ERROR"]
    assert (events[0]["object"]["code"], events[0]["object"]["reason"]) == (410, "Expired")


async def test_a_watch_begins_with_what_is_there_and_goes_on(ask: Client) -> None:
    made = (await ask("POST", MAPS, named("x"))).json
    watching = asyncio.create_task(ask.lines(MAPS, watch="1", timeoutSeconds="2", fieldSelector="metadata.name=x"))
    later = asyncio.create_task(
        ask.lines(MAPS, watch="1", timeoutSeconds="2", resourceVersion=made["metadata"]["resourceVersion"])
    )
    await asyncio.sleep(0.5)
    await ask("PATCH", f"{MAPS}/x", {"data": {"a": "b"}}, media_type="application/merge-patch+json")
    deleted = await ask("DELETE", f"{MAPS}/x")
    assert deleted.json["status"] == "Success"
    events = await watching
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))
    assert [event["type"] for event in await later] == ["MODIFIED", "DELETED"]


async def test_a_watched_tables_ages_are_of_each_event(ask: Client) -> None:
    table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    watching = asyncio.create_task(ask.lines(MAPS, accept=table, watch="1", timeoutSeconds="5"))
    await asyncio.sleep(3.2)  # whole seconds after the watch began
    await ask("POST", MAPS, named("x"))
    ages = {row["cells"][0]: row["cells"][-1] for event in await watching for row in event["object"]["rows"]}
    assert ages["x"] in ("0s", "1s")


async def test_a_selector_makes_added_and_deleted_out_of_changes(ask: Client) -> None:
    await ask("POST", MAPS, named("x"))
    watching = asyncio.create_task(ask.lines(MAPS, watch="1", timeoutSeconds="2", labelSelector="on=yes"))
    await asyncio.sleep(0.5)
    for labels in ({"on": "yes"}, {"more": "x"}, {"on": "no"}, {"on": "yes"}):
        await ask("PATCH", f"{MAPS}/x", {"metadata": {"labels": labels}}, media_type="application/merge-patch+json")
    assert [event["type"] for event in await watching] == ["ADDED", "MODIFIED", "DELETED", "ADDED"]


async def test_initial_events_end_with_a_bookmark(ask: Client) -> None:
    await ask("POST", MAPS, named("x"))
    query = {"watch": "1", "timeoutSeconds": "1", "sendInitialEvents": "true", "allowWatchBookmarks": "true"}
    events = await ask.lines(MAPS, resourceVersionMatch="NotOlderThan", **query)
    assert [event["type"] for event in events] == ["ADDED", "ADDED", "BOOKMARK"]
    assert events[-1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    none = await ask.lines(MAPS, resourceVersionMatch="NotOlderThan", fieldSelector="metadata.name=absent", **query)
    assert [event["type"] for event in none] == ["BOOKMARK"]  # where there is nothing it is waited for all the same
    assert (await ask("GET", MAPS, **query)).status == 422


async def test_a_watcher_that_vanishes_is_forgotten_and_one_that_sleeps_is_dropped(
    ask: Client, server: Server, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def watches() -> int:
        return sum(not watch._closed for watch in server.registry.store._watchers._watches)  # type: ignore[attr-defined]

    async def settle(count: int) -> None:
        async with asyncio.timeout(20):
            while watches() != count:
                await asyncio.sleep(0.02)

    monkeypatch.setattr(watchers, "MAX_WAITING_EVENTS", 50)
    before = watches()
    # a small window, so that a sleeper's unread bytes soon fill what the kernel keeps for it
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", ask.port))
    _, writer = await asyncio.open_connection(sock=sock, ssl=tls, server_hostname="localhost", limit=4096)
    request = f"GET {MAPS}?watch=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ask.token}\r\n\r\n"
    writer.write(request.encode())
    await writer.drain()
    await settle(before + 1)
    writer.transport.abort()
    await settle(before)
    _, asleep = await asyncio.open_connection("127.0.0.1", ask.port, ssl=tls, server_hostname="localhost", limit=4096)
    asleep.write(request.encode())
    await settle(before + 1)
    asleep.transport.pause_reading()
    maps, writing = resource("configmaps"), Writer("tests")
    begin = json.loads((await ask("POST", MAPS, named("big", a="x" * 400_000))).content)
    for number in range(120):
        change = {**begin, "data": {"a": f"{number}" + "x" * 400_000}}
        change["metadata"] = {"name": "big", "namespace": "default"}
        await server.registry.update(maps, "default", "big", lambda _, change=change: change, writing)  # type: ignore[misc]
    await settle(before)
    asleep.transport.abort()


async def test_tables_and_metadata_are_what_was_asked_for(ask: Client) -> None:
    await ask("POST", PODS_PATH, POD)
    table = (await ask("GET", PODS_PATH, accept="application/json;as=Table;v=v1;g=meta.k8s.io,application/json")).json
    assert table["kind"] == "Table"
    assert table["rows"][0]["cells"][:3] == ["a", "0/1", "Pending"]
    metadata = await ask("GET", f"{PODS_PATH}/a", accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")
    assert set(metadata.json) == {"kind", "apiVersion", "metadata"}
    assert b"name: a" in (await ask("GET", f"{PODS_PATH}/a", accept="application/yaml")).content
    assert (await ask("GET", PODS_PATH, accept="text/html")).status == 406


async def test_events_are_one_object_in_two_groups(ask: Client) -> None:
    about = {"kind": "Pod", "apiVersion": "v1", "name": "a", "namespace": "default"}
    event = {
        "metadata": {"name": "e"},
        "involvedObject": about,
        "reason": "Because",
        "message": "said",
        "type": "Normal",
    }
    assert (await ask("POST", "/api/v1/namespaces/default/events", event)).status == 201
    other = (await ask("GET", "/apis/events.k8s.io/v1/namespaces/default/events/e")).json
    assert (other["apiVersion"], other["note"], other["regarding"]["name"]) == ("events.k8s.io/v1", "said", "a")
    listed = (await ask("GET", "/apis/events.k8s.io/v1/events", fieldSelector="reason=Because")).json
    assert [one["note"] for one in listed["items"]] == ["said"]


async def test_a_binding_is_made_once(ask: Client, server: Server) -> None:
    await ask("POST", "/api/v1/nodes", {"metadata": {"name": "n1"}})
    await ask("POST", PODS_PATH, POD)
    binding = {"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}}
    assert (await ask("POST", f"{PODS_PATH}/a/binding", binding)).status == 201
    again = await ask("POST", f"{PODS_PATH}/a/binding", binding)
    assert (again.status, again.json["reason"]) == (409, "Conflict")
    assert (await server.registry.read(PODS, "default", "a"))["spec"]["nodeName"] == "n1"


async def test_a_forward_over_channels_names_its_ports(ask: Client, node: FakeNode) -> None:
    await ask("POST", PODS_PATH, POD)
    async with asyncio.timeout(10):
        while (await ask("GET", f"{PODS_PATH}/a")).json["status"]["phase"] != "Running":
            await asyncio.sleep(0.02)
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Protocol": "v4.channel.k8s.io"}
    for ports, words in (
        ("", 'query parameter "ports" is required'),
        ("0", "is no port: 0"),
        ("65536", "is no port: 65536"),
        ("80,x", "is no port: x"),
        (",".join(["80"] * 101), "names more than 100"),
    ):
        query = {"ports": ports} if ports else {}
        refused = await ask("GET", f"{PODS_PATH}/a/portforward", headers=upgrade, **query)
        assert refused.status == 400
        assert words in refused.json["message"]


async def test_a_pod_on_a_node_is_gone_when_its_node_says_so(ask: Client) -> None:
    await ask("POST", "/api/v1/nodes", {"metadata": {"name": "n1"}})  # a pod of no node would be collected
    made = (await ask("POST", PODS_PATH, {**POD, "spec": {**POD["spec"], "nodeName": "n1"}})).json  # type: ignore[dict-item]
    deleted = (await ask("DELETE", f"{PODS_PATH}/a")).json
    assert deleted["metadata"]["deletionGracePeriodSeconds"] == 30
    shorter = (await ask("DELETE", f"{PODS_PATH}/a", gracePeriodSeconds="5")).json
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    longer = (await ask("DELETE", f"{PODS_PATH}/a", gracePeriodSeconds="50")).json
    assert longer["metadata"]["deletionGracePeriodSeconds"] == 5
    confirmed = {"gracePeriodSeconds": 0, "preconditions": {"uid": made["metadata"]["uid"]}}
    assert (await ask("DELETE", f"{PODS_PATH}/a", confirmed)).json["kind"] == "Pod"
    assert (await ask("GET", f"{PODS_PATH}/a")).status == 404


async def test_a_finalizer_holds_what_is_deleted(ask: Client) -> None:
    held = named("held")
    held["metadata"]["finalizers"] = ["x.io/f"]
    await ask("POST", MAPS, held)
    marked = (await ask("DELETE", f"{MAPS}/held")).json
    assert "deletionTimestamp" in marked["metadata"]
    added = {"metadata": {"finalizers": ["x.io/f", "x.io/g"]}}
    refused = await ask("PATCH", f"{MAPS}/held", added, media_type="application/merge-patch+json")
    assert refused.status == 422
    freed = await ask(
        "PATCH", f"{MAPS}/held", {"metadata": {"finalizers": None}}, media_type="application/merge-patch+json"
    )
    assert freed.status == 200
    assert (await ask("GET", f"{MAPS}/held")).status == 404


async def test_service_addresses_and_ports_are_given_once(ask: Client) -> None:
    services = "/api/v1/namespaces/default/services"

    def service(name: str, **spec: Any) -> dict[str, Any]:
        return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}

    made = await asyncio.gather(*(ask("POST", services, service(f"s{number}")) for number in range(20)))
    assert len({one.json["spec"]["clusterIP"] for one in made}) == 20
    taken = await ask("POST", services, service("t", clusterIP=made[0].json["spec"]["clusterIP"]))
    assert taken.status == 422
    assert "provided IP is already allocated" in taken.json["message"]
    outside = await ask("POST", services, service("t", clusterIP="10.9.9.9"))
    assert "The range of valid IPs is 10.254.0.0/16" in outside.json["message"]
    fixed = await ask("POST", services, service("n", type="NodePort", ports=[{"port": 80, "nodePort": 30080}]))
    assert fixed.status == 201
    again = await ask("POST", services, service("m", type="NodePort", ports=[{"port": 80, "nodePort": 30080}]))
    assert "provided port is already allocated" in again.json["message"]
    back = {"spec": {"type": "ClusterIP"}}
    changed = await ask("PATCH", f"{services}/n", back, media_type="application/merge-patch+json")
    assert "nodePort" not in changed.json["spec"]["ports"][0]
    deleted = await ask("DELETE", f"{services}/n")
    assert deleted.json["kind"] == "Service"


async def test_leases_of_subnets_for_the_overlay(ask: Client) -> None:
    root = "/coreos.com/network"
    config = (await ask("GET", f"{root}/config")).json
    assert config == {"Network": "172.16.0.0/16", "SubnetLen": 24, "Backend": {"Type": "vxlan"}}
    lease = {"PublicIP": "10.9.0.2", "BackendType": "vxlan", "BackendData": {"VNI": 1, "VtepMAC": "02:00:00:00:00:01"}}
    begin = (await ask("GET", f"{root}/subnets")).json
    assert begin["leases"] == []
    subnet = f"{root}/subnets/172.16.27.0-24"
    assert (await ask("PUT", subnet, lease, ttl="100", create="true")).status == 200
    assert (await ask("PUT", subnet, lease, ttl="100", create="true")).status == 409
    assert (await ask("PUT", subnet, {**lease, "PublicIP": "10.9.0.3"}, ttl="100")).status == 200
    found = (await ask("GET", f"{root}/subnets")).json
    assert [(one["subnet"], one["value"]["PublicIP"]) for one in found["leases"]] == [("172.16.27.0-24", "10.9.0.3")]
    assert (await ask("PUT", f"{root}/subnets/172.16.28.0-24", lease, ttl="1", create="true")).status == 200
    async with asyncio.timeout(20):
        while len((await ask("GET", f"{root}/subnets")).json["leases"]) != 1:
            await asyncio.sleep(0.1)
    assert (await ask("PUT", subnet, b"nope", ttl="100")).status == 400
    assert (await ask("PUT", subnet, lease, ttl="soon")).status == 400
    assert (await ask("POST", f"{root}/subnets", lease)).status == 405


async def test_what_is_no_lease_stops_no_overlay_and_a_subnet_that_is_taken_costs_nothing(
    ask: Client, server: Server
) -> None:
    root, store = "/coreos.com/network/subnets", server.registry.store
    lease = {"PublicIP": "10.9.0.2"}
    begin = (await ask("GET", root)).json["revision"]
    for key, value in (("by-hand", b"nope"), ("a-list", b"[]"), ("deep", b"[" * 100_000)):
        await store.put(f"{root}/{key}", value, expected=None)
    assert (await ask("PUT", f"{root}/172.16.27.0-24", lease, create="true")).status == 200
    assert (await ask("GET", root)).json["leases"] == [{"subnet": "172.16.27.0-24", "value": lease}]
    granted = set(store._leases)  # type: ignore[attr-defined]  # of the embedded store
    for _ in range(3):
        assert (await ask("PUT", f"{root}/172.16.27.0-24", lease, create="true")).status == 409
    assert set(store._leases) == granted  # type: ignore[attr-defined]
    reader, writer = await asyncio.open_connection("127.0.0.1", ask.port, ssl=ask.tls, server_hostname="localhost")
    target = f"{root}?watch=true&revision={begin}"
    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ask.token}\r\n\r\n".encode())
    async with asyncio.timeout(10):
        await reader.readuntil(b"\r\n\r\n")
        await reader.readline()  # the size of the piece
        assert json.loads(await reader.readline()) == {"subnet": "172.16.27.0-24", "value": lease}
    writer.close()
