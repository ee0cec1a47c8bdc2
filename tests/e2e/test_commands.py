"""The verbs, as people type them: what they print, what they return, what they say when something is misspelt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import Cli, until

from trenza.client.labfiles import shipped_labs

pytestmark = pytest.mark.kernel

LAB = """\
lab: pair
switches: {lan: {}}
hosts:
  h1: {nics: {eth0: {to: lan, ip: 10.0.0.1/24}}, services: {web: {run: [sleep, "1000"]}}}
  h2: {nics: {eth0: {to: lan, ip: 10.0.0.2/24}}, containers: {c1: {nics: {eth0: {to: lan, ip: 10.0.0.3/24}}}}}
"""


@pytest.fixture
def pair(cli: Cli) -> Cli:
    cli.ok("up", cli.lab(LAB))
    return cli


def test_bare_trenza_says_what_to_type_next(cli: Cli) -> None:
    assert "trenza up bridged-lan" in cli.ok()
    cli.ok("up", cli.lab(LAB))
    assert "trenza show" in cli.ok()


def test_up_says_what_there_is_and_what_to_type_next(cli: Cli) -> None:
    out = cli.ok("up", cli.lab(LAB))
    assert "pair is up in" in out
    assert "2 hosts, 1 container, 1 switch" in out
    for command in ("trenza show", "trenza sh c1", "trenza down pair"):
        assert command in out
    assert cli.ok("up") == "pair is as it should be\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("shwo",), "did you mean show?"),
        (("up", "bridgd-lan"), "did you mean bridged-lan?"),
        (("exec", "c11", "--", "true"), "did you mean c1?"),
        (("sh", "h9"), "did you mean h"),
        (("capture", "h1.eht0"), "did you mean eth0?"),
        (("launch", "web"), "trenza launch HOST/web"),
        (("launch", "h7/web"), "unknown node 'h7'"),
        (("down", "pear"), "running: pair"),
        (("start", "c1"), "already running"),
        (("cp", "a", "b"), "trenza cp FILE NODE:"),
        (("exec", "c1"), "no command given"),
        (("exec", "-e", "X", "c1", "--", "true"), "NAME=VALUE"),
    ],
)
def test_what_cannot_be_meant_is_answered_with_what_can(pair: Cli, words: tuple[str, ...], said: str) -> None:
    result = pair(*words)
    assert result.returncode == 2, result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_exec_returns_the_commands_own_status(pair: Cli) -> None:
    for command, status in ((["true"], 0), (["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -9 $$"], 137)):
        assert pair("exec", "c1", "--", *command).returncode == status
    missing = pair("exec", "c1", "--", "no-such-program")
    assert (missing.returncode, missing.stderr) == (127, "trenza: c1: no-such-program: command not found\n")
    assert pair("exec", "c1", "--", "/etc/passwd").returncode == 126
    pair.ok("stop", "c1")
    stopped = pair("exec", "c1", "--", "true")
    assert stopped.returncode == 125
    assert "trenza start h2/c1" in stopped.stderr


def test_exec_carries_stdin_user_directory_and_environment(pair: Cli) -> None:
    assert pair.ok("exec", "c1", "--", "cat", stdin="through\n") == "through\n"
    assert pair.ok("exec", "-u", "nobody", "c1", "--", "id", "-un") == "nobody\n"
    out = pair.ok("exec", "-w", "/usr", "-e", "WORD=hola", "c1", "--", "sh", "-c", "pwd; echo $WORD")
    assert out == "/usr\nhola\n"


def test_aliases_of_other_tools(cli: Cli) -> None:
    cli.ok("deploy", cli.lab(LAB))
    cli.ok("destroy", "pair")
    assert cli("destroy", "pair").returncode == 2


@pytest.mark.parametrize(
    "words",
    [
        ("show",), ("show", "links"), ("show", "addresses"), ("show", "routes"), ("show", "neighbours"),
        ("show", "fdb"), ("show", "stp"), ("show", "faults"), ("show", "services"),
        ("show", "c1"), ("ls",), ("history",), ("labs",), ("up",),
    ],
)  # fmt: skip
def test_json_is_of_the_schema_that_trenza_prints(pair: Cli, words: tuple[str, ...]) -> None:
    pair.ok("exec", "c1", "--", "ping", "-c", "1", "10.0.0.1")
    document = pair.json(*words)
    schema = json.loads(pair.ok("schema", document["kind"]))
    jsonschema.validate(document, schema)


def test_json_of_failures_is_of_its_schema_too(cli: Cli) -> None:
    for result in (
        cli("plan", cli.lab(LAB), "-f", "json"),
        cli("lint", cli.lab("lab: x\nhosts: {h: {nisc: {}}}\n"), "-f", "json"),
        cli("up", cli.lab("lab: x\nhosts: {h: {nisc: {}}}\n"), "-f", "json"),
        cli("show", "-f", "json"),
    ):
        document = json.loads(result.stdout)
        jsonschema.validate(document, json.loads(cli.ok("schema", document["kind"])))
        assert result.returncode in (1, 2)


def test_show_gives_pids_as_the_machine_and_the_host_know_them(pair: Cli) -> None:
    node = pair.json("show", "c1")["nodes"][0]
    command = Path(f"/proc/{node['pid']}/cmdline").read_bytes()
    assert command.startswith(b"/sbin/init")
    inside = pair.ok("exec", "h2", "--", "cat", f"/proc/{node['pid_in_host']}/cmdline")
    assert inside.startswith("/sbin/init")
    assert os.readlink(f"/proc/{node['pid']}/ns/net").removeprefix("net:") in pair.ok(
        "exec", "c1", "--", "readlink", "/proc/self/ns/net"
    )
    text = pair.ok("show", "c1")
    assert f"PID:    {node['pid']} " in text
    assert "10.0.0.3/24" in text


def test_show_knows_the_root_bridge(cli: Cli) -> None:
    stp = "ports: [p], stp: {priority: %s, forward_delay: 2, hello_time: 1, max_age: 6}"
    cli.ok("up", cli.lab(f"""\
lab: tree
cables: {{k: [h1.p, h2.p]}}
hosts:
  h1: {{nics: {{p: {{}}}}, bridges: {{br: {{{stp % 4096}}}}}}}
  h2: {{nics: {{p: {{}}}}, bridges: {{br: {{{stp % 8192}}}}}}}
"""))  # fmt: skip

    def roots() -> set[str]:
        return {bridge["root_id"] for bridge in cli.json("show", "stp")["stp"]}

    until(lambda: len(roots()) == 1, 15, "the bridges agree on a root")
    bridges = {bridge["node"]: bridge for bridge in cli.json("show", "stp")["stp"]}
    assert bridges["h1"]["is_root"]
    assert not bridges["h2"]["is_root"]
    assert bridges["h2"]["root_port"] == "p"
    assert bridges["h2"]["root_id"] == bridges["h1"]["bridge_id"]
    assert bridges["h2"]["ports"][0]["role"] == "root"
    assert "this bridge is the root" in cli.ok("show", "stp")


def test_show_stp_says_where_the_kernel_is_not_as_theory_says_and_why(cli: Cli) -> None:
    fast = "forward_delay: 2, hello_time: 1, max_age: 6"
    cli.ok("up", cli.lab(f"""\
lab: beside
cables: {{k: [h1.p, h2.p], l: [h1.q, h2.q]}}
hosts:
  h1: {{nics: {{p: {{}}, q: {{}}}}, bridges: {{br: {{ports: [p, q], stp: {{priority: 4096, {fast}}}}}}}}}
  h2: {{nics: {{p: {{}}, q: {{}}}}, bridges: {{br: {{ports: [p, q], stp: {{{fast}}}}}}}}}
"""))  # fmt: skip

    def ports(node: str) -> dict[str, Any]:
        (bridge,) = cli.json("show", "stp", node)["stp"]
        return {port["port"]: port for port in bridge["ports"]}

    def whys() -> set[str]:
        return {one["why"] for port in ports("h2").values() for one in port["differences"]}

    assert "still converging" in cli.ok("show", "stp")
    assert "aún converge" in cli.ok("--lang", "es", "show", "stp")
    until(lambda: not whys(), 15, "the kernel is as theory says")
    blocked = ports("h2")["q"]
    assert (blocked["state"], blocked["theory"]["role"]) == ("blocking", "alternate")
    assert blocked["theory"]["for_root"]["tie"] == "port-id"
    assert blocked["theory"]["for_root"]["by_number"]
    assert not blocked["theory"]["for_root"]["guessed"]
    # By hand: the cost that the student sets is part of what theory starts from.
    cli.ok("exec", "h2", "--", "brctl", "setpathcost", "br", "p", "10")
    until(lambda: ports("h2")["q"]["role"] == "root" and not whys(), 15, "the cheaper port is the root port")
    # A bridge that is down keeps its neighbours' carrier: they believe it until max age.
    cli.ok("exec", "h1", "--", "ip", "link", "set", "dev", "br", "down")
    assert "old-information" in whys()
    assert "until max age" in cli.ok("show", "stp")
    # Without STP, a port can be blocked by hand.
    cli.ok("exec", "h2", "--", "ip", "link", "set", "dev", "br", "type", "bridge", "stp_state", "0")
    cli.ok("exec", "h2", "--", "bridge", "link", "set", "dev", "p", "state", "4")
    assert "by-hand" in whys()


def test_cp_both_ways(pair: Cli, tmp_path: Path) -> None:
    here = pair.directory / "script"
    here.write_bytes(bytes(range(256)))
    here.chmod(0o755)
    pair.ok("cp", "script", "c1:/opt/new/place/")
    assert pair.ok("exec", "c1", "--", "stat", "-c", "%a %U", "/opt/new/place/script") == "755 root\n"
    pair.ok("cp", "c1:/opt/new/place/script", "back")
    assert (pair.directory / "back").read_bytes() == bytes(range(256))


def test_launch_stop_start_restart_rm(pair: Cli) -> None:
    pair.ok("launch", "h1/x")
    links = pair.ok("exec", "x", "--", "ip", "-br", "link").splitlines()
    assert [line.split()[0] for line in links] == ["lo"]
    pair.types("x", "echo kept > /root/file")
    pair.ok("restart", "x")
    assert pair.ok("exec", "x", "--", "cat", "/root/file") == "kept\n"
    pair.ok("rm", "x")
    assert "h1/x" not in {node["name"] for node in pair.json("show")["nodes"]}
    pair.ok("launch", "h1/x")
    assert pair("exec", "x", "--", "cat", "/root/file").returncode == 1
    pair.ok("restart", "h2")
    pair.ok("exec", "c1", "--", "ping", "-c", "1", "-W", "3", "10.0.0.1")
    pair.ok("exec", "h2", "--", "ping", "-c", "1", "-W", "3", "10.0.0.3")


def test_a_host_sees_and_rules_its_own_containers_only(pair: Cli) -> None:
    pair.ok("launch", "h1/mine")
    assert "c1" not in pair.ok("exec", "h1", "--", "trenza", "ls")
    for words in (("rm", "c1"), ("stop", "h2/c1"), ("launch", "h2/other")):
        assert pair("exec", "h1", "--", "trenza", *words).returncode == 2, words
    pair.ok("exec", "h1", "--", "trenza", "rm", "mine")
    assert "only hosts" in pair("exec", "c1", "--", "trenza", "ls").stderr


def test_history_keeps_what_was_run(pair: Cli) -> None:
    pair("exec", "c1", "--", "false")
    pair.ok("exec", "--no-record", "c1", "--", "true")
    lines = pair.json("history", "c1")["lines"]
    assert [(line["line"], line["status"]) for line in lines] == [("false", 1)]


def test_events_follow_and_filter(pair: Cli) -> None:
    follower = pair.start("events", "-f", "--kind", "link", "--format", "json", stdout=subprocess.PIPE)
    assert follower.stdout is not None
    pair.ok("exec", "h1", "--", "sh", "-c", "for i in 1 2 3; do ip link set eth0 down; ip link set eth0 up; done")
    first = json.loads(follower.stdout.readline())
    assert (first["kind"], first["node"], first["nic"]) == ("link", "h1", "eth0")
    pair.ok("down", "pair")
    assert follower.wait(10) == 0
    follower.stdout.close()


def test_the_lab_file_that_new_writes_comes_up(cli: Cli) -> None:
    cli.ok("new", "mine")
    cli.ok("lint", "mine", "--strict")
    cli.ok("up", "mine", "--wait")
    cli.ok("down", "mine")
    assert cli("new", "mine").returncode == 2


def test_spanish(cli: Cli) -> None:
    cli.environment["LANG"] = "es_ES.UTF-8"
    out = cli.ok("up", cli.lab(LAB))
    assert "en marcha en" in out
    assert "está como debe" in cli.ok("up")
    assert "en marcha" not in cli.ok("--lang", "en", "up")
    assert "no queda nada" in cli.ok("down", "pair")


def test_plan_and_dry_run_change_nothing(cli: Cli) -> None:
    dry = cli("up", cli.lab(LAB), "--dry-run")
    assert dry.returncode == 1
    assert "+ h1: host" in dry.stdout
    assert cli.ok("ls") == "no lab is running\n"
    cli.ok("up", "lab.yaml")
    assert cli.ok("plan") == "nothing to do\n"


def test_a_running_lab_keeps_the_way_it_was_started(cli: Cli) -> None:
    cli.ok("up", "bridged-lan", "--start")
    again = cli.ok("up", "bridged-lan")
    assert again.startswith("bridged-lan is as it should be\n")
    assert "--full --reset" in again
    cli.ok("exec", "host1", "--", "touch", "/root/mine")
    cli.ok("up", "--reset", "--yes")
    assert cli("exec", "host1", "--", "test", "-e", "/root/mine").returncode == 1
    assert {node["name"] for node in cli.json("show")["nodes"]} == {"lan", "host1", "host2"}
    other = cli("up", "bridged-lan", "--until", "1")
    assert other.returncode == 2
    assert "--reset" in other.stderr
    refused = cli("up", "bridged-lan", "--until", "1", "--reset")
    assert refused.returncode == 2, "without a terminal to ask on, it needs --yes"
    cli.ok("up", "bridged-lan", "--until", "1", "--reset", "--yes")
    assert "host1/c1" in {node["name"] for node in cli.json("show")["nodes"]}


def test_graph_is_mermaid(pair: Cli) -> None:
    text = pair.ok("graph")
    assert text.startswith(("flowchart", "graph", "---"))
    assert "10.0.0.3/24" in text


def test_capture_to_a_file_is_read_by_tshark(pair: Cli) -> None:
    capture = pair.start("capture", "c1.eth0", "h1", "-w", "both.pcapng", "-e", "icmp", "-c", "4",
                         stderr=subprocess.PIPE)  # fmt: skip
    assert capture.stderr is not None
    assert capture.stderr.readline().startswith("listening on h2/c1.eth0, h1")
    pair.ok("exec", "c1", "--", "ping", "-c", "1", "10.0.0.1")
    assert capture.wait(10) == 0
    capture.stderr.close()
    fields = ["-T", "fields", "-e", "frame.interface_name", "-e", "icmp.type"]
    read = subprocess.run(["tshark", "-r", str(pair.directory / "both.pcapng"), *fields], text=True,
                          capture_output=True, check=True, timeout=60)  # fmt: skip
    assert sorted(read.stdout.split("\n")[:4]) == sorted(["h2/c1.eth0\t8", "h1.eth0\t8", "h1.eth0\t0", "h2/c1.eth0\t0"])


def test_what_waits_for_a_lab_says_that_it_has_ended(pair: Cli) -> None:
    outage = ("outage", "--fault", "cut h1.eth0", "--probe", "ping h2 -> 10.0.0.1", "--deadline", "60s")
    commands = {
        words: pair.start(*words, stderr=subprocess.PIPE)
        for words in (("capture", "c1.eth0", "-w", "c1.pcapng"), ("events", "-f"), outage)
    }
    said = commands["capture", "c1.eth0", "-w", "c1.pcapng"].stderr
    assert said is not None and said.readline().startswith("listening")
    until(lambda: "cut" in pair.ok("show", "faults"), what="the fault")
    pair.ok("down")
    for words, command in commands.items():
        _, ended = command.communicate(timeout=10)
        assert (words, ended.splitlines()[-1]) == (words, "pair has ended")
        assert command.returncode == (1 if words == outage else 0)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_code_for_shells(cli: Cli, shell: str) -> None:
    assert "trenza" in cli.ok("completion", shell)


def completed(cli: Cli, line: str) -> set[str]:
    """What bash would offer after `line`, by argcomplete's own protocol."""
    environment = {**cli.environment, "_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)),
                   "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_SUPPRESS_SPACE": "1"}  # fmt: skip
    shell = ["bash", "-c", f'exec 8> "$1"; exec {cli.program}', "bash", str(cli.directory / "answers")]
    subprocess.run(shell, env=environment, check=False, timeout=30, cwd=cli.directory, capture_output=True)
    return {word.strip() for word in (cli.directory / "answers").read_text().split("\n") if word.strip()}


def test_completion_offers_verbs_labs_and_nodes(pair: Cli) -> None:
    assert {"show", "sh", "up", "exec"} <= completed(pair, "trenza ")
    assert set(shipped_labs()) <= completed(pair, "trenza up ")
    assert completed(pair, "trenza down ") == {"pair"}
    assert {"h1", "h2", "c1", "lan"} <= completed(pair, "trenza exec ")
    assert completed(pair, "trenza stop c") == {"c1"}


def test_the_python_api(cli: Cli) -> None:
    cli.lab(LAB)
    program = textwrap.dedent("""\
        import trenza
        with trenza.up("lab.yaml", wait=True) as lab:
            done = lab["c1"].run(["ping", "-c", "1", "10.0.0.1"])
            assert " 0% packet loss" in done.stdout, done
            assert lab["c1"].run(["cat"], stdin=b"hola").stdout == "hola"
            assert lab["c1"].run(["nothing"], check=False).status == 127
            try:
                lab["c1"].run(["false"])
            except trenza.CommandFailed as error:
                assert error.completed.status == 1
            lab["h1"].write("/etc/motd", "hello")
            assert lab["h1"].read("/etc/motd") == b"hello"
            assert [node.name for node in lab] == ["h1", "h2", "h2/c1", "lan"]
            lab["h1"].run(["ip", "link", "set", "eth0", "down"])
            assert lab.plan()
            lab.repair()
            assert lab.plan() == []
            assert lab["h1"].show()["state"] == "running"
            x = lab.launch("h1", "x")
            x.run(["true"])
        print("done")
        """)
    done = subprocess.run([sys.executable, "-c", program], env=cli.environment, cwd=cli.directory, text=True,
                          capture_output=True, timeout=60, check=False)  # fmt: skip
    assert done.stdout == "done\n", done.stderr
    assert cli.ok("ls") == "no lab is running\n"


def test_a_changed_hostname_is_changed_in_place(cli: Cli) -> None:
    cli.ok("up", cli.lab("lab: named\nhosts: {h1: {hostname: uno}}\n"))
    cli.types("h1", "sleep 1000 >/dev/null 2>&1 &")
    out = cli.ok("up", cli.lab("lab: named\nhosts: {h1: {hostname: dos}}\n"))
    assert "hostname" in out
    assert cli.ok("exec", "h1", "--", "sh", "-c", "hostname; cat /etc/hostname; pgrep -c sleep") == "dos\ndos\n1\n"
    assert cli.ok("plan") == "nothing to do\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_no_accident(pair: Cli, closed: str) -> None:
    command = ["sh", "-c", f"exec {pair.program} exec c1 -- sh -c 'cat; echo through >&2; exit 4' {closed}"]
    done = subprocess.run(command, env=pair.environment, text=True, capture_output=True, timeout=30, check=False,
                          stdin=subprocess.DEVNULL)  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert done.stderr in ("through\n", "")


def test_a_reset_to_a_file_with_mistakes_keeps_what_runs(cli: Cli) -> None:
    path = cli.lab(LAB)
    cli.ok("up", path)
    cli.types("h1", "echo kept > /root/work")
    cli.lab(LAB.replace("to: lan", "to: lam"))
    for words in (("--reset", "--yes"), ("--full", "--reset", "--yes")):
        refused = cli("up", path, *words)
        assert refused.returncode == 2
        assert "did you mean lan?" in refused.stderr
    assert cli("up", path, "--until", "9", "--reset", "--yes").returncode == 2
    assert cli.ok("exec", "h1", "--", "cat", "/root/work") == "kept\n"


def test_long_arguments_arrive_and_too_long_ones_are_refused(pair: Cli) -> None:
    long = "x" * 120_000
    assert pair.ok("exec", "c1", "--", "sh", "-c", "echo ${#1}", "sh", long) == "120000\n"
    refused = pair("exec", "c1", "--", "true", long, long, long, long)
    assert refused.returncode == 125
    assert "too long" in refused.stderr
    assert pair.ok("exec", "c1", "--", "echo", "ok") == "ok\n"
