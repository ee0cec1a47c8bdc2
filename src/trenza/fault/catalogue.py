"""Faults as values. What each does to interfaces is `trenza.fault.effects`' to say."""

from __future__ import annotations

from dataclasses import dataclass

from trenza.model.names import Interface, NodeName


@dataclass(frozen=True, slots=True)
class Cut:
    """A cable is pulled: both ends lose carrier. `cable` is its name; None for one known by its ends only."""

    one: Interface
    other: Interface
    cable: str | None = None

    def __str__(self) -> str:
        return f"cut {self.cable or self.one}"


@dataclass(frozen=True, slots=True)
class Down:
    """An interface is set down; of a bridge, its ports keep carrier: neighbours notice only by their timers."""

    interface: Interface

    def __str__(self) -> str:
        return f"down {self.interface}"


@dataclass(frozen=True, slots=True)
class PowerOff:
    """A bridge or a whole node loses power: every cable that ends in it loses carrier. Its processes stay."""

    node: NodeName
    bridge: Interface | None = None
    """The one bridge, where only that is meant."""

    def __str__(self) -> str:
        return f"poweroff {self.bridge or self.node}"


@dataclass(frozen=True, slots=True)
class Kill:
    """A service is ended by SIGKILL and stays dead."""

    node: NodeName
    service: str

    def __str__(self) -> str:
        return f"kill {self.node} {self.service}"


@dataclass(frozen=True, slots=True)
class Stop:
    """A service is stopped in good order (SIGTERM) and stays so."""

    node: NodeName
    service: str

    def __str__(self) -> str:
        return f"stop {self.node} {self.service}"


@dataclass(frozen=True, slots=True)
class Pause:
    """A service's processes are stopped by SIGSTOP: its sockets stay open and nothing answers."""

    node: NodeName
    service: str

    def __str__(self) -> str:
        return f"pause {self.node} {self.service}"


@dataclass(frozen=True, slots=True)
class Impairment:
    """What happens to frames: times in seconds, shares from 0 to 1."""

    delay_s: float = 0
    jitter_s: float = 0
    loss: float = 0
    corrupt: float = 0
    rate_bit_s: int | None = None

    def __str__(self) -> str:
        parts = []
        if self.delay_s:
            parts.append(f"--delay {self.delay_s * 1000:g}ms")
        if self.jitter_s:
            parts.append(f"--jitter {self.jitter_s * 1000:g}ms")
        if self.loss:
            parts.append(f"--loss {self.loss * 100:g}%")
        if self.corrupt:
            parts.append(f"--corrupt {self.corrupt * 100:g}%")
        if self.rate_bit_s is not None:
            parts.append(f"--rate {_rate(self.rate_bit_s)}")
        return " ".join(parts)


def _rate(rate_bit_s: int) -> str:
    for factor, unit in ((10**9, "gbit"), (10**6, "mbit"), (10**3, "kbit")):
        if rate_bit_s % factor == 0:
            return f"{rate_bit_s // factor}{unit}"
    return f"{rate_bit_s}bit"


@dataclass(frozen=True, slots=True)
class Impair:
    """Frames that leave these interfaces are delayed, lost, corrupted or limited."""

    interfaces: tuple[Interface, ...]
    how: Impairment
    cable: str | None = None

    def __str__(self) -> str:
        where = self.cable or " ".join(map(str, self.interfaces))
        return f"impair {where} {self.how}"


@dataclass(frozen=True, slots=True)
class Partition:
    """Two groups of nodes: every cable that leads from one to the other is cut."""

    one: frozenset[NodeName]
    other: frozenset[NodeName]

    def __str__(self) -> str:
        return f"partition {','.join(sorted(self.one))} {','.join(sorted(self.other))}"


Fault = Cut | Down | PowerOff | Kill | Stop | Pause | Impair | Partition
