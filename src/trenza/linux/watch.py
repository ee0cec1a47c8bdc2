"""What changes in the namespaces of a lab, as the kernel tells it: links, addresses, routes, neighbours.

One socket a node, all behind one descriptor that becomes readable when there is something: a pulled cable is there
after less than a millisecond, and a thousand quiet nodes cost nothing. What the kernel had to drop is an event too
(`lost`): whoever keeps a picture must look at everything again.
"""

from __future__ import annotations

import errno
import select
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from trenza.linux import netns, rtnetlink, rtnetlink_dump
from trenza.linux.measure import NEIGHBOUR_STATES, PORT_STATES, PROTOCOLS, ROUTE_TYPES
from trenza.linux.netlink import NetlinkSocket, attributes, split_messages
from trenza.linux.nodes import NodeHandle
from trenza.linux.rtnetlink_dump import LinkRecord, number, text
from trenza.model.names import NodeName

# RTNLGRP_…, include/uapi/linux/rtnetlink.h
_LINK: Final = 1
_NEIGHBOUR: Final = 3
_ADDRESSES: Final = (5, 9)
_ROUTES: Final = (7, 11)
_LINK_ADDRESS_ROUTE: Final = (_LINK, *_ADDRESSES, *_ROUTES)
_IFLA_PROTINFO: Final = 12
_RECEIVE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class NetworkEvent:
    """Something changed in a node. `kind` is link, stp, address, route, neighbour, fdb or lost.

    `text` is a sentence's worth for people, without the node; `fields` are its parts for programs. `gone` says that the
    thing is not there any more.
    """

    node: NodeName
    kind: str
    text: str
    gone: bool = False
    nic: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Watched:
    handle: NodeHandle
    sock: NetlinkSocket
    links: dict[int, LinkRecord]
    port_states: dict[int, int] = field(default_factory=dict)

    def name(self, index: int) -> str:
        record = self.links.get(index)
        if record is not None:
            return record.name
        return netns.find_name(self.sock.fileno(), index) or f"if{index}"


class NetworkWatch:
    """Listens to the nodes that `follow` names. `close` it."""

    def __init__(
        self,
        listen: Callable[[NodeName, tuple[int, ...]], NetlinkSocket],
        dump_links: Callable[[NodeName], tuple[LinkRecord, ...]],
        *,
        neighbours: bool = True,
    ) -> None:
        self._listen = listen
        self._dump_links = dump_links
        self._groups = (*_LINK_ADDRESS_ROUTE, _NEIGHBOUR) if neighbours else _LINK_ADDRESS_ROUTE
        self._ready = select.epoll()
        self._watched: dict[NodeName, _Watched] = {}
        self._by_descriptor: dict[int, NodeName] = {}

    def fileno(self) -> int:
        """Readable when `read` would give something; for `select` and event loops."""
        return self._ready.fileno()

    def close(self) -> None:
        for name in list(self._watched):
            self._drop(name)
        self._ready.close()

    def follow(self, handles: Mapping[NodeName, NodeHandle]) -> None:
        """Listen to exactly these nodes from now on."""
        for name, watched in list(self._watched.items()):
            other = handles.get(name)
            if other is None or (other.netns, other.pid) != (watched.handle.netns, watched.handle.pid):
                self._drop(name)
        for name, handle in handles.items():
            if name not in self._watched:
                sock = self._listen(name, self._groups)
                sock.enlarge_receive_buffer(_RECEIVE_BYTES)
                links = {record.index: record for record in self._dump_links(name)}
                states = {index: number(record.port.get(1)) for index, record in links.items() if record.port}
                self._watched[name] = _Watched(handle, sock, links, states)
                self._by_descriptor[sock.fileno()] = name
                self._ready.register(sock.fileno(), select.EPOLLIN)

    def _drop(self, name: NodeName) -> None:
        watched = self._watched.pop(name)
        del self._by_descriptor[watched.sock.fileno()]
        self._ready.unregister(watched.sock.fileno())
        watched.sock.close()

    def read(self) -> tuple[NetworkEvent, ...]:
        """What has arrived, node by node in its order; never waits."""
        events: list[NetworkEvent] = []
        for descriptor, _ in self._ready.poll(0, max(1, len(self._watched))):
            name = self._by_descriptor[descriptor]
            watched = self._watched[name]
            try:
                for data in watched.sock.events():
                    events += _decoded(name, watched, data)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                watched.links = {record.index: record for record in self._dump_links(name)}
                events.append(NetworkEvent(name, "lost", "changes came faster than they could be read"))
        return tuple(events)


def _decoded(node: NodeName, watched: _Watched, data: bytes) -> Iterator[NetworkEvent]:
    for kind, _flags, _sequence, start, end in split_messages(data):
        family = data[start]
        match kind:
            case rtnetlink.NEWLINK | rtnetlink.DELLINK if family == rtnetlink.AF_BRIDGE:
                yield from _port_event(node, watched, data, start, end, gone=kind == rtnetlink.DELLINK)
            case rtnetlink.NEWLINK | rtnetlink.DELLINK:
                record = rtnetlink_dump.link_record(data, start, end)
                yield from _link_event(node, watched, record, gone=kind == rtnetlink.DELLINK)
            case rtnetlink.NEWADDR | rtnetlink.DELADDR:
                address = rtnetlink_dump.address_record(data, start, end)
                if address is not None:
                    gone = kind == rtnetlink.DELADDR
                    nic = watched.name(address.index)
                    shown = f"{address.ip}/{address.prefix_length}"
                    verb = "lost" if gone else "has"
                    yield NetworkEvent(node, "address", f"{nic} {verb} {shown}", gone, nic, {"address": shown})
            case rtnetlink.NEWROUTE | rtnetlink.DELROUTE:
                for route in rtnetlink_dump.route_records(data, start, end):
                    yield _route_event(node, watched, route, gone=kind == rtnetlink.DELROUTE)
            case rtnetlink.NEWNEIGH | rtnetlink.DELNEIGH:
                yield from _neighbour_event(node, watched, data, start, end, gone=kind == rtnetlink.DELNEIGH)


def _link_event(node: NodeName, watched: _Watched, record: LinkRecord, *, gone: bool) -> Iterator[NetworkEvent]:
    """What is different from the last time; the kernel also tells of changes that none of this shows."""
    old = watched.links.get(record.index)
    fields = {
        "type": record.kind,
        "up": str(record.up).lower(),
        "carrier": str(record.carrier).lower(),
        "mtu": str(record.mtu_bytes),
        "mac": record.mac,
    }
    if gone:
        watched.links.pop(record.index, None)
        yield NetworkEvent(node, "link", f"{record.name} is gone", True, record.name, fields)
        return
    watched.links[record.index] = record
    if old is None:
        yield NetworkEvent(node, "link", f"{record.name} is there", False, record.name, fields)
        return
    changes: list[str] = []
    if old.name != record.name:
        changes.append(f"was {old.name}")
    if old.up != record.up:
        changes.append("up" if record.up else "down")
    if old.carrier != record.carrier:
        changes.append("carrier" if record.carrier else "no carrier")
    if old.mtu_bytes != record.mtu_bytes:
        changes.append(f"MTU {record.mtu_bytes}")
    if old.mac != record.mac:
        changes.append(f"MAC {record.mac}")
    if old.master != record.master:
        bridge = watched.name(record.master or old.master)
        changes.append(f"joined {bridge}" if record.master else f"left {bridge}")
    if changes:
        yield NetworkEvent(node, "link", f"{record.name}: {', '.join(changes)}", False, record.name, fields)


def _port_event(
    node: NodeName, watched: _Watched, data: bytes, start: int, end: int, *, gone: bool
) -> Iterator[NetworkEvent]:
    """A bridge tells of its port: its spanning tree state."""
    found = attributes(data, start + 16, end)
    options = attributes(found.get(_IFLA_PROTINFO, b""))
    nic, bridge = text(found.get(3)), watched.name(number(found.get(10)))
    if gone or 1 not in options:
        return
    index, state = int.from_bytes(data[start + 4 : start + 8], sys.byteorder), number(options[1])
    if watched.port_states.get(index) == state:
        return  # the kernel tells of a port whenever anything of it changes
    watched.port_states[index] = state
    word = PORT_STATES[state]
    yield NetworkEvent(node, "stp", f"{nic} of {bridge} is {word}", False, nic, {"bridge": bridge, "state": word})


def _route_event(node: NodeName, watched: _Watched, route: rtnetlink_dump.RouteRecord, *, gone: bool) -> NetworkEvent:
    nic = watched.name(route.dev) if route.dev else ""
    via = "" if route.via is None else f" via {route.via}"
    dev = f" dev {nic}" if nic else ""
    kind = ROUTE_TYPES[route.type] if route.type < len(ROUTE_TYPES) else str(route.type)
    fields = {"to": str(route.to), "via": str(route.via or ""), "type": kind}
    fields["protocol"] = PROTOCOLS.get(route.protocol, str(route.protocol))
    verb = "no route to" if gone else "route to"
    return NetworkEvent(node, "route", f"{verb} {route.to}{via}{dev}", gone, nic, fields)


def _neighbour_event(
    node: NodeName, watched: _Watched, data: bytes, start: int, end: int, *, gone: bool
) -> Iterator[NetworkEvent]:
    neighbour = rtnetlink_dump.neighbour_record(data, start, end)
    if neighbour is not None:
        nic = watched.name(neighbour.index)
        state = NEIGHBOUR_STATES.get(neighbour.state, "NONE")
        mac = neighbour.mac or ""
        shown = "forgotten" if gone else f"{mac} {state}".strip()
        fields = {"ip": str(neighbour.ip), "mac": mac, "state": state}
        yield NetworkEvent(node, "neighbour", f"{nic}: {neighbour.ip} {shown}", gone, nic, fields)
        return
    entry = rtnetlink_dump.fdb_record(data, start, end)
    if entry is None or not (entry.master or entry.destination):
        return
    nic = watched.name(entry.index)
    towards = "" if entry.destination is None else f" towards {entry.destination}"
    bridge = watched.name(entry.master) if entry.master else ""
    fields = {"mac": entry.mac, "bridge": bridge, "destination": str(entry.destination or "")}
    shown = "forgotten" if gone else "behind"
    yield NetworkEvent(node, "fdb", f"{entry.mac} {shown} {nic}{towards}", gone, nic, fields)
