"""Arguments that several verbs share, and what completes them."""

from __future__ import annotations

import argparse
from typing import Any

from trenza.errors import TrenzaError


def _completed_by(action: argparse.Action, completer: Any) -> None:
    action.completer = completer  # type: ignore[attr-defined]


def complete_labs(**_: object) -> list[str]:
    """Running labs."""
    from trenza.client.session import running_labs

    return running_labs()


def complete_lab_files(prefix: str, **_: object) -> list[str]:
    """Shipped labs, and lab files and archives below here."""
    from pathlib import Path

    from trenza.client.labfiles import shipped_labs

    return [
        *shipped_labs(),
        *(str(path) for path in Path().glob(f"{prefix}*") if path.suffix in (".yaml", ".yml", ".trenza")),
    ]


def complete_nodes(parsed_args: argparse.Namespace, **_: object) -> list[str]:
    """Nodes of the running lab that is meant."""
    return _names(parsed_args, {"verb": "nodes"})


def complete_places(parsed_args: argparse.Namespace, prefix: str = "", **_: object) -> list[str]:
    """Nodes of the running lab that is meant; its cluster is asked for pods where one begins to be typed."""
    return _names(parsed_args, {"verb": "nodes", "pods": prefix.startswith("pod/"[: len(prefix)])})


def _names(parsed_args: argparse.Namespace, request: dict[str, Any]) -> list[str]:
    from trenza.client.session import ask, get_running

    try:
        nodes: list[str] = ask(get_running(getattr(parsed_args, "lab", None)), request)["nodes"]
    except TrenzaError:
        return []
    contained = [name for name in nodes if "/" in name and not name.startswith("pod/")]
    return [*nodes, *(name.rsplit("/", 1)[1] for name in contained)]


def add_lab(parser: argparse.ArgumentParser) -> None:
    """`--lab NAME`: which running lab."""
    action = parser.add_argument("-l", "--lab", metavar="LAB", help="which running lab, where there are several")
    _completed_by(action, complete_labs)


def add_running_lab(parser: argparse.ArgumentParser, help_text: str, *, several: bool = False) -> None:
    """A running lab as the argument itself, or as `--lab` says it elsewhere."""
    parser.set_defaults(lab=[] if several else None)
    nothing = argparse.SUPPRESS  # either of the two says it, and the other must not unsay it
    action = parser.add_argument("lab", metavar="LAB", nargs="*" if several else "?", default=nothing, help=help_text)
    _completed_by(action, complete_labs)
    how = "append" if several else "store"
    parser.add_argument("-l", "--lab", dest="lab", action=how, default=nothing, help=argparse.SUPPRESS)


def add_lab_file(parser: argparse.ArgumentParser) -> None:
    """A lab by file, directory or shipped name."""
    action = parser.add_argument("lab", metavar="LAB", nargs="?", help="a file, a directory, or a shipped lab's name")
    _completed_by(action, complete_lab_files)


def add_node(parser: argparse.ArgumentParser, name: str = "node", **options: Any) -> None:
    """A node, by full name (`host1/c1`) or by its bare name where that is unique."""
    action = parser.add_argument(name, metavar=name.upper(), **options)
    _completed_by(action, complete_nodes)


def add_place(parser: argparse.ArgumentParser, name: str = "node", **options: Any) -> None:
    """A node, or a pod of the lab's cluster."""
    action = parser.add_argument(name, metavar=name.upper(), **options)
    _completed_by(action, complete_places)


def add_format(parser: argparse.ArgumentParser, *extra: str) -> None:
    """`-f text|json`."""
    parser.add_argument("-f", "--format", choices=["text", "json", *extra], default="text", help="how to print")
