"""The Python API, synchronous and small, over the same door as the command line.

with trenza.up("lab.yaml") as lab:
    print(lab["c1"].run(["ping", "-c", "1", "10.0.0.12"]).stdout)
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trenza.client import session
from trenza.client.labfiles import check_name, get_lab_file
from trenza.client.session import RemoteError
from trenza.client.terminal import run_command
from trenza.errors import TrenzaError
from trenza.linux.sandbox import Limits


class CommandFailed(TrenzaError):
    """A command in a node ended with a status other than 0; `completed` has what it printed."""

    code = "command-failed"

    def __init__(self, completed: Completed) -> None:
        said = completed.stderr.strip() or completed.stdout.strip()
        super().__init__(f"{' '.join(completed.argv)}: status {completed.status}", hint=said or None)
        self.completed = completed


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ended: its status (127 not found, 126 not executable) and what it printed."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


class LabNode:
    """A node of a running lab."""

    def __init__(self, lab: RunningLab, name: str) -> None:
        self.lab = lab
        self.name = name

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        stdin: bytes = b"",
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run a command in the node and wait for it. Raises CommandFailed if `check` and its status is not 0."""
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(stdin)
            given.seek(0)
            try:
                status = run_command(
                    self.lab.name, self.name, argv, terminal=False, record=False, environment=environment, user=user,
                    descriptors=(given.fileno(), out.fileno(), err.fileno()), forwarding=False,
                )  # fmt: skip
            except RemoteError as error:
                if "status" not in error.fields:
                    raise
                status = int(error.fields["status"])
                err.write(error.message.encode())
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        completed = Completed(tuple(argv), status, *texts)
        if check and status:
            raise CommandFailed(completed)
        return completed

    def read(self, path: str) -> bytes:
        """A file's bytes."""
        answer = session.ask(self.lab.name, {"verb": "get", "node": self.name, "path": path})
        return base64.b64decode(answer["content"])

    def write(self, path: str, content: bytes | str, *, mode: int = 0o644) -> None:
        """Replace a file, atomically."""
        data = content.encode() if isinstance(content, str) else content
        request = {"verb": "put", "node": self.name, "path": path, "mode": mode}
        session.ask(self.lab.name, {**request, "content": base64.b64encode(data).decode()})

    def show(self) -> dict[str, Any]:
        """The node as `trenza show NODE -f json` has it."""
        answer = session.ask(self.lab.name, {"verb": "show", "what": "nodes", "nodes": [self.name]})
        node: dict[str, Any] = answer["nodes"][0]
        return node

    def stop(self) -> None:
        session.ask(self.lab.name, {"verb": "stop", "node": self.name})

    def start(self) -> None:
        session.ask(self.lab.name, {"verb": "start", "node": self.name})


class RunningLab:
    """A lab that runs; as a context manager it is ended at the end. `lab["c1"]` is a node."""

    def __init__(self, name: str, report: Mapping[str, Any], end: Callable[[], object] | None = None) -> None:
        self.name = name
        self._end = end or (lambda: session.down(name))
        self.report = dict(report)
        """What `trenza up -f json` prints."""

    def __getitem__(self, node: str) -> LabNode:
        found = [name for name in self.nodes() if node in (name, name.rsplit("/", 1)[-1])]
        if node in found:
            return LabNode(self, node)
        if len(found) != 1:
            raise KeyError(f"{'no' if not found else 'more than one'} node {node!r} in lab {self.name}")
        return LabNode(self, found[0])

    def __iter__(self) -> Iterator[LabNode]:
        return iter([LabNode(self, name) for name in self.nodes()])

    def nodes(self) -> list[str]:
        """Full names of all nodes, running or stopped."""
        names: list[str] = session.ask(self.name, {"verb": "nodes"})["nodes"]
        return names

    def plan(self) -> list[str]:
        """What differs from the lab file, in words; empty if nothing does."""
        lines: list[str] = session.ask(self.name, {"verb": "plan"})["lines"]
        return lines

    def repair(self) -> dict[str, Any]:
        """`trenza up` again."""
        return session.ask(self.name, {"verb": "up"})

    def launch(self, host: str, name: str) -> LabNode:
        """A bare container in a host."""
        return LabNode(self, session.ask(self.name, {"verb": "launch", "host": host, "name": name})["node"])

    # ------------------------------------------------------------------ asking and breaking
    def ask(self, check: Mapping[str, Any]) -> dict[str, Any]:
        """One check, written as below `checks:` in a lab file: its verdict, what came back and why, as plain data.

        It is asked until it is true or its time is over. Raises RemoteError if it cannot be meant.
        """
        return self._patiently({"verb": "ask", "check": json.dumps(check, ensure_ascii=False, default=str)})

    def check(self, checkpoint: str | None = None) -> dict[str, Any]:
        """All checkpoints of the lab, or one: what `trenza check -f json` prints."""
        return self._patiently({"verb": "check", "checkpoint": checkpoint})

    def fault(self, words: str, **options: str) -> dict[str, Any]:
        """Break something, in the words of `trenza fault`; the fault with its `id`. `options`: `loss="10%"`, …"""
        fault: dict[str, Any] = session.ask(self.name, {"verb": "fault", "words": words.split(), "options": options})[
            "fault"
        ]
        return fault

    def heal(self, fault: int | None = None) -> None:
        """Mend one fault, or all of them."""
        session.ask(self.name, {"verb": "heal", "words": [] if fault is None else [str(fault)]})

    def outage(
        self, words: str, probes: Sequence[str], *, deadline: str | None = None, **options: str
    ) -> dict[str, Any]:
        """Measure what a fault does and heal it: what `trenza outage -f json` prints, and its text as `lines`."""
        return self._patiently(
            {"verb": "outage", "words": words.split(), "probes": list(probes), "deadline": deadline, "options": options}
        )

    def _patiently(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """An answer that may take as long as the network does."""
        channel = session.connect(self.name)
        channel.socket.settimeout(None)
        try:
            return session.converse(channel, request)
        finally:
            channel.close()

    def events(self) -> list[dict[str, Any]]:
        """The journal since the lab came up, as `trenza events -f json` prints it."""
        found: list[dict[str, Any]] = []
        session.ask(self.name, {"verb": "events"}, listener=lambda message: found.append(message["event"]))
        return found

    def show(self, what: str = "nodes", nodes: Sequence[str] = ()) -> dict[str, Any]:
        """What `trenza show WHAT NODES -f json` prints."""
        return session.ask(self.name, {"verb": "show", "what": what, "nodes": list(nodes)})

    def down(self) -> None:
        """End the lab; nothing is left."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.down()


def up(
    lab: str | os.PathLike[str],
    *,
    start: bool = False,
    until: str | None = None,
    profile: str | None = None,
    parameters: Mapping[str, str] | None = None,
    variants: Sequence[str] = (),
    name: str | None = None,
    wait: bool = False,
    nat: Sequence[str] = (),
    lasting: bool = True,
) -> RunningLab:
    """Bring a lab up: a file, a directory, or a shipped lab's name.

    `name` runs it under another name; `wait` returns only when every pair that can talk has exchanged a packet.
    `nat` is what `to: nat` may reach: "internet", "private", "loopback"; a lab that wants it without is refused.
    One that is not `lasting` ends with this process at the latest, in whatever way that ends.
    Raises LabFileError's remote form, MachineError or another TrenzaError; nothing is left then.
    """
    lab_file = get_lab_file(os.fspath(lab))
    chosen = name or lab_file.find_name()
    if chosen is None:
        from trenza.spec import read

        chosen = read(lab_file.source, Path(lab_file.file).name).lab.name
    request = {
        "source": base64.b64encode(lab_file.source).decode(),
        "file": lab_file.file,
        "directory": lab_file.directory,
        "mode": "start" if start else "until" if until else "full",
        "until": until,
        "profile": profile,
        "parameters": dict(parameters or {}),
        "variants": list(variants),
        "wait": wait,
        "nat": list(nat),
    }
    check_name(chosen)
    if lasting:
        return RunningLab(chosen, session.up(chosen, request, lab_file.directory))
    loan = ExitStack()
    report = loan.enter_context(session.lent(chosen, request, lab_file.directory, Limits()))
    return RunningLab(chosen, report, loan.close)
