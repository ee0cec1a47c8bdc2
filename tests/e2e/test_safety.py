"""What a lab cannot do to the machine, to its owner's files, and to other labs."""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import Cli, until

pytestmark = pytest.mark.kernel

TWIN = "lab: twin\nswitches: {lan: {}}\nhosts:\n  h1: {nics: {eth0: {to: lan, ip: 10.0.0.1/24}}}\n"


@pytest.fixture
def one(cli: Cli) -> Cli:
    cli.ok("up", cli.lab(TWIN + "  h2: {nics: {eth0: {to: lan, ip: 10.0.0.2/24}}}\n"))
    return cli


def python(cli: Cli, node: str, code: str) -> str:
    result = cli("exec", node, "--", "/usr/bin/python3", "-c", code)
    return result.stdout + result.stderr


def test_the_owners_files_and_the_machines_secrets_are_not_there(one: Cli, tmp_path: Path) -> None:
    secret = tmp_path / "home" / "secret"
    secret.write_text("nothing for a lab")
    for path in (
        str(secret),
        str(tmp_path),
        "/etc/shadow",
        "/etc/ssh",
        "/root/.ssh",
        "/home/" + os.environ.get("USER", "x"),
    ):
        assert one("exec", "h1", "--", "ls", path).returncode != 0, path
    found = one.ok("exec", "h1", "--", "sh", "-c", "cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'")
    assert str(tmp_path) not in found
    accounts = one.ok("exec", "h1", "--", "cut", "-d:", "-f3", "/etc/passwd").split()
    assert all(int(uid) < 1000 or int(uid) == 65534 for uid in accounts)


def test_the_machines_processes_and_interfaces_are_not_there(one: Cli) -> None:
    processes = one.ok("exec", "h1", "--", "ps", "-e", "-o", "comm=").split()
    assert sorted(set(processes)) == ["init", "ps"] or set(processes) == {"catatonit", "ps"}, processes
    links = re.findall(r"^\d+: ([^@:]+)", one.ok("exec", "h1", "--", "ip", "link"), re.MULTILINE)
    assert sorted(links) == ["eth0", "lo"]


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("bpf", "r = libc.syscall(321, 0, 0, 0)"),
        ("io_uring", "r = libc.syscall(425, 8, ctypes.create_string_buffer(120))"),
        ("keyctl", "r = libc.syscall(250, 0, -3, 1)"),
        ("perf_event_open", "r = libc.syscall(298, ctypes.create_string_buffer(128), 0, -1, -1, 0)"),
        ("userfaultfd", "r = libc.syscall(323, 1)"),
        ("init_module", "r = libc.syscall(175, 0, 0, b'')"),
        ("mknod of a device", "r = libc.mknod(b'/tmp/device', 0o020666, os.makedev(1, 1))"),
        ("typing into a terminal", "r = libc.ioctl(0, 0x5412, b'x')"),
    ],
)
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="system call numbers of x86_64")
def test_refused_system_calls(one: Cli, what: str, code: str) -> None:
    prefix = "import ctypes, os; libc = ctypes.CDLL(None, use_errno=True); "
    assert python(one, "h1", f"{prefix}{code}; print(r, ctypes.get_errno())").split() == ["-1", "1"], what


def test_exec_and_sh_have_the_same_limits_as_the_init(one: Cli) -> None:
    def limits(text: str) -> list[str]:
        return re.findall(r"^(?:CapBnd|CapEff|NoNewPrivs|Seccomp):\s*(\S+)", text, re.MULTILINE)

    of_init = limits(one.ok("exec", "h1", "--", "cat", "/proc/1/status"))
    of_command = limits(one.ok("exec", "h1", "--", "cat", "/proc/self/status"))
    of_shell = limits(one.types("h1", "cat /proc/self/status"))
    assert of_init == of_command == of_shell
    assert of_init[-2:] == ["1", "2"]
    assert (
        int(of_init[1], 16) & (1 << 16 | 1 << 17 | 1 << 22 | 1 << 25 | 1 << 39) == 0
    )  # module, rawio, boot, time, bpf


def test_no_descriptor_of_the_keeper_reaches_a_command(one: Cli) -> None:
    names = one.ok("exec", "h1", "--", "ls", "-l", "/proc/self/fd")
    open_ones = re.findall(r" (\d+) -> (\S+)", names)
    assert {number for number, target in open_ones if not target.startswith("/proc/")} == {"0", "1", "2"}, names


def test_machine_wide_settings_cannot_be_written(one: Cli) -> None:
    for path in (
        "/proc/sys/kernel/hostname_x",
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
        "/proc/sys/vm/swappiness",
    ):
        assert one("exec", "h1", "--", "sh", "-c", f"echo 1 > {path}").returncode != 0, path
    assert one("exec", "h1", "--", "touch", "/usr/bin/trenza-was-here").returncode != 0
    assert one("exec", "h1", "--", "mount", "-o", "remount,rw", "/usr").returncode != 0


def test_links_in_a_node_do_not_lead_the_keeper_astray(one: Cli, tmp_path: Path) -> None:
    victim = tmp_path / "home" / "victim"
    victim.write_text("mine")
    one.types("h1", f"mkdir -p /srv && ln -s {tmp_path}/home /srv/away && ln -s {victim} /etc/victim")
    source = tmp_path / "work" / "file"
    source.write_text("theirs")
    one("cp", str(source), "h1:/srv/away/victim")
    one("cp", str(source), "h1:/etc/victim")
    assert victim.read_text() == "mine"
    assert one("cp", "h1:/srv/away/secret", str(tmp_path / "work" / "stolen")).returncode != 0


def test_files_of_a_lab_come_from_below_its_directory_only(cli: Cli, tmp_path: Path) -> None:
    outside = tmp_path / "home" / "outside"
    outside.write_text("not for labs")
    (cli.directory / "link").symlink_to(outside)
    text = "lab: out\nhosts:\n  h1:\n    files: {/etc/x: {from: link}}\n"
    result = cli("up", cli.lab(text))
    assert result.returncode == 2
    assert "link" in result.stderr
    assert cli("ls").stdout.count("out") == 0


def test_twin_labs_never_exchange_a_packet(cli: Cli) -> None:
    cli.ok("up", cli.lab(TWIN), "--as", "first")
    cli.ok("up", cli.lab(TWIN + "  h2: {nics: {eth0: {to: lan, ip: 10.0.0.2/24}}}\n"), "--as", "second")
    silent = cli("exec", "--lab", "first", "h1", "--", "ping", "-c", "2", "-i", "0.2", "-W", "1", "10.0.0.2")
    assert "100% packet loss" in silent.stdout
    cli.ok("exec", "--lab", "second", "h1", "--", "ping", "-c", "1", "10.0.0.2")


def processes(command: bytes) -> int:
    """How many of them there are on the whole machine."""
    count = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            count += path.read_bytes() == command
    return count


def test_a_fork_bomb_ends_with_its_lab(one: Cli) -> None:
    bomb = one.start("exec", "h1", "--", "sh", "-c", "while :; do sleep 6025 & done 2>/dev/null")
    try:
        until(lambda: processes(b"sleep\x006025\x00") > 1000, 60, "the bomb grows")
        assert one("show").returncode == 0  # the keeper still answers
    finally:
        one.ok("down", "twin")
        bomb.wait(10)
    assert processes(b"sleep\x006025\x00") == 0


WATCH_FORKS = """
import os, time
seen, end = set(), time.monotonic() + 4
while time.monotonic() < end:
    for pid in os.listdir("/proc"):
        if pid.isdigit() and int(pid) not in (1, os.getpid()):
            try:
                if open(f"/proc/{pid}/comm").read().strip() != "trenza-spawner":
                    continue
                seen.add("fork")
                held = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
                if open(f"/proc/{pid}/comm").read().strip() == "trenza-spawner":  # not the command it became meanwhile
                    seen.update(held)
            except OSError:
                continue
print(sorted(seen))
"""


def test_a_fork_of_the_spawner_shows_a_node_nothing(one: Cli) -> None:
    one.types("h1", f"cat > /root/watch.py <<'END'{WATCH_FORKS}END")
    watcher = one.start("exec", "h1", "--", "/usr/bin/python3", "/root/watch.py", stdout=subprocess.PIPE)
    while watcher.poll() is None:
        one.ok("exec", "h1", "--", "true")
    assert watcher.stdout is not None
    seen = watcher.stdout.read().strip()
    watcher.stdout.close()
    assert seen in ("['fork']", "[]"), seen


def test_a_command_holds_no_file_or_terminal_of_the_persons(one: Cli) -> None:
    here = one.directory / "input"
    here.write_text("mine\n")
    there = one.directory / "output"
    with here.open() as given, there.open("w") as taken:
        shown = one.start("exec", "h1", "--", "sh", "-c", "cat; readlink /proc/self/fd/0 /proc/self/fd/1",
                          stdin=given, stdout=taken)  # fmt: skip
        assert shown.wait(20) == 0
    lines = there.read_text().splitlines()
    assert lines[0] == "mine"
    assert all(line.startswith("pipe:") for line in lines[1:]), lines


def test_a_door_changes_no_file_behind_a_link(one: Cli, tmp_path: Path) -> None:
    victim = tmp_path / "home" / "victim"
    victim.write_text("mine")
    victim.chmod(0o600)
    one.types("h1", f"rm /run/trenza.socket && ln -s {victim} /run/trenza.socket")
    one.ok("launch", "h1/x")  # the keeper looks after its doors again
    one.ok("restart", "h1")
    assert victim.stat().st_mode & 0o777 == 0o600
    assert one.ok("exec", "h1", "--", "trenza", "ls").startswith("NAME")
    assert one.ok("exec", "h1", "--", "stat", "-c", "%a", "/run/trenza.socket") == "666\n"


KNOCK = """
import socket, struct, sys
doors = []
for number in range(200):
    door = socket.socket(socket.AF_UNIX)
    door.settimeout(1)
    try:
        door.connect("/run/trenza.socket")
        door.sendall({})
    except OSError:
        pass
    doors.append(door)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    "sent",
    ["b''", "struct.pack('!I', 60 << 20) + b'x' * 65536", "struct.pack('!I', 4000) + b'[' * 4000"],
    ids=["silence", "a huge half frame", "a deep nest"],
)
def test_knocking_at_a_door_does_not_keep_the_keeper_busy(one: Cli, sent: str) -> None:
    before = one.ok("exec", "h2", "--", "trenza", "ls")
    knocker = one.start("exec", "h1", "--", "/usr/bin/python3", "-c", KNOCK.format(sent), stdin=subprocess.PIPE)
    try:
        for _ in range(5):
            assert one.ok("exec", "h2", "--", "trenza", "ls", timeout_s=10) == before
            one.ok("show", timeout_s=10)
    finally:
        assert knocker.stdin is not None
        knocker.stdin.close()
        knocker.wait(30)
    assert one.ok("exec", "h2", "--", "trenza", "ls") == before


def test_names_made_in_a_node_do_nothing_to_a_terminal(one: Cli) -> None:
    one.types("h1", r"""ip link add "$(printf 'a\033]0;p\007')" type bridge""")
    for words in (("show", "links"), ("plan",), ("events",), ("show", "h1")):
        said = one(*words).stdout
        assert said
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", said), (words, said)


def test_dev_is_not_shared_for_writing(one: Cli) -> None:
    assert one("exec", "h1", "--", "ln", "-s", "/", "/dev/evil").returncode != 0


def test_a_fifo_for_accounts_or_logs_stops_nobody(cli: Cli) -> None:
    text = "lab: fifos\nhosts:\n  h1: {services: {web: {run: [sleep, '1000'], restart: always}}}\n  h2: {}\n"
    cli.ok("up", cli.lab(text))
    cli.types("h1", "rm /var/log/web.log /etc/passwd; mkfifo /var/log/web.log /etc/passwd; kill $(pidof sleep)")
    assert cli("exec", "-u", "nobody", "h1", "--", "true", timeout_s=10).returncode == 126
    cli.ok("exec", "h2", "--", "true", timeout_s=10)
    cli.ok("exec", "h1", "--", "true", timeout_s=10)


@pytest.mark.parametrize("source", [".ssh/key", "pipe", "folder"])
def test_what_is_no_plain_file_of_a_labs_is_not_placed(cli: Cli, source: str) -> None:
    (cli.directory / ".ssh").mkdir()
    (cli.directory / ".ssh/key").write_text("secret")
    (cli.directory / "folder").mkdir()
    os.mkfifo(cli.directory / "pipe")
    result = cli("up", cli.lab(f"lab: odd\nhosts:\n  h1: {{files: {{/etc/x: {{from: {source}}}}}}}\n"), timeout_s=20)
    assert result.returncode == 2, result.stdout
    assert source in result.stderr
    assert "Traceback" not in result.stderr
