"""What may not change once it is there."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from trenza.cluster.kinds.resources import Object, Resource
from trenza.cluster.kinds.status import Causes, GoText
from trenza.cluster.kinds.validation.workloads import selector_text

_IMMUTABLE = "field is immutable"
_WHEN_IMMUTABLE = "field is immutable when `immutable` is set"
_POD_MAY_CHANGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_MOST_DIFFERENCES = 10


def check_update(resource: Resource, old: Object, new: Object, causes: Causes) -> None:
    """The rules of the kind about old and new; metadata's first."""
    _check_metadata(old.get("metadata") or {}, new.get("metadata") or {}, causes)
    match resource.group_plural:
        case "/pods":
            _check_pod(old.get("spec") or {}, new.get("spec") or {}, causes)
        case "/services":
            _check_service(old.get("spec") or {}, new.get("spec") or {}, causes)
        case "apps/deployments" | "apps/replicasets" | "apps/daemonsets":
            _check_selector(old, new, causes)
        case "batch/jobs":
            _check_job(old.get("spec") or {}, new.get("spec") or {}, causes)
        case "/configmaps":
            _check_immutable(old, new, ("data", "binaryData"), causes)
        case "/secrets":
            if old.get("type") != new.get("type"):
                causes.invalid("type", new.get("type", ""), _IMMUTABLE)
            _check_immutable(old, new, ("data",), causes)
        case "/nodes":
            _check_node(old.get("spec") or {}, new.get("spec") or {}, causes)
        case "discovery.k8s.io/endpointslices":
            if old.get("addressType") != new.get("addressType"):
                causes.invalid("addressType", new.get("addressType", ""), _IMMUTABLE)
        case _:
            pass


def _check_metadata(old: Object, new: Object, causes: Causes) -> None:
    for key in ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if old.get(key) != new.get(key):
            causes.invalid(f"metadata.{key}", new.get(key), _IMMUTABLE)
    if old.get("deletionTimestamp"):
        added = [one for one in new.get("finalizers") or () if one not in (old.get("finalizers") or ())]
        if added:
            listed = ", ".join(json.dumps(one) for one in added)
            why = "no new finalizers can be added if the object is being deleted, found new finalizers []string{"
            causes.forbidden("metadata.finalizers", f"{why}{listed}}}")


def _check_pod(old: Object, new: Object, causes: Causes) -> None:
    for key in ("containers", "initContainers"):
        if len(old.get(key) or ()) != len(new.get(key) or ()):
            causes.forbidden(f"spec.{key}", "pod updates may not add or remove containers")
            return
    deadline, wanted_deadline = old.get("activeDeadlineSeconds"), new.get("activeDeadlineSeconds")
    if deadline is not None and wanted_deadline is None:
        why = "must not update from a positive integer to nil value"
        causes.invalid("spec.activeDeadlineSeconds", wanted_deadline, why)
    elif deadline is not None and wanted_deadline is not None and wanted_deadline > deadline:
        causes.invalid("spec.activeDeadlineSeconds", wanted_deadline, f"must be less than or equal to {deadline}")
    if any(one not in (new.get("tolerations") or ()) for one in old.get("tolerations") or ()):
        why = "existing toleration can not be modified except its tolerationSeconds"
        causes.forbidden("spec.tolerations", why)
    differences = list(_differences(_comparable_pod(old), _comparable_pod(new), "spec"))
    if differences and not causes.found:
        shown = differences[:_MOST_DIFFERENCES] + (["  …"] if len(differences) > _MOST_DIFFERENCES else [])
        causes.forbidden("spec", "\n".join([_POD_MAY_CHANGE, *shown, ""]))


def check_ephemeral_update(old: Object, new: Object, causes: Causes) -> None:
    """Ephemeral containers come and stay as they are."""
    path = "spec.ephemeralContainers"
    wanted = {one.get("name"): one for one in new.get("ephemeralContainers") or ()}
    for before in old.get("ephemeralContainers") or ():
        after = wanted.get(before["name"])
        if after is None:
            causes.forbidden(path, f'existing ephemeral containers "{before["name"]}" may not be removed\n')
        elif after != before:
            shown = "\n".join(_differences(before, after, path))
            causes.forbidden(path, f'existing ephemeral containers "{before["name"]}" may not be changed\n{shown}')


def _comparable_pod(spec: Object) -> Object:
    """The spec without what may change."""
    kept = copy.deepcopy(
        {key: value for key, value in spec.items() if key not in ("activeDeadlineSeconds", "tolerations")}
    )
    for key in ("containers", "initContainers"):
        for container in kept.get(key) or ():
            container.pop("image", None)
    if kept.get("terminationGracePeriodSeconds", 0) < 0:
        kept["terminationGracePeriodSeconds"] = 1
    return kept


def _differences(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(set(old) | set(new)):
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _differences(before, after, f"{path}[{index}]")
    elif old != new:
        yield f"- {path}: {json.dumps(old)}"
        yield f"+ {path}: {json.dumps(new)}"


def _check_service(old: Object, new: Object, causes: Causes) -> None:
    if "ExternalName" in (old.get("type"), new.get("type")):
        return
    before, after = old.get("clusterIPs") or [], new.get("clusterIPs") or []
    for index, address in enumerate(before):
        if address and (after[index : index + 1] or [""]) != [address]:
            causes.invalid(f"spec.clusterIPs[{index}]", after, "may not change once set")


def _check_selector(old: Object, new: Object, causes: Causes) -> None:
    selector = (new.get("spec") or {}).get("selector")
    if (old.get("spec") or {}).get("selector") != selector:
        causes.invalid("spec.selector", GoText(selector_text(selector or {})), _IMMUTABLE)


def _check_job(old: Object, new: Object, causes: Causes) -> None:
    if old.get("completionMode") != "Indexed" and old.get("completions") != new.get("completions"):
        causes.invalid("spec.completions", new.get("completions"), _IMMUTABLE)
    if old.get("selector") != new.get("selector"):
        causes.invalid("spec.selector", GoText(selector_text(new.get("selector") or {})), _IMMUTABLE)
    if old.get("template") != new.get("template"):
        shown = GoText(json.dumps(new.get("template"), separators=(",", ":")))
        causes.invalid("spec.template", shown, _IMMUTABLE)
    if old.get("completionMode") != new.get("completionMode"):
        causes.invalid("spec.completionMode", new.get("completionMode"), _IMMUTABLE)


def _check_immutable(old: Object, new: Object, fields: tuple[str, ...], causes: Causes) -> None:
    if not old.get("immutable"):
        return
    if not new.get("immutable"):
        causes.forbidden("immutable", _WHEN_IMMUTABLE)
    for field in fields:
        if (old.get(field) or {}) != (new.get(field) or {}):
            causes.forbidden(field, _WHEN_IMMUTABLE)


def _check_node(old: Object, new: Object, causes: Causes) -> None:
    for key in ("podCIDR", "podCIDRs", "providerID"):
        if old.get(key) and old.get(key) != new.get(key):
            why = 'node updates may not change podCIDR except from "" to valid'
            said = why if key != "providerID" else 'node updates may not change providerID except from "" to valid'
            causes.forbidden(f"spec.{key}", said)
