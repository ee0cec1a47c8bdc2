"""Grading a class: `trenza grade`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from trenza.cli.arguments import add_format
from trenza.cli.lifecycle import names_between_commas, settings_of
from trenza.cli.speech import language, note, put, put_json, table, tr
from trenza.client.labfiles import LabFile, get_lab_file
from trenza.errors import UsageError

if TYPE_CHECKING:
    from trenza.grade.marks import Result
    from trenza.grade.report import ClassReport, Subject
    from trenza.grade.trial import Exercise

DEFAULT_OUT = "grades"
MAX_PAIRS = 10
"""Of students who are alike, as many as a screen has room for."""


def configure_grade(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "directory", metavar="DIR", nargs="?", help="what was handed in: archives that `trenza save` made"
    )
    parser.add_argument(
        "--lab", metavar="LAB", help="the lab: a file, a directory or a shipped name (default: lab.yaml here)"
    )
    parser.add_argument("-o", "--out", metavar="OUT", default=DEFAULT_OUT, help="where results go (default: grades)")
    parser.add_argument("--roster", metavar="CSV", help="who is in the class: name, email or idnumber, student")
    parser.add_argument("--hidden", metavar="FILE", help="checks that students do not have")
    parser.add_argument("--seed", metavar="SECRET", help="what each student's own values were drawn with")
    parser.add_argument("--profile", metavar="P", help="a named set of the lab's parameters")
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help="one parameter")
    parser.add_argument("--with", metavar="VARIANT,…", action="extend", type=names_between_commas, default=[],
                        dest="variants", help="variants")  # fmt: skip
    parser.add_argument("--jobs", metavar="N", type=int, help="how many at a time (default: what the machine holds)")
    parser.add_argument("--timeout", metavar="TIME", default="120s", help="for each submission (default: 120s)")
    parser.add_argument("--verify", metavar="OUT", help="look whether results are what was written; grades nothing")
    add_format(parser)


def run_grade(arguments: argparse.Namespace) -> int:
    if arguments.verify is not None:
        return _verify(arguments)
    if arguments.directory is None:
        raise UsageError(tr("no directory of submissions given", "falta el directorio de las entregas"),
                         hint="trenza grade DIR --lab lab.yaml")  # fmt: skip
    return _grade(arguments)


def _grade(arguments: argparse.Namespace) -> int:
    from trenza.grade.grading import grade, read_hidden, results_directory
    from trenza.grade.marks import Outcome
    from trenza.grade.report import report_as_json
    from trenza.grade.roster import read_roster
    from trenza.grade.submissions import entries_of, find_submissions

    directory, out = Path(arguments.directory), Path(arguments.out)
    if out.resolve() == directory.resolve():
        raise UsageError(tr("results cannot go among the submissions", "los resultados no van entre las entregas"),
                         hint="-o grades")  # fmt: skip
    lab_file = get_lab_file(arguments.lab)
    hidden = None if arguments.hidden is None else read_hidden(Path(arguments.hidden))
    exercise, subject = _exercise(arguments, lab_file, hidden)
    roster = read_roster(_read(arguments.roster), arguments.roster) if arguments.roster else ()
    entries = entries_of(find_submissions(directory, skip=out.resolve()), roster)
    if not entries:
        raise UsageError(tr(f"no submissions in {directory}", f"no hay entregas en {directory}"),
                         hint="NAME.trenza, or NAME/ with one in it")  # fmt: skip
    jobs = _jobs(arguments.jobs)
    with results_directory(out):
        report, digest = grade(exercise, subject, entries, out, jobs=jobs, told=_Told(arguments.format == "json"))
    if arguments.format == "json":
        put_json("grade", {**report_as_json(report), "digest": digest, "out": str(out)})
    else:
        _say(report, digest, out)
    return 1 if report.count(Outcome.UNGRADED) else 0


def _exercise(arguments: argparse.Namespace, lab_file: LabFile, hidden: bytes | None) -> tuple[Exercise, Subject]:
    """What is graded, with everything about the lab file that is wrong said first."""
    import trenza
    from trenza.fault.reading import duration_s
    from trenza.grade.evidence import digest
    from trenza.grade.grading import sandbox_limits
    from trenza.grade.report import Subject
    from trenza.grade.trial import Exercise
    from trenza.spec import Choices, read

    parameters = settings_of(arguments.set)
    choices = Choices(arguments.profile, parameters, tuple(arguments.variants))
    with_hidden = None if hidden is None else (hidden, arguments.hidden)
    lab = read(lab_file.source, lab_file.shown(), choices, language(), with_hidden).lab
    if not any(checkpoint.checks for checkpoint in lab.checkpoints):
        raise UsageError(tr(f"{lab.name} has no checks", f"{lab.name} no tiene comprobaciones"),
                         hint="checkpoints: [{name: …, points: …, checks: […]}]")  # fmt: skip
    if lab.seeded and arguments.seed is None:
        names = ", ".join(lab.seeded)
        note(
            tr(
                f"{names}: each student's own, but graded as the lab file has them; --seed SECRET says otherwise",
                f"{names}: propios de cada estudiante, pero calificados como en el fichero; vea --seed SECRET",
            )
        )
    sources = {file.source for node in lab.nodes for file in node.files if file.source is not None}
    exercise = Exercise(
        lab_file, arguments.profile, parameters, tuple(arguments.variants), lab.seeded, arguments.seed, lab.profiles,
        hidden, arguments.hidden, language(), duration_s(arguments.timeout), sandbox_limits(len(lab.nodes)),
    )  # fmt: skip
    digests = {"lab": digest(lab_file.source)}
    if hidden is not None:
        digests["hidden"] = digest(hidden)
    if sources:
        directory = Path(lab_file.directory)
        digests["files"] = digest(
            "".join(f"{name} {digest(_read(directory / name))}\n" for name in sorted(sources)).encode()
        )
    points = sum(checkpoint.points for checkpoint in lab.checkpoints)
    given = tuple(lab_file.source.decode(errors="replace").splitlines())
    return exercise, Subject(lab.name, lab.title, points, trenza.__version__, language(), digests, given)


def _jobs(given: int | None) -> int:
    from trenza.grade.grading import jobs_for

    if given is None:
        return jobs_for(len(os.sched_getaffinity(0)), _available_bytes())
    if given < 1:
        raise UsageError(tr("--jobs is at least 1", "--jobs es al menos 1"))
    return given


def _available_bytes() -> int:
    """What the machine can still give to programs (proc(5))."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def _read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(
            tr(f"cannot read {path}: {error.strerror}", f"no se puede leer {path}: {error.strerror}")
        ) from error


class _Told:
    """A line for each result as it comes, on stderr where the answer is JSON."""

    def __init__(self, beside: bool) -> None:
        self._put = note if beside else put

    def __call__(self, result: Result, number: int, of: int) -> None:
        from trenza.grade.marks import Outcome
        from trenza.grade.sentences import number as points
        from trenza.grade.sentences import outcome_sentence

        said = points(result.points)
        if result.outcome is not Outcome.GRADED:
            said = f"{said} ({outcome_sentence(result, language())})"
        elif result.checked is not None:
            said = f"{said} / {points(result.checked.max_points)}"
        self._put(f"{number}/{of}  {result.student.name}: {said}")


def _say(report: ClassReport, digest: str, out: Path) -> None:
    """What to look at: bad checks, pairs that are alike, and where it all lies."""
    from trenza.grade.sentences import FLAGS, number

    put()
    of = f"{number(report.mean)} / {number(report.max_points)}"
    count = len(report.results)
    put(tr(f"{count} student{'s' * (count != 1)}, mean {of}", f"{count} estudiante{'s' * (count != 1)}, media {of}"))
    flagged = [[item.check.id, f"{item.difficulty:.2f}", ", ".join(tr(*FLAGS[flag]) for flag in item.flags)]
               for item in report.items if item.flags]  # fmt: skip
    if flagged:
        header = [tr("CHECK", "COMPROBACIÓN"), tr("MEAN CREDIT", "CRÉDITO MEDIO"), tr("LOOK AT IT", "REVISAR")]
        put(table(header, flagged))
    for pair in report.pairs[:MAX_PAIRS]:
        share = f"{pair.containment:.0%}"
        put(
            tr(
                f"alike: {pair.first} and {pair.second}, {share} of the shorter one's own",
                f"parecidos: {pair.first} y {pair.second}, {share} de lo propio del más corto",
            )
        )
    if len(report.pairs) > MAX_PAIRS:
        left = len(report.pairs) - MAX_PAIRS
        put(tr(f"and {left} more pairs in the report", f"y {left} pares más en el informe"))
    others = "moodle.csv, gradescope/, junit.xml"
    put(
        tr(
            f"{out}/report.html is the report; {others} and report.json lie beside it",
            f"{out}/report.html es el informe; {others} y report.json están al lado",
        )
    )
    put(tr(f"seal {digest}: keep it; `trenza grade --verify {out}` says whether anything was changed",
           f"sello {digest}: guárdelo; `trenza grade --verify {out}` dice si algo cambió"))  # fmt: skip


_CHANGES = {
    "altered": ("was altered", "fue alterado"),
    "missing": ("is missing", "falta"),
    "added": ("was added", "fue añadido"),
    "unreadable": ("cannot be read", "no se puede leer"),
    "mark": ("the mark is not that of the evidence", "la nota no es la de las pruebas"),
}


def _verify(arguments: argparse.Namespace) -> int:
    from trenza.grade.verification import verify

    found = verify(Path(arguments.verify))
    if arguments.format == "json":
        findings = [{"path": one.path, "change": one.change.value} for one in found.findings]
        put_json("grade-verify", {"findings": findings, "digest": found.digest, "students": found.students})
    else:
        for one in found.findings:
            put(f"{one.path}: {tr(*_CHANGES[one.change.value])}")
        if not found.findings:
            put(tr(f"{found.students} students: everything is as it was written",
                   f"{found.students} estudiantes: todo está como se escribió"))  # fmt: skip
        put(tr(f"seal {found.digest}", f"sello {found.digest}"))
    return 1 if found.findings else 0
