"""Random networks of bridges settle to what theory says: every port's state and role, every root and cost."""

from __future__ import annotations

import os
import random
import time
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from bridges import disagreements, guessed_wrong, random_bridges
from grounds import Ground, ground, nic

from trenza.model.names import Interface
from trenza.model.state import State, Veth
from trenza.theory.outage import Part, stp_part
from trenza.theory.spanning_tree import spanning_trees

pytestmark = pytest.mark.kernel

SOAK = os.environ.get("TRENZA_SOAK") == "1"
DEADLINE_S = 15
"""Max age and twice the forward delay are 10 s, and the machine may be busy."""


@pytest.mark.parametrize("batch", range(20 if SOAK else 1))
def test_random_bridges_settle_to_what_theory_says_and_after_a_cut_when_it_says(batch: int) -> None:
    """Twelve networks at the same time: the tree, then a random cable pulled in each."""
    seed = int(os.environ.get("TRENZA_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"TRENZA_SEED={seed}, batch {batch}")
    chance = random.Random(seed)
    with ExitStack() as stack:
        grounds = [stack.enter_context(ground()) for _ in range(12)]
        networks: list[tuple[Ground, State]] = []
        for number, there in enumerate(grounds):
            networks.append((there, there.become(random_bridges(seed + number))))
            assert not guessed_wrong(*networks[-1]), seed + number
        waiting = networks
        deadline = time.monotonic() + DEADLINE_S
        while waiting and time.monotonic() < deadline:
            waiting = [network for network in waiting if disagreements(*network)]
            time.sleep(0.1)
        for network in waiting:
            pytest.fail(f"network {seed + networks.index(network)}:\n" + "\n".join(disagreements(*network)))
        time.sleep(chance.random())  # hellos have any phase
        watched = [cut(there, state, chance) for there, state in networks]
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline and not all(one.done() for one in watched):
            for one in watched:
                one.look()
            time.sleep(0.05)
        wrong = [line for number, one in enumerate(watched) for line in one.wrong(seed + number)]
        assert not wrong, "\n".join(wrong)


@dataclass
class Watched:
    """Ports that are to forward after a fault, each with what theory says of its wait, and when they did."""

    there: Ground
    cable: Veth | None
    begun: float
    waits: dict[Interface, Part]
    forwarded: dict[Interface, float]

    def look(self) -> None:
        now = time.monotonic()
        for port in self.there.kernel.measure().ports:
            if port.interface in self.waits and port.state == "forwarding":
                self.forwarded.setdefault(port.interface, now - self.begun)

    def done(self) -> bool:
        return self.waits.keys() == self.forwarded.keys()

    def wrong(self, seed: int) -> list[str]:
        return [
            f"network {seed}: {port} after {self.forwarded.get(port)} s, theory {part.low_s} to {part.high_s} s, "
            f"{part.formula}, cut {self.cable and self.cable.key}"
            for port, part in self.waits.items()
            if not part.low_s - 0.5 <= self.forwarded.get(port, 1000) <= part.high_s + 1
        ]


def cut(there: Ground, state: State, chance: random.Random) -> Watched:
    """Pull a random cable, or none."""
    ports = there.kernel.measure().ports
    cables = [one for one in state if isinstance(one, Veth) and one.a.up and one.b.up]
    cable = chance.choice([*sorted(cables, key=lambda one: one.key), None])
    begun = time.monotonic()
    for end in () if cable is None else cable.ends:
        there.run(end.interface.node, f"ip link set {end.interface.nic} down")
    before, after = spanning_trees(state, ports), spanning_trees(there.kernel.observe(state), ports)
    waits = {
        port.interface: stp_part(port, after.bridges[nic(port.interface.node, port.bridge)], before, after)
        for port in after.ports.values()
        if after.forwards(port.interface) and not before.forwards(port.interface)
    }
    return Watched(there, cable, begun, waits, {})
