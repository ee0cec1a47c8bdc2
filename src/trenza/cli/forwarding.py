"""Ports of this machine that lead into a lab: forward."""

from __future__ import annotations

import argparse
from typing import Any

from trenza.cli.arguments import add_format, add_lab, complete_nodes
from trenza.cli.speech import note, put, put_json, table, tr
from trenza.client.session import ask, get_running
from trenza.errors import UsageError

Data = dict[str, Any]
_USAGE = "trenza forward [ADDRESS:]PORT NODE HOST:PORT"


def configure_forward(parser: argparse.ArgumentParser) -> None:
    parser.usage = f"{_USAGE}\n       trenza forward --stop PORT\n       trenza forward"
    action = parser.add_argument(
        "words",
        metavar="[ADDRESS:]PORT NODE HOST:PORT",
        nargs="*",
        help="a port of this machine, and where it leads, seen from a node; without any, what is forwarded",
    )
    action.completer = complete_nodes  # type: ignore[attr-defined]
    parser.add_argument("--stop", metavar="PORT", type=int, help="forward this port no more")
    add_lab(parser)
    add_format(parser)


def run_forward(arguments: argparse.Namespace) -> int:
    lab = get_running(arguments.lab)
    if arguments.stop is not None:
        if arguments.words:
            raise UsageError(tr("--stop takes a port and nothing else", "--stop lleva un puerto y nada más"))
        return _stop(arguments, lab)
    if not arguments.words:
        return _list(arguments, lab)
    if len(arguments.words) != 3:
        raise UsageError(
            tr("which port, seen from which node, leads where?", "¿qué puerto, visto desde qué nodo, lleva adónde?"),
            hint=f"{_USAGE}, such as: trenza forward 8000 user 172.16.1.254:8000",
        )
    return _forward(arguments, lab)


def _forward(arguments: argparse.Namespace, lab: str) -> int:
    from trenza.client.forwards import LOOPBACKS, open_listeners, read_place

    here, node, there = arguments.words
    place, goal = read_place(here, needs_host=False), read_place(there, needs_host=True)
    listeners = open_listeners(place)
    port = listeners[0].getsockname()[1]
    request = {"verb": "forward", "bind": place.host, "port": port, "node": node, "host": goal.host, "to": goal.port}
    try:
        forward = ask(lab, request, [sock.fileno() for sock in listeners])["forward"]
    finally:
        for sock in listeners:
            sock.close()
    if place.host is not None and place.host not in LOOPBACKS and not place.host.startswith("127."):
        note(
            tr(
                f"whoever reaches {place.host} of this machine can use it, until `trenza forward --stop {port}`",
                f"quien llegue a {place.host} de esta máquina puede usarlo, hasta `trenza forward --stop {port}`",
            )
        )
    if arguments.format == "json":
        put_json("forward", {"forward": forward})
    else:
        put(_line(forward))
    return 0


def _stop(arguments: argparse.Namespace, lab: str) -> int:
    stopped = ask(lab, {"verb": "unforward", "port": arguments.stop})["stopped"]
    if arguments.format == "json":
        put_json("forwards", {"forwards": [{**one, "open": False, "connections": 0} for one in stopped]})
    else:
        put(tr(f"port {arguments.stop} is not forwarded any more", f"el puerto {arguments.stop} ya no se reenvía"))
    return 0


def _list(arguments: argparse.Namespace, lab: str) -> int:
    forwards = ask(lab, {"verb": "forwards"})["forwards"]
    if arguments.format == "json":
        put_json("forwards", {"forwards": forwards})
    elif not forwards:
        put(tr("no port is forwarded", "no se reenvía ningún puerto"))
    else:
        taken = tr("port taken", "puerto ocupado")
        rows = [
            [_here(one), one["node"], _there(one), one["connections"] if one["open"] else taken] for one in forwards
        ]
        put(table(["HERE", "SEEN FROM", "LEADS TO", "CONNECTIONS"], rows))
    return 0


def _line(forward: Data) -> str:
    return tr(
        f"http://{_here(forward)} leads to {_there(forward)}, seen from {forward['node']}",
        f"http://{_here(forward)} lleva a {_there(forward)}, visto desde {forward['node']}",
    )


def _here(forward: Data) -> str:
    return _pair(forward["bind"] or "localhost", forward["port"])


def _there(forward: Data) -> str:
    return _pair(forward["host"], forward["to"])


def _pair(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
