"""A watch as clients see it: the store's batches of one prefix as ADDED, MODIFIED, DELETED and BOOKMARK.

A selector turns a change into ADDED when the object begins to be selected and into DELETED when it ends. What a watch
begins with is a list at one revision; the store's watch goes on right behind it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from trenza.cluster.kinds.resources import Object, Resource
from trenza.cluster.kinds.status import ApiError, expired, too_old
from trenza.cluster.server.listing import ListOptions
from trenza.cluster.server.stored import Reader, object_at, text_at, value_of
from trenza.cluster.store.errors import Compacted, TooSlow
from trenza.cluster.store.protocol import Batch, Delete, Put, Store, Stored

BOOKMARK_EVERY_S = 10.0
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True)
class Seen:
    """One event: its type, and the object as the store has it (`value`) with the version that it is told at."""

    type: str
    value: bytes
    revision: int
    is_progress: bool = False
    """A bookmark that nobody waits for: it may be left out."""

    @property
    def text(self) -> bytes:
        """The object's JSON."""
        return text_at(self.value, self.revision)

    @property
    def object(self) -> Object:
        """The object."""
        return object_at(self.value, self.revision)


def seen(batch: Batch, options: ListOptions, reader: Reader, *, after: str = "") -> Iterator[Seen]:
    """What a watcher with these options sees of a batch; `after` is the one key it wants, if it is one."""
    for event in batch.events:
        if after and event.key != after:
            continue
        match event:
            case Put(stored, previous):
                yield from _put(stored, previous, options, reader)
            case Delete(revision, previous):
                if not options.selects or options.holds(reader.object_of(previous)):
                    yield Seen("DELETED", previous.value, revision)


def _put(stored: Stored, previous: Stored | None, options: ListOptions, reader: Reader) -> Iterator[Seen]:
    if not options.selects:
        yield Seen("ADDED" if previous is None else "MODIFIED", stored.value, stored.mod_revision)
        return
    before = previous is not None and options.holds(reader.object_of(previous))
    if options.holds(reader.object_of(stored)):
        yield Seen("MODIFIED" if before else "ADDED", stored.value, stored.mod_revision)
    elif previous is not None and before:
        yield Seen("DELETED", previous.value, stored.mod_revision)


def bookmark(resource: Resource, revision: int, *, initial_end: bool = False) -> Seen:
    """An object with nothing but its kind and a version to go on from; `initial_end`: all that there was is told."""
    metadata: Object = {"creationTimestamp": None}
    if initial_end:
        metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
    value = value_of({"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata})
    return Seen("BOOKMARK", value, revision, is_progress=not initial_end)


async def watched(
    store: Store, reader: Reader, resource: Resource, namespace: str, options: ListOptions
) -> AsyncIterator[tuple[Seen, ...]]:
    """Events, those that are there together in one tuple; an empty one when time passes and nothing happens.

    What is selected by is read through `reader`, once for all watches: each node's agent has one of all pods.

    Raises the 410 of a version that is too old and of a watcher that is too slow.
    """
    prefix = resource.prefix(namespace)
    name = options.fields.exact("metadata.name")
    only = resource.key(namespace, name) if name and (namespace or not resource.namespaced) else ""
    revision = options.version
    if revision is None or options.initial_events:
        page = await store.range(only or prefix)
        revision = page.revision
        initial = tuple(
            Seen("ADDED", stored.value, stored.mod_revision)
            for stored in page.items
            if (not only or stored.key == only) and (not options.selects or options.holds(reader.object_of(stored)))
        )
        if options.initial_events:
            initial += (bookmark(resource, revision, initial_end=True),)
        yield initial
    try:
        with store.watch(only or prefix, from_revision=revision + 1) as watch:
            async for batch in watch:
                events = tuple(seen(batch, options, reader, after=only))
                if events:
                    yield events
                elif options.bookmarks:
                    yield (bookmark(resource, batch.revision),)
                else:
                    yield ()
    except Compacted as error:
        raise too_old(revision, error.revision) from error
    except TooSlow as error:
        raise expired(str(error)) from error


def error_event(error: ApiError) -> Object:
    """The event that ends a watch with a refusal."""
    return {"type": "ERROR", "object": error.status()}
