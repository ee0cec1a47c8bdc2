"""Faults through the command line: they take effect, are listed, outlive a keeper and an `up`, and are undone."""

from __future__ import annotations

import pytest
from conftest import Cli, until
from lives import keeper, kill

pytestmark = pytest.mark.kernel

LAB = """
lab: faulty
cables: [w1]
switches: {lan: {}}
hosts:
  h1:
    nics: {eth0: {to: lan, ip: 10.0.0.1/24}, eth1: {to: w1, ip: [10.9.0.1/30, "fd00::1/64"]}}
    routes: [{to: 10.8.0.0/24, via: 10.9.0.2}]
  h2:
    nics: {eth0: {to: lan, ip: 10.0.0.2/24}, eth1: {to: w1, ip: [10.9.0.2/30, "fd00::2/64"]}}
    services: {web: {run: [python3, -m, http.server, "80"], ready: {tcp: 80}}}
"""


@pytest.fixture
def lab(cli: Cli) -> Cli:
    cli.ok("up", cli.lab(LAB), "--wait")
    return cli


def pings(cli: Cli, to: str, node: str = "h1", *options: str) -> bool:
    return cli("exec", node, "--", "ping", "-c", "1", "-W", "1", *options, to).returncode == 0


def fetches(cli: Cli) -> bool:
    return cli("exec", "h1", "--", "curl", "-s", "-m", "1", "http://10.0.0.2/").returncode == 0


def faults(cli: Cli) -> list[str]:
    return [one["fault"] for one in cli.json("show", "faults")["faults"]]


def carrier(cli: Cli, nic: str) -> str:
    node, _, name = nic.partition(".")
    (found,) = cli.json("show", node)["nodes"]
    return str(next(one["state"] for one in found["nics"] if one["name"] == name))


def test_a_cable_that_is_cut_loses_carrier_and_gets_back_all_that_went_with_it(lab: Cli) -> None:
    assert pings(lab, "10.0.0.2")
    lab.ok("fault", "cut", "h2.eth0")
    assert carrier(lab, "h2.eth0") == "no-carrier"
    assert not pings(lab, "10.0.0.2")
    assert lab.json("plan")["operations"] == 0
    lab.ok("fault", "cut", "w1")
    assert not pings(lab, "10.9.0.2")
    assert faults(lab) == ["cut h2.eth0", "cut w1"]
    lab.ok("heal")
    assert faults(lab) == []
    assert lab.json("plan")["operations"] == 0
    until(lambda: pings(lab, "10.0.0.2"), what="the LAN again")
    until(lambda: pings(lab, "10.9.0.2"), what="the cable again")
    until(lambda: pings(lab, "fd00::2"), what="its IPv6 again")


def test_what_two_faults_hold_stays_until_both_are_healed(lab: Cli) -> None:
    lab.ok("fault", "cut", "w1")
    lab.ok("fault", "poweroff", "h2")
    lab.ok("heal", "poweroff", "h2")
    until(lambda: pings(lab, "10.0.0.2"), what="the LAN, which only one held")
    assert not pings(lab, "10.9.0.2")
    lab.ok("heal", "w1")
    until(lambda: pings(lab, "10.9.0.2"), what="the cable")


def test_in_whatever_order_two_faults_are_healed_nothing_is_lost(lab: Cli) -> None:
    """The first cut loses routes and addresses, which the second cannot know: it gives them back all the same."""
    plan = lab.json("plan")["lines"]
    lab.ok("fault", "cut", "w1")
    lab.ok("fault", "poweroff", "h2")
    lab.ok("heal", "w1")
    lab.ok("heal", "poweroff", "h2")
    assert lab.json("plan")["lines"] == plan == []
    until(lambda: pings(lab, "fd00::2"), what="IPv6 over the cable")


def test_what_comes_back_is_as_broken_as_before(lab: Cli) -> None:
    lab.ok("fault", "impair", "h2.eth1", "--loss", "100%")
    assert not pings(lab, "10.9.0.2")
    lab.ok("restart", "h2")
    assert lab.json("plan")["operations"] == 0, "the far ends of its cables have their addresses and routes again"
    assert faults(lab) == ["impair h2.eth1 --loss 100%"]
    until(lambda: pings(lab, "10.0.0.2"), what="h2")
    assert not pings(lab, "10.9.0.2")
    lab.ok("heal")
    until(lambda: pings(lab, "10.9.0.2"), what="the cable")
    lab.ok("fault", "pause", "h2", "web")
    lab.ok("exec", "h2", "--", "pkill", "-KILL", "-f", "http.server")
    until(
        lambda: "T" in lab("exec", "h2", "--", "ps", "-C", "python3", "-o", "stat=").stdout, what="a paused one again"
    )
    assert not fetches(lab)
    lab.ok("heal")
    until(lambda: fetches(lab), what="the service again")


def test_a_service_that_comes_back_paused_is_its_own_program(lab: Cli) -> None:
    """It is stopped the moment it is started: never earlier, as a process of ours that has not executed it yet."""
    lab.ok("fault", "pause", "h2", "web")
    for _ in range(5):
        lab.ok("restart", "h2")
        stopped = lab.ok("exec", "--no-record", "h2", "--", "ps", "-e", "-o", "stat=,comm=")
        assert [line.split()[1] for line in stopped.splitlines() if line.startswith("T")] == ["python3"]


def test_the_same_fault_twice_and_what_is_not_there_are_told(lab: Cli) -> None:
    lab.ok("fault", "cut", "w1")
    again = lab("fault", "cut", "w1")
    assert again.returncode == 2
    assert "that is so already (fault 1)" in again.stderr
    for words, said in (
        (("cut", "w2"), "did you mean w1?"),
        (("kill", "h2", "wbe"), "did you mean web?"),
        (("smash", "w1"), "no such fault"),
        ((), "trenza fault cut CABLE"),
    ):
        wrong = lab("fault", *words)
        assert wrong.returncode == 2
        assert said in wrong.stderr
    assert "no fault 'w7' is in effect" in lab("heal", "w7").stderr


def test_a_killed_service_stays_dead_until_it_is_healed(lab: Cli) -> None:
    assert fetches(lab)
    lab.ok("fault", "kill", "h2", "web")
    assert not fetches(lab)
    (service,) = lab.json("show", "h2")["services"]
    assert service["state"] == "dead"
    lab.ok("up")
    assert not fetches(lab)
    lab.ok("heal")
    until(lambda: fetches(lab), what="the service again")


def test_a_paused_service_takes_connections_and_answers_none(lab: Cli) -> None:
    lab.ok("fault", "pause", "h2", "web")
    refused = lab("exec", "h1", "--", "curl", "-s", "-m", "1", "http://10.0.0.2/")
    assert refused.returncode == 28  # no refusal, but silence
    lab.ok("heal", "1")
    until(lambda: fetches(lab), what="the service again")


def test_a_service_started_by_hand_is_killed_and_comes_back(lab: Cli) -> None:
    lab.ok("exec", "h2", "--", "sh", "-c", "setsid python3 -m http.server 81 >/dev/null 2>&1 &")
    ask = ("exec", "h1", "--", "curl", "-s", "-m", "1", "http://10.0.0.2:81/")
    until(lambda: lab(*ask).returncode == 0, what="the server")
    lab.ok("fault", "stop", "h2", "web")
    lab.ok("fault", "kill", "h2", "python3")
    assert lab(*ask).returncode != 0
    lab.ok("heal")
    until(lambda: lab(*ask).returncode == 0, what="the server again")
    until(lambda: fetches(lab), what="the declared one again")


def test_a_fault_heals_by_itself_when_its_time_is_over(lab: Cli) -> None:
    lab.ok("fault", "cut", "w1", "--for", "1s")
    assert not pings(lab, "10.9.0.2")
    until(lambda: faults(lab) == [], what="the end of the fault")
    until(lambda: pings(lab, "10.9.0.2"), what="the cable")
    assert "write 20s" in lab("fault", "cut", "w1", "--for", "soon").stderr


def test_a_fault_outlives_the_keeper_and_the_next_one_heals_it(lab: Cli) -> None:
    lab.ok("fault", "cut", "w1")
    lab.ok("fault", "kill", "h2", "web", "--for", "3s")
    assert kill(keeper(lab, "faulty"))
    assert faults(lab) == ["cut w1", "kill h2 web"]
    assert not pings(lab, "10.9.0.2")
    until(lambda: fetches(lab), what="the service whose time was over")
    lab.ok("heal", "w1")
    until(lambda: pings(lab, "10.9.0.2"), what="the cable")


def test_frames_are_lost_and_slowed_down_as_asked(lab: Cli) -> None:
    lab.ok("fault", "impair", "w1", "--loss", "100%")
    assert not pings(lab, "10.9.0.2")
    lab.ok("heal")
    assert pings(lab, "10.9.0.2")
    lab.ok("fault", "impair", "h1.eth1", "--rate", "100kbit")
    out = lab.ok("exec", "h1", "--", "ping", "-c", "8", "-i", "0.01", "-s", "1400", "10.9.0.2")
    slowest_ms = float(out.rsplit("= ", 1)[1].split("/")[2])
    assert slowest_ms > 100  # 1442 bytes take 115 ms at 100 kbit/s, and there is a queue
    lab.ok("heal")
    wrong = lab("fault", "impair", "w1", "--loss", "10")
    assert wrong.returncode == 2
    assert "--loss 10%" in wrong.stderr


def test_a_delay_is_had_or_the_missing_kernel_feature_is_named(lab: Cli) -> None:
    result = lab("fault", "impair", "w1", "--delay", "50ms")
    if result.returncode == 3:
        assert "netem" in result.stderr
        assert faults(lab) == []
    else:
        out = lab.ok("exec", "h1", "--", "ping", "-c", "2", "10.9.0.2")
        assert float(out.rsplit("= ", 1)[1].split("/")[0]) > 50


def test_a_partition_cuts_what_leads_across_and_down_undoes_everything(lab: Cli) -> None:
    lab.ok("fault", "partition", "h1,lan", "h2")
    assert not pings(lab, "10.0.0.2")
    assert not pings(lab, "10.9.0.2")
    lab.ok("down")
    lab.ok("up", cli_lab(lab), "--wait")
    assert faults(lab) == []
    assert pings(lab, "10.0.0.2")


def cli_lab(cli: Cli) -> str:
    return str(cli.directory / "lab.yaml")


def test_what_somebody_built_by_hand_is_cut_and_mended_too(cli: Cli) -> None:
    cli.ok("up", cli.lab("lab: by-hand\nhosts: {a: {}, b: {}}\n"), "--start")
    cli.types("a", "ip link add v type veth peer name w", "ip addr add 10.1.0.1/24 dev v", "ip link set v up")
    cli.types("a", "ip link add br9 type bridge", "ip link set w master br9", "ip link set w up", "ip link set br9 up")
    cli.types("a", "ip addr add 10.1.0.2/24 dev br9")
    assert carrier(cli, "a.v") == "up"
    cli.ok("fault", "cut", "a.v")
    assert carrier(cli, "a.v") == "no-carrier"
    cli.ok("up")
    assert carrier(cli, "a.v") == "no-carrier"
    cli.ok("heal")
    assert carrier(cli, "a.v") == "up"
    cli.ok("fault", "down", "br9")
    assert carrier(cli, "a.br9") == "down"
    cli.ok("heal", "down", "a.br9")
    assert carrier(cli, "a.br9") == "up"


def test_one_that_cannot_be_healed_keeps_no_other_from_it(lab: Cli) -> None:
    """A process whose title says nothing about how it was started comes back, or is said not to; the rest is mended."""
    lab.ok("exec", "h2", "--", "bash", "-c", "(exec -a 'odd: title' setsid sleep 1000) >/dev/null 2>&1 &")
    running = ("exec", "h2", "--", "pgrep", "-x", "sleep")
    until(lambda: lab(*running).returncode == 0, what="the process")
    lab.ok("fault", "kill", "h2", "sleep")
    lab.ok("fault", "cut", "w1", "--for", "60s")
    lab.ok("heal")
    assert faults(lab) == []
    until(lambda: lab(*running).returncode == 0, what="the process again")
    until(lambda: pings(lab, "10.9.0.2"), what="the cable")
