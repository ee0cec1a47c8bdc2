"""Containers launched by hand, over the kernel in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from trenza.engine.engine import Engine, LabNodes, Request
from trenza.engine.journal import Journal
from trenza.engine.record import Record
from trenza.errors import KernelError, UsageError
from trenza.linux.nodes import NodeHandle
from trenza.memory import MemoryKernel
from trenza.model.names import NodeName
from trenza.model.state import State
from trenza.plan.operations import Operation, Plan

LAB = b"lab: one\nhosts: {h1: {}}\n"


class FullKernel(MemoryKernel):
    """A kernel that can make no further node once `full` is set."""

    full = False

    def perform(self, plan: Plan, done: Callable[[Operation], None] = lambda operation: None) -> None:
        if self.full and plan:
            raise KernelError("no space left for a node")
        super().perform(plan, done)


class MemoryNodes(LabNodes):
    """The nodes of a kernel in memory: as much of them as launching asks for."""

    def __init__(self, kernel: MemoryKernel) -> None:
        self._kernel = kernel

    def alive(self) -> Mapping[NodeName, NodeHandle]:
        return {name: NodeHandle(node, -1) for name, node in self._kernel.observe(State()).nodes.items()}


@pytest.fixture
def made(tmp_path: Path) -> tuple[Engine, FullKernel]:
    kernel = FullKernel()
    journal = Journal(tmp_path / "journal.jsonl")
    engine = Engine(kernel, MemoryNodes(kernel), journal, tmp_path / "lab.json", lambda source: b"")
    engine.up(Request(LAB, "/lab.yaml", "lab.yaml", "/"), lambda *_: None)
    return engine, kernel


def test_a_launched_container_is_there_and_is_remembered(made: tuple[Engine, FullKernel], tmp_path: Path) -> None:
    engine, kernel = made
    assert engine.launch(NodeName("h1"), "x") == "h1/x"
    assert "h1/x" in kernel.observe(State()).nodes
    record = Record.load(tmp_path / "lab.json")
    assert record is not None
    assert record.launched == {"h1/x": "h1"}
    assert engine.plan()[0] == ()


def test_a_launch_that_the_kernel_refused_is_not_remembered(made: tuple[Engine, FullKernel], tmp_path: Path) -> None:
    engine, kernel = made
    kernel.full = True
    with pytest.raises(KernelError):
        engine.launch(NodeName("h1"), "x")
    record = Record.load(tmp_path / "lab.json")
    assert record is not None
    assert record.launched == {}
    assert engine.plan()[0] == ()


@pytest.mark.parametrize("name", ["", "-x", "a/b", "x" * 41, "..", "ñ", "a b"])
def test_a_name_that_cannot_be_one_is_refused(made: tuple[Engine, FullKernel], name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a container"):
        made[0].launch(NodeName("h1"), name)
