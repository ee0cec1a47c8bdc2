"""A door in each host: the socket by which the small `trenza` inside a host speaks to the keeper."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable

from trenza.keeper.connection import Connection
from trenza.linux import beneath
from trenza.linux.inside import SandboxNodes
from trenza.model.names import NodeName
from trenza.model.state import NodeKind

SOCKET_NAME = "trenza.socket"
MAX_VISITORS = 16
"""Connections of one host at a time."""

VISIT_S = 20.0


class Doors:
    """Listening sockets at /run/trenza.socket of every running host; `serve(host, connection)` answers."""

    def __init__(self, nodes: SandboxNodes, serve: Callable[[NodeName, Connection], Awaitable[None]]) -> None:
        self._nodes = nodes
        self._serve = serve
        self._visitors: Counter[NodeName] = Counter()
        self._doors: dict[NodeName, tuple[int, socket.socket]] = {}
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Open a door in each host that runs and has none; close those of hosts that ended."""
        alive = self._nodes.alive()
        for host, (pid, door) in list(self._doors.items()):
            if host not in alive or alive[host].pid != pid:
                self._loop.remove_reader(door.fileno())
                door.close()
                del self._doors[host]
        with beneath.acting_as(self._nodes.root_id):
            for host, handle in alive.items():
                if handle.node.kind is NodeKind.HOST and host not in self._doors and handle.pid is not None:
                    opened = _listen(handle.pid)
                    if opened is not None:
                        self._doors[host] = (handle.pid, opened)
                        self._loop.add_reader(opened.fileno(), self._accept, host, opened)

    def _accept(self, host: NodeName, door: socket.socket) -> None:
        try:
            sock, _ = door.accept()
        except OSError:
            return
        if self._visitors[host] >= MAX_VISITORS:
            sock.close()
            return
        self._visitors[host] += 1
        task = self._loop.create_task(self._receive(host, Connection(sock, self._loop, trusted=False)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _receive(self, host: NodeName, connection: Connection) -> None:
        """One visitor, who has not for ever: whoever is in a node may knock."""
        try:
            async with asyncio.timeout(VISIT_S):
                await self._serve(host, connection)
        except TimeoutError:
            await connection.close()
        finally:
            self._visitors[host] -= 1


def _listen(pid: int) -> socket.socket | None:
    """A socket at /run/trenza.socket of the node, whatever links its owner made; None if there is no place for it."""
    try:
        with beneath.root_of(pid) as root:
            run = beneath.open_in_root(root, "/run", os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        try:
            os.unlink(SOCKET_NAME, dir_fd=run)
        except FileNotFoundError:
            pass
        os.fchmod(door.fileno(), 0o666)  # before it has a name: by name, the node could put another file in its place
        before = os.umask(0)
        try:
            door.bind(f"/proc/self/fd/{run}/{SOCKET_NAME}")
        finally:
            os.umask(before)
        door.listen(16)
    except OSError:
        door.close()
        return None
    finally:
        os.close(run)
    return door
