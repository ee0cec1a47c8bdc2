"""Flows that the kernel tracks in a network namespace, and forgetting one.

Source: include/uapi/linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from trenza.linux.netlink import DUMP, attribute, attributes, message, split_messages

NETLINK_NETFILTER: Final = 12
_GET, _DELETE = 0x101, 0x102
"""IPCTNL_MSG_CT_GET and _DELETE of the subsystem NFNL_SUBSYS_CTNETLINK."""

_TUPLE_ORIGINAL, _TUPLE_REPLY = 1, 2
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_IP_SOURCE, _IP_DESTINATION = 1, 2
_PROTOCOL_NUMBER, _PROTOCOL_DESTINATION_PORT = 1, 3
_NESTED: Final = 0x8000
_FAMILY: Final = struct.pack("=BBH", socket.AF_INET, 0, 0)
"""struct nfgenmsg."""

DUMP_FLOWS: Final = message(_GET, DUMP, _FAMILY)


@dataclass(frozen=True, slots=True)
class Flow:
    """One way to and one back: where it was sent to, and who answers, or would; 0 for a protocol without ports."""

    protocol: int
    to: IPv4Address
    port: int
    answers: IPv4Address
    key: bytes
    """What it was sent as, as the kernel wrote it."""


def flows(dump: bytes) -> Iterator[Flow]:
    """The flows of IPv4 in the answer to DUMP_FLOWS."""
    for _kind, _flags, _sequence, start, end in split_messages(dump):
        found = attributes(dump, start + len(_FAMILY), end)
        sent, back = attributes(found[_TUPLE_ORIGINAL]), attributes(found[_TUPLE_REPLY])
        protocol = attributes(sent[_TUPLE_PROTOCOL])
        yield Flow(
            protocol[_PROTOCOL_NUMBER][0],
            IPv4Address(attributes(sent[_TUPLE_IP])[_IP_DESTINATION]),
            int.from_bytes(protocol.get(_PROTOCOL_DESTINATION_PORT, b"\0\0"), "big"),
            IPv4Address(attributes(back[_TUPLE_IP])[_IP_SOURCE]),
            found[_TUPLE_ORIGINAL],
        )


def forget(flow: Flow) -> bytes:
    """The request that deletes a flow: its next packet begins a new one."""
    return message(_DELETE, 0, _FAMILY + attribute(_NESTED | _TUPLE_ORIGINAL, flow.key))
