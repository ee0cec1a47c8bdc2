"""One stored object in two API groups: events, of the core group and of events.k8s.io.

The store holds the core's. Both ways are lossless for what either group can say.
"""

from __future__ import annotations

from trenza.cluster.kinds.resources import RESOURCES, Object, Resource, find_resource

_CORE_TO_NEW = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_NEW_TO_CORE = {new: core for core, new in _CORE_TO_NEW.items()}
_EVENTS = find_resource("", "v1", "events")
_NEW_EVENTS = find_resource("events.k8s.io", "v1", "events")


def storage_resource(resource: Resource) -> Resource:
    """The resource whose form the store holds."""
    if resource == _NEW_EVENTS:
        assert _EVENTS is not None
        return _EVENTS
    return resource


def stored_resources() -> tuple[Resource, ...]:
    """Every resource that the store may hold objects of, each once."""
    kept: dict[str, Resource] = {}
    for resource in RESOURCES:
        if resource.verbs != ("create",) and storage_resource(resource) == resource:
            kept.setdefault(resource.prefix(), resource)
    return tuple(kept.values())


def to_storage(resource: Resource, written: Object) -> Object:
    """The object as the store holds it."""
    return _renamed(written, _NEW_TO_CORE, "v1") if resource == _NEW_EVENTS else written


def from_storage(resource: Resource, stored: Object) -> Object:
    """The stored object as the resource's group writes it."""
    return _renamed(stored, _CORE_TO_NEW, "events.k8s.io/v1") if resource == _NEW_EVENTS else stored


def _renamed(written: Object, names: dict[str, str], api_version: str) -> Object:
    changed = {names.get(key, key): value for key, value in written.items()}
    return {**changed, "apiVersion": api_version}
