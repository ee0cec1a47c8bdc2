"""A node without containers: its pods run at once, commands in them run on this machine, and logs are what a test says.

It speaks to the server as an agent does: the registry's writes, and the framed streams on its own port.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from trenza.cluster.kinds.names import timestamp
from trenza.cluster.kinds.resources import Object, Resource, find_resource
from trenza.cluster.kinds.selectors import field_selector
from trenza.cluster.kinds.status import ApiError
from trenza.cluster.server.deletion import DeleteOptions
from trenza.cluster.server.listing import ListOptions
from trenza.cluster.server.registry import Registry, Writer

_KUBELET = Writer("kubelet")
_HEADER = struct.Struct("!BI")


def resource(plural: str, group: str = "", version: str = "v1") -> Resource:
    found = find_resource(group, version, plural)
    assert found is not None
    return found


PODS, NODES, LEASES = resource("pods"), resource("nodes"), resource("leases", "coordination.k8s.io")


@dataclass(slots=True)
class FakeNode:
    """One node. `logs` by container; a followed log is not ended before `ended` is set."""

    registry: Registry
    name: str
    logs: dict[str, list[str]] = field(default_factory=dict)
    ready: bool = True
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    streams_open: int = 0
    _number: int = 0
    _port: int = 0

    async def register(self) -> None:
        now = timestamp(self.registry.now_s())
        condition = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is ready"}
        resources = {"cpu": "8", "memory": "16Gi", "pods": "5000"}
        node: Object = {
            "kind": "Node",
            "apiVersion": "v1",
            "metadata": {"name": self.name, "labels": {"kubernetes.io/hostname": self.name}},
            "spec": {},
        }
        await self.registry.create(NODES, node, _KUBELET)
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": self.name}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._port}},
            "capacity": resources,
            "allocatable": resources,
            "conditions": [{**condition, "lastHeartbeatTime": now, "lastTransitionTime": now}],
            "nodeInfo": {
                "kubeletVersion": "v1.32.0",
                "osImage": "trenza",
                "kernelVersion": "6.1",
                "architecture": "amd64",
                "containerRuntimeVersion": "trenza://1",
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
            },
        }
        await self.registry.update(
            NODES, "", self.name, lambda live: {**live, "status": status}, _KUBELET, subresource="status"
        )

    async def work(self) -> None:
        """Run what is bound here, end what is deleted; for ever."""
        options = ListOptions(fields=field_selector(f"spec.nodeName={self.name}", PODS))
        async for events in self.registry.watch(PODS, "", options):
            for seen in events:
                if seen.type in ("ADDED", "MODIFIED"):
                    with contextlib.suppress(ApiError):
                        await self._pod(seen.object)

    async def _pod(self, pod: Object) -> None:
        metadata = pod["metadata"]
        place = metadata["namespace"], metadata["name"]
        if "deletionTimestamp" in metadata:
            if metadata.get("deletionGracePeriodSeconds"):
                await self.registry.delete(PODS, *place, DeleteOptions(0, None, metadata["uid"]), _KUBELET)
        elif pod["status"].get("phase") == "Pending":
            self._number += 1
            ip = f"172.16.{self._number // 250}.{self._number % 250 + 2}"
            await self.registry.update(
                PODS, *place, lambda live: {**live, "status": self._status(live, ip)}, _KUBELET, subresource="status"
            )

    def _status(self, pod: Object, ip: str) -> Object:
        now = timestamp(self.registry.now_s())
        kept = [one for one in pod["status"].get("conditions", ()) if one["type"] == "PodScheduled"]
        ready = "True" if self.ready else "False"
        conditions = [
            {"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": now}
            for kind, status in (("Initialized", "True"), ("ContainersReady", ready), ("Ready", ready))
        ]
        containers = [
            {
                "name": one["name"],
                "image": one["image"],
                "imageID": "",
                "ready": self.ready,
                "started": True,
                "restartCount": 0,
                "containerID": f"trenza://{one['name']}",
                "state": {"running": {"startedAt": now}},
                "lastState": {},
            }
            for one in pod["spec"]["containers"]
        ]
        return {
            **pod["status"],
            "phase": "Running",
            "startTime": now,
            "hostIP": "127.0.0.1",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [*kept, *conditions],
            "containerStatuses": containers,
        }

    # --- its agent's port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.streams_open += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            target = urlsplit(head.split()[1])
            query = parse_qs(target.query)
            match target.path.strip("/").split("/"):
                case ["containerLogs", _, _, container]:
                    await self._log(container, query, reader, writer)
                case ["exec", *_]:
                    writer.write(
                        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: trenza-stream\r\n\r\n"
                    )
                    await _execute(query, reader, writer)
                case ["attach", *_]:
                    writer.write(
                        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: trenza-stream\r\n\r\n"
                    )
                    await _execute({**query, "command": ["cat"]}, reader, writer)
                case ["portForward", *_]:
                    writer.write(
                        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: trenza-stream\r\n\r\n"
                    )
                    await _forward(int(query["port"][0]), reader, writer)
                case _:
                    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone")
            await writer.drain()
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            self.streams_open -= 1
            writer.close()

    async def _log(
        self, container: str, query: dict[str, list[str]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if "previous" in query:
            said = b'previous terminated container "c" in pod not found'
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said))
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
        lines = self.logs.get(container, [])
        for line in lines[-int(query["tailLines"][0]) :] if "tailLines" in query else lines:
            content = f"{line}\n".encode()
            writer.write(b"%x\r\n%b\r\n" % (len(content), content))
        await writer.drain()
        if "follow" in query:
            ended, gone = asyncio.create_task(self.ended.wait()), asyncio.create_task(reader.read())
            await asyncio.wait((ended, gone), return_when=asyncio.FIRST_COMPLETED)
            for task in (ended, gone):
                task.cancel()
        writer.write(b"0\r\n\r\n")


@asynccontextmanager
async def fake_node(registry: Registry, name: str, **settings: Any) -> AsyncIterator[FakeNode]:
    """The node at work."""
    node = FakeNode(registry, name, **settings)
    server = await asyncio.start_server(node.serve, "127.0.0.1", 0)
    node._port = server.sockets[0].getsockname()[1]
    await node.register()
    working = asyncio.create_task(node.work())
    try:
        yield node
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        server.close()


def _frame(channel: int, payload: bytes) -> bytes:
    return _HEADER.pack(channel, len(payload)) + payload


async def _execute(query: dict[str, list[str]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    pipe = asyncio.subprocess.PIPE
    stdin = pipe if "stdin" in query else asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(*query["command"], stdin=stdin, stdout=pipe, stderr=pipe)
    except OSError as error:
        writer.write(_frame(3, json.dumps({"code": 127, "message": str(error)}).encode()))
        return

    async def copy(channel: int, output: asyncio.StreamReader) -> None:
        while content := await output.read(1 << 16):
            writer.write(_frame(channel, content))
            await writer.drain()

    async def type_() -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                channel, size = _HEADER.unpack(await reader.readexactly(_HEADER.size))
                payload = await reader.readexactly(size)
                if channel == 0 and process.stdin is not None:
                    if payload:
                        process.stdin.write(payload)
                        await process.stdin.drain()
                    else:
                        process.stdin.close()
                elif channel == 4:
                    writer.write(_frame(1, b"size %b\n" % payload))
            return
        process.kill()  # the connection's end is the command's

    assert process.stdout is not None
    assert process.stderr is not None
    typing = asyncio.create_task(type_())
    try:
        await asyncio.gather(copy(1, process.stdout), copy(2, process.stderr))
        writer.write(_frame(3, json.dumps({"code": await process.wait()}).encode()))
        await writer.drain()
    finally:
        typing.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _forward(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError as error:
        writer.write(_frame(3, json.dumps({"code": 1, "message": str(error)}).encode()))
        return

    async def inward() -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                _, size = _HEADER.unpack(await reader.readexactly(_HEADER.size))
                payload = await reader.readexactly(size)
                if payload:
                    far_writer.write(payload)
                else:
                    far_writer.write_eof()
        far_writer.close()  # the connection's end is the forward's

    typing = asyncio.create_task(inward())
    try:
        while content := await far_reader.read(1 << 16):
            writer.write(_frame(1, content))
            await writer.drain()
        writer.write(_frame(1, b""))
    finally:
        typing.cancel()
        far_writer.close()
