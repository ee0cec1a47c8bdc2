"""What a host's agent says of pods and of its node: Events of the API, counted where they repeat."""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import Final

from trenza.cluster.api import EVENTS, Api, ApiError, Object
from trenza.cluster.node.pods import Event
from trenza.cluster.node.times import time_of

_MAX_WAITING: Final = 2000
_RETRY_S: Final = 1.0


class Events:
    """A queue of events, sent in order by `run`. While the server cannot be reached the first of them wait."""

    def __init__(self, api: Api, node: str) -> None:
        self._api = api
        self._node = node
        self._queue: asyncio.Queue[tuple[Object, Event]] = asyncio.Queue()
        self._known: dict[tuple[str, str, str, str], tuple[str, int]] = {}

    def say(self, about: Object, event: Event) -> None:
        if self._queue.qsize() < _MAX_WAITING:
            self._queue.put_nowait((about, event))

    async def run(self) -> None:
        while True:
            about, event = await self._queue.get()
            while True:
                try:
                    await self._send(about, event)
                except ApiError as error:
                    if error.status == 0 or error.status >= 500:
                        await asyncio.sleep(_RETRY_S)
                        continue
                break  # refused: its namespace is ending, say

    async def _send(self, about: Object, event: Event) -> None:
        metadata = about["metadata"]
        namespace = metadata.get("namespace", "default")
        key = (metadata.get("uid", ""), event.reason, event.message, event.container)
        now = time_of(time.time())
        name, count = self._known.get(key, ("", 0))
        if count:
            try:
                await self._api.patch(EVENTS, namespace, name, {"count": count + 1, "lastTimestamp": now})
            except ApiError as error:
                if error.status != 404:
                    raise
            else:
                self._known[key] = (name, count + 1)
                return
        digest = hashlib.blake2b(f"{key}{time.time_ns()}".encode(), digest_size=8).hexdigest()
        name = f"{metadata['name']}.{digest}"
        reference = {
            "kind": about["kind"], "apiVersion": about["apiVersion"], "name": metadata["name"],
            "uid": metadata.get("uid", ""), "resourceVersion": metadata.get("resourceVersion", ""),
        }  # fmt: skip
        if "namespace" in metadata:
            reference["namespace"] = namespace
        if event.container:
            reference["fieldPath"] = f"spec.containers{{{event.container}}}"
        component = {"component": "kubelet", "host": self._node}
        thing: Object = {
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": namespace},
            "involvedObject": reference, "reason": event.reason, "message": event.message, "type": event.type,
            "source": component, "firstTimestamp": now, "lastTimestamp": now, "count": 1, "eventTime": None,
            "reportingComponent": "kubelet", "reportingInstance": self._node,
        }  # fmt: skip
        await self._api.create(EVENTS, thing)
        self._known[key] = (name, 1)
        if len(self._known) > _MAX_WAITING:
            del self._known[next(iter(self._known))]
