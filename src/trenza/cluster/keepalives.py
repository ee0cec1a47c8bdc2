"""Connections whose other end may vanish behind a cut cable: the kernel asks after it, and ends them."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

_OPTIONS: Final = ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 3))


def keep_alive(writer: asyncio.StreamWriter) -> None:
    """Have an idle connection end 11 seconds after its peer has gone; nothing for what is no TCP."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _OPTIONS:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
