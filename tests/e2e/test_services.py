"""Services: when they count as ready, what happens when they end, and what of them outlives what."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, until
from lives import SINGLE_ID, keeper, kill

pytestmark = [pytest.mark.kernel, pytest.mark.side_by_side]

HEAD = "lab: {lab}\nswitches: {{lan: {{}}}}\nhosts:\n  h1:\n    nics: {{eth0: {{to: lan, ip: 10.0.0.1/24}}}}\n"


def lab_of(lab: str, **services: dict[str, Any]) -> str:
    """A lab of one host with services (JSON is YAML)."""
    return HEAD.format(lab=lab) + f"    services: {json.dumps(services)}\n"


def service(cli: Cli, name: str) -> dict[str, Any]:
    """The service as `show` has it."""
    found: dict[str, Any] = next(one for one in cli.json("show", "h1")["services"] if one["service"] == name)
    return found


def in_h1(cli: Cli, script: str) -> str:
    return cli.ok("exec", "h1", "--", "sh", "-c", script)


def test_up_returns_when_every_service_is_ready(cli: Cli) -> None:
    serve = (
        "import http.server, time; time.sleep(0.5); "
        "http.server.HTTPServer(('', 80), http.server.SimpleHTTPRequestHandler).serve_forever()"
    )
    path = cli.lab(
        lab_of(
            "ready",
            tcp={"run": ["python3", "-c", serve], "ready": {"tcp": 80}},
            file={"run": ["sh", "-c", "sleep 0.5; touch /run/here; exec sleep 1000"], "ready": {"file": "/run/here"}},
            command={
                "run": ["sh", "-c", "sleep 0.5; touch /tmp/there; exec sleep 1001"],
                "ready": {"command": ["test", "-e", "/tmp/there"]},
            },
            log={"run": ["sh", "-c", "sleep 0.5; echo I am open; exec sleep 1002"], "ready": {"log": "am open"}},
            plain={"run": ["sleep", "1003"]},
        )
    )
    report = cli.json("up", path)
    assert report["unready"] == []
    assert report["seconds"] >= 0.5
    in_h1(cli, "test -e /run/here && test -e /tmp/there && grep -q 'am open' /var/log/log.log")
    in_h1(cli, "exec 3<>/dev/null; python3 -c 'import socket; socket.create_connection((\"10.0.0.1\", 80), 1)'")
    for name in ("tcp", "file", "command", "log", "plain"):
        assert service(cli, name)["state"] == "running", name


def test_a_service_that_never_gets_ready_is_named_with_its_last_words_and_the_rest_is_up(cli: Cli) -> None:
    path = cli.lab(
        lab_of(
            "never",
            mute={"run": ["sh", "-c", "echo cannot find my keys; exec sleep 1000"],
                  "ready": {"tcp": 81, "deadline": 1}},
            dying={"run": ["sh", "-c", "echo no such option >&2; exit 3"], "ready": {"file": "/run/x", "deadline": 1}},
            once={"run": ["sh", "-c", "echo good bye; exit 4"], "ready": {"file": "/run/x"}, "restart": "no"},
            fine={"run": ["sleep", "1001"]},
        )
    )  # fmt: skip
    began = time.monotonic()
    result = cli("up", path)
    assert time.monotonic() - began < 10
    assert result.returncode == 1
    for words in ("service mute: not ready after 1 s", "cannot find my keys", "no such option", "good bye", "status 4"):
        assert words in result.stderr, result.stderr
    assert service(cli, "fine")["state"] == "running"
    cli.ok("exec", "h1", "--", "ping", "-c", "1", "10.0.0.1")
    assert cli("up", path).returncode == 1  # it still is not


def once(name: str) -> dict[str, Any]:
    """Ready as soon as it has run once."""
    return {"ready": {"file": f"/tmp/{name}"}}


def test_restart_policies(cli: Cli) -> None:
    path = cli.lab(
        lab_of(
            "again",
            always={"run": ["sh", "-c", "echo run >> /tmp/always; exit 0"], "restart": "always", **once("always")},
            failing={"run": ["sh", "-c", "date +%s.%N >> /tmp/failing; exit 1"], **once("failing")},
            finished={"run": ["sh", "-c", "echo run >> /tmp/finished; exit 0"], **once("finished")},
            never={"run": ["sh", "-c", "echo run >> /tmp/never; exit 1"], "restart": "no", **once("never")},
        )
    )
    cli.ok("up", path)
    until(lambda: int(in_h1(cli, "wc -l < /tmp/always")) >= 4, what="always restarted")
    until(lambda: int(in_h1(cli, "wc -l < /tmp/failing")) >= 4, what="restarted on failure")
    # The pauses grow: 0.1, 0.2, 0.4 s.
    times = [float(line) for line in in_h1(cli, "head -4 /tmp/failing").split()]
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert pauses[0] >= 0.1
    assert pauses[1] >= 0.2
    assert pauses[2] >= 0.4
    assert in_h1(cli, "wc -l < /tmp/finished").strip() == "1", "ended well, and that is not a failure"
    assert in_h1(cli, "wc -l < /tmp/never").strip() == "1"
    assert service(cli, "never")["state"] == "dead"
    assert service(cli, "never")["restarts"] == 0
    assert service(cli, "always")["restarts"] >= 3
    kill(keeper(cli, "again"))
    until(lambda: keeper(cli, "again") is None, what="the keeper is gone")
    runs = int(in_h1(cli, "wc -l < /tmp/failing"))
    until(lambda: int(in_h1(cli, "wc -l < /tmp/failing")) > runs, what="its successor restarts too")
    assert in_h1(cli, "wc -l < /tmp/finished").strip() == "1", "what end was seen does not come back"
    assert in_h1(cli, "wc -l < /tmp/never").strip() == "1"


@pytest.mark.skipif(SINGLE_ID, reason="one id: nobody can be somebody else")
def test_environment_user_log_and_pid(cli: Cli) -> None:
    say = "echo $COLOUR $(id -un) $(id -u); echo complaint >&2; exec sleep 1000"
    path = cli.lab(lab_of("who", it={"run": ["sh", "-c", say], "env": {"COLOUR": "azul"}, "user": "daemon"}))
    cli.ok("up", path)
    until(lambda: "complaint" in in_h1(cli, "cat /var/log/it.log"), what="it says something")
    assert in_h1(cli, "cat /var/log/it.log").split() == ["azul", "daemon", "1", "complaint"]
    shown = service(cli, "it")
    assert shown["state"] == "running"
    assert in_h1(cli, "ps -o user= -p $(pgrep -x -f 'sleep 1000')").strip() == "daemon"
    # A child of the node's init, with no terminal and no descriptor of anybody's
    assert in_h1(cli, "ps -o ppid= -p $(pgrep -x -f 'sleep 1000')").strip() == "1"
    assert "it" in cli.ok("show", "h1")


def test_a_daemons_children_end_with_it(cli: Cli) -> None:
    brood = "sleep 2001 & (sleep 2002 & sleep 2003) & set -m; sleep 2004 & exec sleep 2000"
    path = cli.lab(lab_of("brood", parent={"run": ["bash", "-c", brood]}, other={"run": ["sleep", "3000"]}))
    cli.ok("up", path)
    count = "pgrep -x -f 'sleep 200[0-9]' | wc -l"
    until(lambda: in_h1(cli, count).strip() == "5", what="all are there")
    in_h1(cli, "pkill -KILL -x -f 'sleep 2000'")
    # The dead daemon's children go before its successor comes with its own.
    until(lambda: service(cli, "parent")["restarts"] == 1 and in_h1(cli, count).strip() == "5", what="it is back")
    Path(path).write_text(lab_of("brood", other={"run": ["sleep", "3000"]}))
    cli.ok("up", path)
    assert in_h1(cli, count).strip() == "0"
    assert in_h1(cli, "pgrep -x -f 'sleep 3000' | wc -l").strip() == "1"


def test_a_service_that_does_not_heed_sigterm_ends_all_the_same(cli: Cli) -> None:
    stubborn = "trap '' TERM; while :; do sleep 1; done"
    path = cli.lab(lab_of("deaf", stubborn={"run": ["sh", "-c", stubborn]}))
    cli.ok("up", path)
    Path(path).write_text(HEAD.format(lab="deaf"))
    cli.ok("up", path)
    assert in_h1(cli, "pgrep -f 'trap' | wc -l").strip() in ("0", "1")  # the shell that asks names it too
    assert cli("plan", path).returncode == 0


def test_an_edited_definition_restarts_that_service_alone(cli: Cli) -> None:
    one, two = {"run": ["sleep", "4001"]}, {"run": ["sleep", "4002"]}
    path = cli.lab(lab_of("edited", one=one, two=two))
    cli.ok("up", path)
    before = {name: service(cli, name)["pid"] for name in ("one", "two")}
    Path(path).write_text(lab_of("edited", one=one, two={"run": ["sleep", "4003"]}))
    plan = cli("plan", path)
    assert plan.returncode == 1
    assert "two" in plan.stdout
    assert "one" not in plan.stdout
    cli.ok("up", path)
    assert service(cli, "one")["pid"] == before["one"]
    assert service(cli, "two")["pid"] != before["two"]
    assert in_h1(cli, "pgrep -a sleep").count("400") == 2
    Path(path).write_text(lab_of("edited", one={**one, "env": {"A": "b"}}, two={"run": ["sleep", "4003"]}))
    cli.ok("up", path)
    assert service(cli, "one")["pid"] != before["one"]


def test_a_service_comes_back_with_its_node(cli: Cli) -> None:
    path = cli.lab(lab_of("node", it={"run": ["sleep", "5001"], "ready": {"command": ["true"]}}))
    cli.ok("up", path)
    cli.ok("stop", "h1")
    assert service(cli, "it")["state"] == "dead"
    cli.ok("start", "h1")
    until(lambda: service(cli, "it")["state"] == "running", what="it runs again")
    assert in_h1(cli, "pgrep -x -f 'sleep 5001' | wc -l").strip() == "1"
    assert service(cli, "it")["restarts"] == 0, "a node that was stopped is no failure of its services"
    assert cli("plan", path).returncode == 0


def test_a_program_that_cannot_be_executed_is_named(cli: Cli) -> None:
    path = cli.lab(lab_of("broken", it={"run": ["/etc/hostname"]}))
    result = cli("up", path)
    assert result.returncode == 1
    assert "/etc/hostname" in result.stderr
    assert "Traceback" not in result.stderr
    assert cli("down", "broken").returncode == 2, "nothing was left of it"
