"""HTTP/1.1 as bytes: a request, and the answer in what was received (RFC 9112). No socket here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from trenza.errors import UsageError

MAX_HEAD_BYTES: Final = 64 << 10
MAX_BODY_BYTES: Final = 256 << 10
_MAX_STATUS_LINE: Final = 1024


class NotHttpError(ValueError):
    """What was received is no answer to a request; the text says why."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer: header names in lower case, in the order they came; at most MAX_BODY_BYTES of its body."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def find_header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


def request(path: str, host: str, headers: Mapping[str, str]) -> bytes:
    """A GET whose answer ends the connection. Raises UsageError where a line would not stay one."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}"]
    given = {name.lower() for name in headers}
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [line for line in ("User-Agent: trenza", "Connection: close") if line.split(":")[0].lower() not in given]
    if any(ord(character) < 32 or ord(character) == 127 for line in lines for character in line) or " " in path:
        raise UsageError(
            f"no request can be made of {path!r}, {host!r} and {dict(headers)!r}", hint="/a%20b for '/a b'"
        )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_answer(data: bytes, *, ended: bool) -> HttpAnswer | None:
    """The answer in what was received so far; None while it is not whole, which at the `ended` of it is an error.

    Answers before the last one (1xx) are passed over. Raises NotHttpError.
    """
    while True:
        head, blank, rest = data.partition(b"\r\n\r\n")
        first = head.split(b"\r\n", 1)[0][:_MAX_STATUS_LINE]
        if not b"HTTP/1.".startswith(first[:7]):
            raise NotHttpError("no HTTP answer")
        if not blank:
            if len(head) > MAX_HEAD_BYTES:
                raise NotHttpError("a head of more than 64 KiB")
            if ended:
                raise NotHttpError("closed before an answer" if not data else "closed within the head of an answer")
            return None
        status, reason = _status(first)
        if not 100 <= status < 200:
            break
        data = rest
    headers = _headers(head)
    body = _body(dict(reversed(headers)), rest, ended=ended or status in (204, 304))
    return None if body is None else HttpAnswer(status, reason, headers, body[:MAX_BODY_BYTES])


def _status(line: bytes) -> tuple[int, str]:
    words = line.decode("latin-1").split(" ", 2)
    if len(words) < 2 or len(words[1]) != 3 or not words[1].isascii() or not words[1].isdigit():
        raise NotHttpError("no status in the answer")
    return int(words[1]), words[2].strip() if len(words) > 2 else ""


def _headers(head: bytes) -> tuple[tuple[str, str], ...]:
    pairs = (line.decode("latin-1").partition(":") for line in head.split(b"\r\n")[1:])
    return tuple((name.strip().lower(), value.strip()) for name, _, value in pairs if name.strip())


def _body(headers: Mapping[str, str], rest: bytes, *, ended: bool) -> bytes | None:
    """The body, or None while more of it may come that counts."""
    if headers.get("transfer-encoding", "").lower().endswith("chunked"):
        return _unchunked(rest, ended=ended)
    length = headers.get("content-length", "")
    if length.isascii() and length.isdigit() and len(length) < 16:
        wanted = min(int(length), MAX_BODY_BYTES)
        if len(rest) >= wanted:
            return rest[:wanted]
    return rest if ended or len(rest) >= MAX_BODY_BYTES else None


def _unchunked(rest: bytes, *, ended: bool) -> bytes | None:
    parts: list[bytes] = []
    at = size = 0
    while size < MAX_BODY_BYTES:
        line_end = rest.find(b"\r\n", at)
        if line_end < 0:
            break
        try:
            length = int(rest[at:line_end].split(b";", 1)[0].decode("ascii"), 16)
        except ValueError:
            raise NotHttpError("a chunk without a length") from None
        if length < 0:
            raise NotHttpError("a chunk without a length")
        if length == 0:
            return b"".join(parts)
        part = rest[line_end + 2 : line_end + 2 + length]
        parts.append(part)
        size += len(part)
        if len(part) < length:
            break
        at = line_end + 2 + length + 2
    return b"".join(parts) if ended or size >= MAX_BODY_BYTES else None
