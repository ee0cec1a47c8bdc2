"""What a running lab's keeper tells of it, as a `Saved`."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from trenza.client.archive import Manifest, Saved, SavedCommand, SavedFile, fits
from trenza.client.session import ask
from trenza.model.plain import state_of_plain


def saved_lab(lab: str) -> Saved:
    """A running lab, ready for `write_archive`. Raises UsageError if it does not run."""
    told = ask(lab, {"verb": "save"})
    files = [
        SavedFile(each["node"], each["path"], base64.b64decode(each["content"]), each["mode"], each["owner"])
        for each in told["files"]
    ]
    misfits = [f"{file.node}:{file.path}: its name is too long" for file in files if not fits(file.node, file.path)]
    manifest = Manifest(
        told["lab"], told["mode"], told["saved_s"], told["title"], told["until"], told["profile"], told["parameters"],
        tuple(told["variants"]), told["launched"], (*told["left_out"], *misfits), told["has_etcd"],
    )  # fmt: skip
    return Saved(
        manifest,
        base64.b64decode(told["source"]),
        {name: base64.b64decode(content) for name, content in told["sources"].items()},
        tuple(_commands(told["commands"])),
        tuple(file for file in files if fits(file.node, file.path)),
        state_of_plain(told["state"]),
    )


def _commands(records: Iterable[Mapping[str, Any]]) -> Iterable[SavedCommand]:
    for given in records:
        # The bytes of a command line need not be Unicode; those of an archive are.
        record = json.loads(json.dumps(given, ensure_ascii=False).encode(errors="replace"))
        yield SavedCommand(
            record["node"], record["line"].replace("\0", ""), record["status"], record.get("began", record["time"]),
            record["time"], record.get("session", ""), record.get("shell", ""), record.get("user"), record.get("cwd"),
            record.get("env") or {}, record.get("pids") or {}, record.get("cut", False), record.get("stdin", False),
            record.get("action"),
        )  # fmt: skip
