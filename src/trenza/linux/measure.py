"""Measurements from dumps: counters, tables, and the spanning tree as the kernel decided it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from trenza.linux import rtnetlink, rtnetlink_dump
from trenza.linux.netlink import NetlinkSocket
from trenza.linux.rtnetlink import CENTISECONDS
from trenza.linux.rtnetlink_dump import LinkRecord, number
from trenza.linux.snapshot import NodeView
from trenza.model.measurements import (
    AddressMeasure,
    BridgeMeasure,
    FdbMeasure,
    LinkMeasure,
    Measurements,
    NeighbourMeasure,
    PortMeasure,
    RouteMeasure,
)
from trenza.model.names import Interface, NicName, NodeName

_IFA_F_PERMANENT = 0x80
_NUD_NOARP = 0x40
_NUD_PERMANENT = 0x80
SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
PROTOCOLS = {
    0: "unspec", 1: "redirect", 2: "kernel", 3: "boot", 4: "static", 8: "gated", 9: "ra", 11: "zebra", 12: "bird",
    16: "dhcp", 17: "mrouted", 18: "keepalived", 42: "babel", 186: "bgp", 187: "isis", 188: "ospf", 189: "rip",
    192: "eigrp",
}  # fmt: skip
ROUTE_TYPES = (
    "unspec", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit", "throw",
    "nat", "xresolve",
)  # fmt: skip
NEIGHBOUR_STATES = {
    0x01: "INCOMPLETE", 0x02: "REACHABLE", 0x04: "STALE", 0x08: "DELAY", 0x10: "PROBE", 0x20: "FAILED", 0x40: "NOARP",
    0x80: "PERMANENT",
}  # fmt: skip
PORT_STATES = ("disabled", "listening", "learning", "forwarding", "blocking")


def measurements(
    views: Mapping[NodeName, NodeView],
    asked: Collection[NodeName],
    sock: Callable[[NodeName], NetlinkSocket],
    pairs: Mapping[Interface, Interface],
) -> Measurements:
    """Everything learnt of the nodes in `asked`; `pairs` are the veth ends that belong together."""
    links: list[LinkMeasure] = []
    addresses: list[AddressMeasure] = []
    routes: list[RouteMeasure] = []
    neighbours: list[NeighbourMeasure] = []
    fdb: list[FdbMeasure] = []
    bridges: list[BridgeMeasure] = []
    ports: list[PortMeasure] = []
    pids: dict[NodeName, tuple[int, int | None]] = {}
    for node in asked:
        handle = views[node].handle
        if handle.pid is not None:
            pids[node] = (handle.pid, handle.pid_in_host)
        own = sock(node)
        records = rtnetlink_dump.links(own.dump(rtnetlink.DUMP_LINKS_WITH_COUNTERS))
        names = {record.index: NicName(record.name) for record in records}
        links += (_link(node, record, names, pairs) for record in records)
        addresses += _addresses(node, own, names)
        routes += _routes(node, own, names)
        neighbours += _neighbours(node, own, names)
        masters = {record.index: record for record in records if record.kind == "bridge"}
        if masters or any(record.kind == "vxlan" for record in records):
            fdb += _fdb(node, own, records)
        for bridge in masters.values():
            members = [record for record in records if record.master == bridge.index]
            bridges.append(_bridge(node, bridge, members))
            ports += (_port(node, bridge, member) for member in members)
    return Measurements(
        tuple(links),
        tuple(addresses),
        tuple(routes),
        tuple(neighbours),
        tuple(fdb),
        tuple(bridges),
        tuple(ports),
        pids,
    )


def _link(
    node: NodeName, record: LinkRecord, names: Mapping[int, NicName], pairs: Mapping[Interface, Interface]
) -> LinkMeasure:
    interface = Interface(node, NicName(record.name))
    rx_packets, tx_packets, rx_bytes, tx_bytes = record.counters
    return LinkMeasure(
        interface,
        record.kind or "physical",
        record.index,
        record.mac,
        record.mtu_bytes,
        record.up,
        record.carrier,
        names.get(record.master) if record.port_kind == "bridge" else None,
        pairs.get(interface),
        rx_packets,
        tx_packets,
        rx_bytes,
        tx_bytes,
    )


def _addresses(node: NodeName, sock: NetlinkSocket, names: Mapping[int, NicName]) -> Iterator[AddressMeasure]:
    for record in rtnetlink_dump.addresses(sock.dump(rtnetlink.DUMP_ADDRESSES)):
        nic = names.get(record.index)
        if nic is None:
            continue
        if record.protocol in (1, 3) or (nic == "lo" and str(record.ip) == "127.0.0.1"):
            origin = "kernel"
        elif record.protocol == 2:
            origin = "ra"
        else:
            lasting = bool(record.flags & _IFA_F_PERMANENT)
            origin = "static" if lasting else "dhcp" if record.ip.version == 4 else "dynamic"
        scope = SCOPES.get(record.scope, str(record.scope))
        yield AddressMeasure(Interface(node, nic), f"{record.ip}/{record.prefix_length}", scope, origin)


def _routes(node: NodeName, sock: NetlinkSocket, names: Mapping[int, NicName]) -> Iterator[RouteMeasure]:
    for record in rtnetlink_dump.routes(sock.dump(rtnetlink.DUMP_ROUTES)):
        yield RouteMeasure(
            node,
            str(record.to),
            None if record.via is None else str(record.via),
            names.get(record.dev),
            record.metric,
            PROTOCOLS.get(record.protocol, str(record.protocol)),
            ROUTE_TYPES[record.type] if record.type < len(ROUTE_TYPES) else str(record.type),
            None if record.source is None else str(record.source),
        )


def _neighbours(node: NodeName, sock: NetlinkSocket, names: Mapping[int, NicName]) -> Iterator[NeighbourMeasure]:
    for record in rtnetlink_dump.neighbours(sock.dump(rtnetlink.DUMP_NEIGHBOURS)):
        nic = names.get(record.index)
        if nic is None or record.state & _NUD_NOARP:
            continue  # NOARP: multicast and the like, which is computed and not learnt
        state = NEIGHBOUR_STATES.get(record.state, "NONE")
        yield NeighbourMeasure(Interface(node, nic), record.ip, record.mac, state)


def _fdb(node: NodeName, sock: NetlinkSocket, links: Collection[LinkRecord]) -> Iterator[FdbMeasure]:
    by_index = {link.index: link for link in links}
    for record in rtnetlink_dump.fdb_entries(sock.dump(rtnetlink.DUMP_FDB)):
        link = by_index.get(record.index)
        if link is None or not (record.master or link.kind == "vxlan"):
            continue  # a device's own filter of multicast addresses
        bridge = by_index.get(record.master)
        if not record.state & (_NUD_NOARP | _NUD_PERMANENT):
            origin = "learnt"
        elif record.state & _NUD_NOARP or record.destination is not None:
            origin = "static"
        else:
            origin = "local"
        yield FdbMeasure(
            Interface(node, NicName(link.name)),
            record.mac,
            origin,
            None if bridge is None else NicName(bridge.name),
            record.destination,
            record.age_s if origin == "learnt" else None,
        )


def bridge_id_text(data: bytes | None) -> str:
    """A bridge's id as sysfs writes it: `8000.02aabbccddee`."""
    return "" if data is None else f"{data[:2].hex()}.{data[2:8].hex()}"


def _bridge(node: NodeName, record: LinkRecord, members: Collection[LinkRecord]) -> BridgeMeasure:
    data = record.data
    root_port = number(data.get(12))
    return BridgeMeasure(
        Interface(node, NicName(record.name)),
        number(data.get(5)) != 0,
        bridge_id_text(data.get(11)),
        bridge_id_text(data.get(10)),
        number(data.get(13)),
        next((NicName(one.name) for one in members if root_port and number(one.port.get(18)) == root_port), None),
        number(data.get(14)),
    )


def _port(node: NodeName, bridge: LinkRecord, record: LinkRecord) -> PortMeasure:
    """A port's state, and the role that Linux does not tell: derived from the root port and the designated ids."""
    options = record.port
    state = PORT_STATES[number(options.get(1))]
    own_bridge = bridge.data.get(11)
    if state == "disabled":
        role = "disabled"
    elif number(bridge.data.get(12)) == number(options.get(18)):
        role = "root"
    elif options.get(14) != own_bridge:
        role = "alternate"
    elif number(options.get(15)) == number(options.get(17)):
        role = "designated"
    else:
        role = "backup"
    return PortMeasure(
        Interface(node, NicName(record.name)),
        NicName(bridge.name),
        state,
        role,
        number(options.get(3)),
        bridge_id_text(options.get(13)),
        bridge_id_text(options.get(14)),
        number(options.get(16)),
        number(options.get(2)),
        number(options.get(18)),
        number(options.get(15)),
        number(options.get(22)) / CENTISECONDS,
        number(options.get(21)) / CENTISECONDS,
    )
