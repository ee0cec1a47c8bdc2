"""A pod's worker, with a host that fails in ways that nobody thought of."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

from trenza.cluster.node import containers as containers_module
from trenza.cluster.node.kubelet import Host, Kubelet
from trenza.cluster.node.pods import Event, Settings
from trenza.errors import KernelError
from trenza.linux.inside import SpawnerClient

pytestmark = pytest.mark.anyio

POD = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u"},
    "spec": {"hostNetwork": True, "containers": [{"name": "c", "image": "nowhere"}]},
}


class Containers:
    """It cannot make a pause the first time."""

    def __init__(self) -> None:
        self.made = 0

    async def make_pause(self, name: str, hostname: str, *, host_network: bool) -> int:
        self.made += 1
        if self.made == 1:
            raise LookupError("nobody thought of this")
        return 1

    def remove(self, names: list[str]) -> None: ...

    def rewrite(self, path: str, content: bytes) -> None: ...


async def test_a_failure_that_nobody_thought_of_is_told_and_tried_again(capfd: pytest.CaptureFixture[str]) -> None:
    containers, said = Containers(), asyncio.Queue[Event]()
    kubelet = Kubelet(
        Host("larrain", Settings("10.9.0.2", retry_s=0.01)),
        SimpleNamespace(patch=_nothing),  # type: ignore[arg-type]  # the part of an API that is asked here
        containers,  # type: ignore[arg-type]
        SimpleNamespace(problem="", resolv_conf=lambda pod: ""),  # type: ignore[arg-type]
        SimpleNamespace(save=lambda record: None),  # type: ignore[arg-type]
        SimpleNamespace(say=lambda pod, event: said.put_nowait(event)),  # type: ignore[arg-type]
        lambda: (),
    )
    kubelet.update(POD)
    async with asyncio.timeout(10):
        assert (await said.get()).message == "error syncing pod: nobody thought of this"
        while containers.made < 2:
            await asyncio.sleep(0)
    assert "LookupError" in capfd.readouterr().err
    for task in list(kubelet._tasks):
        task.cancel()
    kubelet.log_times.close()


async def _nothing(*_: Any, **__: Any) -> None: ...


async def test_an_end_that_nobody_can_tell_any_more_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise KernelError("the container has been removed")

    monkeypatch.setattr(containers_module, "find_exit_code", lambda pidfd: None)  # a kernel before 6.15
    containers = object.__new__(containers_module.Containers)
    containers._reap = True
    containers._client = SimpleNamespace(ask=refuse)  # type: ignore[assignment]
    process = subprocess.Popen(["true"])
    pidfd = os.pidfd_open(process.pid)
    process.wait()
    assert await containers.exit_code_of("node", pidfd) == containers_module.UNKNOWN_EXIT
    os.close(pidfd)


class Slow(containers_module.Containers):
    """With a spawner that is this test: it answers when the test says so."""

    def __init__(self) -> None:
        self.host, self._owner = "larrain", "kubelet larrain"
        self.spawners: list[socket.socket] = []
        self._starter = self._connect()
        self._starting = asyncio.Lock()

    def _connect(self) -> SpawnerClient:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client = object.__new__(SpawnerClient)
        client._socket = theirs
        self.spawners.append(ours)
        return client

    def answer(self, pid: int) -> None:
        """Of the request that has come, whose node is told."""
        (node,) = json.loads(self.spawners[-1].recv(1 << 16))["nodes"]
        self.spawners[-1].send(json.dumps({"pids": {node["name"]: pid}}).encode())

    def close(self) -> None:
        self._starter.close()
        for one in self.spawners:
            one.close()


async def test_others_go_on_while_the_spawner_takes_its_time() -> None:
    containers = Slow()
    making = [asyncio.ensure_future(containers.make_pause(f"p{one}", "p", host_network=False)) for one in (1, 2)]
    await asyncio.sleep(0.01)
    assert not any(one.done() for one in making)
    for number, one in enumerate(making):
        async with asyncio.timeout(10):
            containers.answer(number)
            assert await one == number
            await asyncio.sleep(0.01)
    containers.close()


async def test_who_gives_up_waiting_for_the_spawner_leaves_no_answer_for_the_next() -> None:
    containers = Slow()
    given_up = asyncio.ensure_future(containers.make_pause("p1", "p", host_network=False))
    await asyncio.sleep(0.01)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    making = asyncio.ensure_future(containers.make_pause("p2", "p", host_network=False))
    await asyncio.sleep(0.01)
    containers.answer(7)
    async with asyncio.timeout(10):
        assert await making == 7
    containers.close()
