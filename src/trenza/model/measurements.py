"""Measurements: what the kernel learnt, counted or decided, as against what somebody configured (`State`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from trenza.model.names import Interface, Mac, NicName, NodeName
from trenza.model.state import IpAddress


@dataclass(frozen=True, slots=True)
class LinkMeasure:
    """An interface as the kernel sees it now. `peer` is the far end of a veth where it lies in the lab."""

    interface: Interface
    kind: str
    index: int
    mac: Mac
    mtu_bytes: int
    up: bool
    carrier: bool
    bridge: NicName | None = None
    peer: Interface | None = None
    rx_packets: int = 0
    tx_packets: int = 0
    rx_bytes: int = 0
    tx_bytes: int = 0


@dataclass(frozen=True, slots=True)
class NeighbourMeasure:
    """An entry of the ARP or ND table; `state` in iproute2's words (REACHABLE, STALE, PERMANENT…)."""

    interface: Interface
    ip: IpAddress
    mac: Mac | None
    state: str


@dataclass(frozen=True, slots=True)
class FdbMeasure:
    """A forwarding entry of a bridge or VXLAN; `origin` is learnt, static or local; `age_s` since last used."""

    interface: Interface
    mac: Mac
    origin: str
    bridge: NicName | None = None
    destination: IpAddress | None = None
    age_s: float | None = None


@dataclass(frozen=True, slots=True)
class PortMeasure:
    """A bridge port's STP state: `state` and `role` in 802.1D's words, ids as `8000.02aabbccddee`.

    `number` counts from 1 in the order of joining, the lowest that is free (net/bridge/br_if.c, find_portno).
    `designated_port` is a port id: priority in the upper six bits, number in the lower ten. The timers are seconds
    until the next of listening and learning ends, and until what the port heard of the root is forgotten; 0: not
    running.
    """

    interface: Interface
    bridge: NicName
    state: str
    role: str
    cost: int
    designated_root: str
    designated_bridge: str
    designated_cost: int
    priority: int = 32
    number: int = 0
    designated_port: int = 0
    forward_timer_s: float = 0
    age_timer_s: float = 0


@dataclass(frozen=True, slots=True)
class BridgeMeasure:
    """A bridge's STP state; `root_id` is the root bridge's id as sysfs gives it, not the bridge's own."""

    interface: Interface
    stp: bool
    bridge_id: str
    root_id: str
    root_path_cost: int
    root_port: NicName | None
    topology_changes: int = 0


@dataclass(frozen=True, slots=True)
class AddressMeasure:
    """Any address of an interface, the kernel's own included; `scope` in iproute2's words.

    `origin` is kernel, ra (from a router's advertisement), static, dhcp (IPv4 that ends by itself: leased), or dynamic.
    """

    interface: Interface
    address: str
    scope: str
    origin: str


@dataclass(frozen=True, slots=True)
class RouteMeasure:
    """Any route of the main table, the kernel's own included; `protocol` in iproute2's words."""

    node: NodeName
    to: str
    via: str | None
    dev: NicName | None
    metric: int
    protocol: str
    type: str
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Measurements:
    """Everything learnt at one moment, of the nodes that were asked about."""

    links: tuple[LinkMeasure, ...] = ()
    addresses: tuple[AddressMeasure, ...] = ()
    routes: tuple[RouteMeasure, ...] = ()
    neighbours: tuple[NeighbourMeasure, ...] = ()
    fdb: tuple[FdbMeasure, ...] = ()
    bridges: tuple[BridgeMeasure, ...] = ()
    ports: tuple[PortMeasure, ...] = ()
    pids: dict[NodeName, tuple[int, int | None]] = field(default_factory=dict)
    """A node's init: its pid in the sandbox, and its pid in its host (None for hosts and switches)."""
