"""Absent: whom a question is about is not there. Unanswered: the cluster's server does not say."""

from __future__ import annotations

from trenza.check.verdict import NOTHING, Said, same
from trenza.errors import KeeperError


class Absent(Exception):
    """What is missing, and what to do. `stays`: nobody is about to make it."""

    def __init__(self, said: Said, hint: Said = NOTHING, *, stays: bool = True) -> None:
        super().__init__(said.en)
        self.said = said
        self.hint = hint
        self.stays = stays


class Unanswered(KeeperError):
    """The API server does not answer: why, and what to do, in both languages."""

    def __init__(self, said: Said, hint: str) -> None:
        super().__init__(said.en, hint=hint)
        self.said = said
        self.look = same(hint)

    def in_language(self, language: str) -> KeeperError:
        return KeeperError(self.said.in_language(language), hint=self.hint)
