"""What tests of a cluster share. Async tests and fixtures are run by anyio's plugin, on asyncio."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
