"""Building: drafts and their wiring become the `Lab`; says what the kernel would refuse."""

from __future__ import annotations

from collections.abc import Iterable

from trenza.model.lab import (
    BridgeSpec,
    FdbSpec,
    FileSpec,
    MacvlanSpec,
    Nic,
    NodeSpec,
    Peer,
    Port,
    RouteSpec,
    Stp,
    ToBridge,
    ToHost,
    Unplugged,
    VxlanSpec,
)
from trenza.model.names import Interface, Mac, NicName, bare_name
from trenza.model.services import Service
from trenza.model.state import IpAddress, IpInterface, IpNetwork, MacvlanMode, NodeKind, RouteType
from trenza.services.daemons import program_of
from trenza.spec.daemons import service_of
from trenza.spec.decode import Decoded
from trenza.spec.drafts import Draft, Drafts
from trenza.spec.forms import DEFAULT, default_route
from trenza.spec.parameters import is_unfilled
from trenza.spec.report import Report, Word, meant
from trenza.spec.tree import Place
from trenza.spec.wiring import Wiring


def nodes_of(drafts: Drafts, wiring: Wiring, report: Report) -> tuple[NodeSpec, ...]:
    """The nodes, hosts before their containers."""
    builder = _Builder(drafts, wiring, report)
    nodes = tuple(builder.node(draft) for draft in drafts)
    for draft in drafts:
        builder.check_ports(draft)
        builder.check_next_hops(draft)
    return nodes


class _Builder:
    def __init__(self, drafts: Drafts, wiring: Wiring, report: Report) -> None:
        self.drafts = drafts
        self.wiring = wiring
        self.report = report
        self.ports_into: dict[str, list[tuple[Interface, Interface, str]]] = {}
        for nic, far in wiring.far.items():
            attachment = wiring.to[nic]
            bridge = attachment.bridge if isinstance(attachment, ToBridge) else ""
            self.ports_into.setdefault(far.node, []).append((nic, far, bridge))

    def node(self, draft: Draft) -> NodeSpec:
        record = draft.record
        if draft.kind is NodeKind.SWITCH:
            return NodeSpec(draft.name, draft.kind, bridges=(self._bridge(draft, draft.name, record),))
        return NodeSpec(
            name=draft.name,
            kind=draft.kind,
            host=draft.host,
            hostname=record.text("hostname") or bare_name(draft.name),
            nics=tuple(self._nic(draft, name, nic) for name, nic in draft.nics.items()),
            bridges=tuple(self._bridge(draft, name, bridge) for name, bridge in draft.bridges.items()),
            vxlans=tuple(self._vxlan(draft, name, vxlan) for name, vxlan in draft.vxlans.items()),
            macvlans=tuple(
                spec for name, macvlan in draft.macvlans.items() if (spec := self._macvlan(draft, name, macvlan))
            ),
            routes=tuple(built for route in record.records("routes") if (built := self._route(draft, route))),
            forwarding=record.flag("forwarding", False),
            sysctls=tuple((name, str(given.value)) for name, given in record.scalars("sysctls").items()),
            files=tuple(_file(path, file) for path, file in record.table("files").items()),
            services=self._services(draft),
        )

    def _nic(self, draft: Draft, name: str, nic: Decoded) -> Nic:
        interface = Interface(draft.name, NicName(name))
        cable = self.wiring.cable.get(interface)
        peer = nic.record("peer")
        far = self.wiring.far.get(interface)
        far_name = NicName(cable) if far is not None and cable is not None else None
        if peer is not None:
            far_name = NicName(peer.text("name") or "") or far_name
        return Nic(
            name=interface.nic,
            to=self.wiring.to.get(interface, Unplugged()),
            cable=cable,
            addresses=_ips(nic),
            gateways=tuple(gateway for gateway, _ in nic.addresses("gateway")),
            mac=_mac(nic),
            mtu_bytes=nic.whole("mtu"),
            up=nic.flag("up", True),
            dhcp=nic.flag("dhcp", False),
            peer=Peer(far_name) if peer is None else Peer(far_name, _ips(peer), _mac(peer), peer.whole("mtu")),
        )

    # services

    def _services(self, draft: Draft) -> tuple[Service, ...]:
        """The node's services; says what they name that is not there, and files that two of them would write."""
        taken = {path: file.at for path, file in draft.record.table("files").items()}
        services = []
        for name, record in draft.record.table("services").items():
            service = service_of(name, record)
            if service is None:
                continue
            services.append(service)
            for path, _ in program_of(service).files:
                if path in taken:
                    self.report.say("E063", taken[path], None, path=path, service=name)
            for router in record.table("vrrp").values():
                nics = [given for given in (router.values.get("nic"),) if given is not None]
                for given in (*nics, *router.many("track_interface")):
                    self._require_face(draft, str(given.value), given.at, f"{draft.name}")
                scripts = record.table("scripts")
                for given in router.many("track_script"):
                    if given.value not in scripts:
                        hint = meant(str(given.value), scripts, "scripts")
                        kind = Word("script")
                        self.report.say("E014", given.at, hint, kind=kind, name=given.value, where=f"{draft.name}")
            backends = record.table("backends")
            for frontend in record.table("frontends").values():
                backend = frontend.text("default_backend")
                if backend is not None and backend not in backends:
                    at, hint = frontend.place("default_backend"), meant(backend, backends, "backends")
                    self.report.say("E014", at, hint, kind=Word("backend"), name=backend, where=f"{draft.name}")
        return tuple(services)

    # bridges

    def _bridge(self, draft: Draft, name: str, bridge: Decoded) -> BridgeSpec:
        stp = bridge.record("stp")
        ports = (self._port(draft, name, port_name, port) for port_name, port in bridge.table("ports").items())
        return BridgeSpec(
            name=NicName(name),
            ports=tuple(port for port in ports if port is not None),
            addresses=_ips(bridge),
            mac=_mac(bridge),
            mtu_bytes=bridge.whole("mtu"),
            ageing_time_s=bridge.number("ageing_time"),
            stp=None
            if stp is None
            else Stp(
                stp.whole("priority"), stp.number("forward_delay"), stp.number("hello_time"), stp.number("max_age")
            ),
            up=bridge.flag("up", True),
        )  # fmt: skip

    def _port(self, draft: Draft, bridge: str, name: str, port: Decoded) -> Port | None:
        """A port by the name its interface has in the node; a switch may name the cable instead."""
        actual = name
        if name in draft.bridges:
            self.report.say("E044", port.at, None, name=name, bridge=bridge)
            return None
        if draft.kind is NodeKind.SWITCH:
            if name not in draft.faces:
                actual = next((far.nic for nic, far, _ in self.ports_into.get(draft.name, ())
                               if self.wiring.cable.get(nic) == name), "")  # fmt: skip
            if not actual and name in self.drafts.cables:
                actual = name  # its other end is free
        if actual not in draft.faces and actual not in self.drafts.cables:
            known = [*draft.faces, *(self.drafts.cables if draft.kind is NodeKind.SWITCH else ())]
            known = [each for each in known if each not in draft.bridges]
            where = bridge if draft.kind is NodeKind.SWITCH else f"{draft.name}.{bridge}"
            kind = Word("cable" if draft.kind is NodeKind.SWITCH else "port")
            hint = meant(name, known, "cables" if draft.kind is NodeKind.SWITCH else "interfaces")
            self.report.say("E014", port.at, hint, kind=kind, name=name, where=where)
            return None
        return Port(NicName(actual), port.whole("cost"), port.whole("priority"))

    def check_ports(self, draft: Draft) -> None:
        """That no interface is a port of two bridges."""
        bridge_of = {far.nic: bridge for _, far, bridge in self.ports_into.get(draft.name, ()) if bridge}
        for bridge, record in draft.bridges.items():
            for port, options in record.table("ports").items():
                other = bridge_of.setdefault(NicName(port), NicName(bridge))
                if other != bridge:
                    self.report.say("E043", options.at, None, port=port, one=other, other=bridge)

    # tunnels and macvlans

    def _vxlan(self, draft: Draft, name: str, vxlan: Decoded) -> VxlanSpec:
        vni, port = vxlan.whole("vni"), vxlan.whole("port") or 4789
        for other_name, other in draft.vxlans.items():
            if other_name == name:
                break
            if vni is not None and vni == other.whole("vni") and port == (other.whole("port") or 4789):
                self.report.say("E057", vxlan.place("vni"), None, name=name, other=other_name, vni=vni)
        dev = vxlan.text("dev")
        if dev is not None:
            self._require_face(draft, dev, vxlan.place("dev"), f"{draft.name}.{name}")
        remotes = [*vxlan.addresses("remote"), *vxlan.addresses("remotes")]
        local = vxlan.address("local")
        ends: list[tuple[IpAddress, Place]] = [*remotes]
        entries = []
        for entry in vxlan.records("fdb"):
            mac, destination = _mac(entry), entry.address("dst")
            if mac is not None and destination is not None:
                entries.append(FdbSpec(mac, destination))
                ends.append((destination, entry.place("dst")))
        version = local.version if local is not None else ends[0][0].version if ends else 4
        for end, at in ends:
            if end.version != version:
                self.report.say("E048", at, None, one=end, version=end.version, other=version)
        return VxlanSpec(
            name=NicName(name),
            vni=vni or 0,
            local=local,
            remotes=tuple(dict.fromkeys(remote for remote, _ in remotes)),
            udp_port=port,
            dev=None if dev is None else NicName(dev),
            learning=vxlan.flag("learning", True),
            fdb=tuple(entries),
            addresses=_ips(vxlan),
            mac=_mac(vxlan),
            mtu_bytes=vxlan.whole("mtu"),
            up=vxlan.flag("up", True),
        )

    def _macvlan(self, draft: Draft, name: str, macvlan: Decoded) -> MacvlanSpec | None:
        text, at = macvlan.text("parent"), macvlan.place("parent")
        if text is None or is_unfilled(text):
            return None
        parent = self._parent(draft, name, text, at)
        if parent is None:
            return None
        mode = macvlan.text("mode")
        return MacvlanSpec(
            name=NicName(name),
            parent=parent,
            mode=MacvlanMode.BRIDGE if mode is None else MacvlanMode(mode),
            addresses=_ips(macvlan),
            mac=_mac(macvlan),
            mtu_bytes=macvlan.whole("mtu"),
            up=macvlan.flag("up", True),
        )

    def _parent(self, draft: Draft, name: str, text: str, at: Place) -> Interface | None:
        """The interface under a macvlan: of the same node, else of its host."""
        if text == name:
            self.report.say("E041", at, None, name=f"{draft.name}.{name}")
            return None
        near = [node for node in (draft.name, draft.host) if node is not None]
        for node in near:
            if text in self.drafts.nodes[node].faces:
                return Interface(node, NicName(text))
        node_name, _, nic = text.partition(".")
        if nic and not self.drafts.is_ambiguous(node_name):
            owner = self.drafts.find_node(node_name, draft.host, at)
            if owner is not None and owner.name in near and nic in owner.faces:
                return Interface(owner.name, NicName(nic))
        known = [face for node in near for face in self.drafts.nodes[node].faces if face != name]
        where = f"{draft.name}.{name}"
        self.report.say("E014", at, meant(text, known, "interfaces"), kind=Word("interface"), name=text, where=where)
        return None

    def _require_face(self, draft: Draft, name: str, at: Place, where: str) -> bool:
        if name in draft.faces:
            return True
        hint = meant(name, draft.faces, "interfaces")
        self.report.say("E014", at, hint, kind=Word("interface"), name=name, where=where)
        return False

    # routes

    def _route(self, draft: Draft, route: Decoded) -> RouteSpec | None:
        if route.bad or "to" not in route:
            return None
        built = self._built_route(draft, route)
        if built is None:
            route.bad.add("to")  # nothing more is said of it
        return built

    def _built_route(self, draft: Draft, route: Decoded) -> RouteSpec | None:
        via, dev = route.address("via"), route.text("dev")
        to = route.values["to"].value
        network: IpNetwork = default_route(via) if to == DEFAULT else to  # type: ignore[assignment]  # a network, by its form
        kind = RouteType(route.text("type") or RouteType.UNICAST.value)
        if kind is not RouteType.UNICAST:
            for name in ("via", "dev", "onlink"):
                if name in route:
                    self.report.say("E031", route.place(name), None, one=f"type: {kind}", other=name)
                    return None
        elif via is None and dev is None:
            self.report.say("E047", route.at, ("via_or_dev", {}), to=to)
            return None
        if via is not None and via.version != network.version:
            self.report.say("E048", route.place("via"), None, one=via, version=via.version, other=network.version)
            return None
        if dev is not None and not self._require_face(draft, dev, route.place("dev"), f"{draft.name}"):
            return None
        if route.flag("onlink", False) and (dev is None or via is None):
            self.report.say("E047", route.place("onlink"), ("onlink_needs", {}), to=to)
            return None
        return RouteSpec(
            to=network,
            via=via,
            dev=None if dev is None else NicName(dev),
            metric=route.whole("metric"),
            onlink=route.flag("onlink", False),
            type=kind,
        )

    def check_next_hops(self, draft: Draft) -> None:
        """That every next hop lies on a subnet of the node, as the kernel demands.

        Says nothing where addresses come from DHCP, or where something that gives addresses was wrong.
        """
        subnets: dict[str, list[IpNetwork]] = {}
        own: set[IpAddress] = set()
        for name, record in self._address_holders(draft):
            if record.bad & {"ip", "dhcp", "to", "peer"} or record.flag("dhcp", False):
                return
            for address, _ in record.interfaces("ip"):
                subnets.setdefault(name, []).append(address.network)
                own.add(address.ip)
        for route in draft.record.records("routes"):
            to, dev = route.values.get("to"), route.text("dev")
            if to is not None and dev is not None and "via" not in route and to.value != DEFAULT:
                subnets.setdefault(dev, []).append(to.value)  # type: ignore[arg-type]  # a network, by its form
        for route in draft.record.records("routes"):
            via = route.address("via")
            if via is not None and not route.bad and not route.flag("onlink", False):
                self._check_next_hop(via, route.place("via"), draft, subnets, own, route.text("dev"))
        for name, nic in draft.nics.items():
            seen: set[int] = set()
            for gateway, at in nic.addresses("gateway"):
                if gateway.version in seen:
                    self.report.say("E046", at, ("one_gateway", {}), via=gateway, node=f"{draft.name}.{name}")
                seen.add(gateway.version)
                self._check_next_hop(gateway, at, draft, subnets, own, name)

    def _check_next_hop(
        self,
        via: IpAddress,
        at: Place,
        draft: Draft,
        subnets: dict[str, list[IpNetwork]],
        own: set[IpAddress],
        dev: str | None,
    ) -> None:
        if via in own:
            self.report.say("E049", at, None, via=via, node=draft.name)
            return
        if via.version == 6 and via.is_link_local:
            if dev is None:
                self.report.say("E047", at, ("link_local_needs_dev", {}), to=via)
            return
        near = [subnet for name, networks in subnets.items() for subnet in networks if dev is None or name == dev]
        if not any(subnet.version == via.version and via in subnet for subnet in near):
            where = draft.name if dev is None else f"{draft.name}.{dev}"
            shown = " ".join(dict.fromkeys(str(subnet) for subnet in near))
            self.report.say(
                "E046", at, ("subnets", {"names": shown}) if shown else ("no_subnets", {}), via=via, node=where
            )

    def _address_holders(self, draft: Draft) -> Iterable[tuple[str, Decoded]]:
        """Everything in a node that can hold addresses, far ends of its containers' veths included."""
        for table in (draft.nics, draft.bridges, draft.vxlans, draft.macvlans):
            yield from table.items()
        for nic, far, _ in self.ports_into.get(draft.name, ()):
            record = self.drafts.nodes[nic.node].nics[nic.nic]
            peer = record.record("peer")
            if peer is not None:
                yield far.nic, peer
            elif "peer" in record.bad and isinstance(self.wiring.to[nic], ToHost):
                yield far.nic, record


def _ips(record: Decoded) -> tuple[IpInterface, ...]:
    return tuple(dict.fromkeys(address for address, _ in record.interfaces("ip")))


def _mac(record: Decoded) -> Mac | None:
    mac = record.text("mac")
    return None if mac is None else Mac(mac)


def _file(path: str, file: Decoded) -> FileSpec:
    mode = file.whole("mode")
    source = file.text("from")
    text = file.text("text")
    return FileSpec(
        path=path,
        text=text if text is not None or source is not None else "",
        source=source,
        mode=0o644 if mode is None else mode,
        owner=file.text("owner") or "root",
    )
