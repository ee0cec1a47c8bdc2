"""A scene: one look at the lab, with which questions are asked and answers explained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface, ip_network

from trenza.check.counterparts import Counterparts
from trenza.check.explain import Explainer
from trenza.check.verdict import NOTHING, Said
from trenza.engine.engine import Engine
from trenza.keeper.absent import Absent
from trenza.keeper.pods import Pods
from trenza.linux.nodes import NodeHandle
from trenza.model.checks import Asker, ClusterService, Pod, Spot
from trenza.model.measurements import Measurements
from trenza.model.names import Interface, Mac, NodeName, bare_name, is_uplink
from trenza.model.state import Address, IpAddress, Route, State, Sysctl, Thing
from trenza.theory.network import FORWARDING_SYSCTLS
from trenza.theory.outage import as_declared


@dataclass(slots=True)
class Scene:
    """What is there now, beside the reference solution."""

    counterparts: Counterparts
    explainer: Explainer
    observed: State
    measured: Measurements
    handles: Mapping[NodeName, NodeHandle]
    pods: Pods | None = None
    """Those of the lab's cluster, for questions that are about any."""
    owners: Mapping[Mac, Interface] = field(init=False)

    def __post_init__(self) -> None:
        self.owners = {one.mac: one.interface for one in self.measured.links if one.kind != "loopback"}

    @property
    def moving(self) -> bool:
        """Whether a spanning tree is converging."""
        return bool(self.explainer.moving())

    # ------------------------------------------------------------------ who and where; all raise Absent
    def handle(self, name: Asker) -> NodeHandle:
        """The living node that a name of the reference solution means, or the pod."""
        if isinstance(name, Pod):
            return self._pods(name).handle(name)
        node = self.counterparts.find_node(name)
        if node is None:
            host, slash, bare = name.rpartition("/")
            there = self.counterparts.find_node(NodeName(host)) if slash else None
            said = Said(
                f"there is no {bare} in {there or host} yet" if slash else f"there is no {name}",
                f"aún no hay {bare} en {there or host}" if slash else f"no hay {name}",
            )
            made = f"trenza launch {there or host} {bare}"
            raise Absent(said, Said(made, made) if slash else NOTHING)
        found = self.handles.get(node)
        if found is None:
            start = f"trenza start {node}"
            raise Absent(Said(f"{node} is not running", f"{node} no está en marcha"), Said(start, start))
        return found

    def interface(self, interface: Interface) -> Interface:
        self.handle(interface.node)
        found = self.counterparts.find_interface(interface)
        if found is None:
            node = self.counterparts.say(interface.node)
            raise Absent(Said(f"{node} has no {interface.nic}", f"{node} no tiene {interface.nic}"))
        return found

    def address(self, spot: Spot, source: NodeName | None = None) -> IpAddress:
        """One address of a spot; of several the first that theory says `source` can reach."""
        if isinstance(spot, Pod | ClusterService):
            return self._pods(spot).address(spot)
        if source is not None and source not in self.handles:
            source = None  # a pod: theory knows nothing of it
        if source is not None and (lacks := self.explainer.lacks(source)):
            raise Absent(lacks, _joined(source) if not self.explainer.faces(source) else NOTHING)
        if isinstance(spot, Interface):
            self.interface(spot)
        elif isinstance(spot, str):
            self.handle(spot)
        addresses = self.counterparts.addresses(spot)
        if not addresses:
            who = self.counterparts.say(spot)
            lacks = self.explainer.lacks(NodeName(who)) if isinstance(spot, str) else NOTHING
            bare = bool(lacks) and not self.explainer.faces(NodeName(who))
            raise Absent(
                lacks or Said(f"{who} has no address", f"{who} no tiene dirección"),
                _joined(NodeName(who)) if bare else NOTHING,
            )
        if source is None or len(addresses) == 1:
            return addresses[0]
        return next((one for one in addresses if self.explainer.arrives(source, one)), addresses[0])

    def addresses(self, spot: Spot) -> tuple[IpAddress, ...]:
        """All that a spot may be reached by; none where nobody has any."""
        if isinstance(spot, Pod | ClusterService):
            return (self._pods(spot).address(spot),)
        return self.counterparts.addresses(spot)

    def _pods(self, meant: Pod | ClusterService) -> Pods:
        if self.pods is None:
            raise Absent(Said(f"there is no cluster for {meant}", f"no hay clúster para {meant}"))
        return self.pods

    def node(self, name: Asker) -> NodeName:
        return self.handle(name).node.name

    def macs(self, spot: Spot) -> frozenset[Mac]:
        """The MAC addresses of a spot's interfaces."""
        if isinstance(spot, Pod | ClusterService):  # as docker has it: 02:42 and the address
            return frozenset({Mac(f"02:42:{self._pods(spot).address(spot).packed.hex(':')}")})
        at = set(self.counterparts.interfaces_of(spot))
        return frozenset(mac for mac, interface in self.owners.items() if interface in at)

    def say(self, spot: Spot) -> str:
        """A spot for people: by its bare name where that is all it takes."""
        if isinstance(spot, Pod | ClusterService):
            return self._pods(spot).say(spot)
        said = self.counterparts.say(spot)
        node, dot, nic = said.partition(".") if isinstance(spot, Interface) else (said, "", "")
        names = [bare_name(one) for one in self.handles]
        bare = bare_name(node)
        return (bare if names.count(bare) <= 1 else node) + dot + nic

    def answers_for(self, ip: IpAddress) -> bool:
        """Whether some living node has an address."""
        owners = self.counterparts.interfaces_of(ip)
        return any(one.node in self.handles for one in owners)


def _joined(node: NodeName) -> Said:
    """How a bare container gets an interface."""
    host, slash, bare = node.rpartition("/")
    if not slash:
        return NOTHING
    typed = f"trenza exec {host} -- ip link add v-{bare[:12]} type veth peer name eth0 netns PID"
    return Said(
        f"{typed}   (PID: trenza exec {host} -- lxc info {bare})",
        f"{typed}   (PID: trenza exec {host} -- lxc info {bare})",
    )


def _leased(measured: Measurements) -> Iterator[Thing]:
    """What DHCP gave: addresses and routes that are nobody's configuration, and carry traffic all the same."""
    for one in measured.addresses:
        if one.origin == "dhcp":
            yield Address(one.interface, ip_interface(one.address))
    for route in measured.routes:
        if route.protocol == "dhcp":
            to = ip_network("0.0.0.0/0" if route.to == "default" else route.to)
            yield Route(route.node, to, None if route.via is None else ip_address(route.via), route.dev, route.metric)


def look(engine: Engine, reference: State, given: Mapping[NodeName, NodeName]) -> Scene:
    """Look at everything once. Of sysctls, those that forward count, whoever set them."""
    declared = engine.declared
    handles = {name: handle for name, handle in engine.nodes.alive().items() if not is_uplink(name)}
    known = set(declared.things)
    forwarding = [
        Sysctl(node, name, "") for node in handles for name in FORWARDING_SYSCTLS.values()
    ]  # fmt: skip
    expected = State.of([*declared, *(one for one in forwarding if one.key not in known)])
    observed = as_declared(engine.kernel.observe(expected), declared)
    measured = engine.measure()
    observed = State.of([*observed, *_leased(measured)])
    faults = [] if engine.faults is None else [active.text for active in engine.faults.active]
    return Scene(
        Counterparts(reference, observed, given, declared.nodes),
        Explainer(observed, measured, faults),
        observed,
        measured,
        handles,
    )
