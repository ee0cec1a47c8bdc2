"""RESOURCES: every resource the API serves, its names, verbs, subresources and where the store keeps it.

Verbs say what works: resources that no controller of ours serves are there as empty lists, so that `kubectl get all`
and `describe` are content, and refuse to be created (405) instead of doing nothing for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

Object = dict[str, Any]

EVERY_VERB = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
LIST_ONLY = ("get", "list", "watch")
CREATE_ONLY = ("create",)
_STATUS = ("get", "patch", "update")


@dataclass(frozen=True, slots=True)
class Subresource:
    """A path below an object: `pods/log`. Group and version are given where its kind is another group's."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind under one path. `storage_prefix` is the part of a store's key between `/registry/` and the namespace."""

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = EVERY_VERB
    subresources: tuple[Subresource, ...] = ()
    storage_prefix: str = ""

    @property
    def api_version(self) -> str:
        """`v1` or `apps/v1`, as objects write it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified_name(self) -> str:
        """`pods` or `deployments.apps`, as errors name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """`Pod` or `Deployment.apps`, as errors name it."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def group_plural(self) -> str:
        """`/pods` or `apps/deployments`, as snapshots index it."""
        return f"{self.group}/{self.plural}"

    def key(self, namespace: str, name: str) -> str:
        """The store's key of one object, as Kubernetes lays it out."""
        return f"{self.prefix(namespace)}{name}"

    def prefix(self, namespace: str = "") -> str:
        """The store's prefix of all objects, or of one namespace's."""
        inner = f"{namespace}/" if self.namespaced and namespace else ""
        return f"/registry/{self.storage_prefix or self.plural}/{inner}"

    def subresource(self, name: str) -> Subresource | None:
        """The subresource of that name, if there is one."""
        return next((found for found in self.subresources if found.name == name), None)


def _status(kind: str) -> Subresource:
    return Subresource("status", kind, _STATUS)


def _scale() -> Subresource:
    return Subresource("scale", "Scale", _STATUS, "autoscaling", "v1")


def _core(
    plural: str,
    kind: str,
    short_names: tuple[str, ...] = (),
    *,
    namespaced: bool = True,
    everywhere: bool = False,
    verbs: tuple[str, ...] = EVERY_VERB,
    subresources: tuple[Subresource, ...] = (),
    storage_prefix: str = "",
) -> Resource:
    categories = ("all",) if everywhere else ()
    return Resource(
        "", "v1", plural, kind.lower(), kind, namespaced, short_names, categories, verbs, subresources, storage_prefix
    )


def _grouped(
    group: str,
    version: str,
    plural: str,
    kind: str,
    short_names: tuple[str, ...] = (),
    *,
    namespaced: bool = True,
    everywhere: bool = False,
    verbs: tuple[str, ...] = EVERY_VERB,
    subresources: tuple[Subresource, ...] = (),
    storage_prefix: str = "",
) -> Resource:
    categories = ("all",) if everywhere else ()
    return Resource(
        group,
        version,
        plural,
        kind.lower(),
        kind,
        namespaced,
        short_names,
        categories,
        verbs,
        subresources,
        storage_prefix,
    )


_STREAM = ("create", "get")

RESOURCES: tuple[Resource, ...] = (
    _core("bindings", "Binding", verbs=CREATE_ONLY),
    _core("configmaps", "ConfigMap", ("cm",)),
    _core("endpoints", "Endpoints", ("ep",), storage_prefix="services/endpoints"),
    _core("events", "Event", ("ev",)),
    _core("limitranges", "LimitRange", ("limits",), verbs=LIST_ONLY),
    _core(
        "namespaces",
        "Namespace",
        ("ns",),
        namespaced=False,
        verbs=tuple(verb for verb in EVERY_VERB if verb != "deletecollection"),
        subresources=(Subresource("finalize", "Namespace", ("update",)), _status("Namespace")),
    ),
    _core(
        "nodes",
        "Node",
        ("no",),
        namespaced=False,
        storage_prefix="minions",
        subresources=(_status("Node"),),
    ),
    _core("persistentvolumeclaims", "PersistentVolumeClaim", ("pvc",), verbs=LIST_ONLY),
    _core("persistentvolumes", "PersistentVolume", ("pv",), namespaced=False, verbs=LIST_ONLY),
    _core(
        "pods",
        "Pod",
        ("po",),
        everywhere=True,
        subresources=(
            Subresource("attach", "PodAttachOptions", _STREAM),
            Subresource("binding", "Binding", CREATE_ONLY),
            Subresource("ephemeralcontainers", "Pod", _STATUS),
            Subresource("eviction", "Eviction", CREATE_ONLY, "policy", "v1"),
            Subresource("exec", "PodExecOptions", _STREAM),
            Subresource("log", "Pod", ("get",)),
            Subresource("portforward", "PodPortForwardOptions", _STREAM),
            _status("Pod"),
        ),
    ),
    _core(
        "replicationcontrollers",
        "ReplicationController",
        ("rc",),
        everywhere=True,
        storage_prefix="controllers",
        subresources=(_scale(), _status("ReplicationController")),
    ),
    _core("resourcequotas", "ResourceQuota", ("quota",), verbs=LIST_ONLY),
    _core("secrets", "Secret"),
    _core(
        "serviceaccounts",
        "ServiceAccount",
        ("sa",),
        subresources=(Subresource("token", "TokenRequest", CREATE_ONLY, "authentication.k8s.io", "v1"),),
    ),
    _core(
        "services",
        "Service",
        ("svc",),
        everywhere=True,
        storage_prefix="services/specs",
        subresources=(_status("Service"),),
    ),
    _grouped("apps", "v1", "controllerrevisions", "ControllerRevision"),
    _grouped("apps", "v1", "daemonsets", "DaemonSet", ("ds",), everywhere=True, subresources=(_status("DaemonSet"),)),
    _grouped(
        "apps",
        "v1",
        "deployments",
        "Deployment",
        ("deploy",),
        everywhere=True,
        subresources=(_scale(), _status("Deployment")),
    ),
    _grouped(
        "apps",
        "v1",
        "replicasets",
        "ReplicaSet",
        ("rs",),
        everywhere=True,
        subresources=(_scale(), _status("ReplicaSet")),
    ),
    _grouped("apps", "v1", "statefulsets", "StatefulSet", ("sts",), everywhere=True, verbs=LIST_ONLY),
    _grouped("events.k8s.io", "v1", "events", "Event", ("ev",)),
    _grouped(
        "authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False, verbs=CREATE_ONLY
    ),
    _grouped("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False, verbs=CREATE_ONLY),
    _grouped("authorization.k8s.io", "v1", "localsubjectaccessreviews", "LocalSubjectAccessReview", verbs=CREATE_ONLY),
    _grouped(
        "authorization.k8s.io",
        "v1",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
        namespaced=False,
        verbs=CREATE_ONLY,
    ),
    _grouped(
        "authorization.k8s.io",
        "v1",
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
        namespaced=False,
        verbs=CREATE_ONLY,
    ),
    _grouped(
        "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False, verbs=CREATE_ONLY
    ),
    _grouped(
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        ("hpa",),
        everywhere=True,
        verbs=LIST_ONLY,
    ),
    _grouped(
        "autoscaling",
        "v1",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        ("hpa",),
        everywhere=True,
        verbs=LIST_ONLY,
    ),
    _grouped("batch", "v1", "cronjobs", "CronJob", ("cj",), everywhere=True, verbs=LIST_ONLY),
    _grouped("batch", "v1", "jobs", "Job", everywhere=True, subresources=(_status("Job"),)),
    _grouped("networking.k8s.io", "v1", "ingresses", "Ingress", ("ing",), verbs=LIST_ONLY, storage_prefix="ingress"),
    _grouped("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", ("netpol",), verbs=LIST_ONLY),
    _grouped("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", ("pdb",), verbs=LIST_ONLY),
    _grouped("storage.k8s.io", "v1", "storageclasses", "StorageClass", ("sc",), namespaced=False, verbs=LIST_ONLY),
    _grouped("coordination.k8s.io", "v1", "leases", "Lease"),
    _grouped("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
)

_BY_PATH: Mapping[tuple[str, str, str], Resource] = MappingProxyType(
    {(resource.group, resource.version, resource.plural): resource for resource in RESOURCES}
)


def find_resource(group: str, version: str, plural: str) -> Resource | None:
    """The resource under `/apis/GROUP/VERSION/…/PLURAL` (group "" is `/api/v1`), if it is served."""
    return _BY_PATH.get((group, version, plural))


def get_resource(group: str, version: str, plural: str) -> Resource:
    """One that is known to be served."""
    return _BY_PATH[(group, version, plural)]


def group_versions() -> tuple[tuple[str, str], ...]:
    """(group, version) of all that is served, each once, core first, a group's preferred version before its others."""
    return tuple(dict.fromkeys((resource.group, resource.version) for resource in RESOURCES))
