"""Commands in nodes: with a client's own descriptors, or in a terminal that is relayed to it."""

from __future__ import annotations

import asyncio
import base64
import errno
import os
import re
import shlex
import time
from collections.abc import Callable, Mapping
from typing import Any

from trenza.engine.engine import Engine
from trenza.errors import KernelError, TrenzaError
from trenza.keeper.connection import Connection
from trenza.keeper.places import Places
from trenza.keeper.sessions import MAX_LINE, Sessions
from trenza.keeper.terminal import CommandLines, resize
from trenza.linux.inside import CommandRefused, SpawnerClient
from trenza.model.names import NodeName
from trenza.wire import Message

_TERMINAL_AHEAD_BYTES = 1 << 18
"""What a terminal may have written that its client has not read."""

_PID = re.compile(r"/proc/(\d+)|(?:\bnetns|-t|--target)[ =](\d+)\b|\bkill (?:-\w+ )?(\d+)")
"""Where a command line names a process by its pid, which is another one when the line is typed again."""


class Commands:
    """Runs commands in the nodes of a lab, and records what was typed."""

    def __init__(
        self, engine: Engine, places: Places, sessions: Sessions, pids: Callable[[NodeName], Mapping[int, NodeName]]
    ) -> None:
        """`pids` gives the containers of a host by the pids that their inits have there."""
        self._engine = engine
        self._places = places
        self._sessions = sessions
        self._pids = pids
        self._loop = asyncio.get_running_loop()
        self._running: dict[tuple[str, str], dict[str, Any]] = {}

    def running(self) -> list[dict[str, Any]]:
        """The lines that run now, as `Sessions` will keep them but with no status."""
        return [dict(record) for record in self._running.values()]

    async def run_quietly(self, node: str, argv: tuple[str, ...]) -> int:
        """Run a command in a node, its output nowhere; its status."""
        client = SpawnerClient()
        try:
            client.ask({"do": "exec", "node": node, "argv": list(argv)})
            return await self._exit_of(client)
        except KernelError:
            return 125
        finally:
            client.close()

    async def _exit_of(self, client: SpawnerClient) -> int:
        done: asyncio.Future[int] = self._loop.create_future()

        def arrived() -> None:
            if not done.done():
                try:
                    done.set_result(int(client.receive()[0]["exit"]))
                except TrenzaError as error:
                    done.set_exception(error)

        self._loop.add_reader(client.fileno(), arrived)
        try:
            return await done
        finally:
            self._loop.remove_reader(client.fileno())

    async def execute(self, connection: Connection, message: Message) -> None:
        """Run a command for a client, with its descriptors or in a terminal, and answer with its status.

        What runs in a pod is not kept for `history`: pods come and go, and it could not be typed again.
        """
        descriptors = connection.take_descriptors(message.get("descriptors", 0))
        client = SpawnerClient()
        try:
            tty = bool(message.get("tty"))
            record = bool(message.get("record"))
            session = f"{time.time_ns():x}"
            own: tuple[str, str] | None = None
            try:
                async with self._places.found([message["node"]], message.get("language") or "en") as there:
                    inside = there.find_container(message["node"])
                if inside is None:
                    node = self._engine.resolve(message["node"])
                    shown = str(node)
                else:
                    record = False
                    shown, node = inside
                    if shown != message["node"]:
                        connection.send({"in": shown})
                request: Message = {
                    "do": "exec",
                    "node": node,
                    "argv": message["argv"],
                    "env": {**(message.get("env") or {}), **({"TRENZA_RECORD": "1"} if tty and record else {})},
                    "cwd": message.get("cwd"),
                    "user": message.get("user"),
                    "tty": tty,
                }
                answer, received = client.ask(request, () if tty else descriptors)
            except CommandRefused:
                raise
            except KernelError as error:
                gone = error.errno == errno.ESRCH
                said = f"{shown} is not running" if gone else error.message
                hint = f"trenza start {node}" if gone and inside is None else None
                refused = CommandRefused(said, errno=error.errno, hint=hint)
                raise refused from error
            finally:  # also where there is no such node: whoever reads the client's output waits for its end
                for descriptor in descriptors:
                    os.close(descriptor)
            if record and not (message.get("shell") and tty):
                own = self._begin(session, "", node, shlex.join(message["argv"]), message)
                if message.get("shell"):  # what it is given as its input is what counts
                    self._running[own] |= {"line": "", "stdin": True}
            if tty:
                status = await self._relay(connection, client, answer["pid"], received[0], message, node, session)
            else:
                status = await self._await_command(connection, client, answer["pid"], self._running.get((session, "")))
            if own is not None:
                self._end(own, status)
            connection.send({"result": {"status": status if status >= 0 else 128 - status}})
        finally:
            self._running = {key: line for key, line in self._running.items() if key[0] != session}
            client.close()

    def _begin(self, session: str, shell: str, node: NodeName, line: str, message: Message) -> tuple[str, str]:
        """Note a line that begins, with what its doing it again takes; gives the key to end it by."""
        record: dict[str, Any] = {
            "began_s": time.time(),
            "node": node,
            "line": line,
            "session": session,
            "shell": shell,
        }
        record |= {name: message[name] for name in ("user", "cwd", "env") if message.get(name)}
        numbers = {int(number) for match in _PID.finditer(line) for number in match.groups() if number}
        if numbers:
            pids = self._pids(node)
            record["pids"] = {str(number): pids[number] for number in numbers if number in pids}
        self._running[session, shell] = record
        return session, shell

    def _end(self, key: tuple[str, str], status: int) -> None:
        """Keep a line that ended. What began in the same terminal while it ran has ended too (`exit` says nothing)."""
        record = self._running.pop(key)
        self._running = {
            other: line
            for other, line in self._running.items()
            if other[0] != key[0] or line["began_s"] < record["began_s"]
        }
        self._sessions.add(record.pop("node"), record.pop("line"), status, **record)

    async def _await_command(
        self, connection: Connection, client: SpawnerClient, pid: int, own: dict[str, Any] | None
    ) -> int:
        """Wait for a command, passing on the signals that the client sends; a client that goes takes it along.

        What the client says was typed is added to the record `own`.
        """

        def hear(said: Message | bytes | None) -> None:
            if isinstance(said, dict) and "signal" in said:
                _signal_session(pid, int(said["signal"]))
            elif isinstance(said, dict) and "typed" in said and own is not None and len(own["line"]) <= MAX_LINE:
                own["line"] += base64.b64decode(said["typed"]).decode(errors="replace")

        exit_status = self._loop.create_task(self._exit_of(client))
        try:
            while not exit_status.done():
                incoming = self._loop.create_task(connection.receive())
                await asyncio.wait({exit_status, incoming}, return_when=asyncio.FIRST_COMPLETED)
                if exit_status.done() and not incoming.done():
                    incoming.cancel()
                    break
                said = incoming.result()
                if said is None and not exit_status.done():
                    return 129  # closing our connection to the spawner hangs the command up
                hear(said)
            for said in connection.received_now():
                hear(said)
            return exit_status.result()
        finally:
            await _cancelled(exit_status)

    async def _relay(
        self,
        connection: Connection,
        client: SpawnerClient,
        pid: int,
        pty: int,
        message: Message,
        node: NodeName,
        session: str,
    ) -> int:
        """Carry a terminal between a client and a pty until the command ends or the client goes."""
        resize(pty, *message.get("size", (24, 80)))
        os.set_blocking(pty, False)
        lines = CommandLines()
        closed = asyncio.Event()
        pauses: list[asyncio.Task[None]] = []

        def output() -> None:
            try:
                data = os.read(pty, 1 << 16)
            except BlockingIOError:
                return
            except OSError:  # EIO: the last process of the terminal is gone
                data = b""
            if not data:
                self._loop.remove_reader(pty)
                closed.set()
                return
            shown, typed = lines.feed(data)
            for line in typed if message.get("record") else ():
                shell = line.shell or "?"
                if line.status is None or (session, shell) not in self._running:
                    self._begin(session, shell, node, line.line, {**message, "env": None})
                if line.status is not None:
                    self._running[session, shell]["line"] = line.line
                    self._end((session, shell), line.status)
            if shown:
                connection.send(shown)
            if connection.queued_bytes > _TERMINAL_AHEAD_BYTES:  # its reader has stopped, and so does the terminal
                self._loop.remove_reader(pty)
                pauses[:] = [self._loop.create_task(go_on())]

        async def go_on() -> None:
            await connection.drained()
            self._loop.add_reader(pty, output)

        async def input_() -> None:
            while (said := await connection.receive()) is not None:
                if isinstance(said, bytes):
                    await _write_all(self._loop, pty, said)
                elif "resize" in said:
                    resize(pty, *said["resize"])

        self._loop.add_reader(pty, output)
        typing = self._loop.create_task(input_())
        exit_status = self._loop.create_task(self._exit_of(client))
        try:
            await asyncio.wait({typing, exit_status}, return_when=asyncio.FIRST_COMPLETED)
            if not exit_status.done():
                return 129  # the client went; closing pty and connection hangs the shell up
            try:
                async with asyncio.timeout(1):
                    await closed.wait()
            except TimeoutError:
                pass  # something in the background still holds the terminal
            return exit_status.result()
        finally:
            self._loop.remove_reader(pty)
            await _cancelled(typing, exit_status, *pauses)
            self._loop.remove_reader(pty)
            os.close(pty)


async def _cancelled(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they let go of their descriptors.

    A descriptor that is closed while the loop still watches it is watched no more, and neither is the next one to get
    its number: the loop takes it for the old one.
    """
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _write_all(loop: asyncio.AbstractEventLoop, descriptor: int, data: bytes) -> None:
    """Write to a pty that may be full: its reader has stopped, and so do we until it reads."""
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            writable = asyncio.Event()
            loop.add_writer(descriptor, writable.set)
            try:
                await writable.wait()
            finally:
                loop.remove_writer(descriptor)
        except OSError:
            return


def _signal_session(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return
