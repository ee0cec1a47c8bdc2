"""The controllers at work: one watch over every object feeds them, the registry makes their writes.

Decisions and their writes alternate; what the watch brings meanwhile waits and is seen at once. Between two decisions
lies at least the time that the last one took, so that controllers never take more than half of the process from the
people who ask it things. What is decided because time has passed, and nothing has come, is decided on a snapshot that
is known to have everything until that time: the store is asked how far it is, and the watch awaited.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trenza.cluster.controllers.loop import Controller, Decided, Done, Loop, Lost, Outdated, Refused
from trenza.cluster.controllers.loop import Outcome as Settled
from trenza.cluster.controllers.snapshot import Change, Snapshot, resource_key
from trenza.cluster.controllers.writes import Bind, Create, Delete, Update, UpdateStatus, Write
from trenza.cluster.kinds.resources import Object, Resource
from trenza.cluster.kinds.status import ApiError
from trenza.cluster.server.deletion import DeleteOptions
from trenza.cluster.server.registry import Outcome, Registry, Writer
from trenza.cluster.server.stored import object_at
from trenza.cluster.server.versions import stored_resources
from trenza.cluster.store.errors import Compacted, StoreError, TooSlow, Unavailable
from trenza.cluster.store.protocol import Batch, Put

_LOG = logging.getLogger(__name__)
ROOT = "/registry/"
MOST_WRITES = (
    32  # under way at once: half of what an etcd is asked (`MAX_REQUESTS`), and heartbeats need not wait for all
)
RETRY_S = 1.0
_CONTROLLERS = Writer("kube-controller-manager")
_SCHEDULER = Writer("kube-scheduler")


@dataclass(slots=True)
class ControlLoop:
    """`run` it as a task. Its life is the registry's."""

    registry: Registry
    controllers: Sequence[Controller]
    _resources: dict[str, Resource] = field(default_factory=dict)
    _by_prefix: tuple[tuple[str, Resource], ...] = ()
    _batches: list[Batch] = field(default_factory=list)
    _watched: int = 0  # how far the watch has come
    _reported: dict[str, str] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        every = stored_resources()
        self._resources = {resource_key(one.group, one.plural): one for one in every}
        # Longest first: /registry/services/specs/ before anything that /registry/services/ might be.
        self._by_prefix = tuple(sorted(((one.prefix(), one) for one in every), key=lambda pair: -len(pair[0])))

    async def run(self) -> None:
        """For ever. A store that does not answer is asked again."""
        loop: Loop | None = None
        while True:
            try:
                snapshot = await self._snapshot()
                if loop is None:
                    loop = Loop(self.controllers, snapshot)
                else:
                    loop.replace(snapshot)
                await self._drive(loop, snapshot.revision)
            except (Compacted, TooSlow):
                _LOG.warning("the controllers' watch was lost; they read everything anew")
            except StoreError as error:
                _LOG.warning("the controllers wait for the store: %s", error.message)
                await asyncio.sleep(RETRY_S)
            except Exception:  # the root of the task: a cluster without controllers would look alive
                _LOG.exception("the controllers start over")
                await asyncio.sleep(RETRY_S)

    async def _snapshot(self) -> Snapshot:
        read_s = self.registry.now_s()
        page = await self.registry.store.range(ROOT)
        objects: dict[str, dict[tuple[str, str], Object]] = {name: {} for name in self._resources}
        for stored in page.items:
            placed = self._placed(stored.key, stored.value, stored.mod_revision)
            if placed is not None:
                name, key, written = placed
                objects[name][key] = written
        return Snapshot.of(objects, page.revision, read_s)

    async def _drive(self, loop: Loop, revision: int) -> None:
        """Until a write is lost. Raises what ends the watch."""
        self._batches.clear()
        self._watched = revision
        watching = asyncio.create_task(self._watch(revision))
        try:
            while not loop.needs_replacing:
                if watching.done():
                    watching.result()
                await self._wait(loop, watching)
                if loop.alarm_s <= self.registry.now_s():
                    await self._catch_up(loop, watching)
                self._observe(loop)
                began_s = asyncio.get_running_loop().time()
                decided = loop.decide(self.registry.now_s())
                self._report(loop.failures)
                took_s = asyncio.get_running_loop().time() - began_s
                await self._perform(loop, decided)
                await asyncio.sleep(took_s)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    def _report(self, failures: Mapping[str, Exception]) -> None:
        """Say once what stopped a controller; the others go on."""
        for name, error in failures.items():
            if self._reported.get(name) != str(error):
                _LOG.error("the controller %s stumbled", name, exc_info=error)
        self._reported = {name: str(error) for name, error in failures.items()}

    async def _watch(self, revision: int) -> None:
        with self.registry.store.watch(ROOT, from_revision=revision + 1) as watch:
            async for batch in watch:
                self._batches.append(batch)
                self._watched = batch.revision
                self._news.set()
        raise Unavailable("the store was closed")

    async def _wait(self, loop: Loop, watching: asyncio.Task[None]) -> None:
        """Until there is news, or it is time to decide without."""
        wait_s = loop.wakes_at_s() - self.registry.now_s()
        if wait_s <= 0 or self._batches:
            return
        self._news.clear()
        await self._until_news(watching, None if wait_s == math.inf else wait_s)

    async def _catch_up(self, loop: Loop, watching: asyncio.Task[None]) -> None:
        """Observe everything that was written until now. Raises what ends the watch."""
        asked_s = self.registry.now_s()
        revision = await self.registry.store.revision()
        while self._watched < revision:
            self._news.clear()
            await self._until_news(watching, None)
            if watching.done():
                watching.result()
        self._observe(loop)
        loop.caught_up(asked_s)

    async def _until_news(self, watching: asyncio.Task[None], limit_s: float | None) -> None:
        news = asyncio.create_task(self._news.wait())
        try:
            await asyncio.wait((news, watching), timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()

    def _observe(self, loop: Loop) -> None:
        batches, self._batches = self._batches, []
        if batches:
            changes = [change for batch in batches for change in self._changes(batch)]
            loop.observe(changes, batches[-1].revision)

    def _changes(self, batch: Batch) -> Iterable[Change]:
        for event in batch.events:
            value = event.stored.value if isinstance(event, Put) else event.previous.value
            placed = self._placed(event.key, value, event.revision)
            if placed is not None:
                name, key, written = placed
                yield Change(name, key, written if isinstance(event, Put) else None, event.revision)

    def _placed(self, key: str, value: bytes, revision: int) -> tuple[str, tuple[str, str], Object] | None:
        """Resource, namespace and name, and object. None for what is none: people write into an etcd by hand."""
        resource = self._resource_of(key)
        if resource is None:
            return None
        try:
            written = object_at(value, revision)
            metadata = written["metadata"]
            place = metadata.get("namespace", ""), metadata["name"]
        except (ValueError, KeyError, TypeError, AttributeError):
            _LOG.warning("%s holds no object; the controllers pass it over", key)
            return None
        return resource_key(resource.group, resource.plural), place, written

    def _resource_of(self, key: str) -> Resource | None:
        return next((resource for prefix, resource in self._by_prefix if key.startswith(prefix)), None)

    async def _perform(self, loop: Loop, decided: Sequence[Decided]) -> None:
        """Make the writes, some at once, and tell the loop of each."""
        for begin in range(0, len(decided), MOST_WRITES):
            some = decided[begin : begin + MOST_WRITES]
            outcomes = await asyncio.gather(*(self._settled(one.write) for one in some))
            for one, outcome in zip(some, outcomes, strict=True):
                loop.settle(one, outcome, self.registry.now_s())

    async def _settled(self, write: Write) -> Settled:
        try:
            outcome = await self._made(write)
        except ApiError as error:
            if error.status_code == 404 or error.reason in ("Conflict", "AlreadyExists"):
                return Outdated()
            return Refused(error.message)
        except Unavailable:
            return Lost()
        except StoreError as error:
            return Refused(error.message)
        except Exception as error:  # one odd object that people wrote by hand must not stop the other writes
            _LOG.exception("%s %s of %s/%s", type(write).__name__, write.resource, *write.key)
            return Refused(f"{type(error).__name__}: {error}")
        return Done(outcome.now, outcome.revision)

    async def _made(self, write: Write) -> Outcome:
        resource, (namespace, name) = self._resources[write.resource], write.key
        registry = self.registry
        match write:
            case Create():
                return await registry.create(resource, write.object, _CONTROLLERS)
            case Update():
                return await registry.update(
                    resource, namespace, name, lambda _: write.object, _CONTROLLERS, subresource=write.subresource
                )
            case UpdateStatus():
                return await registry.update(
                    resource, namespace, name, lambda _: write.object, _CONTROLLERS, subresource="status"
                )
            case Delete():
                metadata = write.object["metadata"]
                version = metadata["resourceVersion"] if write.unchanged else None
                how = DeleteOptions(write.grace_s, write.propagation.value, metadata.get("uid", ""), version)
                return await registry.delete(resource, namespace, name, how, _CONTROLLERS)
            case Bind():
                binding = {
                    "metadata": {"name": name, "namespace": namespace, "uid": write.object["metadata"]["uid"]},
                    "target": {"kind": "Node", "name": write.node},
                }
                return await registry.bind(resource, namespace, name, binding, _SCHEDULER)
