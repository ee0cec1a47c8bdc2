"""Checks: questions about a lab's behaviour, as a lab file asks them. What they find out is `trenza.check`'s.

Names are those of the reference solution (all checkpoints merged): which of the student's things each of them is, is
found out when it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trenza.model.names import Interface, NodeName
from trenza.model.state import IpAddress, IpNetwork, RouteType

Text = Mapping[str, str]
"""A sentence by language code: {"en": …, "es": …}; either may be missing."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the lab's cluster: of those of this name, or with these labels (`app=web,tier!=db`), and on this node,

    the first that is Ready. Nothing of that means any pod.
    """

    name: str = ""
    labels: str = ""
    node: NodeName | None = None
    namespace: str = "default"

    def __str__(self) -> str:
        namespace = "" if self.namespace == "default" else f"{self.namespace}/"
        return f"pod/{namespace}{self.name or self.labels}" + (f"@{self.node}" if self.node else "")


@dataclass(frozen=True, slots=True)
class ClusterService:
    """A Service of the lab's cluster, by its cluster IP."""

    name: str
    namespace: str = "default"

    def __str__(self) -> str:
        return f"{self.name}.{self.namespace}.svc"


Asker = NodeName | Pod
"""Who asks."""

LabSpot = NodeName | Interface | IpAddress
"""A node (by any of its addresses), one interface of it, or an address."""

Spot = LabSpot | Pod | ClusterService
"""Whom a question is about."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Echoes get from a node to an address and back. `size_bytes`: of the whole IP packet."""

    source: Asker
    to: Spot
    count: int = 10
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class NoPing:
    """No echo gets from a node to an address and back, though both are there."""

    source: Asker
    to: Spot
    count: int = 10


@dataclass(frozen=True, slots=True)
class PingAll:
    """Echoes get from each to each other."""

    among: tuple[Asker | Interface, ...]


@dataclass(frozen=True, slots=True)
class PathTaken:
    """The hops that packets take, as traceroute shows them, and as `ping -R` does (`record_route`)."""

    source: Asker
    to: Spot
    hops: tuple[Spot, ...] = ()
    record_route: tuple[Spot, ...] = ()


@dataclass(frozen=True, slots=True)
class Http:
    """A page is answered; by whom (`served_by`: shares of all requests, None: any share but none).

    With `affinity` one of them serves all requests, whichever it is.
    """

    source: Asker
    to: Spot
    port: int = 80
    path: str = "/"
    status: int = 200
    body: str | None = None
    served_by: Mapping[Asker, float | None] = field(default_factory=dict)
    requests: int = 1
    tolerance: float = 0.1
    affinity: bool = False


@dataclass(frozen=True, slots=True)
class Tcp:
    """A TCP connection is accepted; or (`open` False) is not, though both are there."""

    source: Asker
    to: Spot
    port: int
    open: bool = True


@dataclass(frozen=True, slots=True)
class Dns:
    """A name is answered with these records; `server` None: the one of the node's /etc/resolv.conf."""

    source: Asker
    name: str
    type: str = "A"
    server: Spot | None = None
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dhcp:
    """A DHCP server offers an address at an interface."""

    at: Interface
    network: IpNetwork | None = None
    server: Spot | None = None
    router: Spot | None = None


@dataclass(frozen=True, slots=True)
class Mtu:
    """The largest IP packet that gets there whole, with "do not fragment", has so many bytes."""

    source: Asker
    to: Spot
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Stp:
    """A spanning tree: whose bridge is root, how many ports block (or which), whether all is as theory says.

    `members`: whose bridges take part in it, all in one tree.
    """

    root: NodeName | Interface | None = None
    blocked: int | tuple[Interface, ...] | None = None
    like_theory: bool = False
    members: tuple[NodeName | Interface, ...] = ()


@dataclass(frozen=True, slots=True)
class Fdb:
    """Which MAC addresses a bridge has learnt, `during` some traffic: these, not those, so many, no others."""

    bridge: Interface
    has: tuple[Spot, ...] = ()
    lacks: tuple[Spot, ...] = ()
    count: int | None = None
    only: bool = False
    during: Traffic | None = None


@dataclass(frozen=True, slots=True)
class Arp:
    """Whose MAC address a node has for an address, `during` some traffic."""

    node: NodeName
    ip: Spot
    owner: NodeName | Interface
    during: Traffic | None = None


@dataclass(frozen=True, slots=True)
class RouteTo:
    """What a node's kernel does with packets to an address."""

    node: NodeName
    to: Spot
    via: Spot | None = None
    dev: Interface | None = None
    type: RouteType = RouteType.UNICAST


@dataclass(frozen=True, slots=True)
class Seen:
    """Frames of a kind at a place `during` some traffic; with `never`, none of them though the traffic succeeds.

    `at`: an interface, or the name of a cable, a switch or a node, all of whose interfaces count. `frames`: a filter as
    of `trenza capture`.
    """

    at: Interface | str
    frames: str
    during: Traffic
    src: Spot | None = None
    dst: Spot | None = None
    count: int = 1
    never: bool = False


@dataclass(frozen=True, slots=True)
class Owner:
    """Who answers ARP for an address, and nobody else, as seen from a node."""

    of: IpAddress
    seen_from: NodeName
    owner: NodeName


@dataclass(frozen=True, slots=True)
class Netns:
    """A name below /run/netns of a host means the network namespace of a container."""

    node: NodeName
    name: str
    container: NodeName


@dataclass(frozen=True, slots=True)
class NoIp:
    """An interface has no address of its own (link-local ones do not count)."""

    nic: Interface


@dataclass(frozen=True, slots=True)
class ServiceRuns:
    """A program runs in a node, and accepts connections on these ports of it."""

    node: NodeName
    program: str
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class FaultOutcome:
    """What a fault does: how long probes are out, and what is true while it is in effect. It is always undone.

    `fault` in the words of `trenza fault`, `probes` in those of `trenza outage`.
    """

    fault: str
    probes: tuple[str, ...] = ()
    at_most_s: float | None = None
    like_theory: bool = False
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """A command of the lab's author, run in a node: its exit status, and a pattern (re.search) in what it prints."""

    node: NodeName
    argv: tuple[str, ...]
    status: int = 0
    output: str | None = None


@dataclass(frozen=True, slots=True)
class KubernetesObject:
    """Objects of the lab's cluster: of a kind, those of a name, with these labels, and (pods) on a node.

    `condition` as for `kubectl wait` (`Ready`, `Ready=Unknown`), `has` what their fields say by dotted path,
    `endpoints` how many addresses serve a Service. It holds for `count` of them, or for `at_least` so many; with
    neither for all, of which there is one.
    """

    kind: str
    name: str = ""
    namespace: str = "default"
    labels: str = ""
    node: NodeName | None = None
    condition: str = ""
    has: Mapping[str, str] = field(default_factory=dict)
    endpoints: int | None = None
    count: int | None = None
    at_least: int | None = None


Traffic = Ping | PingAll | Http | Tcp
"""Questions that make traffic while something else is looked at."""

Question = (
    Ping | NoPing | PingAll | PathTaken | Http | Tcp | Dns | Dhcp | Mtu | Stp | Fdb | Arp | RouteTo | Seen | Owner
    | Netns | NoIp | ServiceRuns | FaultOutcome | Run | KubernetesObject
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Check:
    """One question and what it counts for.

    `weight` is its share of the checkpoint's points; without a `required` one the checkpoint is worth nothing. It has
    `within_s` to come true (None: as long as theory says that the network may take). `until` names a later checkpoint
    after which it is no longer true: if that one passes, this is taken as passed. `hidden` ones students do not have.
    """

    question: Question
    title: Text = field(default_factory=dict)
    weight: float = 1
    required: bool = False
    within_s: float | None = None
    until: str | None = None
    hidden: bool = False
