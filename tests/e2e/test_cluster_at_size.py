"""A whole cluster with many pods, Services and objects loses nothing; how fast it is says `bench/cluster.py`."""

from __future__ import annotations

import asyncio

import pytest
from conftest import Cli
from lives import soak
from sized_cluster import measured_objects, measured_pods, measured_services, sized_cluster

pytestmark = [pytest.mark.kernel, pytest.mark.side_by_side]


async def filled(cli: Cli, store: str, *, nodes: int, pods: int, services: int, objects: int) -> None:
    async with sized_cluster(cli, nodes, store) as cluster:
        print(await measured_pods(cluster, pods, pods // 10))
        print(await measured_services(cluster, services, pods=pods, serving=pods // 10, turns=1))
        print(await measured_objects(cluster, objects))
        assert await cluster.lost_nodes() == 0


@pytest.mark.parametrize("store", ["embedded", "etcd"])
def test_a_cluster_is_filled(cli: Cli, store: str) -> None:
    asyncio.run(filled(cli, store, nodes=2, pods=40, services=20, objects=200))


@pytest.mark.skipif(not soak(), reason="minutes: TRENZA_SOAK=1")
@pytest.mark.parametrize("store", ["embedded", "etcd"])
def test_a_cluster_of_ten_nodes_is_filled(cli: Cli, store: str) -> None:
    asyncio.run(filled(cli, store, nodes=10, pods=1000, services=1000, objects=10_000))
