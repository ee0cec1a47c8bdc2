"""Port-forward over a WebSocket's channels, as the Python client does it: two channels for each port asked for.

Channel 2n is the nth port's data and 2n+1 its error text; the first message of each says which port that is.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable, Sequence

from trenza.cluster.kinds.status import ApiError
from trenza.cluster.server.nodestreams import Joined
from trenza.cluster.server.websockets import WebSocket

PROTOCOL = "v4.channel.k8s.io"
MOST_PORTS = 100
_WAITING_MESSAGES = 64
_FIRST = struct.Struct("<BH")


class PortChannels:
    """One client's connections, one to each of `ports`. `connect` reaches a port of the pod."""

    def __init__(self, socket: WebSocket, ports: Sequence[int], connect: Callable[[int], Awaitable[Joined]]) -> None:
        self._socket = socket
        self._ports = ports
        self._connect = connect
        self._inboxes: dict[int, asyncio.Queue[bytes]] = {
            2 * place: asyncio.Queue(_WAITING_MESSAGES) for place in range(len(ports))
        }

    async def serve(self) -> None:
        """Until the client goes, or every port's connection has ended."""
        listening = asyncio.create_task(self._listen())
        relaying = asyncio.create_task(self._relay_all())
        try:
            await asyncio.wait((listening, relaying), return_when=asyncio.FIRST_COMPLETED)
        finally:
            listening.cancel()
            relaying.cancel()
            await asyncio.gather(listening, relaying, return_exceptions=True)

    async def _listen(self) -> None:
        while (message := await self._socket.receive()) is not None:
            inbox = self._inboxes.get(message[0]) if message else None
            if inbox is not None and len(message) > 1:
                await inbox.put(message[1:])

    async def _relay_all(self) -> None:
        for place, port in enumerate(self._ports):
            for channel in (2 * place, 2 * place + 1):
                await self._socket.send(_FIRST.pack(channel, port))
        async with asyncio.TaskGroup() as group:
            for place, port in enumerate(self._ports):
                group.create_task(self._forward(2 * place, port))
        await self._socket.close()

    async def _forward(self, channel: int, port: int) -> None:
        try:
            joined = await self._connect(port)
            try:
                await self._relay(channel, joined)
            finally:
                await joined.close()
        except (OSError, ApiError) as problem:
            words = f"an error occurred forwarding {port}: {problem}"
            with contextlib.suppress(OSError):  # the client has gone
                await self._socket.send(bytes([channel + 1]) + words.encode())
        self._inboxes.pop(channel)

    async def _relay(self, channel: int, joined: Joined) -> None:
        """Both ways, until the pod's side has ended."""
        upward = asyncio.create_task(_upward(self._inboxes[channel], joined))
        try:
            while content := await joined.read():
                await self._socket.send(bytes([channel]) + content)
        finally:
            upward.cancel()
            await asyncio.gather(upward, return_exceptions=True)


async def _upward(inbox: asyncio.Queue[bytes], joined: Joined) -> None:
    while True:
        await joined.write(await inbox.get())
