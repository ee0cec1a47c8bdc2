"""What makes pods: controllers, replica sets, deployments, daemon sets, jobs."""

from __future__ import annotations

import json
import re
from typing import Any

from trenza.cluster.kinds.resources import Object
from trenza.cluster.kinds.selectors import LabelSelector, selector_of, selector_of_labels
from trenza.cluster.kinds.status import Causes, GoText, go_text
from trenza.cluster.kinds.validation.metadata import check_annotations, check_label_selector, check_labels
from trenza.cluster.kinds.validation.pods import check_not_negative, check_pod_spec

_PERCENT = re.compile(r"[0-9]+%\Z", re.ASCII)
_MISMATCH = "`selector` does not match template `labels`"
_COMPLETION_MODES = ("NonIndexed", "Indexed")


def selector_text(selector: Object) -> str:
    """A LabelSelector as Go's field errors print it."""
    labels = selector.get("matchLabels")
    said = go_text(labels) if labels else "map[string]string(nil)"
    expressions = selector.get("matchExpressions")
    listed = json.dumps(expressions, separators=(",", ":")) if expressions else "(nil)"
    return f"v1.LabelSelector{{MatchLabels:{said}, MatchExpressions:[]v1.LabelSelectorRequirement{listed}}}"


def check_replication_controller(controller: Object, causes: Causes) -> None:
    """A ReplicationController, whose selector is a plain mapping."""
    spec = controller.get("spec") or {}
    check_not_negative(spec, "replicas", "spec", causes)
    check_not_negative(spec, "minReadySeconds", "spec", causes)
    if not spec.get("selector"):
        causes.required("spec.selector")
    _check_template(spec, selector_of_labels(spec.get("selector")), causes)


def check_replica_set(replica_set: Object, causes: Causes) -> None:
    """A ReplicaSet."""
    spec = replica_set.get("spec") or {}
    check_not_negative(spec, "replicas", "spec", causes)
    check_not_negative(spec, "minReadySeconds", "spec", causes)
    _check_template(spec, check_selector(spec, "replicaset", causes), causes)


def check_deployment(deployment: Object, causes: Causes) -> None:
    """A Deployment and its strategy."""
    spec = deployment.get("spec") or {}
    check_not_negative(spec, "replicas", "spec", causes)
    _check_template(spec, check_selector(spec, "deployment", causes), causes)
    strategy = spec.get("strategy") or {}
    kind = strategy.get("type", "")
    rolling = strategy.get("rollingUpdate")
    if kind not in ("Recreate", "RollingUpdate"):
        causes.unsupported("spec.strategy.type", kind, ("Recreate", "RollingUpdate"))
    elif kind == "Recreate" and rolling is not None:
        causes.forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
    elif kind == "RollingUpdate":
        _check_rolling(rolling or {}, "spec.strategy.rollingUpdate", causes)
    for key in ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        check_not_negative(spec, key, "spec", causes)
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and 0 <= deadline <= spec.get("minReadySeconds", 0):
        causes.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def check_daemon_set(daemon_set: Object, causes: Causes) -> None:
    """A DaemonSet and its strategy."""
    spec = daemon_set.get("spec") or {}
    _check_template(spec, check_selector(spec, "daemonset", causes), causes)
    strategy = spec.get("updateStrategy") or {}
    kind = strategy.get("type", "")
    if kind not in ("OnDelete", "RollingUpdate"):
        causes.unsupported("spec.updateStrategy.type", kind, ("OnDelete", "RollingUpdate"))
    elif kind == "RollingUpdate":
        _check_rolling(strategy.get("rollingUpdate") or {}, "spec.updateStrategy.rollingUpdate", causes)
    for key in ("minReadySeconds", "revisionHistoryLimit"):
        check_not_negative(spec, key, "spec", causes)


def check_job(job: Object, causes: Causes) -> None:
    """A Job; its selector has been made, unless it is told by hand."""
    spec = job.get("spec") or {}
    for key in ("parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"):
        check_not_negative(spec, key, "spec", causes)
    mode = spec.get("completionMode")
    if mode is not None and mode not in _COMPLETION_MODES:
        causes.unsupported("spec.completionMode", mode, _COMPLETION_MODES)
    elif mode == "Indexed" and spec.get("completions") is None:
        causes.required("spec.completions", "when completion mode is Indexed")
    template = spec.get("template") or {}
    _check_template_alone(template, causes)
    policy = (template.get("spec") or {}).get("restartPolicy", "")
    if policy in ("Always", ""):
        path = "spec.template.spec.restartPolicy"
        if policy:
            causes.unsupported(path, policy, ("OnFailure", "Never"))
        else:
            causes.required(path, 'valid values: "OnFailure", "Never"')
    if spec.get("selector") is not None:
        _check_match(selector_of(spec["selector"]), template, causes)


def check_selector(spec: Object, kind: str, causes: Causes) -> LabelSelector | None:
    """The selector of a workload, if it has a good one; what is wrong with it otherwise."""
    selector = spec.get("selector")
    if selector is None:
        causes.required("spec.selector")
        return None
    before = len(causes.found)
    check_label_selector(selector, "spec.selector", causes)
    if len(causes.found) > before:
        return None
    compiled = selector_of(selector)
    if not compiled.requirements:
        causes.invalid("spec.selector", GoText(selector_text(selector)), f"empty selector is invalid for {kind}")
        return None
    return compiled


def _check_template(spec: Object, selector: LabelSelector | None, causes: Causes) -> None:
    template = spec.get("template")
    if not template:
        causes.required("spec.template")
        return
    if selector is not None:
        _check_match(selector, template, causes)
    _check_template_alone(template, causes)
    policy = (template.get("spec") or {}).get("restartPolicy")
    if policy in ("OnFailure", "Never"):
        causes.unsupported("spec.template.spec.restartPolicy", policy, ("Always",))
    if (template.get("spec") or {}).get("activeDeadlineSeconds") is not None:
        path = "spec.template.spec.activeDeadlineSeconds"
        causes.forbidden(path, "activeDeadlineSeconds in ReplicaSet is not Supported")


def _check_match(selector: LabelSelector, template: Object, causes: Causes) -> None:
    labels = (template.get("metadata") or {}).get("labels") or {}
    if selector.requirements and not selector.holds(labels):
        shown: Any = labels or GoText("map[string]string(nil)")
        causes.invalid("spec.template.metadata.labels", shown, _MISMATCH)


def _check_template_alone(template: Object, causes: Causes) -> None:
    metadata = template.get("metadata") or {}
    check_labels(metadata.get("labels"), "spec.template.labels", causes)
    check_annotations(metadata.get("annotations"), "spec.template.annotations", causes)
    check_pod_spec(template.get("spec") or {}, "spec.template.spec", causes)


def _check_rolling(rolling: Object, path: str, causes: Causes) -> None:
    for key in ("maxUnavailable", "maxSurge"):
        value = rolling.get(key)
        if isinstance(value, str) and not _PERCENT.match(value):
            why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', "
            causes.invalid(f"{path}.{key}", value, f"{why}regex used for validation is '[0-9]+%')")
        elif isinstance(value, int) and value < 0:
            causes.invalid(f"{path}.{key}", value, "must be greater than or equal to 0")
        elif key == "maxUnavailable" and isinstance(value, str) and len(value.lstrip("0")) > 3 and value != "100%":
            causes.invalid(f"{path}.{key}", value, "must not be greater than 100%")
    if rolling.get("maxUnavailable") in (0, "0%") and rolling.get("maxSurge") in (0, "0%"):
        causes.invalid(f"{path}.maxUnavailable", rolling["maxUnavailable"], "may not be 0 when `maxSurge` is 0")
