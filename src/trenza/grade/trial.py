"""One submission: its archive read, its commands replayed in a sandbox of its own, checked, and the evidence kept.

Runs in a forked process, because what it reads is a stranger's and may take all the time it is given; the sandbox ends
with that process.
"""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trenza.client.archive import Saved, read_archive
from trenza.client.labfiles import LabFile
from trenza.client.machine import machine_pids
from trenza.client.replay import Replayed, declared_of, differences_from, replay_into
from trenza.client.session import ask, lent
from trenza.errors import TrenzaError, UsageError
from trenza.grade import evidence
from trenza.grade.forks import Answer
from trenza.grade.keeping import TRIED, keep, write_whole
from trenza.grade.marks import Checked, Outcome, Result, Student
from trenza.grade.sentences import in_language
from trenza.linux import sandbox
from trenza.spec.seeding import seeded_values

GREEDY_PROCESSES = 200
"""So many more than the lab has by itself take the processor from those who are graded at the same time."""
COMMAND_DEADLINE_S = 10.0
REPLAY_SHARE = 0.5
"""How much of a submission's time its commands may take; the rest is for checking what they came to."""
MAX_STREAM_LINES = 2000
MAX_LINE_CHARACTERS = 500
MAX_DIFFERENCES = 5


@dataclass(frozen=True, slots=True)
class Exercise:
    """What all of a class is graded on: the teacher's lab, never the one in an archive."""

    lab_file: LabFile
    profile: str | None
    parameters: Mapping[str, str]
    variants: tuple[str, ...]
    seeded: Mapping[str, tuple[str | range, ...]]
    seed: str | None
    profiles: tuple[str, ...]
    hidden: bytes | None
    hidden_file: str | None
    language: str
    timeout_s: float
    limits: sandbox.Limits


@dataclass(frozen=True, slots=True)
class Trial:
    """One submission that is to be graded: whose, which archive, under which key, and the name its lab runs under."""

    student: Student
    archive: Path
    key: str
    lab: str
    directory: Path


def attempt(exercise: Exercise, trial: Trial) -> Answer:
    """Grade one submission, keep what it came to as tried, and say whether it took so much that others may suffer.

    Raises TrenzaError where it cannot be graded; the error of a lab that was up is one of `LabEnded`.
    """
    began = time.monotonic()
    trial.directory.mkdir(parents=True, exist_ok=True)
    try:
        saved = read_archive(trial.archive)
    except UsageError as error:
        reason = error.message.replace(str(trial.archive), trial.archive.name)  # a student reads it
        refused = Result(trial.student, Outcome.REFUSED, reason)
        keep(trial.directory / TRIED, trial.key, refused, exercise.timeout_s)
        forget_evidence(trial.directory)
        return {"greedy": False}
    parameters = parameters_of(exercise, trial.student)
    request = {
        "source": base64.b64encode(exercise.lab_file.source).decode(),
        "file": exercise.lab_file.file,
        "directory": exercise.lab_file.directory,
        "mode": "start",
        "until": None,
        "profile": _profile(exercise, saved),
        "parameters": parameters,
        "variants": list(exercise.variants),
        "has_etcd": True,
        "language": exercise.language,
        "nat": [],
    }
    with lent(trial.lab, request, exercise.lab_file.directory, exercise.limits):
        try:
            before = len(machine_pids(trial.lab))
            replayed = replay_into(
                trial.lab,
                saved,
                command_deadline_s=COMMAND_DEADLINE_S,
                total_deadline_s=exercise.timeout_s * REPLAY_SHARE,
            )
            greedy = len(machine_pids(trial.lab)) - before > GREEDY_PROCESSES
            check = ask(trial.lab, _check_request(exercise))
            unlike = _unlike(exercise, trial.lab, saved, request)
            journal = (sandbox.history_directory(trial.lab) / "journal.jsonl").read_bytes()
        except TrenzaError as error:
            raise LabEnded(error.message, hint=error.hint) from error
        except OSError as error:
            raise LabEnded(f"it does not answer: {error.strerror or error}") from error
    members, said = _members(check, journal, saved, replayed, unlike)
    links = evidence.chained((name, evidence.digest(data)) for name, data in members.items())
    result = Result(
        trial.student,
        Outcome.GRADED,
        checked=Checked.of(said),
        notes=tuple(_notes(exercise, saved, parameters, unlike)),
        streams=streams_of(saved, own_values(exercise, trial.student)),
        seconds=time.monotonic() - began,
        digest=evidence.last_digest(links),
    )
    write_whole(trial.directory / evidence.BUNDLE, evidence.packed(members))
    write_whole(trial.directory / evidence.CHAIN, evidence.chain_text(links))
    keep(trial.directory / TRIED, trial.key, result, exercise.timeout_s)
    return {"greedy": greedy}


def forget_evidence(directory: Path) -> None:
    """Remove what an earlier submission of the same student left."""
    for name in (evidence.BUNDLE, evidence.CHAIN):
        (directory / name).unlink(missing_ok=True)


class LabEnded(TrenzaError):
    """A lab that was up could not be replayed into or checked."""

    code = "lab-ended"


def clean(trial: Trial) -> None:
    """End what a trial that was killed left running, and what it left of a history."""
    from trenza.client.session import down

    down(trial.lab)
    shutil.rmtree(sandbox.history_directory(trial.lab), ignore_errors=True)


def parameters_of(exercise: Exercise, student: Student) -> dict[str, str]:
    """A student's own values, and over them what the teacher set."""
    return {**own_values(exercise, student), **exercise.parameters}


def own_values(exercise: Exercise, student: Student) -> dict[str, str]:
    """What a student drew."""
    return {} if exercise.seed is None else seeded_values(exercise.seeded, student.key, exercise.seed)


def _profile(exercise: Exercise, saved: Saved) -> str | None:
    """The teacher's, else the one that the student worked with, if the lab still has it: profiles change no rule."""
    theirs = saved.manifest.profile if saved.manifest.profile in exercise.profiles else None
    return exercise.profile or theirs


def _check_request(exercise: Exercise) -> dict[str, Any]:
    hidden = None if exercise.hidden is None else base64.b64encode(exercise.hidden).decode()
    return {"verb": "check", "checkpoint": None, "language": exercise.language, "hidden": hidden,
            "hidden_file": exercise.hidden_file, "map": {}, "record": True}  # fmt: skip


def _unlike(exercise: Exercise, lab: str, saved: Saved, request: Mapping[str, Any]) -> list[str]:
    """In what the replay differs from what was saved, where the two began alike; nothing where they did not."""
    manifest = saved.manifest
    began = {"mode": manifest.mode, "profile": manifest.profile, "variants": list(manifest.variants),
             "parameters": dict(manifest.parameters), "has_etcd": manifest.has_etcd}  # fmt: skip
    if saved.source != exercise.lab_file.source or any(request[name] != value for name, value in began.items()):
        return []
    return differences_from(lab, saved, declared_of(saved), settle_s=0, language=exercise.language)


def _members(
    check: Mapping[str, Any], journal: bytes, saved: Saved, replayed: Replayed, unlike: Sequence[str]
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The bundle, and what `check` said without its captures."""
    said, captures = evidence.without_frames(check)
    transcript = {
        "commands": [{"node": one.node, "line": one.line, "status": one.status} for one in saved.commands],
        "files": [f"{file.node}:{file.path}" for file in saved.files],
        "skipped": [asdict(one) for one in replayed.skipped],
        "other_status": [asdict(one) for one in replayed.other_status],
        "differences": list(unlike),
    }
    members = {
        evidence.CHECK: evidence.as_text(said),
        "replay.json": evidence.as_text(transcript),
        "journal.jsonl": journal,
    }
    return {**members, **captures}, said


def _notes(exercise: Exercise, saved: Saved, parameters: Mapping[str, str], unlike: Sequence[str]) -> Iterator[str]:
    """What a teacher should know: how it was begun, whose values it was made with, what could not be replayed."""

    def say(english: str, spanish: str) -> str:
        return in_language(exercise.language, english, spanish)

    manifest = saved.manifest
    if manifest.mode != "start":
        how = (
            f"--until {manifest.until}" if manifest.mode == "until" else say("the whole solution", "la solución entera")
        )
        yield say(f"it was begun with {how}; graded from the start", f"se empezó con {how}; calificado desde el inicio")
    if manifest.lab and manifest.lab != exercise.lab_file.find_name():
        yield say(f"it is of lab {manifest.lab}", f"es del laboratorio {manifest.lab}")
    for name in exercise.seeded if exercise.seed is not None else ():
        theirs = manifest.parameters.get(name)
        if theirs != parameters[name]:
            made_with = say("the default", "el valor por omisión") if theirs is None else theirs
            yield say(f"{name}: hers is {parameters[name]}, it was made with {made_with}",
                      f"{name}: el suyo es {parameters[name]}, se hizo con {made_with}")  # fmt: skip
    if unlike:
        shown = "; ".join(unlike[:MAX_DIFFERENCES]) + ("; …" if len(unlike) > MAX_DIFFERENCES else "")
        yield say(f"the replay is not as it was saved: {shown}", f"la repetición no es como se guardó: {shown}")


def streams_of(saved: Saved, own: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The lines that a student wrote, by node, and by node and path of text files; long ones cut, very many dropped.

    A value of her own is written as its name: who drew the same has not copied.
    """
    streams: dict[str, list[str]] = {}
    for command in saved.commands:
        streams.setdefault(command.node, []).extend(command.line.splitlines())
    for file in saved.files:
        if b"\0" not in file.content:
            streams[f"{file.node}:{file.path}"] = file.content.decode(errors="replace").splitlines()
    left = MAX_STREAM_LINES
    kept: dict[str, tuple[str, ...]] = {}
    for name, lines in streams.items():
        kept[name] = tuple(_without_values(line[:MAX_LINE_CHARACTERS], own) for line in lines[:left])
        left -= len(kept[name])
    return {name: lines for name, lines in kept.items() if lines}


def _without_values(line: str, own: Mapping[str, str]) -> str:
    for name, value in own.items():
        if len(value) > 1:
            line = line.replace(value, f"${name}")
    return line
