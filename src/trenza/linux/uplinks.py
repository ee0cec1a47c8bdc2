"""Uplinks as the keeper sees them: their holders started, found again, asked and ended."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trenza.errors import KernelError
from trenza.linux.nodes import NodeHandle
from trenza.linux.uplink_filter import rules
from trenza.linux.uplink_holder import address_of
from trenza.model.names import NodeName
from trenza.model.state import Node

_DEADLINE_S = 20.0


@dataclass(frozen=True, slots=True)
class _Held:
    pidfd: int
    handle: NodeHandle


class Uplinks:
    """The uplinks of one sandbox, each held by a process of its own (`trenza.linux.uplink_holder`)."""

    def __init__(self) -> None:
        self._held: dict[NodeName, _Held] = {}

    def adopt(self, node: Node) -> None:
        """Take over an uplink that an earlier keeper made, if it lives."""
        try:
            pid = int(ask(node.name, {"do": "hello"})["pid"])
            pidfd = os.pidfd_open(pid)
            netns = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except (KernelError, OSError):
            return
        self._held[node.name] = _Held(pidfd, NodeHandle(node, netns))

    def spawn(self, node: Node) -> None:
        """Make an uplink through which nothing passes yet. Raises KernelError."""
        root = str(Path(__file__).resolve().parents[2])
        code = f"import sys; sys.path.insert(0, {root!r}); from trenza.linux.uplink_holder import main; main()"
        settings = json.dumps({"name": node.name, "rules": rules(())})
        argv = [sys.executable, "-I", "-S", "-B", "-c", code, settings]
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=_DEADLINE_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise KernelError(f"{node.name} was not made within {_DEADLINE_S:.0f} s") from error
        if done.returncode:
            raise KernelError(f"could not make {node.name}: {done.stdout.strip() or done.returncode}")
        self.adopt(node)
        if node.name not in self._held:
            raise KernelError(f"{node.name} ended as soon as it began")

    def alive(self) -> Mapping[NodeName, NodeHandle]:
        """The uplinks that live now."""
        for name, held in list(self._held.items()):
            if select.select([held.pidfd], [], [], 0)[0]:
                self._forget(name)
        return {name: held.handle for name, held in self._held.items()}

    def stop(self, names: Collection[NodeName]) -> None:
        """End uplinks, and with each its helper."""
        doomed = [name for name in names if name in self._held]
        for name in doomed:
            signal.pidfd_send_signal(self._held[name].pidfd, signal.SIGKILL)
        for name in doomed:
            select.select([self._held[name].pidfd], [], [], _DEADLINE_S)
            self._forget(name)

    def _forget(self, name: NodeName) -> None:
        held = self._held.pop(name)
        os.close(held.pidfd)
        os.close(held.handle.netns)


def ask(name: NodeName, request: Mapping[str, Any], descriptors: Sequence[int] = ()) -> dict[str, Any]:
    """One request to the holder of an uplink, and its answer. Raises KernelError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(_DEADLINE_S)
        try:
            sock.connect(address_of(name))
            socket.send_fds(sock, [json.dumps(request).encode()], list(descriptors))
            message = sock.recv(1 << 16)
        except OSError as error:
            raise KernelError(f"{name} does not answer: {error.strerror or error}") from error
    answer: dict[str, Any] = json.loads(message) if message else {"error": "it ended"}
    if "error" in answer:
        raise KernelError(f"{name}: {answer['error']}")
    return answer


def watch(name: NodeName) -> socket.socket:
    """A socket on which the holder of an uplink says whether it has a helper, now and whenever that changes.

    End of file says that the uplink ended. Raises KernelError; whoever asks closes it.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        sock.connect(address_of(name))
        sock.send(b'{"do": "watch"}')
    except OSError as error:
        sock.close()
        raise KernelError(f"{name} does not answer: {error.strerror}") from error
    sock.setblocking(False)
    return sock
