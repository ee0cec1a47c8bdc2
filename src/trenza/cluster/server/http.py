"""HTTP/1.1 on asyncio's streams and h11: requests in, answers out whole or piece by piece, upgrades handed over raw.

One task a connection. While an answer is being streamed the connection is read too, so that a client that has gone ends
its watch at once; one that is there and does not read is dropped after `SLOW_S`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import h11

from trenza.cluster.keepalives import keep_alive

MAX_BODY_BYTES = 3 * 1024 * 1024  # what Kubernetes reads at most
MAX_HEADER_BYTES = 64 * 1024  # the commands of exec are in the path
WAITING_BYTES = 1024 * 1024  # for a client that reads slowly
SLOW_S = 30.0
IDLE_S = 600.0
HANDSHAKE_S = 10.0
BODY_S = 60.0
_CLOSING_S = 2.0
_PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks. Header names are lower case; of a header sent twice the texts are joined by commas."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes
    certificate: Mapping[str, Any] | None = None
    peer: str = ""

    def header(self, name: str) -> str:
        """A header, "" if it is not there."""
        return self.headers.get(name, "")

    @property
    def parameters(self) -> dict[str, str]:
        """The query, of a parameter given twice the first."""
        return dict(reversed(self.query))

    def values(self, name: str) -> tuple[str, ...]:
        """Every value of a parameter, in order."""
        return tuple(value for key, value in self.query if key == name)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. A body of pieces is sent chunked, each piece when it is there."""

    status: int
    body: bytes | AsyncIterator[bytes] = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Raw:
    """A connection after its upgrade: bytes both ways. `rest` has been read already."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    rest: bytes = b""

    async def read(self) -> bytes:
        """Some bytes; none at the end."""
        if self.rest:
            rest, self.rest = self.rest, b""
            return rest
        return await self.reader.read(_PIECE_BYTES)

    async def write(self, content: bytes) -> None:
        """Returns when the client has room for more."""
        self.writer.write(content)
        await self.writer.drain()


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The answer 101: the connection is `serve`'s until it returns."""

    headers: tuple[tuple[str, str], ...]
    serve: Callable[[Raw], Awaitable[None]]


Answer = Response | Upgrade
Handler = Callable[[Request], Awaitable[Answer]]


@dataclass(slots=True)
class HttpServer:
    """Answers by `handler`, which never raises but for being cancelled. `close` ends every connection."""

    handler: Handler
    idle_s: float = IDLE_S
    slow_s: float = SLOW_S
    _connections: set[asyncio.Task[None]] = field(default_factory=set)
    _servers: list[asyncio.Server] = field(default_factory=list)

    async def listen(self, host: str, port: int, tls: ssl.SSLContext) -> int:
        """Begin; the port, which is chosen by the kernel for 0."""
        server = await asyncio.start_server(
            self._connected, host, port, ssl=tls, limit=_PIECE_BYTES, ssl_handshake_timeout=HANDSHAKE_S
        )
        self._servers.append(server)
        found: int = server.sockets[0].getsockname()[1]
        return found

    async def listen_on(self, listener: socket.socket, tls: ssl.SSLContext) -> None:
        """Begin on a socket that listens already, of whatever family and namespace."""
        server = await asyncio.start_server(
            self._connected, sock=listener, ssl=tls, limit=_PIECE_BYTES, ssl_handshake_timeout=HANDSHAKE_S
        )
        self._servers.append(server)

    async def close(self) -> None:
        """No more connections, and an end to those that are there."""
        for server in self._servers:
            server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        writer.transport.set_write_buffer_limits(high=WAITING_BYTES)
        keep_alive(writer)
        try:
            await _Connection(self, reader, writer).serve()
        except (OSError, EOFError, TimeoutError, h11.ProtocolError, ssl.SSLError):
            pass  # the client went, dawdled, or spoke no HTTP
        except asyncio.CancelledError:
            pass  # `close`
        finally:
            self._connections.discard(task)
            await _closed(writer, now=bool(task.cancelling()))


async def _closed(writer: asyncio.StreamWriter, *, now: bool) -> None:
    """Close a connection: what is written is sent, unless it has to be `now` or the client does not take it."""
    if not now:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            try:
                async with asyncio.timeout(_CLOSING_S):
                    await writer.wait_closed()
                return
            except TimeoutError:
                pass
    with contextlib.suppress(AttributeError):  # Python 3.11: a TLS transport that is closed has no protocol any more
        writer.transport.abort()


class _Connection:
    """One client's connection: request after request."""

    def __init__(self, server: HttpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER_BYTES)
        certificate = writer.get_extra_info("peercert")
        self._certificate: Mapping[str, Any] | None = certificate or None
        peer = writer.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) else ""

    async def serve(self) -> None:
        """Until the client goes, an upgrade ends, or something cannot be understood."""
        while True:
            try:
                async with asyncio.timeout(self._server.idle_s):
                    event = await self._event()
                if not isinstance(event, h11.Request):
                    return
                async with asyncio.timeout(BODY_S):
                    request = await self._request(event)
            except h11.RemoteProtocolError as error:
                await self._refuse(error.error_status_hint or 400, str(error))
                return
            except ValueError as error:  # a target that is no URL, or has too many parameters
                await self._refuse(400, str(error))
                return
            if request is None:
                await self._refuse(413, "Request entity too large: limit is 3145728")
                return
            answer = await self._server.handler(request)
            if isinstance(answer, Upgrade):
                await self._upgrade(answer)
                return
            await self._answer(request, answer)
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _event(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[])
                    self._writer.write(self._http.send(go_on) or b"")
                self._http.receive_data(await self._reader.read(_PIECE_BYTES))
            else:
                assert not isinstance(event, type) or event is h11.PAUSED
                return event

    async def _request(self, event: h11.Request) -> Request | None:
        """The request with its body; None if that is too large."""
        pieces, size = [], 0
        while True:
            part = await self._event()
            if isinstance(part, h11.Data):
                size += len(part.data)
                if size > MAX_BODY_BYTES:
                    return None
                pieces.append(bytes(part.data))
            elif isinstance(part, h11.EndOfMessage):
                break
            else:
                raise EOFError("the client went in the middle of a request")
        headers: dict[str, str] = {}
        for name, value in event.headers:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            headers[key] = f"{headers[key]},{text}" if key in headers else text
        target = urlsplit(event.target.decode("latin-1"))
        query = tuple(parse_qsl(target.query, keep_blank_values=True, max_num_fields=1000))
        method = event.method.decode("latin-1")
        return Request(method, unquote(target.path), query, headers, b"".join(pieces), self._certificate, self._peer)

    async def _answer(self, request: Request, answer: Response) -> None:
        headers = [("Content-Type", answer.content_type), ("Cache-Control", "no-cache, private"), *answer.headers]
        if isinstance(answer.body, bytes):
            headers.append(("Content-Length", str(len(answer.body))))
        response = h11.Response(
            status_code=answer.status, headers=headers, reason=HTTPStatus(answer.status).phrase.encode()
        )
        head = self._http.send(response) or b""
        if isinstance(answer.body, bytes):
            body = b"" if request.method == "HEAD" else self._http.send(h11.Data(data=answer.body)) or b""
            await self._send(head + body + (self._http.send(h11.EndOfMessage()) or b""))
        else:
            await self._send(head)
            await self._stream(answer.body)

    async def _stream(self, pieces: AsyncIterator[bytes]) -> None:
        """Piece by piece, until the end or until the client goes."""
        sending = asyncio.create_task(self._send_pieces(pieces))
        listening = asyncio.create_task(self._reader.read(1))
        try:
            await asyncio.wait((sending, listening), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
            # Otherwise the client has gone, or speaks before it has its answer: no client of Kubernetes does.
        finally:
            sending.cancel()
            listening.cancel()
            await asyncio.gather(sending, listening, return_exceptions=True)
            close = getattr(pieces, "aclose", None)
            if close is not None:
                await close()
        if not sending.cancelled() and listening.cancelled():
            return
        raise EOFError("the client went")

    async def _send_pieces(self, pieces: AsyncIterator[bytes]) -> None:
        async for piece in pieces:
            if piece:
                await self._send(self._http.send(h11.Data(data=piece)) or b"")
        await self._send(self._http.send(h11.EndOfMessage()) or b"")

    async def _send(self, content: bytes) -> None:
        self._writer.write(content)
        try:
            async with asyncio.timeout(self._server.slow_s):
                await self._writer.drain()
        except TimeoutError:
            self._writer.transport.abort()
            raise

    async def _upgrade(self, answer: Upgrade) -> None:
        switching = h11.InformationalResponse(
            status_code=101, headers=list(answer.headers), reason=b"Switching Protocols"
        )
        await self._send(self._http.send(switching) or b"")
        rest, _ = self._http.trailing_data
        await answer.serve(Raw(self._reader, self._writer, rest))

    async def _refuse(self, status: int, why: str) -> None:
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = why.encode()
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("Connection", "close")]
        with contextlib.suppress(h11.LocalProtocolError):  # an answer had begun: there is no place for another
            content = self._http.send(h11.Response(status_code=status, headers=headers)) or b""
            content += self._http.send(h11.Data(data=body)) or b""
            await self._send(content + (self._http.send(h11.EndOfMessage()) or b""))
