"""Evidence: what a mark rests on, packed for each student, and chained so that nothing of it changes unnoticed.

Each link of a chain names a member, its digest, and the digest of the link before: whoever changes one has to change
all that follow, and with them the last digest, which the class's report holds and the teacher was shown.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

BUNDLE = "bundle.tar.gz"
CHAIN = "chain.json"
CHECK = "check.json"
DIGEST_BYTES = 32
BEGINNING = "0" * (2 * DIGEST_BYTES)
_UNFIT = re.compile(r"[^\w.-]")


def digest(data: bytes) -> str:
    return blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


@dataclass(frozen=True, slots=True)
class Link:
    """A member, the digest of its bytes, and the digest of the link before."""

    member: str
    blake2b: str
    previous: str

    @property
    def digest(self) -> str:
        return digest(json.dumps([self.previous, self.member, self.blake2b]).encode())

    def as_json(self) -> dict[str, str]:
        return {"member": self.member, "blake2b": self.blake2b, "previous": self.previous}


def chained(digests: Iterable[tuple[str, str]]) -> tuple[Link, ...]:
    """The links of members in their order, out of their names and digests."""
    links: list[Link] = []
    for member, of_bytes in digests:
        links.append(Link(member, of_bytes, links[-1].digest if links else BEGINNING))
    return tuple(links)


def last_digest(links: tuple[Link, ...]) -> str:
    return links[-1].digest if links else BEGINNING


def chain_text(links: tuple[Link, ...]) -> bytes:
    """A chain as it is written to a file."""
    return as_text({"version": 1, "chain": [link.as_json() for link in links], "digest": last_digest(links)})


def read_chain(text: bytes) -> tuple[tuple[Link, ...], str]:
    """A chain's links and last digest as a file says them. Raises ValueError for what is no chain."""
    said = json.loads(text)
    try:
        links = tuple(Link(str(one["member"]), str(one["blake2b"]), str(one["previous"])) for one in said["chain"])
        return links, str(said["digest"])
    except (KeyError, TypeError) as error:
        raise ValueError("no chain") from error


def as_text(value: object) -> bytes:
    """JSON the same way every time, for people too."""
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode(errors="backslashreplace")


def without_frames(check: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What `check` said with its captures taken out, and the captures as members of a bundle."""
    said: dict[str, Any] = json.loads(json.dumps(check))
    captures: dict[str, bytes] = {}
    for one in (one for checkpoint in said["checkpoints"] for one in checkpoint["checks"]):
        for number, frame in enumerate((one.get("evidence") or {}).get("frames") or (), 1):
            name = _UNFIT.sub("-", str(frame.get("name") or f"{number}.pcapng"))[-80:].lstrip(".-")
            member = f"frames/{_UNFIT.sub('-', one['id'])}/{number}-{name}"
            captures[member] = base64.b64decode(frame.pop("data", ""))
            frame["member"] = member
    return said, captures


def packed(members: Mapping[str, bytes]) -> bytes:
    """A tar.gz of the members; the same bytes for the same members."""
    inside = io.BytesIO()
    with tarfile.open(fileobj=inside, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(data))
    return gzip.compress(inside.getvalue(), compresslevel=6, mtime=0)
