"""Pids on the machine of processes that the sandbox knows by its own numbers."""

from __future__ import annotations

from pathlib import Path

from trenza.linux import sandbox


def machine_pids(lab: str) -> dict[int, int]:
    """Pid in the sandbox to pid on this machine, of every process of a lab.

    Walks the tree below the sandbox's pid 1 (/proc/PID/task/TID/children) and reads `NSpid`, whose first number is
    this machine's and whose second is the sandbox's (Documentation/filesystems/proc.rst).
    """
    first = sandbox.holder(lab)
    pids: dict[int, int] = {}
    todo = [] if first is None else [first]
    while todo:
        pid = todo.pop()
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                todo += [int(child) for child in (task / "children").read_text().split()]
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue  # it ended while we looked
        numbers = next((line for line in status.splitlines() if line.startswith("NSpid:")), "").split()[1:]
        if len(numbers) > 1:
            pids[int(numbers[1])] = int(numbers[0])
    return pids
