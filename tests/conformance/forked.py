"""A LinuxKernel in a child process that lies in a user and a network namespace of its own.

So the suite needs neither root nor a sandbox, the test's own process stays where it is, and nothing is left behind:
the child takes its namespaces along when it ends. Its nodes are network namespaces alone (`BareNodes`).
"""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from trenza.errors import KernelError
from trenza.linux.bare import BareNodes, enter_own_namespaces
from trenza.linux.kernel import LinuxKernel
from trenza.model.measurements import Measurements
from trenza.model.names import NodeName
from trenza.model.state import State, Thing
from trenza.plan.operations import Operation, Plan


class ForkedKernel:
    """Implements Kernel by asking the child."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def perform(self, plan: Plan, done: Callable[[Operation], None] = lambda operation: None) -> None:
        self._connection.send(("perform", plan))
        happened, error = self._connection.recv()
        for operation in happened:
            done(operation)
        if error is not None:
            message, number, hint = error
            raise KernelError(message, errno=number, hint=hint)

    def observe(self, expected: State) -> State:
        self._connection.send(("observe", tuple(expected)))
        things: tuple[Thing, ...] = self._connection.recv()
        return State.of(things)

    def measure(self, nodes: Collection[NodeName] | None = None) -> Measurements:
        self._connection.send(("measure", nodes))
        found: Measurements = self._connection.recv()
        return found


@contextmanager
def forked_kernel() -> Iterator[ForkedKernel]:
    """A fresh kernel without nodes; its child has ended when the block has."""
    ours, theirs = multiprocessing.Pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            ours.close()
            enter_own_namespaces()
            _serve(theirs)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    theirs.close()
    try:
        yield ForkedKernel(ours)
    finally:
        ours.close()
        _, waited = os.waitpid(pid, 0)
    assert waited == 0, "the child failed; its traceback is in the captured stderr"


def _serve(connection: Connection) -> None:
    with BareNodes() as nodes:
        kernel = LinuxKernel(nodes)
        while True:
            try:
                name, argument = connection.recv()
            except EOFError:
                kernel.close()
                return
            if name == "perform":
                happened: list[Operation] = []
                try:
                    kernel.perform(argument, happened.append)
                    connection.send((happened, None))
                except KernelError as error:
                    connection.send((happened, (error.message, error.errno, error.hint)))
            elif name == "observe":
                connection.send(tuple(kernel.observe(State.of(argument))))
            else:
                connection.send(kernel.measure(argument))
