"""One kept-alive HTTP/1.1 connection of a client: a request, then its answer whole or piece by piece.

h11 speaks the protocol. A general client costs an etcd's gateway two thirds of its requests per second, and half of
them again when many are waiting.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Self
from urllib.parse import urlsplit

import h11

_PIECE_BYTES = 256 * 1024


class HttpConnection:
    """A connection to the server of `url`. Everything may raise OSError, h11.ProtocolError, and EOFError at its end."""

    def __init__(self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host = host
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT)

    @classmethod
    async def open(cls, url: str, tls: ssl.SSLContext | None) -> Self:
        """Connect; `tls` is for https and is asked to know the server."""
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        context = (tls or ssl.create_default_context()) if secure else None
        reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context, limit=4 * _PIECE_BYTES)
        return cls(parts.netloc, reader, writer)

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent: the last answer was read whole, and the server has not hung up."""
        idle = self._http.our_state is h11.IDLE and self._http.their_state is h11.IDLE
        return idle and not self._reader.at_eof() and not self._writer.is_closing()

    async def post(self, path: str, body: bytes) -> int:
        """Send a request of JSON; the status of its answer, whose body `pieces` then has."""
        headers = [("Host", self._host), ("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        events: list[h11.Event] = [h11.Request(method="POST", target=path, headers=headers)]
        events += [h11.Data(data=body), h11.EndOfMessage()]
        self._writer.write(b"".join(self._http.send(event) or b"" for event in events))
        await self._writer.drain()
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Response):
                return event.status_code

    async def pieces(self) -> AsyncIterator[bytes]:
        """The answer's body as it comes; behind it the connection is reusable, if the server keeps it."""
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()

    def close(self) -> None:
        """Hang up, without waiting for the server to agree."""
        self._writer.transport.abort()

    async def _next_event(self) -> h11.Event:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                data = await self._reader.read(_PIECE_BYTES)
                if not data:
                    raise EOFError("the server hung up")
                self._http.receive_data(data)
            elif isinstance(event, h11.Event):
                return event
            else:
                raise EOFError("the server has said all it will")
