"""Requests to a server: `Client` sends one and reads its answer, on a thread because the server may live here."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer, read whole."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody with a token (none: anonymous)."""

    port: int
    tls: ssl.SSLContext
    token: str = ""

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        media_type: str = "application/json",
        accept: str = "application/json",
        headers: dict[str, str] | None = None,
        **query: str,
    ) -> Answered:
        """`body` is bytes or what becomes JSON."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"Accept": accept, "User-Agent": "tests/1", **(headers or {})}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        if content is not None:
            sent["Content-Type"] = media_type
        target = f"{path}?{urlencode(query)}" if query else path
        return await asyncio.to_thread(self._asked, method, target, content, sent)

    def _asked(self, method: str, target: str, content: bytes | None, headers: dict[str, str]) -> Answered:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=DEADLINE_S, context=self.tls)
        try:
            connection.request(method, target, content, headers)
            answer = connection.getresponse()
            read = answer.read()
            return Answered(answer.status, {key.lower(): value for key, value in answer.getheaders()}, read)
        finally:
            connection.close()

    async def lines(self, path: str, **query: str) -> list[Any]:
        """The events of a watch that ends by itself."""
        answered = await self("GET", path, **query)
        assert answered.status == 200, answered
        return [json.loads(line) for line in answered.content.splitlines()]
