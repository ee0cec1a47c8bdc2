"""How long ago, as kubectl writes it: `45s`, `3m20s`, `5h`, `3d4h`, `2y10d`."""

from __future__ import annotations

from trenza.cluster.kinds.names import seconds_of

UNKNOWN = "<unknown>"


def duration_text(seconds: float) -> str:
    """A length of time in at most two units (k8s.io/apimachinery/pkg/util/duration, HumanDuration)."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 120:
        return f"{whole}s"
    minutes, hours = whole // 60, whole // 3600
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def age(timestamp: str | None, now_s: float) -> str:
    """How long ago a time was, `<unknown>` where none is given."""
    moment = seconds_of(timestamp) if timestamp else None
    return UNKNOWN if moment is None else duration_text(now_s - moment)


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}" + (f"{small}{small_unit}" if small else "")
