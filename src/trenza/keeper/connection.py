"""One connection of a client: requests in, answers out, without ever blocking the keeper's loop on a slow reader."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from trenza.errors import KeeperError, LabFileError, TrenzaError
from trenza.linux.descriptors import received
from trenza.wire import CHUNK_BYTES, MAX_DESCRIPTORS, Decoder, Message, encode

MAX_VISITORS_FRAME_BYTES = 4096
MAX_QUEUED_BYTES = 8 << 20
"""A client that reads a stream (events, a terminal) more slowly than this is dropped; an answer may be larger."""


class Connection:
    """Wraps a connected unix socket in the running loop. `closed` is set when the client has gone."""

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop, *, trusted: bool = True) -> None:
        """`trusted` is the lab's owner; anybody else sends small messages and no descriptors."""
        sock.setblocking(False)
        self.sock = sock
        self.loop = loop
        self.descriptors: deque[int] = deque()
        self.closed = asyncio.Event()
        self._trusted = trusted
        self._decoder = Decoder() if trusted else Decoder(MAX_VISITORS_FRAME_BYTES)
        self._inbox: asyncio.Queue[Message | bytes | None] = asyncio.Queue()
        self._outbox = bytearray()
        self._drained = asyncio.Event()
        self._drained.set()
        loop.add_reader(sock.fileno(), self._read)

    def _read(self) -> None:
        try:
            descriptors: list[int] = []
            if self._trusted:
                data, descriptors = received(self.sock, CHUNK_BYTES, MAX_DESCRIPTORS)
            else:
                data = self.sock.recv(MAX_VISITORS_FRAME_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.descriptors.extend(descriptors)
        if not data:
            self._gone()
            return
        try:
            for message in self._decoder.feed(data):
                self._inbox.put_nowait(message)
        except KeeperError:
            self._gone()

    def _gone(self) -> None:
        if not self.closed.is_set():
            self.closed.set()
            self.loop.remove_reader(self.sock.fileno())
            self._inbox.put_nowait(None)
            self._drained.set()

    async def receive(self) -> Message | bytes | None:
        """The next message, or None when the client has gone."""
        return await self._inbox.get()

    def received_now(self) -> list[Message | bytes | None]:
        """The messages that have come already, without waiting for any."""
        if not self.closed.is_set():
            self._read()
        found = []
        while not self._inbox.empty():
            found.append(self._inbox.get_nowait())
        return found

    def take_descriptors(self, count: int) -> list[int]:
        """Descriptors that came with a request; the caller closes them."""
        return [self.descriptors.popleft() for _ in range(min(count, len(self.descriptors)))]

    @property
    def queued_bytes(self) -> int:
        """What was sent and the client's socket did not take yet."""
        return len(self._outbox)

    def send(self, message: Mapping[str, Any] | bytes) -> None:
        """Queue a message and write what the socket takes now. Also usable in the middle of synchronous work."""
        if self.closed.is_set():
            return
        self._outbox += encode(message)
        self._flush()
        is_answer = isinstance(message, Mapping) and "result" in message
        if len(self._outbox) > MAX_QUEUED_BYTES and not is_answer:
            self._gone()

    def _flush(self) -> None:
        try:
            while self._outbox:
                sent = self.sock.send(self._outbox)
                del self._outbox[:sent]
        except BlockingIOError:
            self._drained.clear()
            self.loop.add_writer(self.sock.fileno(), self._flush)
            return
        except OSError:
            self._outbox.clear()
            self._gone()
        self.loop.remove_writer(self.sock.fileno())
        self._drained.set()

    async def drained(self) -> None:
        """Until everything queued was written, or the client has gone."""
        while self._outbox and not self.closed.is_set():
            await self._drained.wait()

    def send_error(self, error: TrenzaError) -> None:
        """The answer of a request that failed."""
        self.send({"error": error_as_json(error)})

    async def close(self) -> None:
        """Send what is queued, then close."""
        try:
            async with asyncio.timeout(5):
                await self.drained()
        except TimeoutError:
            pass
        self._gone()
        self.loop.remove_writer(self.sock.fileno())
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.sock.close()


def error_as_json(error: TrenzaError) -> dict[str, Any]:
    """An error with its code, exit code, message and hint; of a lab file, with every problem."""
    fields: dict[str, Any] = {
        "code": error.code,
        "exit": error.exit_code,
        "message": error.message,
        "hint": error.hint,
    }
    status = getattr(error, "status", None)
    if status is not None:
        fields["status"] = status
    if isinstance(error, LabFileError):
        fields["problems"] = [problem_as_json(problem) for problem in error.problems]
    return fields


def problem_as_json(problem: Any) -> dict[str, Any]:
    return {name: getattr(problem, name) for name in type(problem).__slots__}


Handler = Callable[[Connection, Message], Any]
