"""The scripts behind the Makefile, as far as they can be asked without changing this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AsUser = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]
SCRIPTS = [*sorted((ROOT / "scripts").glob("*.sh")), ROOT / ".ci/run"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_parses_and_is_executable(script: Path) -> None:
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_make_alone_lists_every_target() -> None:
    shown = subprocess.run(
        ["make", "-C", str(ROOT), "--no-print-directory"], text=True, capture_output=True, check=True
    )
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [line.split()[1] for line in shown.stdout.splitlines()] == targets


def test_as_user_is_ordinary_and_has_subordinate_ids(as_user: AsUser) -> None:
    name = as_user(["id", "-un"]).stdout.strip()
    assert as_user(["id", "-u"]).stdout.strip() != "0"
    assert re.search(rf"^{name}:\d+:65536$", Path("/etc/subuid").read_text(), re.MULTILINE)
    assert as_user([str(ROOT / ".venv/bin/python"), "-c", "import trenza"]).returncode == 0


def test_setup_without_root_names_what_is_missing_and_exits_with_3(as_user: AsUser) -> None:
    bare = as_user(["mktemp", "-d", "/tmp/trenza-bare.XXXXXX"]).stdout.strip()
    there = [
        "apt-get",
        "awk",
        "bash",
        "basename",
        "cat",
        "cut",
        "dirname",
        "env",
        "id",
        "readlink",
        "sha256sum",
        "stat",
    ]
    found = [path for name in there if (path := shutil.which(name)) is not None]
    try:
        assert as_user(["ln", "-s", *found, bare]).returncode == 0
        done = as_user(["env", f"PATH={bare}", "bash", str(ROOT / "scripts/setup.sh")])
    finally:
        as_user(["rm", "-r", bare])
    assert done.returncode == 3, done.stderr
    assert re.search(r"apt-get install catatonit uidmap .*tshark", done.stderr)
