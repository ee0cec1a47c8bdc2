"""Impairments of an interface: by netem where the kernel has it, else by TBF (rate) and nftables (loss).

Without netem there is no delay and no corruption: that raises MachineError, which names it.
"""

from __future__ import annotations

import errno
import os
import subprocess

from trenza.errors import KernelError, MachineError
from trenza.fault.catalogue import Impairment
from trenza.linux.netns import Home

_TABLE = "trenza_impair"
_DEADLINE_S = 10


class Impairments:
    """Puts impairments on interfaces of network namespaces and takes them off again."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._has_netem: bool | None = None

    def put(self, netns: int, nic: str, how: Impairment) -> None:
        """Impair what leaves `nic`. Raises MachineError if this kernel cannot, KernelError if it refuses."""
        if self._netem():
            words = ["netem"]
            if how.delay_s or how.jitter_s:
                words += ["delay", f"{how.delay_s * 1e6:.0f}us", f"{how.jitter_s * 1e6:.0f}us"]
            if how.loss:
                words += ["loss", f"{how.loss * 100:g}%"]
            if how.corrupt:
                words += ["corrupt", f"{how.corrupt * 100:g}%"]
            if how.rate_bit_s is not None:
                words += ["rate", f"{how.rate_bit_s}bit"]
            self._run(netns, "tc", "qdisc", "replace", "dev", nic, "root", *words)
            return
        self.require(how)
        if how.rate_bit_s is not None:
            burst_bytes = max(how.rate_bit_s // 8 // 100, 3000)  # 10 ms, and never less than two frames
            tbf = ("tbf", "rate", f"{how.rate_bit_s}bit", "burst", str(burst_bytes), "latency", "50ms")
            self._run(netns, "tc", "qdisc", "replace", "dev", nic, "root", *tbf)
        if how.loss:
            chain = f"{_TABLE} {_chain(nic)}"
            self._run(netns, "nft", f"add table netdev {_TABLE}")
            hook = f'{{ type filter hook egress device "{nic}" priority 0; }}'
            self._run(netns, "nft", f"add chain netdev {chain} {hook}")
            lost = round(how.loss * 10000)
            share = f"numgen random mod 10000 < {lost}" if lost < 10000 else ""
            self._run(netns, "nft", f"flush chain netdev {chain}; add rule netdev {chain} {share} drop")

    def require(self, how: Impairment) -> None:
        """Raises MachineError if this kernel has not what an impairment takes."""
        asked = (("delay", how.delay_s), ("jitter", how.jitter_s), ("corruption", how.corrupt))
        lacking = [name for name, value in asked if value]
        if lacking and not self._netem():
            raise MachineError(
                f"this kernel has no netem (CONFIG_NET_SCH_NETEM), and {' and '.join(lacking)} cannot be had without",
                hint="modprobe sch_netem, outside the lab; loss and rate work without it",
            )

    def take_off(self, netns: int, nic: str) -> None:
        """Let frames pass as before. What is not there is no error."""
        self._run(netns, "tc", "qdisc", "del", "dev", nic, "root", check=False)
        if not self._netem():
            chain = f"{_TABLE} {_chain(nic)}"
            self._run(netns, "nft", f"delete chain netdev {chain}", check=False)

    def is_on(self, netns: int, nic: str, how: Impairment) -> bool:
        """Whether the kernel says that the impairment is there."""
        qdiscs = self._run(netns, "tc", "qdisc", "show", "dev", nic)
        if self._netem():
            return "netem" in qdiscs
        if how.rate_bit_s is not None and "tbf" not in qdiscs:
            return False
        return not how.loss or _chain(nic) in self._run(netns, "nft", "list", "chains", "netdev", check=False)

    def _netem(self) -> bool:
        """Whether this kernel has netem, found by trying it in a namespace of its own."""
        if self._has_netem is None:
            netns = self._home.make_netns()
            try:
                words = ("qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
                self._has_netem = self._status(netns, "tc", *words)[0] == 0
            finally:
                os.close(netns)
        return self._has_netem

    def _run(self, netns: int, *argv: str, check: bool = True) -> str:
        status, output = self._status(netns, *argv)
        if status and check:
            raise KernelError(f"{' '.join(argv)}: {output.strip().splitlines()[-1] if output.strip() else status}")
        return output

    def _status(self, netns: int, *argv: str) -> tuple[int, str]:
        try:
            with self._home.inside(netns):  # a child begins where its parent is
                child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        except FileNotFoundError as error:
            raise MachineError(f"{argv[0]} is not installed", hint=_package(argv[0])) from error
        try:
            output, _ = child.communicate(timeout=_DEADLINE_S)
        except subprocess.TimeoutExpired as error:
            child.kill()
            child.communicate()
            raise KernelError(f"{argv[0]} did not end within {_DEADLINE_S} s", errno=errno.ETIMEDOUT) from error
        return child.returncode, output


def _chain(nic: str) -> str:
    """A chain's name for an interface: nftables takes no dots and dashes at the beginning."""
    return "on_" + "".join(letter if letter.isalnum() else "_" for letter in nic)


def _package(program: str) -> str:
    from trenza.linux.doctor.tables import ALL_PROGRAMS

    return f"sudo apt install {ALL_PROGRAMS[program].debian}"
