"""Who answers for an address on a node's link: every MAC that says it is there."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

from trenza.linux.asking.link_frames import ETHERTYPE_ARP, ETHERTYPE_IPV6, read_claim
from trenza.linux.asking.link_frames import who_has as question
from trenza.linux.asking.link_sockets import LinkSocket
from trenza.linux.asking.sockets import NEVER, deadline, way_home
from trenza.linux.netlink import NetlinkSocket
from trenza.linux.netns import find_index
from trenza.linux.rtnetlink import DUMP_ADDRESSES
from trenza.linux.rtnetlink_dump import AddressRecord, addresses
from trenza.model.names import Mac, NicName
from trenza.model.state import IpAddress

INTERVAL_S: Final = 0.05
SETTLE_S: Final = 0.2
"""How long a second owner has after the last question; on one machine an answer takes well under a millisecond."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A MAC, and how many answers came from it."""

    mac: Mac
    times: int


def who_has(
    netns: int, nic: NicName, address: IpAddress, *, count: int = 3, timeout_s: float = 1.0, until: float = NEVER
) -> tuple[Owner, ...]:
    """Ask `count` times, by ARP or neighbour discovery, for an address; whoever answered, the most frequent first.

    A node does not answer itself. Raises KernelError.
    """
    ethertype = ETHERTYPE_ARP if address.version == 4 else ETHERTYPE_IPV6
    end = deadline(timeout_s, until)
    own_address = _own_address(netns, nic, address)
    heard: Counter[Mac] = Counter()
    with LinkSocket(netns, nic, ethertype) as link:
        frame = question(address, link.mac, own_address)
        due = time.monotonic()
        asked = 0
        while (now := time.monotonic()) < end:
            if asked < count and now >= due:
                link.send(frame)
                asked += 1
                due = now + (INTERVAL_S if asked < count else SETTLE_S)
            elif now >= due and heard:
                break
            for data in link.heard(min(due, end) if asked < count or now < due else end):
                claim = read_claim(data)
                if claim is not None and claim.address.packed == address.packed:
                    heard[claim.mac] += 1
    return tuple(Owner(mac, times) for mac, times in heard.most_common())


def _own_address(netns: int, nic: NicName, target: IpAddress) -> IpAddress | None:
    """The node's address at `nic` to ask with: one of the target's own network, else any, else None."""
    with way_home() as home:
        sock = NetlinkSocket(home, netns)
        try:
            index = find_index(sock.fileno(), nic)
            found = addresses(sock.dump(DUMP_ADDRESSES))
        finally:
            sock.close()
    here = [one for one in found if one.index == index and one.ip.version == target.version]
    near = [one for one in here if _shares_network(one, target)]
    return next((one.ip for one in (*near, *here)), None)


def _shares_network(one: AddressRecord, target: IpAddress) -> bool:
    bits = one.ip.max_prefixlen - one.prefix_length
    return int(one.ip) >> bits == int(target) >> bits
