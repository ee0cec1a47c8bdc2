"""`trenza logs`: the last lines of each log, what is added, and nothing else, whatever a node puts there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Cli, until

pytestmark = [pytest.mark.kernel, pytest.mark.side_by_side]

LAB = """\
lab: writing
hosts:
  h1:
    services:
      one: {run: [sh, -c, 'for i in $(seq 30); do echo one $i; done; exec sleep 1000'], ready: {log: one 30}}
      two: {run: [sh, -c, 'echo two here; exec sleep 1001'], ready: {log: here}}
    containers:
      c1: {services: {one: {run: [sh, -c, 'echo in the container; exec sleep 1002'], ready: {log: container}}}}
"""


@contextmanager
def following(cli: Cli, *words: str) -> Iterator[Path]:
    """A file that `trenza logs -f` writes to, once it follows."""
    path = cli.directory / "followed"
    with path.open("w") as file:
        process = cli.start("logs", "-f", *words, stdout=file, stderr=subprocess.PIPE)
        try:
            yield path
            assert process.poll() is None
        finally:
            process.terminate()
            process.communicate(timeout=10)


def says(cli: Cli, node: str, path: str, *lines: str) -> None:
    cli.types(node, *(f"printf '%b\\n' '{line}' >> {path}" for line in lines))


def test_the_last_lines_of_each_log(cli: Cli) -> None:
    cli.ok("up", cli.lab(LAB))
    shown = cli.ok("logs").splitlines()
    assert shown == [*(f"h1 one: one {number}" for number in range(11, 31)), "h1 two: two here",
                     "h1/c1 one: in the container"]  # fmt: skip
    assert cli.ok("logs", "h1", "one", "-n", "2").splitlines() == ["one 29", "one 30"]
    assert cli.ok("logs", "c1", "-n", "0") == ""
    (line,) = cli.ok("logs", "c1", "--format", "json").splitlines()
    assert json.loads(line) == {"node": "h1/c1", "service": "one", "line": "in the container"}
    wrong = cli("logs", "h1", "tow")
    assert wrong.returncode == 2
    assert "did you mean two" in wrong.stderr
    assert cli("logs", "h2").returncode == 2
    cli.ok("stop", "c1")
    assert "trenza start h1/c1" in cli("logs", "c1").stderr


def test_what_is_written_is_followed_through_new_files_and_another_life_of_the_node(cli: Cli) -> None:
    cli.ok("up", cli.lab(LAB))
    with following(cli, "-n", "1") as path:
        until(lambda: "h1/c1 one: in the container" in path.read_text(), what="what was there")
        says(cli, "h1", "/var/log/one.log", "more", "and \\033[31mred\\r")
        until(lambda: "h1 one: more\nh1 one: and \\x1b[31mred\\r\n" in path.read_text(), what="what is added")
        cli.types("h1", "mkdir /var/log/sub")
        says(cli, "h1", "/var/log/sub/new.log", "new here")
        until(lambda: "h1 sub/new: new here" in path.read_text(), what="a new log in a new directory")
        cli.types("h1", "mv /var/log/one.log /var/log/one.old")
        says(cli, "h1", "/var/log/one.log", "a file of its own")
        until(lambda: "h1 one: a file of its own" in path.read_text(), what="the file that replaced it")
        cli.types("h1", ": > /var/log/one.log")
        says(cli, "h1", "/var/log/one.log", "emptied")
        until(lambda: "h1 one: emptied" in path.read_text(), what="the emptied file")
        before = path.read_text().count("in the container")
        cli.ok("restart", "c1")
        until(lambda: path.read_text().count("in the container") == before + 1, what="the node's second life, once")
        cli.types("h1", "printf 'half a line' >> /var/log/two.log; sleep 0.1; echo ', whole now' >> /var/log/two.log")
        until(lambda: "h1 two: half a line, whole now\n" in path.read_text(), what="whole lines")
    assert "Traceback" not in path.read_text()


def test_what_a_nodes_root_puts_there_leads_nowhere(cli: Cli) -> None:
    cli.ok("up", cli.lab(LAB))
    cli.types(
        "h1",
        "ln -s /dev/zero /var/log/zero.log",
        "ln -s /proc/1/root/../../../etc/passwd /var/log/outside.log",
        "ln -s ../../../../../../etc/hostname /var/log/two.log.d",
        "mkfifo /var/log/fifo.log",
        "mkdir /var/log/directory.log",
        "truncate -s 1T /var/log/huge.log",
        "rm /var/log/two.log && ln -s loop.log /var/log/loop.log && ln -s /etc/hostname /var/log/two.log",
    )
    shown = cli.ok("logs", "-n", "1")
    assert "h1 one: one 30" in shown
    assert "root:" not in shown
    for name in ("zero", "fifo", "outside", "loop", "../../etc/passwd"):
        assert "root:" not in cli("logs", "h1", name).stdout
    assert cli.ok("logs", "h1", "two").strip() == "h1", "a link means what it means in the node"
    with following(cli, "h1", "-n", "0") as path:
        cli.types("h1", "yes 'a flood' | head -c 3000000 > /var/log/flood.log")
        until(lambda: path.read_text().count("h1 flood: a flood") == 375000, 30, "all of it")
        says(cli, "h1", "/var/log/one.log", "still there")
        until(lambda: "h1 one: still there" in path.read_text(), what="and the others")
