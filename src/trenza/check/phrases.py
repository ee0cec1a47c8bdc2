"""Phrases: what checks say in the words of other commands, faults and probes, read against the reference solution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from trenza.errors import UsageError
from trenza.fault.probes import parse_probe
from trenza.fault.reading import Surroundings, read_fault
from trenza.model.checks import Check, FaultOutcome, Seen
from trenza.model.lab import Lab
from trenza.model.names import NodeName, bare_name
from trenza.model.state import Process, State
from trenza.plan.wanted import cable_ends
from trenza.spec.check_format import pod_of, service_of


@dataclass(frozen=True, slots=True)
class Misread:
    """A phrase of a check that means nothing in the lab, and why."""

    check: Check
    phrase: str
    error: UsageError


def misread(lab: Lab, reference: State) -> Iterator[Misread]:
    """Every fault and every probe of a lab's checks that cannot be meant."""
    services: dict[NodeName, list[str]] = {}
    for thing in reference:
        if isinstance(thing, Process):
            services.setdefault(thing.node, []).append(thing.name)
    around = Surroundings(reference, cable_ends(lab, reference), services)
    for checkpoint in lab.checkpoints:
        for check in checkpoint.checks:
            if isinstance(check.question, FaultOutcome):
                yield from _of_fault(check, check.question, around, clustered=lab.cluster is not None)


def filters(lab: Lab) -> Iterator[tuple[Check, str]]:
    """The capture filters of a lab's checks; only tcpdump can read them."""
    for checkpoint in lab.checkpoints:
        for check in checkpoint.checks:
            question = check.question
            inner = question.checks if isinstance(question, FaultOutcome) else ()
            for one in (check, *inner):
                if isinstance(one.question, Seen):
                    yield check, one.question.frames


def _of_fault(check: Check, question: FaultOutcome, around: Surroundings, *, clustered: bool) -> Iterator[Misread]:
    try:
        read_fault(question.fault.split(), {}, around)
    except UsageError as error:
        yield Misread(check, question.fault, error)
    for text in question.probes:
        try:
            probe = parse_probe(text)
            for name in (probe.source, probe.target):
                is_target = name is probe.target
                if not (clustered and (pod_of(name) or (is_target and service_of(name)))):
                    _require_node(name, around, address=is_target)
        except UsageError as error:
            yield Misread(check, text, error)


def _require_node(name: str, around: Surroundings, *, address: bool) -> None:
    """Raises UsageError unless a name is one node's, or, where it may be, an address."""
    nodes = around.state.nodes
    if name in nodes or [bare_name(one) for one in nodes].count(name) == 1:
        return
    try:
        if address and ip_address(name):
            return
    except ValueError:
        pass
    raise UsageError(f"unknown node {name!r}", hint=f"nodes: {' '.join(sorted(map(bare_name, nodes))[:20])}")
