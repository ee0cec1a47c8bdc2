"""A state as a Mermaid flowchart, which GitHub, GitLab and most editors draw. Pure.

A host is a box around its bridges and containers; where it has an address, a route or a cable of its own there is a
node for the host itself in the box. A bridge or switch is a hexagon; a cable is a line with the names of its two ends;
a VXLAN is a dashed line between its two ends, with its VNI.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, assert_never

from trenza.model.names import Interface, NodeName, bare_name
from trenza.model.state import (
    Address,
    Bridge,
    FdbEntry,
    IpAddress,
    Macvlan,
    Node,
    NodeKind,
    OtherLink,
    State,
    Veth,
    VethEnd,
    Vxlan,
    nodes_of,
)

_INDENT: Final = "  "


def mermaid(state: State, title: str = "") -> str:
    """The flowchart's text, ending in a newline; the same for equal states, whatever their order."""
    return "\n".join(_Drawing(state).lines(title)) + "\n"


def _id(*names: str) -> str:
    """A Mermaid id from names: letters and digits as they are, anything else as its bytes in hexadecimal.

    No two names give the same id, and none is a word of Mermaid's (`end`, `graph`).
    """
    return "n_" + "__".join("".join(_id_character(character) for character in name) for name in names)


def _id_character(character: str) -> str:
    if character.isascii() and character.isalnum():
        return character
    return "".join(f"_{octet:02x}" for octet in character.encode(errors="replace"))


def _text(text: str) -> str:
    """Text for between double quotes in Mermaid, where `#…;` is an entity and a leading backtick starts Markdown."""
    return "".join(_text_character(character) for character in text)


def _text_character(character: str) -> str:
    if not character.isprintable():
        return " "
    return f"#{ord(character)};" if character in '"#<>&`\\;' else character


def _quoted(*lines: str) -> str:
    return '"' + "<br/>".join(_text(line) for line in lines) + '"'


@dataclass(frozen=True, slots=True, order=True)
class _Line:
    """A line of the drawing between two ids."""

    one: str
    other: str
    labels: tuple[str, ...]
    dashed: bool = False

    def __str__(self) -> str:
        stroke = "-.-" if self.dashed else "---"
        label = f"|{_quoted(*self.labels)}|" if self.labels else ""
        return f"{self.one} {stroke}{label} {self.other}"


class _Drawing:
    """What of a state is drawn where. Everything is looked up once, in the order of keys."""

    def __init__(self, state: State) -> None:
        things = [state.things[key] for key in sorted(state.things)]
        self.nodes = {thing.name: thing for thing in things if isinstance(thing, Node)}
        outside = {node.name for node in self.nodes.values() if node.kind is NodeKind.UPLINK}
        self.links = [
            thing
            for thing in things
            if isinstance(thing, Veth | Vxlan | Macvlan | OtherLink) and not nodes_of(thing) <= outside
        ]
        self.children: defaultdict[NodeName | None, list[Node]] = defaultdict(list)
        for node in self.nodes.values():
            self.children[node.host if node.host in self.nodes else None].append(node)
        self.bridges: defaultdict[NodeName, list[Bridge]] = defaultdict(list)
        self.addresses: defaultdict[Interface, list[str]] = defaultdict(list)
        self.owners: dict[IpAddress, NodeName] = {}
        self.remotes: defaultdict[Interface, set[IpAddress]] = defaultdict(set)
        for thing in things:
            if isinstance(thing, Bridge):
                self.bridges[thing.interface.node].append(thing)
            elif isinstance(thing, Address):
                self.addresses[thing.interface].append(str(thing.address))
                self.owners.setdefault(thing.address.ip, thing.interface.node)
            elif isinstance(thing, FdbEntry) and thing.destination is not None:
                self.remotes[thing.interface].add(thing.destination)
            elif isinstance(thing, Vxlan) and thing.remote is not None:
                self.remotes[thing.interface].add(thing.remote)
        self.ports = {end.interface: end.port for end in self._ends() if end.port is not None}
        self.own_lines = self._own_lines()
        self.outside: set[IpAddress] = set()
        self.edges = sorted({*self._cables(), *self._tunnels()})
        self.edges += sorted(self._inner_edges({end for edge in self.edges for end in (edge.one, edge.other)}))
        self.drawn = {end for edge in self.edges for end in (edge.one, edge.other)}

    def _ends(self) -> Iterator[VethEnd | Vxlan | Macvlan]:
        for link in self.links:
            if isinstance(link, Veth):
                yield from link.ends
            elif not isinstance(link, OtherLink):
                yield link

    def _own_bridges(self, node: Node) -> list[Bridge]:
        """The bridges drawn apart from their node: all but the one that a switch is."""
        bridges = self.bridges[node.name]
        if node.kind is NodeKind.SWITCH:
            return [bridge for bridge in bridges if bridge.interface.nic != bare_name(node.name)]
        if node.kind is NodeKind.UPLINK:
            return []
        return bridges

    def _own_lines(self) -> dict[NodeName, list[str]]:
        """What nodes themselves have: addresses of interfaces that are no bridge drawn apart, links of other kinds."""
        apart = {bridge.interface for node in self.nodes.values() for bridge in self._own_bridges(node)}
        lines: defaultdict[NodeName, list[str]] = defaultdict(list)
        for interface, addresses in self.addresses.items():
            if interface not in apart:
                lines[interface.node].append(" ".join((interface.nic, *addresses)))
        for link in self.links:
            if isinstance(link, OtherLink):
                lines[link.interface.node].append(f"{link.interface.nic} ({link.kind})")
        return {node: sorted(lines[node]) for node in self.nodes}

    def _place(self, interface: Interface) -> str:
        """The id of what an interface leads into: its bridge if it is a port, else its node."""
        port = self.ports.get(interface)
        if port is None:
            return self._bridge_or_node(interface)
        return self._bridge_or_node(Interface(interface.node, port.bridge))

    def _bridge_or_node(self, interface: Interface) -> str:
        node = self.nodes.get(interface.node)
        if node is not None and any(bridge.interface == interface for bridge in self._own_bridges(node)):
            return _id(interface.node, interface.nic)
        return _id(interface.node)

    def _cables(self) -> Iterator[_Line]:
        for link in self.links:
            if isinstance(link, Veth):
                down = () if link.a.up and link.b.up else ("down",)
                names = f"{link.a.interface.nic} – {link.b.interface.nic}"
                yield _Line(self._place(link.a.interface), self._place(link.b.interface), (names, *down))
            elif isinstance(link, Macvlan):
                names, mode = f"{link.interface.nic} – {link.parent.nic}", f"macvlan {link.mode.value}"
                yield _Line(self._place(link.interface), self._place(link.parent), (names, mode))

    def _tunnels(self) -> Iterator[_Line]:
        """A dashed line for each pair of tunnel ends of which at least one names the other."""
        vxlans = [link for link in self.links if isinstance(link, Vxlan)]
        for vxlan in vxlans:
            for remote in self.remotes[vxlan.interface]:
                far = next((other for other in vxlans if self._answers(other, vxlan, remote)), None)
                near_name, number = vxlan.interface.nic, f"VNI {vxlan.vni}"
                if far is not None:
                    a, b = sorted((vxlan.interface, far.interface))
                    yield _Line(self._place(a), self._place(b), (f"{a.nic} – {b.nic}", number), dashed=True)
                elif remote in self.owners:
                    place = _id(self.owners[remote])
                    yield _Line(self._place(vxlan.interface), place, (near_name, number), dashed=True)
                else:
                    self.outside.add(remote)
                    yield _Line(self._place(vxlan.interface), _id("", str(remote)), (near_name, number), dashed=True)

    def _answers(self, other: Vxlan, vxlan: Vxlan, remote: IpAddress) -> bool:
        """Whether `other` is the tunnel end that `vxlan` means by `remote`."""
        if (other.vni, other.udp_port) != (vxlan.vni, vxlan.udp_port) or other is vxlan:
            return False
        return other.local == remote if other.local is not None else self.owners.get(remote) == other.interface.node

    def _inner_edges(self, connected: set[str]) -> Iterator[_Line]:
        """A node's own ends in its bridges: where a bridge has an address and the node has anything else to it."""
        for node in self.nodes.values():
            with_address = [bridge for bridge in self._own_bridges(node) if self.addresses[bridge.interface]]
            if with_address and (len(with_address) > 1 or self.own_lines[node.name] or _id(node.name) in connected):
                for bridge in with_address:
                    yield _Line(_id(node.name), _id(node.name, bridge.interface.nic), ())

    def lines(self, title: str) -> Iterator[str]:
        """The flowchart, line by line."""
        if title:
            yield from ("---", f"title: {json.dumps(title, ensure_ascii=False)}", "---")
        yield "flowchart TB"
        for node in self.children[None]:
            yield from self._node_lines(node, _INDENT)
        for remote in sorted(self.outside, key=str):
            yield f"{_INDENT}{_id('', str(remote))}(({_quoted(str(remote))}))"
        for edge in self.edges:
            yield f"{_INDENT}{edge}"

    def _node_lines(self, node: Node, indent: str) -> Iterator[str]:
        bridges, children = self._own_bridges(node), self.children[node.name]
        if not bridges and not children:
            yield indent + self._node_itself(node)
            return
        yield f"{indent}subgraph box_{_id(node.name)}[{_quoted(bare_name(node.name))}]"
        inner = indent + _INDENT
        if self.own_lines[node.name] or _id(node.name) in self.drawn:
            yield inner + self._node_itself(node)
        for bridge in bridges:
            label = [bridge.interface.nic, *self.addresses[bridge.interface], *_bridge_notes(bridge)]
            yield f"{inner}{_id(node.name, bridge.interface.nic)}{{{{{_quoted(*label)}}}}}"
        for child in children:
            yield from self._node_lines(child, inner)
        yield f"{indent}end"

    def _node_itself(self, node: Node) -> str:
        label = [bare_name(node.name), *self.own_lines[node.name]]
        match node.kind:
            case NodeKind.UPLINK:
                return f"{_id(node.name)}(({_quoted('nat')}))"
            case NodeKind.HOST:
                return f"{_id(node.name)}[{_quoted(*label)}]"
            case NodeKind.CONTAINER:
                return f"{_id(node.name)}({_quoted(*label)})"
            case NodeKind.SWITCH:
                for bridge in self.bridges[node.name]:
                    if bridge.interface.nic == bare_name(node.name):
                        label += _bridge_notes(bridge)
                return f"{_id(node.name)}{{{{{_quoted(*label)}}}}}"
        assert_never(node.kind)


def _bridge_notes(bridge: Bridge) -> tuple[str, ...]:
    stp = (f"STP, priority {bridge.priority}",) if bridge.stp else ()
    return stp if bridge.up else (*stp, "down")
