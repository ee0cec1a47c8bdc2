"""The ways out of a lab: the helpers of its uplinks, which only a command from outside can start.

A helper (slirp4netns) lives in the machine's network, where nothing of the sandbox can put it. So the keeper asks the
client whose `up` it answers, gets the pipe that the helper lives by, and hands helper and pipe to the uplink's holder.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import select
import socket

from trenza.engine.engine import Engine
from trenza.errors import KernelError, MachineError
from trenza.keeper.connection import Connection
from trenza.linux import uplinks
from trenza.linux.inside import SandboxNodes
from trenza.linux.uplink_filter import LOOPBACK, rules
from trenza.model.names import NodeName
from trenza.model.state import NodeKind

_HELPER_DEADLINE_S = 10.0
_POLL_S = 0.01


class WaysOut:
    """Sees to it that every uplink has a helper, and says when one lost it. `directory` is the lab's."""

    def __init__(self, engine: Engine, nodes: SandboxNodes, directory: int) -> None:
        self._engine = engine
        self._nodes = nodes
        self._directory = directory
        self._loop = asyncio.get_running_loop()
        self._watched: dict[NodeName, socket.socket] = {}
        self._served: dict[NodeName, tuple[str, ...]] = {}
        """What the helper of an uplink was started for, of those that have one."""

    def _uplinks(self) -> list[NodeName]:
        return sorted(name for name, handle in self._nodes.alive().items() if handle.node.kind is NodeKind.UPLINK)

    # ------------------------------------------------------------------ watching
    def watch(self) -> None:
        """Listen to every uplink that lives and is not listened to yet."""
        for name in self._uplinks():
            if name not in self._watched:
                try:
                    sock = uplinks.watch(name)
                except KernelError as error:
                    self._engine.journal.say("nat", "", error.message)
                    continue
                self._watched[name] = sock
                self._loop.add_reader(sock.fileno(), self._hear, name, sock)

    def _hear(self, name: NodeName, sock: socket.socket) -> None:
        try:
            message = sock.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message:
            self._loop.remove_reader(sock.fileno())
            sock.close()
            del self._watched[name]
            self._lost(name, "its uplink ended")
            return
        if json.loads(message)["helper"]:
            assert self._engine.record is not None
            self._served.setdefault(name, tuple(self._engine.record.nat))
        else:
            self._lost(name, "the helper of its uplink (slirp4netns) ended")

    def _lost(self, name: NodeName, what: str) -> None:
        """Say that a NIC goes nowhere any more, where that was not meant."""
        if self._served.pop(name, None) is not None and name in self._engine.wanted.nodes:
            _, node, nic = name.split(":")
            text = f"{node}.{nic} leads nowhere: {what}; `trenza up` starts another"
            self._engine.journal.say("nat", node, text, nic=nic)

    # ------------------------------------------------------------------ opening
    async def open(self, connection: Connection) -> None:
        """Give every uplink its filter and a helper, started by the client at the other end of `connection`.

        Raises MachineError if the client cannot start one, KernelError if the uplink refuses it.
        """
        record = self._engine.record
        assert record is not None
        grants = tuple(record.nat)
        for name in self._uplinks():
            served = self._served.get(name)
            if served == grants and uplinks.ask(name, {"do": "watch"})["helper"]:
                continue
            self._served.pop(name, None)  # what ends now is no news
            uplinks.ask(name, {"do": "disconnect"})
            uplinks.ask(name, {"do": "filter", "rules": rules(grants)})
            place = f"uplink-{hashlib.blake2b(name.encode(), digest_size=6).hexdigest()}.socket"
            connection.send({"uplink": {"socket": place, "loopback": LOOPBACK in grants}})
            exit_pipe = await self._started(connection)
            try:
                helper = await self._connected(place, exit_pipe)
            except BaseException:
                os.close(exit_pipe)
                raise
            try:
                uplinks.ask(name, {"do": "connect"}, [helper.fileno(), exit_pipe])
            finally:
                helper.close()
                os.close(exit_pipe)
            self._served[name] = grants

    async def _started(self, connection: Connection) -> int:
        """The client's answer: the pipe whose end the helper ends with."""
        try:
            async with asyncio.timeout(_HELPER_DEADLINE_S):
                answer = await connection.receive()
        except TimeoutError as error:
            raise MachineError("the helper of an uplink was not started in time") from error
        received = connection.take_descriptors(answer.get("descriptors", 0) if isinstance(answer, dict) else 0)
        if not isinstance(answer, dict) or len(received) != 1:
            why = answer.get("refused") if isinstance(answer, dict) else "the command that was to start it has gone"
            raise MachineError(f"the helper of an uplink (slirp4netns) was not started: {why}")
        return received[0]

    async def _connected(self, place: str, exit_pipe: int) -> socket.socket:
        """A connection to the helper, which listens in the lab's directory as soon as it can."""
        path = f"/proc/self/fd/{self._directory}/{place}"
        until = self._loop.time() + _HELPER_DEADLINE_S
        poll = select.poll()
        poll.register(exit_pipe, 0)  # it reports POLLERR when nobody holds the other end any more
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
            try:
                sock.connect(path)
            except OSError as error:
                sock.close()
                if poll.poll(0) or self._loop.time() >= until:
                    raise MachineError(
                        "slirp4netns ended as soon as it began"
                        if poll.poll(0)
                        else f"no slirp4netns: {error.strerror}",
                        hint="uplink.log in the lab's directory has its words",
                    ) from error
                await asyncio.sleep(_POLL_S)  # nobody tells when a socket gets its name
            else:
                os.unlink(path)
                return sock
