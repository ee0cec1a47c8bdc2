"""What the server asks of a pod's node: logs, commands, and connections to ports. Held by the nodes' client and a fake.

Refusals are `ApiError`s. Everything that is opened is closed by its user, also by leaving it half read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from trenza.cluster.kinds.resources import Object


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Which part of a container's log. `tail_lines` and `since_s` None: all of it; `limit_bytes` 0: no limit."""

    container: str
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since_s: float | None = None
    limit_bytes: int = 0


@dataclass(frozen=True, slots=True)
class CommandOptions:
    """What to run in a container, or (no command) that its own process is meant; which streams there are."""

    container: str
    command: tuple[str, ...] = ()
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """Bytes of the command; with a terminal everything is stdout."""

    content: bytes
    stderr: bool = False


@dataclass(frozen=True, slots=True)
class Exited:
    """The command has ended: its exit code, or why it never began."""

    code: int
    error: str = ""


class Running(Protocol):
    """A command that runs."""

    async def read(self) -> Output | Exited:
        """What comes next; `Exited` is the last."""

    async def write(self, content: bytes) -> None:
        """To its stdin; nothing happens once that is closed."""

    async def close_stdin(self) -> None: ...

    async def resize(self, columns: int, rows: int) -> None:
        """Of its terminal, if it has one."""

    async def close(self) -> None:
        """Nobody listens any more. A command of an exec that still runs is ended."""


class Joined(Protocol):
    """A connection to a port in a pod."""

    async def read(self) -> bytes:
        """Some bytes; none when the other side has ended."""

    async def write(self, content: bytes) -> None: ...

    async def close_writing(self) -> None: ...

    async def close(self) -> None: ...


class NodeStreams(Protocol):
    """The nodes. A pod is bound to a node, whose addresses are in the API."""

    async def logs(self, pod: Object, options: LogOptions) -> AsyncIterator[bytes]:
        """The log, piece by piece; with `follow` until the container ends. Refusals come before the first piece."""

    async def run(self, pod: Object, options: CommandOptions) -> Running:
        """Begin a command in a container, or attach to its process."""

    async def connect(self, pod: Object, port: int) -> Joined:
        """Connect to a port on the pod's loopback. Raises OSError if nobody listens."""
