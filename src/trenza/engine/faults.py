"""Faults in effect: injected as a difference of states, written down before they take effect, undone by another.

An active fault says what it holds: interfaces that are down, services that are not to run, processes that are
stopped, interfaces that are impaired. The state that the lab wants is the file's with all of that applied, so that
`up` leaves a fault as it is; healing gives back what no other fault holds.
"""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any, Protocol, assert_never

from trenza.engine.journal import Journal
from trenza.errors import KernelError, TrenzaError, UsageError
from trenza.fault.catalogue import Cut, Down, Fault, Impair, Impairment, Kill, Partition, Pause, PowerOff, Stop
from trenza.fault.effects import falling, lost_with, silenced, with_down, with_up
from trenza.model.names import Interface, Mac, NicName, NodeName
from trenza.model.state import (
    Address,
    FdbEntry,
    Neighbour,
    Process,
    Route,
    RouteType,
    State,
    Thing,
    link_key,
)
from trenza.plan.diff import diff
from trenza.plan.kernel import Kernel


@dataclass(frozen=True, slots=True)
class Resting:
    """A service that a fault keeps from running. `argv`, set where it was started by hand, is what starts it again."""

    node: NodeName
    service: str
    argv: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ActiveFault:
    """A fault in effect: what it holds. `until_s` is when it heals by itself (seconds since the epoch), or None."""

    id: int
    text: str
    since_s: float
    until_s: float | None = None
    down: tuple[Interface, ...] = ()
    lost: tuple[Thing, ...] = ()
    resting: tuple[Resting, ...] = ()
    paused: tuple[tuple[NodeName, str], ...] = ()
    impaired: tuple[Interface, ...] = ()
    how: Impairment | None = None


class FaultNodes(Protocol):
    """What faults ask of nodes beyond what a kernel does."""

    def service_names(self, node: NodeName) -> Sequence[str]:
        """What runs in a node, declared or by hand."""
        ...

    def service_pids(self, node: NodeName, service: str) -> Sequence[int]:
        """The processes of a service, declared or started by hand, as the sandbox numbers them."""
        ...

    def signal_service(self, node: NodeName, service: str, number: signal.Signals) -> None:
        """Signal all of a service's processes; returns once it shows (gone, stopped). Raises KernelError.

        SIGTERM is only sent: who ends in good order takes time for it.
        """
        ...

    def service_command(self, node: NodeName, service: str) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
        """The command line and environment of a service's first process; empty where others start it again."""
        ...

    def run_detached(self, node: NodeName, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Start a command in a node that outlives whoever asked."""
        ...

    def require(self, how: Impairment) -> None:
        """Raises MachineError if this kernel cannot impair so."""
        ...

    def impair(self, interface: Interface, how: Impairment | None) -> None:
        """Impair what leaves an interface, or let it pass again. Raises MachineError, KernelError."""
        ...


@dataclass(slots=True)
class Faults:
    """The active faults of one lab. Whoever changes `active` writes it down."""

    kernel: Kernel
    nodes: FaultNodes
    journal: Journal
    active: list[ActiveFault] = field(default_factory=list)

    # ------------------------------------------------------------------ what the lab wants meanwhile
    def applied(self, wanted: State) -> State:
        """What is wanted while these faults last."""
        resting = {("process", one.node, one.service) for fault in self.active for one in fault.resting}
        down = {interface for fault in self.active for interface in fault.down}
        if resting & wanted.things.keys():
            wanted = State.of(thing for thing in wanted if thing.key not in resting)
        return with_down(wanted, down) if down else wanted

    # ------------------------------------------------------------------ breaking
    def prepared(
        self, fault: Fault, observed: State, declared: State, *, now: float, for_s: float | None
    ) -> ActiveFault:
        """The fault as it would be held. Raises UsageError if it is there already, or has nothing to break."""
        text = str(fault)
        for other in self.active:
            if other.text == text:
                raise UsageError(f"{text}: that is so already (fault {other.id})", hint=f"trenza heal {other.id}")
        number = 1 + max((one.id for one in self.active), default=0)
        until = None if for_s is None else now + for_s
        match fault:
            case Cut() | Down() | PowerOff() | Partition():
                down = falling(fault, observed) | self._held(silenced(fault, observed))
                if not down:
                    raise UsageError(f"{text}: there is nothing that could go down: no cable, or all of it is down")
                lost = lost_with(observed, down)
                return ActiveFault(number, text, now, until, tuple(sorted(down)), lost)
            case Kill(node, service) | Stop(node, service):
                self._require_running(node, service, text)
                resting = Resting(node, service)
                if ("process", node, service) not in declared.things:
                    resting = Resting(node, service, *self.nodes.service_command(node, service))
                return ActiveFault(number, text, now, until, resting=(resting,))
            case Pause(node, service):
                self._require_running(node, service, text)
                return ActiveFault(number, text, now, until, paused=((node, service),))
            case Impair(interfaces, how):
                self.nodes.require(how)
                return ActiveFault(number, text, now, until, impaired=interfaces, how=how)
            case _:
                assert_never(fault)

    def _held(self, interfaces: Collection[Interface]) -> frozenset[Interface]:
        """Of these, what other faults hold down: a new one holds it too."""
        return frozenset(one for fault in self.active for one in fault.down if one in interfaces)

    def _require_running(self, node: NodeName, service: str, text: str) -> None:
        if not self.nodes.service_pids(node, service):
            raise UsageError(f"{text}: {service} does not run in {node}")

    def inject(self, fault: Fault, active: ActiveFault, observed: State) -> None:
        """Break what was prepared and written down. Raises KernelError if it does not take effect."""
        if active.down:
            self._perform(observed, with_down(observed, active.down))
            self._verify_down(active)
        for one in active.resting:
            number = signal.SIGTERM if isinstance(fault, Stop) else signal.SIGKILL
            self.nodes.signal_service(one.node, one.service, number)
        for node, service in active.paused:
            self.nodes.signal_service(node, service, signal.SIGSTOP)
        if active.how is not None:
            for interface in active.impaired:
                self.nodes.impair(interface, active.how)
        self.journal.say("fault", _where(active), active.text, fault=active.id, state="injected")

    def _verify_down(self, active: ActiveFault) -> None:
        nodes = {interface.node for interface in active.down}
        links = {link.interface: link for link in self.kernel.measure(nodes).links}
        left = [str(one) for one in active.down if one in links and links[one].up]
        if left:
            raise KernelError(f"{active.text}: {', '.join(left)} stayed up")

    # ------------------------------------------------------------------ healing
    def heal(self, active: ActiveFault, observed: State, declared: State) -> None:
        """Undo a fault that is no longer among the active ones, but for what the others hold."""
        held = {interface for fault in self.active for interface in fault.down}
        up = {interface for interface in active.down if interface not in held}
        self._hand_over(active)
        if up:
            raised = with_up(observed, up)
            there = raised.provided.keys()
            back = [thing for thing in active.lost if thing.key not in raised.things]
            back = [thing for thing in back if all(key in there for key in thing.stands_on())]
            self._perform(observed, State.of([*raised, *back]))
        resting = {(one.node, one.service) for fault in self.active for one in fault.resting}
        for one in active.resting:
            if (one.node, one.service) not in resting:
                self._start(one, observed, declared)
        paused = {pair for fault in self.active for pair in fault.paused}
        for pair in active.paused:
            if pair not in paused and self.nodes.service_pids(*pair):
                self.nodes.signal_service(*pair, signal.SIGCONT)
        for interface in active.impaired:
            others = [fault.how for fault in self.active if interface in fault.impaired]
            self.nodes.impair(interface, others[-1] if others else None)
        self.journal.say("fault", _where(active), f"healed: {active.text}", fault=active.id, state="healed")

    def _hand_over(self, healed: ActiveFault) -> None:
        """What was lost with an interface that another fault still holds is that one's to give back."""
        for place, other in enumerate(self.active):
            shared = {link_key(interface) for interface in other.down} & {link_key(one) for one in healed.down}
            lost = tuple(thing for thing in healed.lost if shared & set(thing.stands_on()))
            if lost:
                new = tuple(thing for thing in lost if thing not in other.lost)
                self.active[place] = replace(other, lost=(*other.lost, *new))

    def hold(self) -> None:
        """Break again what came back unbroken: an interface without its impairment, a service that runs."""
        for active in self.active:
            try:
                if active.how is not None:
                    for interface in active.impaired:
                        self.nodes.impair(interface, active.how)
                for node, service in active.paused:
                    if self.nodes.service_pids(node, service):
                        self.nodes.signal_service(node, service, signal.SIGSTOP)
            except TrenzaError as error:
                self.journal.say("error", _where(active), f"{active.text} could not be held: {error.message}")

    def _start(self, one: Resting, observed: State, declared: State) -> None:
        if one.argv:
            if not self.nodes.service_pids(one.node, one.service):
                try:
                    self.nodes.run_detached(one.node, one.argv, dict(one.env))
                except KernelError as error:  # nobody but who started it knows how; the fault holds nothing any more
                    said = f"{one.service} was started by hand and cannot be started again: {error.message}"
                    self.journal.say("error", one.node, said)
            return
        process = declared.things.get(("process", one.node, one.service))
        if isinstance(process, Process) and process.node in observed.nodes and process.key not in observed.things:
            self._perform(observed, State.of([*observed, process]))

    def _perform(self, observed: State, target: State) -> None:
        self.kernel.perform(diff(observed, target))

    # ------------------------------------------------------------------ asking
    def find_active(self, active: ActiveFault) -> ActiveFault | None:
        """A fault as it is held now: what it has to give back may have grown. None if it is healed."""
        same = (one for one in self.active if (one.id, one.since_s) == (active.id, active.since_s))
        return next(same, None)

    def find(self, words: Sequence[str]) -> list[ActiveFault]:
        """The active faults that some words mean: all without words, a number, the fault as typed, or its object."""
        if not words:
            return list(self.active)
        text = " ".join(words)
        found = [one for one in self.active if text in (str(one.id), one.text)]
        found = found or [one for one in self.active if set(words) <= set(one.text.replace(".", " ").split())]
        if not found:
            there = "\n".join(f"{one.id}  {one.text}" for one in self.active)
            raise UsageError(f"no fault {text!r} is in effect", hint=there or "none is")
        return found


def _where(active: ActiveFault) -> str:
    """The node that an event about it is told of: its one node, or none."""
    nodes = {interface.node for interface in active.down + active.impaired}
    nodes.update(one.node for one in active.resting)
    nodes.update(node for node, _ in active.paused)
    return nodes.pop() if len(nodes) == 1 else ""


# ---------------------------------------------------------------- on disk
def as_data(faults: Iterable[ActiveFault]) -> list[dict[str, Any]]:
    """Faults as plain data."""
    return [
        {
            "id": one.id,
            "text": one.text,
            "since_s": one.since_s,
            "until_s": one.until_s,
            "down": [[interface.node, interface.nic] for interface in one.down],
            "lost": [data for thing in one.lost if (data := _thing_as_data(thing)) is not None],
            "resting": [asdict(resting) for resting in one.resting],
            "paused": [list(pair) for pair in one.paused],
            "impaired": [[interface.node, interface.nic] for interface in one.impaired],
            "how": None if one.how is None else asdict(one.how),
        }
        for one in faults
    ]


def of_data(items: Iterable[dict[str, Any]]) -> list[ActiveFault]:
    """Faults from what `as_data` made."""
    return [
        ActiveFault(
            item["id"],
            item["text"],
            item["since_s"],
            item["until_s"],
            tuple(Interface(NodeName(node), NicName(nic)) for node, nic in item["down"]),
            tuple(_thing_of_data(data) for data in item["lost"]),
            tuple(
                Resting(NodeName(one["node"]), one["service"], tuple(one["argv"]), tuple((a, b) for a, b in one["env"]))
                for one in item["resting"]
            ),
            tuple((NodeName(node), service) for node, service in item["paused"]),
            tuple(Interface(NodeName(node), NicName(nic)) for node, nic in item["impaired"]),
            None if item["how"] is None else Impairment(**item["how"]),
        )
        for item in items
    ]


def _thing_as_data(thing: Thing) -> dict[str, Any] | None:
    """What a link that goes down may lose; anything else is not lost with it."""
    match thing:
        case Address(interface, address):
            return {"is": "address", "node": interface.node, "nic": interface.nic, "address": str(address)}
        case Route():
            return {
                "is": "route", "node": thing.node, "to": str(thing.to), "via": thing.via and str(thing.via),
                "dev": thing.dev, "metric": thing.metric, "onlink": thing.onlink, "type": thing.type.value,
            }  # fmt: skip
        case Neighbour(interface, ip, mac):
            return {"is": "neighbour", "node": interface.node, "nic": interface.nic, "ip": str(ip), "mac": mac}
        case FdbEntry(interface, mac, destination):
            return {
                "is": "fdb", "node": interface.node, "nic": interface.nic, "mac": mac,
                "destination": destination and str(destination),
            }  # fmt: skip
        case _:
            return None


def _thing_of_data(data: Mapping[str, Any]) -> Thing:
    node = NodeName(data["node"])
    if data["is"] == "route":
        via = data["via"] and ip_address(data["via"])
        return Route(
            node, ip_network(data["to"]), via or None, data["dev"], data["metric"], data["onlink"],
            RouteType(data["type"]),
        )  # fmt: skip
    interface = Interface(node, NicName(data["nic"]))
    if data["is"] == "address":
        return Address(interface, ip_interface(data["address"]))
    if data["is"] == "neighbour":
        return Neighbour(interface, ip_address(data["ip"]), Mac(data["mac"]))
    destination = data["destination"] and ip_address(data["destination"])
    return FdbEntry(interface, Mac(data["mac"]), destination or None)
