"""Damaged lab files are read, or refused with every problem at a line and column; quickly, either way."""

from __future__ import annotations

import os
import random
import re
import time

import pytest

from trenza.errors import LabFileError
from trenza.spec import Choices, read

from . import labs

MUTANTS = int(os.environ.get("TRENZA_MUTANTS", "1000"))
SEED = int(os.environ.get("TRENZA_SEED", "1"))
SLOWEST_S = 0.2
SOURCES = [
    *labs.SHIPPED.values(),
    *(text.encode() for text in (labs.BRIDGED, labs.ROUTED, labs.BALANCED, labs.BALANCED)),
]
TOKENS = re.compile(rb"[A-Za-z0-9_.$/-]+|[{}\[\]:,*&!|>'\"#]|\n +|\s")
ODD = [
    b"*", b"&a ", b"*a", b"<<: ", b"!!python/object:x ", b"\t", b"\0", b"\xff", b"\xed\xa0\x80", b"\xc2\x85",
    b"\xe2\x80\xa8", b"::", b"${x}", b"$n", b"$", b"%", b"@", b"? ", b"- ", b"---\n", b"...\n", b"null", b"~",
    b"true", b"1e999", b"-1", b"9" * 5000, b"0x", b"[", b"{", b"}", b"|\n", b">\n", b"'", b'"', b'"\\x00"',
    b'"\\ud800"', b"\xef\xbb\xbf", b"10.0.0.0/16[7]", b"each: 1..99999999999", b"{each: 1..3}", b"use: t", b"host",
    b"nat", b"1..3", b"a" * 300, b"\r", b"\r\n", b"::/0",
]  # fmt: skip


def mutant(chance: random.Random) -> bytes:
    """One of the labs with one to four damages: bytes, tokens, lines, whole blocks."""
    source = chance.choice(SOURCES)
    for _ in range(chance.randint(1, 4)):
        source = chance.choice(DAMAGES)(source, chance)
    return source


def _bytes(source: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(source) + 1)
    new = bytes([chance.randrange(256)])
    return source[:at] + chance.choice([b"", new, new * 2]) + source[at + chance.randint(0, 2) :]


def _odd(source: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(source) + 1)
    return source[:at] + chance.choice(ODD) + source[at + chance.choice([0, 0, 1, 5]) :]


def _tokens(source: bytes, chance: random.Random) -> bytes:
    """Two tokens change places, or one replaces or loses another."""
    tokens = list(TOKENS.finditer(source))
    if len(tokens) < 2:
        return source
    one, other = sorted(chance.sample(tokens, 2), key=lambda token: token.start())
    first, last = chance.choice(
        [(other[0], one[0]), (other[0], other[0]), (b"", other[0]), (chance.choice(ODD), other[0])]
    )
    return source[: one.start()] + first + source[one.end() : other.start()] + last + source[other.end() :]


def _lines(source: bytes, chance: random.Random) -> bytes:
    lines = source.split(b"\n")
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    match chance.randrange(4):
        case 0:
            lines[one], lines[other] = lines[other], lines[one]
        case 1:
            del lines[one]
        case 2:
            lines.insert(other, lines[one])
        case _:
            lines[one] = b" " * chance.randint(0, 12) + lines[one].lstrip()
    return b"\n".join(lines)


def _blocks(source: bytes, chance: random.Random) -> bytes:
    """A line and what is indented below it: removed, repeated, or moved elsewhere."""
    lines = source.split(b"\n")
    start = chance.randrange(len(lines))
    depth = len(lines[start]) - len(lines[start].lstrip())
    end = start + 1
    while end < len(lines) and len(lines[end]) - len(lines[end].lstrip()) > depth:
        end += 1
    block, rest = lines[start:end], lines[:start] + lines[end:]
    at = chance.randrange(len(rest) + 1)
    match chance.randrange(3):
        case 0:
            return b"\n".join(rest)
        case 1:
            return b"\n".join(lines[:end] + block + lines[end:])
        case _:
            return b"\n".join(rest[:at] + block + rest[at:])


DAMAGES = [_bytes, _odd, _tokens, _tokens, _lines, _blocks]


@pytest.mark.parametrize("part", range(10))
def test_damaged_labs_give_only_labs_and_clean_errors(part: int) -> None:
    chance = random.Random(f"{SEED}-{part}")
    for number in range(MUTANTS // 10):
        source = mutant(chance)
        name = f"seed {SEED}-{part}, mutant {number}"
        choices = chance.choice([Choices(), Choices(), Choices(start=True)])
        began = time.process_time()
        try:
            problems = read(source, "lab.yaml", choices).problems
        except LabFileError as error:
            problems = error.problems
            assert any(problem.code.startswith("E") for problem in problems), name
        except Exception as error:
            raise AssertionError(f"{name}: {source!r}") from error
        took_s = time.process_time() - began
        assert took_s <= SLOWEST_S, f"{name}: {took_s:.3f} s: {source!r}"
        for problem in problems:
            assert problem.line >= 1, (name, problem)
            assert problem.column >= 1, (name, problem)
            assert problem.length >= 1, (name, problem)
            assert "\n" not in problem.excerpt, (name, problem)
            assert all(text.isprintable() for text in (problem.message, problem.excerpt, problem.hint or "")), (
                name,
                problem,
            )
            assert str(problem)
