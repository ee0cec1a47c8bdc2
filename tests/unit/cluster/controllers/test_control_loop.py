"""The loop between watch and API: own writes are seen at once, refusals wait for news, nothing polls."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from simulated_cluster import START_S, Registry, cluster, node, pod, workload

from trenza.cluster.controllers.controlplane import Settings, control_plane
from trenza.cluster.controllers.events import event_name, recorded
from trenza.cluster.controllers.loop import Controller, Decided, Done, Loop, Lost, Outdated, Refused
from trenza.cluster.controllers.objects import Object, name_of, with_metadata
from trenza.cluster.controllers.replicationcontroller import replication_controllers
from trenza.cluster.controllers.scheduler import schedule
from trenza.cluster.controllers.snapshot import (
    EVENTS,
    LEASES,
    NODES,
    PODS,
    REPLICATION_CONTROLLERS,
    Change,
    Collection,
    Snapshot,
)
from trenza.cluster.controllers.writes import Bind, Create, Event, Step, Update, Wake


def ensures(name: str) -> Controller:
    """A controller that wants one pod."""

    def decide(snapshot: Snapshot, now_s: float) -> Iterator[Step]:
        if ("default", name) not in snapshot[PODS]:
            yield Create(PODS, pod(name), (Event(pod(name), "Made", "made", "test"),))

    return Controller("test", decide, frozenset((PODS,)))


def made(registry: Registry, decided: Decided) -> Done:
    """The write, made."""
    return Done(registry.create(decided.write.resource, decided.write.object), registry.revision)


def test_what_was_written_is_seen_before_the_watch_brings_it() -> None:
    registry = Registry()
    loop = Loop((ensures("p"),), registry.snapshot())
    (decided,) = loop.decide(START_S)
    loop.settle(decided, made(registry, decided), START_S)
    assert ("default", "p") in loop.snapshot[PODS]
    assert all(each.write.resource == EVENTS for each in loop.decide(START_S))


def test_a_watch_that_has_come_further_than_a_reply_is_believed() -> None:
    registry = Registry()
    loop = Loop((ensures("p"),), registry.snapshot())
    (decided,) = loop.decide(START_S)
    done = made(registry, decided)
    registry.delete(PODS, registry.get(PODS, "default", "p"))
    loop.observe(registry.log, registry.revision)
    loop.settle(decided, done, START_S)
    assert ("default", "p") not in loop.snapshot[PODS]


def test_a_conflict_waits_for_news_and_then_decides_again() -> None:
    registry = Registry()
    loop = Loop((ensures("p"),), registry.snapshot())
    (decided,) = loop.decide(START_S)
    loop.settle(decided, Outdated(), START_S)
    assert loop.wakes_at_s() == math.inf and loop.decide(START_S) == ()
    registry.create(NODES, node("n"))
    loop.observe(registry.log, registry.revision)
    assert loop.wakes_at_s() == 0
    assert [each.write for each in loop.decide(START_S)] == [decided.write]


def test_news_that_came_while_a_refused_write_was_under_way_count() -> None:
    registry = Registry()
    loop = Loop((ensures("p"),), registry.snapshot())
    (decided,) = loop.decide(START_S)
    registry.create(PODS, pod("p"))
    loop.observe(registry.log, registry.revision)
    loop.settle(decided, Outdated(), START_S)
    assert loop.wakes_at_s() == 0 and loop.decide(START_S) == ()


def test_another_refusal_is_tried_again_later_and_later() -> None:
    loop = Loop((ensures("p"),), Snapshot())
    now_s, waits = START_S, []
    for _ in range(8):
        (decided,) = loop.decide(now_s)
        loop.settle(decided, Refused("no"), now_s)
        waits.append(loop.wakes_at_s() - now_s)
        assert loop.decide(now_s) == ()
        now_s = loop.wakes_at_s()
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_nothing_is_decided_after_a_lost_write_until_the_store_was_read_anew() -> None:
    registry = Registry()
    loop = Loop((ensures("p"),), registry.snapshot())
    (decided,) = loop.decide(START_S)
    made(registry, decided)
    loop.settle(decided, Lost(), START_S)
    assert loop.needs_replacing and loop.decide(START_S) == ()
    loop.replace(registry.snapshot())
    assert loop.decide(START_S) == ()


def test_a_controller_runs_when_what_it_reads_has_changed_or_its_time_has_come() -> None:
    runs = []

    def decide(snapshot: Snapshot, now_s: float) -> Iterator[Step]:
        runs.append(now_s)
        yield Wake(START_S + 10)
        yield Wake(START_S + 5)

    loop = Loop((Controller("test", decide, frozenset((PODS,))),), Snapshot())
    loop.decide(START_S)
    assert loop.wakes_at_s() == START_S + 5
    loop.observe([Change(NODES, ("", "n"), node("n"), 1)], 1)
    loop.decide(START_S + 1)
    loop.observe([Change(PODS, ("default", "p"), pod("p"), 2)], 2)
    loop.decide(START_S + 2)
    loop.decide(START_S + 5)
    assert runs == [START_S, START_S + 2, START_S + 5]


def test_a_controller_that_stumbles_over_an_object_does_not_stop_the_others() -> None:
    def decide(snapshot: Snapshot, now_s: float) -> Iterator[Step]:
        yield Create(PODS, pod("before"))
        if ("", "odd") in snapshot[NODES]:
            raise KeyError("effect")

    loop = Loop((Controller("odd", decide), ensures("p")), Snapshot.of({NODES: {("", "odd"): node("odd")}}, 1))
    assert [each.write.key[1] for each in loop.decide(START_S)] == ["before", "p"]
    assert list(loop.failures) == ["odd"] and START_S < loop.wakes_at_s() < math.inf
    loop.observe([Change(NODES, ("", "odd"), None, 2)], 2)
    loop.decide(START_S)
    assert not loop.failures


def test_an_odd_object_does_not_stop_what_is_decided_about_the_others() -> None:
    registry = Registry()
    registry.create(NODES, node("n1"))
    odd = workload("ReplicationController", "a-odd", 1)
    registry.create(REPLICATION_CONTROLLERS, {**odd, "spec": {**odd["spec"], "replicas": "many"}})
    registry.create(REPLICATION_CONTROLLERS, workload("ReplicationController", "good", 1))
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}
    registry.create(PODS, {**pod("a-odd"), "spec": {**pod("a-odd")["spec"], "affinity": affinity}})
    registry.create(PODS, pod("b"))
    loop = Loop((Controller("rc", replication_controllers), Controller("scheduler", schedule)), registry.snapshot())
    writes = [decided.write for decided in loop.decide(START_S)]
    assert loop.failures.keys() == {"rc", "scheduler"}
    assert [one.key[1][:5] for one in writes if isinstance(one, Create)] == ["good-"]
    assert [one.key[1] for one in writes if isinstance(one, Bind)] == ["b"]


def test_events_count_their_repetitions() -> None:
    registry = Registry()
    about: Object = with_metadata(pod("p"), uid="u")
    event = Event(about, "Reason", "words", "test", warning=True)
    first = recorded(registry.snapshot(), event, START_S)
    assert isinstance(first, Create)
    registry.create(EVENTS, first.object)
    second = recorded(registry.snapshot(), event, START_S + 60)
    assert isinstance(second, Update)
    assert second.object["count"] == 2 and second.object["type"] == "Warning"
    assert second.object["firstTimestamp"] < second.object["lastTimestamp"]
    assert second.object["involvedObject"]["uid"] == "u"
    assert event_name(event).startswith("p.") and len(event_name(event)) == len("p.") + 16


def test_events_of_nodes_are_in_the_namespace_default() -> None:
    event = recorded(Snapshot(), Event(with_metadata(node("n"), uid="u"), "R", "m", "test"), START_S)
    assert event.key[0] == "default" and "namespace" not in event.object["involvedObject"]


def test_a_quiet_cluster_is_left_alone() -> None:
    run = cluster("n1", chaos=False)
    run.run()
    before = run.registry.revision
    for _ in range(5):
        run.loop.observe((), run.registry.revision)
        assert run.loop.decide(run.registry.now_s) == ()
    assert run.registry.revision == before


def test_a_snapshot_shares_what_did_not_change() -> None:
    registry = Registry()
    registry.create(NODES, node("n"))
    first = registry.snapshot()
    second = first.with_changes([Change(PODS, ("default", "p"), pod("p"), 2)], 2)
    assert second[NODES] is first[NODES] and ("default", "p") not in first[PODS]
    assert second[PODS].labelled("default", {}) == [pod("p")] and second[PODS].labelled("other", {"a": "b"}) == []


def test_heartbeats_and_events_are_no_reason_to_collect_garbage() -> None:
    reads = {controller.name: controller for controller in control_plane(Settings())}
    assert not any(reads["garbage"].is_touched_by(resource) for resource in (LEASES, EVENTS))
    assert all(reads["garbage"].is_touched_by(resource) for resource in (NODES, PODS, REPLICATION_CONTROLLERS))
    assert reads["nodes"].is_touched_by(LEASES)
    assert reads["namespaces"].is_touched_by(EVENTS)  # the last thing of a namespace that ends may be one


def test_a_controller_rests_while_only_what_it_ignores_changes() -> None:
    registry = Registry()
    runs: list[int] = []

    def decide(snapshot: Snapshot, now_s: float) -> Iterator[Step]:
        runs.append(snapshot.revision)
        yield from ()

    loop = Loop((Controller("test", decide, ignores=frozenset((EVENTS,))),), registry.snapshot())
    loop.decide(START_S)
    for resource, expected in ((EVENTS, 1), (PODS, 2)):
        loop.observe((Change(resource, ("default", "x"), pod("x"), len(runs) + 5),), len(runs) + 5)
        loop.decide(START_S)
        assert len(runs) == expected


def labelled(name: str, labels: dict[str, str], owner: str, held: bool) -> Object:
    references = [{"apiVersion": "v1", "kind": "ReplicationController", "name": owner, "uid": owner}] if owner else []
    thing = pod(name, labels=labels)
    thing["metadata"] |= {"uid": f"uid-{name}", "ownerReferences": references}
    if held:
        thing["metadata"] |= {"deletionTimestamp": "now", "finalizers": ["x"]}
    return thing


PLACES = st.sampled_from([("default", name) for name in "abcd"])
LABELS = st.dictionaries(st.sampled_from(["app", "group"]), st.sampled_from(["x", "y"]))
OBJECTS = st.builds(labelled, st.just("?"), LABELS, st.sampled_from(["", "o1", "o2"]), st.booleans())
ODD: Object = {"metadata": {"name": "odd", "namespace": "default", "labels": ["no"], "ownerReferences": [1]}}


def found(things: Collection) -> Any:
    """What every index of a collection has."""
    pairs = itertools.product(("app", "group"), "xy")
    by_label = {pair: things.labelled("default", dict([pair])) for pair in pairs}
    return (
        {place: sorted(map(name_of, things)) for place, things in by_label.items()},
        sorted(map(name_of, things.in_namespace("default"))),
        {owner: sorted(map(name_of, things.owned_by(owner))) for owner in ("o1", "o2")},
        {place: sorted(map(name_of, bucket.values())) for place, bucket in things.references.items()},
        sorted(map(name_of, things.held)),
        {name: things.find_uid(f"uid-{name}") for name in "abcd"},
    )


@given(st.lists(st.tuples(PLACES, st.none() | st.just(ODD) | OBJECTS), max_size=12), st.integers(1, 4))
def test_indexes_that_were_handed_on_have_what_new_ones_would_have(
    changes: list[tuple[tuple[str, str], Object | None]], at_once: int
) -> None:
    things = Collection({})
    found(things)  # so that there are indexes to hand on
    for begin in range(0, len(changes), at_once):
        some = {place: thing and named_as(thing, place[1]) for place, thing in changes[begin : begin + at_once]}
        before = {label: things.carrying("default", {"app": label}) for label in "xy"}
        following = things.with_changes(some)
        assert found(following) == found(Collection(dict(following)))
        for label, buckets in before.items():  # what has not changed is the same, and what was there stays as it was
            involved = [*some.values(), *(things.get(place) for place in some)]
            touched = any(thing is not None and labels_of_odd(thing).get("app") == label for thing in involved)
            assert touched or all(map(operator.is_, following.carrying("default", {"app": label}), buckets))
        assert found(things) == found(Collection(dict(things)))
        things = following


def named_as(thing: Object, name: str) -> Object:
    return thing if thing is ODD else with_metadata(thing, name=name, uid=f"uid-{name}")


def labels_of_odd(thing: Object) -> dict[str, str]:
    return {} if thing is ODD else thing["metadata"]["labels"]
