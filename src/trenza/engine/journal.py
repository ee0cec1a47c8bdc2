"""The journal: every event of a lab as a line of JSON, kept after `down`, and whoever listens hears it live."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trenza.model.event import Event

MAX_BYTES = 16 << 20


class Journal:
    """Appends to `path`; past 16 MiB the older half becomes `path.1`. A full disk loses lines, not the lab."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._listeners: list[Callable[[Event], None]] = []
        self.lost = 0
        """Events that could not be written (disk full)."""

    def say(self, kind: str, node: str, text: str, **fields: Any) -> Event:
        """Record an event that happens now."""
        event = Event(time.time(), kind, node, text, fields)
        try:
            if self._path.exists() and self._path.stat().st_size > MAX_BYTES:
                self._path.rename(self._path.with_suffix(".jsonl.1"))
            with self._path.open("a", errors="backslashreplace") as file:
                file.write(json.dumps(event.as_json(), ensure_ascii=False) + "\n")
        except OSError:
            self.lost += 1
        for listener in tuple(self._listeners):
            listener(event)
        return event

    def past(self) -> list[dict[str, Any]]:
        """All events on disk, oldest first; a line cut by a crash is left out."""
        events: list[dict[str, Any]] = []
        for path in (self._path.with_suffix(".jsonl.1"), self._path):
            if not path.exists():
                continue
            for line in path.read_text(errors="replace").splitlines():
                try:
                    events.append(json.loads(line))
                except ValueError:
                    continue
        return events

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Hear every event from now on; call what is returned to stop."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)
