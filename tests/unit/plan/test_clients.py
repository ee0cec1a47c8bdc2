"""A DHCP client is started anew with its interface, and only then."""

from __future__ import annotations

from example_labs import LAN, switch

from trenza.model.lab import Lab, Nic, NodeSpec
from trenza.model.names import NicName, NodeName
from trenza.model.state import NodeKind, Process, State, Veth
from trenza.plan.clients import with_clients
from trenza.plan.diff import diff
from trenza.plan.operations import Change, Create
from trenza.plan.wanted import wanted_state


def test_a_client_is_started_anew_with_its_interface() -> None:
    hosts = [NodeSpec(NodeName(name), NodeKind.HOST, nics=(Nic(NicName("eth0"), LAN, dhcp=True),)) for name in "ab"]
    wanted = wanted_state(Lab("lab", nodes=(switch("lan"), *hosts)))
    fresh = diff(State(), wanted)
    assert with_clients(fresh, State()) == fresh, "a new client needs no second start"
    assert with_clients((), wanted) == ()
    lost = next(thing for thing in wanted if isinstance(thing, Veth) and thing.a.interface.node == "a")
    observed = State.of(thing for thing in wanted if thing != lost)
    plan = with_clients(diff(observed, wanted), observed)
    (client,) = [thing for thing in wanted if isinstance(thing, Process) and thing.node == "a"]
    assert plan == (Create(lost), Change(client, client))
