"""What a host has to give to pods."""

from __future__ import annotations

import os
from typing import Final

MAX_PODS: Final = 110


def capacity() -> dict[str, str]:
    """What a host has to give: the whole machine's, since nothing divides that."""
    memory_kib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024
    return {
        "cpu": str(os.cpu_count() or 1), "memory": f"{memory_kib}Ki", "pods": str(MAX_PODS),
        "ephemeral-storage": f"{memory_kib // 4}Ki", "hugepages-2Mi": "0",
    }  # fmt: skip
