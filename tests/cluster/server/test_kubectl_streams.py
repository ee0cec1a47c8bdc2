"""logs, exec, attach, cp and port-forward of real kubectls: WebSocket from 1.32, SPDY from 1.20."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import struct
import termios
from pathlib import Path

import pytest
from fake_nodes import FakeNode
from kubectls import Kubectl, program

pytestmark = pytest.mark.anyio

POD = """
kind: Pod
apiVersion: v1
metadata: {name: p}
spec: {containers: [{name: c, image: host, command: [sleep, inf]}], terminationGracePeriodSeconds: 1}
"""


@pytest.fixture
async def pod(kubectl: Kubectl, node: FakeNode) -> str:
    await kubectl("apply", "-f", "-", given=POD)
    await kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=10s")
    return "p"


async def test_logs_are_what_the_node_has(kubectl: Kubectl, node: FakeNode, pod: str) -> None:
    node.logs["c"] = [f"line {number}" for number in range(5)]
    assert (await kubectl("logs", pod)).splitlines() == node.logs["c"]
    assert await kubectl("logs", pod, "--tail=1") == "line 4\n"
    refused = await kubectl.try_("logs", "-p", pod)
    assert refused.code == 1
    assert "previous terminated container" in refused.err


async def test_a_followed_log_comes_as_it_is_written_and_ends_with_its_reader(
    kubectl: Kubectl, node: FakeNode, pod: str
) -> None:
    node.logs["c"] = ["begun"]
    process = await kubectl.start("logs", "-f", pod)
    async with asyncio.timeout(20):
        assert await process.stdout.readline() == b"begun\n"
        assert node.streams_open == 1
        process.kill()
        await process.wait()
        while node.streams_open:
            await asyncio.sleep(0.01)


async def test_exec_gives_output_errors_and_the_exit_code(kubectl: Kubectl, pod: str) -> None:
    assert await kubectl("exec", pod, "--", "echo", "hi") == "hi\n"
    ran = await kubectl.try_("exec", pod, "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (ran.code, ran.out) == (3, "out\n")
    assert "err\n" in ran.err
    refused = await kubectl.try_("exec", pod, "--", "no-such-command")
    assert refused.code != 0
    assert "No such file" in refused.err
    wrong = await kubectl.try_("exec", pod, "-c", "other", "--", "true")
    assert "container other is not valid for pod p" in wrong.err


async def test_exec_passes_stdin_and_its_end(kubectl: Kubectl, pod: str) -> None:
    text = "".join(f"{number}\n" for number in range(20000))
    assert await kubectl("exec", "-i", pod, "--", "cat", given=text) == text
    assert (await kubectl("exec", "-i", pod, "--", "wc", "-l", given=text)).strip() == "20000"


async def test_attach_joins_the_process(kubectl: Kubectl, pod: str) -> None:
    ran = await kubectl.try_("attach", "-i", pod, given="typed\n")
    assert "typed" in ran.out


async def test_cp_goes_both_ways(kubectl: Kubectl, pod: str, tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(os.urandom(300_000))
    (tmp_path / "there").mkdir()
    await kubectl("cp", str(tmp_path / "here"), f"p:{tmp_path}/there/copy")
    assert (tmp_path / "there" / "copy").read_bytes() == (tmp_path / "here").read_bytes()
    await kubectl("cp", f"p:{tmp_path}/there/copy", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "here").read_bytes()


async def test_port_forward_carries_many_connections(kubectl: Kubectl, pod: str) -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        await writer.drain()
        writer.close()

    echo = await asyncio.start_server(shout, "127.0.0.1", 0)
    port = echo.sockets[0].getsockname()[1]
    process = await kubectl.start("port-forward", pod, f":{port}", "--address=127.0.0.1")

    async def asked(content: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", local)
        writer.write(content)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer

    try:
        async with asyncio.timeout(30):
            first = (await process.stdout.readline()).decode()
            local = int(first.split()[2].rpartition(":")[2])
            for _ in range(3):
                assert await asked(b"hello") == b"HELLO"
            large = b"x" * 500_000
            answers = await asyncio.gather(*(asked(large + str(number).encode()) for number in range(5)))
            assert [answer[-1:] for answer in answers] == [str(number).encode() for number in range(5)]
            assert all(len(answer) == 500_001 for answer in answers)
    finally:
        process.kill()
        await process.wait()
        echo.close()


async def test_port_forward_says_when_nobody_listens(kubectl: Kubectl, pod: str) -> None:
    process = await kubectl.start("port-forward", pod, ":1")
    try:
        async with asyncio.timeout(30):
            local = int((await process.stdout.readline()).decode().split()[2].rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", local)
            assert await reader.read() == b""
            writer.close()
            said = b""
            while b"error" not in said:
                said += await process.stderr.readline()
            assert b"an error occurred forwarding" in said
    finally:
        process.kill()
        await process.wait()


async def test_a_terminal_tells_its_size(kubectl: Kubectl, pod: str) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    process = await asyncio.create_subprocess_exec(
        program(kubectl.version), "exec", "-it", pod, "--", "cat",
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={"HOME": str(kubectl.home), "KUBECONFIG": str(kubectl.kubeconfig)},
    )  # fmt: skip
    os.close(theirs)
    os.set_blocking(ours, False)
    said = b""

    async def until(words: bytes) -> None:
        nonlocal said
        while words not in said:
            with contextlib.suppress(BlockingIOError):
                said += os.read(ours, 4096)
            await asyncio.sleep(0.01)

    try:
        async with asyncio.timeout(20):
            await until(b'{"width": 100, "height": 40}')
            os.write(ours, b"typed\n")
            await until(b"typed")
    finally:
        process.kill()
        await process.wait()
        os.close(ours)
