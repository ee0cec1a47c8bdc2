"""Classes of students for tests, as the keeper's answers would make them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from trenza.grade.marks import Checked, Outcome, Result, Student
from trenza.grade.report import ClassReport, Subject, class_report

HOSTILE = "</td><script>alert(1)</script>\x1b[31m\u202e=cmd()'\"&"


def check(number: int, credit: float = 1.0, **changes: Any) -> dict[str, Any]:
    """What a keeper says of one check that is worth 10 points."""
    return {
        "id": f"bridged/{number}", "kind": "ping", "title": f"ping c1 → c{number}", "asked": {"ping": {}},
        "verdict": "pass" if credit == 1 else "fail", "credit": credit, "weight": 1, "required": False, "hidden": False,
        "points": 10 * credit, "max_points": 10, "said": f"{round(10 * credit)} of 10 answered",
        "because": "" if credit == 1 else "host2 does not forward", "hint": "", "passed_after_s": 0.5,
        "evidence": {
            "began_s": 1.0, "ended_s": 2.0, "theory": "it arrives", "answers": ["10.0.0.12"],
            "frames": [{"name": "lan.pcapng", "data": base64.b64encode(b"frames").decode()}],
        },
        **changes,
    }  # fmt: skip


def checked(*checks: dict[str, Any]) -> dict[str, Any]:
    """What a keeper says of a lab with one checkpoint."""
    points, most = sum(one["points"] for one in checks), sum(one["max_points"] for one in checks)
    passed = points == most
    return {
        "lab": "bridged-lan", "points": points, "max_points": most, "passed": passed, "began_s": 0.0, "seconds": 1.0,
        "mapping": [{"name": "host1/c1", "is": "host1/web", "how": "by address", "given": False}],
        "checkpoints": [
            {"name": "bridged", "title": {"en": "Bridged", "es": "Puenteado"}, "points": points, "max_points": most,
             "verdict": "pass" if passed else "fail", "latched_s": None, "hidden": False, "checks": list(checks)},
        ],
    }  # fmt: skip


def student(name: str, **fields: str) -> Student:
    return Student(name, name, name.replace("/", "_"), **fields)


def graded(name: str, credits_of_checks: Sequence[float], **fields: Any) -> Result:
    marks = Checked.of(checked(*(check(number, credit) for number, credit in enumerate(credits_of_checks, 1))))
    return Result(
        student(name, email=f"{name}@uni.es", idnumber=f"0{len(name)}"), Outcome.GRADED, checked=marks, **fields
    )


def reported(*results: Result, language: str = "en") -> ClassReport:
    title = {"en": "Two hosts on one LAN", "es": "Dos hosts en una LAN"}
    return class_report(Subject("bridged-lan", title, 50, "1.0", language, {"lab": "ab" * 32}), results)
