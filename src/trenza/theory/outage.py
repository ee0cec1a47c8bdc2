"""What happens to traffic when a state becomes another: nothing, an outage with bounds, or silence for ever.

An outage is composed of named parts, each with the formula that it comes from. Those that run at the same time are in
one stage, and the longest counts; stages come one after another. What each part rests on:

- A port that comes to forward listens and learns first, a forward delay each: *direct* where its bridge notices at once
  (carrier is lost at its root port, a port comes up, better news arrive), *indirect* where old news must be forgotten
  first, which takes max age (IEEE 802.1D-1998, 8.5 and 8.6). The times are the root's, whose BPDUs carry them.
- A VRRP backup takes over when it has heard nothing for three adverts and its skew (RFC 3768, 6.1).
- A balancer gives up a server after `fall` checks, `inter` apart, and takes it back after `rise` (haproxy).
- Whoever asked for a virtual address before keeps the old MAC address until a gratuitous ARP reaches it. keepalived
  sends some on taking over and again five seconds later (garp_master_delay), and then again and again if told so
  (garp_master_refresh); those that meet a port that does not forward are lost, and then the entry must age (RFC 4861's
  neighbour states, which Linux uses for ARP too).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from trenza.model.names import Interface, NodeName
from trenza.model.state import HealthCheck, IpAddress, Macvlan, Process, State, Thing, Veth, Vxlan
from trenza.theory.frames import Frames, Leg
from trenza.theory.network import Network
from trenza.theory.spanning_tree import BridgePrediction, PortPrediction, SpanningTrees, spanning_trees
from trenza.theory.vrrp import Member, VirtualRouter, is_virtual, virtual_routers, with_virtual_addresses

CARRIER_S = 1.0
"""The kernel tells of a lost carrier within a second (net/core/link_watch.c)."""
HOLD_S = 1.75
"""The longest that a port waits after a BPDU until it sends another: BR_HOLD_TIME is a second, and its timer is rounded
to whole ones, up from a quarter on (net/bridge/br_stp.c, br_transmit_config; kernel/time/timer.c, round_jiffies)."""
REACHABLE_S = (15.0, 45.0)
"""How long Linux believes a neighbour: base_reachable_time of 30 s, halved to one and a half at random."""
PROBING_S = 5.0 + 3 * 1.0
"""delay_first_probe_time, then three probes of a second, then it asks everybody."""


class Fate(StrEnum):
    """What becomes of the traffic."""

    UNHARMED = "unharmed"
    OUTAGE = "outage"
    LOST = "lost"
    """For ever, or until somebody mends it."""
    LOST_BEFORE = "lost-before"
    """It did not arrive before either."""


class Cause(StrEnum):
    """What a part of an outage waits for."""

    STP_DIRECT = "stp-direct"
    STP_INDIRECT = "stp-indirect"
    VRRP = "vrrp"
    ARP = "arp"
    HEALTH_CHECK = "health-check"


class Note(StrEnum):
    """What a reader should know of a prediction."""

    STALE_FDB = "stale-fdb"
    """A bridge on the way sends to another port now: until it hears the addresses there it may use the old one."""
    OTHER_MASTER_MEANWHILE = "other-master-meanwhile"
    """While trees converge another master answers on this side; the outage ends when the first of both does."""
    ADDRESS_STAYS = "address-stays"
    """The old master's daemon has gone without a word: its node may go on answering, and then nothing is lost."""
    SOME_REQUESTS = "some-requests"
    """Only requests that go to a server that cannot be reached are lost."""
    SCRIPTS = "scripts"
    """The master tracks scripts: if one of them fails, another may take over, which no state tells."""
    TWINS = "twins"
    """Bridges with one id are on the way: nothing is certain."""


@dataclass(frozen=True, slots=True)
class Part:
    """One wait: about how long it takes, bounds, whom it concerns, and where the number comes from."""

    cause: Cause
    seconds: float
    low_s: float
    high_s: float
    node: NodeName
    at: Interface | None
    formula: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """What becomes of the traffic. `stages` follow each other; the parts of one run side by side.

    `low_s` and `high_s` bound the whole, 0 where nothing is lost and infinite where everything is. `why` says what is
    wrong for ever. `master_before` and `master_after` are who holds a virtual address.
    """

    fate: Fate
    stages: tuple[tuple[Part, ...], ...] = ()
    low_s: float = 0
    high_s: float = 0
    why: str | None = None
    notes: tuple[Note, ...] = ()
    master_before: NodeName | None = None
    master_after: NodeName | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(part for stage in self.stages for part in stage)

    @property
    def composition(self) -> str:
        """How the parts make the whole: `max(stp-indirect, vrrp) + health-check`."""
        stages: list[str] = []
        for stage in self.stages:
            names = list(dict.fromkeys(part.cause.value for part in stage))
            way = "min" if Note.OTHER_MASTER_MEANWHILE in self.notes and not stages else "max"
            stages.append(names[0] if len(names) == 1 else f"{way}({', '.join(names)})")
        return " + ".join(stages)


def as_declared(observed: State, wanted: State) -> State:
    """An observed state whose processes say what their configs make them do, which only the lab knows."""
    known = {thing: thing for thing in wanted if isinstance(thing, Process)}
    return State.of(known.get(thing, thing) if isinstance(thing, Process) else thing for thing in observed)


def predict_outage(before: State, after: State, source: NodeName, to: IpAddress, *, http: bool = False) -> Prediction:
    """What becomes of traffic from a node to an address when `before`, which had settled, becomes `after`.

    `to` may be a virtual address of VRRP. With `http`, whoever has it is a balancer if it checks servers, and an answer
    needs one of them.
    """
    return _Fault(before, after, source, to, http).prediction()


@dataclass(frozen=True)
class _Side:
    """A state with its masters' addresses, ready to be asked."""

    state: State
    routers: tuple[VirtualRouter, ...]
    frames: Frames

    @staticmethod
    def of(state: State, trees: SpanningTrees, incumbents: Collection[NodeName] = ()) -> _Side:
        routers = virtual_routers(state, incumbents)
        whole = with_virtual_addresses(state, routers)
        return _Side(whole, routers, Frames(whole, trees))

    @property
    def network(self) -> Network:
        return self.frames.network

    def holder(self, source: NodeName, to: IpAddress) -> NodeName:
        hops = self.network.path(source, to).hops
        return hops[-1].node if hops else source

    def legs(self, source: NodeName, to: IpAddress) -> tuple[Leg, ...]:
        """There and back."""
        return (*self.frames.legs(source, to), *self.frames.legs_back(source, to))

    def router_of(self, node: NodeName, to: IpAddress) -> VirtualRouter | None:
        """The virtual router whose member a node is, and which has the address."""
        for router in self.routers:
            if any(one.node == node for one in router.members) and any(one.ip == to for one in router.addresses):
                return router
        return None


class _Fault:
    def __init__(self, before: State, after: State, source: NodeName, to: IpAddress, http: bool) -> None:
        self._raw = (before, after)
        self._source, self._to, self._http = source, to, http
        self._trees = (spanning_trees(before), spanning_trees(after))
        self._before = _Side.of(before, self._trees[0])
        masters = {router.master.node for router in self._before.routers}
        self._after = _Side.of(after, self._trees[1], masters)
        self._notes: list[Note] = []

    def prediction(self) -> Prediction:
        path = self._before.network.path(self._source, self._to)
        if not path.arrives:
            return Prediction(Fate.LOST_BEFORE, why=path.wrong)
        virtual = is_virtual(self._raw[0], self._to)
        old = self._before.holder(self._source, self._to) if virtual else None
        path = self._after.network.path(self._source, self._to)
        if not path.arrives:
            return self._lost(path.wrong, old)
        new = self._after.holder(self._source, self._to)
        if self._http and (wrong := self._nobody_serves(new)) is not None:
            router = self._after.router_of(new, self._to)
            if router is not None and router.master.instance.scripts:
                self._notes.append(Note.SCRIPTS)
            return self._lost(wrong, old)
        if self._trees[0].twins or self._trees[1].twins:
            self._notes.append(Note.TWINS)
        first, low_s, high_s = self._network_stage(old, new)
        again: tuple[Part, ...] = ()
        if self._http:
            during, again = self._health(new)
            first = (*first, *during)
            low_s = max([low_s, *(part.low_s for part in during)])
            high_s = max([high_s, *(part.high_s for part in during)])
            low_s += max((part.low_s for part in again), default=0)
            high_s += max((part.high_s for part in again), default=0)
        stages = tuple(stage for stage in (first, again) if stage)
        return Prediction(
            Fate.OUTAGE if stages else Fate.UNHARMED,
            stages,
            low_s,
            high_s,
            None,
            tuple(dict.fromkeys(self._notes)),
            old,
            new if virtual else None,
        )

    def _lost(self, wrong: str | None, old: NodeName | None) -> Prediction:
        return Prediction(Fate.LOST, (), float("inf"), float("inf"), wrong, tuple(self._notes), old)

    # Trees and routers

    def _network_stage(self, old: NodeName | None, new: NodeName) -> tuple[tuple[Part, ...], float, float]:
        """What runs side by side at first, with bounds on all of it."""
        self._note_stale()
        stp = tuple(_worst(self._stp_parts(self._after.legs(self._source, self._to))))
        moved = old is not None and new != old
        vrrp = self._failover(old, new) if moved and old is not None else ()
        parts = (*stp, *vrrp)
        if not parts:
            return (), 0, 0
        low_s, high_s = max(part.low_s for part in parts), max(part.high_s for part in parts)
        if old is not None and not moved and stp:
            other = self._meanwhile(old)
            if other is not None and other.low_s < high_s:
                self._notes.append(Note.OTHER_MASTER_MEANWHILE)
                return (*stp, other), min(low_s, other.low_s), min(high_s, other.high_s)
        if vrrp and stp:
            arp = self._arp(stp, vrrp[0], self._after.router_of(new, self._to))
            if arp is not None:
                parts, high_s = (*parts, arp), max(high_s, arp.high_s)
        return parts, low_s, high_s

    def _note_stale(self) -> None:
        was = {hop.bridge: hop for leg in self._before.legs(self._source, self._to) for hop in leg.frame.hops}
        for leg in self._after.legs(self._source, self._to):
            for hop in leg.frame.hops:
                old = was.get(hop.bridge)
                if old is not None and {old.enters, old.leaves} != {hop.enters, hop.leaves}:
                    self._notes.append(Note.STALE_FDB)

    def _stp_parts(self, legs: Iterable[Leg]) -> Iterator[Part]:
        """A part for each port on the way that did not forward before."""
        before, after = self._trees
        for port in dict.fromkeys(port for leg in legs for port in leg.ports()):
            if before.forwards(port):
                continue
            said = after.ports[port]
            bridge = after.bridges[Interface(port.node, said.bridge)]
            if bridge.stp:
                yield stp_part(said, bridge, before, after)

    def _failover(self, old: NodeName, new: NodeName) -> tuple[Part, ...]:
        """The wait for the backup that wins, if the old master is not there to serve until then."""
        router = self._after.router_of(new, self._to)
        if router is None or any(one.node == old for one in router.members):
            return ()  # it hears the old master, which serves until it yields
        part = _vrrp_part(router.master)
        if self._still_reachable(old):
            self._notes.append(Note.ADDRESS_STAYS)
            part = replace(part, low_s=0.0)
        return (part,)

    def _still_reachable(self, old: NodeName) -> bool:
        """Whether the old master's node is where it was, only its daemon is not."""
        router = self._before.router_of(old, self._to)
        member = None if router is None else next((one for one in router.members if one.node == old), None)
        if member is None:
            return False
        alive = any(
            isinstance(thing, Process) and thing.node == old and thing.name == member.process for thing in self._raw[1]
        )
        others = (ip for interface, ip in self._after.network.addresses() if interface == member.interface)
        return not alive and any(self._after.network.path(self._source, ip).arrives for ip in others)

    def _meanwhile(self, old: NodeName) -> Part | None:
        """The wait for another member that the source reaches while the trees change, if there is one."""
        before, after = self._trees
        steady = {port for port in after.ports if before.forwards(port) and after.forwards(port)}
        state = _without(self._raw[1], set(after.ports) - steady)
        side = _Side.of(state, spanning_trees(state))
        if not side.network.path(self._source, self._to).arrives:
            return None
        there = side.holder(self._source, self._to)
        router = side.router_of(there, self._to)
        return None if router is None or there == old else _vrrp_part(router.master)

    def _arp(self, stp: tuple[Part, ...], vrrp: Part, router: VirtualRouter | None) -> Part | None:
        """The wait for the source to learn the new master's MAC address, if a gratuitous ARP may have been lost."""
        silent_s = max(part.high_s for part in stp)
        if silent_s < vrrp.low_s or router is None:
            return None
        delay_s, refresh_s = router.master.instance.garp_delay_s, router.master.instance.garp_refresh_s
        if silent_s < vrrp.low_s + delay_s:
            seconds, high_s = vrrp.seconds + delay_s, vrrp.high_s + delay_s
            formula = f"VRRP + garp_master_delay = {seconds:.4g} s"
        elif refresh_s:
            seconds, high_s = refresh_s, silent_s + refresh_s
            formula = f"garp_master_refresh = {refresh_s:g} s"
        else:
            low_s, high_s = (reachable + PROBING_S for reachable in REACHABLE_S)
            seconds = (low_s + high_s) / 2
            formula = f"reachable time + 5 s + 3 × 1 s = {low_s:g} to {high_s:g} s"
        return Part(Cause.ARP, seconds, 0, max(high_s, silent_s), self._source, None, formula)

    # Balancers

    def _nobody_serves(self, node: NodeName) -> str | None:
        """Why no request is answered at a balancer."""
        balancers = _balancers(self._raw[1], node)
        if not balancers:
            used_to = _balancers(self._raw[0], self._before.holder(self._source, self._to))
            return f"no balancer runs in {node}" if used_to else None
        checks = [check for process in balancers for check in process.health_checks]
        if not any(self._serves(self._after, node, check) for check in checks):
            return f"{node} reaches none of its servers"
        return None

    def _serves(self, side: _Side, node: NodeName, check: HealthCheck) -> bool:
        return self._reaches(side, node, check) and not self._refuses(side, node, check)

    def _reaches(self, side: _Side, node: NodeName, check: HealthCheck) -> bool:
        return node in side.state.nodes and side.network.path(node, check.address).arrives

    def _refuses(self, side: _Side, node: NodeName, check: HealthCheck) -> bool:
        """Whether a server that can be reached has lost a process: then nobody listens there any more."""
        hops = side.network.path(node, check.address).hops
        server = hops[-1].node if hops else node
        ran = {thing.key for thing in self._raw[0] if isinstance(thing, Process) and thing.node == server}
        return not ran <= side.state.things.keys()

    def _health(self, node: NodeName) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
        """What requests wait for besides: while the trees change, and after that."""
        checks = [check for process in _balancers(self._raw[1], node) for check in process.health_checks]
        checks = [check for check in checks if self._serves(self._before, node, check)]
        gone = [check for check in checks if not self._serves(self._after, node, check)]
        waits = {
            check: parts
            for check in checks
            if check not in gone
            if (parts := tuple(_worst(self._stp_parts(self._after.legs(node, check.address)))))
        }
        whole = len(gone) + len(waits) < len(checks)
        if whole:
            during = [_fall_part(check, node, (), refused=self._reaches(self._after, node, check)) for check in gone]
            during += [_fall_part(check, node, parts) for check, parts in waits.items()]
            if during:
                self._notes.append(Note.SOME_REQUESTS)
            return tuple(_worst(sorted(during, key=lambda part: -part.high_s))), ()
        if not waits:
            return (), ()
        check, parts = min(waits.items(), key=lambda one: max(part.high_s for part in one[1]))
        marked_down = max(part.high_s for part in parts) > (check.fall - 1) * check.inter_s
        return parts, (_rise_part(check, node),) if marked_down else ()


def _fall_part(check: HealthCheck, node: NodeName, parts: tuple[Part, ...], *, refused: bool = False) -> Part:
    """The wait until a server is given up; or, if that is sooner, until it is reached again.

    A check that is refused fails at once. One that is not answered waits for its time, `inter` without `timeout check`,
    and the next begins `inter` later: 10 to 12 s with haproxy's defaults.
    """
    if refused:
        seconds = check.fall * check.inter_s
        formula = f"fall × inter = {check.fall} × {check.inter_s:g} s = {seconds:g} s"
    else:
        seconds = check.fall * 2 * check.inter_s
        formula = f"fall × (inter + its timeout) = {check.fall} × 2 × {check.inter_s:g} s = {seconds:g} s"
    low_s, high_s = seconds - check.inter_s, seconds
    if parts:
        quicker = max(parts, key=lambda part: part.high_s)
        if quicker.high_s < low_s:
            return quicker
        low_s, high_s = min(low_s, quicker.low_s), min(high_s, quicker.high_s)
    return Part(Cause.HEALTH_CHECK, seconds, low_s, high_s, node, None, formula)


def _rise_part(check: HealthCheck, node: NodeName) -> Part:
    """The wait until a server that was given up and can be reached again is taken back."""
    seconds = check.rise * check.inter_s
    formula = f"rise × inter = {check.rise} × {check.inter_s:g} s = {seconds:g} s"
    return Part(Cause.HEALTH_CHECK, seconds, 0, seconds, node, None, formula)


def _balancers(state: State, node: NodeName) -> list[Process]:
    return [thing for thing in state if isinstance(thing, Process) and thing.node == node and thing.health_checks]


def _vrrp_part(winner: Member) -> Part:
    advert_s, priority = winner.instance.advert_s, winner.instance.priority
    high_s = winner.master_down_s
    formula = f"3 × advert_int + (256 − {priority})/256 = {high_s:.4g} s"
    return Part(
        Cause.VRRP, high_s, high_s - advert_s, high_s + advert_s / 2, winner.node, winner.interface, formula
    )  # fmt: skip


def stp_part(said: PortPrediction, bridge: BridgePrediction, before: SpanningTrees, after: SpanningTrees) -> Part:
    """The wait of a port that did not forward before and does after."""
    was = before.bridges.get(bridge.interface)
    delay_s, hello_s, age_s = bridge.forward_delay_s, bridge.hello_time_s, bridge.max_age_s
    if was is not None and was.stp and was.up:  # the times that the port goes by until it hears of others
        delay_s, hello_s, age_s = was.forward_delay_s, was.hello_time_s, was.max_age_s
    low_s, high_s = (2 * one for one in sorted((delay_s, bridge.forward_delay_s)))
    where = (said.interface.node, said.interface)
    if notices_at_once(said, before, after):
        formula = f"2 × forward delay = {2 * delay_s:g} s"
        return Part(Cause.STP_DIRECT, 2 * delay_s, low_s, high_s + hello_s + CARRIER_S, *where, formula)
    formula = f"max age + 2 × forward delay = {age_s + 2 * delay_s:g} s"
    low_s += max(age_s - hello_s - _late_s(said.interface, bridge.interface, before), 0)
    return Part(Cause.STP_INDIRECT, age_s + 2 * delay_s, low_s, high_s + age_s + hello_s, *where, formula)


def _late_s(port: Interface, bridge: Interface, before: SpanningTrees) -> float:
    """How old the root's news may be when they come to a bridge, which then forgets them sooner.

    A bridge relays a hello at once, but never two within its hold time: hellos that come every second wait for it at
    each bridge on their way.
    """
    was = before.bridges.get(bridge)
    if was is None or was.hello_time_s > HOLD_S:
        return 0
    ports = [port] if was.root_port is None else [port, Interface(bridge.node, was.root_port)]
    by_id = {one.bridge_id: one for one in before.bridges.values()}
    relays = 0
    for one in ports:
        said = before.ports.get(one)
        at = None if said is None else by_id.get(said.designated_bridge)
        count = 0
        while at is not None and at.root_port is not None and count < len(by_id):
            count += 1
            at = by_id.get(before.ports[Interface(at.interface.node, at.root_port)].designated_bridge)
        relays = max(relays, count)
    return relays * HOLD_S


def notices_at_once(said: PortPrediction, before: SpanningTrees, after: SpanningTrees) -> bool:
    """Whether a port that comes to forward begins to do so at once, and not only when old news are forgotten."""
    at = Interface(said.interface.node, said.bridge)
    was, port_was = before.bridges.get(at), before.ports.get(said.interface)
    if was is None or not was.stp or not was.up or port_was is None or port_was.state == "disabled":
        return True  # the bridge or the port begins anew
    now = after.bridges[at]
    if (now.root_id, now.root_path_cost) < (was.root_id, was.root_path_cost):
        return True  # better news than it had
    lost = was.root_port is not None and _is_disabled(after, Interface(at.node, was.root_port))
    if lost and _next_root_port(was, after) == said.interface:
        return True  # the next best way is taken, whatever becomes of that news later
    if said.role == "root" or lost:
        return False
    own = (now.root_id, now.root_path_cost, now.bridge_id, said.port_id)
    heard = (port_was.designated_root, port_was.designated_cost, port_was.designated_bridge, port_was.designated_port)
    return own < heard


def _is_disabled(trees: SpanningTrees, port: Interface) -> bool:
    said = trees.ports.get(port)
    return said is None or said.state == "disabled"


def _next_root_port(was: BridgePrediction, after: SpanningTrees) -> Interface | None:
    """What a bridge takes for its root port when it loses the one it has: the best that its other ports have heard.

    A backup port has heard the bridge's own offer, made with the root port that is lost: Linux believes it until max
    age (net/bridge/br_stp.c, br_should_become_root_port), and a cable from a bridge to itself so delays what is direct
    else.
    """
    heard = [
        port
        for port in was.ports
        if port.role in ("alternate", "backup") and not _is_disabled(after, port.interface)
    ]  # fmt: skip
    best = min(
        heard,
        key=lambda port: (
            port.designated_root,
            port.designated_cost + port.cost,
            port.designated_bridge,
            port.designated_port,
            port.port_id,
        ),
        default=None,
    )
    return None if best is None else best.interface


def _worst(parts: Iterable[Part]) -> Iterator[Part]:
    """Of parts with one cause and one formula the first."""
    seen: set[tuple[Cause, str]] = set()
    for part in parts:
        if (part.cause, part.formula) not in seen:
            seen.add((part.cause, part.formula))
            yield part


def _without(state: State, ports: Collection[Interface]) -> State:
    """The state with some ports down: what frames can cross while those do not forward."""
    things: list[Thing] = []
    for thing in state:
        match thing:
            case Veth(a, b):
                ends = (replace(end, up=end.up and end.interface not in ports) for end in (a, b))
                things.append(Veth(*ends))
            case Vxlan(interface) | Macvlan(interface) if interface in ports:
                things.append(replace(thing, up=False))
            case _:
                things.append(thing)
    return State.of(things)
