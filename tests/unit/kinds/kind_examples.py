"""Objects that the tests of the kinds share, and the way of a new object through defaults, strategy and validation."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from trenza.cluster.kinds.bodies import FieldValidation, read_body
from trenza.cluster.kinds.defaults import with_defaults
from trenza.cluster.kinds.resources import RESOURCES, Object, Resource
from trenza.cluster.kinds.strategies import addressed, for_creation
from trenza.cluster.kinds.validation.objects import validate_new

NOW_S = 1_800_000_000.0
PODS = next(one for one in RESOURCES if one.group_plural == "/pods")
SERVICES = next(one for one in RESOURCES if one.group_plural == "/services")
CONFIG_MAPS = next(one for one in RESOURCES if one.group_plural == "/configmaps")
CONTROLLERS = next(one for one in RESOURCES if one.group_plural == "/replicationcontrollers")
DEPLOYMENTS = next(one for one in RESOURCES if one.group_plural == "apps/deployments")
DAEMON_SETS = next(one for one in RESOURCES if one.group_plural == "apps/daemonsets")
JOBS = next(one for one in RESOURCES if one.group_plural == "batch/jobs")
NAMESPACES = next(one for one in RESOURCES if one.group_plural == "/namespaces")


def pod_spec(**more: Any) -> Object:
    """One container `c` of image `x`."""
    return {"containers": [{"name": "c", "image": "x"}], **more}


def pod(name: str = "a", **more: Any) -> Object:
    """A pod of one container."""
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name}, "spec": pod_spec(**more)}


def deployment(name: str = "d", labels: dict[str, str] | None = None, **more: Any) -> Object:
    """A deployment whose selector is {a: b}, and whose template has `labels`."""
    template = {"metadata": {"labels": labels or {"a": "b"}}, "spec": pod_spec()}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template, **more}
    return {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": name}, "spec": spec}


def service(name: str = "s", ports: list[Object] | None = None, **more: Any) -> Object:
    """A service of one port 80."""
    spec = {"selector": {"a": "b"}, "ports": ports or [{"port": 80}], **more}
    return {"kind": "Service", "apiVersion": "v1", "metadata": {"name": name}, "spec": spec}


def created(resource: Resource, written: Object) -> Object:
    """The object as a server would store it. Raises the ApiError that it would answer."""
    body = read_body(json.dumps(written).encode(), "", resource.api_version, resource.kind, FieldValidation.STRICT)
    fresh = with_defaults(addressed(resource, body.object, "probe" if resource.namespaced else ""))
    stored = for_creation(resource, fresh, NOW_S, Random(1))
    validate_new(resource, stored)
    return stored
