"""Port-forward over SPDY: for each connection of the client's two streams, one of data and one for an error text."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from trenza.cluster.kinds.status import ApiError
from trenza.cluster.server import spdy
from trenza.cluster.server.nodestreams import Joined

MOST_CONNECTIONS = 256
_REFUSED = 3


class Bytes(Protocol):
    """Bytes both ways: a connection, or a tunnel in one."""

    async def read(self) -> bytes: ...

    async def write(self, content: bytes) -> None: ...


class Forwarding:
    """One client's forwards. `connect` reaches a port of the pod."""

    def __init__(self, peer: Bytes, connect: Callable[[int], Awaitable[Joined]]) -> None:
        self._peer = peer
        self._connect = connect
        self._spdy = spdy.SpdyConnection()
        self._errors: dict[str, int] = {}
        self._inboxes: dict[int, asyncio.Queue[bytes | None]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._given_up: set[int] = set()

    async def serve(self) -> None:
        """Until the client goes."""
        async with asyncio.TaskGroup() as group:
            try:
                while content := await self._peer.read():
                    for event in self._spdy.receive(content):
                        await self._take(event, group)
            except (spdy.SpdyError, OSError):
                pass
            finally:
                for task in self._tasks.values():  # whoever still reads from the pod reads for nobody
                    task.cancel()

    async def _take(self, event: spdy.Event, group: asyncio.TaskGroup) -> None:
        match event:
            case spdy.Opened(stream, headers, _):
                await self._opened(stream, headers.get("streamtype", ""), headers, group)
            case spdy.Data(stream, content, fin):
                inbox = self._inboxes.get(stream)
                if inbox is not None and content:
                    await inbox.put(content)
                if inbox is not None and fin:
                    await inbox.put(None)
            case spdy.Reset(stream, _):
                if stream in self._inboxes:  # its user has gone, and nobody takes what the pod says
                    self._given_up.add(stream)
                    self._tasks[stream].cancel()
            case spdy.Pinged(number):
                await self._peer.write(spdy.ping(number))
            case _:
                pass

    async def _opened(self, stream: int, kind: str, headers: Mapping[str, str], group: asyncio.TaskGroup) -> None:
        request, port = headers.get("requestid", ""), headers.get("port", "")
        if kind == "error" and len(self._errors) < MOST_CONNECTIONS:
            self._errors[request] = stream
            await self._peer.write(self._spdy.replied(stream))
        elif kind == "data" and request in self._errors and _is_port(port) and self._has_room(stream):
            self._inboxes[stream] = asyncio.Queue(64)
            await self._peer.write(self._spdy.replied(stream))
            task = group.create_task(self._forward(stream, self._errors.pop(request), int(port)))
            self._tasks[stream] = task
            task.add_done_callback(lambda _: self._tasks.pop(stream))
        else:
            await self._peer.write(spdy.reset(stream, _REFUSED))

    def _has_room(self, stream: int) -> bool:
        return stream not in self._tasks and len(self._inboxes) < MOST_CONNECTIONS

    async def _forward(self, stream: int, error: int, port: int) -> None:
        """One connection, until the pod's side ends it or the client gives its stream up."""
        try:
            problem = await self._connected(stream, port)
        except asyncio.CancelledError:
            if stream not in self._given_up:
                raise
            problem = b""
        finally:
            inbox = self._inboxes.pop(stream)
            while not inbox.empty():  # what still waited, or waits for room, is for nobody
                inbox.get_nowait()
        self._given_up.discard(stream)
        with contextlib.suppress(OSError):  # the client has gone
            await self._peer.write(spdy.data(error, problem, fin=True) + spdy.data(stream, b"", fin=True))

    async def _connected(self, stream: int, port: int) -> bytes:
        """Connect and relay; what went wrong, as the client shows it."""
        try:
            joined = await self._connect(port)
            try:
                await self._relay(stream, joined)
            finally:
                await joined.close()
        except (OSError, ApiError) as error:
            return f"an error occurred forwarding {port}: {error}".encode()
        return b""

    async def _relay(self, stream: int, joined: Joined) -> None:
        """Both ways, until the pod's side has ended; what the client sends ends when it says so."""
        upward = asyncio.create_task(self._upward(self._inboxes[stream], joined))
        try:
            while content := await joined.read():
                await self._peer.write(spdy.data(stream, content))
        finally:
            upward.cancel()
            await asyncio.gather(upward, return_exceptions=True)

    async def _upward(self, inbox: asyncio.Queue[bytes | None], joined: Joined) -> None:
        while (content := await inbox.get()) is not None:
            await joined.write(content)
        await joined.close_writing()
        while await inbox.get() is not None:
            pass


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535
