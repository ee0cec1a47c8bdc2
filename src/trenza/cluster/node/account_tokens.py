"""The tokens of service accounts that pods show: asked for once, and again before they expire."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from trenza.cluster.api import SERVICE_ACCOUNTS, Api, Object

_RENEWED_AT: Final = 0.8
"""The part of its life after which a token is asked for again, as a kubelet does."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    renew_at_s: float


class AccountTokens:
    """Those of one pod, by audience."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._held: dict[str, _Token] = {}

    @property
    def renew_at_s(self) -> float | None:
        """When the first of them is to be asked for again; None where there are none."""
        return min((one.renew_at_s for one in self._held.values()), default=None)

    async def of(self, pod: Object) -> Mapping[str, str]:
        """A token for each audience that the pod's volumes name. Raises ApiError."""
        metadata = pod["metadata"]
        for audience, expires_s in _wanted(pod):
            held = self._held.get(audience)
            now_s = time.time()
            if held is not None and now_s < held.renew_at_s:
                continue
            reference = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
            spec = {
                "audiences": [audience] if audience else [],
                "expirationSeconds": expires_s,
                "boundObjectRef": reference,
            }
            account = pod["spec"].get("serviceAccountName", "default")
            request: Object = {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "metadata": {"namespace": metadata["namespace"], "name": account},
                "spec": spec,
            }
            answer = await self._api.create(SERVICE_ACCOUNTS, request, subresource="token")
            self._held[audience] = _Token(answer["status"]["token"], now_s + _RENEWED_AT * expires_s)
        return {audience: one.text for audience, one in self._held.items()}


def _wanted(pod: Object) -> Iterator[tuple[str, int]]:
    for volume in pod["spec"].get("volumes", ()):
        for source in (volume.get("projected") or {}).get("sources", ()):
            if "serviceAccountToken" in source:
                one = source["serviceAccountToken"]
                yield one.get("audience", ""), one.get("expirationSeconds", 3600)
