"""Probes: questions asked again and again, as people write them, and their packets as bytes.

`ping user -> 172.16.1.254`, `http user -> http://172.16.1.254:8000`, `tcp user -> 10.0.0.1:80`; at the end perhaps
`every 20ms`. Whom a name means is for others to find out: a node's, in a cluster `pod/NAME` and `SERVICE.svc`.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from trenza.errors import UsageError
from trenza.fault.reading import duration_s


class ProbeKind(StrEnum):
    PING = "ping"
    HTTP = "http"
    TCP = "tcp"


FORMS = {
    ProbeKind.PING: "ping NODE -> ADDRESS",
    ProbeKind.HTTP: "http NODE -> http://ADDRESS:PORT/PATH",
    ProbeKind.TCP: "tcp NODE -> ADDRESS:PORT",
}
INTERVALS_S = {ProbeKind.PING: 0.01, ProbeKind.HTTP: 0.02, ProbeKind.TCP: 0.02}
TIMEOUTS_S = {ProbeKind.PING: 1.0, ProbeKind.HTTP: 2.0, ProbeKind.TCP: 1.0}
MIN_INTERVAL_S = 0.005

_ARROW = re.compile(r"\s*(?:->|→)\s*")
_EVERY = re.compile(r"\s+every\s+(\S+)$")
_AT_POD = re.compile(r"(?:http://)?(?P<pod>pod/[^:]+)(?::(?P<port>\d+)(?P<path>/\S*)?)?")


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe. `target` is an address or a name; `port` and `path` where the kind has them."""

    kind: ProbeKind
    source: str
    target: str
    port: int = 0
    path: str = "/"
    interval_s: float = 0.01

    @property
    def timeout_s(self) -> float:
        """A later answer counts as lost."""
        return TIMEOUTS_S[self.kind]

    def __str__(self) -> str:
        where = f"[{self.target}]" if ":" in self.target else self.target
        match self.kind:
            case ProbeKind.PING:
                to = self.target
            case ProbeKind.TCP:
                to = f"{where}:{self.port}"
            case ProbeKind.HTTP:
                to = f"http://{where}:{self.port}{self.path}"
        return f"{self.kind} {self.source} → {to}"


def parse_probe(text: str) -> Probe:
    """The probe that somebody wrote. Raises UsageError with what to write instead."""
    every = _EVERY.search(text)
    body = text if every is None else text[: every.start()]
    sides = _ARROW.split(body.strip())
    words = sides[0].split()
    forms = "\n".join(FORMS.values())
    if len(sides) != 2 or len(words) != 2 or not sides[1]:
        raise UsageError(f"probe {text!r}: write what, from where, an arrow and to where", hint=forms)
    try:
        kind = ProbeKind(words[0])
    except ValueError:
        raise UsageError(f"probe {text!r}: there is no {words[0]!r}", hint=forms) from None
    interval_s = INTERVALS_S[kind] if every is None else duration_s(every[1])
    if interval_s < MIN_INTERVAL_S:
        raise UsageError(f"probe {text!r}: every {interval_s * 1000:g}ms is too often", hint="every 10ms")
    target, port, path = _target(kind, sides[1], text)
    return Probe(kind, words[1], target, port, path, interval_s)


def _target(kind: ProbeKind, to: str, text: str) -> tuple[str, int, str]:
    if kind is ProbeKind.PING:
        if "://" in to or not to.count(":") != 1:
            raise UsageError(f"probe {text!r}: a ping has no port", hint=FORMS[kind])
        return to, 0, "/"
    pod = _AT_POD.fullmatch(to)  # its slash is no path's beginning
    if pod is not None:
        if pod["port"] is None or not 0 < int(pod["port"]) < 65536:
            raise UsageError(f"probe {text!r}: write the pod's port too", hint=f"{kind} NODE -> pod/NAME:80")
        return pod["pod"], int(pod["port"]), pod["path"] or "/"
    if kind is ProbeKind.HTTP and "://" not in to:
        to = f"http://{to}"
    if kind is ProbeKind.HTTP and not to.startswith("http://"):
        raise UsageError(f"probe {text!r}: only http://", hint=FORMS[kind])
    parts = urlsplit(to if "://" in to else f"//{to}")
    try:
        port = parts.port
    except ValueError:
        raise UsageError(f"probe {text!r}: no such port", hint=FORMS[kind]) from None
    if parts.hostname is None or (port is None and kind is ProbeKind.TCP):
        raise UsageError(f"probe {text!r}: write an address and a port", hint=FORMS[kind])
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.hostname, port or 80, path


# ---------------------------------------------------------------- packets
_ECHO = struct.Struct("!BBHHH")
ECHO_BYTES = 8 + 12


def echo_request(version: int, identifier: int, sequence: int, nonce: bytes, *, size_bytes: int = ECHO_BYTES) -> bytes:
    """An ICMP echo request (RFC 792; RFC 4443, whose checksum the kernel fills in), zeros up to `size_bytes`."""
    kind = 8 if version == 4 else 128
    packet = _ECHO.pack(kind, 0, 0, identifier, sequence & 0xFFFF) + nonce + sequence.to_bytes(4, "big")
    packet = packet.ljust(size_bytes, b"\0")
    if version == 6:
        return packet
    return _ECHO.pack(kind, 0, internet_checksum(packet), identifier, sequence & 0xFFFF) + packet[8:]


def echo_reply_sequence(version: int, packet: bytes, nonce: bytes) -> int | None:
    """Which request a received packet answers; None if it is none of ours. IPv4 packets come with their header."""
    offset = (packet[0] & 15) * 4 if version == 4 and packet else 0
    if len(packet) < offset + ECHO_BYTES or packet[offset] != (0 if version == 4 else 129):
        return None
    if packet[offset + 8 : offset + 16] != nonce:
        return None
    return int.from_bytes(packet[offset + 16 : offset + 20], "big")


def internet_checksum(data: bytes) -> int:
    """The checksum of IP, ICMP and UDP (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) & 1)))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def http_request(probe: Probe) -> bytes:
    """A request whose answer ends the connection."""
    host = f"[{probe.target}]" if ":" in probe.target else probe.target
    lines = (f"GET {probe.path} HTTP/1.1", f"Host: {host}:{probe.port}", "User-Agent: trenza", "Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


_HEADING = re.compile(rb"<h1[^>]*>(.*?)</h1>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(rb"<[^>]*>")
MAX_SAID = 60
_LOOKED_AT_BYTES = 2048


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer: its status, and what it said (its first heading, else its first line), to tell servers apart."""

    status: int
    said: str


def read_http_answer(data: bytes, *, ended: bool) -> HttpAnswer | None:
    """The answer in what was received; None while it is not whole. Raises ValueError for what is no HTTP."""
    head, blank, body = data.partition(b"\r\n\r\n")
    first = head.split(b"\r\n", 1)[0]
    if not blank:
        if ended or not b"HTTP/1.".startswith(first[:7]):
            raise ValueError("no HTTP answer")
        return None
    words = first.split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise ValueError("no HTTP answer")
    length = None
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            length = int(value)
    if not ended and (length is None or len(body) < length):
        return None
    begun = body[:_LOOKED_AT_BYTES]  # a hostile page must not keep the search busy
    heading = _HEADING.search(begun)
    text = heading[1] if heading is not None else next((line for line in begun.splitlines() if line.strip()), b"")
    said = " ".join(_TAG.sub(b"", text).decode(errors="replace").split())
    return HttpAnswer(int(words[1]), said[:MAX_SAID])
