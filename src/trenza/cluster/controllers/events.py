"""Events as the recorder of client-go writes them: one object per thing told, counted and re-dated when it repeats."""

from __future__ import annotations

import hashlib

from trenza.cluster.controllers.objects import (
    Object,
    metadata_of,
    name_of,
    namespace_of,
    uid_of,
    with_metadata,
)
from trenza.cluster.controllers.snapshot import EVENTS, Snapshot
from trenza.cluster.controllers.writes import Create, Event, Update
from trenza.cluster.kinds.names import timestamp


def event_name(event: Event) -> str:
    """The name of the object that counts this event: the same for the same words about the same thing."""
    told = (uid_of(event.about), event.component, str(event.warning), event.reason, event.message)
    return f"{name_of(event.about)[:236]}.{hashlib.sha256(chr(0).join(told).encode()).hexdigest()[:16]}"


def recorded(snapshot: Snapshot, event: Event, now_s: float) -> Create | Update:
    """The write that records `event`: a new object, or one more of the same."""
    namespace = namespace_of(event.about) or "default"
    known = snapshot[EVENTS].get((namespace, event_name(event)))
    if known is not None:
        counted = {**known, "count": int(known.get("count") or 1) + 1, "lastTimestamp": timestamp(now_s)}
        return Update(EVENTS, counted)
    return Create(EVENTS, _event_object(event, namespace, now_s))


def _event_object(event: Event, namespace: str, now_s: float) -> Object:
    involved = {
        "kind": event.about["kind"],
        "namespace": namespace_of(event.about),
        "name": name_of(event.about),
        "uid": uid_of(event.about),
        "apiVersion": event.about["apiVersion"],
        "resourceVersion": str(metadata_of(event.about).get("resourceVersion", "")),
    }
    thing: Object = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {},
        "involvedObject": {key: value for key, value in involved.items() if value},
        "reason": event.reason,
        "message": event.message,
        "source": {"component": event.component},
        "firstTimestamp": timestamp(now_s),
        "lastTimestamp": timestamp(now_s),
        "count": 1,
        "type": "Warning" if event.warning else "Normal",
        "eventTime": None,
        "reportingComponent": event.component,
        "reportingInstance": "",
    }
    return with_metadata(thing, name=event_name(event), namespace=namespace)
