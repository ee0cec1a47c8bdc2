"""What all tests share: how hypothesis runs, what counts as a run, and the ordinary user."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

# No example database: the checkout may be read-only for the user who runs the tests. Examples that failed once become
# tests of their own.
settings.register_profile("trenza", database=None, deadline=None)
settings.load_profile("trenza")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A run in which everything was skipped proved nothing, and fails."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(session.config, "workerinput"):
        return
    if exitstatus == pytest.ExitCode.OK and reporter.stats.get("skipped") and not reporter.stats.get("passed"):
        reporter.write_line("every test was skipped: a failure", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


AsUser = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def as_user() -> AsUser:
    """Runs a command as an ordinary user with subordinate ids (root becomes `trenza-test`), stdin empty."""

    def run(argv: Sequence[str], *, timeout_s: float = 60, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(ROOT / "scripts/as-user.sh"), *argv],
            cwd=cwd, text=True, capture_output=True, timeout=timeout_s, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip

    return run


@pytest.fixture(scope="session")
def trenza_program() -> str:
    """The command line's program as installed in the checkout's environment."""
    program = ROOT / ".venv/bin/trenza"
    assert os.access(program, os.X_OK), "make setup"
    return str(program)
