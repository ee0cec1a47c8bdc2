"""What a list says is as new as the version that it names, whatever is written meanwhile."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Network
from pathlib import Path
from random import Random

import pytest
from fake_nodes import resource

from trenza.cluster.kinds.selectors import field_selector
from trenza.cluster.server.first_objects import Networks, ensure_first_objects
from trenza.cluster.server.listing import ListOptions
from trenza.cluster.server.registry import Registry, Writer
from trenza.cluster.store.embedded import EmbeddedStore
from trenza.cluster.store.protocol import Stored

pytestmark = pytest.mark.anyio


class FarStore(EmbeddedStore):
    """A store whose answers take a while, as those of an etcd do."""

    async def get(self, key: str, *, revision: int | None = None) -> Stored | None:
        found = await super().get(key, revision=revision)
        await asyncio.sleep(0.002)
        return found

    async def revision(self) -> int:
        await asyncio.sleep(0.002)
        return await super().revision()


async def test_a_list_of_one_object_misses_nothing_before_its_version(tmp_path: Path) -> None:
    store = await FarStore.open(tmp_path / "store")
    networks = Networks(IPv4Network("172.16.0.0/16"), IPv4Network("10.254.0.0/16"))
    registry = Registry(store, networks.services, lambda: 1.0, Random(1))
    await ensure_first_objects(registry, networks, "10.9.0.1", 6443)
    maps, writer = resource("configmaps"), Writer("tests")
    metadata = {"name": "x", "namespace": "default"}
    await registry.create(maps, {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata}, writer)
    changes: dict[int, int] = {}

    async def write() -> None:
        for number in range(50):
            done = await registry.update(
                maps, "default", "x", lambda live, number=number: {**live, "data": {"n": str(number)}}, writer
            )  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            changes[done.revision] = number

    writing = asyncio.create_task(write())
    lists = []
    options = ListOptions(fields=field_selector("metadata.name=x", maps))
    while not writing.done():
        lists.append(await registry.list(maps, "default", options))
        await asyncio.sleep(0)
    await writing
    for listed in lists:
        newest = max((revision for revision in changes if revision <= listed.revision), default=None)
        assert newest is None or listed.items[0].mod_revision == newest
    await store.close()
