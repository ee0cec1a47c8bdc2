"""The Nodes protocol: who makes and ends the namespaces and processes that the Linux kernel code works in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from trenza.model.names import NodeName
from trenza.model.state import File, Node, Process, State, Thing


@dataclass(frozen=True, slots=True)
class NodeHandle:
    """A living node. `netns` is an open descriptor of its network namespace, owned by the Nodes that gave it."""

    node: Node
    netns: int
    pid: int | None = None
    """The init's pid as this process sees it; None where a node is only a network namespace."""
    pid_in_host: int | None = None


class Nodes(Protocol):
    """Spawns nodes, places files in them and runs their declared processes."""

    def spawn(self, nodes: Sequence[Node]) -> None:
        """Make nodes, each with its namespaces; a container's host comes before it. Loopback is not yet up.

        Raises KernelError naming the first node that could not be made.
        """
        ...

    def stop(self, names: Sequence[NodeName]) -> None:
        """End nodes and all their processes. Containers of a stopped host end too."""
        ...

    def alive(self) -> Mapping[NodeName, NodeHandle]:
        """The nodes that live now (a node whose init died is not among them)."""
        ...

    def place(self, file: File) -> None:
        """Write a file (its `content` is there), atomically, with its mode and owner; parent directories are made."""
        ...

    def remove_file(self, file: File) -> None: ...

    def start(self, process: Process) -> None:
        """Start a declared process as a child of the node's init, its output in /var/log/NAME.log of the node."""
        ...

    def end(self, process: Process) -> None:
        """End a declared process and what it started; returns when it is gone."""
        ...

    def placed(self, expected: State) -> Sequence[Thing]:
        """The `File` and `Process` things of `expected` as they are now: files with digest, mode and owner as read,

        processes only while alive.
        """
        ...


@runtime_checkable
class RenamingNodes(Protocol):
    """Nodes that can give a living node another hostname; where they cannot, a changed hostname is refused."""

    def rename(self, node: Node) -> None:
        """Give the living node of this name its new hostname; `alive` tells it from then on."""
        ...
