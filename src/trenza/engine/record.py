"""What must outlive a keeper: which lab this is, how it was started, what people launched, how often services died."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from trenza.errors import KeeperError


class Mode(StrEnum):
    """FULL labs are as the file says, everything extra goes; in START and UNTIL labs the person's work is hers.

    TRIAL ones are nobody's: they begin like START ones and become what they are told (`Engine.become`).
    """

    FULL = "full"
    START = "start"
    UNTIL = "until"
    TRIAL = "trial"

    @property
    def is_somebodys(self) -> bool:
        """Whether somebody builds the solution in it."""
        return self in (Mode.START, Mode.UNTIL)


@dataclass(slots=True)
class Record:
    """One running lab. `source` is the lab file's bytes, `file` its path, `shown` that path as it was typed."""

    lab: str
    source: bytes
    file: str
    shown: str
    directory: str
    mode: Mode
    language: str = "en"
    profile: str | None = None
    parameters: dict[str, str] = field(default_factory=dict)
    variants: list[str] = field(default_factory=list)
    until: str | None = None
    has_etcd: bool = True
    """Whether the machine had etcd when the lab was born: it keeps the store that it was born with."""
    files: dict[str, str] = field(default_factory=dict)
    """What the files that the lab takes from its directory held when they were read: base64 by name."""
    launched: dict[str, str] = field(default_factory=dict)
    """Containers launched by hand: full name to host."""
    restarts: dict[str, int] = field(default_factory=dict)
    """How often a service (`node name`) was restarted."""
    began_s: float = 0.0
    nat: list[str] = field(default_factory=list)
    """What its uplinks may reach, as the person who runs it allowed (`trenza.linux.uplink_filter.GRANTS`)."""
    forwards: list[dict[str, Any]] = field(default_factory=list)
    """Ports of the machine that lead into it, as `trenza.keeper.forwarding` writes them."""
    faults: list[dict[str, Any]] = field(default_factory=list)
    """The faults in effect, as `trenza.engine.faults` writes them."""

    latches: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Checkpoints that passed, by name: when, and what they ask (a digest), so that a changed one is asked anew."""

    def save(self, path: Path) -> None:
        """Write it whole or not at all; raises KeeperError."""
        fields: dict[str, Any] = asdict(self)
        fields["source"] = base64.b64encode(self.source).decode()
        temporary = path.with_suffix(".new")
        try:
            temporary.write_text(json.dumps(fields))
            temporary.rename(path)
        except OSError as error:
            raise KeeperError(f"cannot write down how the lab is: {error.strerror}") from error

    @staticmethod
    def load(path: Path) -> Record | None:
        """The record at `path`, or None if nothing was ever built."""
        try:
            fields = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        fields["source"] = base64.b64decode(fields["source"])
        fields["mode"] = Mode(fields["mode"])
        return Record(**fields)
