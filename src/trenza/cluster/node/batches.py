"""A change of rules in transactions that the kernel takes from an ordinary user, with no Service half in any of them.

nft asks for a larger netlink buffer as only the machine's root may have it (SO_SNDBUFFORCE), so that a transaction is
refused (EMSGSIZE) beyond what sockets have from the start, net.core.wmem_default: 212,992 bytes unless somebody changed
it. Commands in netlink are 0.8 to 1.12 times as long as in JSON (measured with nft 1.0.6).
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator, Sequence

from trenza.cluster.node.nft import Command
from trenza.cluster.node.proxy import Owner, Ruleset, differing, replacement, ruleset, update
from trenza.linux.netlink import NETLINK_NETFILTER

_SHARE = 0.8


def most_bytes() -> int:
    """How long the commands of one transaction may be in JSON."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as sock:
        return int(_SHARE * sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF))


def batches(held: Ruleset | None, wanted: Ruleset, limit_bytes: int) -> Iterator[list[Command]]:
    """The commands that make the table of `held` (None: whatever is there) that of `wanted`, in transactions.

    One if that is not too long; else in each of them Services are whole: who sends to one meets the old rules or the
    new. Only what is too long by itself is cut, a Service of which hundreds of endpoints change.
    """
    if held is not None and held.network == wanted.network:
        whole, bare, begin = update(held, wanted), held, []
    else:
        bare = ruleset(wanted.network, {})
        whole, begin = replacement(wanted), [replacement(bare)]
    return _packed([whole] if _size_bytes(whole) <= limit_bytes else [*begin, *_by_service(bare, wanted)], limit_bytes)


def _packed(pieces: Iterable[list[Command]], limit_bytes: int) -> Iterator[list[Command]]:
    batch: list[Command] = []
    left_bytes = limit_bytes
    for piece in pieces:
        fits = _size_bytes(piece) <= limit_bytes
        for part in [piece] if fits else [[command] for command in piece]:
            size_bytes = _size_bytes(part)
            if size_bytes > left_bytes and batch:
                yield batch
                batch, left_bytes = [], limit_bytes
            batch += part
            left_bytes -= size_bytes
    if batch:
        yield batch


def _by_service(held: Ruleset, wanted: Ruleset) -> list[list[Command]]:
    """What `update` says, of each Service by itself; of those together that give elements to each other."""
    group_of: dict[Owner, list[Owner]] = {}
    for owner in differing(held, wanted):
        group_of[owner] = [owner]
        for rules in (held, wanted):
            for key in rules.parts[owner].elements if owner in rules.parts else ():
                for other in {*held.wishes.get(key, ()), *wanted.wishes.get(key, ())}:
                    met, own = group_of.get(other), group_of[owner]
                    if met is not None and met is not own:
                        met += own
                        group_of.update(dict.fromkeys(own, met))
    groups = {id(group): group for group in group_of.values()}
    return [update(held, wanted, group) for group in groups.values()]


def _size_bytes(commands: Sequence[Command]) -> int:
    return len(json.dumps(commands, separators=(",", ":")))
