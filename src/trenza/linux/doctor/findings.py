"""The words of a diagnosis: findings, and the probe through which a machine is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Level(StrEnum):
    """missing: no lab can be built; limited: some cannot, or not all is enforced; fine: looked at, and good."""

    MISSING = "missing"
    LIMITED = "limited"
    FINE = "fine"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about the machine. `cure` is lines to type, in order; the same in every language."""

    code: str
    level: Level
    en: str
    es: str
    cure: tuple[str, ...] = ()

    def sentence(self, language: str = "en") -> str:
        return self.es if language == "es" else self.en


@dataclass(frozen=True, slots=True)
class Caller:
    """Who runs trenza, with the directories that are used for them and the path of the program, links followed."""

    uid: int
    name: str
    program: str
    runtime_directory: str
    state_directory: str


@dataclass(frozen=True, slots=True)
class Trial:
    """How making a sandbox went: the first step that failed ("" if none) with its errno, and one errno a feature."""

    step: str = ""
    errno: int = 0
    features: Mapping[str, int] = field(default_factory=dict)


class Probe(Protocol):
    """Looks at a machine and changes nothing."""

    def caller(self) -> Caller: ...

    def python_version(self) -> tuple[int, int]: ...

    def architecture(self) -> str:
        """As `uname -m` says it."""
        ...

    def read(self, path: str) -> str | None:
        """The text of a file, None if it cannot be read."""
        ...

    def program(self, name: str) -> str | None:
        """The path of a program in the system's directories, or of a daemon's module (`MODULES`).

        Nodes show /usr, and nothing of a person's own PATH.
        """
        ...

    def privileged(self, path: str) -> bool:
        """Whether a program is setuid root or has file capabilities."""
        ...

    def limit(self, name: str) -> int:
        """The hard limit `nofile` or `nproc`; a very large number where there is none."""
        ...

    def trial(self) -> Trial:
        """Makes a sandbox and throws it away. Asked several times, it tries once."""
        ...
