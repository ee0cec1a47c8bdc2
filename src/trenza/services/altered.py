"""Altered configs: a daemon's config file with one value changed, as somebody might get it wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from trenza.model.services import Apache, Dnsmasq, Haproxy, Keepalived, Service
from trenza.model.state import IpAddress
from trenza.services.daemons import Program, program_of

_DAEMONS: Mapping[str, Callable[[str], Service]] = {
    "keepalived": lambda text: Keepalived(config=text),
    "haproxy": lambda text: Haproxy(config=text),
    "apache": lambda text: Apache(config=text),
    "dnsmasq": lambda text: Dnsmasq(config=text),
}
Nobodys = Callable[[IpAddress], IpAddress | None]
"""An address near another one that nobody has; None where all are taken."""


@dataclass(frozen=True, slots=True)
class Altered:
    """What was changed, in words (`priority 150 → 1`), and the daemon that reads the altered file."""

    words: str
    text: str
    program: Program


def altered(daemon: str, text: str, nobodys: Nobodys) -> Iterator[Altered]:
    """Every value of a config that decides what its daemon does to others, changed one at a time."""
    make = _DAEMONS.get(daemon)
    if make is not None:
        for words, changed in _ALTERATIONS[daemon](text, nobodys):
            yield Altered(words, changed, program_of(make(changed)))


_Changes = Iterator[tuple[str, str]]


def _replaced(text: str, found: re.Match[str], what: str, new: str) -> tuple[str, str]:
    """The words for, and the text with, the last group of a match replaced."""
    start, end = found.span(found.lastindex or 0)
    return f"{what} {text[start:end]} → {new}", text[:start] + new + text[end:]


def _keepalived(text: str, nobodys: Nobodys) -> _Changes:
    """Both ends of the range of priorities: one of them changes who is master."""
    for found in re.finditer(r"^[ \t]*priority[ \t]+(\d+)", text, re.MULTILINE):
        for new in ("1", "254"):
            if new != found[1]:
                yield _replaced(text, found, "priority", new)
    for found in re.finditer(r"^[ \t]*virtual_router_id[ \t]+(\d+)", text, re.MULTILINE):
        yield _replaced(text, found, "virtual_router_id", str(int(found[1]) % 255 + 1))
    for block in re.finditer(r"^[ \t]*virtual_ipaddress[ \t]*\{([^}]*)\}", text, re.MULTILINE):
        for found in re.compile(r"([0-9A-Fa-f:.]+)(?:/\d+)?[^\n]*").finditer(text, block.start(1), block.end(1)):
            yield from _other_address(text, found, "virtual_ipaddress", nobodys)


def _haproxy(text: str, nobodys: Nobodys) -> _Changes:
    for found in re.finditer(r"^[ \t]*server[ \t]+(\S+)[ \t]+([0-9A-Fa-f:.]+)(?=:\d+)", text, re.MULTILINE):
        yield from _other_address(text, found, f"server {found[1]}", nobodys)
    for found in re.finditer(r"^[ \t]*bind[ \t]+\S*:(\d+)", text, re.MULTILINE):
        yield _replaced(text, found, "bind", str(int(found[1]) % 65535 + 1))


def _apache(text: str, nobodys: Nobodys) -> _Changes:
    for found in re.finditer(r"^[ \t]*Listen[ \t]+(?:\S*:)?(\d+)", text, re.MULTILINE | re.IGNORECASE):
        yield _replaced(text, found, "Listen", str(int(found[1]) % 65535 + 1))


def _dnsmasq(text: str, nobodys: Nobodys) -> _Changes:
    """Each of the options that serve somebody, left out."""
    serving = r"^(?:dhcp-range|dhcp-host|dhcp-option|host-record|address|cname|server)=.*\n?"
    for found in re.finditer(serving, text, re.MULTILINE):
        yield f"{found[0].strip()} left out", text[: found.start()] + text[found.end() :]


def _other_address(text: str, found: re.Match[str], what: str, nobodys: Nobodys) -> _Changes:
    try:
        other = nobodys(ip_address(found[found.lastindex or 0]))
    except ValueError:
        return
    if other is not None:
        yield _replaced(text, found, what, str(other))


_ALTERATIONS: Mapping[str, Callable[[str, Nobodys], _Changes]] = {
    "keepalived": _keepalived,
    "haproxy": _haproxy,
    "apache": _apache,
    "dnsmasq": _dnsmasq,
}
