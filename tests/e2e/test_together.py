"""Several commands at once, several labs at once, and the same lab asked for in ways that contradict each other."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from conftest import Cli, until
from lives import family, fifty_nodes, keeper, keepers, lab_directory, named_processes, pid_one, pings

pytestmark = pytest.mark.kernel

TWO = """\
lab: {lab}
switches: {{lan: {{}}}}
hosts:
  h1: {{nics: {{eth0: {{to: lan, ip: 10.0.0.1/24}}}}}}
  h2: {{nics: {{eth0: {{to: lan, ip: 10.0.0.2/24}}}}}}
"""


class Started:
    """A command that runs beside others, its words kept in a file."""

    def __init__(self, cli: Cli, *words: str) -> None:
        self.words = words
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by `end`)
        self._process = cli.start(*words, stdout=self._said, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)

    def end(self) -> tuple[int, str]:
        """Its status and what it said; it never fails with anything but a sentence."""
        status = self._process.wait(60)
        self._said.seek(0)
        said = self._said.read()
        self._said.close()
        assert "Traceback" not in said, f"{self.words}: {said}"
        assert "trenza failed" not in said, f"{self.words}: {said}"
        return status, said


def is_one_whole_lab(cli: Cli, lab: str, path: str) -> None:
    """The test fails unless exactly one sandbox, with one keeper, has the lab as it should be."""
    assert cli("plan", path).returncode == 0
    assert len(keepers(cli, lab)) == 1
    sandboxes = named_processes(str(lab_directory(cli, lab)))
    assert {pid for pid, _ in sandboxes} <= {pid for pid, _ in family(pid_one(cli, lab))}, sandboxes


def test_two_ups_at_once_make_one_lab(cli: Cli) -> None:
    path = cli.lab(fifty_nodes("both"))
    for _ in range(3):
        ends = [one.end() for one in [Started(cli, "up", path), Started(cli, "up", path)]]
        assert [status for status, _ in ends] == [0, 0], ends
        assert sorted("is as it should be" in said for _, said in ends) == [False, True], ends
        is_one_whole_lab(cli, "both", path)
        pings(cli, "c11", "10.0.7.6")
        cli.ok("down", "both")


def test_up_and_down_at_once_leave_a_whole_lab_or_none(cli: Cli, tmp_path: Path) -> None:
    path = cli.lab(TWO.format(lab="tug"))
    for _ in range(6):
        commands = [Started(cli, *words) for words in (("up", path), ("down", "tug"), ("up", path), ("down", "tug"))]
        ends = [one.end() for one in commands]
        for (status, said), command in zip(ends, commands, strict=True):
            # `down` may find nothing; an `up` may lose the lab under its hands, and says so
            assert status in ((0, 2) if command.words[0] == "down" else (0, 1)), (command.words, said)
        if "tug" in cli.ok("ls"):
            is_one_whole_lab(cli, "tug", path)
        else:
            until(lambda: not named_processes(str(tmp_path)), what="nothing is left")
    cli.ok("up", path)
    pings(cli, "h1", "10.0.0.2")
    is_one_whole_lab(cli, "tug", path)


def test_commands_given_while_a_lab_is_made_wait_for_it(cli: Cli) -> None:
    path = cli.lab(fifty_nodes("eager"))
    making = Started(cli, "up", path)
    until(lambda: pid_one(cli, "eager") is not None, what="it is being made")
    early = [
        Started(cli, "show", "--lab", "eager"),
        Started(cli, "exec", "--lab", "eager", "c11", "--", "true"),
        Started(cli, "ls"),
        Started(cli, "plan", path),
    ]
    assert making.end()[0] == 0
    assert [one.end()[0] for one in early] == [0, 0, 0, 0]
    is_one_whole_lab(cli, "eager", path)


def test_ten_commands_at_once(cli: Cli) -> None:
    path = cli.lab(fifty_nodes("busy"))
    cli.ok("up", path)
    commands = [
        ("show",),
        ("show", "h1", "-f", "json"),
        ("plan", path),
        ("up", path),
        ("exec", "c11", "--", "ping", "-c", "1", "-W", "5", "10.0.7.6"),
        ("exec", "c21", "--", "sh", "-c", "exit 7"),
        ("launch", "h1/one"),
        ("launch", "h2/two"),
        ("restart", "h7"),
        ("events",),
    ]
    ends = [one.end() for one in [Started(cli, *words) for words in commands]]
    statuses = {words: status for words, (status, _) in zip(commands, ends, strict=True)}
    assert statuses.pop(("exec", "c21", "--", "sh", "-c", "exit 7")) == 7
    assert statuses.pop(commands[4]) in (0, 1)  # h7 was restarted under it
    assert statuses.pop(("plan", path)) in (0, 1)
    assert set(statuses.values()) == {0}, list(zip(commands, ends, strict=True))
    cli.ok("up", path)
    assert cli("plan", path).returncode == 0
    nodes = {node["name"]: node["state"] for node in cli.json("show")["nodes"]}
    assert nodes["h1/one"] == nodes["h2/two"] == "running"
    pings(cli, "c11", "10.0.7.6")


def test_ten_commands_at_once_without_a_keeper_start_one(cli: Cli) -> None:
    path = cli.lab(TWO.format(lab="headless"))
    cli.ok("up", path)
    for _ in range(3):
        pid = keeper(cli, "headless")
        cli.ok("exec", "h1", "--", "true")
        subprocess.run(["kill", "-KILL", str(pid)], check=True)
        until(lambda: keeper(cli, "headless") is None, what="the keeper is gone")
        ends = [one.end() for one in [Started(cli, "exec", "h1", "--", "true") for _ in range(10)]]
        assert {status for status, _ in ends} == {0}, ends
        assert len(keepers(cli, "headless")) == 1


def test_two_labs_with_the_same_addresses_at_once(cli: Cli) -> None:
    first, second = cli.lab(TWO.format(lab="left"), "left.yaml"), cli.lab(TWO.format(lab="right"), "right.yaml")
    ends = [one.end() for one in [Started(cli, "up", first), Started(cli, "up", second)]]
    assert [status for status, _ in ends] == [0, 0], ends
    for lab in ("left", "right"):
        cli.ok("exec", "--lab", lab, "h1", "--", "sh", "-c", f"echo {lab} > /tmp/mine")
    for lab in ("left", "right"):
        assert cli.ok("exec", "--lab", lab, "h1", "--", "cat", "/tmp/mine").strip() == lab
        pings(cli, "h1", "10.0.0.2", "--lab", lab)
    ambiguous = cli("exec", "h1", "--", "true")
    assert ambiguous.returncode == 2
    assert "left" in ambiguous.stderr
    assert "right" in ambiguous.stderr
    cli.ok("exec", "--lab", "left", "h2", "--", "ip", "link", "set", "eth0", "down")
    pings(cli, "h1", "10.0.0.2", "--lab", "right")
    cli.ok("down", "left")
    pings(cli, "h1", "10.0.0.2", "--lab", "right")


def test_down_of_nothing_says_so(cli: Cli) -> None:
    for words in (("down",), ("down", "nothing")):
        result = cli(*words)
        assert result.returncode == 2
        assert "not running" in result.stderr or "no lab is running" in result.stderr
    cli.ok("down", "--all")
    path = cli.lab(TWO.format(lab="once"))
    cli.ok("up", path)
    cli.ok("down", "once")
    assert cli("down", "once").returncode == 2


def test_another_file_under_a_running_name_is_refused_showing_both(cli: Cli) -> None:
    first, second = cli.lab(TWO.format(lab="name"), "one.yaml"), cli.lab(TWO.format(lab="name"), "two.yaml")
    cli.ok("up", first)
    refused = cli("up", second)
    assert refused.returncode == 2
    assert first in refused.stderr
    assert second in refused.stderr
    assert "--as" in refused.stderr
    cli.ok("up", second, "--as", "other")
    assert {row["lab"] for row in cli.json("ls")["labs"]} == {"name", "other"}
    for lab in ("name", "other"):
        pings(cli, "h1", "10.0.0.2", "--lab", lab)
    cli.ok("up", second, "--as", "other")  # and again finds its own
    cli.ok("down", "other")
    pings(cli, "h1", "10.0.0.2")


def test_another_way_of_starting_is_refused_and_a_bad_edit_changes_nothing(cli: Cli) -> None:
    path = cli.lab(TWO.format(lab="steady"))
    cli.ok("up", path)
    refused = cli("up", path, "--start")
    assert refused.returncode == 2
    assert "--reset" in refused.stderr
    Path(path).write_text(TWO.format(lab="steady").replace("to: lan, ip: 10.0.0.2/24", "to: lam, ip: 10.0.0.2/24"))
    wrong = cli("up", path)
    assert wrong.returncode == 2
    assert "lam" in wrong.stderr
    pings(cli, "h1", "10.0.0.2")
    Path(path).write_text(TWO.format(lab="steady").replace("10.0.0.2/24", "10.0.0.3/24"))
    cli.ok("up", path)
    pings(cli, "h1", "10.0.0.3")
    assert cli("plan", path).returncode == 0


def test_two_copies_of_one_file_run_side_by_side(cli: Cli) -> None:
    path = cli.lab(TWO.format(lab="copy"))
    ends = [one.end() for one in [Started(cli, "up", path, "--as", f"copy-{n}") for n in range(3)]]
    assert {status for status, _ in ends} == {0}, ends
    for number in range(3):
        assert cli("plan", path, "--as", f"copy-{number}").returncode == 0
        pings(cli, "h1", "10.0.0.2", "--lab", f"copy-{number}")
