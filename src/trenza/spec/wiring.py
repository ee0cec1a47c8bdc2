"""Wiring: what every NIC plugs into, which ends every cable has, and how the far ends are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trenza.model.lab import Attachment, Cable, ToBridge, ToHost, ToNat, ToNic, Unplugged
from trenza.model.names import Interface, NicName, NodeName, port_name
from trenza.model.state import NodeKind
from trenza.spec.decode import Decoded
from trenza.spec.drafts import Draft, Drafts
from trenza.spec.parameters import is_unfilled
from trenza.spec.report import Hint, Report, Word, did_you_mean, listed, nearest
from trenza.spec.tree import Place

End = Interface | ToBridge


@dataclass(frozen=True, slots=True)
class _ToCable:
    """Plugged into a named cable, until its other end is known."""

    cable: str


Target = Attachment | _ToCable


@dataclass(slots=True)
class Wiring:
    """The result: attachments by NIC, the cable each hangs on, names of far ends, and the cables with their ends."""

    to: dict[Interface, Attachment] = field(default_factory=dict)
    cable: dict[Interface, str] = field(default_factory=dict)
    far: dict[Interface, Interface] = field(default_factory=dict)
    """The far end's interface, of NICs that plug into a bridge, a switch or the host."""
    cables: tuple[Cable, ...] = ()
    undecided: set[Interface] = field(default_factory=set)
    """NICs whose plug was wrong, and said to be."""


def wiring_of(drafts: Drafts, report: Report) -> Wiring:
    return _Wirer(drafts, report).wired()


class _Wirer:
    def __init__(self, drafts: Drafts, report: Report) -> None:
        self.drafts = drafts
        self.report = report
        self.wiring = Wiring()
        self.ends: dict[str, list[End]] = {cable: [] for cable in drafts.cables}
        self.plugs: dict[Interface, Interface] = {}

    def wired(self) -> Wiring:
        for cable, ends in self.drafts.cables.items():
            for text, at in ends:
                self._cable_end(cable, text, at)
        for draft in self.drafts:
            if draft.kind is NodeKind.SWITCH:
                self._switch_cables(draft)
            for name, nic in draft.nics.items():
                self._nic(draft, name, nic)
        self._pairs()
        self._cables()
        self._far_ends()
        return self.wiring

    # cables

    def _cable_end(self, cable: str, text: str, at: Place) -> None:
        """An end written in `cables:`: a switch or a NIC."""
        if is_unfilled(text):
            return
        node = self.drafts.nodes.get(NodeName(text))
        if node is not None and node.kind is NodeKind.SWITCH:
            self._attach(cable, ToBridge(node.name, NicName(text)), at)
        elif (nic := self.drafts.find_nic(text, None, at)) is not None:
            self._attach(cable, nic, at)
        elif "." in text:
            self.drafts.say_unknown_nic(text, None, at, f"cable {cable}")
        else:
            switches = [draft.name for draft in self.drafts if draft.kind is NodeKind.SWITCH]
            near = nearest(text, switches)
            hint = ("cable_ends", {}) if near is None else ("did_you_mean_one", {"near": near})
            self.report.say("E014", at, hint, kind=Word("switch"), name=text, where=f"cable {cable}")

    def _switch_cables(self, switch: Draft) -> None:
        """Cables that a switch names among its ports."""
        for name, port in switch.record.table("ports").items():
            end = ToBridge(switch.name, NicName(switch.name))
            if name in self.ends and end not in self.ends[name]:
                self._attach(name, end, port.at)

    def _attach(self, cable: str, end: End, at: Place) -> None:
        ends = self.ends[cable]
        if isinstance(end, Interface):
            if end in ends:
                self.report.say("E041", at, None, name=end)
                return
            if (other := self.wiring.cable.get(end)) is not None:
                self.report.say("E040", at, None, nic=end, other=other)
                return
        if len(ends) == 2:
            taken = " and ".join(_said(each) for each in ends)
            self.report.say("E039", at, ("use_a_switch", {"name": cable}), name=cable, ends=taken)
            if isinstance(end, Interface):
                self.wiring.undecided.add(end)
            return
        ends.append(end)
        if isinstance(end, Interface):
            self.wiring.cable[end] = cable

    # NICs

    def _nic(self, draft: Draft, name: str, nic: Decoded) -> None:
        interface = Interface(draft.name, NicName(name))
        text = nic.text("to")
        at = nic.place("to")
        if text is None:
            if "to" in nic.bad:
                self.wiring.undecided.add(interface)
            return
        target = None if is_unfilled(text) else self._target(draft, interface, text, at)
        hung = self.wiring.cable.get(interface)
        if target is None:
            self.wiring.undecided.add(interface)
        elif isinstance(target, _ToCable):
            if hung != target.cable:
                self._attach(target.cable, interface, at)
        elif hung is not None:
            self.report.say("E040", at, None, nic=interface, other=hung)
        elif isinstance(target, ToNic):
            self.plugs[interface] = target.other
        else:
            self.wiring.to[interface] = target

    def _target(self, draft: Draft, interface: Interface, text: str, at: Place) -> Target | None:
        """What `to: text` means for a NIC: looked up in the same host first, then in the lab."""
        if text == "nat":
            return ToNat()
        if text == "host":
            if draft.host is None:
                self.report.say("E038", at, ("host_is_for_containers", {}), name=interface)
                return None
            return ToHost(draft.host)
        host = draft.host or (draft.name if draft.kind is NodeKind.HOST else None)
        for candidates in (self._in_host(draft, host, text), self._in_lab(text, at)):
            if len(candidates) > 1:
                what = " and ".join(sorted(candidates))
                self.report.say("E036", at, ("rename_one", {}), name=text, what=what)
                return None
            for target in candidates.values():
                return target
        self._say_unknown(draft, host, interface, text, at)
        return None

    def _in_host(self, draft: Draft, host: NodeName | None, text: str) -> dict[str, Target]:
        """What a name can mean in one host, by what it is."""
        found: dict[str, Target] = {}
        for node in dict.fromkeys((draft.name, host)):
            if node is not None and text in self.drafts.nodes[node].bridges:
                found[f"bridge {text} of {node}"] = ToBridge(node, NicName(text))
        node_name, dot, nic = text.partition(".")
        inside = self.drafts.nodes.get(NodeName(f"{host}/{node_name}")) if dot else None
        if inside is not None and nic in inside.nics:
            found[f"nic {inside.name}.{nic}"] = ToNic(Interface(inside.name, NicName(nic)))
        return found

    def _in_lab(self, text: str, at: Place) -> dict[str, Target]:
        found: dict[str, Target] = {}
        node = self.drafts.nodes.get(NodeName(text))
        if node is not None and node.kind is NodeKind.SWITCH:
            found[f"switch {text}"] = ToBridge(node.name, NicName(text))
        if text in self.ends:
            found[f"cable {text}"] = _ToCable(text)
        if (nic := self.drafts.find_nic(text, None, at)) is not None:
            found[f"nic {nic}"] = ToNic(nic)
        return found

    def _say_unknown(self, draft: Draft, host: NodeName | None, interface: Interface, text: str, at: Place) -> None:
        switches = [other.name for other in self.drafts if other.kind is NodeKind.SWITCH]
        bridges = [] if host is None else list(self.drafts.nodes[host].bridges)
        names = [*bridges, *switches, *self.ends]
        if "." in text:
            self.drafts.say_unknown_nic(text, host, at, str(interface))
            return
        near = nearest(text, [*names, "nat", "host"])
        hint: Hint
        if near is not None:
            hint = did_you_mean(near, names, "to plug into")
        elif names:
            hint = ("there_are", {"kind": Word("to plug into"), "names": listed(names)})
        else:
            hint = ("declare_switch", {"name": text})
        self.report.say("E037", at, hint, name=text, nic=interface)

    def _pairs(self) -> None:
        """NICs that name each other, or of which one names the other."""
        taken: dict[Interface, Interface] = {}
        for one, other in self.plugs.items():
            at = self.drafts.nodes[one.node].nics[one.nic].place("to")
            if taken.get(one) == other:
                continue  # the other NIC said so
            if one == other:
                self.report.say("E041", at, None, name=one)
                continue
            busy = self._plug_of(other, taken)
            if busy is not None and self.plugs.get(other) != one:
                self.report.say("E040", at, ("use_a_switch_between", {}), nic=other, other=busy)
            elif one in taken:
                self.report.say("E040", at, ("use_a_switch_between", {}), nic=one, other=taken[one])
            else:
                taken[one], taken[other] = other, one
                self.wiring.to[one], self.wiring.to[other] = ToNic(other), ToNic(one)

    def _plug_of(self, nic: Interface, taken: Mapping[Interface, Interface]) -> object | None:
        """What a NIC is plugged into by its own words, or by another NIC's."""
        if (own := self.plugs.get(nic) or taken.get(nic)) is not None:
            return own
        if (cable := self.wiring.cable.get(nic)) is not None:
            return cable
        target = self.wiring.to.get(nic)
        return None if target is None else _said_target(target)

    def _cables(self) -> None:
        """Give the NICs at cables what their cable's other end is."""
        cables = []
        for name, ends in self.ends.items():
            for end, far in ((ends[0], ends[1]), (ends[1], ends[0])) if len(ends) == 2 else ():
                if isinstance(end, Interface):
                    self.wiring.to[end] = ToNic(far) if isinstance(far, Interface) else far
            one, other = (*ends, None, None)[:2]
            cables.append(Cable(name, (one, other)))
        self.wiring.cables = tuple(cables)

    # names

    def _far_ends(self) -> None:
        """Names of far ends, and of every interface that lies in a node; says which are taken twice."""
        for draft in self.drafts:
            for table in (draft.nics, draft.bridges, draft.vxlans, draft.macvlans):
                for name, record in table.items():
                    self._face(Interface(draft.name, NicName(name)), record.at)
        for cable in self.wiring.cables:
            for end in dict.fromkeys(cable.ends):
                if isinstance(end, ToBridge) and not any(isinstance(each, Interface) for each in cable.ends):
                    self._face(Interface(end.node, NicName(cable.name)), self.drafts.cable_places[cable.name])
        for draft in self.drafts:
            for name, nic in draft.nics.items():
                self._far_end(Interface(draft.name, NicName(name)), nic)

    def _far_end(self, interface: Interface, nic: Decoded) -> None:
        peer = nic.record("peer")
        match self.wiring.to.get(interface, Unplugged()):
            case ToBridge(node, _) | ToHost(node):
                name = None if peer is None else peer.text("name")
                if name is None:
                    name = self.wiring.cable.get(interface) or port_name(interface.node, interface.nic)
                far = Interface(node, NicName(name))
                self.wiring.far[interface] = far
                self._face(far, nic.at if peer is None else peer.at, far_of=interface)
            case ToNic() | ToNat() | Unplugged():
                if peer is not None and interface not in self.wiring.undecided:
                    self.report.say("E042", peer.at, ("peer_where", {}), nic=interface)

    def _face(self, interface: Interface, at: Place, far_of: Interface | None = None) -> None:
        faces = self.drafts.nodes[interface.node].faces
        if interface.nic not in faces:
            faces[interface.nic] = at
            return
        hint = ("rename_one", {}) if far_of is None else ("set_peer", {"nic": far_of})
        self.report.say("E045", at, hint, name=interface.nic, node=interface.node, line=faces[interface.nic].line)


def _said(end: End) -> str:
    return str(end) if isinstance(end, Interface) else end.node


def _said_target(target: Attachment) -> str:
    match target:
        case ToBridge(_, bridge):
            return bridge
        case ToNic(other):
            return str(other)
        case ToHost(host):
            return host
        case ToNat():
            return "nat"
        case Unplugged():
            return ""
