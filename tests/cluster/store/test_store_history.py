"""The judge of histories is itself judged: good ones pass, and each way of being bad is named."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trenza.cluster.store.history import Got, Listed, Record, Refused, Watched, Wrote, violations
from trenza.cluster.store.protocol import Batch, Delete, Event, Put, Range, Stored, Write

A2 = Stored("/a", b"one", 2, 2, 1)
A3 = Stored("/a", b"two", 2, 3, 2)
B5 = Stored("/b", b"four", 5, 5, 1)


def good() -> list[Record]:
    """Two keys, four changes, every kind of record."""
    put2, put3, gone4, put5 = Put(A2, None), Put(A3, A2), Delete(4, A3), Put(B5, None)
    return [
        Wrote(0, 1, (Write("/a", b"one"),), 2, {"/a": 0}),
        Wrote(2, 3, (Write("/a", b"two"),), 3, {"/a": 2}),
        Wrote(4, 5, (Write("/a", None),), 4),
        Wrote(6, 7, (Write("/b", b"four"),), 5),
        Refused(2.5, 3.5, "/a", 2, 3),
        Refused(4.5, 6, "/a", 3, 0),
        Listed(3.1, 3.9, "/", Range((A3,), 3)),
        Listed(7.5, 8, "/", Range((A2,), 2), pinned=True),
        Listed(7.5, 8, "/", Range((B5,), 5)),
        Got(3.1, 3.9, "/a", A3),
        Got(5.5, 6, "/a", None),
        Watched("/", 1, (Batch(3, (put2, put3)), Batch(4, (gone4,)), Batch(5, (put5,)))),
        Watched("/b", 3, (Batch(4), Batch(5, (put5,)), Batch(5))),
    ]


def test_a_good_history_has_no_violations() -> None:
    assert violations(good()) == ()
    untold = [replace(one, current=None) if isinstance(one, Refused) else one for one in good()]
    assert violations(untold) == ()
    assert violations([]) == ()


Change = Callable[[list[Record]], object]


def _set(place: int, **fields: object) -> Change:
    def change(history: list[Record]) -> None:
        history[place] = replace(history[place], **fields)  # type: ignore[arg-type]

    return change


def _batches(*batches: Batch) -> Change:
    return _set(11, batches=batches)


PUT2, PUT3, GONE4, PUT5 = Put(A2, None), Put(A3, A2), Delete(4, A3), Put(B5, None)
BAD: dict[str, tuple[Change, str]] = {
    "a write before what came earlier": (_set(2, began_s=0.0, ended_s=0.5), "write at revision 4 had ended before"),
    "a write that began after a later one ended": (_set(0, began_s=8.0, ended_s=9.0), "had ended before the write at"),
    "one revision twice": (_set(3, revision=4), "two writes were given revision 4"),
    "a write on what was not there": (_set(1, expected={"/a": 0}), "expected /a at 0, and it was at 2"),
    "a write nobody made": (lambda history: history.pop(3), "nobody wrote what was seen at revision 5"),
    "a refusal without reason": (_set(4, current=2), "refused though it was at 2"),
    "a refusal by what was gone": (_set(4, current=2, expected=7, began_s=5.5, ended_s=6), "found /a at 2"),
    "a refusal by what had not come": (_set(5, current=9), "found /a at 9"),
    "a refusal of what was there all the time": (
        _set(4, current=None, expected=3, ended_s=3.8, began_s=3.1),
        "all the time",
    ),
    "a refusal of what was absent all the time": (_set(5, current=None, expected=0, began_s=5.1), "all the time"),
    "a refusal as absent while it was there": (_set(5, began_s=1.5, ended_s=1.8), "found /a at 0"),
    "a stale list": (_set(6, began_s=8.0, ended_s=9.0), "had ended before"),
    "a list from the future": (_set(8, began_s=4.0, ended_s=5.5), "read at revision 5 had ended before"),
    "a list that lacks a key": (_set(8, range=Range((), 5)), "showed /b as None"),
    "a list with a deleted key": (_set(8, range=Range((A3, B5), 5)), "showed /a as"),
    "a list with another value": (_set(7, range=Range((replace(A2, value=b"x"),), 2)), "showed /a as"),
    "a list with another version": (_set(7, range=Range((replace(A2, version=2),), 2)), "showed /a as"),
    "a list out of order": (
        lambda history: history.append(Listed(9, 9, "/", Range((B5, B5), 5))),
        "out of order",
    ),
    "a stale read": (_set(9, began_s=5.5, ended_s=6), "found /a at 3"),
    "a read of nothing while it was there": (_set(10, began_s=3.2, ended_s=3.8), "found /a at 0"),
    "a read of another value": (_set(9, stored=replace(A3, value=b"x")), "showed Stored"),
    "a watch with a gap": (_batches(Batch(5, (PUT2, GONE4, PUT5))), "lacks /a at 3"),
    "a watch that begins late": (_batches(Batch(5, (PUT3, GONE4, PUT5))), "lacks /a at 2"),
    "a watch with a duplicate": (_batches(Batch(5, (PUT2, PUT3, PUT3, GONE4, PUT5))), "/a at 3 twice"),
    "a watch that repeats a batch": (_batches(Batch(3, (PUT2, PUT3)), Batch(3, (PUT2, PUT3))), "/a at 2 twice"),
    "a watch out of order": (_batches(Batch(5, (PUT3, PUT2, GONE4, PUT5))), "delivered 2 behind 3"),
    "a watch behind its mark": (_batches(Batch(3, (PUT2,)), Batch(5, (PUT3, GONE4, PUT5))), "it had come to 3"),
    "a mark behind its events": (_batches(Batch(3, (PUT2, PUT3, GONE4, PUT5))), "had come to 3 and yet delivered 5"),
    "a mark over a gap": (_batches(Batch(3, (PUT2, PUT3)), Batch(4), Batch(5, (PUT5,))), "lacks /a at 4"),
    "a watch with another value": (
        _batches(Batch(5, (Put(replace(A2, value=b"x"), None), PUT3, GONE4, PUT5))),
        "delivered Put",
    ),
    "a watch without the previous value": (_batches(Batch(5, (PUT2, Put(A3, None), GONE4, PUT5))), "delivered Put"),
    "a watch that invents": (
        _batches(Batch(5, (PUT2, PUT3, GONE4, PUT5, Put(replace(B5, key="/c"), None)))),
        "which did not happen",
    ),
    "a watch outside its revisions": (_set(12, from_revision=6), "which did not happen"),
    "a put seen as a deletion": (_batches(Batch(5, (PUT2, Delete(3, A2), GONE4, PUT5))), "delivered Delete"),
}


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.replace(" ", "-"))
def test_a_bad_history_is_named(case: str) -> None:
    change, sentence = BAD[case]
    history = good()
    change(history)
    found = violations(history)
    assert any(sentence in one for one in found), found


def test_what_nobody_counted_is_not_judged() -> None:
    history = [
        replace(one, stored=replace(A3, create_revision=0, version=0))
        for one in good()
        if one == Got(3.1, 3.9, "/a", A3)
    ]
    history += [one for one in good() if isinstance(one, Wrote)]
    assert violations(history, counted=False) == ()
    assert violations(history) != ()


def test_a_lost_answer_may_mean_either() -> None:
    lost = Wrote(8, 9, (Write("/a", b"new"),), None)
    happened = Stored("/a", b"new", 6, 6, 1)
    assert violations([*good(), lost]) == ()
    seen = Watched("/", 6, (Batch(6, (Put(happened, None),)),))
    assert violations([*good(), lost, seen]) == ()
    assert violations([*good(), seen])
    assert violations([*good(), replace(lost, writes=(Write("/a", b"other"),)), seen])
    early = Listed(7.7, 7.8, "/", Range((happened, B5), 6))
    assert any("had ended before" in one for one in violations([*good(), lost, seen, early]))
    twice = Put(Stored("/a", b"new", 6, 7, 2), happened)
    assert violations([*good(), lost, Watched("/", 6, (Batch(7, (Put(happened, None), twice)),))])


def invented(seed: int) -> tuple[list[Record], list[Wrote]]:
    """A true history of a store with delays: clients write, read and watch; and its writes."""
    chance = random.Random(seed)
    state: dict[str, Stored] = {}
    states: dict[int, dict[str, Stored]] = {1: {}}
    events: list[Event] = []
    history: list[Record] = []
    moment_s, revision = 0.0, 1
    for number in range(40):
        moment_s += chance.random()
        began_s, ended_s = moment_s - chance.random() * 3, moment_s + chance.random() * 3
        key = chance.choice(["/a", "/b", "/c/d"])
        before = state.get(key)
        match chance.randrange(5):
            case 0 | 1:
                revision += 1
                made = Stored(
                    key,
                    str(number).encode(),
                    before.create_revision if before else revision,
                    revision,
                    before.version + 1 if before else 1,
                )
                events.append(Put(made, before))
                state[key] = made
                answer = None if chance.random() < 0.1 else revision
                history.append(Wrote(began_s, ended_s, (Write(key, made.value),), answer))
            case 2 if before is not None:
                revision += 1
                events.append(Delete(revision, state.pop(key)))
                history.append(Wrote(began_s, ended_s, (Write(key, None),), revision))
            case 3:
                items = tuple(sorted(state.values(), key=lambda one: one.key))
                history.append(Listed(began_s, ended_s, "/", Range(items, revision)))
            case _:
                history.append(Got(began_s, ended_s, key, before))
        states[revision] = dict(state)
    for prefix in ("/", "/c/"):
        first = chance.randrange(2, revision + 2)
        mine = tuple(one for one in events if one.key.startswith(prefix) and one.revision >= first)
        history.append(Watched(prefix, first, (*(Batch(one.revision, (one,)) for one in mine), Batch(revision))))
    history.append(Watched("/", 2, (Batch(revision, tuple(events)),)))
    return history, [one for one in history if isinstance(one, Wrote) and one.revision is not None]


@given(st.integers())
def test_true_histories_pass(seed: int) -> None:
    assert violations(invented(seed)[0]) == ()


@given(st.integers())
def test_a_write_moved_behind_everything_is_noticed(seed: int) -> None:
    history, writes = invented(seed)
    if len(writes) < 2:
        return
    place = history.index(writes[0])
    history[place] = replace(writes[0], began_s=1000.0, ended_s=1001.0)
    assert violations(history)
