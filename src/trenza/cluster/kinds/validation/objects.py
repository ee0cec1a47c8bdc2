"""`validate_new` and `validate_update`: nothing happens, or the 422 that names everything wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trenza.cluster.kinds.resources import Object, Resource
from trenza.cluster.kinds.status import Causes, invalid
from trenza.cluster.kinds.validation import configs, services, workloads
from trenza.cluster.kinds.validation.metadata import check_metadata
from trenza.cluster.kinds.validation.pods import check_pod_spec
from trenza.cluster.kinds.validation.services import Ranges
from trenza.cluster.kinds.validation.updates import check_ephemeral_update, check_update

DEFAULT_RANGES = Ranges()


def validate_new(resource: Resource, written: Object, ranges: Ranges = DEFAULT_RANGES) -> None:
    """Raises the 422 of an object that may not be created. Defaults are in it, and its name."""
    causes = Causes()
    check_metadata(written, resource, causes)
    _check_content(resource, written, ranges, causes)
    _raise(resource, written, causes)


def validate_update(resource: Resource, old: Object, new: Object, ranges: Ranges = DEFAULT_RANGES) -> None:
    """Raises the 422 of an object that may not become so: the rules about change, then those about any object."""
    causes = Causes()
    check_update(resource, old, new, causes)
    check_metadata(new, resource, causes)
    _check_content(resource, new, ranges, causes, is_new=False)
    _raise(resource, new, causes)


def validate_ephemeral(resource: Resource, old: Object, new: Object) -> None:
    """Raises the 422 of a pod that may not be given these ephemeral containers."""
    causes = Causes()
    check_ephemeral_update(old.get("spec") or {}, new.get("spec") or {}, causes)
    _check_content(resource, new, DEFAULT_RANGES, causes, is_new=False)
    _raise(resource, new, causes)


def validate_request(qualified_kind: str, written: Object) -> None:
    """Raises the 422 of an object that is only asked about, never stored: a Binding, a TokenRequest, a review."""
    causes = Causes()
    check = _REQUESTS.get(written.get("kind", ""))
    if check is not None:
        check(written, causes)
    if causes.found:
        raise invalid(qualified_kind, (written.get("metadata") or {}).get("name", ""), causes.found)


def _raise(resource: Resource, written: Object, causes: Causes) -> None:
    if causes.found:
        raise invalid(resource.qualified_kind, (written.get("metadata") or {}).get("name", ""), causes.found)


def _check_content(resource: Resource, written: Object, ranges: Ranges, causes: Causes, *, is_new: bool = True) -> None:
    match resource.group_plural:
        case "/pods":
            check_pod_spec(written.get("spec") or {}, "spec", causes, is_new=is_new)
        case "/services":
            services.check_service(written, ranges, causes)
        case named:
            check = _CONTENTS.get(named)
            if check is not None:
                check(written, causes)


_CONTENTS: Mapping[str, Callable[[Object, Causes], None]] = {
    "/configmaps": configs.check_config_map,
    "/endpoints": services.check_endpoints,
    "/events": configs.check_event,
    "/namespaces": configs.check_namespace,
    "/nodes": configs.check_node,
    "/replicationcontrollers": workloads.check_replication_controller,
    "/secrets": configs.check_secret,
    "apps/daemonsets": workloads.check_daemon_set,
    "apps/deployments": workloads.check_deployment,
    "apps/replicasets": workloads.check_replica_set,
    "batch/jobs": workloads.check_job,
    "coordination.k8s.io/leases": configs.check_lease,
    "discovery.k8s.io/endpointslices": services.check_endpoint_slice,
    "events.k8s.io/events": configs.check_event,
}

_REQUESTS: Mapping[str, Callable[[Object, Causes], None]] = {
    "Binding": configs.check_binding,
    "LocalSubjectAccessReview": configs.check_access_review,
    "SelfSubjectAccessReview": configs.check_access_review,
    "SubjectAccessReview": configs.check_access_review,
    "TokenRequest": configs.check_token_request,
}
