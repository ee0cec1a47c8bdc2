"""One fixture: the kernel under test, by name."""

from __future__ import annotations

import pytest
from kernels import CONTESTANTS, Contestant


@pytest.fixture(params=[pytest.param(one, id=one.name, marks=one.marks) for one in CONTESTANTS])
def contestant(request: pytest.FixtureRequest) -> Contestant:
    found = request.param
    assert isinstance(found, Contestant)
    return found
