"""ICMP and ICMPv6 in words: echo, errors with what they are about, neighbour and router discovery, MLD."""

from __future__ import annotations

from typing import Final

from trenza.linux.dissect_octets import CutShortError, ipv4, ipv6, mac, u8, u16, u32

_UNREACHABLE: Final = {
    0: "network", 1: "host", 2: "protocol", 3: "port", 4: "fragmentation needed", 5: "source route failed",
    6: "network unknown", 7: "host unknown", 9: "network prohibited", 10: "host prohibited", 13: "prohibited",
}  # fmt: skip
_UNREACHABLE6: Final = {
    0: "no route", 1: "prohibited", 2: "beyond scope", 3: "address", 4: "port", 5: "source address", 6: "rejected",
}  # fmt: skip
_EXCEEDED: Final = {0: "in transit", 1: "reassembling"}
_MAX_GROUPS: Final = 8
_ND_OPTIONS: Final = {1: "from", 2: "at"}


def icmp_words(message: bytes, length: int) -> str:
    """An ICMP message (RFC 792). `length` is what the IP header announced."""
    kind, code = u8(message, 0), u8(message, 1)
    match kind:
        case 0 | 8:
            return f"ICMP echo {'request' if kind else 'reply'} {_echo_words(message, length)}"
        case 3:
            why = _UNREACHABLE.get(code, f"code {code}")
            mtu = f" mtu {u16(message, 6)}" if code == 4 else ""
            return f"ICMP unreachable: {why}{mtu} (for {_quoted(message[8:])})"
        case 5:
            return f"ICMP redirect to {ipv4(message, 4)} (for {_quoted(message[8:])})"
        case 9 | 10:
            return f"ICMP router {'advertisement' if kind == 9 else 'solicitation'}"
        case 11:
            return f"ICMP time exceeded {_EXCEEDED.get(code, f'code {code}')} (for {_quoted(message[8:])})"
        case 12:
            return f"ICMP parameter problem at byte {u8(message, 4)} (for {_quoted(message[8:])})"
        case 13 | 14:
            return f"ICMP timestamp {'request' if kind == 13 else 'reply'} {_echo_words(message, length)}"
        case _:
            return f"ICMP type {kind} code {code}"


def icmp6_words(message: bytes, length: int) -> str:
    """An ICMPv6 message (RFC 4443, 4861, 2710, 3810)."""
    kind, code = u8(message, 0), u8(message, 1)
    match kind:
        case 1:
            return f"ICMPv6 unreachable: {_UNREACHABLE6.get(code, f'code {code}')} (for {_quoted(message[8:])})"
        case 2:
            return f"ICMPv6 packet too big: mtu {u32(message, 4)} (for {_quoted(message[8:])})"
        case 3:
            return f"ICMPv6 time exceeded {_EXCEEDED.get(code, f'code {code}')} (for {_quoted(message[8:])})"
        case 4:
            return f"ICMPv6 parameter problem at byte {u32(message, 4)} (for {_quoted(message[8:])})"
        case 128 | 129:
            return f"ICMPv6 echo {'request' if kind == 128 else 'reply'} {_echo_words(message, length)}"
        case 130:
            return f"ICMPv6 MLD query {ipv6(message, 8)}"
        case 131 | 132:
            return f"ICMPv6 MLD {'report' if kind == 131 else 'done'} {ipv6(message, 8)}"
        case 133:
            return f"ICMPv6 router solicitation{_nd_options(message, 8)}"
        case 134:
            return _router_advertisement(message)
        case 135:
            return f"ICMPv6 neighbour solicitation who-has {ipv6(message, 8)}{_nd_options(message, 24)}"
        case 136:
            return _neighbour_advertisement(message)
        case 137:
            return f"ICMPv6 redirect of {ipv6(message, 24)} to {ipv6(message, 8)}"
        case 143:
            return _mld2_report(message)
        case _:
            return f"ICMPv6 type {kind} code {code}"


def _echo_words(message: bytes, length: int) -> str:
    return f"id {u16(message, 4)} seq {u16(message, 6)} ({max(0, length - 8)} bytes)"


def _neighbour_advertisement(message: bytes) -> str:
    bits = u8(message, 4)
    notes = [word for bit, word in ((0x80, "router"), (0x40, "solicited"), (0x20, "override")) if bits & bit]
    flags = f" ({', '.join(notes)})" if notes else ""
    return f"ICMPv6 neighbour advertisement {ipv6(message, 8)}{_nd_options(message, 24)}{flags}"


def _router_advertisement(message: bytes) -> str:
    words = f"ICMPv6 router advertisement lifetime {u16(message, 6)} s"
    at = 16
    while at + 8 <= len(message) and (step := u8(message, at + 1) * 8):
        if u8(message, at) == 3 and step == 32:
            words += f" prefix {ipv6(message, at + 16)}/{u8(message, at + 2)}"
        elif u8(message, at) == 5:
            words += f" mtu {u32(message, at + 4)}"
        at += step
    return words


def _nd_options(message: bytes, at: int) -> str:
    """The link-layer addresses among the options of neighbour discovery; a length of 0 ends them (RFC 4861, 4.6)."""
    words = ""
    while at + 8 <= len(message) and (step := u8(message, at + 1) * 8):
        name = _ND_OPTIONS.get(u8(message, at))
        if name and step == 8:
            words += f" {name} {mac(message, at + 2)}"
        at += step
    return words


def _mld2_report(message: bytes) -> str:
    count, at = u16(message, 6), 8
    groups = []
    for _ in range(min(count, _MAX_GROUPS)):
        groups.append(ipv6(message, at + 4))
        at += 20 + u16(message, at + 2) * 16 + u8(message, at + 1) * 4
    more = f" and {count - len(groups)} more" if count > len(groups) else ""
    return f"ICMPv6 MLDv2 report {', '.join(groups) or 'empty'}{more}"


def _quoted(packet: bytes) -> str:
    """What an error is about, from the first bytes of the packet that it quotes."""
    try:
        if u8(packet, 0) >> 4 == 6:
            ends, protocol, rest = f"{ipv6(packet, 8)} → {ipv6(packet, 24)}", u8(packet, 6), packet[40:]
        else:
            ends, protocol = f"{ipv4(packet, 12)} → {ipv4(packet, 16)}", u8(packet, 9)
            rest = packet[(u8(packet, 0) & 0xF) * 4 :]
        match protocol:
            case 6 | 17:
                return f"{ends} {'TCP' if protocol == 6 else 'UDP'} {u16(rest, 0)} → {u16(rest, 2)}"
            case 1 | 58:
                return f"{ends} ICMP id {u16(rest, 4)} seq {u16(rest, 6)}"
            case _:
                return f"{ends} protocol {protocol}"
    except CutShortError:
        return "a packet cut short"
