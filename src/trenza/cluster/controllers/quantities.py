"""Amounts of resources as Kubernetes writes them (`100m`, `1.5Gi`, `2e3`), as exact integers of a thousandth."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Any

_WRITTEN = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)")
_SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1), "k": Decimal(10**3),
    **{letter: Decimal(1000 ** (power + 2)) for power, letter in enumerate("MGTPE")},
    **{f"{letter}i": Decimal(1024 ** (power + 1)) for power, letter in enumerate("KMGTPE")},
}  # fmt: skip


@lru_cache(maxsize=4096)
def thousandths(text: str) -> int:
    """How many thousandths of the unit (a CPU, a byte, a piece) `text` says, rounded up as Kubernetes rounds.

    Raises ValueError for what is no quantity.
    """
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a quantity")
    number, exponent, suffix = found.groups()
    scale = Decimal(10) ** int(exponent) if exponent else _SUFFIXES[suffix or ""]
    return int((Decimal(number) * scale * 1000).to_integral_value(ROUND_CEILING))


def amounts(quantities: Mapping[str, Any] | None) -> dict[str, int]:
    """A ResourceList in thousandths; what is no quantity counts as nothing (validation refuses it earlier)."""
    found = {}
    for resource, text in (quantities or {}).items():
        try:
            found[resource] = thousandths(str(text))
        except ValueError:
            continue
    return found


def total(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in parts:
        for resource, amount in part.items():
            found[resource] = found.get(resource, 0) + amount
    return found


def pod_requests(pod_spec: Mapping[str, Any]) -> dict[str, int]:
    """What a pod asks of its node: its containers together, or its hungriest init container if that is more."""

    def requests(container: Mapping[str, Any]) -> dict[str, int]:
        resources = container.get("resources") or {}
        return {**amounts(resources.get("limits")), **amounts(resources.get("requests"))}

    wanted = total(requests(container) for container in pod_spec.get("containers") or ())
    sidecars: dict[str, int] = {}
    for container in pod_spec.get("initContainers") or ():
        alone = total((sidecars, requests(container)))
        if container.get("restartPolicy") == "Always":
            sidecars = alone
        for resource, amount in alone.items():
            wanted[resource] = max(wanted.get(resource, 0), amount)
    return total((wanted, amounts(pod_spec.get("overhead"))))
