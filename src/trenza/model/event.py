"""Events: what happened in a lab, as the journal keeps it and `trenza events` prints it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `time_s` is seconds since the epoch; `kind` a word to filter by; `text` a sentence."""

    time_s: float
    kind: str
    node: str
    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The event as one JSON object."""
        return {"time": self.time_s, "kind": self.kind, "node": self.node, "text": self.text, **self.fields}
