"""SPDY/3.1 as Kubernetes' streams use it: bytes in, events out, and frames to send; no socket in sight.

Streams are opened by the client alone. Nobody in Kubernetes minds the flow-control windows, so they are read over and
never sent. The header blocks of each direction share one zlib stream, with the dictionary of the draft (section
2.6.10.1) in it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from trenza.errors import TrenzaError

VERSION = 3
MAX_FRAME_BYTES = 1 << 20
MAX_HEADERS_BYTES = 1 << 16
_FIN = 1
_CONTROL = 0x8000

_PLAIN_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age "
    "allow authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status"
)
_WORDS = (*_PLAIN_WORDS.split(), "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = b"".join(struct.pack(">I", len(word)) + word.encode() for word in _WORDS) + _TEXT.encode()


class SpdyError(TrenzaError):
    """The peer sent what is no SPDY/3.1, or more than is good."""

    code = "spdy"


class Frame(IntEnum):
    """The types of control frames."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


@dataclass(frozen=True, slots=True)
class Opened:
    """The peer opened a stream; with `fin` it will send nothing on it. Header names are lower case."""

    stream: int
    headers: Mapping[str, str]
    fin: bool = False


@dataclass(frozen=True, slots=True)
class Replied:
    """The peer accepted a stream of ours."""

    stream: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a stream; with `fin` its last."""

    stream: int
    content: bytes
    fin: bool = False


@dataclass(frozen=True, slots=True)
class Reset:
    """The peer gave a stream up."""

    stream: int
    status: int


@dataclass(frozen=True, slots=True)
class Pinged:
    """Send the ping back."""

    id: int


@dataclass(frozen=True, slots=True)
class GoneAway:
    """The peer opens no more streams."""


Event = Opened | Replied | Data | Reset | Pinged | GoneAway


class SpdyConnection:
    """One end of a connection. `receive` raises SpdyError, after which the connection cannot be used."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def receive(self, content: bytes) -> Iterator[Event]:
        """What the bytes say, as far as whole frames are there."""
        self._buffer += content
        while len(self._buffer) >= 8:
            first, second = struct.unpack_from(">II", self._buffer)
            flags, length = second >> 24, second & 0xFFFFFF
            if length > MAX_FRAME_BYTES:
                raise SpdyError(f"a frame of {length} bytes")
            if len(self._buffer) < 8 + length:
                return
            body = bytes(self._buffer[8 : 8 + length])
            del self._buffer[: 8 + length]
            if first >> 31:
                yield from self._control(first >> 16 & ~_CONTROL, first & 0xFFFF, flags, body)
            else:
                yield Data(first, body, bool(flags & _FIN))

    def opened(self, stream: int, headers: Mapping[str, str], *, fin: bool = False) -> bytes:
        """A SYN_STREAM."""
        body = struct.pack(">IIH", stream, 0, 0) + self._packed(headers)
        return _control(Frame.SYN_STREAM, body, _FIN if fin else 0)

    def replied(self, stream: int, headers: Mapping[str, str] | None = None) -> bytes:
        """A SYN_REPLY: the stream is accepted."""
        return _control(Frame.SYN_REPLY, struct.pack(">I", stream) + self._packed(headers or {}))

    def _control(self, version: int, frame: int, flags: int, body: bytes) -> Iterator[Event]:
        if version != VERSION:
            raise SpdyError(f"SPDY version {version}")
        try:
            match frame:
                case Frame.SYN_STREAM:
                    (stream,) = struct.unpack_from(">I", body)
                    yield Opened(stream & 0x7FFFFFFF, self._unpacked(body[10:]), bool(flags & _FIN))
                case Frame.SYN_REPLY:
                    (stream,) = struct.unpack_from(">I", body)
                    yield Replied(stream & 0x7FFFFFFF, self._unpacked(body[4:]))
                case Frame.HEADERS:
                    self._unpacked(body[4:])  # read, because the zlib stream goes on
                case Frame.RST_STREAM:
                    yield Reset(*struct.unpack(">II", body))
                case Frame.PING:
                    yield Pinged(*struct.unpack(">I", body))
                case Frame.GOAWAY:
                    yield GoneAway()
                case _:
                    pass
        except struct.error as error:
            raise SpdyError(f"a frame of type {frame} is cut off") from error

    def _packed(self, headers: Mapping[str, str]) -> bytes:
        block = struct.pack(">I", len(headers))
        for name, value in headers.items():
            for text in (name.lower().encode(), value.encode()):
                block += struct.pack(">I", len(text)) + text
        return self._deflate.compress(block) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def _unpacked(self, block: bytes) -> dict[str, str]:
        try:
            content = self._inflate.decompress(block, MAX_HEADERS_BYTES)
        except zlib.error as error:
            raise SpdyError(f"a header block: {error}") from error
        if self._inflate.unconsumed_tail:
            raise SpdyError("headers are too large")
        headers, at = {}, 4
        for _ in range(*struct.unpack_from(">I", content)):
            name, at = _text(content, at)
            value, at = _text(content, at)
            headers[name.lower()] = value
        return headers


def data(stream: int, content: bytes, *, fin: bool = False) -> bytes:
    """A data frame."""
    return struct.pack(">II", stream, (_FIN if fin else 0) << 24 | len(content)) + content


def reset(stream: int, status: int) -> bytes:
    """A RST_STREAM: 1 protocol error, 3 refused, 5 cancel, 6 internal error."""
    return _control(Frame.RST_STREAM, struct.pack(">II", stream, status))


def ping(number: int) -> bytes:
    """A PING, or the answer to one."""
    return _control(Frame.PING, struct.pack(">I", number))


def _control(frame: Frame, body: bytes, flags: int = 0) -> bytes:
    return struct.pack(">HHI", _CONTROL | VERSION, frame, flags << 24 | len(body)) + body


def _text(content: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">I", content, at)
    end = at + 4 + length
    if end > len(content):
        raise SpdyError("a header is cut off")
    return content[at + 4 : end].decode("utf-8", "replace"), end
