"""What an agent writes down of each pod, so that the next one knows the pods that go on without it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trenza.cluster.api import Object
from trenza.cluster.node.containers import write_whole
from trenza.cluster.node.pods import Run, Seen
from trenza.cluster.node.probing import Health, Tally


@dataclass(frozen=True, slots=True)
class Record:
    """A pod as asked for when it was last heard of, and as seen."""

    pod: Object
    seen: Seen
    said: frozenset[str]


class Records:
    """One file a pod in a directory that no node sees."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def save(self, record: Record) -> None:
        value = {"pod": record.pod, "seen": dataclasses.asdict(record.seen), "said": sorted(record.said)}
        write_whole(self._file(record.pod["metadata"]["uid"]), json.dumps(value))

    def forget(self, uid: str) -> None:
        self._file(uid).unlink(missing_ok=True)

    def load(self) -> Iterator[Record]:
        """All of them; what cannot be read is passed over."""
        for file in sorted(self._directory.glob("*.json")):
            try:
                value = json.loads(file.read_text())
                yield Record(value["pod"], _seen(value["seen"]), frozenset(value["said"]))
            except (OSError, ValueError, KeyError, TypeError):
                continue

    def _file(self, uid: str) -> Path:
        return self._directory / f"{uid.replace('/', '_')}.json"


def _seen(value: dict[str, Any]) -> Seen:
    runs = {key: {name: _run(run) for name, run in value[key].items()} for key in ("runs", "previous")}
    return Seen(**{**value, **runs, "refusals": {}})


def _run(value: dict[str, Any]) -> Run:
    tallies = {kind: Tally(**tally) for kind, tally in value["health"]["tallies"].items()}
    return Run(**{**value, "health": Health(tallies)})
