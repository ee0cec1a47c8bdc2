"""Each student's own values of a lab's seeded parameters, out of a secret and her name: the same ones every time."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b


def seeded_values(seeded: Mapping[str, Sequence[str | range]], student: str, seed: str) -> dict[str, str]:
    """What to set each seeded parameter to, as text, for one student under one seed.

    A name's capitals, blanks around it and way of encoding accents make no difference. Whoever does not know the seed
    cannot tell other students' values. Parameters do not hang together: each is drawn by its own name.
    """
    who = unicodedata.normalize("NFKC", student).strip().casefold()
    return {name: _chosen(choices, _draw(seed, who, name)) for name, choices in seeded.items()}


def limits_of(seeded: Mapping[str, Sequence[str | range]]) -> Iterator[tuple[str, str]]:
    """Values that stand for all that a seed may choose, with their parameters: each word, both ends of each range."""
    for name, choices in seeded.items():
        for choice in choices:
            for value in (choice,) if isinstance(choice, str) else {choice[0], choice[-1]}:
                yield name, str(value)


def _draw(*words: str) -> int:
    """A number below 2**256; lengths go in too, so that no two lists of words are one text."""
    text = b"".join(len(data).to_bytes(8) + data for data in (word.encode() for word in words))
    return int.from_bytes(blake2b(text, digest_size=32, person=b"trenza seeding").digest())


def _chosen(choices: Sequence[str | range], draw: int) -> str:
    """One of the values, all of them equally likely, whether written alone or within a range."""
    number = draw % sum(1 if isinstance(choice, str) else len(choice) for choice in choices)
    for choice in choices:
        size = 1 if isinstance(choice, str) else len(choice)
        if number < size:
            return choice if isinstance(choice, str) else str(choice[number])
        number -= size
    raise AssertionError("a remainder is below its divisor")
