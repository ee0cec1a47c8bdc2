"""Descriptors from another process: closed in whatever this one executes, from the moment they are here."""

from __future__ import annotations

import array
import socket


def received(sock: socket.socket, size_bytes: int, most: int) -> tuple[bytes, list[int]]:
    """A message of a unix socket and the descriptors that came with it; the caller closes them.

    `socket.recv_fds` passes no flags on, and what it receives would be inherited by programs that outlive their
    starter, with the ports and files that it is.
    """
    descriptors = array.array("i")
    space = socket.CMSG_LEN(most * descriptors.itemsize)
    message, ancillary, _, _ = sock.recvmsg(size_bytes, space, socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return message, list(descriptors)
