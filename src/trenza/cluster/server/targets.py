"""What a path and a method name: a collection, an object, something below one; and the verb as rules know it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from trenza.cluster.kinds.resources import Resource, Subresource, find_resource
from trenza.cluster.kinds.status import method_not_allowed, no_such_path
from trenza.cluster.server.http import Request
from trenza.cluster.server.listing import flag

_STREAMS = frozenset(("attach", "exec", "portforward"))
VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names: a collection, an object, or something below one. `legacy_watch` is `/api/v1/watch/…`."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    below: str = ""
    legacy_watch: bool = False

    @property
    def subresource(self) -> Subresource | None:
        """The subresource, if one is named and there is one."""
        return self.resource.subresource(self.below)


def target_of(path: str) -> Target | None:
    """The resource that a path is about, None if it is about none. Raises the 404 of a resource that is not served."""
    match path.strip("/").split("/"):
        case ["api", version, first, *rest]:
            group, parts = "", [first, *rest]
        case ["apis", group, version, first, *rest]:
            parts = [first, *rest]
        case _:
            return None
    legacy = parts[0] == "watch" and len(parts) > 1
    if legacy:
        parts = parts[1:]
    match parts:
        case ["namespaces", name, ("status" | "finalize") as below]:
            return _target(group, version, "namespaces", "", name, below, legacy)
        case ["namespaces", namespace, plural, *below] if len(below) < 3:
            name, under = [*below, "", ""][:2]
            target = _target(group, version, plural, namespace, name, under, legacy)
            if not target.resource.namespaced:
                raise no_such_path()
            return target
        case [plural, *below] if len(below) < 3:
            name, under = [*below, "", ""][:2]
            target = _target(group, version, plural, "", name, under, legacy)
            if name and target.resource.namespaced:
                raise no_such_path()
            return target
        case _:
            raise no_such_path()


def _target(group: str, version: str, plural: str, namespace: str, name: str, below: str, legacy: bool) -> Target:
    resource = find_resource(group, version, plural)
    if resource is None or (below and resource.subresource(below) is None):
        raise no_such_path()
    return Target(resource, namespace, name, below, legacy)


def verb_of(request: Request, target: Target) -> str:
    """The verb as rules know it; a GET that opens a stream into a pod is no reading. Raises a 405."""
    verb = VERBS.get(request.method)
    if verb is None:
        raise method_not_allowed()
    if target.below:
        allowed: tuple[str, ...] = target.subresource.verbs if target.subresource is not None else ()
    else:
        allowed = target.resource.verbs
        if not target.name:
            if verb == "get":
                verb = "watch" if target.legacy_watch or flag(request.parameters, "watch") else "list"
            elif verb == "delete":
                verb = "deletecollection"
            elif verb != "create" or (target.resource.namespaced and not target.namespace and "get" in allowed):
                raise method_not_allowed()
        elif verb == "create":
            raise method_not_allowed()
    if verb not in allowed:
        raise method_not_allowed()
    return "create" if target.below in _STREAMS else verb
