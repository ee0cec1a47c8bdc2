"""Probes: the keeper's own sockets in a node's network namespace, never a program that somebody may have replaced."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from trenza.fault.probes import echo_reply_sequence, echo_request
from trenza.linux.netns import Home
from trenza.model.names import NodeName
from trenza.model.state import IpAddress

_IDENTIFIER: Final = 0x7A7A
_RESEND_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Pair:
    """A question: does an echo from `source` to `destination` come back?"""

    source: NodeName
    destination: IpAddress


def connects(home: Home, netns: int, port: int, *, timeout_s: float = 0.2) -> bool:
    """Whether something accepts TCP connections on `port` of the node's loopback, by IPv4 or IPv6."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with home.inside(netns):
            probe = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with probe:
            probe.settimeout(timeout_s)
            if probe.connect_ex((address, port)) == 0:
                return True
    return False


def unanswered(
    home: Home, netns: Mapping[NodeName, int], pairs: Iterable[Pair], *, deadline_s: float
) -> Sequence[Pair]:
    """Send echo requests for every pair, again and again, until each was answered or the deadline passes.

    Returns the pairs that were not. Each request carries a nonce, so that an old answer or another's is not taken.
    """
    waiting = dict(enumerate(dict.fromkeys(pairs)))
    sockets: dict[tuple[NodeName, int], socket.socket] = {}
    poll = select.poll()
    by_descriptor: dict[int, tuple[NodeName, int]] = {}
    nonce = os.urandom(8)
    until = time.monotonic() + deadline_s
    try:
        for pair in waiting.values():
            key = (pair.source, pair.destination.version)
            if key not in sockets and pair.source in netns:
                sockets[key] = _echo_socket(home, netns[pair.source], pair.destination.version)
                by_descriptor[sockets[key].fileno()] = key
                poll.register(sockets[key], select.POLLIN)
        again = 0.0
        while waiting and (now := time.monotonic()) < until:
            if now >= again:
                for number, pair in waiting.items():
                    _send_echo(sockets.get((pair.source, pair.destination.version)), pair, number, nonce)
                again = now + _RESEND_S
            for descriptor, _ in poll.poll(max(0.0, min(again, until) - time.monotonic()) * 1000):
                source, version = by_descriptor[descriptor]
                for number in _answers(sockets[source, version], version, nonce):
                    if number in waiting and waiting[number].source == source:
                        del waiting[number]
        return tuple(waiting.values())
    finally:
        for one in sockets.values():
            one.close()


def _echo_socket(home: Home, netns: int, version: int) -> socket.socket:
    with home.inside(netns):
        if version == 4:
            made = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMP)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
        else:
            made = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMPV6)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    return made


def _send_echo(sock: socket.socket | None, pair: Pair, number: int, nonce: bytes) -> None:
    if sock is None:
        return
    try:
        sock.sendto(echo_request(pair.destination.version, _IDENTIFIER, number, nonce), (str(pair.destination), 0))
    except OSError:
        return  # no route now: asked again until the deadline


def _answers(sock: socket.socket, version: int, nonce: bytes) -> Iterable[int]:
    """The numbers of the pairs that were answered."""
    while True:
        try:
            data = sock.recv(512)
        except BlockingIOError:
            return
        number = echo_reply_sequence(version, data, nonce)
        if number is not None:
            yield number
