"""How a process ended, asked through its pidfd."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from trenza.linux.exits import exit_words, find_exit_code, is_reaped


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", -signal.SIGKILL), ("kill -15 $$", -signal.SIGTERM)],
)
def test_a_reaped_process_tells_how_it_ended(script: str, code: int) -> None:
    process = subprocess.Popen(["sh", "-c", script])
    pidfd = os.pidfd_open(process.pid)
    try:
        assert process.wait(10) == code
        assert is_reaped(pidfd)
        assert find_exit_code(pidfd) in (code, None)  # None before Linux 6.15
    finally:
        os.close(pidfd)


def test_one_that_runs_has_no_exit_code() -> None:
    pidfd = os.pidfd_open(os.getpid())
    try:
        assert not is_reaped(pidfd)
        assert find_exit_code(pidfd) is None
    finally:
        os.close(pidfd)


def test_words() -> None:
    assert exit_words(None) == "it ended"
    assert exit_words(0) == "it ended with status 0"
    assert exit_words(-9) == "it was killed by SIGKILL"
    assert exit_words(-63) == "it was killed by signal 63"
