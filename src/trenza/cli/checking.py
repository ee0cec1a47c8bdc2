"""How far one is: check."""

from __future__ import annotations

import argparse
import base64
import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trenza.cli.arguments import add_format, add_running_lab
from trenza.cli.speech import language, note, put, put_json, put_line, tr
from trenza.cli.streaming import until_it_ends
from trenza.client.session import connect, converse, get_running
from trenza.errors import UsageError

Data = Mapping[str, Any]
_SIGNS = {"pass": "✔", "fail": "✘", "cannot-tell": "?", "skipped": "-"}
_CLEAR = "\x1b[H\x1b[2J\x1b[3J"


def configure_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", metavar="N", help="only this one, by name or number")
    parser.add_argument("--watch", action="store_true", help="check again whenever something has changed")
    parser.add_argument(
        "--map", metavar="NAME=NODE", action="append", default=[],
        help="which of your nodes stands for one of the solution's (repeatable)",
    )  # fmt: skip
    parser.add_argument("--hidden", metavar="FILE", help="further checks, which students do not have")
    parser.add_argument("--evidence", metavar="DIR", help="write what came back, and the frames of it, below DIR")
    parser.add_argument("--patience", metavar="SECONDS", type=float, help="how long something may take to come true")
    add_running_lab(parser, "which lab")
    add_format(parser, "junit")


def run_check(arguments: argparse.Namespace) -> int:
    lab = get_running(arguments.lab)
    request: dict[str, Any] = {
        "verb": "check",
        "checkpoint": arguments.checkpoint,
        "watch": arguments.watch,
        "map": _pairs(arguments.map),
        "language": language(),
        "patience_s": arguments.patience,
        "record": arguments.evidence is not None,
    }
    if arguments.hidden is not None:
        try:
            content = Path(arguments.hidden).read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read {arguments.hidden}: {error.strerror}") from error
        request |= {"hidden": base64.b64encode(content).decode(), "hidden_file": arguments.hidden}
    progress = _Progress()
    passed = False

    def show(message: Mapping[str, Any]) -> None:
        nonlocal passed
        if "progress" in message:
            progress.add()
        if "report" in message:
            progress.end()
            passed = message["report"]["passed"]
            _show(message["report"], arguments.format, watching=True)

    channel = connect(lab)
    channel.socket.settimeout(None)  # a question may take as long as its lab says
    report: Data = {}
    try:
        with until_it_ends(lab):
            report = converse(channel, request, listener=show)
    except KeyboardInterrupt:
        if not arguments.watch:
            raise
        return 0 if passed else 1
    finally:
        channel.close()
        progress.end()
    if not report:
        return 1
    if arguments.evidence is not None:
        _write_evidence(report, Path(arguments.evidence))
    _show(report, arguments.format)
    return 0 if report["passed"] else 1


def _pairs(words: list[str]) -> dict[str, str]:
    pairs = {}
    for word in words:
        name, equals, node = word.partition("=")
        if not equals or not name or not node:
            raise UsageError(f"--map {word}: which node stands for which?", hint="--map c1=host1/web")
        pairs[name] = node
    return pairs


def _write_evidence(report: Data, directory: Path) -> None:
    """`check.json`, and a pcapng file for each check that sent something."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for checkpoint in report["checkpoints"]:
            for check in checkpoint["checks"]:
                for frames in check["evidence"]["frames"]:
                    (directory / frames["name"]).write_bytes(base64.b64decode(frames["data"]))
        (directory / "check.json").write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n")
    except OSError as error:
        raise UsageError(f"cannot write below {directory}: {error.strerror}") from error


class _Progress:
    """How many were answered so far, for whoever watches a terminal."""

    def __init__(self) -> None:
        self._count = 0
        self._shown = sys.stderr.isatty()

    def add(self) -> None:
        self._count += 1
        if self._shown:
            print(f"\r{self._count} " + tr("answered", "respondidas"), end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._shown and self._count:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._count = 0


def _show(report: Data, form: str, *, watching: bool = False) -> None:
    if form == "json":
        (put_line if watching else lambda data: put_json("check", data))({**report})
    elif form == "junit":
        from trenza.check.telling import junit_xml

        print(junit_xml(report), end="", flush=True)
    else:
        if watching and sys.stdout.isatty():
            print(_CLEAR, end="")
        for line in _lines(report):
            put(line)
        if watching:
            note(tr("watching; Ctrl-C ends it", "observando; Ctrl-C lo termina"))


def _lines(report: Data) -> Iterator[str]:
    for match in report["mapping"]:
        how = tr("as you said", "como ha dicho") if match["given"] else match["how"]
        yield tr("taken for", "tomado por") + f" {match['name']}: {match['is']} ({how})"
    first: Data | None = None
    for checkpoint in report["checkpoints"]:
        yield _heading(checkpoint)
        for check in checkpoint["checks"]:
            yield from _check_lines(check)
            if checkpoint["verdict"] != "pass" and check["verdict"] not in ("pass", "skipped"):
                first = first or check
    yield f"{report['points']:g} / {report['max_points']:g} " + tr("points", "puntos")
    if first is not None and report["points"] < report["max_points"]:
        yield tr("next", "a continuación") + f": {first['title']}: {first['because'] or first['said']}"


def _heading(checkpoint: Data) -> str:
    title = checkpoint["title"].get(language()) or next(iter(checkpoint["title"].values()), "")
    text = f"{_SIGNS[checkpoint['verdict']]} {checkpoint['name']}" + (f": {title}" if title else "")
    text += f"  [{checkpoint['points']:g}/{checkpoint['max_points']:g}]"
    if checkpoint["latched_s"] is not None:
        when = time.strftime("%H:%M:%S", time.localtime(checkpoint["latched_s"]))
        text += tr(f" passed at {when}", f" superado a las {when}")
    return text


def _check_lines(check: Data) -> Iterator[str]:
    """A check with what came back; below one that did not pass, what is wrong first and what to type."""
    yield f"  {_SIGNS[check['verdict']]} {check['title']} ({check['said']})"
    if check["verdict"] == "pass":
        return
    if check["because"] and check["because"] != check["said"]:
        yield f"      {check['because']}"
    if check["hint"]:
        yield f"      → {check['hint']}"
