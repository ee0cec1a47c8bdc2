"""Endpoints: for each service with a selector, the addresses of its pods, ready and not ready, by their ports.

A service without a selector is left alone: its Endpoints are somebody else's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trenza.cluster.controllers.backends import (
    Backend,
    Port,
    backends,
    candidates,
    families_of,
    is_headless,
    port_objects,
    publishes_unready,
    selector_of,
)
from trenza.cluster.controllers.namespaces import is_ending
from trenza.cluster.controllers.objects import (
    Object,
    annotations_of,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    with_metadata,
)
from trenza.cluster.controllers.snapshot import ENDPOINTS, NAMESPACES, SERVICES, Snapshot
from trenza.cluster.controllers.writes import Create, Delete, Settled, Step, Update

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
HEADLESS = "service.kubernetes.io/headless"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MOST_ADDRESSES = 1000  # as in Kubernetes; the slices have them all


def endpoints(snapshot: Snapshot, now_s: float, settled: Settled) -> Iterator[Step]:
    known = snapshot[ENDPOINTS]

    def sources(service: Object) -> tuple[object, ...]:
        space = namespace_of(service)
        pods = candidates(snapshot, service)
        return known.get(key_of(service)), snapshot[NAMESPACES].get(("", space)), *pods

    def decide(service: Object) -> Iterator[Step]:
        if selector_of(service) and not is_deleting(service) and not is_ending(snapshot, namespace_of(service)):
            yield from _of_service(snapshot, service, known.get(key_of(service)))

    yield from settled.each(snapshot[SERVICES].values(), sources, decide)
    for thing in known.values():
        if labels_of(thing).get(MANAGED_BY) == MANAGER and key_of(thing) not in snapshot[SERVICES]:
            yield Delete(ENDPOINTS, thing)


def _of_service(snapshot: Snapshot, service: Object, known: Object | None) -> Iterator[Step]:
    found = [
        backend
        for backend in backends(snapshot, service, families_of(service)[0])
        if (not backend.terminating or publishes_unready(service)) and (backend.ports or is_headless(service))
    ]
    ordered = sorted(found, key=lambda backend: not backend.ready)
    subsets = _subsets(ordered[:MOST_ADDRESSES])
    labels = {**labels_of(service), MANAGED_BY: MANAGER} | ({HEADLESS: ""} if is_headless(service) else {})
    notes = {OVER_CAPACITY: "truncated"} if len(found) > MOST_ADDRESSES else {}
    if known is None:
        thing: Object = {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": name_of(service), "namespace": namespace_of(service), "labels": labels},
        }
        thing = with_metadata(thing, annotations=notes or None)
        yield Create(ENDPOINTS, {**thing, "subsets": subsets} if subsets else thing)
        return
    annotations = {key: value for key, value in annotations_of(known).items() if key != OVER_CAPACITY} | notes
    changed = (known.get("subsets") or []) != subsets
    if changed or dict(labels_of(known)) != labels or annotations != dict(annotations_of(known)):
        thing = with_metadata(known, labels=labels, annotations=annotations or None)
        yield Update(ENDPOINTS, {**{k: v for k, v in thing.items() if k != "subsets"}, "subsets": subsets})


def _subsets(found: Sequence[Backend]) -> list[Object]:
    """Addresses with the same ports together, ready and not ready apart; in the order of the addresses."""
    by_ports: dict[tuple[Port, ...], Object] = {}
    for backend in sorted(found, key=lambda b: b.address):
        subset = by_ports.setdefault(backend.ports, {})
        subset.setdefault("addresses" if backend.ready else "notReadyAddresses", []).append(_address_object(backend))
    return [
        {**subset, **({"ports": port_objects(ports, names_always=False)} if ports else {})}
        for ports, subset in sorted(by_ports.items(), key=lambda item: item[0])
    ]


def _address_object(backend: Backend) -> Object:
    thing: Object = {"ip": backend.address}
    if backend.hostname:
        thing["hostname"] = backend.hostname
    return {**thing, "nodeName": backend.node, "targetRef": backend.target}
