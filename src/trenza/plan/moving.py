"""Addresses that move: those of virtual routers lie wherever VRRP puts them, and are nobody's configuration."""

from __future__ import annotations

from trenza.model.names import Interface
from trenza.model.state import Address, Process, State


def without_moving(observed: State, expected: State) -> State:
    """What is there, without the addresses that the virtual routers of `expected` give to their interfaces."""
    moving = {
        Address(Interface(thing.node, router.nic), address).key
        for thing in expected
        if isinstance(thing, Process)
        for router in thing.vrrp
        for address in router.addresses
    }
    present = moving & observed.things.keys()
    return State.of(thing for thing in observed if thing.key not in present) if present else observed
