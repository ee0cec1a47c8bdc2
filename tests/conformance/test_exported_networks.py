"""Any network, as plain data and as a lab file: nothing is lost but what no lab file can say, and that is told."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from networks import network

from trenza.model.plain import plain_state, state_of_plain
from trenza.model.state import Bridge, FdbEntry, File, Loopback, Neighbour, NodeKind, nodes_of
from trenza.plan.explain import explain
from trenza.plan.export import differences, exported
from trenza.plan.operations import Change
from trenza.plan.wanted import wanted_state
from trenza.spec import read


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 1 << 32))
def test_whatever_linux_can_hold_is_a_lab_file_but_for_what_it_cannot_say(seed: int) -> None:
    state = network(seed)
    assert state_of_plain(json.loads(json.dumps(plain_state(state)))) == state
    contents = {
        (thing.node, thing.path): thing.content
        for thing in state
        if isinstance(thing, File) and thing.content is not None
    }
    export = exported(state, "lab", contents)
    made = wanted_state(read(export.text.encode(), "again.yaml").lab)
    for step in differences(made, state):
        thing = step.new if isinstance(step, Change) else step.thing
        in_switch = any(state.nodes[node].kind is NodeKind.SWITCH for node in nodes_of(thing))
        on_port = isinstance(thing, FdbEntry) and thing.destination is None
        silent_stp = isinstance(thing, Bridge) and not thing.stp
        assert in_switch or on_port or silent_stp or isinstance(thing, Neighbour | Loopback), step
    assert len(export.left_out) > 0 or made == state


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(0, 1 << 32))
def test_any_two_networks_can_be_told_apart_in_words(one: int, other: int) -> None:
    found, expected = network(one), network(other)
    assert bool(explain(differences(found, expected))) is (found != expected)
