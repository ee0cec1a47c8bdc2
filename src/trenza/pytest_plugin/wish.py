"""Wishes: what a marker, or a call of `lab_up`, says about the lab that a test wants."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trenza.client.labfiles import LAB_FILES, shipped_labs
from trenza.errors import UsageError
from trenza.pytest_plugin.plugin import SCOPES


@dataclass(frozen=True, slots=True)
class Wish:
    """A lab, how it is to be brought up, for how long, and where frames are captured meanwhile.

    `lab` is an absolute path, or the name of a shipped one; `filter` as of `trenza capture`.
    """

    lab: str
    profile: str | None = None
    parameters: tuple[tuple[str, str], ...] = ()
    until: str | None = None
    start: bool = False
    variants: tuple[str, ...] = ()
    wait: bool = False
    scope: str = "function"
    capture: tuple[str, ...] = ()
    filter: str = ""


def read_wish(beside: Path, /, *arguments: Any, **options: Any) -> Wish:
    """The wish that the arguments of a marker mean in a test below `beside`. Raises UsageError."""
    try:
        return _wish(beside, *arguments, **options)
    except TypeError as error:
        said = str(error).replace("_wish()", "lab")
        raise UsageError(f"marker {said}", hint="pytest --markers tells what it takes") from None


def _wish(
    beside: Path,
    file: str | Path | None = None,
    *,
    profile: str | None = None,
    set: Mapping[str, Any] | None = None,  # noqa: A002, as `trenza up --set`
    until: str | int | None = None,
    start: bool = False,
    with_: str | Sequence[str] = (),
    wait: bool = False,
    scope: str = "function",
    capture: str | Sequence[str] = (),
    filter: str = "",  # noqa: A002, as in `trenza capture --filter`
) -> Wish:
    if scope not in SCOPES:
        raise UsageError(f"marker lab: there is no scope {scope!r}", hint=f"scopes: {' '.join(SCOPES)}")
    return Wish(
        lab=_lab(beside, file),
        profile=profile,
        parameters=tuple((name, _text(value)) for name, value in (set or {}).items()),
        until=None if until is None else str(until),
        start=start,
        variants=several(with_),
        wait=wait,
        scope=scope,
        capture=several(capture),
        filter=filter,
    )


def several(words: str | Sequence[str]) -> tuple[str, ...]:
    """One word, or some."""
    return (words,) if isinstance(words, str) else tuple(words)


def _lab(beside: Path, given: str | Path | None) -> str:
    """A path beside the test, which need not be where pytest was started, or a shipped lab's name."""
    shipped = shipped_labs()
    for name in LAB_FILES if given is None else (given,):
        if (beside / name).exists():
            return str((beside / name).resolve())
    if given is None:
        raise UsageError(f"which lab? there is no lab.yaml in {beside}", hint='@pytest.mark.lab("FILE")')
    if str(given) not in shipped:
        raise UsageError(f"there is no {given} in {beside}", hint=f"shipped labs: {', '.join(shipped)}")
    return str(given)


def _text(value: Any) -> str:
    """A parameter's value as one types it."""
    return value if isinstance(value, str) else json.dumps(value, default=str)
