"""The journal hears what becomes of a cluster: of its nodes, pods and services' endpoints, and of its store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from trenza.cluster.api import ENDPOINT_SLICES, NODES, PODS, ApiError, Object
from trenza.cluster.changes import Told, endpoint_changes, node_changes, pod_changes, store_changes
from trenza.cluster.client import STORE, HttpApi
from trenza.cluster.node.cache import Cache, Changed
from trenza.engine.journal import Journal
from trenza.model.cluster import Cluster

_ASK_STORE_S = 2.0
Changes = Callable[[Object | None, Object | None], Iterator[Told]]
_CHANGES: dict[str, Changes] = {NODES: node_changes, PODS: pod_changes, ENDPOINT_SLICES: endpoint_changes}


class Reporter:
    """Watches from now on, in tasks of the running loop, until `end`; closes the API's connections then.

    `from_birth`: what is there at first is news.
    """

    def __init__(self, cluster: Cluster, api: HttpApi, journal: Journal, *, from_birth: bool) -> None:
        self.cluster = cluster
        self._api = api
        self._journal = journal
        self._from_birth = from_birth
        self._task = asyncio.get_running_loop().create_task(self._run())

    def end(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for resource, changes in _CHANGES.items():
                    group.create_task(self._watch(resource, changes))
                group.create_task(self._ask_of_store())
        except Exception as error:  # the task root: whatever fails is told, and the lab goes on
            self._journal.say("error", "", f"the cluster is watched no more: {type(error).__name__}: {error}")
        finally:
            self._api.close()

    async def _watch(self, resource: str, changes: Changes) -> None:
        def tell(changed: Changed) -> None:
            if cache.listed.is_set() or self._from_birth:
                for told in changes(changed.before, changed.now):
                    self._say(told)

        cache = Cache(self._api, resource, tell)
        await cache.run()

    async def _ask_of_store(self) -> None:
        """Nobody tells of alarms and members: the server is asked, time and again."""
        members = {one.etcd: str(one.node) for one in self.cluster.etcd}
        before: Object | None = None
        while True:
            with contextlib.suppress(ApiError):  # of a server that does not answer nodes and supervision tell
                now = await self._api.request("GET", STORE)
                for told in store_changes(before, now, members):
                    self._say(told)
                before = now
            await asyncio.sleep(_ASK_STORE_S)

    def _say(self, told: Told) -> None:
        node = told.node or self.cluster.master.node
        self._journal.say("cluster", node, told.text, es=told.text_es, **told.fields)
