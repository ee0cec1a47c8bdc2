"""Faults as people type them, and what each does to a state."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trenza.errors import UsageError
from trenza.fault.catalogue import Cut, Down, Fault, Impair, Impairment, Kill, Partition, PowerOff
from trenza.fault.effects import falling, lost_with, silenced, with_down, with_up
from trenza.fault.reading import KINDS, Surroundings, duration_s, read_fault
from trenza.memory import MemoryKernel
from trenza.model.names import Interface, NicName, NodeName
from trenza.model.state import Address, Bridge, Route, State, Veth
from trenza.plan.diff import diff
from trenza.plan.wanted import cable_ends, wanted_state
from trenza.spec import read

TEXT = """
lab: broken
cables: [w1, w2]
switches: {lan: {}, far: {}}
hosts:
  h1:
    nics: {eth0: {to: lan}, eth1: {to: w1, ip: [10.9.0.1/30, "2001:db8::1/64"]}}
    routes: [{to: 10.8.0.0/24, via: 10.9.0.2}]
    bridges: {br0: {ports: [eth0], ip: 10.0.0.1/24}}
    containers: {c1: {nics: {eth0: {to: br0, ip: 10.0.0.11/24}}}}
  h2: {nics: {eth0: {to: lan, ip: 10.0.0.2/24}, eth1: {to: w1, ip: 10.9.0.2/30}}}
  h3: {nics: {eth0: {to: w2}}}
"""
LAB = read(TEXT.encode(), "lab.yaml").lab
STATE = wanted_state(LAB)
AROUND = Surroundings(STATE, cable_ends(LAB, STATE), {NodeName("h1/c1"): ["haproxy", "keepalived"]})

CLUSTERED = {NodeName("h1"): ["kube-apiserver"], NodeName("h2"): ["kubelet"]}


def nic(text: str) -> Interface:
    node, _, name = text.partition(".")
    return Interface(NodeName(node), NicName(name))


def meant(text: str, **options: str) -> Fault:
    return read_fault(text.split(), options, AROUND)


def test_names_are_found_as_people_write_them() -> None:
    assert meant("cut w1") == Cut(nic("h1.eth1"), nic("h2.eth1"), "w1")
    assert meant("cut c1.eth0") == Cut(nic("h1.c1-eth0"), nic("h1/c1.eth0"))
    assert meant("cut h2.eth1") == meant("cut w1")
    assert meant("down br0") == Down(nic("h1.br0"))
    assert meant("down lan") == Down(nic("lan.lan"))
    assert meant("down c1.eth0") == Down(nic("h1/c1.eth0"))
    assert meant("poweroff br0") == PowerOff(NodeName("h1"), nic("h1.br0"))
    assert meant("poweroff c1") == PowerOff(NodeName("h1/c1"))
    assert meant("poweroff lan") == PowerOff(NodeName("lan"))
    assert meant("kill c1 haproxy") == Kill(NodeName("h1/c1"), "haproxy")
    assert meant("impair w1", loss="10%", delay="50ms", rate="1mbit") == Impair(
        (nic("h1.eth1"), nic("h2.eth1")), Impairment(delay_s=0.05, loss=0.1, rate_bit_s=1_000_000), "w1"
    )
    assert meant("partition h1,h2 lan") == Partition(
        frozenset({NodeName("h1"), NodeName("h2")}), frozenset({NodeName("lan")})
    )
    assert meant("partition h1") == Partition(
        frozenset({NodeName("h1")}), frozenset(map(NodeName, ("h2", "h3", "lan", "far")))
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_fault_is_called_is_how_it_is_typed(kind: str) -> None:
    typed = {
        "cut": "cut w1", "down": "down h1.br0", "poweroff": "poweroff h1.br0", "kill": "kill c1 haproxy",
        "stop": "stop c1 haproxy", "pause": "pause c1 haproxy", "impair": "impair w1", "partition": "partition h1 lan",
    }[kind]  # fmt: skip
    options = {"loss": "10%", "rate": "2kbit"} if kind == "impair" else {}
    fault = read_fault(typed.split(), options, AROUND)
    words = str(fault).replace("--loss 10%", "").replace("--rate 2kbit", "").split()
    assert read_fault(words, options, AROUND) == fault


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("", "which fault?", "cut CABLE"),
        ("ct w1", "no such fault: 'ct'", "did you mean cut?"),
        ("cut w11", "unknown cable 'w11'", "did you mean w1?"),
        ("cut zz", "unknown cable 'zz'", "cables: w1 w2"),
        ("cut", "cut takes one name", "cut CABLE"),
        ("cut h1.br0", "h1.br0 is no end of a cable", ""),
        ("cut h1.et0", "h1 has no interface 'et0'", "did you mean eth0?"),
        ("down bro", "'bro' is no bridge", "did you mean br0?"),
        ("down h9.eth0", "unknown node 'h9'", "did you mean h"),
        ("poweroff h1.eth0", "h1.eth0 is no bridge", "poweroff NODE"),
        ("kill c1 haprox", "h1/c1 runs no 'haprox'", "did you mean haproxy?"),
        ("kill h2 haproxy", "h2 runs no 'haproxy'", "it runs no service"),
        ("cut c1", "unknown cable 'c1'", "did you mean h1/c1.eth0?"),
        ("cut h2", "unknown cable 'h2'", "h2 is a node; its cables end at: h2.eth0 h2.eth1"),
        ("impair c1 ", "unknown cable 'c1'", "did you mean h1/c1.eth0?"),
        ("down c1", "'c1' is no bridge", "did you mean h1/c1.eth0?"),
        ("kill h2 kube-proxy", "h2 runs no 'kube-proxy'", "kube-proxy is a part of kubelet here: kill h2 kubelet"),
        ("stop h2 flanneld", "h2 runs no 'flanneld'", "flanneld is a part of kubelet here: stop h2 kubelet"),
        ("kill h2 kube-scheduler", "h2 runs no 'kube-scheduler'", "here: kill h1 kube-apiserver"),
        ("kill c1", "kill takes two names", "kill NODE SERVICE"),
        ("impair w1", "impair how?", "--loss"),
        ("partition h1,h2 h2", "h2 cannot be on both sides", ""),
    ],
)
def test_what_cannot_be_meant_is_told_with_what_could(text: str, said: str, hint: str) -> None:
    around = replace(AROUND, services={**AROUND.services, **CLUSTERED}) if "kube" in hint else AROUND
    options = {"loss": "10%"} if text.endswith(" ") else {}
    with pytest.raises(UsageError) as caught:
        read_fault(text.split(), options, around)
    assert said in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("options", [{"loss": "10"}, {"loss": "110%"}, {"delay": "50"}, {"rate": "fast"}])
def test_impairments_have_units(options: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        meant("impair w1", **options)


def test_options_of_impair_go_with_nothing_else() -> None:
    with pytest.raises(UsageError, match="goes with impair only"):
        meant("cut w1", loss="10%")


@pytest.mark.parametrize(("text", "seconds"), [("20s", 20), ("300ms", 0.3), ("2m", 120), ("7", 7)])
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds)


def test_a_duration_without_meaning() -> None:
    with pytest.raises(UsageError, match="is no duration"):
        duration_s("soon")


def test_a_pulled_cable_takes_the_ends_that_are_ports() -> None:
    assert falling(meant("cut h2.eth0"), STATE) == {nic("lan.h2-eth0")}
    assert falling(meant("cut h1.eth0"), STATE) == {nic("lan.h1-eth0"), nic("h1.eth0")}
    assert falling(meant("cut w1"), STATE) == {nic("h2.eth1")}
    assert silenced(meant("cut h2.eth0"), STATE) == {nic("lan.h2-eth0"), nic("h2.eth0")}


def test_a_bridge_that_is_down_keeps_its_cables_and_one_without_power_does_not() -> None:
    assert falling(meant("down br0"), STATE) == {nic("h1.br0")}
    assert falling(meant("poweroff br0"), STATE) == {nic("h1.br0"), nic("h1.eth0"), nic("h1.c1-eth0")}
    assert silenced(meant("poweroff br0"), STATE) >= {nic("lan.h1-eth0"), nic("h1/c1.eth0")}


def test_a_node_without_power_loses_what_leaves_it_and_nothing_within() -> None:
    assert falling(meant("poweroff h1"), STATE) == {nic("h1.eth0"), nic("h1.eth1")}


def test_a_partition_cuts_what_leads_across() -> None:
    assert falling(meant("partition h1,lan"), STATE) == {nic("lan.h2-eth0"), nic("h2.eth1")}
    assert falling(meant("partition h3"), STATE) == frozenset()


def test_what_goes_down_loses_its_routes_and_what_comes_up_can_get_them_back() -> None:
    down = falling(Down(nic("h1.eth1")), STATE)
    lost = lost_with(STATE, down)
    assert {type(thing) for thing in lost} == {Route, Address}
    lower = with_down(STATE, down)
    assert all(thing.key not in lower.things for thing in lost)
    assert State.of([*with_up(lower, down), *lost]) == STATE


INTERFACES = sorted(end.interface for thing in STATE if isinstance(thing, Veth) for end in thing.ends) + [
    thing.interface for thing in STATE if isinstance(thing, Bridge)
]


@given(st.sets(st.sampled_from(INTERFACES), max_size=6))
def test_a_kernel_agrees_on_what_is_lost(interfaces: set[Interface]) -> None:
    """The plan that a fault is performed by leaves exactly the state that was said; and its undoing the one before."""
    kernel = MemoryKernel()
    kernel.perform(diff(State(), STATE))
    free = {one for one in interfaces if one in {end for fault in (Down(one),) for end in falling(fault, STATE)}}
    lower = with_down(STATE, free)
    kernel.perform(diff(STATE, lower))
    assert kernel.observe(lower) == lower
    kernel.perform(diff(lower, State.of([*with_up(lower, free), *lost_with(STATE, free)])))
    assert kernel.observe(STATE) == STATE
