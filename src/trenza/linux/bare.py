"""BareNodes: nodes that are network namespaces and nothing else, for tests and for measuring the engine alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from trenza.errors import KernelError
from trenza.linux import syscalls
from trenza.linux.netns import Home
from trenza.linux.nodes import NodeHandle
from trenza.model.names import NodeName
from trenza.model.state import File, Node, Process, State, Thing


def enter_own_namespaces() -> None:
    """Put this process into a user and a network namespace of its own, as root there; anybody may, and nothing stays.

    The process must have one thread only. There is no way back: fork first.
    """
    uid, gid = os.geteuid(), os.getegid()
    syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNET)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


class BareNodes:
    """Implements `trenza.linux.nodes.Nodes` without a single process: the descriptors hold the namespaces.

    Close it (or use it in `with`): the namespaces end with it.
    """

    def __init__(self) -> None:
        self._home = Home()
        self._handles: dict[NodeName, NodeHandle] = {}

    def __enter__(self) -> BareNodes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.stop(tuple(self._handles))
        self._home.close()

    def spawn(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            if node.name in self._handles:
                raise KernelError(f"{node.name} is already there")
            if node.host is not None and node.host not in self._handles:
                raise KernelError(f"could not make {node.name}: its host {node.host} is not there")
            try:
                netns = self._home.make_netns()
            except OSError as error:
                raise KernelError(f"could not make {node.name}: {error.strerror}", errno=error.errno or 0) from error
            self._handles[node.name] = NodeHandle(node, netns)

    def stop(self, names: Sequence[NodeName]) -> None:
        gone = set(names)
        ending = [handle for name, handle in self._handles.items() if name in gone or handle.node.host in gone]
        for handle in ending:
            del self._handles[handle.node.name]
        for handle in ending:  # nothing in between: what ends together, the kernel frees together
            os.close(handle.netns)

    def rename(self, node: Node) -> None:
        self._handles[node.name] = replace(self._handles[node.name], node=node)

    def alive(self) -> Mapping[NodeName, NodeHandle]:
        return dict(self._handles)

    def place(self, file: File) -> None:
        raise KernelError(f"{file.node} is only a network namespace: it has no files")

    def remove_file(self, file: File) -> None:
        raise KernelError(f"{file.node} is only a network namespace: it has no files")

    def start(self, process: Process) -> None:
        raise KernelError(f"{process.node} is only a network namespace: it has no processes")

    def end(self, process: Process) -> None:
        raise KernelError(f"{process.node} is only a network namespace: it has no processes")

    def placed(self, expected: State) -> Sequence[Thing]:
        return ()
