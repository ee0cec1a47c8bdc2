"""What became of a cluster's nodes, pods and services from one moment to the next: a sentence for each change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trenza.cluster.api import Object

_POD_WORDS = {
    "Running": ("runs", "está en marcha"), "Terminating": ("is to end", "ha de terminar"),
    "Deleted": ("is gone", "ya no está"), "Succeeded": ("has done its work", "ha hecho su trabajo"),
    "Failed": ("has failed", "ha fallado"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Told:
    """A change: the host that it happened to ("" for none), a sentence in English and Spanish, and what programs read.

    Every change has a `state`: a node's Ready, NotReady, Removed; a pod's phase, Terminating, Deleted; of a service's
    endpoints `endpoints`; of the store ReadOnly, Writable; of a member of etcd Unwell, Well.
    """

    node: str
    text: str
    text_es: str
    fields: Mapping[str, Any]


def store_changes(before: Object | None, now: Object, members: Mapping[str, str]) -> Iterator[Told]:
    """What became of the store, as the server tells of it; `members` are the hosts by the URLs of their etcds."""
    alarms = [frozenset() if one is None else frozenset(one["alarms"]) for one in (before, now)]
    if alarms[1] - alarms[0]:
        why = "; ".join(sorted(alarms[1]))
        yield Told("", f"the store is read-only: {why}", f"el almacén es de solo lectura: {why}", {"state": "ReadOnly"})
    elif alarms[0] and not alarms[1]:
        yield Told("", "the store takes writes again", "el almacén vuelve a aceptar escrituras", {"state": "Writable"})
    was = {} if before is None else {one["endpoint"]: one["problem"] for one in before["members"]}
    for one in now["members"]:
        host = members.get(one["endpoint"])
        if host is None:
            continue  # the embedded one: its alarm says all
        if one["problem"] is not None and one["problem"] != was.get(one["endpoint"]):
            yield Told(
                host, f"etcd of {host}: {one['problem']}", f"etcd de {host}: {one['problem']}", {"state": "Unwell"}
            )
        elif one["problem"] is None and was.get(one["endpoint"]) is not None:
            yield Told(host, f"etcd of {host} is well again", f"etcd de {host} vuelve a estar bien", {"state": "Well"})


def node_changes(before: Object | None, now: Object | None) -> Iterator[Told]:
    """Whether the cluster counts on a node."""
    was, state = _node_state(before), _node_state(now)
    if was == state:
        return
    name = _name(now or before)
    if now is None:
        yield Told(
            name,
            f"{name} is no node of the cluster any more",
            f"{name} ya no es nodo del clúster",
            {"state": "Removed"},
        )
    elif state == "Ready":
        yield Told(name, f"{name} is Ready", f"{name} está Ready", {"state": state})
    elif before is not None:  # a new node is not Ready yet, which is no news
        message = _ready_condition(now).get("message", "")
        why = f": {message}" if message else ""
        yield Told(name, f"{name} is NotReady{why}", f"{name} está NotReady{why}", {"state": state})


def pod_changes(before: Object | None, now: Object | None) -> Iterator[Told]:
    """How far a pod is in its life."""
    was, state = _pod_state(before), _pod_state(now)
    if was == state or state == "Pending":
        return
    pod = now or before
    assert pod is not None
    name, node = _full_name(pod), str(pod.get("spec", {}).get("nodeName", ""))
    address = pod.get("status", {}).get("podIP")
    at, at_es = (f" at {address}", f" en {address}") if state == "Running" and address else ("", "")
    words, words_es = _POD_WORDS.get(state, (f"is {state}", f"está {state}"))
    fields = {"state": state, "pod": name}
    yield Told(node, f"the pod {name} {words}{at}", f"el pod {name} {words_es}{at_es}", fields)


def endpoint_changes(before: Object | None, now: Object | None) -> Iterator[Told]:
    """Which addresses a service has got and lost, by one of its slices."""
    was, ready = _ready_addresses(before), _ready_addresses(now)
    if was == ready:
        return
    metadata = (now or before or {})["metadata"]
    service = f"{metadata['namespace']}/{metadata.get('labels', {}).get('kubernetes.io/service-name', '')}"
    gained, lost = sorted(ready - was), sorted(was - ready)
    changes = [("has got", "ha ganado", gained), ("has lost", "ha perdido", lost)]
    english = " and ".join(f"{verb} {', '.join(which)}" for verb, _, which in changes if which)
    spanish = " y ".join(f"{verb} {', '.join(which)}" for _, verb, which in changes if which)
    fields = {"state": "endpoints", "service": service, "gained": gained, "lost": lost}
    yield Told("", f"the service {service} {english}", f"el servicio {service} {spanish}", fields)


def _name(thing: Object | None) -> str:
    return "" if thing is None else str(thing["metadata"]["name"])


def _full_name(thing: Object) -> str:
    return f"{thing['metadata']['namespace']}/{thing['metadata']['name']}"


def _ready_condition(node: Object) -> Object:
    conditions = node.get("status", {}).get("conditions") or ()
    return next((one for one in conditions if one["type"] == "Ready"), {})


def _node_state(node: Object | None) -> str | None:
    if node is None:
        return None
    return "Ready" if _ready_condition(node).get("status") == "True" else "NotReady"


def _pod_state(pod: Object | None) -> str:
    if pod is None:
        return "Deleted"
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    return str(pod.get("status", {}).get("phase", "Pending"))


def _ready_addresses(endpoint_slice: Object | None) -> frozenset[str]:
    endpoints = () if endpoint_slice is None else endpoint_slice.get("endpoints") or ()
    return frozenset(
        address
        for one in endpoints
        if (one.get("conditions") or {}).get("ready") in (None, True)
        for address in one["addresses"]
    )
