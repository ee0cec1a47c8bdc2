"""A change begins with what was last written here, and is right all the same when somebody else has written since."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from trenza.cluster.kinds.resources import Object, get_resource
from trenza.cluster.kinds.status import ApiError
from trenza.cluster.server.first_objects import Networks, ensure_first_objects
from trenza.cluster.server.registry import Outcome, Registry, Writer
from trenza.cluster.server.stored import encoded
from trenza.cluster.store.embedded import EmbeddedStore
from trenza.cluster.store.protocol import Stored

pytestmark = pytest.mark.anyio

MAPS = get_resource("", "v1", "configmaps")
KEY = MAPS.key("default", "m")
US = Writer("test")


class CountingStore(EmbeddedStore):
    """Counts what is read."""

    reads = 0

    async def get(self, key: str, *, revision: int | None = None) -> Stored | None:
        self.reads += 1
        return await super().get(key, revision=revision)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[CountingStore]:
    store = await CountingStore.open(tmp_path / "cluster.sqlite")
    yield store
    await store.close()


@pytest.fixture
async def registry(store: CountingStore, networks: Networks) -> Registry:
    registry = Registry(store, networks.services, time.time, Random(1))
    await ensure_first_objects(registry, networks, "10.9.0.1", 6443)
    made = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "m", "namespace": "default"}, "data": {}}
    await registry.create(MAPS, made, US)
    return registry


async def changed(registry: Registry, **data: str) -> Outcome:
    def change(live: Object) -> Object:
        if data.get("refused") and "by" not in live["data"]:
            raise ApiError(422, "Invalid", "nobody has been here")
        return {**live, "data": {**live["data"], **data}}

    return await registry.update(MAPS, "default", "m", change, US)


async def by_hand(store: CountingStore, **data: str) -> int:
    """Somebody writes past the server."""
    stored = await store.get(KEY)
    assert stored is not None
    there = json.loads(stored.value)
    return await store.put(KEY, encoded({**there, "data": data}), expected=stored.mod_revision)


async def data_of(registry: Registry) -> Any:
    return (await registry.read(MAPS, "default", "m"))["data"]


async def test_change_after_change_reads_nothing(registry: Registry, store: CountingStore) -> None:
    before = store.reads
    for number in range(20):
        await changed(registry, a=str(number))
    assert store.reads == before
    assert await data_of(registry) == {"a": "19"}


async def test_what_others_wrote_meanwhile_is_kept(registry: Registry, store: CountingStore) -> None:
    await by_hand(store, by="hand")
    await changed(registry, a="b")
    assert await data_of(registry) == {"by": "hand", "a": "b"}


async def test_nothing_is_refused_for_what_is_no_longer_so(registry: Registry, store: CountingStore) -> None:
    with pytest.raises(ApiError, match="nobody has been here"):
        await changed(registry, refused="a")
    await changed(registry, a="b")
    await by_hand(store, by="hand")
    await changed(registry, refused="a")
    assert await data_of(registry) == {"by": "hand", "refused": "a"}


async def test_a_change_that_changes_nothing_tells_what_is_there(registry: Registry, store: CountingStore) -> None:
    await changed(registry, a="b")
    revision = await by_hand(store, a="b", by="hand")
    outcome = await changed(registry, a="b")
    assert outcome.revision == revision and outcome.last["data"] == {"a": "b", "by": "hand"}


async def test_what_others_deleted_is_gone(registry: Registry, store: CountingStore) -> None:
    await store.delete(KEY, expected=None)
    with pytest.raises(ApiError) as refused:
        await changed(registry, a="b")
    assert refused.value.status_code == 404
