"""Manifests: files of Kubernetes objects in the master, whose objects the cluster has as long as the files are there.

Objects are applied as `kubectl apply` would, by the server and by force, so that a later `kubectl apply` of the same
file finds nothing to do. What was applied is written down, and what no file has any more is deleted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import yaml

from trenza.cluster.api import collection_path
from trenza.cluster.controllers.pods import is_ready
from trenza.errors import TrenzaError

if TYPE_CHECKING:
    from trenza.cluster.client import HttpApi

Object = dict[str, Any]
_MANAGER = "trenza"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

_AS_GO = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
"""What Go's encoding/json escapes, and kubectl with it."""


@dataclass(frozen=True, slots=True, order=True)
class Applied:
    """An object, the manifest that has it, and where the server keeps it."""

    file: str
    resource: str
    namespace: str
    name: str

    @property
    def path(self) -> str:
        return f"{collection_path(self.resource, self.namespace)}/{quote(self.name)}"


class Manifests:
    """The objects of manifests in one cluster; `record` is the file that says which were applied."""

    def __init__(self, record: Path) -> None:
        self._record = record

    async def apply(self, api: HttpApi, files: Mapping[str, bytes], *, keep_unread: bool = True) -> list[str]:
        """Make the cluster have the objects of these files, and no other that an earlier call made. What went wrong.

        What a file that cannot be read had before stays, with `keep_unread`; without it such a file has no objects.
        """
        problems: list[str] = []
        wanted: dict[Applied, Object] = {}
        unread: set[str] = set()
        for name, data in sorted(files.items()):
            try:
                wanted.update([(_place_of(name, one), one) for one in _objects(data)])
            except TrenzaError as error:
                problems.append(f"{name}: {error.message}")
                unread.add(name)
        before = self._applied()
        self._write(sorted({*before, *wanted}))
        for place, one in sorted(wanted.items(), key=lambda item: item[0].resource != "v1/namespaces"):
            try:
                await api.request(
                    "PATCH", place.path, query={"fieldManager": _MANAGER, "force": "true", "fieldValidation": "Strict"},
                    body=_annotated(one, place), content_type="application/apply-patch+yaml",
                )  # fmt: skip
            except TrenzaError as error:
                problems.append(f"{one['kind'].lower()}/{place.name}: {error.message}")
        kept = {*wanted, *(place for place in before if keep_unread and place.file in unread)}
        stays = {place.path for place in kept}
        for place in sorted(place for place in before if place.path not in stays):
            try:
                await api.request("DELETE", place.path, query={"propagationPolicy": "Background"})
            except TrenzaError as error:
                if getattr(error, "status", 0) != 404:
                    problems.append(f"{place.path}: {error.message}")
                    kept.add(place)
        self._write(sorted(kept))
        return problems

    def paths(self, *, but: str) -> set[str]:
        """Where the server keeps what was applied, without what one of the files has."""
        return {place.path for place in self._applied() if place.file != but}

    async def unready(self, api: HttpApi) -> list[str]:
        """What was applied and has not all the pods that it asks for, all Ready."""
        missing = []
        for place in self._applied():
            try:
                found = await api.request("GET", place.path)
            except TrenzaError as error:
                missing.append(f"{place.name}: {error.message}")
                continue
            ready, asked = pods_of(found)
            if ready < asked:
                missing.append(f"{found['kind'].lower()}/{place.name}: {ready} of {asked} pods are Ready")
        return missing

    def _applied(self) -> list[Applied]:
        try:
            return [Applied(*one) for one in json.loads(self._record.read_bytes())]
        except FileNotFoundError:
            return []

    def _write(self, applied: Sequence[Applied]) -> None:
        new = self._record.with_suffix(".new")
        new.write_text(json.dumps([astuple(one) for one in applied]))
        new.replace(self._record)


def problems_of(data: bytes) -> list[str]:
    """What the server would refuse of a manifest: what it cannot read, kinds it does not have, unknown fields."""
    from trenza.cluster.kinds.bodies import FieldValidation, checked

    problems = []
    try:
        objects = _objects(data)
    except TrenzaError as error:
        return [error.message]
    for one in objects:
        try:
            path_of(one)
            checked(one, str(one["apiVersion"]), str(one["kind"]), FieldValidation.STRICT)
        except TrenzaError as error:
            problems.append(f"{one.get('kind', '?')} {one['metadata']['name']}: {error.message}")
    return problems


def path_of(one: Object) -> str:
    """Where the server keeps an object. Raises TrenzaError for a kind that it does not have."""
    return _place_of("", one).path


def _objects(data: bytes) -> list[Object]:
    """The objects of a file's documents; those of a List one by one. Raises TrenzaError."""
    found: list[Object] = []
    try:
        documents = list(yaml.safe_load_all(data))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        at = f"line {where.line + 1}: " if where is not None else ""
        raise TrenzaError(f"{at}not YAML: {getattr(error, 'problem', error)}") from error
    for document in documents:
        if document is None:
            continue
        items = document.get("items") if isinstance(document, dict) and document.get("kind") == "List" else [document]
        for one in items if isinstance(items, list) else ():
            metadata = one.get("metadata") if isinstance(one, dict) else None
            if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
                raise TrenzaError("an object needs apiVersion, kind, and metadata with a name")
            found.append(one)
    return found


def _place_of(file: str, one: Object) -> Applied:
    from trenza.cluster.kinds.resources import RESOURCES

    version, kind = str(one.get("apiVersion", "")), str(one.get("kind", ""))
    for resource in RESOURCES:
        own = f"{resource.group}/{resource.version}" if resource.group else resource.version
        if (own, resource.kind) == (version, kind) and "patch" in resource.verbs:
            namespace = one["metadata"].get("namespace") or "default" if resource.namespaced else ""
            return Applied(file, f"{own}/{resource.plural}", namespace, one["metadata"]["name"])
    raise TrenzaError(f"no matches for kind {kind!r} in version {version!r}")


def _annotated(one: Object, place: Applied) -> Object:
    """With what kubectl keeps of what it applied, to the letter, so that it knows the object as its own."""
    metadata = {**one["metadata"], "annotations": {**(one["metadata"].get("annotations") or {})}}
    if place.namespace:
        metadata["namespace"] = place.namespace
    text = json.dumps({**one, "metadata": metadata}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    text = text.translate(_AS_GO)
    return {**one, "metadata": {**metadata, "annotations": {**metadata["annotations"], _LAST_APPLIED: text + "\n"}}}


def pods_of(one: Object) -> tuple[int, int]:
    """How many Ready pods an object has, and how many it asks for."""
    spec, status = one.get("spec") or {}, one.get("status") or {}
    match one["kind"]:
        case "Pod":
            return int(is_ready(one)), 1
        case "ReplicationController" | "ReplicaSet" | "Deployment":
            return status.get("readyReplicas", 0), spec.get("replicas", 1)
        case "DaemonSet":
            return status.get("numberReady", 0), max(1, status.get("desiredNumberScheduled", 0))
        case _:
            return 0, 0
