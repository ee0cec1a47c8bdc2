"""What daemons and trees do, told as events: who is VRRP master, where a spanning tree changed, which servers are up.

The kernel tells of ports and addresses; a virtual address that comes or goes says who is master, whatever keepalived
was started by. haproxy tells nobody, so that it is asked, and only while somebody listens.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from trenza.engine.engine import Engine
from trenza.errors import TrenzaError
from trenza.linux import beneath
from trenza.linux.inside import SandboxNodes
from trenza.linux.watch import NetworkEvent
from trenza.model.measurements import BridgeMeasure
from trenza.model.names import Interface, NodeName
from trenza.model.state import Process, VrrpInstance
from trenza.services import haproxy, keepalived

ASK_EVERY_S = 0.05
_ANSWER_WITHIN_S = 0.5
_LOOKING = 0.1
"""Of its time, the part that is spent on looking at trees at most where a lot happens in hosts with many ports."""

_MAX_CONFIG_BYTES = 1 << 16
"""Of a config that a node's owner wrote; it is read whenever an address changes there."""


class Witness:
    """Says to the journal what it sees. `hear` what the kernel told; `listening` while somebody wants to know all."""

    def __init__(self, engine: Engine, nodes: SandboxNodes) -> None:
        self._engine = engine
        self._nodes = nodes
        self._loop = asyncio.get_running_loop()
        self._trees: dict[Interface, BridgeMeasure] = {}
        self._grown: set[NodeName] = set()
        self._looks_at_s = 0.0
        self._servers: dict[NodeName, dict[tuple[str, str], haproxy.ServerState]] = {}
        self._listeners = 0
        self._asking: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------ what the kernel tells
    def hear(self, change: NetworkEvent) -> None:
        """Look further into what a change of a node's network means."""
        if change.kind == "address":
            self._hear_address(change)
        elif change.kind in ("stp", "link"):
            if not self._grown:
                self._loop.call_at(self._looks_at_s, self._look_at_trees)
            self._grown.add(change.node)

    def _hear_address(self, change: NetworkEvent) -> None:
        address = change.fields["address"]
        for router in self._routers(change.node):
            if router.nic == change.nic and address in map(str, router.addresses):
                state = "BACKUP" if change.gone else "MASTER"
                said = f"{router.name}: {state}, {'without' if change.gone else 'with'} {address}"
                self._engine.journal.say(
                    "vrrp", change.node, said, instance=router.name, state=state, address=address, nic=change.nic
                )

    def _routers(self, node: NodeName) -> tuple[VrrpInstance, ...]:
        """The virtual routers of a node: as declared, else as its keepalived's config says now."""
        declared = [
            router
            for thing in self._engine.declared
            if isinstance(thing, Process) and thing.node == node
            for router in thing.vrrp
        ]
        if declared:
            return tuple(declared)
        try:
            read = self._nodes.read(node, keepalived.CONFIG_PATH, limit_bytes=_MAX_CONFIG_BYTES)
        except TrenzaError:
            return ()  # the node has just ended
        return () if read is None else keepalived.instances(read[0].decode(errors="replace"))

    def _look_at_trees(self) -> None:
        nodes, self._grown = self._grown, set()
        began_s = self._loop.time()
        try:
            bridges = self._engine.measure(nodes).bridges
        except TrenzaError:
            return  # a node ended while we looked; what it was is told by its links
        finally:
            ended_s = self._loop.time()
            self._looks_at_s = ended_s + (ended_s - began_s) * (1 / _LOOKING - 1)
        for bridge in bridges:
            old = self._trees.get(bridge.interface)
            self._trees[bridge.interface] = bridge
            if bridge.stp:
                for text, fields in _tree_changes(old, bridge, self._bridge_names()):
                    node, name = bridge.interface.node, bridge.interface.nic
                    self._engine.journal.say("stp", node, f"{name} {text}", bridge=name, **fields)

    def _bridge_names(self) -> dict[str, str]:
        """Names of the bridges that were looked at, by their ids."""
        return {bridge.bridge_id: bridge.interface.nic for bridge in self._trees.values()}

    # ------------------------------------------------------------------ what must be asked for
    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within the block balancers are asked again and again, and what changes is told."""
        self._listeners += 1
        if self._asking is None:
            self._asking = self._loop.create_task(self._keep_asking())
        try:
            yield
        finally:
            self._listeners -= 1
            if not self._listeners and self._asking is not None:
                self._asking.cancel()
                self._asking = None
                self._servers.clear()

    async def _keep_asking(self) -> None:
        while True:
            for node, states in (await self.balancers()).items():
                old = self._servers.get(node)
                self._servers[node] = new = {(one.backend, one.server): one for one in states}
                for key, state in new.items() if old is not None else ():
                    before = old.get(key) if old is not None else None
                    if before is not None and before.is_up != state.is_up:
                        self._say_server(node, state)
            await asyncio.sleep(ASK_EVERY_S)  # haproxy tells nobody of itself

    def _say_server(self, node: NodeName, state: haproxy.ServerState) -> None:
        word = "UP" if state.is_up else "DOWN"
        why = f" ({state.check})" if state.check else ""
        self._engine.journal.say(
            "haproxy", node, f"{state.backend}/{state.server} is {word}{why}",
            backend=state.backend, server=state.server, state=word, check=state.check,
        )  # fmt: skip

    async def balancers(self) -> dict[NodeName, tuple[haproxy.ServerState, ...]]:
        """The servers of every haproxy that runs and answers, by node."""
        handles = self._nodes.alive()
        found = {}
        for node, handle in handles.items():
            if handle.pid is not None:
                sock = _connect(handle.pid)
                if sock is not None:
                    states = await self._ask(sock)
                    if states:
                        found[node] = states
        return found

    async def _ask(self, sock: socket.socket) -> tuple[haproxy.ServerState, ...]:
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                await self._loop.sock_sendall(sock, haproxy.STATS_QUESTION)
                answer = b""
                while len(answer) < 1 << 20 and (data := await self._loop.sock_recv(sock, 1 << 16)):
                    answer += data
        except (TimeoutError, OSError):
            return ()  # it is stopped, or ended meanwhile
        finally:
            sock.close()
        return haproxy.server_states(answer.decode(errors="replace"))

    @property
    def quiet(self) -> bool:
        """Whether no balancer that was asked is about to change its mind about a server."""
        return all(state.is_settled for states in self._servers.values() for state in states.values())

    @property
    def not_up(self) -> list[str]:
        """The servers that balancers hold for down, and by whom."""
        return [
            f"{state.backend}/{state.server} is {state.status} for {node}"
            for node, states in self._servers.items()
            for state in states.values()
            if not state.is_up
        ]


def _tree_changes(
    old: BridgeMeasure | None, new: BridgeMeasure, names: Mapping[str, str]
) -> Iterator[tuple[str, dict[str, str]]]:
    """What is different in a bridge's tree since it was looked at last; `names` of bridges by id."""
    if old is None:
        return
    if old.root_id != new.root_id:
        root = "itself" if new.root_id == new.bridge_id else names.get(new.root_id, new.root_id)
        yield f"takes {root} for the root", {"root": new.root_id}
    elif old.root_port != new.root_port and new.root_port is not None:
        yield f"reaches the root by {new.root_port}", {"root_port": new.root_port}
    if new.topology_changes and not old.topology_changes:
        yield "sees the topology change", {"topology_change": "true"}


def _connect(pid: int) -> socket.socket | None:
    """A connection to the master socket of a node's haproxy, whatever links the node's owner made; None without one."""
    try:
        with beneath.root_of(pid) as root:
            place = beneath.open_in_root(root, haproxy.MASTER_SOCKET, os.O_PATH)
    except OSError:
        return None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        sock.connect(f"/proc/self/fd/{place}")
    except OSError:
        sock.close()
        return None
    finally:
        os.close(place)
    return sock
