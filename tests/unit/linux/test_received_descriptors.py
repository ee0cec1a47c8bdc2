"""Descriptors from another process."""

from __future__ import annotations

import os
import socket

from trenza.linux.descriptors import received


def test_what_was_received_is_not_inherited() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    read, write = os.pipe()
    with ours, theirs:
        socket.send_fds(theirs, [b"two"], [read, write])
        message, descriptors = received(ours, 100, 4)
    assert message == b"two"
    assert len(descriptors) == 2
    assert not any(os.get_inheritable(one) for one in descriptors)
    for one in (read, write, *descriptors):
        os.close(one)
