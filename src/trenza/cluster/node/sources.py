"""The config maps and secrets that a host's pods refer to: each watched as long as some pod does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from trenza.cluster.api import Api, ApiError, Object
from trenza.cluster.node.cache import Cache, Changed

LISTED_WITHIN_S: Final = 10.0
Reference = tuple[str, str, str]
"""A resource, a namespace, a name."""


@dataclass(slots=True)
class _Watched:
    """One object, and the uids of the pods that refer to it."""

    cache: Cache
    task: asyncio.Task[None]
    pods: set[str] = field(default_factory=set)


class Sources:
    """`changed` is called with the uid of every pod that refers to something that has changed."""

    def __init__(self, api: Api, changed: Callable[[str], None]) -> None:
        self._api = api
        self._changed = changed
        self._watched: dict[Reference, _Watched] = {}

    async def found(self, uid: str, resource: str, namespace: str, names: Iterable[str]) -> Mapping[str, Object]:
        """Those of the names that are there, for a pod, until it is released. Raises ApiError."""
        watched = {name: self._watch((resource, namespace, name), uid) for name in names}
        try:
            async with asyncio.timeout(LISTED_WITHIN_S):
                for one in watched.values():
                    await one.cache.listed.wait()
        except TimeoutError:
            raise ApiError(f"{resource} of {namespace}: the API server does not answer") from None
        return {name: thing for name, one in watched.items() for thing in one.cache.objects.values()}

    def release(self, uid: str) -> None:
        """The pod refers to nothing any more."""
        for reference, one in tuple(self._watched.items()):
            one.pods.discard(uid)
            if not one.pods:
                one.task.cancel()
                del self._watched[reference]

    def _watch(self, reference: Reference, uid: str) -> _Watched:
        one = self._watched.get(reference)
        if one is None:
            resource, namespace, name = reference

            def tell(_: Changed) -> None:
                for pod in tuple(one.pods) if one is not None and one.cache.listed.is_set() else ():
                    self._changed(pod)

            cache = Cache(self._api, resource, tell, namespace=namespace, field_selector=f"metadata.name={name}")
            one = self._watched[reference] = _Watched(cache, asyncio.get_running_loop().create_task(cache.run()))
        one.pods.add(uid)
        return one
