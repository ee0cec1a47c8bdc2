"""Full disks, missing programs, closed doors, leftovers, and people who press Ctrl-C: sentences, and nothing broken."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from conftest import Cli, until
from lives import keeper, lab_directory, named_processes, pid_one, pings
from terminal import Terminal

pytestmark = pytest.mark.kernel

LAB = """\
lab: {lab}
switches: {{lan: {{}}}}
hosts:
  h1: {{nics: {{eth0: {{to: lan, ip: 10.0.0.1/24}}}}}}
  h2: {{nics: {{eth0: {{to: lan, ip: 10.0.0.2/24}}}}}}
"""


def is_clean(result: subprocess.CompletedProcess[str], status: int) -> str:
    """What it said on stderr; the test fails unless it is sentences, and the status the one expected."""
    assert result.returncode == status, f"{result.args}: {result.returncode}\n{result.stdout}{result.stderr}"
    assert "Traceback" not in result.stderr, result.stderr
    assert "trenza failed" not in result.stderr, result.stderr
    return result.stderr


# ---------------------------------------------------------------- disks
FULL_DISK = """\
set -u
mount -t tmpfs -o size=600k,mode=700 tmpfs {base}
export XDG_RUNTIME_DIR={base}/run XDG_STATE_HOME={base}/state TRENZA_SINGLE_ID=1
mkdir $XDG_RUNTIME_DIR $XDG_STATE_HOME
step() {{ echo "== $1"; shift; "$@" 2>&1; echo "-- $?"; }}
fill() {{ dd if=/dev/zero of={base}/filler bs=4k 2>/dev/null; }}
fill
step up-full {trenza} up {lab}
step ls-full {trenza} ls
rm {base}/filler
step up {trenza} up {lab} --wait
step history-before {trenza} exec h1 -- echo before
fill
step exec {trenza} exec h1 -- ping -c 1 10.0.0.2
step show {trenza} show
step launch {trenza} launch h1/x
cp {lab} {lab}.old
echo '  h3: {{nics: {{eth0: {{to: lan, ip: 10.0.0.3/24}}}}}}' >> {lab}
step edited {trenza} up {lab}
mv {lab}.old {lab}
step again {trenza} plan {lab}
pkill -KILL -f 'trenza.keeper {{"lab": "{name}"'
step adopted {trenza} show
step ping {trenza} exec h1 -- ping -c 1 10.0.0.2
rm {base}/filler
step launch-again {trenza} launch h1/x
step plan {trenza} plan {lab}
step history {trenza} history h1
step down {trenza} down {name}
"""


def test_a_full_disk_leaves_the_old_state_readable(cli: Cli, tmp_path: Path) -> None:
    base = tmp_path / "small"
    base.mkdir()
    name = f"full-{os.getpid()}"
    lab = cli.lab(LAB.format(lab=name))
    script = FULL_DISK.format(base=base, trenza=cli.program, lab=lab, name=name)
    result = subprocess.run(
        ["unshare", "--user", "--mount", "--map-current-user", "--keep-caps", "sh", "-c", script],
        env=cli.environment, cwd=cli.directory, text=True, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    said = result.stdout
    steps = {name: (int(status), text) for name, text, status in
             re.findall(r"^== (\S+)\n(.*?)^-- (\d+)$", said, re.DOTALL | re.MULTILINE)}  # fmt: skip
    assert "Traceback" not in said, said
    assert "trenza failed" not in said, said
    assert steps["up-full"][0] == 1, said
    assert "No space left on device" in steps["up-full"][1]
    assert name not in steps["ls-full"][1]
    for name in ("up", "exec", "show", "again", "adopted", "ping", "launch-again", "plan", "history", "down"):
        assert steps[name][0] == 0, f"{name}: {said}"
    for name in ("launch", "edited"):
        assert steps[name][0] == 1, f"{name}: {said}"
        assert "No space left on device" in steps[name][1]
    for name in ("show", "adopted"):
        assert "h2" in steps[name][1]
        assert "h1/x" not in steps[name][1]
        assert "h3" not in steps[name][1]
    assert "echo before" in steps["history"][1]


# ---------------------------------------------------------------- machines that lack something
def test_a_missing_program_is_named_before_anything_is_built(cli: Cli, tmp_path: Path) -> None:
    text = LAB.format(lab="lacking").replace(
        "h1: {", "h1: {services: {a: {run: [no-such-daemon]}, b: {run: [nor-this-one, -x]}}, "
    )
    said = is_clean(cli("up", cli.lab(text)), 3)
    assert "no-such-daemon" in said
    assert "nor-this-one" in said
    assert not named_processes(str(tmp_path))
    assert not lab_directory(cli, "lacking").exists()


def test_the_path_of_who_runs_it_does_not_matter(cli: Cli) -> None:
    cli.environment["PATH"] = "/nonexistent"
    path = cli.lab(LAB.format(lab="pathless"))
    cli.ok("up", path)
    pings(cli, "h1", "10.0.0.2")


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("h2: {nics: {eth0:", "h2: {nics: {a-name-of-17-byte:", 5, "a-name-of-17-byte"),
        ("  h2:", "  h1:", 5, "h1"),
        ("h2: {nics:", "h2: {bridges: {eth0: {}}, nics:", 5, "eth0"),
        ("lab: wrong", "lab: wrong\ncables: {c1: [h1.eth0, h2.eth0]}", 5, "h1.eth0"),
    ],
)
def test_names_too_long_or_repeated_and_nics_plugged_twice(cli: Cli, old: str, new: str, line: int, words: str) -> None:
    path = cli.lab(LAB.format(lab="wrong").replace(old, new))
    said = is_clean(cli("up", path), 2)
    assert words in said
    assert re.search(r"lab\.yaml:\d+:\d+ E\d+ ", said), said
    assert re.search(rf"lab\.yaml:{line}:\d+ ", said) or f"line {line}" in said, said
    assert not lab_directory(cli, "wrong").exists()


# ---------------------------------------------------------------- directories
@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("variable", ["XDG_RUNTIME_DIR", "XDG_STATE_HOME"])
def test_a_directory_that_cannot_be_written_is_named(cli: Cli, variable: str) -> None:
    directory = Path(cli.environment[variable])
    directory.chmod(0o500)
    try:
        said = is_clean(cli("up", cli.lab(LAB.format(lab="closed"))), 1)
        assert str(directory) in said
        assert "Permission denied" in said
        is_clean(cli("ls"), 1 if variable == "XDG_RUNTIME_DIR" else 0)
    finally:
        directory.chmod(0o700)


def test_the_directory_of_a_lab_whose_machine_was_rebooted_hinders_nobody(cli: Cli) -> None:
    path = cli.lab(LAB.format(lab="reborn"))
    stale = lab_directory(cli, "reborn")
    stale.mkdir(mode=0o700, parents=True)
    for name in ("lock", "commands", "keeper.lock", "keeper.log", "init.log", "nodes.json.new", "making"):
        (stale / name).touch()
    (stale / "lab.json").write_text('{"lab": "reborn"')
    (stale / "nodes.json").write_text("not even JSON")
    (stale / "root").mkdir()
    (stale / "something" / "else").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(stale / "keeper.socket"))
    assert "reborn" not in cli.ok("ls")
    assert cli("show", "--lab", "reborn").returncode == 2
    cli.ok("up", path)
    pings(cli, "h1", "10.0.0.2")
    cli.ok("down", "reborn")
    assert not stale.exists()


def test_a_lab_is_adopted_though_its_files_are_gone(cli: Cli) -> None:
    source = cli.directory / "app.conf"
    source.write_text("kept\n")
    path = cli.lab(LAB.format(lab="moved").replace("h1: {", "h1: {files: {/etc/app.conf: {from: app.conf}}, "))
    cli.ok("up", path)
    os.kill(keeper(cli, "moved") or 0, signal.SIGKILL)
    source.unlink()
    Path(path).unlink()
    until(lambda: keeper(cli, "moved") is None, what="the keeper is gone")
    cli.ok("exec", "h1", "--", "rm", "/etc/app.conf")
    assert cli("plan").returncode == 1
    cli.ok("up")
    assert cli.ok("exec", "h1", "--", "cat", "/etc/app.conf") == "kept\n"


def test_an_edited_file_of_the_lab_is_placed_again(cli: Cli) -> None:
    source = cli.directory / "app.conf"
    source.write_text("one\n")
    path = cli.lab(LAB.format(lab="renewed").replace("h1: {", "h1: {files: {/etc/app.conf: {from: app.conf}}, "))
    cli.ok("up", path)
    source.write_text("two\n")
    assert "/etc/app.conf" in cli("plan", path).stdout
    cli.ok("up", path)
    assert cli.ok("exec", "h1", "--", "cat", "/etc/app.conf") == "two\n"


# ---------------------------------------------------------------- commands
@pytest.fixture
def lab(cli: Cli) -> Cli:
    cli.ok("up", cli.lab(LAB.format(lab="unlucky")))
    return cli


def test_huge_output_arrives_whole(lab: Cli) -> None:
    with subprocess.Popen(
        [lab.program, "exec", "h1", "--", "head", "-c", "50000000", "/dev/zero"],
        stdout=subprocess.PIPE, env=lab.environment, cwd=lab.directory,
    ) as command:  # fmt: skip
        assert command.stdout is not None
        total = sum(len(chunk) for chunk in iter(lambda: command.stdout.read(1 << 20), b""))  # type: ignore[union-attr]
        assert command.wait(30) == 0
    assert total == 50_000_000


def test_a_reader_that_goes_away_ends_the_command(lab: Cli) -> None:
    with subprocess.Popen(
        [lab.program, "exec", "h1", "--", "yes"], stdout=subprocess.PIPE, env=lab.environment, cwd=lab.directory
    ) as command:
        assert command.stdout is not None
        command.stdout.read(1000)
        command.stdout.close()
        assert command.wait(10) == 128 + signal.SIGPIPE
    assert lab("exec", "h1", "--", "pgrep", "yes").returncode == 1


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_ends_the_command_in_the_node(lab: Cli, number: int, status: int) -> None:
    command = lab.start("exec", "h1", "--", "sleep", "600")
    until(lambda: lab("exec", "h1", "--", "pgrep", "-x", "sleep").returncode == 0, what="it runs")
    command.send_signal(number)
    assert command.wait(10) == status
    assert lab("exec", "h1", "--", "pgrep", "-x", "sleep").returncode == 1


def test_a_killed_client_takes_its_command_along(lab: Cli) -> None:
    command = lab.start("exec", "h1", "--", "sleep", "601")
    until(lambda: lab("exec", "h1", "--", "pgrep", "-x", "sleep").returncode == 0, what="it runs")
    command.kill()
    command.wait(10)
    until(lambda: lab("exec", "h1", "--", "pgrep", "-x", "sleep").returncode == 1, what="it ends")


def test_commands_that_cannot_run_say_why_and_hold_nothing(lab: Cli) -> None:
    assert "nobody-here" in is_clean(lab("exec", "nobody-here", "--", "true"), 2)
    assert "no-such-command" in is_clean(lab("exec", "h1", "--", "no-such-command"), 127)
    is_clean(lab("exec", "h1", "--", "/etc/hostname"), 126)
    assert "nobody-knows" in is_clean(lab("exec", "-u", "nobody-knows", "h1", "--", "true"), 126)
    is_clean(lab("exec", "h1", "--", "echo", "x" * 100_000), 0)
    lab.ok("stop", "h2")
    assert "h2" in is_clean(lab("exec", "h2", "--", "true"), 125)


def test_a_node_that_exhausts_its_processes_does_not_mislead_the_lab(lab: Cli) -> None:
    fork = (
        "import os, time\nchildren = 0\ntry:\n    while True:\n        if not os.fork():\n            time.sleep(60)\n"
    )
    fork += "            os._exit(0)\n        children += 1\nexcept OSError:\n    print(children, flush=True)\n"
    fork += "    time.sleep(60)\n"
    bomb = lab.start("exec", "h1", "--", "python3", "-c", fork, stdout=subprocess.PIPE)
    assert bomb.stdout is not None
    assert int(bomb.stdout.readline()) > 100  # now there is not one process more to have
    refused = lab("exec", "h2", "--", "true")
    assert refused.returncode in (0, 125), refused.stderr
    assert "Traceback" not in refused.stderr
    refused = lab("launch", "h2/x")
    assert refused.returncode in (0, 1), refused.stderr
    assert "Traceback" not in refused.stderr
    bomb.kill()
    bomb.communicate(timeout=30)
    until(lambda: lab("exec", "h1", "--", "sh", "-c", "test $(ps -e | wc -l) -lt 20").returncode == 0, 20, "it ends")
    lab("rm", "h2/x")
    lab.ok("launch", "h2/y")
    assert "h2" in lab.ok("exec", "h2", "--", "hostname")
    pings(lab, "h1", "10.0.0.2")
    assert lab("plan", str(lab.directory / "lab.yaml")).returncode == 0


# ---------------------------------------------------------------- terminals
PROMPT = r"[$#] (?:\x1b\[\?2004h)?$"


def lines_of(cli: Cli, node: str) -> list[tuple[str, int]]:
    return [(line["line"], line["status"]) for line in cli.json("history", node)["lines"]]


def test_a_terminal_has_a_prompt_its_size_and_its_history(lab: Cli) -> None:
    with Terminal(lab, "sh", "h1", rows=33, columns=101) as screen:
        screen.expect(PROMPT)
        screen.types("stty size\r")
        screen.expect(r"33 101")
        screen.resize(44, 120)
        screen.expect(PROMPT)
        screen.types("sleep 0.3; stty size\r")
        screen.expect(r"44 120")
        screen.types("false\r")
        screen.expect(PROMPT)
        screen.types("read -s secret\r")
        screen.expect("secret")
        until(lambda: "[1]" in lab.ok("history", "h1"), what="false is in the history")
        screen.types("hunter2\r")
        screen.expect(PROMPT)
        screen.types("echo ${#secret} letters\r")
        screen.expect("7 letters")
        screen.types("exit 5\r")
        assert screen.process.wait(10) == 5
    lines = lines_of(lab, "h1")
    assert ("false", 1) in lines
    assert ("stty size", 0) in lines
    assert ("read -s secret", 0) in lines
    assert "hunter2" not in str(lines)
    assert "hunter2" not in "".join(file.read_text() for file in Path(lab.environment["XDG_STATE_HOME"]).rglob("*.*"))


def test_no_record_records_nothing(lab: Cli) -> None:
    with Terminal(lab, "sh", "h1", "--no-record") as screen:
        screen.expect(PROMPT)
        screen.types("echo quiet$((1 + 1))\r")
        screen.expect("quiet2")
        screen.types("exit\r")
        assert screen.process.wait(10) == 0
    assert lines_of(lab, "h1") == []


def test_closing_the_terminal_ends_the_shell_and_what_runs_in_it(lab: Cli) -> None:
    with Terminal(lab, "sh", "h1") as screen:
        screen.expect(PROMPT)
        screen.types("sleep 700\r")
        until(lambda: lab("exec", "h1", "--", "pgrep", "-x", "sleep").returncode == 0, what="it runs")
    until(lambda: lab("exec", "h1", "--", "pgrep", "-x", "sleep|bash").returncode == 1, what="all of it ends")


def test_ctrl_c_in_a_terminal_ends_the_command_and_not_the_shell(lab: Cli) -> None:
    with Terminal(lab, "sh", "h1") as screen:
        screen.expect(PROMPT)
        screen.types("sleep 800\r")
        until(lambda: lab("exec", "h1", "--", "pgrep", "-x", "sleep").returncode == 0, what="it runs")
        screen.types("\x03")
        screen.expect(PROMPT)
        screen.types("echo status $?\r")
        screen.expect("status 130")
        screen.types("exit\r")
        screen.process.wait(10)


def test_a_terminal_that_nobody_reads_stops_and_goes_on(lab: Cli) -> None:
    with Terminal(lab, "exec", "h1", "--", "seq", "1", "2000000") as screen:
        screen.expect(r"\n1000\r")
        pid = keeper(lab, "unlucky")
        status = Path(f"/proc/{pid}/status")
        before = int(re.findall(r"VmRSS:\s+(\d+)", status.read_text())[0])
        pings(lab, "h1", "10.0.0.2")  # the keeper serves others meanwhile
        lab.ok("show")
        after = int(re.findall(r"VmRSS:\s+(\d+)", status.read_text())[0])
        assert after - before < 16_000, "what nobody reads piles up in the keeper"
        screen.seen = ""
        screen.expect(r"\n20000\r\n", 30)
    until(lambda: lab("exec", "h1", "--", "pgrep", "-x", "seq").returncode == 1, what="it ends with its terminal")


def test_a_killed_keeper_ends_its_terminals_with_a_sentence(lab: Cli) -> None:
    with Terminal(lab, "sh", "h1") as screen:
        screen.expect(PROMPT)
        os.kill(keeper(lab, "unlucky") or 0, signal.SIGKILL)
        screen.expect("the keeper ended")
        assert screen.process.wait(10) == 125
    assert pid_one(lab, "unlucky") is not None
    until(lambda: lab("exec", "h1", "--", "pgrep", "-x", "bash").returncode == 1, what="its shell ends")
