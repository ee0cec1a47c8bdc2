"""WebSocket messages over a connection that has been upgraded; wsproto knows the frames."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from trenza.cluster.kinds.status import bad_request
from trenza.cluster.server.http import Raw, Request

MAX_MESSAGE_BYTES = (1 << 20) + 1  # a channel's number, and as much as the Python client reads at once
_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


def is_websocket(request: Request) -> bool:
    """Whether the client wants one."""
    return request.header("upgrade").lower() == "websocket"


def agreed_protocol(request: Request, supported: Sequence[str]) -> str:
    """The first protocol that the client offers and we speak. Raises a 400."""
    offered = [one.strip() for one in request.header("sec-websocket-protocol").split(",") if one.strip()]
    for one in offered:
        if one in supported:
            return one
    raise bad_request(f"unable to upgrade: none of the subprotocols {offered} is one of {list(supported)}")


def upgrade_headers(request: Request, protocol: str) -> tuple[tuple[str, str], ...]:
    """The headers of the 101. Raises a 400."""
    key = request.header("sec-websocket-key")
    if not key or request.header("sec-websocket-version") != "13":
        raise bad_request("unable to upgrade: no key, or another version than 13")
    accept = base64.b64encode(hashlib.sha1(f"{key}{_MAGIC}".encode()).digest()).decode()
    return (
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept),
        ("Sec-WebSocket-Protocol", protocol),
    )


class WebSocket:
    """Whole messages both ways. What is no WebSocket ends it."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._frames = Connection(ConnectionType.SERVER)
        self._waiting: list[bytes] = []
        self._partial = b""
        self._ended = False

    async def receive(self) -> bytes | None:
        """The next message, None at the end."""
        while not self._waiting and not self._ended:
            content = await self._raw.read()
            try:
                self._frames.receive_data(content or None)
                await self._take()
            except (RemoteProtocolError, LocalProtocolError):
                self._ended = True
            self._ended = self._ended or not content
        return self._waiting.pop(0) if self._waiting else None

    async def _take(self) -> None:
        for event in self._frames.events():
            match event:
                case BytesMessage() | TextMessage():
                    part = event.data.encode() if isinstance(event.data, str) else bytes(event.data)
                    self._partial += part
                    if len(self._partial) > MAX_MESSAGE_BYTES:
                        self._ended = True
                        return
                    if event.message_finished:
                        self._waiting.append(self._partial)
                        self._partial = b""
                case Ping():
                    await self._raw.write(self._frames.send(event.response()))
                case CloseConnection():
                    self._ended = True
                    await self._raw.write(self._frames.send(event.response()))
                case _:
                    pass

    async def send(self, message: bytes) -> None:
        """A binary message; returns when there is room for more. Raises OSError for a client that said goodbye."""
        try:
            content = self._frames.send(BytesMessage(data=message))
        except LocalProtocolError as error:
            raise ConnectionResetError("the client has closed the connection") from error
        await self._raw.write(content)

    async def close(self) -> None:
        """Say that it is over."""
        if not self._ended:
            await self._raw.write(self._frames.send(CloseConnection(code=1000)))


class Tunnel:
    """A stream of bytes in binary messages: SPDY inside of a WebSocket, as port-forward does it."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def read(self) -> bytes:
        """Some bytes; none at the end."""
        while (message := await self._socket.receive()) == b"":
            pass
        return message or b""

    async def write(self, content: bytes) -> None:
        """Returns when there is room for more."""
        await self._socket.send(content)
