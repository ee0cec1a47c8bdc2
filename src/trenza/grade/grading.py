"""Grading a class: what is left to do is done, as many at a time as the machine holds, and the reports are written.

Who was graded beside a submission that took the machine for itself, and did not get everything, is graded again alone:
a neighbour costs nobody points. Results are kept as they come, so that a class that was killed half-way goes on.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import trenza
from trenza.errors import MachineError, UsageError
from trenza.grade import evidence
from trenza.grade.exports import gradescope_json, junit_xml, moodle_csv
from trenza.grade.forks import Done, in_forks
from trenza.grade.keeping import RESULT, TRIED, confirm, find_kept, keep, key_of, write_whole
from trenza.grade.marks import Outcome, Result
from trenza.grade.page import report_page
from trenza.grade.report import ClassReport, Subject, class_report, report_as_json
from trenza.grade.sentences import in_language
from trenza.grade.submissions import Entry
from trenza.grade.trial import Exercise, LabEnded, Trial, attempt, clean, forget_evidence, parameters_of
from trenza.grade.verification import REPORT, SEAL, student_findings
from trenza.linux.sandbox import MAX_PROCESSES, Limits

Told = Callable[[Result, int, int], None]
"""Hears of each result, how many there are by now, and of how many."""

SANDBOX_BYTES = 1 << 30
"""What one submission may take of memory before fewer run at a time: files, processes and all."""
JOBS_PER_CORE = 4
"""Most of a check is waiting for packets."""


def jobs_for(cores: int, available_bytes: int) -> int:
    """How many submissions a machine holds at a time."""
    return max(1, min(cores * JOBS_PER_CORE, available_bytes // SANDBOX_BYTES))


def sandbox_limits(nodes: int) -> Limits:
    """What one submission's sandbox may take: the lab's own processes and some hundreds, and so much for files."""
    return Limits(processes=min(MAX_PROCESSES, 400 + 10 * nodes), size_bytes=SANDBOX_BYTES // 2)


@contextmanager
def results_directory(out: Path) -> Iterator[Path]:
    """The directory of results, held against another grading into it. Raises UsageError if it cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(out / "grade.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield out
    except BlockingIOError as error:
        raise UsageError(f"another grading writes to {out}", hint="wait for it, or choose another with -o") from error
    finally:
        os.close(descriptor)


def grade(
    exercise: Exercise, subject: Subject, entries: Sequence[Entry], out: Path, *, jobs: int, told: Told
) -> tuple[ClassReport, str]:
    """Grade whoever was not graded yet, and write the reports; the class's report and digest.

    Call within `results_directory`. Raises what would be wrong for everybody: LabFileError's remote form, MachineError.
    """
    for stale in (SEAL, REPORT, "report.html", "junit.xml", "moodle.csv"):  # until this is done there is no report
        (out / stale).unlink(missing_ok=True)
    results: dict[str, Result] = {}
    trials: list[Trial] = []

    def settle(result: Result) -> None:
        results[result.student.directory] = result
        told(result, len(results), len(entries))

    for entry in entries:
        trial = None if entry.submission is None else _trial(exercise, subject, entry, out)
        if trial is None:
            settle(_without_archive(entry))
        elif (kept := _kept(exercise, trial)) is not None:
            settle(kept)
        else:
            trials.append(trial)
    for result in _graded(exercise, trials, jobs):
        settle(result)
    ordered = [results[entry.student.directory] for entry in entries]
    on_roster = {entry.student.directory: entry.on_roster for entry in entries}
    if any(on_roster.values()):
        stranger = in_language(exercise.language, "not on the roster", "no está en la lista")
        ordered = [
            one if on_roster[one.student.directory] else replace(one, notes=(*one.notes, stranger)) for one in ordered
        ]
    report = class_report(subject, ordered)
    return report, write_reports(report, out)


def _without_archive(entry: Entry) -> Result:
    if entry.submission is not None and entry.submission.problem:
        return Result(entry.student, Outcome.UNGRADED, entry.submission.problem)
    return Result(entry.student, Outcome.ABSENT)


def _trial(exercise: Exercise, subject: Subject, entry: Entry, out: Path) -> Trial | None:
    assert entry.submission is not None
    archive = entry.submission.archive
    if archive is None:
        return None
    parameters = parameters_of(exercise, entry.student)
    key = key_of(
        archive=_digest_of(archive),
        **subject.digests,
        parameters=repr(sorted(parameters.items())),
        choices=repr((exercise.profile, exercise.variants)),
        language=exercise.language,
        version=trenza.__version__,
    )
    directory = out / entry.student.directory
    name = blake2b(os.fsencode(directory.resolve()), digest_size=8).hexdigest()
    return Trial(entry.student, archive, key, f"grade-{name}", directory)


def _digest_of(archive: Path) -> str:
    """An archive's digest; "" where it cannot be read, which whoever grades it will say."""
    hashed = blake2b(digest_size=32)
    try:
        with archive.open("rb") as file:
            while data := file.read(1 << 20):
                hashed.update(data)
    except OSError:
        return ""
    return hashed.hexdigest()


# ---------------------------------------------------------------- the work
def _graded(exercise: Exercise, trials: Sequence[Trial], jobs: int) -> Iterator[Result]:
    """A result for each trial as soon as it stands; those that others may have troubled come last, tried again alone.

    Until then it is on disk as tried only, so that whoever kills this in between loses nobody's points.
    """
    over: list[Done[Trial]] = []
    held: list[tuple[int, Done[Trial]]] = []
    again: list[Trial] = []
    for done in _tried(exercise, trials, jobs):
        over.append(done)
        held.append((min(len(over) + jobs - 1, len(trials)), done))
        begun = _all_over(trials, over)
        for started, one in held:
            if started <= begun:  # whoever ran beside it is over too
                if needs_another(exercise, one, over):
                    again.append(one.work)
                else:
                    yield _result(exercise, one)
        held = [(started, one) for started, one in held if started > begun]
    for done in _tried(exercise, again, 1):
        yield _result(exercise, done)


def _all_over(trials: Sequence[Trial], over: Sequence[Done[Trial]]) -> int:
    """Of how many trials, from the first on, all are over; they begin in their order."""
    labs = {done.work.lab for done in over}
    return next((number for number, trial in enumerate(trials) if trial.lab not in labs), len(trials))


def _tried(exercise: Exercise, trials: Sequence[Trial], jobs: int) -> Iterator[Done[Trial]]:
    def do(trial: Trial) -> dict[str, object]:
        try:
            return attempt(exercise, trial)
        finally:
            clean(trial)

    for done in in_forks(trials, do, jobs=jobs, timeout_s=exercise.timeout_s, clean=clean):
        if done.error is not None and (done.error["exit"] == 3 or done.error["code"] == "lab-file"):
            kind = MachineError if done.error["exit"] == 3 else UsageError
            raise kind(done.error["message"], hint=done.error["hint"])
        yield done


def _kept(exercise: Exercise, trial: Trial, name: str = RESULT) -> Result | None:
    """What an earlier trial came to, if nothing changed since: neither what it was made of nor its evidence."""
    result = find_kept(trial.directory / name, trial.key, trial.student, exercise.timeout_s)
    if result is not None and result.digest:
        points = None if result.checked is None else result.checked.points
        if any(student_findings(trial.directory.parent, trial.student.directory, result.digest, points)):
            return None
    return result


def needs_another(exercise: Exercise, done: Done[Trial], over: Sequence[Done[Trial]]) -> bool:
    """Whether a trial has to be repeated alone: it failed, or had trouble beside it and did not get everything."""
    if done.error is not None:
        return True
    beside = [other for other in over if other is not done and other.overlaps(done)]
    if done.timed_out:
        return bool(beside)
    result = _kept(exercise, done.work, TRIED)
    if result is None:
        return True
    is_whole = result.checked is None or result.checked.points >= result.checked.max_points
    return not is_whole and any(_is_trouble(other) for other in beside)


def _is_trouble(done: Done[Trial]) -> bool:
    return done.timed_out or (done.answer is not None and bool(done.answer["greedy"]))


def _result(exercise: Exercise, done: Done[Trial]) -> Result:
    """What a trial came to, which stands from now on; or what is known of one that left nothing."""
    trial, language = done.work, exercise.language
    if done.answer is not None and (tried := _kept(exercise, trial, TRIED)) is not None:
        confirm(trial.directory)
        return tried
    if done.timed_out:
        reason = in_language(language, f"not within {exercise.timeout_s:g} s", f"no en {exercise.timeout_s:g} s")
        ended = Result(trial.student, Outcome.ENDED, reason, seconds=done.ended_s - done.began_s)
    else:
        error = done.error or {"code": "", "message": "", "hint": None}
        details = tuple(part for part in (error["message"], error["hint"]) if part)  # for the teacher alone
        if error["code"] == LabEnded.code:
            reason = in_language(language, "after its commands the lab could not be checked",
                                 "tras sus órdenes el laboratorio no se pudo comprobar")  # fmt: skip
            ended = Result(trial.student, Outcome.ENDED, reason, notes=details)
        else:
            ended = Result(trial.student, Outcome.UNGRADED, details[0] if details else "", notes=details[1:])
    trial.directory.mkdir(parents=True, exist_ok=True)
    forget_evidence(trial.directory)
    keep(trial.directory / RESULT, trial.key, ended, exercise.timeout_s)
    return ended


# ---------------------------------------------------------------- the reports
def write_reports(report: ClassReport, out: Path) -> str:
    """Write every form of a class's report, and the seal over all of it; the class's digest."""
    files = {
        REPORT: evidence.as_text(report_as_json(report)),
        "report.html": report_page(report).encode(errors="backslashreplace"),
        "junit.xml": junit_xml(report),
        "moodle.csv": moodle_csv(report).encode(errors="backslashreplace"),
    }
    shutil.rmtree(out / "gradescope", ignore_errors=True)
    (out / "gradescope").mkdir()
    for result in report.results:
        if result.points is not None:
            name = f"gradescope/{result.student.directory}.json"
            files[name] = evidence.as_text(gradescope_json(report, result))
    for name, data in files.items():
        write_whole(out / name, data)
    digests = [
        (member, evidence.digest((out / member).read_bytes()))
        for result in report.results
        if result.digest
        for member in (f"{result.student.directory}/{evidence.CHAIN}", f"{result.student.directory}/{evidence.BUNDLE}")
    ]
    links = evidence.chained([*digests, *((name, evidence.digest(data)) for name, data in files.items())])
    write_whole(out / SEAL, evidence.chain_text(links))
    return evidence.last_digest(links)


def read_hidden(path: Path) -> bytes:
    """The hidden checks' file. Raises UsageError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
