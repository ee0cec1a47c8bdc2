"""What people typed: command lines of nodes' shells and of `exec`, with time and status, kept after `down`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from trenza.engine.journal import Journal
from trenza.model.names import NodeName

MAX_LINE = 4096
MAX_BYTES = 4 << 20


class Sessions:
    """A file of JSON lines; what cannot be written is said in the journal."""

    def __init__(self, path: Path, journal: Journal) -> None:
        self._path = path
        self._older = path.with_suffix(".jsonl.1")
        self._journal = journal

    def add(self, node: NodeName, line: str, status: int) -> None:
        """Keep a command line that ended now; of a very long one its beginning, of very many the latest."""
        record = {"time": time.time(), "node": node, "status": status, "line": line[:MAX_LINE]}
        try:
            if self._path.exists() and self._path.stat().st_size > MAX_BYTES:
                self._path.rename(self._older)
            with self._path.open("a", errors="backslashreplace") as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
        except OSError as error:
            self._journal.say("error", node, f"a command line was not recorded: {error.strerror}")

    def lines(self, node: NodeName | None, since_s: float) -> list[dict[str, Any]]:
        """The lines of a node, or of all, since a moment; one that a crash cut is left out."""
        found = []
        texts = [path.read_text(errors="replace") for path in (self._older, self._path) if path.exists()]
        for text in "".join(texts).splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if (node is None or line["node"] == node) and line["time"] >= since_s:
                found.append(line)
        return found
