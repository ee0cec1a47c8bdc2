"""Absent: whom a question is about is not there."""

from __future__ import annotations

from trenza.check.verdict import NOTHING, Said


class Absent(Exception):
    """What is missing, and what to do. `stays`: nobody is about to make it."""

    def __init__(self, said: Said, hint: Said = NOTHING, *, stays: bool = True) -> None:
        super().__init__(said.en)
        self.said = said
        self.hint = hint
        self.stays = stays
