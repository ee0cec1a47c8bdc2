"""Stores under test."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from etcd_members import EtcdCluster
from store_contestants import Contestant, EmbeddedContestant, EtcdContestant, fresh_prefix

from trenza.cluster.store.protocol import Store


@pytest.fixture(scope="session")
def one_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """An etcd of one member for all tests of this process."""
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed (Debian: etcd-server)")
    cluster = EtcdCluster(tmp_path_factory.mktemp("etcd"), 1)
    yield cluster
    cluster.kill()


@pytest.fixture(params=["embedded", "etcd"])
def contestant(request: pytest.FixtureRequest, tmp_path: Path) -> Contestant:
    if request.param == "embedded":
        return EmbeddedContestant(tmp_path)
    cluster = request.getfixturevalue("one_etcd")
    assert isinstance(cluster, EtcdCluster)
    return EtcdContestant(cluster.endpoints)


@pytest.fixture
async def store(contestant: Contestant) -> AsyncIterator[Store]:
    async with contestant.opened() as opened:
        yield opened


@pytest.fixture
def prefix() -> str:
    return fresh_prefix()
