"""ReplicationControllers: the pods each one wants, by a plain map of labels."""

from __future__ import annotations

from collections.abc import Iterator

from trenza.cluster.controllers.objects import Object, spec_of
from trenza.cluster.controllers.replicas import Owner, replica_steps
from trenza.cluster.controllers.snapshot import REPLICATION_CONTROLLERS, Snapshot
from trenza.cluster.controllers.writes import Step, each


def replication_controllers(snapshot: Snapshot, now_s: float) -> Iterator[Step]:
    def decide(thing: Object) -> Iterator[Step]:
        if labels := spec_of(thing).get("selector"):
            owner = Owner(REPLICATION_CONTROLLERS, thing, {"matchLabels": labels}, "replication-controller")
            yield from replica_steps(snapshot, now_s, owner)

    return each(snapshot[REPLICATION_CONTROLLERS].values(), decide)
