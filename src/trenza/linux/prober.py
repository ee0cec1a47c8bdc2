"""Runs probes from nodes' network namespaces, all in one thread: what was sent when, and when it was answered.

Times are seconds since the epoch, as the journal's; of pings the kernel says when the answer came (SO_TIMESTAMPNS), so
that a busy machine does not lengthen what it measures. Sockets are the keeper's own: no program of a node takes part.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import random
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from trenza.fault.outage import Sample, Watched
from trenza.fault.probes import (
    Probe,
    ProbeKind,
    echo_reply_sequence,
    echo_request,
    http_request,
    read_http_answer,
)
from trenza.linux.netns import Home

_SO_TIMESTAMPNS: Final = 35
_SOL_RAW: Final = 255
_ICMP_FILTER: Final = 1
_ONLY_ECHO_REPLIES: Final = struct.pack("=I", ~1 & 0xFFFFFFFF)
_TIMESPEC: Final = struct.Struct("@qq")
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_TIMESPEC.size)
_MAX_OPEN: Final = 256
"""Connections of one probe that may wait for an answer at a time."""

_SOURCE_PORTS: Final = range(32768, 61000)
_AT_A_TIME: Final = 64
MAX_ANSWER_BYTES: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Vantage:
    """A probe with what it takes to ask: the network namespace it is asked from, and the address that it goes to."""

    probe: Probe
    netns: int
    address: str

    @property
    def version(self) -> int:
        return 6 if ":" in self.address else 4


class Prober:
    """`start` it, and what is `watched` grows until `stop`."""

    def __init__(self, vantages: Sequence[Vantage]) -> None:
        self.vantages = tuple(vantages)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prober", daemon=True)
        self._askers: list[_Pinger | _Connector] = []
        self._started = threading.Event()
        self._error: Exception | None = None

    def start(self) -> None:
        """Begin. Raises OSError if a socket cannot be made."""
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End; what still waits for its answer counts neither as good nor as lost.

        Raises what the thread ended by, if it ended by itself.
        """
        self._stopping.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def watched(self) -> list[Watched]:
        """What was found so far, probe by probe, in the order in which it was settled."""
        with self._lock:
            return [Watched(asker.vantage.probe, list(asker.samples), asker.waiting_since_s) for asker in self._askers]

    def _run(self) -> None:
        with contextlib.ExitStack() as stack:
            home = Home()
            stack.callback(home.close)
            desk = _Desk(home, stack.enter_context(select.epoll()))
            try:
                for vantage in self.vantages:
                    kind = _Pinger if vantage.probe.kind is ProbeKind.PING else _Connector
                    asker = kind(vantage, desk)
                    stack.callback(asker.close)
                    self._askers.append(asker)
            except OSError as error:
                self._error = error
                return
            finally:
                self._started.set()
            try:
                self._serve(self._askers, desk)
            except Exception as error:  # a thread's root: whoever stops it hears of it
                self._error = error

    def _serve(self, askers: Sequence[_Pinger | _Connector], desk: _Desk) -> None:
        begin = time.monotonic()
        due = [begin + 0.001 * number for number in range(len(askers))]  # not all at one moment
        while not self._stopping.is_set():
            now = time.monotonic()
            first = min(due)
            if now >= first:
                with self._lock:
                    for place, asker in enumerate(askers):
                        if now >= due[place]:
                            interval_s = asker.vantage.probe.interval_s
                            # one that was missed, on a machine that has no time, is left out
                            due[place] += interval_s * (1 + int((now - due[place]) / interval_s))
                            asker.expire(now)
                            asker.ask(now)
                continue
            ready = desk.poll.poll(first - now, 64)
            if ready:
                with self._lock:
                    for descriptor, _ in ready:
                        owner = desk.owners.get(descriptor)
                        if owner is not None:
                            owner.read(descriptor)


@dataclass(slots=True)
class _Desk:
    """What askers share: where they come back to, what they wait on, and whose descriptor is whose."""

    home: Home
    poll: select.epoll
    owners: dict[int, _Pinger | _Connector] = field(default_factory=dict)

    def add(self, sock: socket.socket, owner: _Pinger | _Connector, events: int) -> None:
        self.owners[sock.fileno()] = owner
        self.poll.register(sock.fileno(), events)

    def drop(self, sock: socket.socket) -> None:
        self.owners.pop(sock.fileno(), None)
        self.poll.unregister(sock.fileno())
        sock.close()


class _Pinger:
    """ICMP echo over one raw socket. Requests carry a nonce, so that nobody else's answer counts."""

    def __init__(self, vantage: Vantage, desk: _Desk) -> None:
        self.vantage = vantage
        self.samples: list[Sample] = []
        self._desk = desk
        self._nonce = os.urandom(8)
        self._identifier = int.from_bytes(self._nonce[:2], "big")
        self._sequence = 0
        self._waiting: dict[int, tuple[float, float]] = {}
        """When each was sent, in seconds since the epoch and on the monotonic clock."""
        family, protocol = (
            (socket.AF_INET, socket.IPPROTO_ICMP) if vantage.version == 4 else (socket.AF_INET6, socket.IPPROTO_ICMPV6)
        )
        with desk.home.inside(vantage.netns):
            self._socket = socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
        if vantage.version == 4:
            self._socket.setsockopt(_SOL_RAW, _ICMP_FILTER, _ONLY_ECHO_REPLIES)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        desk.add(self._socket, self, select.EPOLLIN)

    @property
    def waiting_since_s(self) -> float | None:
        return next((sent_s for sent_s, _ in self._waiting.values()), None)

    def ask(self, now: float) -> None:
        self._sequence += 1
        packet = echo_request(self.vantage.version, self._identifier, self._sequence, self._nonce)
        sent_s = time.time()
        try:
            self._socket.sendto(packet, (self.vantage.address, 0))
        except OSError as error:
            self.samples.append(Sample(sent_s, None, _reason(error)))
        else:
            self._waiting[self._sequence] = (sent_s, now)

    def expire(self, now: float) -> None:
        while self._waiting:
            sequence = next(iter(self._waiting))
            sent_s, sent = self._waiting[sequence]
            if now - sent < self.vantage.probe.timeout_s:
                return
            del self._waiting[sequence]
            self.samples.append(Sample(sent_s, None, "no answer"))

    def read(self, descriptor: int) -> None:
        for _ in range(_AT_A_TIME):  # whoever floods us must not keep the others from their turn
            try:
                data, ancillary, _, _ = self._socket.recvmsg(256, _ANCILLARY_BYTES)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error that the socket was told of; the request stays unanswered
            sequence = echo_reply_sequence(self.vantage.version, data, self._nonce)
            waited = self._waiting.pop(sequence, None) if sequence is not None else None
            if waited is not None:
                answered_s = time.time()
                if ancillary:
                    seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
                    answered_s = seconds + nanoseconds / 1e9
                self.samples.append(Sample(waited[0], max(answered_s, waited[0])))

    def close(self) -> None:
        self._desk.drop(self._socket)


@dataclass(slots=True)
class _Connection:
    sock: socket.socket
    sent_s: float
    sent: float
    connected: bool = False
    received: bytes = b""


class _Connector:
    """TCP: a new connection for each question, closed when it is answered; of HTTP with a request.

    Each asks from the port after the one before. The kernel's own choice begins at another place every ten seconds
    (net/core/secure_seq.c) and meets ports of a while ago: whoever tracks connections sends those where the old one
    went, which may be a server that has died since, and what was measured would be that.
    """

    def __init__(self, vantage: Vantage, desk: _Desk) -> None:
        self.vantage = vantage
        self.samples: list[Sample] = []
        self._desk = desk
        self._request = http_request(vantage.probe) if vantage.probe.kind is ProbeKind.HTTP else b""
        first = random.randrange(len(_SOURCE_PORTS))
        self._ports = (_SOURCE_PORTS[number % len(_SOURCE_PORTS)] for number in itertools.count(first))
        self._open: dict[int, _Connection] = {}
        self._order: deque[_Connection] = deque()

    @property
    def waiting_since_s(self) -> float | None:
        return min((connection.sent_s for connection in self._open.values()), default=None)

    def ask(self, now: float) -> None:
        sent_s = time.time()
        if len(self._open) >= _MAX_OPEN:
            self.samples.append(Sample(sent_s, None, f"{_MAX_OPEN} requests wait already"))
            return
        family = socket.AF_INET if self.vantage.version == 4 else socket.AF_INET6
        with self._desk.home.inside(self.vantage.netns):
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        next(port for port in self._ports if _binds(sock, port))
        number = sock.connect_ex((self.vantage.address, self.vantage.probe.port))
        if number not in (0, errno.EINPROGRESS):
            sock.close()
            self.samples.append(Sample(sent_s, None, _reason(OSError(number, os.strerror(number)))))
            return
        connection = _Connection(sock, sent_s, now)
        self._open[sock.fileno()] = connection
        self._order.append(connection)
        self._desk.add(sock, self, select.EPOLLOUT)

    def expire(self, now: float) -> None:
        while self._order:
            connection = self._order[0]
            if connection.sock.fileno() >= 0:
                if now - connection.sent < self.vantage.probe.timeout_s:
                    return
                self._end(connection, None, "no answer")
            self._order.popleft()

    def read(self, descriptor: int) -> None:
        connection = self._open.get(descriptor)
        if connection is None:
            return
        try:
            if not connection.connected:
                self._connected(connection)
            else:
                self._receive(connection)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(connection, None, _reason(error))
        except ValueError as error:
            self._end(connection, None, str(error))

    def _connected(self, connection: _Connection) -> None:
        number = connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
        connection.connected = True
        if not self._request:
            self._end(connection, time.time(), "")
            return
        connection.sock.send(self._request)
        self._desk.poll.modify(connection.sock.fileno(), select.EPOLLIN)

    def _receive(self, connection: _Connection) -> None:
        data = connection.sock.recv(1 << 16)
        connection.received += data
        answer = read_http_answer(connection.received, ended=not data)
        if answer is not None:
            if answer.status >= 500:
                self._end(connection, None, f"HTTP {answer.status}")
            else:
                self._end(connection, time.time(), answer.said)
        elif len(connection.received) > MAX_ANSWER_BYTES:
            raise ValueError("too long an answer")

    def _end(self, connection: _Connection, answered_s: float | None, note: str) -> None:
        del self._open[connection.sock.fileno()]
        self._desk.drop(connection.sock)
        self.samples.append(Sample(connection.sent_s, answered_s, note))

    def close(self) -> None:
        for connection in list(self._open.values()):
            self._desk.drop(connection.sock)


def _binds(sock: socket.socket, port: int) -> bool:
    """Whether the socket has the port now; False: somebody else has it."""
    try:
        sock.bind(("", port))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
