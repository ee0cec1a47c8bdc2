"""Whatever is killed, whenever: before `up` has committed nothing stays, afterwards everything does but what died."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Cli, until
from lives import (
    dice,
    family,
    fifty_nodes,
    keeper,
    kill,
    lab_directory,
    lives,
    named_processes,
    pid_one,
    pings,
    soak,
)

pytestmark = pytest.mark.kernel

GONE_WITHIN_S = 5.0
DAEMONS = """\
lab: {lab}
switches: {{lan: {{}}}}
hosts:
  h1:
    nics: {{eth0: {{to: lan, ip: 10.0.0.1/24}}}}
    services:
      beat: {{run: [sh, -c, 'while :; do date; sleep 0.05; done']}}
      mortal: {{run: [sleep, infinity], restart: always}}
  h2: {{nics: {{eth0: {{to: lan, ip: 10.0.0.2/24}}}}}}
"""


def is_gone(marker: str, before: set[tuple[int, str]]) -> bool:
    """No process of the lab, known or named, is left."""
    return not any(lives(one) for one in before) and not named_processes(marker)


def test_a_kill_at_any_moment_of_up_leaves_all_or_nothing(cli: Cli, tmp_path: Path) -> None:
    random = dice("kills")
    path = cli.lab(fifty_nodes("fifty"))
    began = time.monotonic()
    cli.ok("up", path)
    whole_s = time.monotonic() - began
    cli.ok("down", "fifty")
    outcomes = {"nothing": 0, "all": 0}
    for number in range(300 if soak() else 30):
        victim = ("command line", "keeper", "pid 1")[number % 3]
        moment_s = random.uniform(0, 1.3 * whole_s)
        what = f"round {number}: {victim} at {moment_s:.3f} s of {whole_s:.3f} s"
        with (tmp_path / "said").open("w+") as said:
            command = cli.start("up", path, stdout=said, stderr=said)
            try:
                command.wait(moment_s)
            except subprocess.TimeoutExpired:
                pass
            if victim == "command line":
                command.kill()
            else:
                find = keeper if victim == "keeper" else pid_one
                until(lambda: command.poll() is not None or find(cli, "fifty") is not None, 60, what)  # noqa: B023
                kill(find(cli, "fifty"))
            status = command.wait(60)
            said.seek(0)
            text = said.read()
        assert "Traceback" not in text, f"{what}\n{text}"
        first = pid_one(cli, "fifty")
        alive = family(first)
        heir = keeper(cli, "fifty")
        alive |= family(heir)
        stays = victim != "pid 1" and status == 0
        if victim == "command line" and status != 0:  # it may have committed, and died before it said so
            until(lambda: not named_processes(path), 5, what)
            try:
                until(lambda: is_gone(str(tmp_path), alive), GONE_WITHIN_S)  # noqa: B023
            except AssertionError:
                stays = True
        if stays:
            plan = cli("plan", path)
            assert plan.returncode == 0, f"{what}\n{plan.stdout}{plan.stderr}"
            pings(cli, "c11", "10.0.7.6")
            cli.ok("down", "fifty")
            outcomes["all"] += 1
        else:
            assert victim == "pid 1" or status in (1, -9), f"{what}: {status}\n{text}"
            until(lambda: is_gone(str(tmp_path), alive), GONE_WITHIN_S, f"{what}: nothing is left")  # noqa: B023
            assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text(), what
            outcomes["nothing"] += 1
    print(f"outcomes: {outcomes}")
    assert outcomes["nothing"]
    cli.ok("up", path)  # and what was left of them hinders nobody
    pings(cli, "c11", "10.0.7.6")


def test_killing_commands_of_a_running_lab_changes_nothing(cli: Cli, tmp_path: Path) -> None:
    random = dice("commands killed")
    path = cli.lab(fifty_nodes("calm"))
    cli.ok("up", path)
    before = family(pid_one(cli, "calm"))
    with (tmp_path / "said").open("w") as said:
        for words in (("up", path), ("plan", path), ("show",), ("exec", "c11", "--", "sleep", "600"), ("events",)):
            for _ in range(2):
                command = cli.start(*words, stdout=said, stderr=said)
                try:
                    command.wait(random.uniform(0.02, 0.3))
                except subprocess.TimeoutExpired:
                    pass
                command.kill()
                command.wait(10)
    until(lambda: family(pid_one(cli, "calm")) == before, GONE_WITHIN_S, "only what was there is there")
    assert cli("plan", path).returncode == 0
    pings(cli, "c11", "10.0.7.6")


def test_traffic_and_daemons_outlive_the_keeper_and_the_next_command_adopts(cli: Cli) -> None:
    path = cli.lab(DAEMONS.format(lab="orphan"))
    cli.ok("up", path, "--wait")
    ping = "nohup ping -n -i 0.02 -w 60 10.0.0.2 > /tmp/ping 2>&1 & echo $!"
    pinger = cli.ok("exec", "h1", "--", "sh", "-c", ping).strip()
    received = "grep -c 'bytes from' /tmp/ping || true"

    def answers() -> int:
        return int(cli.ok("exec", "h1", "--", "sh", "-c", received))

    until(lambda: answers() > 5, what="the ping runs")
    first = keeper(cli, "orphan")
    before = family(pid_one(cli, "orphan"))
    services = {one["service"]: one["pid"] for one in cli.json("show")["services"]}
    assert kill(first)
    until(lambda: keeper(cli, "orphan") is None, what="the keeper is gone")
    time.sleep(0.3)  # nobody looks meanwhile
    daemons = [one for one in before if lives(one)]
    assert len(daemons) >= len(before) - 2, "a daemon died with the keeper"  # the loop's date and sleep come and go
    assert cli("plan", path).returncode == 0
    assert keeper(cli, "orphan") not in (None, first)
    assert {one["service"]: one["pid"] for one in cli.json("show")["services"]} == services
    seen = answers()
    until(lambda: answers() > seen + 5, what="the ping goes on")
    cli.ok("exec", "h1", "--", "kill", "-INT", pinger)
    until(lambda: "packet loss" in cli.ok("exec", "h1", "--", "cat", "/tmp/ping"), what="the ping says how it went")
    said = cli.ok("exec", "h1", "--", "cat", "/tmp/ping")
    sent, got = map(int, re.findall(r"(\d+) packets transmitted, (\d+) received", said)[0])
    assert got >= sent - 1, said[-300:]  # the last may be on its way
    assert not re.search(r"[1-9]\d* (?:errors|duplicates)", said)


def test_restart_counters_and_supervision_outlive_the_keeper(cli: Cli) -> None:
    cli.ok("up", cli.lab(DAEMONS.format(lab="counted")))

    def mortal() -> tuple[int | None, int]:
        one = next(each for each in cli.json("show")["services"] if each["service"] == "mortal")
        return one["pid"], one["restarts"]

    for number in (1, 2):
        pid, _ = mortal()
        cli.ok("exec", "h1", "--", "pkill", "-KILL", "-x", "-f", "sleep infinity")
        until(lambda: mortal()[1] == number and mortal()[0] not in (None, pid), what=f"restart {number}")  # noqa: B023
    kill(keeper(cli, "counted"))
    until(lambda: keeper(cli, "counted") is None, what="the keeper is gone")
    assert mortal()[1] == 2
    # It dies while nobody supervises: whoever adopts restarts it.
    kill(keeper(cli, "counted"))
    until(lambda: keeper(cli, "counted") is None, what="the keeper is gone")
    victims = [pid for pid, _ in family(pid_one(cli, "counted")) if Path(f"/proc/{pid}/cmdline").read_bytes().
               startswith(b"sleep\0infinity")]  # fmt: skip
    pid_before = victims[0]
    until(lambda: not lives_pid(pid_before) or kill(pid_before), what="the daemon is gone")
    until(lambda: mortal()[0] is not None and mortal()[1] == 3, what="the new keeper restarted it")


def lives_pid(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_keeper_killed_at_any_moment_of_a_command_is_followed_by_one_that_adopts(cli: Cli, tmp_path: Path) -> None:
    random = dice("keepers killed")
    path = cli.lab(fifty_nodes("heirs"))
    cli.ok("up", path)
    more = [
        f"i{number}: {{nics: {{eth0: {{to: lan, ip: 10.0.9.{number}/16}}}}, services: *tick}}" for number in range(2, 9)
    ]
    tick = "i1: {nics: {eth0: {to: lan, ip: 10.0.9.1/16}}, services: &tick {tick: {run: [sleep, '9999']}}}"
    bigger = fifty_nodes("heirs") + "".join(f"  {line}\n" for line in (tick, *more))
    for number in range(100 if soak() else 12):
        Path(path).write_text(bigger if number % 2 == 0 else fifty_nodes("heirs"))
        words = random.choice([("up", path), ("up", path), ("launch", f"h1/x{number}"), ("restart", "h2")])
        with (tmp_path / "said").open("w+") as said:
            command = cli.start(*words, stdout=said, stderr=said)
            try:
                command.wait(random.uniform(0.03, 0.6))
            except subprocess.TimeoutExpired:
                pass
            kill(keeper(cli, "heirs"))
            command.wait(30)
            said.seek(0)
            text = said.read()
        assert "Traceback" not in text, text
        again = cli("up", path)
        assert again.returncode == 0, f"round {number}: {words}\n{text}\n{again.stdout}{again.stderr}"
        plan = cli("plan", path)
        assert plan.returncode == 0, f"round {number}: {words}\n{text}\n{plan.stdout}{plan.stderr}"
        pings(cli, "c11", "10.0.7.6")
        beats = [pid for pid, _ in family(pid_one(cli, "heirs")) if command_is(pid, b"sleep\0infinity\0")]
        assert len(beats) == 7, f"round {number}: {words}: {len(beats)} daemons where 7 are declared"
        others = [pid for pid, _ in family(pid_one(cli, "heirs")) if command_is(pid, b"sleep\0009999\0")]
        assert len(others) == (8 if number % 2 == 0 else 0), f"round {number}: {words}: {len(others)} daemons"


def command_is(pid: int, words: bytes) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() == words
    except OSError:
        return False


def test_killing_pid_1_removes_everything(cli: Cli, tmp_path: Path) -> None:
    path = cli.lab(fifty_nodes("doomed"))
    cli.ok("up", path)
    for _ in range(10 if soak() else 2):
        alive = family(pid_one(cli, "doomed")) | family(keeper(cli, "doomed"))
        assert len(alive) > 50
        assert kill(pid_one(cli, "doomed"))
        until(lambda: is_gone(str(tmp_path), alive), GONE_WITHIN_S, "everything ends")  # noqa: B023
        assert cli("show", "--lab", "doomed").returncode == 2
        assert "doomed" not in cli.ok("ls")
        cli.ok("up", path)  # what was left in its directory hinders nobody
    assert lab_directory(cli, "doomed").exists()
    cli.ok("down", "doomed")
    assert not lab_directory(cli, "doomed").exists()
