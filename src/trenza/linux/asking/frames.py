"""Frames that passed a node's interfaces while something was done, as values."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Final

from trenza.linux import pcapng
from trenza.linux.asking.listening import Listener
from trenza.linux.asking.sockets import NEVER, deadline, refusals, way_home
from trenza.linux.capture_filter import compiled
from trenza.linux.capture_sockets import Frame, PacketSocket
from trenza.model.names import Mac, NicName, NodeName
from trenza.model.state import IpAddress

DEFAULT_FRAMES: Final = 1000


class FrameWatch:
    """In `with`: records the first `limit` frames at `nic` of a node, or at all it has, that its filter accepts.

    `expression` is a filter as `trenza capture` takes it; `source` and `destination` narrow it to frames from or to a
    MAC or an IP address, in ARP too. Listening has begun when the block begins. Raises UsageError for a filter that
    tcpdump refuses and an interface that is not there, MachineError where there is no tcpdump, KernelError.
    """

    def __init__(
        self,
        netns: int,
        node: NodeName,
        nic: NicName | None = None,
        expression: str = "",
        *,
        source: Mac | IpAddress | None = None,
        destination: Mac | IpAddress | None = None,
        limit: int = DEFAULT_FRAMES,
        snaplen_bytes: int = pcapng.DEFAULT_SNAPLEN_BYTES,
    ) -> None:
        self._where = netns, node, nic
        parts = [expression, _ends("src", source), _ends("dst", destination)]
        self.expression = " and ".join(f"({part})" for part in parts if part.strip())
        self._snaplen_bytes = snaplen_bytes
        self._limit = limit
        self._frames: list[Frame] = []
        self._more = threading.Condition()
        self._listener: Listener | None = None

    def __enter__(self) -> FrameWatch:
        program = compiled(self.expression, self._snaplen_bytes)
        netns, node, nic = self._where
        with ExitStack() as stack, way_home() as home:
            sock = stack.enter_context(PacketSocket(home, netns, node, nic, program, self._snaplen_bytes))
            self._listener = Listener([sock], self._take)
            stack.pop_all()
        self._listener.start()
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._listener is not None
        with refusals():
            self._listener.stop()

    def _take(self, place: int, frame: Frame) -> None:
        with self._more:
            if len(self._frames) < self._limit:
                self._frames.append(frame)
                self._more.notify_all()

    def await_frames(self, count: int, *, timeout_s: float, until: float = NEVER) -> bool:
        """Wait until that many were recorded; False if they were not in time."""
        end = deadline(timeout_s, until)
        with self._more:
            return self._more.wait_for(lambda: len(self._frames) >= count, max(0.0, end - time.monotonic()))

    def frames(self) -> tuple[Frame, ...]:
        """What was recorded so far, in the order of the kernel's times; after the block, all of it."""
        if self._listener is not None and self._listener.is_open:
            self._listener.catch_up()
        with self._more:
            return tuple(sorted(self._frames, key=lambda frame: frame.timestamp_ns))

    def dropped(self) -> int:
        """How many frames the kernel dropped because it had no room for them: they may have been any."""
        return 0 if self._listener is None else self._listener.dropped()


def write_pcapng(frames: Iterable[Frame], *, comment: str = "", expression: str = "") -> bytes:
    """A pcapng file of these frames, in this order, their interfaces named `NODE.NIC`."""
    return pcapng.document(
        (
            pcapng.Packet(
                pcapng.CapturedInterface(str(frame.interface), link_type=frame.link_type, filter=expression),
                frame.timestamp_ns, frame.data, frame.original_bytes, frame.direction, frame.flags,
            )
            for frame in frames
        ),
        comment=comment,
    )  # fmt: skip


def _ends(side: str, address: Mac | IpAddress | None) -> str:
    if address is None:
        return ""
    return f"ether {side} {address}" if isinstance(address, str) else f"{side} host {address}"
