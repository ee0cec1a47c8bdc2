"""What can be done again of what people typed: which lines are skipped and why, and which shells lie in which.

Pure. Lines that wait for a person (editors, pagers) or never end by themselves (`ping` without a count) are skipped
where nothing else is on the line; within a longer one the replay's shell makes nothing of editors, and interrupts what
does not end.
"""

from __future__ import annotations

import re
import shlex
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from trenza.client.archive import SavedCommand

EDITORS = ("vi", "vim", "nano", "emacs", "mcedit", "ed")
_PAGERS = ("less", "more", "man", "pager")
_WATCHERS = ("top", "htop", "watch", "iftop")
_SEPARATORS = frozenset({";", "&&", "||", "|", "&", "|&", ";;"})
_PREFIXES = ("sudo", "exec", "command", "time", "nohup")


class Skipped(StrEnum):
    """Why a line is not done again."""

    EDITOR = "an editor: its files were saved"
    PAGER = "it waits for a reader"
    ENDLESS = "it ends only when interrupted"
    INTERRUPTED = "it was interrupted"
    CUT = "it was too long to be kept whole"
    LEAVES = "it leaves its shell"


class Way(StrEnum):
    """How a line is done again: waited for, left running, or as a shell into which the next lines are typed."""

    RUN = "run"
    LEAVE = "leave"
    ENTER = "enter"


@dataclass(frozen=True, slots=True)
class Step:
    """One command to do, in a shell below which so many others are open; `depth` 0 is the first of its session."""

    command: SavedCommand
    way: Way = Way.RUN
    depth: int = 0


def why_skipped(command: SavedCommand) -> Skipped | None:
    """Why a line is not done again, or None if it is."""
    if command.cut:
        return Skipped.CUT
    if command.stdin or command.action is not None:
        return None
    if command.status == 130:
        return Skipped.INTERRUPTED
    parts = _parts(command.line)
    reasons = [reason for part in parts if part for reason in (_reason(part),)]
    if reasons and all(reason is not None for reason in reasons):
        return reasons[0]
    return None


def _parts(line: str) -> list[list[str]]:
    """The simple commands of a line, as words; one of all words where it is not plain shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.commenters = ""
    parts: list[list[str]] = [[]]
    try:
        for word in lexer:
            if word in _SEPARATORS:
                parts.append([])
            else:
                parts[-1].append(word)
    except ValueError:
        return [["?"]]
    return parts


def _reason(words: list[str]) -> Skipped | None:
    while words and (words[0] in _PREFIXES or re.fullmatch(r"\w+=.*", words[0])):
        words = words[1:]
    if words[:3] == ["ip", "netns", "exec"]:
        return _reason(words[4:])
    if not words:
        return None
    program, options = words[0].rsplit("/", 1)[-1], words[1:]
    short = "".join(word[1:] for word in options if re.fullmatch(r"-[A-Za-z0-9]+", word))
    if program in EDITORS:
        return Skipped.EDITOR
    if program in _PAGERS:
        return Skipped.PAGER
    if program in _WATCHERS:
        return Skipped.ENDLESS
    if program in ("ping", "ping6", "arping") and "c" not in short and "w" not in short:
        return Skipped.ENDLESS
    if program in ("tcpdump", "tshark") and not set("crDhL") & set(short):
        return Skipped.ENDLESS
    if program == "tail" and ("f" in short.lower() or "--follow" in options):
        return Skipped.ENDLESS
    if program in ("ip", "bridge", "rtmon") and ("monitor" in options or program == "rtmon"):
        return Skipped.ENDLESS
    if program in ("exit", "logout"):
        return Skipped.LEAVES
    return None


def steps(commands: Sequence[SavedCommand]) -> Iterator[Step]:
    """Commands in the order in which they began, each with the shell it belongs to.

    A line that was typed while another of the same terminal ran was typed into a shell which that one had started.
    """
    ordered = sorted(commands, key=lambda command: command.began_s)
    later: dict[str, deque[SavedCommand]] = {}
    for command in ordered:
        if command.shell:
            later.setdefault(command.session, deque()).append(command)
    open_shells: dict[str, list[str]] = {}
    for command in ordered:
        if not command.shell:
            if command.session not in later:  # else it is the shell into which those lines were typed
                yield Step(command, Way.LEAVE if command.status is None and not command.stdin else Way.RUN)
            continue
        stack = open_shells.setdefault(command.session, [])
        if command.shell in stack:
            del stack[stack.index(command.shell) + 1 :]
        else:
            stack.append(command.shell)
        queue = later[command.session]
        queue.popleft()
        within = (
            queue and queue[0].shell not in stack and (command.status is None or queue[0].began_s < command.ended_s)
        )
        way = Way.ENTER if within else Way.LEAVE if command.status is None else Way.RUN
        yield Step(command, way, len(stack) - 1)
        if queue and queue[0].shell not in stack and not within:  # that shell was left, and this is another one
            stack.clear()


def with_pids(line: str, pids: Mapping[str, str], now: Mapping[str, int | None]) -> str:
    """A line with the pids that its containers have now; `now` has them by the container's name."""
    for old, name in pids.items():
        new = now.get(name)
        if new is not None:
            line = re.sub(rf"(?<![\w.]){re.escape(old)}(?![\w.])", str(new), line)
    return line
