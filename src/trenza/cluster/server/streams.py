"""Logs, exec, attach and port-forward: a client's stream on one side, the pod's node on the other."""

from __future__ import annotations

import asyncio
import contextlib

from trenza.cluster.kinds.names import seconds_of
from trenza.cluster.kinds.resources import Object
from trenza.cluster.kinds.status import ApiError, bad_request
from trenza.cluster.server import port_channels, websockets
from trenza.cluster.server.channels import Channels, Resized, SpdyChannels, StdinEnded, Typed, WebSocketChannels
from trenza.cluster.server.forwarding import Forwarding
from trenza.cluster.server.http import Raw, Request, Response, Upgrade
from trenza.cluster.server.listing import flag
from trenza.cluster.server.nodestreams import CommandOptions, Exited, Joined, LogOptions, NodeStreams, Running
from trenza.cluster.server.port_channels import PortChannels

_COMMAND_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_SPDY_COMMAND = "v4.channel.k8s.io"
_FORWARD = "portforward.k8s.io"
_TUNNELLED = "SPDY/3.1+portforward.k8s.io"
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


async def logs(nodes: NodeStreams, pod: Object, request: Request, now_s: float) -> Response:
    """A container's log as text."""
    query = request.parameters
    since = query.get("sinceTime", "")
    if since and seconds_of(since) is None:
        raise bad_request(f"sinceTime: {since} is no time")
    since_s = _number(query, "sinceSeconds")
    if since:
        since_s = max(0.0, now_s - (seconds_of(since) or 0.0))
    tail = _number(query, "tailLines")
    options = LogOptions(
        _container(pod, query.get("container", "")),
        flag(query, "follow"),
        flag(query, "previous"),
        flag(query, "timestamps"),
        None if tail is None else int(tail),
        since_s,
        int(_number(query, "limitBytes") or 0),
    )
    return Response(200, await nodes.logs(pod, options), "text/plain")


async def execution(nodes: NodeStreams, pod: Object, request: Request) -> Upgrade:
    """A command in a container, its streams over the upgraded connection."""
    command = request.values("command")
    if not command:
        raise bad_request("you must specify at least 1 command for the container")
    return _command(nodes, pod, request, command)


async def attachment(nodes: NodeStreams, pod: Object, request: Request) -> Upgrade:
    """The streams of a container's own process."""
    return _command(nodes, pod, request, ())


def forwarding(nodes: NodeStreams, pod: Object, request: Request) -> Upgrade:
    """Connections to the pod's ports."""
    if (pod.get("status") or {}).get("phase") != "Running":
        phase = (pod.get("status") or {}).get("phase", "Unknown")
        raise bad_request(f"unable to forward port because pod is not running. Current status={phase}")

    async def connect(port: int) -> Joined:
        return await nodes.connect(pod, port)

    if websockets.is_websocket(request):
        protocol = websockets.agreed_protocol(request, (_TUNNELLED, port_channels.PROTOCOL))
        if protocol == port_channels.PROTOCOL:
            ports = _ports(request)

            async def channelled(raw: Raw) -> None:
                with contextlib.suppress(OSError):  # the client has gone
                    await PortChannels(websockets.WebSocket(raw), ports, connect).serve()

            return Upgrade(websockets.upgrade_headers(request, protocol), channelled)

        async def tunnelled(raw: Raw) -> None:
            socket = websockets.WebSocket(raw)
            await Forwarding(websockets.Tunnel(socket), connect).serve()
            with contextlib.suppress(OSError):  # the client has gone
                await socket.close()

        return Upgrade(websockets.upgrade_headers(request, protocol), tunnelled)
    protocol = _spdy_protocol(request, _FORWARD)

    async def spoken(raw: Raw) -> None:
        await Forwarding(raw, connect).serve()

    return Upgrade(_spdy_headers(protocol), spoken)


def _command(nodes: NodeStreams, pod: Object, request: Request, command: tuple[str, ...]) -> Upgrade:
    query = request.parameters
    options = CommandOptions(
        _container(pod, query.get("container", "")),
        command,
        flag(query, "stdin"),
        flag(query, "stdout"),
        flag(query, "stderr"),
        flag(query, "tty"),
    )
    if not (options.stdin or options.stdout or options.stderr):
        raise bad_request("you must specify at least one of stdin, stdout, stderr")
    if websockets.is_websocket(request):
        protocol = websockets.agreed_protocol(request, _COMMAND_PROTOCOLS)

        async def messages(raw: Raw) -> None:
            await _relay(nodes, pod, options, WebSocketChannels(websockets.WebSocket(raw)))

        return Upgrade(websockets.upgrade_headers(request, protocol), messages)
    protocol = _spdy_protocol(request, _SPDY_COMMAND)

    async def streamed(raw: Raw) -> None:
        channels = SpdyChannels(raw)
        if await channels.open(options):
            await _relay(nodes, pod, options, channels)

    return Upgrade(_spdy_headers(protocol), streamed)


async def _relay(nodes: NodeStreams, pod: Object, options: CommandOptions, channels: Channels) -> None:
    """Until the command ends or the client goes."""
    try:
        running = await nodes.run(pod, options)
    except (ApiError, OSError) as error:
        with contextlib.suppress(OSError, TimeoutError):  # the client has gone, or takes nothing any more
            await channels.finish(Exited(1, str(error)))
        return
    upward = asyncio.create_task(_upward(channels, running))
    downward = asyncio.create_task(_downward(channels, running, stderr=options.stderr))
    try:
        await asyncio.wait((upward, downward), return_when=asyncio.FIRST_COMPLETED)
        exited = downward.result() if downward.done() else None
    except OSError:
        exited = None
    finally:
        upward.cancel()
        downward.cancel()
        await asyncio.gather(upward, downward, return_exceptions=True)
        await running.close()
    if exited is not None:
        with contextlib.suppress(OSError, TimeoutError):  # the client has gone, or takes nothing any more
            await channels.finish(exited)


async def _upward(channels: Channels, running: Running) -> None:
    """Until the client goes. A command that has ended takes nothing any more, and how it ended is still to be read."""
    while (said := await channels.receive()) is not None:
        with contextlib.suppress(OSError):
            match said:
                case Typed(content):
                    await running.write(content)
                case StdinEnded():
                    await running.close_stdin()
                case Resized(columns, rows):
                    await running.resize(columns, rows)


async def _downward(channels: Channels, running: Running, *, stderr: bool) -> Exited:
    while True:
        output = await running.read()
        if isinstance(output, Exited):
            return output
        if stderr or not output.stderr:
            await channels.send(output)


def _ports(request: Request) -> tuple[int, ...]:
    """The ports that a port-forward over channels names. Raises a 400."""
    words = [word for value in request.values("ports") for word in value.split(",")]
    if not words:
        raise bad_request('query parameter "ports" is required')
    if len(words) > port_channels.MOST_PORTS:
        raise bad_request(f'query parameter "ports" names more than {port_channels.MOST_PORTS}')
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) < 6 and 0 < int(word) < 1 << 16):
            raise bad_request(f'query parameter "ports" is no port: {word}')
    return tuple(map(int, words))


def _container(pod: Object, asked: str) -> str:
    """The container that is meant. Raises a 400 if that is not clear."""
    name = pod["metadata"]["name"]
    kinds = ("containers", "initContainers", "ephemeralContainers")
    own, inits, others = ([one["name"] for one in pod["spec"].get(kind) or ()] for kind in kinds)
    names = [*own, *inits, *others]
    if asked:
        if asked not in names:
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    default = (pod["metadata"].get("annotations") or {}).get(_DEFAULT_CONTAINER)
    if default in names:
        return str(default)
    if len(own) != 1:
        more = "".join(
            f" or one of the {kind} containers: [{' '.join(listed)}]"
            for kind, listed in (("init", inits), ("ephemeral", others))
            if listed
        )
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{' '.join(own)}]{more}")
    return str(own[0])


def _spdy_protocol(request: Request, wanted: str) -> str:
    if request.header("upgrade").lower() != "spdy/3.1":
        raise bad_request("Upgrade request required")
    offered = [one.strip() for one in request.header("x-stream-protocol-version").split(",")]
    if wanted not in offered:
        raise ApiError(403, "Forbidden", f"unable to upgrade: unable to negotiate protocol: {wanted} is spoken here")
    return wanted


def _spdy_headers(protocol: str) -> tuple[tuple[str, str], ...]:
    return (("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("X-Stream-Protocol-Version", protocol))


def _number(query: dict[str, str], name: str) -> float | None:
    text = query.get(name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise bad_request(f"{name} is a number, not {text}")
    return float(text)
