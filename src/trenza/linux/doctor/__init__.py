"""What this machine lacks for trenza, as values: each finding with its sentence and the exact commands that mend it.

`diagnose` looks at everything; `missing_for` only at what one lab requires, before anything is built. Both look through
a `Probe`, so that every finding can be had on any machine; `trenza.linux.doctor.probe.MachineProbe` is the real one.
"""

from __future__ import annotations

from trenza.linux.doctor.findings import Caller, Finding, Level, Probe, Trial
from trenza.linux.doctor.looks import diagnose, missing_for, report, requirements

__all__ = [
    "Caller",
    "Finding",
    "Level",
    "Probe",
    "Trial",
    "diagnose",
    "missing_for",
    "report",
    "requirements",
]
