"""Which of the student's things the names of the solution mean, and what is wrong first on a way."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from trenza.check.counterparts import Counterparts
from trenza.check.explain import Explainer
from trenza.model.measurements import Measurements, NeighbourMeasure, PortMeasure
from trenza.model.names import Interface, NicName, NodeName
from trenza.model.state import State
from trenza.plan.wanted import wanted_state
from trenza.spec import read

SOLUTION = """
lab: two
switches: {lan: {}}
hosts:
  host1:
    nics: {eth0: {to: lan}}
    bridges: {br0: {ports: [eth0]}}
    containers:
      c1: {nics: {eth0: {to: br0, ip: 10.0.0.11/24}}}
      s1: {nics: {eth0: {to: br0, ip: 10.0.0.21/24}}}
  host2:
    nics: {eth0: {to: lan}}
    bridges: {br0: {ports: [eth0]}}
    containers: {c2: {nics: {eth0: {to: br0, ip: 10.0.0.12/24}}}}
"""


def state(text: str) -> State:
    return wanted_state(read(text.encode(), "lab.yaml").lab, {})


def changed(*pairs: tuple[str, str]) -> State:
    text = SOLUTION
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return state(text)


def at(text: str) -> Interface:
    node, _, nic = text.partition(".")
    return Interface(NodeName(node), NicName(nic))


def test_the_solution_is_itself() -> None:
    same = Counterparts(state(SOLUTION), state(SOLUTION))
    assert same.changed() == []
    assert same.unmatched() == []
    assert same.find_interface(at("host1.br0")) == at("host1.br0")


def test_other_names_and_addresses_are_found_by_host() -> None:
    built = changed(("c2: {nics: {eth0", "database: {nics: {ens3"), ("10.0.0.12", "10.0.0.99"), ("br0", "puente"))
    found = Counterparts(state(SOLUTION), built)
    c2 = NodeName("host2/c2")
    assert found.find_node(c2) == "host2/database"
    assert found.find_interface(at("host2/c2.eth0")) == at("host2/database.ens3")
    assert found.find_interface(at("host1.br0")) == at("host1.puente")
    assert found.addresses(c2) == (ip_address("10.0.0.99"),)
    assert found.address(ip_address("10.0.0.12")) == ip_address("10.0.0.99")
    assert [(match.name, match.how) for match in found.changed()] == [("host2/c2", "on host2")]


def test_of_two_the_one_with_the_address_is_meant() -> None:
    built = changed(("c1:", "zz:"), ("s1:", "aa:"))
    found = Counterparts(state(SOLUTION), built)
    assert found.find_node(NodeName("host1/c1")) == "host1/zz"
    assert found.find_node(NodeName("host1/s1")) == "host1/aa"


def test_somebody_who_knows_better_is_believed() -> None:
    built = changed(("c1:", "zz:"), ("s1:", "aa:"))
    given = {NodeName("host1/c1"): NodeName("host1/aa")}
    found = Counterparts(state(SOLUTION), built, given)
    assert found.find_node(NodeName("host1/c1")) == "host1/aa"
    assert found.find_node(NodeName("host1/s1")) == "host1/zz"


def test_whom_nobody_stands_for_is_nobody() -> None:
    built = state(SOLUTION.replace("c2: {nics: {eth0: {to: br0, ip: 10.0.0.12/24}}}", ""))
    found = Counterparts(state(SOLUTION), built)
    assert found.find_node(NodeName("host2/c2")) is None
    assert found.addresses(NodeName("host2/c2")) == ()
    assert found.unmatched() == ["host2/c2"]
    assert found.is_configured(ip_address("10.0.0.12"))
    assert not found.is_configured(ip_address("10.0.0.254"))


@pytest.mark.parametrize(
    ("change", "because"),
    [
        (("bridges: {br0: {ports: [eth0]}}\n    containers: {c2", "bridges: {br0: {}}\n    containers: {c2"),
         "10.0.0.12 (host2/c2.eth0) is not on the segment of host1/c1.eth0: host2.eth0 is a port of no bridge"),
        ((", ip: 10.0.0.11/24", ""), "host1/c1 has no address"),
        (("ip: 10.0.0.12/24", "ip: 10.0.0.13/24"), "nobody has 10.0.0.12, which host1/c1.eth0 looks for"),
        (("ip: 10.0.0.11/24", "ip: 10.0.1.11/24"), "host1/c1 has no route to 10.0.0.12"),
        (("ip: 10.0.0.11/24", "ip: 10.0.0.11/24, up: false"), "host1/c1 has no interface that is up"),
    ],
)  # fmt: skip
def test_the_first_thing_wrong_is_named(change: tuple[str, str], because: str) -> None:
    explainer = Explainer(changed(change), Measurements())
    assert explainer.way(NodeName("host1/c1"), ip_address("10.0.0.12")).en == because


def test_a_bridge_that_is_down_is_named() -> None:
    built = changed(("containers: {c2", "containers: {c2")).things
    from dataclasses import replace

    from trenza.model.state import Bridge

    things = [
        replace(one, up=False) if isinstance(one, Bridge) and one.interface == at("host2.br0") else one
        for one in built.values()
    ]
    explainer = Explainer(State.of(things), Measurements())
    assert explainer.way(NodeName("host1/c1"), ip_address("10.0.0.12")).en.endswith(": host2.br0 is down")


def test_where_the_configuration_is_right_the_tables_tell() -> None:
    silent = NeighbourMeasure(at("host1/c1.eth0"), ip_address("10.0.0.12"), None, "FAILED")
    built = state(SOLUTION)
    explainer = Explainer(built, Measurements(neighbours=(silent,)))
    said = explainer.way(NodeName("host1/c1"), ip_address("10.0.0.12"))
    assert said.en == "host1/c1.eth0 gets no ARP answer for 10.0.0.12"
    assert said.es == "host1/c1.eth0 no recibe respuesta de ARP para 10.0.0.12"
    listens = PortMeasure(at("host1.eth0"), NicName("br0"), "listening", "designated", 2, "", "", 0)
    assert (
        "not converged: host1.eth0"
        in Explainer(built, Measurements(ports=(listens,))).way(NodeName("host1/c1"), ip_address("10.0.0.12")).en
    )
    broken = Explainer(built, Measurements(), ["cut w1"])
    assert broken.way(NodeName("host1/c1"), ip_address("10.0.0.12")).en == "a fault is in effect: cut w1"
