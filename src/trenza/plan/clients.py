"""DHCP clients whose interface is another one: they do not notice, and hold a lease that went with the first."""

from __future__ import annotations

from trenza.model.names import Interface
from trenza.model.state import Macvlan, Process, State, Veth
from trenza.plan.operations import Change, Create, Plan
from trenza.services.dhcp import find_nic


def with_clients(plan: Plan, observed: State) -> Plan:
    """The plan, and after it a new start for every client that runs on an interface which the plan makes."""
    made: set[Interface] = set()
    for operation in plan:
        match operation:
            case Create(Veth(a, b)):
                made |= {a.interface, b.interface}
            case Create(Macvlan(interface)):
                made.add(interface)
            case _:
                pass
    touched = {operation.key for operation in plan}
    clients = [thing for thing in observed if isinstance(thing, Process) and thing.key not in touched]
    orphans = [one for one in clients if (nic := find_nic(one)) is not None and Interface(one.node, nic) in made]
    return (*plan, *(Change(client, client) for client in orphans))
