"""What checks say in the words of faults and probes is read with the lab file, not first when it is asked."""

from __future__ import annotations

from trenza.check.phrases import filters, misread
from trenza.plan.wanted import wanted_state
from trenza.spec import read

LAB = """
lab: x
cables: [w]
hosts:
  h1: {{nics: {{eth0: {{to: w, ip: 10.0.0.1/24}}}}}}
  h2: {{nics: {{eth0: {{to: w, ip: 10.0.0.2/24}}}}, services: {{web: {{run: [sleep, "1"]}}}}}}
checkpoints:
  - name: a
    checks:
      - {check}
"""


def wrong(check: str) -> list[tuple[str, str]]:
    lab = read(LAB.format(check=check).encode(), "x").lab
    return [(one.phrase, one.error.message) for one in misread(lab, wanted_state(lab))]


def test_right_phrases_are_read() -> None:
    for words in ("cut w", "cut h1.eth0", "poweroff h2", "kill h2 web", "down h1.eth0"):
        assert wrong(f"fault: {{break: {words}, probe: [ping h1 -> 10.0.0.2, ping h1 -> h2]}}") == []


def test_what_no_fault_and_no_probe_means_is_told() -> None:
    assert wrong("fault: {break: cut v, probe: ping h1 -> h2}") == [("cut v", "unknown cable 'v'")]
    assert wrong("fault: {break: kill h2 webb, probe: ping h1 -> h2}") == [("kill h2 webb", "h2 runs no 'webb'")]
    assert wrong("fault: {break: cut w, probe: ping h9 -> h2}") == [("ping h9 -> h2", "unknown node 'h9'")]
    assert wrong("fault: {break: cut w, probe: ping h1 -> h9}") == [("ping h1 -> h9", "unknown node 'h9'")]
    ((phrase, _),) = wrong("fault: {break: cut w, probe: h1 to h2}")
    assert phrase == "h1 to h2"


def test_probes_may_ask_from_pods_and_of_services_where_there_is_a_cluster() -> None:
    probes = "http pod/app=web@h1 -> http://web.svc/, ping h1 -> pod/b, tcp h1 -> pod/b:80"
    check = f"fault: {{break: cut w, probe: [{probes}]}}"
    assert [phrase.split()[0] for phrase, _ in wrong(check)] == ["http", "ping", "tcp"]
    text = LAB.format(check=check) + "cluster: {master: h1, nodes: [h2]}\n"
    lab = read(text.encode(), "x").lab
    assert [*misread(lab, wanted_state(lab))] == []


def test_filters_are_found_in_checks_during_faults_too() -> None:
    seen = "seen: {at: w, frames: icmp, during: {ping: {from: h1, to: h2}}}"
    lab = read(LAB.format(check=f"fault: {{break: cut w, checks: [{{{seen}}}]}}").encode(), "x").lab
    assert [text for _, text in filters(lab)] == ["icmp"]
