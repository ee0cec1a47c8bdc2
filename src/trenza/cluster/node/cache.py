"""What a host knows of a resource: listed, then watched, and listed again when the server says so or was away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from trenza.cluster.api import Api, ApiError, Object

FIRST_RETRY_S: Final = 0.2
MAX_RETRY_S: Final = 5.0
_PAUSE_S: Final = 0.02
"""Between two watches, of a server that ends each at once."""

Key = tuple[str, str]


def key_of(thing: Object) -> Key:
    return thing["metadata"].get("namespace", ""), thing["metadata"]["name"]


@dataclass(frozen=True, slots=True)
class Changed:
    """An object as it was and as it is; None where it was not there, or is not any more."""

    key: Key
    before: Object | None
    now: Object | None


class Cache:
    """The objects of one resource. `run` keeps them current and tells of every change."""

    def __init__(
        self,
        api: Api,
        resource: str,
        told: Callable[[Changed], None],
        *,
        namespace: str = "",
        field_selector: str = "",
    ) -> None:
        self._api = api
        self._resource = resource
        self._told = told
        self._namespace = namespace
        self._selector = field_selector
        self._objects: dict[Key, Object] = {}
        self.listed = asyncio.Event()
        """Set once it has been listed."""

    @property
    def objects(self) -> Mapping[Key, Object]:
        return self._objects

    async def run(self) -> None:
        """List and watch, for ever."""
        retry_s = FIRST_RETRY_S
        while True:
            try:
                found = await self._api.list(self._resource, self._namespace, field_selector=self._selector)
                self._replace({key_of(one): one for one in found.items})
                self.listed.set()
                retry_s = FIRST_RETRY_S
                await self._watch(found.resource_version)
            except ApiError as error:
                if error.status == 410:
                    continue
                await asyncio.sleep(retry_s)
                retry_s = min(MAX_RETRY_S, 2 * retry_s)

    async def _watch(self, version: str) -> None:
        """Follow until the server says that it is too late; a watch that ended is taken up where it was."""
        while True:
            watched = self._api.watch(
                self._resource, self._namespace, resource_version=version, field_selector=self._selector
            )
            async for event in watched:
                version = event.object["metadata"]["resourceVersion"]
                if event.type == "DELETED":
                    self._set(key_of(event.object), None)
                elif event.type != "BOOKMARK":
                    self._set(key_of(event.object), event.object)
            await asyncio.sleep(_PAUSE_S)

    def _replace(self, objects: Mapping[Key, Object]) -> None:
        for key in [key for key in self._objects if key not in objects]:
            self._set(key, None)
        for key, thing in objects.items():
            self._set(key, thing)

    def _set(self, key: Key, thing: Object | None) -> None:
        before = self._objects.get(key)
        if before == thing:
            return
        if thing is None:
            self._objects.pop(key, None)
        else:
            self._objects[key] = thing
        self._told(Changed(key, before, thing))
