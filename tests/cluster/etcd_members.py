"""Real etcd members on loopback, to be stopped, killed, frozen and damaged."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

QUICK = ("--heartbeat-interval", "50", "--election-timeout", "500")
START_S = 30.0
UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE


class EtcdMember:
    """One member; its process and its directory."""

    def __init__(self, name: str, directory: Path, client_port: int, peer_port: int, scheme: str) -> None:
        self.name = name
        self.directory = directory / name
        self.endpoint = f"{scheme}://127.0.0.1:{client_port}"
        self.peer = f"http://127.0.0.1:{peer_port}"
        self._log = directory / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, cluster: str, *options: str) -> None:
        """Start it; it does not wait until the member answers."""
        argv = [
            "etcd", "--name", self.name, "--data-dir", str(self.directory),
            "--listen-client-urls", self.endpoint, "--advertise-client-urls", self.endpoint,
            "--listen-peer-urls", self.peer, "--initial-advertise-peer-urls", self.peer,
            "--initial-cluster", cluster, "--logger", "zap", "--log-level", "error", *QUICK, *options,
        ]  # fmt: skip
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def wait_healthy(self) -> None:
        """Return when it has a leader."""
        deadline = time.monotonic() + START_S
        while True:
            try:
                with urllib.request.urlopen(f"{self.endpoint}/health", timeout=2, context=UNVERIFIED) as answer:
                    if b"true" in answer.read():
                        return
                    seen = "unhealthy"
            except (OSError, urllib.error.URLError) as error:
                seen = str(error)
            assert self._process is not None and self._process.poll() is None, self._log.read_text()[-2000:]
            assert time.monotonic() < deadline, f"{self.name} after {START_S} s: {seen}"
            time.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP, SIGCONT and the like."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        """SIGTERM: everything it knows is in its files then."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30)
        self._process = None

    def kill(self) -> None:
        """SIGKILL, and gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


class EtcdCluster:
    """Some members who know each other."""

    def __init__(self, directory: Path, size: int, *options: str) -> None:
        self._options = options
        scheme = "https" if "--auto-tls" in options else "http"
        self.members = tuple(
            EtcdMember(f"m{i}", directory, *ports, scheme) for i, ports in enumerate(_free_ports(size))
        )
        self._cluster = ",".join(f"{member.name}={member.peer}" for member in self.members)
        for member in self.members:
            member.start(self._cluster, *options)
        for member in self.members:
            member.wait_healthy()

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Every member's client URL."""
        return tuple(member.endpoint for member in self.members)

    def restart(self, member: EtcdMember, *, empty: bool = False) -> None:
        """Start a killed member again, or a new one of its name with nothing in it."""
        if empty:
            shutil.rmtree(member.directory)
        member.start(self._cluster, *self._options)

    def kill(self) -> None:
        """End every member."""
        for member in self.members:
            member.kill()


def _free_ports(pairs: int) -> Sequence[tuple[int, int]]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2 * pairs)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return list(zip(ports[::2], ports[1::2], strict=True))
