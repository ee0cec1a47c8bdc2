"""The report of a class as one page: no script, nothing from elsewhere, to be read offline and printed.

A student's section is hidden until a link leads into it (`:target`), and all of them are printed. Whatever students
chose (names, addresses, what their programs answered) is escaped, control characters included.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from html import escape
from typing import Any

from trenza.grade.evidence import BUNDLE
from trenza.grade.marks import CheckMark, Outcome, Result, Verdict
from trenza.grade.report import ClassReport
from trenza.grade.sentences import FLAGS, VERDICTS, in_language, number, outcome_sentence, titled

_SIGNS = {Verdict.PASS: "✓", Verdict.FAIL: "✗", Verdict.CANNOT_TELL: "?", Verdict.SKIPPED: "–"}
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
MAX_ANSWERS = 30
MAX_ANSWER_CHARACTERS = 400

_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { font: 15px/1.45 system-ui, sans-serif; color: #1c2126; background: #fff; margin: 2rem auto; max-width: 76rem;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; } h3 { margin: 1.4rem 0 .4rem; }
p.sum, .quiet { color: #59636e; }
nav { margin: 1rem 0; } nav a { margin-right: 1.2rem; }
a { color: #0b57a4; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: .3rem .55rem; text-align: left; vertical-align: top; border-bottom: 1px solid #dfe3e7; }
thead th { border-bottom: 2px solid #9aa4ae; }
.points { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.mark { text-align: center; } td.mark a { display: block; text-decoration: none; color: inherit; }
.pass { background: #e3f4e6; color: #14532d; } .fail { background: #fbe4e2; color: #7f1d1d; }
.cannot-tell { background: #fdf1d3; color: #6b4a00; } .skipped { background: #eef0f2; color: #59636e; }
.verdict { padding: .1rem .45rem; border-radius: .3rem; white-space: nowrap; }
.hidden-check::after { content: " (·)"; }
.student { display: none; border-top: 3px solid #9aa4ae; margin-top: 2rem; }
.student:target, .student:has(:target), #everyone:target .student { display: block; }
tr:target { outline: 3px solid #0b57a4; outline-offset: -2px; }
ul { margin: .3rem 0; padding-left: 1.2rem; }
code, pre { font: 13px/1.4 ui-monospace, monospace; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: .3rem 0; }
@page { margin: 15mm; }
@media print {
  @page { size: A4 landscape; margin: 12mm; }
  .wide { overflow: visible; } table { font-size: 7pt; } th { white-space: normal; overflow-wrap: anywhere; }
  body { max-width: none; margin: 0; font-size: 10pt; } nav { display: none; }
  a { color: inherit; text-decoration: none; }
  .student { display: block; break-before: page; } tr, h2, h3 { break-inside: avoid; }
  .pass, .fail, .cannot-tell, .skipped { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


def report_page(report: ClassReport) -> str:
    """The whole document."""
    writer = _Writer(report)
    style = base64.b64encode(sha256(_STYLE.encode()).digest()).decode()
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="{report.subject.language}"><head><meta charset="utf-8">',
            f"""<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-{style}'">""",
            '<meta name="viewport" content="width=device-width">',
            f"<title>{_text(writer.title)}</title>",
            f"<style>{_STYLE}</style></head><body>",
            *writer.page(),
            "</body></html>",
            "",
        ]
    )


def _text(text: object) -> str:
    """Text that is text: escaped, control characters in Python's escapes."""
    return escape(_CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text)))


def _row(cells: Iterable[str]) -> str:
    return f"<tr>{''.join(cells)}</tr>"


def _cell(text: object, kind: str = "") -> str:
    return f'<td class="{kind}">{_text(text)}</td>' if kind else f"<td>{_text(text)}</td>"


def _table(header: Iterable[str], rows: Iterable[str]) -> Iterator[str]:
    yield '<div class="wide"><table><thead>' + _row(f"<th>{title}</th>" for title in header) + "</thead><tbody>"
    yield from rows
    yield "</tbody></table></div>"


class _Writer:
    """Writes the parts of one report's page."""

    def __init__(self, report: ClassReport) -> None:
        self.report = report
        self.language = report.subject.language
        self.title = f"{titled(report.subject.title, self.language, report.subject.lab)}: {self.say('marks', 'notas')}"
        self.columns = {check.id: number for number, check in enumerate(report.checks, 1)}

    def say(self, english: str, spanish: str) -> str:
        return in_language(self.language, english, spanish)

    def page(self) -> Iterator[str]:
        report = self.report
        counts = [f"{len(report.results)} {self.say('students', 'estudiantes')}"]
        if report.mean is not None:
            counts.append(self.say("mean", "media") + f" {number(report.mean)} / {number(report.max_points)}")
        for outcome, english, spanish in (
            (Outcome.ABSENT, "not handed in", "sin entregar"),
            (Outcome.REFUSED, "refused", "rechazadas"),
            (Outcome.ENDED, "did not end", "sin terminar"),
            (Outcome.UNGRADED, "not graded", "sin calificar"),
        ):
            if report.count(outcome):
                counts.append(f"{report.count(outcome)} {self.say(english, spanish)}")
        yield f"<header><h1>{_text(self.title)}</h1>"
        yield f'<p class="sum">{_text(" · ".join(counts))}</p></header><nav>'
        links = (
            ("marks", "marks", "notas"), ("checks", "checks", "comprobaciones"),
            ("alike", "similarity", "parecidos"), ("everyone", "all students", "todos los estudiantes"),
        )  # fmt: skip
        for target, english, spanish in links:
            yield f'<a href="#{target}">{self.say(english, spanish)}</a>'
        yield "</nav><main>"
        yield from self._matrix()
        yield from self._items()
        yield from self._alike()
        yield f'<section id="everyone"><h2>{self.say("Students", "Estudiantes")}</h2>'
        leads = self.say("A mark in the table above leads here.", "Una nota de la tabla lleva aquí.")
        yield f'<p class="quiet">{leads}</p>'
        for place, result in enumerate(report.results, 1):
            yield from self._student(place, result)
        digests = " · ".join(f"{name} {value[:16]}" for name, value in report.subject.digests.items())
        yield "</section></main>"
        yield f'<footer class="quiet"><p>trenza {_text(report.subject.version)} · {_text(digests)}</p></footer>'

    # ------------------------------------------------------------------ over the class
    def _matrix(self) -> Iterator[str]:
        yield f'<section id="marks"><h2>{self.say("Marks", "Notas")}</h2>'
        header = [
            self.say("Student", "Estudiante"),
            self.say("Points", "Puntos"),
            *(f'<span title="{_text(check.title)}">{_text(check.id)}</span>' for check in self.report.checks),
        ]
        yield from _table(header, (self._matrix_row(place, one) for place, one in enumerate(self.report.results, 1)))
        yield f'<p class="quiet">{" ".join(self._verdict(verdict) for verdict in Verdict)}</p></section>'

    def _verdict(self, verdict: Verdict) -> str:
        return f'<span class="verdict {verdict}">{_SIGNS[verdict]} {self.say(*VERDICTS[verdict])}</span>'

    def _matrix_row(self, place: int, result: Result) -> str:
        cells = [
            f'<td><a href="#s{place}">{_text(result.student.name)}</a></td>',
            _cell(number(result.points), "points"),
        ]
        if result.checked is None:
            span = max(1, len(self.columns))
            cells.append(f'<td class="skipped" colspan="{span}">{_text(outcome_sentence(result, self.language))}</td>')
            return _row(cells)
        by_id = {check.id: check for check in result.checked.checks}
        for check_id, column in self.columns.items():
            check = by_id.get(check_id)
            if check is None:
                cells.append("<td></td>")
                continue
            sign = _SIGNS[check.verdict]
            share = f" {round(100 * check.credit)} %" if 0 < check.credit < 1 else ""
            said = f"{check.title}: {self.say(*VERDICTS[check.verdict])}"
            cells.append(f'<td class="mark {check.verdict}"><a href="#s{place}-c{column}" title="{_text(said)}">'
                         f"{sign}{share}</a></td>")  # fmt: skip
        return _row(cells)

    def _items(self) -> Iterator[str]:
        yield f'<section id="checks"><h2>{self.say("Checks", "Comprobaciones")}</h2>'
        header = [
            "", self.say("Check", "Comprobación"), self.say("Mean credit", "Crédito medio"),
            self.say("Discrimination", "Discriminación"), self.say("Cannot tell", "No se sabe"),
            self.say("Look at it", "Revisar"),
        ]  # fmt: skip
        yield from _table(
            header,
            (
                _row(
                    [
                        _cell(item.check.id, "hidden-check" if item.check.hidden else ""),
                        _cell(item.check.title),
                        _cell(f"{item.difficulty:.2f}", "points"),
                        _cell("–" if item.discrimination is None else f"{item.discrimination:+.2f}", "points"),
                        _cell(f"{100 * item.cannot_tell:.0f} %", "points"),
                        _cell(", ".join(self.say(*FLAGS[flag]) for flag in item.flags)),
                    ]
                )
                for item in self.report.items
            ),
        )
        yield "</section>"

    def _alike(self) -> Iterator[str]:
        yield f'<section id="alike"><h2>{self.say("Similarity", "Parecidos")}</h2>'
        if not self.report.pairs:
            yield f'<p class="quiet">{self.say("No two are alike.", "No hay dos iguales.")}</p></section>'
            return
        header = [self.say("Students", "Estudiantes"), self.say("Of the shorter", "Del más corto"),
                  self.say("Of both", "De ambos"), self.say("Shared lines", "Líneas compartidas")]  # fmt: skip
        yield from _table(
            header,
            (
                _row(
                    [
                        _cell(f"{pair.first} · {pair.second}"),
                        _cell(f"{100 * pair.containment:.0f} %", "points"),
                        _cell(f"{100 * pair.jaccard:.0f} %", "points"),
                        f"<td><pre>{_text(chr(10).join(pair.lines[:MAX_ANSWERS]))}</pre></td>",
                    ]
                )
                for pair in self.report.pairs
            ),
        )
        yield "</section>"

    # ------------------------------------------------------------------ one student
    def _student(self, place: int, result: Result) -> Iterator[str]:
        yield f'<article class="student" id="s{place}"><h2>{_text(result.student.name)}: {number(result.points)}'
        yield f" / {number(self.report.max_points)}</h2>"
        if result.outcome is not Outcome.GRADED:
            yield f"<p>{_text(outcome_sentence(result, self.language))}</p>"
        yield from self._list(result.notes)
        if result.checked is not None:
            if result.checked.mapping:
                names = self.say("Her things, by the solution's names", "Sus cosas, por los nombres de la solución")
                yield f'<p class="quiet">{names}:</p>'
                yield from self._list(f"{one.get('name')} = {one.get('is') or '–'} ({one.get('how')})"
                                      for one in result.checked.mapping)  # fmt: skip
            for checkpoint in result.checked.checkpoints:
                title = titled(checkpoint.title, self.language, checkpoint.name)
                yield f"<h3>{_text(title)}: {number(checkpoint.points)} / {number(checkpoint.max_points)}</h3>"
                header = ["", self.say("Check", "Comprobación"), self.say("Points", "Puntos"),
                          self.say("What was found", "Qué se encontró")]  # fmt: skip
                yield from _table(header, (self._check(place, check) for check in checkpoint.checks))
        if result.digest:
            bundle = _text(f"{result.student.directory}/{BUNDLE}")
            yield f'<p class="quiet">{bundle} · <code>{_text(result.digest)}</code></p>'
        yield "</article>"

    def _list(self, lines: Iterable[object]) -> Iterator[str]:
        items = [f"<li>{_text(line)}</li>" for line in lines]
        if items:
            yield f"<ul>{''.join(items)}</ul>"

    def _check(self, place: int, check: CheckMark) -> str:
        found = [f"<div>{_text(check.said)}</div>"]
        if check.because:
            found.append(f"<div><strong>{_text(check.because)}</strong></div>")
        if check.hint:
            found.append(f'<div class="quiet">{_text(check.hint)}</div>')
        found += self._evidence(check)
        passed = "" if check.passed_after_s is None else f" {check.passed_after_s:.1f} s"
        column = self.columns.get(check.id, 0)
        return f'<tr id="s{place}-c{column}">' + "".join(
            [
                f'<td class="verdict">{self._verdict(check.verdict)}{passed}</td>',
                _cell(f"{check.id} {check.title}", "hidden-check" if check.hidden else ""),
                _cell(f"{number(check.points)} / {number(check.max_points)}", "points"),
                f"<td>{''.join(found)}</td></tr>",
            ]
        )

    def _evidence(self, check: CheckMark) -> Iterator[str]:
        evidence = check.evidence
        if evidence.get("theory"):
            yield f'<div class="quiet">{self.say("theory", "teoría")}: {_text(evidence["theory"])}</div>'
        answers = list(_answers(evidence.get("answers") or ()))
        if answers:
            more = ["…"] if len(answers) > MAX_ANSWERS else []
            yield f"<pre>{_text(chr(10).join([*answers[:MAX_ANSWERS], *more]))}</pre>"
        frames = ", ".join(str(frame.get("member") or frame.get("name")) for frame in evidence.get("frames") or ())
        if frames:
            yield f'<div class="quiet">{self.say("frames", "tramas")}: <code>{_text(frames)}</code></div>'


def _answers(said: Any) -> Iterator[str]:
    """What came back, a thing a line, long ones cut."""
    for one in [f"{name}: {value}" for name, value in said.items()] if isinstance(said, dict) else map(str, said):
        yield one if len(one) <= MAX_ANSWER_CHARACTERS else one[:MAX_ANSWER_CHARACTERS] + "…"
