"""How long does a person wait for a command?

Whole commands, from typing to the prompt, on the shipped lab bridged-lan (two hosts, two containers, one switch), as an
ordinary user in a runtime directory of their own. Beside each, in the same turn, the floor of anything written in
Python: the interpreter starting and ending. Median of seven turns, worst in brackets.

Caveats: one machine, its caches warm; `exec` runs /bin/true; `down` waits until every process of the lab is gone.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

TURNS = 7
ROOT = Path(__file__).parents[1]
TRENZA = str(ROOT / ".venv/bin/trenza")
COMMANDS = {
    "python -c ''": [sys.executable, "-c", ""],
    "trenza up bridged-lan": [TRENZA, "up", "bridged-lan"],
    "trenza up (again)": [TRENZA, "up"],
    "trenza exec c1 -- true": [TRENZA, "exec", "c1", "--", "true"],
    "trenza show": [TRENZA, "show"],
    "trenza plan": [TRENZA, "plan"],
    "trenza check": [TRENZA, "check"],
    "trenza down": [TRENZA, "down"],
}


def waited_s(argv: list[str], environment: dict[str, str]) -> float:
    """Seconds until a command that must succeed has ended."""
    began = time.perf_counter()
    subprocess.run(argv, env=environment, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Prints the page's heading and the table, in Markdown."""
    if os.getuid() == 0:  # as an ordinary user, as trenza is meant to be run
        os.execv(ROOT / "scripts/as-user.sh", ["as-user.sh", sys.executable, __file__])
    waits: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="trenza-", dir="/tmp") as directory:
        environment = {**os.environ, "XDG_RUNTIME_DIR": directory, "XDG_STATE_HOME": f"{directory}/state"}
        for _ in range(TURNS):
            for shown, argv in COMMANDS.items():
                waits[shown].append(waited_s(argv, environment))
    load = os.getloadavg()[0]
    print(f"{__doc__}\nKernel {platform.release()}, {os.cpu_count()} cores, load {load:.1f} at the end.\n")
    print("| command | ms, median | worst |\n|---|---:|---:|")
    for shown, seconds in waits.items():
        print(f"| `{shown}` | {statistics.median(seconds) * 1000:.0f} | ({max(seconds) * 1000:.0f}) |")


if __name__ == "__main__":
    main()
