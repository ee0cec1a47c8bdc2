"""Deployments, scaling, rollouts and waiting, with a real kubectl and nodes whose pods run at once."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from etcd_members import EtcdCluster
from fake_nodes import FakeNode
from kubectls import Kubectl

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["embedded", "etcd"])
def etcd_endpoints(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """Both stores: an etcd's answers take longer, which is what list-then-watch must bear."""
    if request.param == "embedded":
        yield ()
        return
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed (Debian: etcd-server)")
    (tmp_path / "etcd").mkdir()
    cluster = EtcdCluster(tmp_path / "etcd", 1)
    yield cluster.endpoints
    cluster.kill()


async def test_scale_and_autoscaled_conditions(kubectl: Kubectl, node: FakeNode) -> None:
    await kubectl("create", "deployment", "web", "--image=host", "--replicas=1")
    await kubectl("scale", "deployment", "web", "--replicas=4")
    await kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    assert (await kubectl.json("get", "deploy", "web"))["status"]["readyReplicas"] == 4
    refused = await kubectl.try_("scale", "deployment", "web", "--replicas=2", "--current-replicas=9")
    assert "Expected replicas to be 9, was 4" in refused.err
    await kubectl("scale", "deployment", "web", "--replicas=0")
    async with asyncio.timeout(20):
        while await kubectl("get", "pods", "-o", "name"):
            await asyncio.sleep(0.05)


async def test_a_rollout_goes_on_is_undone_and_paused(kubectl: Kubectl, node: FakeNode) -> None:
    await kubectl("create", "deployment", "web", "--image=host", "--replicas=3")
    await kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    await kubectl("set", "env", "deployment/web", "VERSION=2")
    assert "successfully rolled out" in await kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    history = await kubectl("rollout", "history", "deployment/web")
    assert [line.split()[0] for line in history.splitlines() if line[:1].isdigit()] == ["1", "2"]
    assert "VERSION:\t2" in await kubectl("rollout", "history", "deployment/web", "--revision=2")
    await kubectl("rollout", "undo", "deployment/web")
    await kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    container = (await kubectl.json("get", "deploy", "web"))["spec"]["template"]["spec"]["containers"][0]
    assert "env" not in container
    await kubectl("rollout", "pause", "deployment/web")
    await kubectl("set", "env", "deployment/web", "VERSION=3")
    await kubectl("rollout", "resume", "deployment/web")
    await kubectl("rollout", "restart", "deployment/web")
    await kubectl("rollout", "status", "deployment/web", "--timeout=20s")


async def test_wait_for_what_is_to_come(kubectl: Kubectl, node: FakeNode) -> None:
    node.ready = False
    await kubectl("run", "late", "--image=host")
    late = await kubectl.try_("wait", "--for=condition=Ready", "pod/late", "--timeout=500ms")
    assert "timed out waiting for the condition" in late.err
    waiting = asyncio.create_task(kubectl.try_("wait", "--for=delete", "pod/late", "--timeout=20s"))
    await kubectl("delete", "pod", "late")
    waited = await waiting  # 1.20 does not like what is gone before it looks
    assert waited.code == 0 or "no matching resources found" in waited.err
    await kubectl("delete", "pod", "late", "--ignore-not-found", "--timeout=20s")
    if kubectl.minor >= 32:
        coming = asyncio.create_task(kubectl("wait", "--for=create", "cm/c", "--timeout=20s"))
        await kubectl("create", "configmap", "c", "--from-literal=a=b")
        assert "condition met" in await coming
        assert "condition met" in await kubectl("wait", "--for=jsonpath={.data.a}=b", "cm/c", "--timeout=10s")


async def test_parts_of_a_deployment_are_set(kubectl: Kubectl, node: FakeNode) -> None:
    await kubectl("create", "deployment", "web", "--image=host")
    await kubectl("set", "image", "deployment/web", "*=host:latest")
    await kubectl("set", "resources", "deployment/web", "--limits=cpu=1,memory=64Mi", "--requests=cpu=10m")
    await kubectl("set", "serviceaccount", "deployment/web", "default")
    spec = (await kubectl.json("get", "deploy", "web"))["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == "default"
    assert spec["containers"][0]["image"] == "host:latest"
    assert spec["containers"][0]["resources"] == {
        "limits": {"cpu": "1", "memory": "64Mi"}, "requests": {"cpu": "10m"},
    }  # fmt: skip
    if kubectl.minor >= 24:
        scale = ("--subresource=scale", "--type=merge", "-p", '{"spec": {"replicas": 3}}')
        await kubectl("patch", "deploy", "web", *scale)
        await kubectl("rollout", "status", "deployment/web", "--timeout=20s")
        shown = await kubectl("get", "deploy", "web", "--subresource=status", "--no-headers")
        assert "3/3" in shown


async def test_a_replication_controller_a_daemon_set_and_a_job(kubectl: Kubectl, node: FakeNode) -> None:
    manifests = """
kind: ReplicationController
apiVersion: v1
metadata: {name: rc}
spec:
  replicas: 2
  selector: {app: rc}
  template: {metadata: {labels: {app: rc}}, spec: {containers: [{name: c, image: host}]}}
---
kind: DaemonSet
apiVersion: apps/v1
metadata: {name: ds}
spec:
  selector: {matchLabels: {app: ds}}
  template: {metadata: {labels: {app: ds}}, spec: {containers: [{name: c, image: host}]}}
---
kind: Job
apiVersion: batch/v1
metadata: {name: job}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: host}]}}}
"""
    await kubectl("apply", "-f", "-", given=manifests)
    await kubectl("rollout", "status", "ds/ds", "--timeout=20s")
    async with asyncio.timeout(20):
        while (await kubectl.json("get", "rc", "rc"))["status"].get("readyReplicas") != 2:
            await asyncio.sleep(0.05)
    await kubectl("wait", "--for=condition=Ready", "pod", "-l", "job-name=job", "--timeout=10s")
    assert "1/1" in await kubectl("get", "jobs") or "0/1" in await kubectl("get", "jobs")
    await kubectl("scale", "rc", "rc", "--replicas=3")
    await kubectl("delete", "rc,ds,job", "--all")
    async with asyncio.timeout(20):
        while await kubectl("get", "pods", "-o", "name"):
            await asyncio.sleep(0.05)
