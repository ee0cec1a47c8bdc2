"""A server with 10,000 objects, on either store: pages, watches, gets, a restart. `TRENZA_SOAK` for all of them.

What it took is printed (`-s`), for docs/figures.md.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from etcd_members import EtcdCluster
from kubectls import Kubectl, program
from server_process import started

from trenza.cluster.api import CONFIG_MAPS, SERVICE_ACCOUNTS, Object
from trenza.cluster.client import HttpApi

pytestmark = pytest.mark.anyio

COUNT = 10_000 if os.environ.get("TRENZA_SOAK") else 1_000
OTHERS = COUNT // 20  # pods that no node takes, and as many Services of nobody
AT_ONCE = 16
BASE = "/api/v1/namespaces/default"
MAPS = f"{BASE}/configmaps"
MOST_MB = 400


@pytest.fixture(params=["embedded", "etcd"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """What the server is told of its store."""
    if request.param == "embedded":
        yield ()
        return
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed (Debian: etcd-server)")
    cluster = EtcdCluster(tmp_path, 1)
    yield "--etcd", ",".join(cluster.endpoints)
    cluster.kill()


@asynccontextmanager
async def served(directory: Path, arguments: tuple[str, ...]) -> AsyncIterator[tuple[Any, HttpApi]]:
    """The server's process, killed at the end, and a client."""
    async with started(directory, *arguments) as (process, ask):
        yield process, HttpApi(f"https://localhost:{ask.port}", tls=ask.tls, token=ask.token, timeout_s=60)


def config_map(name: str) -> Object:
    return {"metadata": {"name": name, "labels": {"part": name[-1]}}, "data": {"a": "b" * 100}}


async def create_all(api: HttpApi, path: str, things: Iterable[Object]) -> None:
    left = iter(things)

    async def work() -> None:
        for one in left:  # shared: whoever is free takes the next
            await api.request("POST", path, body=one)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


async def fill(api: HttpApi) -> None:
    container = {"name": "c", "image": "host"}
    pods = ({"metadata": {"name": f"p-{one}"}, "spec": {"containers": [container]}} for one in range(OTHERS))
    ports = {"selector": {"app": "nobody"}, "ports": [{"port": 80}]}
    services = ({"metadata": {"name": f"s-{one}"}, "spec": ports} for one in range(OTHERS))
    await create_all(api, MAPS, (config_map(f"m-{one:05}") for one in range(COUNT - 2 * OTHERS)))
    await create_all(api, f"{BASE}/pods", pods)
    await create_all(api, f"{BASE}/services", services)


async def pages(api: HttpApi, path: str, limit: int) -> AsyncIterator[Object]:
    """Page after page, as kubectl asks for them."""
    query = {"limit": str(limit)}
    while True:
        page = await api.request("GET", path, query=query)
        yield page
        if not page["metadata"].get("continue"):
            return
        query = {"limit": str(limit), "continue": page["metadata"]["continue"]}


async def test_a_server_of_many_objects(store: tuple[str, ...], tmp_path: Path) -> None:
    directory = tmp_path / "server"
    rows: dict[str, str] = {}
    async with served(directory, store) as (process, api):
        began_s = time.monotonic()
        await fill(api)
        rows["created, per second"] = f"{COUNT / (time.monotonic() - began_s):.0f}"
        maps = COUNT - 2 * OTHERS + 1  # the cluster's own certificate
        await check_pages(api, maps)
        await check_watches(api, maps)
        took_s = []
        for number in range(200):
            began_s = time.monotonic()
            await api.get(CONFIG_MAPS, "default", f"m-{number:05}")
            took_s.append(time.monotonic() - began_s)
        rows["get, ms, median"] = f"{statistics.median(took_s) * 1000:.1f}"
        assert statistics.median(took_s) < 0.005
        began_s = time.monotonic()
        assert len((await api.list(CONFIG_MAPS, "default")).items) == maps
        rows["list of ConfigMaps, ms"] = f"{(time.monotonic() - began_s) * 1000:.0f}"
        size_mb = pss_mb(process.pid)
        rows["memory, MB"] = f"{size_mb:.0f}"
        assert size_mb < MOST_MB
        if program("1.32").exists():
            began_s = time.monotonic()
            await check_kubectl(directory, tmp_path, maps)
            rows["kubectl get of all, in pages, s"] = f"{time.monotonic() - began_s:.1f}"
        api.close()
        process.kill()
    began_s = time.monotonic()
    async with served(directory, store) as (_, api):
        await api.get(CONFIG_MAPS, "default", "m-00000")
        rows["killed and back, s"] = f"{time.monotonic() - began_s:.1f}"
        await until_controlled(api)
        rows["… with its controllers, s"] = f"{time.monotonic() - began_s:.1f}"
        assert len((await api.list(CONFIG_MAPS, "default")).items) == maps
        api.close()
    print(COUNT, "objects", "etcd" if store else "embedded", rows)


async def check_pages(api: HttpApi, maps: int) -> None:
    """Pages of kubectl's size are of one revision, whole and without repetition, whatever is written meanwhile."""
    before = {one["metadata"]["name"] for one in (await api.list(CONFIG_MAPS, "default")).items}
    found: list[str] = []
    versions, number = set(), 0
    async for page in pages(api, MAPS, 500):
        found += [one["metadata"]["name"] for one in page["items"]]
        versions.add(page["metadata"]["resourceVersion"])
        assert page["metadata"].get("remainingItemCount", 0) == len(before) - len(found)
        await api.request("POST", MAPS, body=config_map(f"a-{number}"))
        await api.delete(CONFIG_MAPS, "default", f"a-{number - 1}" if number else "m-00001")
        number += 1
    assert len(found) == len(before) and set(found) == before and len(versions) == 1
    await api.delete(CONFIG_MAPS, "default", f"a-{number - 1}")
    await api.request("POST", MAPS, body=config_map("m-00001"))
    selected = [one async for page in _selected(api) for one in page["items"]]
    assert len(selected) == sum(name.endswith("7") for name in before)
    assert number == -(-maps // 500)


async def _selected(api: HttpApi) -> AsyncIterator[Object]:
    query = {"limit": "100", "labelSelector": "part=7"}
    while True:
        page = await api.request("GET", MAPS, query=query)
        assert len(page["items"]) <= 100
        yield page
        if not page["metadata"].get("continue"):
            return
        query["continue"] = page["metadata"]["continue"]


async def check_watches(api: HttpApi, maps: int) -> None:
    """One from the list on sees what is changed, in order; one without a version begins with everything there is."""
    listed = await api.list(CONFIG_MAPS, "default")
    assert len(listed.items) == maps
    events = api.watch(CONFIG_MAPS, "default", resource_version=listed.resource_version)
    await api.patch(CONFIG_MAPS, "default", "m-00002", {"data": {"a": "c"}})
    await api.request("POST", MAPS, body=config_map("new"))
    await api.delete(CONFIG_MAPS, "default", "new")
    seen = []
    async with asyncio.timeout(30):
        async for event in events:
            if event.type == "BOOKMARK":
                continue
            seen.append((event.type, event.object["metadata"]["name"]))
            if len(seen) == 3:
                break
    await events.aclose()  # type: ignore[attr-defined]
    assert seen == [("MODIFIED", "m-00002"), ("ADDED", "new"), ("DELETED", "new")]
    names: set[str] = set()
    everything = api.watch(CONFIG_MAPS, "default", resource_version="0")
    async with asyncio.timeout(60):
        async for event in everything:
            if event.type == "BOOKMARK":
                continue
            assert event.type == "ADDED"
            names.add(event.object["metadata"]["name"])
            if len(names) == maps:
                break
    await everything.aclose()  # type: ignore[attr-defined]


async def check_kubectl(directory: Path, home: Path, maps: int) -> None:
    kubectl = Kubectl("1.32", directory / "admin.kubeconfig", home)
    assert len((await kubectl("get", "configmaps", "-o", "name")).splitlines()) == maps
    assert len((await kubectl("get", "pods", "--no-headers")).splitlines()) == OTHERS
    assert "m-00003" in await kubectl("get", "configmap", "m-00003")


async def until_controlled(api: HttpApi) -> None:
    """Until controllers do what they are for: a namespace gets its account."""
    await api.request("POST", "/api/v1/namespaces", body={"metadata": {"name": "late"}})
    async with asyncio.timeout(60):
        while not (await api.list(SERVICE_ACCOUNTS, "late")).items:
            await asyncio.sleep(0.02)


def pss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000
