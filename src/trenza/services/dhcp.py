"""The DHCP client of a NIC with `dhcp: true`: BusyBox's udhcpc, in the foreground, for as long as the node runs.

What it does with a lease is the script's business that every node has (`trenza/linux/udhcpc.sh`).
"""

from __future__ import annotations

from trenza.model.names import NicName
from trenza.model.state import Process, Ready, Restart
from trenza.services.daemons import Program

LEASES = "/run/udhcpc"
"""A file here, named as the interface, is there for as long as the lease is."""

DEADLINE_S = 15.0


def client_name(nic: str) -> str:
    """The service's name, by which its log and the messages about it are called."""
    return f"dhcp-{nic}"


def find_nic(process: Process) -> NicName | None:
    """The interface that a process is the client of; None for every other process."""
    nic = process.name.removeprefix(client_name(""))
    return NicName(nic) if nic != process.name and process.argv[:1] == ("udhcpc",) else None


def client(nic: NicName, hostname: str, *, forwarding_in_s: float = 0) -> Program:
    """The client of one NIC; `forwarding_in_s` is how long bridges may keep silent before they forward.

    It asks once a second, three times in a row, again and again; gives its address back when it is ended (-R); and
    tells the server its node's name (option 12), as the machines of a lab sheet do.
    """
    argv = (
        "udhcpc", "-f", "-R", "-i", nic, "-t", "3", "-T", "1", "-A", "2", "-O", "staticroutes",
        "-x", f"hostname:{hostname}",
    )  # fmt: skip
    ready = Ready(file=f"{LEASES}/{nic}", deadline_s=DEADLINE_S + forwarding_in_s)
    return Program(client_name(nic), argv, ready, Restart.ALWAYS)
