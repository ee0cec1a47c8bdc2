"""Explanations: the first thing wrong on a packet's way, by configuration and, where that is right, by what was learnt.

Theory walks the observed configuration. Where it says that a packet arrives and none did, the kernel's own tables say
where it stays: a port that does not forward yet, an address that nobody answers for, a fault in effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trenza.check.verdict import NOTHING, Said
from trenza.model.measurements import Measurements
from trenza.model.names import Interface, NodeName
from trenza.model.state import Address, Bridge, IpAddress, Loopback, NodeKind, State, VethEnd
from trenza.theory.frames import Frames
from trenza.theory.network import Network, Path
from trenza.theory.segments import End, link_ends

_UNANSWERED = ("FAILED", "INCOMPLETE")
_MOVING = ("listening", "learning")


class Explainer:
    """Explains one observed network. `faults`: those in effect, in words."""

    def __init__(self, observed: State, measured: Measurements, faults: Sequence[str] = ()) -> None:
        self.network = Network(observed)
        self._observed = observed
        self._measured = measured
        self._faults = tuple(faults)
        self._ends = link_ends(observed)
        self._addressed = {thing.interface for thing in observed if isinstance(thing, Address)}

    def way(self, source: NodeName, to: IpAddress) -> Said:
        """Why no answer comes from an address; NOTHING where neither theory nor the tables know."""
        path = self.network.path(source, to)
        if path.wrong is not None:
            first = self.lacks(path.hops[-1].node if path.hops else source) or Said(path.wrong, path.wrong.spanish)
            if path.unheard is not None:
                return self._with_ends(first, *path.unheard)
            return first
        return self._by_tables(source, to, path)

    def arrives(self, source: NodeName, to: IpAddress) -> bool:
        """Whether theory says that a packet gets there and its answer back."""
        return self.network.path(source, to).arrives

    def end(self, interface: Interface) -> End | None:
        """An interface's configuration."""
        return self._ends.get(interface)

    def faces(self, node: NodeName) -> list[End]:
        """A node's interfaces but its loopback."""
        return [end for one, end in self._ends.items() if one.node == node and not isinstance(end, Loopback)]

    def route_text(self, source: NodeName, to: IpAddress) -> str:
        """Theory's way in a line: `c1 → host1 → host2 → c3`, or what is wrong."""
        path = self.network.path(source, to)
        return path.wrong or " → ".join([source, *(hop.node for hop in path.hops)])

    def moving(self) -> tuple[Interface, ...]:
        """Bridge ports that listen or learn."""
        return tuple(port.interface for port in self._measured.ports if port.state in _MOVING)

    # ------------------------------------------------------------------ where configuration is wrong
    def lacks(self, node: NodeName) -> Said:
        """What a node lacks before it can have any route."""
        faces = [one for one in self._ends if one.node == node and not isinstance(self._ends[one], Loopback)]
        if not faces:
            return Said(f"{node} has no interface but lo", f"{node} no tiene más interfaz que lo")
        if not any(one.node == node for one in self._addressed):
            return Said(f"{node} has no address", f"{node} no tiene dirección")
        if not any(self._ends[one].up for one in faces):
            return Said(f"{node} has no interface that is up", f"{node} no tiene ningún interfaz levantado")
        return NOTHING

    def _with_ends(self, first: Said, dev: Interface, ip: IpAddress) -> Said:
        """What is wrong, and where the segment ends that should go on."""
        if self._ends.get(dev) is None or not self._ends[dev].up:
            return first
        holders = [one.interface for one in self._observed if isinstance(one, Address) and one.address.ip == ip]
        segments = self.network.segments
        for holder in holders:
            end = self._ends.get(holder)
            if end is not None and end.up and not segments.has_carrier(holder):
                far = segments.peer(holder) or holder
                return Said(f"{first.en}: {far} is down", f"{first.es}: {far} está bajado")
        places = list(dict.fromkeys(one for face in (dev, *holders) for one in self._loose_ends(face)))
        if not places:
            return self._with_bridges_down(first, dev, holders)
        named = ", ".join(str(place) for place in places[:3])
        if len(places) == 1:
            return Said(
                f"{first.en}: {named} is a port of no bridge", f"{first.es}: {named} no es puerto de ningún puente"
            )
        return Said(
            f"{first.en}: {named} are ports of no bridge", f"{first.es}: {named} no son puertos de ningún puente"
        )

    def _with_bridges_down(self, first: Said, dev: Interface, holders: Sequence[Interface]) -> Said:
        """What is wrong, and the bridges that would join the segment if they were up."""
        segments = self.network.segments
        wires = {segments.wire(face) for face in (dev, *holders)}
        for one, end in sorted(self._ends.items()):
            port = None if isinstance(end, Bridge | Loopback) else end.port
            if port is None or segments.wire(one) not in wires:
                continue
            bridge = Interface(one.node, port.bridge)
            if bridge in self._ends and not self._ends[bridge].up:
                return Said(f"{first.en}: {bridge} is down", f"{first.es}: {bridge} está bajado")
        return first

    def _loose_ends(self, dev: Interface) -> Iterator[Interface]:
        """Interfaces of hosts and switches that the wire of `dev` ends in, or stops before, without being ports."""
        segments = self.network.segments
        wire = segments.wire(dev)
        touched = {
            one for one, end in self._ends.items() if segments.wire(one) == wire and not isinstance(end, Loopback)
        }
        for one in sorted(touched):
            if self._is_loose(one) and one.node != dev.node:
                yield one
        for bridge in sorted(one for one in touched if isinstance(self._ends[one], Bridge)):
            for one in sorted(self._ends):
                if one.node == bridge.node and one not in touched and self._is_loose(one):
                    yield one

    def _is_loose(self, one: Interface) -> bool:
        end = self._ends[one]
        node = self._observed.nodes.get(one.node)
        return (
            isinstance(end, VethEnd)
            and end.port is None
            and one not in self._addressed
            and node is not None
            and node.kind is not NodeKind.CONTAINER
        )

    # ------------------------------------------------------------------ where it is right
    def _by_tables(self, source: NodeName, to: IpAddress, path: Path) -> Said:
        for active in self._faults:
            return Said(f"a fault is in effect: {active}", f"hay una avería: {active}")
        waiting = self.moving()
        if waiting:
            named = ", ".join(f"{port}" for port in waiting[:3])
            return Said(
                f"the spanning tree has not converged: {named} does not forward yet",
                f"el árbol de expansión no ha convergido: {named} aún no reenvía",
            )
        silent = self._silent_neighbour(source, path)
        if silent is not None:
            return silent
        ports = {port.interface: port for port in self._measured.ports}
        for leg in Frames(self._observed, network=self.network).legs(source, to):
            for port in leg.ports():
                state = ports[port].state if port in ports else "forwarding"
                if state != "forwarding":
                    return Said(f"{port} is {state} in the kernel", f"{port} está {state} en el kernel")
        return NOTHING

    def _silent_neighbour(self, source: NodeName, path: Path) -> Said | None:
        """The first hop for whose address nobody answers, as the sender's own table says."""
        silent = {
            (entry.interface, entry.ip) for entry in self._measured.neighbours if entry.state in _UNANSWERED
        }  # fmt: skip
        for hop in path.hops:
            if (hop.sender, hop.ip) in silent:
                return Said(
                    f"{hop.sender} gets no ARP answer for {hop.ip}",
                    f"{hop.sender} no recibe respuesta de ARP para {hop.ip}",
                )
        return None
