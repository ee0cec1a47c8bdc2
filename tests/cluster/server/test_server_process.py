"""The server as a process: ended when asked, killed without losing what it answered, on a real etcd."""

from __future__ import annotations

import asyncio
import shutil
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from etcd_members import EtcdCluster
from raw_requests import Client

pytestmark = pytest.mark.anyio

MAPS = "/api/v1/namespaces/default/configmaps"


@asynccontextmanager
async def started(directory: Path, *arguments: str) -> AsyncIterator[tuple[Any, Client]]:
    """The process and a client; killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "trenza.cluster.server", "--listen", "127.0.0.1:0", "--state", str(directory), *arguments,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            said = (await process.stdout.readline()).decode()
        assert said.startswith("listening on https://127.0.0.1:"), said
        tls = ssl.create_default_context(cafile=str(directory / "ca.crt"))
        yield process, Client(int(said.rpartition(":")[2]), tls, (directory / "admin.token").read_text())
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_it_ends_when_asked_though_somebody_watches(tmp_path: Path) -> None:
    async with started(tmp_path / "s") as (process, ask):
        watching = asyncio.create_task(ask("GET", MAPS, watch="1"))
        await asyncio.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await process.wait() == 0
        await asyncio.gather(watching, return_exceptions=True)
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "s").glob("*.key"))


async def test_killed_at_any_moment_it_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    answered: set[str] = set()
    for life in range(3):
        async with started(tmp_path / "s") as (process, ask):
            if answered:
                names = {one["metadata"]["name"] for one in (await ask("GET", MAPS)).json["items"]}
                assert answered <= names

            async def write(part: int, ask: Client = ask, life: int = life) -> None:
                for number in range(10_000):
                    name = f"m-{life}-{part}-{number}"
                    if (await ask("POST", MAPS, {"metadata": {"name": name}})).status == 201:
                        answered.add(name)

            writers = [asyncio.create_task(write(part)) for part in range(4)]
            known = len(answered)
            async with asyncio.timeout(30):
                while len(answered) < known + 40:
                    await asyncio.sleep(0.01)
            process.kill()
            await process.wait()
            for writer in writers:
                writer.cancel()
            await asyncio.gather(*writers, return_exceptions=True)
    async with started(tmp_path / "s") as (_, ask):
        names = {one["metadata"]["name"] for one in (await ask("GET", MAPS)).json["items"]}
    assert answered <= names


async def test_two_servers_of_one_state_are_one_too_many(tmp_path: Path) -> None:
    async with started(tmp_path / "s"):
        second = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "trenza.cluster.server", "--listen", "127.0.0.1:0", "--state", str(tmp_path / "s"),
            stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        _, said = await asyncio.wait_for(second.communicate(), 30)
        assert second.returncode == 1
        assert b"in use by another process" in said


async def test_on_a_real_etcd_the_keys_are_kubernetes_and_flannels(tmp_path: Path) -> None:
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed (Debian: etcd-server)")
    (tmp_path / "etcd").mkdir()
    cluster = EtcdCluster(tmp_path / "etcd", 1)
    try:
        async with started(tmp_path / "s", "--etcd", ",".join(cluster.endpoints)) as (_, ask):
            assert (await ask("POST", MAPS, {"metadata": {"name": "x"}, "data": {"a": "b"}})).status == 201
            listed = await asyncio.create_subprocess_exec(
                "etcdctl", "--endpoints", cluster.endpoints[0], "get", "--prefix", "--keys-only", "/",
                env={"ETCDCTL_API": "3", "PATH": "/usr/bin"}, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, _ = await listed.communicate()
        keys = set(out.decode().split())
        assert {
            "/coreos.com/network/config",
            "/registry/configmaps/default/x",
            "/registry/namespaces/default",
            "/registry/services/specs/default/kubernetes",
        } <= keys
    finally:
        cluster.kill()
