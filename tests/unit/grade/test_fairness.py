"""Who is graded again alone, so that a neighbour costs nobody points, and how many are graded at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from trenza.client.labfiles import LabFile
from trenza.grade.forks import Done
from trenza.grade.grading import jobs_for, needs_another, sandbox_limits
from trenza.grade.keeping import TRIED, keep
from trenza.grade.marks import Checked, Outcome, Result
from trenza.grade.trial import Exercise, Trial
from trenza.linux.sandbox import MAX_PROCESSES

from .classes import check, checked, student

EXERCISE = Exercise(
    LabFile(b"lab: x\n", "/x/lab.yaml", shipped=False),
    None,
    {},
    (),
    {},
    None,
    (),
    None,
    None,
    "en",
    120.0,
    sandbox_limits(4),
)


def done(out: Path, name: str, began_s: float, ended_s: float, *, credit: float = 1, **said: object) -> Done[Trial]:
    """A trial that is over; one that answered has its result on disk."""
    trial = Trial(student(name), out / f"{name}.trenza", "key", f"grade-{name}", out / name)
    answered = not said or said.keys() == {"greedy"}
    if answered:
        (out / name).mkdir()
        marks = Checked.of(checked(check(1, credit)))
        keep(out / name / TRIED, "key", Result(trial.student, Outcome.GRADED, checked=marks), 120)
    answer = {"greedy": bool(said.get("greedy"))} if answered else None
    error = {"code": "keeper", "message": "gone", "exit": 1, "hint": None} if said.get("failed") else None
    return Done(trial, began_s, ended_s, answer, error)


def again(*over: Done[Trial]) -> set[str]:
    return {one.work.student.name for one in over if needs_another(EXERCISE, one, over)}


def test_whoever_got_everything_or_had_calm_neighbours_is_not_graded_again(tmp_path: Path) -> None:
    assert not again(done(tmp_path, "ana", 0, 2), done(tmp_path, "bob", 1, 3, credit=0.5), done(tmp_path, "eve", 3, 9))


def test_whoever_lost_points_beside_trouble_is_graded_again_alone(tmp_path: Path) -> None:
    ana, bob = done(tmp_path, "ana", 0, 2, credit=0.5), done(tmp_path, "bob", 0, 2)
    before, after = done(tmp_path, "cleo", 0, 1, credit=0), done(tmp_path, "dan", 5, 6, credit=0)
    greedy = done(tmp_path, "greedy", 1.5, 4, credit=0, greedy=True)
    assert again(ana, bob, before, after, greedy) == {"ana"}
    endless = done(tmp_path, "endless", 0, 120, timed_out=True)
    assert again(ana, bob, before, after, endless) == {"ana", "cleo", "dan", "endless"}


def test_what_failed_is_tried_again_and_who_ran_out_of_time_alone_is_not(tmp_path: Path) -> None:
    assert again(done(tmp_path, "ana", 0, 1, failed=True)) == {"ana"}
    assert again(done(tmp_path, "bob", 5, 125, timed_out=True)) == set()


@pytest.mark.parametrize(("cores", "available", "jobs"), [(2, 24, 8), (2, 3, 3), (16, 512, 64), (1, 0, 1)])
def test_as_many_at_a_time_as_cores_and_memory_allow(cores: int, available: int, jobs: int) -> None:
    assert jobs_for(cores, available << 30) == jobs


def test_a_sandbox_has_room_for_its_lab_and_no_more_than_any_other() -> None:
    assert sandbox_limits(4).processes < 1000 < sandbox_limits(200).processes <= MAX_PROCESSES
    assert sandbox_limits(5000).processes == MAX_PROCESSES
