"""The built wheel, installed by pipx as an ordinary user, runs a lab."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conftest import Cli

pytestmark = pytest.mark.kernel
ROOT = Path(__file__).parents[2]
BIN = ROOT / ".venv/bin"


def test_a_lab_runs_from_a_wheel_that_pipx_installed(cli: Cli, tmp_path: Path) -> None:
    places = {"PIPX_HOME": str(tmp_path / "pipx"), "PIPX_BIN_DIR": str(tmp_path / "bin"), "PIPX_MAN_DIR": str(tmp_path)}
    places["UV_SYSTEM_CERTS"] = "true"  # pipx may install through uv, which else trusts its own certificates only

    def run(*argv: str) -> None:
        done = subprocess.run(argv, env={**cli.environment, **places}, cwd=tmp_path, text=True, capture_output=True,
                              timeout=300, check=False)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    build = ["build", "--quiet", "--wheel", "--no-build-isolation", "--python", str(BIN / "python")]
    run(str(BIN / "uv"), *build, "--out-dir", str(tmp_path / "dist"), str(ROOT))
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    run(str(BIN / "pipx"), "install", "--python", "/usr/bin/python3", str(wheel))
    cli.program = str(tmp_path / "bin/trenza")
    cli.ok("up", "bridged-lan", "--wait")
    assert " 0% packet loss" in cli.ok("exec", "c1", "--", "ping", "-c", "1", "10.0.0.12")
    cli.ok("down", "bridged-lan")
