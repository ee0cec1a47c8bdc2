"""Questions that are answered and not kept: may I, who am I, whose token is this. Pure."""

from __future__ import annotations

from trenza.cluster.kinds.resources import Object
from trenza.cluster.server.bearers import Bearer
from trenza.cluster.server.users import AUTHENTICATED, MASTERS, READERS, User, may, may_visit

_READING = ["get", "list", "watch"]


def reviewed(question: Object, user: User, bearer: Bearer | None) -> Object:
    """The review with its status. `question` is validated; `bearer` is of the token that it asks about."""
    spec = question.get("spec") or {}
    match question["kind"]:
        case "SelfSubjectReview":
            status: Object = {"userInfo": _user_info(user)}
        case "SelfSubjectRulesReview":
            status = _rules(user)
        case "TokenReview":
            status = _token_status(bearer, list(spec.get("audiences") or ()))
        case "SelfSubjectAccessReview":
            status = _access(spec, user)
        case _:
            groups = (*(spec.get("groups") or ()), AUTHENTICATED)
            status = _access(spec, User(str(spec.get("user", "")), groups))
    return {**question, "metadata": {"creationTimestamp": None, **(question.get("metadata") or {})}, "status": status}


def _access(spec: Object, user: User) -> Object:
    wanted, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if wanted is not None:
        allowed = may(user, wanted.get("verb", ""), wanted.get("group", ""), wanted.get("resource", ""))
    else:
        asked = path or {}
        allowed = may_visit(user, asked.get("verb", ""), asked.get("path", ""))
    if allowed:
        return {"allowed": True, "reason": f"by the groups of {user.name}"}
    return {"allowed": False}


def _user_info(user: User) -> Object:
    known: Object = {"username": user.name, "groups": list(user.groups)}
    return known | ({"uid": user.uid} if user.uid else {})


def _rules(user: User) -> Object:
    everything = {"apiGroups": ["*"], "resources": ["*"]}
    rules: list[Object] = [
        {"apiGroups": ["authorization.k8s.io"], "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]},
        {"apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]},
    ]
    resource_rules: list[Object] = [{"verbs": ["create"], **rule} for rule in rules]
    paths = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
    ]
    if user.is_master or MASTERS in user.groups:
        resource_rules.insert(0, {"verbs": ["*"], **everything})
    elif READERS in user.groups:
        resource_rules.insert(0, {"verbs": _READING, **everything})
    return {
        "resourceRules": resource_rules,
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": paths}],
        "incomplete": False,
    }


def _token_status(bearer: Bearer | None, audiences: list[str]) -> Object:
    if bearer is None:
        return {"authenticated": False, "error": "invalid bearer token"}
    shared = [one for one in audiences if one in bearer.audiences] if audiences else list(bearer.audiences)
    if not shared:
        return {"authenticated": False, "error": "token audiences do not match"}
    return {"authenticated": True, "user": _user_info(bearer.user), "audiences": shared}
