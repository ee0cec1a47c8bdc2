"""Ports of this machine that lead into a lab: opened here, because no keeper is in the machine's network."""

from __future__ import annotations

import errno
import json
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from trenza.errors import UsageError

LOOPBACKS = ("127.0.0.1", "::1")
_BACKLOG = 64


@dataclass(frozen=True, slots=True)
class Place:
    """An address (None: wherever that is by default) and a port."""

    host: str | None
    port: int


def read_place(text: str, *, needs_host: bool) -> Place:
    """`PORT`, `HOST:PORT` or `[HOST]:PORT`; the host is an address. Raises UsageError."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535) or (needs_host and not colon):
        form = "HOST:PORT" if needs_host else "PORT or ADDRESS:PORT"
        raise UsageError(f"{text}: write it as {form}, a port up to 65535")
    if host == "localhost":
        host = LOOPBACKS[0]
    if colon:
        try:
            ip_address(host)
        except ValueError as error:
            raise UsageError(f"{text}: {host!r} is no IP address") from error
    return Place(host if colon else None, int(port))


def open_listeners(place: Place) -> list[socket.socket]:
    """Listening sockets at an address of this machine, else at its loopback ones; the caller closes them.

    Port 0 takes any that is free. Raises UsageError if the port is taken, not allowed, or the address is not there.
    """
    hosts = LOOPBACKS if place.host is None else (place.host,)
    opened: list[socket.socket] = []
    port = place.port
    for host in hosts:
        try:
            opened.append(_listener(host, port))
            port = opened[0].getsockname()[1]
        except OSError as error:
            if place.host is None and host == "::1" and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                continue  # a machine without IPv6
            for sock in opened:
                sock.close()
            raise _refusal(host, port, error) from error
    return opened


def _listener(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        if not port:  # Linux lets go of a port that it chose itself when the socket is shut, as the keeper does
            with sock:
                return _listener(host, sock.getsockname()[1])
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _refusal(host: str, port: int, error: OSError) -> UsageError:
    match error.errno:
        case errno.EADDRINUSE:
            return UsageError(f"port {port} of {host} is in use", hint=f"by whom: ss -ltnp 'sport = :{port}'")
        case errno.EACCES | errno.EPERM:
            return UsageError(f"port {port} needs rights that you do not have", hint="take one from 1024 on")
        case errno.EADDRNOTAVAIL:
            return UsageError(f"{host} is no address of this machine")
        case _:
            return UsageError(f"cannot listen at {host} port {port}: {error.strerror}")


def reopened(record: Path) -> list[tuple[int, list[socket.socket]]]:
    """Listeners for the forwards that a lab's record remembers, each with its place there; none where it is taken."""
    try:
        remembered: list[dict[str, Any]] = json.loads(record.read_text()).get("forwards", [])
    except (OSError, ValueError):
        return []
    found = []
    for number, forward in enumerate(remembered):
        try:
            found.append((number, open_listeners(Place(forward["bind"], forward["port"]))))
        except UsageError:
            continue  # the keeper finds that it has none, and says so
    return found
