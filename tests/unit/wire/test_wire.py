"""Frames survive any cutting; what no trenza would send is refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trenza.errors import KeeperError
from trenza.wire import MAX_FRAME_BYTES, Decoder, encode

messages = st.one_of(
    st.binary(max_size=64), st.dictionaries(st.text(max_size=5), st.one_of(st.text(max_size=9), st.integers()))
)


@given(st.lists(messages, max_size=6), st.integers(1, 17))
def test_messages_survive_any_cutting(sent: list[dict[str, object] | bytes], step: int) -> None:
    stream = b"".join(encode(message) for message in sent)
    decoder = Decoder()
    received = []
    for start in range(0, len(stream), step):
        received += decoder.feed(stream[start : start + step])
    assert received == sent


@pytest.mark.parametrize(
    "frame",
    [struct.pack("!I", MAX_FRAME_BYTES + 1), struct.pack("!I", 3) + b"[1]", struct.pack("!I", 2) + b"\xff{"],
)
def test_a_frame_that_no_trenza_sends_is_refused(frame: bytes) -> None:
    with pytest.raises(KeeperError):
        Decoder().feed(frame)


def test_what_is_no_unicode_travels_and_comes_back() -> None:
    (message,) = Decoder().feed(encode({"name": "a\udcffñ"}))
    assert message == {"name": "a\udcffñ"}
