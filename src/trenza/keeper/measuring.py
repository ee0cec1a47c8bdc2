"""`outage`: probes run, a fault is injected, and what they saw is read until all is well and quiet again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address

from trenza.engine.engine import Engine
from trenza.engine.faults import ActiveFault
from trenza.errors import KernelError, UsageError
from trenza.fault.catalogue import Down, Fault, Impair, Pause
from trenza.fault.outage import OutageReport, Watched, is_settled, is_well, read_outage
from trenza.fault.probes import Probe, ProbeKind, parse_probe
from trenza.fault.reading import duration_s
from trenza.fault.telling import report_data, report_lines
from trenza.keeper.breaking import Breaking
from trenza.keeper.clustering import Clustering
from trenza.keeper.connection import Connection
from trenza.keeper.places import Found, Places
from trenza.keeper.witness import Witness
from trenza.linux.nodes import NodeHandle
from trenza.linux.prober import Prober, Vantage
from trenza.linux.watch import NetworkWatch
from trenza.model.cluster import Cluster
from trenza.model.event import Event
from trenza.model.names import NodeName
from trenza.model.state import Address, Bridge, IpAddress, State
from trenza.plan.clustered import is_pod_link
from trenza.theory import convergence_s
from trenza.theory.outage import Fate, Prediction, as_declared, predict_outage
from trenza.wire import Message

_LOOK_EVERY_S = 0.1
_BASELINE_S = 0.5
_SLACK_S = 10.0
_READY_AGAIN_S = 10.0


@dataclass(slots=True)
class _Question:
    """One measurement: what is asked from where, by which fault, and how long it may take."""

    probes: list[Probe]
    vantages: list[Vantage]
    nodes: dict[NodeName, NodeHandle]
    """Those of the askers that are no pods."""
    addresses: list[IpAddress]
    fault: Fault
    predictions: list[Prediction | None]
    deadline_s: float
    unnoticed_s: float
    """How long after the fault there may be quiet because nobody has noticed it."""


class Measuring:
    """Answers `outage`."""

    def __init__(
        self,
        engine: Engine,
        places: Places,
        clustering: Clustering,
        breaking: Breaking,
        witness: Witness,
        neighbours: NetworkWatch,
    ) -> None:
        self._engine = engine
        self._places = places
        self._clustering = clustering
        self._breaking = breaking
        self._witness = witness
        self._neighbours = neighbours
        self._loop = asyncio.get_running_loop()
        self._measuring = False
        self._known: dict[tuple[str, str], str] = {}
        """The MAC address that a node has for an address."""

    async def outage(self, connection: Connection, message: Message) -> None:
        """Measure what a fault does, heal it unless it is to stay, and tell."""
        if self._measuring:
            raise UsageError("an outage is being measured already")
        self._measuring = True
        try:
            ready = await self._clustering.ready()
            async with self._question(message) as question:
                report, active = await self._measure(question, connection)
            if not message.get("keep"):
                await self._undo(active, ready)
        finally:
            self._measuring = False
        language = message.get("language") or "en"
        result: Message = {**report_data(report), "lines": report_lines(report, language)}
        if message.get("picture"):
            from trenza.fault.picture import outage_svg

            result["picture"] = outage_svg(report, language)
        connection.send({"result": result})

    @asynccontextmanager
    async def broken(self, message: Message, connection: Connection) -> AsyncIterator[OutageReport | None]:
        """A fault in effect, with what its probes saw until all was well and quiet; undone at the end of the block."""
        if self._measuring:
            raise UsageError("an outage is being measured already")
        self._measuring = True
        try:
            ready = await self._clustering.ready()
            if message["probes"]:
                async with self._question(message) as question:
                    report, active = await self._measure(question, connection)
            else:
                report = None
                active = await self._breaking.inject(self._engine.read_fault(message["words"], {}))
            try:
                yield report
            finally:
                await self._undo(active, ready)
        finally:
            self._measuring = False

    async def _undo(self, active: ActiveFault, ready: set[str]) -> None:
        """Until a cluster's nodes that were Ready before are so again: who goes on at once would lose pods there."""
        await self._breaking.undo(active)
        await self._clustering.unready(_READY_AGAIN_S, among=ready)

    # ------------------------------------------------------------------ asking
    @asynccontextmanager
    async def _question(self, message: Message) -> AsyncIterator[_Question]:
        """What is meant, all of it checked before anything happens; what it is asked with is open in the block.

        Raises UsageError, and TrenzaError where a cluster that is asked for a pod does not answer.
        """
        probes = [parse_probe(text) for text in message["probes"]]
        if not probes:
            raise UsageError("no probe", hint='--probe "ping user -> 172.16.1.254"')
        words = [word for probe in probes for word in (probe.source, probe.target)]
        async with self._places.found(words, message.get("language") or "en") as there:
            yield self._meant(message, probes, there)

    def _meant(self, message: Message, probes: list[Probe], there: Found) -> _Question:
        fault = self._engine.read_fault(message["words"], message.get("options") or {})
        declared = self._engine.declared
        observed = as_declared(self._engine.kernel.observe(declared), declared)
        sources = [there.handle(probe.source) for probe in probes]
        addresses = [there.find_address(probe.target) or self._address(probe, observed) for probe in probes]
        vantages = [
            Vantage(probe, source.netns, str(address))
            for probe, source, address in zip(probes, sources, addresses, strict=True)
        ]
        after = self._engine.after(fault, observed)
        predictions: list[Prediction | None] = [
            None  # theory knows nothing of pods
            if there.is_in_cluster(probe.source) or there.is_in_cluster(probe.target)
            else predict_outage(observed, after, source.node.name, address, http=probe.kind is ProbeKind.HTTP)
            for probe, source, address in zip(probes, sources, addresses, strict=True)
        ]
        if isinstance(fault, Pause | Impair):
            predictions = [None] * len(probes)  # a state does not say who is slow, or takes connections and is silent
        cluster = self._engine.lab.cluster
        if cluster is not None:  # nor which pods a Service leads to
            predictions = [
                None if probe.kind is ProbeKind.HTTP else prediction
                for probe, prediction in zip(probes, predictions, strict=True)
            ]
        given = message.get("deadline")
        replaced_s = _replaced_s(cluster)
        deadline_s = duration_s(given) if given else _deadline_s(predictions, observed) + 2 * replaced_s
        unnoticed_s = max(_unnoticed_s(fault, predictions, observed), replaced_s)
        nodes = {
            source.node.name: source
            for probe, source in zip(probes, sources, strict=True)
            if not there.is_in_cluster(probe.source)
        }
        return _Question(probes, vantages, nodes, addresses, fault, predictions, deadline_s, unnoticed_s)

    def _address(self, probe: Probe, observed: State) -> IpAddress:
        """Where a probe goes: its address, or a node's first one."""
        try:
            return ip_address(probe.target)
        except ValueError:
            node = self._engine.resolve(probe.target)
        for thing in observed:
            if isinstance(thing, Address) and thing.interface.node == node:
                return thing.address.ip
        raise UsageError(f"{node} has no address", hint=f"{probe.kind} {probe.source} -> ADDRESS")

    # ------------------------------------------------------------------ measuring
    async def _measure(self, question: _Question, connection: Connection) -> tuple[OutageReport, ActiveFault]:
        """What the probes saw, and the fault, which is still in effect; it is undone if measuring did not end well."""
        prober = Prober(question.vantages)
        events: list[Event] = []
        stop_listening = self._engine.journal.listen(events.append)
        self._neighbours.follow(question.nodes)
        self._loop.add_reader(self._neighbours.fileno(), self._hear_neighbours, set(question.addresses))
        active: ActiveFault | None = None
        try:
            with self._witness.listening():
                try:
                    prober.start()
                except OSError as error:
                    raise KernelError(f"a probe cannot be made: {error.strerror}", errno=error.errno or 0) from error
                try:
                    await self._baseline(question, prober, connection)
                    active = await self._breaking.inject(question.fault)
                    settled = await self._until_settled(question, prober, events, active, connection)
                finally:
                    await asyncio.to_thread(prober.stop)
            end_s = time.time()
        except BaseException:
            if active is not None:
                await self._breaking.undo(active)
            raise
        finally:
            self._loop.remove_reader(self._neighbours.fileno())
            self._neighbours.follow({})
            stop_listening()
        cluster = self._engine.lab.cluster
        told = tuple(
            event
            for event in events
            if active.since_s - 0.05 <= event.time_s <= end_s
            # a pod's link comes up with the pod, which is told too
            and not is_pod_link(cluster, event.node, str(event.fields.get("nic", "")))
        )
        read = tuple(
            read_outage(watched.probe, watched.samples, told, active.since_s, prediction)
            for watched, prediction in zip(prober.watched(), question.predictions, strict=True)
        )
        return OutageReport(active.text, active.since_s, end_s, settled, read, told), active

    def _hear_neighbours(self, addresses: set[IpAddress]) -> None:
        """Whose MAC address answers for an address that is asked for, as the askers' own tables have it."""
        links = self._engine.measure().links
        owners = {str(link.mac): str(link.interface) for link in links if link.kind != "loopback"}
        wanted = set(map(str, addresses))
        for change in self._neighbours.read():
            mac = change.fields.get("mac", "")
            if change.kind != "neighbour" or change.gone or change.fields["ip"] not in wanted or not mac:
                continue
            key = (change.node, change.fields["ip"])
            if self._known.get(key) == mac:
                continue
            before, self._known[key] = self._known.get(key), mac
            if before is not None:
                whose = owners.get(mac, mac)
                self._engine.journal.say(
                    "arp", change.node, f"{change.fields['ip']} is at {whose} now",
                    ip=change.fields["ip"], mac=mac, whose=whose, before=owners.get(before, before),
                )  # fmt: skip

    async def _baseline(self, question: _Question, prober: Prober, connection: Connection) -> None:
        """Until every probe is well. Raises UsageError naming those that are not; nothing was broken then."""
        limit_s = 2 * convergence_s(self._engine.wanted) + _SLACK_S
        until = time.monotonic() + limit_s
        well_since: float | None = None
        while True:
            now = time.monotonic()
            watched = prober.watched()
            ill = [one for one in watched if not is_well(one, time.time())]
            # A server that is down already would not be missed; one that stays down is not waited for for ever.
            ready = not self._moving() and (not self._witness.not_up or now > until - limit_s / 2)
            well_since = None if ill or not ready else (well_since or now)
            if well_since is not None and now - well_since >= _BASELINE_S:
                self._known = self._neighbours_now(question)
                return
            if connection.closed.is_set():
                raise UsageError("whoever asked has gone")
            if now > until:
                reasons = [f"{one.probe}: {_why(one)}" for one in ill] or [*self._unsettled(), *self._witness.not_up]
                raise UsageError(
                    "\n".join(reasons) or "the probes were well for moments only",
                    hint="nothing was broken: mend this first, or wait until the network has converged",
                )
            await asyncio.sleep(_LOOK_EVERY_S)  # answers arrive all the time; one looks now and then

    def _neighbours_now(self, question: _Question) -> dict[tuple[str, str], str]:
        measured = self._engine.measure(question.nodes.keys())
        return {(one.interface.node, str(one.ip)): one.mac for one in measured.neighbours if one.mac is not None}

    async def _until_settled(
        self, question: _Question, prober: Prober, events: list[Event], active: ActiveFault, connection: Connection
    ) -> bool:
        until = time.monotonic() + question.deadline_s
        while time.monotonic() < until and not connection.closed.is_set():
            await asyncio.sleep(_LOOK_EVERY_S)
            moving = self._moving()
            if is_settled(
                prober.watched(), events, now=time.time(), since_s=active.since_s, moving=moving,
                unnoticed_s=question.unnoticed_s,
            ):  # fmt: skip
                return True
        return False

    def _moving(self) -> bool:
        return not self._witness.quiet or bool(self._unsettled())

    def _unsettled(self) -> list[str]:
        """The bridge ports that neither forward nor have given it up, and what they do."""
        ports = self._engine.measure().ports
        return [f"{port.interface} is {port.state}" for port in ports if port.state in ("listening", "learning")]


def _why(watched: Watched) -> str:
    """Why a probe is not well, in its last words."""
    lost = [sample for sample in watched.samples if sample.answered_s is None]
    good = len(watched.samples) - len(lost)
    if not good:
        return f"never succeeded ({lost[-1].note if lost else 'no answer'})"
    return f"{len(lost)} of {len(watched.samples)} lost ({lost[-1].note})" if lost else "answers come too late"


def _unnoticed_s(fault: Fault, predictions: Sequence[Prediction | None], observed: State) -> float:
    """What theory says must pass before it shows; and of a bridge that is down in silence, until it is forgotten."""
    bounds = [one.low_s for one in predictions if one is not None and one.fate is Fate.OUTAGE]
    if isinstance(fault, Down):
        bounds += [
            thing.max_age_s + thing.hello_time_s for thing in observed if isinstance(thing, Bridge) and thing.stp
        ]
    return max(bounds, default=0.0)


def _replaced_s(cluster: Cluster | None) -> float:
    """How long a cluster takes to give up a node and begin to replace its pods."""
    return 0.0 if cluster is None else cluster.grace_s + cluster.eviction_s + 2 * cluster.heartbeat_s


def _deadline_s(predictions: Sequence[Prediction | None], observed: State) -> float:
    """Twice theory's bound and ten seconds."""
    bounds = [one.high_s for one in predictions if one is not None and one.fate is Fate.OUTAGE]
    return 2 * max([*bounds, 2 * convergence_s(observed)]) + _SLACK_S
