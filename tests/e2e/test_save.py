"""A lab saved and built again: what was typed in its shells, the files written in it, what was done to its nodes."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from conftest import Cli, until
from terminal import Terminal

from trenza.client.archive import read_archive, write_archive
from trenza.client.labfiles import shipped_labs

pytestmark = [pytest.mark.kernel, pytest.mark.side_by_side]

PROMPT = r"root@\w+:\S+# "


def pings(cli: Cli, node: str, target: str) -> bool:
    return cli("exec", "--no-record", node, "--", "ping", "-c", "1", "-W", "1", target).returncode == 0


def solve_by_hand(cli: Cli) -> None:
    """Bridged-lan's solution under other names: from a script, by `exec`, with containers from outside and inside."""
    cli.ok("launch", "host1/left")
    cli.types("host2", "trenza launch right")
    for number, name in ((1, "left"), (2, "right")):
        cli.types(
            f"host{number}",
            "ip link add sw type bridge",
            "ip link set sw up",
            "ip link set eth0 master sw",
            f"pid=$(trenza info {name} | sed -n 's/^PID: //p')",
            "ip link add vx type veth peer name eth0 netns $pid",
            "ip link set vx master sw up",
        )
        cli.ok("exec", name, "--", "ip", "addr", "add", f"10.0.0.{10 + number}/24", "dev", "eth0")
        cli.ok("exec", name, "--", "ip", "link", "set", "eth0", "up")


def rebuilt(cli: Cli, name: str = "bridged-lan") -> dict[str, object]:
    """Save, end, and build again; what `up` says."""
    cli.ok("save", "-o", "mine.trenza")
    cli.ok("down", name)
    result = cli("up", "mine.trenza", "-f", "json")
    told: dict[str, object] = json.loads(result.stdout)
    schema = json.loads(cli.ok("schema", "replay"))
    jsonschema.validate(told, schema)
    assert result.returncode == (0 if told["same"] else 1)
    return told


def test_a_lab_solved_by_hand_is_built_again_from_its_archive(cli: Cli) -> None:
    cli.ok("up", "bridged-lan", "--start")
    solve_by_hand(cli)
    assert pings(cli, "left", "10.0.0.12")
    told = rebuilt(cli)
    assert told["same"], told
    assert told["skipped"] == [] and told["other_status"] == []
    assert pings(cli, "left", "10.0.0.12") and pings(cli, "right", "10.0.0.11")
    # and what was built again can be saved again
    assert rebuilt(cli)["same"]
    assert pings(cli, "right", "10.0.0.11")


WITHOUT_ETCD = """\
lab: alone
switches: {lan: {}}
hosts:
  m: {nics: {eth0: {to: lan, ip: 10.9.0.1/24}}}
  w: {nics: {eth0: {to: lan, ip: 10.9.0.2/24}}}
cluster: {master: m, nodes: [w], store: embedded}
"""


def test_a_lab_made_without_etcd_is_built_again_without_it(cli: Cli) -> None:
    (cli.directory / "lab.yaml").write_text(WITHOUT_ETCD)
    cli.ok("up")
    cli.ok("save", "-o", "mine.trenza")
    cli.ok("down", "alone")
    archive = cli.directory / "mine.trenza"
    saved = read_archive(archive)
    assert saved.manifest.has_etcd
    # the same lab as of a machine without etcd whose lab file asks for it
    elsewhere = replace(saved.manifest, has_etcd=False)
    write_archive(replace(saved, manifest=elsewhere, source=saved.source.replace(b"embedded", b"etcd")), archive)
    result = cli("up", "mine.trenza", "-f", "json")
    told = json.loads(result.stdout)
    assert told["same"] and result.returncode == 0, told
    assert [one["kind"] for one in cli.json("show", "cluster")["store"]["members"]] == ["embedded"]
    # and what was built again is saved as it is
    cli.ok("save", "-o", "again.trenza")
    assert not read_archive(cli.directory / "again.trenza").manifest.has_etcd


def test_shells_keep_their_directory_and_variables_and_the_shells_within_them(cli: Cli) -> None:
    cli.ok("up", "bridged-lan", "--start")
    with Terminal(cli, "sh", "host1") as shell:
        for line in (
            "mkdir -p /srv/a && cd /srv/a",
            "word=hello",
            "write() { echo $word $1 >> note; }",
            "write one",
            "ip netns add deep",
            "ip netns exec deep bash",
            "ip link set lo up; ip addr add 10.7.0.1/32 dev lo",
            "word=inner",
            "echo $word > within",
        ):
            shell.expect(PROMPT)
            shell.types(f"{line}\n")
        shell.expect(PROMPT)
        shell.types("exit\n")
        shell.expect(PROMPT)
        shell.types("write two\n")
        shell.expect(PROMPT)
        shell.types("nano note\n")
        shell.types("\x18\x18")
        shell.expect(PROMPT)
        shell.types("sleep 3000 &\n")
        shell.expect(PROMPT)
        shell.types("sleep 4000\n")
        until(lambda: "sleep 4000" in cli.ok("exec", "--no-record", "host1", "--", "ps", "ax"))
        told = rebuilt(cli)
    assert told["same"], told
    assert told["other_status"] == []
    assert cli.ok("exec", "host1", "--", "cat", "/srv/a/note", "/srv/a/within") == "hello one\nhello two\ninner\n"
    assert "10.7.0.1/32" in cli.ok("exec", "host1", "--", "ip", "-n", "deep", "addr")
    assert "10.7.0.1" not in cli.ok("exec", "host1", "--", "ip", "addr")
    processes = cli.ok("exec", "host1", "--", "ps", "ax")
    assert "sleep 3000" in processes and "sleep 4000" in processes


def test_pids_that_were_typed_are_those_of_the_same_containers(cli: Cli) -> None:
    cli.ok("up", "bridged-lan", "--start")
    cli.types("host1", *["true & wait"] * 20)
    cli.ok("launch", "host1/c1")
    nodes = cli.json("show")["nodes"]
    pid = next(node["pid_in_host"] for node in nodes if node["name"] == "host1/c1")
    with Terminal(cli, "sh", "host1") as shell:
        shell.expect(PROMPT)
        shell.types(f"ip link add v1 type veth peer name eth0 netns {pid}\n")
        shell.expect(PROMPT)
        told = rebuilt(cli)
    assert told["same"] and told["other_status"] == [], told
    assert "eth0" in cli.ok("exec", "c1", "--", "ip", "link")


def test_what_is_done_from_outside_is_done_again_in_order(cli: Cli) -> None:
    cli.ok("up", "bridged-lan")
    Path(cli.directory, "script").write_text("#!/bin/sh\nip link add br9 type bridge\n")
    Path(cli.directory, "script").chmod(0o755)
    cli.ok("cp", "script", "host1:/root/script")
    cli.ok("exec", "host1", "--", "/root/script")
    cli.ok("stop", "c2")
    cli.ok("start", "c2")
    cli.ok("fault", "down", "host1.br0", "--for", "1ms")
    until(lambda: "host1.br0" not in cli.ok("show", "faults"))
    cli.ok("fault", "down", "host2.br0")
    cli.ok("exec", "c1", "--", "sh", "-c", "echo 10.0.0.12 other >> /etc/hosts")
    cli("exec", "c1", "--", "false")
    told = rebuilt(cli)
    assert told["same"], told
    assert told["other_status"] == [] and told["commands"] == 8
    assert [one["line"] for one in told["skipped"]] == ["trenza fault down host1.br0 --for 1ms"]  # type: ignore[index, attr-defined]
    assert "br9" in cli.ok("exec", "host1", "--", "ip", "link")
    assert cli.ok("exec", "c1", "--", "cat", "/etc/hosts").count("other") == 1
    assert "br0" in cli.ok("show", "faults")


def test_what_differs_is_named_and_the_status_is_1(cli: Cli) -> None:
    cli.ok("up", "bridged-lan")
    cli.ok("exec", "--no-record", "host1", "--", "ip", "link", "set", "br0", "mtu", "1400")
    told = rebuilt(cli)
    assert not told["same"]
    assert any("mtu 1400 → 1500" in line for line in told["differences"]), told  # type: ignore[union-attr]
    cli.ok("down")
    assert "mtu 1400 → 1500" in cli("up", "mine.trenza").stdout
    cli.ok("down")
    spanish = cli("--lang", "es", "up", "mine.trenza").stdout
    assert "construido de nuevo" in spanish and "distinto de lo que dice mine.trenza" in spanish


def test_commands_that_would_not_end_are_skipped_or_interrupted_and_told(cli: Cli) -> None:
    cli.ok("up", "bridged-lan")
    with Terminal(cli, "sh", "c1") as shell:
        shell.expect(PROMPT)
        shell.types("ping 10.0.0.12\n")
        shell.expect("bytes from")
        shell.types("\x03")
        shell.expect(PROMPT)
        told = rebuilt(cli)
    assert [one["why"] for one in told["skipped"]] == ["it ends only when interrupted"]  # type: ignore[index, attr-defined]
    assert told["same"], told


def test_an_archive_refuses_what_it_would_overwrite_and_what_runs(cli: Cli) -> None:
    lab = cli.lab("lab: small\nhosts: {h1: {files: {/etc/given: {from: given}}}}\n")
    Path(cli.directory, "given").write_text("text\n")
    cli.ok("up", lab)
    cli.ok("save")
    with tarfile.open(Path(cli.directory, "small.trenza")) as tar:
        names = tar.getnames()
    assert names == ["manifest.json", "lab.yaml", "sources/given", "commands.jsonl", "state.json"]
    assert "already runs" in cli("up", "small.trenza").stderr
    refused = cli("save", "--as", lab)
    assert refused.returncode == 2 and "already there" in refused.stderr
    Path(cli.directory, "given").unlink()
    cli.ok("up", "small.trenza", "--as", "second")
    assert cli.ok("exec", "-l", "second", "h1", "--", "cat", "/etc/given") == "text\n"
    cli.ok("up", "small.trenza", "--reset", "--yes")
    assert cli("up", "small.trenza", "--as", "third", "--start").returncode == 2
    assert "trenza up small.trenza" in cli("lint", "small.trenza").stderr


def test_no_archive_reaches_files_beside_it(cli: Cli) -> None:
    from trenza.client.archive import Manifest, Saved, write_archive

    Path(cli.directory, "secret").write_text("other student's\n")
    source = b"lab: thief\nhosts: {h1: {files: {/etc/given: {from: secret}}}}\n"
    write_archive(Saved(Manifest("thief", "full", 0), source), Path(cli.directory, "thief.trenza"))
    refused = cli("up", "thief.trenza")
    assert refused.returncode == 2
    assert cli.ok("ls").strip() == "no lab is running"


@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize("name", shipped_labs())
def test_a_lab_comes_up_the_same_from_its_export(cli: Cli, name: str, start: bool) -> None:
    words = ["--profile", "fast"] if name == "balanced-web" else []
    cli.ok("up", name, *words, *(["--start"] if start else []))
    cli.ok("save", "-o", "one.trenza")
    export = cli("save", "--as", "again.yaml")
    assert export.returncode == 0 and export.stderr == "", export.stderr
    cli.ok("down")
    cli.ok("up", "again.yaml")
    cli.ok("save", "-o", "two.trenza")
    states = []
    for archive in ("one.trenza", "two.trenza"):
        with tarfile.open(Path(cli.directory, archive)) as tar:
            member = tar.extractfile("state.json")
            assert member is not None
            states.append(json.load(member))
    assert states[0] == states[1]


def test_a_lab_changed_by_hand_comes_up_the_same_from_its_export(cli: Cli) -> None:
    cli.ok("up", "bridged-lan", "--start")
    solve_by_hand(cli)
    cli.ok("exec", "host1", "--", "ip", "route", "add", "blackhole", "10.99.0.0/16")
    cli.ok("exec", "host1", "--", "ip", "neigh", "add", "10.0.0.77", "lladdr", "02:00:00:00:00:77", "dev", "sw")
    export = cli("save", "--as", "mine.yaml")
    assert export.returncode == 0
    assert "10.0.0.77" in export.stderr and "10.0.0.77" in Path(cli.directory, "mine.yaml").read_text()
    cli.ok("down")
    cli.ok("up", "mine.yaml")
    assert pings(cli, "left", "10.0.0.12")
    assert cli.ok("plan") == "nothing to do\n"
    assert "blackhole 10.99.0.0/16" in cli.ok("exec", "host1", "--", "ip", "route")


def test_what_a_stranger_typed_harms_only_their_own_replay(cli: Cli) -> None:
    from trenza.client.archive import Manifest, Saved, SavedCommand, SavedFile, write_archive

    def typed(number: int, line: str, **more: object) -> SavedCommand:
        return SavedCommand("h1", line, 0, number, number, "s", "1.1", **more)  # type: ignore[arg-type]

    commands = (
        typed(0, "exec 3<&- 4<&-; kill -9 -1"),
        typed(1, "while :; do :; done"),
        typed(2, "trap '' INT TERM HUP; sleep 1000"),
        typed(3, "kill -9 $$"),
        typed(4, "printf '0\\0' > /proc/$$/fd/4; cat /proc/$$/fd/3"),
        typed(5, ":(){ :|:& };:"),
        typed(6, "dd if=/dev/zero of=/root/full bs=1M"),
        SavedCommand("h9", "ls", 0, 7, 7),
        SavedCommand("h1", "echo 'unclosed", 0, 8, 8),
        SavedCommand("h1", "bash", 0, 9, 9, user="nobody-at-all"),
        SavedCommand("", "trenza stop h1", 0, 10, 10, action={"verb": "stop", "node": "h1"}),
        SavedCommand("", "trenza stop h1", 0, 11, 11, action={"verb": "stop", "node": "h1"}),
    )
    saved = Saved(
        Manifest("stranger", "full", 0, launched={"h9/c": "h9"}),
        b"lab: stranger\nhosts: {h1: {}}\n",
        commands=commands,
        files=(SavedFile("h1", "/../../etc/x", b""), SavedFile("h9", "/x", b""), SavedFile("h1", "/proc/sys/x", b"")),
    )
    with pytest.raises(Exception, match="etc/x"):
        write_archive(saved, Path(cli.directory, "stranger.trenza"))
        cli.ok("up", "stranger.trenza")
    write_archive(
        Saved(saved.manifest, saved.source, commands=commands, files=saved.files[1:]), Path(cli.directory, "s.trenza")
    )
    script = (
        "import sys; from pathlib import Path; from trenza.client.archive import read_archive\n"
        "from trenza.client.replay import replay\n"
        "outcome = replay(read_archive(Path('s.trenza')), command_deadline_s=1, total_deadline_s=60, settle_s=0)\n"
        "print(len(outcome.other_status), outcome.same)"
    )
    python = str(Path(cli.program).with_name("python"))
    cli.program, program = python, cli.program
    try:
        told = cli.ok("-c", script, timeout_s=120)
    finally:
        cli.program = program
    assert int(told.split()[0]) >= 8, told
    assert "stranger" in cli.ok("ls")
    cli.ok("down", "stranger")


def test_shells_of_containers_within_a_hosts_shell_and_files_typed_as_they_are(cli: Cli) -> None:
    cli.ok("up", "bridged-lan")
    with Terminal(cli, "sh", "host1") as shell:
        for line in (
            "trenza sh c1",
            "cat > /root/note <<END\nfirst $HOSTNAME\n  second\nEND",
            "for i in 1 2; do\necho $i >> /root/counted\ndone",
            "ip addr add 10.8.0.1/32 dev lo",
            "exit",
            "cp /etc/hosts /root/hosts; trenza stop c1; trenza start c1",
            "trenza launch extra",
            "ip link set br0 mtu 1300",
        ):
            shell.expect(PROMPT)
            shell.types(f"{line}\n")
        shell.expect(PROMPT)
    cli.ok("exec", "extra", "--", "touch", "/root/made")
    cli.ok("stop", "extra")
    lines = [line["line"] for line in cli.json("history")["lines"]]
    assert lines[0].startswith("cat > /root/note") and "trenza sh c1" in lines
    told = rebuilt(cli)
    assert told["same"], told
    assert told["other_status"] == [] and told["skipped"] == []
    assert cli.ok("exec", "c1", "--", "cat", "/root/note", "/root/counted") == "first c1\n  second\n1\n2\n"
    cli.ok("start", "extra")
    cli.ok("exec", "extra", "--", "test", "-e", "/root/made")


def test_a_service_with_vrrp_made_by_hand_settles_as_it_was(cli: Cli) -> None:
    lab = "lab: vrrp\nswitches: {lan: {}}\nhosts: {a: {nics: {eth0: lan}}, b: {nics: {eth0: lan}}}\n"
    cli.ok("up", cli.lab(lab))
    for number, node in enumerate("ab", 1):
        config = (
            f"vrrp_instance V {{\n interface eth0\n virtual_router_id 7\n priority {number}0\n advert_int 1\n"
            " virtual_ipaddress {\n  10.0.0.254/24\n }\n}\n"
        )
        cli.types(
            node,
            f"ip addr add 10.0.0.{number}/24 dev eth0",
            f"mkdir -p /etc/keepalived; cat > /etc/keepalived/k.conf <<E\n{config}E",
            "keepalived --vrrp -f /etc/keepalived/k.conf",
        )
    until(lambda: "10.0.0.254" in cli.ok("exec", "--no-record", "b", "--", "ip", "addr"), 15)
    until(lambda: "10.0.0.254" not in cli.ok("exec", "--no-record", "a", "--", "ip", "addr"), 15)
    told = rebuilt(cli, "vrrp")
    assert told["same"], told
    assert "10.0.0.254" in cli.ok("exec", "b", "--", "ip", "addr")


def test_a_declared_service_with_another_config_is_built_again(cli: Cli) -> None:
    cli.ok("up", "balanced-web", "--profile", "fast")
    cli.types(
        "bal1",
        "sed -i s/roundrobin/leastconn/ /etc/haproxy/haproxy.cfg",
        "/etc/init.d/haproxy restart",
    )
    until(lambda: cli("exec", "--no-record", "bal1", "--", "/etc/init.d/haproxy", "status").returncode == 0)
    told = rebuilt(cli, "balanced-web")
    assert told["same"], told
    assert "leastconn" in cli.ok("exec", "bal1", "--", "cat", "/etc/haproxy/haproxy.cfg")
    cli.ok("save", "--as", "again.yaml")
    assert "leastconn" in Path(cli.directory, "again.yaml").read_text()
