"""What services write: logs."""

from __future__ import annotations

import argparse
from typing import Any

from trenza.cli.arguments import add_lab, add_node
from trenza.cli.speech import printable, put_line, tr
from trenza.cli.streaming import stream
from trenza.client.session import get_running
from trenza.errors import UsageError

DEFAULT_LINES = 20


def configure_logs(parser: argparse.ArgumentParser) -> None:
    add_node(parser, nargs="?", help="only of this node")
    parser.add_argument("service", metavar="SERVICE", nargs="?", help="only of this service; messages is syslog's")
    parser.add_argument("-f", "-F", "--follow", action="store_true", help="go on as they write")
    parser.add_argument("-n", "--lines", type=int, default=DEFAULT_LINES, metavar="N", help="the last N lines of each")
    parser.add_argument("--format", choices=["text", "json"], default="text", help="text, or JSON lines")
    add_lab(parser)


def run_logs(arguments: argparse.Namespace) -> int:
    if arguments.lines < 0:
        raise UsageError(tr("-n takes a number from 0 on", "-n toma un número desde 0"))
    alone = arguments.service is not None

    def show(message: dict[str, Any]) -> None:
        log = message.get("log")
        if log is None:
            return
        for line in log["lines"]:
            if arguments.format == "json":
                put_line({"node": log["node"], "service": log["service"], "line": line})
            else:
                source = "" if alone else f"{log['node']} {log['service']}: "
                print(printable(source + line, keep="\t"), flush=True)

    lab = get_running(arguments.lab)
    request = {
        "verb": "logs",
        "node": arguments.node,
        "service": arguments.service,
        "lines": arguments.lines,
        "follow": arguments.follow,
    }
    return stream(lab, request, show)
