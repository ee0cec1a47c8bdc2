"""A class's marks in the forms of other programs: Moodle's CSV, Gradescope's JSON, JUnit's XML."""

from __future__ import annotations

import csv
import io
import re
from typing import Any
from xml.etree import ElementTree

from trenza.grade.marks import Outcome, Result, Verdict
from trenza.grade.report import ClassReport, rounded
from trenza.grade.sentences import check_sentence, feedback, number, outcome_sentence, titled

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def moodle_csv(report: ClassReport) -> str:
    """`useremail` or `useridnumber`, `grade`, `feedback`, as Moodle's import of grades maps them: a row per student.

    The column is the one that more of the roster has; without either, `useridnumber` holds the submission's name. Who
    has no mark has an empty grade.
    """
    students = [result.student for result in report.results]
    emails = sum(bool(student.email) for student in students)
    by_email = emails > 0 and emails >= sum(bool(student.idnumber) for student in students)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(["useremail" if by_email else "useridnumber", "grade", "feedback"])
    for result in report.results:
        student = result.student
        who = student.email if by_email else student.idnumber
        grade = "" if result.points is None else number(result.points)
        said = feedback(result, report.max_points, report.subject.language)
        writer.writerow([defused(who or student.name), grade, defused(said)])
    return text.getvalue()


def defused(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def gradescope_json(report: ClassReport, result: Result) -> dict[str, Any]:
    """One student's `results.json`. Of a hidden check Gradescope shows the student nothing."""
    language = report.subject.language
    answer: dict[str, Any] = {
        "score": rounded(result.points or 0.0),
        "max_score": report.max_points,
        "output": "" if result.outcome is Outcome.GRADED else outcome_sentence(result, language),
        "output_format": "text",
        "tests": [],
    }
    for checkpoint in result.checked.checkpoints if result.checked is not None else ():
        title = titled(checkpoint.title, language, checkpoint.name)
        answer["tests"] += [
            {
                "name": f"{title}: {check.title}",
                "score": rounded(check.points),
                "max_score": rounded(check.max_points),
                "status": "passed" if check.verdict is Verdict.PASS else "failed",
                "output": check_sentence(check),
                "output_format": "text",
                "visibility": "hidden" if check.hidden or checkpoint.hidden else "visible",
            }
            for check in checkpoint.checks
        ]
    return answer


def junit_xml(report: ClassReport) -> bytes:
    """A testsuite for each student, a testcase for each check. What cannot be told is an error, not a failure."""
    root = ElementTree.Element("testsuites", name=_xml(report.subject.lab))
    for result in report.results:
        checks = result.checked.checks if result.checked is not None else ()
        verdicts = [check.verdict for check in checks]
        suite = ElementTree.SubElement(
            root, "testsuite", name=_xml(result.student.name), tests=str(max(1, len(checks))),
            failures=str(verdicts.count(Verdict.FAIL) + (not checks and result.outcome is not Outcome.UNGRADED)),
            errors=str(verdicts.count(Verdict.CANNOT_TELL) + (result.outcome is Outcome.UNGRADED)),
            skipped=str(verdicts.count(Verdict.SKIPPED)), time=f"{result.seconds:.3f}",
        )  # fmt: skip
        if result.checked is None:
            case = ElementTree.SubElement(suite, "testcase", classname=_xml(report.subject.lab), name="submission")
            kind = "error" if result.outcome is Outcome.UNGRADED else "failure"
            ElementTree.SubElement(case, kind, message=_xml(outcome_sentence(result, report.subject.language)))
            continue
        for checkpoint in result.checked.checkpoints:
            for check in checkpoint.checks:
                case = ElementTree.SubElement(
                    suite, "testcase", classname=_xml(checkpoint.name), name=_xml(f"{check.id} {check.title}"),
                    time=f"{check.passed_after_s or 0:.3f}",
                )  # fmt: skip
                said = _xml(check_sentence(check))
                match check.verdict:
                    case Verdict.FAIL:
                        ElementTree.SubElement(case, "failure", message=said)
                    case Verdict.CANNOT_TELL:
                        ElementTree.SubElement(case, "error", message=said)
                    case Verdict.SKIPPED:
                        ElementTree.SubElement(case, "skipped", message=said)
                    case Verdict.PASS:
                        pass
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def _xml(text: str) -> str:
    """Text without the characters that XML 1.0 cannot hold; of the others ElementTree takes care."""
    return _NOT_XML.sub("�", text)
