"""The kernel's spanning trees beside theory's: where they differ, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from trenza.model.measurements import BridgeMeasure, Measurements, PortMeasure
from trenza.model.names import Interface, NicName
from trenza.theory.spanning_tree import BridgePrediction, PortPrediction, SpanningTrees


class Why(StrEnum):
    """Why the kernel is not (yet) as theory says."""

    CONVERGING = "converging"
    """The port listens or learns, and will forward when its timer ends."""
    HELLO_MISSING = "hello-missing"
    """The kernel has not heard what would make it change its mind: it comes with the next hello, unless stopped."""
    OLD_INFORMATION = "old-information"
    """The kernel still believes what it once heard, until max age."""
    BY_HAND = "by-hand"
    """Somebody set it: no protocol would."""
    CARRIER = "carrier"
    """The port's carrier is changing."""
    TWINS = "twins"
    """Two bridges have one id: the protocol takes them for one."""
    UNKNOWN_LINK = "unknown-link"
    """The port is an interface that no lab file describes, so that theory knows nothing of its far end."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing told by both. `remaining_s`: when it will have gone at the latest, where a timer says so."""

    interface: Interface
    field: str
    kernel: str
    theory: str
    why: Why
    remaining_s: float | None = None


def differences(measured: Measurements, trees: SpanningTrees) -> tuple[Difference, ...]:
    """Everything in which the bridges and ports that were measured are not as predicted."""
    return tuple(_Comparison(measured, trees).all())


class _Comparison:
    def __init__(self, measured: Measurements, trees: SpanningTrees) -> None:
        self._measured = measured
        self._trees = trees
        self._bridges = {bridge.interface: bridge for bridge in measured.bridges}
        self._ports = {port.interface: port for port in measured.ports}
        self._carrier = {link.interface: link.carrier for link in measured.links}
        self._twins = {trees.bridges[one].root_id for one, _ in trees.twins}

    def all(self) -> Iterator[Difference]:
        for bridge in self._measured.bridges:
            predicted = self._trees.bridges.get(bridge.interface)
            if predicted is not None and predicted.stp and predicted.up:
                yield from self._of_bridge(bridge, predicted)
        for port in self._measured.ports:
            said = self._trees.ports.get(port.interface)
            if said is not None:
                yield from self._of_port(port, said)
            else:
                yield Difference(port.interface, "state", port.state, "", Why.UNKNOWN_LINK)

    def _of_bridge(self, bridge: BridgeMeasure, predicted: BridgePrediction) -> Iterator[Difference]:
        why, remaining = Why.HELLO_MISSING, None
        if predicted.root_id in self._twins:
            why = Why.TWINS
        elif self._must_forget(bridge, predicted):
            why, remaining = Why.OLD_INFORMATION, self._age_left_s(bridge)
        for field in ("root_id", "root_path_cost", "root_port"):
            here, there = getattr(bridge, field), getattr(predicted, field)
            if here != there:
                yield Difference(bridge.interface, field, _text(here), _text(there), why, remaining)

    def _must_forget(self, bridge: BridgeMeasure, predicted: BridgePrediction) -> bool:
        """Whether what the kernel holds for the way to the root is too good to be true."""
        return self._heard(bridge) < (
            predicted.root_id,
            predicted.root_path_cost,
            *self._said(predicted.interface, predicted.root_port),
        )

    def _heard(self, bridge: BridgeMeasure) -> tuple[str, int, str, int]:
        port = self._root_port(bridge)
        told = ("", 0) if port is None else (port.designated_bridge, port.designated_port)
        return (bridge.root_id, bridge.root_path_cost, *told)

    def _said(self, bridge: Interface, root_port: NicName | None) -> tuple[str, int]:
        if root_port is None:
            return ("", 0)
        port = self._trees.ports[Interface(bridge.node, root_port)]
        return (port.designated_bridge, port.designated_port)

    def _root_port(self, bridge: BridgeMeasure) -> PortMeasure | None:
        if bridge.root_port is None:
            return None
        return self._ports.get(Interface(bridge.interface.node, bridge.root_port))

    def _age_left_s(self, bridge: BridgeMeasure) -> float | None:
        root_port = self._root_port(bridge)
        return None if root_port is None else root_port.age_timer_s or None

    def _of_port(self, port: PortMeasure, said: PortPrediction) -> Iterator[Difference]:
        bridge = self._trees.bridges[Interface(port.interface.node, port.bridge)]
        if port.state != said.state:
            why, remaining = self._why_state(port, said, bridge)
            yield Difference(port.interface, "state", port.state, said.state, why, remaining)
        elif bridge.stp and port.state != "disabled":
            fields = ["role"] if port.role != said.role else ["designated_bridge", "designated_cost", "designated_root"]
            for field in fields:
                here, there = getattr(port, field), getattr(said, field)
                if here != there:
                    why = Why.TWINS if bridge.root_id in self._twins else self._why_role(port, said)
                    remaining = port.age_timer_s or None if why is Why.OLD_INFORMATION else None
                    yield Difference(port.interface, field, str(here), str(there), why, remaining)
                    break

    def _why_state(self, port: PortMeasure, said: PortPrediction, bridge: BridgePrediction) -> tuple[Why, float | None]:
        has_carrier = self._carrier.get(port.interface, False)
        if "disabled" in (port.state, said.state):
            return (Why.BY_HAND if port.state == "disabled" and has_carrier and bridge.up else Why.CARRIER), None
        if not bridge.stp:
            return Why.BY_HAND, None
        if bridge.root_id in self._twins:
            return Why.TWINS, None
        if said.state == "blocking":
            return Why.HELLO_MISSING, None
        if port.state == "blocking":
            age_s = port.age_timer_s
            now = self._bridges.get(bridge.interface)
            if said.role == "root" and now is not None and self._must_forget(now, bridge):
                age_s = self._age_left_s(now) or 0  # it is another port's news that is believed
            return Why.OLD_INFORMATION, age_s + 2 * bridge.forward_delay_s
        return Why.CONVERGING, port.forward_timer_s + (bridge.forward_delay_s if port.state == "listening" else 0)

    def _why_role(self, port: PortMeasure, said: PortPrediction) -> Why:
        """A port that knows of something too good to be true must forget it; else something has yet to arrive."""
        kernel = (port.designated_root, port.designated_cost, port.designated_bridge, port.designated_port)
        theory = (said.designated_root, said.designated_cost, said.designated_bridge, said.designated_port)
        return Why.OLD_INFORMATION if kernel < theory else Why.HELLO_MISSING


def _text(value: object) -> str:
    return "" if value is None else str(value)
