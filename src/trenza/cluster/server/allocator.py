"""Addresses and node ports of services, given while the registry writes them, one service at a time."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Network, IPv6Network

from trenza.cluster.controllers.allocation import AllocationError, Pool, allocated, pool_of
from trenza.cluster.kinds.resources import Object, Resource, find_resource
from trenza.cluster.kinds.status import Cause, Causes, invalid
from trenza.cluster.server.stored import Reader
from trenza.cluster.store.protocol import Store


class Allocator:
    """`with allocator.lock:` nobody else writes services; then `given` and the write."""

    def __init__(self, store: Store, reader: Reader, network: IPv4Network | IPv6Network) -> None:
        self._store = store
        self._reader = reader
        self._network = network
        self.lock = asyncio.Lock()

    async def given(self, resource: Resource, service: Object) -> Object:
        """The service with what its type asks for. Raises the 422 of a wish that cannot be had."""
        pool = await self._pool(but=service["metadata"]["uid"])
        try:
            return allocated(service, pool, seed=service["metadata"]["uid"])
        except AllocationError as error:
            causes = Causes()
            causes.invalid(error.field, error.value, error.message)
            found: list[Cause] = causes.found
            raise invalid(resource.qualified_kind, service["metadata"]["name"], found) from error

    async def _pool(self, *, but: str) -> Pool:
        resource = find_resource("", "v1", "services")
        assert resource is not None
        page = await self._store.range(resource.prefix())
        services = [self._reader.object_of(stored) for stored in page.items]
        return pool_of(self._network, (one for one in services if one["metadata"]["uid"] != but))
