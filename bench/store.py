"""How fast is the store of a cluster's objects?

Objects of 1 kB. Creates are durable before they are answered, by 1, 16 and 64 clients at a time; `get` is measured
alone and while 16 clients write; the list is of all objects, the page of 500; a watch's delay is from the moment a
write began until its event has arrived. The embedded store and, where Debian's etcd-server is installed, a real etcd of
one member take turns in one run, best of three.

Caveats: one machine, shared, its disk unlike yours (the first row is that disk: 1 kB appended and synced, in a loop);
client, store and watcher are one Python process, etcd is its own.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from trenza.cluster.store.embedded import EmbeddedStore
from trenza.cluster.store.errors import Unavailable
from trenza.cluster.store.etcd import EtcdStore
from trenza.cluster.store.protocol import Store

TURNS, COUNT = 3, 3000
VALUE = os.urandom(1000)


async def created_per_s(store: Store, clients: int) -> float:
    """Creates a second, by so many clients."""

    async def create(client: int) -> None:
        for number in range(client, COUNT, clients):
            await store.put(f"/bench/{clients}/{number:05}", VALUE, expected=0)

    began = time.perf_counter()
    await asyncio.gather(*(create(client) for client in range(clients)))
    return COUNT / (time.perf_counter() - began)


async def waited_ms(ask: Callable[[], Awaitable[object]], times: int) -> float:
    """Milliseconds of one call, median."""
    waits = []
    for _ in range(times):
        began = time.perf_counter()
        await ask()
        waits.append((time.perf_counter() - began) * 1000)
    return statistics.median(waits)


async def watched_ms(store: Store) -> float:
    """Milliseconds from the beginning of a write to its event, median."""
    waits = []
    with store.watch("/watched/", from_revision=await store.revision() + 1) as watch:
        for number in range(200):
            began = time.perf_counter()
            writing = asyncio.ensure_future(store.put(f"/watched/{number}", VALUE, expected=0))
            while not (await anext(watch)).events:
                pass
            waits.append((time.perf_counter() - began) * 1000)
            await writing
    return statistics.median(waits)


async def measured(store: Store) -> dict[str, float]:
    """Every row of the table."""
    rows = {f"creates/s, {clients} clients": await created_per_s(store, clients) for clients in (1, 16, 64)}
    rows["get, ms"] = await waited_ms(lambda: store.get("/bench/1/00007"), 500)
    rows["page of 500, ms"] = await waited_ms(lambda: store.range("/bench/", limit=500), 20)
    rows[f"list of {3 * COUNT}, ms"] = await waited_ms(lambda: store.range("/bench/"), 5)
    rows["event of a write, ms"] = await watched_ms(store)
    stop = False

    async def write(client: int) -> None:
        while not stop:
            await store.put(f"/busy/{client}", VALUE, expected=None)

    writers = [asyncio.create_task(write(client)) for client in range(16)]
    rows["get while 16 write, ms"] = await waited_ms(lambda: store.get("/bench/1/00007"), 500)
    stop = True
    await asyncio.gather(*writers)
    return rows


@asynccontextmanager
async def embedded(directory: Path) -> AsyncIterator[Store]:
    """A new embedded store."""
    store = await EmbeddedStore.open(directory / "store.db")
    yield store
    await store.close()


@asynccontextmanager
async def etcd(directory: Path) -> AsyncIterator[Store]:
    """A new etcd of one member."""
    ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    client, peer = (f"http://127.0.0.1:{port.getsockname()[1]}" for port in ports)
    for port in ports:
        port.close()
    argv = ["etcd", "--name", "m", "--data-dir", str(directory / "etcd"), "--initial-cluster", f"m={peer}"]
    argv += ["--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer]
    argv += ["--initial-advertise-peer-urls", peer, "--logger", "zap", "--log-level", "error"]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as process:
        try:
            store = await EtcdStore.open([client], patience_s=20)
            yield store
            await store.close()
        except Unavailable as error:
            raise SystemExit(f"etcd did not start: {error}") from error
        finally:
            process.kill()


def synced_per_s(directory: Path) -> float:
    """1 kB appended to a file and synced, so many times a second."""
    with (directory / "floor").open("wb", buffering=0) as file:
        began = time.perf_counter()
        for _ in range(300):
            file.write(VALUE)
            os.fdatasync(file.fileno())
        return 300 / (time.perf_counter() - began)


async def main() -> None:
    """Prints the page's heading and the table, in Markdown."""
    contenders = {"embedded": embedded, **({"etcd": etcd} if shutil.which("etcd") else {})}
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    floors = []
    for _ in range(TURNS):
        for name, opened in contenders.items():
            with tempfile.TemporaryDirectory(prefix="trenza-", dir="/tmp") as directory:
                floors.append(synced_per_s(Path(directory)))
                async with opened(Path(directory)) as store:
                    for row, value in (await measured(store)).items():
                        found[row][name].append(value)
    load = os.getloadavg()[0]
    print(f"{__doc__}\nKernel {platform.release()}, {os.cpu_count()} cores, load {load:.1f} at the end.\n")
    print(f"| | {' | '.join(contenders)} |\n|---|{'---:|' * len(contenders)}")
    print(f"| the disk: syncs/s | {max(floors):.0f} |{' |' * (len(contenders) - 1)}")
    for row, values in found.items():
        best = max if "/s" in row else min
        shown = [f"{best(values[name]):.{0 if '/s' in row else 2}f}" for name in contenders]
        print(f"| {row} | {' | '.join(shown)} |")


if __name__ == "__main__":
    asyncio.run(main())
