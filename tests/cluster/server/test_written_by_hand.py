"""Objects that people write into the store by hand, as etcdctl lets them: shown, deleted, no trouble to others."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from raw_requests import Client

from trenza.cluster.server.server import Server

pytestmark = pytest.mark.anyio

TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "host"}]}}
CONTROLLER = {
    "spec": {"replicas": 0, "selector": {"a": "b"}, "template": TEMPLATE},
    "apiVersion": "v1",
    "kind": "ReplicationController",
    "metadata": {"resourceVersion": "7", "name": "x", "namespace": "default", "uid": "u"},
}


REVISION = {
    "data": {"metadata": {"name": "inner"}},
    "apiVersion": "apps/v1",
    "kind": "ControllerRevision",
    "metadata": {"resourceVersion": "7", "name": "x", "namespace": "default", "uid": "u"},
}


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
async def test_its_version_is_the_stores_however_it_is_written(
    ask: Client, server: Server, separators: tuple[str, str]
) -> None:
    text = json.dumps(REVISION, separators=separators).encode()
    revision = await server.registry.store.put("/registry/controllerrevisions/default/x", text, expected=None)
    (listed,) = (await ask("GET", "/apis/apps/v1/namespaces/default/controllerrevisions")).json["items"]
    assert listed == {**REVISION, "metadata": {**REVISION["metadata"], "resourceVersion": str(revision)}}  # type: ignore[dict-item]


async def test_what_has_no_uid_goes_with_its_namespace(
    ask: Client, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    await ask("POST", "/api/v1/namespaces", {"metadata": {"name": "ending"}})
    for name in ("x", "y"):
        metadata = {"name": name, "namespace": "ending"}
        text = json.dumps({"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata}, separators=(",", ":"))
        await server.registry.store.put(f"/registry/configmaps/ending/{name}", text.encode(), expected=None)
    deleted = await ask("DELETE", "/api/v1/namespaces/ending/configmaps/x")
    assert (deleted.status, deleted.json["status"]) == (200, "Success")
    await ask("DELETE", "/api/v1/namespaces/ending")
    async with asyncio.timeout(20):
        while (await ask("GET", "/api/v1/namespaces/ending")).status != 404:
            await asyncio.sleep(0.02)
    assert not caplog.records, caplog.text


async def test_what_no_controller_can_write_stops_only_itself(
    ask: Client, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    strange = {
        **CONTROLLER,
        "spec": {**CONTROLLER["spec"], "template": {**TEMPLATE, "spec": {"containers": [None]}}, "replicas": 1},
    }  # type: ignore[dict-item]
    caplog.set_level(logging.ERROR)
    await server.registry.store.put("/registry/controllers/default/x", json.dumps(strange).encode(), expected=None)
    good = {"metadata": {"name": "good"}, "spec": {"replicas": 1, "selector": {"c": "d"}, "template": {
        "metadata": {"labels": {"c": "d"}}, "spec": TEMPLATE["spec"]}}}  # fmt: skip
    assert (await ask("POST", "/api/v1/namespaces/default/replicationcontrollers", good)).status == 201
    async with asyncio.timeout(20):
        while not (await ask("GET", "/api/v1/namespaces/default/pods")).json["items"]:
            await asyncio.sleep(0.02)
    assert "start over" not in caplog.text
