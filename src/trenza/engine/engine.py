"""The engine: one lab's life from its file to its end."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from trenza.engine.faults import ActiveFault, FaultNodes, Faults, as_data, of_data
from trenza.engine.journal import Journal
from trenza.engine.record import Mode, Record
from trenza.engine.suggestions import suggest
from trenza.errors import KeeperError, KernelError, Problem, TrenzaError, UsageError
from trenza.fault.catalogue import Fault, Kill, Pause, Stop
from trenza.fault.effects import falling, with_down
from trenza.fault.reading import Surroundings, read_fault
from trenza.linux.nodes import NodeHandle, Nodes
from trenza.linux.uplink_filter import GRANTS
from trenza.model.checks import Check
from trenza.model.cluster import ETCD
from trenza.model.lab import Lab, ToNat
from trenza.model.measurements import Measurements
from trenza.model.names import Interface, NicName, NodeName, bare_name
from trenza.model.state import File, Loopback, Node, NodeKind, Process, State, Thing, leans_on, nodes_of, provides
from trenza.plan.clients import with_clients
from trenza.plan.clustered import without_clustered
from trenza.plan.diff import diff
from trenza.plan.explain import explain
from trenza.plan.kernel import Kernel
from trenza.plan.missing import LeftAlone, missing
from trenza.plan.moving import without_moving
from trenza.plan.operations import Operation, Plan, Remove
from trenza.plan.wanted import cable_ends, wanted_state
from trenza.spec import Choices, read, read_check

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}")
MAX_EXPLAINED = 200
"""Longer plans are journalled by their number of operations only."""


class LabNodes(Nodes, Protocol):
    """What the engine asks of nodes beyond what a kernel does."""

    def forget(self, names: Sequence[NodeName]) -> None: ...

    def is_running(self, process: Process) -> bool: ...


@dataclass(frozen=True, slots=True)
class Request:
    """What `up` and `plan` are asked: the lab file's bytes, where it lies, and the person's choices."""

    source: bytes
    file: str
    shown: str
    directory: str
    mode: Mode = Mode.FULL
    profile: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    variants: tuple[str, ...] = ()
    until: str | None = None
    language: str = "en"
    nat: tuple[str, ...] = ()
    """What uplinks may reach, beside what was allowed before."""
    files: Mapping[str, str] = field(default_factory=dict)
    """What files beside the lab held (base64 by name), where it comes from an archive and has no `directory`."""
    has_etcd: bool = True
    """False has a lab made as on a machine without etcd, whatever this one has."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `up` did: warnings of the lab file, the plan it performed, and what it left to the person."""

    lab: Lab
    plan: Plan
    warnings: tuple[Problem, ...]
    left_alone: tuple[LeftAlone, ...]
    fresh: bool


@dataclass(frozen=True, slots=True)
class Aim:
    """What a lab on trial is to become: a lab as read, and a state, which need not be what that lab wants."""

    lab: Lab
    state: State


class Engine:
    """One lab on one kernel. `fetch` reads a file below the lab's directory; `has` tells of a program by its path."""

    def __init__(
        self,
        kernel: Kernel,
        nodes: LabNodes,
        journal: Journal,
        record_path: Path,
        fetch: Callable[[str], bytes],
        require: Callable[[State], None] = lambda wanted: None,
        faulty: FaultNodes | None = None,
        has: Callable[[str], bool] = lambda program: True,
    ) -> None:
        self.kernel = kernel
        self.nodes = nodes
        self._faulty = faulty
        self.journal = journal
        self.fetch = fetch
        self._require = require
        self._has = has
        self._record_path = record_path
        self.record = Record.load(record_path)
        active = of_data(self.record.faults) if self.record is not None else []
        self.faults = None if faulty is None else Faults(kernel, faulty, journal, active)
        self._parsed: tuple[str, Lab, tuple[Problem, ...]] | None = None
        self._reading: tuple[str, Lab, State, tuple[Problem, ...]] | None = None
        self._reference: tuple[str, Lab, State] | None = None
        self._aim: Aim | None = None
        if self.record is not None:
            self._read(self.record)

    # ------------------------------------------------------------------ reading
    def _read(self, record: Record) -> tuple[Lab, State, tuple[Problem, ...]]:
        """The lab and the state it wants; read once as long as neither file nor choices change.

        A record knows what the files held that it names; only a new one fetches them.
        """
        choices = Choices(
            profile=record.profile,
            parameters=record.parameters,
            variants=tuple(record.variants),
            until=record.until,
            start=record.mode in (Mode.START, Mode.TRIAL),
            has_etcd=record.has_etcd,
        )
        asked = repr((record.source, choices, record.language))
        if self._parsed is None or self._parsed[0] != asked:
            reading = read(record.source, record.shown, choices, record.language)
            self._parsed = (asked, reading.lab, reading.problems)
        _, lab, problems = self._parsed
        for source in sorted({file.source for node in lab.nodes for file in node.files if file.source is not None}):
            if source not in record.files:
                record.files[source] = base64.b64encode(self.fetch(source)).decode()
        digest = hashlib.blake2b(repr((asked, sorted(record.files.items()))).encode()).hexdigest()
        if self._reading is None or self._reading[0] != digest:
            contents = {source: base64.b64decode(text) for source, text in record.files.items()}
            self._reading = (digest, lab, wanted_state(lab, contents), problems)
        return self._reading[1:]

    @property
    def lab(self) -> Lab:
        """The lab as last read."""
        return self._current()[0] if self._aim is None else self._aim.lab

    @property
    def declared(self) -> State:
        """What the file wants, and the containers that were launched by hand."""
        return self._with_launched(self._current()[1]) if self._aim is None else self._aim.state

    @property
    def wanted(self) -> State:
        """What is declared, as the faults in effect leave it."""
        return self._with_faults(self.declared)

    def _with_faults(self, declared: State) -> State:
        return declared if self.faults is None or not self.faults.active else self.faults.applied(declared)

    def _current(self) -> tuple[Lab, State, tuple[Problem, ...]]:
        if self.record is None:
            raise UsageError("nothing was built yet")
        return self._read(self.record)

    def _with_launched(self, wanted: State) -> State:
        if self.record is None or not self.record.launched:
            return wanted
        extra: list[Thing] = []
        for name, host in self.record.launched.items():
            if NodeName(host) in wanted.nodes:
                extra += _bare_container(NodeName(name), NodeName(host))
        return State.of([*wanted, *extra])

    # ------------------------------------------------------------------ up and plan
    def plan(self, request: Request | None = None) -> tuple[Plan, tuple[LeftAlone, ...]]:
        """What `up` would do now, and what it would leave to the person. Changes nothing."""
        record = self._record_for(request)
        if self.record is not None and request is not None:
            _refuse_another(self.record, record)
        _, declared, _ = self._read(record)
        return self._plan(record.mode, self._with_launched(declared), self._placed())

    def _placed(self) -> list[File]:
        """The files that were declared until now: nothing else tells ours from those that a node has anyway."""
        return [] if self.record is None else [thing for thing in self.declared if isinstance(thing, File)]

    def _plan(self, mode: Mode, declared: State, placed: Sequence[File]) -> tuple[Plan, tuple[LeftAlone, ...]]:
        """The plan that makes what is declared; `placed` are files that may be there from before."""
        wanted = self._with_faults(declared)
        known = State.of([*(file for file in placed if file.key not in wanted.things), *wanted])
        observed = without_moving(self.kernel.observe(known), declared)
        observed = without_clustered(observed, wanted, self.lab.cluster if self.record is not None else None)
        if mode is not Mode.FULL:
            plan, left_alone = missing(observed, wanted)
            return with_clients(plan, observed), left_alone
        launched = set() if self.record is None else set(self.record.launched)
        return with_clients(diff(observed, keeping(wanted, observed, launched)), observed), ()

    def up(self, request: Request | None, done: Callable[[Operation, int, int], None]) -> Outcome:
        """Make the lab as its file says (or, without a request, as it was started); `done(operation, number, of)`.

        Raises LabFileError, MachineError before anything is built, KernelError in the middle.
        """
        fresh = self.record is None
        record = self._record_for(request)
        if self.record is not None and request is not None:
            _refuse_another(self.record, record)
        lab, wanted, warnings = self._read(record)
        placed = self._placed()
        if self.record is not None:
            record.nat = [grant for grant in GRANTS if grant in (*record.nat, *self.record.nat)]
        _require_consent(lab, record)
        if fresh or self.record is None or self.record.source != record.source:
            self._require(wanted)
        if self.record is not None:
            record.launched, record.restarts = self.record.launched, self.record.restarts
            record.faults, record.forwards = self.record.faults, self.record.forwards
            record.latches = self.record.latches
            record.began_s = self.record.began_s
        else:
            record.began_s = time.time()
        if record != self.record:
            record.save(self._record_path)
            self.record = record
        plan, left_alone = self._plan(record.mode, self._with_launched(wanted), placed)
        self.perform(plan, done)
        self.hold_faults()
        return Outcome(lab, plan, warnings, left_alone, fresh)

    def allow(self, grants: Collection[str]) -> None:
        """Let the lab's uplinks reach more, from the next `up` on."""
        record = self.record
        if record is not None and not set(grants) <= set(record.nat):
            record.nat = [grant for grant in GRANTS if grant in (*record.nat, *grants)]
            record.save(self._record_path)

    def reference(self, hidden: tuple[bytes, str] | None = None) -> tuple[Lab, State]:
        """The whole lab, all checkpoints merged, under the choices it was started with: what checks name.

        `hidden` is a file of further checks, with its name. Raises LabFileError.
        """
        record = self.record
        if record is None:
            raise UsageError("nothing was built yet")
        choices = _whole(record)
        asked = repr((record.source, choices, record.language, hidden))
        if self._reference is None or self._reference[0] != asked:
            lab = read(record.source, record.shown, choices, record.language, hidden).lab
            sources = {file.source for node in lab.nodes for file in node.files if file.source is not None}
            for source in sorted(sources - record.files.keys()):
                record.files[source] = base64.b64encode(self.fetch(source)).decode()
            contents = {source: base64.b64decode(record.files[source]) for source in sources}
            self._reference = (asked, lab, wanted_state(lab, contents))
        return self._reference[1:]

    def read_check(self, text: str) -> Check:
        """A check that is written as in a lab file, its names those of the whole lab. Raises LabFileError."""
        record = self.record
        if record is None:
            raise UsageError("nothing was built yet")
        return read_check(record.source, record.shown, _whole(record), (text.encode(), "check"), record.language)

    # ------------------------------------------------------------------ trials
    def begin_trial(self, request: Request) -> tuple[Aim, ...]:
        """Build the base in a sandbox that nobody works in; the base, and what each checkpoint makes of it.

        Raises UsageError where there is a lab already; LabFileError and MachineError before anything is built.
        """
        if self.record is not None:
            raise UsageError("a lab that somebody works in is not tried out")
        whole = self._record_for(replace(request, mode=Mode.FULL))
        lab, wanted, _ = self._read(whole)
        if not any(checkpoint.checks for checkpoint in lab.checkpoints):
            raise UsageError(f"{lab.name} has no checks", hint="checkpoints: [{name: …, points: …, checks: […]}]")
        self._require(wanted)
        steps = [self._record_for(replace(request, mode=Mode.START))]
        steps += [replace(whole, mode=Mode.UNTIL, until=checkpoint.name) for checkpoint in lab.checkpoints[:-1]]
        steps.append(whole)
        aims = tuple(Aim(*self._read(step)[:2]) for step in steps)
        self.up(replace(request, mode=Mode.TRIAL), lambda *_: None)
        return aims

    def become(self, aim: Aim) -> Plan:
        """Make the lab as it is told, whatever the file says. Raises UsageError unless it is on trial, KernelError."""
        if self.record is None or self.record.mode is not Mode.TRIAL:
            raise UsageError("only a lab on trial becomes what it is told")
        placed = self._placed()
        self._aim = aim
        plan, _ = self._plan(Mode.FULL, aim.state, placed)
        self.perform(plan)
        return plan

    def latch(self, checkpoints: Mapping[str, Mapping[str, Any]]) -> None:
        """Write down checkpoints that passed, before anybody is told."""
        if self.record is not None and checkpoints:
            self.record.latches = {**self.record.latches, **{name: dict(one) for name, one in checkpoints.items()}}
            self.record.save(self._record_path)

    def remember_forwards(self, forwards: Sequence[Mapping[str, Any]]) -> None:
        """Write down which ports of the machine lead into the lab, before they do."""
        if self.record is None:
            raise UsageError("nothing was built yet")
        before, self.record.forwards = self.record.forwards, [dict(forward) for forward in forwards]
        try:
            self.record.save(self._record_path)
        except KeeperError:
            self.record.forwards = before
            raise

    def _record_for(self, request: Request | None) -> Record:
        if request is None:
            if self.record is None:
                raise UsageError("nothing was built yet")
            return self.record
        return Record(
            lab="",
            source=request.source,
            file=request.file,
            shown=request.shown,
            directory=request.directory,
            mode=request.mode,
            language=request.language,
            profile=request.profile,
            parameters=dict(request.parameters),
            variants=list(request.variants),
            until=request.until,
            nat=list(request.nat),
            files=dict(request.files),
            has_etcd=request.has_etcd and self._has(ETCD) if self.record is None else self.record.has_etcd,
        )

    def perform(self, plan: Plan, done: Callable[[Operation, int, int], None] = lambda *_: None) -> None:
        """Perform a plan; each operation becomes an event."""
        number = 0

        def count(operation: Operation) -> None:
            nonlocal number
            number += 1
            done(operation, number, len(plan))

        lines = explain(plan) if len(plan) <= MAX_EXPLAINED else []
        try:
            self.kernel.perform(plan, count)
        except KernelError as error:
            self.journal.say("error", "", error.message)
            raise
        if plan:
            self.journal.say("built", "", f"{len(plan)} operations", operations=lines)

    # ------------------------------------------------------------------ nodes by hand
    def launch(self, host: NodeName, name: str) -> NodeName:
        """Start a bare container in a host: the template root, only lo. Raises UsageError if that cannot be meant."""
        alive = self.nodes.alive()
        full = NodeName(f"{host}/{name}")
        if host not in alive or alive[host].node.kind is not NodeKind.HOST:
            raise UsageError(f"{host} is not a running host", hint=_running_hosts(alive.values()))
        if not _LABEL.fullmatch(name):
            raise UsageError(f"{name!r} cannot name a container: use up to 40 letters, digits and hyphens")
        if full in alive or full in self.wanted.nodes:
            raise UsageError(f"{full} is already there", hint=f"trenza start {full}" if full not in alive else None)
        assert self.record is not None
        self.record.launched[full] = host
        try:
            self.record.save(self._record_path)
            self._bring(_bare_container(full, host))
        except TrenzaError:  # a full disk, or a kernel that refused: nobody shall look for it later
            del self.record.launched[full]
            self.record.save(self._record_path)
            raise
        self.journal.say("launch", full, f"{full} launched")
        return full

    def _bring(self, things: Iterable[Thing]) -> None:
        expected = State.of(things)
        observed = self.kernel.observe(expected)
        self.perform(diff(observed, State.of([*observed, *expected])))

    def start(self, name: NodeName) -> None:
        """Start a node that was stopped, with all that the lab gives it."""
        if name in self.nodes.alive():
            raise UsageError(f"{name} is already running")
        wanted = self.wanted
        if name not in wanted.nodes:
            raise UsageError(f"unknown node {name}")
        host = wanted.nodes[name].host
        if host is not None and host not in self.nodes.alive():
            raise UsageError(f"{host}, the host of {name}, is stopped", hint=f"trenza start {host}")
        family = {name, *(node.name for node in wanted.nodes.values() if node.host == name)}
        observed = self.kernel.observe(wanted)
        own = {key for thing in wanted if nodes_of(thing) & family for key in provides(thing)}
        there = own | {key for thing in observed for key in provides(thing)}
        mine = [
            thing
            for thing in wanted
            # also what others have on the far ends of its cables, which were gone with it
            if (nodes_of(thing) & family or own & set(thing.stands_on()))
            and all(key in there for key in (*thing.stands_on(), *leans_on(thing)))
        ]
        self.perform(missing(observed, State.of([*mine]))[0])
        self.journal.say("start", name, f"{name} started")
        self.hold_faults()

    def stop(self, name: NodeName) -> None:
        """Stop a node: its processes end, its veths vanish, what it wrote stays for the next start."""
        handle = self.nodes.alive().get(name)
        if handle is None:
            raise UsageError(f"{name} is not running")
        self.kernel.perform(_removal(handle.node))
        self.journal.say("stop", name, f"{name} stopped")

    def remove(self, name: NodeName) -> None:
        """Stop a node and delete what it wrote; a launched one is no longer part of the lab."""
        handle = self.nodes.alive().get(name)
        if handle is not None:
            self.kernel.perform(_removal(handle.node))
        elif name not in self.wanted.nodes:
            raise UsageError(f"unknown node {name}")
        assert self.record is not None
        family = [name, *(NodeName(node) for node, host in self.record.launched.items() if host == name)]
        self.nodes.forget(family)
        for node in family:
            self.record.launched.pop(node, None)
        self.record.save(self._record_path)
        self.journal.say("rm", name, f"{name} removed")

    # ------------------------------------------------------------------ faults
    def read_fault(self, words: Sequence[str], options: Mapping[str, str]) -> Fault:
        """The fault that some words mean in this lab as it is now. Raises UsageError."""
        declared = self.declared
        observed = self.kernel.observe(declared)
        cables = cable_ends(self.lab, declared)
        assert self._faulty is not None
        services = {node: self._faulty.service_names(node) for node in self.nodes.alive()}
        return read_fault(words, options, Surroundings(observed, cables, services))

    def services_in(self, name: NodeName) -> Sequence[str]:
        """What runs in a node, as faults call it."""
        return [] if self._faulty is None else self._faulty.service_names(name)

    def break_(self, fault: Fault, *, for_s: float | None = None) -> ActiveFault:
        """Inject a fault, written down before it takes effect; one that fails half-way is undone."""
        faults, record, declared = self._faults(), self.record, self.declared
        assert record is not None
        observed = self.kernel.observe(declared)
        active = faults.prepared(fault, observed, declared, now=time.time(), for_s=for_s)
        faults.active.append(active)
        try:
            self._save_faults()
        except TrenzaError:  # a full disk: what could not be written down does not take effect
            faults.active.remove(active)
            raise
        try:
            faults.inject(fault, active, observed)
        except TrenzaError:
            self._heal_one(active)
            raise
        return active

    def hold_faults(self) -> None:
        """See that what came back since is broken as the faults in effect want it; what cannot be is told."""
        if self.faults is not None and self.faults.active:
            self.faults.hold()

    def after(self, fault: Fault, observed: State) -> State:
        """What a fault would make of a state: what goes down, and which processes would be missing."""
        state = with_down(observed, falling(fault, observed))
        if isinstance(fault, Kill | Stop | Pause):
            key = ("process", fault.node, fault.service)
            state = State.of(thing for thing in state if thing.key != key)
        return state

    def heal(self, faults: Sequence[ActiveFault]) -> None:
        """Undo faults: all that can be, whatever becomes of one. Raises KernelError naming those that could not."""
        refused = []
        for active in faults:
            try:
                self._heal_one(active)
            except TrenzaError as error:
                refused.append(f"{active.text} could not be healed: {error.message}")
        if refused:
            raise KernelError("\n".join(refused))

    def _heal_one(self, fault: ActiveFault) -> None:
        faults = self._faults()
        active = faults.find_active(fault)
        if active is None:
            return
        before = list(faults.active)
        faults.active.remove(active)
        try:
            faults.heal(active, self.kernel.observe(self.declared), self.declared)
            self._save_faults()
        except TrenzaError:  # healing what is healed does no harm: it can be tried again
            faults.active[:] = before
            raise

    def _faults(self) -> Faults:
        if self.faults is None or self.record is None:
            raise UsageError("nothing was built yet")
        return self.faults

    def _save_faults(self) -> None:
        assert self.record is not None and self.faults is not None
        self.record.faults = as_data(self.faults.active)
        self.record.save(self._record_path)

    # ------------------------------------------------------------------ looking
    def names(self) -> list[NodeName]:
        """The nodes of the lab that there are or should be; not its uplinks, which nobody sees or enters."""
        known = {**self.wanted.nodes, **{name: handle.node for name, handle in self.nodes.alive().items()}}
        return sorted(name for name, node in known.items() if node.kind is not NodeKind.UPLINK)

    def resolve(self, name: str) -> NodeName:
        """A node by full name, or by its bare name where that is unique. Raises UsageError with a suggestion."""
        names = set(self.names())
        if NodeName(name) in names:
            return NodeName(name)
        matching = sorted(node for node in names if bare_name(node) == name)
        if len(matching) == 1:
            return matching[0]
        if matching:
            raise UsageError(f"{name} is ambiguous: {', '.join(matching)}")
        raise UsageError(f"unknown node {name!r}", hint=suggest(name, [*names, *map(bare_name, names)], sorted(names)))

    def measure(self, nodes: Collection[NodeName] | None = None) -> Measurements:
        """What was learnt of some nodes, or of all that people see."""
        return self.kernel.measure(self.names() if nodes is None else nodes)

    def restarted(self, process: Process) -> int:
        """Count a restart of a service, on disk before it takes effect; returns how many there were before."""
        assert self.record is not None
        key = f"{process.node} {process.name}"
        before = self.record.restarts.get(key, 0)
        self.record.restarts[key] = before + 1
        try:
            self.record.save(self._record_path)
        except KeeperError as error:  # a full disk must not keep a daemon down
            self.journal.say("error", process.node, error.message)
        return before


def _running_hosts(handles: Iterable[NodeHandle]) -> str:
    hosts = sorted(handle.node.name for handle in handles if handle.node.kind is NodeKind.HOST)
    return f"hosts that run: {', '.join(hosts)}" if hosts else "no host runs"


def _bare_container(name: NodeName, host: NodeName) -> list[Thing]:
    node = Node(name, NodeKind.CONTAINER, host, bare_name(name))
    return [node, Loopback(Interface(name, NicName("lo")))]


def _removal(node: Node) -> Plan:
    """The plan that removes one node and whatever stands on it."""
    return (Remove(node),)


def keeping(wanted: State, observed: State, launched: Collection[str]) -> State:
    """What the file wants and, untouched, all that the person made on containers she launched herself.

    What stands on a kept thing is kept too: the host's end of a veth into a launched container keeps its address.
    """
    if not launched:
        return wanted
    kept: dict[Any, Thing] = {}
    keys: set[Any] = set()
    changed = True
    while changed:
        changed = False
        for thing in observed:
            if thing.key in kept or thing.key in wanted.things:
                continue
            if nodes_of(thing) & set(launched) or any(key in keys for key in thing.stands_on()):
                kept[thing.key] = thing
                keys |= set(provides(thing))
                changed = True
    return State.of([*kept.values(), *wanted])


def _refuse_another(running: Record, asked: Record) -> None:
    if running.file != asked.file:
        raise UsageError(
            f"a lab of this name already runs from another file:\n  running: {running.file}\n  asked:   {asked.file}",
            hint="`trenza down` it first, or give the second one another name with `trenza up --as NAME`",
        )
    if (running.mode, running.until) != (asked.mode, asked.until):
        raise UsageError(
            f"this lab was started {_how(running)}; you ask for it {_how(asked)}",
            hint="`trenza up --reset` rebuilds it as asked; `trenza up` alone keeps it as it was started",
        )


def _require_consent(lab: Lab, record: Record) -> None:
    """Raises UsageError, saying what would be allowed and how, if the lab goes out and nobody allowed it to."""
    uplinks = [f"{node.name}.{nic.name}" for node in lab.nodes for nic in node.nics if isinstance(nic.to, ToNat)]
    if not uplinks or record.nat:
        return
    names = ", ".join(uplinks)
    if record.language == "es":
        raise UsageError(
            f"este laboratorio quiere salir a Internet (to: nat) por {names}, y eso hay que permitirlo:\n"
            "  sus nodos podrían conectarse a direcciones públicas como si fueran usted en esta máquina\n"
            "  (no a redes privadas, ni al localhost de esta máquina), y preguntar nombres a su servidor de DNS",
            hint="trenza up --allow-nat; además redes privadas: --allow-nat-private; además el localhost de esta "
            "máquina, en 10.0.2.2: --allow-nat-loopback",
        )
    raise UsageError(
        f"this lab wants to go out (to: nat) at {names}, and that has to be allowed:\n"
        "  its nodes could then connect to public addresses as if they were you on this machine\n"
        "  (not to private networks, nor to this machine's localhost), and ask your name server for names",
        hint="trenza up --allow-nat; private networks too: --allow-nat-private; this machine's localhost too, "
        "at 10.0.2.2: --allow-nat-loopback",
    )


def _how(record: Record) -> str:
    match record.mode:
        case Mode.FULL:
            return "in full"
        case Mode.START:
            return "with --start"
        case Mode.UNTIL:
            return f"with --until {record.until}"
        case Mode.TRIAL:
            return "to be tried out"


def _whole(record: Record) -> Choices:
    """All of the lab, under the choices that it was started with."""
    return Choices(record.profile, record.parameters, tuple(record.variants), has_etcd=record.has_etcd)
