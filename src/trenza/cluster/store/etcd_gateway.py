"""One request to etcd through its JSON gateway: to whichever member answers, and never twice where that could hurt.

etcd 3.4 serves gRPC also as JSON over HTTP: bytes in base64, 64-bit numbers as text, what is zero left out, streams as
lines. Members are tried in turn, beginning with the one that answered last. What only reads may be asked again, and is
asked once more of the next member while the first has not answered: 3.4 forgets what it passed on to a leader that is
lost, and says so after 7 s. For the same reason a write waits for a read where nothing was answered lately. It is asked
again only if it cannot have been done: nobody listened, or etcd said so before it proposed it.
"""

from __future__ import annotations

import asyncio
import errno
import json
import math
import os
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import h11

from trenza.cluster.store.errors import StoreError, Unavailable
from trenza.cluster.store.http_connection import HttpConnection

CONNECT_S = 1.0
READ_S = 3.0  # one member's time for an answer that another could give
WRITE_S = 8.0  # longer than etcd's own limit (5 s and two elections), so that its own answer comes first
TURN_S = 0.05  # between two rounds of all members
DOUBTFUL_S = 0.5  # an answer so late is asked of another member too; then after twice as long, and so on
QUIET_S = 0.3  # for so long after an answer there is a leader, as far as one can know
NOTHING: dict[str, Any] = {"key": "AQ==", "limit": "1", "keys_only": True}
"""A read of no key: its answer tells that there is a leader with a majority, and the revision."""
MAX_REQUESTS = 64  # at a time; more wait here, where it costs nobody a connection

_RANGE = "/v3/kv/range"
_NOT_PROPOSED = ("etcdserver: no leader", "raft proposal dropped", "etcdserver: too many requests")
_TEMPORARY = ("etcdserver: leader changed", "etcdserver: request timed out", "etcdserver: server stopped")
_UNAVAILABLE, _DEADLINE_EXCEEDED = 14, 4  # gRPC codes

Json = dict[str, Any]
_LOST = (OSError, EOFError, h11.ProtocolError)  # TimeoutError is an OSError


class Refused(Exception):
    """etcd answered with an error that another member would give too; `code` is gRPC's."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class Gateway:
    """The members of one etcd cluster, by their client URLs."""

    def __init__(self, endpoints: Sequence[str], *, tls: ssl.SSLContext | None, patience_s: float) -> None:
        if not endpoints:
            raise ValueError("an etcd cluster has at least one endpoint")
        self.endpoints = tuple(endpoint.rstrip("/") for endpoint in endpoints)
        self._patience_s = patience_s
        self._tls = tls
        self._preferred = 0
        self._answered_s = -math.inf
        self._turns = asyncio.Semaphore(MAX_REQUESTS)
        self._idle: dict[str, list[HttpConnection]] = {endpoint: [] for endpoint in self.endpoints}

    async def ask(self, path: str, body: Json, *, repeatable: bool) -> Json:
        """The answer of some member. Raises Refused, or Unavailable when patience has run out."""
        content = json.dumps(body).encode()
        deadline_s = time.monotonic() + self._patience_s
        if repeatable:
            return await self._ask_until_answered(path, content, deadline_s)
        problems: dict[str, str] = {}
        while True:
            if time.monotonic() > self._answered_s + QUIET_S:
                await self._ask_until_answered(_RANGE, json.dumps(NOTHING).encode(), deadline_s)
            member = self._preferred
            try:
                return await self._ask_one(self.endpoints[member], path, content, WRITE_S)
            except Unavailable as error:
                if error.maybe_done:
                    raise
                problems[self.endpoints[member]] = error.message
                await self._turn_from(member, problems, deadline_s)

    async def _ask_until_answered(self, path: str, content: bytes, deadline_s: float) -> Json:
        """The first answer that a member gives to what may be asked of several."""
        if len(self.endpoints) == 1:
            return await self._ask_the_only_one(path, content, deadline_s)
        problems: dict[str, str] = {}
        asked: dict[asyncio.Task[Json], str] = {}
        waiting: set[asyncio.Task[Json]] = set()
        doubtful_s = DOUBTFUL_S
        try:
            while True:
                member = self._preferred
                task = asyncio.create_task(self._ask_one(self.endpoints[member], path, content, READ_S))
                asked[task] = self.endpoints[member]
                wait_s = min(doubtful_s, max(DOUBTFUL_S, deadline_s - time.monotonic()))
                done, waiting = await asyncio.wait(
                    {*waiting, task}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    problems[self.endpoints[member]] = f"{self.endpoints[member]}: no answer in time"
                    doubtful_s *= 2
                failed = {task: error for task in done if (error := task.exception()) is not None}
                for task in done - failed.keys():
                    return task.result()
                for task, error in failed.items():
                    if not isinstance(error, Unavailable):
                        raise error
                    problems[asked[task]] = error.message
                await self._turn_from(member, problems, deadline_s)
        finally:
            if any(not task.done() or task.exception() for task in asked):
                for task in asked:
                    task.cancel()
                await asyncio.gather(*asked, return_exceptions=True)  # nobody else asks those that failed

    async def _ask_the_only_one(self, path: str, content: bytes, deadline_s: float) -> Json:
        """Nobody else may answer sooner, so that no task is needed: they cost a tenth of a small request."""
        while True:
            wait_s = min(READ_S, max(DOUBTFUL_S, deadline_s - time.monotonic()))
            try:
                return await self._ask_one(self.endpoints[0], path, content, wait_s)
            except Unavailable as error:
                await self._turn_from(0, {self.endpoints[0]: error.message}, deadline_s)

    async def _turn_from(self, member: int, problems: Mapping[str, str], deadline_s: float) -> None:
        """To the next member, after a while where all have been tried. Raises Unavailable where it is too late."""
        if self._preferred == member:
            self.prefer_another()
        if time.monotonic() > deadline_s:
            needed = " (more than half of its members have to)" if len(self.endpoints) > 1 else ""
            said = "; ".join(problems[endpoint] for endpoint in self.endpoints if endpoint in problems)
            raise Unavailable(f"etcd does not answer{needed}: {said}")
        if len(problems) == len(self.endpoints):
            await asyncio.sleep(TURN_S)

    def prefer_another(self) -> None:
        """Begin with the next member from now on."""
        self._preferred = (self._preferred + 1) % len(self.endpoints)

    async def ask_member(self, endpoint: str, path: str, body: Json) -> Json:
        """The answer of this very member. Raises Refused and Unavailable."""
        return await self._ask_one(endpoint, path, json.dumps(body).encode(), READ_S)

    @asynccontextmanager
    async def stream(self, path: str, body: Json) -> AsyncIterator[AsyncIterator[Json]]:
        """The results of a stream, from the preferred member. Raises Refused and Unavailable, also while iterating."""
        endpoint = self.endpoints[self._preferred]
        connection = await self._connected(endpoint)
        try:
            async with asyncio.timeout(READ_S):
                status = await connection.post(path, json.dumps(body).encode())
                if status != 200:
                    raise _refusal(endpoint, b"".join([piece async for piece in connection.pieces()]))
            async with aclosing(_results(endpoint, connection)) as results:
                yield results
        except _LOST as error:
            raise Unavailable(f"{endpoint}: {_said(error)}") from error
        finally:
            connection.close()

    async def close(self) -> None:
        """Close every connection."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
            connections.clear()

    async def _ask_one(self, endpoint: str, path: str, content: bytes, wait_s: float) -> Json:
        async with self._turns:
            idle = self._idle[endpoint]
            connection = None
            while idle and connection is None:
                connection = idle.pop()
                if not connection.reusable:
                    connection.close()
                    connection = None
            connection = connection or await self._connected(endpoint)
            try:
                async with asyncio.timeout(wait_s):
                    status = await connection.post(path, content)
                    answer = b"".join([piece async for piece in connection.pieces()])
            except _LOST as error:
                raise Unavailable(f"{endpoint}: {_said(error)}", maybe_done=True) from error
            finally:
                if connection.reusable:
                    idle.append(connection)
                else:
                    connection.close()
        if status != 200:
            raise _refusal(endpoint, answer)
        decoded = _decoded(endpoint, answer)
        if path.startswith("/v3/kv/"):  # of the others some are answered by a member that is alone
            self._answered_s = time.monotonic()
        return decoded

    async def _connected(self, endpoint: str) -> HttpConnection:
        try:
            async with asyncio.timeout(CONNECT_S):
                return await HttpConnection.open(endpoint, self._tls)
        except _LOST as error:
            raise Unavailable(f"{endpoint}: {_said(error)}") from error


async def _results(endpoint: str, connection: HttpConnection) -> AsyncGenerator[Json, None]:
    rest = bytearray()
    async for piece in connection.pieces():
        rest += piece
        if b"\n" not in piece:
            continue
        *lines, tail = bytes(rest).split(b"\n")
        rest = bytearray(tail)
        for line in lines:
            if not line.strip():
                continue
            message = _decoded(endpoint, line)
            if "result" not in message:
                raise _refusal(endpoint, line)
            yield message["result"]
    raise Unavailable(f"{endpoint}: the stream ended")


def _decoded(endpoint: str, content: bytes) -> Json:
    try:
        decoded = json.loads(content)
    except ValueError as error:
        raise Unavailable(f"{endpoint} did not answer as etcd does", maybe_done=True) from error
    if not isinstance(decoded, dict):
        raise Unavailable(f"{endpoint} did not answer as etcd does", maybe_done=True)
    return decoded


def _refusal(endpoint: str, content: bytes) -> Refused | StoreError:
    said = _decoded(endpoint, content)
    inner = said.get("error")
    if isinstance(inner, dict):  # within a stream
        said, inner = inner, inner.get("message")
    message, code = str(said.get("message", inner)), int(said.get("code") or said.get("grpc_code") or 2)
    if any(part in message for part in _NOT_PROPOSED):
        return Unavailable(f"{endpoint}: {message}")
    if code in (_UNAVAILABLE, _DEADLINE_EXCEEDED) or any(part in message for part in _TEMPORARY):
        return Unavailable(f"{endpoint}: {message}", maybe_done=True)
    return Refused(message, code)


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno in errno.errorcode:
        return os.strerror(error.errno or 0).lower()
    return str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
