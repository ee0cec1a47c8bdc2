"""A class's marks in the forms of Moodle, Gradescope and JUnit, and as one page."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from trenza.grade.exports import defused, gradescope_json, junit_xml, moodle_csv
from trenza.grade.marks import Checked, Outcome, Result, Student
from trenza.grade.page import report_page
from trenza.grade.report import ClassReport

from .classes import HOSTILE, check, checked, graded, reported, student

HIDDEN = Checked.of(
    checked(check(1), check(2, 0.5, because=HOSTILE), check(3, 0, hidden=True, title="the secret", because="secret"))
)
ANA = Result(Student("Ana", "ana", "ana", "ana@uni.es", "7"), Outcome.GRADED, checked=HIDDEN, digest="d" * 64)


def a_class(language: str = "en") -> ClassReport:
    return reported(
        ANA,
        graded("bob", [1, 1, 1]),
        Result(student(HOSTILE, email="=mal@lo.ry", idnumber="9"), Outcome.REFUSED, HOSTILE),
        Result(student("cleo", email="cleo@uni.es"), Outcome.ABSENT),
        Result(student("dan", email="dan@uni.es"), Outcome.UNGRADED, "the sandbox could not be made"),
        Result(student("eve", email="eve@uni.es"), Outcome.ENDED, "not within 120 s"),
        language=language,
    )


def test_moodles_csv_has_its_three_columns_and_a_row_for_each_student() -> None:
    rows = list(csv.DictReader(io.StringIO(moodle_csv(a_class()))))
    assert list(rows[0]) == ["useremail", "grade", "feedback"]
    assert [(row["useremail"], row["grade"]) for row in rows] == [
        ("ana@uni.es", "15"), ("bob@uni.es", "30"), ("'=mal@lo.ry", "0"), ("cleo@uni.es", "0"), ("dan@uni.es", ""),
        ("eve@uni.es", "0"),
    ]  # fmt: skip
    assert "host2 does not forward" not in rows[0]["feedback"] and "of 30" in rows[0]["feedback"]
    assert rows[3]["feedback"] == "not handed in" and "not within 120 s" in rows[5]["feedback"]


def test_a_student_is_told_of_hidden_checks_nothing_but_their_points() -> None:
    said = moodle_csv(reported(ANA))
    assert "secret" not in said and "Hidden checks: 0 of 10" in said
    tests = gradescope_json(reported(ANA), ANA)["tests"]
    assert [test["visibility"] for test in tests] == ["visible", "visible", "hidden"]


def test_a_class_known_by_id_numbers_is_told_by_them() -> None:
    result = replace(ANA, student=Student("Ana", "ana", "ana", "", "007"))
    assert moodle_csv(reported(result)).splitlines()[0] == "useridnumber,grade,feedback"
    assert "\r\n007,15," in moodle_csv(reported(result))


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1"])
def test_a_cell_that_a_spreadsheet_would_run_is_defused(cell: str) -> None:
    assert defused(cell) == f"'{cell}" and defused("a" + cell) == "a" + cell


def test_gradescope_is_told_what_its_format_knows() -> None:
    said = gradescope_json(a_class(), ANA)
    assert (said["score"], said["max_score"]) == (15, 30)
    assert {"name", "score", "max_score", "status", "output", "visibility"} <= set(said["tests"][1])
    assert [test["status"] for test in said["tests"]] == ["passed", "failed", "failed"]


def test_junit_has_a_suite_for_each_student_and_survives_what_xml_cannot_hold() -> None:
    root = ElementTree.fromstring(junit_xml(a_class()))
    suites = {suite.attrib["name"][:4]: suite for suite in root}
    assert len(suites) == 6
    assert suites["Ana"].attrib | {"time": ""} == {"name": "Ana", "tests": "3", "failures": "2", "errors": "0",
                                                   "skipped": "0", "time": ""}  # fmt: skip
    assert suites["dan"].attrib["errors"] == "1" and suites["cleo"].attrib["failures"] == "1"
    untold = replace(
        ANA, checked=Checked.of(checked(check(1, 0, verdict="cannot-tell"), check(2, 0, verdict="skipped")))
    )
    suite = ElementTree.fromstring(junit_xml(reported(untold)))[0]
    assert (suite.attrib["errors"], suite.attrib["skipped"], suite.attrib["failures"]) == ("1", "1", "0")


class Page(HTMLParser):
    """What a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        assert not {name for name in given if name.startswith("on") or name in ("src", "style", "action", "srcset")}
        if "id" in given:
            assert given["id"] not in self.ids
            self.ids.add(str(given["id"]))
        if "href" in given:
            self.links.append(str(given["href"]))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("language", ["en", "es"])
def test_the_page_holds_everything_itself_and_what_students_chose_is_text(language: str) -> None:
    text = report_page(a_class(language))
    page = Page(text)
    assert not page.open and {"script", "img", "iframe", "object", "link"}.isdisjoint(page.tags)
    assert all(link[0] == "#" and link[1:] in page.ids for link in page.links)
    assert "://" not in text and "@import" not in text and "url(" not in text
    assert "default-src 'none'" in text and "@media print" in text
    assert "<script>alert(1)</script>" in page.text and "\\x1b[31m\\u202e" in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", text)
    assert ("Similarity" if language == "en" else "Parecidos") in page.text
    assert "s1-c2" in page.ids and "host2 does not forward" in report_page(reported(graded("bob", [1, 0])))


def test_the_page_says_who_has_no_mark_and_why() -> None:
    page = Page(report_page(a_class()))
    assert "the sandbox could not be made" in page.text and "not within 120 s" in page.text
    assert "6 students · mean 11.25 / 30" in page.text  # of the four who handed in something that could be graded
