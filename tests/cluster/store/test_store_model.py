"""Any sequence of writes, reads and compactions gives what plain dicts give."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_contestants import Contestant, events_through, fresh_prefix

from trenza.cluster.store.errors import Compacted, Conflict
from trenza.cluster.store.protocol import Delete, Event, Put, Store, Stored, Write

NAMES = st.sampled_from(["a", "a/b", "a/c", "b", "ñ/😀", "ñ/￿"])
VALUES = st.binary(max_size=4)
GUESSES = st.sampled_from(["right", "absent", "wrong", "whatever"])
STEPS = st.one_of(
    st.tuples(st.just("put"), NAMES, GUESSES, VALUES),
    st.tuples(st.just("delete"), NAMES, GUESSES),
    st.tuples(st.just("transact"), st.dictionaries(NAMES, st.one_of(st.none(), VALUES), max_size=3), NAMES, GUESSES),
    st.tuples(st.just("get"), NAMES, st.integers(0, 5)),
    st.tuples(st.just("range"), st.sampled_from(["", "a", "a/", "ñ"]), st.integers(0, 3), st.integers(0, 5)),
    st.tuples(st.just("compact"), st.integers(0, 3)),
)


@dataclass
class Model:
    """A store in plain dicts."""

    prefix: str
    revision: int
    compacted: int = 0
    state: dict[str, Stored] = field(default_factory=dict)
    past: dict[int, dict[str, Stored]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def expected(self, key: str, guess: str) -> int | None:
        current = self.state[key].mod_revision if key in self.state else 0
        return {"right": current, "absent": 0, "wrong": current + 1, "whatever": None}[guess]

    def fits(self, key: str, expected: int | None) -> bool:
        return expected in (None, self.state[key].mod_revision if key in self.state else 0)

    def write(self, values: dict[str, bytes | None]) -> list[Stored]:
        revision, made, deleted = self.revision + 1, list[Event](), list[Stored]()
        for key, value in values.items():
            before = self.state.get(key)
            if value is not None:
                created, version = (before.create_revision, before.version + 1) if before else (revision, 1)
                self.state[key] = Stored(key, value, created, revision, version)
                made.append(Put(self.state[key], before))
            elif before is not None:
                deleted.append(self.state.pop(key))
                made.append(Delete(revision, before))
        if made:
            self.revision = revision
            self.events += made
        self.past[self.revision] = dict(self.state)
        return deleted


async def play(store: Store, steps: list[tuple[object, ...]]) -> None:
    prefix = fresh_prefix()
    start = await store.revision()
    model = Model(prefix, start, compacted=start, past={start: {}})
    watch = store.watch(prefix, from_revision=start + 1)
    for step in steps:
        match step:
            case "put", str(name), str(guess), bytes(value):
                key = prefix + name
                expected = model.expected(key, guess)
                if model.fits(key, expected):
                    model.write({key: value})
                    assert await store.put(key, value, expected=expected) == model.revision
                else:
                    with pytest.raises(Conflict) as refused:
                        await store.put(key, value, expected=expected)
                    assert refused.value.current == model.state.get(key)
            case "delete", str(name), str(guess):
                key = prefix + name
                expected = model.expected(key, guess)
                if model.fits(key, expected) and key in model.state:
                    (gone,) = model.write({key: None})
                    assert await store.delete(key, expected=expected) == (gone, model.revision)
                else:
                    with pytest.raises(Conflict) as refused:
                        await store.delete(key, expected=expected)
                    assert refused.value.current == model.state.get(key) or expected is None
            case "transact", dict(named), str(name), str(guess):
                key = prefix + name
                expected = model.expected(key, guess)
                writes = tuple(Write(prefix + one, value) for one, value in named.items())
                wanted = {} if expected is None else {key: expected}
                if model.fits(key, expected):
                    deleted = model.write({write.key: write.value for write in writes})
                    done = await store.transact(wanted, writes)
                    assert (done.revision, done.deleted) == (model.revision, tuple(deleted))
                else:
                    with pytest.raises(Conflict):
                        await store.transact(wanted, writes)
            case "get", str(name), int(back):
                at = max(start, model.revision - back)
                key = prefix + name
                if at < model.compacted:
                    with pytest.raises(Compacted):
                        await store.get(key, revision=at)
                else:
                    assert await store.get(key, revision=at) == model.past[at].get(key)
                assert await store.get(key) == model.state.get(key)
            case "range", str(name), int(limit), int(back):
                at = max(model.compacted, model.revision - back)
                keys = sorted((key for key in model.past[at] if key.startswith(prefix + name)), key=str.encode)
                found = await store.range(prefix + name, limit=limit, revision=at)
                kept = keys[:limit] if limit else keys
                assert list(found.items) == [model.past[at][key] for key in kept]
                assert (found.revision, found.remaining) == (at, len(keys) - len(kept))
            case "compact", int(back):
                model.compacted = max(model.compacted, model.revision - back)
                await store.compact(model.compacted)
    if model.events:
        assert await events_through(watch, model.events[-1].revision) == model.events
    again = [event for event in model.events if event.revision > model.compacted]
    if again:
        with store.watch(prefix, from_revision=model.compacted + 1) as past:
            assert await events_through(past, again[-1].revision) == again


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(STEPS, max_size=25), min_size=1, max_size=3))
def test_a_store_behaves_like_dicts(contestant: Contestant, lives: list[list[tuple[object, ...]]]) -> None:
    async def go() -> None:
        async with contestant.opened() as store:
            for steps in lives:
                await play(store, steps)

    asyncio.run(go())
