"""What an agent is told when it is started: JSON, read once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from trenza.cluster.node.environment import Image


@dataclass(frozen=True, slots=True)
class Tls:
    """Paths of PEM files: the cluster's CA, and this host's certificate (for both sides) with its key."""

    ca: str
    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """`host_pid` is the host's init in the sandbox; `directory` the agent's own, which no node sees."""

    lab: str
    node: str
    host_pid: int
    api: str
    directory: str
    pods: IPv4Network
    services: IPv4Network
    dns: IPv4Address
    single_id: bool = False
    tls: Tls | None = None
    images: Mapping[str, Image] = field(default_factory=dict)
    lease_s: float = 40.0
    """How long a node counts as alive after its last heartbeat."""
    heartbeat_s: float = 10.0
    backoff_s: float = 10.0
    max_backoff_s: float = 300.0
    resync_s: float = 10.0
    """How often the network is compared with what it should be, whether or not anything was heard."""
    init_adopts: bool | None = None
    """Whose children containers' commands are (`containers.Containers`); None: what suits this kernel."""
    labels: Mapping[str, str] = field(default_factory=dict)


def read_settings(text: str) -> NodeSettings:
    """Settings from JSON. Raises ValueError, TypeError or KeyError for what are none."""
    value: dict[str, Any] = json.loads(text)
    images = {
        name: Image(tuple(one.get("command", ())), tuple(one.get("args", ())), dict(one.get("env", {})))
        for name, one in value.pop("images", {}).items()
    }
    tls = value.pop("tls", None)
    pods, services, dns = IPv4Network(value.pop("pods")), IPv4Network(value.pop("services")), value.pop("dns")
    return NodeSettings(
        **value, images=images, tls=None if tls is None else Tls(**tls), pods=pods, services=services,
        dns=IPv4Address(dns),
    )  # fmt: skip
