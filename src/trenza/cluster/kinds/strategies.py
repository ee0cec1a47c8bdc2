"""What becomes of a request's object before it is stored: system fields set, status and spec each by its own path.

    for_creation        uid, time, generation 1, a fresh status; a Job's selector
    for_update          the status of old, the spec of new; a new generation if the spec changed; addresses kept
    for_status_update   the spec of old, the status of new
    with_ephemeral      a pod with the ephemeral containers of new
    finalized           a namespace with the finalizers of new
    bound               a pod on its node
    scale_of, scaled    a workload as a Scale, and back

The order in a server, of a creation: decode, `addressed`, `named`, defaults, managers (nobody shall own what admission
adds), a pod's admission, `for_creation`, validation, store. Of an update: decode or patch, `addressed`, defaults,
`for_update`, validation, managers, store.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from random import Random
from typing import Any

from trenza.cluster.kinds.defaults import quality_of_service
from trenza.cluster.kinds.names import generated_name, new_uid, timestamp
from trenza.cluster.kinds.resources import Object, Resource
from trenza.cluster.kinds.selectors import LabelSelector, selector_of, selector_of_labels
from trenza.cluster.kinds.status import (
    bad_request,
    conflict,
    name_mismatch,
    name_undeterminable,
    namespace_mismatch,
    uid_mismatch,
    version_on_create,
)

_SYSTEM = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink")
_GENERATED = frozenset(
    ("replicationcontrollers", "deployments", "replicasets", "daemonsets", "statefulsets", "jobs", "endpointslices")
)
_FIRST_STATUS: Mapping[str, Object] = {
    "/namespaces": {"phase": "Active"},
    "/pods": {"phase": "Pending"},
    "/replicationcontrollers": {"replicas": 0},
    "/services": {"loadBalancer": {}},
    "apps/daemonsets": {
        "currentNumberScheduled": 0,
        "numberMisscheduled": 0,
        "desiredNumberScheduled": 0,
        "numberReady": 0,
    },
    "apps/deployments": {},
    "apps/replicasets": {"replicas": 0},
    "batch/jobs": {},
}


def addressed(resource: Resource, written: Object, namespace: str, name: str = "") -> Object:
    """The object with the path's namespace in its metadata. Raises 400s where it says another, or another name."""
    metadata = dict(written.get("metadata") or {})
    if resource.namespaced:
        if metadata.get("namespace") and metadata["namespace"] != namespace:
            raise namespace_mismatch()
        metadata["namespace"] = namespace
    if name and not metadata.get("name"):
        raise name_undeterminable(name)
    if name and metadata["name"] != name:
        raise name_mismatch(metadata["name"], name)
    return {**written, "metadata": metadata}


def named(written: Object, random: Random) -> Object:
    """The object with a name, made from generateName if it has none."""
    metadata = written.get("metadata") or {}
    if metadata.get("name") or not metadata.get("generateName"):
        return written
    return {**written, "metadata": {**metadata, "name": generated_name(metadata["generateName"], random)}}


def for_creation(resource: Resource, written: Object, now_s: float, random: Random) -> Object:
    """The object as it is first stored, but for its resourceVersion. Raises a 500 if it has one already."""
    metadata = {key: value for key, value in (written.get("metadata") or {}).items() if key not in _SYSTEM}
    if metadata.pop("resourceVersion", ""):
        raise version_on_create()
    metadata |= {"uid": new_uid(random), "creationTimestamp": timestamp(now_s)}
    if resource.plural in _GENERATED:
        metadata["generation"] = 1
    created = {**copy.deepcopy(written), "metadata": metadata}
    if resource.group_plural in _FIRST_STATUS:
        created["status"] = copy.deepcopy(_FIRST_STATUS[resource.group_plural])
    match resource.group_plural:
        case "/pods":
            created["status"]["qosClass"] = quality_of_service(created)
        case "/namespaces":
            finalizers = created.setdefault("spec", {}).setdefault("finalizers", [])
            if "kubernetes" not in finalizers:
                finalizers.append("kubernetes")
        case "batch/jobs" if not created["spec"].get("manualSelector"):
            _select_own_pods(created)
        case _:
            pass
    return created


def _select_own_pods(job: Object) -> None:
    uid, name = job["metadata"]["uid"], job["metadata"].get("name", "")
    labels = job["spec"].setdefault("template", {}).setdefault("metadata", {}).setdefault("labels", {})
    for prefix in ("", "batch.kubernetes.io/"):
        labels[f"{prefix}controller-uid"] = uid
        labels[f"{prefix}job-name"] = name
    job["spec"]["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}


def for_update(resource: Resource, old: Object, new: Object) -> Object:
    """The new object with what only the server sets: system metadata and status are the old one's.

    Raises a 409 if the new object means another one of the same name.
    """
    meant, found = (new.get("metadata") or {}).get("uid"), old["metadata"].get("uid", "")
    if meant and meant != found:
        raise uid_mismatch(resource, old["metadata"]["name"], meant, found)
    updated = _with_system_fields(old, new)
    if "status" in old and resource.subresource("status") is not None:
        updated["status"] = copy.deepcopy(old["status"])
    elif resource.subresource("status") is not None:
        updated.pop("status", None)
    if resource.group_plural == "/services":
        _keep_addresses(old, updated)
    if resource.group_plural == "/namespaces":
        updated["spec"] = copy.deepcopy(old.get("spec", {}))
    _count_generation(resource, old, updated)
    return updated


def for_status_update(old: Object, new: Object) -> Object:
    """The old object with the new one's status, labels and annotations as they were."""
    updated = copy.deepcopy(old)
    updated["status"] = copy.deepcopy(new.get("status", {}))
    version = (new.get("metadata") or {}).get("resourceVersion")
    if version:
        updated["metadata"]["resourceVersion"] = version
    return updated


def with_ephemeral(old: Object, new: Object) -> Object:
    """The pod with the ephemeral containers that a request to `ephemeralcontainers` leaves it."""
    updated = copy.deepcopy(old)
    updated["spec"]["ephemeralContainers"] = copy.deepcopy((new.get("spec") or {}).get("ephemeralContainers") or [])
    version = (new.get("metadata") or {}).get("resourceVersion")
    if version:
        updated["metadata"]["resourceVersion"] = version
    return updated


def finalized(old: Object, new: Object) -> Object:
    """The namespace with the finalizers that a request to `finalize` leaves it."""
    updated = copy.deepcopy(old)
    updated.setdefault("spec", {})["finalizers"] = list((new.get("spec") or {}).get("finalizers") or ())
    return updated


def bound(resource: Resource, pod: Object, binding: Object, now_s: float) -> Object:
    """The pod assigned to the node that a Binding names. Raises a 400 or 409 where it is not to be."""
    name = pod["metadata"]["name"]
    if (binding.get("metadata") or {}).get("name", name) != name:
        raise bad_request("name in URL does not match name in Binding object")
    node, present = (binding.get("target") or {}).get("name", ""), (pod.get("spec") or {}).get("nodeName")
    if pod["metadata"].get("deletionTimestamp"):
        raise conflict(resource, name, f"pod {name} is being deleted, cannot be assigned to a host")
    if present:
        raise conflict(resource, name, f'pod {name} is already assigned to node "{present}"')
    assigned = copy.deepcopy(pod)
    assigned["spec"]["nodeName"] = node
    said = (binding.get("metadata") or {}).get("annotations")
    if said:
        assigned["metadata"]["annotations"] = {**(assigned["metadata"].get("annotations") or {}), **said}
    status = assigned.setdefault("status", {})
    others = [one for one in status.get("conditions") or () if one.get("type") != "PodScheduled"]
    scheduled = {
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": timestamp(now_s),
    }
    status["conditions"] = [*others, scheduled]
    return assigned


def _with_system_fields(old: Object, new: Object) -> Object:
    before = old.get("metadata") or {}
    metadata = {key: value for key, value in (new.get("metadata") or {}).items() if key not in _SYSTEM}
    metadata |= {key: before[key] for key in _SYSTEM if key in before}
    return {**copy.deepcopy(new), "metadata": metadata}


def _count_generation(resource: Resource, old: Object, updated: Object) -> None:
    if resource.plural not in _GENERATED or "generation" not in updated["metadata"]:
        return
    ignored = ("metadata", "status")
    before = {key: value for key, value in old.items() if key not in ignored}
    after = {key: value for key, value in updated.items() if key not in ignored}
    if before != after:
        updated["metadata"]["generation"] += 1


def _keep_addresses(old: Object, updated: Object) -> None:
    """Addresses and node ports that the new spec does not mention stay the old one's (an apply never mentions them)."""
    before, after = old.get("spec") or {}, updated.setdefault("spec", {})
    if "ExternalName" in (before.get("type"), after.get("type")):
        return
    if after.get("clusterIP") and after["clusterIP"] != before.get("clusterIP"):
        if after.get("clusterIPs") == before.get("clusterIPs"):
            after["clusterIPs"] = [after["clusterIP"]]
    else:
        for key in ("clusterIP", "clusterIPs"):
            if not after.get(key) and before.get(key):
                after[key] = copy.deepcopy(before[key])
    if before.get("type") in ("NodePort", "LoadBalancer") and after.get("type") in ("NodePort", "LoadBalancer"):
        known = {_port_key(port): port["nodePort"] for port in before.get("ports") or () if port.get("nodePort")}
        used = {port.get("nodePort") for port in after.get("ports") or ()}
        for port in after.get("ports") or ():
            kept = known.get(_port_key(port))
            if not port.get("nodePort") and kept is not None and kept not in used:
                port["nodePort"] = kept
                used.add(kept)
    elif after.get("type") == "ClusterIP":
        # A change of type back to ClusterIP gives the node ports up.
        for port in after.get("ports") or ():
            if before.get("type") != "ClusterIP":
                port.pop("nodePort", None)
        if before.get("type") != "ClusterIP":
            after.pop("externalTrafficPolicy", None)


def _port_key(port: Mapping[str, Any]) -> tuple[str, Any]:
    return port.get("protocol", "TCP"), port.get("port")


def scale_of(resource: Resource, written: Object) -> Object:
    """The workload's Scale: what it has, what it wants, and which pods are its own."""
    metadata, spec, status = written["metadata"], written.get("spec") or {}, written.get("status") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"replicas": spec.get("replicas", 0)},
        "status": {"replicas": status.get("replicas", 0), "selector": str(workload_selector(resource, written))},
    }


def scaled(written: Object, scale: Object) -> Object:
    """The workload with the replicas, and the resourceVersion if there is one, of a Scale."""
    changed = copy.deepcopy(written)
    changed.setdefault("spec", {})["replicas"] = (scale.get("spec") or {}).get("replicas", 0)
    version = (scale.get("metadata") or {}).get("resourceVersion")
    if version:
        changed["metadata"]["resourceVersion"] = version
    return changed


def workload_selector(resource: Resource, written: Object) -> LabelSelector:
    """Which pods are a workload's or a service's."""
    selector = (written.get("spec") or {}).get("selector")
    plain = resource.group_plural in ("/replicationcontrollers", "/services")
    return selector_of_labels(selector) if plain else selector_of(selector)
