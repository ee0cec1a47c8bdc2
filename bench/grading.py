"""How long does a class of a hundred take?

`trenza grade` over 100 submissions of the shipped lab bridged-lan, as an ordinary user: half of them right, under names
of their own, the others with one of four mistakes (a bridge or an interface that is down, a cable that is in no bridge,
an address on a bridge's port). Every mark is looked at. The second figure is the same command again, all being done.

Caveats: one run on one machine, its caches warm. What is wrong is asked again for seconds, so a class with more
mistakes takes longer; processor time is that of the whole machine, whatever else it did.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
TRENZA = str(ROOT / ".venv/bin/trenza")
STUDENTS = 100
sys.path.insert(0, str(ROOT / "tests/e2e"))


def hand_in(directory: Path) -> dict[str, float]:
    """Write the class's archives; what each is to get."""
    from handed_in import bridged, submission, typed

    source = (ROOT / "src/trenza/labs/bridged-lan/lab.yaml").read_bytes()
    mistakes = [
        (30, bridged(without=["host2: ip link set br0 up"])),
        (20, bridged(without=["host1: ip link set eth0 master br0"])),
        (30, bridged(without=["host2/c2: ip link set eth0 up"])),
        (40, bridged(then=[typed("host1", "ip addr add 10.0.0.1/24 dev eth0")])),
    ]
    marks: dict[str, float] = {}
    for number in range(STUDENTS):
        right = (50, bridged(names=(f"a{number}", f"b{number}")))
        points, commands = right if number % 2 else mistakes[number // 2 % len(mistakes)]
        submission(directory / f"s{number:03}.trenza", commands, lab="bridged-lan", source=source)
        marks[f"s{number:03}"] = points
    return marks


def busy_s() -> float:
    """Processor time of the machine that was not idle, by /proc/stat (proc(5))."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(fields[:8]) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def graded(environment: dict[str, str], directory: Path) -> tuple[float, float, dict[str, float]]:
    """Seconds, processor seconds and marks of one grading."""
    began, busy = time.perf_counter(), busy_s()
    words = [TRENZA, "grade", "class", "--lab", "bridged-lan", "-f", "json"]
    done = subprocess.run(words, env=environment, cwd=directory, check=True, capture_output=True, text=True)
    marks = {student["name"]: student["points"] for student in json.loads(done.stdout)["students"]}
    return time.perf_counter() - began, busy_s() - busy, marks


def main() -> None:
    """Prints the page's heading and the figures, in Markdown."""
    if os.getuid() == 0:  # as an ordinary user, as trenza is meant to be run
        os.execv(ROOT / "scripts/as-user.sh", ["as-user.sh", sys.executable, __file__])
    with tempfile.TemporaryDirectory(prefix="trenza-", dir="/tmp") as name:
        directory = Path(name)
        environment = {**os.environ, "XDG_RUNTIME_DIR": name, "XDG_STATE_HOME": f"{name}/state"}
        expected = hand_in(directory / "class")
        seconds, processor_s, marks = graded(environment, directory)
        again_s, _, _ = graded(environment, directory)
    wrong = sum(marks[name] != points for name, points in expected.items())
    load = os.getloadavg()[0]
    print(f"{__doc__}\nKernel {platform.release()}, {os.cpu_count()} cores, load {load:.1f} at the end.\n")
    print(f"| {STUDENTS} submissions | s | processor s each | wrong marks |\n|---|---:|---:|---:|")
    print(f"| graded | {seconds:.0f} | {processor_s / STUDENTS:.2f} | {wrong} |\n| again | {again_s:.1f} | | |")


if __name__ == "__main__":
    main()
