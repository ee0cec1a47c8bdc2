"""ReplicaSets: the pods each one wants, by a label selector."""

from __future__ import annotations

from collections.abc import Iterator

from trenza.cluster.controllers.objects import Object, spec_of
from trenza.cluster.controllers.replicas import Owner, replica_steps
from trenza.cluster.controllers.snapshot import REPLICA_SETS, Snapshot
from trenza.cluster.controllers.writes import Step, each


def replica_sets(snapshot: Snapshot, now_s: float) -> Iterator[Step]:
    def decide(thing: Object) -> Iterator[Step]:
        if selector := spec_of(thing).get("selector"):
            owner = Owner(REPLICA_SETS, thing, selector, "replicaset-controller")
            yield from replica_steps(snapshot, now_s, owner)

    return each(snapshot[REPLICA_SETS].values(), decide)
