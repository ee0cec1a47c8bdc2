"""The messages between client and keeper, nothing else: frames on a unix socket, descriptors beside them.

A frame is four bytes of length, big endian, then that many bytes: a JSON object, or, if the length's highest bit is
set, raw bytes (what a terminal wrote). A request names how many descriptors travel with it as `descriptors`.

    client → keeper   {"verb": …, …} then, while a command runs: raw input, {"resize": [rows, columns]}, {"signal": 2}
    keeper → client   any number of {"event": …}, {"progress": …}, raw output; then {"result": …} or {"error": …}

Both sides close the connection when the answer is complete. Standard library only, and little of it.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from trenza.errors import KeeperError

Message = dict[str, Any]
_LENGTH = struct.Struct("!I")
_RAW = 0x8000_0000
MAX_FRAME_BYTES = 64 << 20
MAX_DESCRIPTORS = 8
CHUNK_BYTES = 1 << 16


def encode(message: Mapping[str, Any] | bytes) -> bytes:
    """A message or raw bytes as a frame."""
    if isinstance(message, bytes):
        return _LENGTH.pack(len(message) | _RAW) + message
    # What is no Unicode (a file's name in a node may be any bytes) travels as JSON's own escape for it.
    body = json.dumps(message, ensure_ascii=False).encode(errors="backslashreplace")
    return _LENGTH.pack(len(body)) + body


class Decoder:
    """Bytes in, messages out. Raises KeeperError on a frame that no trenza would send."""

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message | bytes]:
        """The messages that are complete with these bytes."""
        self._buffer += data
        messages: list[Message | bytes] = []
        while len(self._buffer) >= _LENGTH.size:
            (word,) = _LENGTH.unpack_from(self._buffer)
            size = word & ~_RAW
            if size > self._max_frame_bytes:
                raise KeeperError(f"a frame of {size} bytes is larger than {self._max_frame_bytes}")
            if len(self._buffer) < _LENGTH.size + size:
                break
            body = bytes(self._buffer[_LENGTH.size : _LENGTH.size + size])
            del self._buffer[: _LENGTH.size + size]
            messages.append(body if word & _RAW else _object(body))
        return messages


def _object(body: bytes) -> Message:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise KeeperError("a frame does not hold JSON") from error
    if not isinstance(message, dict):
        raise KeeperError("a frame does not hold an object")
    return message


class Channel:
    """A connected socket of the client's side: send and receive whole messages, blocking."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._decoder = Decoder()
        self._waiting: list[Message | bytes] = []

    def send(self, message: Mapping[str, Any] | bytes, descriptors: Sequence[int] = ()) -> None:
        """Send one message; descriptors ride on its first byte. Raises KeeperError if the other side has gone."""
        frame = encode(message)
        try:
            if descriptors:
                frame = frame[socket.send_fds(self.socket, [frame], list(descriptors)) :]
            if frame:  # sending nothing to one who answered and closed already would be an error
                self.socket.sendall(frame)
        except ConnectionError as error:
            raise KeeperError("the keeper ended before it was asked", hint="the next command starts another") from error

    def receive(self) -> Message | bytes | None:
        """The next message, or None when the other side closed."""
        while not self._waiting:
            data = self.socket.recv(CHUNK_BYTES)
            if not data:
                return None
            self._waiting = self._decoder.feed(data)
        return self._waiting.pop(0)

    def pending(self) -> bool:
        """Whether a message was received already and waits."""
        return bool(self._waiting)

    def close(self) -> None:
        self.socket.close()
