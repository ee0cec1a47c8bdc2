"""The Kernel protocol: what performs plans and says what is there."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from trenza.model.measurements import Measurements
from trenza.model.names import NodeName
from trenza.model.state import State
from trenza.plan.operations import Operation, Plan


class Kernel(Protocol):
    """Real Linux inside one sandbox, or its twin in memory."""

    def perform(self, plan: Plan, done: Callable[[Operation], None] = lambda operation: None) -> None:
        """Do the operations in order, calling `done` after each. Every carrier is flushed when it returns.

        Raises KernelError at the first refusal; the operations before it have happened.
        """
        ...

    def observe(self, expected: State) -> State:
        """What is there. Nodes, links, addresses, routes, neighbours and FDB entries are found whoever made them;

        sysctls, files and processes are looked up for those that `expected` names (sysctls also for
        `trenza.plan.wanted.WATCHED_SYSCTLS`, on every node).
        """
        ...

    def measure(self, nodes: Collection[NodeName] | None = None) -> Measurements:
        """What was learnt, counted and decided, of some nodes or of all."""
        ...
