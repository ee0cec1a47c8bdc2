"""The MTU of a path: the largest packet that gets through in one piece, and where it is narrowest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from trenza.model.names import Interface, NodeName
from trenza.model.state import Bridge, IpAddress, State
from trenza.theory.frames import Frames, Leg
from trenza.theory.segments import link_ends

VXLAN_OVERHEAD_BYTES = {4: 50, 6: 70}
"""Outer IP 20 or 40, UDP 8, VXLAN 8, inner Ethernet 14 (RFC 7348, section 5)."""


class Beyond(StrEnum):
    """What becomes of a larger packet that must not be fragmented, at the narrowest place."""

    SENDER = "sender"
    """Its sender refuses to send it."""
    ROUTER = "router"
    """A router answers "fragmentation needed" (RFC 1191; in IPv6 "packet too big", RFC 8201)."""
    SILENCE = "silence"
    """A bridge or a wire drops it, and nobody says so (net/bridge/br_forward.c, is_skb_forwardable)."""
    TUNNEL = "tunnel"
    """A tunnel's outer packets would be too large for the underlay: fragmented, or dropped."""


@dataclass(frozen=True, slots=True)
class PathMtu:
    """The largest packet in bytes, IP header included, and the interface that allows no more."""

    mtu_bytes: int
    at: Interface
    beyond: Beyond


def path_mtu(state: State, source: NodeName, to: IpAddress) -> PathMtu | None:
    """The MTU from a node to an address; None if no packet arrives, or if none leaves the node."""
    return PathMtus(Frames(state), state).find(source, to)


class PathMtus:
    """A state, ready to be asked for many MTUs."""

    def __init__(self, frames: Frames, state: State) -> None:
        self._frames = frames
        self._sizes = _Sizes(state)

    def find(self, source: NodeName, to: IpAddress) -> PathMtu | None:
        """As `path_mtu`."""
        return _narrowest(self._frames.legs(source, to), self._sizes)


class _Sizes:
    def __init__(self, state: State) -> None:
        self._ends = link_ends(state)

    def of(self, interface: Interface) -> int:
        return self._ends[interface].mtu_bytes

    def is_bridge(self, interface: Interface) -> bool:
        return isinstance(self._ends[interface], Bridge)


def _narrowest(legs: tuple[Leg, ...], sizes: _Sizes) -> PathMtu | None:
    """The first of the narrowest places."""
    places = [place for number, leg in enumerate(legs) for place in _places(leg, sizes, first=number == 0)]
    return min(places, key=lambda place: place.mtu_bytes, default=None)


def _places(leg: Leg, sizes: _Sizes, *, first: bool) -> Iterator[PathMtu]:
    for interface in leg.frame.interfaces:
        if interface == leg.hop.sender:
            yield PathMtu(sizes.of(interface), interface, Beyond.SENDER if first else Beyond.ROUTER)
        elif not sizes.is_bridge(interface):  # a bridge's own MTU is for what it sends itself
            yield PathMtu(sizes.of(interface), interface, Beyond.SILENCE)
    for below in leg.under:
        place = _narrowest(below, sizes)
        if place is not None:
            overhead = VXLAN_OVERHEAD_BYTES[below[0].hop.ip.version]
            yield PathMtu(place.mtu_bytes - overhead, place.at, Beyond.TUNNEL)
