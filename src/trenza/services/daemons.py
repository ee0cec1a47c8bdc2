"""What a service is to a node: a command, the files it reads, when it is ready, and what it does to the network."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import assert_never

from trenza.model.services import Apache, Dnsmasq, Haproxy, Keepalived, RunService, Service, Syslog
from trenza.model.state import HealthCheck, Ready, Restart, VrrpInstance
from trenza.services import apache, dnsmasq, haproxy, keepalived

SYSLOG = "syslog"
"""The name of the service that others of its node log to; it is started before them."""

MESSAGES = "/var/log/messages"


@dataclass(frozen=True, slots=True)
class Program:
    """A service, ready to be started. `config` is its main file's path; `files` their text by path."""

    name: str
    argv: tuple[str, ...]
    ready: Ready = Ready()
    restart: Restart = Restart.ON_FAILURE
    env: tuple[tuple[str, str], ...] = ()
    user: str = "root"
    files: tuple[tuple[str, str], ...] = ()
    config: str | None = None
    logs: bool = False
    """Whether it speaks to syslog."""
    vrrp: tuple[VrrpInstance, ...] = field(default=())
    health_checks: tuple[HealthCheck, ...] = field(default=())


def program_of(service: Service) -> Program:
    """What runs for a service."""
    match service:
        case RunService():
            return Program(service.name, service.argv, service.ready, service.restart, service.env, service.user)
        case Keepalived():
            text = keepalived.config_text(service)
            return Program(
                "keepalived",
                ("keepalived", "--dont-fork", "--vrrp", "--log-detail", "--log-console", "-f", keepalived.CONFIG_PATH),
                Ready(log=" STATE"),  # `(NAME) Entering BACKUP STATE`: it takes part
                files=((keepalived.CONFIG_PATH, text),),
                config=keepalived.CONFIG_PATH,
                logs=True,
                vrrp=keepalived.instances(text),
            )
        case Haproxy():
            text = haproxy.config_text(service)
            port = haproxy.bound_port(text)
            return Program(
                "haproxy",
                ("haproxy", "-W", "-db", "-S", haproxy.MASTER_SOCKET, "-f", haproxy.CONFIG_PATH),
                Ready(tcp=port)
                if port is not None
                else Ready(command=("haproxy", "-c", "-q", "-f", haproxy.CONFIG_PATH)),
                files=((haproxy.CONFIG_PATH, text),),
                config=haproxy.CONFIG_PATH,
                logs=True,
                health_checks=haproxy.health_checks(text),
            )
        case Apache():
            text = apache.config_text(service)
            port = apache.listened_port(text)
            return Program(
                "apache",
                ("apache2", "-D", "FOREGROUND", "-f", apache.CONFIG_PATH),
                Ready(tcp=port) if port is not None else Ready(command=("apache2", "-t", "-f", apache.CONFIG_PATH)),
                files=((apache.CONFIG_PATH, text),),
                config=apache.CONFIG_PATH,
            )
        case Dnsmasq():
            text = dnsmasq.config_text(service)
            return Program(
                "dnsmasq",
                ("dnsmasq", "--keep-in-foreground", "--log-facility=-", f"--conf-file={dnsmasq.CONFIG_PATH}"),
                Ready(log="started, version"),
                files=((dnsmasq.CONFIG_PATH, text),),
                config=dnsmasq.CONFIG_PATH,
            )
        case Syslog():
            return Program(SYSLOG, ("busybox", "syslogd", "-n", "-O", MESSAGES), Ready(file="/run/log.socket"))
        case _:
            assert_never(service)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a daemon says is wrong with its config: the file and line where it names them, and its own words."""

    text: str
    file: str | None = None
    line: int | None = None


_REFUSALS = {
    # [ALERT] (12) : config : parsing [/etc/haproxy/haproxy.cfg:12] : unknown keyword 'x' in 'backend' section
    "haproxy": re.compile(r"\[ALERT\].*?: config : (?:.*?\[(?P<file>/[^]:]+):(?P<line>\d+)\] ?:? ?)?(?P<text>.+)"),
    # Thu Nov 26 … 2026: (/etc/keepalived/keepalived.conf: Line 3) Unknown keyword 'foo'
    # Thu Nov 26 … 2026: There are 2 missing '}'s or extra '{'s
    # Thu Nov 26 … 2026: Unsafe permissions found for script '/usr/bin/killall' - disabling.
    "keepalived": re.compile(
        r"(?:^|: )(?:\((?P<file>/[^:)]+): Line (?P<line>\d+)\) (?:WARNING - )?)?(?P<text>(?(file).+|(?:"
        r"There are \d+ missing .+|Unsafe permissions found for script .+ - disabling\.|"
        r"\(\S+\) the virtual router id must be set)))"
    ),
    # AH00526: Syntax error on line 3 of /etc/apache2/httpd.conf:\nInvalid command 'X'…
    # AH00534: apache2: Configuration error: No MPM loaded.
    "apache": re.compile(
        r"(?:.*rror on line (?P<line>\d+) of (?P<file>/[^:\n]+):\s|apache2: Configuration error: )(?P<text>.+)"
    ),
    # dnsmasq: bad option at line 3 of /etc/dnsmasq.conf
    "dnsmasq": re.compile(r"dnsmasq: (?P<text>.+?) at line (?P<line>\d+) of (?P<file>/\S+)"),
}
_READ_AGAIN = "Reloading"
"""In the output of keepalived and haproxy: what comes before it was said of a config that they read earlier."""


def refusals(service: str, output: str) -> tuple[Refusal, ...]:
    """What a daemon's output says against its config, each thing once; of the file as a whole only if nothing else."""
    pattern = _REFUSALS.get(service)
    if pattern is None:
        return ()
    output = output.rpartition(_READ_AGAIN)[2]
    found: dict[Refusal, None] = {}
    for match in pattern.finditer(output) if service == "apache" else map(pattern.search, output.splitlines()):
        if match is not None:
            line = match["line"]
            text = " ".join(match["text"].split())
            found[Refusal(text, match["file"], None if line is None else int(line))] = None
    return tuple(one for one in found if one.file is not None) or tuple(found)
