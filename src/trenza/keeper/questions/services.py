"""Services: names, leases, daemons and commands."""

from __future__ import annotations

import os
import re
import select
import time
from ipaddress import ip_address
from typing import Any

from trenza.check.verdict import Finding, Said, cannot_tell, failed, passed, same
from trenza.errors import KernelError
from trenza.keeper.questions.asker import Asker, explained
from trenza.keeper.scene import Scene
from trenza.linux.asking.dhcp import discover
from trenza.linux.asking.dns import resolve
from trenza.linux.inside import SpawnerClient
from trenza.linux.netns import Home
from trenza.linux.probes import connects
from trenza.linux.processes import own_processes
from trenza.model.checks import (
    Dhcp,
    Dns,
    Run,
    ServiceRuns,
)
from trenza.model.names import NodeName
from trenza.model.state import IpAddress

_RUN_S = 10.0
_OUTPUT_BYTES = 1 << 16


async def dns(asker: Asker, scene: Scene, question: Dns) -> Finding:
    node = scene.handle(question.source)
    server = scene.address(question.server, node.node.name) if question.server is not None else None
    if server is None:
        server = _name_server(asker, node.node.name)
        if server is None:
            name = scene.say(question.source)
            said = Said(
                f"{name} has no name server in /etc/resolv.conf", f"{name} no tiene servidor en /etc/resolv.conf"
            )
            return failed(said, because=said, stays=True)
    found = await asker.in_thread(resolve, node.netns, server, question.name, question.type)
    shown = found.error or " ".join(found.answers) or found.rcode or "-"
    evidence: dict[str, Any] = {
        "server": str(server),
        "rcode": found.rcode,
        "answers": list(found.answers),
        "error": found.error,
    }
    wanted = {
        str(scene.counterparts.address(ip)) if (ip := _ip(text)) else text.rstrip(".") for text in question.answers
    }
    if found.answers and (not wanted or set(found.answers) == wanted):
        return passed(same(shown), **evidence)
    finding = failed(same(shown), because=Said(f"{server} says: {shown}", f"{server} dice: {shown}"), **evidence)
    if found.rcode is None:
        why = explained(scene, finding, node.node.name, server)
        return why if why.because else finding
    return finding


def _name_server(asker: Asker, node: NodeName) -> IpAddress | None:
    read = asker.nodes.read(node, "/etc/resolv.conf", limit_bytes=1 << 16)
    for line in (read[0] if read else b"").decode(errors="replace").splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            return _ip(words[1])
    return None


async def dhcp(asker: Asker, scene: Scene, question: Dhcp) -> Finding:
    nic = scene.interface(question.at)
    offers = await asker.in_thread(discover, scene.handle(question.at.node).netns, nic.nic)
    shown = ", ".join(f"{one.address} ({one.server})" for one in offers) or "-"
    told = [{"address": one.address, "server": one.server, "router": one.router} for one in offers]
    evidence: dict[str, Any] = {"offers": told}
    if not offers:
        said = Said(f"nobody offers an address at {nic}", f"nadie ofrece una dirección en {nic}")
        return failed(said, because=said, **evidence)
    for offer in offers:
        wrong: Said | None = None
        if question.network is not None and offer.address not in question.network:
            wrong = Said(
                f"{offer.address} is not in {question.network}", f"{offer.address} no está en {question.network}"
            )
        elif question.server is not None and offer.server not in scene.addresses(question.server):
            wrong = Said(f"{offer.server} offers", f"ofrece {offer.server}")
        elif question.router is not None and offer.router not in scene.addresses(question.router):
            wrong = Said(f"the router is {offer.router or '-'}", f"el router es {offer.router or '-'}")
        if wrong is not None:
            return failed(same(shown), because=wrong, **evidence)
    return passed(same(shown), **evidence)


async def service(asker: Asker, scene: Scene, question: ServiceRuns) -> Finding:
    node = scene.handle(question.node)
    name = scene.say(question.node)
    running = [] if node.pid is None else _programs(node.pid)
    ports = {port: await asker.in_thread(_listens, node.netns, port) for port in question.ports}
    evidence: dict[str, Any] = {"programs": running, "ports": {str(port): open_ for port, open_ in ports.items()}}
    asked = 1 + len(ports)
    right = (question.program in running) + sum(ports.values())
    if right == asked:
        shown = " ".join([question.program, *(f":{port}" for port in ports)])
        return passed(same(shown), **evidence)
    if question.program not in running:
        because = Said(f"no {question.program} runs in {name}", f"en {name} no corre {question.program}")
        return failed(because, because=because, **evidence)
    closed = " ".join(str(port) for port, open_ in ports.items() if not open_)
    because = Said(f"{name} accepts no connection at {closed}", f"{name} no acepta conexiones en {closed}")
    return failed(because, credit=right / asked, because=because, **evidence)


async def run(asker: Asker, scene: Scene, question: Run) -> Finding:
    node = scene.node(question.node)
    status, output = await asker.in_thread(_run_in, node, question.argv)
    text = output.decode(errors="replace")
    evidence: dict[str, Any] = {"argv": list(question.argv), "status": status, "output": text[:4000]}
    last = text.strip().splitlines()[-1][:120] if text.strip() else ""
    if status is None:
        return cannot_tell(Said(f"it did not end in {_RUN_S:g} s", f"no acabó en {_RUN_S:g} s"), **evidence)
    if status in (125, 126, 127):
        return cannot_tell(Said(f"it could not be run ({status})", f"no se pudo ejecutar ({status})"), **evidence)
    said = Said(f"status {status}: {last}", f"estado {status}: {last}")
    if status == question.status and (question.output is None or re.search(question.output, text)):
        return passed(said, **evidence)
    return failed(said, because=said, **evidence)


def _listens(netns: int, port: int) -> bool:
    home = Home()
    try:
        return connects(home, netns, port)
    finally:
        home.close()


def _ip(text: str) -> IpAddress | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _programs(init_pid: int) -> list[str]:
    """The programs that run in a node, by the name of the file that is executed: a process cannot choose that."""
    found = set()
    for process in own_processes(init_pid):
        if process.state in ("Z", "X"):
            continue
        try:
            found.add(os.path.basename(os.readlink(f"/proc/{process.pid}/exe")).removesuffix(" (deleted)"))
        except OSError:
            continue
    return sorted(found)


def _run_in(node: NodeName, argv: tuple[str, ...]) -> tuple[int | None, bytes]:
    """A command's status (None: it did not end in time) and what it printed, of that the beginning."""
    client = SpawnerClient()
    reader, writer = os.pipe2(os.O_CLOEXEC)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            client.ask({"do": "exec", "node": node, "argv": list(argv)}, (null, writer, writer))
        finally:
            os.close(writer)
            os.close(null)
        return _await_end(client, reader, time.monotonic() + _RUN_S)
    except KernelError as error:
        return getattr(error, "status", 125), b""
    finally:
        os.close(reader)
        client.close()  # which hangs up a command that still runs


def _await_end(client: SpawnerClient, reader: int, until: float) -> tuple[int | None, bytes]:
    poll = select.poll()
    poll.register(client.fileno(), select.POLLIN)
    poll.register(reader, select.POLLIN)
    output = b""
    while (left_s := until - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(left_s * 1000):
            if descriptor == reader:
                data = os.read(reader, 1 << 14)
                if not data:
                    poll.unregister(reader)
                output = (output + data)[:_OUTPUT_BYTES]
            else:
                status = int(client.receive()[0]["exit"])
                os.set_blocking(reader, False)
                try:
                    output = (output + os.read(reader, 1 << 16))[:_OUTPUT_BYTES]
                except BlockingIOError:
                    pass
                return (status if status >= 0 else 128 - status), output
    return None, output
