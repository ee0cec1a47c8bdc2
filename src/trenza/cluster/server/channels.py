"""The two ways in which a client talks to a command: messages of a WebSocket, and streams of SPDY.

A `Channels` gives what the client says, takes what the command says, and tells how it ended.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from trenza.cluster.kinds.resources import Object
from trenza.cluster.server import spdy
from trenza.cluster.server.http import Raw
from trenza.cluster.server.nodestreams import CommandOptions, Exited, Output
from trenza.cluster.server.stored import encoded
from trenza.cluster.server.websockets import WebSocket

OPENING_S = 30.0
LINGER_S = 5.0
_STDIN, _STDOUT, _STDERR, _ERROR, _RESIZE, _CLOSE = 0, 1, 2, 3, 4, 255
_CANCEL = 5
_SIZES = range(1 << 16)  # a terminal's, as the kernel holds them


@dataclass(frozen=True, slots=True)
class Typed:
    """Bytes for the command's stdin."""

    content: bytes


@dataclass(frozen=True, slots=True)
class StdinEnded:
    """There is no more of it."""


@dataclass(frozen=True, slots=True)
class Resized:
    """The client's terminal has another size."""

    columns: int
    rows: int


Said = Typed | StdinEnded | Resized


class Channels(Protocol):
    """One client of a command."""

    async def receive(self) -> Said | None:
        """What the client says next, None when it has gone."""

    async def send(self, output: Output) -> None: ...

    async def finish(self, exited: Exited) -> None:
        """Tell how it ended, and wait a little until the client has heard it."""


def exit_status(exited: Exited) -> Object:
    """The Status that ends the error channel, as clients read an exit code out of it."""
    if exited.error:
        return {
            "metadata": {},
            "status": "Failure",
            "message": exited.error,
            "reason": "InternalError",
            "details": {"causes": [{"message": exited.error}]},
            "code": 500,
        }
    if exited.code:
        return {
            "metadata": {},
            "status": "Failure",
            "message": f"command terminated with non-zero exit code: exit status {exited.code}",
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": str(exited.code)}]},
        }
    return {"metadata": {}, "status": "Success"}


class WebSocketChannels:
    """`v4.channel.k8s.io` and `v5.channel.k8s.io`: the first byte of a message is its channel."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def receive(self) -> Said | None:
        """See Channels."""
        while (message := await self._socket.receive()) is not None:
            if not message:
                continue
            channel, content = message[0], message[1:]
            if channel == _STDIN and content:
                return Typed(content)
            if channel == _CLOSE and content[:1] == bytes([_STDIN]):
                return StdinEnded()
            if channel == _RESIZE and (resized := _resized(content)) is not None:
                return resized
        return None

    async def send(self, output: Output) -> None:
        """See Channels."""
        await self._socket.send(bytes([_STDERR if output.stderr else _STDOUT]) + output.content)

    async def finish(self, exited: Exited) -> None:
        """See Channels."""
        await self._socket.send(bytes([_ERROR]) + encoded(exit_status(exited)))
        await self._socket.close()
        async with asyncio.timeout(LINGER_S):
            while await self._socket.receive() is not None:
                pass


class SpdyChannels:
    """`v4.channel.k8s.io` over SPDY: a stream for each channel, all opened by the client."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._spdy = spdy.SpdyConnection()
        self._streams: dict[str, int] = {}
        self._kinds: dict[int, str] = {}
        self._waiting: list[Said] = []
        self._resize = b""

    async def open(self, options: CommandOptions) -> bool:
        """Wait for the streams that the options speak of; whether they came."""
        wanted = set(_streams(options))
        try:
            async with asyncio.timeout(OPENING_S):
                while not wanted <= self._streams.keys():
                    if not await self._read():
                        return False
        except TimeoutError:
            return False
        return True

    async def receive(self) -> Said | None:
        """See Channels."""
        while not self._waiting:
            if not await self._read():
                return None
        return self._waiting.pop(0)

    async def _read(self) -> bool:
        content = await self._raw.read()
        if not content:
            return False
        try:
            for event in self._spdy.receive(content):
                if not await self._take(event):
                    return False
        except spdy.SpdyError:
            return False
        return True

    async def _take(self, event: spdy.Event) -> bool:
        match event:
            case spdy.Opened(stream, headers, fin):
                kind = headers.get("streamtype", "")
                self._streams[kind], self._kinds[stream] = stream, kind
                await self._raw.write(self._spdy.replied(stream))
                if fin and kind == "stdin":
                    self._waiting.append(StdinEnded())
            case spdy.Data(stream, content, fin):
                self._data(self._kinds.get(stream, ""), content, fin)
            case spdy.Reset(stream, _):
                if self._kinds.get(stream) == "stdin":
                    self._waiting.append(StdinEnded())
            case spdy.Pinged(number):
                await self._raw.write(spdy.ping(number))
            case spdy.GoneAway():
                return False
            case _:
                pass
        return True

    def _data(self, kind: str, content: bytes, fin: bool) -> None:
        if kind == "stdin":
            if content:
                self._waiting.append(Typed(content))
            if fin:
                self._waiting.append(StdinEnded())
        elif kind == "resize":
            *whole, self._resize = (self._resize + content).split(b"\n")
            self._resize = self._resize[-256:]
            self._waiting += [one for line in whole if (one := _resized(line)) is not None]

    async def send(self, output: Output) -> None:
        """See Channels."""
        stream = self._streams.get("stderr" if output.stderr else "stdout")
        if stream is not None and output.content:
            await self._raw.write(spdy.data(stream, output.content))

    async def finish(self, exited: Exited) -> None:
        """See Channels."""
        ending = b"".join(
            spdy.data(stream, b"", fin=True) for kind, stream in self._streams.items() if kind in ("stdout", "stderr")
        )
        if "error" in self._streams:
            # Nothing is what the protocol says for success.
            content = encoded(exit_status(exited)) if exited.code or exited.error else b""
            ending += spdy.data(self._streams["error"], content, fin=True)
        if "stdin" in self._streams:
            ending += spdy.reset(self._streams["stdin"], _CANCEL)
        await self._raw.write(ending)
        async with asyncio.timeout(LINGER_S):
            while await self._read():
                self._waiting.clear()


def _streams(options: CommandOptions) -> Iterable[str]:
    yield "error"
    if options.stdin:
        yield "stdin"
    if options.stdout:
        yield "stdout"
    if options.stderr and not options.tty:
        yield "stderr"
    if options.tty:
        yield "resize"


def _resized(content: bytes) -> Resized | None:
    try:
        size = json.loads(content)
        columns, rows = int(size["Width"]), int(size["Height"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
    return Resized(columns, rows) if columns in _SIZES and rows in _SIZES else None
