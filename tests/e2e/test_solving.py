"""A lab tests itself: the shipped ones pass, a weak one is told what it does not see, nothing is left of a trial."""

from __future__ import annotations

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import Cli, until
from lives import named_processes, soak

pytestmark = [pytest.mark.kernel, pytest.mark.side_by_side]

SAMPLES = {
    "bridged-lan": (),
    "routed": ("--sample", "6", "--seed", "4"),
    "namespaces": ("--sample", "6", "--seed", "4"),
    "balanced-web": ("--profile", "fast", "--sample", "1", "--seed", "4"),
}
"""What is tried of each lab in a test run; of the first, everything."""

LAB = """\
lab: weak
switches: {{lan: {{}}}}
hosts:
  h1: {{nics: {{eth0: {{to: lan}}}}}}
  h2: {{nics: {{eth0: {{to: lan, ip: 10.0.0.2/24}}}}}}
  h3: {{nics: {{eth0: {{to: lan}}}}}}
checkpoints:
  - name: one
    points: 10
    adds: {{hosts: {{h1: {{nics: {{eth0: {{ip: 10.0.0.1/24}}}}}}, h3: {{nics: {{eth0: {{ip: 10.0.0.3/24}}}}}}}}}}
    checks: [{checks}]
{more}
"""
PING = "ping: {from: h2, to: h1.eth0}"


def solved(cli: Cli, *words: str, timeout_s: float = 300) -> tuple[int, Any]:
    result = cli("lint", "--solve", *words, "-f", "json", timeout_s=timeout_s)
    assert result.returncode in (0, 1), result.stdout + result.stderr
    document = json.loads(result.stdout)
    jsonschema.validate(document, json.loads(cli.ok("schema", "solve")))
    return result.returncode, document


def trials(cli: Cli) -> list[Path]:
    runtime = Path(cli.environment["XDG_RUNTIME_DIR"]) / "trenza"
    return list(runtime.glob(".solve-*")) if runtime.exists() else []


def test_the_shipped_labs_test_themselves(cli: Cli) -> None:
    with ThreadPoolExecutor(len(SAMPLES)) as pool:
        found = dict(zip(SAMPLES, pool.map(lambda one: solved(cli, one, *SAMPLES[one]), SAMPLES), strict=True))
    for lab, (status, document) in found.items():
        assert (status, document["mutants"]["survived"]) == (0, []), (lab, document)
        assert document["whole"]["points"] == document["whole"]["max_points"] > 0
        assert all(one["points"] == 0 for one in document["base"])
        assert document["unused"] == []
    assert len(found["bridged-lan"][1]["mutants"]["killed"]) == 26
    assert found["routed"][1]["mutants"]["left_out"] > 40
    assert cli.json("ls")["labs"] == []
    assert trials(cli) == []


@pytest.mark.skipif(not soak(), reason="takes half an hour: TRENZA_SOAK=1")
@pytest.mark.parametrize("lab", [*sorted(SAMPLES), "kubernetes"])
def test_every_mutant_of_the_shipped_labs_loses_points(cli: Cli, lab: str) -> None:
    words = ("--profile", "fast") if lab == "balanced-web" else ()
    status, document = solved(cli, lab, *words, timeout_s=7200)
    assert (status, document["mutants"]["survived"], document["mutants"]["left_out"]) == (0, [], 0)


def test_a_weak_lab_is_told_what_it_does_not_see(cli: Cli) -> None:
    weak = cli.lab(LAB.format(checks=f"{{{PING}}}", more=""))
    result = cli("lint", "--solve", weak)
    assert result.returncode == 1
    assert "no check sees: address h3.eth0 10.0.0.3/24 removed" in result.stdout
    assert "no check sees: address h3.eth0 10.0.0.3/24 → 10.0.0.3/32" in result.stdout
    assert "theory: " in result.stdout
    assert "equivalent:" in result.stdout
    assert "no check sees: address h1.eth0" not in result.stdout
    spanish = cli("--lang", "es", "lint", "--solve", weak, "--sample", "0")
    assert spanish.returncode == 0
    assert "se dejaron fuera" in spanish.stdout


def test_what_is_listed_with_a_reason_is_right_and_what_means_nothing_is_told(cli: Cli) -> None:
    more = 'equivalent: {"address h3.eth0 * removed": nobody asks, "address h3.* -> *": nor here, "h9 ->": what}'
    lab = cli.lab(LAB.format(checks=f"{{{PING}}}", more=more))
    status, document = solved(cli, lab)
    assert status == 0
    assert solved(cli, lab, "--sample", "0", "--strict")[0] == 1
    assert {one["reason"] for one in document["mutants"]["listed"]} == {"nobody asks", "nor here"}
    assert document["unused"] == ["h9 ->"]


def test_a_base_that_earns_points_is_told(cli: Cli) -> None:
    given = cli.lab(LAB.format(checks=f"{{{PING}}}, {{no_ip: {{nic: lan.lan}}}}", more=""))
    result = cli("lint", "--solve", given, "--sample", "0")
    assert result.returncode == 1
    assert "one earns something from the start: no address at lan.lan" in result.stdout
    gated = cli.lab(LAB.format(checks=f"{{{PING}}}, {{no_ip: {{nic: lan.lan}}, weight: 0, required: true}}", more=""))
    assert cli("lint", "--solve", gated, "--sample", "0").returncode == 0


def test_a_solution_that_does_not_pass_is_told(cli: Cli) -> None:
    result = cli("lint", "--solve", cli.lab(LAB.format(checks="{ping: {from: h2, to: 10.0.0.77}}", more="")))
    assert result.returncode == 1
    assert "one does not pass with its adds: ping h2 → 10.0.0.77" in result.stdout
    assert "the whole solution does not pass" in result.stdout


def test_a_lab_without_checks_cannot_test_itself(cli: Cli) -> None:
    result = cli("lint", "--solve", cli.lab("lab: x\nhosts: {h1: {}}\n"))
    assert result.returncode == 2
    assert "x has no checks" in result.stderr


def test_lint_reads_filters_faults_and_probes(cli: Cli) -> None:
    during = "during: {ping: {from: h2, to: h1}}"
    bad = (
        f"{{seen: {{at: lan, frames: arpp, {during}}}}}, {{title: Cut, fault: {{break: cut w9, probe: ping h2 to h1}}}}"
    )
    result = cli("lint", cli.lab(LAB.format(checks=bad, more="")))
    assert result.returncode == 2
    for words in ("arpp at lan: bad capture filter 'arpp'", "Cut: unknown cable 'w9'", "Cut: probe 'ping h2 to h1'"):
        assert words in result.stderr


def test_nothing_is_left_of_a_trial_whose_command_is_killed(cli: Cli) -> None:
    process = cli.start("lint", "--solve", "bridged-lan")
    until(lambda: any((one / "keeper.socket").exists() for one in trials(cli)), what="a sandbox")
    (trial,) = trials(cli)
    assert cli.json("ls")["labs"] == []
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: not named_processes(trial.name), what="the end of the sandbox")
    assert solved(cli, "bridged-lan", "--sample", "0")[0] == 0  # which clears what the other left
    assert trials(cli) == []
