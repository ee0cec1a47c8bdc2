"""The common part of ReplicationController and ReplicaSet: as many active pods as are wanted, by one template.

Pods that match and have no controller are adopted, owned ones that match no longer are released. What exceeds is
deleted in the order of `pods.least_missed_first`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trenza.cluster.controllers.matching import matches, selected
from trenza.cluster.controllers.objects import (
    Object,
    controller_of,
    controller_reference,
    generated_name,
    is_controlled_by,
    is_deleting,
    labels_of,
    metadata_of,
    name_of,
    namespace_of,
    owners_of,
    spec_of,
    status_of,
    uid_of,
    with_counts,
    with_metadata,
)
from trenza.cluster.controllers.pods import (
    available_at_s,
    is_active,
    is_ready,
    least_missed_first,
    pod_from,
)
from trenza.cluster.controllers.snapshot import PODS, Snapshot
from trenza.cluster.controllers.writes import Create, Delete, Event, Step, Update, UpdateStatus, Wake

BURST = 500  # creations and deletions of one owner in one decision, as in Kubernetes


@dataclass(frozen=True, slots=True)
class Owner:
    """A thing with replicas: where it lives, whom it selects (as a LabelSelector), and who tells its events."""

    resource: str
    thing: Object
    selector: Mapping[str, Any]
    component: str

    @property
    def wanted(self) -> int:
        replicas = spec_of(self.thing).get("replicas")
        return 1 if replicas is None else int(replicas)

    def event(self, reason: str, message: str, *, warning: bool = False) -> Event:
        return Event(self.thing, reason, message, self.component, warning)


def claimed(
    snapshot: Snapshot, resource: str, owner: Object, selector: Mapping[str, Any]
) -> tuple[list[Object], list[Update]]:
    """The objects of `resource` that `owner` manages, and the adoptions and releases that its selector asks for.

    An owner that is being deleted adopts nothing. What is adopted counts as soon as the API has said yes.
    """
    owned = [thing for thing in snapshot[resource].owned_by(uid_of(owner)) if is_controlled_by(thing, owner)]
    if is_deleting(owner):
        return owned, []
    kept, changes = [], []
    for thing in owned:
        if matches(selector, labels_of(thing)) or is_deleting(thing):
            kept.append(thing)
        else:
            others = [reference for reference in owners_of(thing) if reference["uid"] != uid_of(owner)]
            changes.append(Update(resource, with_metadata(thing, ownerReferences=others or None)))
    for thing in selected(snapshot[resource], namespace_of(owner), selector):
        if controller_of(thing) is None and not is_deleting(thing):
            references = [*owners_of(thing), controller_reference(owner)]
            changes.append(Update(resource, with_metadata(thing, ownerReferences=references)))
    return kept, changes


def replica_steps(snapshot: Snapshot, now_s: float, owner: Owner) -> Iterator[Step]:
    """What brings `owner` nearer to the number of pods it wants, and its status up to date."""
    pods, changes = claimed(snapshot, PODS, owner.thing, owner.selector)
    yield from changes
    active = [pod for pod in pods if is_active(pod)]
    if not is_deleting(owner.thing):
        # Adoptions decided now may bring too many pods, never too few: they are counted before creating.
        adopted = sum(is_active(change.object) and is_controlled_by(change.object, owner.thing) for change in changes)
        yield from _managed(snapshot, owner, active, owner.wanted - len(active) - adopted)
    yield from _status_steps(now_s, owner, active)


def _managed(snapshot: Snapshot, owner: Owner, active: list[Object], missing: int) -> Iterator[Step]:
    for number in range(min(missing, BURST)):
        name = generated_name(f"{name_of(owner.thing)}-", uid_of(owner.thing), snapshot.revision, number)
        pod = pod_from(spec_of(owner.thing).get("template") or {}, owner.thing, name)
        yield Create(PODS, pod, (owner.event("SuccessfulCreate", f"Created pod: {name}"),))
    if missing < 0:
        for pod in least_missed_first(active, active)[: min(-missing, BURST)]:
            yield Delete(PODS, pod, (owner.event("SuccessfulDelete", f"Deleted pod: {name_of(pod)}"),))


def _status_steps(now_s: float, owner: Owner, active: list[Object]) -> Iterator[Step]:
    spec = spec_of(owner.thing)
    min_ready_s = float(spec.get("minReadySeconds") or 0)
    moments = [moment for pod in active if (moment := available_at_s(pod, min_ready_s)) is not None]
    wanted_labels = labels_of(spec.get("template") or {}).items()
    changed = with_counts(
        owner.thing,
        {"replicas": len(active)},
        {
            "fullyLabeledReplicas": sum(wanted_labels <= labels_of(pod).items() for pod in active),
            "readyReplicas": sum(is_ready(pod) for pod in active),
            "availableReplicas": sum(moment <= now_s for moment in moments),
            "observedGeneration": metadata_of(owner.thing).get("generation"),
        },
    )
    if changed["status"] != status_of(owner.thing):
        yield UpdateStatus(owner.resource, changed)
    if later := [moment for moment in moments if moment > now_s]:
        yield Wake(min(later))
