"""What people made in a cluster, as they would write it in a manifest: without what the server and others add."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from trenza.keeper.manifests import path_of

Object = dict[str, Any]

SAVED_KINDS = (
    "namespaces", "serviceaccounts", "configmaps", "secrets", "services", "replicationcontrollers", "replicasets",
    "deployments", "daemonsets", "jobs", "pods",
)  # fmt: skip
"""By plural, in an order in which they can be made."""

_SYSTEM = ("kube-system", "kube-public", "kube-node-lease")
_OWN = {
    ("Namespace", "default"), ("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt"),
    ("Service", "kubernetes"), *(("Namespace", name) for name in _SYSTEM),
}  # fmt: skip
_TOLD_BY_OTHERS = ("kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/revision")
_TOKEN_VOLUME = "kube-api-access-"
_JOB_LABELS = ("controller-uid", "job-name")


def made_by_people(found: Sequence[Object], manifests: Collection[str]) -> Iterator[Object]:
    """Of objects those that nobody owns and no manifest has; `manifests` are the paths of what manifests have."""
    for one in found:
        kind, metadata = one["kind"], one["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        if (
            "ownerReferences" in metadata
            or "deletionTimestamp" in metadata
            or namespace in _SYSTEM
            or (kind, name) in _OWN
            or one.get("type") == "kubernetes.io/service-account-token"
            or path_of(one) in manifests
        ):
            continue
        yield as_written(one)


def as_written(one: Object) -> Object:
    """An object with nothing but what somebody may write."""
    metadata = one["metadata"]
    kept = {key: metadata[key] for key in ("name", "namespace", "labels") if metadata.get(key)}
    annotations = {key: text for key, text in (metadata.get("annotations") or {}).items() if key not in _TOLD_BY_OTHERS}
    if annotations:
        kept["annotations"] = annotations
    more = {key: part for key, part in one.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    match one["kind"]:
        case "Namespace":
            more.pop("spec", None)
        case "ServiceAccount":
            more.pop("secrets", None)
        case "Pod":
            more["spec"] = _as_pods_begin(one["spec"])
        case "Job":
            more["spec"] = _job(one["spec"])
    return {"apiVersion": one["apiVersion"], "kind": one["kind"], "metadata": kept, **more}


def _as_pods_begin(spec: Mapping[str, Any]) -> Object:
    """A pod's spec without the volume of its account's token, which every pod is given anew, and without the ephemeral
    containers, with which none may be made."""

    def others(parts: Sequence[Object]) -> list[Object]:
        return [part for part in parts if not str(part["name"]).startswith(_TOKEN_VOLUME)]

    written = {key: part for key, part in spec.items() if key != "ephemeralContainers"}
    written["volumes"] = others(spec.get("volumes") or ())
    for name in ("containers", "initContainers"):
        if name in spec:
            written[name] = [{**one, "volumeMounts": others(one.get("volumeMounts") or ())} for one in spec[name]]
    return written


def _job(spec: Mapping[str, Any]) -> Object:
    """A job's spec without the selector that is made for it."""
    template = spec.get("template") or {}
    metadata = template.get("metadata") or {}
    labels = {
        key: text for key, text in (metadata.get("labels") or {}).items() if key.rpartition("/")[2] not in _JOB_LABELS
    }
    kept = {key: part for key, part in spec.items() if key != "selector"}
    return {**kept, "template": {**template, "metadata": {**metadata, "labels": labels}}}
