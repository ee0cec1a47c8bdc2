"""`--lang` is taken wherever it stands, but for what is typed to a command in a node."""

from __future__ import annotations

import pytest

from trenza.cli.main import _take_language


@pytest.mark.parametrize(
    ("words", "left", "language"),
    [
        (["--lang", "es", "check"], ["check"], "es"),
        (["--lang=en", "check"], ["check"], "en"),
        (["check", "--lang", "es", "x"], ["check", "x"], "es"),
        (["check", "--lang=es"], ["check"], "es"),
        (["exec", "h", "prog", "--lang", "es"], ["exec", "h", "prog", "--lang", "es"], None),
        (["--lang", "es", "exec", "h", "prog", "--lang=x"], ["exec", "h", "prog", "--lang=x"], "es"),
        (["outage", "--", "--lang", "es"], ["outage", "--", "--lang", "es"], None),
        (["check", "--lang"], ["check", "--lang"], None),
        ([], [], None),
    ],
)
def test_the_language_is_taken_from_the_words(words: list[str], left: list[str], language: str | None) -> None:
    assert _take_language(words) == (left, language)
