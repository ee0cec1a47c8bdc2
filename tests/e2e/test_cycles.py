"""Up and down, again and again: descriptors and memory grow neither in who uses the API nor in a keeper that stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Cli

pytestmark = pytest.mark.kernel
CYCLES = 1000 if os.environ.get("TRENZA_SOAK") else 12
GROWTH_KB = 2048

LAB = "lab: cycle\nswitches: {lan: {}}\nhosts:\n  h1: {nics: {eth0: {to: lan, ip: 10.0.0.1/24}}}\n"

IN_ONE_PROCESS = """
import os, sys
import trenza
cycles = int(sys.argv[1])
def size():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])
for cycle in range(cycles + 3):
    if cycle == 3:
        before = (len(os.listdir("/proc/self/fd")), size())
    with trenza.up("lab.yaml") as lab:
        lab["h1"].run(["true"])
after = (len(os.listdir("/proc/self/fd")), size())
print(*before, *after)
"""


def test_cycles_of_up_and_down_leave_no_trace_in_the_process_that_runs_them(cli: Cli) -> None:
    cli.lab(LAB)
    done = subprocess.run([sys.executable, "-c", IN_ONE_PROCESS, str(CYCLES)], env=cli.environment, text=True,
                          cwd=cli.directory, capture_output=True, timeout=60 + 5 * CYCLES, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    descriptors, size_kb, descriptors_after, size_kb_after = map(int, done.stdout.split())
    assert descriptors_after == descriptors
    assert size_kb_after - size_kb < GROWTH_KB


def test_a_keeper_stays_as_it_is_however_much_comes_and_goes(cli: Cli) -> None:
    cli.ok("up", cli.lab(LAB))

    def measured() -> tuple[int, int]:
        """The keeper's descriptors and kilobytes, as it sees itself from within its sandbox."""
        pid = next(pid for pid in os.listdir("/proc") if pid.isdigit() and _is_keeper(pid, str(cli.directory.parent)))
        status = Path(f"/proc/{pid}/status").read_text()
        rss = next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]
        return len(os.listdir(f"/proc/{pid}/fd")), int(rss)

    for cycle in range(CYCLES // 2 + 3):
        if cycle == 3:
            before = measured()
        cli.ok("launch", "h1/x")
        cli.ok("exec", "x", "--", "true")
        cli.ok("rm", "x")
        cli.ok("exec", "h1", "--", "ip", "link", "set", "eth0", "mtu", "1400")
        cli.ok("up")
    after = measured()
    assert after[0] == before[0]
    assert after[1] - before[1] < GROWTH_KB


def _is_keeper(pid: str, directory: str) -> bool:
    """Whether a process is the keeper of a lab whose state lies below `directory`."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            if b"trenza.keeper" not in file.read():
                return False
        return any(
            os.readlink(f"/proc/{pid}/fd/{name}").startswith(directory) for name in os.listdir(f"/proc/{pid}/fd")
        )
    except OSError:
        return False
