"""A host's endpoint with commands of this machine for those of containers: its streams, its descriptors, its logs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h11
import pytest

from trenza.cluster.api import ApiError
from trenza.cluster.client import client_context
from trenza.cluster.node import frames
from trenza.cluster.node.containers import Running
from trenza.cluster.node.endpoint import Endpoint, server_context
from trenza.cluster.node.environment import Command
from trenza.cluster.node.frames import Frame, FrameReader
from trenza.cluster.node.log_ends import PART_BYTES, PARTS, begin_of, shorten
from trenza.cluster.node.pods import Run, Seen
from trenza.cluster.node.probes import probe
from trenza.cluster.node.terminals import Terminal
from trenza.cluster.server.tls import Authority
from trenza.cluster.server.users import MASTERS

pytestmark = pytest.mark.anyio

WAIT_S = 20


class Client:
    """What stands for the spawner: it tells a command's end."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._near, self._far = socket.socketpair()
        self._process = process
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        self._process.wait()
        with contextlib.suppress(OSError):
            self._far.send(b"x")

    def fileno(self) -> int:
        return self._near.fileno()

    def receive(self) -> tuple[dict[str, Any], list[int]]:
        self._near.recv(1)
        return {"exit": self._process.returncode}, []

    def close(self) -> None:
        self._near.close()
        self._far.close()


class Containers:
    """Commands of this machine, and one log."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.growth_reads = 0

    def execute(self, name: str, command: Command, descriptors: tuple[int, int, int], *, tty: bool = False) -> Running:
        stdin, stdout, stderr = descriptors
        process = subprocess.Popen(command.argv, stdin=stdin, stdout=stdout, stderr=stderr)
        return Running(Client(process), None)  # type: ignore[arg-type]  # the part of a client that is asked here

    def open_log(self, path: str) -> int:
        return os.open(self.log, os.O_RDONLY)

    def read(self, path: str, *, limit_bytes: int) -> bytes:
        self.growth_reads += 1
        return struct.pack("!Qd", 1 << 40, 1.0)


class Worker:
    """A pod with one container, `c`, that runs."""

    def __init__(self) -> None:
        self.pod = {"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [{"name": "c"}]}}
        self.seen = Seen(runs={"c": Run(0, 0.0)})
        self.terminals: dict[str, Terminal] = {}

    def container(self, name: str) -> dict[str, Any]:
        return {"name": name}

    def node_of(self, container: str) -> str:
        return f"node of {container}"

    def runs_at(self, container: str, attempt: int) -> bool:
        return True

    def log_of(self, container: str, attempt: int) -> str:
        return "0.log"


Asked = Callable[[str], Any]
_SHOWN = b"1970-01-01T00:00:01.000000000Z "


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def containers(tmp_path: Path) -> Containers:
    return Containers(tmp_path / "log")


@pytest.fixture
async def connect(worker: Worker, containers: Containers) -> AsyncIterator[Asked]:
    """Ask for a target: the raw socket, small in its buffers, and the endpoint's writer at the other end."""
    kubelet = SimpleNamespace(containers=containers, find=lambda namespace, name: worker)
    endpoint = Endpoint(kubelet, lambda worker: socket.socket())  # type: ignore[arg-type]
    tasks, socks = [], []

    async def ask(request: str) -> tuple[socket.socket, asyncio.StreamWriter]:
        ours, theirs = socket.socketpair()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        reader, writer = await asyncio.open_connection(sock=theirs)
        tasks.append(asyncio.create_task(endpoint._serve(reader, writer)))
        ours.setblocking(False)
        socks.append(ours)
        await asyncio.get_running_loop().sock_sendall(ours, request.encode())
        return ours, writer

    yield ask
    for sock in socks:
        sock.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def upgrade(target: str) -> str:
    return f"POST {target} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: {frames.UPGRADE}\r\n\r\n"


@contextlib.asynccontextmanager
async def streams(sock: socket.socket) -> AsyncIterator[FrameReader]:
    reader, writer = await asyncio.open_connection(sock=sock)
    async with asyncio.timeout(WAIT_S):
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        yield FrameReader(reader)
    writer.close()


async def until_status(reader: FrameReader) -> list[Frame]:
    found = [await anext(reader)]
    while found[-1].channel != frames.STATUS:
        found.append(await anext(reader))
    return found


async def test_who_reads_slowly_gets_all_of_a_commands_output(connect: Asked) -> None:
    sock, _ = await connect(upgrade("/exec/n/p/c?command=head&command=-c&command=130000&command=/dev/zero"))
    await asyncio.sleep(1.3)  # the command has ended long since, and half of its output waits in the pipe
    async with streams(sock) as reader:
        said = await until_status(reader)
    assert sum(len(frame.payload) for frame in said if frame.channel == frames.STDOUT) == 130_000
    assert json.loads(said[-1].payload) == {"code": 0}


async def test_a_command_that_reads_nothing_ends_as_it_ends(connect: Asked) -> None:
    sock, _ = await connect(upgrade("/exec/n/p/c?command=sh&command=-c&command=exit+7&stdin=true"))
    loop, typed = asyncio.get_running_loop(), frames.packed(frames.STDIN, b"x" * 100_000)
    async with asyncio.timeout(WAIT_S):
        for _ in range(100):
            await loop.sock_sendall(sock, typed)
    async with streams(sock) as reader:
        assert json.loads((await until_status(reader))[-1].payload) == {"code": 7}


async def test_what_a_command_leaves_behind_does_not_hold_its_client(connect: Asked) -> None:
    sock, _ = await connect(upgrade("/exec/n/p/c?command=sh&command=-c&command=echo+done;+yes+%26"))
    async with streams(sock) as reader:
        said = await until_status(reader)
    assert json.loads(said[-1].payload) == {"code": 0}


async def test_a_descriptor_that_was_closed_is_not_closed_again(connect: Asked) -> None:
    sock, _ = await connect(upgrade("/exec/n/p/c?command=sh&command=-c&command=cat;+sleep+0.5&stdin=true"))
    await asyncio.get_running_loop().sock_sendall(
        sock, frames.packed(frames.STDIN, b"typed") + frames.packed(frames.STDIN, b"")
    )
    async with streams(sock) as reader:
        assert await anext(reader) == Frame(frames.STDOUT, b"typed")
        others = [os.open("/dev/null", os.O_RDONLY) for _ in range(50)]  # the numbers that are free, the input's too
        await until_status(reader)
    for descriptor in others:
        os.fstat(descriptor)
        os.close(descriptor)


async def test_a_log_with_times_is_read_once_however_long_its_lines_are(connect: Asked, containers: Containers) -> None:
    containers.log.write_bytes(b"x" * (8 << 20) + b"\nlast\n")
    sock, _ = await connect("GET /containerLogs/n/p/c?timestamps=true HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    reader, writer = await asyncio.open_connection(sock=sock)
    async with asyncio.timeout(WAIT_S):
        said = await reader.read()
    writer.close()
    assert said.count(b"x") >= 8 << 20
    assert said.count(_SHOWN + b"x") == 1 and said.count(_SHOWN + b"last\n") == 1
    assert containers.growth_reads == 1


def shortened(log: int) -> int:
    """Have a log lose its beginning, as the agent does; where it begins then."""
    return shorten(log, begin_of(log), os.fstat(log).st_size)


LINE = b"%01023d"
SIZE = 1024
MANY = b"".join(LINE % number + b"\n" for number in range(PARTS * PART_BYTES // SIZE + 1))


@contextlib.asynccontextmanager
async def log_lines(connect: Asked, query: str) -> AsyncIterator[AsyncIterator[bytes]]:
    """The lines of the log, whole, as they come."""
    sock, _ = await connect(f"GET /containerLogs/n/p/c?{query} HTTP/1.1\r\nHost: x\r\n\r\n")
    reader, writer = await asyncio.open_connection(sock=sock)

    async def lines() -> AsyncIterator[bytes]:
        http, rest = h11.Connection(h11.CLIENT), b""
        http.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
        http.send(h11.EndOfMessage())
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                http.receive_data(await reader.read(1 << 16))
            elif isinstance(event, h11.Data):
                *whole, rest = (rest + event.data).split(b"\n")
                for line in whole:
                    yield line

    try:
        async with asyncio.timeout(WAIT_S):
            yield lines()
    finally:
        writer.close()


@pytest.mark.parametrize("asked", ["", "&tailLines=10000000", "&timestamps=true", "&follow=true"])
async def test_a_log_that_lost_its_beginning_begins_at_a_line(
    connect: Asked, containers: Containers, asked: str
) -> None:
    containers.log.write_bytes(MANY)
    with open(containers.log, "r+b") as log:
        begin = shortened(log.fileno())
    assert begin > PART_BYTES
    async with log_lines(connect, f"limitBytes=2000{asked}") as lines:
        assert (await anext(lines)).removeprefix(_SHOWN) == LINE % (begin // SIZE)


@pytest.mark.parametrize("stamped", ["", "&timestamps=true"])
async def test_who_follows_a_log_that_is_shortened_misses_only_what_has_gone(
    connect: Asked, containers: Containers, stamped: str
) -> None:
    containers.log.write_bytes(MANY[:-SIZE])
    async with log_lines(connect, f"follow=true{stamped}") as lines:
        assert (await anext(lines)).removeprefix(_SHOWN) == LINE % 0
        with open(containers.log, "ab+") as log:  # while its reader is far behind
            log.write(MANY[-SIZE:] + b"last\n")
            log.flush()
            begin = shortened(log.fileno())
        seen = []
        while (line := (await anext(lines)).removeprefix(_SHOWN)) != b"last":
            seen.append(line)
    numbers = [int(line) for line in seen if len(line) == SIZE - 1]
    gaps = [after for before, after in pairwise(numbers) if after != before + 1]
    assert gaps == [begin // SIZE] and numbers[-1] == len(MANY) // SIZE - 1
    assert sum(len(line) != SIZE - 1 for line in seen) <= 1  # where it was torn


async def test_an_attached_client_that_does_not_read_costs_no_more_than_a_megabyte(
    connect: Asked, worker: Worker
) -> None:
    master, slave = os.openpty()
    worker.terminals["c"] = Terminal(master, None)
    _, writer = await connect(upgrade("/attach/n/p/c"))
    writing = asyncio.to_thread(_fill, slave, 4 << 20)
    async with asyncio.timeout(WAIT_S):
        await writing
    assert writer.transport.get_write_buffer_size() < (1 << 20) + (1 << 17)
    worker.terminals["c"].close()
    os.close(slave)


def _fill(slave: int, size: int) -> None:
    done = 0
    while done < size:
        done += os.write(slave, b"y" * 4000)


async def test_only_the_api_server_is_heard(containers: Containers, worker: Worker, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    authority = Authority.made(now)
    credentials = {
        "node": authority.node("larrain", ["127.0.0.1"], now),
        "server": authority.client("kube-apiserver-kubelet-client", (MASTERS,), now),
        "reader": authority.client("reader", ("trenza:readers",), now),
    }
    (tmp_path / "ca").write_bytes(authority.pem)
    for name, made in credentials.items():
        (tmp_path / f"{name}.crt").write_bytes(made.certificate)
        (tmp_path / f"{name}.key").write_bytes(made.key)
    kubelet = SimpleNamespace(containers=containers, find=lambda namespace, name: worker, workers={})
    endpoint = Endpoint(kubelet, lambda worker: socket.socket())  # type: ignore[arg-type]
    context = server_context(str(tmp_path / "ca"), str(tmp_path / "node.crt"), str(tmp_path / "node.key"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    await endpoint.serve("127.0.0.1", port, context)
    for name, status in (("server", 101), ("reader", 403), ("node", 403)):
        tls = client_context(str(tmp_path / "ca"), *(str(tmp_path / f"{name}.{end}") for end in ("crt", "key")))
        if status == 101:
            _, writer = await frames.open_stream("127.0.0.1", port, "/exec/n/p/c?command=true", tls=tls)
            assert writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            writer.close()
            continue
        with pytest.raises(ApiError) as refused:
            await frames.open_stream("127.0.0.1", port, "/exec/n/p/c?command=true", tls=tls)
        assert refused.value.status == status
    endpoint.close()


async def test_a_probes_command_may_say_more_than_a_pipe_holds(containers: Containers) -> None:
    spec = {"exec": {"command": ["head", "-c", "300000", "/dev/zero"]}, "timeoutSeconds": 5}
    success, said = await probe(spec, {}, "node", "", containers)  # type: ignore[arg-type]  # what a probe asks of them
    assert success
    assert said == "\0" * 10240
