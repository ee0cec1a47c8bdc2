"""The server as a process: ended when asked, killed without losing what it answered, on a real etcd."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import shutil
import signal
import sys
from pathlib import Path

import pytest
from etcd_members import EtcdCluster
from raw_requests import Client
from server_process import started

from trenza.cluster.api import CONFIG_MAPS, ApiError
from trenza.cluster.client import HttpApi

pytestmark = pytest.mark.anyio

MAPS = "/api/v1/namespaces/default/configmaps"


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


async def test_killed_at_any_moment_it_loses_nothing_that_was_answered_and_watchers_miss_nothing(
    tmp_path: Path,
) -> None:
    answered: dict[str, int] = {}
    seen: list[tuple[str, str, int]] = []

    async def write(ask: Client, prefix: str) -> None:
        """Create and change, until the server is gone."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            for number in range(10_000):
                name = f"{prefix}-{number}"
                made = await ask("POST", MAPS, {"metadata": {"name": name}})
                answered[name] = int(made.json["metadata"]["resourceVersion"])
                changed = await ask(
                    "PATCH", f"{MAPS}/{name}", {"data": {"a": "b"}}, media_type="application/merge-patch+json"
                )
                answered[name] = int(changed.json["metadata"]["resourceVersion"])

    async def watch(ask: Client) -> None:
        """Go on behind what was seen last, in this life of the server or an earlier one."""
        api = HttpApi(f"https://localhost:{ask.port}", tls=ask.tls, token=ask.token)
        with contextlib.suppress(ApiError):
            version = str(seen[-1][2]) if seen else "1"
            async for event in api.watch(CONFIG_MAPS, "default", resource_version=version):
                if event.type != "BOOKMARK":
                    metadata = event.object["metadata"]
                    seen.append((event.type, metadata["name"], int(metadata["resourceVersion"])))

    for life in range(4):
        async with started(tmp_path / "s") as (process, ask):
            listed = {
                one["metadata"]["name"]: int(one["metadata"]["resourceVersion"])
                for one in (await ask("GET", MAPS)).json["items"]
            }
            assert all(listed[name] >= version for name, version in answered.items())
            watching = asyncio.create_task(watch(ask))
            writing = [asyncio.create_task(write(ask, f"m-{life}-{part}")) for part in range(4)]
            known = len(answered)
            async with asyncio.timeout(30):
                while len(answered) < known + (40 if life < 3 else 0):
                    await asyncio.sleep(0.01)
                if life == 3:
                    for writer in writing:
                        writer.cancel()
                    await asyncio.gather(*writing, return_exceptions=True)
                    now = (await ask("GET", MAPS)).json["items"]
                    newest = max(int(one["metadata"]["resourceVersion"]) for one in now)
                    while not seen or seen[-1][2] < newest:
                        await asyncio.sleep(0.01)
                    watching.cancel()
            process.kill()
            await process.wait()
            await asyncio.gather(watching, *writing, return_exceptions=True)
    versions = [version for _, _, version in seen]
    assert versions == sorted(set(versions))
    assert {name for kind, name, _ in seen if kind == "ADDED"} == {one["metadata"]["name"] for one in now}
    assert {(name, version) for _, name, version in seen} >= set(answered.items())


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


async def test_a_lost_etcd_member_is_not_felt_and_a_lost_majority_is_waited_for(tmp_path: Path) -> None:
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed (Debian: etcd-server)")
    (tmp_path / "etcd").mkdir()
    cluster = EtcdCluster(tmp_path / "etcd", 3)
    try:
        async with started(tmp_path / "s", "--etcd", ",".join(cluster.endpoints)) as (_, ask):
            pods = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "host"}]}}
            rc = {"metadata": {"name": "web"}, "spec": {"replicas": 1, "selector": {"a": "b"}, "template": pods}}
            path = "/api/v1/namespaces/default/replicationcontrollers"
            assert (await ask("POST", path, rc)).status == 201

            async def settles(replicas: int) -> None:
                """Scaling works, and the controllers do it."""
                scale = {"spec": {"replicas": replicas}}
                async with asyncio.timeout(60):
                    while True:
                        patched = await ask("PATCH", f"{path}/web", scale, media_type="application/merge-patch+json")
                        if patched.status == 200:
                            break
                        assert patched.status in (500, 503, 504), patched
                    while (await ask("GET", f"{path}/web")).json.get("status", {}).get("replicas") != replicas:
                        await asyncio.sleep(0.05)

            await settles(2)
            cluster.members[0].kill()
            await settles(3)
            assert (await ask("GET", "/readyz")).status == 200
            cluster.members[1].kill()
            at_once = await ask("POST", MAPS, {"metadata": {"name": "w"}})
            # proposed to a leader that was lost meanwhile, or not at all
            assert (at_once.status, at_once.json["reason"]) in ((504, "Timeout"), (503, "ServiceUnavailable"))
            refused = await ask("POST", MAPS, {"metadata": {"name": "x"}})
            assert (refused.status, refused.json["reason"]) == (503, "ServiceUnavailable")
            assert "more than half of its members have to" in refused.json["message"]
            assert "retryAfterSeconds" not in refused.json.get("details", {})  # kubectl would hang and say nothing
            assert (await ask("GET", "/readyz")).status == 500
            members = (await ask("GET", "/trenza/store")).json["members"]
            assert [one["problem"] for one in members[:2]] == ["connection refused", "connection refused"]
            cluster.restart(cluster.members[0])
            await settles(4)
    finally:
        cluster.kill()


async def test_what_people_write_into_etcd_by_hand_stops_nobody(tmp_path: Path) -> None:
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed (Debian: etcd-server)")
    (tmp_path / "etcd").mkdir()
    cluster = EtcdCluster(tmp_path / "etcd", 1)
    try:
        async with started(tmp_path / "s", "--etcd", ",".join(cluster.endpoints)) as (_, ask):
            put = await asyncio.create_subprocess_exec(
                "etcdctl", "--endpoints", cluster.endpoints[0], "put", "/registry/pods/default/x", "nonsense",
                env={"ETCDCTL_API": "3", "PATH": "/usr/bin"}, stdout=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            assert await put.wait() == 0
            assert (await ask("GET", "/api/v1/namespaces/default/pods")).status == 500
            assert (await ask("POST", "/api/v1/namespaces", {"metadata": {"name": "new"}})).status == 201
            async with asyncio.timeout(20):
                while (await ask("GET", "/api/v1/namespaces/new/serviceaccounts/default")).status != 200:
                    await asyncio.sleep(0.05)
    finally:
        cluster.kill()
