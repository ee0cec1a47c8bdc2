"""Probes in values: when each of a container's is due, and what a run of successes or failures means.

Source: Kubernetes' pkg/kubelet/prober/worker.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

STARTUP: Final = "startup"
READINESS: Final = "readiness"
LIVENESS: Final = "liveness"
KINDS: Final = (STARTUP, READINESS, LIVENESS)
Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tally:
    """What one probe has found so far: its verdict (None: none yet), and how often in a row it said otherwise."""

    verdict: bool | None = None
    streak: int = 0
    last: bool | None = None
    probed_s: float | None = None
    output: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """What probes say of one run of a container."""

    tallies: Mapping[str, Tally]

    def verdict(self, kind: str) -> bool | None:
        tally = self.tallies.get(kind)
        return None if tally is None else tally.verdict


NEW: Final = Health({})


def probe_of(container: Object, kind: str) -> Object | None:
    return container.get(f"{kind}Probe")


def is_started(container: Object, health: Health) -> bool:
    return probe_of(container, STARTUP) is None or health.verdict(STARTUP) is True


def is_ready(container: Object, health: Health) -> bool:
    if not is_started(container, health):
        return False
    return probe_of(container, READINESS) is None or health.verdict(READINESS) is True


def failed_probe(container: Object, health: Health) -> str | None:
    """The probe for which a container must be restarted, or None."""
    for kind in (STARTUP, LIVENESS):
        if probe_of(container, kind) is not None and health.verdict(kind) is False:
            return kind
    return None


def due(container: Object, health: Health, started_s: float) -> Mapping[str, float]:
    """When each probe of a container that runs is to be made next; readiness and liveness wait for startup."""
    times: dict[str, float] = {}
    for kind in KINDS:
        probe = probe_of(container, kind)
        if probe is None or (kind == STARTUP) == is_started(container, health):
            continue
        tally = health.tallies.get(kind, Tally())
        if kind == STARTUP and tally.verdict is False:
            continue
        first_s = started_s + probe.get("initialDelaySeconds", 0)
        again_s = first_s if tally.probed_s is None else tally.probed_s + probe.get("periodSeconds", 10)
        times[kind] = max(first_s, again_s)
    return times


def found(container: Object, health: Health, kind: str, success: bool, output: str, now_s: float) -> Health:
    """The health after one more probe."""
    probe = probe_of(container, kind)
    assert probe is not None
    before = health.tallies.get(kind, Tally())
    streak = before.streak + 1 if before.last == success else 1
    needed = probe.get("successThreshold", 1) if success else probe.get("failureThreshold", 3)
    verdict = success if streak >= needed else before.verdict
    tally = replace(before, verdict=verdict, streak=streak, last=success, probed_s=now_s, output=output)
    return Health({**health.tallies, kind: tally})
