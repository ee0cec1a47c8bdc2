"""What the machine has is asked once, when a lab is born: a cluster keeps the store that it was born with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from test_launch import MemoryNodes

from trenza.engine.engine import Engine, Request
from trenza.engine.journal import Journal
from trenza.memory import MemoryKernel
from trenza.model.cluster import ETCD

LAB = b"""\
lab: one
switches: {lan: {}}
hosts: {h: {nics: {eth0: {to: lan, ip: 10.0.0.1/24}}}}
cluster: {master: h, nodes: [h], store: etcd}
"""
REQUEST = Request(LAB, "/lab.yaml", "lab.yaml", "/")


class Machine:
    """A machine on which programs are installed and removed, and whose keepers die."""

    def __init__(self, directory: Path, *programs: str) -> None:
        self.programs = set(programs)
        self._directory = directory
        self._kernel = MemoryKernel()

    def keeper(self) -> Engine:
        journal = Journal(self._directory / "journal.jsonl")
        return Engine(
            self._kernel, MemoryNodes(self._kernel), journal, self._directory / "lab.json", lambda source: b"",
            has=self.programs.__contains__,
        )  # fmt: skip


def members(engine: Engine) -> int:
    assert engine.lab.cluster is not None
    return len(engine.lab.cluster.etcd)


def test_a_lab_that_was_born_without_etcd_goes_on_without_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    outcome = machine.keeper().up(REQUEST, lambda *_: None)
    assert [problem.code for problem in outcome.warnings] == ["W018"]
    machine.programs.add(ETCD)
    for request in (None, REQUEST):
        again = machine.keeper()
        assert again.plan(request)[0] == ()
        assert again.up(request, lambda *_: None).plan == ()
        assert members(again) == 0


def test_a_lab_may_be_made_as_on_a_machine_without_etcd(tmp_path: Path) -> None:
    machine = Machine(tmp_path, ETCD)
    outcome = machine.keeper().up(replace(REQUEST, has_etcd=False), lambda *_: None)
    assert [problem.code for problem in outcome.warnings] == ["W018"]
    assert members(machine.keeper()) == 0
    assert machine.keeper().up(REQUEST, lambda *_: None).plan == ()


def test_a_lab_that_was_born_with_etcd_goes_on_with_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path, ETCD)
    assert machine.keeper().up(REQUEST, lambda *_: None).warnings == ()
    machine.programs.clear()
    for request in (None, REQUEST):
        again = machine.keeper()
        assert again.plan(request)[0] == ()
        assert members(again) == 1
