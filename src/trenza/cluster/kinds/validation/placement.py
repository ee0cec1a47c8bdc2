"""Where a pod may run: affinity to nodes and to other pods, and how pods spread."""

from __future__ import annotations

from collections.abc import Iterable

from trenza.cluster.kinds.resources import Object
from trenza.cluster.kinds.rules import label_key_problems
from trenza.cluster.kinds.status import Causes
from trenza.cluster.kinds.validation.metadata import check_expression, check_label_selector

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_NO_OPERATOR = "not a valid selector operator"
_UNSATISFIABLE = ("DoNotSchedule", "ScheduleAnyway")


def check_placement(spec: Object, path: str, causes: Causes) -> None:
    """The affinity and the topology spread constraints of a pod's spec."""
    affinity = spec.get("affinity") or {}
    _check_node_affinity(affinity.get("nodeAffinity") or {}, f"{path}.affinity.nodeAffinity", causes)
    for kind in ("podAffinity", "podAntiAffinity"):
        _check_pod_affinity(affinity.get(kind) or {}, f"{path}.affinity.{kind}", causes)
    for index, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        place = f"{path}.topologySpreadConstraints[{index}]"
        if constraint.get("maxSkew", 0) <= 0:
            causes.invalid(f"{place}.maxSkew", constraint.get("maxSkew", 0), "must be greater than zero")
        _check_topology_key(constraint, place, causes)
        if constraint.get("whenUnsatisfiable") not in _UNSATISFIABLE:
            causes.unsupported(f"{place}.whenUnsatisfiable", constraint.get("whenUnsatisfiable", ""), _UNSATISFIABLE)
        check_label_selector(constraint.get("labelSelector") or {}, f"{place}.labelSelector", causes)


def _check_node_affinity(affinity: Object, path: str, causes: Causes) -> None:
    required = affinity.get(REQUIRED)
    if required is not None:
        terms = required.get("nodeSelectorTerms") or ()
        if not terms:
            causes.required(f"{path}.{REQUIRED}.nodeSelectorTerms", "must have at least one node selector term")
        for index, term in enumerate(terms):
            _check_node_term(term, f"{path}.{REQUIRED}.nodeSelectorTerms[{index}]", causes)
    for index, each in enumerate(affinity.get(PREFERRED) or ()):
        place = f"{path}.{PREFERRED}[{index}]"
        _check_weight(each, place, causes)
        _check_node_term(each.get("preference") or {}, f"{place}.preference", causes)


def _check_node_term(term: Object, path: str, causes: Causes) -> None:
    for index, expression in enumerate(term.get("matchExpressions") or ()):
        place = f"{path}.matchExpressions[{index}]"
        if expression.get("operator") not in ("Gt", "Lt"):
            check_expression(expression, place, causes)
            continue
        for problem in label_key_problems(expression.get("key", "")):
            causes.invalid(f"{place}.key", expression.get("key", ""), problem)
        if len(expression.get("values") or ()) != 1:
            causes.required(f"{place}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
    for index, expression in enumerate(term.get("matchFields") or ()):
        place = f"{path}.matchFields[{index}]"
        if expression.get("operator") not in ("In", "NotIn"):
            causes.invalid(f"{place}.operator", expression.get("operator", ""), _NO_OPERATOR)
        elif len(expression.get("values") or ()) != 1:
            why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            causes.required(f"{place}.values", why)
        if expression.get("key") != "metadata.name":
            causes.invalid(f"{place}.key", expression.get("key", ""), "not a valid field selector key")


def _check_pod_affinity(affinity: Object, path: str, causes: Causes) -> None:
    terms: list[tuple[Object, str]] = [
        (term, f"{path}.{REQUIRED}[{index}]") for index, term in enumerate(affinity.get(REQUIRED) or ())
    ]
    for index, each in enumerate(affinity.get(PREFERRED) or ()):
        _check_weight(each, f"{path}.{PREFERRED}[{index}]", causes)
        terms.append((each.get("podAffinityTerm") or {}, f"{path}.{PREFERRED}[{index}].podAffinityTerm"))
    _check_pod_terms(terms, causes)


def _check_pod_terms(terms: Iterable[tuple[Object, str]], causes: Causes) -> None:
    for term, place in terms:
        for key in ("labelSelector", "namespaceSelector"):
            check_label_selector(term.get(key) or {}, f"{place}.{key}", causes)
        _check_topology_key(term, place, causes)


def _check_topology_key(holder: Object, path: str, causes: Causes) -> None:
    key = holder.get("topologyKey", "")
    if not key:
        causes.required(f"{path}.topologyKey", "can not be empty")
    for problem in label_key_problems(key) if key else ():
        causes.invalid(f"{path}.topologyKey", key, problem)


def _check_weight(holder: Object, path: str, causes: Causes) -> None:
    weight = holder.get("weight", 0)
    if not 1 <= weight <= 100:
        causes.invalid(f"{path}.weight", weight, "must be in the range 1-100")
