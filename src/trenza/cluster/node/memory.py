"""Memory limits of containers, held by looking: an ordinary user has no cgroups with which the kernel would hold them.

Counted is what a cgroup would mostly count, memory without a file behind it: anonymous and shared, each page once
however many processes of the container have it. A container that takes more between two looks has had it until then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import Any, Final

from trenza.cluster.kinds.quantities import amount_of

LOOK_S: Final = 0.5
_COUNTED: Final = (b"Pss_Anon:", b"Pss_Shmem:")


def find_limit(container: dict[str, Any]) -> int | None:
    """How many bytes a container may have; None without a limit."""
    text = ((container.get("resources") or {}).get("limits") or {}).get("memory")
    return None if text is None else ceil(amount_of(str(text)))


async def exceeded(init: int, limit_bytes: int) -> None:
    """Returns once the processes of a container, those below its init, have more than the limit."""
    while memory_bytes(init) <= limit_bytes:
        await asyncio.sleep(LOOK_S)


def memory_bytes(init: int) -> int:
    """What a process and those below it have now; one that goes meanwhile counts nothing."""
    return 1024 * sum(_memory_kib(pid) for pid in _tree(init))


def _tree(pid: int) -> Iterator[int]:
    yield pid
    children: list[str] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                children += (task / "children").read_text().split()
    for child in children:
        yield from _tree(int(child))


def _memory_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(_COUNTED))
