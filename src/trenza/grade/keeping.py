"""Results on disk: written whole or not at all, and found again by what they were made of."""

from __future__ import annotations

import json
import os
from hashlib import blake2b
from pathlib import Path
from typing import Any

from trenza.grade.evidence import as_text
from trenza.grade.marks import Checked, Outcome, Result, Student

RESULT = "result.json"
TRIED = "tried.json"
"""A result that may not stand: it is not known yet whether those beside it behaved."""


def key_of(**parts: str | bytes | None) -> str:
    """What a result depends on, as one digest; a part that is missing differs from one that is empty."""
    hashed = blake2b(digest_size=32, person=b"trenza result")
    for name, part in sorted(parts.items()):
        data = part.encode() if isinstance(part, str) else part
        hashed.update(json.dumps([name, None if data is None else len(data)]).encode())
        hashed.update(data or b"")
    return hashed.hexdigest()


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file so that whoever is killed meanwhile, or loses power, leaves the old one or the new one."""
    temporary = path.with_name(f".{path.name}.new")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def keep(path: Path, key: str, result: Result, timeout_s: float) -> None:
    """Write a result down under its key."""
    said: dict[str, Any] = {
        "version": 1,
        "key": key,
        "timeout_s": timeout_s,
        "outcome": result.outcome.value,
        "reason": result.reason,
        "notes": list(result.notes),
        "streams": {name: list(lines) for name, lines in result.streams.items()},
        "seconds": result.seconds,
        "digest": result.digest,
        "check": None if result.checked is None else result.checked.said,
    }
    write_whole(path, as_text(said))


def confirm(directory: Path) -> None:
    """Let what was tried stand as the result."""
    (directory / TRIED).replace(directory / RESULT)


def find_kept(path: Path, key: str, student: Student, timeout_s: float) -> Result | None:
    """The result that was kept under this key; None if there is none, and for what more time may change."""
    try:
        said = json.loads(path.read_bytes())
        outcome = Outcome(said["outcome"])
        if said["key"] != key or outcome is Outcome.UNGRADED:
            return None
        if outcome is Outcome.ENDED and timeout_s > said["timeout_s"]:
            return None
        return Result(
            student, outcome, said["reason"], None if said["check"] is None else Checked.of(said["check"]),
            tuple(said["notes"]), {name: tuple(lines) for name, lines in said["streams"].items()},
            said["seconds"], said["digest"],
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
