"""Lists as the tables that `kubectl get` shows: columns, wide columns and rows of every kind, ages included.

    table(resource, objects, now_s, ...)    a meta.k8s.io/v1 Table
    partial(object)                         its metadata alone

Each kind has its columns once, and one function from an object to its cells in that order; what the cells say is
kubectl's printers' text. Kinds without their own have name and age.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trenza.cluster.kinds.ages import UNKNOWN, age, duration_text
from trenza.cluster.kinds.names import seconds_of
from trenza.cluster.kinds.podstate import PodState, pod_state
from trenza.cluster.kinds.resources import Object, Resource
from trenza.cluster.kinds.selectors import selector_of

NONE = "<none>"
_MOST_ENDPOINTS = 3
_NAME_TEXT = (
    "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a "
    "client to request the generation of an appropriate name automatically."
)
_AGE_TEXT = "CreationTimestamp is a timestamp representing the server time when this object was created."


@dataclass(frozen=True, slots=True)
class Column:
    """One column. Priority 1 is shown by `-o wide` only."""

    name: str
    kind: str = "string"
    priority: int = 0

    def definition(self) -> Object:
        """The column as a Table describes it."""
        described = {"Name": _NAME_TEXT, "Age": _AGE_TEXT}.get(self.name, self.name)
        return {
            "name": self.name,
            "type": self.kind,
            "format": "name" if self.name == "Name" else "",
            "description": described,
            "priority": self.priority,
        }


@dataclass(frozen=True, slots=True)
class Printer:
    """The columns of a kind and the cells of one object."""

    columns: tuple[Column, ...]
    cells: Callable[[Object, float], list[Any]]


def table(
    resource: Resource,
    objects: Iterable[Object],
    now_s: float,
    *,
    list_metadata: Mapping[str, Any] | None = None,
    include_object: str = "Metadata",
) -> Object:
    """The objects as a Table. `include_object` is the query parameter: Metadata, Object or None."""
    printer = _PRINTERS.get(resource.group_plural, _PLAIN)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": dict(list_metadata or {}),
        "columnDefinitions": [column.definition() for column in printer.columns],
        "rows": [_row(printer, one, now_s, include_object) for one in objects],
    }


def partial(written: Object) -> Object:
    """A PartialObjectMetadata."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": written.get("metadata") or {},
    }


def partial_list(objects: Iterable[Object], list_metadata: Mapping[str, Any]) -> Object:
    """A PartialObjectMetadataList."""
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": dict(list_metadata),
        "items": [partial(one) for one in objects],
    }


def _row(printer: Printer, written: Object, now_s: float, include_object: str) -> Object:
    row: Object = {"cells": printer.cells(written, now_s)}
    if include_object != "None":
        row["object"] = written if include_object == "Object" else partial(written)
    phase = (written.get("status") or {}).get("phase")
    if written.get("kind") == "Pod" and phase in ("Succeeded", "Failed"):
        said = "The pod has completed successfully." if phase == "Succeeded" else "The pod failed."
        row["conditions"] = [{"type": "Completed", "status": "True", "reason": phase, "message": said}]
    return row


def _name(written: Object) -> str:
    return str((written.get("metadata") or {}).get("name", ""))


def _age(written: Object, now_s: float) -> str:
    return age((written.get("metadata") or {}).get("creationTimestamp"), now_s)


def _spec(written: Object) -> Object:
    return written.get("spec") or {}


def _status(written: Object) -> Object:
    return written.get("status") or {}


def _labels_text(labels: Mapping[str, Any] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def _containers(pod_spec: Object) -> list[str]:
    containers = pod_spec.get("containers") or []
    return [",".join(one.get("name", "") for one in containers), ",".join(one.get("image", "") for one in containers)]


def _template_cells(written: Object) -> list[str]:
    return _containers((_spec(written).get("template") or {}).get("spec") or {})


def _selector_text(written: Object) -> str:
    selector = _spec(written).get("selector")
    return NONE if selector is None else str(selector_of(selector))


def _pod(pod: Object, now_s: float) -> list[Any]:
    state: PodState = pod_state(pod, now_s)
    spec, status = _spec(pod), _status(pod)
    addresses = status.get("podIPs") or ([{"ip": status["podIP"]}] if status.get("podIP") else [])
    gates = spec.get("readinessGates") or []
    met = {one.get("type") for one in status.get("conditions") or () if one.get("status") == "True"}
    return [
        _name(pod),
        f"{state.ready}/{state.containers}",
        state.reason,
        state.restarts,
        _age(pod, now_s),
        addresses[0].get("ip") if addresses else NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        f"{sum(gate.get('conditionType') in met for gate in gates)}/{len(gates)}" if gates else NONE,
    ]


def _service(service: Object, now_s: float) -> list[Any]:
    spec = _spec(service)
    ports = ",".join(
        f"{port.get('port')}:{port['nodePort']}/{port.get('protocol')}"
        if port.get("nodePort")
        else f"{port.get('port')}/{port.get('protocol')}"
        for port in spec.get("ports") or ()
    )
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP", "")]
    return [
        _name(service),
        spec.get("type", ""),
        addresses[0] or NONE,
        _external_addresses(service),
        ports or NONE,
        _age(service, now_s),
        _labels_text(spec.get("selector")),
    ]


def _external_addresses(service: Object) -> str:
    spec = _spec(service)
    given = list(spec.get("externalIPs") or ())
    match spec.get("type"):
        case "ExternalName":
            return str(spec.get("externalName") or "")
        case "LoadBalancer":
            ingress = (_status(service).get("loadBalancer") or {}).get("ingress") or ()
            reached = [one.get("ip") or one.get("hostname") or "" for one in ingress]
            return ",".join([*reached, *given]) or "<pending>"
        case _:
            return ",".join(given) or NONE


def _endpoints(endpoints: Object, now_s: float) -> list[Any]:
    listed: list[str] = []
    for subset in endpoints.get("subsets") or ():
        addresses = [one.get("ip", "") for one in subset.get("addresses") or ()]
        ports = subset.get("ports") or ()
        listed += [f"{ip}:{port.get('port')}" for port in ports for ip in addresses] if ports else addresses
    return [_name(endpoints), _some(listed, " + {} more..."), _age(endpoints, now_s)]


def _some(listed: list[str], more: str, none: str = NONE) -> str:
    shown = ",".join(listed[:_MOST_ENDPOINTS])
    return (shown + more.format(len(listed) - _MOST_ENDPOINTS) if len(listed) > _MOST_ENDPOINTS else shown) or none


def _endpoint_slice(endpoint_slice: Object, now_s: float) -> list[Any]:
    ports = [str(port["port"]) if port.get("port") is not None else "*" for port in endpoint_slice.get("ports") or ()]
    addresses = [one for endpoint in endpoint_slice.get("endpoints") or () for one in endpoint.get("addresses") or ()]
    return [
        _name(endpoint_slice),
        endpoint_slice.get("addressType", ""),
        _some(ports, " + {} more...", "<unset>"),
        _some(addresses, " + {} more...", "<unset>"),
        _age(endpoint_slice, now_s),
    ]


def _node(node: Object, now_s: float) -> list[Any]:
    status, labels = _status(node), (node.get("metadata") or {}).get("labels") or {}
    ready = [one.get("status") for one in status.get("conditions") or () if one.get("type") == "Ready"]
    said = ("Ready" if ready[0] == "True" else "NotReady") if ready else "Unknown"
    said += ",SchedulingDisabled" if _spec(node).get("unschedulable") else ""
    prefix = "node-role.kubernetes.io/"
    roles = {key.removeprefix(prefix) for key in labels if key.startswith(prefix) and key != prefix}
    roles |= {labels["kubernetes.io/role"]} if labels.get("kubernetes.io/role") else set()
    info = status.get("nodeInfo") or {}
    addresses = {one.get("type"): one.get("address") for one in reversed(status.get("addresses") or ())}
    return [
        _name(node),
        said,
        ",".join(sorted(roles)) or NONE,
        _age(node, now_s),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP") or NONE,
        addresses.get("ExternalIP") or NONE,
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _namespace(namespace: Object, now_s: float) -> list[Any]:
    return [_name(namespace), _status(namespace).get("phase", ""), _age(namespace, now_s)]


def _replication_controller(controller: Object, now_s: float) -> list[Any]:
    return [
        *_replicas(controller, now_s),
        *_template_cells(controller),
        _labels_text(_spec(controller).get("selector")),
    ]


def _replica_set(replica_set: Object, now_s: float) -> list[Any]:
    return [*_replicas(replica_set, now_s), *_template_cells(replica_set), _selector_text(replica_set)]


def _replicas(written: Object, now_s: float) -> list[Any]:
    status = _status(written)
    return [
        _name(written),
        _spec(written).get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        _age(written, now_s),
    ]


def _deployment(deployment: Object, now_s: float) -> list[Any]:
    status = _status(deployment)
    return [
        _name(deployment),
        f"{status.get('readyReplicas', 0)}/{_spec(deployment).get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        _age(deployment, now_s),
        *_template_cells(deployment),
        _selector_text(deployment),
    ]


def _daemon_set(daemon_set: Object, now_s: float) -> list[Any]:
    status = _status(daemon_set)
    template = (_spec(daemon_set).get("template") or {}).get("spec") or {}
    return [
        _name(daemon_set),
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        _labels_text(template.get("nodeSelector")),
        _age(daemon_set, now_s),
        *_template_cells(daemon_set),
        _selector_text(daemon_set),
    ]


def _stateful_set(stateful_set: Object, now_s: float) -> list[Any]:
    ready = f"{_status(stateful_set).get('readyReplicas', 0)}/{_spec(stateful_set).get('replicas', 0)}"
    return [_name(stateful_set), ready, _age(stateful_set, now_s), *_template_cells(stateful_set)]


def _job(job: Object, now_s: float) -> list[Any]:
    spec, status = _spec(job), _status(job)
    succeeded, parallelism = status.get("succeeded", 0), spec.get("parallelism", 0)
    if spec.get("completions") is not None:
        completions = f"{succeeded}/{spec['completions']}"
    else:
        completions = f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"
    return [
        _name(job),
        _job_state(job),
        completions,
        _job_duration(status, now_s),
        _age(job, now_s),
        *_template_cells(job),
        _selector_text(job),
    ]


def _job_state(job: Object) -> str:
    true = {one.get("type") for one in _status(job).get("conditions") or () if one.get("status") == "True"}
    for condition in ("Complete", "Failed"):
        if condition in true:
            return condition
    if (job.get("metadata") or {}).get("deletionTimestamp"):
        return "Terminating"
    for condition in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if condition in true:
            return condition
    return "Running"


def _job_duration(status: Object, now_s: float) -> str:
    started = seconds_of(status["startTime"]) if status.get("startTime") else None
    if started is None:
        return ""
    ended = seconds_of(status["completionTime"]) if status.get("completionTime") else None
    return duration_text((now_s if ended is None else ended) - started)


def _cron_job(cron_job: Object, now_s: float) -> list[Any]:
    spec, status = _spec(cron_job), _status(cron_job)
    last = status.get("lastScheduleTime")
    template = ((spec.get("jobTemplate") or {}).get("spec") or {}).get("template") or {}
    return [
        _name(cron_job),
        spec.get("schedule", ""),
        spec.get("timeZone") or NONE,
        "True" if spec.get("suspend") else "False",
        len(status.get("active") or ()),
        age(last, now_s) if last else NONE,
        _age(cron_job, now_s),
        *_containers(template.get("spec") or {}),
        NONE,
    ]


def _event(event: Object, now_s: float) -> list[Any]:
    about = event.get("involvedObject") or event.get("regarding") or {}
    series = event.get("series") or {}
    first = event.get("firstTimestamp") or event.get("deprecatedFirstTimestamp") or event.get("eventTime")
    last = event.get("lastTimestamp") or event.get("deprecatedLastTimestamp") or series.get("lastObservedTime") or first
    source = event.get("source") or event.get("deprecatedSource") or {}
    component = source.get("component") or event.get("reportingComponent") or event.get("reportingController") or ""
    told = ", ".join(part for part in (component, source.get("host") or event.get("reportingInstance") or "") if part)
    kind = str(about.get("kind", "")).lower()
    return [
        age(last, now_s),
        event.get("type", ""),
        event.get("reason", ""),
        f"{kind}/{about.get('name', '')}" if about.get("name") else kind,
        about.get("fieldPath", ""),
        told,
        str(event.get("message") or event.get("note") or "").strip(),
        age(first, now_s),
        event.get("count") or event.get("deprecatedCount") or series.get("count") or 1,
        _name(event),
    ]


def _config_map(config_map: Object, now_s: float) -> list[Any]:
    count = len(config_map.get("data") or ()) + len(config_map.get("binaryData") or ())
    return [_name(config_map), count, _age(config_map, now_s)]


def _secret(secret: Object, now_s: float) -> list[Any]:
    return [_name(secret), secret.get("type", ""), len(secret.get("data") or ()), _age(secret, now_s)]


def _service_account(account: Object, now_s: float) -> list[Any]:
    return [_name(account), len(account.get("secrets") or ()), _age(account, now_s)]


def _lease(lease: Object, now_s: float) -> list[Any]:
    return [_name(lease), _spec(lease).get("holderIdentity", ""), _age(lease, now_s)]


def _controller_revision(revision: Object, now_s: float) -> list[Any]:
    owners = (revision.get("metadata") or {}).get("ownerReferences") or ()
    owner = next((one for one in owners if one.get("controller")), None)
    group = owner.get("apiVersion", "").rpartition("/")[0] if owner else ""
    kind = str(owner.get("kind", "")).lower() if owner else ""
    shown = f"{kind}{'.' + group if group else ''}/{owner.get('name', '')}" if owner else NONE
    return [_name(revision), shown, revision.get("revision", 0), _age(revision, now_s)]


def _columns(text: str) -> tuple[Column, ...]:
    """Columns from one line: names split by `|`; a name with `#` holds integers, one with `+` is wide only."""
    columns = []
    for part in text.split("|"):
        name = part.strip().rstrip("#+")
        columns.append(Column(name, "integer" if "#" in part else "string", 1 if "+" in part else 0))
    return tuple(columns)


_PLAIN = Printer(_columns("Name|Age"), lambda written, now_s: [_name(written), _age(written, now_s)])

_PRINTERS: Mapping[str, Printer] = {
    "/configmaps": Printer(_columns("Name|Data#|Age"), _config_map),
    "/endpoints": Printer(_columns("Name|Endpoints|Age"), _endpoints),
    "/events": Printer(
        _columns("Last Seen|Type|Reason|Object|Subobject+|Source+|Message|First Seen+|Count#+|Name+"), _event
    ),
    "/namespaces": Printer(_columns("Name|Status|Age"), _namespace),
    "/nodes": Printer(
        _columns(
            "Name|Status|Roles|Age|Version|Internal-IP+|External-IP+|OS-Image+|Kernel-Version+|Container-Runtime+"
        ),
        _node,
    ),
    "/pods": Printer(_columns("Name|Ready|Status|Restarts|Age|IP+|Node+|Nominated Node+|Readiness Gates+"), _pod),
    "/replicationcontrollers": Printer(
        _columns("Name|Desired#|Current#|Ready#|Age|Containers+|Images+|Selector+"), _replication_controller
    ),
    "/secrets": Printer(_columns("Name|Type|Data#|Age"), _secret),
    "/serviceaccounts": Printer(_columns("Name|Secrets#|Age"), _service_account),
    "/services": Printer(_columns("Name|Type|Cluster-IP|External-IP|Port(s)|Age|Selector+"), _service),
    "apps/controllerrevisions": Printer(_columns("Name|Controller|Revision#|Age"), _controller_revision),
    "apps/daemonsets": Printer(
        _columns(
            "Name|Desired#|Current#|Ready#|Up-to-date#|Available#|Node Selector|Age|Containers+|Images+|Selector+"
        ),
        _daemon_set,
    ),
    "apps/deployments": Printer(
        _columns("Name|Ready|Up-to-date#|Available#|Age|Containers+|Images+|Selector+"), _deployment
    ),
    "apps/replicasets": Printer(
        _columns("Name|Desired#|Current#|Ready#|Age|Containers+|Images+|Selector+"), _replica_set
    ),
    "apps/statefulsets": Printer(_columns("Name|Ready|Age|Containers+|Images+"), _stateful_set),
    "batch/cronjobs": Printer(
        _columns("Name|Schedule|Timezone|Suspend|Active#|Last Schedule|Age|Containers+|Images+|Selector+"), _cron_job
    ),
    "batch/jobs": Printer(_columns("Name|Status|Completions|Duration|Age|Containers+|Images+|Selector+"), _job),
    "coordination.k8s.io/leases": Printer(_columns("Name|Holder|Age"), _lease),
    "discovery.k8s.io/endpointslices": Printer(_columns("Name|AddressType|Ports|Endpoints|Age"), _endpoint_slice),
    "events.k8s.io/events": Printer(
        _columns("Last Seen|Type|Reason|Object|Subobject+|Source+|Message|First Seen+|Count#+|Name+"), _event
    ),
}
