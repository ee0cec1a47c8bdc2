"""Who matches what: labels and selectors, nodes and node selectors, taints and tolerations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trenza.cluster.controllers.objects import Object, labels_of, name_of, spec_of
from trenza.cluster.controllers.snapshot import Collection

NO_SCHEDULE, PREFER_NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "PreferNoSchedule", "NoExecute"
UNSCHEDULABLE_TAINT = {"key": "node.kubernetes.io/unschedulable", "effect": NO_SCHEDULE}


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """A LabelSelector (matchLabels and matchExpressions) on labels; none matches nothing, an empty one everything."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    return wanted.items() <= labels.items() and all(
        _holds(requirement, labels) for requirement in selector.get("matchExpressions") or ()
    )


def selected(things: Collection, namespace: str, selector: Mapping[str, Any] | None) -> list[Object]:
    """The objects of a namespace that a LabelSelector matches."""
    if selector is None:
        return []
    candidates = things.labelled(namespace, selector.get("matchLabels") or {})
    if not selector.get("matchExpressions"):
        return candidates
    return [thing for thing in candidates if matches(selector, labels_of(thing))]


def _holds(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """One requirement of a label or node selector. What is not understood does not hold."""
    value = labels.get(requirement["key"])
    values: Sequence[str] = requirement.get("values") or ()
    match requirement.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            try:
                found, bound = int(value or ""), int(values[0])
            except (ValueError, IndexError):
                return False
            return found > bound if operator == "Gt" else found < bound
        case _:
            return False


def term_matches_node(term: Mapping[str, Any], node: Object) -> bool:
    """One NodeSelectorTerm; an empty one matches no node."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    return all(_holds(requirement, labels_of(node)) for requirement in expressions) and all(
        _holds(requirement, {"metadata.name": name_of(node)}) for requirement in fields
    )


def pod_selects_node(pod_spec: Mapping[str, Any], node: Object) -> bool:
    """The pod's nodeSelector and its required node affinity."""
    if not (pod_spec.get("nodeSelector") or {}).items() <= labels_of(node).items():
        return False
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or any(term_matches_node(term, node) for term in required.get("nodeSelectorTerms") or ())


def tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


def taints_of(node: Object) -> Sequence[Mapping[str, Any]]:
    return spec_of(node).get("taints") or ()


def find_untolerated(
    taints: Iterable[Mapping[str, Any]], tolerations: Sequence[Mapping[str, Any]], effects: Iterable[str]
) -> Mapping[str, Any] | None:
    """The first taint of one of `effects` that no toleration covers."""
    wanted = frozenset(effects)
    for taint in taints:
        if taint["effect"] in wanted and not any(tolerates(toleration, taint) for toleration in tolerations):
            return taint
    return None
