"""DNS, DHCP and the first line of HTTP, in a few words each."""

from __future__ import annotations

from typing import Final

from trenza.linux.dissect_octets import CutShortError, escaped, ipv4, ipv6, mac, part, u8, u16, u32

_DNS_TYPES: Final = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 41: "OPT",
    65: "HTTPS", 255: "ANY",
}  # fmt: skip
_DNS_ERRORS: Final = {1: "format error", 2: "server failure", 3: "no such name", 4: "not implemented", 5: "refused"}
_MAX_NAMES: Final = 4
_MAX_LABELS: Final = 128

_DHCP_COOKIE: Final = b"\x63\x82\x53\x63"
_DHCP_TYPES: Final = {
    1: "discover", 2: "offer", 3: "request", 4: "decline", 5: "ack", 6: "nak", 7: "release", 8: "inform",
}  # fmt: skip
_DHCP6_TYPES: Final = {
    1: "solicit", 2: "advertise", 3: "request", 4: "confirm", 5: "renew", 6: "rebind", 7: "reply", 8: "release",
    9: "decline", 10: "reconfigure", 11: "information-request", 12: "relay-forward", 13: "relay-reply",
}  # fmt: skip

_HTTP_BEGINNINGS: Final = (
    b"HTTP/1.", b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE ",
)  # fmt: skip


def dns_words(data: bytes) -> str:
    """`DNS query A www.lab` or `DNS answer www.lab A 10.0.0.1` (RFC 1035)."""
    number, flags = u16(data, 0), u16(data, 2)
    questions, answers = u16(data, 4), u16(data, 6)
    at = 12
    asked = []
    for _ in range(min(questions, _MAX_NAMES)):
        name, at = _dns_name(data, at)
        asked.append(f"{_dns_type(u16(data, at))} {name}")
        at += 4
    if not flags & 0x8000:
        return f"DNS query {', '.join(asked) or 'nothing'} id {number}"
    if flags & 0xF:
        return f"DNS answer {_DNS_ERRORS.get(flags & 0xF, f'error {flags & 0xF}')}: {', '.join(asked)} id {number}"
    records = []
    if questions <= _MAX_NAMES:
        for _ in range(min(answers, _MAX_NAMES)):
            record, at = _dns_record(data, at)
            records.append(record)
    more = f" and {answers - len(records)} more" if answers > len(records) else ""
    return f"DNS answer {', '.join(records) or 'nothing for ' + ', '.join(asked)}{more} id {number}"


def _dns_type(number: int) -> str:
    return _DNS_TYPES.get(number, f"type {number}")


def _dns_record(data: bytes, at: int) -> tuple[str, int]:
    name, at = _dns_name(data, at)
    kind, length = u16(data, at), u16(data, at + 8)
    at += 10
    match kind:
        case 1 if length == 4:
            value = " " + ipv4(data, at)
        case 28 if length == 16:
            value = " " + ipv6(data, at)
        case 2 | 5 | 12:
            value = " " + _dns_name(data, at)[0]
        case _:
            part(data, at, length)
            value = ""
    return f"{name} {_dns_type(kind)}{value}", at + length


def _dns_name(data: bytes, at: int) -> tuple[str, int]:
    """A name and where it ends. Pointers may only go backwards, so that none can circle."""
    labels: list[str] = []
    end: int | None = None
    lowest = at
    for _ in range(_MAX_LABELS):
        length = u8(data, at)
        if length == 0:
            return ".".join(labels) or ".", at + 1 if end is None else end
        if length >= 0xC0:
            target = u16(data, at) & 0x3FFF
            end = at + 2 if end is None else end
            if target >= lowest:
                raise CutShortError
            at = lowest = target
        else:
            labels.append(escaped(part(data, at + 1, length & 0x3F).decode(errors="replace")))
            at += 1 + (length & 0x3F)
    raise CutShortError


def dhcp_words(data: bytes) -> str:
    """`DHCP offer 10.0.0.9 to 02:…` (RFC 2131); plain BOOTP where there is no message type."""
    client = mac(data, 28)
    yours = ipv4(data, 16)
    options = _dhcp_options(data)
    kind = options.get(53, b"")
    words = [f"DHCP {_DHCP_TYPES.get(kind[0], f'type {kind[0]}')}" if kind else "BOOTP", f"for {client}"]
    if yours != "0.0.0.0":
        words.append(f"address {yours}")
    for code, name in ((50, "wants"), (54, "server"), (3, "router")):
        if len(options.get(code, b"")) >= 4:
            words.append(f"{name} {ipv4(options[code], 0)}")
    if len(options.get(51, b"")) == 4:
        words.append(f"lease {u32(options[51], 0)} s")
    if 12 in options:
        words.append(f"name {escaped(options[12].decode(errors='replace'))}")
    return " ".join(words)


def _dhcp_options(data: bytes) -> dict[int, bytes]:
    """The options as far as they are there."""
    options: dict[int, bytes] = {}
    if data[236:240] != _DHCP_COOKIE:
        return options
    at = 240
    try:
        while (code := u8(data, at)) != 255:
            if code == 0:
                at += 1
                continue
            length = u8(data, at + 1)
            options.setdefault(code, part(data, at + 2, length))
            at += 2 + length
    except CutShortError:
        pass
    return options


def dhcp6_words(data: bytes) -> str:
    """`DHCPv6 solicit` (RFC 8415)."""
    kind = u8(data, 0)
    return f"DHCPv6 {_DHCP6_TYPES.get(kind, f'type {kind}')}"


def find_http_words(payload: bytes) -> str | None:
    """The first line of an HTTP/1 request or answer, or None if this is neither."""
    if not payload.startswith(_HTTP_BEGINNINGS):
        return None
    line = escaped(payload.split(b"\n", 1)[0].rstrip(b"\r").decode("latin-1"))
    return line if line.startswith("HTTP/") else f"HTTP {line}"
