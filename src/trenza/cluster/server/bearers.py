"""Whose a bearer token is: an account's holds as long as the account is there, and what it is bound to."""

from __future__ import annotations

from dataclasses import dataclass

from trenza.cluster.kinds.resources import get_resource
from trenza.cluster.server.registry import Registry
from trenza.cluster.server.users import ISSUER, Tokens, User, service_account

_BOUND = {
    "serviceaccount": get_resource("", "v1", "serviceaccounts"),
    "pod": get_resource("", "v1", "pods"),
    "secret": get_resource("", "v1", "secrets"),
}


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who shows a token, and to whom it is meant to be shown."""

    user: User
    audiences: tuple[str, ...]

    @property
    def is_for_us(self) -> bool:
        """Whether the token is for the API server."""
        return ISSUER in self.audiences


async def find_bearer(registry: Registry, tokens: Tokens, token: str) -> Bearer | None:
    """None for a token that is not ours, has expired, or was of something that is gone."""
    fixed = tokens.fixed.get(token)
    if fixed is not None:
        return Bearer(fixed, (ISSUER,))
    claims = tokens.claims_of(token, registry.now_s())
    if claims is None:
        return None
    private = claims["kubernetes.io"]
    namespace = private["namespace"]
    for kind, resource in _BOUND.items():
        if kind not in private:
            continue
        stored = await registry.store.get(resource.key(namespace, private[kind]["name"]))
        if stored is None or registry.reader.object_of(stored)["metadata"]["uid"] != private[kind]["uid"]:
            return None
    account = private["serviceaccount"]
    return Bearer(service_account(namespace, account["name"], account["uid"]), tuple(claims["aud"]))
