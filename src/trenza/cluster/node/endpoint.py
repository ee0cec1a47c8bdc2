"""What a host serves on port 10250, for the API server: logs, and the streams of exec, attach and port-forward.

    GET  /healthz
    GET  /pods                                        the pods of this host, a PodList
    GET  /containerLogs/NAMESPACE/POD/CONTAINER       follow, previous, tailLines, limitBytes, sinceSeconds, timestamps
    POST /exec/NAMESPACE/POD/CONTAINER                command (repeated), stdin, tty: a stream (`frames`)
    POST /attach/NAMESPACE/POD/CONTAINER              stdin: a stream
    POST /portForward/NAMESPACE/POD                   port: a stream

The paths are a kubelet's. With TLS only the API server is heard: who has a certificate of the cluster's CA that names
the group system:masters.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import h11

from trenza.cluster.keepalives import keep_alive
from trenza.cluster.node import frames
from trenza.cluster.node.containers import Running, exit_of, refusal_words, resize_terminal, times_path
from trenza.cluster.node.descriptors import readable, writable
from trenza.cluster.node.environment import Command
from trenza.cluster.node.kubelet import Kubelet, PodWorker
from trenza.cluster.node.log_ends import begin_of
from trenza.cluster.node.log_times import Growth, offset_since, read_growth, stamp, time_at
from trenza.cluster.node.pods import CREATING
from trenza.errors import KernelError
from trenza.linux.inside import CommandRefused

PORT: Final = 10250
_MASTERS: Final = "system:masters"
_READ_BYTES: Final = 1 << 16
_MAX_TIMES_BYTES: Final = 64 << 20
_FOLLOW_S: Final = 0.05
"""How often a log that is followed is looked at."""

_GOODBYE_S: Final = 5.0
"""How long the API server may take to hang up on a command that has ended."""

_LEFT_S: Final = 0.2
_LEFT_BYTES: Final = 1 << 20
"""A command that has ended may have left this much in its pipe, and processes that hold the pipe open."""

_MAX_WAITING_BYTES: Final = 1 << 20
"""For an attached client that does not read."""

_PULLED_IN_VAIN: Final = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}
_MAX_LINE_BYTES: Final = 1 << 20
"""How much of a log's line is held back until its end, where lines are shown with their times."""


Part = tuple[int, bytes]
"""A part of a log, and where in the log it begins (of one with times: ends)."""


def server_context(ca: str, certificate: str, key: str) -> ssl.SSLContext:
    """TLS for a host's endpoint: clients must show a certificate of the CA."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    return context


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Endpoint:
    """Serves one host. `enter_pod` makes a socket in a pod's network."""

    def __init__(self, kubelet: Kubelet, pod_socket: Callable[[PodWorker], socket.socket]) -> None:
        self._kubelet = kubelet
        self._pod_socket = pod_socket
        self._server: asyncio.Server | None = None

    async def serve(self, address: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Listen; raises OSError. `close` ends it."""
        self._server = await asyncio.start_server(self._serve, address, port, ssl=tls)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        keep_alive(writer)
        try:
            while True:
                request = await _next_request(connection, reader)
                if request is not None and not _may_ask(writer):
                    _respond(connection, writer, 403, b"only the API server may ask", "text/plain")
                    return
                if request is None or not await self._answer(connection, request, reader, writer):
                    return
                connection.start_next_cycle()
        except (OSError, EOFError, h11.ProtocolError, ValueError):
            pass  # the other side went, or speaks something else
        finally:
            writer.close()

    async def _answer(
        self,
        connection: h11.Connection,
        request: h11.Request,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Answer one request; whether another may follow on the connection."""
        parts = urlsplit(request.target.decode())
        path = [unquote(part) for part in parts.path.strip("/").split("/")]
        query = parse_qs(parts.query, keep_blank_values=True)
        try:
            match request.method, path:
                case b"GET", ["healthz"]:
                    _respond(connection, writer, 200, b"ok", "text/plain")
                case b"GET", ["pods"]:
                    items = [worker.pod for worker in self._kubelet.workers.values()]
                    body = json.dumps({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}).encode()
                    _respond(connection, writer, 200, body, "application/json")
                case b"GET", ["containerLogs", namespace, pod, container]:
                    await self._logs(connection, reader, writer, self._find(namespace, pod), container, query)
                case b"POST", ["exec" | "attach" | "portForward" as verb, namespace, pod, *rest]:
                    worker = self._find(namespace, pod)
                    _require_upgrade(request)
                    accepted = self._accept(verb, worker, rest, query)
                    _switch(connection, writer)
                    await accepted(frames.FrameReader(reader, connection.trailing_data[0]), writer)
                    return False
                case _:
                    raise Refused(404, "404 page not found")
        except Refused as refusal:
            _respond(connection, writer, refusal.status, refusal.message.encode(), "text/plain")
        await writer.drain()
        return connection.our_state is h11.DONE

    def _find(self, namespace: str, pod: str) -> PodWorker:
        worker = self._kubelet.find(namespace, pod)
        if worker is None:
            raise Refused(404, f"pod {namespace}/{pod} is not on this host")
        return worker

    # ------------------------------------------------------------------ logs
    async def _logs(
        self,
        connection: h11.Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        worker: PodWorker,
        container: str,
        query: dict[str, list[str]],
    ) -> None:
        run = worker.seen.runs.get(container)
        if worker.container(container) is None:
            raise Refused(404, f"container {container} not found in pod {worker.pod['metadata']['name']}")
        if _flag(query, "previous"):
            run = worker.seen.previous.get(container)
            if run is None:
                raise Refused(400, f'previous terminated container "{container}" in pod not found')
        if run is None:
            waiting = f'container "{container}" in pod "{worker.pod["metadata"]["name"]}" is waiting to start'
            raise Refused(400, f"{waiting}: {_why_waiting(worker.pod, container)}")
        descriptor = self._kubelet.containers.open_log(worker.log_of(container, run.attempt))
        if descriptor is None:
            raise Refused(404, "the log is not there any more")
        attempt = run.attempt
        limit = query.get("limitBytes", [""])[0]
        left = int(limit) if limit.isdigit() else None
        log = worker.log_of(container, run.attempt)

        def goes_on() -> bool:
            return worker.runs_at(container, attempt) and not reader.at_eof()

        headers = [("Content-Type", "text/plain"), ("Transfer-Encoding", "chunked")]
        writer.write(connection.send(h11.Response(status_code=200, headers=headers)) or b"")
        try:
            start = self._start_of_log(descriptor, log, query)
            os.lseek(descriptor, start, os.SEEK_SET)
            parts = _output(descriptor, goes_on if _flag(query, "follow") else None)
            async for _, part in self._stamped(parts, log, start) if _flag(query, "timestamps") else parts:
                cut = part if left is None else part[:left]
                left = None if left is None else left - len(cut)
                if cut:
                    writer.write(connection.send(h11.Data(data=cut)) or b"")
                    await writer.drain()
                if left == 0:
                    break
        finally:
            os.close(descriptor)
        writer.write(connection.send(h11.EndOfMessage()) or b"")

    def _growth(self, log: str) -> Sequence[Growth]:
        return read_growth(self._kubelet.containers.read(times_path(log), limit_bytes=_MAX_TIMES_BYTES))

    def _start_of_log(self, descriptor: int, log: str, query: dict[str, list[str]]) -> int:
        """Where what was asked for begins."""
        tail, since = query.get("tailLines", [""])[0], query.get("sinceSeconds", [""])[0]
        start = begin_of(descriptor)
        if tail.isdigit():
            start = _start_of_tail(descriptor, start, int(tail))
        if since.isdigit():
            start = max(start, offset_since(self._growth(log), time.time() - int(since)))
        return start

    async def _stamped(self, parts: AsyncIterator[Part], log: str, start: int) -> AsyncIterator[Part]:
        """A log with a time before each line; the last, unfinished, too, when there is no more."""
        growth: Sequence[Growth] = ()
        offset, rest, is_begun = start, b"", False
        async for place, part in parts:
            if place != offset + len(rest):  # what was between has been given back meanwhile
                offset, rest, is_begun = place, b"", False
            if not growth or growth[-1].size_bytes < offset + len(rest) + len(part):
                growth = self._growth(log)
            now_s = time.time()
            *lines, rest = (rest + part).split(b"\n")
            shown = []
            for line in lines:
                offset += len(line) + 1
                shown += [b"" if is_begun else stamp(time_at(growth, offset, now_s=now_s)), line, b"\n"]
                is_begun = False
            if len(rest) > _MAX_LINE_BYTES:
                offset += len(rest)
                shown += [b"" if is_begun else stamp(time_at(growth, offset, now_s=now_s)), rest]
                rest, is_begun = b"", True
            yield offset, b"".join(shown)
        if rest:
            yield offset, (b"" if is_begun else stamp(time_at(growth, offset + len(rest), now_s=time.time()))) + rest

    # ------------------------------------------------------------------ streams
    def _accept(self, verb: str, worker: PodWorker, rest: list[str], query: dict[str, list[str]]) -> Any:
        """What serves the stream, once it has been switched to. Raises Refused."""
        if verb == "portForward":
            port = query.get("port", [""])[0]
            if not port.isdigit() or worker.seen.sandbox_s is None:
                raise Refused(400, "no port, or the pod has no network")
            return lambda reader, writer: self._forward(worker, int(port), reader, writer)
        container = rest[0] if rest else worker.pod["spec"]["containers"][0]["name"]
        node = worker.node_of(container)
        if node is None:
            raise Refused(404, f'container "{container}" is not running')
        stdin, tty = _flag(query, "stdin", "input"), _flag(query, "tty")
        if verb == "attach":
            return lambda reader, writer: self._attach(worker, container, stdin, reader, writer)
        argv = query.get("command", [])
        if not argv:
            raise Refused(400, "you must specify at least 1 command")
        spec = worker.container(container) or {}
        user = {**(worker.pod["spec"].get("securityContext") or {}), **(spec.get("securityContext") or {})}.get(
            "runAsUser"
        )
        environment = worker.seen.runs[container].environment
        cwd = spec.get("workingDir") or None
        command = Command(tuple(argv), environment, cwd, None if user is None else str(user))
        return lambda reader, writer: self._execute(node, command, stdin, tty, reader, writer)

    async def _execute(
        self,
        node: str,
        command: Command,
        stdin: bool,
        tty: bool,
        reader: frames.FrameReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        given, outputs, theirs = _pipes(stdin) if not tty else (_Input(), {}, ())
        try:
            running = self._kubelet.containers.execute(node, command, theirs, tty=tty)
        except (CommandRefused, KernelError) as error:
            given.close()
            _close_all(*outputs)
            code = error.status if isinstance(error, CommandRefused) else 125
            writer.write(frames.status_frame(code, refusal_words(command.argv, error)))
            await writer.drain()
            return
        finally:
            _close_all(*theirs)
        try:
            if running.terminal is not None:
                given, outputs = _Input(os.dup(running.terminal)), {running.terminal: frames.STDOUT}
            await self._relay(running, given, outputs, reader, writer)
        finally:
            given.close()
            _close_all(*outputs)
            running.client.close()

    async def _relay(
        self,
        running: Running,
        given: _Input,
        outputs: dict[int, int],
        reader: frames.FrameReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        ended = asyncio.Event()
        typing = asyncio.create_task(_type(given, reader, running.terminal))
        copying = [
            asyncio.create_task(_copy(descriptor, channel, writer, ended)) for descriptor, channel in outputs.items()
        ]
        ending = asyncio.create_task(exit_of(running))
        try:
            # Its input's end is no end of it; the connection's is.
            await asyncio.wait({ending, typing}, return_when=asyncio.FIRST_COMPLETED)
            if not ending.done() and (typing.cancelled() or typing.exception() is not None or reader.at_end()):
                return
            code = await ending
            ended.set()
            await asyncio.gather(*copying)  # for as long as the client takes to read it; a client that went ends it
            writer.write(frames.status_frame(code))
            await writer.drain()
            # What is still being typed is taken, or its sender would see a broken stream before it sees the status.
            await asyncio.wait((typing,), timeout=_GOODBYE_S)
        finally:
            for task in (typing, ending, *copying):
                task.cancel()
            await asyncio.gather(typing, ending, *copying, return_exceptions=True)

    async def _attach(
        self, worker: PodWorker, container: str, stdin: bool, reader: frames.FrameReader, writer: asyncio.StreamWriter
    ) -> None:
        terminal = worker.terminals.get(container)
        run = worker.seen.runs[container]
        if terminal is not None:

            def show(data: bytes) -> None:
                if writer.transport.get_write_buffer_size() < _MAX_WAITING_BYTES:  # what a slow reader missed is gone
                    writer.write(frames.packed(frames.STDOUT, data))

            stop = terminal.listen(show)
            given = _Input(os.dup(terminal.master))
            try:
                ended = asyncio.create_task(_until_ended(worker, container, run.attempt))
                typing = asyncio.create_task(_type(given, reader, terminal.master))
                await asyncio.wait({ended, typing}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                stop()
                for task in (ended, typing):
                    task.cancel()
                await asyncio.gather(ended, typing, return_exceptions=True)
                given.close()
        else:
            descriptor = self._kubelet.containers.open_log(worker.log_of(container, run.attempt))
            if descriptor is None:
                return
            os.lseek(descriptor, 0, os.SEEK_END)
            given = _Input(self._kubelet.containers.open_for_input(worker.stdin_of(container)) if stdin else None)
            typing = asyncio.create_task(_type(given, reader, None))
            try:
                attempt = run.attempt
                async for _, part in _output(descriptor, lambda: worker.runs_at(container, attempt)):
                    writer.write(frames.packed(frames.STDOUT, part))
                    await writer.drain()
                    if reader.at_end():
                        return
            finally:
                typing.cancel()
                await asyncio.gather(typing, return_exceptions=True)
                given.close()
                os.close(descriptor)
        ended_run = worker.seen.runs.get(container)
        code = ended_run.exit_code if ended_run is not None and not ended_run.is_running else 0
        writer.write(frames.status_frame(code))
        await writer.drain()

    async def _forward(
        self, worker: PodWorker, port: int, reader: frames.FrameReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            sock = self._pod_socket(worker)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
            far_reader, far_writer = await asyncio.open_connection(sock=sock)
        except (OSError, KernelError) as error:
            writer.write(frames.status_frame(1, f"connection to port {port} inside the pod: {error}"))
            await writer.drain()
            return

        async def outwards() -> None:
            while data := await far_reader.read(_READ_BYTES):
                writer.write(frames.packed(frames.STDOUT, data))
                await writer.drain()
            writer.write(frames.packed(frames.STDOUT, b""))

        async def inwards() -> None:
            async for frame in reader:
                if frame.channel == frames.STDIN and frame.payload:
                    far_writer.write(frame.payload)
                    await far_writer.drain()
                elif frame.channel == frames.STDIN:
                    far_writer.write_eof()

        tasks = {asyncio.create_task(outwards()), asyncio.create_task(inwards())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await writer.drain()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            far_writer.close()


# ------------------------------------------------------------------ HTTP
def _may_ask(writer: asyncio.StreamWriter) -> bool:
    certificate = writer.get_extra_info("peercert")
    if certificate is None:
        return True  # no TLS
    names = [name for parts in certificate.get("subject", ()) for name in parts]
    return ("organizationName", _MASTERS) in names


async def _next_request(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    """The next request, its body read and dropped."""
    request: h11.Request | None = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_READ_BYTES))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.EndOfMessage):
            return request
        elif isinstance(event, h11.ConnectionClosed):
            return None
        elif event is h11.PAUSED:
            return request


def _respond(connection: h11.Connection, writer: asyncio.StreamWriter, status: int, body: bytes, kind: str) -> None:
    headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    for event in (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
        writer.write(connection.send(event) or b"")


def _require_upgrade(request: h11.Request) -> None:
    if dict(request.headers).get(b"upgrade", b"").lower() != frames.UPGRADE.encode():
        raise Refused(426, f"this wants `Upgrade: {frames.UPGRADE}`")


def _switch(connection: h11.Connection, writer: asyncio.StreamWriter) -> None:
    headers = [("Upgrade", frames.UPGRADE), ("Connection", "Upgrade")]
    writer.write(connection.send(h11.InformationalResponse(status_code=101, headers=headers)) or b"")


def _flag(query: dict[str, list[str]], *names: str) -> bool:
    return any(query.get(name, [""])[0] in ("true", "1") for name in names)


# ------------------------------------------------------------------ bytes
@dataclass(slots=True)
class _Input:
    """Where what a client types goes, if anywhere. Closed once, by whoever is first: then its number is another's."""

    descriptor: int | None = None

    def close(self) -> None:
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _pipes(stdin: bool) -> tuple[_Input, dict[int, int], tuple[int, ...]]:
    """Our ends (input; outputs by channel), and the command's three."""
    if stdin:
        their_input, ours = os.pipe2(os.O_CLOEXEC)
        given = _Input(ours)
    else:
        their_input, given = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), _Input()
    out, their_out = os.pipe2(os.O_CLOEXEC)
    err, their_err = os.pipe2(os.O_CLOEXEC)
    return given, {out: frames.STDOUT, err: frames.STDERR}, (their_input, their_out, their_err)


def _close_all(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


async def _type(given: _Input, reader: frames.FrameReader, terminal: int | None) -> None:
    """What the client sends, to the command; returns at the end of the connection."""
    async for frame in reader:
        if frame.channel == frames.RESIZE and terminal is not None:
            size = json.loads(frame.payload)
            resize_terminal(terminal, int(size["height"]), int(size["width"]))
        elif frame.channel == frames.STDIN and given.descriptor is not None:
            if frame.payload:
                await _write_all(given.descriptor, frame.payload)
            elif terminal is None:
                given.close()


async def _write_all(descriptor: int, data: bytes) -> None:
    os.set_blocking(descriptor, False)
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            await writable(descriptor)
        except OSError:
            return  # nobody reads any more


async def _has_more(descriptor: int, ended: asyncio.Event) -> bool:
    """Wait until there is something; False when there was nothing for `_LEFT_S` after the command ended."""
    reading, ending = asyncio.create_task(readable(descriptor)), asyncio.create_task(_when(ended))
    try:
        await asyncio.wait((reading, ending), return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait((reading,), timeout=_LEFT_S)
        return reading.done()
    finally:
        reading.cancel()
        ending.cancel()
        await asyncio.gather(reading, ending, return_exceptions=True)


async def _when(event: asyncio.Event) -> None:
    await event.wait()


async def _copy(descriptor: int, channel: int, writer: asyncio.StreamWriter, ended: asyncio.Event) -> None:
    """What a command writes, in frames, until its end; what it left behind may hold its output open."""
    os.set_blocking(descriptor, False)
    left = _LEFT_BYTES
    while left > 0:
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            if await _has_more(descriptor, ended):
                continue
            break
        except OSError:
            break  # a terminal that nobody has open any more
        if not data:
            break
        left -= len(data) if ended.is_set() else 0
        writer.write(frames.packed(channel, data))
        await writer.drain()
    writer.write(frames.packed(channel, b""))
    await writer.drain()


async def _output(descriptor: int, goes_on: Callable[[], bool] | None) -> AsyncIterator[Part]:
    """A log from where it stands; with `goes_on`, what is added too, for as long as that is so."""
    place = os.lseek(descriptor, 0, os.SEEK_CUR)
    while True:
        more = goes_on is not None and goes_on()
        while data := os.pread(descriptor, _READ_BYTES, place):
            if data.startswith(b"\0") and (begin := begin_of(descriptor)) > place:
                place = begin  # its reader was slower than its writer
                continue
            yield place, data
            place += len(data)
        if not more:
            return
        await asyncio.sleep(_FOLLOW_S)


async def _until_ended(worker: PodWorker, container: str, attempt: int) -> None:
    while worker.runs_at(container, attempt):
        await asyncio.sleep(_FOLLOW_S)


def _why_waiting(pod: Mapping[str, Any], container: str) -> str:
    """As a kubelet has it for whoever asks for a log (pkg/kubelet/kubelet_pods.go)."""
    status = pod.get("status", {})
    lists = (status.get("containerStatuses", ()), status.get("initContainerStatuses", ()))
    states = (one.get("state", {}) for statuses in lists for one in statuses if one["name"] == container)
    reason = next((state["waiting"].get("reason", CREATING) for state in states if "waiting" in state), CREATING)
    return _PULLED_IN_VAIN.get(reason, reason)


def _start_of_tail(descriptor: int, begin: int, lines: int) -> int:
    """Where the last `lines` lines of a file begin that begins at `begin`."""
    end = os.fstat(descriptor).st_size
    position, found = end, 0
    while position > begin:
        start = max(begin, position - _READ_BYTES)
        block = os.pread(descriptor, position - start, start)
        place = len(block)
        while (place := block.rfind(b"\n", 0, place)) >= 0:
            if start + place + 1 < end:
                found += 1
                if found == lines:
                    return start + place + 1
        position = start
    return end if lines == 0 else begin
