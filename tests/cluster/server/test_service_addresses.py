"""What services are given is counted, not read for each of them; and it is right whoever writes and whatever fails."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from trenza.cluster.kinds.resources import get_resource
from trenza.cluster.kinds.status import ApiError
from trenza.cluster.server.first_objects import Networks, ensure_first_objects
from trenza.cluster.server.registry import Registry, Writer
from trenza.cluster.store.embedded import EmbeddedStore
from trenza.cluster.store.errors import Unavailable
from trenza.cluster.store.protocol import Committed, Range, Write

pytestmark = pytest.mark.anyio

SERVICES = get_resource("", "v1", "services")
US = Writer("test")


class WatchedStore(EmbeddedStore):
    """Counts the ranges that are read, and loses the answer of a write when it is told to."""

    ranges = 0
    loses_next = False

    async def range(
        self, prefix: str, *, after: str | None = None, limit: int = 0, revision: int | None = None
    ) -> Range:
        self.ranges += 1
        return await super().range(prefix, after=after, limit=limit, revision=revision)

    async def transact(self, expected: Mapping[str, int], writes: Sequence[Write]) -> Committed:
        done = await super().transact(expected, writes)
        if self.loses_next:
            self.loses_next = False
            raise Unavailable("the answer was lost", maybe_done=True)
        return done


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[WatchedStore]:
    store = await WatchedStore.open(tmp_path / "cluster.sqlite")
    yield store
    await store.close()


@pytest.fixture
async def registry(store: WatchedStore, networks: Networks) -> Registry:
    registry = Registry(store, networks.services, time.time, Random(1))
    await ensure_first_objects(registry, networks, "10.9.0.1", 6443)
    return registry


def service(name: str, **spec: Any) -> dict[str, Any]:
    described = {"type": "NodePort", "ports": [{"port": 80}, {"port": 81, "name": "b"}], **spec}
    described["ports"] = [{"name": f"p{number}", **port} for number, port in enumerate(described["ports"])]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": described,
    }


async def made(registry: Registry, name: str, **spec: Any) -> dict[str, Any]:
    return (await registry.create(SERVICES, service(name, **spec), US)).last


async def is_free(registry: Registry, address: str) -> bool:
    try:
        await registry.create(SERVICES, service("asks", clusterIP=address), Writer("test", dry_run=True))
    except ApiError as error:
        assert error.status_code == 422 and "already allocated" in error.message
        return False
    return True


async def until_free(registry: Registry, address: str, wanted: bool) -> None:
    async with asyncio.timeout(10):
        while await is_free(registry, address) is not wanted:
            await asyncio.sleep(0.01)


async def test_many_at_once_have_addresses_and_ports_of_their_own_and_nothing_is_read_for_them(
    registry: Registry, store: WatchedStore
) -> None:
    await made(registry, "first")
    before = store.ranges
    every = await asyncio.gather(*(made(registry, f"s-{number}") for number in range(200)))
    assert store.ranges == before
    assert len({one["spec"]["clusterIP"] for one in every}) == 200
    assert len({port["nodePort"] for one in every for port in one["spec"]["ports"]}) == 400


async def test_what_a_service_had_is_free_when_it_has_it_no_more(registry: Registry) -> None:
    address = (await made(registry, "web"))["spec"]["clusterIP"]
    assert not await is_free(registry, address)
    await registry.update(SERVICES, "default", "web", lambda live: {**live, "metadata": {
        **live["metadata"], "labels": {"a": "b"}}}, US)  # fmt: skip
    assert not await is_free(registry, address)
    name = {"type": "ExternalName", "externalName": "example.org"}
    await registry.update(SERVICES, "default", "web", lambda live: {**live, "spec": name}, US)
    assert await is_free(registry, address)
    other = (await made(registry, "other", clusterIP=address))["metadata"]["name"]
    key = SERVICES.key("default", other)
    stored = await registry.store.get(key)
    assert stored is not None
    await registry.store.delete(key, expected=stored.mod_revision)
    await until_free(registry, address, True)


async def test_what_others_write_into_the_store_counts(registry: Registry, store: WatchedStore) -> None:
    await made(registry, "first")
    by_hand = service("by-hand", clusterIP="10.254.7.7")
    await store.put(SERVICES.key("default", "by-hand"), json.dumps(by_hand).encode(), expected=0)
    await store.put(SERVICES.key("default", "odd"), b'{"metadata": {}, "spec": {"clusterIP": "no"}}', expected=0)
    await store.put(SERVICES.key("default", "none"), b"nothing at all", expected=0)
    await until_free(registry, "10.254.7.7", False)
    await store.delete(SERVICES.key("default", "by-hand"), expected=None)
    await until_free(registry, "10.254.7.7", True)


async def test_a_write_whose_answer_was_lost_counts(registry: Registry, store: WatchedStore) -> None:
    await made(registry, "first")
    store.loses_next = True
    with pytest.raises(Unavailable):
        await made(registry, "lost", clusterIP="10.254.7.8")
    assert not await is_free(registry, "10.254.7.8")


async def test_a_server_that_begins_knows_what_is_taken(
    registry: Registry, store: WatchedStore, networks: Networks
) -> None:
    address = (await made(registry, "web"))["spec"]["clusterIP"]
    again = Registry(store, networks.services, time.time, Random(1))
    assert not await is_free(again, address)
