"""The format's description of itself: JSON Schema, reference, catalogue."""

from __future__ import annotations

import string
from pathlib import Path

import jsonschema
import pytest

from trenza.spec import reference, schema
from trenza.spec.catalogue import CODES, HINTS, WORDS
from trenza.spec.format import DAEMONS, RECORDS
from trenza.spec.kinds import Form, Kind, Many, Record, Table
from trenza.spec.report import Report
from trenza.spec.tree import plain_data
from trenza.spec.yaml_text import tree_of

from . import labs


def data_of(text: str) -> object:
    return plain_data(tree_of(text, Report("lab.yaml", text)))


TEXTS = {
    **{name: source.decode() for name, source in labs.SHIPPED.items()},
    "designed-bridged": labs.BRIDGED,
    "designed-routed": labs.ROUTED,
    "designed-balanced": labs.BALANCED,
}


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("name", TEXTS)
def test_labs_follow_the_schema(name: str) -> None:
    jsonschema.validate(data_of(TEXTS[name]), schema())


@pytest.mark.parametrize("case", ["unknown-keys", "out-of-range", "wrong-types", "missing-lab", "names"])
def test_wrong_labs_do_not_follow_the_schema(case: str) -> None:
    text = (Path(__file__).parents[2] / "golden" / case / "lab.yaml").read_text()
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data_of(text), schema())


def test_the_reference_in_the_documentation_is_the_code() -> None:
    """After a change that is meant: `.venv/bin/python -m trenza.spec.reference > docs/labfile.md`."""
    assert (Path(__file__).parents[3] / "docs" / "labfile.md").read_text() == reference()


def test_both_languages_say_the_same_things() -> None:
    def fields(sentence: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}

    for code in CODES.values():
        assert fields(code.english) == fields(code.spanish), code
    for english, spanish in HINTS.values():
        assert fields(english) == fields(spanish), english


def test_every_word_of_the_format_has_its_spanish() -> None:
    def whats(kind: Kind) -> set[str]:
        match kind:
            case Form():
                return {kind.what}
            case Many():
                return whats(kind.of)
            case Table():
                return whats(kind.of)
            case Record():
                return set()
            case _:
                return set()

    same = {"ping", "no_ping", "ping_all", "http", "tcp", "dns", "dhcp", "mtu", "arp", "seen", "not_seen", "owner"}
    same |= {"netns", "no_ip", "nic", "peer", "stp", "vxlan", "macvlan", "ready", "adds", *DAEMONS, "vrrp"}
    same |= {"frontend", "backend"}
    words = {what for record in RECORDS for option in record.options.values() for what in whats(option.kind)}
    assert words <= WORDS.keys()
    assert {record.name for record in RECORDS} - same <= WORDS.keys()
