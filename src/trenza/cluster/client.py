"""The API server over HTTP or HTTPS: `trenza.cluster.api.Api` on asyncio's streams and h11.

Connections are kept and used again; each watch has one of its own, with keep-alives, so that a peer that vanished
behind a cut cable is noticed.
"""

from __future__ import annotations

import asyncio
import json
import select
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import h11

from trenza.cluster.api import ApiError, Listed, Object, SubnetLease, Subnets, WatchEvent, collection_path
from trenza.cluster.keepalives import keep_alive

_READ_BYTES: Final = 1 << 16
_MAX_IDLE: Final = 8
_REPEATABLE: Final = ("GET", "HEAD")
"""What may be asked twice: a PUT or DELETE that was done already is answered with a refusal the second time."""

SUBNETS: Final = "/coreos.com/network/subnets"
NETWORK_CONFIG: Final = "/coreos.com/network/config"
STORE: Final = "/trenza/store"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]


def client_context(ca: str, certificate: str, key: str) -> ssl.SSLContext:
    """TLS as a client of the cluster's CA, showing a certificate; all three are paths of PEM files."""
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    return context


class Connection:
    """One connection: a request at a time. Raises OSError and h11.ProtocolError."""

    def __init__(self, streams: Streams) -> None:
        self.reader, self.writer = streams
        self.state = h11.Connection(h11.CLIENT)
        self.used = False
        self.heard = False
        """Whether anything of the answer to the last request came."""

    @property
    def alive(self) -> bool:
        """Whether nothing came while nothing was asked: then it is an end, or what nobody may say unasked."""
        if self.reader.at_eof() or self.writer.is_closing():
            return False
        waiting = select.poll()
        waiting.register(self.writer.get_extra_info("socket"), select.POLLIN)
        return not waiting.poll(0)

    async def send(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> h11.Response:
        self.heard = False
        request = h11.Request(method=method, target=target, headers=headers)
        data = self.state.send(request) or b""
        if body:
            data += self.state.send(h11.Data(data=body)) or b""
        data += self.state.send(h11.EndOfMessage()) or b""
        self.writer.write(data)
        await self.writer.drain()
        while True:
            event = await self.event()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise ConnectionError("the server closed the connection")

    async def event(self) -> Any:
        while True:
            event = self.state.next_event()
            if event is not h11.NEED_DATA:
                return event
            data = await self.reader.read(_READ_BYTES)
            self.heard = self.heard or bool(data)
            self.state.receive_data(data)

    async def body(self) -> AsyncIterator[bytes]:
        while True:
            event = await self.event()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return
            else:
                raise ConnectionError("the server closed the connection")

    def close(self) -> None:
        self.writer.close()


class HttpApi:
    """Implements `Api`. `connect` replaces the connection to the URL's host (by a unix socket, say). `close` it."""

    def __init__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext | None = None,
        token: str | None = None,
        connect: Connect | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "localhost", parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = tls
        self._token = token
        self._connect = connect or self._dial
        self._timeout_s = timeout_s
        self._idle: list[Connection] = []
        self.leases = HttpLeases(self)

    def close(self) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _dial(self) -> Streams:
        name = self._host if self._tls is not None else None
        streams = await asyncio.open_connection(self._host, self._port, ssl=self._tls, server_hostname=name)
        keep_alive(streams[1])
        return streams

    # ------------------------------------------------------------------ requests
    def _headers(self, body: bytes, content_type: str) -> list[tuple[str, str]]:
        headers = [("Host", f"{self._host}:{self._port}"), ("Accept", "application/json"), ("User-Agent", "trenza")]
        if self._token is not None:
            headers.append(("Authorization", f"Bearer {self._token}"))
        if body:
            headers += [("Content-Type", content_type), ("Content-Length", str(len(body)))]
        return headers

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """The JSON that the server answers. Raises ApiError.

        One that had been kept may end just when it is used again. Then a question is asked once more, and nothing else
        is: the server may have done it (Go's net/http replays as little).
        """
        data = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        target = f"{path}?{urlencode(query)}" if query else path
        while True:
            connection: Connection | None = None
            try:
                async with asyncio.timeout(self._timeout_s):
                    connection = self._kept() or Connection(await self._connect())
                    response = await connection.send(method, target, self._headers(data, content_type), data)
                    answer = b"".join([part async for part in connection.body()])
                break
            except (OSError, h11.ProtocolError, EOFError, TimeoutError) as error:
                if connection is not None:
                    connection.close()
                    unanswered = connection.used and not connection.heard and not isinstance(error, TimeoutError)
                    if unanswered and method in _REPEATABLE:
                        continue  # each turn has one idle connection less
                raise ApiError(
                    f"{method} {path}: the API server does not answer ({str(error) or 'too late'})"
                ) from error
            except BaseException:
                if connection is not None:
                    connection.close()
                raise
        self._give_back(connection)
        return _read(method, path, response.status_code, answer)

    def _kept(self) -> Connection | None:
        """A connection of before that the server has not closed since."""
        while self._idle:
            connection = self._idle.pop()
            if connection.alive:
                return connection
            connection.close()
        return None

    def _give_back(self, connection: Connection) -> None:
        if connection.state.our_state is h11.DONE and connection.state.their_state is h11.DONE:
            connection.state.start_next_cycle()
            connection.used = True
            if len(self._idle) < _MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    @asynccontextmanager
    async def stream(self, path: str, query: Mapping[str, str]) -> AsyncIterator[AsyncIterator[Object]]:
        """The JSON lines that a GET answers with, as they come; it ends when the server ends it."""
        connection: Connection | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                connection = Connection(await self._connect())
                response = await connection.send("GET", f"{path}?{urlencode(query)}", self._headers(b"", ""), b"")
                if response.status_code != 200:
                    answer = b"".join([part async for part in connection.body()])
                    _read("GET", path, response.status_code, answer)
            yield _lines(path, connection)
        except (OSError, h11.ProtocolError, EOFError, TimeoutError) as error:
            raise ApiError(f"GET {path}: the API server does not answer ({str(error) or 'too late'})") from error
        finally:
            if connection is not None:
                connection.close()

    # ------------------------------------------------------------------ Api
    async def get(self, resource: str, namespace: str, name: str) -> Object:
        return await self.request("GET", f"{collection_path(resource, namespace)}/{quote(name)}")

    async def list(self, resource: str, namespace: str = "", *, field_selector: str = "") -> Listed:
        query = {"fieldSelector": field_selector} if field_selector else {}
        answer = await self.request("GET", collection_path(resource, namespace), query=query)
        return Listed(tuple(answer.get("items") or ()), str(answer["metadata"]["resourceVersion"]))

    async def watch(
        self, resource: str, namespace: str = "", *, resource_version: str, field_selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": resource_version}
        if field_selector:
            query["fieldSelector"] = field_selector
        path = collection_path(resource, namespace)
        async with self.stream(path, query) as lines:
            async for line in lines:
                if line["type"] == "ERROR":
                    raise _refusal("GET", path, line["object"].get("code", 500), line["object"])
                yield WatchEvent(line["type"], line["object"])

    async def create(self, resource: str, thing: Object, *, subresource: str = "") -> Object:
        metadata = thing["metadata"]
        path = collection_path(resource, metadata.get("namespace", ""))
        if subresource:
            path += f"/{quote(metadata['name'])}/{subresource}"
        return await self.request("POST", path, body=thing)

    async def update(self, resource: str, thing: Object) -> Object:
        return await self.request("PUT", _path_of(resource, thing), body=thing)

    async def update_status(self, resource: str, thing: Object) -> Object:
        return await self.request("PUT", f"{_path_of(resource, thing)}/status", body=thing)

    async def patch(
        self, resource: str, namespace: str, name: str, patch: Mapping[str, Any], *, subresource: str = ""
    ) -> Object:
        path = f"{collection_path(resource, namespace)}/{quote(name)}" + (f"/{subresource}" if subresource else "")
        return await self.request("PATCH", path, body=dict(patch), content_type="application/merge-patch+json")

    async def delete(
        self, resource: str, namespace: str, name: str, *, uid: str = "", grace_s: int | None = None
    ) -> None:
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        await self.request("DELETE", f"{collection_path(resource, namespace)}/{quote(name)}", body=options)


class HttpLeases:
    """Implements `Leases`, below the very paths of flannel's keys:

    GET /coreos.com/network/config                       the value
    GET /coreos.com/network/subnets                      {"revision": 7, "leases": [{"subnet": …, "value": …}, …]}
    PUT /coreos.com/network/subnets/SUBNET?ttl=S&create=true   the value as the body; 409 if create and it is there
    GET /coreos.com/network/subnets?watch=true&revision=7      JSON lines {"subnet", "value": … or null}; 410
    """

    def __init__(self, api: HttpApi) -> None:
        self._api = api

    async def config(self) -> Object:
        return await self._api.request("GET", NETWORK_CONFIG)

    async def subnets(self) -> Subnets:
        answer = await self._api.request("GET", SUBNETS)
        leases = tuple(SubnetLease(one["subnet"], one["value"]) for one in answer["leases"])
        return Subnets(leases, int(answer["revision"]))

    async def put(self, subnet: str, value: Object, *, ttl_s: float, create: bool) -> None:
        query = {"ttl": f"{ttl_s:.0f}", **({"create": "true"} if create else {})}
        await self._api.request("PUT", f"{SUBNETS}/{quote(subnet)}", query=query, body=value)

    async def watch(self, revision: int) -> AsyncIterator[SubnetLease]:
        async with self._api.stream(SUBNETS, {"watch": "true", "revision": str(revision)}) as lines:
            async for line in lines:
                yield SubnetLease(line["subnet"], line["value"])


def _path_of(resource: str, thing: Object) -> str:
    metadata = thing["metadata"]
    return f"{collection_path(resource, metadata.get('namespace', ''))}/{quote(metadata['name'])}"


async def _lines(path: str, connection: Connection) -> AsyncIterator[Object]:
    rest = b""
    async for part in connection.body():
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            if line.strip():
                yield json.loads(line)


def _read(method: str, path: str, status: int, answer: bytes) -> Object:
    try:
        value = json.loads(answer) if answer else {}
    except ValueError:
        value = {"message": answer[:200].decode(errors="replace")}
    if not isinstance(value, dict):
        value = {"message": f"{value}"}
    if status >= 400:
        raise _refusal(method, path, status, value)
    return value


def _refusal(method: str, path: str, status: int, value: Object) -> ApiError:
    message = value.get("message") or f"{method} {path}: HTTP {status}"
    return ApiError(str(message), status=status, reason=str(value.get("reason", "")))
