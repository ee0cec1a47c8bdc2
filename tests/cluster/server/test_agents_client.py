"""The nodes' own client against the real server: what an agent asks for is there as it expects it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest

from trenza.cluster.api import CONFIG_MAPS, NODES, PODS, ApiError
from trenza.cluster.client import HttpApi
from trenza.cluster.server.server import Server

pytestmark = pytest.mark.anyio

WAIT_S = 20


@pytest.fixture
async def api(server: Server, tls: ssl.SSLContext) -> AsyncIterator[HttpApi]:
    token = (server.settings.directory / "admin.token").read_text()
    api = HttpApi(f"https://localhost:{server.port}", tls=tls, token=token)
    yield api
    api.close()


async def test_objects_are_made_changed_watched_and_deleted(api: HttpApi) -> None:
    made = await api.create(CONFIG_MAPS, {"metadata": {"name": "x", "namespace": "default"}, "data": {"a": "1"}})
    with pytest.raises(ApiError) as refused:
        await api.create(CONFIG_MAPS, {"metadata": {"name": "x", "namespace": "default"}})
    assert (refused.value.status, refused.value.reason) == (409, "AlreadyExists")
    listed = await api.list(CONFIG_MAPS, "default", field_selector="metadata.name=x")
    assert [one["metadata"]["uid"] for one in listed.items] == [made["metadata"]["uid"]]
    seen = api.watch(CONFIG_MAPS, "default", resource_version=listed.resource_version)
    await api.patch(CONFIG_MAPS, "default", "x", {"data": {"a": "2"}})
    async with asyncio.timeout(WAIT_S):
        event = await anext(seen)
    assert (event.type, event.object["data"]) == ("MODIFIED", {"a": "2"})
    with pytest.raises(ApiError) as other:
        await api.delete(CONFIG_MAPS, "default", "x", uid="other")
    assert other.value.status == 409
    await api.delete(CONFIG_MAPS, "default", "x", uid=made["metadata"]["uid"])
    async with asyncio.timeout(WAIT_S):
        assert (await anext(seen)).type == "DELETED"
    await seen.aclose()  # type: ignore[attr-defined]  # an async generator


async def test_a_status_is_written_by_itself(api: HttpApi) -> None:
    await api.create(NODES, {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n"}})
    node = await api.get(NODES, "", "n")
    del node["metadata"]["resourceVersion"]  # the controllers judge a silent node at the same time
    addresses = [{"type": "InternalIP", "address": "10.9.0.2"}]
    await api.update_status(NODES, {**node, "spec": {"unschedulable": True}, "status": {"addresses": addresses}})
    found = await api.get(NODES, "", "n")
    assert found["status"]["addresses"] == addresses
    assert "unschedulable" not in found.get("spec", {})
    pod = {"metadata": {"name": "p", "namespace": "default"}, "spec": {"nodeName": "n", "containers": [
        {"name": "c", "image": "host"}]}}  # fmt: skip
    await api.create(PODS, pod)
    status = {"phase": "Running", "podIP": "172.16.0.2"}
    await api.patch(PODS, "default", "p", {"status": status}, subresource="status")
    bound = await api.list(PODS, field_selector="spec.nodeName=n")
    assert bound.items[0]["status"]["podIP"] == "172.16.0.2"


async def test_a_watch_from_a_forgotten_past_is_refused(api: HttpApi, server: Server) -> None:
    for name in ("x", "y"):
        await api.create(CONFIG_MAPS, {"metadata": {"name": name, "namespace": "default"}})
    await server.registry.store.compact(await server.registry.store.revision())
    with pytest.raises(ApiError) as refused:
        async with asyncio.timeout(WAIT_S):
            await anext(api.watch(CONFIG_MAPS, "default", resource_version="2"))
    assert refused.value.status == 410


async def test_subnet_leases(api: HttpApi) -> None:
    assert (await api.leases.config())["Network"] == "172.16.0.0/16"
    begin = await api.leases.subnets()
    assert begin.leases == ()
    seen = api.leases.watch(begin.revision)
    await api.leases.put("172.16.27.0-24", {"PublicIP": "10.9.0.2"}, ttl_s=60, create=True)
    with pytest.raises(ApiError) as taken:
        await api.leases.put("172.16.27.0-24", {"PublicIP": "10.9.0.3"}, ttl_s=60, create=True)
    assert taken.value.status == 409
    await api.leases.put("172.16.27.0-24", {"PublicIP": "10.9.0.4"}, ttl_s=60, create=False)
    await api.leases.put("172.16.28.0-24", {"PublicIP": "10.9.0.5"}, ttl_s=1, create=True)
    async with asyncio.timeout(WAIT_S):
        events = [await anext(seen) for _ in range(4)]
    told = [(one.subnet[7:9], None if one.value is None else one.value["PublicIP"][-1]) for one in events]
    assert told == [("27", "2"), ("27", "4"), ("28", "5"), ("28", None)]
    await seen.aclose()  # type: ignore[attr-defined]  # an async generator
