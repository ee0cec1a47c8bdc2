"""Controllers whose watch lags take nobody for dead who says that he lives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any, Self

import pytest

from trenza.cluster.controllers.controlplane import Settings, control_plane
from trenza.cluster.controllers.nodes import LEASE_NAMESPACE, NodeTimes
from trenza.cluster.controllers.objects import condition_of
from trenza.cluster.kinds.names import timestamp
from trenza.cluster.kinds.resources import get_resource
from trenza.cluster.server.control import ControlLoop
from trenza.cluster.server.first_objects import Networks, ensure_first_objects
from trenza.cluster.server.registry import Registry, Writer
from trenza.cluster.store.embedded import EmbeddedStore
from trenza.cluster.store.protocol import Batch, Watch

pytestmark = pytest.mark.anyio

GRACE_S = 1.0
NODES = get_resource("", "v1", "nodes")
LEASES = get_resource("coordination.k8s.io", "v1", "leases")
US = Writer("test")


class LaggingWatch:
    """A watch that brings nothing while the gate is shut."""

    def __init__(self, watch: Watch, gate: asyncio.Event) -> None:
        self._watch = watch
        self._gate = gate

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        await self._gate.wait()
        return await self._watch.__anext__()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._watch.close()


class LaggingStore(EmbeddedStore):
    """Its watches bring nothing while `gate` is shut."""

    gate: asyncio.Event

    def watch(self, prefix: str, *, from_revision: int) -> Watch:
        return LaggingWatch(super().watch(prefix, from_revision=from_revision), self.gate)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LaggingStore]:
    store = await LaggingStore.open(tmp_path / "cluster.sqlite")
    store.gate = asyncio.Event()
    store.gate.set()
    yield store
    await store.close()


async def test_a_node_that_is_heard_of_lives_however_late_the_watch_is(store: LaggingStore, networks: Networks) -> None:
    registry = Registry(store, networks.services, time.time, Random(1))
    await ensure_first_objects(registry, networks, "10.9.0.1", 6443)
    heard = {"type": "Ready", "status": "True", "lastHeartbeatTime": timestamp(time.time())}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": {"conditions": [heard]}}
    await registry.create(NODES, node, US)
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "n1", "namespace": LEASE_NAMESPACE},
        "spec": {"holderIdentity": "n1", "renewTime": _now()},
    }
    await registry.create(LEASES, lease, US)
    await registry.update(NODES, "", "n1", lambda live: {**live, "status": node["status"]}, US, subresource="status")
    readiness: list[str] = []

    async def heartbeats() -> None:
        while True:
            await registry.update(LEASES, LEASE_NAMESPACE, "n1", _renewed, US)
            readiness.append(await ready(registry))
            await asyncio.sleep(0.1)

    control = ControlLoop(registry, control_plane(Settings(node_times=NodeTimes(GRACE_S))))
    running, beating = asyncio.create_task(control.run()), asyncio.create_task(heartbeats())
    try:
        await until(lambda: len(readiness) > 15)
        store.gate.clear()
        await until(lambda: len(readiness) > 45)  # three times the grace
        store.gate.set()
        await until(lambda: len(readiness) > 60)
        assert set(readiness) == {"True"}
        beating.cancel()
        began_s = time.monotonic()
        while await ready(registry) != "Unknown":
            assert time.monotonic() - began_s < GRACE_S + 2
            await asyncio.sleep(0.02)
    finally:
        for task in (running, beating):
            task.cancel()
        await asyncio.gather(running, beating, return_exceptions=True)


async def until(holds: Any) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.02)


async def ready(registry: Registry) -> str:
    return str((condition_of(await registry.read(NODES, "", "n1"), "Ready") or {}).get("status"))


def _now() -> str:
    return timestamp(time.time()).replace("Z", ".000000Z")


def _renewed(lease: dict[str, Any]) -> dict[str, Any]:
    renewed = f"{timestamp(time.time())[:-1]}.{int(time.time() % 1 * 1e6):06d}Z"
    return {**lease, "spec": {**lease["spec"], "renewTime": renewed}}
