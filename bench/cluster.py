"""How much does a whole cluster hold, and how fast is it then?

A lab of ten nodes through `trenza up`, as an ordinary user: real server, real agents. 1000 pods are created at once
through the API, 900 of them bare and 100 of a ReplicationController, each with a token and a network of its own; the
rate is until the last of them is Running with its address (aim: 20 per second). A single pod is measured before and
after, from the request until a watch tells that it is Running (aim: 300 ms). Beside 1000 Services of two endpoints
each, one of the 100 appears and loses an endpoint: until a connection from every node gets through, and until every
node's nftables has committed (aim: 100 ms in the rules). Then an otherwise empty cluster of one node has 10,000
objects: half ConfigMaps, half pods that no node takes; what it does then, as ratios to what it did before.

`--small` has 2 nodes, 40 pods, 20 Services and 400 objects, `--three` has 3 nodes and 300 pods, 100 of them of the
ReplicationController, and 400 objects; `embedded` or `etcd` is that store alone. Caveats: one machine, shared by all
hosts, the server, the client and everybody else on it; ten nodes' agents write the same rules at the same time on its
processors.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from conftest import Cli  # noqa: E402
from sized_cluster import (  # noqa: E402
    SizedCluster,
    measured_objects,
    measured_pods,
    measured_services,
    sized_cluster,
)

Rows = dict[str, str]


@dataclass(frozen=True, slots=True)
class Size:
    """How large it all is."""

    nodes: int = 10
    pods: int = 1000
    serving: int = 100
    services: int = 1000
    objects: int = 10_000


SIZES = {"": Size(), "--small": Size(2, 40, 4, 20, 400), "--three": Size(3, 300, 100, 1000, 400)}


async def measured(cli: Cli, size: Size, store: str) -> AsyncIterator[Rows]:
    """The rows of the table, as they are known."""
    async with sized_cluster(cli, size.nodes, store) as cluster:
        yield {f"`up` until {size.nodes} nodes are Ready, s": f"{cluster.ready_s:.1f}"}
        yield await measured_pods(cluster, size.pods, size.serving)
        yield await single(cluster)
        yield {f"{name}, MB": f"{size_mb:.0f}" for name, size_mb in sorted(cluster.memory_mb().items())}
        yield await measured_services(cluster, size.services, pods=size.pods, serving=size.serving)
        yield {"nodes taken for dead": f"{await cluster.lost_nodes()}"}
    async with sized_cluster(cli, 1, store) as cluster:
        yield await measured_objects(cluster, size.objects)


async def single(cluster: SizedCluster) -> Rows:
    """A pod more on the full cluster."""
    took = sorted(await cluster.pod_s(5))
    return {"a pod on the full cluster, ms": f"{took[2] * 1000:.0f} (worst {took[-1] * 1000:.0f})"}


async def main() -> None:
    """Prints the page's heading and the table, in Markdown."""
    size = SIZES[next((word for word in sys.argv if word in SIZES), "")]
    found: dict[str, Rows] = {}
    stores = ("embedded", *(("etcd",) if shutil.which("etcd") else ()))
    for store in [store for store in stores if store in sys.argv] or stores:
        with tempfile.TemporaryDirectory(prefix="trenza-", dir="/tmp") as directory:
            environment = {**os.environ, "XDG_RUNTIME_DIR": directory, "XDG_STATE_HOME": f"{directory}/state"}
            cli = Cli(str(ROOT / ".venv/bin/trenza"), environment, Path(directory))
            began_s = time.monotonic()
            found[store] = {}
            async for rows in measured(cli, size, store):
                found[store] |= rows
                print(store, rows, file=sys.stderr, flush=True)  # the whole takes minutes
            found[store]["all of it, s"] = f"{time.monotonic() - began_s:.0f}"
    load = os.getloadavg()[0]
    print(f"{__doc__}\nKernel {platform.release()}, {os.cpu_count()} cores, load {load:.1f} at the end.\n")
    print(f"| | {' | '.join(found)} |\n|---|{'---:|' * len(found)}")
    for row in dict.fromkeys(row for rows in found.values() for row in rows):
        print(f"| {row} | {' | '.join(rows.get(row, '') for rows in found.values())} |")


if __name__ == "__main__":
    if os.getuid() == 0:
        os.execv(ROOT / "scripts/as-user.sh", ["as-user.sh", sys.executable, __file__, *sys.argv[1:]])
    asyncio.run(main())
