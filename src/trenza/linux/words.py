"""Operations and refusals in words, for the sentence in front of an errno."""

from __future__ import annotations

import errno
import os
from typing import assert_never

from trenza.errors import KernelError
from trenza.model.state import (
    Address,
    Bridge,
    FdbEntry,
    File,
    Loopback,
    Macvlan,
    Neighbour,
    Node,
    OtherLink,
    Process,
    Route,
    RouteType,
    Sysctl,
    Thing,
    Veth,
    Vxlan,
)
from trenza.plan.operations import Change, Create, Operation, Remove

_HINTS = {
    errno.EPERM: "the network namespace belongs to a user namespace that this process has no rights in",
    errno.EEXIST: "there is one already, and it did not go away",
    errno.ENETUNREACH: "the next hop lies in no subnet of an interface that is up",
    errno.EHOSTUNREACH: "the next hop lies in no subnet of this interface; `onlink: true` insists",
    errno.ENETDOWN: "the interface is down",
    errno.ERANGE: "the kernel takes a hello time of 1–10 s, a max age of 6–40 s, with STP a forward delay of 2–30 s",
    errno.EXFULL: "a bridge takes 1023 ports",
    errno.ELOOP: "a bridge cannot be a port of itself or of its own port",
    errno.EADDRINUSE: "another interface of this node uses that VNI and port, or that address",
}


def operation_words(operation: Operation) -> str:
    """The operation as the end of a sentence that begins with "could not"."""
    match operation:
        case Create(thing):
            return f"make {thing_words(thing)}"
        case Change(_, new):
            return f"change {thing_words(new)}"
        case Remove(thing):
            return f"remove {thing_words(thing)}"
        case _:
            assert_never(operation)


def thing_words(thing: Thing) -> str:
    """The thing's kind and name."""
    match thing:
        case Node():
            return f"{thing.kind} {thing.name}"
        case Veth(a, b):
            return f"veth {a.interface} – {b.interface}"
        case Loopback() | OtherLink():
            return f"interface {thing.interface}"
        case Bridge():
            return f"bridge {thing.interface}"
        case Vxlan():
            return f"vxlan {thing.interface} (VNI {thing.vni})"
        case Macvlan():
            return f"macvlan {thing.interface} over {thing.parent}"
        case Address():
            return f"address {thing.address} of {thing.interface}"
        case Route():
            kind = "" if thing.type is RouteType.UNICAST else f"{thing.type} "
            via = "" if thing.via is None else f" via {thing.via}"
            dev = "" if thing.dev is None else f" dev {thing.dev}"
            return f"{kind}route to {thing.to}{via}{dev} in {thing.node}"
        case Neighbour():
            return f"neighbour {thing.ip} ({thing.mac}) of {thing.interface}"
        case FdbEntry():
            where = "" if thing.destination is None else f" towards {thing.destination}"
            return f"forwarding entry {thing.mac}{where} of {thing.interface}"
        case Sysctl():
            return f"sysctl {thing.name} = {thing.value} in {thing.node}"
        case File():
            return f"file {thing.path} in {thing.node}"
        case Process():
            return f"service {thing.name} in {thing.node}"
        case _:
            assert_never(thing)


def refused(operation: Operation, number: int, text: str = "") -> KernelError:
    """The error of an operation that the kernel refused with an errno, and perhaps with words of its own."""
    reason = os.strerror(number) if not text else f"{text} ({os.strerror(number)})"
    hint = _HINTS.get(number)
    if number == errno.EOPNOTSUPP and isinstance(operation, Create):
        hint = f"this kernel may lack support for it: `trenza doctor` looks ({type(operation.thing).__name__.lower()})"
    return KernelError(f"could not {operation_words(operation)}: {reason}", errno=number, hint=hint)
