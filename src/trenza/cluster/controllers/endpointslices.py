"""EndpointSlices: the pods behind a service a hundred to a slice, with those that are not ready and those that leave.

An endpoint stays in the slice where it is, so that a change touches one slice. Endpoints that somebody wrote for a
service without a selector are mirrored into slices too: who reads only slices sees them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trenza.cluster.controllers.backends import (
    Backend,
    Port,
    backends,
    candidates,
    families_of,
    family_of,
    is_headless,
    selector_of,
)
from trenza.cluster.controllers.backends import port_objects as written
from trenza.cluster.controllers.endpoints import HEADLESS
from trenza.cluster.controllers.namespaces import is_ending
from trenza.cluster.controllers.objects import (
    Object,
    controller_reference,
    generated_name,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
    with_metadata,
)
from trenza.cluster.controllers.snapshot import ENDPOINT_SLICES, ENDPOINTS, NAMESPACES, SERVICES, Snapshot
from trenza.cluster.controllers.writes import Create, Delete, Settled, Step, Update

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
MIRROR_MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"
MOST_ENDPOINTS = 100

Wanted = Mapping[tuple[str, tuple[Port, ...]], Sequence[Object]]  # the endpoints by address family and ports


def endpoint_slices(snapshot: Snapshot, now_s: float, settled: Settled) -> Iterator[Step]:
    def sources(service: Object) -> tuple[object, ...]:
        space, name = key_of(service)
        slices = snapshot[ENDPOINT_SLICES].carrying(space, {SERVICE_NAME: name})
        by_hand = None if selector_of(service) else snapshot[ENDPOINTS].get((space, name))
        return by_hand, snapshot[NAMESPACES].get(("", space)), *slices, *candidates(snapshot, service)

    def decide(service: Object) -> Iterator[Step]:
        if is_deleting(service) or is_ending(snapshot, namespace_of(service)):
            return
        if selector_of(service):
            yield from _of_owner(snapshot, service, _wanted(snapshot, service), MANAGER)
            return
        by_hand = snapshot[ENDPOINTS].get(key_of(service))
        if by_hand is not None and not is_deleting(by_hand) and labels_of(by_hand).get(SKIP_MIRROR) != "true":
            yield from _of_owner(snapshot, by_hand, _mirrored(by_hand), MIRROR_MANAGER)

    yield from settled.each(snapshot[SERVICES].values(), sources, decide)
    for thing in snapshot[ENDPOINT_SLICES].values():
        # The garbage collector would find them too; whoever deletes with `orphan` would keep them for ever.
        key = (namespace_of(thing), labels_of(thing).get(SERVICE_NAME, ""))
        managed = labels_of(thing).get(MANAGED_BY) in (MANAGER, MIRROR_MANAGER)
        if managed and key not in snapshot[SERVICES] and not is_deleting(thing):
            yield Delete(ENDPOINT_SLICES, thing)


def _wanted(snapshot: Snapshot, service: Object) -> Wanted:
    found: dict[tuple[str, tuple[Port, ...]], list[Object]] = {}
    for family in families_of(service):
        for backend in backends(snapshot, service, family):
            if backend.ports or is_headless(service):
                found.setdefault((family, backend.ports), []).append(_endpoint(backend))
        if not any(of_family == family for of_family, _ in found):
            found[family, ()] = []  # a slice without endpoints says that there are none
    return found


def _endpoint(backend: Backend) -> Object:
    thing: Object = {
        "addresses": [backend.address],
        "conditions": {"ready": backend.ready, "serving": backend.serving, "terminating": backend.terminating},
        "targetRef": backend.target,
        "nodeName": backend.node,
    }
    return {**thing, "hostname": backend.hostname} if backend.hostname else thing


def _mirrored(thing: Object) -> Wanted:
    found: dict[tuple[str, tuple[Port, ...]], list[Object]] = {}
    for subset in thing.get("subsets") or ():
        ports = tuple(
            (str(p.get("name") or ""), int(p["port"]), p.get("protocol") or "TCP", str(p.get("appProtocol") or ""))
            for p in subset.get("ports") or ()
        )
        for kind, ready in (("addresses", True), ("notReadyAddresses", False)):
            for address in subset.get(kind) or ():
                carried = {key: address[key] for key in ("targetRef", "nodeName", "hostname") if address.get(key)}
                endpoint = {"addresses": [address["ip"]], "conditions": {"ready": ready}, **carried}
                found.setdefault((family_of(address["ip"]), ports), []).append(endpoint)
    return found


def _of_owner(snapshot: Snapshot, owner: Object, wanted: Wanted, manager: str) -> Iterator[Step]:
    """The changes of the slices of `owner` (a service or hand-written Endpoints of its name)."""
    # Labels of the Endpoints controllers say who manages, and are not handed on.
    carried = {key: value for key, value in labels_of(owner).items() if not key.startswith("endpoints")}
    labels = {**carried, SERVICE_NAME: name_of(owner), MANAGED_BY: manager}
    if owner["kind"] == "Service" and is_headless(owner):
        labels[HEADLESS] = ""
    slices: dict[tuple[str, tuple[Port, ...]], list[Object]] = {}
    ours = {SERVICE_NAME: name_of(owner), MANAGED_BY: manager}
    for thing in snapshot[ENDPOINT_SLICES].labelled(namespace_of(owner), ours):
        if not is_deleting(thing):
            slices.setdefault((thing["addressType"], _ports_of(thing)), []).append(thing)
    for group, there in slices.items():
        if group not in wanted:
            yield from (Delete(ENDPOINT_SLICES, thing) for thing in there)
    for group, endpoints in wanted.items():
        yield from _placed(snapshot, owner, labels, group, endpoints, slices.get(group, []))


def _placed(
    snapshot: Snapshot,
    owner: Object,
    labels: Mapping[str, str],
    group: tuple[str, tuple[Port, ...]],
    endpoints: Sequence[Object],
    there: Sequence[Object],
) -> Iterator[Step]:
    """Each endpoint where it was, new ones into what room there is, the rest into new slices; empty slices go."""
    waiting = {_identity(endpoint): endpoint for endpoint in endpoints}
    kept: list[list[Object]] = []
    for thing in there:
        known = (_identity(endpoint) for endpoint in thing.get("endpoints") or ())
        kept.append([waiting.pop(identity) for identity in known if identity in waiting])
    left = list(waiting.values())
    for members in kept:
        room = MOST_ENDPOINTS - len(members)
        members.extend(left[:room])
        left = left[room:]
    empty_wanted = not endpoints
    for thing, members in zip(there, kept, strict=True):
        if not members and not empty_wanted:
            yield Delete(ENDPOINT_SLICES, thing)
            continue
        empty_wanted = False
        if members != (thing.get("endpoints") or []) or dict(labels_of(thing)) != dict(labels):
            yield Update(ENDPOINT_SLICES, {**with_metadata(thing, labels=dict(labels)), "endpoints": members})
    batches = [left[start : start + MOST_ENDPOINTS] for start in range(0, len(left), MOST_ENDPOINTS)]
    for number, members in enumerate(batches or ([[]] if empty_wanted else [])):
        name = generated_name(f"{name_of(owner)}-", uid_of(owner), snapshot.revision, group, number)
        yield Create(ENDPOINT_SLICES, _slice(owner, name, labels, group, members))


def _slice(
    owner: Object,
    name: str,
    labels: Mapping[str, str],
    group: tuple[str, tuple[Port, ...]],
    endpoints: Sequence[Object],
) -> Object:
    family, ports = group
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "generateName": f"{name_of(owner)}-",
            "namespace": namespace_of(owner),
            "labels": dict(labels),
            "ownerReferences": [controller_reference(owner)],
        },
        "addressType": family,
        "endpoints": list(endpoints),
        "ports": written(ports, names_always=True),
    }


def _ports_of(thing: Object) -> tuple[Port, ...]:
    ports: Sequence[Mapping[str, Any]] = thing.get("ports") or ()
    return tuple(
        (str(p.get("name") or ""), int(p.get("port") or 0), p.get("protocol") or "TCP", str(p.get("appProtocol") or ""))
        for p in ports
    )


def _identity(endpoint: Object) -> tuple[str, str]:
    return endpoint["addresses"][0], str((endpoint.get("targetRef") or {}).get("uid", ""))
