"""What a fault does to a state: which interfaces go down, and what is lost with them.

Linux' veths lose carrier only when their other end is down. So a pulled cable is an end, or both, that is set down: the
ends that are ports of bridges, which have no addresses to lose and for whose bridge the two are the same
(net/bridge/br_if.c, br_port_carrier_check). Where no end is a port, one goes down, and what it loses (its routes, its
IPv6 addresses) comes back with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import assert_never

from trenza.fault.catalogue import Cut, Down, Fault, Impair, Kill, Partition, Pause, PowerOff, Stop
from trenza.model.names import Interface, NodeName
from trenza.model.state import Bridge, Key, Loopback, Macvlan, State, Thing, Veth, VethEnd, Vxlan
from trenza.plan.losses import Losses


def falling(fault: Fault, state: State) -> frozenset[Interface]:
    """The interfaces that a fault sets down, of those that `state` has up."""
    ends: set[Interface]
    match fault:
        case Cut(one, other):
            ends = {end for veth in _veths(state) if {one, other} == _interfaces(veth) for end in _pulled(veth)}
        case Partition(one, other):
            ends = {end for veth in _veths(state) if _leads(veth, one, other) for end in _pulled(veth)}
        case Down(interface):
            ends = {interface}
        case PowerOff(node, bridge):
            ends = _powered_by(node, state) if bridge is None else {bridge, *_ports(bridge, state)}
        case Kill() | Stop() | Pause() | Impair():
            return frozenset()
        case _:
            assert_never(fault)
    return frozenset(ends & _up(state))


def _powered_by(node: NodeName, state: State) -> set[Interface]:
    """The ends in a node, its containers included, of the cables that leave it."""
    return {
        near.interface
        for veth in _veths(state)
        for near, far in (veth.ends, veth.ends[::-1])
        if _belongs(near.interface.node, node) and not _belongs(far.interface.node, node)
    }


def _ports(bridge: Interface, state: State) -> set[Interface]:
    return {
        end.interface
        for veth in _veths(state)
        for end in veth.ends
        if end.port is not None and Interface(end.interface.node, end.port.bridge) == bridge
    }


def silenced(fault: Fault, state: State) -> frozenset[Interface]:
    """The interfaces that have no carrier once a fault is in effect: what falls, and the far ends of its cables."""
    down = falling(fault, state)
    far = set()
    for veth in _veths(state):
        for near, other in (veth.ends, veth.ends[::-1]):
            if near.interface in down:
                far.add(other.interface)
    return down | far


def with_down(state: State, interfaces: Collection[Interface]) -> State:
    """The state with some interfaces down, and without what Linux drops with them."""
    return _lowered(state, interfaces)[0]


def lost_with(state: State, interfaces: Collection[Interface]) -> tuple[Thing, ...]:
    """What Linux drops when these interfaces go down: routes over them, their IPv6 addresses."""
    return _lowered(state, interfaces)[1]


def with_up(state: State, interfaces: Collection[Interface]) -> State:
    """The state with some interfaces up again."""
    return State.of(_with_ends(thing, interfaces, up=True) for thing in state)


def _lowered(state: State, interfaces: Collection[Interface]) -> tuple[State, tuple[Thing, ...]]:
    changes: dict[Key, tuple[Thing, Thing]] = {}
    for thing in state:
        lower = _with_ends(thing, interfaces, up=False)
        if lower != thing:
            changes[thing.key] = (thing, lower)
    if not changes:
        return state, ()
    lost = Losses(state, {}, changes).lost
    kept = [changes[thing.key][1] if thing.key in changes else thing for thing in state if thing.key not in lost]
    return State.of(kept), tuple(thing for thing in state if thing.key in lost)


def _with_ends(thing: Thing, interfaces: Collection[Interface], *, up: bool) -> Thing:
    match thing:
        case Veth(a, b):
            return Veth(
                replace(a, up=up) if a.interface in interfaces else a,
                replace(b, up=up) if b.interface in interfaces else b,
            )
        case Bridge() | Vxlan() | Macvlan() | Loopback() if thing.interface in interfaces:
            return replace(thing, up=up)
        case _:
            return thing


def _pulled(veth: Veth) -> tuple[Interface, ...]:
    """The ends that go down when the cable is pulled."""
    ports = tuple(end.interface for end in veth.ends if end.port is not None)
    return ports or (veth.b.interface,)


def _veths(state: State) -> Iterator[Veth]:
    return (thing for thing in state if isinstance(thing, Veth))


def _interfaces(veth: Veth) -> set[Interface]:
    return {end.interface for end in veth.ends}


def _leads(veth: Veth, one: Collection[NodeName], other: Collection[NodeName]) -> bool:
    a, b = veth.a.interface.node, veth.b.interface.node
    return (_in(a, one) and _in(b, other)) or (_in(a, other) and _in(b, one))


def _in(node: NodeName, group: Collection[NodeName]) -> bool:
    """Whether a node is of a group, itself or by its host."""
    return any(_belongs(node, member) for member in group)


def _belongs(node: NodeName, to: NodeName) -> bool:
    return node == to or node.startswith(f"{to}/")


def _up(state: State) -> set[Interface]:
    found = set()
    for thing in state:
        match thing:
            case Veth(a, b):
                ends: tuple[VethEnd, ...] = (a, b)
                found |= {end.interface for end in ends if end.up}
            case Bridge() | Vxlan() | Macvlan() | Loopback() if thing.up:
                found.add(thing.interface)
            case _:
                pass
    return found
