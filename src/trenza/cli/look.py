"""Looking: show, events, capture, graph."""

from __future__ import annotations

import argparse
import difflib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from trenza.cli.arguments import add_format, add_lab, add_place, complete_nodes
from trenza.cli.breaking import faults_table
from trenza.cli.speech import language, note, printable, put, put_json, put_line, table, tr
from trenza.cli.streaming import stream, until_it_ends
from trenza.client.machine import machine_pids
from trenza.client.session import RemoteError, ask, connect, converse, get_running, running_labs
from trenza.errors import UsageError

Data = dict[str, Any]
WHAT = ("nodes", "links", "addresses", "routes", "neighbours", "fdb", "stp", "services", "faults", "cluster")
_OTHER_WORDS = {
    "neigh": "neighbours", "neighbors": "neighbours", "arp": "neighbours", "address": "addresses", "addr": "addresses",
    "route": "routes", "link": "links", "mac": "fdb", "macs": "fdb", "node": "nodes",
    "fault": "faults", "service": "services",
}  # fmt: skip


# ---------------------------------------------------------------- show
def _show_cluster(lab: str, services: Sequence[str], form: str) -> int:
    from trenza.cli.clusters import put_cluster, service_request

    shown = ask(lab, {"verb": "cluster", "language": language(), **(service_request(services[0]) if services else {})})
    if form == "json":
        put_json("cluster", shown)
    else:
        put_cluster(shown)
    return int(shown.get("problem") is not None)


def configure_show(parser: argparse.ArgumentParser) -> None:
    action = parser.add_argument("words", metavar="WHAT|NODE", nargs="*", help=f"{', '.join(WHAT)}; or nodes by name")
    action.completer = lambda **given: [*WHAT, *complete_nodes(**given)]  # type: ignore[attr-defined]
    parser.add_argument("--config", action="store_true", help="the config files of services, as the nodes have them")
    add_lab(parser)
    add_format(parser)


def run_show(arguments: argparse.Namespace) -> int:
    what, nodes, lab = "nodes", [], arguments.lab
    labs = running_labs()
    for word in arguments.words:
        if _OTHER_WORDS.get(word, word) in WHAT:
            what = _OTHER_WORDS.get(word, word)
        elif lab is None and word in labs:
            lab = word
        else:
            nodes.append(word if what == "cluster" else word.partition(".")[0])  # an interface is shown with its node
    if arguments.config:
        what = "configs"
    lab = get_running(lab)
    if what == "cluster":
        return _show_cluster(lab, nodes, arguments.format)
    try:
        shown = ask(lab, {"verb": "show", "what": what, "nodes": nodes})
    except RemoteError as error:
        _suggest_what(error, nodes)
        raise
    if what == "nodes":
        pids = machine_pids(lab)
        for node in shown["nodes"]:
            node["pid"] = pids.get(node["pid_in_sandbox"])
    if arguments.format == "json":
        put_json("show", shown)
        return 0
    if what == "nodes" and nodes:
        for node in shown["nodes"]:
            _put_node(node, [one for one in shown["services"] if one["node"] == node["name"]])
        return 0
    if what == "nodes":
        put(f"{lab}  ({shown['mode']})")
    put(_SHOWERS[what](shown[what]))
    return 0


def _suggest_what(error: RemoteError, words: Sequence[str]) -> None:
    """A word that is no node may be one of what can be shown, misspelt."""
    for word in words:
        close = difflib.get_close_matches(word, WHAT, n=1, cutoff=0.6)
        if close and repr(word) in error.message:
            error.hint = f"did you mean {close[0]}?"


def _nodes_table(nodes: Sequence[Data]) -> str:
    rows: list[Sequence[object]] = []
    for node in nodes:
        nics = [nic for nic in node["nics"] if nic["name"] != "lo" and node["kind"] != "switch"]
        first = [node["name"], node["kind"], node["state"]]
        if node["kind"] == "switch":
            ports = [nic["name"] for nic in node["nics"] if nic["bridge"]]
            rows.append([*first, tr(f"{len(ports)} ports", f"{len(ports)} puertos"), "", "", " ".join(ports[:4])])
            continue
        if not nics:
            rows.append([*first, "", "", "", ""])
        for index, nic in enumerate(nics):
            addresses = " ".join(address for address in nic["addresses"] if not address.startswith("fe80:"))
            label = first if index == 0 else [" ", " ", " "]
            state = nic["state"] if nic["kind"] != "bridge" else f"{nic['state']} (bridge)"
            rows.append([*label, nic["name"], addresses, state, _plugged_into(nic)])
    header = ["NODE", "KIND", "STATE", "NIC", "ADDRESS", "LINK", tr("PLUGGED INTO", "CONECTADO A")]
    return table(header, rows)


def _plugged_into(nic: Data) -> str:
    """The bridge that an interface is a port of, and the pod that it leads to; else its other end."""
    pod = (nic["peer"] or "").removesuffix(".eth0") if (nic["peer"] or "").startswith("pod/") else ""
    return f"{nic['bridge']} ({pod})" if nic["bridge"] and pod else nic["bridge"] or nic["peer"]


def _put_node(node: Data, services: Sequence[Data]) -> None:
    """One node in detail, its pids as `lxc info` gives them."""
    put(f"Name:   {node['name']}")
    put(f"Kind:   {node['kind']}" + (f" in {node['host']}" if node["host"] else ""))
    put(f"State:  {node['state'].upper()}")
    if node["state"] == "running":
        put(f"PID:    {node['pid'] or '?'} " + tr("on this machine", "en esta máquina"))
        if node["pid_in_host"]:
            put(f"        {node['pid_in_host']} " + tr(f"in {node['host']}", f"en {node['host']}"))
    rows = [
        [nic["name"], nic["kind"], nic["state"], nic["mac"], nic["mtu"],
         " ".join(f"{one} (dhcp)" if one in nic["leased"] else one for one in nic["addresses"]),
         _plugged_into(nic)]
        for nic in node["nics"]
    ]  # fmt: skip
    if rows:
        put()
        put(table(["NIC", "KIND", "LINK", "MAC", "MTU", "ADDRESS", "PLUGGED INTO"], rows))
    if services:
        put()
        cells = [[one["service"], one["state"], one["restarts"], " ".join(one["argv"])] for one in services]
        put(table(["SERVICE", "STATE", "RESTARTS", "COMMAND"], cells))
    put()


def _links_table(links: Sequence[Data]) -> str:
    return table(
        ["NODE", "NIC", "KIND", "LINK", "MAC", "MTU", "BRIDGE", "PEER", "RX", "TX"],
        [
            [one["node"], one["name"], one["kind"], one["state"], one["mac"], one["mtu"], one["bridge"], one["peer"],
             one["rx_packets"], one["tx_packets"]]
            for one in links
        ],
    )  # fmt: skip


def _rows(header: Sequence[str], fields: Sequence[str]) -> Callable[[Sequence[Data]], str]:
    return lambda items: table(header, [[item[name] for name in fields] for item in items])


def _fdb_table(entries: Sequence[Data]) -> str:
    rows = [
        [one["node"], one["bridge"], one["port"], one["mac"], one["whose"], one["origin"], one["destination"],
         "" if one["age_s"] is None else f"{one['age_s']:.0f} s"]
        for one in entries
    ]  # fmt: skip
    return table(["NODE", "BRIDGE", "PORT", "MAC", "WHOSE", "ORIGIN", "REMOTE", "AGE"], rows)


def _stp_table(bridges: Sequence[Data]) -> str:
    from trenza.cli.spanning import stp_text  # theory's words cost an import that nothing else here needs

    return stp_text(bridges)


def _configs_text(configs: Sequence[Data]) -> str:
    if not configs:
        return tr("no service with a config file", "ningún servicio con fichero de configuración")
    parts = []
    for one in configs:
        changed = tr(", changed by hand", ", cambiado a mano") if one["changed"] else ""
        head = f"# {one['node']}: {one['path']} ({one['service']}{changed})"
        missing = tr("# it is not there", "# no está")
        parts.append(f"{head}\n{missing if one['text'] is None else one['text'].rstrip()}")
    return "\n\n".join(parts)


def _services_table(services: Sequence[Data]) -> str:
    cells = [[one["node"], one["service"], one["state"], one["restarts"], " ".join(one["argv"])] for one in services]
    return table(["NODE", "SERVICE", "STATE", "RESTARTS", "COMMAND"], cells)


_SHOWERS: dict[str, Callable[[list[Data]], str]] = {
    "nodes": _nodes_table,
    "configs": _configs_text,
    "links": _links_table,
    "addresses": _rows(["NODE", "NIC", "ADDRESS", "SCOPE", "ORIGIN"], ["node", "nic", "address", "scope", "origin"]),
    "routes": _rows(
        ["NODE", "TO", "VIA", "DEV", "METRIC", "PROTOCOL", "SOURCE"],
        ["node", "to", "via", "dev", "metric", "protocol", "source"],
    ),
    "neighbours": _rows(["NODE", "NIC", "IP", "MAC", "WHOSE", "STATE"], ["node", "nic", "ip", "mac", "whose", "state"]),
    "fdb": _fdb_table,
    "stp": _stp_table,
    "services": _services_table,
    "faults": faults_table,
}


# ---------------------------------------------------------------- events
def configure_events(parser: argparse.ArgumentParser) -> None:
    add_lab(parser)
    parser.add_argument("-F", "-f", "--follow", action="store_true", help="go on as things happen")
    parser.add_argument("--all", action="store_true", help="earlier runs of the lab too")
    parser.add_argument("--kind", action="append", default=[], help="only this kind (repeatable)")
    parser.add_argument("--format", choices=["text", "json"], default="text", help="text, or JSON lines")


def run_events(arguments: argparse.Namespace) -> int:
    shown = False

    def show(message: Data) -> None:
        nonlocal shown
        event = message.get("event")
        if event is None:
            return
        shown = True
        if arguments.format == "json":
            put_line(event)
            return
        when = time.strftime("%H:%M:%S", time.localtime(event["time"]))
        part = f".{int(event['time'] % 1 * 1000):03d}"
        said = event.get(language()) or event["text"]
        put(printable(f"{when}{part}  {event['kind']:<8} {event['node']:<14} {said}", keep=""))
        for line in event.get("operations") or ():
            put(printable(f"{'':14}{line}", keep=""))

    lab = get_running(arguments.lab)
    request = {"verb": "events", "follow": arguments.follow, "kinds": arguments.kind, "all": arguments.all}
    status = stream(lab, request, show)
    if arguments.kind and not shown:
        _say_kinds(lab, request)
    return status


def _say_kinds(lab: str, request: Data) -> None:
    """Where no event is of the kinds that were asked for: which there are."""
    kinds: set[str] = set()

    def note_kind(message: Data) -> None:
        if "event" in message:
            kinds.add(message["event"]["kind"])

    stream(lab, {**request, "follow": False, "kinds": []}, note_kind)
    there = " ".join(sorted(kinds))
    note(tr(f"no event of that kind; kinds so far: {there}", f"ningún suceso de ese tipo; tipos hasta ahora: {there}"))


# ---------------------------------------------------------------- capture
def configure_capture(parser: argparse.ArgumentParser) -> None:
    add_place(
        parser, "where", nargs="+", help="NODE (all its interfaces), NODE.NIC or pod/NAME; several go into one file"
    )
    add_lab(parser)
    parser.add_argument("-w", "--write", metavar="FILE", help="pcapng to a file, or to stdout with -")
    parser.add_argument("-e", "--filter", default="", metavar="EXPR", help="a pcap filter: 'arp or icmp'")
    parser.add_argument("-c", "--count", type=int, metavar="N", help="stop after so many frames")
    parser.add_argument("-t", "--seconds", type=float, metavar="S", help="stop after so long")
    parser.add_argument("-s", "--snaplen", type=int, default=262144, metavar="BYTES", help="of each frame at most")


def run_capture(arguments: argparse.Namespace) -> int:
    lab = get_running(arguments.lab)
    if arguments.write == "-" and sys.stdout.isatty():
        raise UsageError("pcapng on a terminal helps nobody", hint="trenza capture … -w - | wireshark -k -i -")
    try:
        output = 1 if arguments.write in (None, "-") else os.open(
            arguments.write, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644
        )  # fmt: skip
    except OSError as error:
        raise UsageError(f"cannot write {arguments.write}: {error.strerror}") from error
    request = {
        "verb": "capture",
        "where": arguments.where,
        "language": language(),
        "summary": arguments.write is None,
        "filter": arguments.filter,
        "count": arguments.count,
        "seconds": arguments.seconds,
        "snaplen": arguments.snaplen,
    }
    channel = connect(lab)
    channel.socket.settimeout(None)

    def stop(*_: object) -> None:
        channel.send({"signal": int(signal.SIGINT)})

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    result: dict[str, Any] = {}
    try:
        with until_it_ends(lab):
            result = converse(channel, request, [output, 2])
    finally:
        channel.close()
    return int(result.get("status", 0))


# ---------------------------------------------------------------- graph
def configure_graph(parser: argparse.ArgumentParser) -> None:
    add_lab(parser)


def run_graph(arguments: argparse.Namespace) -> int:
    put(ask(get_running(arguments.lab), {"verb": "graph"})["text"].rstrip())
    return 0
