"""TCP: whether a connection from a node is accepted, refused or left waiting, and connections for other questions."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from dataclasses import dataclass
from enum import StrEnum

from trenza.linux.asking.sockets import NEVER, deadline, family_of, opened, ready, socket_address, words
from trenza.model.state import IpAddress


class Outcome(StrEnum):
    """What became of a connection: `unreachable` is what the kernel or a router said before anybody was asked."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    SILENT = "silent"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Connected:
    """What became of a connection, the kernel's words unless it was accepted, and how long that took."""

    outcome: Outcome
    error: str | None
    seconds: float


_OUTCOMES = {
    errno.ECONNREFUSED: Outcome.REFUSED,
    errno.ECONNRESET: Outcome.REFUSED,
    errno.ETIMEDOUT: Outcome.SILENT,
}


def connect(netns: int, address: IpAddress, port: int, *, timeout_s: float = 1.0, until: float = NEVER) -> Connected:
    """Connect from the node, and close at once. Raises KernelError."""
    begin = time.monotonic()
    try:
        dialled(netns, address, port, deadline(timeout_s, until)).close()
    except OSError as error:
        outcome = _OUTCOMES.get(error.errno or 0, Outcome.UNREACHABLE)
        return Connected(outcome, words(error), time.monotonic() - begin)
    return Connected(Outcome.ACCEPTED, None, time.monotonic() - begin)


def dialled(netns: int, address: IpAddress, port: int, until: float) -> socket.socket:
    """A connection made from the node; the caller closes it.

    Raises OSError for what became of it otherwise, with ETIMEDOUT if that was nothing at `until`; KernelError.
    """
    sock = opened(netns, family_of(address), socket.SOCK_STREAM)
    try:
        number = sock.connect_ex(socket_address(sock, address, port))
        if number == errno.EINPROGRESS:
            done = ready(sock, select.POLLOUT, until)
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if done else errno.ETIMEDOUT
        if number:
            raise OSError(number, os.strerror(number))
    except BaseException:
        sock.close()
        raise
    return sock


def send_all(sock: socket.socket, data: bytes, until: float) -> None:
    """Send everything. Raises OSError, with ETIMEDOUT at `until`."""
    while data:
        try:
            data = data[sock.send(data) :]
        except BlockingIOError:
            await_events(sock, select.POLLOUT, until)


def received(sock: socket.socket, until: float) -> bytes:
    """What comes next; nothing at the end of the connection. Raises OSError, with ETIMEDOUT at `until`."""
    while True:
        await_events(sock, select.POLLIN, until)
        try:
            return sock.recv(1 << 16)
        except BlockingIOError:
            continue


def await_events(sock: socket.socket, events: int, until: float) -> None:
    if not ready(sock, events, until):
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
