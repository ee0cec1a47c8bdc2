"""Counterparts: which of the student's nodes, interfaces and addresses the names of the reference solution mean.

Whoever built the lab by hand may have called things otherwise. A node of the base is itself; any other is the one of
that name, else the one most like it: by host, addresses, name, number of interfaces, and whose neighbour it is. An
interface is the one of that name, else by address, else by what it plugs into, else the only one left. An address of
the reference solution that nobody has stands for that of whoever stands for its owner.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from trenza.model.checks import LabSpot
from trenza.model.names import Interface, NodeName, bare_name, is_uplink
from trenza.model.state import Address, Bridge, IpAddress, IpInterface, Loopback, NodeKind, State, Veth
from trenza.theory.segments import End, link_ends

_LIKE_ENOUGH = 4.0


@dataclass(frozen=True, slots=True)
class Match:
    """Whom a name of the reference solution means, and how that is known; `given`: somebody said so."""

    name: NodeName
    node: NodeName
    how: str
    given: bool = False


@dataclass(slots=True)
class _Side:
    """One state, by node."""

    state: State
    ends: Mapping[Interface, End] = field(init=False)
    faces: dict[NodeName, list[Interface]] = field(init=False)
    addresses: dict[Interface, list[IpInterface]] = field(init=False)
    owners: dict[IpAddress, Interface] = field(init=False)
    peers: dict[Interface, Interface] = field(init=False)

    def __post_init__(self) -> None:
        self.ends = link_ends(self.state)
        self.faces, self.addresses, self.owners, self.peers = {}, {}, {}, {}
        for interface, end in self.ends.items():
            if not isinstance(end, Loopback):
                self.faces.setdefault(interface.node, []).append(interface)
        for thing in self.state:
            if isinstance(thing, Address):
                self.addresses.setdefault(thing.interface, []).append(thing.address)
                self.owners.setdefault(thing.address.ip, thing.interface)
            elif isinstance(thing, Veth):
                a, b = thing.a.interface, thing.b.interface
                self.peers[a], self.peers[b] = b, a

    def nics(self, node: NodeName) -> list[Interface]:
        """Interfaces that are no bridges."""
        return [one for one in self.faces.get(node, ()) if not isinstance(self.ends[one], Bridge)]

    def ips(self, node: NodeName) -> list[IpAddress]:
        return [address.ip for one in self.faces.get(node, ()) for address in self.addresses.get(one, ())]

    def ports(self, bridge: Interface) -> set[Interface]:
        return {
            one
            for one in self.faces.get(bridge.node, ())
            if (port := getattr(self.ends[one], "port", None)) is not None and port.bridge == bridge.nic
        }

    def neighbour(self, nic: Interface) -> NodeName | None:
        """The node at the other end of the cable."""
        peer = self.peers.get(nic)
        return None if peer is None else peer.node


class Counterparts:
    """The names of `reference` in `observed`; `given` overrides, and a `declared` node is itself, even stopped."""

    def __init__(
        self,
        reference: State,
        observed: State,
        given: Mapping[NodeName, NodeName] | None = None,
        declared: Collection[NodeName] = (),
    ) -> None:
        self._reference = _Side(reference)
        self._observed = _Side(observed)
        self.reference = reference
        self.observed = observed
        self.matches: dict[NodeName, Match] = {}
        for name, node in (given or {}).items():
            self.matches[name] = Match(name, node, "", given=True)
        self._match_by_name({*observed.nodes, *declared})
        self._match_the_rest()
        self._interfaces: dict[Interface, Interface | None] = {}

    # ------------------------------------------------------------------ nodes
    def _match_by_name(self, there: Collection[NodeName]) -> None:
        taken = {match.node for match in self.matches.values()}
        for name in self._reference.state.nodes:
            if name not in self.matches and name in there and name not in taken:
                self.matches[name] = Match(name, name, "")

    def _match_the_rest(self) -> None:
        taken = {match.node for match in self.matches.values()}
        left = [name for name in self._reference.state.nodes if name not in self.matches]
        free = [
            name
            for name, node in self._observed.state.nodes.items()
            if name not in taken and node.kind is NodeKind.CONTAINER and not is_uplink(name)
        ]
        likes = [(self._like(name, node), name, node) for name in left for node in free]
        likes.sort(key=lambda one: (-one[0][0], left.index(one[1]), one[2]))
        for (score, how), name, node in likes:
            if score >= _LIKE_ENOUGH and name not in self.matches and node not in taken:
                self.matches[name] = Match(name, node, ", ".join(how))
                taken.add(node)

    def _like(self, name: NodeName, node: NodeName) -> tuple[float, list[str]]:
        """How much a node of the student's is like one of the reference solution, and in what."""
        score, how = 0.0, []
        wanted, found = self._reference.state.nodes[name], self._observed.state.nodes[node]
        if wanted.kind is not found.kind:
            return 0.0, []
        host = None if wanted.host is None else self.find_node(wanted.host)
        if host is not None and host == found.host:
            score += 4
            how.append(f"on {host}")
        shared = set(self._reference.ips(name)) & set(self._observed.ips(node))
        if shared:
            score += 6
            how.append(" ".join(sorted(map(str, shared))))
        if bare_name(name) == bare_name(node):
            score += 8
            how.append(bare_name(name))
        else:
            score += difflib.SequenceMatcher(None, bare_name(name), bare_name(node)).ratio()
        if len(self._reference.nics(name)) == len(self._observed.nics(node)):
            score += 1
        return score, how

    def find_node(self, name: NodeName) -> NodeName | None:
        match = self.matches.get(name)
        return None if match is None else match.node

    def changed(self) -> list[Match]:
        """The matches under other names, and those that were given."""
        return [match for match in self.matches.values() if match.given or match.name != match.node]

    def unmatched(self) -> list[NodeName]:
        """Names of the reference solution that nobody stands for."""
        return [name for name in self._reference.state.nodes if name not in self.matches and not is_uplink(name)]

    # ------------------------------------------------------------------ interfaces
    def find_interface(self, interface: Interface) -> Interface | None:
        if interface not in self._interfaces:
            self._interfaces[interface] = self._find_interface(interface)
        return self._interfaces[interface]

    def _find_interface(self, wanted: Interface) -> Interface | None:
        node = self.find_node(wanted.node)
        if node is None:
            return None
        same_name = Interface(node, wanted.nic)
        if same_name in self._observed.ends:
            return same_name
        if isinstance(self._reference.ends.get(wanted), Bridge):
            return self._find_bridge(wanted, node)
        ips = {address.ip for address in self._reference.addresses.get(wanted, ())}
        named = {Interface(node, nic.nic) for nic in self._reference.nics(wanted.node)}
        free = [one for one in self._observed.nics(node) if one not in named]
        for one in free:
            if ips & {address.ip for address in self._observed.addresses.get(one, ())}:
                return one
        neighbour = self._reference.neighbour(wanted)
        there = None if neighbour is None else self.find_node(neighbour)
        for one in free:
            if there is not None and self._observed.neighbour(one) == there and len(free) > 1:
                return one
        left = [nic for nic in self._reference.nics(wanted.node) if Interface(node, nic.nic) not in self._observed.ends]
        return free[left.index(wanted)] if wanted in left and left.index(wanted) < len(free) else None

    def _find_bridge(self, wanted: Interface, node: NodeName) -> Interface | None:
        bridges = [one for one in self._observed.faces.get(node, ()) if isinstance(self._observed.ends[one], Bridge)]
        ports = {found for port in self._reference.ports(wanted) if (found := self.find_interface(port)) is not None}
        ranked = sorted(bridges, key=lambda one: -len(ports & self._observed.ports(one)))
        if not ranked or (len(ranked) > 1 and not ports & self._observed.ports(ranked[0])):
            return None
        return ranked[0]

    # ------------------------------------------------------------------ addresses
    def address(self, ip: IpAddress) -> IpAddress:
        """What a written address means: itself, unless nobody has it and its owner has another now."""
        owner = self._reference.owners.get(ip)
        if owner is None or ip in self._observed.owners:
            return ip
        found = self.find_interface(owner)
        addresses = [] if found is None else self._observed.addresses.get(found, [])
        return next((address.ip for address in addresses if address.version == ip.version), ip)

    def is_configured(self, ip: IpAddress) -> bool:
        """Whether an address is somebody's by configuration, and not one that daemons hand on (VRRP)."""
        return ip in self._reference.owners or ip in self._observed.owners

    def addresses(self, spot: LabSpot) -> tuple[IpAddress, ...]:
        """All that a spot may be reached by, the likeliest first; none where nobody has any."""
        if isinstance(spot, Interface):
            found = self.find_interface(spot)
            return () if found is None else tuple(one.ip for one in self._observed.addresses.get(found, ()))
        if isinstance(spot, str):
            node = self.find_node(spot)
            if node is None:
                return ()
            ips = self._observed.ips(node)
            wanted = [self.address(ip) for ip in self._reference.ips(spot)]
            return tuple(dict.fromkeys([*(ip for ip in wanted if ip in ips), *sorted(ips, key=lambda ip: ip.version)]))
        return (self.address(spot),)

    def interfaces_of(self, spot: LabSpot) -> tuple[Interface, ...]:
        """The interfaces that a spot means: one, a node's, or that which has the address."""
        if isinstance(spot, Interface):
            found = self.find_interface(spot)
            return () if found is None else (found,)
        if isinstance(spot, str):
            node = self.find_node(spot)
            return () if node is None else tuple(self._observed.faces.get(node, ()))
        owner = self._observed.owners.get(self.address(spot))
        return () if owner is None else (owner,)

    def say(self, spot: LabSpot | Iterable[LabSpot]) -> str:
        """A spot as the student knows it."""
        if isinstance(spot, Interface):
            return str(self.find_interface(spot) or spot)
        if isinstance(spot, str):
            return self.find_node(spot) or spot
        return str(self.address(spot)) if not isinstance(spot, Iterable) else " ".join(map(self.say, spot))
