"""A command's streams over a WebSocket: how it ended is told whatever became of its input; clients may go at once."""

from __future__ import annotations

import asyncio
import json
import socket
from types import SimpleNamespace
from typing import Any

import pytest
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection

from trenza.cluster.server.channels import WebSocketChannels
from trenza.cluster.server.http import Raw, Request
from trenza.cluster.server.nodestreams import Exited, Output
from trenza.cluster.server.streams import execution
from trenza.cluster.server.websockets import WebSocket

pytestmark = pytest.mark.anyio

WAIT_S = 10
POD = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}}
HEADERS = {
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "sec-websocket-protocol": "v5.channel.k8s.io",
}


class Deaf:
    """A command that has ended without reading what it was given."""

    def __init__(self) -> None:
        self.refused = asyncio.Event()

    async def read(self) -> Output | Exited:
        await self.refused.wait()
        await asyncio.sleep(0.1)  # the refusal is known before the end is
        return Exited(3)

    async def write(self, content: bytes) -> None:
        self.refused.set()
        raise ConnectionResetError("it is gone")

    async def close_stdin(self) -> None:
        await self.write(b"")

    async def resize(self, columns: int, rows: int) -> None:
        await self.write(b"")

    async def close(self) -> None: ...


async def ends() -> tuple[Raw, Raw]:
    ours, theirs = socket.socketpair()
    return Raw(*await asyncio.open_connection(sock=ours)), Raw(*await asyncio.open_connection(sock=theirs))


@pytest.mark.parametrize(
    "said", [b"\x00typed", b"\xff\x00", b'\x04{"Width":80,"Height":25}'], ids=["typed", "ended", "resized"]
)
async def test_how_a_command_ended_is_told_though_it_did_not_read(said: bytes) -> None:
    async def run(*_: Any) -> Deaf:
        return Deaf()

    query = (("command", "true"), ("stdin", "true"), ("stdout", "true"))
    request = Request("GET", "/", query, HEADERS, b"")
    upgrade = await execution(SimpleNamespace(run=run), POD, request)  # type: ignore[arg-type]
    client, server = await ends()
    serving = asyncio.create_task(upgrade.serve(server))
    codec = Connection(ConnectionType.CLIENT)
    await client.write(codec.send(BytesMessage(said)))
    async with asyncio.timeout(WAIT_S):
        ended: Any = None
        while ended is None:
            codec.receive_data(await client.read() or None)
            for event in codec.events():
                assert not isinstance(event, CloseConnection), "before it was told how the command ended"
                if isinstance(event, BytesMessage) and event.data[0] == 3:
                    ended = json.loads(event.data[1:])
                    break
        client.writer.close()
        await serving
    server.writer.close()
    assert ended["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


async def test_what_is_said_to_a_client_that_has_said_goodbye_is_lost_like_any_other() -> None:
    client, server = await ends()
    socket_ = WebSocket(server)
    await client.write(Connection(ConnectionType.CLIENT).send(CloseConnection(code=1000)))
    assert await socket_.receive() is None
    with pytest.raises(OSError):
        await socket_.send(b"more")
    with pytest.raises(OSError):
        await WebSocketChannels(socket_).send(Output(b"more"))
    client.writer.close()
    server.writer.close()


@pytest.mark.parametrize("size", ["70000", "-1", "1e999", '"x"', "null"])
async def test_a_terminal_has_no_such_size(size: str) -> None:
    client, server = await ends()
    channels = WebSocketChannels(WebSocket(server))
    codec = Connection(ConnectionType.CLIENT)
    strange = b'\x04{"Width":%b,"Height":25}' % size.encode()
    await client.write(codec.send(BytesMessage(strange)) + codec.send(CloseConnection(code=1000)))
    assert await channels.receive() is None
    client.writer.close()
    server.writer.close()
