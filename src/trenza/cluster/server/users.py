"""Who asks, and what they may: client certificates, bearer tokens, and a short list of rules instead of RBAC.

system:masters, system:nodes    everything
trenza:readers                  get, list and watch of everything
anybody known                   discovery, and questions about themselves
system:anonymous                /healthz, /livez, /readyz, /version
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trenza.cluster.kinds.resources import Object
from trenza.cluster.server.tls import Authority

MASTERS = "system:masters"
NODES = "system:nodes"
READERS = "trenza:readers"
AUTHENTICATED = "system:authenticated"
ISSUER = "https://kubernetes.default.svc.cluster.local"
_READING = frozenset(("get", "list", "watch"))
_OF_ONESELF = frozenset(
    (
        ("authentication.k8s.io", "selfsubjectreviews"),
        ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"),
    )
)
_OPEN_PATHS = frozenset(("/healthz", "/livez", "/readyz", "/version"))
_DISCOVERY = ("/api", "/apis", "/openapi", "/version", "/healthz", "/livez", "/readyz")


@dataclass(frozen=True, slots=True)
class User:
    """Somebody, with the groups that say what they may."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""

    @property
    def is_master(self) -> bool:
        """May do everything."""
        return MASTERS in self.groups or NODES in self.groups


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


def user_of_certificate(certificate: Mapping[str, Any]) -> User | None:
    """The user of a verified client certificate, in the form that `ssl` gives it: common name, organizations."""
    name, groups = "", []
    for ((key, value),) in certificate.get("subject", ()):
        if key == "commonName":
            name = value
        elif key == "organizationName":
            groups.append(value)
    return User(name, (*groups, AUTHENTICATED)) if name else None


@dataclass(frozen=True, slots=True)
class Tokens:
    """Bearer tokens: fixed ones, and those of service accounts, which the authority signs."""

    authority: Authority
    fixed: Mapping[str, User] = field(default_factory=dict)

    def signed(
        self, account: Object, audiences: Sequence[str], now_s: float, expires_s: int, bound_to: Object | None = None
    ) -> str:
        """A new token of a service account, which ends with the pod or secret that it is `bound_to`."""
        metadata = account["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        private: dict[str, Any] = {
            "namespace": namespace,
            "serviceaccount": {"name": name, "uid": metadata["uid"]},
        }
        if bound_to is not None:
            bound = bound_to["metadata"]
            private[bound_to["kind"].lower()] = {"name": bound["name"], "uid": bound["uid"]}
        claims = {
            "aud": list(audiences) or [ISSUER],
            "exp": int(now_s) + expires_s,
            "iat": int(now_s),
            "iss": ISSUER,
            "kubernetes.io": private,
            "nbf": int(now_s),
            "sub": f"system:serviceaccount:{namespace}:{name}",
        }
        message = f"{_part({'alg': 'ES256', 'typ': 'JWT'})}.{_part(claims)}"
        return f"{message}.{_text(self.authority.signature(message.encode()))}"

    def claims_of(self, token: str, now_s: float) -> Mapping[str, Any] | None:
        """What a token of ours claims, None if it is not ours or not valid now."""
        message, _, signature = token.rpartition(".")
        try:
            if not self.authority.has_signed(message.encode(), _bytes(signature)):
                return None
            claims = json.loads(_bytes(message.partition(".")[2]))
        except ValueError:
            return None
        return claims if claims["nbf"] <= now_s < claims["exp"] else None


def service_account(namespace: str, name: str, uid: str = "") -> User:
    """The user that a service account is."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
    return User(f"system:serviceaccount:{namespace}:{name}", groups, uid)


def may(user: User, verb: str, group: str, plural: str) -> bool:
    """Whether the user may do that to a resource (`pods/log` is read as its resource)."""
    if user.is_master or (READERS in user.groups and verb in _READING):
        return True
    return AUTHENTICATED in user.groups and verb == "create" and (group, plural) in _OF_ONESELF


def may_visit(user: User, verb: str, path: str) -> bool:
    """Whether the user may have a path that is no resource."""
    if user.is_master or (verb == "get" and path in _OPEN_PATHS):
        return True
    return verb == "get" and AUTHENTICATED in user.groups and path.startswith(_DISCOVERY)


def _part(value: Mapping[str, Any]) -> str:
    return _text(json.dumps(value, separators=(",", ":")).encode())


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
