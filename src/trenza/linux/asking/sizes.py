"""Whether a packet of an exact size gets through unfragmented, and what was said would have."""

from __future__ import annotations

from dataclasses import dataclass

from trenza.linux.asking.echoes import echo_window
from trenza.linux.asking.icmp import IcmpError
from trenza.linux.asking.sockets import NEVER, deadline
from trenza.model.state import IpAddress

_TRIES = 2


@dataclass(frozen=True, slots=True)
class Fits:
    """Whether an echo of the size was answered.

    If not: the words of the node's kernel, or a router's error, and the MTU that either said; of silence none of them.
    """

    answered: bool
    error: str | None = None
    icmp_error: IcmpError | None = None
    mtu_bytes: int | None = None


def fits(netns: int, target: IpAddress, size_bytes: int, *, timeout_s: float = 1.0, until: float = NEVER) -> Fits:
    """Ask with an IP packet of exactly `size_bytes`, header included, that nobody may fragment; twice at most.

    What was learnt of the path's MTU before is not believed. Raises KernelError, UsageError for a size no echo can be.
    """
    end = deadline(timeout_s, until)
    found = Fits(answered=False)
    for _ in range(_TRIES):
        echoes = echo_window(
            netns, target, count=1, timeout_s=timeout_s / _TRIES, size_bytes=size_bytes, dont_fragment=True, until=end
        )
        if echoes.answered:
            return Fits(answered=True)
        if echoes.errors:
            found = Fits(answered=False, error=echoes.errors[0], mtu_bytes=echoes.local_mtu_bytes)
        elif echoes.icmp_errors:
            error = echoes.icmp_errors[0]
            found = Fits(answered=False, icmp_error=error, mtu_bytes=error.mtu_bytes)
    return found
