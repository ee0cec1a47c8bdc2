"""The agents of nodes as NodeStreams: a node's address is in its object, and its agent answers there.

What is asked is in `cluster.node.endpoint`. Logs are an HTTP answer, piece by piece; everything else is a stream of
frames (`cluster.node.frames`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import h11

from trenza.cluster.api import ApiError as AgentError
from trenza.cluster.client import Connection
from trenza.cluster.keepalives import keep_alive
from trenza.cluster.kinds.resources import Object, find_resource
from trenza.cluster.kinds.status import ApiError, internal_error
from trenza.cluster.node.frames import (
    MAX_PAYLOAD_BYTES,
    RESIZE,
    STATUS,
    STDERR,
    STDIN,
    STDOUT,
    FrameReader,
    open_stream,
    packed,
)
from trenza.cluster.server.nodestreams import CommandOptions, Exited, Joined, LogOptions, Output, Running
from trenza.cluster.server.registry import Registry

PORT = 10250  # a kubelet's, for nodes that do not say
CONNECT_S = 5.0


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
        host, port = await self._address(pod)
        target = _target("containerLogs", pod, options.container, query)
        connection: Connection | None = None
        try:
            async with asyncio.timeout(CONNECT_S):
                connection = Connection(await asyncio.open_connection(host, port, ssl=self.tls))
                keep_alive(connection.writer)
                response = await connection.send("GET", target, [("Host", f"{host}:{port}")], b"")
                if response.status_code != 200:
                    said = b"".join([piece async for piece in connection.body()]).decode(errors="replace")
                    raise _refusal(response.status_code, said)
        except (OSError, h11.ProtocolError) as error:
            if connection is not None:
                connection.close()
            raise _unreachable(f"{host}:{port}: {error or 'it does not answer'}") from error
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        return _pieces(connection)

    async def run(self, pod: Object, options: CommandOptions) -> Running:
        """See NodeStreams."""
        verb = "exec" if options.command else "attach"
        query = [("command", word) for word in options.command]
        query += [(name, "true") for name, on in (("stdin", options.stdin), ("tty", options.tty)) if on]
        return _Command(*await self._stream(pod, _target(verb, pod, options.container, query)))

    async def connect(self, pod: Object, port: int) -> Joined:
        """See NodeStreams."""
        return _Forward(*await self._stream(pod, _target("portForward", pod, "", [("port", str(port))])))

    async def _stream(self, pod: Object, target: str) -> tuple[FrameReader, asyncio.StreamWriter]:
        host, port = await self._address(pod)
        try:
            return await open_stream(host, port, target, tls=self.tls, timeout_s=CONNECT_S)
        except AgentError as error:
            raise _refusal(error.status, error.message) from error

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


async def _pieces(connection: Connection) -> AsyncIterator[bytes]:
    """A log as it comes; then, or when nobody wants more, the connection is closed."""
    try:
        async for piece in connection.body():
            yield piece
    except (OSError, h11.ProtocolError):
        pass  # the node went: the log ends here
    finally:
        connection.close()


@dataclass(slots=True)
class _Stream:
    """Frames both ways."""

    frames: FrameReader
    writer: asyncio.StreamWriter

    async def send(self, channel: int, payload: bytes) -> None:
        for begin in range(0, max(1, len(payload)), MAX_PAYLOAD_BYTES):
            self.writer.write(packed(channel, payload[begin : begin + MAX_PAYLOAD_BYTES]))
        await self.writer.drain()

    async def write(self, content: bytes) -> None:
        if content:
            await self.send(STDIN, content)

    async def close(self) -> None:
        self.writer.close()


@dataclass(slots=True)
class _Command(_Stream):
    """Implements Running."""

    async def read(self) -> Output | Exited:
        try:
            async for frame in self.frames:
                if frame.channel in (STDOUT, STDERR) and frame.payload:
                    return Output(frame.payload, frame.channel == STDERR)
                if frame.channel == STATUS:
                    status = json.loads(frame.payload)
                    return Exited(int(status.get("code", 0)), str(status.get("message", "")))
        except (OSError, EOFError, ValueError) as error:
            return Exited(1, f"the stream of the node broke: {error}")
        return Exited(1, "the node went")

    async def close_stdin(self) -> None:
        await self.send(STDIN, b"")

    async def resize(self, columns: int, rows: int) -> None:
        await self.send(RESIZE, json.dumps({"width": columns, "height": rows}).encode())


@dataclass(slots=True)
class _Forward(_Stream):
    """Implements Joined."""

    async def read(self) -> bytes:
        try:
            async for frame in self.frames:
                if frame.channel == STATUS:
                    raise OSError(str(json.loads(frame.payload).get("message", "refused")))
                if frame.channel == STDOUT:
                    return frame.payload
        except (EOFError, ValueError) as error:
            raise OSError(f"the stream of the node broke: {error}") from error
        return b""

    async def close_writing(self) -> None:
        with contextlib.suppress(OSError):  # the pod's side has ended: nobody waits for this end
            await self.send(STDIN, b"")


def _unreachable(why: str) -> ApiError:
    return internal_error(f"error dialing backend: dial tcp {why}")


def _refusal(status: int, why: str) -> ApiError:
    """What an agent refused, in the server's terms; status 0: it did not answer."""
    match status:
        case 0:
            return _unreachable(why)
        case 404:
            return ApiError(404, "NotFound", why)
        case _ if status < 500:
            return ApiError(400, "BadRequest", why)
        case _:
            return internal_error(why)


def _target(verb: str, pod: Object, container: str, query: Sequence[tuple[str, str]]) -> str:
    metadata = pod["metadata"]
    path = f"/{verb}/{quote(metadata['namespace'])}/{quote(metadata['name'])}"
    if container:
        path += f"/{quote(container)}"
    return f"{path}?{urlencode(query)}" if query else path
