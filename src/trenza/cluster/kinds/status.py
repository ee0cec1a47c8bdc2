"""Refusals as Kubernetes words them: an ApiError is a Status object on its way to the client.

Each function returns the error for one situation; the caller raises it. Reasons, codes, details and sentences are a
real server's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from trenza.cluster.kinds.resources import Object, Resource
from trenza.errors import TrenzaError


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing wrong with one field. `reason` is FieldValueInvalid, FieldValueRequired, ….; `field` a path."""

    reason: str
    message: str
    field: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


@dataclass(frozen=True, slots=True)
class Details:
    """What the refusal was about."""

    name: str = ""
    group: str = ""
    kind: str = ""
    uid: str = ""
    causes: tuple[Cause, ...] = ()
    retry_after_s: int = 0


class ApiError(TrenzaError):
    """A refusal with an HTTP `status_code`, a `reason` and, where it helps, details. `status()` is the body."""

    code = "cluster-api"

    def __init__(self, status_code: int, reason: str, message: str, details: Details | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.reason = reason
        self.details = details

    def status(self) -> Object:
        """The Status object that tells a client."""
        body: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = _written_details(self.details)
        body["code"] = self.status_code
        return body


def success(resource: Resource, name: str, uid: str) -> Object:
    """The Status that answers a deletion which left nothing behind."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": _written_details(Details(name, resource.group, resource.plural, uid)),
    }


def _written_details(details: Details) -> Object:
    written: Object = {
        key: value
        for key, value in (
            ("name", details.name),
            ("group", details.group),
            ("kind", details.kind),
            ("uid", details.uid),
        )
        if value
    }
    if details.causes:
        written["causes"] = [
            {key: value for key, value in (("reason", c.reason), ("message", c.message), ("field", c.field)) if value}
            for c in details.causes
        ]
    if details.retry_after_s:
        written["retryAfterSeconds"] = details.retry_after_s
    return written


def _about(resource: Resource, name: str) -> Details:
    return Details(name, resource.group, resource.plural)


def not_found(resource: Resource, name: str) -> ApiError:
    """404: no object of that name."""
    return ApiError(404, "NotFound", f'{resource.qualified_name} "{name}" not found', _about(resource, name))


def no_such_path() -> ApiError:
    """404: the server serves nothing there."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", Details())


def already_exists(resource: Resource, name: str) -> ApiError:
    """409: an object of that name is there."""
    return ApiError(409, "AlreadyExists", f'{resource.qualified_name} "{name}" already exists', _about(resource, name))


def generated_name_taken(resource: Resource, name: str) -> ApiError:
    """409: a name made from generateName happened to be taken; asking again will do."""
    taken = f'{resource.qualified_name} "{name}" already exists'
    message = f"{taken}, the server was not able to generate a unique name for the object"
    details = Details(name, resource.group, resource.plural, retry_after_s=1)
    return ApiError(409, "AlreadyExists", message, details)


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(resource: Resource, name: str, why: str = MODIFIED) -> ApiError:
    """409: the object is not the one the writer saw, or a precondition does not hold."""
    message = f'Operation cannot be fulfilled on {resource.qualified_name} "{name}": {why}'
    return ApiError(409, "Conflict", message, _about(resource, name))


def uid_mismatch(resource: Resource, name: str, wanted: str, found: str) -> ApiError:
    """409: the object of that name is another one than the writer meant."""
    why = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
    return conflict(resource, name, why)


def invalid(qualified_kind: str, name: str, causes: Iterable[Cause]) -> ApiError:
    """422: fields that may not be so. `qualified_kind` is `Pod` or `Deployment.apps`."""
    every = tuple(causes)
    said = str(every[0]) if len(every) == 1 else f"[{', '.join(dict.fromkeys(str(cause) for cause in every))}]"
    kind, _, group = qualified_kind.partition(".")
    return ApiError(
        422, "Invalid", f'{qualified_kind} "{name}" is invalid: {said}', Details(name, group, kind, causes=every)
    )


def unprocessable() -> ApiError:
    """422: a patch whose operations do not fit the object."""
    return ApiError(422, "Invalid", "the server rejected our request due to an error in our request", Details())


def bad_request(message: str) -> ApiError:
    """400: a request that makes no sense."""
    return ApiError(400, "BadRequest", message)


def cannot_be_handled(kind: str, version: str, expected_kind: str, why: str) -> ApiError:
    """400: a body that is not an object of the kind it says."""
    return bad_request(f'{kind} in version "{version}" cannot be handled as a {expected_kind}: {why}')


def name_mismatch(in_object: str, in_url: str) -> ApiError:
    """400: another name in the body than in the path."""
    return bad_request(f"the name of the object ({in_object}) does not match the name on the URL ({in_url})")


def name_undeterminable(in_url: str) -> ApiError:
    """400: no name in the body of a request about a named object."""
    return bad_request(f"the name of the object ({in_url} based on URL) was undeterminable: name must be provided")


def manager_required() -> ApiError:
    """422: a server-side apply by nobody."""
    causes = Causes()
    causes.required("fieldManager", "is required for apply patch")
    return invalid("PatchOptions.meta.k8s.io", "", causes.found)


def namespace_mismatch() -> ApiError:
    """400: another namespace in the body than in the path."""
    return bad_request("the namespace of the provided object does not match the namespace sent on the request")


def version_on_create() -> ApiError:
    """500, as real servers have it: a resourceVersion on an object that is yet to be."""
    return ApiError(500, "", "resourceVersion should not be set on objects to be created")


def unauthorized() -> ApiError:
    """401: no one we know."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(user: str, verb: str, resource: Resource, *, namespace: str = "", name: str = "") -> ApiError:
    """403: someone we know, who may not."""
    subject = f'{resource.qualified_name} "{name}"' if name else resource.qualified_name
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    message = (
        f'{subject} is forbidden: User "{user}" cannot {verb} resource "{resource.plural}" '
        f'in API group "{resource.group}" {where}'
    )
    return ApiError(403, "Forbidden", message, _about(resource, name))


def forbidden_because(resource: Resource, name: str, why: str, causes: tuple[Cause, ...] = ()) -> ApiError:
    """403: a rule of the cluster says no (a namespace being terminated, `kube-system` to be deleted)."""
    message = f'{resource.qualified_name} "{name}" is forbidden: {why}'
    return ApiError(403, "Forbidden", message, Details(name, resource.group, resource.plural, causes=causes))


def namespace_terminating(resource: Resource, name: str, namespace: str) -> ApiError:
    """403: nothing new is made in a namespace that is going away."""
    cause = Cause("NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace")
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    return forbidden_because(resource, name, why, (cause,))


def method_not_allowed() -> ApiError:
    """405: not that verb there."""
    return ApiError(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource", Details()
    )


def not_acceptable() -> ApiError:
    """406: no answer in a form the client takes."""
    return ApiError(406, "NotAcceptable", "406: Not Acceptable", Details())


BODY_TYPES = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)


def unsupported_media_type(accepted: Iterable[str] = BODY_TYPES) -> ApiError:
    """415: a body in a form that nobody here reads."""
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return ApiError(415, "UnsupportedMediaType", message)


def expired(message: str = "The resourceVersion for the provided list is too old.") -> ApiError:
    """410: that version has been compacted away."""
    return ApiError(410, "Expired", message)


def too_old(asked: int, oldest: int) -> ApiError:
    """410, of a watch: the versions after `asked` are no longer kept."""
    return expired(f"too old resource version: {asked} ({oldest})")


def continue_expired() -> ApiError:
    """410: the list of a continue token is no longer kept."""
    return expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list "
        "without the continue parameter."
    )


def version_too_large(asked: int, current: int) -> ApiError:
    """504: a version that is not there yet."""
    cause = Cause("ResourceVersionTooLarge", "Too large resource version", "")
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    return ApiError(504, "Timeout", message, Details(causes=(cause,), retry_after_s=1))


def bad_version(text: str) -> ApiError:
    """500, as real servers have it: a resourceVersion that is no number."""
    shown = json.dumps(text)
    why = f"strconv.ParseUint: parsing {shown}: invalid syntax"
    return ApiError(500, "", f"resourceVersion: Invalid value: {shown}: {why}")


def bad_continue(why: str) -> ApiError:
    """400: a continue token that we did not write."""
    return bad_request(f"invalid continue token: {why}")


def internal_error(why: str) -> ApiError:
    """500: our own failure, told."""
    cause = Cause("", why, "")
    return ApiError(500, "InternalError", f"Internal error occurred: {why}", Details(causes=(cause,)))


def unavailable(why: str) -> ApiError:
    """503: the store cannot be asked now. It was patient enough: clients who are told when to ask again only hang."""
    return ApiError(503, "ServiceUnavailable", why)


def unanswered(why: str) -> ApiError:
    """504: the store did not say whether it was done, so that nobody shall ask again without looking."""
    return ApiError(504, "Timeout", f"{why}: it may have been done or not")


def too_many_requests(why: str, *, retry_after_s: int = 1) -> ApiError:
    """429: later, please."""
    return ApiError(429, "TooManyRequests", why, Details(retry_after_s=retry_after_s))


@dataclass(slots=True)
class Causes:
    """Collects what is wrong with an object, in the words of Kubernetes' field errors."""

    found: list[Cause] = field(default_factory=list)

    def required(self, path: str, why: str = "") -> None:
        """A field that must be there."""
        self._add("FieldValueRequired", "Required value", path, why)

    def invalid(self, path: str, value: Any, why: str) -> None:
        """A value that may not be so."""
        self._add("FieldValueInvalid", f"Invalid value: {go_text(value)}", path, why)

    def unsupported(self, path: str, value: Any, supported: Iterable[str]) -> None:
        """A value that is not one of a closed list."""
        listed = ", ".join(json.dumps(one) for one in supported)
        self._add("FieldValueNotSupported", f"Unsupported value: {go_text(value)}", path, f"supported values: {listed}")

    def duplicate(self, path: str, value: Any) -> None:
        """A value that is there already."""
        self._add("FieldValueDuplicate", f"Duplicate value: {go_text(value)}", path, "")

    def forbidden(self, path: str, why: str) -> None:
        """A field that may not be set."""
        self._add("FieldValueForbidden", "Forbidden", path, why)

    def too_long(self, path: str, limit_bytes: int) -> None:
        """A text beyond its limit."""
        self._add("FieldValueTooLong", "Too long", path, f"may not be more than {limit_bytes} bytes")

    def too_many(self, path: str, count: int, limit: int) -> None:
        """A list beyond its limit."""
        self._add("FieldValueTooMany", f"Too many: {count}", path, f"must have at most {limit} items")

    def not_found(self, path: str, value: Any) -> None:
        """A reference to nothing."""
        self._add("FieldValueNotFound", f"Not found: {go_text(value)}", path, "")

    def _add(self, reason: str, said: str, path: str, why: str) -> None:
        self.found.append(Cause(reason, f"{said}: {why}" if why else said, path))


class GoText(str):
    """A text that field errors print as it is: a Go value already spelled out."""


def go_text(value: Any) -> str:
    """A value as Go's field errors print it: `"text"`, `80`, `map[string]string{"a":"b"}`, `[]string{"x"}`."""
    match value:
        case GoText():
            return str(value)
        case bool():
            return "true" if value else "false"
        case str() | int() | float():
            return json.dumps(value, ensure_ascii=False)
        case None:
            return "null"
        case dict():
            inner = ", ".join(f"{json.dumps(str(key))}:{go_text(value[key])}" for key in sorted(value, key=str))
            texts = all(isinstance(one, str) for one in value.values())
            return f"map[string]string{{{inner}}}" if texts else json.dumps(value, separators=(",", ":"))
        case list() | tuple():
            if all(isinstance(one, str) for one in value):
                return f"[]string{{{', '.join(json.dumps(one) for one in value)}}}"
            return json.dumps(value, separators=(",", ":"))
        case _:
            return str(value)
