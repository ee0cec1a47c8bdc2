"""What the namespaces of a lab hold, as records, and which veth ends belong together.

While nothing changes, two dumps are equal but for counters, timers and ages, so what was read of a node is kept beside
its bytes: looking again at a quiet lab costs the dumps and a comparison of all the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from trenza.linux import rtnetlink, rtnetlink_dump
from trenza.linux.netlink import NetlinkSocket, Refusal, attributes
from trenza.linux.nodes import NodeHandle
from trenza.linux.rtnetlink_dump import AddressRecord, FdbRecord, LinkRecord, NeighbourRecord, RouteRecord
from trenza.model.names import Interface, NicName, NodeName

_NETNSA_NSID = 1
_FORWARDING_KINDS = ("bridge", "vxlan")
Record = TypeVar("Record")


@dataclass(slots=True)
class _Dump(Generic[Record]):
    """One kind of records of one node, read again only when its bytes change."""

    request: bytes
    read: Callable[[bytes], tuple[Record, ...]]
    data: bytes = b""
    records: tuple[Record, ...] = ()
    steady: tuple[slice, ...] | None = None
    """The bytes of `data` that do not change by themselves, once somebody needed to know."""

    def update(self, sock: NetlinkSocket) -> bool:
        """Ask again; whether anything is different."""
        data, old = sock.dump(self.request), self.data
        if data == old:
            return False
        if len(data) == len(old):
            if self.steady is None:
                self.steady = rtnetlink_dump.steady_parts(old)
            if all(data[part] == old[part] for part in self.steady):
                return False
        self.data, self.records, self.steady = data, self.read(data), None
        return True

    def clear(self) -> None:
        self.data, self.records, self.steady = b"", (), None


@dataclass(slots=True)
class NodeView:
    """What one node holds. `version` changes whenever anything in it does."""

    handle: NodeHandle
    version: int = 0
    names: Mapping[int, NicName] = field(default_factory=dict)
    by_index: Mapping[int, LinkRecord] = field(default_factory=dict)
    by_name: Mapping[str, LinkRecord] = field(default_factory=dict)
    _links: _Dump[LinkRecord] = field(default_factory=lambda: _Dump(rtnetlink.DUMP_LINKS, rtnetlink_dump.links))
    _addresses: _Dump[AddressRecord] = field(
        default_factory=lambda: _Dump(rtnetlink.DUMP_ADDRESSES, rtnetlink_dump.addresses)
    )
    _routes: _Dump[RouteRecord] = field(default_factory=lambda: _Dump(rtnetlink.DUMP_ROUTES, rtnetlink_dump.routes))
    _neighbours: _Dump[NeighbourRecord] = field(
        default_factory=lambda: _Dump(rtnetlink.DUMP_NEIGHBOURS, rtnetlink_dump.neighbours)
    )
    _fdb: _Dump[FdbRecord] = field(default_factory=lambda: _Dump(rtnetlink.DUMP_FDB, rtnetlink_dump.fdb_entries))

    @property
    def links(self) -> tuple[LinkRecord, ...]:
        return self._links.records

    @property
    def addresses(self) -> tuple[AddressRecord, ...]:
        return self._addresses.records

    @property
    def routes(self) -> tuple[RouteRecord, ...]:
        return self._routes.records

    @property
    def neighbours(self) -> tuple[NeighbourRecord, ...]:
        return self._neighbours.records

    @property
    def fdb(self) -> tuple[FdbRecord, ...]:
        return self._fdb.records

    def update_links(self, sock: NetlinkSocket) -> None:
        """Look at the links only."""
        if self._links.update(sock):
            self.names = {link.index: NicName(link.name) for link in self.links}
            self.by_index = {link.index: link for link in self.links}
            self.by_name = {link.name: link for link in self.links}
            self.version += 1

    def update(self, sock: NetlinkSocket) -> None:
        """Look at everything; forwarding entries only where there is something that forwards."""
        self.update_links(sock)
        changed = self._addresses.update(sock)
        changed = self._routes.update(sock) or changed
        changed = self._neighbours.update(sock) or changed
        if any(link.kind in _FORWARDING_KINDS for link in self.links):
            changed = self._fdb.update(sock) or changed
        elif self._fdb.data:
            self._fdb.clear()
            changed = True
        if changed:
            self.version += 1


def is_veth(link: LinkRecord) -> bool:
    return link.kind == "veth"


def veth_pairs(
    views: Mapping[NodeName, NodeView], sock: Callable[[NodeName], NetlinkSocket]
) -> Mapping[Interface, Interface]:
    """Of every veth end whose other end lies in the lab, that other end.

    A veth knows its peer's ifindex, and an id for the peer's namespace that means something only in its own. In links
    that trenza made the two ifindexes are unique in the whole lab and tell the pair; where several would fit, as
    people's own links may, the namespaces are asked for their ids.
    """
    ends: dict[tuple[int, int], list[tuple[NodeName, LinkRecord]]] = {}
    for node, view in views.items():
        for link in view.links:
            if is_veth(link):
                ends.setdefault((link.index, link.lower), []).append((node, link))
    pairs: dict[Interface, Interface] = {}
    for (index, lower), holders in ends.items():
        others = ends.get((lower, index), ())
        for node, link in holders:
            peer = _peer_among(node, link, others, len(holders), views, sock)
            if peer is not None:
                pairs[Interface(node, NicName(link.name))] = peer
    return pairs


def _peer_among(
    node: NodeName,
    link: LinkRecord,
    others: Iterable[tuple[NodeName, LinkRecord]],
    rivals: int,
    views: Mapping[NodeName, NodeView],
    sock: Callable[[NodeName], NetlinkSocket],
) -> Interface | None:
    if link.lower_netns is None:
        fitting = [(other, record) for other, record in others if other == node and record.lower_netns is None]
    else:
        fitting = [(other, record) for other, record in others if other != node and record.lower_netns is not None]
    certain = len(fitting) == 1 and rivals == 1 and min(link.index, link.lower) >= FIRST_INDEX
    if link.lower_netns is not None and not certain:
        fitting = [
            (other, record)
            for other, record in fitting
            if namespace_id(sock(node), views[other].handle.netns) == link.lower_netns
        ]
    return None if len(fitting) != 1 else Interface(fitting[0][0], NicName(fitting[0][1].name))


FIRST_INDEX = 100
"""The ifindexes that trenza gives begin here; a kernel left to itself begins at 1 in every namespace."""


def namespace_id(sock: NetlinkSocket, descriptor: int) -> int | None:
    """The id by which the socket's namespace knows the one behind `descriptor`, or None if it has none."""
    answer = sock.ask(rtnetlink.ask_namespace_id(descriptor))
    if isinstance(answer, Refusal):
        return None
    found = attributes(answer, 20).get(_NETNSA_NSID)
    number = -1 if found is None else int.from_bytes(found, "little", signed=True)
    return None if number < 0 else number


def parent_of(
    node: NodeName,
    link: LinkRecord,
    views: Mapping[NodeName, NodeView],
    sock: Callable[[NodeName], NetlinkSocket],
) -> Interface | None:
    """The interface that a macvlan lies over, in its own node, its host, or wherever else in the lab."""
    if link.lower_netns is None:
        name = views[node].names.get(link.lower)
        return None if name is None else Interface(node, name)
    host = views[node].handle.node.host
    candidates = ([host] if host in views else []) + [other for other in views if other not in (node, host)]
    for other in candidates:
        if other is None or link.lower not in views[other].names:
            continue
        if namespace_id(sock(node), views[other].handle.netns) == link.lower_netns:
            return Interface(other, views[other].names[link.lower])
    return None
