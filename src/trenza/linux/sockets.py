"""The netlink sockets of the living nodes, opened when first needed and kept.

A socket keeps its network namespace alive, so those of nodes that ended are closed as soon as that is seen.
"""

from __future__ import annotations

import errno
import resource
from collections.abc import Mapping

from trenza.errors import KernelError
from trenza.linux.netlink import NetlinkSocket, Traffic
from trenza.linux.netns import Home
from trenza.linux.nodes import NodeHandle, Nodes
from trenza.model.names import NodeName


class NodeSockets:
    """One socket a node, and the way into its namespace."""

    def __init__(self, nodes: Nodes) -> None:
        self.traffic = Traffic()
        self._nodes = nodes
        self._home = Home()
        self._handles: Mapping[NodeName, NodeHandle] = {}
        self._open: dict[NodeName, tuple[NodeHandle, NetlinkSocket]] = {}
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a descriptor or three a node; 1024 is soon used up

    def refresh(self) -> Mapping[NodeName, NodeHandle]:
        """The nodes that live now; sockets of all others are closed."""
        self._handles = self._nodes.alive()
        for name, (handle, _) in list(self._open.items()):
            if self._handles.get(name) != handle:
                self.forget(name)
        return self._handles

    def forget(self, name: NodeName) -> None:
        """Close a node's socket, so that its namespace can go."""
        opened = self._open.pop(name, None)
        if opened is not None:
            opened[1].close()

    def close(self) -> None:
        for name in list(self._open):
            self.forget(name)
        self._home.close()

    def handle(self, name: NodeName) -> NodeHandle:
        """The living node. Raises KernelError if it is not among those of the last `refresh`."""
        handle = self._handles.get(name)
        if handle is None:
            raise KernelError(f"{name} is not running", errno=errno.ESRCH)
        return handle

    def sock(self, name: NodeName) -> NetlinkSocket:
        """The node's socket. Raises KernelError if the node does not live."""
        opened = self._open.get(name)
        if opened is not None:
            return opened[1]
        handle = self.handle(name)
        sock = NetlinkSocket(self._home, handle.netns, traffic=self.traffic)
        self._open[name] = (handle, sock)
        return sock

    def listener(self, name: NodeName, *groups: int) -> NetlinkSocket:
        """A new socket that hears multicast groups of the node; whoever asks closes it."""
        return NetlinkSocket(self._home, self.handle(name).netns, groups=groups)

    @property
    def handles(self) -> Mapping[NodeName, NodeHandle]:
        """The nodes that lived at the last `refresh`."""
        return self._handles

    @property
    def home(self) -> Home:
        return self._home
