"""What services write: the last lines of the logs below /var/log of nodes, and what is added to them.

A log is named as its service: /var/log/haproxy.log is `haproxy`, /var/log/apache2/error.log `apache2/error`, and what
daemons told syslog, /var/log/messages, `messages`. The node's root may put anything there: only regular files are read,
through openat2 with the node's root as `/`, and no more of them than somebody reads.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self

from trenza.engine.engine import Engine
from trenza.engine.suggestions import suggest
from trenza.errors import UsageError
from trenza.keeper.connection import Connection
from trenza.linux import beneath
from trenza.linux.inotify import (
    IN_CREATE,
    IN_IGNORED,
    IN_ISDIR,
    IN_MODIFY,
    IN_MOVED_TO,
    IN_ONLYDIR,
    IN_Q_OVERFLOW,
    Inotify,
)
from trenza.linux.inside import SandboxNodes
from trenza.model.names import NodeName
from trenza.model.state import Process
from trenza.wire import Message

PLACE = "/var/log"
MESSAGES = "messages"
DEFAULT_LINES = 20
_TAIL_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16
_LONGEST_LINE_BYTES = 1 << 14
_AHEAD_BYTES = 1 << 18
"""What was sent to a client that it has not read, at most, before its logs are read on."""

_TOGETHER_S = 0.02
"""Changes of so short a time are told together."""

_MAX_ENTRIES = 1000
"""Of a directory, that are looked at: a node's owner may have made a million."""

_MAX_NAMES = 200
_BRING_NODES = ("start", "launch", "built")
"""Events after which there may be nodes that were not there."""

_CHANGES = IN_MODIFY | IN_CREATE | IN_MOVED_TO


@dataclass(frozen=True, slots=True)
class Log:
    """A log of a node, by the name of its service."""

    node: NodeName
    service: str

    @property
    def path(self) -> str:
        return f"{PLACE}/{MESSAGES}" if self.service == MESSAGES else f"{PLACE}/{self.service}.log"


@dataclass(slots=True)
class _Place:
    """How far a log was read: which file it was (its inode, which a node's stop and start leaves), the next byte, and a
    line that is not complete yet.
    """

    file: int = 0
    offset: int = 0
    rest: bytes = b""


class Logs:
    """Answers `logs`."""

    def __init__(self, engine: Engine, nodes: SandboxNodes) -> None:
        self._engine = engine
        self._nodes = nodes
        self._loop = asyncio.get_running_loop()

    async def logs(self, connection: Connection, message: Message) -> None:
        """Send the last `lines` lines of each log, and with `follow` what is added, until the client goes."""
        only = self._engine.resolve(message["node"]) if message.get("node") else None
        service = message.get("service")
        lines = int(message.get("lines", DEFAULT_LINES))
        if only is not None:
            self._require(only, service, wait=bool(message.get("follow")))
        places: dict[Log, _Place] = {}
        for log in self._there(only, service):
            places[log] = _Place()
            self._send(connection, log, self._tail(log, places[log], lines))
            await self._breathe(connection)
        if message.get("follow"):
            await self._follow(connection, only, service, places)
        else:
            await connection.drained()
            connection.send({"result": {"logs": len(places)}})

    def _require(self, node: NodeName, service: str | None, *, wait: bool) -> None:
        """Raises UsageError if a node does not run or has no such log; one that is waited for may come."""
        if node not in self._nodes.alive():
            raise UsageError(f"{node} is not running", hint=f"trenza start {node}")
        names = [log.service for log in self._there(node, None)]
        declared = {one.name for one in self._declared(node)}
        if service is None or wait or service in names or service in declared:
            return
        known = sorted({*names, *declared})
        raise UsageError(
            f"{node} has no log of {service!r}",
            hint=suggest(service, known, known) if known else f"nothing below {PLACE} of {node}",
        )

    def _declared(self, node: NodeName) -> Iterator[Process]:
        return (thing for thing in self._engine.declared if isinstance(thing, Process) and thing.node == node)

    # ------------------------------------------------------------------ what there is
    def _there(self, only: NodeName | None, service: str | None) -> Iterator[Log]:
        """The logs that are asked for and are there now."""
        for node in sorted(self._nodes.alive()) if only is None else (only,):
            names = (service,) if service is not None else sorted(self._names(node))
            yield from (Log(node, name) for name in names)

    def _names(self, node: NodeName) -> set[str]:
        """Names of a node's logs that are not empty."""
        found: set[str] = set()
        for directory, entries in self._directories(node):
            for name, size in entries:
                log = _name_of(directory, name)
                if log is not None and size:
                    found.add(log)
        return set(sorted(found)[:_MAX_NAMES])

    def _directories(self, node: NodeName) -> Iterator[tuple[str, list[tuple[str, int]]]]:
        """/var/log and the directories in it, each with its regular files and their sizes."""
        todo = [PLACE]
        while todo:
            path = todo.pop(0)
            directory = self._open(node, path, os.O_RDONLY | os.O_DIRECTORY)
            if directory is None:
                continue
            files: list[tuple[str, int]] = []
            try:
                with os.scandir(directory) as entries:
                    for entry in islice(entries, _MAX_ENTRIES):
                        if path == PLACE and entry.is_dir(follow_symlinks=False) and len(todo) < _MAX_NAMES:
                            todo.append(f"{PLACE}/{entry.name}")
                        elif entry.is_file(follow_symlinks=False):
                            files.append((entry.name, entry.stat(follow_symlinks=False).st_size))
            except OSError:
                pass  # it changed while we looked
            finally:
                os.close(directory)
            yield path, files

    def _open(self, node: NodeName, path: str, flags: int) -> int | None:
        handle = self._nodes.alive().get(node)
        if handle is None or handle.pid is None:
            return None
        try:
            with beneath.root_of(handle.pid) as root:
                return beneath.open_in_root(root, path, flags)
        except OSError:
            return None

    # ------------------------------------------------------------------ reading
    def _tail(self, log: Log, place: _Place, lines: int) -> list[str]:
        """A log's last lines; `place` is its end afterwards."""
        descriptor = self._open(log.node, log.path, os.O_RDONLY | os.O_NONBLOCK)
        if descriptor is None:
            return []
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return []
            place.file = status.st_ino
            begin = max(0, status.st_size - _TAIL_BYTES)
            data = os.pread(descriptor, _TAIL_BYTES, begin)
            place.offset = begin + len(data)
        except OSError:
            return []
        finally:
            os.close(descriptor)
        whole = [line.decode(errors="replace") for line in data.split(b"\n")]
        if whole and not whole[-1]:
            whole.pop()
        return whole[-lines:] if lines > 0 else []

    def _added(self, log: Log, place: _Place) -> tuple[list[str], bool]:
        """Lines that came since the last time, and whether there is more; another file is read from its beginning."""
        descriptor = self._open(log.node, log.path, os.O_RDONLY | os.O_NONBLOCK)
        if descriptor is None:
            return [], False
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return [], False
            if status.st_ino != place.file or status.st_size < place.offset:
                place.file, place.offset, place.rest = status.st_ino, 0, b""
            data = os.pread(descriptor, _CHUNK_BYTES, place.offset)
        except OSError:
            return [], False
        finally:
            os.close(descriptor)
        place.offset += len(data)
        *whole, place.rest = (place.rest + data).split(b"\n")
        if len(place.rest) > _LONGEST_LINE_BYTES:
            whole, place.rest = [*whole, place.rest], b""
        return [line.decode(errors="replace") for line in whole], len(data) == _CHUNK_BYTES

    def _send(self, connection: Connection, log: Log, lines: Iterable[str]) -> None:
        lines = list(lines)
        if lines:
            connection.send({"log": {"node": log.node, "service": log.service, "lines": lines}})

    async def _breathe(self, connection: Connection) -> None:
        """Until the client has read some of what was sent."""
        if connection.queued_bytes > _AHEAD_BYTES:
            await connection.drained()

    # ------------------------------------------------------------------ following
    async def _follow(
        self, connection: Connection, only: NodeName | None, service: str | None, places: dict[Log, _Place]
    ) -> None:
        with _Watch(self._loop) as watch:
            stop = self._engine.journal.listen(lambda event: watch.look_again() if event.kind in _BRING_NODES else None)
            gone = self._loop.create_task(connection.closed.wait())
            try:
                while not connection.closed.is_set():
                    await watch.changed(gone)
                    for log in self._changed(watch, only, service):
                        await self._pass_on(connection, log, places.setdefault(log, _Place()))
            finally:
                gone.cancel()
                stop()

    async def _pass_on(self, connection: Connection, log: Log, place: _Place) -> None:
        more = True
        while more and not connection.closed.is_set():
            lines, more = self._added(log, place)
            self._send(connection, log, lines)
            await self._breathe(connection)
            await asyncio.sleep(0)

    def _changed(self, watch: _Watch, only: NodeName | None, service: str | None) -> list[Log]:
        """The logs to look at: those that were written to, or all if there may be new places to watch."""
        again, written = watch.take()
        if not again:
            return [log for log in written if service is None or log.service == service]
        for node in self._nodes.alive() if only is None else (only,):
            for path, _ in self._directories(node):
                directory = self._open(node, path, os.O_RDONLY | os.O_DIRECTORY)
                if directory is not None:
                    watch.add(directory, node, path)
        return list(self._there(only, service))


class _Watch:
    """Which logs are written to, as inotify tells of the directories that they are in."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._inotify = Inotify()
        self._places: dict[int, tuple[NodeName, str]] = {}
        self._something = asyncio.Event()
        self._written: dict[Log, None] = {}
        self._again = False
        loop.add_reader(self._inotify.fileno(), self._heed)
        self.look_again()  # for what was written between the first look and the watch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._inotify.fileno())
        self._inotify.close()

    def add(self, directory: int, node: NodeName, path: str) -> None:
        """Watch a directory, which is closed then; one that is watched already stays so."""
        try:
            self._places[self._inotify.watch(directory, _CHANGES | IN_ONLYDIR)] = (node, path)
        except OSError as error:
            raise UsageError(f"logs cannot be followed: {error.strerror}") from error
        finally:
            os.close(directory)

    def look_again(self) -> None:
        """There may be places that are not watched yet."""
        self._again = True
        self._something.set()

    async def changed(self, gone: asyncio.Future[Any]) -> None:
        """Until something was written, or `gone`."""
        waiting = self._loop.create_task(self._something.wait())
        try:
            await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        await asyncio.sleep(_TOGETHER_S)

    def take(self) -> tuple[bool, list[Log]]:
        """Whether to look again everywhere, and else where; from now on it counts anew."""
        taken = self._again, list(self._written)
        self._again = False
        self._written.clear()
        self._something.clear()
        return taken

    def _heed(self) -> None:
        for seen in self._inotify.read():
            place = self._places.get(seen.watch)
            if seen.mask & (IN_Q_OVERFLOW | IN_IGNORED) or (seen.mask & IN_ISDIR and seen.mask & IN_CREATE):
                self._again = True
            elif place is not None:
                name = _name_of(place[1], seen.name)
                if name is None:
                    continue
                self._written[Log(place[0], name)] = None
            self._something.set()


def _name_of(directory: str, file: str) -> str | None:
    """The name of the log that a file of a directory is, if it is one."""
    if directory == PLACE and file == MESSAGES:
        return MESSAGES
    if not file.endswith(".log"):
        return None
    return f"{directory.removeprefix(PLACE)}/{file}".strip("/").removesuffix(".log")
