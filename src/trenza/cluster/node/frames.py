"""The stream of `exec`, `attach` and `portForward` between the API server and a host: frames on an upgraded connection.

A client sends `POST /exec/NAMESPACE/POD/CONTAINER?command=…` with `Connection: Upgrade` and `Upgrade: trenza-stream`;
after `101 Switching Protocols` both sides send frames: a channel (one octet), the length of the payload (four octets,
big-endian, 1 MiB at most), the payload.

    0 stdin     to the host      bytes for the command; an empty one says that there is no more
    1 stdout    from the host    bytes; an empty one says that there is no more
    2 stderr    from the host    bytes (never with `tty`)
    3 status    from the host    JSON, last of all: {"code": 0} or {"code": 125…127, "message": …}; then hang up
    4 resize    to the host      JSON: {"width": 80, "height": 24}

With `portForward` only 0 and 1 are used, and 3 where no connection could be made.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from trenza.cluster.api import ApiError
from trenza.cluster.keepalives import keep_alive

UPGRADE: Final = "trenza-stream"
STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
STATUS: Final = 3
RESIZE: Final = 4
MAX_PAYLOAD_BYTES: Final = 1 << 20
_READ_BYTES: Final = 1 << 16
_HEADER: Final = struct.Struct("!BI")


@dataclass(frozen=True, slots=True)
class Frame:
    channel: int
    payload: bytes


def packed(channel: int, payload: bytes) -> bytes:
    return _HEADER.pack(channel, len(payload)) + payload


def status_frame(code: int, message: str = "") -> bytes:
    value: Mapping[str, Any] = {"code": code, "message": message} if message else {"code": code}
    return packed(STATUS, json.dumps(value).encode())


class FrameReader:
    """Frames of a stream, in order; `first` is what was read of it before.

    Iterating raises EOFError for half a frame, ValueError for one that is too large.
    """

    def __init__(self, reader: asyncio.StreamReader, first: bytes = b"") -> None:
        self._reader = reader
        self._buffer = first

    def __aiter__(self) -> FrameReader:
        return self

    async def __anext__(self) -> Frame:
        while True:
            if len(self._buffer) >= _HEADER.size:
                channel, size = _HEADER.unpack_from(self._buffer)
                if size > MAX_PAYLOAD_BYTES:
                    raise ValueError(f"a frame of {size} bytes")
                end = _HEADER.size + size
                if len(self._buffer) >= end:
                    payload, self._buffer = self._buffer[_HEADER.size : end], self._buffer[end:]
                    return Frame(channel, payload)
            data = await self._reader.read(_READ_BYTES)
            if not data and self._buffer:
                raise EOFError("half a frame")
            if not data:
                raise StopAsyncIteration
            self._buffer += data

    def at_end(self) -> bool:
        return self._reader.at_eof()


async def open_stream(
    host: str, port: int, target: str, *, tls: ssl.SSLContext | None = None, timeout_s: float = 5.0
) -> tuple[FrameReader, asyncio.StreamWriter]:
    """The API server's side: a stream for `target` (path and query) of a host. Raises ApiError with HTTP's status."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port, ssl=tls)
            keep_alive(writer)
            head = f"POST {target} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\nUpgrade: {UPGRADE}\r\n"
            writer.write(f"{head}Content-Length: 0\r\n\r\n".encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            status = int(answer.split(None, 2)[1])
            if status != 101:
                length = next(
                    (line.split(b":")[1] for line in answer.lower().split(b"\r\n") if b"length" in line), b"0"
                )
                raise ApiError((await reader.readexactly(int(length))).decode(errors="replace"), status=status)
    except (OSError, EOFError, TimeoutError, ValueError, IndexError, asyncio.LimitOverrunError) as error:
        _close(writer)
        raise ApiError(f"{host}:{port} does not answer ({str(error) or 'too late'})") from error
    except BaseException:
        _close(writer)
        raise
    return FrameReader(reader), writer


def _close(writer: asyncio.StreamWriter | None) -> None:
    if writer is not None:
        writer.close()
