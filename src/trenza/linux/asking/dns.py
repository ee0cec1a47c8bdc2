"""DNS: what a server answers to one question from a node."""

from __future__ import annotations

import select
import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trenza.linux.asking.dns_message import answers, question, rcode_word, read_message, was_cut
from trenza.linux.asking.sockets import NEVER, deadline, family_of, opened, ready, socket_address, words
from trenza.linux.asking.tcp import dialled, received, send_all
from trenza.model.state import IpAddress

if TYPE_CHECKING:
    from dns.message import Message

_PORT = 53
_TRIES = 2
_MAX_DATAGRAM_BYTES = 1 << 16
_NO_ANSWER = "no answer"


@dataclass(frozen=True, slots=True)
class DnsSaid:
    """A server's answer: its code (`NOERROR`, `NXDOMAIN` …) and the data of the asked type, sorted, as dig prints it.

    Names are without the dot at their end. Without an answer `rcode` is None and `error` says why.
    """

    rcode: str | None
    answers: tuple[str, ...] = ()
    error: str | None = None


def resolve(
    netns: int,
    server: IpAddress,
    name: str,
    rtype: str = "A",
    *,
    port: int = _PORT,
    timeout_s: float = 2.0,
    until: float = NEVER,
) -> DnsSaid:
    """Ask `server` for a name (of a PTR the address, too), over UDP, once again in silence, over TCP if that was cut.

    Raises UsageError for a name or a type there cannot be, KernelError.
    """
    query = question(name, rtype)
    end = deadline(timeout_s, until)
    said = DnsSaid(None, error=_NO_ANSWER)
    for number in range(_TRIES):
        last = number + 1 == _TRIES
        try:
            answer = _by_udp(netns, server, port, query, end if last else deadline(timeout_s / _TRIES, end))
            if answer is not None and was_cut(answer):
                answer = _by_tcp(netns, server, port, query, end)
        except OSError as error:
            said = DnsSaid(None, error=words(error))
            continue
        if answer is not None:
            return DnsSaid(rcode_word(answer), answers(answer))
        said = DnsSaid(None, error=_NO_ANSWER)
    return said


def _by_udp(netns: int, server: IpAddress, port: int, query: Message, until: float) -> Message | None:
    """The server's answer, or None. Whatever else comes is passed over. Raises OSError."""
    with opened(netns, family_of(server), socket.SOCK_DGRAM) as sock:
        sock.connect(socket_address(sock, server, port))  # only that server is heard from here on
        sock.send(query.to_wire())
        while ready(sock, select.POLLIN, until):
            try:
                answer = read_message(sock.recv(_MAX_DATAGRAM_BYTES))
            except BlockingIOError:
                continue
            if answer is not None and query.is_response(answer):
                return answer
            if time.monotonic() >= until:
                break
    return None


def _by_tcp(netns: int, server: IpAddress, port: int, query: Message, until: float) -> Message | None:
    """The server's answer, or None if it sent anything else. Raises OSError."""
    wire = query.to_wire()
    with dialled(netns, server, port, until) as sock:
        send_all(sock, struct.pack("!H", len(wire)) + wire, until)
        data = b""
        while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
            more = received(sock, until)
            if not more:
                return None
            data += more
    answer = read_message(data[2 : 2 + int.from_bytes(data[:2], "big")])
    return answer if answer is not None and query.is_response(answer) else None
