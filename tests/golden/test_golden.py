"""What a wrong lab file is told, word for word: `CASE/lab.yaml` and `CASE/error.txt`; some in Spanish, `error.es.txt`.

After a change that is meant: `TRENZA_UPDATE_GOLDEN=1 .venv/bin/pytest tests/golden`, then read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trenza.errors import LabFileError
from trenza.spec import read

CASES = sorted(path.parent for path in Path(__file__).parent.glob("*/lab.yaml"))
IN_SPANISH = sorted(path.parent for path in Path(__file__).parent.glob("*/error.es.txt"))


def told(case: Path, language: str = "en") -> str:
    """All problems of a case, as a person sees them."""
    try:
        problems = read((case / "lab.yaml").read_bytes(), "lab.yaml", language=language).problems
    except LabFileError as error:
        problems = error.problems
    return "".join(f"{problem}\n" for problem in problems)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_wrong_lab_is_told_why(case: Path) -> None:
    expected = case / "error.txt"
    if os.environ.get("TRENZA_UPDATE_GOLDEN"):
        expected.write_text(told(case))
    assert told(case) == expected.read_text()
    assert expected.read_text(), "a case without problems belongs into the unit tests"


@pytest.mark.parametrize("case", IN_SPANISH, ids=lambda case: case.name)
def test_a_wrong_lab_is_told_why_in_spanish(case: Path) -> None:
    expected = case / "error.es.txt"
    if os.environ.get("TRENZA_UPDATE_GOLDEN"):
        expected.write_text(told(case, "es"))
    assert told(case, "es") == expected.read_text()
