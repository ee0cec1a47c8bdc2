"""Events in both of their spellings: stored as core/v1, served as core/v1 and as events.k8s.io/v1."""

from __future__ import annotations

from trenza.cluster.kinds.resources import Object, Resource

_CORE, _NEW = "v1", "events.k8s.io/v1"
# Names of the same field; what is in neither column is called alike in both.
_RENAMED = (
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
)


def stored_form(written: Object) -> Object:
    """The object in the version that the store keeps; most kinds have only one."""
    if (written.get("apiVersion"), written.get("kind")) != (_NEW, "Event"):
        return written
    return _renamed(written, {new: core for core, new in _RENAMED}, _CORE)


def served_form(written: Object, resource: Resource) -> Object:
    """A stored object in the version of the path that it is asked for by."""
    if resource.api_version != _NEW or written.get("kind") != "Event" or written.get("apiVersion") == _NEW:
        return written
    return _renamed(written, dict(_RENAMED), _NEW)


def _renamed(written: Object, names: dict[str, str], api_version: str) -> Object:
    return {names.get(key, key): value for key, value in written.items()} | {"apiVersion": api_version}
