"""State: the configuration of a lab as a set of things, wanted and observed alike.

A thing is a frozen value with a key. Two states with equal things are the same network; their difference is a plan
(`trenza.plan`). A thing says what it provides, what it stands on (it dies with that) and what it leans on (a part of
its configuration is lost with that, and can be put back in place).

What belongs here: nodes, links, addresses and routes other than the kernel's own, permanent neighbours and static FDB
entries, sysctls, files and processes that trenza placed. What does not: anything learnt, counted or leased
(`trenza.model.measurements`), other files and other processes, nftables rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from types import MappingProxyType

from trenza.model.names import Interface, Mac, NicName, NodeName

IpAddress = IPv4Address | IPv6Address
IpInterface = IPv4Interface | IPv6Interface
IpNetwork = IPv4Network | IPv6Network

Key = tuple[str, ...]
"""What identifies a thing: its kind, then names. Sorts; prints well joined by spaces."""

DEFAULT_MTU_BYTES = 1500
ZERO_MAC = Mac("00:00:00:00:00:00")


class NodeKind(StrEnum):
    """UPLINK is what lies behind a NIC with `to: nat`: a network namespace and nothing else, which nobody enters."""

    HOST = "host"
    CONTAINER = "container"
    SWITCH = "switch"
    UPLINK = "uplink"


def node_key(node: NodeName) -> Key:
    return ("node", node)


def file_key(node: NodeName, path: str) -> Key:
    return ("file", node, path)


def link_key(interface: Interface) -> Key:
    """The key under which an interface is *provided*, whatever thing makes it (a veth provides two)."""
    return ("link", interface.node, interface.nic)


@dataclass(frozen=True, slots=True)
class Node:
    """A host, a container in a host, or a switch: namespaces and an init. It brings its loopback, up."""

    name: NodeName
    kind: NodeKind
    host: NodeName | None = None
    hostname: str = ""

    @property
    def key(self) -> Key:
        return node_key(self.name)

    def stands_on(self) -> tuple[Key, ...]:
        return () if self.host is None else (node_key(self.host),)


@dataclass(frozen=True, slots=True)
class BridgePort:
    """Membership of a bridge of the same node. `cost` None: the kernel's own by speed (2 for a veth)."""

    bridge: NicName
    cost: int | None = None
    priority: int = 32


@dataclass(frozen=True, slots=True)
class Loopback:
    """`lo` of a node. It cannot be made or removed, only changed."""

    interface: Interface
    up: bool = True
    mtu_bytes: int = 65536

    @property
    def key(self) -> Key:
        return link_key(self.interface)

    def stands_on(self) -> tuple[Key, ...]:
        return (node_key(self.interface.node),)


@dataclass(frozen=True, slots=True)
class VethEnd:
    """One end of a veth pair. `plumbing` ends (bridge ports) get no IPv6 link-local address."""

    interface: Interface
    mac: Mac
    mtu_bytes: int = DEFAULT_MTU_BYTES
    up: bool = True
    port: BridgePort | None = None


@dataclass(frozen=True, slots=True)
class Veth:
    """A veth pair; `a.interface` sorts before `b.interface` (use `veth()` to make one)."""

    a: VethEnd
    b: VethEnd

    @property
    def key(self) -> Key:
        a, b = self.a.interface, self.b.interface
        return ("veth", a.node, a.nic, b.node, b.nic)

    @property
    def ends(self) -> tuple[VethEnd, VethEnd]:
        return (self.a, self.b)

    def stands_on(self) -> tuple[Key, ...]:
        return (node_key(self.a.interface.node), node_key(self.b.interface.node))


def veth(one: VethEnd, other: VethEnd) -> Veth:
    """A pair from two ends in any order."""
    return Veth(one, other) if one.interface < other.interface else Veth(other, one)


@dataclass(frozen=True, slots=True)
class Bridge:
    """A Linux bridge. Times in seconds; `stp` False forwards BPDUs unchanged (net/bridge/br_stp_bpdu.c)."""

    interface: Interface
    mac: Mac
    mtu_bytes: int = DEFAULT_MTU_BYTES
    up: bool = True
    ageing_time_s: float = 300
    stp: bool = False
    priority: int = 32768
    forward_delay_s: float = 15
    hello_time_s: float = 2
    max_age_s: float = 20

    @property
    def key(self) -> Key:
        return link_key(self.interface)

    def stands_on(self) -> tuple[Key, ...]:
        return (node_key(self.interface.node),)


@dataclass(frozen=True, slots=True)
class Vxlan:
    """A VXLAN tunnel end (RFC 7348). Several remotes are `FdbEntry` things with the zero MAC, not this `remote`."""

    interface: Interface
    mac: Mac
    vni: int
    local: IpAddress | None = None
    remote: IpAddress | None = None
    udp_port: int = 4789
    dev: NicName | None = None
    learning: bool = True
    mtu_bytes: int = 1450
    up: bool = True
    port: BridgePort | None = None

    @property
    def key(self) -> Key:
        return link_key(self.interface)

    def stands_on(self) -> tuple[Key, ...]:
        below = () if self.dev is None else (link_key(Interface(self.interface.node, self.dev)),)
        return (node_key(self.interface.node), *below)


class MacvlanMode(StrEnum):
    PRIVATE = "private"
    VEPA = "vepa"
    BRIDGE = "bridge"
    PASSTHRU = "passthru"


@dataclass(frozen=True, slots=True)
class Macvlan:
    """A macvlan over an interface of the same node, or, for a container, of its host (`parent` is the full name)."""

    interface: Interface
    mac: Mac
    parent: Interface
    mode: MacvlanMode = MacvlanMode.BRIDGE
    mtu_bytes: int = DEFAULT_MTU_BYTES
    up: bool = True
    port: BridgePort | None = None

    @property
    def key(self) -> Key:
        return link_key(self.interface)

    def stands_on(self) -> tuple[Key, ...]:
        return (node_key(self.interface.node), link_key(self.parent))


@dataclass(frozen=True, slots=True)
class OtherLink:
    """An interface that no lab file describes (tun, dummy, a veth whose peer left the lab). Observed, never wanted."""

    interface: Interface
    kind: str
    up: bool = False

    @property
    def key(self) -> Key:
        return link_key(self.interface)

    def stands_on(self) -> tuple[Key, ...]:
        return (node_key(self.interface.node),)


@dataclass(frozen=True, slots=True)
class Address:
    """An address that somebody configured. Link-local IPv6 addresses of the kernel's own making are not here."""

    interface: Interface
    address: IpInterface

    @property
    def key(self) -> Key:
        return ("address", self.interface.node, self.interface.nic, str(self.address))

    def stands_on(self) -> tuple[Key, ...]:
        return (link_key(self.interface),)


class RouteType(StrEnum):
    UNICAST = "unicast"
    BLACKHOLE = "blackhole"
    UNREACHABLE = "unreachable"
    PROHIBIT = "prohibit"


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the main table that somebody configured (protocols boot and static).

    `dev` is always known for unicast routes and None for the others. `metric` is the kernel's number: 0 by default for
    IPv4, 1024 for IPv6.
    """

    node: NodeName
    to: IpNetwork
    via: IpAddress | None = None
    dev: NicName | None = None
    metric: int = 0
    onlink: bool = False
    type: RouteType = RouteType.UNICAST

    @property
    def key(self) -> Key:
        return (
            "route", self.node, str(self.to), str(self.via or ""), self.dev or "", str(self.metric),
            "onlink" if self.onlink else "", self.type.value,
        )  # fmt: skip

    def stands_on(self) -> tuple[Key, ...]:
        return (node_key(self.node),) if self.dev is None else (link_key(Interface(self.node, self.dev)),)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A permanent neighbour entry."""

    interface: Interface
    ip: IpAddress
    mac: Mac

    @property
    def key(self) -> Key:
        return ("neighbour", self.interface.node, self.interface.nic, str(self.ip))

    def stands_on(self) -> tuple[Key, ...]:
        return (link_key(self.interface),)


@dataclass(frozen=True, slots=True)
class FdbEntry:
    """A static forwarding entry: on a bridge port (`destination` None) or on a VXLAN device (a remote's address)."""

    interface: Interface
    mac: Mac
    destination: IpAddress | None = None

    @property
    def key(self) -> Key:
        return ("fdb", self.interface.node, self.interface.nic, self.mac, str(self.destination or ""))

    def stands_on(self) -> tuple[Key, ...]:
        return (link_key(self.interface),)


@dataclass(frozen=True, slots=True)
class Sysctl:
    """A sysctl below `net.` of one node, dots between words (`net.ipv4.ip_forward`), an interface's own dots as `/`."""

    node: NodeName
    name: str
    value: str

    @property
    def key(self) -> Key:
        return ("sysctl", self.node, self.name)

    def stands_on(self) -> tuple[Key, ...]:
        """An interface's own sysctl dies with the interface; any other with the node."""
        words = self.name.split(".")
        if len(words) >= 5 and words[2] in ("conf", "neigh") and words[3] not in ("all", "default"):
            return (link_key(Interface(self.node, NicName(words[3].replace("/", ".")))),)
        return (node_key(self.node),)


@dataclass(frozen=True, slots=True)
class File:
    """A file that trenza placed. `digest` is the BLAKE2b-128 hexadecimal of its bytes; the bytes travel beside it.

    `content` takes no part in equality: an observed file has only its digest.
    """

    node: NodeName
    path: str
    digest: str
    mode: int = 0o644
    owner: str = "root"
    content: bytes | None = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> Key:
        return file_key(self.node, self.path)

    def stands_on(self) -> tuple[Key, ...]:
        return (node_key(self.node),)


class Restart(StrEnum):
    NO = "no"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Ready:
    """When a service counts as ready: exactly one of these, or none (running is enough). Deadline in seconds."""

    tcp: int | None = None
    file: str | None = None
    command: tuple[str, ...] | None = None
    log: str | None = None
    deadline_s: float = 30


@dataclass(frozen=True, slots=True)
class VrrpInstance:
    """A virtual router that a process takes part in (RFC 3768). Its addresses move, so they are no state.

    A new master announces its addresses at once and again after `garp_delay_s`, then every `garp_refresh_s` (0: never).
    `scripts` may change its priority, or take it out.
    """

    name: str
    nic: NicName
    id: int
    priority: int = 100
    advert_s: float = 1
    addresses: tuple[IpInterface, ...] = ()
    preempt: bool = True
    garp_delay_s: float = 5
    garp_refresh_s: float = 0
    scripts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How a balancer's process watches one server: `fall` failed checks, `inter_s` apart, and it is down."""

    backend: str
    server: str
    address: IpAddress
    port: int
    inter_s: float = 2
    fall: int = 3
    rise: int = 2


@dataclass(frozen=True, slots=True)
class Process:
    """A daemon that trenza declared and that runs; observed only while alive.

    `digest` covers whatever else must make it restart (its config's text). `config` is the path of its config file;
    `vrrp` and `health_checks` say what that makes it do to the network. They follow from the rest, so they take no part
    in equality.
    """

    node: NodeName
    name: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    user: str = "root"
    restart: Restart = Restart.ON_FAILURE
    ready: Ready = Ready()
    digest: str = ""
    config: str | None = field(default=None, compare=False)
    vrrp: tuple[VrrpInstance, ...] = field(default=(), compare=False)
    health_checks: tuple[HealthCheck, ...] = field(default=(), compare=False)

    @property
    def key(self) -> Key:
        return ("process", self.node, self.name)

    def stands_on(self) -> tuple[Key, ...]:
        return (node_key(self.node),)


Link = Loopback | Veth | Bridge | Vxlan | Macvlan | OtherLink
Thing = Node | Link | Address | Route | Neighbour | FdbEntry | Sysctl | File | Process


def provides(thing: Thing) -> tuple[Key, ...]:
    """The keys others may stand on: a thing's own key, and for a veth the keys of its two interfaces."""
    if isinstance(thing, Veth):
        return (thing.key, link_key(thing.a.interface), link_key(thing.b.interface))
    return (thing.key,)


def leans_on(thing: Thing) -> tuple[Key, ...]:
    """The bridges that a thing's ends are ports of: losing one loses membership, not the link."""
    if isinstance(thing, Veth):
        return tuple(
            link_key(Interface(end.interface.node, end.port.bridge)) for end in thing.ends if end.port is not None
        )
    if isinstance(thing, Vxlan | Macvlan) and thing.port is not None:
        return (link_key(Interface(thing.interface.node, thing.port.bridge)),)
    return ()


def nodes_of(thing: Thing) -> frozenset[NodeName]:
    """The nodes that a thing lies in: one, or two for a veth between nodes."""
    match thing:
        case Node():
            return frozenset((thing.name,))
        case Veth():
            return frozenset((thing.a.interface.node, thing.b.interface.node))
        case Route() | Sysctl() | File() | Process():
            return frozenset((thing.node,))
        case _:
            return frozenset((thing.interface.node,))


@dataclass(frozen=True)
class State:
    """All things of a lab by key. Equality is equality of things; order does not matter."""

    things: Mapping[Key, Thing] = field(default_factory=lambda: MappingProxyType({}))

    @staticmethod
    def of(things: Iterable[Thing]) -> State:
        """A state from things; of two with one key the later wins."""
        return State(MappingProxyType({thing.key: thing for thing in things}))

    def __iter__(self) -> Iterator[Thing]:
        return iter(self.things.values())

    def __len__(self) -> int:
        return len(self.things)

    @cached_property
    def provided(self) -> Mapping[Key, Thing]:
        """Which thing provides a key."""
        return MappingProxyType({key: thing for thing in self for key in provides(thing)})

    @cached_property
    def nodes(self) -> Mapping[NodeName, Node]:
        return MappingProxyType({thing.name: thing for thing in self if isinstance(thing, Node)})
