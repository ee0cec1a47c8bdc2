"""`python -m trenza.cluster.server`: the server of one cluster until SIGTERM or SIGINT.

With `--host-pid` it goes to the network and pid namespaces of a host of the sandbox first, as a node's agent does, and
the process that was started ends at once (0: it is on its way); what it has to say is in its output.

It prints one line once it answers: `listening on https://ADDRESS:PORT`. Exit 1: the store could not be opened, or the
address could not be had; the reason is on stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from ipaddress import IPv4Network
from pathlib import Path

from trenza.cluster.controllers.controlplane import Settings
from trenza.cluster.controllers.nodes import NodeTimes
from trenza.cluster.server.first_objects import Networks
from trenza.cluster.server.server import ServerSettings, running
from trenza.errors import TrenzaError


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    said = _parser().parse_args(arguments)
    settings = _settings(said)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if said.host_pid is None:
        return _run(settings)
    from trenza.cluster.node.launch import enter

    enter(said.host_pid, lambda _: sys.exit(_run(settings)), title=b"kube-apiserver")
    return 0


def _run(settings: ServerSettings) -> int:
    try:
        asyncio.run(_serve(settings))
    except (TrenzaError, OSError) as error:
        print(f"trenza.cluster.server: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


async def _serve(settings: ServerSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as server:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        print(f"listening on https://{host}:{server.port}", flush=True)
        await stop.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trenza.cluster.server", description="The API server of one cluster.")
    add = parser.add_argument
    add("--listen", required=True, metavar="ADDR:PORT", help="where to answer; port 0 is chosen by the kernel")
    add("--state", required=True, type=Path, metavar="DIR", help="keys, kubeconfig and the embedded store, 0700")
    add("--etcd", default="", metavar="URL,…", help="endpoints of an etcd; without it the store is embedded")
    add("--address", action="append", default=[], metavar="NAME", help="a name or address of the server; repeat")
    add("--descriptor", action="append", default=[], type=int, metavar="N", help="a socket that listens; repeat")
    add("--host-pid", type=int, metavar="PID", help="the init of the host to run in, as this process sees it")
    add("--pods", type=IPv4Network, default=IPv4Network("172.16.0.0/16"), metavar="NET")
    add("--services", type=IPv4Network, default=IPv4Network("10.254.0.0/16"), metavar="NET")
    add("--overlay", choices=("vxlan", "host-gw"), default="vxlan")
    add("--cluster", default="trenza", metavar="NAME", help="the name in kubeconfigs")
    add("--eviction", type=int, default=300, metavar="S", help="pods of a node in trouble are replaced after so long")
    add("--node-grace", type=float, metavar="S", help="a silent node is NotReady after so long")
    return parser


def _settings(said: argparse.Namespace) -> ServerSettings:
    host, _, port = said.listen.rpartition(":")
    times = NodeTimes() if said.node_grace is None else NodeTimes(grace_s=said.node_grace)
    return ServerSettings(
        directory=said.state,
        networks=Networks(said.pods, said.services, said.overlay),
        host=host.strip("[]"),
        port=int(port),
        addresses=tuple(said.address),
        descriptors=tuple(said.descriptor),
        etcd=tuple(one for one in said.etcd.split(",") if one),
        cluster=said.cluster,
        eviction_s=said.eviction,
        control=Settings(node_times=times),
    )


if __name__ == "__main__":
    sys.exit(main())
