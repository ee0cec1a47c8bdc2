"""Random networks of bridges settle to what theory says: every port's state and role, every root and cost."""

from __future__ import annotations

import os
import random
import time
from contextlib import ExitStack

import pytest
from bridges import disagreements, guessed_wrong, random_bridges
from grounds import Ground, ground

from trenza.model.state import State

pytestmark = pytest.mark.kernel

SOAK = os.environ.get("TRENZA_SOAK") == "1"
DEADLINE_S = 15
"""Max age and twice the forward delay are 10 s, and the machine may be busy."""


@pytest.mark.parametrize("batch", range(20 if SOAK else 1))
def test_random_bridges_settle_to_what_theory_says(batch: int) -> None:
    seed = int(os.environ.get("TRENZA_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"TRENZA_SEED={seed}, batch {batch}")
    with ExitStack() as stack:
        waiting: list[tuple[int, Ground, State]] = []
        for number in range(12):
            there = stack.enter_context(ground())
            state = there.become(random_bridges(seed + number))
            assert not guessed_wrong(there, state), seed + number
            waiting.append((seed + number, there, state))
        deadline = time.monotonic() + DEADLINE_S
        while waiting and time.monotonic() < deadline:
            waiting = [one for one in waiting if disagreements(one[1], one[2])]
            time.sleep(0.1)
        for number, there, state in waiting:
            pytest.fail(f"network {number}:\n" + "\n".join(disagreements(there, state)))
