"""One run of network operations: translated into messages (`translate`), sent, and settled.

New bridges stay down until their ports are in and settled, so that they all begin to forward in one step; routes of
their nodes wait for them, since they may lead over them. Carrier changes are flushed (`netns.flush_carrier`), or the
first packets of a new link are lost for up to a second. So would be an IPv6 neighbour's first question for a new
address: the kernel joins the group it is asked in from a work queue, after its answer (net/ipv6/addrconf.c,
addrconf_dad_start), and whoever was not heard asks again a second later. Therefore a run ends when they have joined.
"""

from __future__ import annotations

import errno
import select
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv6Address
from typing import Final, Protocol

from trenza.errors import KernelError
from trenza.linux import netns, rtnetlink, rtnetlink_dump
from trenza.linux.netlink import SEND_BYTES, SEND_MESSAGES, NetlinkSocket
from trenza.linux.schedule import Item, SysctlWrite
from trenza.linux.translate import Places, Translation
from trenza.linux.words import refused
from trenza.model.names import Interface, NodeName
from trenza.model.state import Bridge, Macvlan, Veth, Vxlan
from trenza.plan.operations import Create, Operation

_GONE_DEADLINE_S: Final = 3.0
"""How long a name may stay taken by a link whose other end lies in a namespace that the kernel is still freeing."""
_LISTENING_DEADLINE_S: Final = 1.0
"""How long to wait for the groups of new IPv6 addresses; by then, whoever has asked in vain asks again."""
_LISTENING_PAUSE_S: Final = 0.001
_LINK_GROUP: Final = 1


class Ground(Places, Protocol):
    """What a run needs to know of the kernel it runs on, and to do there."""

    def watcher(self, node: NodeName, group: int) -> NetlinkSocket:
        """A new socket of the node that hears a multicast group; whoever asks closes it."""
        ...

    def write_sysctl(self, node: NodeName, name: str, value: str) -> None:
        """Set a sysctl in a node. Raises OSError."""
        ...

    def is_paired(self, interface: Interface) -> bool:
        """Whether this is a veth end whose other end lies in a living node, or no veth at all: it is there to stay."""
        ...


class Run:
    """Operations that make or change links, addresses, routes, neighbours, forwarding entries and sysctls; or removals

    of one kind. Make one, `perform` it once.
    """

    def __init__(self, ground: Ground, operations: Sequence[Operation]) -> None:
        self._ground = ground
        self._operations = operations
        self._limit = len(operations)
        """Operations from this place on are not begun any more: the one here was refused."""
        self._refusal: KernelError | None = None

    def perform(self, done: Callable[[Operation], None]) -> None:
        """Send everything; call `done` for each operation in the plan's order.

        Raises KernelError for the first operation that was refused; those before it have happened, and were `done`.
        """
        work = Translation(self._ground)
        for place, operation in enumerate(self._operations):
            try:
                work.add(place, operation)
            except KernelError as error:
                self._refuse(place, error)
                break
        for wave in work.schedule.waves():
            for node, items in wave.items():
                self._send(node, items)
        for interface in work.touched:
            self._flush(interface)
        for node in work.rising.keys() | work.postponed.keys():
            rises = [Item(rise.place, rtnetlink.set_link(rise.index, up=True)) for rise in work.rising.get(node, ())]
            self._send(node, rises + work.postponed.get(node, []))
        for interface in work.touched:
            if interface.node in work.rising:
                self._flush(interface)
        if self._refusal is None:
            self._await_listening(work.listening)
        for operation in self._operations[: self._limit]:
            done(operation)
        if self._refusal is not None:
            raise self._refusal

    def _refuse(self, place: int, error: KernelError) -> None:
        if place < self._limit:
            self._limit, self._refusal = place, error

    def _send(self, node: NodeName, items: Sequence[Item]) -> None:
        """Send a node's items in order; whatever lies behind a refused operation in the plan is left out."""
        if self._refusal is not None:
            items = [item for item in items if item.place < self._limit]
        for chunk in _chunks(items):
            first = chunk[0]
            if isinstance(first.payload, SysctlWrite):
                self._write(node, first, first.payload)
                continue
            try:
                sock = self._ground.sock(node)
            except KernelError as error:
                self._refuse(first.place, error)
                return
            refusals = self._refusals(sock, chunk)
            if refusals and refusals[0][1] == errno.EEXIST:
                refusals = self._retry(node, sock, refusals)
            for item, number, words in refusals[:1]:
                self._refuse(item.place, refused(self._operations[item.place], number, words))

    def _refusals(self, sock: NetlinkSocket, chunk: Sequence[Item]) -> list[tuple[Item, int, str]]:
        """Send one chunk; what was refused and matters, in order of the operations."""
        found = []
        for refusal in sock.send([item.payload for item in chunk if isinstance(item.payload, bytes)]):
            item = chunk[refusal.place]
            if refusal.errno not in item.tolerated:
                found.append((item, refusal.errno, refusal.text))
        found.sort(key=lambda one: one[0].place)
        return found

    def _retry(
        self, node: NodeName, sock: NetlinkSocket, refusals: list[tuple[Item, int, str]]
    ) -> list[tuple[Item, int, str]]:
        """Try what was refused again when the link whose name is taken has gone, within _GONE_DEADLINE_S."""
        deadline_s = time.monotonic() + _GONE_DEADLINE_S
        while refusals and refusals[0][1] == errno.EEXIST and time.monotonic() < deadline_s:
            operation = self._operations[refusals[0][0].place]
            names = _new_names(operation)
            if not names or not self._await_gone(names, deadline_s):
                return refusals
            refusals = self._refusals(sock, [item for item, _, _ in refusals])
        return refusals

    def _await_gone(self, interfaces: Sequence[Interface], deadline_s: float) -> bool:
        """Whether none of the interfaces is there, waiting for the kernel's word that one has gone."""
        for interface in interfaces:
            watcher = self._ground.watcher(interface.node, _LINK_GROUP)
            try:
                if netns.find_index(watcher.fileno(), interface.nic) and self._ground.is_paired(interface):
                    return False
                while netns.find_index(watcher.fileno(), interface.nic) is not None:
                    left_s = deadline_s - time.monotonic()
                    if left_s <= 0 or not select.select([watcher], [], [], left_s)[0]:
                        return False
                    for _ in watcher.events():
                        pass
            finally:
                watcher.close()
        return True

    def _write(self, node: NodeName, item: Item, write: SysctlWrite) -> None:
        try:
            self._ground.write_sysctl(node, write.name, write.value)
        except OSError as error:
            if error.errno in item.tolerated:
                return
            operation = self._operations[item.place]
            missing = error.errno == errno.ENOENT
            text = f"this kernel has no {write.name}" if missing else ""
            self._refuse(item.place, refused(operation, error.errno or 0, text))
        except KernelError as error:
            self._refuse(item.place, error)

    def _flush(self, interface: Interface) -> None:
        try:
            sock = self._ground.sock(interface.node)
        except KernelError:
            return  # the node ended meanwhile, and its links with it
        netns.flush_carrier(sock.fileno(), interface.nic)

    def _await_listening(self, groups: Mapping[NodeName, set[tuple[int, IPv6Address]]]) -> None:
        """Wait until the nodes hear what is asked in the groups of their new IPv6 addresses."""
        deadline_s = time.monotonic() + _LISTENING_DEADLINE_S
        for node, wanted in groups.items():
            try:
                sock = self._ground.sock(node)
                while not wanted <= rtnetlink_dump.groups(sock.dump(rtnetlink.DUMP_GROUPS)):
                    if time.monotonic() > deadline_s:
                        return
                    time.sleep(_LISTENING_PAUSE_S)
            except (KernelError, OSError):
                continue  # the node ended meanwhile


def _new_names(operation: Operation) -> tuple[Interface, ...]:
    """The interfaces that a creation makes."""
    match operation:
        case Create(Veth(a, b)):
            return (a.interface, b.interface)
        case Create(Bridge() | Vxlan() | Macvlan() as link):
            return (link.interface,)
        case _:
            return ()


def _chunks(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Items as they can be sent: runs of messages within the limits of one send, and sysctls each alone."""
    chunk: list[Item] = []
    size = 0
    for item in items:
        payload = item.payload
        if isinstance(payload, SysctlWrite):
            if chunk:
                yield chunk
            yield [item]
            chunk, size = [], 0
            continue
        if chunk and (len(chunk) >= SEND_MESSAGES or size + len(payload) > SEND_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += len(payload)
    if chunk:
        yield chunk
