"""Words of `nft -j`: expressions and statements as the JSON that libnftables reads (libnftables-json(5))."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network
from typing import Any, Final

Expression = Any
Statement = dict[str, Any]
Command = dict[str, Any]

RETURN: Final[Statement] = {"return": None}
REJECT: Final[Statement] = {"reject": None}
DROP: Final[Statement] = {"drop": None}


def payload(protocol: str, field: str) -> Expression:
    return {"payload": {"protocol": protocol, "field": field}}


def meta(key: str) -> Expression:
    return {"meta": {"key": key}}


def prefix(network: IPv4Network) -> Expression:
    return {"prefix": {"addr": str(network.network_address), "len": network.prefixlen}}


def concat(*parts: Expression) -> Expression:
    return {"concat": list(parts)}


def match(left: Expression, right: Expression, operator: str = "==") -> Statement:
    return {"match": {"op": operator, "left": left, "right": right}}


def jump(chain: str) -> Statement:
    return {"jump": {"target": chain}}


def goto(chain: str) -> Statement:
    return {"goto": {"target": chain}}


def verdicts(key: Expression, data: Expression) -> Statement:
    """`key vmap data`."""
    return {"vmap": {"key": key, "data": data}}


def mapping(pairs: Iterable[tuple[Expression, Statement]]) -> Expression:
    """An anonymous verdict map."""
    return {"set": [[key, verdict] for key, verdict in pairs]}


def rule(table: str, chain: str, statements: Sequence[Statement]) -> Command:
    """The command that adds a rule at the end of a chain."""
    return {"add": {"rule": {"family": "ip", "table": table, "chain": chain, "expr": list(statements)}}}
