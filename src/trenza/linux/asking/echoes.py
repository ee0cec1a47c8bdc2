"""Echoes: a window of ping requests from a node, which of them came back, how long that took, and who objected."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any, Final

from trenza.errors import UsageError
from trenza.fault.probes import ECHO_BYTES, echo_reply_sequence, echo_request
from trenza.linux.asking.icmp import (
    RECORD_ROUTE_OPTION,
    Blamed,
    IcmpError,
    address_of,
    read_echo_reply,
    read_error,
)
from trenza.linux.asking.sockets import NEVER, family_of, opened, ready, refusals, socket_address, words
from trenza.model.state import IpAddress

HEADER_BYTES: Final = {4: 20, 6: 40}
SMALLEST_BYTES: Final = {version: header + ECHO_BYTES for version, header in HEADER_BYTES.items()}
"""The smallest request there is: its IP header, ICMP, the nonce and the number."""
LARGEST_BYTES: Final = 65535
NONCE_BYTES: Final = 8

_SO_TIMESTAMPNS: Final = 35
_TIMESPEC: Final = struct.Struct("@qq")
_IP_MTU_DISCOVER: Final = 10
_IPV6_MTU_DISCOVER: Final = 23
_IPV6_DONTFRAG: Final = 62
_PMTUDISC_DONT: Final = 0
_PMTUDISC_PROBE: Final = 3
"""Don't fragment, and ask the way itself: what was learnt of it before is not believed."""
_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
_ERROR: Final = struct.Struct("=IBBBxII")
_ORIGIN_LOCAL: Final = 1
_ANCILLARY_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class Reply:
    """One request's answer. `ttl` is what was left of it, in IPv6 the hop limit."""

    sequence: int
    rtt_s: float
    ttl: int | None


@dataclass(frozen=True, slots=True)
class Echoes:
    """What became of a window of echo requests, numbered from 0.

    `sent` counts those that the node's own kernel refused, too; why it did is in `errors`, in its words, each once.
    `local_mtu_bytes` is what it said would have fitted. `route` is the first that an answer had recorded, out and back.
    """

    sent: int
    replies: tuple[Reply, ...] = ()
    errors: tuple[str, ...] = ()
    icmp_errors: tuple[IcmpError, ...] = ()
    route: tuple[IPv4Address, ...] = ()
    local_mtu_bytes: int | None = None

    @property
    def answered(self) -> int:
        return len(self.replies)


def echo_window(
    netns: int,
    target: IpAddress,
    *,
    count: int = 10,
    interval_s: float = 0.04,
    timeout_s: float = 1.0,
    size_bytes: int | None = None,
    dont_fragment: bool = False,
    ttl: int | None = None,
    record_route: bool = False,
    nonce: bytes | None = None,
    until: float = NEVER,
) -> Echoes:
    """Send `count` requests, one each `interval_s`, and wait for the last answer until `timeout_s` after the last one.

    `size_bytes` is the whole IP packet's. A request that an ICMP error was about is not waited for. `nonce` are 8 bytes
    of every request. Raises UsageError for what no packet can be, KernelError.
    """
    version = target.version
    options_bytes = len(RECORD_ROUTE_OPTION) if record_route else 0
    least_bytes = SMALLEST_BYTES[version] + options_bytes
    whole_bytes = least_bytes if size_bytes is None else size_bytes
    if not least_bytes <= whole_bytes <= LARGEST_BYTES:
        raise UsageError(
            f"an echo request of {whole_bytes} bytes cannot be sent", hint=f"from {least_bytes} to {LARGEST_BYTES}"
        )
    if record_route and version == 6:
        raise UsageError("IPv6 records no route", hint="ask for an IPv4 address")
    if nonce is not None and len(nonce) != NONCE_BYTES:
        raise UsageError(f"a nonce of {len(nonce)} bytes", hint=f"{NONCE_BYTES} bytes")
    with _Window(netns, target, nonce or os.urandom(NONCE_BYTES)) as window:
        window.size_bytes = whole_bytes - HEADER_BYTES[version] - options_bytes
        window.set_options(dont_fragment=dont_fragment, ttl=ttl, record_route=record_route)
        begin = time.monotonic()
        end = min(begin + interval_s * max(0, count - 1) + timeout_s, until)
        for sequence in range(count):
            window.listen(begin + interval_s * sequence, until)
            if time.monotonic() >= until:
                break
            window.send(sequence)
        while window.waiting and time.monotonic() < end:
            window.listen(end, until, settle=True)
        return window.found()


@dataclass
class _Window:
    """The socket of one window, and what came back so far."""

    netns: int
    target: IpAddress
    nonce: bytes
    size_bytes: int = ECHO_BYTES
    waiting: dict[int, float] = field(default_factory=dict)
    """When each request was sent that nothing was heard about, in seconds since the epoch."""

    def __post_init__(self) -> None:
        self._identifier = int.from_bytes(os.urandom(2), "big")
        self._sent = 0
        self._replies: dict[int, Reply] = {}
        self._errors: dict[str, None] = {}
        self._icmp_errors: dict[IcmpError, None] = {}
        self._route: tuple[IPv4Address, ...] | None = None
        self._local_mtu_bytes: int | None = None
        self._socket = echo_socket(self.netns, self.target)
        self._address = socket_address(self._socket, self.target)

    def __enter__(self) -> _Window:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def set_options(self, *, dont_fragment: bool, ttl: int | None, record_route: bool) -> None:
        discover = _PMTUDISC_PROBE if dont_fragment else _PMTUDISC_DONT
        with refusals():
            if self.target.version == 4:
                self._socket.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, discover)
                if ttl is not None:
                    self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
                if record_route:
                    self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, RECORD_ROUTE_OPTION)
            else:
                self._socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, discover)
                self._socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_DONTFRAG, int(dont_fragment))
                if ttl is not None:
                    self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)

    def send(self, sequence: int) -> None:
        packet = echo_request(
            self.target.version, self._identifier, sequence, self.nonce, size_bytes=self.size_bytes
        )  # fmt: skip
        self._sent += 1
        sent_s = time.time()
        try:
            self._socket.sendto(packet, self._address)
        except OSError as error:
            self._errors[words(error)] = None
            if self._local_mtu_bytes is None:
                self._local_mtu_bytes = self._said_mtu_bytes(packet)
        else:
            self.waiting[sequence] = sent_s

    def _said_mtu_bytes(self, packet: bytes) -> int | None:
        """What the node's kernel says would fit: it says so to sockets that want to hear of errors, on a second try.

        Such a socket also fails with other packets' errors, so that it wants to hear only now.
        """
        level, option = (
            (socket.IPPROTO_IP, _IP_RECVERR) if self.target.version == 4 else (socket.IPPROTO_IPV6, _IPV6_RECVERR)
        )
        self._socket.setsockopt(level, option, 1)
        try:
            with suppress(OSError):  # too large for the way, say: why is in the error queue
                self._socket.sendto(packet, self._address)
            with suppress(OSError):
                _, ancillary, _, _ = self._socket.recvmsg(1, _ANCILLARY_BYTES, socket.MSG_ERRQUEUE)
                for _, kind, data in ancillary:
                    if kind == option and len(data) >= _ERROR.size:
                        _, origin, _, _, information, _ = _ERROR.unpack_from(data)
                        return information or None if origin == _ORIGIN_LOCAL else None
            return None
        finally:
            self._socket.setsockopt(level, option, 0)  # which empties that queue

    def listen(self, moment: float, until: float, *, settle: bool = False) -> None:
        """Read what comes until `moment`; with `settle` no longer than something is waited for."""
        end = min(moment, until)
        while (not settle or self.waiting) and ready(self._socket, select.POLLIN, end):
            for data, ancillary, sender in waiting_packets(self._socket):
                self._read(data, ancillary, address_of(sender))
            if time.monotonic() >= end:  # what had come was read; a flood must not hold us
                return

    def _read(self, data: bytes, ancillary: list[tuple[int, int, bytes]], sender: IpAddress) -> None:
        version = self.target.version
        blamed = read_error(version, data, sender)
        if blamed is not None:
            self._object(blamed)
            return
        sequence = echo_reply_sequence(version, data, self.nonce)
        reply = read_echo_reply(version, data)
        if reply is None or sequence not in self.waiting or not self._may_answer(sender):
            return
        answered_s, ttl = time.time(), reply.ttl
        for level, kind, value in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
                seconds, nanoseconds = _TIMESPEC.unpack(value)
                answered_s = seconds + nanoseconds / 1e9
            elif (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT):
                ttl = struct.unpack("=i", value)[0]
        self._replies[sequence] = Reply(sequence, max(0.0, answered_s - self.waiting.pop(sequence)), ttl)
        if self._route is None:
            self._route = reply.route

    def _may_answer(self, sender: IpAddress) -> bool:
        """Only the target itself; of a group anybody."""
        return sender.packed == self.target.packed or self.target.is_multicast

    def _object(self, blamed: Blamed) -> None:
        if blamed.identifier == self._identifier and blamed.sequence in self.waiting:
            self._icmp_errors[blamed.error] = None
            del self.waiting[blamed.sequence]

    def found(self) -> Echoes:
        return Echoes(
            self._sent,
            tuple(self._replies[sequence] for sequence in sorted(self._replies)),
            tuple(self._errors),
            tuple(self._icmp_errors),
            self._route or (),
            self._local_mtu_bytes,
        )


def echo_socket(netns: int, target: IpAddress) -> socket.socket:
    """A raw socket of the node that hears echo replies and ICMP errors, with the kernel's times and hop limits."""
    protocol = socket.IPPROTO_ICMP if target.version == 4 else socket.IPPROTO_ICMPV6
    sock = opened(netns, family_of(target), socket.SOCK_RAW, protocol)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    if target.version == 6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    return sock


def waiting_packets(sock: socket.socket, limit: int = 64) -> Iterator[tuple[bytes, list[tuple[int, int, bytes]], str]]:
    """What waits in a raw socket: packet, ancillary data, sender. At most `limit`, since more may come for ever."""
    for _ in range(limit):
        try:
            data, ancillary, _, sender = sock.recvmsg(1 << 16, _ANCILLARY_BYTES)
        except BlockingIOError:
            return
        except OSError:
            continue  # an error that the socket was told of
        yield data, ancillary, _text(sender)


def _text(sender: Any) -> str:
    return str(sender[0])
