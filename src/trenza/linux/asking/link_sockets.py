"""A packet socket at one interface of a node, to say something on its link and hear the answers."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Iterator
from types import TracebackType
from typing import Final

from trenza.errors import KernelError
from trenza.linux.asking.sockets import opened, ready

_OUTGOING: Final = 4
_LONGEST_BYTES: Final = 1 << 16
_AT_A_TIME: Final = 64
_ETHERNET: Final = 1


class LinkSocket:
    """Frames of one ethertype at `nic`. Use it in `with`.

    Raises KernelError if there is no such interface (ENODEV), it is down (ENETDOWN), or it has no Ethernet addresses.
    """

    def __init__(self, netns: int, nic: str, ethertype: int) -> None:
        self._nic = nic
        self._socket = opened(netns, socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            self._socket.bind((nic, ethertype))
            _, _, _, hardware, self.mac = self._socket.getsockname()
        except OSError as error:
            self._socket.close()
            raise self._refusal(error.errno) from error
        if hardware != _ETHERNET:
            self._socket.close()
            raise self._refusal(errno.EPROTOTYPE)

    def __enter__(self) -> LinkSocket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def _refusal(self, number: int | None) -> KernelError:
        return KernelError(f"cannot ask at {self._nic}: {os.strerror(number or 0).lower()}", errno=number or 0)

    def send(self, frame: bytes) -> None:
        try:
            self._socket.send(frame)
        except OSError as error:
            raise self._refusal(error.errno) from error

    def heard(self, until: float) -> Iterator[bytes]:
        """The frames that came in by `until`, once there are any; never our own."""
        if not ready(self._socket, select.POLLIN, until):
            return
        for _ in range(_AT_A_TIME):
            try:
                data, address = self._socket.recvfrom(_LONGEST_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                raise self._refusal(error.errno) from error
            if address[2] != _OUTGOING:
                yield data
