"""Sysctls below `net.`, which belong to network namespaces: read and written from inside one.

`net.ipv4.ip_forward` and `net.ipv6.conf.all.forwarding` are read over netlink: a walk through /proc/sys costs more with
every namespace there is (all have entries of the same names in one hash chain: 20 µs each with 200 of them, 100 with
1000), netlink 5 µs whatever their number.
"""

from __future__ import annotations

import os

from trenza.errors import KernelError
from trenza.linux.netlink import NetlinkSocket, Refusal, attributes
from trenza.linux.rtnetlink import AF_INET, AF_INET6, ask_forwarding

_BY_NETLINK = {"net.ipv4.ip_forward": AF_INET, "net.ipv6.conf.all.forwarding": AF_INET6}
_NETCONFA_FORWARDING = 2


def sysctl_path(name: str) -> str:
    """The file of a sysctl: dots separate words, an interface's own dots are written `/` (sysctl(8)).

    Raises KernelError for a name that is not below `net.`: only those belong to a node.
    """
    if not name.startswith("net.") or "//" in name or ".." in name or "\0" in name:
        raise KernelError(
            f"sysctl {name} does not belong to a network namespace", hint="only net.… can be set in a node"
        )
    return "/proc/sys/" + name.translate(_SWAPPED)


_SWAPPED = str.maketrans("./", "/.")


def write_here(name: str, value: str) -> None:
    """Set a sysctl of the namespace that the calling thread is in. Raises OSError."""
    descriptor = os.open(sysctl_path(name), os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def find_here(name: str) -> str | None:
    """A sysctl of the namespace that the calling thread is in, single blanks between words; None if there is none."""
    try:
        descriptor = os.open(sysctl_path(name), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return " ".join(os.read(descriptor, 4096).decode(errors="replace").split())
    except OSError:
        return None
    finally:
        os.close(descriptor)


def find_by_netlink(sock: NetlinkSocket, name: str) -> str | None:
    """A sysctl that netlink tells, or None if it is not one of those."""
    family = _BY_NETLINK.get(name)
    if family is None:
        return None
    answer = sock.ask(ask_forwarding(family))
    if isinstance(answer, Refusal):
        return None
    value = attributes(answer, 20).get(_NETCONFA_FORWARDING)
    return None if value is None else str(int.from_bytes(value, "little"))
