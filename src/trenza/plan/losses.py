"""Losses: what is gone before anything is made, because it was removed or because Linux takes it along.

What Linux takes along, as the kernel's sources have it (both kernels are held to it by the conformance suite):

- a link set down loses its routes and permanent neighbours, and its IPv6 addresses (net/ipv4/fib_frontend.c
  fib_disable_ip, net/ipv6/addrconf.c addrconf_ifdown, net/core/neighbour.c neigh_ifdown);
- an MTU below 1280 does the same to IPv6 alone;
- a new MAC address loses permanent neighbours (neigh_changeaddr);
- a link's last IPv4 address takes its IPv4 routes and neighbours along (fib_inetaddr_event);
- leaving a bridge loses the port's static FDB entries (net/bridge/br_fdb.c br_fdb_delete_by_port).

Not modelled: an IPv4 address takes those of the same subnet along where promote_secondaries is 0; kernels set it to 1
on the links that they make.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from trenza.model.names import Interface, NicName
from trenza.model.state import (
    Address,
    Bridge,
    BridgePort,
    FdbEntry,
    Key,
    Loopback,
    Macvlan,
    Neighbour,
    Node,
    OtherLink,
    Route,
    State,
    Thing,
    Veth,
    VethEnd,
    Vxlan,
    leans_on,
    link_key,
    provides,
)
from trenza.plan.wanted import MIN_IPV6_MTU_BYTES

_WithMac = VethEnd | Bridge | Vxlan | Macvlan
_LinkEnd = _WithMac | Loopback


def without_bridges(thing: Thing, lost: Callable[[Key], bool]) -> Thing:
    """The thing with its ends ports of nothing where their bridge is `lost`."""
    match thing:
        case Veth(a, b):
            return Veth(_unplugged(a, lost), _unplugged(b, lost))
        case Vxlan(port=BridgePort(bridge)) | Macvlan(port=BridgePort(bridge)):
            is_lost = lost(link_key(Interface(thing.interface.node, bridge)))
            return replace(thing, port=None) if is_lost else thing
        case _:
            return thing


def _unplugged(end: VethEnd, lost: Callable[[Key], bool]) -> VethEnd:
    if end.port is None or not lost(link_key(Interface(end.interface.node, end.port.bridge))):
        return end
    return replace(end, port=None)


class Losses:
    """What dies with a set of removals and changes.

    `lost` are the keys of everything that is gone before creations begin, `roots` the removals that need an operation,
    `orphans` the surviving things that lost a bridge they were ports of.
    """

    def __init__(
        self, observed: State, removals: Mapping[Key, Thing], changes: Mapping[Key, tuple[Thing, Thing]]
    ) -> None:
        self.lost: set[Key] = set()
        self.dead: set[Key] = set()
        """Provided keys that are gone."""
        self.observed = observed
        self.upon: dict[Key, list[Thing]] = {}
        leaning: list[Thing] = []
        if changes or any(_carries(thing) or isinstance(thing, Address) for thing in removals.values()):
            for thing in observed:
                for below in thing.stands_on():
                    self.upon.setdefault(below, []).append(thing)
                if isinstance(thing, Veth | Vxlan | Macvlan) and leans_on(thing):
                    leaning.append(thing)
        for thing in removals.values():
            self._lose(thing)
        self.orphans = [
            thing
            for thing in leaning
            if thing.key not in self.lost and any(bridge in self.dead for bridge in leans_on(thing))
        ]
        for port in self.orphans:
            for old, new in _ends(port, self.without_lost_bridges(port)):
                self._lose_with_membership(old, new)
        for before, after in changes.values():
            if before.key not in self.lost:
                for old, new in _ends(before, after):
                    self._lose_with_change(old, new)
        self._lose_with_last_addresses()
        self.roots = [
            thing for thing in removals.values() if not any(below in self.dead for below in thing.stands_on())
        ]

    def without_lost_bridges(self, thing: Thing) -> Thing:
        """The thing as the loss of bridges leaves it: links that are there, ports of nothing."""
        return without_bridges(thing, lambda bridge: bridge in self.dead)

    def _lose(self, thing: Thing) -> None:
        falling = [thing]
        while falling:
            one = falling.pop()
            if one.key in self.lost:
                continue
            self.lost.add(one.key)
            if _carries(one):
                for provided in provides(one):
                    self.dead.add(provided)
                    falling += self.upon.get(provided, ())

    def _on(self, interface: Interface) -> list[Thing]:
        return self.upon.get(link_key(interface), [])

    def _lose_with_change(self, old: _LinkEnd, new: _LinkEnd) -> None:
        down = old.up and not new.up
        small = new.mtu_bytes < MIN_IPV6_MTU_BYTES <= old.mtu_bytes
        moved = isinstance(old, _WithMac) and isinstance(new, _WithMac) and old.mac != new.mac
        for thing in self._on(new.interface) if down or small or moved else ():
            match thing:
                case Route():
                    lost = down or (small and thing.to.version == 6)
                case Address():
                    lost = (down or small) and thing.address.version == 6
                case Neighbour():
                    lost = down or moved or (small and thing.ip.version == 6)
                case _:
                    lost = False
            if lost:
                self.lost.add(thing.key)
        self._lose_with_membership(old, new)

    def _lose_with_membership(self, old: _LinkEnd, new: _LinkEnd) -> None:
        before, after = _bridge_of(old), _bridge_of(new)
        if before is None or before == after:
            return
        for thing in self._on(old.interface):
            if isinstance(thing, FdbEntry) and thing.destination is None:
                self.lost.add(thing.key)

    def _lose_with_last_addresses(self) -> None:
        """IPv4 routes and neighbours of links that live, but are for a moment without any IPv4 address."""
        bare: set[Interface] = set()
        for key in self.lost:
            thing = self.observed.things[key]
            if isinstance(thing, Address) and thing.address.version == 4 and link_key(thing.interface) not in self.dead:
                bare.add(thing.interface)
        for interface in bare:
            if interface.nic == "lo":  # 127.0.0.1 stays
                continue
            things = [thing for thing in self._on(interface) if thing.key not in self.lost]
            if any(isinstance(thing, Address) and thing.address.version == 4 for thing in things):
                continue
            for thing in things:
                match thing:
                    case Route(to=IPv4Network()) | Neighbour(ip=IPv4Address()):
                        self.lost.add(thing.key)
                    case _:
                        pass


def _carries(thing: Thing) -> bool:
    """Whether other things may stand on it."""
    return isinstance(thing, Node | Veth | Bridge | Vxlan | Macvlan | OtherLink | Loopback)


def _ends(old: Thing, new: Thing) -> Iterator[tuple[_LinkEnd, _LinkEnd]]:
    """The interfaces of a link before and after a change in place, side by side."""
    match old, new:
        case Veth(), Veth():
            yield from zip(old.ends, new.ends, strict=True)
        case ((Bridge() | Vxlan() | Macvlan() | Loopback()), (Bridge() | Vxlan() | Macvlan() | Loopback())):
            yield old, new
        case _:
            pass


def _bridge_of(end: _LinkEnd) -> NicName | None:
    match end:
        case VethEnd(port=BridgePort(bridge)) | Vxlan(port=BridgePort(bridge)) | Macvlan(port=BridgePort(bridge)):
            return bridge
        case _:
            return None
