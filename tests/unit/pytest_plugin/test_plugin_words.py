"""What tests say and are told, without a lab: keys, wishes, names, findings, journals."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from trenza.client.labfiles import check_name
from trenza.errors import MachineError, TrenzaError, UsageError
from trenza.pytest_plugin.finding import Finding
from trenza.pytest_plugin.lab import Lab
from trenza.pytest_plugin.shelf import lab_name
from trenza.pytest_plugin.telling import MAX_EVENTS, journal_lines
from trenza.pytest_plugin.trial import Trial
from trenza.pytest_plugin.wish import read_wish
from trenza.spec.check_format import CHECK, CHECK_KINDS
from trenza.spec.kinds import Record

FOUND: dict[str, Any] = {
    "kind": "ping",
    "title": "ping a → b",
    "verdict": "fail",
    "said": "0 of 10 answered",
    "because": "r does not forward",
    "hint": "sysctl -w net.ipv4.ip_forward=1",
    "passed_after_s": None,
    "evidence": {"theory": "a → r → b", "answers": {"sent": 10, "answered": 0}},
}


class Answering:
    """Stands for a lab that runs: notes what it is asked, and answers with one finding."""

    def __init__(self, **changes: Any) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answer = {**FOUND, **changes}

    def ask(self, check: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(json.loads(json.dumps(check)))
        return self.answer


def lab_answering(**changes: Any) -> tuple[Lab, Answering]:
    running = Answering(**changes)
    return Lab(cast(Any, running), lambda error: None), running


# ---------------------------------------------------------------- assertions
@pytest.mark.parametrize("kind", CHECK_KINDS)
def test_each_kind_of_check_is_a_method_with_the_keys_of_the_lab_file(kind: str) -> None:
    record = CHECK.options[kind].kind
    assert isinstance(record, Record)
    parameters = inspect.signature(getattr(Lab, kind)).parameters
    named = {name.rstrip("_") for name, one in parameters.items() if one.kind is not one.VAR_KEYWORD}
    assert named - {"self"} == {*record.options, "within"}


def test_keys_are_written_as_in_the_lab_file() -> None:
    lab, running = lab_answering(verdict="pass")
    lab.arp("a", "10.0.0.2", "b.eth0", during={"ping": {"from_": "a", "to": "b"}}, within=3)
    assert running.asked == [
        {
            "arp": {"node": "a", "ip": "10.0.0.2", "is": "b.eth0", "during": {"ping": {"from": "a", "to": "b"}}},
            "within": 3,
        }
    ]
    lab.fault("cut w", checks=[{"no_ping": {"from_": "a", "to": "b"}}])
    assert running.asked[1] == {"fault": {"break": "cut w", "checks": [{"no_ping": {"from": "a", "to": "b"}}]}}


def test_a_failure_says_what_is_wrong_first() -> None:
    lab, _ = lab_answering()
    with pytest.raises(AssertionError) as caught:
        lab.ping("a", "b")
    assert str(caught.value).splitlines() == [
        "ping a → b: r does not forward",
        "  0 of 10 answered",
        "  → sysctl -w net.ipv4.ip_forward=1",
    ]


@pytest.mark.parametrize("verdict", ["cannot-tell", "skipped", "fail"])
def test_nothing_but_a_pass_passes(verdict: str) -> None:
    lab, _ = lab_answering(verdict=verdict)
    with pytest.raises(AssertionError):
        lab.no_ping("a", "b")


def test_evidence_is_a_mapping_and_attributes() -> None:
    finding = Finding(FOUND)
    assert finding["sent"] == finding.sent == 10
    assert dict(finding) == {"sent": 10, "answered": 0}
    with pytest.raises(AttributeError, match="no 'hops'"):
        _ = finding.hops


def test_what_nodes_choose_does_nothing_to_a_terminal() -> None:
    assert "\x1b" not in Finding({**FOUND, "said": "status 1: \x1b[2J"}).explained()


# ---------------------------------------------------------------- wishes
def test_a_lab_is_looked_for_beside_the_test_and_then_among_the_shipped(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("lab: a\n")
    (tmp_path / "routed").mkdir()
    assert read_wish(tmp_path).lab == str(tmp_path / "lab.yaml")
    assert read_wish(tmp_path, "routed").lab == str(tmp_path / "routed")
    assert read_wish(tmp_path, "bridged-lan").lab == "bridged-lan"


def test_values_are_given_as_typed(tmp_path: Path) -> None:
    wish = read_wish(tmp_path, "routed", set={"a": 2, "b": True, "c": "x"}, with_="v", capture=["a", "b.eth0"], until=2)
    assert (wish.parameters, wish.variants) == ((("a", "2"), ("b", "true"), ("c", "x")), ("v",))
    assert (wish.capture, wish.until) == (("a", "b.eth0"), "2")


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        ((), {}, "which lab?"),
        (("none.yaml",), {}, "no none.yaml in"),
        (("routed",), {"profil": "x"}, "unexpected keyword argument 'profil'"),
        (("routed",), {"scope": "test"}, "no scope 'test'"),
        (("routed", "more"), {}, "positional"),
    ],
)
def test_what_cannot_be_meant_is_said(tmp_path: Path, arguments: Any, options: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_wish(tmp_path, *arguments, **options)


@pytest.mark.parametrize("label", ["test_a", "test_pings[10.0.0.1-ñ]", "", "_" * 80, "T" * 80])
def test_labs_of_one_test_have_different_names_that_labs_may_have(label: str) -> None:
    one, other = lab_name(label), lab_name(label)
    assert one != other
    assert check_name(one) == one


# ---------------------------------------------------------------- what a machine lacks
def refusal(error: TrenzaError, *, skip: bool) -> BaseException:
    item = SimpleNamespace(path=Path("/t/test_x.py"), config=SimpleNamespace(getoption=lambda name: skip))
    trial = Trial(cast(Any, item))
    with pytest.raises(BaseException) as caught:  # pytest's outcomes are no Exceptions
        trial._refuse(error)
    return caught.value


def test_what_the_machine_lacks_is_an_error_and_skips_only_if_one_says_so() -> None:
    lacking = MachineError("no netem")
    assert isinstance(refusal(lacking, skip=False), pytest.fail.Exception)
    skipped = refusal(lacking, skip=True)
    assert isinstance(skipped, pytest.skip.Exception)
    assert "no netem" in str(skipped)
    assert isinstance(refusal(TrenzaError("broken"), skip=True), pytest.fail.Exception)


# ---------------------------------------------------------------- telling
def test_a_long_journal_is_told_from_its_end() -> None:
    events = [
        {"time": float(number), "kind": "link", "node": "a", "text": f"e{number}", "operations": ["+ a"]}
        for number in range(MAX_EVENTS + 20)
    ]
    lines = journal_lines(events, 10)
    assert lines[0] == "… 10 earlier ones"
    assert lines[-2].endswith(f"e{MAX_EVENTS + 19}")
    assert "+ a" not in "\n".join(journal_lines(events[:1], 0)), "what was built is in the lab file"


def test_loading_the_plugin_imports_nothing_of_labs() -> None:
    program = (
        "import pytest, sys, trenza.pytest_plugin.plugin; "
        "print(*[name for name in sys.modules if name.split('.')[0] in ('trenza', 'yaml', 'dns')])"
    )
    done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, timeout=60, check=True)
    assert set(done.stdout.split()) == {"trenza", "trenza.pytest_plugin", "trenza.pytest_plugin.plugin"}
