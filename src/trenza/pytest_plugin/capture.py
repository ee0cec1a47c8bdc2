"""Captures: frames of a lab's places into a file while a test runs; the file stays only if the test fails."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from trenza.client import session
from trenza.errors import KeeperError, TrenzaError, UsageError

SNAPLEN_BYTES = 262144
_LISTENING = "listening"


class Capture:
    """Writes what passes at places (NODE or NODE.NIC) to a pcapng file; it listens when this is made.

    Raises TrenzaError for places that are not there, UsageError where the file cannot be written.
    """

    def __init__(self, lab: str, where: Sequence[str], filter_: str, path: Path) -> None:
        self._path = path
        self._kept = False
        self._running = True
        output = _opened(path)
        messages, told = os.pipe()
        self._messages = os.fdopen(messages, errors="replace")
        request = {
            "verb": "capture",
            "where": list(where),
            "summary": False,
            "filter": filter_,
            "count": None,
            "seconds": None,
            "snaplen": SNAPLEN_BYTES,
            "descriptors": 2,
        }
        try:
            self._channel = session.connect(lab)
            self._channel.send(request, (output, told))
        finally:
            os.close(output)
            os.close(told)
        said = self._messages.readline()
        if not said.startswith(_LISTENING):  # the capture says why it cannot; where the keeper refused, that does
            try:
                self._end()
            finally:
                self.discard()
            raise UsageError(f"cannot capture at {' '.join(where)}: {said.strip()}")

    def keep(self) -> str:
        """End it and keep the file: where it is, and how much is in it; nothing if that was said before."""
        self._kept = True
        said = self._end()
        return f"{self._path}: {said}" if said else ""

    def discard(self) -> None:
        """End it and remove the file, unless it is kept."""
        with suppress(TrenzaError):  # the lab may be gone already
            self._end()
        if not self._kept:
            self._path.unlink(missing_ok=True)
            with suppress(OSError):  # the directory holds others'
                self._path.parent.rmdir()

    def _end(self) -> str:
        """What it says at its end. Raises RemoteError where the keeper refused to begin."""
        if not self._running:
            return ""
        self._running = False
        with self._messages:
            try:
                with suppress(KeeperError):  # it ended already
                    self._channel.send({"stop": True})
                while isinstance(answer := self._channel.receive(), dict) and "result" not in answer:
                    if "error" in answer:
                        raise session.RemoteError(answer["error"])
            finally:
                self._channel.close()
            return self._messages.read().strip()


def _opened(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", hint="--lab-artifacts DIR") from error
