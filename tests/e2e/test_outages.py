"""What breaks in the balanced service, measured: every link and switch of the outer subnet, every kind of daemon.

Several copies of the lab break at a time, each its own way: what is waited for are timers, not this machine.
"""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jsonschema
import pytest
from conftest import Cli, until
from lives import soak

pytestmark = pytest.mark.kernel

VIRTUAL = "172.16.1.254"
PROBES = (
    f"ping user -> {VIRTUAL} every 20ms",
    f"ping user2 -> {VIRTUAL} every 20ms",
    f"http user2 -> http://{VIRTUAL}:8000 every 40ms",
)
AT_ONCE = 5

FAULTS = (
    "cut w1", "cut w2", "cut w3", "cut w4", "cut u1", "down swout1.swout1", "down swout2.swout2", "down vswout1",
    "down vswout2", "poweroff swout1", "poweroff swout2", "poweroff vswout1", "poweroff vswout2",
    "kill bal1 haproxy", "kill bal1 keepalived", "stop bal1 keepalived", "kill serv1 apache",
)  # fmt: skip


def brought_up(cli: Cli, name: str, *words: str) -> None:
    cli.ok("up", "balanced-web", "--as", name, *words)


def serves(cli: Cli, lab: str, node: str = "user") -> bool:
    ask = ("curl", "-s", "-m", "1", f"http://{VIRTUAL}:8000/")
    return "Esto es el servidor" in cli("exec", "--lab", lab, node, "--", *ask).stdout


def measured(cli: Cli, lab: str, fault: str, *words: str) -> dict[str, Any]:
    """The report of one fault, as JSON; 1 is returned where the deadline came first."""
    probes = [word for probe in PROBES for word in ("--probe", probe)]
    result = cli("outage", "--lab", lab, "--fault", fault, *probes, *words, "-f", "json", timeout_s=400)
    assert result.returncode in (0, 1), result.stdout + result.stderr
    report: dict[str, Any] = json.loads(result.stdout)
    jsonschema.validate(report, json.loads(cli.ok("schema", "outage")))
    return report


def judge(fault: str, report: dict[str, Any]) -> list[str]:
    """Where a measurement is not of the order that theory gives: what, and by how much."""
    wrong = []
    for probe in report["probes"]:
        said, seconds = probe["theory"], probe["outage_s"]
        high_s = math.inf if said["high_s"] is None else said["high_s"]
        match said["fate"]:
            case "unharmed":  # two masters for a moment, or a request on its way
                fits = seconds is not None and seconds < 5
            case "outage":
                fits = seconds is not None and said["low_s"] / 2 - 1 <= seconds <= 2 * high_s + 4
            case _:
                fits = seconds is None
        if not fits:
            wrong.append(f"{fault}: {probe['probe']}: {seconds} s, theory {said['fate']} {said['low_s']} to {high_s}")
    return wrong


def broken_and_mended(cli: Cli, place: int, fault: str, *words: str) -> list[str]:
    lab = f"bw{place}"
    brought_up(cli, lab, "--with", "garp-refresh", *words)
    try:
        report = measured(cli, lab, fault)
        wrong = judge(fault, report)
        assert cli.json("show", "faults", "--lab", lab)["faults"] == []
        until(lambda: serves(cli, lab) and serves(cli, lab, "user2"), 60, f"the service after {fault}")
        until(lambda: trees_agree(cli, lab), 60, f"theory's trees after {fault}")
        return wrong
    finally:
        cli("down", lab)


def trees_agree(cli: Cli, lab: str) -> bool:
    """Whether every bridge and port is as theory says."""
    bridges = cli.json("show", "stp", "--lab", lab)["stp"]
    return not any(one["differences"] for bridge in bridges for one in (bridge, *bridge["ports"]))


@pytest.mark.parametrize(
    "profile", ["fast", pytest.param("sheet", marks=pytest.mark.skipif(not soak(), reason="an hour"))]
)
def test_every_failure_lasts_about_what_theory_says_and_is_mended(cli: Cli, profile: str) -> None:
    words = ("--profile", "fast") if profile == "fast" else ()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda one: broken_and_mended(cli, *one, *words), enumerate(FAULTS)))
    assert [line for lines in found for line in lines] == []


def test_an_outage_is_put_down_to_its_layers_told_and_drawn(cli: Cli) -> None:
    brought_up(cli, "told", "--profile", "fast", "--with", "garp-refresh")
    drawing = cli.directory / "outage.svg"
    out = cli.ok(
        "--lang", "es", "outage", "--fault", "down vswout1", "--probe", f"ping user -> {VIRTUAL}",
        "--svg", str(drawing), timeout_s=120,
    )  # fmt: skip
    assert "corte por down vm1.vswout1" in out
    assert "VRRP          hasta que vm2/bal2: vrrpext: MASTER" in out
    assert "STP           hasta que swout1: eth2 of swout1 is forwarding" in out
    assert "teoría: entre" in out
    picture = ElementTree.parse(drawing).getroot()
    texts = ["".join(one.itertext()) for one in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert any(text.startswith("VRRP ") for text in texts)
    report = measured(cli, "told", "down vswout1", "--keep")
    ping = report["probes"][0]
    layers = [segment["layer"] for segment in ping["segments"]]
    assert layers[:2] == ["vrrp", "stp"]
    assert sum(one["seconds"] for one in ping["segments"]) == pytest.approx(ping["outage_s"], abs=0.001)
    assert [one["fault"] for one in cli.json("show", "faults")["faults"]] == ["down vm1.vswout1"]
    events = cli.ok("events", "--kind", "vrrp")
    assert "vrrpext: MASTER, with 172.16.1.254/32" in events


def test_what_cannot_be_measured_is_told_before_anything_is_broken(cli: Cli) -> None:
    lab = "lab: two\ncables: [w]\nhosts:\n  a: {nics: {eth0: {to: w, ip: 10.0.0.1/24}}}\n"
    cli.ok("up", cli.lab(lab + "  b: {nics: {eth0: {to: w, ip: 10.0.0.2/24}}}\n"))
    for probe, said in (
        ("ping a -> 10.0.0.9", "ping a → 10.0.0.9: never succeeded"),
        ("pong a -> b", "there is no 'pong'"),
        ("ping a 10.0.0.2", "an arrow"),
        ("ping z -> 10.0.0.2", "unknown node 'z'"),
        ("tcp a -> 10.0.0.2", "write an address and a port"),
        ("http a -> https://10.0.0.2", "only http://"),
    ):
        result = cli("outage", "--fault", "cut w", "--probe", probe)
        assert result.returncode == 2, probe
        assert said in result.stderr, probe
    assert "no probe" in cli("outage", "--fault", "cut w").stderr
    assert "did you mean w?" in cli("outage", "--fault", "cut ww", "--probe", "ping a -> b").stderr
    assert cli.json("show", "faults")["faults"] == []
    report = json.loads(
        cli("outage", "--fault", "cut w", "--probe", "ping a -> b", "--deadline", "2s", "-f", "json").stdout
    )
    assert report["probes"][0]["outage_s"] is None
    assert report["probes"][0]["theory"]["fate"] == "lost"


def test_whoever_stops_measuring_leaves_nothing_broken(cli: Cli) -> None:
    lab = "lab: two\ncables: [w]\nhosts:\n  a: {nics: {eth0: {to: w, ip: 10.0.0.1/24}}}\n"
    cli.ok("up", cli.lab(lab + "  b: {nics: {eth0: {to: w, ip: 10.0.0.2/24}}}\n"))
    measuring = cli.start("outage", "--fault", "cut w", "--probe", "ping a -> b", "--deadline", "60s")
    until(lambda: bool(cli.json("show", "faults")["faults"]), what="the fault")
    measuring.kill()
    measuring.wait()
    until(lambda: not cli.json("show", "faults")["faults"], what="its end")
    until(lambda: cli("exec", "a", "--", "ping", "-c", "1", "-W", "1", "10.0.0.2").returncode == 0, what="the cable")
