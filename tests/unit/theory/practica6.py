"""Práctica 6 as a state: the shipped lab, whole, and what faults make of it."""

from __future__ import annotations

from pathlib import Path

import trenza
from trenza.fault.catalogue import Cut, Down, Fault, PowerOff
from trenza.fault.effects import falling, with_down
from trenza.model.names import Interface, NicName, NodeName
from trenza.model.state import Process, State
from trenza.plan.wanted import wanted_state
from trenza.spec import Choices, read

LAB = Path(trenza.__file__).parent / "labs/balanced-web/lab.yaml"


def practica6(*variants: str, profile: str | None = "fast") -> State:
    """The whole sheet."""
    return wanted_state(read(LAB.read_bytes(), "lab.yaml", Choices(profile=profile, variants=variants)).lab, {})


def at(text: str) -> Interface:
    node, _, nic = text.partition(".")
    return Interface(NodeName(node), NicName(nic))


FAULTS: dict[str, Fault] = {
    "cut w1": Cut(at("swout1.eth1"), at("vm1.enp0s8")),
    "cut w2": Cut(at("swout2.eth1"), at("vm1.enp0s9")),
    "cut w3": Cut(at("swout1.eth2"), at("vm2.enp0s8")),
    "cut w4": Cut(at("swout2.eth2"), at("vm2.enp0s9")),
    "down vswout1": Down(at("vm1.vswout1")),
    "down swout1": Down(at("swout1.swout1")),
    "poweroff vswout1": PowerOff(NodeName("vm1"), at("vm1.vswout1")),
    "poweroff swout2": PowerOff(NodeName("swout2")),
}


def suffering(fault: str, state: State) -> State:
    """The state after a fault."""
    return with_down(state, falling(FAULTS[fault], state))


def without(state: State, *gone: str) -> State:
    """The state with interfaces down, named NODE.NIC."""
    return with_down(state, {at(text) for text in gone})


def killed(state: State, node: str, service: str) -> State:
    return State.of(
        thing for thing in state if not (isinstance(thing, Process) and (thing.node, thing.name) == (node, service))
    )
