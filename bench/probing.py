"""What does it cost to ask six nodes a hundred times a second, each?

Six ping probes at 10 ms, from six hosts of a star to a seventh, in network namespaces of their own; then one HTTP probe
at 20 ms to a small server. The share of one core that the process takes, kernel time included (the answering side of a
ping is kernel time of whoever sends it, and counts), over five seconds. Aim: below 10 % for the six.

Caveats: one machine, shared; the server of the HTTP case is another process and does not count.
"""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests/kernel/network"), str(ROOT / "src")]

from grounds import ground, star  # noqa: E402

from trenza.fault.probes import parse_probe  # noqa: E402
from trenza.linux.bare import enter_own_namespaces  # noqa: E402
from trenza.linux.prober import Prober, Vantage  # noqa: E402
from trenza.model.names import NodeName  # noqa: E402

SECONDS = 5.0
SERVER = ["-m", "http.server", "80"]


def used_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measured(vantages: list[Vantage]) -> tuple[float, int, int]:
    """The share of a core, how many questions were answered, and how many were not."""
    prober = Prober(vantages)
    prober.start()
    began, used = time.monotonic(), used_s()
    time.sleep(SECONDS)
    share = (used_s() - used) / (time.monotonic() - began)
    prober.stop()
    samples = [sample for watched in prober.watched() for sample in watched.samples]
    good = sum(sample.answered_s is not None for sample in samples)
    return share, good, len(samples) - good


def main() -> None:
    """Prints the heading and the table, in Markdown."""
    if os.getuid() == 0:
        os.execv(ROOT / "scripts/as-user.sh", ["as-user.sh", sys.executable, __file__])
    enter_own_namespaces()
    with ground() as place:
        place.become(star(7))
        netns = {name: handle.netns for name, handle in place.nodes.alive().items()}

        def vantage(text: str) -> Vantage:
            probe = parse_probe(text)
            return Vantage(probe, netns[NodeName(probe.source)], probe.target)

        rows = [("6 pings, every 10 ms", measured([vantage(f"ping h{n} -> 10.0.0.7") for n in range(6)]))]
        with place.home.inside(netns[NodeName("h6")]):
            server = subprocess.Popen(
                [sys.executable, *SERVER], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/var/empty"
                if os.path.isdir("/var/empty") else "/tmp"
            )  # fmt: skip
        try:
            deadline = time.monotonic() + 5
            probe = [vantage("tcp h0 -> 10.0.0.7:80")]
            while time.monotonic() < deadline:
                trial = Prober(probe)
                trial.start()
                time.sleep(0.2)
                trial.stop()
                if any(sample.answered_s is not None for sample in trial.watched()[0].samples):
                    break
            rows.append(("1 HTTP probe, every 20 ms", measured([vantage("http h0 -> http://10.0.0.7/")])))
        finally:
            server.kill()
            server.wait()
    print(
        f"{__doc__}\nKernel {platform.release()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end.\n"
    )
    print("| probes | of a core | answered | lost |\n|---|---:|---:|---:|")
    for name, (share, good, lost) in rows:
        print(f"| {name} | {share:.1%} | {good} | {lost} |")


if __name__ == "__main__":
    main()
