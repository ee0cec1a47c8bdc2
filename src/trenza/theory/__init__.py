"""Predictions from a State: who shares a segment, which way a packet takes, how long a network takes to converge.

Pure; linear to prepare and cheap to ask. `Network(state)` answers many questions about one state; the functions here
answer one. Spanning trees, ways of frames, MTUs, masters of virtual routers and outages have modules of their own. What
does not belong here: anything observed, but for port numbers, which no state tells.
"""

from __future__ import annotations

from collections.abc import Iterator

from trenza.model.names import NodeName
from trenza.model.state import Bridge, IpAddress, State
from trenza.theory.network import Hop, Network, Pair, Path

__all__ = ["Hop", "Network", "Pair", "Path", "can_talk", "convergence_s", "path", "reachable_pairs"]


def reachable_pairs(state: State) -> Iterator[Pair]:
    """Each node with each address of another that it can exchange packets with; lazy, their number is quadratic."""
    return Network(state).reachable_pairs()


def can_talk(state: State, source: NodeName, to: IpAddress) -> bool:
    """Whether a packet from a node gets to an address and its answer back. For many questions make one `Network`."""
    return Network(state).can_talk(source, to)


def path(state: State, source: NodeName, to: IpAddress) -> Path:
    """The way of a packet from a node to an address, or the first thing wrong with it or its answer's."""
    return Network(state).path(source, to)


def convergence_s(state: State) -> float:
    """The longest that a port stays silent after the network was built: listening and learning, a forward delay each.

    Zero without STP (IEEE 802.1D-1998, 8.4; a bridge without STP forwards at once).
    """
    delays = [thing.forward_delay_s for thing in state if isinstance(thing, Bridge) and thing.stp and thing.up]
    return 2 * max(delays, default=0)
