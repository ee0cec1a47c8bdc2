"""What any Kubernetes object says of itself: name, owners, times, conditions; and objects with one thing changed.

Objects in a snapshot are shared, so nothing here changes one in place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from trenza.cluster.kinds.names import ALPHABET, NAME_BYTES, seconds_of, timestamp

Object = dict[str, Any]
ObjectKey = tuple[str, str]  # namespace ("" for objects of the whole cluster) and name

_seconds_of = lru_cache(maxsize=65536)(seconds_of)


def metadata_of(thing: Object) -> Mapping[str, Any]:
    return thing.get("metadata") or {}


def name_of(thing: Object) -> str:
    return str(metadata_of(thing).get("name", ""))


def namespace_of(thing: Object) -> str:
    return str(metadata_of(thing).get("namespace") or "")


def key_of(thing: Object) -> ObjectKey:
    return namespace_of(thing), name_of(thing)


def uid_of(thing: Object) -> str:
    return str(metadata_of(thing).get("uid", ""))


def labels_of(thing: Object) -> Mapping[str, str]:
    return metadata_of(thing).get("labels") or {}


def annotations_of(thing: Object) -> Mapping[str, str]:
    return metadata_of(thing).get("annotations") or {}


def finalizers_of(thing: Object) -> Sequence[str]:
    return metadata_of(thing).get("finalizers") or ()


def owners_of(thing: Object) -> Sequence[Mapping[str, Any]]:
    return metadata_of(thing).get("ownerReferences") or ()


def spec_of(thing: Object) -> Mapping[str, Any]:
    return thing.get("spec") or {}


def status_of(thing: Mapping[str, Any]) -> Mapping[str, Any]:
    return thing.get("status") or {}


def is_deleting(thing: Object) -> bool:
    """Its deletion was asked for; finalizers or a grace period still hold it."""
    return bool(metadata_of(thing).get("deletionTimestamp"))


def created_s(thing: Object) -> float:
    return time_s(metadata_of(thing).get("creationTimestamp"))


def controller_of(thing: Object) -> Mapping[str, Any] | None:
    """The one owner that manages it."""
    return next((owner for owner in owners_of(thing) if owner.get("controller")), None)


def is_controlled_by(thing: Object, owner: Object) -> bool:
    controller = controller_of(thing)
    return controller is not None and controller.get("uid") == uid_of(owner)


def controller_reference(owner: Object) -> Object:
    """The ownerReference of something that `owner` manages."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def with_metadata(thing: Object, **changes: Any) -> Object:
    """`thing` with members of its metadata replaced; None removes one."""
    metadata = {**metadata_of(thing), **changes}
    return {**thing, "metadata": {key: value for key, value in metadata.items() if value is not None}}


def with_spec(thing: Object, **changes: Any) -> Object:
    return {**thing, "spec": {**spec_of(thing), **changes}}


def with_status(thing: Object, fields: Mapping[str, Any]) -> Object:
    """`thing` with members of its status replaced; zero, an empty list and None remove one: Kubernetes omits those."""
    status = {**status_of(thing), **fields}
    return {**thing, "status": {key: value for key, value in status.items() if value not in (None, 0, [], "")}}


def with_counts(thing: Object, always: Mapping[str, int], fields: Mapping[str, Any]) -> Object:
    """Like `with_status`, but the counts of `always` are written even if they are 0."""
    changed = with_status(thing, fields)
    return {**changed, "status": {**changed["status"], **always}}


def time_s(text: str | None) -> float:
    """Seconds since 1970 of an RFC 3339 time, with or without a fraction; 0 for none."""
    return (_seconds_of(text) or 0.0) if text else 0.0


def condition_of(thing: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    return next((c for c in status_of(thing).get("conditions") or () if c.get("type") == kind), None)


def with_condition(conditions: Sequence[Object], wanted: Object, now_s: float) -> list[Object]:
    """`conditions` with `wanted` in its place; the transition time moves only with the status.

    A condition that says the same already is left as it is, times included. `wanted` may bring times of its own.
    """
    old = next((c for c in conditions if c["type"] == wanted["type"]), None)
    if old is None:
        return [*conditions, {"lastTransitionTime": timestamp(now_s), **wanted}]
    told = ("status", "reason", "message")
    if all(old.get(key) == wanted.get(key) for key in told) and "lastUpdateTime" not in wanted:
        return list(conditions)
    moved = timestamp(now_s) if old.get("status") != wanted["status"] else old.get("lastTransitionTime")
    return [{**c, "lastTransitionTime": moved, **wanted} if c is old else c for c in conditions]


def digest_letters(*parts: object, length: int) -> str:
    """A name's suffix that is a function of `parts` only, in letters that Kubernetes uses for generated names."""
    number = int.from_bytes(hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).digest()[:16])
    letters = []
    for _ in range(length):
        number, rest = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[rest])
    return "".join(letters)


def generated_name(prefix: str, *parts: object) -> str:
    """A name as generateName makes one: `prefix` and five letters, here of `parts`; at most 63 characters."""
    return prefix[: NAME_BYTES - 5] + digest_letters(prefix, *parts, length=5)


def oldest_first(things: Iterable[Object]) -> list[Object]:
    return sorted(things, key=lambda thing: (created_s(thing), name_of(thing)))
