"""Netlink framing and one socket: messages and attributes as bytes, many messages in one send.

Nothing here knows what a link or a route is (`rtnetlink`, `rtnetlink_dump`). The kernel handles a request inside the
sending system call and its answers are queued by the time that returns, so nothing here ever waits.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from trenza.errors import KernelError
from trenza.linux.netns import Home

NETLINK_ROUTE: Final = 0
HEADER: Final = struct.Struct("=IHHII")
ATTRIBUTE: Final = struct.Struct("=HH")
_ERROR: Final = struct.Struct("=i")
_pack_attribute: Final = ATTRIBUTE.pack
_pack_header: Final = HEADER.pack
u16: Final = struct.Struct("=H").pack
u32: Final = struct.Struct("=I").pack

# include/uapi/linux/netlink.h
REQUEST: Final = 1
ACK: Final = 4
DUMP_INTERRUPTED: Final = 0x10
REPLACE: Final = 0x100
EXCLUSIVE: Final = 0x200
CREATE: Final = 0x400
APPEND: Final = 0x800
DUMP: Final = 0x300
_ACK_TLVS: Final = 0x200
_MESSAGE_ERROR: Final = 2
_MESSAGE_DONE: Final = 3
_SOL_NETLINK: Final = 270
_SO_RCVBUFFORCE: Final = 33
_ADD_MEMBERSHIP: Final = 1
_CAP_ACK: Final = 10
_EXT_ACK: Final = 11
_GET_STRICT_CHECK: Final = 12
_ERROR_ATTRIBUTE_TEXT: Final = 1

SEND_BYTES: Final = 48 * 1024
"""The most bytes of one send: well below the default send buffer, which an ordinary user cannot enlarge."""
SEND_MESSAGES: Final = 128
"""The most messages of one send: each may be refused, and all the refusals must fit the receive buffer."""

_PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    size = len(payload) + 4
    return _pack_attribute(size, kind) + payload + _PADDING[size & 3]


def message(kind: int, flags: int, body: bytes) -> bytes:
    """One request; its sequence number is filled in when it is sent."""
    return _pack_header(16 + len(body), kind, REQUEST | flags, 0, 0) + body


def attributes(data: bytes, start: int = 0, end: int | None = None) -> dict[int, bytes]:
    """Attributes by type (nesting flags removed); of a repeated type the last."""
    found: dict[int, bytes] = {}
    stop = len(data) if end is None else end
    unpack = ATTRIBUTE.unpack_from
    while start + 4 <= stop:
        size, kind = unpack(data, start)
        if size < 4:
            break
        found[kind & 0x3FFF] = data[start + 4 : start + size]
        start += (size + 3) & ~3
    return found


def split_messages(data: bytes) -> Iterator[tuple[int, int, int, int, int]]:
    """(type, flags, sequence number, start of the body, end) of every message in `data`."""
    start, stop = 0, len(data)
    unpack = HEADER.unpack_from
    while start + 16 <= stop:
        size, kind, flags, sequence, _port = unpack(data, start)
        if size < 16:
            break
        yield kind, flags, sequence, start + 16, start + size
        start += (size + 3) & ~3


@dataclass(frozen=True, slots=True)
class Refusal:
    """One message of a send that the kernel refused: its place in the send, the errno, and the kernel's own words."""

    place: int
    errno: int
    text: str


@dataclass(slots=True)
class Traffic:
    """How much was said to the kernel: tests hold these counts, since milliseconds are noise."""

    sends: int = 0
    messages: int = 0
    dumps: int = 0


class NetlinkSocket:
    """A netlink socket of one network namespace. `close` it: it keeps the namespace alive."""

    def __init__(
        self,
        home: Home,
        netns: int,
        *,
        groups: Sequence[int] = (),
        traffic: Traffic | None = None,
        protocol: int = NETLINK_ROUTE,
    ) -> None:
        with home.inside(netns):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        for option in (_CAP_ACK, _EXT_ACK, _GET_STRICT_CHECK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        if groups:
            self._socket.bind((0, 0))  # unbound it is port 0, to the kernel the sender of these very events
        for group in groups:
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        self.traffic = Traffic() if traffic is None else traffic

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def enlarge_receive_buffer(self, size_bytes: int) -> None:
        """As much of `size_bytes` as this process may have: root more than net.core.rmem_max, others not."""
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size_bytes)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size_bytes)

    def send(self, messages: Sequence[bytes]) -> tuple[Refusal, ...]:
        """Send messages at once and return what was refused; the others were done, those after a refusal too.

        At most SEND_MESSAGES of SEND_BYTES in all. Only the last is acknowledged; errors come back for each.
        """
        count = len(messages)
        buffer = bytearray(b"".join(messages))
        offset = 0
        for place, one in enumerate(messages):
            struct.pack_into("=I", buffer, offset + 8, place + 1)
            if place == count - 1:
                buffer[offset + 6] |= ACK
            offset += len(one)
        self.traffic.sends += 1
        self.traffic.messages += count
        self._socket.send(buffer)
        refusals: list[Refusal] = []
        while True:
            answer = self._receive()
            for kind, flags, sequence, start, end in split_messages(answer):
                if kind != _MESSAGE_ERROR:
                    continue
                refusal = _refusal(answer, kind, flags, start, end, sequence - 1)
                if refusal is not None:
                    refusals.append(refusal)
                if sequence == count:
                    return tuple(refusals)

    def dump(self, request: bytes) -> bytes:
        """All messages that answer a dump request, one behind the other.

        Asked again when the kernel says that something changed meanwhile. Raises KernelError when it is refused.
        """
        for _attempt in range(8):
            self.traffic.dumps += 1
            self._socket.send(request)
            parts: list[bytes] = []
            interrupted = False
            while True:
                answer = self._receive()
                done = False
                for kind, flags, _sequence, start, end in split_messages(answer):
                    interrupted = interrupted or bool(flags & DUMP_INTERRUPTED)
                    if kind in (_MESSAGE_DONE, _MESSAGE_ERROR):
                        refusal = _refusal(answer, kind, flags, start, end, 0)
                        if refusal is not None:
                            raise KernelError(
                                f"the kernel refused a dump: {refusal.text or os.strerror(refusal.errno)}",
                                errno=refusal.errno,
                            )
                        answer = answer[: start - 16]
                        done = True
                        break
                if answer:
                    parts.append(answer)
                if done:
                    break
            if not interrupted:
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def ask(self, request: bytes) -> bytes | Refusal:
        """The one message that answers a request for one thing, or why there is none."""
        self.traffic.sends += 1
        self.traffic.messages += 1
        self._socket.send(request)
        answer = self._receive()
        kind, flags, _sequence, start, end = next(split_messages(answer))
        if kind == _MESSAGE_ERROR:
            return _refusal(answer, kind, flags, start, end, 0) or Refusal(0, 0, "")
        return answer

    def events(self) -> Iterator[bytes]:
        """Messages of the joined groups that have arrived, without waiting.

        Raises OSError with ENOBUFS when some were lost: whoever listens must look at everything again.
        """
        while True:
            try:
                yield self._socket.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError as error:
            raise KernelError("the kernel did not answer a netlink request", errno=error.errno or 0) from error


def _refusal(answer: bytes, kind: int, flags: int, start: int, end: int, place: int) -> Refusal | None:
    """The refusal in an error or done message, or None where it says 0."""
    if end - start < 4:
        return None
    number = -_ERROR.unpack_from(answer, start)[0]
    if number <= 0:
        return None
    text = ""
    if flags & _ACK_TLVS:
        # an error repeats the request's header (the payload is left out: CAP_ACK), a done message does not
        offset = start + 4 if kind == _MESSAGE_DONE else start + 20
        text = attributes(answer, offset, end).get(_ERROR_ATTRIBUTE_TEXT, b"").rstrip(b"\0").decode(errors="replace")
    return Refusal(place, number, text)
