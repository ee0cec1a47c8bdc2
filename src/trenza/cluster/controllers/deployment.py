"""Deployments: a replica set per template, rolled from the old to the new within maxSurge and maxUnavailable.

Every decision makes one kind of move (create the new one, grow it, shrink the old ones, …) and then looks again, as
Kubernetes' own controller does; the bounds therefore hold at every moment in between. What the surge counts is the
pods that a replica set still has, not only those that it wants. `kubectl rollout undo` needs nothing here: it writes
an older template, whose replica set is found again and becomes the newest revision.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trenza.cluster.controllers.objects import (
    Object,
    annotations_of,
    condition_of,
    is_controlled_by,
    is_deleting,
    metadata_of,
    name_of,
    namespace_of,
    spec_of,
    status_of,
    uid_of,
    with_metadata,
    with_spec,
    with_status,
)
from trenza.cluster.controllers.pods import is_finished
from trenza.cluster.controllers.progress import (
    Notice,
    created_notice,
    deadline_steps,
    found_notice,
    paused_notice,
    resumed_notice,
    rollout_status,
    with_notice,
)
from trenza.cluster.controllers.replicas import claimed
from trenza.cluster.controllers.revisions import (
    DESIRED,
    REVISION,
    Revisions,
    available_of,
    replica_set_name,
    replica_set_of,
    replicas_of,
    revision_of,
    revisions,
    scale_annotations,
    up_to_date,
)
from trenza.cluster.controllers.snapshot import DEPLOYMENTS, PODS, REPLICA_SETS, Snapshot
from trenza.cluster.controllers.surge import (
    Bounds,
    bounds_of,
    new_replicas,
    old_replicas,
    proportional_replicas,
)
from trenza.cluster.controllers.writes import Create, Delete, Event, Step, Update, UpdateStatus, Write, each

COMPONENT = "deployment-controller"


def deployments(snapshot: Snapshot, now_s: float) -> Iterator[Step]:
    def decide(thing: Object) -> Iterator[Step]:
        selector = spec_of(thing).get("selector") or {}
        if not (selector.get("matchLabels") or selector.get("matchExpressions")):
            return  # it would select every replica set of its namespace
        owned, changes = claimed(snapshot, REPLICA_SETS, thing, selector)
        yield from changes
        if not changes:
            found = revisions(snapshot, thing, owned)
            yield from _Sync(snapshot, now_s, thing, found, bounds_of(thing)).steps()

    return each(snapshot[DEPLOYMENTS].values(), decide)


class _Sync:
    """One look at one deployment. `steps` are the moves of this look and the status they leave."""

    def __init__(self, snapshot: Snapshot, now_s: float, thing: Object, found: Revisions, bounds: Bounds) -> None:
        self.snapshot = snapshot
        self.now_s = now_s
        self.thing = thing
        self.found = found
        self.bounds = bounds
        self.recreate = (spec_of(thing).get("strategy") or {}).get("type") == "Recreate"
        self.paused = bool(spec_of(thing).get("paused"))
        self.collisions = int(status_of(thing).get("collisionCount") or 0)

    def steps(self) -> Iterator[Step]:
        moves: list[Write] = []
        notice = None
        if not is_deleting(self.thing):
            if change := self._revision_change():
                yield change  # and nothing else: the status would be decided on the same resourceVersion
                return
            moves, notice = self._moves()
        yield from moves
        status = rollout_status(self.thing, self.found, self.bounds, self.now_s)
        status = {**with_notice(self.thing, status, notice, self.now_s), "collisionCount": self.collisions}
        changed = with_status(self.thing, status)
        if changed["status"] != status_of(self.thing):
            yield UpdateStatus(DEPLOYMENTS, changed)
        yield from deadline_steps(changed, self.now_s)

    def _revision_change(self) -> Update | None:
        """The deployment's own revision annotation, once its new replica set has one."""
        if self.found.new is None:
            return None
        number = str(revision_of(self.found.new))
        settled = up_to_date(self.thing, self.found.new, self.found.next_number) is self.found.new
        if not settled or annotations_of(self.thing).get(REVISION) == number:
            return None
        annotations = {**annotations_of(self.thing), REVISION: number}
        return Update(DEPLOYMENTS, with_metadata(self.thing, annotations=annotations))

    def _moves(self) -> tuple[list[Write], Notice | None]:
        notice = self._pause_notice()
        new = self.found.new
        if new is not None:
            current = up_to_date(self.thing, new, self.found.next_number)
            if current is not new:
                return [Update(REPLICA_SETS, current)], notice or found_notice(self.thing, new)
            notice = notice or found_notice(self.thing, new)
        if self._is_scaling() and (moves := list(self._scaled(self._scaling()))):
            return moves, notice
        if self.paused:
            return self._tidy(), notice
        if self.recreate:
            return self._recreated(notice)
        return self._rolled(notice)

    def _pause_notice(self) -> Notice | None:
        """Pausing and resuming are said once; a paused rollout does not run out of time."""
        progressing = condition_of(self.thing, "Progressing")
        was_paused = progressing is not None and progressing.get("reason") == "DeploymentPaused"
        if self.paused and not was_paused:
            return paused_notice()
        return resumed_notice() if was_paused and not self.paused else None

    def _is_scaling(self) -> bool:
        """Its number of replicas was changed since the replica sets last heard of it."""
        heard = self.found.active or tuple(filter(None, (self.found.new,)))
        desired = (annotations_of(thing).get(DESIRED) for thing in heard)
        return any(text is not None and text != str(self.bounds.wanted) for text in desired)

    def _scaling(self) -> dict[str, int]:
        """The numbers for every replica set that has to follow a change of the deployment's replicas."""
        active = self.found.active
        if len(active) == 1 or (not active and self.found.every):
            latest = active[0] if active else self.found.new or self.found.old[-1]
            return {name_of(latest): self.bounds.wanted}
        if self._is_saturated():
            return {name_of(thing): 0 for thing in self.found.old if replicas_of(thing) > 0}
        return {} if self.recreate else proportional_replicas(self.thing, self.found, self.bounds)

    def _is_saturated(self) -> bool:
        new = self.found.new
        return (
            new is not None
            and replicas_of(new) == self.bounds.wanted == available_of(new)
            and annotations_of(new).get(DESIRED) == str(self.bounds.wanted)
        )

    def _recreated(self, notice: Notice | None) -> tuple[list[Write], Notice | None]:
        """The old pods must be gone, all of them, before the first new one is made."""
        if moves := list(self._scaled({name_of(thing): 0 for thing in self.found.old if replicas_of(thing) > 0})):
            return moves, notice
        for thing in self.found.old:
            if any(not is_finished(pod) for pod in self.snapshot[PODS].owned_by(uid_of(thing))):
                return [], notice
        if self.found.new is None:
            return self._created(notice)
        return list(self._scaled({name_of(self.found.new): self.bounds.wanted})) or self._tidy(), notice

    def _rolled(self, notice: Notice | None) -> tuple[list[Write], Notice | None]:
        new = self.found.new
        if new is None:
            return self._created(notice)
        replicas = new_replicas(self.found, self.bounds, recreate=False)
        if replicas != replicas_of(new):
            return list(self._scaled({name_of(new): replicas})), notice
        return list(self._scaled(old_replicas(self.found, self.bounds))) or self._tidy(), notice

    def _created(self, notice: Notice | None) -> tuple[list[Write], Notice | None]:
        name = replica_set_name(self.thing)
        taken = self.snapshot[REPLICA_SETS].get((namespace_of(self.thing), name))
        if taken is not None:
            if is_controlled_by(taken, self.thing):
                return [], notice  # ours and being deleted: its name is free when it is gone
            self.collisions += 1  # the hash takes it in, so that the next look finds another name
            return [], notice
        replicas = new_replicas(self.found, self.bounds, recreate=self.recreate)
        thing = replica_set_of(self.thing, replicas, self.bounds.most, self.found.next_number)
        told = (self._event(f"Scaled up replica set {name} from 0 to {replicas}"),) if replicas else ()
        return [Create(REPLICA_SETS, thing, told)], notice or created_notice(name)

    def _scaled(self, wanted: Mapping[str, int]) -> Iterator[Write]:
        """The replica sets with their numbers and with what tells a later scaling; those that have both are left."""
        notes = scale_annotations(self.thing, self.bounds.most)
        for thing in self.found.every:
            if name_of(thing) not in wanted:
                continue
            before, after = replicas_of(thing), wanted[name_of(thing)]
            annotations = {**annotations_of(thing), **notes}
            if before == after and annotations == annotations_of(thing):
                continue
            way = "up" if after > before else "down"
            message = f"Scaled {way} replica set {name_of(thing)} from {before} to {after}"
            told = (self._event(message),) if before != after else ()
            yield Update(REPLICA_SETS, with_spec(with_metadata(thing, annotations=annotations), replicas=after), told)

    def _tidy(self) -> list[Write]:
        """The oldest revisions beyond revisionHistoryLimit go, once they are empty."""
        limit = spec_of(self.thing).get("revisionHistoryLimit", 10)
        done = [thing for thing in sorted(self.found.old, key=revision_of) if not is_deleting(thing)]
        moves: list[Write] = []
        for thing in done[: max(0, len(done) - limit)]:
            status, generation = status_of(thing), metadata_of(thing).get("generation", 0)
            empty = not replicas_of(thing) and not status.get("replicas")
            if empty and status.get("observedGeneration", 0) >= generation:
                moves.append(Delete(REPLICA_SETS, thing))
        return moves

    def _event(self, message: str) -> Event:
        return Event(self.thing, "ScalingReplicaSet", message, COMPONENT)
