"""The agents of nodes as NodeStreams: a node's address is in its object, its agent answers there on port 10250.

    GET  /containerLogs/NAMESPACE/POD/CONTAINER     follow, previous, timestamps, tailLines, sinceSeconds, limitBytes
    POST /exec/NAMESPACE/POD/CONTAINER              command (repeated), stdin, tty
    POST /attach/NAMESPACE/POD/CONTAINER            stdin
    POST /portForward/NAMESPACE/POD                 port

A POST upgrades to `trenza-stream`: frames both ways, each a channel (one octet), a length (four), a payload.
Channel 0 is stdin and 1 stdout (empty: no more), 2 stderr, 3 the status as JSON (`code`, `message`) and last of all,
4 a terminal's size as JSON (`width`, `height`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import h11

from trenza.cluster.kinds.resources import Object, find_resource
from trenza.cluster.kinds.status import ApiError, internal_error
from trenza.cluster.server.nodestreams import CommandOptions, Exited, Joined, LogOptions, Output, Running
from trenza.cluster.server.registry import Registry

PORT = 10250
CONNECT_S = 5.0
UPGRADE = "trenza-stream"
_STDIN, _STDOUT, _STDERR, _STATUS, _RESIZE = range(5)
_HEADER = struct.Struct("!BI")
_MAX_PAYLOAD_BYTES = 1 << 20
_PIECE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class NodeAgents:
    """Implements NodeStreams. `tls` shows a certificate of the cluster's authority; None is for tests."""

    registry: Registry
    tls: ssl.SSLContext | None

    async def logs(self, pod: Object, options: LogOptions) -> AsyncIterator[bytes]:
        """See NodeStreams."""
        query = [
            (name, value)
            for name, value in (
                ("follow", "true" if options.follow else ""),
                ("previous", "true" if options.previous else ""),
                ("timestamps", "true" if options.timestamps else ""),
                ("tailLines", "" if options.tail_lines is None else str(options.tail_lines)),
                ("sinceSeconds", "" if options.since_s is None else f"{options.since_s:.0f}"),
                ("limitBytes", str(options.limit_bytes) if options.limit_bytes else ""),
            )
            if value
        ]
        link = await self._asked(pod, "GET", _target("containerLogs", pod, options.container, query))
        return link.body()

    async def run(self, pod: Object, options: CommandOptions) -> Running:
        """See NodeStreams."""
        verb = "exec" if options.command else "attach"
        query = [("command", word) for word in options.command]
        query += [(name, "true") for name, on in (("stdin", options.stdin), ("tty", options.tty)) if on]
        return _Command(await self._asked(pod, "POST", _target(verb, pod, options.container, query)))

    async def connect(self, pod: Object, port: int) -> Joined:
        """See NodeStreams."""
        return _Forward(await self._asked(pod, "POST", _target("portForward", pod, "", [("port", str(port))])))

    async def _asked(self, pod: Object, method: str, target: str) -> _Link:
        """A connection to the pod's node on which the agent has accepted the request. Raises ApiError."""
        host, port = await self._address(pod)
        link: _Link | None = None
        try:
            async with asyncio.timeout(CONNECT_S):
                link = _Link(*await asyncio.open_connection(host, port, ssl=self.tls))
                await link.ask(method, target, f"{host}:{port}")
        except (OSError, EOFError, TimeoutError, h11.ProtocolError) as error:
            if link is not None:
                link.close()
            why = str(error) or "it does not answer"
            raise internal_error(f"error dialing backend: dial tcp {host}:{port}: {why}") from error
        except BaseException:
            if link is not None:
                link.close()
            raise
        return link

    async def _address(self, pod: Object) -> tuple[str, int]:
        nodes = find_resource("", "v1", "nodes")
        assert nodes is not None
        name = pod["spec"]["nodeName"]
        node = await self.registry.read(nodes, "", name)
        status = node.get("status") or {}
        known = {one.get("type"): one.get("address") for one in status.get("addresses") or ()}
        address = known.get("InternalIP") or known.get("Hostname")
        if not address:
            raise internal_error(f"node {name} has no address")
        endpoint = (status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}
        return str(address), int(endpoint.get("Port") or PORT)


@dataclass(slots=True)
class _Link:
    """A connection to an agent: a request, its answer, then a body or frames."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    _http: h11.Connection = field(default_factory=lambda: h11.Connection(h11.CLIENT))
    _buffer: bytes = b""

    async def ask(self, method: str, target: str, host: str) -> None:
        headers = [("Host", host), ("Content-Length", "0")]
        if method == "POST":
            headers += [("Connection", "Upgrade"), ("Upgrade", UPGRADE)]
        request = self._http.send(h11.Request(method=method, target=target, headers=headers)) or b""
        self.writer.write(request + (self._http.send(h11.EndOfMessage()) or b""))
        event = await self._event()
        if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
            self._buffer = self._http.trailing_data[0]
        elif isinstance(event, h11.Response) and event.status_code != 200:
            said = b"".join([piece async for piece in self.body()]).decode(errors="replace")
            raise ApiError(event.status_code, "BadRequest" if event.status_code == 400 else "NotFound", said)
        elif not isinstance(event, h11.Response):
            raise EOFError("the agent closed the connection")

    async def body(self) -> AsyncIterator[bytes]:
        try:
            while isinstance(event := await self._event(), h11.Data):
                yield bytes(event.data)
        finally:
            self.close()

    async def _event(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self.reader.read(_PIECE_BYTES))
        return event

    async def frame(self) -> tuple[int, bytes] | None:
        """The next frame, None at the end."""
        while True:
            if len(self._buffer) >= _HEADER.size:
                channel, size = _HEADER.unpack_from(self._buffer)
                if size > _MAX_PAYLOAD_BYTES:
                    raise OSError(f"the agent sent a frame of {size} bytes")
                end = _HEADER.size + size
                if len(self._buffer) >= end:
                    payload, self._buffer = self._buffer[_HEADER.size : end], self._buffer[end:]
                    return channel, payload
            content = await self.reader.read(_PIECE_BYTES)
            if not content:
                return None
            self._buffer += content

    async def send(self, channel: int, payload: bytes) -> None:
        for begin in range(0, max(1, len(payload)), _MAX_PAYLOAD_BYTES):
            part = payload[begin : begin + _MAX_PAYLOAD_BYTES]
            self.writer.write(_HEADER.pack(channel, len(part)) + part)
        await self.writer.drain()

    def close(self) -> None:
        self.writer.close()


@dataclass(slots=True)
class _Command:
    """Implements Running."""

    link: _Link

    async def read(self) -> Output | Exited:
        while (frame := await self.link.frame()) is not None:
            channel, payload = frame
            if channel in (_STDOUT, _STDERR) and payload:
                return Output(payload, channel == _STDERR)
            if channel == _STATUS:
                status = json.loads(payload)
                return Exited(int(status.get("code", 0)), str(status.get("message", "")))
        return Exited(1, "the node's agent went")

    async def write(self, content: bytes) -> None:
        if content:
            await self.link.send(_STDIN, content)

    async def close_stdin(self) -> None:
        await self.link.send(_STDIN, b"")

    async def resize(self, columns: int, rows: int) -> None:
        await self.link.send(_RESIZE, json.dumps({"width": columns, "height": rows}).encode())

    async def close(self) -> None:
        self.link.close()


@dataclass(slots=True)
class _Forward:
    """Implements Joined."""

    link: _Link

    async def read(self) -> bytes:
        while (frame := await self.link.frame()) is not None:
            channel, payload = frame
            if channel == _STATUS:
                raise OSError(str(json.loads(payload).get("message", "refused")))
            if channel == _STDOUT:
                return payload
        return b""

    async def write(self, content: bytes) -> None:
        if content:
            await self.link.send(_STDIN, content)

    async def close_writing(self) -> None:
        with contextlib.suppress(OSError):
            await self.link.send(_STDIN, b"")

    async def close(self) -> None:
        self.link.close()


def _target(verb: str, pod: Object, container: str, query: Sequence[tuple[str, str]]) -> str:
    metadata = pod["metadata"]
    path = f"/{verb}/{quote(metadata['namespace'])}/{quote(metadata['name'])}"
    if container:
        path += f"/{quote(container)}"
    return f"{path}?{urlencode(query)}" if query else path
