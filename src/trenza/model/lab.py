"""Lab: a lab file after reading: parameters filled in, templates and variants merged, every name resolved.

`trenza.spec` makes it from text, `trenza.plan.wanted` makes a `State` of it. Nothing here is optional in the sense of
"look elsewhere": None means that the lab file left the choice to trenza (a derived MAC, the default MTU).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trenza.model.checks import Check, Text
from trenza.model.cluster import Cluster
from trenza.model.names import Interface, Mac, NicName, NodeName
from trenza.model.services import Service
from trenza.model.state import IpAddress, IpInterface, IpNetwork, MacvlanMode, NodeKind, RouteType


@dataclass(frozen=True, slots=True)
class ToBridge:
    """Plugged into a bridge: of the same host, or a switch (whose one bridge has its name)."""

    node: NodeName
    bridge: NicName


@dataclass(frozen=True, slots=True)
class ToNic:
    """A point-to-point cable to another NIC, which says the same of this one."""

    other: Interface


@dataclass(frozen=True, slots=True)
class ToHost:
    """A veth whose far end lies in the container's host (`to: host`)."""

    host: NodeName


@dataclass(frozen=True, slots=True)
class ToNat:
    """An uplink with DHCP, off unless the person running the lab allows it."""


@dataclass(frozen=True, slots=True)
class Unplugged:
    """The NIC is there and its cable's other end (if it has a cable) is free: no carrier."""


Attachment = ToBridge | ToNic | ToHost | ToNat | Unplugged


@dataclass(frozen=True, slots=True)
class Peer:
    """The far end of a container's veth, in its host or switch."""

    name: NicName | None = None
    addresses: tuple[IpInterface, ...] = ()
    mac: Mac | None = None
    mtu_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Nic:
    name: NicName
    to: Attachment = Unplugged()
    cable: str | None = None
    addresses: tuple[IpInterface, ...] = ()
    gateways: tuple[IpAddress, ...] = ()
    mac: Mac | None = None
    mtu_bytes: int | None = None
    up: bool = True
    dhcp: bool = False
    peer: Peer = Peer()


@dataclass(frozen=True, slots=True)
class Port:
    """A port listed under a bridge, by the name of an interface of the same node."""

    name: NicName
    cost: int | None = None
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class Stp:
    """STP is on. Times in seconds; None is 802.1D's default (15, 2, 20) and priority 32768."""

    priority: int | None = None
    forward_delay_s: float | None = None
    hello_time_s: float | None = None
    max_age_s: float | None = None


@dataclass(frozen=True, slots=True)
class BridgeSpec:
    """A bridge of a host or container, or a switch's own."""

    name: NicName
    ports: tuple[Port, ...] = ()
    addresses: tuple[IpInterface, ...] = ()
    mac: Mac | None = None
    mtu_bytes: int | None = None
    ageing_time_s: float | None = None
    stp: Stp | None = None
    up: bool = True


@dataclass(frozen=True, slots=True)
class FdbSpec:
    """A static entry of a VXLAN: frames for `mac` go to the tunnel end at `destination`."""

    mac: Mac
    destination: IpAddress


@dataclass(frozen=True, slots=True)
class VxlanSpec:
    name: NicName
    vni: int
    local: IpAddress | None = None
    remotes: tuple[IpAddress, ...] = ()
    udp_port: int = 4789
    dev: NicName | None = None
    learning: bool = True
    fdb: tuple[FdbSpec, ...] = ()
    addresses: tuple[IpInterface, ...] = ()
    mac: Mac | None = None
    mtu_bytes: int | None = None
    up: bool = True


@dataclass(frozen=True, slots=True)
class MacvlanSpec:
    """`parent` lies in the same node, or in the container's host."""

    name: NicName
    parent: Interface
    mode: MacvlanMode = MacvlanMode.BRIDGE
    addresses: tuple[IpInterface, ...] = ()
    mac: Mac | None = None
    mtu_bytes: int | None = None
    up: bool = True


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """`dev` None: the interface on whose subnet `via` lies. `default` is 0.0.0.0/0 or ::/0 by the family of `via`."""

    to: IpNetwork
    via: IpAddress | None = None
    dev: NicName | None = None
    metric: int | None = None
    onlink: bool = False
    type: RouteType = RouteType.UNICAST


@dataclass(frozen=True, slots=True)
class FileSpec:
    """A file to place: its text, or the name of one below the lab's directory (`source`)."""

    path: str
    text: str | None = None
    source: str | None = None
    mode: int = 0o644
    owner: str = "root"


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A host, a container or a switch. `host` is set for containers. A switch has exactly one bridge, of its name."""

    name: NodeName
    kind: NodeKind
    host: NodeName | None = None
    hostname: str = ""
    nics: tuple[Nic, ...] = ()
    bridges: tuple[BridgeSpec, ...] = ()
    vxlans: tuple[VxlanSpec, ...] = ()
    macvlans: tuple[MacvlanSpec, ...] = ()
    routes: tuple[RouteSpec, ...] = ()
    forwarding: bool = False
    sysctls: tuple[tuple[str, str], ...] = ()
    files: tuple[FileSpec, ...] = ()
    services: tuple[Service, ...] = ()


@dataclass(frozen=True, slots=True)
class Cable:
    """A named cable. An end is a NIC, a switch (as `ToBridge`), or None while free."""

    name: str
    ends: tuple[Interface | ToBridge | None, Interface | ToBridge | None]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A graded step. `checks` are read of whole labs only: they name what any checkpoint adds."""

    name: str
    title: Text = field(default_factory=dict)
    points: float = 0
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class Variant:
    name: str
    title: Text = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lab:
    """One lab, the chosen profile, parameters, variants and checkpoints merged in. Hosts precede their containers."""

    name: str
    title: Text = field(default_factory=dict)
    nodes: tuple[NodeSpec, ...] = ()
    cables: tuple[Cable, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    variants: tuple[Variant, ...] = ()
    profiles: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seeded: Mapping[str, tuple[str | range, ...]] = field(default_factory=dict)
    """Parameters whose value is each student's own: what it is chosen from, words and ranges of whole numbers."""
    cluster: Cluster | None = None
    equivalent: Mapping[str, str] = field(default_factory=dict)
    """Wrong-looking changes of the solution that are right, by name or pattern, with the reason (`check.mutants`)."""
