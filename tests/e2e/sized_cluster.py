"""A cluster of any size through the real command line, and what of it can be measured; for bench/ and tests.

Everything is asked from outside, through the API's forwarded port, as any client does. What happens in nodes is
told by a small program in each of them: when a transaction of nftables was committed, when a connection got through.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from conftest import Cli
from lives import command_line, family, pid_one

from trenza.cluster.api import CONFIG_MAPS as MAPS
from trenza.cluster.api import EVENTS, NODES, PODS, Object
from trenza.cluster.client import HttpApi

AT_ONCE = 16
_QUIET_S = 1.0
LAB = "sized"
SERVICES = "/api/v1/namespaces/default/services"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
POD_PATH = "/api/v1/namespaces/default/pods"

_SERVER = "import socket; s = socket.create_server(('', 80), backlog=64)\nwhile True:\n s.accept()[0].close()"
"""Accepts connections, of which each is a proof that a packet got through."""

_TELLER = """
import socket, sys, threading, time
rules = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
rules.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
rules.bind((0, 1 << 6))
def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\\n"); sys.stdout.flush()
def follow():
    while True:
        try:
            message = rules.recv(1 << 16)
        except OSError:
            continue
        at = 0
        while at + 16 <= len(message):
            size = int.from_bytes(message[at:at + 4], sys.byteorder)
            if int.from_bytes(message[at + 4:at + 6], sys.byteorder) == 0x0a0f:
                say("rules", time.monotonic())
            at += (size + 3) & ~3 or 16
threading.Thread(target=follow, daemon=True).start()
say("listens", time.monotonic())
for line in sys.stdin:
    address = line.strip()
    while True:
        try:
            socket.create_connection((address, 80), 0.05).close()
            break
        except OSError:
            time.sleep(0.002)
    say("answered", time.monotonic())
"""
"""Prints when the node's rules were changed (NFT_MSG_NEWGEN, group NFNLGRP_NFTABLES), and for each address that it is
given when somebody there accepted a connection."""


def lab_text(nodes: int, store: str) -> str:
    """A master and so many nodes on one switch."""
    return (
        "lab: sized\nswitches: {lan: {}}\nhosts:\n"
        "  m: {nics: {eth0: {to: lan, ip: 10.9.0.254/24}}}\n"
        f'  n: {{each: 1..{nodes}, nics: {{eth0: {{to: lan, ip: "10.9.0.0/24[$n]"}}}}}}\n'
        f"cluster: {{master: m, store: {store}, nodes: [{', '.join(f'n{one + 1}' for one in range(nodes))}]}}\n"
    )


def pod(name: str, labels: dict[str, str], **spec: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": _idle(**spec)}


def _idle(*argv: str, **spec: Any) -> Object:
    container = {"name": "main", "image": "host", "command": list(argv) or ["sleep", "infinity"]}
    return {"containers": [container], "terminationGracePeriodSeconds": 0, **spec}


def web(replicas: int) -> Object:
    """A ReplicationController of servers of port 80."""
    template = {"metadata": {"labels": {"app": "web"}}, "spec": _idle("python3", "-I", "-S", "-c", _SERVER)}
    spec = {"replicas": replicas, "selector": {"app": "web"}, "template": template}
    return {"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "web"}, "spec": spec}


def service(name: str, selector: dict[str, str]) -> Object:
    spec = {"selector": selector, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def is_running(thing: Object) -> bool:
    status = thing.get("status") or {}
    return status.get("phase") == "Running" and bool(status.get("podIP"))


def ms_of(seconds: Iterable[float]) -> float:
    """The median in milliseconds."""
    return statistics.median(seconds) * 1000


class SizedCluster:
    """A running lab of `lab_text`, and a client of its API."""

    def __init__(self, cli: Cli, nodes: int, api: HttpApi, ready_s: float) -> None:
        self.cli, self.nodes, self.api = cli, nodes, api
        self.ready_s = ready_s
        """From typing `up` until the API calls all nodes Ready."""

    # ------------------------------------------------------------------ asking
    async def create_all(self, path: str, things: Iterable[Object]) -> None:
        """Create all of them, several at a time."""
        left = iter(things)

        async def work() -> None:
            for one in left:  # shared: whoever is free takes the next
                await self.api.request("POST", path, body=one)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))

    @asynccontextmanager
    async def watching(self, resource: str, path: str = "") -> AsyncIterator[AsyncIterator[Any]]:
        found = await self.api.list(resource, "default")
        events = self.api.watch(resource, "default", resource_version=found.resource_version)
        try:
            yield events
        finally:
            await events.aclose()  # type: ignore[attr-defined]

    async def running_s(self, count: int, make: Callable[[], Awaitable[None]]) -> float:
        """From the first creation until so many pods more are Running and have addresses."""
        async with self.watching(PODS) as events:
            began = time.monotonic()
            making = asyncio.ensure_future(make())
            running: set[str] = set()
            async for event in events:
                if is_running(event.object):
                    running.add(event.object["metadata"]["name"])
                if len(running) == count:
                    break
            took_s = time.monotonic() - began
            await making
        return took_s

    async def pod_s(self, times: int) -> list[float]:
        """Of pods that come one after the other, from the request that creates it until it is Running."""
        took = []
        for number in range(times):
            name = f"single-{time.monotonic_ns()}-{number}"

            async def make(name: str = name) -> None:
                await self.api.request("POST", POD_PATH, body=pod(name, {"app": "single"}))

            took.append(await self.running_s(1, make))
            await self.api.delete(PODS, "default", name, grace_s=0)
            await self.gone({"single"})
        return took

    async def lost_nodes(self) -> int:
        """How many times a node was taken for dead."""
        return sum(one["reason"] == "NodeNotReady" for one in (await self.api.list(EVENTS)).items)

    async def gone(self, apps: set[str]) -> None:
        """Wait until no such pods are left, by looking."""
        async with asyncio.timeout(60):
            while any(
                one["metadata"].get("labels", {}).get("app") in apps
                for one in (await self.api.list(PODS, "default")).items
            ):
                await asyncio.sleep(0.05)

    async def waited_s(self, ask: Callable[[int], Awaitable[object]], times: int) -> list[float]:
        """Seconds of each of so many requests, one after the other."""
        took = []
        for number in range(times):
            began = time.monotonic()
            await ask(number)
            took.append(time.monotonic() - began)
        return took

    async def told_s(self, times: int) -> list[float]:
        """From the request that creates a ConfigMap until a watch has told of it."""
        took = []
        async with self.watching(MAPS) as events:
            for number in range(times):
                name = f"told-{time.monotonic_ns()}-{number}"
                began = time.monotonic()
                making = asyncio.ensure_future(self.api.request("POST", CONFIG_MAPS, body=config_map(name)))
                async for event in events:
                    if event.object["metadata"].get("name") == name:  # a bookmark has none
                        break
                took.append(time.monotonic() - began)
                await making
        return took

    # ------------------------------------------------------------------ nodes
    @asynccontextmanager
    async def tellers(self) -> AsyncIterator[list[Teller]]:
        """Who tells of the rules, in every node."""
        tellers = [await Teller.in_node(self.cli, f"n{number + 1}") for number in range(self.nodes)]
        try:
            yield tellers
        finally:
            for one in tellers:
                await one.end()

    def memory_mb(self) -> dict[str, float]:
        """Of the server and of a node's agent (the largest), what is theirs and their share of what is not (PSS)."""
        found: dict[str, list[float]] = {}
        for pid, _ in family(pid_one(self.cli, LAB)):
            name = command_line(pid).split(" ")[0].rpartition("/")[2]
            if name in ("kubelet", "kube-apiserver", "etcd"):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                size_kb = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
                found.setdefault(name, []).append(size_kb / 1000)
        return {name: max(sizes) for name, sizes in found.items()}


@dataclass
class Teller:
    """The small program in a node."""

    node: str
    process: asyncio.subprocess.Process

    @classmethod
    async def in_node(cls, cli: Cli, node: str) -> Teller:
        process = await asyncio.create_subprocess_exec(
            cli.program, "exec", node, "--", "python3", "-I", "-c", _TELLER, env=cli.environment, cwd=cli.directory,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        it = cls(node, process)
        await it.next("listens")
        return it

    async def next(self, kind: str, since: float = 0.0) -> float:
        """When the next of a kind was, passing over earlier ones and others."""
        assert self.process.stdout is not None
        while True:
            async with asyncio.timeout(60):
                line = (await self.process.stdout.readline()).split()
            assert line, f"{self.node}: the teller ended"
            if line[0].decode() == kind and float(line[1]) >= since:
                return float(line[1])

    async def quiet(self, for_s: float) -> None:
        """Wait until the node's rules have not changed for so long."""
        while True:
            try:
                async with asyncio.timeout(for_s):
                    await self.next("rules")
            except TimeoutError:
                return

    def ask(self, address: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{address}\n".encode())

    async def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.process.wait()


def config_map(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b" * 100}}


def client_of(kubeconfig: str) -> HttpApi:
    """A client that a kubeconfig describes."""
    config = yaml.safe_load(kubeconfig)
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    with tempfile.NamedTemporaryFile() as file:
        file.write(
            base64.b64decode(user["client-certificate-data"]) + b"\n" + base64.b64decode(user["client-key-data"])
        )
        file.flush()
        context.load_cert_chain(file.name)
    return HttpApi(cluster["server"], tls=context, timeout_s=120)


@asynccontextmanager
async def sized_cluster(cli: Cli, nodes: int, store: str) -> AsyncIterator[SizedCluster]:
    """A cluster whose nodes are all Ready; it is down afterwards."""
    path = cli.directory / "lab.yaml"
    path.write_text(lab_text(nodes, store))
    began = time.monotonic()
    up = await asyncio.create_subprocess_exec(
        cli.program, "up", str(path), env=cli.environment, stdout=subprocess.DEVNULL
    )
    try:
        assert await up.wait() == 0
        kubeconfig = await asyncio.to_thread(cli, "kubeconfig", "sized")
        assert kubeconfig.returncode == 0, kubeconfig.stderr
        (cli.directory / "kubeconfig").write_text(kubeconfig.stdout)
        api = client_of(kubeconfig.stdout)
        try:
            async with asyncio.timeout(60):
                while True:
                    listed = (await api.list(NODES)).items
                    if len(listed) == nodes and all(_is_ready(node) for node in listed):
                        break
                    await asyncio.sleep(0.01)
            yield SizedCluster(cli, nodes, api, time.monotonic() - began)
        finally:
            api.close()
    finally:
        await asyncio.to_thread(cli, "down", "sized", timeout_s=120)


def _is_ready(thing: Object) -> bool:
    conditions = (thing.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


# ---------------------------------------------------------------- what is measured
async def measured_pods(cluster: SizedCluster, count: int, serving: int) -> dict[str, str]:
    """So many of the pods serve (`web`), the others are in groups of two."""
    rows = {"a pod on the idle cluster, ms": f"{ms_of(await cluster.pod_s(7)):.0f}"}

    async def make() -> None:
        others = (pod(f"p-{one}", {"app": "bare", "group": str(one // 2)}) for one in range(count - serving))
        path = "/api/v1/namespaces/default/replicationcontrollers"
        await asyncio.gather(cluster.api.request("POST", path, body=web(serving)), cluster.create_all(POD_PATH, others))

    took_s = await cluster.running_s(count, make)
    pods = (await cluster.api.list(PODS, "default")).items
    kept = sum(is_running(one) for one in pods)
    assert kept == len(pods) == count, f"of {count} pods {kept} run, {len(pods)} are there"
    return {**rows, f"{count} pods, per second": f"{count / took_s:.1f}"}


async def measured_services(
    cluster: SizedCluster, count: int, *, pods: int, serving: int, turns: int = 3
) -> dict[str, str]:
    """`count` Services of a group each; beside them one of all that serve appears and loses an endpoint."""
    groups = (pods - serving) // 2
    appeared, withdrawn = [], []
    async with cluster.tellers() as tellers:
        began = time.monotonic()
        await cluster.create_all(SERVICES, (service(f"s-{one}", {"group": str(one % groups)}) for one in range(count)))
        for one in tellers:
            await one.quiet(_QUIET_S)
        rows = {f"{count} Services made, in all rules, s": f"{time.monotonic() - began - _QUIET_S:.0f}"}
        for turn in range(turns):
            began = time.monotonic()
            made = await cluster.api.request("POST", SERVICES, body=service(f"web-{turn}", {"app": "web"}))
            for one in tellers:
                one.ask(made["spec"]["clusterIP"])
            appeared.append([await one.next("answered", began) - began for one in tellers])
            for one in tellers:
                await one.quiet(_QUIET_S)
            every = (await cluster.api.list(PODS, "default")).items
            leaving = next(one["metadata"] for one in every if one["metadata"]["labels"].get("app") == "web")
            began = time.monotonic()
            await cluster.api.patch(PODS, "default", leaving["name"], {"metadata": {"labels": {"app": "x"}}})
            withdrawn.append([await one.next("rules", began) - began for one in tellers])
            for one in tellers:
                await one.quiet(_QUIET_S)
    for what, times in (("appears: packets pass", appeared), ("loses one: out of the rules", withdrawn)):
        first, last = ms_of(map(min, times)), ms_of(map(max, times))
        rows[f"a Service of {serving} {what}, first and last node, ms"] = f"{first:.0f}, {last:.0f}"
    return rows


async def measured_objects(cluster: SizedCluster, count: int) -> dict[str, str]:
    """Half ConfigMaps, half pods that no node takes; times beside those of the cluster without them."""

    async def asked() -> dict[str, float]:
        stamp = time.monotonic_ns()
        api, config = cluster.api, cluster.cli.directory / "kubeconfig"

        async def kubectl(*words: str) -> float:
            began = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                "kubectl", "--kubeconfig", str(config), "get", *words, env=cluster.cli.environment,
                stdout=subprocess.DEVNULL,
            )  # fmt: skip
            assert await process.wait() == 0
            return time.monotonic() - began

        return {
            "create": ms_of(
                await cluster.waited_s(
                    lambda number: api.request("POST", CONFIG_MAPS, body=config_map(f"one-{stamp}-{number}")), 100
                )
            ),
            "get": ms_of(await cluster.waited_s(lambda _: api.get(MAPS, "default", f"one-{stamp}-0"), 200)),
            "a watch's event": ms_of(await cluster.told_s(50)),
            "`kubectl get` of one": ms_of([await kubectl("configmap", f"one-{stamp}-0") for _ in range(3)]),
            "list of ConfigMaps": ms_of(await cluster.waited_s(lambda _: api.list(MAPS, "default"), 3)),
            "`kubectl get configmaps`": ms_of([await kubectl("configmaps") for _ in range(3)]),
        }

    before = await asked()
    began = time.monotonic()
    half = count // 2
    await cluster.create_all(CONFIG_MAPS, (config_map(f"m-{one}") for one in range(half)))
    nowhere = {"nodeSelector": {"nowhere": "yes"}}
    await cluster.create_all(POD_PATH, (pod(f"waits-{one}", {"app": "waits"}, **nowhere) for one in range(half)))
    rows = {f"{count} objects created, per second": f"{count / (time.monotonic() - began):.0f}"}
    after = await asked()
    for what, before_ms in before.items():
        rows[f"{what}, ms; with {count} objects"] = (
            f"{before_ms:.1f}; {after[what]:.1f} (× {after[what] / before_ms:.1f})"
        )
    return rows
