"""Findings: what an assertion saw, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class Finding(Mapping[str, Any]):
    """What one check found out. Its evidence is a mapping, and attributes: `finding["hops"]`, `finding.hops`.

    `verdict` is pass, fail, cannot-tell or skipped; `said` what came back, `because` what is wrong first, `hint` what
    to look at or type next; `seconds` how long it took to come true; `theory` the way that theory says packets take.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.kind: str = data["kind"]
        self.title: str = data["title"]
        self.verdict: str = data["verdict"]
        self.said: str = data["said"]
        self.because: str = data["because"]
        self.hint: str = data["hint"]
        self.seconds: float | None = data["passed_after_s"]
        self.theory: str = data["evidence"]["theory"]
        self.evidence: dict[str, Any] = data["evidence"]["answers"]

    @property
    def passed(self) -> bool:
        return self.verdict == "pass"

    def __getitem__(self, name: str) -> Any:
        return self.evidence[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.evidence)

    def __len__(self) -> int:
        return len(self.evidence)

    def __getattr__(self, name: str) -> Any:
        evidence = self.__dict__.get("evidence", {})
        if name not in evidence:
            raise AttributeError(f"a finding of {self.__dict__.get('kind')} has no {name!r}")
        return evidence[name]

    def __repr__(self) -> str:
        return f"<{self.verdict}: {self.title} ({self.said})>"

    def explained(self) -> str:
        """What was asked and what is wrong first; below it what came back, and what to do."""
        tell = "cannot tell: " if self.verdict == "cannot-tell" else ""
        lines = [f"{self.title}: {tell}{self.because or self.said}"]
        if self.because and self.said not in ("", self.because):
            lines.append(f"  {self.said}")
        if self.hint:
            lines.append(f"  → {self.hint}")
        return printable("\n".join(lines))


def printable(text: str) -> str:
    """Text that does nothing to a terminal: whoever is root in a node chooses some of it."""
    return "".join(one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode() for one in text)
