"""Lint: what can be built but is probably not meant. Warnings and notes, unless `accept` says that it is meant.

Questions about the whole (does anyone have this address, is anything unused) are asked only of a whole lab: in a base
without its solution they are the exercise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from trenza.model.lab import Lab, NodeSpec, Unplugged, VxlanSpec
from trenza.model.names import Interface, NicName
from trenza.model.state import IpAddress, IpInterface, NodeKind
from trenza.spec.decode import Decoded, Given
from trenza.spec.drafts import Draft, Drafts
from trenza.spec.report import Hint, Report, listed
from trenza.spec.segments import Segments
from trenza.spec.tree import Place
from trenza.spec.wiring import Wiring

DEFAULT_MTU_BYTES = 1500
VXLAN_MTU_BYTES = 1450
MIN_IPV6_MTU_BYTES = 1280
MAX_BRIDGE_PORTS = 1023
VXLAN_OVERHEAD_BYTES = {4: 50, 6: 70}
"""Outer IP, UDP, VXLAN and inner Ethernet headers (RFC 7348, section 5)."""

FORWARDING_SYSCTLS = {
    4: ("net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding"),
    6: ("net.ipv6.conf.all.forwarding",),
}


def lint(lab: Lab, drafts: Drafts, wiring: Wiring, top: Decoded, report: Report, *, whole: bool) -> None:
    """Say what is doubtful about a lab without errors."""
    linter = _Linter(lab, drafts, wiring, top, report)
    linter.addresses()
    linter.bridge_sizes()
    linter.loops()
    linter.spanning_trees()
    linter.tunnels()
    if whole:
        linter.next_hops()
        linter.loose_ends()
        linter.needless_accepts()


@dataclass(frozen=True, slots=True)
class _Holder:
    """An interface with addresses: what holds them in the file, and whose."""

    interface: Interface
    record: Decoded
    owner: Decoded
    mtu_bytes: int


class _Linter:
    def __init__(self, lab: Lab, drafts: Drafts, wiring: Wiring, top: Decoded, report: Report) -> None:
        self.lab = lab
        self.drafts = drafts
        self.wiring = wiring
        self.top = top
        self.report = report
        self.segments = Segments(lab, wiring)
        self.nodes = {node.name: node for node in lab.nodes}
        self.holders = tuple(self._holders())
        self.accepted: set[tuple[str, Place]] = set()

    def _say(self, code: str, at: Place, *around: Decoded, hint: Hint | None = None, **values: object) -> None:
        """Record a problem, unless one of the elements around it (or the lab) accepts its code."""
        for record in (*around, self.top):
            for given in record.many("accept"):
                if given.value == code:
                    self.accepted.add((code, given.at))
                    return
        self.report.say(code, at, hint, **values)

    def _records(self, draft: Draft) -> tuple[Decoded, ...]:
        """A node's own record and its host's: where its `accept` may be."""
        host = () if draft.host is None else (self.drafts.nodes[draft.host].record,)
        return (draft.record, *host)

    def _holders(self) -> Iterator[_Holder]:
        for draft in self.drafts:
            for table in (draft.nics, draft.bridges, draft.vxlans, draft.macvlans):
                for name, record in table.items():
                    default = VXLAN_MTU_BYTES if table is draft.vxlans else DEFAULT_MTU_BYTES
                    interface = Interface(draft.name, NicName(name))
                    yield _Holder(interface, record, record, record.whole("mtu") or default)
            for name, nic in draft.nics.items():
                far = self.wiring.far.get(Interface(draft.name, NicName(name)))
                peer = nic.record("peer")
                if far is not None and peer is not None:
                    mtu_bytes = peer.whole("mtu") or nic.whole("mtu") or DEFAULT_MTU_BYTES
                    yield _Holder(far, peer, nic, mtu_bytes)

    # addresses

    def addresses(self) -> None:
        by_ip: dict[tuple[object, IpAddress], _Holder] = {}
        by_mac: dict[tuple[object, str], _Holder] = {}
        for holder in self.holders:
            node = self.drafts.nodes[holder.interface.node]
            around = (holder.owner, *self._records(node))
            segment = self.segments.segment(holder.interface)
            seen: set[IpInterface] = set()
            for address, at in holder.record.interfaces("ip"):
                self._lint_address(address, at, holder, around)
                other = by_ip.get((segment, address.ip)) or by_ip.get((node.name, address.ip))
                if other is None or address in seen:
                    by_ip[segment, address.ip] = by_ip[node.name, address.ip] = holder
                if other is not None:
                    self._say("W003", at, *around, ip=address.ip, one=other.interface, other=holder.interface)
                seen.add(address)
            mac = holder.record.text("mac")
            if mac is not None:
                other = by_mac.setdefault((segment, mac), holder)
                bridge_and_port = self.segments.bridge_of.get(holder.interface) == other.interface or (
                    self.segments.bridge_of.get(other.interface) == holder.interface
                )
                if other is not holder and not bridge_and_port:
                    at = holder.record.place("mac")
                    self._say("W004", at, *around, mac=mac, one=other.interface, other=holder.interface)

    def _lint_address(self, address: IpInterface, at: Place, holder: _Holder, around: tuple[Decoded, ...]) -> None:
        bridge = self.segments.bridge_of.get(holder.interface)
        if bridge is not None:
            hint: Hint = ("ip_on_bridge", {"bridge": bridge.nic})
            self._say("W002", at, *around, hint=hint, nic=holder.interface, bridge=bridge.nic)
        network = address.network
        if address.version == 4 and network.prefixlen < 31:
            if address.ip == network.network_address:
                self._say("W009", at, *around, ip=address.ip, network=network)
            elif address.ip == network.broadcast_address:
                self._say("W016", at, *around, ip=address.ip, network=network)
        elif address.version == 6 and network.prefixlen < 127 and address.ip == network.network_address:
            self._say("W009", at, *around, ip=address.ip, network=network)
        if address.version == 6 and holder.mtu_bytes < MIN_IPV6_MTU_BYTES:
            self._say("W014", at, *around, nic=holder.interface, mtu=holder.mtu_bytes)

    # layer 2

    def bridge_sizes(self) -> None:
        """The kernel counts a bridge's ports in ten bits, and number 0 is none (net/bridge/br_private.h)."""
        sizes = Counter(self.segments.bridge_of.values())
        for bridge, size in sizes.items():
            if size > MAX_BRIDGE_PORTS:
                record = self.drafts.nodes[bridge.node].bridges[bridge.nic]
                self.report.say("E058", record.at, None, name=bridge, size=size, most=MAX_BRIDGE_PORTS)

    def loops(self) -> None:
        for written in self.segments.loops():
            if isinstance(written, Interface):
                draft = self.drafts.nodes[written.node]
                record = draft.find_own(written.nic)
                assert record is not None
                self._say("W001", record.at, record, *self._records(draft), hint=("stp_or_accept", {}), name=written)
            else:
                self._say("W001", self.drafts.cable_places[written], hint=("stp_or_accept", {}), name=written)

    def spanning_trees(self) -> None:
        """802.1D-1998, section 8.10.2: 2 (forward_delay - 1) >= max_age >= 2 (hello_time + 1)."""
        for node in self.lab.nodes:
            draft = self.drafts.nodes[node.name]
            for bridge in node.bridges:
                if (stp := bridge.stp) is None:
                    continue
                delay = 15 if stp.forward_delay_s is None else stp.forward_delay_s
                hello = 2 if stp.hello_time_s is None else stp.hello_time_s
                age = 20 if stp.max_age_s is None else stp.max_age_s
                if 2 * (delay - 1) >= age >= 2 * (hello + 1):
                    continue
                record = draft.bridges[bridge.name]
                at = record.place("stp")
                self._say(
                    "W006", at, record, *self._records(draft), bridge=f"{node.name}.{bridge.name}",
                    delay=f"{delay:g}", hello=f"{hello:g}", age=f"{age:g}",
                )  # fmt: skip

    # tunnels

    def tunnels(self) -> None:
        owners = {address.ip for holder in self.holders for address, _ in holder.record.interfaces("ip")}
        for node in self.lab.nodes:
            draft = self.drafts.nodes[node.name]
            for vxlan in node.vxlans:
                record = draft.vxlans[vxlan.name]
                around = (record, *self._records(draft))
                self._tunnel_mtu(node, vxlan, record, around)
                own = {
                    address.ip: holder
                    for holder in self.holders
                    if holder.interface.node == node.name
                    for address, _ in holder.record.interfaces("ip")
                }
                if vxlan.local is not None and vxlan.local not in own:
                    self._say("W012", record.place("local"), *around, ip=vxlan.local, node=node.name)
                for remote, at in (*record.addresses("remote"), *record.addresses("remotes")):
                    if remote not in owners:
                        self._say("W011", at, *around, ip=remote)

    def _tunnel_mtu(self, node: NodeSpec, vxlan: VxlanSpec, record: Decoded, around: tuple[Decoded, ...]) -> None:
        tunnel = Interface(node.name, vxlan.name)
        ends = [end for end in (vxlan.local, *vxlan.remotes) if end is not None]
        overhead = VXLAN_OVERHEAD_BYTES[ends[0].version if ends else 4]
        below = [
            holder
            for holder in self.holders
            if holder.interface.node == node.name
            and (
                holder.interface.nic == vxlan.dev
                if vxlan.dev is not None
                else any(end in address.network for address, _ in holder.record.interfaces("ip") for end in ends)
            )
        ]
        outer_bytes = min((holder.mtu_bytes for holder in below), default=DEFAULT_MTU_BYTES)
        mtu_bytes = outer_bytes - overhead if vxlan.mtu_bytes is None else vxlan.mtu_bytes
        if mtu_bytes > outer_bytes - overhead:
            at, most = record.place("mtu"), outer_bytes - overhead
            self._say(
                "W015", at, *around, hint=("write", {"text": f"mtu: {most}"}), name=tunnel, mtu=mtu_bytes, most=most
            )
        segment = self.segments.segment(tunnel)
        larger = [
            str(holder.interface)
            for holder in self.holders
            if holder.mtu_bytes > mtu_bytes
            and holder.interface != tunnel
            and "ip" in holder.record
            and (holder.interface.nic not in self.drafts.nodes[holder.interface.node].bridges or "mtu" in holder.record)
            and self.segments.segment(holder.interface) == segment
        ]
        if larger:
            hint: Hint = ("inner_mtu", {"mtu": mtu_bytes})
            self._say("W005", record.at, *around, hint=hint, name=tunnel, mtu=mtu_bytes, names=listed(larger, 6))

    # layer 3

    def next_hops(self) -> None:
        owners: dict[IpAddress, list[NodeSpec]] = {}
        for holder in self.holders:
            for address, _ in holder.record.interfaces("ip"):
                owners.setdefault(address.ip, []).append(self.nodes[holder.interface.node])
        uncertain = any(nic.dhcp for node in self.lab.nodes for nic in node.nics)
        for draft in self.drafts:
            for via, at, around in self._vias(draft):
                found = owners.get(via, [])
                if not found and not uncertain and not (via.version == 6 and via.is_link_local):
                    self._say("W007", at, *around, via=via)
                for router in found:
                    if not _forwards(router, via.version) and router.name != draft.name:
                        record = self.drafts.nodes[router.name]
                        hint: Hint = ("add_forwarding", {"node": router.name})
                        self._say(
                            "W008",
                            record.record.at,
                            *self._records(record),
                            hint=hint,
                            node=router.name,
                            user=draft.name,
                        )

    def _vias(self, draft: Draft) -> Iterator[tuple[IpAddress, Place, tuple[Decoded, ...]]]:
        for route in draft.record.records("routes"):
            if (via := route.address("via")) is not None:
                yield via, route.place("via"), (route, *self._records(draft))
        for nic in draft.nics.values():
            for gateway, at in nic.addresses("gateway"):
                yield gateway, at, (nic, *self._records(draft))

    # what is left over

    def loose_ends(self) -> None:
        for cable in self.lab.cables:
            free = cable.ends.count(None)
            at = self.drafts.cable_places[cable.name]
            if free == 2:
                self._say("W010", at, name=cable.name)
            elif free == 1:
                self._say("W017", at, name=cable.name)
        for node in self.lab.nodes:
            draft = self.drafts.nodes[node.name]
            for nic in node.nics:
                record = draft.nics[nic.name]
                if isinstance(nic.to, Unplugged) and nic.cable is None:
                    self._say("N003", record.at, record, *self._records(draft), name=f"{node.name}.{nic.name}")

    def needless_accepts(self) -> None:
        for given in self._accepts():
            if (str(given.value), given.at) not in self.accepted and given.value not in (
                "N001",
                "N002",
                "N004",
                "W013",
            ):
                self._say("N004", given.at, accepted=given.value)

    def _accepts(self) -> Iterator[Given]:
        yield from self.top.many("accept")
        for draft in self.drafts:
            yield from draft.record.many("accept")
            if draft.kind is NodeKind.SWITCH:
                continue
            for table in (draft.nics, draft.bridges, draft.vxlans, draft.macvlans):
                for record in table.values():
                    yield from record.many("accept")
            for route in draft.record.records("routes"):
                yield from route.many("accept")


def _forwards(node: NodeSpec, version: int) -> bool:
    sysctls = dict(node.sysctls)
    return node.forwarding or any(sysctls.get(name) not in (None, "0") for name in FORWARDING_SYSCTLS[version])
