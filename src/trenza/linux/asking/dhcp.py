"""DHCP: what servers on a node's link would lease to a new client."""

from __future__ import annotations

import os
import time
from typing import Final

from trenza.linux.asking.dhcp_message import CLIENT_PORT, SERVER_PORT, DhcpOffer, discover_message, read_offer
from trenza.linux.asking.link_frames import ETHERTYPE_IPV4, read_udp, udp_broadcast
from trenza.linux.asking.link_sockets import LinkSocket
from trenza.linux.asking.sockets import NEVER, deadline
from trenza.model.names import NicName

AGAIN_S: Final = 1.0


def discover(
    netns: int, nic: NicName, *, timeout_s: float = 5.0, settle_s: float = 0.5, until: float = NEVER
) -> tuple[DhcpOffer, ...]:
    """Ask as a client that never was here and takes nothing (no REQUEST follows); each distinct offer, as they came.

    Waits `settle_s` longer than for the first one; give it `timeout_s` to hear every server there is. dnsmasq looks
    for 3 s whether an address is in use before it offers it, unless it has `no-ping`. Raises KernelError.
    """
    transaction = int.from_bytes(os.urandom(4), "big")
    mac = b"\x02" + os.urandom(5)
    end = deadline(timeout_s, until)
    again = 0.0
    offers: dict[DhcpOffer, None] = {}
    with LinkSocket(netns, nic, ETHERTYPE_IPV4) as link:
        # The frame is the NIC's own: bridges learn no address from it that is nowhere.
        frame = udp_broadcast(link.mac, CLIENT_PORT, SERVER_PORT, discover_message(transaction, mac))
        while (now := time.monotonic()) < end:
            if now >= again and not offers:
                link.send(frame)
                again = now + AGAIN_S
            for heard in link.heard(end if offers else min(again, end)):
                datagram = read_udp(heard, CLIENT_PORT)
                offer = None if datagram is None else read_offer(datagram[1], transaction, mac, datagram[0])
                if offer is not None:
                    if not offers:
                        end = min(end, time.monotonic() + settle_s)
                    offers[offer] = None
    return tuple(offers)
