"""The state a lab wants: every default filled in, every derived name and address spelled out.

Decisions that a reader of a lab cannot see in its file:

- A NIC plugged into nothing (or into a cable whose other end is free) is a veth whose far end, `free-…`, lies in the
  same node and is down: Linux has no veth without a peer, and a peer that is down means no carrier.
- A route over an interface that the lab keeps down is not wanted: Linux refuses it.
- IPv6 addresses, routes and neighbours of an interface with an MTU below 1280 bytes are not wanted: Linux has no IPv6
  there (RFC 8200, section 5).
- A bridge without an MTU takes the smallest of its ports', as Linux itself would; it is set, so that it stays.
- A NIC with `to: nat` leads into a node of its own that nobody sees (`NodeKind.UPLINK`): a bridge there has the NIC's
  cable (`up`) and one whose far end (`relay`) a process of trenza's reads. What passes it is no part of the state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from types import MappingProxyType

from trenza.errors import UsageError
from trenza.model.lab import (
    BridgeSpec,
    FileSpec,
    Lab,
    MacvlanSpec,
    Nic,
    NodeSpec,
    Peer,
    RouteSpec,
    Stp,
    ToBridge,
    ToHost,
    ToNat,
    ToNic,
    Unplugged,
    VxlanSpec,
)
from trenza.model.names import (
    MAX_NIC_BYTES,
    Interface,
    Mac,
    NicName,
    NodeName,
    bare_name,
    derived_mac,
    port_name,
    uplink_name,
)
from trenza.model.services import Syslog
from trenza.model.state import (
    DEFAULT_MTU_BYTES,
    ZERO_MAC,
    Address,
    Bridge,
    BridgePort,
    FdbEntry,
    File,
    IpAddress,
    IpInterface,
    IpNetwork,
    Loopback,
    Macvlan,
    MacvlanMode,
    Node,
    NodeKind,
    Process,
    Route,
    RouteType,
    State,
    Sysctl,
    Thing,
    Veth,
    VethEnd,
    Vxlan,
    veth,
)
from trenza.services import dhcp
from trenza.services.daemons import SYSLOG, program_of

MIN_IPV6_MTU_BYTES = 1280

WATCHED_SYSCTLS = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
"""Observed on every node, and wanted ("0" or "1") of every node."""

BORN_SYSCTLS: Mapping[str, str] = MappingProxyType(
    {
        "net.ipv4.ip_forward": "0",
        "net.ipv6.conf.all.forwarding": "0",
        "net.bridge.bridge-nf-call-iptables": "0",
        "net.bridge.bridge-nf-call-ip6tables": "0",
        "net.bridge.bridge-nf-call-arptables": "0",
    }
)
"""What a node has as soon as it is created, whatever the machine's own settings are (IPv4's are inherited from it, and
bridge-nf is 1 in a new namespace). A kernel sees to it when it creates the node, where the setting exists at all; so a
fresh build needs no write for them, and the bridge-nf ones are not watched: reading three more files of each node would
cost more than the drift is worth. A lab that sets one itself has it in its state, and then it is watched there.
"""

DEFAULT_METRIC = MappingProxyType({4: 0, 6: 1024})
DEFAULT_NETWORK: Mapping[int, IpNetwork] = MappingProxyType({4: IPv4Network("0.0.0.0/0"), 6: IPv6Network("::/0")})

UPLINK_BRIDGE, UPLINK_PORT, UPLINK_RELAY = NicName("lan"), NicName("up"), NicName("relay")
"""What there is in an uplink: its bridge, the far end of the NIC's cable, and the end that is read."""

_VETH_PORT_COST = 2
VXLAN_OVERHEAD_BYTES = MappingProxyType({4: 50, 6: 70})
"""Outer IP 20 (IPv6 40), UDP 8, VXLAN 8, inner Ethernet 14 (RFC 7348, section 5)."""


def wanted_state(lab: Lab, contents: Mapping[str, bytes] = MappingProxyType({})) -> State:
    """Everything that `lab` wants to be there. `contents` has the bytes of files by the name the lab gives them.

    Raises UsageError if the bytes of a file that the lab takes from its directory are not in `contents`.
    """
    return State.of(_Weaver(lab, contents).things())


def cable_ends(lab: Lab, wanted: State) -> dict[str, tuple[Interface, Interface]]:
    """The interfaces at the two ends of each named cable, as `wanted` has them; free ends are there too."""
    by_end = {end.interface: thing for thing in wanted if isinstance(thing, Veth) for end in thing.ends}
    found = {}
    for cable in lab.cables:
        for end in cable.ends:
            if end is not None:
                interface = end if isinstance(end, Interface) else Interface(end.node, _cut(cable.name))
                veth = by_end.get(interface)
                if veth is not None:
                    found[cable.name] = (veth.a.interface, veth.b.interface)
                    break
    return found


def free_end_name(nic: str) -> NicName:
    """The name of the far end of a NIC that is plugged into nothing: `free-eth0`, cut and hashed beyond 15 bytes."""
    return _cut(f"free-{nic}")


def digest_of(content: bytes) -> str:
    """The digest of a file's bytes, as `File.digest` has it."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def canonical_sysctl(name: str, value: str) -> tuple[str, str]:
    """A sysctl as states spell it: single blanks in the value, and one name where Linux has two."""
    if name == "net.ipv4.conf.all.forwarding":
        name = "net.ipv4.ip_forward"
    return name, " ".join(value.split())


@dataclass(frozen=True, slots=True)
class _Face:
    """What routing sees of an interface: its addresses, and whether it is up."""

    nic: NicName
    addresses: tuple[IpInterface, ...]
    up: bool


@dataclass(frozen=True, slots=True)
class _End:
    """One end of a veth before its state is made."""

    interface: Interface
    mac: Mac | None
    mtu_bytes: int
    up: bool = True
    port: BridgePort | None = None


def _uplinks(lab: Lab) -> Iterator[NodeSpec]:
    """The nodes behind the NICs of a lab that go out."""
    for node in lab.nodes:
        for nic in node.nics:
            if isinstance(nic.to, ToNat):
                name = uplink_name(Interface(node.name, nic.name))
                relay = Nic(UPLINK_RELAY, ToBridge(name, UPLINK_BRIDGE), peer=Peer(NicName("slirp")))
                bridges = (BridgeSpec(UPLINK_BRIDGE),)
                yield NodeSpec(name, NodeKind.UPLINK, hostname="nat", nics=(relay,), bridges=bridges)


class _Weaver:
    """Collects the things of one lab. `faces`, `ends` and `ports` are complete before the first thing is made."""

    def __init__(self, lab: Lab, contents: Mapping[str, bytes]) -> None:
        self.lab = lab = replace(lab, nodes=(*lab.nodes, *_uplinks(lab)))
        self.contents = contents
        self.nodes = {node.name: node for node in lab.nodes}
        self.faces: dict[NodeName, list[_Face]] = {node.name: [] for node in lab.nodes}
        self.ports: dict[Interface, BridgePort] = {}
        self.ends: list[tuple[_End, _End]] = []
        self.mtus: dict[Interface, int] = {}
        self.bridges: dict[Interface, BridgeSpec] = {}
        self.vxlans: dict[Interface, VxlanSpec] = {}
        self.macvlans: dict[Interface, MacvlanSpec] = {}
        self.members: dict[Interface, list[Interface]] = {}
        delays_s = [bridge.stp.forward_delay_s for node in lab.nodes for bridge in node.bridges if bridge.stp]
        self.forwarding_in_s = 2 * max((_or(delay_s, 15) for delay_s in delays_s), default=0)
        """How long the slowest bridge listens and learns before it forwards."""
        for node in lab.nodes:
            self._list_ports(node)
        for node in lab.nodes:
            self._list_interfaces(node)
        self._list_switch_cables()
        for port, membership in self.ports.items():
            self.members.setdefault(Interface(port.node, membership.bridge), []).append(port)

    def _list_ports(self, node: NodeSpec) -> None:
        for bridge in node.bridges:
            for port in bridge.ports:
                priority = 32 if port.priority is None else port.priority
                self.ports[Interface(node.name, port.name)] = BridgePort(bridge.name, port.cost, priority)

    def _list_interfaces(self, node: NodeSpec) -> None:
        faces = self.faces[node.name]
        for nic in node.nics:
            faces.append(_Face(nic.name, nic.addresses, nic.up))
            self._plug(node, nic)
        for bridge in node.bridges:
            faces.append(_Face(bridge.name, bridge.addresses, bridge.up))
            self.bridges[Interface(node.name, bridge.name)] = bridge
        for vxlan in node.vxlans:
            faces.append(_Face(vxlan.name, vxlan.addresses, vxlan.up))
            self.vxlans[Interface(node.name, vxlan.name)] = vxlan
        for macvlan in node.macvlans:
            faces.append(_Face(macvlan.name, macvlan.addresses, macvlan.up))
            self.macvlans[Interface(node.name, macvlan.name)] = macvlan

    def _plug(self, node: NodeSpec, nic: Nic) -> None:
        """Note the veth between a NIC and whatever it is plugged into."""
        interface = Interface(node.name, nic.name)
        end = self._nic_end(interface, nic)
        mtu_bytes = end.mtu_bytes if nic.peer.mtu_bytes is None else nic.peer.mtu_bytes
        match nic.to:
            case ToNic(other):
                far_nic = self._find_nic(other)
                if far_nic is None:
                    self._tie(end, _End(other, None, mtu_bytes, True, self.ports.get(other)))
                elif interface < other or far_nic.to != ToNic(interface):  # the other NIC says the same: tie it once
                    self._tie(end, self._nic_end(other, far_nic))
            case ToBridge(far_node, bridge):
                far = Interface(far_node, nic.peer.name or port_name(node.name, nic.name))
                self.ports.setdefault(far, BridgePort(bridge))
                self._tie(end, _End(far, nic.peer.mac, mtu_bytes, True, self.ports[far]))
                self._note_face(far, nic)
            case ToHost(host):
                far = Interface(host, nic.peer.name or port_name(node.name, nic.name))
                self._tie(end, _End(far, nic.peer.mac, mtu_bytes, True, self.ports.get(far)))
                self._note_face(far, nic)
            case Unplugged():
                self._tie(end, _End(Interface(node.name, free_end_name(nic.name)), None, mtu_bytes, up=False))
            case ToNat():
                far = Interface(uplink_name(interface), UPLINK_PORT)
                self.ports[far] = BridgePort(UPLINK_BRIDGE)
                self._tie(end, _End(far, None, mtu_bytes, True, self.ports[far]))

    def _note_face(self, far: Interface, nic: Nic) -> None:
        self.faces.setdefault(far.node, []).append(_Face(far.nic, nic.peer.addresses, True))

    def _nic_end(self, interface: Interface, nic: Nic) -> _End:
        mtu_bytes = DEFAULT_MTU_BYTES if nic.mtu_bytes is None else nic.mtu_bytes
        return _End(interface, nic.mac, mtu_bytes, nic.up, self.ports.get(interface))

    def _find_nic(self, interface: Interface) -> Nic | None:
        node = self.nodes.get(interface.node)
        return None if node is None else next((nic for nic in node.nics if nic.name == interface.nic), None)

    def _list_switch_cables(self) -> None:
        """Cables with no NIC at either end: both ports are named after the cable."""
        for cable in self.lab.cables:
            one, other = cable.ends
            if isinstance(one, ToBridge) and isinstance(other, ToBridge):
                name = _cut(cable.name)
                # A cable from a switch to itself needs two names there.
                second = _cut(f"{cable.name}-2") if one.node == other.node else name
                self._tie(self._cable_end(one, name), self._cable_end(other, second))
            elif (isinstance(one, ToBridge) and other is None) or (isinstance(other, ToBridge) and one is None):
                plugged = one if isinstance(one, ToBridge) else other
                assert isinstance(plugged, ToBridge)
                end = self._cable_end(plugged, _cut(cable.name))
                free = Interface(plugged.node, free_end_name(cable.name))
                self._tie(end, _End(free, None, end.mtu_bytes, up=False))

    def _cable_end(self, end: ToBridge, name: NicName) -> _End:
        interface = Interface(end.node, name)
        port = self.ports.setdefault(interface, BridgePort(end.bridge))
        bridge = next((one for one in self.nodes[end.node].bridges if one.name == end.bridge), None)
        mtu_bytes = DEFAULT_MTU_BYTES if bridge is None or bridge.mtu_bytes is None else bridge.mtu_bytes
        return _End(interface, None, mtu_bytes, True, port)

    def _tie(self, one: _End, other: _End) -> None:
        self.ends.append((one, other))
        self.mtus[one.interface] = one.mtu_bytes
        self.mtus[other.interface] = other.mtu_bytes

    # MTUs that follow from others'

    def _mtu_bytes(self, interface: Interface) -> int:
        """The MTU of any interface; 1500 for one that would follow itself (a tunnel over its own bridge)."""
        known = self.mtus.get(interface)
        if known is not None:
            return known
        self.mtus[interface] = DEFAULT_MTU_BYTES
        if (bridge := self.bridges.get(interface)) is not None:
            ports = [self._mtu_bytes(port) for port in self.members.get(interface, ())]
            found = bridge.mtu_bytes or min(ports, default=DEFAULT_MTU_BYTES)
        elif (vxlan := self.vxlans.get(interface)) is not None:
            fitting = self._tunnel_mtu_bytes(interface.node, vxlan)
            found = vxlan.mtu_bytes or fitting
            if vxlan.dev is not None:
                found = min(found, fitting)  # Linux allows no more than fits through `dev`
        elif (macvlan := self.macvlans.get(interface)) is not None:
            parent = self._mtu_bytes(macvlan.parent)
            found = min(macvlan.mtu_bytes or parent, parent)  # Linux allows no more than the parent's
        else:
            found = DEFAULT_MTU_BYTES
        self.mtus[interface] = found
        return found

    def _tunnel_mtu_bytes(self, node: NodeName, vxlan: VxlanSpec) -> int:
        """What fits through the interface below: Linux itself looks only at `dev`, and takes 1500 without one."""
        below = vxlan.dev
        if below is None and vxlan.local is not None:
            local = vxlan.local
            below = next(
                (face.nic for face in self.faces[node] for address in face.addresses if address.ip == local), None
            )
        outer_bytes = DEFAULT_MTU_BYTES if below is None else self._mtu_bytes(Interface(node, below))
        tunnel_ends = [vxlan.local, *vxlan.remotes, *(entry.destination for entry in vxlan.fdb)]
        version = next((end.version for end in tunnel_ends if end is not None), 4)
        return outer_bytes - VXLAN_OVERHEAD_BYTES[version]

    # Things

    def things(self) -> Iterator[Thing]:
        for node in self.lab.nodes:
            yield from self._node_things(node)
        for one, other in self.ends:
            yield veth(self._veth_end(one), self._veth_end(other))
        for node in self.lab.nodes:
            for face in self.faces[node.name]:
                yield from self._addresses(node.name, face)
            yield from self._routes(node)

    def _mac(self, interface: Interface, given: Mac | None) -> Mac:
        return given or derived_mac(self.lab.name, interface.node, interface.nic)

    def _veth_end(self, end: _End) -> VethEnd:
        port = end.port
        if port is not None and port.cost == _VETH_PORT_COST:
            port = BridgePort(port.bridge, None, port.priority)  # the kernel's own by speed, so the same state
        return VethEnd(end.interface, self._mac(end.interface, end.mac), end.mtu_bytes, end.up, port)

    def _node_things(self, node: NodeSpec) -> Iterator[Thing]:
        yield Node(node.name, node.kind, node.host, node.hostname or bare_name(node.name))
        yield Loopback(Interface(node.name, NicName("lo")))
        for name, value in self._sysctls(node).items():
            yield Sysctl(node.name, name, value)
        for bridge in node.bridges:
            yield self._bridge(Interface(node.name, bridge.name), bridge)
        for vxlan in node.vxlans:
            yield from self._vxlan(Interface(node.name, vxlan.name), vxlan)
        for macvlan in node.macvlans:
            yield self._macvlan(Interface(node.name, macvlan.name), macvlan)
        files = [self._file(node.name, spec) for spec in node.files]
        yield from files
        yield from self._services(node, files)

    def _services(self, node: NodeSpec, files: list[File]) -> Iterator[Thing]:
        """The node's processes and the config files of its daemons; a syslog comes with those that speak to it."""
        programs = {program.name: program for program in map(program_of, node.services)}
        for nic in node.nics:
            if nic.dhcp:
                hostname = node.hostname or bare_name(node.name)
                client = dhcp.client(nic.name, hostname, forwarding_in_s=self.forwarding_in_s)
                programs.setdefault(client.name, client)
        if any(program.logs for program in programs.values()):
            programs.setdefault(SYSLOG, program_of(Syslog()))
        for program in programs.values():
            own = [self._text_file(node.name, path, text) for path, text in program.files]
            yield from own
            yield Process(
                node.name, program.name, program.argv, program.env, program.user, program.restart, program.ready,
                digest=_config_digest(program.argv, [*files, *own]), config=program.config, vrrp=program.vrrp,
                health_checks=program.health_checks,
            )  # fmt: skip

    def _text_file(self, node: NodeName, path: str, text: str) -> File:
        content = text.encode()
        return File(node, path, digest_of(content), content=content)

    def _sysctls(self, node: NodeSpec) -> dict[str, str]:
        forwarding = "1" if node.forwarding else "0"
        sysctls = dict.fromkeys(WATCHED_SYSCTLS, forwarding)
        if node.kind in (NodeKind.SWITCH, NodeKind.UPLINK) and not any(
            address.version == 6 for bridge in node.bridges for address in bridge.addresses
        ):
            # A switch that speaks IPv6 shows up in its own table, and the textbook's answer does not.
            sysctls["net.ipv6.conf.default.disable_ipv6"] = "1"
        sysctls.update(canonical_sysctl(name, value) for name, value in node.sysctls)
        return sysctls

    def _bridge(self, interface: Interface, spec: BridgeSpec) -> Bridge:
        stp = spec.stp or Stp()
        default = Bridge(interface, self._mac(interface, spec.mac))
        return Bridge(
            interface,
            default.mac,
            mtu_bytes=self._mtu_bytes(interface),
            up=spec.up,
            ageing_time_s=_or(spec.ageing_time_s, default.ageing_time_s),
            stp=spec.stp is not None,
            priority=default.priority if stp.priority is None else stp.priority,
            forward_delay_s=_or(stp.forward_delay_s, default.forward_delay_s),
            hello_time_s=_or(stp.hello_time_s, default.hello_time_s),
            max_age_s=_or(stp.max_age_s, default.max_age_s),
        )

    def _vxlan(self, interface: Interface, spec: VxlanSpec) -> Iterator[Thing]:
        remotes = tuple(dict.fromkeys(spec.remotes))
        yield Vxlan(
            interface,
            self._mac(interface, spec.mac),
            vni=spec.vni,
            local=spec.local,
            remote=remotes[0] if len(remotes) == 1 else None,
            udp_port=spec.udp_port,
            dev=spec.dev,
            learning=spec.learning,
            mtu_bytes=self._mtu_bytes(interface),
            up=spec.up,
            port=self.ports.get(interface),
        )
        if len(remotes) > 1:
            for remote in remotes:
                yield FdbEntry(interface, ZERO_MAC, remote)
        for entry in spec.fdb:
            # A single remote is an entry of the kernel's own making, and `Vxlan.remote` in the state.
            if not (entry.mac == ZERO_MAC and remotes == (entry.destination,)):
                yield FdbEntry(interface, entry.mac, entry.destination)

    def _macvlan(self, interface: Interface, spec: MacvlanSpec) -> Macvlan:
        mac = self._mac(interface, spec.mac)
        if spec.mode is MacvlanMode.PASSTHRU:
            mac = self._parent_mac(spec.parent) or mac  # Linux gives a passthru macvlan its parent's
        mtu_bytes, port = self._mtu_bytes(interface), self.ports.get(interface)
        return Macvlan(interface, mac, spec.parent, spec.mode, mtu_bytes, spec.up, port)

    def _parent_mac(self, parent: Interface) -> Mac | None:
        for pair in self.ends:
            for end in pair:
                if end.interface == parent:
                    return self._mac(parent, end.mac)
        above = self.bridges.get(parent) or self.vxlans.get(parent) or self.macvlans.get(parent)
        return None if above is None else self._mac(parent, above.mac)

    def _file(self, node: NodeName, spec: FileSpec) -> File:
        if spec.text is not None:
            content = spec.text.encode()
        elif spec.source is None:
            content = b""
        elif spec.source in self.contents:
            content = self.contents[spec.source]
        else:
            raise UsageError(f"file {spec.path} of {node}: there is no {spec.source} beside the lab file")
        return File(node, spec.path, digest_of(content), spec.mode, spec.owner, content)

    def _addresses(self, node: NodeName, face: _Face) -> Iterator[Thing]:
        interface = Interface(node, face.nic)
        for address in face.addresses:
            if self._speaks(interface, address.version):
                yield Address(interface, address)

    def _speaks(self, interface: Interface, version: int) -> bool:
        return version == 4 or self._mtu_bytes(interface) >= MIN_IPV6_MTU_BYTES

    def _routes(self, node: NodeSpec) -> Iterator[Thing]:
        for nic in node.nics:
            for gateway in nic.gateways:
                yield from self._route(node, RouteSpec(DEFAULT_NETWORK[gateway.version], gateway, nic.name))
        for spec in node.routes:
            yield from self._route(node, spec)

    def _route(self, node: NodeSpec, spec: RouteSpec) -> Iterator[Route]:
        """The route, or nothing if it would go over an interface that is down or has no such IP."""
        version = spec.to.version
        metric = DEFAULT_METRIC[version] if spec.metric is None else spec.metric
        if spec.type is not RouteType.UNICAST:
            yield Route(node.name, spec.to, metric=metric, type=spec.type)
            return
        faces = self.faces[node.name]
        if spec.dev is None and spec.via is not None:
            face = _face_towards(spec.via, faces, node.routes)
        else:
            face = next((one for one in faces if one.nic == spec.dev), None)
        if face is None:
            if spec.dev is None or spec.dev == "lo":  # the kernel's own answer to it names the trouble
                yield Route(node.name, spec.to, spec.via, spec.dev, metric)
            return
        if face.up and self._speaks(Interface(node.name, face.nic), version):
            onlink = spec.onlink and spec.via is not None
            yield Route(node.name, spec.to, spec.via, face.nic, metric, onlink)


def _face_towards(via: IpAddress, faces: Iterable[_Face], routes: Iterable[RouteSpec]) -> _Face | None:
    """The interface on whose subnet, or behind whose own route, a next hop lies: the longest prefix, up before down."""
    candidates = [
        (face.up, address.network.prefixlen, face)
        for face in faces
        for address in face.addresses
        if address.version == via.version and via in address.network
    ]
    by_name = {face.nic: face for face in faces}
    candidates += [
        (by_name[route.dev].up, route.to.prefixlen, by_name[route.dev])
        for route in routes
        if route.via is None and route.dev in by_name and route.to.version == via.version and via in route.to
    ]
    if candidates:
        return max(candidates, key=lambda candidate: candidate[:2])[2]
    if isinstance(via, IPv6Address) and via.is_link_local and len(by_name) == 1:
        return next(iter(by_name.values()))
    return None


def _config_digest(argv: tuple[str, ...], files: Iterable[File]) -> str:
    """A digest of the placed files that a command line names, so that a daemon restarts when its config changes."""
    named = [file.digest for file in files if any(file.path in word for word in argv)]
    return digest_of(" ".join(named).encode()) if named else ""


def _cut(name: str) -> NicName:
    """A name as an interface may have it, cut and hashed beyond 15 bytes."""
    if len(name.encode()) <= MAX_NIC_BYTES:
        return NicName(name)
    digest = hashlib.blake2b(name.encode(), digest_size=2).hexdigest()
    return NicName(name.encode()[: MAX_NIC_BYTES - 5].decode(errors="ignore") + "-" + digest)


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
