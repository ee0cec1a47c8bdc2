"""What a cluster's processes ask of its API server: a Protocol that the real client implements.

A resource is named `GROUP_VERSION/PLURAL`: `v1/pods`, `discovery.k8s.io/v1/endpointslices`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from trenza.errors import TrenzaError

Object = dict[str, Any]
"""A thing of the API as Kubernetes writes it in JSON, `kind` and `apiVersion` set."""

PODS = "v1/pods"
NODES = "v1/nodes"
SERVICES = "v1/services"
EVENTS = "v1/events"
CONFIG_MAPS = "v1/configmaps"
SECRETS = "v1/secrets"
SERVICE_ACCOUNTS = "v1/serviceaccounts"
ENDPOINT_SLICES = "discovery.k8s.io/v1/endpointslices"
LEASES = "coordination.k8s.io/v1/leases"


class ApiError(TrenzaError):
    """The server said no: `status` is HTTP's (0 if it did not answer at all), `reason` a Status' (`NotFound` …)."""

    code = "api"

    def __init__(self, message: str, *, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """`type` is ADDED, MODIFIED, DELETED, BOOKMARK; an ERROR is raised as ApiError."""

    type: str
    object: Object


@dataclass(frozen=True, slots=True)
class Listed:
    """The objects of a list, and the resource version from which a watch misses nothing."""

    items: tuple[Object, ...]
    resource_version: str


@dataclass(frozen=True, slots=True)
class SubnetLease:
    """One of flannel's keys: `subnet` as in the key (`172.16.27.0-24`), its JSON value, None where it was deleted."""

    subnet: str
    value: Object | None


@dataclass(frozen=True, slots=True)
class Subnets:
    """All subnet leases, and the revision from which a watch misses nothing."""

    leases: tuple[SubnetLease, ...]
    revision: int


class Leases(Protocol):
    """Flannel's keys below `/coreos.com/network`, which live in the store beside the objects."""

    async def config(self) -> Object:
        """The value of `/coreos.com/network/config`. ApiError with status 404 as long as there is none."""
        ...

    async def subnets(self) -> Subnets: ...

    async def put(self, subnet: str, value: Object, *, ttl_s: float, create: bool) -> None:
        """Write a lease; with `create`, ApiError with status 409 if somebody has it."""
        ...

    def watch(self, revision: int) -> AsyncIterator[SubnetLease]:
        """What changes after `revision`. ApiError with status 410 when that is too old."""
        ...


class Api(Protocol):
    """The API server, as its clients use it. Every method raises ApiError."""

    @property
    def leases(self) -> Leases: ...

    async def get(self, resource: str, namespace: str, name: str) -> Object: ...

    async def list(self, resource: str, namespace: str = "", *, field_selector: str = "") -> Listed: ...

    def watch(
        self, resource: str, namespace: str = "", *, resource_version: str, field_selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        """What changes after `resource_version`; it ends when the server ends it. ApiError 410 when that is too old."""
        ...

    async def create(self, resource: str, thing: Object, *, subresource: str = "") -> Object: ...

    async def update(self, resource: str, thing: Object) -> Object: ...

    async def update_status(self, resource: str, thing: Object) -> Object: ...

    async def patch(
        self, resource: str, namespace: str, name: str, patch: Mapping[str, Any], *, subresource: str = ""
    ) -> Object:
        """Apply a merge patch (RFC 7396)."""
        ...

    async def delete(
        self, resource: str, namespace: str, name: str, *, uid: str = "", grace_s: int | None = None
    ) -> None:
        """Delete; with `uid` only the very object that has it (ApiError 409 else)."""
        ...


def collection_path(resource: str, namespace: str = "") -> str:
    """The path of a resource's collection on any API server."""
    group_version, _, plural = resource.rpartition("/")
    root = f"/api/{group_version}" if "/" not in group_version else f"/apis/{group_version}"
    return f"{root}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{plural}"
