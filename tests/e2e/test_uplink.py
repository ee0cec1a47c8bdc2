"""`to: nat`: only with consent, only where it was allowed to, and gone with its lab.

Nothing here is sent anywhere but to this machine's loopback: what a filter does with other addresses is tried where
there is no way out (tests/kernel/network/test_uplink_filter.py).
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Cli, until
from lives import command_line, family, keeper, kill, lab_directory, lives, named_processes, pid_one

pytestmark = pytest.mark.kernel

LAB = """
lab: {lab}
hosts:
  vm1:
    nics: {{eth0: {{to: nat}}}}
    bridges: {{br0: {{ports: [eth0]}}}}
    containers:
      c1: {{nics: {{eth0: {{to: br0, dhcp: true}}}}}}
      c2: {{nics: {{eth0: {{to: br0}}}}}}
  vm2: {{nics: {{eth0: {{to: nat, dhcp: true}}}}}}
"""
MEGABYTES = 3


class Outside:
    """A server on this machine's loopback: it sends what it has, then answers with the digest of what it was sent."""

    def __init__(self) -> None:
        self.bytes = os.urandom(MEGABYTES << 20)
        self.visits = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                visitor, _ = self._listener.accept()
            except OSError:
                return
            self.visits += 1
            with visitor:
                visitor.settimeout(20)
                visitor.sendall(self.bytes)
                digest = hashlib.sha256()
                while data := visitor.recv(1 << 16):
                    digest.update(data)
                visitor.sendall(digest.hexdigest().encode())

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def outside() -> Iterator[Outside]:
    server = Outside()
    yield server
    server.close()


def visit(cli: Cli, node: str, port: int, *, within_s: float = 20) -> str:
    """Fetch what the server has and send it back; the digest of what it got, or "" if it was not reached."""
    program = (
        "import socket, sys\n"
        f"try: s = socket.create_connection(('10.0.2.2', {port}), {within_s})\n"
        "except OSError: sys.exit()\n"
        f"left = {MEGABYTES << 20}\n"
        "got = bytearray()\n"
        "while len(got) < left: got += s.recv(65536)\n"
        "s.sendall(got); s.shutdown(socket.SHUT_WR)\n"
        "print(s.makefile().read(), end='')\n"
    )
    return cli.ok("exec", node, "--", "python3", "-c", program)


def leases(cli: Cli, *nodes: str) -> dict[str, list[str]]:
    nics = {node: cli.json("show", node)["nodes"][0]["nics"] for node in nodes}
    return {node: next(nic["leased"] for nic in nics[node] if nic["name"] == "eth0") for node in nodes}


def helpers(cli: Cli, lab: str) -> list[int]:
    """The machine's pids of the lab's helpers."""
    return sorted(pid for pid, _ in family(pid_one(cli, lab)) if command_line(pid).startswith("/usr/bin/slirp4netns"))


def holders(cli: Cli, lab: str) -> list[int]:
    return sorted(pid for pid, _ in family(pid_one(cli, lab)) if "trenza.linux.uplink_holder" in command_line(pid))


def said(cli: Cli, text: str) -> bool:
    return text in cli.ok("events")


def test_without_consent_nothing_is_built_and_it_is_said_what_it_would_allow(cli: Cli) -> None:
    path = cli.lab(LAB.format(lab="asked"))
    result = cli("up", path)
    assert result.returncode == 2
    for words in ("vm1.eth0, vm2.eth0", "has to be allowed", "--allow-nat", "not to private networks"):
        assert words in result.stderr, result.stderr
    assert cli.ok("ls") == "no lab is running\n"
    assert "hay que permitirlo" in cli("--lang", "es", "up", path).stderr
    assert "nat:vm2:eth0" in cli("plan", path).stdout, "to see what it would build takes no consent"


def test_every_nic_that_goes_out_has_a_network_of_its_own_with_leases(cli: Cli) -> None:
    """As the sheet has it: the NAT interface of a machine in a bridge, containers there asking for leases."""
    out = cli.ok("up", cli.lab(LAB.format(lab="leasing")), "--allow-nat")
    assert "its uplinks (to: nat) may reach public addresses\n" in out
    assert leases(cli, "c1", "c2", "vm2") == {"c1": ["10.0.2.15/24"], "c2": [], "vm2": ["10.0.2.15/24"]}
    cli.types("c2", "udhcpc -i eth0 -q -n")
    assert leases(cli, "c1", "c2") == {"c1": ["10.0.2.15/24"], "c2": ["10.0.2.16/24"]}
    for node in ("c1", "c2", "vm2"):
        assert cli.types(node, "cat /etc/resolv.conf", "ip route show default").startswith(
            "# by udhcpc\nnameserver 10.0.2.3\ndefault via 10.0.2.2 dev eth0 proto dhcp"
        )
        cli.types(node, "ping -c 1 -W 5 10.0.2.2")
    cli.types("c1", "ping -c 1 -W 5 10.0.2.16")
    assert cli.ok("plan") == "nothing to do\n"
    # Nobody sees or enters what lies behind it.
    nodes = [node["name"] for node in cli.json("show")["nodes"]]
    assert nodes == ["vm1", "vm1/c1", "vm1/c2", "vm2"]
    assert cli("exec", "nat:vm2:eth0", "--", "true").returncode == 2
    assert "nat:" not in cli.ok("events", "--kind", "link,address,route") + cli.ok("show") + cli.ok("show", "vm2")
    assert "nat:" not in cli.ok("show", "links") + cli.ok("show", "fdb") + cli.ok("show", "stp")
    assert cli.types("vm2", "nft list ruleset") == "", "its filter is out of reach"


def test_this_machines_loopback_is_reached_only_if_that_was_allowed(cli: Cli, outside: Outside) -> None:
    path = cli.lab(LAB.format(lab="local"))
    cli.ok("up", path, "--allow-nat")
    for node in ("c1", "vm2"):
        assert visit(cli, node, outside.port, within_s=1) == ""
    assert outside.visits == 0
    cli.ok("up", path, "--allow-nat-loopback")
    expected = hashlib.sha256(outside.bytes).hexdigest()
    for node in ("c1", "vm2"):
        assert visit(cli, node, outside.port) == expected
    assert outside.visits == 2
    kill(keeper(cli, "local"))
    cli.ok("up", path)  # and that is remembered
    assert visit(cli, "vm2", outside.port) == expected
    cli.ok("down", "local")
    assert cli("up", path).returncode == 2, "until the lab ends"


def test_a_helper_that_dies_is_missed_and_up_starts_another(cli: Cli, outside: Outside) -> None:
    path = cli.lab(LAB.format(lab="helped"))
    cli.ok("up", path, "--allow-nat-loopback")
    first = helpers(cli, "helped")
    assert len(first) == 2
    kill(first[0])
    until(lambda: said(cli, "leads nowhere: the helper of its uplink (slirp4netns) ended"), what="the event")
    assert len(helpers(cli, "helped")) == 1
    cli.ok("up")
    second = helpers(cli, "helped")
    assert len(second) == 2 and first[1] in second, "only the missing one is started"
    for node in ("c1", "vm2"):
        assert visit(cli, node, outside.port) == hashlib.sha256(outside.bytes).hexdigest()


def test_an_uplink_that_dies_takes_its_helper_along_and_up_makes_it_again(cli: Cli, outside: Outside) -> None:
    path = cli.lab(LAB.format(lab="held"))
    cli.ok("up", path, "--allow-nat-loopback")
    doomed = helpers(cli, "held")
    for pid in holders(cli, "held"):
        kill(pid)
    until(lambda: helpers(cli, "held") == [], what="the helpers' end")
    until(lambda: said(cli, "vm2.eth0 leads nowhere: its uplink ended"), what="the event")
    assert not set(doomed) & set(helpers(cli, "held"))
    cli.ok("up")
    for node in ("c1", "vm2"):
        assert visit(cli, node, outside.port) == hashlib.sha256(outside.bytes).hexdigest()


def test_the_way_out_outlives_the_keeper_and_a_restarted_node(cli: Cli, outside: Outside) -> None:
    cli.ok("up", cli.lab(LAB.format(lab="kept")), "--allow-nat-loopback")
    before = helpers(cli, "kept")
    kill(keeper(cli, "kept"))
    until(lambda: keeper(cli, "kept") is None, what="the keeper's end")
    assert helpers(cli, "kept") == before
    expected = hashlib.sha256(outside.bytes).hexdigest()
    assert visit(cli, "vm2", outside.port) == expected
    cli.ok("restart", "vm2")
    until(lambda: leases(cli, "vm2")["vm2"] != [], what="the lease")
    assert visit(cli, "vm2", outside.port) == expected
    assert helpers(cli, "kept") == before
    kill(helpers(cli, "kept")[0])
    until(lambda: said(cli, "leads nowhere"), what="its successor notices too")


@pytest.mark.parametrize("how", ["pid 1", "down", "keeper and pid 1"])
def test_nothing_of_it_outlives_the_sandbox(cli: Cli, tmp_path: Path, how: str) -> None:
    cli.ok("up", cli.lab(LAB.format(lab="ended")), "--allow-nat")
    everybody = family(pid_one(cli, "ended"))
    assert len(helpers(cli, "ended")) == 2
    if how == "down":
        cli.ok("down", "ended")
    else:
        if "keeper" in how:
            kill(keeper(cli, "ended"))
        kill(pid_one(cli, "ended"))
    until(lambda: not any(lives(one) for one in everybody), 5, "the end of everything")
    assert not named_processes(str(tmp_path))
    cli.ok("wipe", "--yes")


@pytest.mark.parametrize("victim", ["command line", "keeper", "pid 1"])
def test_a_kill_while_it_comes_up_leaves_nothing(cli: Cli, tmp_path: Path, victim: str) -> None:
    path = cli.lab(LAB.format(lab="early") + "  slow: {services: {wait: {run: [sleep, '60'], ready: {file: /x}}}}\n")
    with (tmp_path / "said").open("w+") as output:
        command = cli.start("up", path, "--allow-nat", stdout=output, stderr=output)
        until(lambda: len(helpers(cli, "early")) == 2, 20, "the helpers")
        everybody = family(pid_one(cli, "early"))
        if victim == "command line":
            command.kill()
        else:
            kill(keeper(cli, "early") if victim == "keeper" else pid_one(cli, "early"))
        command.wait(30)
    until(lambda: not any(lives(one) for one in everybody), 5, "the end of everything")
    assert not named_processes(str(lab_directory(cli, "early")))
    cli.ok("wipe", "--yes")


def test_a_helper_is_shut_up_before_it_reads_a_frame(cli: Cli) -> None:
    """No file of the person's, no capability, a seccomp filter: what parses a node's frames is no way in."""
    cli.ok("up", cli.lab(LAB.format(lab="shut")), "--allow-nat")
    for pid in helpers(cli, "shut"):
        status = Path(f"/proc/{pid}/status").read_text().split()
        assert status[status.index("Seccomp:") + 1] == "2"
        assert int(status[status.index("CapEff:") + 1], 16) & ~(1 << 10) == 0, "at most NET_BIND_SERVICE"
        assert sorted(entry.name for entry in Path(f"/proc/{pid}/root").iterdir()) == ["etc", "run"]


def test_an_idle_uplink_costs_nothing(cli: Cli) -> None:
    cli.ok("up", cli.lab(LAB.format(lab="idle")), "--allow-nat")

    def ticks() -> int:
        found = 0
        for pid in (*helpers(cli, "idle"), *holders(cli, "idle")):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            found += int(fields[11]) + int(fields[12])
        return found

    before, began = ticks(), time.monotonic()
    cli.types("vm2", "sleep 2")
    spent_s = (ticks() - before) / os.sysconf("SC_CLK_TCK")
    assert spent_s < 0.1 * (time.monotonic() - began)
