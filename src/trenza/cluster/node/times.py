"""Times as Kubernetes writes them, and seconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime


def seconds_of(text: str) -> float:
    """Of `2026-11-26T15:00:00Z`, with or without a fraction. Raises ValueError for anything else."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def time_of(seconds: float) -> str:
    """To the second, as in most fields."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_time_of(seconds: float) -> str:
    """To the microsecond, as leases have it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
