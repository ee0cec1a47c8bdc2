"""The client of the API server on connections that end when they should not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from trenza.cluster.api import ApiError
from trenza.cluster.client import HttpApi

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{"
NOTHING = b""
Kept, Closed = True, False


class Server:
    """Answers the requests that come, in their order, as it was told; each answer may be a connection's last."""

    def __init__(self, *answers: tuple[bytes, bool]) -> None:
        self.answers = list(answers)
        self.seen: list[str] = []
        self.connections = 0
        self.closed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            kept = Kept
            while kept:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lengths = [line.split(":")[1] for line in head.split("\r\n") if line.startswith("Content-Length")]
                await reader.readexactly(int(lengths[0]) if lengths else 0)
                self.seen.append(head.split(" ")[0])
                answer, kept = self.answers.pop(0)
                writer.write(answer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()
            self.closed.set()


Talk = Callable[[HttpApi, Server], Coroutine[Any, Any, None]]


def talk(directory: Path, server: Server, what: Talk) -> None:
    async def run() -> None:
        path = str(directory / "api")
        listening = await asyncio.start_unix_server(server.serve, path)
        api = HttpApi("http://test", connect=lambda: asyncio.open_unix_connection(path), timeout_s=10)
        try:
            await what(api, server)
        finally:
            api.close()
            listening.close()

    asyncio.run(run())


async def first(api: HttpApi) -> None:
    assert await api.request("GET", "/version") == {}


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
def test_what_changes_something_is_sent_once_where_a_kept_connection_ends(tmp_path: Path, method: str) -> None:
    async def what(api: HttpApi, server: Server) -> None:
        await first(api)
        with pytest.raises(ApiError, match="does not answer"):
            await api.request(method, "/api/v1/pods", body={})
        assert server.seen == ["GET", method]

    talk(tmp_path, Server((WHOLE, Kept), (NOTHING, Closed), (WHOLE, Kept)), what)


def test_a_question_is_asked_again_where_a_kept_connection_ends(tmp_path: Path) -> None:
    async def what(api: HttpApi, server: Server) -> None:
        await first(api)
        assert await api.request("GET", "/api/v1/pods") == {}
        assert server.seen == ["GET", "GET", "GET"] and server.connections == 2

    talk(tmp_path, Server((WHOLE, Kept), (NOTHING, Closed), (WHOLE, Kept)), what)


def test_an_answer_that_breaks_off_is_not_asked_for_again(tmp_path: Path) -> None:
    async def what(api: HttpApi, server: Server) -> None:
        await first(api)
        with pytest.raises(ApiError, match="does not answer"):
            await api.request("GET", "/api/v1/pods")
        assert server.seen == ["GET", "GET"]

    talk(tmp_path, Server((WHOLE, Kept), (HALF, Closed), (WHOLE, Kept)), what)


def test_a_new_connection_that_ends_is_a_failure_even_of_a_question(tmp_path: Path) -> None:
    async def what(api: HttpApi, server: Server) -> None:
        with pytest.raises(ApiError, match="does not answer"):
            await first(api)
        assert server.seen == ["GET"]

    talk(tmp_path, Server((NOTHING, Closed), (WHOLE, Kept)), what)


def test_nothing_is_sent_on_a_connection_that_ended_while_it_was_idle(tmp_path: Path) -> None:
    async def what(api: HttpApi, server: Server) -> None:
        await first(api)
        await server.closed.wait()  # nobody here has heard of it yet
        assert await api.request("POST", "/api/v1/pods", body={}) == {}
        assert server.seen == ["GET", "POST"] and server.connections == 2

    talk(tmp_path, Server((WHOLE, Closed), (WHOLE, Kept)), what)
