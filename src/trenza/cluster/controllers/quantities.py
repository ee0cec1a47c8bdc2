"""Amounts of resources as Kubernetes writes them (`100m`, `1.5Gi`, `2e3`), as exact integers of a thousandth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from trenza.cluster.kinds.quantities import amount_of


@lru_cache(maxsize=4096)
def thousandths(text: str) -> int:
    """How many thousandths of the unit (a CPU, a byte, a piece) `text` says, rounded up as Kubernetes rounds.

    Raises ValueError for what is no quantity.
    """
    return math.ceil(amount_of(text) * 1000)


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
