"""Forwarded ports: what connects to a port of the machine goes on from a node of the lab.

The listeners are a client's, in the machine's network; the connections onward are made in the node's, so that the
machine's browser sees what a browser in that node would see. A port that leads to one of the node's own refuses as long
as nobody listens there: some clients take a connection that is taken and ended for one to be tried again and again.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from trenza.engine.engine import Engine
from trenza.errors import UsageError
from trenza.keeper.connection import Connection
from trenza.linux.inside import SandboxNodes
from trenza.linux.listening import is_own, listens
from trenza.linux.netns import Home
from trenza.model.names import NodeName
from trenza.wire import Message

MAX_CONNECTIONS = 200
"""Of one forwarded port, at a time."""

CONNECT_DEADLINE_S = 10.0
_CHUNK_BYTES = 1 << 16
_PAUSE_S = 0.2
_LISTENED_AGAIN_S = 0.1
"""How soon after somebody listens again a port does: nobody tells."""

_BACKLOG = 64


@dataclass(frozen=True, slots=True)
class Forward:
    """`port` of the machine (at `bind`, else its loopback addresses) leads to `host`:`to`, seen from `node`."""

    bind: str | None
    port: int
    node: NodeName
    host: str
    to: int


@dataclass(slots=True)
class _Open:
    """A forward that listens: its sockets, who accepts there, and the connections by the node's pid."""

    forward: Forward
    listeners: list[socket.socket]
    accepting: list[asyncio.Task[None]] = field(default_factory=list)
    carrying: dict[asyncio.Task[None], int | None] = field(default_factory=dict)
    refusing: asyncio.Task[None] | None = None
    """Waits for somebody to listen at the far end, where nobody does."""


class Forwarding:
    """The forwarded ports of one lab, remembered in its record."""

    def __init__(self, engine: Engine, nodes: SandboxNodes, home: Home) -> None:
        self._engine = engine
        self._nodes = nodes
        self._home = home
        self._loop = asyncio.get_running_loop()
        self._open: dict[Forward, _Open] = {}

    def _remembered(self) -> list[Forward]:
        record = self._engine.record
        return [] if record is None else [Forward(**fields) for fields in record.forwards]

    def adopt(self, given: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Listen again at the remembered forwards: `given` has descriptors of those whose port was free."""
        remembered = self._remembered()
        descriptors = dict(given)
        for number, forward in enumerate(remembered):
            if number in descriptors:
                self._listen(forward, [socket.socket(fileno=one) for one in descriptors[number]])
            else:
                text = f"port {forward.port} is taken by another program: nothing is forwarded there any more"
                self._engine.journal.say("forward", forward.node, text)

    def attend(self) -> None:
        """End the connections of nodes that ended: a socket would keep their network alive. See who listens."""
        alive = self._nodes.alive()
        for opened in self._open.values():
            self._look(opened)
            handle = alive.get(opened.forward.node)
            for task, pid in list(opened.carrying.items()):
                if handle is None or handle.pid != pid:
                    task.cancel()

    # ------------------------------------------------------------------ requests
    async def forward(self, connection: Connection, message: Message) -> None:
        """Forward a port whose listeners came with the request, until it is stopped or the lab ends."""
        listeners = [socket.socket(fileno=one) for one in connection.take_descriptors(message.get("descriptors", 0))]
        try:
            node = self._engine.resolve(message["node"])
            forward = Forward(message["bind"], message["port"], node, message["host"], message["to"])
            self._remember([*self._remembered(), forward])
        except BaseException:
            for sock in listeners:
                sock.close()
            raise
        self._listen(forward, listeners)
        text = f"port {forward.port} leads to {_place(forward)}, seen from {node}"
        self._engine.journal.say("forward", node, text)
        connection.send({"result": {"forward": self._view(forward)}})

    async def forwards(self, connection: Connection, message: Message) -> None:
        connection.send({"result": {"forwards": [self._view(forward) for forward in self._remembered()]}})

    async def unforward(self, connection: Connection, message: Message) -> None:
        """Stop forwarding a port, and end its connections."""
        remembered = self._remembered()
        stopped = [forward for forward in remembered if forward.port == message["port"]]
        if not stopped:
            ports = ", ".join(str(forward.port) for forward in remembered)
            hint = f"forwarded: {ports}" if ports else "no port is"
            raise UsageError(f"port {message['port']} is not forwarded", hint=hint)
        self._remember([forward for forward in remembered if forward not in stopped])
        for forward in stopped:
            await self._close(forward)
            self._engine.journal.say("forward", forward.node, f"port {forward.port} is not forwarded any more")
        connection.send({"result": {"stopped": [asdict(forward) for forward in stopped]}})

    def _remember(self, forwards: Sequence[Forward]) -> None:
        self._engine.remember_forwards([asdict(forward) for forward in forwards])

    def _view(self, forward: Forward) -> dict[str, Any]:
        opened = self._open.get(forward)
        connections = 0 if opened is None else len(opened.carrying)
        return {**asdict(forward), "open": opened is not None, "connections": connections}

    # ------------------------------------------------------------------ carrying
    def _listen(self, forward: Forward, listeners: list[socket.socket]) -> None:
        opened = self._open[forward] = _Open(forward, listeners)
        for listener in listeners:
            listener.setblocking(False)
            opened.accepting.append(self._loop.create_task(self._accept(opened, listener)))
        self._look(opened)

    def _look(self, opened: _Open) -> None:
        """Refuse what would be refused at the far end; where that is another node's, one finds out by connecting."""
        if opened.refusing is None and self._nobody_listens(opened.forward):
            opened.refusing = self._loop.create_task(self._refuse(opened))

    def _nobody_listens(self, forward: Forward) -> bool:
        handle = self._nodes.alive().get(forward.node)
        if handle is None or handle.pid is None or not is_own(self._home, handle.netns, forward.host):
            return False
        return not listens(handle.pid, forward.host, forward.to)

    async def _refuse(self, opened: _Open) -> None:
        """Have the port closed until somebody listens at the far end, without leaving it to another program."""
        forward = opened.forward
        for task in opened.accepting:
            task.cancel()
        await asyncio.gather(*opened.accepting, return_exceptions=True)
        opened.accepting.clear()
        for listener in opened.listeners:
            listener.shutdown(socket.SHUT_RDWR)  # Linux: it refuses, and stays bound
        self._say(forward, f"nobody listens at {_place(forward)}: it refuses, too")
        while self._nobody_listens(forward):
            await asyncio.sleep(_LISTENED_AGAIN_S)
        opened.refusing = None
        try:
            for listener in opened.listeners:
                listener.listen(_BACKLOG)
                opened.accepting.append(self._loop.create_task(self._accept(opened, listener)))
        except OSError as error:
            self._say(forward, f"it cannot be opened again: {error.strerror}")

    async def _close(self, forward: Forward) -> None:
        opened = self._open.pop(forward, None)
        if opened is None:
            return
        tasks = [*opened.accepting, *opened.carrying, *([opened.refusing] if opened.refusing is not None else ())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for listener in opened.listeners:
            listener.close()

    async def _accept(self, opened: _Open, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = await self._loop.sock_accept(listener)
            except OSError as error:  # no descriptors left: what is going on has to end first
                self._say(opened.forward, f"a connection could not be taken: {error.strerror}")
                await asyncio.sleep(_PAUSE_S)
                continue
            if len(opened.carrying) >= MAX_CONNECTIONS:
                near.close()
                continue
            handle = self._nodes.alive().get(opened.forward.node)
            task = self._loop.create_task(self._carry(opened.forward, near))
            opened.carrying[task] = None if handle is None else handle.pid
            task.add_done_callback(opened.carrying.pop)

    def _say(self, forward: Forward, text: str) -> None:
        self._engine.journal.say("forward", forward.node, f"port {forward.port}: {text}")

    async def _carry(self, forward: Forward, near: socket.socket) -> None:
        """One connection, until both sides have said all, or one breaks."""
        near.setblocking(False)
        with near:
            try:
                far = await self._connect(forward)
            except OSError as error:
                # asyncio puts the address where the reason was
                why = os.strerror(error.errno) if error.errno else error.strerror or "no answer"
                self._say(forward, f"{_place(forward)} cannot be reached from {forward.node}: {why}")
                if (opened := self._open.get(forward)) is not None:
                    self._look(opened)
                return
            with far:
                there, back = (
                    self._loop.create_task(self._pump(near, far)),
                    self._loop.create_task(self._pump(far, near)),
                )
                try:
                    await asyncio.gather(there, back)
                except OSError:
                    return  # one side broke, and the other is closed for it
                finally:
                    for task in (there, back):
                        task.cancel()
                    await asyncio.gather(there, back, return_exceptions=True)

    async def _connect(self, forward: Forward) -> socket.socket:
        """A connection out of the node. Raises OSError."""
        handle = self._nodes.alive().get(forward.node)
        if handle is None:
            raise OSError(0, f"{forward.node} is not running")
        family = socket.AF_INET6 if ":" in forward.host else socket.AF_INET
        with self._home.inside(handle.netns):
            far = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            async with asyncio.timeout(CONNECT_DEADLINE_S):
                await self._loop.sock_connect(far, (forward.host, forward.to))
        except BaseException:
            far.close()
            raise
        return far

    async def _pump(self, source: socket.socket, destination: socket.socket) -> None:
        """All that one side says, no faster than the other side takes it; then its end."""
        while data := await self._loop.sock_recv(source, _CHUNK_BYTES):
            await self._loop.sock_sendall(destination, data)
        destination.shutdown(socket.SHUT_WR)


def _place(forward: Forward) -> str:
    return f"[{forward.host}]:{forward.to}" if ":" in forward.host else f"{forward.host}:{forward.to}"
