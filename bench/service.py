"""How long until the balanced web service stands, and until it serves?

The shipped lab balanced-web (six hosts, five containers, nine daemons), as an ordinary user: `up` until the prompt,
when all daemons are ready and the spanning tree still listens (aim: 1.5 s); and with the fast profile from typing `up`
until a request of `user` to the virtual address is answered (aim: 7 s). Median of five turns, worst in brackets.

Caveats: one machine, its caches warm; the second is mostly timers (two forward delays of 2 s, VRRP's 3.6 s).
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TURNS = 5
ROOT = Path(__file__).parents[1]
TRENZA = str(ROOT / ".venv/bin/trenza")
FETCH = [TRENZA, "exec", "user", "--", "curl", "-s", "-m", "1", "http://172.16.1.254:8000/"]


def turn(environment: dict[str, str], *options: str) -> tuple[float, float]:
    """Seconds from typing `up` until it is done, and until the service answers."""
    began = time.perf_counter()
    subprocess.run([TRENZA, "up", "balanced-web", *options], env=environment, check=True, capture_output=True)
    ready_s = time.perf_counter() - began
    deadline = time.monotonic() + 120
    while b"Esto es el servidor" not in subprocess.run(FETCH, env=environment, capture_output=True, check=False).stdout:
        if time.monotonic() > deadline:
            raise SystemExit("it does not serve")
    serves_s = time.perf_counter() - began
    subprocess.run([TRENZA, "down"], env=environment, check=True, capture_output=True)
    return ready_s, serves_s


def main() -> None:
    """Prints the page's heading and the table, in Markdown."""
    if os.getuid() == 0:
        os.execv(ROOT / "scripts/as-user.sh", ["as-user.sh", sys.executable, __file__])
    with tempfile.TemporaryDirectory(prefix="trenza-", dir="/tmp") as directory:
        environment = {**os.environ, "XDG_RUNTIME_DIR": directory, "XDG_STATE_HOME": f"{directory}/state"}
        turns = [turn(environment, "--profile", "fast") for _ in range(TURNS)]
    print(
        f"{__doc__}\nKernel {platform.release()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end.\n"
    )
    print("| balanced-web, fast profile | s, median | worst |\n|---|---:|---:|")
    for name, seconds in (
        ("`up`, all daemons ready", [a for a, _ in turns]),
        ("a request is answered", [b for _, b in turns]),
    ):
        print(f"| {name} | {statistics.median(seconds):.2f} | ({max(seconds):.2f}) |")


if __name__ == "__main__":
    main()
