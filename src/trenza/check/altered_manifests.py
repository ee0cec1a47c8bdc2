"""Altered manifests: a file of Kubernetes objects with one value changed, as somebody might get it wrong.

Only what decides what the objects do once they are applied over the right ones: a `containerPort` is for people, and of
a ReplicationController's template the pods that are there know nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import yaml

_LAST_NODE_PORT = 32767
_NOBODYS = "nobodys"

Changes = Iterator[tuple[str, str]]
_Change = tuple[str, list[str | int], object]
"""What it is in words, where it is in the object, and the wrong value."""


def altered_manifests(text: str) -> Changes:
    """Each change in words (`Service web targetPort 80 → 81`), and the whole text with it; none of what is no YAML."""
    try:
        documents = list(yaml.safe_load_all(text))
    except (yaml.YAMLError, RecursionError):
        return
    for number, document in enumerate(documents):
        items = document.get("items") if isinstance(document, dict) and document.get("kind") == "List" else None
        for place, one in enumerate(items) if isinstance(items, list) else ((None, document),):
            if not (isinstance(one, dict) and isinstance(one.get("spec"), dict)):
                continue
            for words, path, wrong in _changes(one, text):
                changed = copy.deepcopy(documents)
                whole = changed[number] if place is None else changed[number]["items"][place]
                _set(whole, path, wrong)
                yield f"{one.get('kind')} {_name(one)} {words}", yaml.safe_dump_all(changed, sort_keys=False)


def _changes(one: dict[str, Any], text: str) -> Iterator[_Change]:
    spec, kind = one["spec"], one.get("kind")
    if kind == "Service":
        yield from _service(spec, text)
    replicas = spec.get("replicas")
    if isinstance(replicas, int) and replicas > 0:
        yield f"replicas {replicas} → {replicas - 1}", ["spec", "replicas"], replicas - 1
    if kind in ("Deployment", "DaemonSet"):
        containers = spec.get("template", {}).get("spec", {}).get("containers", ())
        for number, container in enumerate(containers):
            path: list[str | int] = ["spec", "template", "spec", "containers", number, "image"]
            yield f"image {container.get('image')} → {_NOBODYS}", path, _NOBODYS


def _service(spec: dict[str, Any], text: str) -> Iterator[_Change]:
    selector = spec.get("selector")
    for label, value in selector.items() if isinstance(selector, dict) else ():
        yield f"selector {label} {value} → {_NOBODYS}", ["spec", "selector", label], _NOBODYS
    for number, port in enumerate(spec.get("ports", ())):
        at: list[str | int] = ["spec", "ports", number]
        target = port.get("targetPort", port.get("port"))
        if isinstance(target, int):
            yield f"targetPort {target} → {target + 1}", [*at, "targetPort"], target + 1
        if (given := port.get("nodePort")) is not None:
            other = next(one for one in range(_LAST_NODE_PORT, 0, -1) if str(one) not in text)
            yield f"nodePort {given} → {other}", [*at, "nodePort"], other


def _name(one: dict[str, Any]) -> str:
    metadata = one.get("metadata")
    return str(metadata.get("name")) if isinstance(metadata, dict) else "?"


def _set(whole: Any, path: list[str | int], value: object) -> None:
    for key in path[:-1]:
        whole = whole[key]
    whole[path[-1]] = value
