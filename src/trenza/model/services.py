"""Services as a lab file declares them: any command, or a daemon with options named as the daemon names them.

Times in seconds. What each becomes (a config file, a command line) is `trenza.services`' business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trenza.model.names import NicName
from trenza.model.state import IpInterface, Ready, Restart


@dataclass(frozen=True, slots=True)
class RunService:
    """Any command as a service."""

    name: str
    argv: tuple[str, ...]
    ready: Ready = Ready()
    restart: Restart = Restart.ON_FAILURE
    env: tuple[tuple[str, str], ...] = ()
    user: str = "root"


@dataclass(frozen=True, slots=True)
class VrrpOptions:
    """A `vrrp_instance` of keepalived. What is None or empty is left to keepalived."""

    name: str
    nic: NicName
    id: int
    priority: int = 100
    state: str = "BACKUP"
    advert_int: float = 1
    addresses: tuple[IpInterface, ...] = ()
    nopreempt: bool = False
    numbers: Mapping[str, float] = field(default_factory=dict)
    """Options with a number: `preempt_delay`, `garp_master_delay` and its like."""
    track_script: tuple[str, ...] = ()
    track_interface: tuple[NicName, ...] = ()


@dataclass(frozen=True, slots=True)
class TrackScript:
    """A `vrrp_script` of keepalived: a command whose status moves priorities."""

    name: str
    script: tuple[str, ...]
    numbers: Mapping[str, float] = field(default_factory=dict)
    """`interval`, `timeout`, `weight`, `fall`, `rise`."""


@dataclass(frozen=True, slots=True)
class Keepalived:
    vrrp: tuple[VrrpOptions, ...] = ()
    scripts: tuple[TrackScript, ...] = ()
    vrrp_startup_delay: float | None = None
    config: str | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """A server of a haproxy backend. What is None is left to haproxy."""

    name: str
    address: str
    """`ADDRESS:PORT`."""
    check: bool = False
    inter: float | None = None
    fall: int | None = None
    rise: int | None = None
    weight: int | None = None
    cookie: str | None = None
    backup: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A section of haproxy's config (defaults, frontend, backend): its lines as keyword and rest."""

    kind: str
    name: str = ""
    lines: tuple[tuple[str, str], ...] = ()
    servers: tuple[Server, ...] = ()


@dataclass(frozen=True, slots=True)
class Haproxy:
    sections: tuple[Section, ...] = ()
    config: str | None = None


@dataclass(frozen=True, slots=True)
class Apache:
    listen: int = 80
    document_root: str = "/var/www/localhost/htdocs"
    php: bool = True
    config: str | None = None


@dataclass(frozen=True, slots=True)
class Dnsmasq:
    """`lines` are dnsmasq's own options with their values."""

    lines: tuple[tuple[str, str], ...] = ()
    config: str | None = None


@dataclass(frozen=True, slots=True)
class Syslog:
    """The log of a node, /var/log/messages."""


Daemon = Keepalived | Haproxy | Apache | Dnsmasq | Syslog
Service = RunService | Daemon
