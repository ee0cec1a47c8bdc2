"""What controllers ask of pods: does one count, is it ready, which goes first; and pods made from a template."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from trenza.cluster.controllers.objects import (
    Object,
    annotations_of,
    condition_of,
    controller_reference,
    created_s,
    digest_letters,
    is_deleting,
    name_of,
    namespace_of,
    spec_of,
    status_of,
    time_s,
)

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
PHASES_BY_WORTH = {"Pending": 0, "Unknown": 1, "Running": 2}


def phase_of(pod: Object) -> str:
    return str(status_of(pod).get("phase") or "Pending")


def node_of(pod: Object) -> str:
    """The name of the node it is bound to; empty before."""
    return str(spec_of(pod).get("nodeName") or "")


def is_finished(pod: Object) -> bool:
    return phase_of(pod) in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """It counts as a replica: neither finished nor being deleted."""
    return not is_finished(pod) and not is_deleting(pod)


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether a pod, or a node, has the condition Ready."""
    ready = condition_of(pod, "Ready")
    return ready is not None and ready.get("status") == "True"


def ready_since_s(pod: Object) -> float:
    return time_s((condition_of(pod, "Ready") or {}).get("lastTransitionTime"))


def available_at_s(pod: Object, min_ready_s: float) -> float | None:
    """When it has been ready for `min_ready_s`; None if it is not ready."""
    return ready_since_s(pod) + min_ready_s if is_ready(pod) else None


def restarts(pod: Object) -> int:
    return sum(int(c.get("restartCount") or 0) for c in status_of(pod).get("containerStatuses") or ())


def least_missed_first(pods: Iterable[Object], siblings: Iterable[Object]) -> list[Object]:
    """`pods` in the order in which scaling down takes them.

    Unassigned before assigned, pending before running, not ready before ready, cheap to delete before dear, crowded
    (by `siblings`, on the same node) before lonely, ready for a short time before long, restarted often before seldom.
    """
    crowd = Counter(node_of(pod) for pod in siblings if is_active(pod))

    def worth(pod: Object) -> tuple[object, ...]:
        ready = is_ready(pod)
        return (
            bool(node_of(pod)),
            PHASES_BY_WORTH.get(phase_of(pod), 0),
            ready,
            _deletion_cost(pod),
            -crowd[node_of(pod)],
            -ready_since_s(pod) if ready else 0,
            -restarts(pod),
            -created_s(pod),
            name_of(pod),
        )

    return sorted(pods, key=worth)


def _deletion_cost(pod: Object) -> int:
    try:
        return int(annotations_of(pod).get(DELETION_COST, "0"))
    except ValueError:
        return 0


def pod_from(
    template: Mapping[str, Any],
    owner: Object,
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
) -> Object:
    """A pod of `owner` by its template, with more labels where given."""
    described = template.get("metadata") or {}
    metadata = {
        "name": name,
        "generateName": f"{name_of(owner)}-",
        "namespace": namespace_of(owner),
        "labels": {**(described.get("labels") or {}), **(labels or {})},
        "annotations": described.get("annotations"),
        "finalizers": described.get("finalizers"),
        "ownerReferences": [controller_reference(owner)],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {key: value for key, value in metadata.items() if value},
        "spec": dict(template.get("spec") or {}),
    }


def template_text(template: Mapping[str, Any], *ignored_labels: str) -> str:
    """The template as text that is equal if and only if the templates mean the same; nulls and empties say nothing."""

    def spoken(value: Any) -> Any:
        if isinstance(value, Mapping):
            inner = {key: spoken(item) for key, item in value.items() if key not in ignored_labels}
            return {key: item for key, item in inner.items() if item is not None and item != {}}
        if isinstance(value, list):
            return [spoken(item) for item in value]
        return value

    return json.dumps(spoken(template), sort_keys=True)


def template_hash(template: Mapping[str, Any], collisions: int = 0) -> str:
    """What `pod-template-hash` says: up to ten letters that are a function of the template and the collision count."""
    return digest_letters(template_text(template), collisions, length=10)
