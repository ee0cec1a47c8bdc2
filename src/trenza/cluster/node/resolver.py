"""The cluster's name server in every host, on docker0's address: cluster names from the zone, others asked upstream."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from trenza.cluster.node import dns
from trenza.cluster.node.dns import Zone

_UPSTREAM_S: Final = 2.0
_MAX_TCP_BYTES: Final = 65535
_MAX_ASKED: Final = 200
"""Questions upstream at once; more are refused."""


class Resolver:
    """Answers on UDP and TCP. `zone` gives what the cluster knows now, `upstream` whom else to ask."""

    def __init__(self, zone: Callable[[], Zone], upstream: Callable[[], Sequence[str]]) -> None:
        self._zone = zone
        self._upstream = upstream
        self._asked = 0
        self._server: asyncio.Server | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, address: str, port: int = 53) -> None:
        """Listen; raises OSError. `close` ends it."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=(address, port))
        self._server = await asyncio.start_server(self._serve_tcp, address, port)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()

    def answer_datagram(self, question: bytes, peer: Any) -> None:
        answer = dns.answer(question, self._zone())
        if answer is None:
            task = asyncio.get_running_loop().create_task(self._forward(question, peer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif answer and self._transport is not None:
            self._transport.sendto(answer, peer)

    async def _forward(self, question: bytes, peer: Any) -> None:
        answer = await self._ask(question)
        if answer and self._transport is not None:
            self._transport.sendto(answer, peer)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(10):
                    (size,) = struct.unpack("!H", await reader.readexactly(2))
                    question = await reader.readexactly(size)
                answer = dns.answer(question, self._zone(), limit_bytes=_MAX_TCP_BYTES)
                if answer is None:
                    answer = await self._ask(question)
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        except (OSError, EOFError, TimeoutError):
            pass
        finally:
            writer.close()

    async def _ask(self, question: bytes) -> bytes:
        """What an upstream server says; SERVFAIL where none does."""
        servers = list(self._upstream())
        if not servers or self._asked >= _MAX_ASKED:
            return dns.failure(question)
        self._asked += 1
        try:
            for server in random.sample(servers, len(servers)):
                answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
                try:
                    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                        partial(_Answer, answered, question[:2]), remote_addr=(server, 53)
                    )
                except OSError:
                    continue
                try:
                    transport.sendto(question)
                    async with asyncio.timeout(_UPSTREAM_S):
                        return await answered
                except (OSError, TimeoutError):
                    continue
                finally:
                    transport.close()
        finally:
            self._asked -= 1
        return dns.failure(question)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._resolver.answer_datagram(data, addr)


class _Answer(asyncio.DatagramProtocol):
    """The first datagram with the question's id."""

    def __init__(self, answered: asyncio.Future[bytes], identity: bytes) -> None:
        self._answered = answered
        self._identity = identity

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if data[:2] == self._identity and not self._answered.done():
            self._answered.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._answered.done():
            self._answered.set_exception(exc)
