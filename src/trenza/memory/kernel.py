"""The kernel in memory: performs plans on a `Machine` and observes it, as the Linux one does with Linux."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import assert_never

from trenza.errors import KernelError
from trenza.memory.machine import Link, Machine, Space, refuse
from trenza.model.measurements import (
    AddressMeasure,
    BridgeMeasure,
    FdbMeasure,
    LinkMeasure,
    Measurements,
    NeighbourMeasure,
    RouteMeasure,
)
from trenza.model.names import Interface, NicName, NodeName
from trenza.model.state import (
    Address,
    Bridge,
    BridgePort,
    FdbEntry,
    File,
    Loopback,
    Macvlan,
    MacvlanMode,
    Neighbour,
    Node,
    OtherLink,
    Process,
    Route,
    State,
    Sysctl,
    Thing,
    Veth,
    VethEnd,
    Vxlan,
)
from trenza.plan.operations import Change, Create, Operation, Plan, Remove
from trenza.plan.wanted import BORN_SYSCTLS, WATCHED_SYSCTLS


class MemoryKernel:
    """The `Kernel` of unit tests and of dry thoughts. Edits by hand are operations too: `perform((Remove(thing),))`."""

    def __init__(self) -> None:
        self.machine = Machine()

    def perform(self, plan: Plan, done: Callable[[Operation], None] = lambda operation: None) -> None:
        """Do the operations in order; KernelError at the first refusal. What is already gone need not be removed."""
        for operation in plan:
            try:
                match operation:
                    case Create(thing):
                        self._create(thing)
                    case Change(old, new):
                        self._change(old, new)
                    case Remove(thing):
                        self._remove(thing)
                    case _:
                        assert_never(operation)
            except KernelError as error:
                verb = type(operation).__name__.lower()
                message = f"cannot {verb} {' '.join(operation.key)}: {error.message}"
                raise KernelError(message, errno=error.errno, hint=error.hint) from error
            done(operation)

    def observe(self, expected: State) -> State:
        """What is there; sysctls, files and processes only as far as `expected` (or the watch list) names them."""
        things: list[Thing] = []
        for space in self.machine.spaces.values():
            things += _observed(space)
        for thing in expected:
            match thing:
                case Sysctl(node, name) if node in self.machine.spaces and name not in WATCHED_SYSCTLS:
                    found: Thing | None = self._read_sysctl(thing)
                case File(node, path) if node in self.machine.spaces:
                    found = self.machine.spaces[node].files.get(path)
                case Process(node, name) if node in self.machine.spaces:
                    found = self.machine.spaces[node].processes.get(name)
                case _:
                    found = None
            if found is not None:
                things.append(found)
        return State.of(things)

    def measure(self, nodes: Collection[NodeName] | None = None) -> Measurements:
        """Configuration seen as measurements: carriers, own addresses and routes; nothing is ever learnt here."""
        spaces = [space for name, space in self.machine.spaces.items() if nodes is None or name in nodes]
        links = [link for space in spaces for link in space.links.values()]
        return Measurements(
            links=tuple(_link_measure(link) for link in links),
            addresses=tuple(
                AddressMeasure(link.interface, str(address), "global", "static")
                for link in links
                for address in link.addresses
            ),
            routes=tuple(_route_measure(route) for space in spaces for route in space.routes.values()),
            neighbours=tuple(
                NeighbourMeasure(link.interface, ip, mac, "PERMANENT")
                for link in links
                for ip, mac in link.neighbours.items()
            ),
            fdb=tuple(measure for link in links for measure in _fdb_measures(link)),
            bridges=tuple(_bridge_measure(link) for link in links if link.kind == "bridge"),
        )

    # Making

    def _create(self, thing: Thing) -> None:
        match thing:
            case Node():
                self.machine.add_node(thing, dict(BORN_SYSCTLS))
            case Veth():
                self._create_veth(thing)
            case Bridge():
                link = self._add(thing.interface, "bridge", thing)
                link.up = thing.up
            case Vxlan():
                self._create_vxlan(thing)
            case Macvlan():
                self._create_macvlan(thing)
            case Loopback() | OtherLink():
                refuse(errno.EOPNOTSUPP, thing.interface)
            case Address(interface, address):
                self.machine.link(interface).add_address(address)
            case Route():
                self.machine.space(thing.node).add_route(thing)
            case Neighbour(interface, ip, mac):
                self.machine.link(interface).add_neighbour(ip, mac)
            case FdbEntry(interface, mac, destination):
                self.machine.link(interface).add_fdb(mac, destination)
            case Sysctl(node, name, value):
                self.machine.space(node).write_sysctl(name, value)
            case File():
                self.machine.space(thing.node).files[thing.path] = thing
            case Process():
                self._start(thing)
            case _:
                assert_never(thing)

    def _add(self, interface: Interface, kind: str, thing: VethEnd | Bridge | Vxlan | Macvlan) -> Link:
        link = self.machine.space(interface.node).add_link(interface.nic, kind, thing.mac, thing.mtu_bytes)
        link.make = None if isinstance(thing, VethEnd) else thing
        return link

    def _create_veth(self, thing: Veth) -> None:
        a = self._add(thing.a.interface, "veth", thing.a)
        try:
            b = self._add(thing.b.interface, "veth", thing.b)
        except KernelError:
            a.space.remove_link(a)
            raise
        a.peer, b.peer = b, a
        for link, end in ((a, thing.a), (b, thing.b)):
            _join(link, end.port)
            link.up = end.up

    def _create_vxlan(self, thing: Vxlan) -> None:
        space = self.machine.space(thing.interface.node)
        below = None if thing.dev is None else space.link(thing.dev)
        for other in space.links.values():
            if isinstance(other.make, Vxlan) and _tunnel_identity(other.make) == _tunnel_identity(thing):
                refuse(errno.EEXIST, f"VNI {thing.vni} on port {thing.udp_port}, as {other.interface}")
        self._lay(self._add(thing.interface, "vxlan", thing), below, thing)

    def _create_macvlan(self, thing: Macvlan) -> None:
        parent = self.machine.link(thing.parent)
        own, host = self.machine.space(thing.interface.node).node, thing.parent.node
        if host not in (own.name, own.host):
            refuse(errno.EPERM, f"{thing.interface}: its parent {thing.parent} is neither in its node nor in its host")
        if parent.port is not None or parent.kind == "loopback":
            refuse(errno.EBUSY, f"{thing.parent} is a bridge port")
        self._lay(self._add(thing.interface, "macvlan", thing), parent, thing)

    def _lay(self, link: Link, below: Link | None, thing: Vxlan | Macvlan) -> None:
        link.below = below
        if below is not None:
            self.machine.over.add(link)
            link.mtu_bytes = min(link.mtu_bytes, below.mtu_bytes - link.overhead_bytes)  # Linux does not say so
        _join(link, thing.port)
        link.up = thing.up

    def _start(self, process: Process) -> None:
        space = self.machine.space(process.node)
        if process.name in space.processes:
            refuse(errno.EEXIST, process.name)
        space.processes[process.name] = process

    # Changing

    def _change(self, old: Thing, new: Thing) -> None:
        if old.key != new.key or type(old) is not type(new):
            refuse(errno.EINVAL, "a change keeps the key and the kind")
        match new:
            case Node():
                space = self.machine.space(new.name)
                if (space.node.kind, space.node.host) != (new.kind, new.host):
                    refuse(errno.EOPNOTSUPP, new.name)
                space.node = new
            case Loopback():
                link = self.machine.link(new.interface)
                link.set_mtu(new.mtu_bytes)
                link.set_up(new.up)
            case Veth():
                for end in new.ends:
                    _change_end(self.machine.link(end.interface), end)
            case Bridge():
                link = self.machine.link(new.interface)
                _change_link(link, new)
                link.make = new
            case Vxlan() | Macvlan():
                link = self.machine.link(new.interface)
                if not _remakes(link.make, new):
                    refuse(errno.EOPNOTSUPP, new.interface)
                _change_end(link, new)
                link.make = new
            case Sysctl():
                self.machine.space(new.node).write_sysctl(new.name, new.value)
            case Neighbour(interface, ip, mac):
                self.machine.link(interface).neighbours[ip] = mac
            case File():
                self.machine.space(new.node).files[new.path] = new
            case OtherLink() | Address() | Route() | FdbEntry() | Process():
                refuse(errno.EOPNOTSUPP, "it cannot be changed in place")
            case _:
                assert_never(new)

    # Removing

    def _remove(self, thing: Thing) -> None:
        if isinstance(thing, Node):
            self.machine.remove_node(thing.name)
            return
        if isinstance(thing, Loopback | Sysctl):
            refuse(errno.EOPNOTSUPP, "it cannot be removed")
        if isinstance(thing, Route | File | Process):
            space = self.machine.spaces.get(thing.node)
            if space is not None:
                _remove_from_node(space, thing)
            return
        interface = thing.a.interface if isinstance(thing, Veth) else thing.interface
        space = self.machine.spaces.get(interface.node)
        link = None if space is None else space.links.get(interface.nic)
        if space is None or link is None:
            return
        match thing:
            case Address(_, address):
                link.remove_address(address)
            case Neighbour(_, ip):
                link.neighbours.pop(ip, None)
            case FdbEntry(_, mac, None):
                if link.port is not None:
                    link.port.fdb.discard(mac)
            case FdbEntry(_, mac, destination):
                assert destination is not None
                link.destinations.discard((mac, destination))
            case Veth() | Bridge() | Vxlan() | Macvlan() | OtherLink():
                space.remove_link(link)
            case _:
                assert_never(thing)

    def _read_sysctl(self, sysctl: Sysctl) -> Sysctl | None:
        space = self.machine.spaces[sysctl.node]
        below = sysctl.stands_on()[0]
        if below[0] == "link":
            link = space.links.get(NicName(below[2]))
            value = None if link is None else link.sysctls.get(sysctl.name)
        else:
            value = space.sysctls.get(sysctl.name)
        return None if value is None else replace(sysctl, value=value)


def _remove_from_node(space: Space, thing: Route | File | Process) -> None:
    match thing:
        case Route():
            space.routes.pop((thing.to, thing.metric), None)
        case File():
            space.files.pop(thing.path, None)
        case Process():
            space.processes.pop(thing.name, None)
        case _:
            assert_never(thing)


def _tunnel_identity(vxlan: Vxlan) -> tuple[int, int, int]:
    """What two tunnels of one namespace may not share (drivers/net/vxlan, vxlan_vni_in_use)."""
    ends = [end.version for end in (vxlan.local, vxlan.remote) if end is not None]
    return (vxlan.vni, vxlan.udp_port, max(ends, default=4))


def _remakes(make: Bridge | Vxlan | Macvlan | None, new: Vxlan | Macvlan) -> bool:
    """Whether a link that was made as `make` can become `new`."""
    match make, new:
        case Vxlan(), Vxlan():
            return replace(make, mac=new.mac, mtu_bytes=new.mtu_bytes, up=new.up, port=new.port) == new
        case Macvlan(), Macvlan():
            passthru = MacvlanMode.PASSTHRU in (make.mode, new.mode) and make.mode is not new.mode
            return make.parent == new.parent and not passthru
        case _:
            return False


def _join(link: Link, port: BridgePort | None) -> None:
    link.set_bridge(None if port is None else port.bridge)
    if link.port is not None and port is not None:
        link.port.cost, link.port.priority = port.cost, port.priority


def _change_link(link: Link, new: VethEnd | Bridge | Vxlan | Macvlan) -> None:
    link.set_mac(new.mac)
    link.set_mtu(new.mtu_bytes)
    link.set_up(new.up)


def _change_end(link: Link, new: VethEnd | Vxlan | Macvlan) -> None:
    _change_link(link, new)
    _join(link, new.port)


def _observed(space: Space) -> Iterator[Thing]:
    """The configuration of one node, as far as it is found whoever made it."""
    name = space.node.name
    yield space.node
    for sysctl in WATCHED_SYSCTLS:
        yield Sysctl(name, sysctl, space.sysctls[sysctl])
    for link in space.links.values():
        yield from _observed_link(link)
        interface = link.interface
        for address in link.addresses:
            yield Address(interface, address)
        for ip, mac in link.neighbours.items():
            yield Neighbour(interface, ip, mac)
        for mac, destination in link.destinations:
            yield FdbEntry(interface, mac, destination)
        if link.port is not None:
            for mac in link.port.fdb:
                yield FdbEntry(interface, mac)
    yield from space.routes.values()


def _observed_link(link: Link) -> Iterator[Thing]:
    match link.make:
        case Bridge() as bridge:
            yield replace(bridge, mac=link.mac, mtu_bytes=link.mtu_bytes, up=link.up)
        case (Vxlan() | Macvlan()) as made:
            yield replace(made, mac=link.mac, mtu_bytes=link.mtu_bytes, up=link.up, port=_port(link))
        case None if link.kind == "loopback":
            yield Loopback(link.interface, link.up, link.mtu_bytes)
        case None if link.peer is not None:
            if link.interface < link.peer.interface:
                yield Veth(_veth_end(link), _veth_end(link.peer))
        case _:
            yield OtherLink(link.interface, link.kind, link.up)


def _veth_end(link: Link) -> VethEnd:
    return VethEnd(link.interface, link.mac, link.mtu_bytes, link.up, _port(link))


def _port(link: Link) -> BridgePort | None:
    return None if link.port is None else BridgePort(link.port.bridge.nic, link.port.cost, link.port.priority)


def _link_measure(link: Link) -> LinkMeasure:
    return LinkMeasure(
        link.interface,
        link.kind,
        link.index,
        link.mac,
        link.mtu_bytes,
        link.up,
        link.carrier,
        bridge=None if link.port is None else link.port.bridge.nic,
        peer=None if link.peer is None else link.peer.interface,
    )


def _route_measure(route: Route) -> RouteMeasure:
    via = None if route.via is None else str(route.via)
    return RouteMeasure(route.node, str(route.to), via, route.dev, route.metric, "static", route.type.value)


def _fdb_measures(link: Link) -> Iterator[FdbMeasure]:
    for mac, destination in sorted(link.destinations, key=str):
        yield FdbMeasure(link.interface, mac, "static", destination=destination)
    if link.port is not None:
        for mac in sorted(link.port.fdb):
            yield FdbMeasure(link.interface, mac, "static", bridge=link.port.bridge.nic)


def _bridge_measure(link: Link) -> BridgeMeasure:
    assert isinstance(link.make, Bridge)
    own = f"{link.make.priority:04x}.{link.mac.replace(':', '')}"
    return BridgeMeasure(link.interface, link.make.stp, own, own, 0, None)
