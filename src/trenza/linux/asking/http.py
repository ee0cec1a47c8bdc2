"""HTTP: one GET from a node, and all that was said."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from trenza.linux.asking.http_message import NotHttpError, read_answer, request
from trenza.linux.asking.sockets import NEVER, deadline, words
from trenza.linux.asking.tcp import dialled, received, send_all
from trenza.model.state import IpAddress

_MAX_RECEIVED_BYTES: Final = 2 << 20
"""More than a body that counts takes in chunks of a byte each."""


@dataclass(frozen=True, slots=True)
class HttpSaid:
    """An answer, or the `error` for which there is none. Header names are in lower case.

    `body` is at most 256 KiB of it; what is longer is cut.
    """

    status: int | None
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    error: str | None
    seconds: float


def http_get(
    netns: int,
    address: IpAddress,
    port: int = 80,
    path: str = "/",
    *,
    host: str | None = None,
    timeout_s: float = 2.0,
    headers: Mapping[str, str] = MappingProxyType({}),
    until: float = NEVER,
) -> HttpSaid:
    """GET `path` of a server over a new connection; `host` is the Host header, the address unless it is given.

    Nothing is followed: no redirect, no proxy, no cookie. Raises UsageError for what no request can hold, KernelError.
    """
    begin, end = time.monotonic(), deadline(timeout_s, until)
    where = f"[{address}]" if address.version == 6 else str(address)
    asked = request(path, host or (where if port == 80 else f"{where}:{port}"), headers)
    try:
        with dialled(netns, address, port, end) as sock:
            send_all(sock, asked, end)
            data, answer = b"", None
            while answer is None:
                more = received(sock, end)
                data += more
                answer = read_answer(data, ended=not more or len(data) > _MAX_RECEIVED_BYTES)
                if answer is None and time.monotonic() >= end:  # a server that never stops must not hold us
                    raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
    except OSError as error:
        return HttpSaid(None, "", (), b"", words(error), time.monotonic() - begin)
    except NotHttpError as error:
        return HttpSaid(None, "", (), b"", str(error), time.monotonic() - begin)
    return HttpSaid(answer.status, answer.reason, answer.headers, answer.body, None, time.monotonic() - begin)
