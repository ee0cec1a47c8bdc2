"""Names, labels, annotations, owners and finalizers of every object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trenza.cluster.kinds.resources import Object, Resource
from trenza.cluster.kinds.rules import (
    label_1035_problems,
    label_1123_problems,
    label_key_problems,
    label_value_problems,
    subdomain_1123_problems,
)
from trenza.cluster.kinds.status import Causes

ANNOTATIONS_BYTES = 256 * 1024

_NAME_PROBLEMS: Mapping[str, Callable[[str], tuple[str, ...]]] = {
    "namespaces": label_1123_problems,
    "services": label_1035_problems,
}


def name_problems(resource: Resource, name: str) -> tuple[str, ...]:
    """What keeps a text from naming an object of that resource."""
    return _NAME_PROBLEMS.get(resource.plural, subdomain_1123_problems)(name)


def check_metadata(written: Object, resource: Resource, causes: Causes) -> None:
    """The metadata of an object that is to be stored; a generated name has been made."""
    metadata = written.get("metadata") or {}
    generate = metadata.get("generateName", "")
    if generate:
        # A trailing dash is fine: letters follow it.
        for problem in name_problems(resource, generate[:-1] + "a" if generate.endswith("-") else generate):
            causes.invalid("metadata.generateName", generate, problem)
    name = metadata.get("name", "")
    if not name:
        causes.required("metadata.name", "name or generateName is required")
    else:
        for problem in name_problems(resource, name):
            causes.invalid("metadata.name", name, problem)
    namespace = metadata.get("namespace", "")
    if resource.namespaced and not namespace:
        causes.required("metadata.namespace")
    elif resource.namespaced:
        for problem in label_1123_problems(namespace):
            causes.invalid("metadata.namespace", namespace, problem)
    elif namespace:
        causes.forbidden("metadata.namespace", "not allowed on this type")
    check_labels(metadata.get("labels"), "metadata.labels", causes)
    check_annotations(metadata.get("annotations"), "metadata.annotations", causes)
    _check_owners(metadata.get("ownerReferences") or (), causes)
    for finalizer in metadata.get("finalizers") or ():
        for problem in label_key_problems(finalizer):
            causes.invalid("metadata.finalizers", finalizer, problem)


def check_labels(labels: Mapping[str, str] | None, path: str, causes: Causes) -> None:
    """Keys and values of labels, a template's or a selector's too."""
    for key, value in sorted((labels or {}).items()):
        for problem in label_key_problems(key):
            causes.invalid(path, key, problem)
        for problem in label_value_problems(value):
            causes.invalid(path, value, problem)


def check_label_selector(selector: Object, path: str, causes: Causes) -> None:
    """The labels and requirements of a LabelSelector."""
    check_labels(selector.get("matchLabels"), f"{path}.matchLabels", causes)
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        check_expression(expression, f"{path}.matchExpressions[{index}]", causes)


def check_expression(expression: Object, path: str, causes: Causes) -> None:
    """One requirement of a label selector."""
    operator, values = expression.get("operator", ""), expression.get("values") or []
    for problem in label_key_problems(expression.get("key", "")):
        causes.invalid(f"{path}.key", expression.get("key", ""), problem)
    if operator in ("In", "NotIn"):
        if not values:
            causes.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            causes.forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    else:
        causes.invalid(f"{path}.operator", operator, "not a valid selector operator")
    for index, value in enumerate(values):
        for problem in label_value_problems(value):
            causes.invalid(f"{path}.values[{index}]", value, problem)


def check_annotations(annotations: Mapping[str, str] | None, path: str, causes: Causes) -> None:
    """Keys of annotations, and how much they hold together."""
    said = annotations or {}
    for key in sorted(said):
        for problem in label_key_problems(key.lower()):
            causes.invalid(path, key, problem)
    if sum(len(key.encode()) + len(value.encode()) for key, value in said.items()) > ANNOTATIONS_BYTES:
        causes.too_long(path, ANNOTATIONS_BYTES)


def _check_owners(owners: Any, causes: Causes) -> None:
    controllers = []
    for index, owner in enumerate(owners):
        path = f"metadata.ownerReferences[{index}]"
        for key, why in (
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ):
            if not owner.get(key):
                causes.invalid(f"{path}.{key}", "", why)
        if owner.get("controller"):
            controllers.append(owner.get("name", ""))
    if len(controllers) > 1:
        said = ", ".join(controllers)
        why = f"Only one reference can have Controller set to true. Found {said}"
        causes.invalid("metadata.ownerReferences", "", why)
