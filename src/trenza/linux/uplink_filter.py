"""What may leave through an uplink: the nftables rules of its namespace, where no node reaches them.

The addresses are those of VirtualBox's NAT, which are slirp's: a network 10.0.2.0/24 for each NIC that goes out, the
gateway 10.0.2.2, a name server 10.0.2.3, leases from 10.0.2.15.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

NETWORK: Final = "10.0.2.0/24"
GATEWAY: Final = "10.0.2.2"
NAME_SERVER: Final = "10.0.2.3"
PRIVATE: Final = "private"
LOOPBACK: Final = "loopback"
INTERNET: Final = "internet"
GRANTS: Final = (INTERNET, PRIVATE, LOOPBACK)
"""What the person who runs a lab may allow: public addresses; private ones too; the machine's own loopback too, which

then is at `GATEWAY`.
"""

NEVER: Final = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")
"""This network (0.0.0.0 is one's own machine), loopback, link-local (the metadata of clouds), multicast, reserved and

broadcast (RFC 6890).
"""

PRIVATE_NETWORKS: Final = (
    "10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15",
)  # fmt: skip
"""RFC 1918, RFC 6598, RFC 6890, RFC 2544."""


def rules(grants: Collection[str]) -> str:
    """The whole ruleset, replacing the one before in one step; with no grants nothing passes at all.

    A frame from the node is ARP, DHCP, a question to the name server, an echo request to the gateway, or IPv4 to an
    address that is allowed; any other is dropped, all of IPv6 among them.
    """
    closed = (*NEVER, *(() if PRIVATE in grants else PRIVATE_NETWORKS))
    lines = [
        'iifname != "up" accept',
        "ether type arp accept",
        "ether type != ip drop",
        f"ip daddr {{ 255.255.255.255, {GATEWAY} }} udp dport 67 accept",
        f"ip daddr {GATEWAY} icmp type echo-request accept",
        f"ip daddr {NAME_SERVER} meta l4proto {{ tcp, udp }} th dport 53 accept",
        *([f"ip daddr {GATEWAY} meta l4proto {{ tcp, udp }} accept"] if LOOPBACK in grants else []),
        f"ip daddr {NETWORK} counter drop",
        f"ip daddr {{ {', '.join(closed)} }} counter drop",
        "accept",
    ]
    chain = "\n    ".join(
        ["type filter hook prerouting priority 0; policy drop;", *(lines if grants else ['iifname "up" drop'])]
    )
    table = f"table bridge uplink {{\n  chain out {{\n    {chain}\n  }}\n}}\n"
    return f"table bridge uplink\ndelete table bridge uplink\n{table}"
