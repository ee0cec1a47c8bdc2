"""Two states compared as people mean it: a MAC address that nobody chose may be another one."""

from __future__ import annotations

import re
from dataclasses import replace

from trenza.model.names import Interface, Mac
from trenza.model.state import ZERO_MAC, Bridge, Macvlan, State, Thing, Veth, VethEnd, Vxlan

_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")


def chosen_only(state: State, declared: State, said: str) -> State:
    """A state without the MAC addresses that neither the lab nor anybody chose.

    Chosen is what `declared` has for that very interface, and what stands in `said`: the command lines and files of
    whoever worked in the lab.
    """
    given = {interface: mac for thing in declared for interface, mac in _macs(thing)}
    named = set(_MAC.findall(said.lower()))

    def kept(interface: Interface, mac: Mac) -> Mac:
        return mac if given.get(interface) == mac or mac in named else ZERO_MAC

    def end(one: VethEnd) -> VethEnd:
        return replace(one, mac=kept(one.interface, one.mac))

    def without(thing: Thing) -> Thing:
        match thing:
            case Veth():
                return Veth(end(thing.a), end(thing.b))
            case Bridge() | Vxlan() | Macvlan():
                return replace(thing, mac=kept(thing.interface, thing.mac))
            case _:
                return thing

    return State.of(map(without, state))


def _macs(thing: Thing) -> list[tuple[Interface, Mac]]:
    match thing:
        case Veth():
            return [(end.interface, end.mac) for end in thing.ends]
        case Bridge() | Vxlan() | Macvlan():
            return [(thing.interface, thing.mac)]
        case _:
            return []
