"""Which objects a list or a watch holds: label selectors in both spellings, field selectors by kind.

Texts come from query parameters (`app=web,tier in (a,b),!old`), mappings from objects (`matchLabels`). Errors are 400s
in the words of Kubernetes' own parser.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trenza.cluster.kinds.resources import Object, Resource
from trenza.cluster.kinds.rules import label_key_problems, label_value_problems
from trenza.cluster.kinds.status import ApiError, bad_request


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label. `operator` is in, notin, exists, !, > or <."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels meets it; a missing label meets `notin` and `!`."""
        value = labels.get(self.key)
        match self.operator:
            case "exists":
                return value is not None
            case "!":
                return value is None
            case "in":
                return value in self.values
            case "notin":
                return value not in self.values
            case _:
                number, bound = _integer(value), _integer(self.values[0])
                if number is None or bound is None:
                    return False
                return number > bound if self.operator == ">" else number < bound


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Conditions that must all hold; none at all selects everything."""

    requirements: tuple[Requirement, ...] = ()

    def holds(self, labels: Mapping[str, str] | None) -> bool:
        """Whether an object with these labels is selected."""
        return all(requirement.holds(labels or {}) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(_written(one) for one in self.requirements)


NOTHING = LabelSelector((Requirement("", "in"),))


def label_selector(text: str) -> LabelSelector:
    """The selector of a `labelSelector` query parameter. Raises a 400."""
    return LabelSelector(tuple(sorted(_Parser(text).requirements(), key=lambda one: one.key)))


def selector_of(written: Mapping[str, Any] | None) -> LabelSelector:
    """The selector of an object's `matchLabels` and `matchExpressions`. None selects nothing, {} everything."""
    if written is None:
        return NOTHING
    requirements = [
        Requirement(key, "in", (value,)) for key, value in sorted((written.get("matchLabels") or {}).items())
    ]
    spelled = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
    for expression in written.get("matchExpressions") or ():
        operator = spelled.get(expression.get("operator", ""))
        if operator is None:
            return NOTHING
        requirements.append(Requirement(expression.get("key", ""), operator, tuple(expression.get("values") or ())))
    return LabelSelector(tuple(requirements))


def selector_of_labels(labels: Mapping[str, str] | None) -> LabelSelector:
    """The selector of a Service or a ReplicationController (a plain mapping). Empty selects nothing."""
    if not labels:
        return NOTHING
    return LabelSelector(tuple(Requirement(key, "in", (value,)) for key, value in sorted(labels.items())))


def _written(requirement: Requirement) -> str:
    values = ",".join(sorted(requirement.values))
    match requirement.operator:
        case "exists":
            return requirement.key
        case "!":
            return f"!{requirement.key}"
        case "in" if len(requirement.values) == 1:
            return f"{requirement.key}={values}"
        case "in" | "notin":
            return f"{requirement.key} {requirement.operator} ({values})"
        case operator:
            return f"{requirement.key}{operator}{values}"


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"[+-]?[0-9]{1,18}", text) else None


_SYMBOLS = ("==", "!=", "=", "!", "(", ")", ",", ">", "<")
_TOKEN = re.compile(r"\s*(==|!=|[=!(),><]|[^\s=!(),><]+|\Z)")
_OPERATORS = {"=": "in", "==": "in", "!=": "notin", "in": "in", "notin": "notin", ">": ">", "<": "<"}


class _Parser:
    """Recursive descent over the tokens, as k8s.io/apimachinery/pkg/labels does it, error for error."""

    def __init__(self, text: str) -> None:
        self._tokens = [found.group(1) for found in _TOKEN.finditer(text)] or [""]
        self._at = 0

    def requirements(self) -> list[Requirement]:
        found: list[Requirement] = []
        while True:
            token = self._next()
            if token == "" and not found:
                return found
            if token != "!" and not _is_identifier(token):
                wanted = "identifier after ','" if found else "!, identifier, or 'end of string'"
                raise bad_request(f"found '{token}', expected: {wanted}")
            try:
                found.append(self._requirement())
            except _Unexpected as error:
                raise bad_request(f"unable to parse requirement: {error}") from None
            token = self._take()
            if token == "":
                return found
            if token != ",":
                raise bad_request(f"found '{token}', expected: ',' or 'end of string'")

    def _requirement(self) -> Requirement:
        negated = self._next() == "!"
        if negated:
            self._take()
        key = self._identifier("identifier")
        problems = label_key_problems(key)
        if problems:
            raise _Unexpected(f'key: Invalid value: "{key}": {"; ".join(problems)}')
        if negated or self._next() in ("", ","):
            return Requirement(key, "!" if negated else "exists")
        operator = self._take()
        if operator not in _OPERATORS:
            raise _Unexpected(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")
        values = self._set() if operator in ("in", "notin") else (self._value(),)
        for value in values:
            problems = label_value_problems(value)
            if problems:
                raise _Unexpected(f'values[0][{key}]: Invalid value: "{value}": {"; ".join(problems)}')
        if operator in "<>" and _integer(values[0]) is None:
            raise _Unexpected(
                f"values[0]: Invalid value: \"{values[0]}\": for 'Gt', 'Lt' operators, the value must be an integer"
            )
        return Requirement(key, _OPERATORS[operator], values)

    def _set(self) -> tuple[str, ...]:
        token = self._take()
        if token != "(":
            raise _Unexpected(f"found '{token}' expected: '('")
        values = [self._value(")")]
        while (token := self._take()) == ",":
            values.append(self._value(")"))
        if token != ")":
            raise _Unexpected(f"found '{token}', expected: ',' or ')'")
        return tuple(dict.fromkeys(values))

    def _value(self, end: str = "") -> str:
        return "" if self._next() in ("", ",", end) else self._identifier("identifier")

    def _identifier(self, wanted: str) -> str:
        token = self._take()
        if not _is_identifier(token):
            raise _Unexpected(f"found '{token}', expected: {wanted}")
        return token

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._next()
        self._at += 1
        return token


class _Unexpected(Exception):
    """A token where another belongs."""


def _is_identifier(token: str) -> bool:
    return token != "" and token not in _SYMBOLS


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Conditions (path, equal or not, value) that must all hold for an object of one resource."""

    terms: tuple[tuple[str, bool, str], ...] = ()
    readers: Mapping[str, Callable[[Object], str]] = field(default_factory=dict)

    def holds(self, written: Object) -> bool:
        """Whether the object is selected."""
        return all((self.readers[path](written) == value) is equal for path, equal, value in self.terms)

    def exact(self, path: str) -> str | None:
        """The value that the field must have, if the selector says one: a name narrows a list to one key."""
        return next((value for named, equal, value in self.terms if named == path and equal), None)


def field_selector(text: str, resource: Resource) -> FieldSelector:
    """The selector of a `fieldSelector` query parameter. Raises a 400."""
    readers = _readers(resource)
    terms = tuple(_term(one) for one in _split(text) if one)
    for path, _, _ in terms:
        if path not in readers:
            raise _unknown_field(path, resource)
    return FieldSelector(terms, readers)


def _split(text: str) -> list[str]:
    return re.findall(r"(?:[^,\\]|\\.)*(?:\\\Z)?", text)


def _term(text: str) -> tuple[str, bool, str]:
    found = re.match(r"((?:[^=!\\]|\\.|!(?!=))*)(!=|==|=)(.*)\Z", text, re.DOTALL)
    if found is None:
        raise bad_request(f"invalid selector: '{text}'; can't understand '{text}'")
    path, operator, value = found.groups()
    if re.search(r"(?<!\\)(?:\\\\)*=", value) or re.search(r"\\(?![\\,=])", value):
        raise bad_request(f"invalid selector: '{text}'; can't understand '{text}'")
    return path.strip(), operator != "!=", re.sub(r"\\(.)", r"\1", value)


def _unknown_field(path: str, resource: Resource) -> ApiError:
    if resource.plural in _FIELDS:
        return bad_request(f"field label not supported: {path}")
    return bad_request(f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"')


def _readers(resource: Resource) -> Mapping[str, Callable[[Object], str]]:
    return {**_paths("metadata.name", "metadata.namespace"), **_FIELDS.get(resource.plural, {})}


def _at(path: str, absent: str = "") -> Callable[[Object], str]:
    keys = path.split(".")

    def read(written: Object) -> str:
        value: Any = written
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, bool):
            return "true" if value else "false"
        return absent if value is None else str(value)

    return read


def _event_source(event: Object) -> str:
    return str((event.get("source") or {}).get("component") or event.get("reportingComponent") or "")


def _pod_addresses(pod: Object) -> str:
    return ",".join(one.get("ip", "") for one in (pod.get("status") or {}).get("podIPs") or ())


def _paths(*paths: str) -> dict[str, Callable[[Object], str]]:
    return {path: _at(path) for path in paths}


_EVENT_OBJECT = ("apiVersion", "fieldPath", "kind", "name", "namespace", "resourceVersion", "uid")

_FIELDS: Mapping[str, Mapping[str, Callable[[Object], str]]] = {
    "pods": _paths(
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    )
    | {"spec.hostNetwork": _at("spec.hostNetwork", "false"), "status.podIPs": _pod_addresses},
    "nodes": {"spec.unschedulable": _at("spec.unschedulable", "false")},
    "namespaces": _paths("status.phase"),
    "secrets": _paths("type"),
    "jobs": {"status.successful": _at("status.succeeded", "0")},
    "replicationcontrollers": {"status.replicas": _at("status.replicas", "0")},
    "replicasets": {"status.replicas": _at("status.replicas", "0")},
    "events": _paths(
        *(f"involvedObject.{key}" for key in _EVENT_OBJECT),
        *(f"regarding.{key}" for key in _EVENT_OBJECT),
        "reason",
        "reportingComponent",
        "reportingController",
        "type",
    )
    | {"source": _event_source},
}
