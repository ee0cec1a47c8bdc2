"""Mutants: the reference solution with one element removed or one value wrong, as a student might leave it.

An element is a thing that the solution has and the base has not, or has otherwise. What stands on a removed one goes
with it, as Linux has it; values are changed to such as break what they decide: an address of another subnet, a prefix
that covers nobody else, a next hop that nobody has. A syslog comes with other services, and of sysctls only forwarding
has a meaning here: neither is mutated.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from ipaddress import ip_interface
from typing import TypeVar

from trenza.check.altered_manifests import altered_manifests
from trenza.model.cluster import MANIFESTS
from trenza.model.names import Interface
from trenza.model.state import (
    DEFAULT_MTU_BYTES,
    Address,
    Bridge,
    FdbEntry,
    File,
    IpAddress,
    IpInterface,
    IpNetwork,
    Key,
    Macvlan,
    Neighbour,
    Node,
    Process,
    Route,
    State,
    Sysctl,
    Thing,
    Veth,
    VethEnd,
    Vxlan,
    file_key,
    veth,
)
from trenza.plan.losses import without_bridges
from trenza.plan.wanted import MIN_IPV6_MTU_BYTES, digest_of
from trenza.services.altered import altered
from trenza.services.daemons import SYSLOG
from trenza.theory.network import FORWARDING_SYSCTLS
from trenza.theory.segments import End, link_ends

_SMALL_MTU_BYTES = 1280
_TINY_MTU_BYTES = 576
_DEFAULT_PRIORITY = 32768
_WORST_PRIORITY = 65535
_OTHER_TEXT = b"another text\n"

_End = TypeVar("_End", VethEnd, Vxlan, Macvlan)
_Change = tuple[str, tuple[Thing, ...]]
"""In words, and what stands for the thing that is changed."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A wrong solution. `name` is the same in every run: `address host1/c1.eth0 10.0.0.11/24 removed`."""

    name: str
    state: State

    def is_like(self, pattern: str) -> bool:
        """Whether a name as somebody wrote it means this one: arrows as `->`, stars for the rest."""
        return fnmatchcase(_plain(self.name), _plain(pattern))


def mutants(base: State, solution: State) -> tuple[Mutant, ...]:
    """Every mutant of the solution, in the order of its things; names are unique."""
    breeder = _Breeder(base, solution)
    made: dict[str, State] = {}
    for key in sorted(solution.things):
        thing, old = solution.things[key], base.things.get(key)
        if thing == old:
            continue
        if old is None and (named := _removal(thing)) is not None:
            made.setdefault(f"{named} removed", breeder.without(thing))
        for words, instead in breeder.changes(thing, old):
            made.setdefault(words, breeder.without(thing, instead))
    return tuple(Mutant(name, state) for name, state in made.items() if state != solution)


def _alone(end: Vxlan | Macvlan) -> tuple[Thing, ...]:
    return (end,)


def _plugged(other: VethEnd, end: VethEnd) -> tuple[Thing, ...]:
    return (veth(end, other),)


def _link(end: _End, made: Callable[[_End], tuple[Thing, ...]], was: _End | None = None) -> Iterator[_Change]:
    """What can be wrong with one end of a link, which `was` otherwise in the base."""
    if end.port is None:
        if end.up and (was is None or not was.up):
            yield f"{end.interface} down", made(replace(end, up=False))
    elif was is None or was.port is None or was.port.bridge != end.port.bridge:
        yield f"{end.interface} left out of {end.port.bridge}", made(replace(end, port=None))
    usual = DEFAULT_MTU_BYTES if was is None else was.mtu_bytes
    small = _SMALL_MTU_BYTES if end.mtu_bytes > _SMALL_MTU_BYTES else _TINY_MTU_BYTES
    if end.mtu_bytes != usual and small < end.mtu_bytes:
        yield f"{end.interface} mtu {end.mtu_bytes} → {small}", made(replace(end, mtu_bytes=small))


# ---------------------------------------------------------------- what stands
def _standing(things: Mapping[Key, Thing]) -> State:
    """What Linux leaves of things some of which are gone: nothing that stood on them, no port of what is no bridge."""
    kept = dict(things)
    while True:
        state = State.of(kept.values())
        there = state.provided
        ends = link_ends(state)
        left = {
            key: without_bridges(thing, lambda bridge, there=there: bridge not in there)  # type: ignore[misc]
            for key, thing in kept.items()
            if all(below in there for below in thing.stands_on()) and _is_taken(thing, state, ends)
        }
        if left == kept:
            return state
        kept = left


def _is_taken(thing: Thing, state: State, ends: Mapping[Interface, End]) -> bool:
    """Whether Linux keeps it: no route over what is down or to a next hop on no subnet, no IPv6 where there is none."""
    match thing:
        case Route(dev=dev) if dev is not None:
            end = ends.get(Interface(thing.node, dev))
            return end is not None and end.up and (thing.via is None or thing.onlink or _is_near(thing, state))
        case Address() if thing.address.version == 6:
            end = ends[thing.interface]
            return end.up and end.mtu_bytes >= MIN_IPV6_MTU_BYTES
        case Neighbour():
            return ends[thing.interface].up
        case _:
            return True


def _is_near(route: Route, state: State) -> bool:
    """Whether a next hop lies on a subnet of the route's interface, or behind a route over it."""
    via, dev = route.via, route.dev
    assert via is not None and dev is not None
    if via.is_link_local:
        return True
    for thing in state:
        match thing:
            case Address(interface, address) if interface == Interface(route.node, dev):
                if via in address.network and via != address.ip:
                    return True
            case Route(node, to, None, other) if (node, other) == (route.node, dev) and via in to:
                return True
            case _:
                pass
    return False


def _plain(name: str) -> str:
    return re.sub(r"\s*(?:→|->)\s*", " -> ", name.strip())


def _removal(thing: Thing) -> str | None:
    """How a thing is called whose removal is a mutant of its own; None where it is not."""
    match thing:
        case Node():
            return f"node {thing.name}"
        case Veth():
            return f"veth {_named_end(thing).interface}"
        case Bridge() | Vxlan() | Macvlan():
            return f"{type(thing).__name__.lower()} {thing.interface}"
        case Address():
            return f"address {thing.interface} {thing.address}"
        case Route():
            return f"route {_route(thing)}"
        case Neighbour():
            return f"neighbour {thing.interface} {thing.ip}"
        case FdbEntry():
            return f"fdb {thing.interface} {thing.mac}" + (f" {thing.destination}" if thing.destination else "")
        case Process() if thing.name != SYSLOG:
            return f"service {thing.node} {thing.name}"
        case _:
            return None


def _named_end(pair: Veth) -> VethEnd:
    """The end that people speak of: the container's, the one that is no port."""
    return min(pair.ends, key=lambda end: (end.port is not None, -end.interface.node.count("/"), end.interface))


def _route(route: Route, via: IpAddress | None = None) -> str:
    to = "default" if route.to.prefixlen == 0 else str(route.to)
    where = f" via {route.via}" if route.via is not None else f" dev {route.dev}" if route.dev is not None else ""
    metric = f" metric {route.metric}" if route.metric not in (0, 1024) else ""
    return f"{route.node} {to}{where}{metric}" + ("" if via is None else f" → {via}")


def _holding(file: File, content: bytes) -> File:
    return replace(file, content=content, digest=digest_of(content))


class _Breeder:
    """Makes wrong states of one solution."""

    def __init__(self, base: State, solution: State) -> None:
        self._base = base
        self._solution = solution
        self._addresses = [thing for thing in solution if isinstance(thing, Address)]
        self._networks: list[IpNetwork] = [one.address.network for one in self._addresses]
        self._taken: set[IpAddress] = {one.address.ip for one in self._addresses} | {
            address.ip
            for thing in solution
            if isinstance(thing, Process)
            for router in thing.vrrp
            for address in router.addresses
        }
        configs = (file_key(one.node, one.config) for one in solution if isinstance(one, Process) and one.config)
        self._configs = set(configs)

    # ------------------------------------------------------------------ states
    def without(self, thing: Thing, instead: Iterable[Thing] = ()) -> State:
        """The solution without a thing, with others in its place, and without what no longer stands."""
        kept = {key: one for key, one in self._solution.things.items() if key != thing.key}
        return _standing(kept | {one.key: one for one in instead})

    # ------------------------------------------------------------------ values
    def changes(self, thing: Thing, old: Thing | None) -> Iterator[_Change]:
        """What can be wrong with a thing; of one that the base has, only what the solution changed."""
        match thing:
            case Veth():
                yield from self._veth(thing, old if isinstance(old, Veth) else None)
            case Bridge():
                yield from self._bridge(thing, old if isinstance(old, Bridge) else None)
            case Vxlan():
                yield from self._vxlan(thing)
            case Macvlan():
                yield from _link(thing, _alone)
            case Address():
                yield from self._address(thing)
            case Route(via=via) if via is not None:
                if (other := self._nobodys(via)) is not None:
                    yield f"route {_route(thing, other)}", (replace(thing, via=other),)
            case FdbEntry(destination=destination) if destination is not None:
                if (other := self._nobodys(destination)) is not None:
                    name = f"fdb {thing.interface} {thing.mac} {destination} → {other}"
                    yield name, (replace(thing, destination=other),)
            case Sysctl() if thing.name in FORWARDING_SYSCTLS.values() and thing.value != "0":
                yield f"sysctl {thing.node} {thing.name} {thing.value} → 0", (replace(thing, value="0"),)
            case Process():
                yield from self._process(thing, old)
            case File() if thing.key not in self._configs:
                yield from self._file(thing, old)
            case _:
                pass

    def _veth(self, pair: Veth, old: Veth | None) -> Iterator[_Change]:
        before = {} if old is None else {end.interface: end for end in old.ends}
        for end, other in ((pair.a, pair.b), (pair.b, pair.a)):
            was = before.get(end.interface)
            if was != end:
                yield from _link(end, partial(_plugged, other), was)

    def _bridge(self, bridge: Bridge, old: Bridge | None) -> Iterator[_Change]:
        name = f"bridge {bridge.interface}"
        was = Bridge(bridge.interface, bridge.mac, up=False) if old is None else old
        if bridge.up and not was.up:
            yield f"{name} down", (replace(bridge, up=False),)
        if bridge.stp and not was.stp:
            yield f"{name} stp off", (replace(bridge, stp=False),)
        if bridge.stp and bridge.priority != was.priority:
            for priority in (_DEFAULT_PRIORITY, _WORST_PRIORITY):
                if bridge.priority < priority:
                    yield f"{name} priority {bridge.priority} → {priority}", (replace(bridge, priority=priority),)

    def _vxlan(self, vxlan: Vxlan) -> Iterator[_Change]:
        name = f"vxlan {vxlan.interface}"
        yield f"{name} vni {vxlan.vni} → {vxlan.vni + 1}", (replace(vxlan, vni=(vxlan.vni + 1) % (1 << 24)),)
        yield f"{name} port {vxlan.udp_port} → {vxlan.udp_port + 1}", (replace(vxlan, udp_port=vxlan.udp_port + 1),)
        if vxlan.local is not None and (other := self._nobodys(vxlan.local)) is not None:
            yield f"{name} local {vxlan.local} → {other}", (replace(vxlan, local=other),)
        if vxlan.remote is not None and (other := self._nobodys(vxlan.remote)) is not None:
            yield f"{name} remote {vxlan.remote} → {other}", (replace(vxlan, remote=other),)
        yield from _link(vxlan, _alone)

    def _address(self, thing: Address) -> Iterator[_Change]:
        address = thing.address
        name = f"address {thing.interface} {address} →"
        moved = self._elsewhere(address)
        if moved is not None:
            yield f"{name} {moved}", (replace(thing, address=moved),)
        if address.network.prefixlen < address.max_prefixlen:
            alone = ip_interface(f"{address.ip}/{address.max_prefixlen}")
            yield f"{name} {alone}", (replace(thing, address=alone),)

    def _process(self, process: Process, old: Thing | None) -> Iterator[_Change]:
        name = f"service {process.node} {process.name}"
        if isinstance(old, Process):
            yield f"{name} as in the base", self._with_config(old)
        config = None if process.config is None else self._solution.things.get(file_key(process.node, process.config))
        if not isinstance(config, File) or config.content is None:
            return
        for one in altered(process.name, config.content.decode(errors="replace"), self._nobodys):
            content, program = one.text.encode(), one.program
            digest = digest_of(content)
            daemon = replace(
                process, digest=digest, ready=program.ready, vrrp=program.vrrp, health_checks=program.health_checks
            )
            yield f"{name} {one.words}", (replace(config, content=content, digest=digest), daemon)

    def _with_config(self, process: Process) -> tuple[Thing, ...]:
        """A process of the base with the config that it has there."""
        config = None if process.config is None else self._base.things.get(file_key(process.node, process.config))
        return (process,) if config is None else (process, config)

    def _file(self, file: File, old: Thing | None) -> Iterator[_Change]:
        name = f"file {file.node} {file.path}"
        if isinstance(old, File) and old.digest != file.digest:
            yield f"{name} as in the base", (old,)
        else:
            yield f"{name} with another text", (_holding(file, _OTHER_TEXT),)
        if posixpath.dirname(file.path) == MANIFESTS and file.content is not None:
            for words, text in altered_manifests(file.content.decode(errors="replace")):
                yield f"{name} {words}", (_holding(file, text.encode()),)

    # ------------------------------------------------------------------ addresses that are free
    def _nobodys(self, ip: IpAddress) -> IpAddress | None:
        """The highest address of the subnet in which another lies that nobody has."""
        around = [one for one in self._networks if one.version == ip.version and ip in one]
        for network in sorted(around, key=lambda one: one.prefixlen):
            for back in range(2, min(network.num_addresses, 1 << 12)):
                other = network[-back]
                if other not in self._taken and other != network.network_address:
                    return other
        return None

    def _elsewhere(self, address: IpInterface) -> IpInterface | None:
        """The same host part in the next subnet that touches none of the solution's."""
        size = address.network.num_addresses
        for step in range(1, 64):
            number = int(address.ip) + step * size
            if number >= 1 << address.max_prefixlen:
                return None
            moved = ip_interface(f"{type(address.ip)(number)}/{address.network.prefixlen}")
            if not any(one.version == moved.version and one.overlaps(moved.network) for one in self._networks):
                return moved
        return None
