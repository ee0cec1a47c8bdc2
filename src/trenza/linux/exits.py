"""How a process ended, as far as the kernel tells one who is not its parent."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
from os import waitstatus_to_exitcode

# include/uapi/linux/pidfd.h: struct pidfd_info, and PIDFD_GET_INFO = _IOWR(0xFF, 11, that struct)
_INFO = struct.Struct("=QQ11Ii")
_GET_INFO = 0xC0000000 | _INFO.size << 16 | 0xFF << 8 | 11
_WITH_EXIT = 1 << 3


def is_reaped(pidfd: int) -> bool:
    """Whether the process has ended and its parent has taken note; only then can its status be had."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


def find_exit_code(pidfd: int) -> int | None:
    """The exit code of a process that was reaped (a signal as its negative number), or None if it cannot be had.

    Kernels before 6.15 tell it to the parent only.
    """
    buffer = bytearray(_INFO.pack(_WITH_EXIT, *[0] * 13))
    try:
        fcntl.ioctl(pidfd, _GET_INFO, buffer)
    except OSError:
        return None
    mask, *_, status = _INFO.unpack(buffer)
    return waitstatus_to_exitcode(status) if mask & _WITH_EXIT else None


def tells_exit_codes() -> bool:
    """Whether this kernel tells how a process ended to one who is not its parent."""
    pid = os.fork()
    if not pid:
        os._exit(3)
    pidfd = os.pidfd_open(pid)
    try:
        os.waitpid(pid, 0)
        return find_exit_code(pidfd) == 3
    finally:
        os.close(pidfd)


def exit_words(code: int | None) -> str:
    """`it ended`, with its status or its signal where they are known."""
    if code is None:
        return "it ended"
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"it was killed by {name}"
    return f"it ended with status {code}"
