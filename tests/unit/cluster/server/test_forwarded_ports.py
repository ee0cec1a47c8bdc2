"""Port-forward's streams: what a client gives up is given up, and what it opens without end is refused."""

from __future__ import annotations

import asyncio

import pytest

from trenza.cluster.server import spdy
from trenza.cluster.server.forwarding import MOST_CONNECTIONS, Forwarding
from trenza.cluster.server.spdy import SpdyConnection

pytestmark = pytest.mark.anyio

WAIT_S = 10


class Peer:
    """The client's end: bytes for the server in `sent`, what the server said as events."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[bytes] = asyncio.Queue()
        self.events: asyncio.Queue[spdy.Event] = asyncio.Queue()
        self.codec = SpdyConnection()

    async def read(self) -> bytes:
        return await self.sent.get()

    async def write(self, content: bytes) -> None:
        for event in self.codec.receive(content):
            self.events.put_nowait(event)

    def open(self, stream: int, kind: str, request: str, port: str) -> None:
        headers = {"streamtype": kind, "requestid": request, "port": port}
        self.sent.put_nowait(self.codec.opened(stream, headers))

    async def next(self, kind: type[spdy.Event]) -> spdy.Event:
        async with asyncio.timeout(WAIT_S):
            while not isinstance(event := await self.events.get(), kind):
                pass
        return event


class Talker:
    """A pod's port that says something for ever."""

    def __init__(self) -> None:
        self.closed = False

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        return b"more"

    async def write(self, content: bytes) -> None: ...

    async def close_writing(self) -> None: ...

    async def close(self) -> None:
        self.closed = True


async def test_a_stream_that_is_reset_is_not_fed_any_more() -> None:
    peer, talker = Peer(), Talker()

    async def connect(_: int) -> Talker:
        return talker

    serving = asyncio.create_task(Forwarding(peer, connect).serve())
    peer.open(1, "error", "0", "80")
    peer.open(3, "data", "0", "80")
    await peer.next(spdy.Data)
    peer.sent.put_nowait(spdy.reset(3, 5))
    async with asyncio.timeout(WAIT_S):
        while not talker.closed:
            await asyncio.sleep(0)
        while (await peer.next(spdy.Data)) != spdy.Data(1, b"", fin=True):  # the client waits for this one
            pass
    peer.sent.put_nowait(b"")
    await serving


@pytest.mark.parametrize("port", ["²", "0", "65536", "9" * 5000, "x"])
async def test_what_is_no_port_is_refused(port: str) -> None:
    peer = Peer()

    async def connect(_: int) -> Talker:
        raise AssertionError("nothing is to be connected")

    serving = asyncio.create_task(Forwarding(peer, connect).serve())
    peer.open(1, "error", "0", port)
    peer.open(3, "data", "0", port)
    reset = await peer.next(spdy.Reset)
    assert reset == spdy.Reset(3, 3)
    peer.sent.put_nowait(b"")
    await serving


async def test_streams_for_errors_without_end_are_refused() -> None:
    peer = Peer()

    async def connect(_: int) -> Talker:
        raise AssertionError("nothing is to be connected")

    serving = asyncio.create_task(Forwarding(peer, connect).serve())
    for number in range(MOST_CONNECTIONS + 1):
        peer.open(2 * number + 1, "error", str(number), "80")
    assert await peer.next(spdy.Reset) == spdy.Reset(2 * MOST_CONNECTIONS + 1, 3)
    peer.sent.put_nowait(b"")
    await serving
