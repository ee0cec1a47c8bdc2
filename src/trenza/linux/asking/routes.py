"""Which way the kernel of a node would send a packet, in its own answer."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from trenza.linux.asking.sockets import way_home
from trenza.linux.netlink import NetlinkSocket, Refusal, attributes, split_messages
from trenza.linux.netns import find_name
from trenza.linux.rtnetlink import NEWROUTE, ask_route
from trenza.linux.rtnetlink_dump import ip_of, next_hop, number
from trenza.model.state import IpAddress

_ROUTE_BYTES: Final = 12
_TYPE_AT: Final = 7
_TYPES: Final = {
    1: "unicast", 2: "local", 3: "broadcast", 4: "anycast", 5: "multicast",
    6: "blackhole", 7: "unreachable", 8: "prohibit",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RouteSaid:
    """The route of a packet: next hop (None on the link itself), interface, source address, and its type's word.

    Without a route `error` has the kernel's words, and nothing else is there.
    """

    via: IpAddress | None = None
    dev: str | None = None
    source: IpAddress | None = None
    type: str | None = None
    error: str | None = None


def route_get(netns: int, target: IpAddress) -> RouteSaid:
    """What `ip route get TARGET` asks. The kernel answers at once. Raises KernelError."""
    with way_home() as home:
        sock = NetlinkSocket(home, netns)
        try:
            answer = sock.ask(ask_route(target))
            if isinstance(answer, Refusal):
                return RouteSaid(error=answer.text or os.strerror(answer.errno).lower())
            for kind, _flags, _sequence, start, end in split_messages(answer):
                if kind == NEWROUTE and end - start >= _ROUTE_BYTES:
                    found = attributes(answer, start + _ROUTE_BYTES, end)
                    dev = find_name(sock.fileno(), number(found.get(4)))
                    type_ = _TYPES.get(answer[start + _TYPE_AT])
                    return RouteSaid(next_hop(found), dev, ip_of(found.get(7)), type_)
            return RouteSaid(error="no answer")
        finally:
            sock.close()
