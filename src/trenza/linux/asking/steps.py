"""The steps of the way to an address: who let a packet expire, hop by hop, and who wrote itself into one."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

from trenza.errors import UsageError
from trenza.fault.probes import echo_reply_sequence, echo_request
from trenza.linux.asking.echoes import NONCE_BYTES, echo_socket, echo_window, waiting_packets
from trenza.linux.asking.icmp import TIME_EXCEEDED, address_of, read_error
from trenza.linux.asking.sockets import NEVER, deadline, ready, socket_address, words
from trenza.model.state import IpAddress

_MOST_HOPS = 255
_AT_ONCE = 3
"""So many hops are asked at once: a router that says that it goes no further says so to each, and soon falls silent."""
_PACE_S = 0.03


@dataclass(frozen=True, slots=True)
class Trace:
    """The machines on the way, None for one that kept silent; silence at the end is left out.

    `arrived`: the last hop is the target's own answer. Otherwise the last may be who said that it goes no further.
    `error` is what the node's own kernel said if it sent nothing.
    """

    hops: tuple[IpAddress | None, ...]
    arrived: bool
    error: str | None = None


def trace(
    netns: int, target: IpAddress, *, max_hops: int = 30, tries: int = 2, timeout_s: float = 0.5, until: float = NEVER
) -> Trace:
    """The way to `target`, as traceroute with ICMP echo finds it.

    Three hops are asked at a time, the next ones once these have answered, 30 ms later at most: that takes little more
    than the longest answer. Who was silent for `timeout_s` is asked again. Linux sends one asker six errors in a row
    (two or three where a route says unreachable), then one a second (net.ipv4.icmp_ratelimit): asked more often than
    that, a router on the way looks silent. Raises UsageError for a number of hops there cannot be, KernelError.
    """
    if not 1 <= max_hops <= _MOST_HOPS:
        raise UsageError(f"a trace of {max_hops} hops", hint=f"from 1 to {_MOST_HOPS}")
    walk = _Walk(target, max_hops)
    with echo_socket(netns, target) as sock:
        for first in range(1, max_hops + 1, _AT_ONCE):
            walk.ask(sock, range(first, min(first + _AT_ONCE, max_hops + 1)))
            walk.listen(sock, deadline(_PACE_S, until), first + _AT_ONCE - 1)
            if walk.is_over(until):
                break
        walk.listen(sock, deadline(timeout_s, until), max_hops)
        for _ in range(tries - 1):
            if walk.is_over(until):
                break
            walk.ask(sock, walk.missing(max_hops))
            walk.listen(sock, deadline(timeout_s, until), max_hops)
    return walk.found()


class _Walk:
    """What is known of one way so far."""

    def __init__(self, target: IpAddress, max_hops: int) -> None:
        self.error: str | None = None
        self._target = target
        self._last = max_hops
        """The hop after which nobody needs to be asked: where the target, or an error that ends it, was met."""
        self._arrived = False
        self._hops: dict[int, IpAddress] = {}
        self._nonce = os.urandom(NONCE_BYTES)
        self._identifier = int.from_bytes(self._nonce[:2], "big")

    def missing(self, most: int) -> Sequence[int]:
        """The hops up to `most` of which nothing is known and something may be."""
        return [hop for hop in range(1, min(most, self._last) + 1) if hop not in self._hops]

    def is_over(self, until: float) -> bool:
        """Whether all is known, nothing can be sent, or the time is up."""
        return self.error is not None or not self.missing(self._last) or time.monotonic() >= until

    def listen(self, sock: socket.socket, end: float, most: int) -> None:
        """Read what comes until the hops up to `most` are known, at most until `end`."""
        while self.error is None and self.missing(most) and ready(sock, select.POLLIN, end):
            for data, _, sender in waiting_packets(sock):
                self.read(data, address_of(sender))
            if time.monotonic() >= end:
                return

    def ask(self, sock: socket.socket, hops: Sequence[int]) -> None:
        """A request for each hop, whose sequence number is its number of hops."""
        version = self._target.version
        level, kind = (
            (socket.IPPROTO_IP, socket.IP_TTL) if version == 4 else (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)
        )
        address = socket_address(sock, self._target)
        for hop in hops:
            packet = echo_request(version, self._identifier, hop, self._nonce)
            try:
                sock.sendmsg([packet], [(level, kind, struct.pack("=i", hop))], 0, address)
            except OSError as error:
                self.error = words(error)
                return

    def read(self, data: bytes, sender: IpAddress) -> None:
        version = self._target.version
        hop = echo_reply_sequence(version, data, self._nonce)
        if hop is not None:
            if sender.packed == self._target.packed:
                self._end(hop, sender, arrived=True)
            return
        blamed = read_error(version, data, sender)
        if blamed is None or blamed.identifier != self._identifier or not 1 <= blamed.sequence <= self._last:
            return
        if blamed.error.type == TIME_EXCEEDED[version]:
            self._hops.setdefault(blamed.sequence, sender)
        else:
            self._end(blamed.sequence, sender, arrived=False)

    def _end(self, hop: int, sender: IpAddress, *, arrived: bool) -> None:
        """The way ends at this hop or before it; the target's answer counts for more than anybody's error."""
        if hop <= self._last if arrived == self._arrived else arrived:
            self._last = hop
            self._hops[hop] = sender
            self._arrived = arrived

    def found(self) -> Trace:
        hops = [self._hops.get(hop) for hop in range(1, self._last + 1)]
        while hops and hops[-1] is None:
            hops.pop()
        return Trace(tuple(hops), self._arrived, None if hops else self.error)


def record_route(
    netns: int, target: IpAddress, *, tries: int = 2, timeout_s: float = 1.0, until: float = NEVER
) -> tuple[IpAddress, ...] | None:
    """The addresses that machines wrote into one packet on its way out and back, at most nine, as `ping -R` shows them.

    It begins with the asker's own; None if nothing came back. Raises UsageError for IPv6, which has no such option.
    """
    for _ in range(tries):
        echoes = echo_window(netns, target, count=1, timeout_s=timeout_s, record_route=True, until=until)
        if echoes.answered:
            return echoes.route
    return None
