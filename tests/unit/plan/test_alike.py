"""States compared without the MAC addresses that nobody chose."""

from __future__ import annotations

from dataclasses import replace

from example_labs import bridged_lan

from trenza.model.names import Mac
from trenza.model.state import Bridge, State
from trenza.plan.alike import chosen_only
from trenza.plan.wanted import wanted_state

DECLARED = wanted_state(bridged_lan())


def with_bridge_macs(mac: str) -> State:
    return State.of(replace(thing, mac=Mac(mac)) if isinstance(thing, Bridge) else thing for thing in DECLARED)


def test_what_the_lab_gives_is_compared() -> None:
    assert chosen_only(DECLARED, DECLARED, "") == DECLARED


def test_what_the_kernel_drew_is_not_compared() -> None:
    one, other = with_bridge_macs("02:00:00:00:00:01"), with_bridge_macs("02:00:00:00:00:02")
    assert chosen_only(one, DECLARED, "") == chosen_only(other, DECLARED, "")
    assert chosen_only(one, DECLARED, "") != DECLARED


def test_what_somebody_typed_is_compared() -> None:
    one, other = with_bridge_macs("02:00:00:00:00:0a"), with_bridge_macs("02:00:00:00:00:02")
    typed = "ip link set br0 address 02:00:00:00:00:0A"
    assert chosen_only(one, DECLARED, typed) == one
    assert chosen_only(one, DECLARED, typed) != chosen_only(other, DECLARED, typed)
