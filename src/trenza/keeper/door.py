"""A door in each host: the socket by which the small `trenza` inside a host speaks to the keeper."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable

from trenza.keeper.connection import Connection
from trenza.linux import beneath
from trenza.linux.inside import SandboxNodes
from trenza.model.names import NodeName
from trenza.model.state import NodeKind

SOCKET_NAME = "trenza.socket"


class Doors:
    """Listening sockets at /run/trenza.socket of every running host; `serve(host, connection)` answers."""

    def __init__(self, nodes: SandboxNodes, serve: Callable[[NodeName, Connection], Awaitable[None]]) -> None:
        self._nodes = nodes
        self._serve = serve
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
        task = self._loop.create_task(_await(self._serve(host, Connection(sock, self._loop))))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _await(work: Awaitable[None]) -> None:
    await work


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
        door.bind(f"/proc/self/fd/{run}/{SOCKET_NAME}")
        os.chmod(f"/proc/self/fd/{run}/{SOCKET_NAME}", 0o666)
        door.listen(16)
    except OSError:
        door.close()
        return None
    finally:
        os.close(run)
    return door
