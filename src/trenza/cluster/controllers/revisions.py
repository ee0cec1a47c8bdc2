"""A deployment's replica sets as revisions: which one has its template, which are older, and their annotations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trenza.cluster.controllers.objects import (
    Object,
    annotations_of,
    controller_reference,
    name_of,
    namespace_of,
    oldest_first,
    spec_of,
    status_of,
    with_metadata,
    with_spec,
)
from trenza.cluster.controllers.pods import is_active, template_hash, template_text
from trenza.cluster.controllers.snapshot import PODS, Snapshot

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
DEPRECATED_ROLLBACK = "deprecated.deployment.rollback.to"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
NOT_INHERITED = frozenset((REVISION, REVISION_HISTORY, DESIRED, MAXIMUM, DEPRECATED_ROLLBACK, LAST_APPLIED))


def replicas_of(thing: Object) -> int:
    replicas = spec_of(thing).get("replicas")
    return 1 if replicas is None else int(replicas)


def available_of(thing: Object) -> int:
    return int(status_of(thing).get("availableReplicas") or 0)


def revision_of(thing: Object) -> int:
    try:
        return int(annotations_of(thing).get(REVISION, "0"))
    except ValueError:
        return 0


@dataclass(frozen=True, slots=True)
class Revisions:
    """The replica sets of one deployment: the one with its template, if there is one yet, and the older, oldest first.

    `held` counts by name what each takes of the surge: the pods it wants or those it still has, if these are more.
    """

    new: Object | None
    old: tuple[Object, ...]
    held: Mapping[str, int]

    @property
    def every(self) -> tuple[Object, ...]:
        return self.old if self.new is None else (*self.old, self.new)

    @property
    def active(self) -> tuple[Object, ...]:
        return tuple(thing for thing in self.every if replicas_of(thing) > 0)

    @property
    def wanted_pods(self) -> int:
        return sum(replicas_of(thing) for thing in self.every)

    @property
    def held_pods(self) -> int:
        return sum(self.held.values())

    @property
    def next_number(self) -> int:
        return max((revision_of(thing) for thing in self.old), default=0) + 1


def revisions(snapshot: Snapshot, deployment: Object, owned: Iterable[Object]) -> Revisions:
    """The replica sets of `deployment` sorted out. Of several with its template the oldest is the new one."""
    wanted = template_text(spec_of(deployment).get("template") or {}, HASH_LABEL)
    ordered = oldest_first(owned)
    new = next((t for t in ordered if template_text(spec_of(t).get("template") or {}, HASH_LABEL) == wanted), None)
    held = {}
    for thing in ordered:
        pods = snapshot[PODS].owned_by(str((thing.get("metadata") or {}).get("uid")))
        held[name_of(thing)] = max(replicas_of(thing), sum(is_active(pod) for pod in pods))
    return Revisions(new, tuple(thing for thing in ordered if thing is not new), held)


def replica_set_name(deployment: Object) -> str:
    return f"{name_of(deployment)}-{_hash(deployment)}"


def _hash(deployment: Object) -> str:
    collisions = int(status_of(deployment).get("collisionCount") or 0)
    return template_hash(spec_of(deployment).get("template") or {}, collisions)


def replica_set_of(deployment: Object, replicas: int, maximum: int, number: int) -> Object:
    """The replica set of the deployment's template: revision `number`, with the template's hash in every selector."""
    spec = spec_of(deployment)
    template: Mapping[str, Any] = spec.get("template") or {}
    described = template.get("metadata") or {}
    labels = {**(described.get("labels") or {}), HASH_LABEL: _hash(deployment)}
    selector = spec.get("selector") or {}
    thing: Object = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": replica_set_name(deployment),
            "namespace": namespace_of(deployment),
            "labels": labels,
            "annotations": inherited_annotations(deployment, {}, number) | scale_annotations(deployment, maximum),
            "ownerReferences": [controller_reference(deployment)],
        },
        "spec": {
            "replicas": replicas,
            "selector": {
                **selector,
                "matchLabels": {**(selector.get("matchLabels") or {}), HASH_LABEL: _hash(deployment)},
            },
            "template": {**template, "metadata": {**described, "labels": labels}},
        },
    }
    return with_spec(thing, minReadySeconds=spec["minReadySeconds"]) if spec.get("minReadySeconds") else thing


def inherited_annotations(deployment: Object, known: Mapping[str, str], number: int) -> dict[str, str]:
    """A replica set's annotations brought up to date: the deployment's, and revision `number` with what it was before.

    A revision never goes back: a replica set that is new again, after `kubectl rollout undo`, gets the next number.
    """
    mine = {key: value for key, value in annotations_of(deployment).items() if key not in NOT_INHERITED}
    found = {**known, **mine}
    before = known.get(REVISION)
    if before is None or (before.isdigit() and int(before) < number):
        found[REVISION] = str(number)
        if before:
            found[REVISION_HISTORY] = ",".join(filter(None, (known.get(REVISION_HISTORY), before)))
    return found


def scale_annotations(deployment: Object, maximum: int) -> dict[str, str]:
    """What tells later that the deployment was scaled, as against rolled: the number that was wanted, and the most."""
    return {DESIRED: str(replicas_of(deployment)), MAXIMUM: str(maximum)}


def up_to_date(deployment: Object, replica_set: Object, number: int) -> Object:
    """The new replica set as it should be beside its number of replicas; the same object if it is so already."""
    annotations = inherited_annotations(deployment, annotations_of(replica_set), number)
    min_ready_s = spec_of(deployment).get("minReadySeconds") or 0
    changed = replica_set
    if annotations != annotations_of(replica_set):
        changed = with_metadata(changed, annotations=annotations)
    if min_ready_s != (spec_of(replica_set).get("minReadySeconds") or 0):
        changed = with_spec(changed, minReadySeconds=min_ready_s)
    return changed
