"""A cluster's server whole: the store opened, the first objects made, controllers running, HTTPS answered.

    async with running(settings, nodes) as server:
        server.port, server.authority, server.kubeconfig(...)

Everything that must outlive the process is in the store and in `directory` (the authority, the server's credentials,
`admin.kubeconfig`, `admin.token`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random, SystemRandom

from trenza.cluster.client import client_context
from trenza.cluster.controllers.controlplane import Settings, control_plane
from trenza.cluster.server import tls
from trenza.cluster.server.control import ControlLoop
from trenza.cluster.server.first_objects import Networks, ensure_first_objects
from trenza.cluster.server.http import SLOW_S, HttpServer
from trenza.cluster.server.node_agents import NodeAgents
from trenza.cluster.server.nodestreams import NodeStreams
from trenza.cluster.server.registry import Registry
from trenza.cluster.server.routes import Api
from trenza.cluster.server.users import AUTHENTICATED, MASTERS, Tokens, User
from trenza.cluster.store.embedded import EmbeddedStore
from trenza.cluster.store.errors import StoreError
from trenza.cluster.store.etcd import EtcdStore
from trenza.cluster.store.protocol import Store

_LOG = logging.getLogger(__name__)

ADMIN = "kubernetes-admin"
COMPACT_EVERY_S = 300.0
PATIENCE_S = 5.0
"""An etcd has chosen another leader in less; agents and the keeper wait for an answer for twice as long."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What a lab says about its server.

    `etcd` are endpoints (URLs); without any the store is SQLite in `directory`. `addresses` are the names and addresses
    that the certificate is good for, beside those it always has; the first is where the nodes reach the server.
    `tokens` are fixed bearer tokens. `descriptors` are sockets that listen already, on the machine's loopback say.
    """

    directory: Path
    networks: Networks
    host: str = "127.0.0.1"
    port: int = 0
    addresses: tuple[str, ...] = ()
    descriptors: tuple[int, ...] = ()
    etcd: tuple[str, ...] = ()
    cluster: str = "trenza"
    eviction_s: int = 300
    control: Settings = field(default_factory=Settings)
    tokens: Mapping[str, User] = field(default_factory=dict)
    compact_every_s: float = COMPACT_EVERY_S
    slow_client_s: float = SLOW_S


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs."""

    settings: ServerSettings
    port: int
    authority: tls.Authority
    registry: Registry

    def kubeconfig(self, url: str, *, user: str = ADMIN, groups: Sequence[str] = (MASTERS,)) -> str:
        """A kubeconfig with new credentials for somebody who reaches the server at `url`."""
        credentials = self.authority.client(user, groups, datetime.now(UTC))
        return tls.kubeconfig(self.settings.cluster, url, self.authority.pem, user=user, credentials=credentials)


async def open_store(settings: ServerSettings) -> Store:
    """The store of the settings. Raises Unavailable."""
    if settings.etcd:
        return await EtcdStore.open(settings.etcd, patience_s=PATIENCE_S)
    return await EmbeddedStore.open(settings.directory / "cluster.sqlite")


@asynccontextmanager
async def running(
    settings: ServerSettings,
    nodes: Callable[[Registry, ssl.SSLContext], NodeStreams] = NodeAgents,
    *,
    now_s: Callable[[], float] = time.time,
    random: Random | None = None,
) -> AsyncIterator[Server]:
    """The server, as long as the block lasts. `nodes` is given the registry and TLS towards the nodes' agents."""
    settings.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    now = datetime.fromtimestamp(now_s(), UTC)
    authority = tls.Authority.kept_in(settings.directory, now)
    store = await open_store(settings)
    async with contextlib.AsyncExitStack() as undo:
        undo.push_async_callback(store.close)
        registry = Registry(
            store, settings.networks.services, now_s, random or SystemRandom(), eviction_s=settings.eviction_s
        )
        tokens = Tokens(authority, {**settings.tokens, _admin_token(settings.directory): _admin()})
        streams = nodes(registry, _towards_nodes(settings.directory, authority, now))
        address = settings.addresses[0] if settings.addresses else settings.host
        api = Api(registry, tokens, streams, address)
        http = HttpServer(api.answer, slow_s=settings.slow_client_s)
        undo.push_async_callback(http.close)
        context = tls.server_context(_credentials(settings, authority, now), settings.directory / "ca.crt")
        port = await http.listen(settings.host, settings.port, context)
        for descriptor in settings.descriptors:
            await http.listen_on(socket.socket(fileno=descriptor), context)
        api.address = f"{address}:{port}"
        await ensure_first_objects(registry, settings.networks, address, port)
        server = Server(settings, port, authority, registry)
        url = f"https://{f'[{address}]' if ':' in address else address}:{port}"
        tls.write_private(settings.directory / "admin.kubeconfig", server.kubeconfig(url).encode())
        control = replace(settings.control, root_certificate=authority.pem.decode())
        for work in (
            ControlLoop(registry, control_plane(control)).run(),
            keep_compact(store, settings.compact_every_s),
        ):
            task = asyncio.create_task(work)
            undo.push_async_callback(_ended, task)
        yield server


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def keep_compact(store: Store, every_s: float) -> None:
    """Forget, time and again, what was replaced before the last time: watchers have that long to come back."""
    before: int | None = None
    while True:
        try:
            forgotten, before = before, await store.revision()
            if forgotten is not None:
                await store.compact(forgotten)
        except StoreError as error:
            _LOG.warning("nothing was forgotten this time: %s", error.message)
        except Exception:  # the root of a task: it reports, and tries again
            _LOG.exception("nothing was forgotten this time")
        await asyncio.sleep(every_s)


def _credentials(settings: ServerSettings, authority: tls.Authority, now: datetime) -> tuple[Path, Path]:
    """The files of the server's certificate and key, made anew: its addresses may be others than last time."""
    always = ("localhost", "127.0.0.1", "::1", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
    names = (
        *settings.addresses,
        *always,
        "kubernetes.default.svc.cluster.local",
        str(settings.networks.services[1]),
        *(() if settings.host in ("0.0.0.0", "::") else (settings.host,)),
    )
    made = authority.server(names, now)
    paths = settings.directory / "server.crt", settings.directory / "server.key"
    for path, content in zip(paths, (made.certificate, made.key), strict=True):
        tls.write_private(path, content)
    return paths


def _towards_nodes(directory: Path, authority: tls.Authority, now: datetime) -> ssl.SSLContext:
    made = authority.client("kube-apiserver-kubelet-client", (MASTERS,), now)
    paths = directory / "kubelet-client.crt", directory / "kubelet-client.key"
    for path, content in zip(paths, (made.certificate, made.key), strict=True):
        tls.write_private(path, content)
    return client_context(str(directory / "ca.crt"), *map(str, paths))


def _admin() -> User:
    return User(ADMIN, (MASTERS, AUTHENTICATED))


def _admin_token(directory: Path) -> str:
    path = directory / "admin.token"
    if not path.exists():
        tls.write_private(path, secrets.token_urlsafe(32).encode())
    return path.read_text()
