"""Two nodes joined by a cable, to capture on."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trenza.linux import capture
from trenza.linux.netns import Home
from trenza.model.names import NicName, NodeName

WAIT_S = 20


class Running:
    """A capture under way. What it said on its message descriptor is in `said` once it has finished."""

    def __init__(self, process: subprocess.Popen[str], control: int, *, ready: bool) -> None:
        self.process = process
        self.ready = ready
        self.said: list[dict[str, Any]] = []
        self._control: int | None = control

    def close_control(self) -> None:
        if self._control is not None:
            os.close(self._control)
            self._control = None

    def wait(self) -> int:
        """Its exit code, once it has ended by itself."""
        _, stderr = self.process.communicate(timeout=WAIT_S)
        self.said += [json.loads(line) for line in stderr.splitlines()]
        return self.process.returncode

    def finish(self) -> int:
        """Ask it to end and wait for that."""
        self.close_control()
        return self.wait() if self.process.returncode is None else self.process.returncode


class Cable:
    """`host1.eth0` and `host2.eth0` on one cable, 10.0.0.1 and 10.0.0.2, without IPv6."""

    def __init__(self) -> None:
        self.home = Home()
        self.netns = {NodeName(name): self.home.make_netns() for name in ("host1", "host2")}
        for name in self.netns:
            with self.home.inside(self.netns[name]):
                # Otherwise neighbour discovery and MLD come in between.
                Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
            self.ip(name, "link", "set", "lo", "up")
        self.plug()

    def plug(self) -> None:
        """Make the cable."""
        far_end = f"/proc/{os.getpid()}/fd/{self.netns[NodeName('host2')]}"
        self.ip("host1", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", far_end)
        for number, name in enumerate(self.netns, 1):
            self.ip(name, "address", "add", f"10.0.0.{number}/24", "dev", "eth0")
            self.ip(name, "link", "set", "eth0", "up")

    def run(self, node: str, *argv: str) -> None:
        """A command in a node."""
        with self.home.inside(self.netns[NodeName(node)]):
            subprocess.run(argv, check=True, capture_output=True, timeout=WAIT_S, stdin=subprocess.DEVNULL)

    def ip(self, node: str, *arguments: str) -> None:
        self.run(node, "ip", *arguments)

    def ping(self, node: str, address: str, count: int = 1) -> None:
        self.run(node, "ping", "-n", "-c", str(count), "-i", "0.01", "-w", "5", address)

    def source(self, node: str, nic: str | None = "eth0") -> capture.Source:
        return capture.Source(self.netns[NodeName(node)], NodeName(node), None if nic is None else NicName(nic))

    @contextlib.contextmanager
    def capturing(self, settings: capture.Settings) -> Iterator[Running]:
        """A capture that listens, or has failed, by the time the block begins."""
        control_end, control = os.pipe()
        ready, ready_end = os.pipe()
        settings = dataclasses.replace(settings, control=control_end, ready=ready_end, json_messages=True)
        argv, descriptors = capture.command(settings)
        process = subprocess.Popen(
            argv, pass_fds=descriptors, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        os.close(control_end)
        os.close(ready_end)
        with os.fdopen(ready, "rb") as reader:
            running = Running(process, control, ready=reader.read() == capture.READY)
        try:
            yield running
        finally:
            running.finish()

    def captured(self, path: Path, settings: capture.Settings, during: Callable[[], None]) -> Running:
        """A capture into a file while something goes on."""
        with (
            path.open("wb") as file,
            self.capturing(dataclasses.replace(settings, output=file.fileno())) as running,
        ):
            assert running.ready, running.finish() or running.said
            during()
            running.close_control()
            assert running.wait() == 0, running.said
        return running


Body = Callable[[Cable], None]
