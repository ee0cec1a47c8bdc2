"""Faults as values. Everything that a state can say about them is said by `trenza.fault.apply`."""

from __future__ import annotations

from dataclasses import dataclass

from trenza.model.names import Interface, NodeName


@dataclass(frozen=True, slots=True)
class Cut:
    """A cable is pulled: both ends lose carrier. `cable` is its name; None for one known by its ends only."""

    one: Interface
    other: Interface
    cable: str | None = None


@dataclass(frozen=True, slots=True)
class Down:
    """An interface is set down; of a bridge, its ports keep carrier: neighbours notice only by their timers."""

    interface: Interface


@dataclass(frozen=True, slots=True)
class PowerOff:
    """A bridge or a whole node loses power: every cable that ends in it loses carrier."""

    node: NodeName
    bridge: Interface | None = None
    """The one bridge, where only that is meant."""


@dataclass(frozen=True, slots=True)
class Kill:
    """A service is ended by SIGKILL and stays dead."""

    node: NodeName
    service: str


@dataclass(frozen=True, slots=True)
class Stop:
    """A service is stopped in good order (SIGTERM) and stays so."""

    node: NodeName
    service: str


@dataclass(frozen=True, slots=True)
class Pause:
    """A service's processes are stopped by SIGSTOP: its sockets stay open and nothing answers."""

    node: NodeName
    service: str


@dataclass(frozen=True, slots=True)
class Impair:
    """Frames that leave an interface are delayed, lost or limited."""

    interface: Interface
    delay_s: float = 0
    jitter_s: float = 0
    loss: float = 0
    """A share, from 0 to 1."""
    rate_bit_s: int | None = None
    corrupt: float = 0


@dataclass(frozen=True, slots=True)
class Partition:
    """Two groups of nodes: every cable that leads from one to the other is cut."""

    one: frozenset[NodeName]
    other: frozenset[NodeName]


Fault = Cut | Down | PowerOff | Kill | Stop | Pause | Impair | Partition
