"""Faults take about as long as theory says, and packets up to the predicted MTU pass in one piece."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_address

import pytest
from bridges import FAST, disagreements
from grounds import Ground, address, bridge, end, ground, nic, node

from trenza.model.names import Mac, NicName, NodeName, derived_mac
from trenza.model.state import BridgePort, NodeKind, State, Thing, Vxlan, veth
from trenza.theory.frames import l2_path
from trenza.theory.mtu import Beyond, path_mtu
from trenza.theory.outage import Fate, predict_outage

pytestmark = pytest.mark.kernel


def outer_subnet() -> State:
    """Práctica 6's: two switches, two machines' bridges wired to both, a user at each switch."""
    things: list[Thing] = []
    for number, name in enumerate(("vswout1", "vswout2", "swout1", "swout2")):
        things += node(name, NodeKind.SWITCH)
        made = bridge(name, name, stp=True, priority=4096 if name == "swout2" else 32768, **FAST)
        things.append(replace(made, mac=Mac(f"02:00:00:00:00:{number:02x}")))
    for one, other in (("swout1", "vswout1"), ("swout2", "vswout1"), ("swout1", "vswout2"), ("swout2", "vswout2")):
        things.append(veth(end(one, other, one), end(other, one, other)))
    for name, switch, ip in (("user", "swout1", "172.16.1.100/24"), ("user2", "swout2", "172.16.1.101/24")):
        things += [*node(name), veth(end(name, "eth0"), end(switch, name, switch)), address(name, "eth0", ip)]
    things.append(address("vswout1", "vswout1", "172.16.1.150/24"))
    return State.of(things)


def settle(there: Ground, state: State) -> None:
    deadline = time.monotonic() + 15
    while (different := disagreements(there, state)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not different


FAULTS = (
    ("vswout1", "ip link set swout1 down", "172.16.1.150", "2 × forward delay = 4 s"),
    ("vswout1", "ip link set vswout1 down", "172.16.1.101", "max age + 2 × forward delay = 10 s"),
    ("swout1", "ip link set vswout2 down", "172.16.1.101", None),
)
"""Where, what, who is asked by `user`, and the formula of the outage: direct, indirect, and a blocked cable."""


def test_outages_are_as_long_as_theory_says() -> None:
    """All at the same time, each in a network of its own."""
    with ExitStack() as stack:
        grounds = [stack.enter_context(ground()) for _ in FAULTS]
        with ThreadPoolExecutor(len(FAULTS)) as threads:
            for told in [
                threads.submit(measure, there, *fault) for there, fault in zip(grounds, FAULTS, strict=True)
            ]:  # fmt: skip
                told.result()


def measure(there: Ground, where: str, command: str, to: str, formula: str | None) -> None:
    before = there.become(outer_subnet())
    settle(there, before)
    path = l2_path(before, nic("user", "eth0"), nic("user2", "eth0"))
    assert [hop.bridge.node for hop in path.hops] == ["swout1", "vswout1", "swout2"]
    deadline_s = 2 if formula is None else 25
    silent_s = there.silence_s("user", to, lambda: there.run(where, command), deadline_s=deadline_s)
    after = there.kernel.observe(before)
    said = predict_outage(before, after, NodeName("user"), ip_address(to))
    assert [part.formula for part in said.parts] == ([] if formula is None else [formula])
    assert said.fate is (Fate.UNHARMED if formula is None else Fate.OUTAGE)
    assert said.low_s - 0.3 <= silent_s <= said.high_s + 1, (command, silent_s, said)
    print(f"{command}: {silent_s:.2f} s, theory {said.low_s:g} to {said.high_s:g} s", flush=True)
    settle(there, after)


def tunnel(inner: int, underlay: int) -> State:
    """Two containers in one LAN over a VXLAN between their hosts."""
    things: list[Thing] = [*node("u"), *node("v")]
    things.append(veth(end("u", "eth0", mtu_bytes=underlay), end("v", "eth0", mtu_bytes=underlay)))
    for number, own in ((1, "u"), (2, "v")):
        remote = 3 - number
        things += [
            address(own, "eth0", f"172.16.0.{number}/24"),
            bridge(own, "br0", mtu_bytes=inner),
            *node(f"{own}/c"),
        ]
        things.append(
            Vxlan(
                nic(own, "vx"), derived_mac("lab", own, "vx"), 42, ip_address(f"172.16.0.{number}"),
                ip_address(f"172.16.0.{remote}"), mtu_bytes=inner, port=BridgePort(NicName("br0")),
            )
        )  # fmt: skip
        things.append(veth(end(f"{own}/c", "eth0", mtu_bytes=inner), end(own, "c", "br0", mtu_bytes=inner)))
        things.append(address(f"{own}/c", "eth0", f"10.0.0.{number}/24"))
    return State.of(things)


@pytest.mark.parametrize(
    ("inner", "underlay", "mtu", "beyond"),
    [(1450, 1500, 1450, Beyond.SENDER), (1500, 1600, 1500, Beyond.SENDER), (1500, 1500, 1450, Beyond.TUNNEL)],
)
def test_the_largest_packet_in_one_piece_is_the_predicted_mtu(
    inner: int, underlay: int, mtu: int, beyond: Beyond
) -> None:
    with ground() as there:
        state = there.become(tunnel(inner, underlay))
        found = path_mtu(state, NodeName("u/c"), ip_address("10.0.0.2"))
        assert found is not None
        assert (found.mtu_bytes, found.beyond) == (mtu, beyond)
        assert there.pings("u/c", "10.0.0.2")
        ping = "ping -n -c 1 -W 1 -M do -s {} 10.0.0.2"
        assert " 0% packet loss" in there.run("u/c", ping.format(mtu - 28))
        assert " 0% packet loss" not in there.run("u/c", ping.format(mtu - 27), check=False)
