"""States as plain data, and plain data as states: what JSON can hold, and nothing that a stranger's JSON could harm.

A thing is an object with its type's name under `is` and its fields; a field that has its default may be left out.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Any

from trenza.model import state
from trenza.model.state import State, Thing

_THINGS: Mapping[str, type[Any]] = {kind.__name__: kind for kind in typing.get_args(Thing)}
_MAX_NUMBER = 1 << 64
_ADDRESSES: Mapping[Any, Callable[[str], Any]] = {
    IPv4Address: ip_address, IPv6Address: ip_address, IPv4Interface: ip_interface, IPv6Interface: ip_interface,
    IPv4Network: ip_network, IPv6Network: ip_network,
}  # fmt: skip


def plain_state(given: State) -> list[dict[str, Any]]:
    """The things of a state in the order of their keys; what takes no part in their equality is not there."""
    return [{"is": type(thing).__name__, **_plain(thing)} for _, thing in sorted(given.things.items())]


def state_of_plain(data: object) -> State:
    """The state that `plain_state` wrote. Raises ValueError for everything that it would not write."""
    things: list[Thing] = []
    for item in _list(data):
        if not isinstance(item, dict) or item.get("is") not in _THINGS:
            raise ValueError("a thing of no known kind")
        things.append(_made(_THINGS[item["is"]], {name: value for name, value in item.items() if name != "is"}))
    return State.of(things)


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        return {
            one.name: _plain(part)
            for one in fields(value)
            if one.compare and (part := getattr(value, one.name)) != one.default
        }
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(kind, vars(state))


def _made(kind: type[Any], data: object) -> Any:
    if not isinstance(data, dict):
        raise ValueError(f"no {kind.__name__}")
    known = {one.name: one for one in fields(kind) if one.compare}
    if not data.keys() <= known.keys():
        raise ValueError(f"a {kind.__name__} has no {', '.join(sorted(map(str, data.keys() - known.keys())))}")
    missing = [name for name, one in known.items() if name not in data and not _has_default(one)]
    if missing:
        raise ValueError(f"a {kind.__name__} without {', '.join(missing)}")
    hints = _hints(kind)  # type: ignore[arg-type]  # mypy takes a type's own hash for the instances'
    return kind(**{name: _value(hints[name], value) for name, value in data.items()})


def _has_default(one: Field[Any]) -> bool:
    return one.default is not MISSING or one.default_factory is not MISSING


def _value(hint: Any, value: object) -> Any:
    """A value as its annotation wants it, or ValueError."""
    if isinstance(hint, typing.NewType):
        hint = hint.__supertype__
    if hint in (str, bool):
        if type(value) is not hint:
            raise ValueError(f"{value!r} is no {hint.__name__}")
        return value
    if hint in (int, float):
        fits = type(value) is int or (hint is float and type(value) is float)
        if not fits or not abs(value) < _MAX_NUMBER:  # type: ignore[arg-type]  # NaN fails here too
            raise ValueError("a number that is none, or too large")
        return value
    if typing.get_origin(hint) in (types.UnionType, typing.Union):  # of a NewType and None it is the latter
        return _one_of(hint, value)
    if typing.get_origin(hint) is tuple:
        return _tuple(typing.get_args(hint), value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    return _made(hint, value)


def _one_of(hint: Any, value: object) -> Any:
    """Of an optional the value or None; of a choice of addresses the address."""
    choices = typing.get_args(hint)
    if value is None and type(None) in choices:
        return None
    left = [choice for choice in choices if choice is not type(None)]
    if left[0] not in _ADDRESSES:
        return _value(left[0], value)
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no address")
    return _ADDRESSES[left[0]](value)


def _tuple(kinds: tuple[Any, ...], value: object) -> tuple[Any, ...]:
    items = _list(value)
    if len(kinds) == 2 and kinds[1] is ...:
        return tuple(_value(kinds[0], item) for item in items)
    if len(items) != len(kinds):
        raise ValueError(f"{len(items)} values instead of {len(kinds)}")
    return tuple(_value(kind, item) for kind, item in zip(kinds, items, strict=True))


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("no list")
    return value
