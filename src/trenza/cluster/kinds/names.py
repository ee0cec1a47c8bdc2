"""Names, uids, times and versions as Kubernetes writes them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from random import Random

NAME_BYTES = 63
_GENERATED_BYTES = 5
# Vowels and look-alikes are left out, as Kubernetes does: no word comes out by chance.
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def generated_name(prefix: str, random: Random) -> str:
    """`generateName` made whole: `web-` becomes `web-x7k2p`, at most 63 bytes."""
    suffix = "".join(random.choice(ALPHABET) for _ in range(_GENERATED_BYTES))
    return prefix[: NAME_BYTES - _GENERATED_BYTES] + suffix


def new_uid(random: Random) -> str:
    """A version 4 UUID drawn from `random`."""
    return str(uuid.UUID(int=random.getrandbits(128), version=4))


def resource_version(revision: int) -> str:
    """The text of a store's revision, as `metadata.resourceVersion` holds it."""
    return str(revision)


def timestamp(now_s: float) -> str:
    """`2026-11-21T12:57:17Z`: seconds since 1970 as metav1.Time writes them."""
    return datetime.fromtimestamp(int(now_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp(now_s: float) -> str:
    """`2026-11-21T12:57:17.123456Z`: seconds since 1970 as metav1.MicroTime writes them."""
    return datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_of(text: str) -> float | None:
    """Seconds since 1970 of a time as RFC 3339 writes it, or None where it is none."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None
