"""Replay: a saved lab built again in a fresh sandbox, and whether it came to the same.

Files that people wrote are there before their commands run, because commands read what editors wrote, and are put right
at the end, because commands write too.
"""

from __future__ import annotations

import base64
import posixpath
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from trenza.client import session
from trenza.client.archive import Saved, SavedCommand, SavedFile
from trenza.client.labfiles import check_name
from trenza.client.replay_shell import ReplayShell, run_once
from trenza.client.typed_lines import Step, Way, steps, why_skipped, with_pids
from trenza.errors import KeeperError, TrenzaError, UsageError
from trenza.fault.reading import duration_s
from trenza.model.plain import state_of_plain
from trenza.model.state import State
from trenza.plan.alike import chosen_only
from trenza.plan.explain import explain
from trenza.plan.export import differences
from trenza.plan.wanted import wanted_state
from trenza.spec import Choices, read
from trenza.theory import convergence_s

COMMAND_DEADLINE_S = 20.0
TOTAL_DEADLINE_S = 300.0
SETTLE_S = 5.0
"""How long what commands started may take, beside spanning trees, until the state is as it was saved."""


@dataclass(frozen=True, slots=True)
class Unlike:
    """A command that was not done, or ended with another status (None: it was interrupted), and why in words."""

    node: str
    line: str
    saved_status: int | None
    status: int | None
    why: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """What was not done again as it was saved: commands (and files) left out, and those that ended otherwise."""

    skipped: tuple[Unlike, ...]
    other_status: tuple[Unlike, ...]


@dataclass(frozen=True, slots=True)
class ReplayOutcome:
    """What a replay came to. `differences` are lines: - missing now, + only now, ~ saved → now."""

    name: str
    lab: str
    commands: int
    files: int
    skipped: tuple[Unlike, ...]
    other_status: tuple[Unlike, ...]
    differences: tuple[str, ...]
    seconds: float
    report: Mapping[str, Any] = field(repr=False)
    """What `up` answered when the sandbox was made."""

    @property
    def same(self) -> bool:
        return not self.differences


def replay(
    saved: Saved,
    *,
    name: str | None = None,
    file: str | None = None,
    nat: Sequence[str] = (),
    language: str = "en",
    command_deadline_s: float = COMMAND_DEADLINE_S,
    total_deadline_s: float = TOTAL_DEADLINE_S,
    settle_s: float | None = None,
    listener: session.Listener = lambda _: None,
) -> ReplayOutcome:
    """Build a saved lab again, as `name` or its own, and compare; the lab runs afterwards.

    Raises UsageError if a lab of that name runs, and whatever `up` raises; nothing runs then. Commands that fail, or do
    not end within their deadline, are told, not raised; those that come after the total deadline are not done. `file`
    is where the archive lies, for `trenza ls`. `settle_s` None is theory's time for trees to converge, twice, and 5 s.
    """
    began = time.monotonic()
    chosen = check_name(name or saved.manifest.lab)
    if chosen in session.running_labs():
        raise UsageError(
            f"lab {chosen!r} already runs", hint=f"trenza down {chosen}, or another name for this one: --as NAME"
        )
    declared = declared_of(saved)
    report = session.up(chosen, _request(saved, file, nat, language), "", listener)
    try:
        replayed = replay_into(
            chosen, saved, command_deadline_s=command_deadline_s,
            total_deadline_s=began + total_deadline_s - time.monotonic(), listener=listener,
        )  # fmt: skip
        lines = differences_from(chosen, saved, declared, settle_s=settle_s, language=language)
    except BaseException:
        session.down(chosen)
        raise
    return ReplayOutcome(
        name=chosen,
        lab=saved.manifest.lab,
        commands=len(saved.commands),
        files=len(saved.files),
        skipped=replayed.skipped,
        other_status=replayed.other_status,
        differences=tuple(lines),
        seconds=time.monotonic() - began,
        report=report,
    )


def replay_into(
    lab: str,
    saved: Saved,
    *,
    command_deadline_s: float = COMMAND_DEADLINE_S,
    total_deadline_s: float = TOTAL_DEADLINE_S,
    listener: session.Listener = lambda _: None,
) -> Replayed:
    """Do in a lab that just came up what was done in a saved one; it need not be from the same file."""
    work = _Replay(lab, saved, command_deadline_s, time.monotonic() + total_deadline_s)
    try:
        work.do(listener)
    finally:
        work.close()
    work.finish()
    return Replayed(tuple(work.skipped), tuple(work.other_status))


def _request(saved: Saved, file: str | None, nat: Sequence[str], language: str) -> dict[str, Any]:
    manifest = saved.manifest
    return {
        "source": base64.b64encode(saved.source).decode(),
        "file": file or f"{manifest.lab}.trenza",
        "directory": "",
        "mode": manifest.mode,
        "until": manifest.until,
        "profile": manifest.profile,
        "parameters": dict(manifest.parameters),
        "variants": list(manifest.variants),
        "has_etcd": manifest.has_etcd,
        "files": {name: base64.b64encode(content).decode() for name, content in saved.sources.items()},
        "language": language,
        "nat": list(nat),
    }


def declared_of(saved: Saved) -> State:
    """What the lab file gave to begin with. Raises LabFileError, or UsageError for a file that is not there."""
    manifest = saved.manifest
    choices = Choices(
        profile=manifest.profile, parameters=manifest.parameters, variants=manifest.variants, until=manifest.until,
        start=manifest.mode == "start", has_etcd=manifest.has_etcd,
    )  # fmt: skip
    return wanted_state(read(saved.source, "lab.yaml", choices).lab, saved.sources)


def differences_from(lab: str, saved: Saved, declared: State, *, settle_s: float | None, language: str) -> list[str]:
    """In what a lab differs from a saved one, once it has settled: - missing now, + only now, ~ saved → now."""
    said = "\n".join(
        [*(each.line for each in saved.commands), *(file.content.decode("latin-1") for file in saved.files)]
    )
    expected = chosen_only(saved.state, declared, said)
    found = _settled(lab, expected, lambda state: chosen_only(state, declared, said), settle_s)
    return explain(differences(found, expected), language)


def _settled(lab: str, expected: State, comparable: Callable[[State], State], settle_s: float | None) -> State:
    """The state once it is as expected, or at the latest after `settle_s`."""
    began = time.monotonic()
    within_s = 0.0
    while True:
        observed = state_of_plain(session.ask(lab, {"verb": "state", "change_within_s": within_s})["state"])
        found = comparable(observed)
        if settle_s is None:
            settle_s = 2 * convergence_s(observed) + SETTLE_S
        until = began + settle_s
        left_s = until - time.monotonic()
        if found == expected or left_s <= 0:
            return found
        within_s = min(left_s, 1.0)


class _Replay:
    """One replay in a lab that is up: its open shells, and what it has to tell."""

    def __init__(self, lab: str, saved: Saved, command_deadline_s: float, until: float) -> None:
        self.lab = lab
        self.saved = saved
        self.command_deadline_s = command_deadline_s
        self.until = until
        self.shells: dict[str, ReplayShell] = {}
        self.skipped: list[Unlike] = []
        self.other_status: list[Unlike] = []
        self.placed: set[tuple[str, str]] = set()
        self.waiting: dict[str, list[SavedFile]] = {}
        for file in saved.files:
            self.waiting.setdefault(file.node, []).append(file)

    def do(self, listener: session.Listener) -> None:
        """Place files and do every command in order."""
        for node in session.ask(self.lab, {"verb": "nodes"})["nodes"]:
            self._place(node)
        every = list(steps(self.saved.commands))
        for number, step in enumerate(every, 1):
            listener({"progress": {"done": number, "of": len(every)}})
            command = step.command
            reason = why_skipped(command) if step.way is not Way.ENTER else None
            if reason is None and time.monotonic() >= self.until:
                self._note(self.skipped, command, None, "there was no time left")
            elif reason is not None:
                self._note(self.skipped, command, None, reason.value)
            else:
                self._do(step)

    def _do(self, step: Step) -> None:
        command = step.command
        try:
            if command.action is not None:
                self._act(command, command.action)
                return
            self._place(command.node)
            line = with_pids(command.line, command.pids, self._pids()) if command.pids else command.line
            status = self._run(replace(command, line=line), step)
        except TrenzaError as error:
            self._note(self.other_status, command, None, error.message)
            return
        except OSError as error:
            self._note(self.other_status, command, None, f"{error.strerror}")
            return
        if status is None and step.way is Way.RUN:
            self._note(self.other_status, command, None, f"it did not end within {self.command_deadline_s:g} s")
        elif status != command.status and step.way is Way.RUN:
            self._note(self.other_status, command, status, f"status {command.status} → {status}")

    def _run(self, command: SavedCommand, step: Step) -> int | None:
        deadline_s = max(0.1, min(self.command_deadline_s, self.until - time.monotonic()))
        if not command.shell:
            return run_once(self.lab, command, leave=step.way is Way.LEAVE, deadline_s=deadline_s)
        shell = self.shells.get(command.session)
        if shell is None or not shell.is_open:
            shell = self.shells[command.session] = ReplayShell(self.lab, command)
        if not shell.leave_down_to(step.depth):
            raise KeeperError("the shell into which it was typed is not there")
        return shell.run(command.line, step.way, deadline_s=deadline_s)

    def _act(self, command: SavedCommand, action: Mapping[str, Any]) -> None:
        if action["verb"] == "put":
            place = (action.get("node"), posixpath.normpath(f"/{action.get('path')}"))
            for file in self.saved.files:
                if (file.node, file.path) == place:
                    self._put(file)
            return
        if "for" in action and command.began_s + duration_s(action["for"]) < self.saved.manifest.saved_s:
            self._note(self.skipped, command, None, "it healed by itself before the lab was saved")
            return
        answer = session.ask(self.lab, {**action, "record": False})
        if action["verb"] in ("launch", "start", "restart"):
            self._place(answer["node"])

    def _nodes(self) -> dict[str, dict[str, Any]]:
        nodes = session.ask(self.lab, {"verb": "show", "what": "nodes"})["nodes"]
        return {node["name"]: node for node in nodes}

    def _runs(self, name: str) -> bool:
        node = self._nodes().get(name)
        return node is not None and node["state"] == "running"

    def _pids(self) -> dict[str, int | None]:
        """The pids that containers have in their hosts."""
        return {name: node["pid_in_host"] for name, node in self._nodes().items()}

    def _note(self, where: list[Unlike], command: SavedCommand, status: int | None, why: str) -> None:
        where.append(Unlike(command.node, command.line, command.status, status, why))

    def _place(self, node: str) -> None:
        for file in self.waiting.pop(node, ()):
            self._put(file)

    def _put(self, file: SavedFile) -> None:
        content = base64.b64encode(file.content).decode()
        request = {"verb": "put", "node": file.node, "path": file.path, "mode": file.mode, "owner": file.owner}
        try:
            session.ask(self.lab, {**request, "content": content, "record": False})
            self.placed.add((file.node, file.path))
        except session.RemoteError as error:  # a stopped node, say; it is tried again at the end
            self.skipped.append(Unlike(file.node, f"the file {file.path}", None, None, error.message))

    def close(self) -> None:
        """End the shells; what they left running stays."""
        for shell in self.shells.values():
            shell.close()

    def finish(self) -> None:
        """Launch what is still missing, put files right, and remember what was done as if it had been typed here."""
        there = session.ask(self.lab, {"verb": "nodes"})["nodes"]
        for node, host in self.saved.manifest.launched.items():
            if node not in there:
                request = {"verb": "launch", "host": host, "name": node.rsplit("/", 1)[-1], "record": False}
                self._try(request, f"trenza launch {node}")
        for file in self.saved.files:
            if not self._is_right(file):
                self._put(file)
        self._remember()

    def _try(self, request: Mapping[str, Any], line: str) -> None:
        try:
            session.ask(self.lab, request)
        except session.RemoteError as error:
            self.skipped.append(Unlike(str(request.get("host") or ""), line, None, None, error.message))

    def _is_right(self, file: SavedFile) -> bool:
        try:
            answer = session.ask(self.lab, {"verb": "get", "node": file.node, "path": file.path})
        except session.RemoteError:  # a node that was stopped keeps what it has
            return (file.node, file.path) in self.placed and not self._runs(file.node)
        return base64.b64decode(answer["content"]) == file.content and answer["mode"] == file.mode

    def _remember(self) -> None:
        """Tell the keeper what was typed, in the same order and nesting, at times of now."""
        moments = sorted({moment for each in self.saved.commands for moment in (each.began_s, each.ended_s)})
        ranks = {moment: rank - len(moments) for rank, moment in enumerate(moments)}
        now, pids = time.time(), self._pids()
        records = []
        for each in self.saved.commands:
            record: dict[str, Any] = {
                "time": now + ranks[each.ended_s] * 1e-6, "began": now + ranks[each.began_s] * 1e-6, "node": each.node,
                "line": with_pids(each.line, each.pids, pids), "status": each.status or 0,
                "session": each.session, "shell": each.shell, "user": each.user, "cwd": each.cwd, "env": dict(each.env),
                "cut": each.cut, "stdin": each.stdin, "action": each.action,
                "pids": {str(pids.get(name) or pid): name for pid, name in each.pids.items()},
            }  # fmt: skip
            records.append(
                {name: value for name, value in record.items() if value or name in ("status", "line", "node")}
            )
        session.ask(self.lab, {"verb": "remember", "records": records})
