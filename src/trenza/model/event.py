"""Events: what happened in a lab, as the journal keeps it and `trenza events` prints it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `time_s` is seconds since the epoch; `kind` a word to filter by; `text` a sentence.

    Its Spanish, where it has one, is the field `es`.
    """

    time_s: float
    kind: str
    node: str
    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    def said(self, language: str) -> str:
        """The sentence in a language, if it was said in that too (a field `es`); else as it was said."""
        return str(self.fields.get(language) or self.text)

    def as_json(self) -> dict[str, Any]:
        """The event as one JSON object."""
        return {"time": self.time_s, "kind": self.kind, "node": self.node, "text": self.text, **self.fields}
