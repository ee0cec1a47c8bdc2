"""What people did: command lines of nodes' shells and of `exec`, and nodes started, stopped or broken from outside.

Each with time and status, kept after `down`. A line knows when it began and in which shell, what was done from outside
is an `action`: a request to the keeper that does it again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trenza.engine.journal import Journal
from trenza.model.names import NodeName

MAX_LINE = 1 << 18
"""Characters: a line may hold a file (`cat > FILE <<END`), and what a shell is given as its input counts as one."""

MAX_BYTES = 4 << 20


class Sessions:
    """A file of JSON lines; what cannot be written is said in the journal."""

    def __init__(self, path: Path, journal: Journal) -> None:
        self._path = path
        self._older = path.with_suffix(".jsonl.1")
        self._journal = journal

    def add(self, node: NodeName, line: str, status: int, *, began_s: float | None = None, **more: Any) -> None:
        """Keep a command line that ended now; of a very long one its beginning, of very many the latest."""
        now = time.time()
        record = {"time": now, "node": node, "status": status, "line": line[:MAX_LINE]}
        if len(line) > MAX_LINE:
            more["cut"] = True
        self._append({**record, "began": now if began_s is None else began_s, **more})

    def act(self, node: str, line: str, request: Mapping[str, Any]) -> None:
        """Keep what was done from outside the nodes: the command in words, and the request that does it again."""
        now = time.time()
        self._append({"time": now, "node": node, "status": 0, "line": line, "began": now, "action": dict(request)})

    def extend(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Keep records that were read elsewhere."""
        for record in records:
            self._append(record)

    def _append(self, record: Mapping[str, Any]) -> None:
        try:
            if self._path.exists() and self._path.stat().st_size > MAX_BYTES:
                self._path.rename(self._older)
            with self._path.open("a", errors="backslashreplace") as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
        except OSError as error:
            self._journal.say("error", record["node"], f"a command line was not recorded: {error.strerror}")

    def lines(self, node: NodeName | None, since_s: float, *, actions: bool = False) -> list[dict[str, Any]]:
        """The lines of a node, or of all, since a moment, with actions or not; one that a crash cut is left out."""
        found = []
        texts = [path.read_text(errors="replace") for path in (self._older, self._path) if path.exists()]
        for text in "".join(texts).splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if (node is None or line["node"] == node) and line["time"] >= since_s and (actions or "action" not in line):
                found.append(line)
        return found
