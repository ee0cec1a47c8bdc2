"""Shelves: the labs that run for one scope of tests, each under a name of its own."""

from __future__ import annotations

import re
import secrets
import shutil
import warnings
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self

from trenza.client.api import RunningLab, up
from trenza.errors import TrenzaError
from trenza.linux.sandbox import history_directory
from trenza.pytest_plugin.wish import Wish

MAX_LABEL = 28


class Shelf:
    """Labs by what was wished for; a second test with the same wish gets the same lab. All end with the shelf.

    They also end with this process, however that ends: nobody else is there to end them.
    """

    def __init__(self) -> None:
        self._labs: dict[Wish, RunningLab] = {}
        self._ends = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ends.close()

    def lab(self, wish: Wish, label: str, *, allow_nat: bool = False) -> RunningLab:
        """The lab of a wish as its file says: brought up, or mended after the test before. Raises TrenzaError."""
        shared = replace(wish, capture=(), filter="", wait=False)  # whatever else a test does with it
        if wish.scope != "function" and (lab := self._labs.get(shared)) is not None:
            _require_ready(lab.repair())
            return lab
        name = lab_name(label)
        self._ends.callback(shutil.rmtree, history_directory(name), ignore_errors=True)
        # Python warns of forks where there are threads, as in pytest's workers; what is forked here executes at once.
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            lab = up(
                wish.lab,
                start=wish.start,
                until=wish.until,
                profile=wish.profile,
                parameters=dict(wish.parameters),
                variants=wish.variants,
                name=name,
                wait=wish.wait,
                nat=("internet",) if allow_nat else (),
                lasting=False,
            )
        self._ends.callback(lab.down)
        _require_ready(lab.report)
        self._labs[shared] = lab
        return lab


def lab_name(label: str) -> str:
    """A name that no other lab has, neither of this run, of its other workers, nor of another run."""
    words = re.sub(r"[^a-z0-9]+", "-", label.lower())[:MAX_LABEL].strip("-")
    return f"{words or 'lab'}-{secrets.token_hex(4)}"


def _require_ready(report: dict[str, object]) -> None:
    """Raises TrenzaError for a lab whose services are not as they should be, or whose pairs cannot talk."""
    said = []
    unready, silent = report["unready"], report.get("silent_pairs") or ()
    assert isinstance(unready, list) and isinstance(silent, list | tuple)
    for one in unready:
        refusals = [f"  {refusal['file']}:{refusal['line']}: {refusal['text']}" for refusal in one["refusals"]]
        lines = refusals or [f"  {line}" for line in one["output"].splitlines()[-10:]]
        said += [f"{one['node']}: service {one['service']}: {one['reason']}", *lines]
    said += [f"no answer: {source} → {destination}" for source, destination in silent]
    if said:
        raise TrenzaError("\n".join(said))
