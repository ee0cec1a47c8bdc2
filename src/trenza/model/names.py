"""Names of nodes and interfaces, and what is derived from them: MAC addresses, port names."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NewType

NodeName = NewType("NodeName", str)
"""A node's full name: `host1`, `host1/c1`, or a switch's name."""

NicName = NewType("NicName", str)
"""An interface's name inside its node; at most 15 bytes (IFNAMSIZ less one, include/uapi/linux/if.h)."""

Mac = NewType("Mac", str)
"""A MAC address in lower case, `02:…` form."""

MAX_NIC_BYTES = 15


@dataclass(frozen=True, slots=True, order=True)
class Interface:
    """One interface of one node, written `node.nic`."""

    node: NodeName
    nic: NicName

    def __str__(self) -> str:
        return f"{self.node}.{self.nic}"


def derived_mac(lab: str, node: str, nic: str) -> Mac:
    """The MAC of an interface that was given none: a hash of lab, node and NIC.

    Locally administered, unicast (IEEE 802, bits 1 and 0 of the first octet), so that trees, tables and captures are
    the same in every run.
    """
    digest = hashlib.blake2b(f"{lab}\0{node}\0{nic}".encode(), digest_size=6).digest()
    first = (digest[0] | 0x02) & 0xFE
    return Mac(":".join(f"{octet:02x}" for octet in (first, *digest[1:])))


def uplink_name(interface: Interface) -> NodeName:
    """The node behind a NIC with `to: nat`: a name that no lab file and no word on a command line can have."""
    return NodeName(f"nat:{interface.node}:{interface.nic}")


def is_uplink(node: str) -> bool:
    """Whether a node lies behind a NIC with `to: nat`."""
    return node.startswith("nat:")


def bare_name(node: str) -> str:
    """The last part of a node's name: `c1` of `host1/c1`."""
    return node.rsplit("/", 1)[-1]


def port_name(node: str, nic: str) -> NicName:
    """The name of the far end of `node.nic` where nobody gave one: `c1-eth0`.

    Longer than 15 bytes, it is cut and ends in four hexadecimal digits of its hash, so that it stays unique.
    """
    name = f"{bare_name(node)}-{nic}"
    if len(name.encode()) <= MAX_NIC_BYTES:
        return NicName(name)
    digest = hashlib.blake2b(f"{node}\0{nic}".encode(), digest_size=2).hexdigest()
    return NicName(name.encode()[: MAX_NIC_BYTES - 5].decode(errors="ignore") + "-" + digest)
