"""The reading of pages, without any page."""

from __future__ import annotations

from pathlib import Path

import pytest

from .markdown import Block, blocks, commands, matches


def test_blocks_have_language_text_and_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# x\n\n```yaml\nlab: a\n```\n````text\n```\n````\n")
    assert [(block.language, block.text, block.line) for block in blocks(page)] == [
        ("yaml", "lab: a\n", 4),
        ("text", "```\n", 7),
    ]


def test_commands_have_their_output() -> None:
    block = Block(Path("p.md"), 10, "console", "$ one\n$ two \\\n  more\nout\nput\n$ three\n(exit status 2)\n")
    assert [(command.text, command.shown, command.line, command.status) for command in commands(block)] == [
        ("one", None, 10, 0),
        ("two \\\n  more", "out\nput", 11, 0),
        ("three", None, 15, 2),
    ]


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a b", "a   b \n", True),
        ("a b", "a c", False),
        ("up in …", "up in 0.53 s\n", True),
        ("up in … s", "up in 0.53 ms\n", False),
        ("first\n…\nlast", "first\n1\n2\nlast\n", True),
        ("first\n…", "first\n", True),
        ("first", "first\nsecond\n", False),
        ("…\nlast", "last\nmore\n", False),
    ],
)
def test_shown_output_matches_what_was_printed(shown: str, printed: str, same: bool) -> None:
    assert matches(shown, printed) is same
