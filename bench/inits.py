"""How long does it take to build nodes that have an init, a root file system and namespaces each?

From a plan to the moment when packets get through: a star of 100 hosts at one bridge. trenza builds it as a lab's
keeper does, in a sandbox that is there already (its making and Python's imports are left out); Mininet, whose hosts are
shells in mount and network namespaces over the machine's own files, takes the other turn. Median of seven turns each,
alternating in one run.

Caveats: one machine, shared; what counts is the ratio. Mininet's Python start and imports are in (about a tenth of its
time). Without Debian's package `mininet` there is nothing to compare with, and it says so.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

import engine

from trenza.linux import sandbox

COUNT, TURNS = 100, 7

INSIDE = """
import json, os, sys, tempfile, time
from pathlib import Path
from trenza.linux.inside import SandboxNodes
from trenza.linux.kernel import LinuxKernel
from trenza.linux.netns import Home
from trenza.linux.probes import Pair, unanswered
from trenza.model.names import NodeName
from trenza.model.state import State
from trenza.plan.diff import diff
sys.path.insert(0, sys.argv[1])
import engine
count = int(sys.argv[2])
state = engine.star_state(count)
with tempfile.TemporaryDirectory() as memory:
    began = time.perf_counter()
    nodes = SandboxNodes(Path(memory) / "nodes.json", single_id=False)
    LinuxKernel(nodes).perform(diff(State(), state))
    netns = {name: handle.netns for name, handle in nodes.alive().items()}
    first, last = engine.addresses("star", count)
    address = {thing.interface.node: thing.address.ip for thing in state if hasattr(thing, "address")}
    ends = [NodeName("h0"), NodeName(f"h{count - 1}")]
    pairs = [Pair(ends[0], address[ends[1]]), Pair(ends[1], address[ends[0]])]
    silent = unanswered(Home(), netns, pairs, deadline_s=20)
    print(json.dumps({"ms": (time.perf_counter() - began) * 1000, "silent": len(silent)}), flush=True)
"""


def trenza_ms() -> float:
    """One turn in a fresh sandbox."""
    with tempfile.TemporaryDirectory(dir="/tmp") as runtime:
        Path(runtime).chmod(0o755)
        os.environ["XDG_RUNTIME_DIR"] = runtime
        with sandbox.working_on("bench") as directory:
            sandbox.create("bench", directory, sandbox.Limits()).commit()
        reader, writer = os.pipe()
        argv = [sys.executable, "-c", INSIDE, str(Path(engine.__file__).parent), str(COUNT)]
        environment = {"PATH": "/usr/sbin:/usr/bin", "LANG": "C.UTF-8"}
        child = sandbox.execute_inside("bench", argv, keep={}, log=writer, environment=environment)
        os.close(writer)
        os.waitpid(child, 0)
        with os.fdopen(reader) as pipe:
            said = pipe.read()
        sandbox.end("bench")
        sandbox.discard(sandbox.lab_directory("bench"))
    answer = json.loads(said.splitlines()[-1])
    assert answer["silent"] == 0, said
    return float(answer["ms"])


def main() -> None:
    """Prints the heading and a table, in Markdown."""
    directory = Path(os.environ.get("MININET", "/"))
    with_mininet = (directory / "usr/bin/mnexec").exists()
    times: dict[str, list[float]] = {"trenza": [], "Mininet": []}
    for _ in range(TURNS):
        times["trenza"].append(trenza_ms())
        if with_mininet:
            built, _gone = engine.turn(lambda: engine.mininet(directory, COUNT), "star", COUNT)
            times["Mininet"].append(built * 1000)
    ours = statistics.median(times["trenza"])
    print(f"{__doc__}\n| star of {COUNT}, an init in each | built and answering, ms | × trenza |\n|---|---:|---:|")
    for name, values in times.items():
        if values:
            print(f"| {name} | {statistics.median(values):.0f} | {statistics.median(values) / ours:.1f} |")
    if not with_mininet:
        print("\nMininet is not installed here (Debian's package `mininet`).")


if __name__ == "__main__":
    main()
