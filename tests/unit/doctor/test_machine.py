"""The real probe, on whatever machine runs the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trenza.linux.doctor import Level, diagnose
from trenza.linux.doctor.probe import MachineProbe


def test_the_real_probe_answers_every_look() -> None:
    findings = diagnose(MachineProbe())
    assert findings
    assert len({finding.code for finding in findings}) == len(findings)


@pytest.mark.kernel
@pytest.mark.as_root
def test_this_machine_can_run_labs() -> None:
    missing = [finding for finding in diagnose(MachineProbe()) if finding.level is Level.MISSING]
    assert not missing


def test_the_real_probe_reads_what_is_there_and_survives_what_is_not(tmp_path: Path) -> None:
    probe = MachineProbe()
    assert probe.read("/proc/version")
    assert probe.read(str(tmp_path)) is None
    assert probe.read(str(tmp_path / "absent")) is None
    assert probe.program("sh")
    assert probe.program("no-such-program") is None
    assert not probe.privileged(str(tmp_path / "absent"))
    assert probe.limit("nofile") > 0
    assert probe.caller().uid == os.getuid()
