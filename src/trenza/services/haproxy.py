"""haproxy: its config from options, and the health checks of a config, whoever wrote it (configuration.txt of 2.6)."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import pairwise

from trenza.model.services import Haproxy, Section, Server
from trenza.model.state import HealthCheck

CONFIG_PATH = "/etc/haproxy/haproxy.cfg"
MASTER_SOCKET = "/run/haproxy-master.sock"
"""Its command line (`haproxy -S`), which is there whatever the config says (management.txt, 9.4)."""

BASE = """\
global
    log /dev/log local0 notice

defaults
    mode http
    log global
    timeout connect 5s
    timeout client 50s
    timeout server 50s
"""
"""What a generated config begins with; haproxy wants a mode and the timeouts to be said."""

_TIME = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d)?")
_SECONDS = {"us": 1e-6, "ms": 1e-3, None: 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def config_text(options: Haproxy) -> str:
    """The config file."""
    if options.config is not None:
        return options.config
    return "\n".join([BASE, *(_section(section) for section in options.sections)])


def _section(section: Section) -> str:
    lines = [f"{section.kind} {section.name}".rstrip()]
    lines += [f"    {keyword} {rest}".rstrip() for keyword, rest in section.lines]
    lines += [f"    server {_server(server)}" for server in section.servers]
    return "\n".join(lines) + "\n"


def _server(server: Server) -> str:
    words = [server.name, server.address]
    if server.check:
        words.append("check")
    if server.inter is not None:
        words.append(f"inter {server.inter * 1000:.0f}ms")
    for name, value in (
        ("fall", server.fall), ("rise", server.rise), ("weight", server.weight), ("cookie", server.cookie),
    ):  # fmt: skip
        if value is not None:
            words.append(f"{name} {value}")
    if server.backup:
        words.append("backup")
    return " ".join(words)


def bound_port(text: str) -> int | None:
    """A TCP port that a config binds on every address, so that the loopback shows it; None if there is none."""
    found = re.search(r"^\s*bind\s+(?:\*|0\.0\.0\.0|\[?::\]?)?:(\d+)", text, re.MULTILINE)
    return None if found is None else int(found[1])


def health_checks(text: str) -> tuple[HealthCheck, ...]:
    """The servers that a config checks, with `default-server` lines and defaults counted in."""
    checks: list[HealthCheck] = []
    backend = ""
    standing: list[str] = []
    defaults: list[str] = []
    for line in text.splitlines():
        words = line.split("#", 1)[0].split()
        match words:
            case ["backend" | "listen", name, *_]:
                backend, standing = name, list(defaults)
            case ["global" | "defaults" | "frontend" as kind, *_]:
                backend, standing = "", []
                if kind == "defaults":
                    defaults = standing
            case ["default-server", *rest]:
                standing += rest
            case ["server", name, address, *rest] if backend and "check" in [*standing, *rest]:
                check = _check(backend, name, address, [*standing, *rest])
                if check is not None:
                    checks.append(check)
            case _:
                pass
    return tuple(checks)


def _check(backend: str, name: str, address: str, options: list[str]) -> HealthCheck | None:
    """One server's check; of options given twice the later counts, so `default-server` words come first."""
    values = dict(pairwise(options))
    host, _, port = address.rpartition(":")
    try:
        return HealthCheck(
            backend,
            name,
            ip_address(host.strip("[]")),
            int(port),
            inter_s=_seconds(values.get("inter", "2s")),
            fall=int(values.get("fall", "3")),
            rise=int(values.get("rise", "2")),
        )
    except ValueError:
        return None  # a name instead of an address, a port range


def _seconds(text: str) -> float:
    """A time of haproxy's: a number with a unit, milliseconds without one."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return float(found[1]) * _SECONDS[found[2]]


# ---------------------------------------------------------------- what it says while it runs
STATS_QUESTION = b"@1 show stat -1 4 -1;quit\n"
"""For the master's socket: every server of the newest worker, as CSV, and then the end (management.txt, 9.3)."""


@dataclass(frozen=True, slots=True)
class ServerState:
    """A server as a balancer sees it. `status` is UP, DOWN, `UP 1/3` on its way down, `DOWN 1/2` on its way up…"""

    backend: str
    server: str
    status: str
    check: str = ""
    """The last check's outcome: L4OK, L4TOUT, L4CON, L7OK…; empty without checks."""

    @property
    def is_up(self) -> bool:
        return self.status.startswith("UP") or self.status == "no check"

    @property
    def is_settled(self) -> bool:
        return "/" not in self.status


def server_states(answer: str) -> tuple[ServerState, ...]:
    """The servers of an answer to `STATS_QUESTION`."""
    lines = answer.strip().splitlines()
    if not lines or not lines[0].startswith("# "):
        return ()
    rows = csv.DictReader([lines[0].removeprefix("# "), *lines[1:]])
    return tuple(
        ServerState(row["pxname"], row["svname"], row["status"] or "", (row.get("check_status") or "").lstrip("* "))
        for row in rows
        if row.get("svname") and row.get("pxname")
    )
