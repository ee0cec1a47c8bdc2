"""Probes made: a command in the container, a request, a connection. What comes of many of them is `probing`'s."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from typing import Any, Final

from trenza.cluster.node.containers import Containers, exit_of
from trenza.cluster.node.descriptors import readable
from trenza.cluster.node.environment import Command
from trenza.errors import KernelError

Object = Mapping[str, Any]
_MAX_OUTPUT_BYTES: Final = 10 << 10
_LEFT_S: Final = 0.1
"""How long processes that a probe's command left behind are listened to."""


async def probe(spec: Object, container: Object, node: str, address: str, containers: Containers) -> tuple[bool, str]:
    """Whether a probe of a container succeeds, and what it heard. `node` is the container's name for the spawner."""
    timeout_s = float(spec.get("timeoutSeconds", 1))
    try:
        async with asyncio.timeout(timeout_s):
            if "exec" in spec:
                return await _execute(spec["exec"].get("command") or [], node, containers)
            if "httpGet" in spec:
                return await _get(spec["httpGet"], container, address)
            if "tcpSocket" in spec:
                host, port = spec["tcpSocket"].get("host") or address, _port(spec["tcpSocket"]["port"], container)
                _, writer = await asyncio.open_connection(host, port)
                writer.close()
                return True, ""
    except TimeoutError:
        return False, f"timed out after {timeout_s:g}s"
    except (OSError, KernelError, ValueError, EOFError) as error:
        return False, f"{error}"
    return False, "a probe of a kind that labs do not have"


async def _execute(argv: list[str], node: str, containers: Containers) -> tuple[bool, str]:
    output, given = os.pipe2(os.O_CLOEXEC)
    try:
        running = containers.execute(node, Command(tuple(argv), {}, None, None), (given, given, given))
    except BaseException:
        os.close(output)
        raise
    finally:
        os.close(given)
    said = bytearray()
    listening = asyncio.create_task(_listen(output, said))
    try:
        code = await exit_of(running)
        await asyncio.wait((listening,), timeout=_LEFT_S)
        return code == 0, said.decode(errors="replace")
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        running.client.close()
        os.close(output)


async def _listen(output: int, said: bytearray) -> None:
    """Read until the end, or a command that says much would wait for ever; the beginning is kept."""
    while True:
        await readable(output)
        part = os.read(output, _MAX_OUTPUT_BYTES)
        if not part:
            return
        said += part[: _MAX_OUTPUT_BYTES - len(said)]


async def _get(spec: Object, container: Object, address: str) -> tuple[bool, str]:
    scheme = str(spec.get("scheme", "HTTP")).upper()
    host, port = spec.get("host") or address, _port(spec["port"], container)
    tls = ssl._create_unverified_context() if scheme == "HTTPS" else None  # as a kubelet does: it knows no names
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    try:
        headers = {"Host": f"{host}:{port}", "User-Agent": "kube-probe/1.32", "Accept": "*/*", "Connection": "close"}
        headers |= {one["name"]: one["value"] for one in spec.get("httpHeaders", ())}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"GET {spec.get('path') or '/'} HTTP/1.1\r\n{lines}\r\n".encode())
        words = (await reader.readline()).split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
            return False, "no HTTP"
        status = int(words[1])
        return 200 <= status < 400, "" if status < 400 else f"HTTP probe failed with statuscode: {status}"
    finally:
        writer.close()


def _port(port: int | str, container: Object) -> int:
    if isinstance(port, int) or port.isdigit():
        return int(port)
    for one in container.get("ports", ()):
        if one.get("name") == port:
            return int(one["containerPort"])
    raise ValueError(f'couldn\'t find port: "{port}"')
