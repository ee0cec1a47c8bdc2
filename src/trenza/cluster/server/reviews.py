"""Questions that are answered and not kept: may I, who am I, whose token is this. Pure but for the tokens' keys."""

from __future__ import annotations

from trenza.cluster.kinds.resources import Object
from trenza.cluster.kinds.status import ApiError
from trenza.cluster.server.users import AUTHENTICATED, ISSUER, MASTERS, READERS, Tokens, User, may, may_visit

_READING = ["get", "list", "watch"]


def reviewed(question: Object, user: User, tokens: Tokens, now_s: float) -> Object:
    """The review with its status. `question` is validated."""
    spec = question.get("spec") or {}
    match question["kind"]:
        case "SelfSubjectReview":
            status: Object = {"userInfo": _user_info(user)}
        case "SelfSubjectRulesReview":
            status = _rules(user)
        case "TokenReview":
            status = _token_status(str(spec.get("token", "")), list(spec.get("audiences") or ()), tokens, now_s)
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


def _token_status(token: str, audiences: list[str], tokens: Tokens, now_s: float) -> Object:
    try:
        user = tokens.user_of(token, now_s)
    except ApiError:
        return {"authenticated": False, "error": "invalid bearer token"}
    claims = tokens.claims_of(token, now_s)
    meant = list(claims["aud"]) if claims is not None else [ISSUER]
    shared = [one for one in audiences if one in meant] if audiences else meant
    if not shared:
        return {"authenticated": False, "error": "token audiences do not match"}
    return {"authenticated": True, "user": _user_info(user), "audiences": shared}
