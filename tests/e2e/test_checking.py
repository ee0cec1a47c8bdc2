"""`trenza check` on running labs: what passes, what fails and why, and what cannot be told; each by traffic."""

from __future__ import annotations

import json
import subprocess
import threading
import xml.etree.ElementTree as ET
from typing import Any

import jsonschema
import pytest
from conftest import Cli, until

pytestmark = pytest.mark.kernel

LAB = """
lab: judged
switches: {lan: {}, far: {}}
hosts:
  r:
    forwarding: true
    nics: {eth0: {to: lan, ip: 10.0.1.1/24}, eth1: {to: far, ip: 10.0.2.1/24}}
  a: {nics: {eth0: {to: lan, ip: 10.0.1.2/24, gateway: 10.0.1.1}}}
  b:
    nics: {eth0: {to: far, ip: 10.0.2.2/24, gateway: 10.0.2.1}}
    services: {web: {run: [python3, -m, http.server, "80"], ready: {tcp: 80}}}
  c: {nics: {eth0: {to: lan, ip: 10.0.1.3/24}}}
checkpoints:
  - name: reach
    points: 40
    checks:
      - ping: {from: a, to: b}
      - path: {from: a, to: b, hops: [r, b]}
      - http: {from: a, to: "http://b/", status: 200}
        weight: 2
  - name: kept-apart
    points: 20
    checks:
      - no_ping: {from: c, to: b}
      - tcp: {from: a, to: b, port: 81, open: false}
"""


@pytest.fixture
def lab(cli: Cli) -> Cli:
    cli.ok("up", cli.lab(LAB))
    return cli


def check(cli: Cli, *words: str) -> Any:
    result = cli("check", *words, "-f", "json")
    assert result.returncode in (0, 1), result.stderr
    return json.loads(result.stdout)


def by_id(report: Any) -> dict[str, Any]:
    return {one["id"]: one for checkpoint in report["checkpoints"] for one in checkpoint["checks"]}


def verdicts(report: Any) -> dict[str, str]:
    return {name: one["verdict"] for name, one in by_id(report).items()}


def test_what_works_passes_and_the_exit_code_says_so(lab: Cli) -> None:
    result = lab("check")
    assert result.returncode == 0, result.stdout
    assert "60 / 60 points" in result.stdout
    report = check(lab)
    jsonschema.validate(report, json.loads(lab.ok("schema", "check")))
    assert (report["points"], report["max_points"], report["passed"]) == (60, 60, True)
    found = by_id(report)
    assert found["reach/2"]["evidence"]["answers"]["hops"] == ["10.0.1.1", "10.0.2.2"]
    assert found["reach/1"]["evidence"]["theory"] == "a → r → b"
    assert found["reach/3"]["max_points"] == 20


def test_the_kernel_is_asked_and_not_the_lab_file(lab: Cli) -> None:
    lab.ok("exec", "r", "--", "sysctl", "-w", "net.ipv4.ip_forward=0")
    result = lab("check", "--checkpoint", "reach")
    assert result.returncode == 1
    assert "r does not forward (net.ipv4.ip_forward is 0)" in result.stdout
    assert "0 / 40" in result.stdout or "/ 40 points" in result.stdout
    spanish = lab("--lang", "es", "check", "--checkpoint", "1").stdout
    assert "r no reenvía (net.ipv4.ip_forward vale 0)" in spanish
    assert "puntos" in spanish


def test_a_negative_check_about_a_dead_node_cannot_be_told(lab: Cli) -> None:
    lab.ok("stop", "b")
    report = check(lab)
    assert verdicts(report) == {
        "reach/1": "fail", "reach/2": "fail", "reach/3": "fail",
        "kept-apart/1": "cannot-tell", "kept-apart/2": "cannot-tell",
    }  # fmt: skip
    assert (report["points"], report["max_points"]) == (0, 60)
    assert by_id(report)["reach/1"]["because"] == "b is not running"
    assert by_id(report)["reach/1"]["hint"] == "trenza start b"


def test_a_negative_check_from_a_node_without_a_link_cannot_be_told(lab: Cli) -> None:
    lab.ok("exec", "c", "--", "ip", "link", "set", "eth0", "down")
    assert verdicts(check(lab))["kept-apart/1"] == "cannot-tell"


def test_the_whole_does_not_depend_on_what_is_up(lab: Cli) -> None:
    whole = check(lab)
    for node in ("a", "b", "r"):
        lab.ok("stop", node)
        less = check(lab)
        assert less["max_points"] == whole["max_points"] == 60
        assert by_id(less).keys() == by_id(whole).keys()
    assert check(lab)["points"] == 0


LIAR = """#!/bin/sh
echo '64 bytes from 10.0.2.2: icmp_seq=1 ttl=63 time=0.1 ms'
exit 0
"""


def test_programs_that_were_replaced_neither_harm_nor_help(lab: Cli) -> None:
    lab.types(
        "a",
        *(f"cat > /root/liar <<'END'\n{LIAR}END", "chmod +x /root/liar"),
        *(f"mount --bind /root/liar $(readlink -f $(command -v {name}))" for name in ("ping", "curl", "ip")),
    )
    assert "64 bytes from" in lab.ok("exec", "a", "--", "ping", "10.99.99.99")
    assert check(lab)["points"] == 60
    lab.ok("exec", "r", "--", "ip", "link", "set", "eth1", "down")
    assert verdicts(check(lab, "--checkpoint", "reach"))["reach/1"] == "fail"


def test_a_link_that_flaps_does_not_pass(lab: Cli) -> None:
    over = threading.Event()

    def flap() -> None:
        one = "ip link set eth0 down; sleep 0.12; ip link set eth0 up; sleep 0.12"
        script = f"{one}; touch /tmp/begun; i=0; while [ $i -lt 60 ]; do {one}; i=$((i+1)); done"
        try:
            lab("exec", "c", "--", "sh", "-c", script)
        finally:
            over.set()

    text = LAB.replace("- no_ping: {from: c, to: b}", "- ping: {from: a, to: c}\n        within: 4")
    lab.ok("up", lab.lab(text))
    thread = threading.Thread(target=flap)
    thread.start()
    try:
        until(lambda: lab("exec", "c", "--", "test", "-e", "/tmp/begun").returncode == 0, what="the link flaps")
        found = by_id(check(lab, "--checkpoint", "kept-apart"))["kept-apart/1"]
        assert not over.is_set()
    finally:
        thread.join()
    assert found["verdict"] == "fail"
    assert found["credit"] < 1


def test_a_command_that_cannot_run_proves_nothing(cli: Cli) -> None:
    text = """
lab: commands
hosts: {h: {}}
checkpoints:
  - name: one
    points: 10
    checks:
      - run: {node: h, argv: [/no/such/program]}
      - run: {node: h, argv: [sh, -c, "echo yes; exit 3"], status: 3, output: "^yes"}
      - run: {node: h, argv: [sh, -c, "echo no"], output: "^yes"}
"""
    cli.ok("up", cli.lab(text))
    report = check(cli)
    assert verdicts(report) == {"one/1": "cannot-tell", "one/2": "pass", "one/3": "fail"}
    assert report["points"] == pytest.approx(10 / 3, abs=0.001)


def test_frames_of_what_was_asked_are_kept_as_evidence(lab: Cli) -> None:
    directory = lab.directory / "evidence"
    lab.ok("check", "--evidence", str(directory))
    kept = json.loads((directory / "check.json").read_text())
    assert kept["points"] == 60
    command = ["tshark", "-r", str(directory / "reach-1.pcapng"), "-Y", "icmp.type==0"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) >= 10


def test_reports_for_machines(lab: Cli) -> None:
    lab.ok("stop", "b")
    root = ET.fromstring(lab("check", "-f", "junit").stdout.split("\n", 1)[1])
    cases = {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}
    assert cases["ping a → b"] == ["failure"]
    assert cases["no ping c → b"] == ["error"]


def test_what_is_typed_wrong_is_told(lab: Cli) -> None:
    assert "there is no checkpoint 'nope'" in lab("check", "--checkpoint", "nope").stderr
    assert lab("check", "--checkpoint", "nope").returncode == 2
    assert "which node stands for which" in lab("check", "--map", "c1").stderr
    assert "the lab's solution has no node 'zz'" in lab("check", "--map", "zz=a").stderr
    hidden = lab.lab("checkpoints: [{name: reach, checks: [{ping: {from: a, to: zz}}]}]", "hidden.yaml")
    wrong = lab("check", "--hidden", hidden)
    assert wrong.returncode == 2
    assert "unknown node 'zz'" in wrong.stderr
    cli = lab
    cli.ok("up", cli.lab("lab: plain\nhosts: {h: {}}", "plain.yaml"))
    assert "plain has no checks" in cli("check", "plain").stderr


def test_hidden_checks_count_and_are_marked(lab: Cli) -> None:
    more = "{route: {node: a, to: b, via: r.eth0}}, {mtu: {from: a, to: b, bytes: 1400}}"
    hidden = lab.lab(f"checkpoints: [{{name: kept-apart, checks: [{more}]}}]", "hidden.yaml")
    found = by_id(check(lab, "--hidden", hidden))
    assert found["kept-apart/3"]["verdict"] == "pass"
    assert found["kept-apart/4"]["because"] == "" and found["kept-apart/4"]["said"] == "1401 bytes get there, too"
    assert [one["hidden"] for one in found.values()] == [False] * 5 + [True] * 2


START = """
lab: steps
switches: {lan: {}}
hosts:
  host1: {nics: {eth0: {to: lan}}}
  host2: {nics: {eth0: {to: lan}}}
checkpoints:
  - name: first
    points: 30
    adds: {hosts: {host1: {nics: {eth0: {ip: 10.0.0.1/24}}}, host2: {nics: {eth0: {ip: 10.0.0.2/24}}}}}
    checks: [{ping: {from: host1, to: host2}}]
  - name: second
    points: 20
    adds: {hosts: {host1: {containers: {c1: {nics: {eth0: {to: host, ip: 10.1.0.2/30, peer: {ip: 10.1.0.1/30}}}}}}}}
    checks: [{ping: {from: c1, to: 10.1.0.1}}]
"""


def test_a_student_under_other_names_goes_from_nothing_to_all(cli: Cli) -> None:
    cli.ok("up", cli.lab(START), "--start")
    assert check(cli)["points"] == 0
    assert "host1 has no address" in cli("check").stdout
    cli.types("host1", "ip addr add 192.168.7.1/24 dev eth0")
    cli.types("host2", "ip addr add 192.168.7.2/24 dev eth0")
    report = check(cli)
    assert (report["points"], verdicts(report)["first/1"]) == (30, "pass")
    cli.ok("launch", "host1", "mine")
    cli.types("host1", "ip link add v type veth peer name e0 netns $(lxc info mine | awk '/PID/ {print $2}')")
    cli.types("host1", "ip addr add 172.20.0.1/24 dev v", "ip link set v up")
    cli.types("mine", "ip addr add 172.20.0.2/24 dev e0", "ip link set e0 up")
    done = cli("check")
    assert done.returncode == 0, done.stdout
    assert "taken for host1/c1: host1/mine" in done.stdout
    assert "50 / 50" in done.stdout


def test_a_checkpoint_that_passed_stays_passed_while_one_goes_on(cli: Cli) -> None:
    cli.ok("up", cli.lab(START), "--start")
    cli.types("host1", "ip addr add 10.0.0.1/24 dev eth0")
    cli.types("host2", "ip addr add 10.0.0.2/24 dev eth0")
    assert check(cli)["points"] == 30
    cli.types("host2", "ip addr flush dev eth0")
    later = check(cli)
    assert (later["points"], later["checkpoints"][0]["verdict"], verdicts(later)["first/1"]) == (30, "pass", "fail")
    assert later["checkpoints"][0]["latched_s"] is not None
    cli.ok("down", "steps")
    cli.ok("up", cli.lab(START), "--start")
    assert check(cli)["points"] == 0, "another run begins from nothing"


def test_whoever_watches_sees_it_come_true(cli: Cli) -> None:
    cli.ok("up", cli.lab(START), "--start")
    watching = cli.start("check", "--watch", "--checkpoint", "first", "-f", "json", stdout=subprocess.PIPE)
    assert watching.stdout is not None
    try:
        assert json.loads(watching.stdout.readline())["points"] == 0
        cli.types("host1", "ip addr add 10.0.0.1/24 dev eth0")
        cli.types("host2", "ip addr add 10.0.0.2/24 dev eth0")
        seen = [json.loads(watching.stdout.readline())["points"]]
        while seen[-1] != 30:
            assert len(seen) < 10
            seen.append(json.loads(watching.stdout.readline())["points"])
    finally:
        watching.terminate()
        watching.wait(10)
        watching.stdout.close()


LEASED = """
lab: leased
switches: {l: {}}
hosts:
  r:
    nics: {eth0: {to: l, ip: 10.9.0.1/24}}
    services: {dnsmasq: {interface: eth0, dhcp-range: "10.9.0.100,10.9.0.150,1h"}}
  p: {nics: {eth0: {to: l}}}
checkpoints:
  - name: lease
    points: 10
    adds: {hosts: {p: {nics: {eth0: {dhcp: true}}}}}
    checks:
      - ping: {from: p, to: r}
      - ping: {from: r, to: p}
      - arp: {node: r, ip: p, is: p, during: {ping: {from: r, to: p}}}
"""


def test_what_dhcp_gave_carries_traffic_as_any_address(cli: Cli) -> None:
    cli.ok("up", cli.lab(LEASED), timeout_s=90)
    report = check(cli)
    assert report["points"] == 10, [(one["title"], one["said"], one["because"]) for one in by_id(report).values()]
    cli.ok("exec", "p", "--", "ip", "link", "set", "eth0", "down")
    assert "no address" not in by_id(check(cli))["lease/1"]["because"]


def test_hidden_checks_do_not_decide_what_others_are_asked(lab: Cli) -> None:
    text = LAB + "      - fault: {break: kill b web, checks: [{ping: {from: a, to: b}}]}\n"
    lab.ok("up", lab.lab(text))
    hidden = lab.lab("checkpoints: [{name: kept-apart, checks: [{tcp: {from: a, to: b, port: 99}}]}]", "hidden.yaml")
    found = by_id(check(lab, "--hidden", hidden))
    assert (found["kept-apart/3"]["verdict"], found["kept-apart/4"]["verdict"]) == ("pass", "fail")


def test_one_of_several_labs_is_said_in_either_way(lab: Cli) -> None:
    lab.ok("up", lab.lab("lab: other\nhosts: {h: {}}", "other.yaml"))
    (lab.directory / "elsewhere").mkdir()
    assert "say which: --lab" in lab("check", cwd=lab.directory / "elsewhere").stderr
    assert lab("check", "--lab", "judged").returncode == lab("check", "judged").returncode == 0
