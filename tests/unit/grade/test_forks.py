"""Work in forked processes: answers, errors, deadlines, and nothing left behind."""

from __future__ import annotations

import os
import signal
from typing import Any

from trenza.errors import UsageError
from trenza.grade.forks import Done, in_forks


def run(todo: list[str], do: Any, **options: Any) -> tuple[dict[str, Done[str]], list[str]]:
    cleaned: list[str] = []
    found = in_forks(todo, do, **{"jobs": 2, "timeout_s": 20.0, "clean": cleaned.append, **options})
    return {done.work: done for done in found}, cleaned


def test_every_piece_of_work_has_its_answer_or_its_error() -> None:
    def do(word: str) -> dict[str, Any]:
        if word == "wrong":
            raise UsageError("no such word", hint="try another")
        if word == "crash":
            raise ZeroDivisionError("oops")
        if word == "dead":
            os.kill(os.getpid(), signal.SIGKILL)
        return {"word": word, "pid": os.getpid()}

    done, cleaned = run(["a", "wrong", "crash", "dead", "b"], do)
    assert done["a"].answer is not None and done["a"].answer["pid"] != os.getpid()
    assert done["b"].answer is not None
    errors = {word: one.error["code"] for word, one in done.items() if one.error is not None}
    assert errors == {"wrong": "usage", "crash": "internal", "dead": "killed"}
    assert not cleaned


def test_what_does_not_end_in_time_is_killed_and_cleaned_up_while_others_go_on() -> None:
    def do(word: str) -> dict[str, Any]:
        while word == "endless":
            signal.pause()
        return {}

    done, cleaned = run(["endless", "a", "b", "c"], do, timeout_s=0.5)
    assert done["endless"].timed_out and cleaned == ["endless"]
    assert all(done[word].answer == {} for word in "abc")
    assert done["endless"].overlaps(done["a"])


def test_leaving_early_kills_what_still_runs() -> None:
    cleaned: list[str] = []
    work = in_forks(["quick", "slow"], lambda word: {} if word == "quick" else signal.pause() or {}, jobs=2,
                    timeout_s=60, clean=cleaned.append)  # fmt: skip
    assert next(work).work == "quick"
    work.close()
    assert cleaned == ["slow"]
