"""Similarity: which two students typed the same, beyond what the exercise makes everybody type.

Each stream of lines (a node's shell, a file) becomes shingles: every few words in a row, line ends counted as words.
Addresses and names stay as they are: with per-student values they are what a copy carries along. Shingles that most
of the class has, and those of the text that was handed out, are nobody's own and are not counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

Streams = Mapping[str, Sequence[str]]

SHINGLE_WORDS = 4
FEWEST_SHARED = 12
"""Shingles; two short submissions are alike by chance."""
THRESHOLD = 0.5
COMMON_SHARE = 1 / 3
COMMON_STUDENTS = 3
"""What at least so many students, and more than that share of the class, have is common."""
_WORD = re.compile(r"[\w.:/@%+-]+|\S")
_COMMENT = re.compile(r"(^|\s)#.*$")
_LINE_END = "\n"

Shingle = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two students who share shingles of their own. `containment` is the shared part of the shorter one's, `jaccard`
    that of both together; `lines` are the shared lines that few others have, as the first one wrote them."""

    first: str
    second: str
    jaccard: float
    containment: float
    shared: int
    lines: tuple[str, ...]


def words(line: str) -> tuple[str, ...]:
    """A command line's words: without comment, `sudo`, and differences of blanks and quotes."""
    found = [word for word in _WORD.findall(_COMMENT.sub("", line)) if word not in ("'", '"')]
    while found and found[0] == "sudo":
        found.pop(0)
    return tuple(found)


def shingles(streams: Streams) -> Iterator[Shingle]:
    """Of every stream, each few words in a row; a stream that has fewer is one."""
    for lines in streams.values():
        stream = [word for line in lines if (found := words(line)) for word in (*found, _LINE_END)]
        for index in range(max(1, len(stream) - SHINGLE_WORDS + 1) if stream else 0):
            yield tuple(stream[index : index + SHINGLE_WORDS])


def similar_pairs(submissions: Mapping[str, Streams], given: Iterable[str] = ()) -> tuple[Pair, ...]:
    """The pairs above the threshold, the most alike first. `given` are lines that everybody was handed."""
    handed_out = frozenset(shingles({"": tuple(given)}))
    sets = {student: frozenset(shingles(streams)) - handed_out for student, streams in submissions.items()}
    common = _common(sets.values())
    own = {student: found - common for student, found in sets.items()}
    common_lines = _common([{words(line) for line in _lines(streams)} for streams in submissions.values()])
    holders: dict[Shingle, list[str]] = {}
    for student, found in own.items():
        for shingle in found:
            holders.setdefault(shingle, []).append(student)
    together: Counter[tuple[str, str]] = Counter()
    for students in holders.values():
        for index, first in enumerate(students):
            together.update((first, second) for second in students[index + 1 :])
    pairs = [
        Pair(
            first, second, shared / len(own[first] | own[second]), shared / min(len(own[first]), len(own[second])),
            shared, tuple(_shared_lines(submissions[first], submissions[second], common_lines)),
        )
        for (first, second), shared in together.items()
        if shared >= FEWEST_SHARED
    ]  # fmt: skip
    alike = [pair for pair in pairs if pair.containment >= THRESHOLD]
    return tuple(sorted(alike, key=lambda pair: (-pair.jaccard, -pair.shared, pair.first, pair.second)))


def _common(sets: Iterable[Iterable[Shingle]]) -> frozenset[Shingle]:
    all_sets = list(sets)
    counts = Counter(shingle for found in all_sets for shingle in found)
    least = max(COMMON_STUDENTS, COMMON_SHARE * len(all_sets) + 1e-9)
    return frozenset(shingle for shingle, count in counts.items() if count >= least)


def _lines(streams: Streams) -> Iterator[str]:
    for lines in streams.values():
        yield from lines


def _shared_lines(first: Streams, second: Streams, common: frozenset[Shingle]) -> Iterator[str]:
    others = {words(line) for line in _lines(second)} - common - {()}
    seen: set[tuple[str, ...]] = set()
    for line in _lines(first):
        normal = words(line)
        if normal in others and normal not in seen:
            seen.add(normal)
            yield line.strip()
