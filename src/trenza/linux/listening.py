"""Who listens at a node's TCP ports, as its kernel tells in /proc: asked without a packet."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from trenza.linux.netns import Home
from trenza.model.state import IpAddress

_LISTEN = "0A"
_ANY = (IPv4Address(0), IPv6Address(0))


def listens(pid: int, host: str, port: int) -> bool:
    """Whether somebody listens at an address and port of the node whose init is `pid`, there or at any address."""
    return any(
        number == port and (address.is_unspecified or address == ip_address(host))
        for address, number in _listening(pid)
    )


def is_own(home: Home, netns: int, host: str) -> bool:
    """Whether an address is the node's own."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with home.inside(netns):
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    with sock:
        try:
            sock.bind((host, 0))
        except OSError:
            return False
    return True


def _listening(pid: int) -> Iterator[tuple[IpAddress, int]]:
    """The addresses and ports of /proc/PID/net/tcp and tcp6: words of 32 bits, as this machine orders bytes."""
    for name in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
        except OSError:  # it has ended, or there is no IPv6
            continue
        for line in lines:
            _, local, _, state, *_ = line.split()
            if state == _LISTEN:
                words, _, port = local.partition(":")
                packed = b"".join(
                    socket.htonl(int(words[at : at + 8], 16)).to_bytes(4, "big") for at in range(0, len(words), 8)
                )
                yield (IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)), int(port, 16)
