"""Verification: whether the results of a class are what was written when it was graded, and if not, what changed."""

from __future__ import annotations

import gzip
import json
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import blake2b
from pathlib import Path
from typing import Any

from trenza.errors import UsageError
from trenza.grade.evidence import (
    BUNDLE,
    CHAIN,
    CHECK,
    DIGEST_BYTES,
    Link,
    chained,
    digest,
    last_digest,
    read_chain,
)
from trenza.grade.report import rounded

SEAL = "seal.json"
REPORT = "report.json"


class Change(StrEnum):
    ALTERED = "altered"
    MISSING = "missing"
    ADDED = "added"
    UNREADABLE = "unreadable"
    MARK = "mark"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was: `MARK` is a mark in the report that the evidence does not give."""

    path: str
    change: Change


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found, and the class's digest as its files give it now: compare it with the one that was told then."""

    findings: tuple[Finding, ...]
    digest: str
    students: int


def verify(out: Path) -> Verified:
    """Look at every chain below a directory of results. Raises UsageError if it is none."""
    try:
        links, said = read_chain((out / SEAL).read_bytes())
    except FileNotFoundError:
        raise UsageError(
            f"{out} holds no results of a class",
            hint=f"there is no {SEAL} in it: grade it, or go on with what was stopped",
        ) from None
    except (OSError, ValueError):
        return Verified((Finding(SEAL, Change.UNREADABLE),), "", 0)
    findings: list[Finding] = []
    now: list[tuple[str, str]] = []
    for link in links:
        found = _digest_of_file(out / link.member)
        now.append((link.member, found or ""))
        if found != link.blake2b:
            findings.append(Finding(link.member, Change.MISSING if found is None else Change.ALTERED))
    if chained((link.member, link.blake2b) for link in links) != links or last_digest(links) != said:
        findings.append(Finding(SEAL, Change.ALTERED))
    report = _json(out / REPORT)
    students = report.get("students")
    students = students if isinstance(students, list) else []
    for student in students:
        directory, sealed = str(student.get("directory")), str(student.get("digest") or "")
        if "/" in directory or directory.startswith("."):
            findings.append(Finding(REPORT, Change.ALTERED))
        elif sealed:  # else nothing was run for her, and nothing kept
            for one in student_findings(out, directory, sealed, student.get("points")):
                findings.append(
                    replace(one, path=f"{REPORT}: {student.get('name')}") if one.change is Change.MARK else one
                )
    return Verified(tuple(dict.fromkeys(findings)), last_digest(chained(now)), len(students))


def student_findings(out: Path, directory: str, sealed: str, points: float | None) -> Iterator[Finding]:
    """What of a student's evidence is not as it was, by the last digest of its chain, and by the points it gives."""
    chain_path, bundle_path = f"{directory}/{CHAIN}", f"{directory}/{BUNDLE}"
    try:
        links, _ = read_chain((out / chain_path).read_bytes())
    except FileNotFoundError:
        yield Finding(chain_path, Change.MISSING)
        return
    except (OSError, ValueError):
        yield Finding(chain_path, Change.UNREADABLE)
        return
    if chained((link.member, link.blake2b) for link in links) != links or last_digest(links) != sealed:
        yield Finding(chain_path, Change.ALTERED)
    yield from _bundle_findings(out / bundle_path, bundle_path, links)
    check = _check_of(out / bundle_path)
    if check is not None and rounded(check.get("points")) != rounded(points):
        yield Finding(directory, Change.MARK)


def _bundle_findings(path: Path, shown: str, links: tuple[Link, ...]) -> Iterator[Finding]:
    try:
        found = dict(_digests_of_bundle(path))
    except FileNotFoundError:
        yield Finding(shown, Change.MISSING)
        return
    except (OSError, tarfile.TarError, EOFError, zlib.error):
        yield Finding(shown, Change.UNREADABLE)
        return
    for link in links:
        now = found.pop(link.member, None)
        if now != link.blake2b:
            yield Finding(f"{shown}: {link.member}", Change.MISSING if now is None else Change.ALTERED)
    for member in found:
        yield Finding(f"{shown}: {member}", Change.ADDED)


def _digests_of_bundle(path: Path) -> Iterator[tuple[str, str]]:
    with gzip.open(path) as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
        for entry in archive:
            file = archive.extractfile(entry) if entry.isreg() else None
            hashed = blake2b(digest_size=DIGEST_BYTES)
            while file is not None and (data := file.read(1 << 20)):
                hashed.update(data)
            yield entry.name, hashed.hexdigest() if file is not None else ""


def _check_of(path: Path) -> Mapping[str, Any] | None:
    try:
        with gzip.open(path) as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
            for entry in archive:
                if entry.name == CHECK and (file := archive.extractfile(entry)) is not None:
                    said = json.load(file)
                    return said if isinstance(said, dict) else None
    except (OSError, tarfile.TarError, EOFError, zlib.error, ValueError):
        pass
    return None


def _digest_of_file(path: Path) -> str | None:
    try:
        return digest(path.read_bytes())
    except OSError:
        return None


def _json(path: Path) -> Mapping[str, Any]:
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
