"""A server in the test's own loop, and real kubectls beside it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from fake_nodes import FakeNode, fake_node
from kubectls import VERSIONS, Kubectl, program
from raw_requests import Client

from trenza.cluster.server.first_objects import Networks
from trenza.cluster.server.node_agents import NodeAgents
from trenza.cluster.server.server import Server, ServerSettings, running
from trenza.cluster.server.users import AUTHENTICATED, READERS, User

NETWORKS = Networks(IPv4Network("172.16.0.0/16"), IPv4Network("10.254.0.0/16"))


@pytest.fixture
def networks() -> Networks:
    return NETWORKS


@pytest.fixture
def etcd_endpoints() -> tuple[str, ...]:
    """None: the store is embedded. A module that has more to ask overrides it."""
    return ()


@pytest.fixture
async def server(tmp_path: Path, etcd_endpoints: tuple[str, ...]) -> AsyncIterator[Server]:
    directory = tmp_path / "server"
    tokens = {"reading": User("reader", (READERS, AUTHENTICATED)), "nobody": User("nobody", (AUTHENTICATED,))}
    settings = ServerSettings(directory, NETWORKS, tokens=tokens, slow_client_s=2, etcd=etcd_endpoints)
    async with running(settings, lambda registry, _: NodeAgents(registry, None)) as server:
        yield server


@pytest.fixture
async def node(server: Server) -> AsyncIterator[FakeNode]:
    async with fake_node(server.registry, "larrain") as node:
        yield node


@pytest.fixture(params=VERSIONS)
def kubectl(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Kubectl:
    if not program(request.param).exists():
        pytest.skip(f"kubectl {request.param} is not in .cache (scripts/kubectl.sh)")
    return Kubectl(request.param, server.settings.directory / "admin.kubeconfig", tmp_path)


@pytest.fixture
def tls(server: Server) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(server.settings.directory / "ca.crt"))


@pytest.fixture
def ask(server: Server, tls: ssl.SSLContext) -> Client:
    return Client(server.port, tls, (server.settings.directory / "admin.token").read_text())
