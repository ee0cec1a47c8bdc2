"""Drafts: the nodes of a lab as decoded, and the names by which they and their interfaces are found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from trenza.model.names import Interface, NicName, NodeName, bare_name
from trenza.model.state import NodeKind
from trenza.spec.decode import Decoded
from trenza.spec.report import Report, Word, meant
from trenza.spec.tree import Place


@dataclass(slots=True)
class Draft:
    """One node. A switch's own record is also its one bridge's."""

    name: NodeName
    kind: NodeKind
    record: Decoded
    host: NodeName | None = None
    nics: Mapping[str, Decoded] = field(default_factory=dict)
    bridges: Mapping[str, Decoded] = field(default_factory=dict)
    vxlans: Mapping[str, Decoded] = field(default_factory=dict)
    macvlans: Mapping[str, Decoded] = field(default_factory=dict)
    faces: dict[str, Place] = field(default_factory=dict)
    """Every interface that lies in the node, far ends included, and where it is written."""

    def find_own(self, nic: str) -> Decoded | None:
        """An interface that this node itself declares."""
        for table in (self.nics, self.bridges, self.vxlans, self.macvlans):
            if nic in table:
                return table[nic]
        return None


@dataclass(slots=True)
class Drafts:
    """All nodes by full name, hosts before their containers, and the cables with what is written at their ends."""

    nodes: dict[NodeName, Draft]
    cables: Mapping[str, tuple[tuple[str, Place], ...]]
    cable_places: Mapping[str, Place]
    report: Report
    by_bare_name: dict[str, list[NodeName]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Draft]:
        return iter(self.nodes.values())

    def find_node(self, name: str, near: NodeName | None, at: Place) -> Draft | None:
        """A node by full name, by bare name in the same host, or by a bare name that is unique in the lab.

        Says so, and finds nothing, when a bare name is not unique.
        """
        if near is not None and (inside := self.nodes.get(NodeName(f"{near}/{name}"))) is not None:
            return inside
        if (exact := self.nodes.get(NodeName(name))) is not None:
            return exact
        found = self.by_bare_name.get(name, [])
        if len(found) > 1:
            self.report.say("E059", at, ("write_one_of", {"names": " ".join(found)}), name=name)
            return None
        return self.nodes[found[0]] if found else None

    def is_ambiguous(self, name: str) -> bool:
        return NodeName(name) not in self.nodes and len(self.by_bare_name.get(name, ())) > 1

    def find_nic(self, text: str, near: NodeName | None, at: Place) -> Interface | None:
        """`NODE.NIC` of a NIC that some node declares."""
        node_name, dot, nic = text.partition(".")
        if not dot or self.is_ambiguous(node_name):
            return None
        node = self.find_node(node_name, near, at)
        return None if node is None or nic not in node.nics else Interface(node.name, NicName(nic))

    def say_unknown_nic(self, text: str, near: NodeName | None, at: Place, where: str) -> None:
        """Say what of `NODE.NIC` is not there: the node, or the NIC."""
        node_name, _, nic = text.partition(".")
        if self.is_ambiguous(node_name):
            self.find_node(node_name, near, at)
        elif (node := self.find_node(node_name, near, at)) is None:
            hint = meant(node_name, [*self.nodes, *self.by_bare_name], "nodes")
            self.report.say("E014", at, hint, kind=Word("node"), name=node_name, where=where)
        else:
            hint = meant(nic, node.nics, "nics")
            self.report.say("E014", at, hint, kind=Word("nic"), name=nic, where=node.name)


def drafts_of(lab: Decoded, report: Report) -> Drafts:
    """The nodes of a decoded lab; says which names are taken twice."""
    nodes: dict[NodeName, Draft] = {}
    for name, record in lab.table("switches").items():
        node = NodeName(name)
        nodes[node] = Draft(node, NodeKind.SWITCH, record, bridges={name: record})
    for name, record in lab.table("hosts").items():
        host = NodeName(name)
        if host in nodes:
            report.say("E023", record.at, None, name=name, line=nodes[host].record.at.line)
            continue
        nodes[host] = _with_tables(Draft(host, NodeKind.HOST, record))
        for bare, inner in record.table("containers").items():
            container = NodeName(f"{name}/{bare}")
            nodes[container] = _with_tables(Draft(container, NodeKind.CONTAINER, inner, host=host))
    cables, places = {}, {}
    for name, given in lab.scalars("cables").items():
        ends = given.value if isinstance(given.value, tuple) else ()
        cables[name] = tuple((str(end.value), end.at) for end in ends)
        places[name] = given.at
    by_bare_name: dict[str, list[NodeName]] = {}
    for full in nodes:
        by_bare_name.setdefault(bare_name(full), []).append(full)
    return Drafts(nodes, cables, places, report, by_bare_name)


def _with_tables(draft: Draft) -> Draft:
    draft.nics = draft.record.table("nics")
    draft.bridges = draft.record.table("bridges")
    draft.vxlans = draft.record.table("vxlans")
    draft.macvlans = draft.record.table("macvlans")
    return draft
