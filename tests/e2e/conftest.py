"""The real command line, as an ordinary user, with a runtime directory of the test's own, and nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

DEADLINE_S = 60.0


@dataclass
class Cli:
    """Runs `trenza` in a world of its own."""

    program: str
    environment: dict[str, str]
    directory: Path
    results: list[subprocess.CompletedProcess[str]] = field(default_factory=list)

    def __call__(
        self, *words: str, stdin: str = "", timeout_s: float = DEADLINE_S, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [self.program, *words], env=self.environment, input=stdin, text=True, capture_output=True,
            timeout=timeout_s, check=False, cwd=cwd or self.directory,
        )  # fmt: skip
        self.results.append(result)
        return result

    def ok(self, *words: str, stdin: str = "", timeout_s: float = DEADLINE_S, cwd: Path | None = None) -> str:
        """Its stdout; the test fails unless it returned 0."""
        result = self(*words, stdin=stdin, timeout_s=timeout_s, cwd=cwd)
        assert result.returncode == 0, f"trenza {' '.join(words)}: {result.returncode}\n{result.stdout}{result.stderr}"
        return result.stdout

    def json(self, *words: str) -> Any:
        """What it printed as JSON."""
        return json.loads(self.ok(*words, "-f", "json"))

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Start it and go on; the caller ends it."""
        return subprocess.Popen([self.program, *words], env=self.environment, text=True, cwd=self.directory, **options)

    def lab(self, text: str, name: str = "lab.yaml") -> str:
        """A lab file's path."""
        path = self.directory / name
        path.write_text(text)
        return str(path)

    def types(self, node: str, *lines: str) -> str:
        """Type lines into a shell of a node; what came out. The test fails if one fails."""
        result = self("sh", node, stdin="set -e\n" + "\n".join(lines) + "\n")
        assert result.returncode == 0, f"{node}: {lines}\n{result.stdout}{result.stderr}"
        return result.stdout


def until(condition: Callable[[], bool], deadline_s: float = 10.0, what: str = "condition") -> None:
    """Wait for a condition; the test fails if it is not true at the deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {deadline_s:g} s"
        time.sleep(0.01)


@pytest.fixture
def cli(tmp_path: Path, trenza_program: str) -> Iterator[Cli]:
    """The command line; whatever labs a test leaves running are ended, and nothing of them may stay."""
    for name in ("run", "state", "home", "work"):
        (tmp_path / name).mkdir(mode=0o700)
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(tmp_path / "home"),
        "LANG": "C.UTF-8",
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    for name in ("TRENZA_SINGLE_ID", "PYTHONDONTWRITEBYTECODE"):
        if name in os.environ:
            environment[name] = os.environ[name]
    cli = Cli(trenza_program, environment, tmp_path / "work")
    yield cli
    cli("down", "--all")
    from lives import named_processes  # which imports this file

    until(lambda: not named_processes(str(tmp_path)), what="the end of the test's processes")
    runtime = tmp_path / "run" / "trenza"
    assert not runtime.exists() or not list(runtime.iterdir()), "a lab's directory was left behind"
    mounts = Path("/proc/self/mountinfo").read_text()
    assert str(tmp_path) not in mounts, "a mount was left behind"
