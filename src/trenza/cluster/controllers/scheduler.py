"""The scheduler: a node for every pod that has none, or the reason why there is none, in the words of the real one.

First the nodes on which the pod can run: schedulable, taints tolerated, selector and affinity matched, host ports
free, resources left, spread constraints kept, required pod affinity and anti-affinity met. Of these the best: little
used, few siblings, preferred affinity, few taints; of equal ones the emptier and then the first by name, so that the
same snapshot gives the same answer. Nothing is preempted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trenza.cluster.controllers.matching import (
    NO_EXECUTE,
    NO_SCHEDULE,
    PREFER_NO_SCHEDULE,
    UNSCHEDULABLE_TAINT,
    find_untolerated,
    matches,
    pod_selects_node,
    taints_of,
    term_matches_node,
    tolerates,
)
from trenza.cluster.controllers.objects import (
    Object,
    condition_of,
    controller_of,
    created_s,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    spec_of,
    status_of,
    with_condition,
    with_status,
)
from trenza.cluster.controllers.pods import is_finished, node_of
from trenza.cluster.controllers.quantities import amounts, pod_requests
from trenza.cluster.controllers.snapshot import NODES, PODS, Snapshot
from trenza.cluster.controllers.writes import Bind, Event, Step, UpdateStatus, each

COMPONENT = "default-scheduler"
DEFAULT_CPU, DEFAULT_MEMORY = 100, 200 * 1024 * 1024 * 1000  # thousandths: what a pod without requests weighs

UNSCHEDULABLE = "node(s) were unschedulable"
AFFINITY = "node(s) didn't match Pod's node affinity/selector"
PORTS = "node(s) didn't have free ports for the requested pod ports"
TOO_MANY = "Too many pods"
SPREAD = "node(s) didn't match pod topology spread constraints"
SPREAD_LABEL = "node(s) didn't match pod topology spread constraints (missing required label)"
POD_AFFINITY = "node(s) didn't match pod affinity rules"
POD_ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
EXISTING_ANTI_AFFINITY = "node(s) didn't satisfy existing pods anti-affinity rules"
NO_HELP = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"


def schedule(snapshot: Snapshot, now_s: float) -> Iterator[Step]:
    waiting = [pod for pod in snapshot[PODS].values() if is_waiting(pod)]
    if not waiting:
        return
    board = _Board(snapshot)

    def decide(pod: Object) -> Iterator[Step]:
        request = _Request.of(pod)
        refusals = board.refusals(request)
        if len(refusals) < len(board.rooms):
            room = board.best(request, [r for r in board.rooms if r.name not in refusals])
            message = f"Successfully assigned {namespace_of(pod)}/{name_of(pod)} to {room.name}"
            yield Bind(pod, room.name, (Event(pod, "Scheduled", message, COMPONENT),))
            board.place(request, room)
        else:
            yield from _refused(pod, refusal_words(refusals), now_s)

    yield from each(
        sorted(waiting, key=lambda pod: (-_priority(pod), created_s(pod), namespace_of(pod), name_of(pod))), decide
    )


def is_waiting(pod: Object) -> bool:
    """It is ours to schedule."""
    spec = spec_of(pod)
    return (
        not node_of(pod)
        and not is_deleting(pod)
        and not is_finished(pod)
        and not spec.get("schedulingGates")
        and spec.get("schedulerName", COMPONENT) == COMPONENT
    )


def _refused(pod: Object, message: str, now_s: float) -> Iterator[Step]:
    """Said in the pod's condition, and as an event whenever the words change."""
    said = condition_of(pod, "PodScheduled")
    if said is not None and said.get("status") == "False" and said.get("message") == message:
        return
    wanted = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    conditions = with_condition(status_of(pod).get("conditions") or (), {"lastProbeTime": None, **wanted}, now_s)
    told = Event(pod, "FailedScheduling", message, COMPONENT, warning=True)
    yield UpdateStatus(PODS, with_status(pod, {"conditions": conditions}), (told,))


def refusal_words(refusals: Mapping[str, Sequence[str]]) -> str:
    """Why no node can take a pod, as `kubectl describe` shows it; `refusals` has the reasons of every node."""
    total = len(refusals)
    if not total:
        return "no nodes available to schedule pods"
    counted = Counter(reason for reasons in refusals.values() for reason in reasons)
    reasons = ", ".join(sorted(f"{count} {reason}" for reason, count in counted.items()))
    help_words = Counter(NO_HELP if _is_final(reasons) else NO_VICTIMS for reasons in refusals.values())
    preemption = ", ".join(sorted(f"{count} {words}" for words, count in help_words.items()))
    lead = f"0/{total} nodes are available"
    return f"{lead}: {reasons}. preemption: {lead}: {preemption}.."


def _is_final(reasons: Sequence[str]) -> bool:
    """No pod's going would let this one in."""
    return any(
        reason in (UNSCHEDULABLE, AFFINITY, SPREAD_LABEL, POD_AFFINITY) or reason.startswith("node(s) had untolerated")
        for reason in reasons
    )


def _priority(pod: Object) -> int:
    return int(spec_of(pod).get("priority") or 0)


HostPort = tuple[str, str, int]  # address ("0.0.0.0" for all), protocol, number


@dataclass(frozen=True, slots=True)
class _Request:
    """What a pod asks of a node, read once."""

    pod: Object
    spec: Mapping[str, Any]
    needs: Mapping[str, int]
    weight: tuple[int, int]
    ports: tuple[HostPort, ...]
    siblings: object

    @staticmethod
    def of(pod: Object) -> _Request:
        spec = spec_of(pod)
        needs = {**pod_requests(spec), "pods": 1000}
        weight = needs.get("cpu", 0) or DEFAULT_CPU, needs.get("memory", 0) or DEFAULT_MEMORY
        owner = controller_of(pod)
        alike = owner["uid"] if owner is not None else (namespace_of(pod), frozenset(labels_of(pod).items()))
        return _Request(pod, spec, needs, weight, tuple(_host_ports(spec)), alike)


def _host_ports(spec: Mapping[str, Any]) -> Iterator[HostPort]:
    for container in spec.get("containers") or ():
        for port in container.get("ports") or ():
            number = port.get("hostPort") or (port["containerPort"] if spec.get("hostNetwork") else None)
            if number:
                yield port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", int(number)


@dataclass(slots=True)
class _Room:
    """A node with what is left of it while pods are being placed."""

    node: Object
    name: str
    capacity: Mapping[str, int]
    used: dict[str, int] = field(default_factory=dict)
    weight: list[int] = field(default_factory=lambda: [0, 0])
    ports: list[HostPort] = field(default_factory=list)
    siblings: Counter[object] = field(default_factory=Counter)
    pods: list[Object] = field(default_factory=list)

    def take(self, request: _Request) -> None:
        for resource, amount in request.needs.items():
            self.used[resource] = self.used.get(resource, 0) + amount
        self.weight[0] += request.weight[0]
        self.weight[1] += request.weight[1]
        self.ports.extend(request.ports)
        self.siblings[request.siblings] += not is_deleting(request.pod)
        self.pods.append(request.pod)

    def lacking(self, request: _Request) -> list[str]:
        found = []
        for resource, amount in request.needs.items():
            free = self.capacity.get(resource, 0) - self.used.get(resource, 0)
            if amount > free and resource == "pods":
                found.append(TOO_MANY)
            elif amount > free and amount:
                found.append(f"Insufficient {resource}")
        return found

    def clashes(self, ports: Iterable[HostPort]) -> bool:
        return any(
            wanted[1:] == taken[1:] and (wanted[0] == taken[0] or "0.0.0.0" in (wanted[0], taken[0]))
            for wanted in ports
            for taken in self.ports
        )

    def usage_score(self, request: _Request) -> float:
        """0 to 100 twice: how little is used with the pod on it, and how evenly of CPU and memory."""
        shares = []
        for place, resource in enumerate(("cpu", "memory")):
            whole = self.capacity.get(resource, 0)
            shares.append(min(1.0, (self.weight[place] + request.weight[place]) / whole) if whole else 1.0)
        least = sum(1 - share for share in shares) / 2
        return 100 * least + 100 * (1 - abs(shares[0] - shares[1]) / 2)


class _Board:
    """Every node with what is on it; pods are put on it as they are decided."""

    def __init__(self, snapshot: Snapshot) -> None:
        nodes = sorted(snapshot[NODES].values(), key=name_of)
        self.rooms = [
            _Room(node, name_of(node), amounts(status_of(node).get("allocatable") or status_of(node).get("capacity")))
            for node in nodes
            if not is_deleting(node)
        ]
        self.by_name = {room.name: room for room in self.rooms}
        self.repelling: list[tuple[Object, _Room]] = []  # placed pods with required anti-affinity, and where
        self.static: dict[object, dict[str, str]] = {}
        for pod in snapshot[PODS].values():
            room = self.by_name.get(node_of(pod))
            if room is not None and not is_finished(pod):
                self.place(_Request.of(pod), room)

    def place(self, request: _Request, room: _Room) -> None:
        room.take(request)
        if _pod_terms(request.spec, "podAntiAffinity"):
            self.repelling.append((request.pod, room))

    def refusals(self, request: _Request) -> dict[str, list[str]]:
        """Why each node that cannot take the pod cannot, by name: the reasons of the first test that it fails."""
        static = self._static(request)
        found: dict[str, list[str]] = {}
        for room in self.rooms:
            if room.name in static:
                found[room.name] = [static[room.name]]
            elif room.clashes(request.ports):
                found[room.name] = [PORTS]
            elif lacking := room.lacking(request):
                found[room.name] = lacking
        self._spread_refusals(request, static, found)
        self._neighbour_refusals(request, found)
        return found

    def _static(self, request: _Request) -> Mapping[str, str]:
        """What no placing changes, kept for all pods that ask the same."""
        spec = request.spec
        node_affinity = (spec.get("affinity") or {}).get("nodeAffinity")
        asked = repr((spec.get("nodeSelector"), node_affinity, spec.get("tolerations")))
        if asked not in self.static:
            self.static[asked] = {
                room.name: reason for room in self.rooms if (reason := _static_reason(spec, room.node)) is not None
            }
        return self.static[asked]

    def _spread_refusals(self, request: _Request, static: Mapping[str, str], found: dict[str, list[str]]) -> None:
        for constraint in request.spec.get("topologySpreadConstraints") or ():
            if constraint.get("whenUnsatisfiable", "DoNotSchedule") != "DoNotSchedule":
                continue
            counts = self._domain_counts(request, constraint, [r for r in self.rooms if static.get(r.name) != AFFINITY])
            fewest = min(counts.values(), default=0)
            if len(counts) < int(constraint.get("minDomains") or 1):
                fewest = 0
            self_match = matches(constraint.get("labelSelector"), labels_of(request.pod))
            for room in self.rooms:
                if room.name in found:
                    continue
                domain = labels_of(room.node).get(constraint["topologyKey"])
                if domain is None:
                    found[room.name] = [SPREAD_LABEL]
                elif counts.get(domain, 0) + self_match - fewest > int(constraint["maxSkew"]):
                    found[room.name] = [SPREAD]

    def _domain_counts(
        self, request: _Request, constraint: Mapping[str, Any], rooms: Iterable[_Room]
    ) -> dict[str, int]:
        """How many pods of the request's namespace the constraint counts in each domain."""
        counts: dict[str, int] = {}
        for room in rooms:
            domain = labels_of(room.node).get(constraint["topologyKey"])
            if domain is not None:
                matching = sum(
                    namespace_of(pod) == namespace_of(request.pod)
                    and not is_deleting(pod)
                    and matches(constraint.get("labelSelector"), labels_of(pod))
                    for pod in room.pods
                )
                counts[domain] = counts.get(domain, 0) + matching
        return counts

    def _neighbour_refusals(self, request: _Request, found: dict[str, list[str]]) -> None:
        """Required affinity and anti-affinity between pods, the placed ones' anti-affinity included."""
        near, far = _pod_terms(request.spec, "podAffinity"), _pod_terms(request.spec, "podAntiAffinity")
        if not (near or far or self.repelling):
            return
        for terms, wanted, reason in ((near, True, POD_AFFINITY), (far, False, POD_ANTI_AFFINITY)):
            for term in terms:
                domains = self._term_domains(request.pod, term)
                # The first of a group that wants to be together finds none of it anywhere, and may begin.
                first = wanted and not domains and _term_matches(request.pod, term, request.pod)
                for room in self.rooms:
                    domain = labels_of(room.node).get(term["topologyKey"])
                    lonely = domain is None if first else (domain in domains) is not wanted
                    if wanted and domain is None:
                        lonely = True
                    if lonely and room.name not in found:
                        found[room.name] = [reason]
        for pod, placed in self.repelling:
            for term in _pod_terms(spec_of(pod), "podAntiAffinity"):
                domain = labels_of(placed.node).get(term["topologyKey"])
                if domain is None or not _term_matches(pod, term, request.pod):
                    continue
                for room in self.rooms:
                    if labels_of(room.node).get(term["topologyKey"]) == domain and room.name not in found:
                        found[room.name] = [EXISTING_ANTI_AFFINITY]

    def _term_domains(self, pod: Object, term: Mapping[str, Any]) -> set[str]:
        """The domains in which a pod that the term matches is placed."""
        return {
            domain
            for room in self.rooms
            if (domain := labels_of(room.node).get(term["topologyKey"])) is not None
            and any(_term_matches(pod, term, other) for other in room.pods)
        }

    def best(self, request: _Request, rooms: Sequence[_Room]) -> _Room:
        """The room with the highest score; of equal ones the one with the fewest pods, then the first by name."""
        most = max(room.siblings[request.siblings] for room in rooms)
        soft = [
            constraint
            for constraint in request.spec.get("topologySpreadConstraints") or ()
            if constraint.get("whenUnsatisfiable") == "ScheduleAnyway"
        ]
        softly = [(constraint, self._domain_counts(request, constraint, rooms)) for constraint in soft]
        preferred = _preferred(request.spec)
        tolerations = request.spec.get("tolerations") or ()

        def score(room: _Room) -> tuple[float, int]:
            points = room.usage_score(request)
            if most:
                points += 200 * (1 - room.siblings[request.siblings] / most)
            for constraint, counts in softly:
                domain = labels_of(room.node).get(constraint["topologyKey"], "")
                whole = max(counts.values(), default=0)
                points += 200 * (1 - counts.get(domain, whole) / whole) if whole else 0
            if preferred:
                whole = sum(weight for weight, _ in preferred)
                points += 200 * sum(w for w, term in preferred if term_matches_node(term, room.node)) / max(1, whole)
            unliked = [taint for taint in taints_of(room.node) if taint["effect"] == PREFER_NO_SCHEDULE]
            points -= 300 * any(not any(tolerates(each, taint) for each in tolerations) for taint in unliked)
            return round(points, 6), -len(room.pods)

        return max(rooms, key=score)


def _static_reason(spec: Mapping[str, Any], node: Object) -> str | None:
    tolerations = spec.get("tolerations") or ()
    if spec_of(node).get("unschedulable") and not any(tolerates(each, UNSCHEDULABLE_TAINT) for each in tolerations):
        return UNSCHEDULABLE
    taint = find_untolerated(taints_of(node), tolerations, (NO_SCHEDULE, NO_EXECUTE))
    if taint is not None:
        return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value') or ''}}}"
    return None if pod_selects_node(spec, node) else AFFINITY


def _preferred(spec: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    return [
        (int(each["weight"]), each["preference"])
        for each in affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    ]


def _pod_terms(spec: Mapping[str, Any], kind: str) -> Sequence[Mapping[str, Any]]:
    affinity = (spec.get("affinity") or {}).get(kind) or {}
    return affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ()


def _term_matches(holder: Object, term: Mapping[str, Any], other: Object) -> bool:
    """The affinity term of `holder` means `other`; without namespaces it means those of its own."""
    namespaces = term.get("namespaces") or [namespace_of(holder)]
    every = term.get("namespaceSelector") == {}
    return (every or namespace_of(other) in namespaces) and matches(term.get("labelSelector"), labels_of(other))
