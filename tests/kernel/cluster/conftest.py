"""Clusters for the tests of this folder, each fresh."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import Cluster, made


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trenza_program: str) -> Iterator[Cluster]:
    """An API server on playancha and agents on larrain and concepcion, both Ready."""
    with made(tmp_path, monkeypatch, trenza_program) as it:
        it.start_api()
        for node in ("larrain", "concepcion"):
            it.start_agent(node)
        it.nodes_ready("larrain", "concepcion")
        yield it


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trenza_program: str) -> Iterator[Cluster]:
    """The lab alone."""
    with made(tmp_path, monkeypatch, trenza_program) as it:
        yield it
