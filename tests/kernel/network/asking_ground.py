"""What the tests of asking stand on: namespaces by name, daemons in nodes, servers of the test's own."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from grounds import Ground

from trenza.client.labfiles import get_lab_file
from trenza.model.names import NodeName
from trenza.plan.wanted import wanted_state
from trenza.spec import Choices, read

DEADLINE_S = 10.0


def netns(place: Ground, name: str) -> int:
    return place.nodes.alive()[NodeName(name)].netns


def become_shipped(place: Ground, name: str) -> None:
    """Build a shipped lab's solution."""
    lab_file = get_lab_file(name)
    place.become(wanted_state(read(lab_file.source, lab_file.shown(), Choices(), "en").lab))


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {DEADLINE_S:g} s"
        time.sleep(0.01)


@contextmanager
def running(place: Ground, name: str, argv: Sequence[str]) -> Iterator[None]:
    """A daemon in a node, in the foreground; it ends with the block."""
    process = subprocess.Popen(
        ["nsenter", f"--net=/proc/{os.getpid()}/fd/{netns(place, name)}", *argv],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def serving(place: Ground, name: str, address: str, answer: bytes, port: int = 80) -> Iterator[list[bytes]]:
    """A server of one thread that says `answer` to whatever it is sent, and closes; the requests it had."""
    requests: list[bytes] = []
    with place.home.inside(netns(place, name)):
        server = socket.create_server((address, port), backlog=64)

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(DEADLINE_S)
                asked = connection.recv(1 << 16)
                if asked:
                    requests.append(asked)
                    connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield requests
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def here() -> int:
    """The network namespace that this thread lies in."""
    return Path("/proc/thread-self/ns/net").stat().st_ino


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
