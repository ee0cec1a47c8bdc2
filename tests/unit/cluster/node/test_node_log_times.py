"""When lines of a log were written, from what was noted of its growth."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from trenza.cluster.node.log_times import Growth, offset_since, read_growth, stamp, time_at

GROWTH = (Growth(10, 1.0), Growth(20, 2.0), Growth(30, 5.0))


def test_a_byte_is_as_old_as_the_first_size_that_holds_it() -> None:
    assert [time_at(GROWTH, offset, now_s=9.0) for offset in (1, 10, 11, 30, 31)] == [1.0, 1.0, 2.0, 5.0, 9.0]
    assert [offset_since(GROWTH, at) for at in (0.0, 1.0, 1.5, 5.0, 6.0)] == [0, 0, 10, 20, 30]
    assert stamp(0.5) == b"1970-01-01T00:00:00.500000000Z "


@given(st.binary(max_size=200))
def test_whatever_is_there_reads_as_something_that_grows(data: bytes) -> None:
    sizes = [one.size_bytes for one in read_growth(data)]
    assert sizes == sorted(set(sizes))


def test_what_was_written_is_read() -> None:
    data = b"".join(struct.pack("!Qd", one.size_bytes, one.at_s) for one in GROWTH)
    assert read_growth(data + b"half") == GROWTH
