"""What a lab lacks, for labs in which the person's own changes count (`up --start`, `up --until`)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from trenza.model.names import Interface, NicName, NodeName
from trenza.model.state import (
    DEFAULT_MTU_BYTES,
    Address,
    Bridge,
    FdbEntry,
    IpAddress,
    IpInterface,
    IpNetwork,
    Key,
    Loopback,
    Macvlan,
    Neighbour,
    OtherLink,
    Route,
    RouteType,
    State,
    Sysctl,
    Thing,
    Veth,
    VethEnd,
    Vxlan,
    leans_on,
    link_key,
    provides,
)
from trenza.plan.diff import spare_the_born
from trenza.plan.losses import without_bridges
from trenza.plan.operations import Change, Create, Operation, Plan
from trenza.plan.stages import Order
from trenza.plan.wanted import BORN_SYSCTLS, MIN_IPV6_MTU_BYTES, VXLAN_OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """A difference that is the person's: what is there, what the lab declares, or both where a thing was changed."""

    observed: Thing | None
    declared: Thing | None


def _is_born(thing: Thing) -> bool:
    """Whether a thing comes with any node: nobody made it."""
    match thing:
        case Loopback():
            return thing == Loopback(thing.interface)
        case Sysctl():
            return BORN_SYSCTLS.get(thing.name) == thing.value
        case _:
            return False


def missing(observed: State, base: State) -> tuple[Plan, tuple[LeftAlone, ...]]:
    """The plan that makes what `base` declares and `observed` lacks, and what it leaves alone.

    Nothing is removed, and nothing is changed except that ports join a bridge that had to be made again. Left alone is
    what the person changed or made, and what cannot be made beside that: a veth whose interface's name is taken, a
    route over a link that is down or to where another route leads, an address that moved to another interface.
    """
    have, want = observed.things, base.things
    left = {
        key: LeftAlone(old, want.get(key))
        for key, old in have.items()
        if want.get(key) != old and not (key not in want and _is_born(old))
    }
    lacking = [thing for key, thing in want.items() if key not in have]
    if not lacking:
        return (), tuple(left.values())

    order = Order(base)
    ground = _Ground(observed)
    creations: dict[Key, Thing] = {}
    changes: dict[Key, tuple[Thing, Thing]] = {}
    leaning = [(have[key], new) for key, new in want.items() if key in have and leans_on(new) and have[key] != new]
    for thing in sorted(lacking, key=lambda thing: order.of(thing.key, thing)):
        if not all(key in ground.provided for key in thing.stands_on()):
            continue  # what it stands on is itself left alone, and named
        if not ground.takes(thing):
            left[thing.key] = LeftAlone(None, thing)
            continue
        creations[thing.key] = ground.fitted(thing)
        ground.add(creations[thing.key])
        for old, new in leaning if isinstance(thing, Bridge) else ():
            before = changes.get(old.key, (old, old))[1]
            if (after := _joined(before, new, thing.key)) != before:
                changes[old.key] = (old, after)
                ground.add(after)
    for key, (_, joined) in changes.items():
        if joined == want[key]:
            del left[key]
    spare_the_born(creations, changes)
    making: list[Operation] = [Create(thing) for thing in creations.values()]
    making += [Change(old, new) for old, new in changes.values()]
    making.sort(key=order)
    return tuple(making), tuple(left.values())


def _joined(old: Thing, new: Thing, bridge: Key) -> Thing:
    """`old` with its free ends as ports of a bridge that was just made again, where `new` has them in it."""

    def joins(end: VethEnd | Vxlan | Macvlan) -> bool:
        return end.port is not None and link_key(Interface(end.interface.node, end.port.bridge)) == bridge

    match old, new:
        case Veth(a, b), Veth(c, d):
            return Veth(
                replace(a, port=c.port) if a.port is None and joins(c) else a,
                replace(b, port=d.port) if b.port is None and joins(d) else b,
            )
        case Vxlan(port=None), Vxlan() if joins(new):
            return replace(old, port=new.port)
        case Macvlan(port=None), Macvlan() if joins(new):
            return replace(old, port=new.port)
        case _:
            return old


class _Ground:
    """What there is to build on: the observed things, and those already planned."""

    def __init__(self, observed: State) -> None:
        self.provided: dict[Key, Thing] = {}
        self.networks: dict[Interface, list[IpNetwork]] = {}
        self.ips: set[tuple[NodeName, IpAddress]] = set()
        self.routes: set[tuple[NodeName, IpNetwork, int]] = set()
        self.tunnels: set[tuple[NodeName, int, int]] = set()
        for thing in observed:
            self.add(thing)

    def add(self, thing: Thing) -> None:
        for key in provides(thing):
            self.provided[key] = thing
        match thing:
            case Address(interface, address):
                self.ips.add((interface.node, address.ip))
                self._reach(interface, address)
            case Route():
                self.routes.add((thing.node, thing.to, thing.metric))
                if thing.dev is not None and thing.via is None:
                    self.networks.setdefault(Interface(thing.node, thing.dev), []).append(thing.to)
            case Vxlan():
                self.tunnels.add((thing.interface.node, thing.vni, thing.udp_port))
            case _:
                pass

    def _reach(self, interface: Interface, address: IpInterface) -> None:
        self.networks.setdefault(interface, []).append(address.network)

    def takes(self, thing: Thing) -> bool:
        """Whether the kernel would take the thing beside what is there, and the person would not be crossed."""
        match thing:
            case Veth():
                return not any(key in self.provided for key in provides(thing))
            case Bridge() | OtherLink():
                return thing.key not in self.provided
            case Macvlan(parent=parent):
                return thing.key not in self.provided and self._port_of(parent) is None
            case Vxlan():
                same = (thing.interface.node, thing.vni, thing.udp_port)
                return thing.key not in self.provided and same not in self.tunnels
            case Address(interface, address):
                return (interface.node, address.ip) not in self.ips and self._speaks(interface, address.version)
            case Neighbour(interface, ip):
                return self._speaks(interface, ip.version)
            case Route():
                return self._takes_route(thing)
            case FdbEntry(interface, _, None):
                return self._port_of(interface) is not None
            case FdbEntry(interface):
                return isinstance(self.provided.get(link_key(interface)), Vxlan)
            case _:
                return True

    def _takes_route(self, route: Route) -> bool:
        if (route.node, route.to, route.metric) in self.routes:
            return False
        if route.type is not RouteType.UNICAST or route.dev is None:
            return True
        interface = Interface(route.node, route.dev)
        via = route.via
        up, mtu_bytes = self._link(interface)
        if not up or (route.to.version == 6 and mtu_bytes < MIN_IPV6_MTU_BYTES):
            return False
        return (
            via is None
            or route.onlink
            or (via.version == 6 and via.is_link_local)
            or any(via in network for network in self.networks.get(interface, ()) if network.version == via.version)
        )

    def fitted(self, thing: Thing) -> Thing:
        """The thing as the kernel can make it here: no port of what is not there, no wider than what it lies over."""
        thing = without_bridges(thing, lambda bridge: bridge not in self.provided)
        match thing:
            case Macvlan(parent=parent):
                return replace(thing, mtu_bytes=min(thing.mtu_bytes, self._link(parent)[1]))
            case Vxlan(interface, dev=dev, local=local, remote=remote) if dev is not None:
                overhead = VXLAN_OVERHEAD_BYTES[max((end.version for end in (local, remote) if end), default=4)]
                room = self._link(Interface(interface.node, dev))[1] - overhead
                return replace(thing, mtu_bytes=min(thing.mtu_bytes, room))
            case _:
                return thing

    def _speaks(self, interface: Interface, version: int) -> bool:
        return version == 4 or self._link(interface)[1] >= MIN_IPV6_MTU_BYTES

    def _link(self, interface: Interface) -> tuple[bool, int]:
        """Whether an interface is up, and its MTU; an unknown one's is taken for the default."""
        match self.provided.get(link_key(interface)):
            case Veth(a, b):
                end = a if a.interface == interface else b
                return end.up, end.mtu_bytes
            case Bridge(up=up, mtu_bytes=mtu) | Vxlan(up=up, mtu_bytes=mtu) | Macvlan(up=up, mtu_bytes=mtu):
                return up, mtu
            case Loopback(up=up, mtu_bytes=mtu):
                return up, mtu
            case OtherLink(up=up):
                return up, DEFAULT_MTU_BYTES
            case _:
                return False, DEFAULT_MTU_BYTES

    def _port_of(self, interface: Interface) -> NicName | None:
        match self.provided.get(link_key(interface)):
            case Veth(a, b):
                port = a.port if a.interface == interface else b.port
            case Vxlan(port=port) | Macvlan(port=port):
                pass
            case _:
                port = None
        return None if port is None else port.bridge
