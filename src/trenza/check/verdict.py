"""Verdicts and findings: what one attempt at a question found out, in sentences of both languages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """CANNOT_TELL never counts as a pass: whom the question is about is not there, or could not be asked."""

    PASS = "pass"
    FAIL = "fail"
    CANNOT_TELL = "cannot-tell"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence in English and in Spanish."""

    en: str
    es: str

    def in_language(self, language: str) -> str:
        return self.es if language == "es" else self.en

    def __bool__(self) -> bool:
        return bool(self.en)


NOTHING = Said("", "")


def same(text: str) -> Said:
    """What reads alike in both languages: addresses, names, numbers."""
    return Said(text, text)


@dataclass(frozen=True, slots=True)
class Finding:
    """What an attempt found out. `credit` is the share of right answers, from 0 to 1.

    `said` is what came back, `because` the first thing wrong, `hint` what to look at or type next. `stays`: the
    configuration says so, and waiting alone will not change it. `unasked`: whom it is about is not there, so that
    nothing was tried. `evidence` is plain data.
    """

    verdict: Verdict
    said: Said
    credit: float = 0.0
    because: Said = NOTHING
    hint: Said = NOTHING
    stays: bool = False
    unasked: bool = False
    evidence: Mapping[str, Any] = field(default_factory=dict)


def passed(said: Said, **evidence: Any) -> Finding:
    return Finding(Verdict.PASS, said, 1.0, evidence=evidence)


def failed(
    said: Said, *, credit: float = 0.0, because: Said = NOTHING, hint: Said = NOTHING, stays: bool = False,
    **evidence: Any,
) -> Finding:  # fmt: skip
    """Some of it may be right (`credit` < 1)."""
    return Finding(Verdict.FAIL, said, min(credit, 1.0), because, hint, stays, evidence=evidence)


def cannot_tell(said: Said, *, hint: Said = NOTHING, stays: bool = False, **evidence: Any) -> Finding:
    return Finding(Verdict.CANNOT_TELL, said, 0.0, said, hint, stays, evidence=evidence)
