"""Addresses and node ports of services, given while the registry writes them, one service at a time.

What is taken is read once, then counted: the registry tells of each of its writes, and a watch of what anybody else
writes into the store. After a write of which nobody knows whether it was made it is read anew.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv4Network, IPv6Network

from trenza.cluster.controllers.allocation import Address, AllocationError, Pool, Uses, allocated, uses_of
from trenza.cluster.kinds.resources import Object, get_resource
from trenza.cluster.kinds.status import ApiError, Cause, Causes, invalid
from trenza.cluster.server.stored import object_at
from trenza.cluster.store.errors import StoreError
from trenza.cluster.store.protocol import Put, Store, Watch

_SERVICES = get_resource("", "v1", "services")
_NOTHING = Uses()


class Allocator:
    """`async with allocator.held():` nobody else writes services; then `given` and the write, which is `noted`."""

    def __init__(self, store: Store, network: IPv4Network | IPv6Network) -> None:
        self._store = store
        self._network = network
        self._lock = asyncio.Lock()
        self._uses: dict[str, tuple[int, Uses]] = {}  # by key: since which revision, and what it has
        self._addresses: Counter[Address] = Counter()
        self._ports: Counter[tuple[str, int]] = Counter()
        self._following: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """As long as the block lasts nobody else is given anything."""
        async with self._lock:
            try:
                yield
            except ApiError:
                raise  # refused: nothing was written
            except BaseException:
                self._forget()
                raise

    async def given(self, service: Object) -> Object:
        """The service with what its type asks for. Raises the 422 of a wish that cannot be had."""
        if self._following is None or self._following.done():
            await self._read()
        metadata = service["metadata"]
        own = self._uses.get(_SERVICES.key(metadata["namespace"], metadata["name"]), (0, _NOTHING))[1]
        self._count(own, -1)
        try:
            return allocated(service, Pool(self._network, self._addresses, self._ports), seed=metadata["uid"])
        except AllocationError as error:
            causes = Causes()
            causes.invalid(error.field, error.value, error.message)
            found: list[Cause] = causes.found
            raise invalid(_SERVICES.qualified_kind, metadata["name"], found) from error
        finally:
            self._count(own, 1)

    def noted(self, key: str, service: Object | None, revision: int) -> None:
        """A service is so, or gone, since `revision`. What is older than what is known changes nothing."""
        since, before = self._uses.get(key, (0, _NOTHING))
        if revision <= since:
            return
        now = _NOTHING
        with suppress(ValueError, TypeError, AttributeError):  # somebody wrote it by hand: it has no address
            now = _NOTHING if service is None else uses_of(service)
        self._uses[key] = (revision, now)
        self._count(before, -1)
        self._count(now, 1)

    def _count(self, uses: Uses, by: int) -> None:
        for address in uses.addresses:
            self._addresses[address] += by
            if not self._addresses[address]:
                del self._addresses[address]
        for port in uses.ports:
            self._ports[port] += by
            if not self._ports[port]:
                del self._ports[port]

    async def _read(self) -> None:
        self._forget()
        page = await self._store.range(_SERVICES.prefix())
        for stored in page.items:
            self._noted_value(stored.key, stored.value, stored.mod_revision)
        watch = self._store.watch(_SERVICES.prefix(), from_revision=page.revision + 1)
        self._following = asyncio.create_task(self._follow(watch))

    async def _follow(self, watch: Watch) -> None:
        """Until the watch is lost, or the store closed."""
        with watch, suppress(StoreError):
            async for batch in watch:
                for event in batch.events:
                    if isinstance(event, Put):
                        self._noted_value(event.key, event.stored.value, event.revision)
                    else:
                        self.noted(event.key, None, event.revision)

    def _noted_value(self, key: str, value: bytes, revision: int) -> None:
        with suppress(ValueError, KeyError, TypeError):  # no object at all
            self.noted(key, object_at(value, revision), revision)

    def _forget(self) -> None:
        if self._following is not None:
            self._following.cancel()
            self._following = None
        self._uses.clear()
        self._addresses.clear()
        self._ports.clear()
