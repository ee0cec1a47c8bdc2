"""What people typed: command lines of nodes' shells and of `exec`, with time and status, kept after `down`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from trenza.engine.journal import Journal
from trenza.model.names import NodeName


class Sessions:
    """A file of JSON lines; what cannot be written is said in the journal."""

    def __init__(self, path: Path, journal: Journal) -> None:
        self._path = path
        self._journal = journal

    def add(self, node: NodeName, line: str, status: int) -> None:
        """Keep a command line that ended now."""
        record = {"time": time.time(), "node": node, "status": status, "line": line}
        try:
            with self._path.open("a") as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
        except OSError as error:
            self._journal.say("error", node, f"a command line was not recorded: {error.strerror}")

    def lines(self, node: NodeName | None, since_s: float) -> list[dict[str, Any]]:
        """The lines of a node, or of all, since a moment; one that a crash cut is left out."""
        if not self._path.exists():
            return []
        found = []
        for text in self._path.read_text(errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if (node is None or line["node"] == node) and line["time"] >= since_s:
                found.append(line)
        return found
