"""The SPDY codec against its own other end, bytes in pieces, and nonsense."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trenza.cluster.server import spdy
from trenza.cluster.server.spdy import Data, GoneAway, Opened, Pinged, Replied, Reset, SpdyConnection, SpdyError

HEADERS = st.dictionaries(st.from_regex(r"[a-z-]{1,12}", fullmatch=True), st.text(max_size=20), max_size=5)


def test_the_dictionary_is_the_drafts() -> None:
    assert (len(spdy.DICTIONARY), zlib.adler32(spdy.DICTIONARY)) == (1423, 0xE3C6A7C2)


@given(st.lists(HEADERS, max_size=4), st.integers(1, 7))
def test_what_one_end_opens_the_other_sees_whatever_the_pieces(every: list[dict[str, str]], size: int) -> None:
    client, server = SpdyConnection(), SpdyConnection()
    content = b"".join(client.opened(2 * number + 1, headers) for number, headers in enumerate(every))
    content += spdy.data(1, b"bytes", fin=True)
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    events = [event for piece in pieces for event in server.receive(piece)]
    opened = [Opened(2 * number + 1, headers) for number, headers in enumerate(every)]
    assert events == [*opened, Data(1, b"bytes", fin=True)]


def test_the_other_frames() -> None:
    client, server = SpdyConnection(), SpdyConnection()
    assert list(client.receive(server.replied(1, {"A": "b"}))) == [Replied(1, {"a": "b"})]
    said = spdy.reset(3, 5) + spdy.ping(7) + struct.pack(">HHIII", 0x8003, 7, 8, 3, 0)
    settings = struct.pack(">HHII", 0x8003, 4, 4, 0)
    assert list(client.receive(said + settings)) == [Reset(3, 5), Pinged(7), GoneAway()]


@pytest.mark.parametrize(
    "content",
    [
        struct.pack(">HHI", 0x8002, 1, 0),  # another version
        struct.pack(">HHI", 0x8003, 1, 2) + b"ab",  # cut off
        struct.pack(">HHI", 0x8003, 1, 14) + b"\0" * 10 + b"nope",  # no zlib
        struct.pack(">II", 1, 0xFFFFFF),  # too large
    ],
)
def test_nonsense_is_an_error(content: bytes) -> None:
    with pytest.raises(SpdyError):
        list(SpdyConnection().receive(content))


def test_headers_that_swell_are_refused() -> None:
    compressor = zlib.compressobj(zdict=spdy.DICTIONARY)
    block = struct.pack(">II", 1, 1 << 24) + b"a" * (1 << 24)
    packed = compressor.compress(block) + compressor.flush(zlib.Z_SYNC_FLUSH)
    frame = struct.pack(">HHI", 0x8003, 1, 10 + len(packed)) + b"\0" * 10 + packed
    with pytest.raises(SpdyError, match="too large"):
        list(SpdyConnection().receive(frame))


@given(st.binary(max_size=200))
def test_random_bytes_are_events_or_an_error(content: bytes) -> None:
    try:
        list(SpdyConnection().receive(content))
    except SpdyError:
        pass
