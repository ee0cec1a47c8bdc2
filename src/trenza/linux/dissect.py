"""A frame in one line of words, for the live view of a capture and for evidence.

What labs are about is spelled out: ARP, spanning tree, ICMP, tunnels, VRRP. Frames come from labs of strangers: any
bytes give a line, and nothing in a line acts on a terminal.
"""

from __future__ import annotations

from typing import Final

from trenza.linux.dissect_ip import ip_words
from trenza.linux.dissect_octets import CutShortError, ipv4, mac, part, short_mac, u8, u16, u32
from trenza.linux.pcapng import LINKTYPE_RAW_IP

_IPV4: Final = 0x0800
_ARP: Final = 0x0806
_IPV6: Final = 0x86DD
_VLAN_TAGS: Final = frozenset((0x8100, 0x88A8, 0x9100))
_FIRST_ETHERTYPE: Final = 0x0600
_ETHERTYPES: Final = {0x8847: "MPLS", 0x888E: "EAPOL", 0x88CC: "LLDP", 0x8809: "slow protocols", 0x8863: "PPPoE"}

_MAX_DEPTH: Final = 4
_MAX_TAGS: Final = 4

_STP_LLC: Final = b"\x42\x42\x03"
_BPDU_CONFIG: Final = 0x00
_BPDU_RST: Final = 0x02
_BPDU_TCN: Final = 0x80
_RST_ROLES: Final = ("unknown", "alternate or backup", "root", "designated")


def summary(frame: bytes, *, link_type: int = 1, depth: int = 0) -> str:
    """The frame in words: who to whom, and what. `depth` counts the tunnels around it. Never raises."""
    if depth >= _MAX_DEPTH:
        return "a tunnel too deep"

    def tunnelled(inner: bytes) -> str:
        return summary(inner, depth=depth + 1)

    try:
        if link_type == LINKTYPE_RAW_IP:
            return ip_words(frame, tunnelled)
        ends = f"{short_mac(frame, 6)} → {short_mac(frame, 0)}"
    except CutShortError:
        return f"{len(frame)} bytes [cut short]"
    tags = ""
    try:
        at = 12
        for _ in range(_MAX_TAGS):
            if u16(frame, at) not in _VLAN_TAGS:
                break
            tags += _tag_words(u16(frame, at), u16(frame, at + 2))
            at += 4
        ethertype, payload = u16(frame, at), frame[at + 2 :]
        if ethertype in (_IPV4, _IPV6):
            return tags + ip_words(payload, tunnelled)
        if ethertype == _ARP:
            return f"{tags}{ends} {_arp_words(payload)}"
        if ethertype < _FIRST_ETHERTYPE:
            return f"{tags}{ends} {_llc_words(payload[:ethertype])}"
    except CutShortError:
        return f"{tags}{ends} {len(frame)} bytes [cut short]"
    return f"{tags}{ends} {_ETHERTYPES.get(ethertype, f'ethertype 0x{ethertype:04x}')} length {len(payload)}"


def _tag_words(ethertype: int, tag: int) -> str:
    name = "VLAN" if ethertype == 0x8100 else "S-VLAN"
    priority = f" priority {tag >> 13}" if tag >> 13 else ""
    return f"{name} {tag & 0xFFF}{priority}, "


def _arp_words(packet: bytes) -> str:
    """RFC 826; a probe asks from 0.0.0.0 (RFC 5227), a gratuitous one is about its own sender."""
    operation = u16(packet, 6)
    if part(packet, 0, 6) != b"\x00\x01\x08\x00\x06\x04":
        return f"ARP of other kinds, operation {operation}"
    sender_mac, sender, target = mac(packet, 8), ipv4(packet, 14), ipv4(packet, 24)
    gratuitous = "gratuitous " if sender == target else ""
    match operation:
        case 1 if gratuitous:
            return f"ARP gratuitous who-has {target}, is-at {sender_mac}"
        case 1 if sender == "0.0.0.0":
            return f"ARP probe who-has {target}"
        case 1:
            return f"ARP who-has {target} tell {sender}"
        case 2:
            return f"ARP {gratuitous}{sender} is-at {sender_mac}"
        case _:
            return f"ARP operation {operation} from {sender}"


def _llc_words(packet: bytes) -> str:
    if packet[:3] == _STP_LLC:
        return _stp_words(packet[3:])
    return f"LLC 0x{u8(packet, 0):02x} → 0x{u8(packet, 1):02x} length {len(packet)}"


def _stp_words(bpdu: bytes) -> str:
    """A BPDU of 802.1D-1998, or of 802.1D-2004 (rapid). Ages in seconds, bridge ids as `8000.02aabbccddee`."""
    if u16(bpdu, 0) != 0:
        return f"STP protocol {u16(bpdu, 0)}"
    kind = u8(bpdu, 3)
    if kind == _BPDU_TCN:
        return "STP topology change notification (TCN)"
    if kind not in (_BPDU_CONFIG, _BPDU_RST):
        return f"STP BPDU of type {kind}"
    bits = u8(bpdu, 4)
    flags = [name for bit, name in ((0x01, "TC"), (0x80, "TCA")) if bits & bit]
    if kind == _BPDU_RST:
        flags.append(f"role {_RST_ROLES[bits >> 2 & 3]}")
        flags += [
            name
            for bit, name in ((0x02, "proposal"), (0x10, "learning"), (0x20, "forwarding"), (0x40, "agreement"))
            if bits & bit
        ]
    root, bridge, port = _bridge_id(bpdu, 5), _bridge_id(bpdu, 17), u16(bpdu, 25)
    words = f"{'RSTP' if kind == _BPDU_RST else 'STP config'} root {root} cost {u32(bpdu, 13)} "
    words += "from the root itself" if root == bridge else f"bridge {bridge}"
    words += f" port {port:04x} age {u16(bpdu, 27) / 256:g}/{u16(bpdu, 29) / 256:g}"
    words += f" hello {u16(bpdu, 31) / 256:g} delay {u16(bpdu, 33) / 256:g}"
    return words + (f" ({', '.join(flags)})" if flags else "")


def _bridge_id(bpdu: bytes, at: int) -> str:
    return f"{u16(bpdu, at):04x}.{part(bpdu, at + 2, 6).hex()}"
