"""How fast does a cluster's API server answer?

The server is a process of its own with the embedded store: every creation is durable before its answer. Creations: 3000
ConfigMaps, and 1500 Deployments' worth of pods (unschedulable: no node), over 16 connections that are kept, TLS, JSON.
Reads: 2000 gets of one object, one after the other, while nothing else happens, and while 4 connections create. Lists:
10,000 ConfigMaps whole, and in pages of 500.

Caveats: one machine, shared by client and server, each of which has one core; the client is Python too, and hand-made.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

CONNECTIONS, MAPS, PODS, GETS, LISTED = 16, 3000, 1500, 2000, 10_000
PATH = "/api/v1/namespaces/default"


class Connection:
    """One kept connection; a request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> None:
        self._reader, self._writer = reader, writer
        self._head = f"Host: localhost\r\nAuthorization: Bearer {token}\r\nAccept: application/json\r\n"

    async def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The answer's body; only 200 and 201 are right."""
        about = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{self._head}{about}\r\n".encode() + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        content = await self._reader.readexactly(length)
        assert head.startswith((b"http/1.1 200", b"http/1.1 201")), content
        return content


def config_map(number: int) -> bytes:
    return json.dumps({"metadata": {"name": f"m-{number}"}, "data": {"a": "b" * 100}}).encode()


def pod(number: int) -> bytes:
    container = {"name": "c", "image": "host", "ports": [{"containerPort": 80}]}
    metadata = {"name": f"p-{number}", "labels": {"app": "web"}}
    return json.dumps({"metadata": metadata, "spec": {"containers": [container]}}).encode()


async def rate(connections: list[Connection], path: str, bodies: Iterator[bytes]) -> float:
    """Creations per second."""
    count = 0

    async def work(connection: Connection) -> None:
        nonlocal count
        for body in bodies:  # shared: whoever is free takes the next
            await connection.ask("POST", path, body)
            count += 1

    begin = time.perf_counter()
    await asyncio.gather(*(work(one) for one in connections))
    return count / (time.perf_counter() - begin)


async def get_ms(connection: Connection) -> list[float]:
    """The median and the 99th percentile."""
    times = []
    for _ in range(GETS):
        begin = time.perf_counter()
        await connection.ask("GET", f"{PATH}/configmaps/m-0")
        times.append((time.perf_counter() - begin) * 1000)
    return [statistics.median(times), statistics.quantiles(times, n=100)[98]]


async def main() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:  # a disk, where /tmp may be memory
        state = Path(directory) / "state"
        server = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "trenza.cluster.server", "--listen", "127.0.0.1:0", "--state", str(state),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            assert server.stdout is not None
            port = int((await server.stdout.readline()).decode().rpartition(":")[2])
            tls = ssl.create_default_context(cafile=str(state / "ca.crt"))
            token = (state / "admin.token").read_text()

            async def connected() -> Connection:
                streams = await asyncio.open_connection(
                    "127.0.0.1", port, ssl=tls, server_hostname="localhost", limit=1 << 26
                )
                return Connection(*streams, token)

            connections = [await connected() for _ in range(CONNECTIONS)]
            maps = await rate(connections, f"{PATH}/configmaps", (config_map(number) for number in range(MAPS)))
            print(f"ConfigMaps: {maps:.0f} creations per second, {CONNECTIONS} connections")
            quiet = await get_ms(connections[0])
            print(f"get: {quiet[0]:.2f} ms median, {quiet[1]:.2f} ms at 99 %")
            more = iter([config_map(number) for number in range(MAPS, LISTED)])
            filling = asyncio.create_task(rate(connections[1:5], f"{PATH}/configmaps", more))
            busy = await get_ms(connections[0])
            print(f"get while others create: {busy[0]:.2f} ms median, {busy[1]:.2f} ms at 99 %")
            await filling
            begin = time.perf_counter()
            whole = len(await connections[0].ask("GET", f"{PATH}/configmaps"))
            took_ms = (time.perf_counter() - begin) * 1000
            print(f"a list of {LISTED}: {took_ms:.0f} ms ({whole / 1e6:.1f} MB)")
            begin, after = time.perf_counter(), ""
            while True:
                page = json.loads(await connections[0].ask("GET", f"{PATH}/configmaps?limit=500{after}"))
                if "continue" not in page["metadata"]:
                    break
                after = f"&continue={page['metadata']['continue']}"
            print(f"the same in pages of 500: {(time.perf_counter() - begin) * 1000:.0f} ms")
            pods = await rate(connections, f"{PATH}/pods", (pod(number) for number in range(PODS)))
            print(f"Pods, the controllers looking at each: {pods:.0f} creations per second")
        finally:
            server.terminate()
            await server.wait()


if __name__ == "__main__":
    asyncio.run(main())
