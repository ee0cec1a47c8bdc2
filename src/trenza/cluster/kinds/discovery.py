"""The documents that tell a client what there is: `/version`, `/api`, `/apis`, resource lists, and both in one.

All from RESOURCES. The aggregated form (`APIGroupDiscoveryList`) is what kubectl 1.26 and later ask for first.
"""

from __future__ import annotations

from typing import Any

from trenza.cluster.kinds.resources import RESOURCES, Object, Resource, Subresource, group_versions

RELEASE = "v1.32.0"
# A build's metadata says whose it is; clients compare major and minor only.
GIT_VERSION = f"{RELEASE}+trenza"
_DISCOVERY_GROUP = "apidiscovery.k8s.io"


def version_document() -> Object:
    """What `/version` answers."""
    major, minor, _ = RELEASE.removeprefix("v").split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "python",
        "platform": "linux/amd64",
    }


def api_versions(server_address: str) -> Object:
    """What `/api` answers. `server_address` is host and port as clients reach it."""
    reached = [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": reached}


def api_group_list() -> Object:
    """What `/apis` answers."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(group) for group in _groups()]}


def find_api_group(group: str) -> Object | None:
    """What `/apis/GROUP` answers, or None for a group that is not served."""
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(group)} if group in _groups() else None


def find_resource_list(group: str, version: str) -> Object | None:
    """What `/api/v1` or `/apis/GROUP/VERSION` answers, or None where nothing is served."""
    resources = _served(group, version)
    if not resources:
        return None
    listed: list[Object] = []
    for resource in resources:
        listed.append(_listed(resource))
        listed += [_listed_below(resource, below) for below in resource.subresources]
    group_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed}


def aggregated(*, core: bool, version: str = "v2") -> Object:
    """`/api` (core) or `/apis` with every resource in it; `version` is v2 or v2beta1."""
    groups = ("",) if core else _groups()
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"{_DISCOVERY_GROUP}/{version}",
        "metadata": {},
        "items": [_aggregated_group(group) for group in groups],
    }


def paths() -> tuple[str, ...]:
    """Every path that `/` names."""
    below = {f"/apis/{group}" for group in _groups()}
    below |= {f"/apis/{group}/{version}" if group else "/api/v1" for group, version in group_versions()}
    return tuple(
        sorted({"/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"} | below)
    )


def _groups() -> tuple[str, ...]:
    return tuple(dict.fromkeys(group for group, _ in group_versions() if group))


def _versions(group: str) -> tuple[str, ...]:
    return tuple(version for named, version in group_versions() if named == group)


def _served(group: str, version: str) -> tuple[Resource, ...]:
    return tuple(resource for resource in RESOURCES if (resource.group, resource.version) == (group, version))


def _group(group: str) -> Object:
    versions = [{"groupVersion": f"{group}/{version}", "version": version} for version in _versions(group)]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def _listed(resource: Resource) -> Object:
    listed: Object = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        listed["shortNames"] = list(resource.short_names)
    if resource.categories:
        listed["categories"] = list(resource.categories)
    return listed


def _listed_below(resource: Resource, below: Subresource) -> Object:
    listed: Object = {
        "name": f"{resource.plural}/{below.name}",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": below.kind,
        "verbs": list(below.verbs),
    }
    # Written only where it is another's, as `kubectl drain` looks for eviction's.
    if below.version:
        listed |= {"group": below.group, "version": below.version}
    return listed


def _aggregated_group(group: str) -> Object:
    return {
        "metadata": {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None},
        "versions": [
            {
                "version": version,
                "resources": [_aggregated_resource(resource) for resource in _served(group, version)],
                "freshness": "Current",
            }
            for version in _versions(group)
        ],
    }


def _aggregated_resource(resource: Resource) -> Object:
    written: Object = {
        "resource": resource.plural,
        "responseKind": _kind(resource.group, resource.version, resource.kind),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        written["shortNames"] = list(resource.short_names)
    if resource.categories:
        written["categories"] = list(resource.categories)
    if resource.subresources:
        written["subresources"] = [
            {
                "subresource": below.name,
                "responseKind": _kind(
                    below.group if below.version else resource.group, below.version or resource.version, below.kind
                ),
                "verbs": list(below.verbs),
            }
            for below in resource.subresources
        ]
    return written


def _kind(group: str, version: str, kind: str) -> dict[str, Any]:
    return {"group": group, "version": version, "kind": kind}
