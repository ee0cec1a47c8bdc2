"""Breaking things and mending them: fault, heal."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from trenza.cli.arguments import add_format, add_lab, complete_nodes
from trenza.cli.speech import language, put, put_json, table, tr
from trenza.cli.streaming import until_it_ends
from trenza.client.session import ask, get_running
from trenza.errors import TrenzaError, UsageError

Data = dict[str, Any]
IMPAIRMENTS = {
    "delay": "50ms: every frame waits so long",
    "jitter": "5ms: by how much the delay varies",
    "loss": "10%%: the share of frames that vanish",
    "corrupt": "1%%: the share of frames with a wrong bit",
    "rate": "1mbit: how fast frames leave",
}


def configure_fault(parser: argparse.ArgumentParser) -> None:
    from trenza.fault.reading import KINDS

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "\n".join(["faults:", *(f"  trenza fault {usage}" for usage in KINDS.values())])
    action = parser.add_argument("words", metavar="KIND TARGET", nargs="*", help="what to break, and where")
    action.completer = _complete_fault  # type: ignore[attr-defined]
    parser.add_argument("--for", metavar="TIME", dest="duration", help="heal it by itself after 20s, 300ms, 2m")
    for name, help_text in IMPAIRMENTS.items():
        parser.add_argument(f"--{name}", metavar="X", help=f"impair: {help_text}")
    add_lab(parser)
    add_format(parser)


def _complete_fault(parsed_args: argparse.Namespace, **given: Any) -> list[str]:
    """A kind; behind it a node; behind that, where a service is broken, what runs there."""
    from trenza.fault.reading import KINDS, OF_SERVICES

    words = parsed_args.words or []
    if len(words) == 2 and words[0] in OF_SERVICES:
        try:
            request = {"verb": "services_in", "node": words[1]}
            return list(ask(get_running(parsed_args.lab), request)["services"])
        except TrenzaError:
            return []
    return complete_nodes(parsed_args, **given) if words else [*KINDS]


def run_fault(arguments: argparse.Namespace) -> int:
    lab = get_running(arguments.lab)
    if not arguments.words:
        from trenza.fault.reading import KINDS

        raise UsageError(
            tr("which fault?", "¿qué avería?"), hint="\n".join(f"trenza fault {one}" for one in KINDS.values())
        )
    options = {name: value for name in IMPAIRMENTS if (value := getattr(arguments, name)) is not None}
    request = {"verb": "fault", "words": arguments.words, "options": options, "for": arguments.duration}
    result = ask(lab, request)
    if arguments.format == "json":
        put_json("fault", result)
        return 0
    fault = result["fault"]
    ends = tr("; heals by itself", "; se cura sola") if fault["until"] else ""
    put(tr(f"fault {fault['id']}: {fault['fault']}{ends}", f"avería {fault['id']}: {fault['fault']}{ends}"))
    put(f"  trenza heal {fault['id']:<10} " + tr("undo it", "deshacerla"))
    return 0


def configure_heal(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words",
        metavar="FAULT",
        nargs="*",
        help="its number, or what it is about (`w4`, `kill bal1 haproxy`); all without",
    )
    add_lab(parser)
    add_format(parser)


def run_heal(arguments: argparse.Namespace) -> int:
    result = ask(get_running(arguments.lab), {"verb": "heal", "words": arguments.words})
    if arguments.format == "json":
        put_json("heal", result)
        return 0
    for fault in result["healed"]:
        put(tr(f"healed: {fault['fault']}", f"curada: {fault['fault']}"))
    if not result["healed"]:
        put(tr("no fault is in effect", "no hay ninguna avería"))
    return 0


def configure_outage(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fault", metavar="FAULT", required=True, help="as for `trenza fault`: 'down vswout1'")
    parser.add_argument(
        "--probe", metavar="PROBE", action="append", default=[],
        help="'ping user -> 172.16.1.254', 'http user -> http://172.16.1.254:8000', 'tcp …' (repeatable)",
    )  # fmt: skip
    parser.add_argument("--deadline", metavar="TIME", help="end by then; without it, by theory's bound")
    parser.add_argument("--keep", action="store_true", help="leave the fault in effect")
    parser.add_argument("--svg", metavar="FILE", help="draw the timeline, too")
    for name, help_text in IMPAIRMENTS.items():
        parser.add_argument(f"--{name}", metavar="X", help=f"impair: {help_text}")
    add_lab(parser)
    add_format(parser)


def run_outage(arguments: argparse.Namespace) -> int:
    lab = get_running(arguments.lab)
    options = {name: value for name in IMPAIRMENTS if (value := getattr(arguments, name)) is not None}
    request = {
        "verb": "outage",
        "words": arguments.fault.split(),
        "options": options,
        "probes": arguments.probe,
        "deadline": arguments.deadline,
        "keep": arguments.keep,
        "picture": arguments.svg is not None,
        "language": language(),
    }
    if arguments.svg is not None and not os.access(Path(arguments.svg).absolute().parent, os.W_OK):
        raise UsageError(f"cannot write {arguments.svg}")  # before anything is broken for it
    result: Data = {}
    with until_it_ends(lab):
        result = ask(lab, request)
    if not result:
        return 1
    picture, lines = result.pop("picture", None), result.pop("lines")
    if arguments.svg is not None:
        try:
            Path(arguments.svg).write_text(picture)
        except OSError as error:
            raise UsageError(f"cannot write {arguments.svg}: {error.strerror}") from error
    if arguments.format == "json":
        put_json("outage", result)
    else:
        for line in lines:
            put(line)
    return 0 if result["settled"] else 1


def faults_table(faults: list[Data]) -> str:
    """What `trenza show faults` prints."""
    import time

    if not faults:
        return tr("no fault is in effect", "no hay ninguna avería")
    now = time.time()
    rows = [
        [
            one["id"],
            one["fault"],
            f"{now - one['since']:.0f} s",
            "" if one["until"] is None else f"{one['until'] - now:.0f} s",
        ]
        for one in faults
    ]
    return table(["ID", "FAULT", tr("SINCE", "DESDE"), tr("HEALS IN", "SE CURA EN")], rows)
