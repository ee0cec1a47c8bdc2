"""Command lines are taken out of a terminal's output, however it is cut, and nothing else is."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from trenza.keeper.terminal import CommandLine, CommandLines


def announced(line: str, status: int) -> bytes:
    return b"\x1b]7133;%d;%s\x07" % (status, base64.b64encode(line.encode()))


@given(st.integers(1, 9), st.text(max_size=40), st.integers(0, 255))
def test_a_line_is_found_however_the_stream_is_cut(step: int, line: str, status: int) -> None:
    stream = b"before\x1b[0m" + announced(line, status) + b"after" + announced("ls", 0)
    finder = CommandLines()
    shown, lines = b"", []
    for start in range(0, len(stream), step):
        part, found = finder.feed(stream[start : start + step])
        shown += part
        lines += found
    assert shown == b"before\x1b[0mafter"
    assert lines == [CommandLine(line, status), CommandLine("ls", 0)]


def test_a_sequence_that_is_not_ours_is_shown() -> None:
    finder = CommandLines()
    shown, lines = finder.feed(b"\x1b]0;title\x07text")
    assert (shown, lines) == (b"\x1b]0;title\x07text", [])


def test_garbage_in_our_sequence_records_nothing() -> None:
    shown, lines = CommandLines().feed(b"a\x1b]7133;x;!!\x07b")
    assert (shown, lines) == (b"ab", [])


def test_a_line_that_begins_has_no_status_yet_and_its_shell() -> None:
    encoded = base64.b64encode(b"ping c2")
    stream = b"\x1b]7133;;" + encoded + b";1.42\x07\x1b]7133;130;" + encoded + b";1.42\x07"
    shown, lines = CommandLines().feed(stream)
    assert shown == b""
    assert lines == [CommandLine("ping c2", None, "1.42"), CommandLine("ping c2", 130, "1.42")]
