"""Where captured frames go: a pcapng stream or lines to read, to a descriptor whose reader may be slow, or leave."""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from trenza.errors import TrenzaError
from trenza.linux import pcapng
from trenza.linux.capture_sockets import Frame
from trenza.linux.dissect import summary
from trenza.linux.dissect_octets import escaped
from trenza.model.names import Interface, NicName, NodeName

# A pipe that poll calls writable takes this much without blocking (pipe(7), PIPE_BUF).
_PIPE_CHUNK_BYTES: Final = 4096
_FILE_CHUNK_BYTES: Final = 1 << 20
_FAREWELL_S: Final = 1.0


class ReaderGoneError(Exception):
    """Whoever read the output has closed it: an end, not a failure."""


class Output:
    """A descriptor that one writes to without ever being stuck.

    The descriptor is somebody else's standard output as a rule, so that its flags cannot be changed to non-blocking;
    instead each piece is small enough for what poll promised.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._chunk_bytes = _FILE_CHUNK_BYTES if regular else _PIPE_CHUNK_BYTES
        self._pending = b""

    def write(self, data: bytes) -> None:
        """Take bytes to be written by the next `flush`."""
        self._pending += data

    def flush(self, stop_descriptors: Iterable[int] = (), deadline_s: float | None = None) -> bool:
        """Write all that was taken. False if a stop descriptor became readable, or the (monotonic) deadline came first.

        Raises ReaderGoneError if the reader has gone, TrenzaError if the disk is full or the like.
        """
        if not self._pending:
            return True
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        for descriptor in stop_descriptors:
            poll.register(descriptor, select.POLLIN)
        view = memoryview(self._pending)
        try:
            while view:
                wait_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
                events = dict(poll.poll(None if wait_s is None else wait_s * 1000))
                writable = events.pop(self._descriptor, 0)
                if writable & (select.POLLERR | select.POLLHUP):
                    raise ReaderGoneError
                if writable:
                    view = view[self._write(view[: self._chunk_bytes]) :]
                elif events or wait_s is not None:
                    return False
        finally:
            self._pending = bytes(view)
        return True

    def farewell(self) -> None:
        """Write what is left, but wait no longer than a second for a reader that has stopped reading."""
        self.flush(deadline_s=time.monotonic() + _FAREWELL_S)

    def _write(self, piece: memoryview) -> int:
        try:
            return os.write(self._descriptor, piece)
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.ECONNRESET):
                raise ReaderGoneError from error
            raise TrenzaError(f"cannot write the capture: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Drops:
    """Frames that the kernel dropped before one socket read them; `nic` None for a socket of a whole node."""

    node: NodeName
    nic: NicName | None
    frames: int


class Format(Protocol):
    """Frames to bytes."""

    def begin(self) -> bytes:
        """What comes before any frame."""
        ...

    def frame(self, frame: Frame) -> bytes:
        """One frame, with whatever must come before it."""
        ...

    def end(self, drops: Iterable[Drops]) -> bytes:
        """What comes last."""
        ...


class PcapngFormat:
    """A pcapng stream. An interface is declared when its first frame comes, those given at the beginning."""

    def __init__(self, interfaces: Iterable[Interface], *, expression: str, snaplen_bytes: int, comment: str) -> None:
        self._first = tuple(interfaces)
        self._filter = expression
        self._snaplen_bytes = snaplen_bytes
        self._comment = comment
        self._numbers: dict[tuple[Interface, int], int] = {}
        self._described: list[tuple[Interface, pcapng.CapturedInterface]] = []
        self._delivered: list[int] = []

    def begin(self) -> bytes:
        blocks = [pcapng.section_header(comment=self._comment)]
        blocks += [self._declare(interface, pcapng.LINKTYPE_ETHERNET) for interface in self._first]
        return b"".join(blocks)

    def _declare(self, interface: Interface, link_type: int) -> bytes:
        described = pcapng.CapturedInterface(
            name=str(interface),
            description=f"{interface.nic} of {interface.node}",
            link_type=link_type,
            snaplen_bytes=self._snaplen_bytes,
            filter=self._filter,
        )
        self._numbers[interface, link_type] = len(self._described)
        self._described.append((interface, described))
        self._delivered.append(0)
        return pcapng.interface_description(described)

    def frame(self, frame: Frame) -> bytes:
        declared = b""
        if (frame.interface, frame.link_type) not in self._numbers:
            declared = self._declare(frame.interface, frame.link_type)
        number = self._numbers[frame.interface, frame.link_type]
        self._delivered[number] += 1
        described = self._described[number][1]
        packet = pcapng.Packet(
            described, frame.timestamp_ns, frame.data, frame.original_bytes, frame.direction, frame.flags
        )
        return declared + pcapng.enhanced_packet(number, packet)

    def end(self, drops: Iterable[Drops]) -> bytes:
        dropped = {(one.node, one.nic): one.frames for one in drops}
        now_ns = time.time_ns()
        blocks = []
        for number, (interface, _) in enumerate(self._described):
            frames = dropped.pop((interface.node, interface.nic), 0)
            comment = ""
            if (interface.node, None) in dropped:  # one socket for the whole node: its first interface bears the count
                frames += dropped.pop((interface.node, None))
                comment = f"drops of all interfaces of {interface.node}"
            blocks.append(
                pcapng.interface_statistics(
                    number, now_ns, delivered=self._delivered[number], dropped=frames, comment=comment
                )
            )
        return b"".join(blocks)


class SummaryFormat:
    """A line a frame, to be read while it happens. Times count from the first frame."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._first_ns: int | None = None

    def begin(self) -> bytes:
        return b""

    def frame(self, frame: Frame) -> bytes:
        if self._first_ns is None:
            self._first_ns = frame.timestamp_ns
        where = escaped(str(frame.interface))
        self._width = max(self._width, len(where))
        seconds = (frame.timestamp_ns - self._first_ns) / 1e9
        direction = "out" if frame.direction is pcapng.Direction.OUT else "in"
        words = summary(frame.data, link_type=frame.link_type)
        return f"{seconds:11.6f}  {where:<{self._width}}  {direction:<3}  {words}\n".encode(errors="replace")

    def end(self, drops: Iterable[Drops]) -> bytes:
        return b""
