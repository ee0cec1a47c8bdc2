"""Code blocks of Markdown pages, and the commands and expected output of console blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its text, and the page and line where the text begins."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


@dataclass(frozen=True, slots=True)
class Command:
    """A `$ …` line and the output shown below it, `None` where none is shown.

    A last line `(exit status N)` is not output: it says that the command is to fail so.
    """

    line: int
    text: str
    shown: str | None
    status: int = 0


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page. A fence without a language is one of the language ""."""
    found: list[Block] = []
    lines = page.read_text().splitlines()
    start, fence, language = 0, "", ""
    for number, line in enumerate(lines, 1):
        stripped = line.strip()
        if not fence and (opened := re.match(r"(`{3,})\s*(.*)", stripped)):
            fence, language, start = opened[1], opened[2], number
        elif fence and stripped == fence:
            found.append(Block(page, start + 1, language, "\n".join(lines[start : number - 1]) + "\n"))
            fence = ""
    assert not fence, f"{page}:{start} is never closed"
    return found


def commands(block: Block) -> list[Command]:
    """The commands of a console block. A line that ends in a backslash goes on in the next."""
    found: list[Command] = []
    lines = block.text.splitlines()
    index = 0
    while index < len(lines):
        assert lines[index].startswith("$ "), f"{block.page.name}:{block.line + index} is no command"
        at, text = index, lines[index][2:]
        while text.endswith("\\"):
            index += 1
            text += "\n" + lines[index]
        index += 1
        shown: list[str] = []
        while index < len(lines) and not lines[index].startswith("$ "):
            shown.append(lines[index])
            index += 1
        status = 0
        if shown and (ended := re.fullmatch(r"\(exit status (\d+)\)", shown[-1])):
            status = int(ended[1])
            shown.pop()
        found.append(Command(block.line + at, text, "\n".join(shown) if shown else None, status))
    return found


def matches(shown: str, printed: str) -> bool:
    """Whether output is as shown: `…` stands for anything in a line, a line of `…` alone for any lines.

    Blanks at the ends of lines and around the whole do not matter, nor how many stand between two words.
    """
    pattern = ""
    for line in shown.strip().splitlines():
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        else:
            words = [".*?".join(map(re.escape, word.split("…"))) for word in line.split()]
            pattern += r"[ \t]*" + r"[ \t]+".join(words) + r"[ \t]*\n"
    return re.fullmatch(pattern, printed.strip() + "\n") is not None
