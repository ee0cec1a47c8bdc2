"""A check beside a lab's own: read as one of the file's, its names the whole lab's, its errors its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trenza.errors import LabFileError
from trenza.model.checks import Ping, Run, Tcp
from trenza.model.names import NodeName
from trenza.spec import Choices, read_check

LAB = b"""\
lab: two
parameters: {port: 80}
switches: {lan: {}}
hosts:
  h1: {nics: {eth0: {to: lan, ip: 10.0.0.1/24}}}
checkpoints:
  - name: second
    adds: {hosts: {h2: {nics: {eth0: {to: lan, ip: 10.0.0.2/24}}}}}
"""


def asked(check: object) -> Any:
    return read_check(LAB, "lab.yaml", Choices(), (json.dumps(check).encode(), "check")).question


def test_names_are_those_of_the_whole_lab() -> None:
    assert asked({"ping": {"from": "h1", "to": "h2", "count": 3}}) == Ping(NodeName("h1"), NodeName("h2"), 3)


def test_parameters_are_filled_in_and_commands_are_left_alone() -> None:
    assert asked({"tcp": {"from": "h1", "to": "h2", "port": "$port"}}) == Tcp(NodeName("h1"), NodeName("h2"), 80)
    assert asked({"run": {"node": "h1", "argv": ["echo", "$HOME"]}}) == Run(NodeName("h1"), ("echo", "$HOME"))


@pytest.mark.parametrize(
    ("check", "code", "said"),
    [
        ({"ping": {"from": "h1", "to": "h3"}}, "E014", "unknown node 'h3'"),
        ({"pin": {"from": "h1", "to": "h2"}}, "E054", "did you mean ping?"),
        ({}, "E054", "kinds: ping"),
        ({"ping": {"from": "h1"}}, "E029", "ping needs 'to'"),
        ({"ping": {"from": "h1", "to": "h2"}, "tcp": {}}, "E054", "one kind of question"),
        ({"ping": {"from": "$nobody", "to": "h2"}}, "E030", "unknown parameter"),
        ({"ping": {"from": "h1", "to": "h2"}, "until": "second"}, "E014", "unknown checkpoint"),
        ({"ping": 3}, "E016", "expected a mapping"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_in_the_check(check: object, code: str, said: str) -> None:
    with pytest.raises(LabFileError) as caught:
        asked(check)
    assert [(one.code, one.file, one.line) for one in caught.value.problems] == [(code, "check", 1)]
    assert said in str(caught.value)


def test_servers_are_named_with_their_shares_or_without() -> None:
    page = {"from": "h1", "to": "http://h2/"}
    assert asked({"http": {**page, "served_by": ["h2", "h1"]}}).served_by == {"h2": None, "h1": None}
    assert asked({"http": {**page, "served_by": {"h2": 1}}}).served_by == {"h2": 1}
