"""Sockets made inside a node's network namespace, and waits on them that end."""

from __future__ import annotations

import math
import os
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from trenza.errors import KernelError
from trenza.linux.netns import Home, find_index
from trenza.model.state import IpAddress

NEVER = math.inf
"""An `until` that does not come: the question ends by its own `timeout_s`."""


@contextmanager
def refusals() -> Iterator[None]:
    """What the kernel refuses within the block is a KernelError."""
    try:
        yield
    except OSError as error:
        raise KernelError(f"cannot ask from this node: {words(error)}", errno=error.errno or 0) from error


@contextmanager
def way_home() -> Iterator[Home]:
    """The calling thread's way back from namespaces, for as long as the block. Refusals in it are a KernelError."""
    with refusals():
        home = Home()
        try:
            yield home
        finally:
            home.close()


def opened(netns: int, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket of the namespace `netns` that never blocks; the caller closes it.

    Raises KernelError where the namespace cannot be used or the socket is refused.
    """
    with way_home() as home, home.inside(netns):
        return socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)


def family_of(address: IpAddress) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def socket_address(sock: socket.socket, address: IpAddress, port: int = 0) -> tuple[object, ...]:
    """Where to, as `sock` takes it. The scope of a link-local address is looked up in the socket's own namespace."""
    if address.version == 4:
        return str(address), port
    scope = address.scope_id
    index = 0 if scope is None else int(scope) if scope.isdigit() else find_index(sock.fileno(), scope) or 0
    return str(address).split("%", 1)[0], port, 0, index


def deadline(timeout_s: float, until: float) -> float:
    """When a question ends, on the monotonic clock."""
    return min(time.monotonic() + timeout_s, until)


def ready(sock: socket.socket, events: int, until: float) -> bool:
    """Wait for `events` (select.POLLIN …) or an error on the socket; False if `until` came first."""
    poll = select.poll()
    poll.register(sock, events)
    # poll counts whole milliseconds, and 0 would make the wait a spin
    return bool(poll.poll(max(0, math.ceil((until - time.monotonic()) * 1000))))


def words(error: OSError) -> str:
    """What the kernel said, as it says it in a sentence."""
    return (os.strerror(error.errno) if error.errno else str(error)).lower()
