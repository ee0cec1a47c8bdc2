"""What an API server fills in: `with_defaults` for every kind, `with_pod_admission` for what pods get beside.

Values a client sees and relies on. Allocation (ClusterIP, nodePort, uid) is not here: see `strategies`.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

from trenza.cluster.kinds.resources import Object

SESSION_AFFINITY_S = 10_800
TOLERATION_S = 300
_DEFAULT_MODE = 0o644
TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def with_defaults(written: Object) -> Object:
    """A new object with its kind's defaults in it; doing it twice changes nothing more."""
    filled = copy.deepcopy(written)
    fill = _BY_KIND.get((filled.get("apiVersion", ""), filled.get("kind", "")))
    if fill is not None:
        fill(filled)
    return filled


def with_pod_admission(pod: Object, *, token_volume: str | None = None, toleration_s: int = TOLERATION_S) -> Object:
    """The pod as admission leaves it: service account, tolerations of lost nodes, priority, the token's volume.

    `token_volume` names the volume to add (`kube-api-access-x7k2p`), None for none.
    """
    admitted = copy.deepcopy(pod)
    spec = admitted.setdefault("spec", {})
    account = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = account
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(_tolerates(toleration, key) for toleration in tolerations):
            tolerations.append(
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": toleration_s}
            )
    if token_volume is not None and spec.get("automountServiceAccountToken", True):
        _add_token(spec, token_volume)
    return admitted


def _tolerates(toleration: Mapping[str, Any], key: str) -> bool:
    of_key = toleration.get("key") == key or (not toleration.get("key") and toleration.get("operator") == "Exists")
    return of_key and toleration.get("effect", "NoExecute") in ("", "NoExecute")


def _add_token(spec: Object, volume: str) -> None:
    containers = [*spec.get("containers", []), *spec.get("initContainers", [])]
    waiting = [
        one for one in containers if not any(m.get("mountPath") == TOKEN_MOUNT for m in one.get("volumeMounts", ()))
    ]
    if not waiting:
        return
    sources: list[Object] = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {
            "downwardAPI": {
                "items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]
            }
        },
    ]
    volumes = spec.setdefault("volumes", [])
    volumes.append({"name": volume, "projected": {"sources": sources, "defaultMode": _DEFAULT_MODE}})
    for container in waiting:
        mounts = container.setdefault("volumeMounts", [])
        mounts.append({"name": volume, "readOnly": True, "mountPath": TOKEN_MOUNT})


def quality_of_service(pod: Mapping[str, Any]) -> str:
    """Guaranteed, Burstable or BestEffort, from requests and limits of CPU and memory."""
    spec = pod.get("spec") or {}
    resources = [
        one.get("resources") or {} for one in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    ]
    counted = ("cpu", "memory")
    said = [(name, one.get("requests") or {}, one.get("limits") or {}) for one in resources for name in counted]
    if not any(name in requests or name in limits for name, requests, limits in said):
        return "BestEffort"
    if all(name in limits and requests.get(name, limits[name]) == limits[name] for name, requests, limits in said):
        return "Guaranteed"
    return "Burstable"


def _pod(pod: Object) -> None:
    spec = pod.setdefault("spec", {})
    _pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    for container in [*spec.get("containers", []), *spec.get("initContainers", [])]:
        limits = container["resources"].get("limits")
        if limits:
            container["resources"]["requests"] = {**limits, **container["resources"].get("requests", {})}


def _pod_spec(spec: Object) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    if spec.get("serviceAccountName") and not spec.get("serviceAccount"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    every = (spec.get(key) or () for key in ("containers", "initContainers", "ephemeralContainers"))
    for container in chain.from_iterable(every):
        _container(container, bool(spec.get("hostNetwork")))
    for volume in spec.get("volumes", []):
        _volume(volume)


def _container(container: Object, host_network: bool) -> None:
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", pull_policy(container.get("image", "")))
    for port in container.get("ports", []):
        port.setdefault("protocol", "TCP")
        if host_network and not port.get("hostPort") and port.get("containerPort"):
            port["hostPort"] = port["containerPort"]
    for variable in container.get("env", []):
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            reference.setdefault("apiVersion", "v1")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in container:
            _probe(container[name])
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict) and "httpGet" in hook:
            _http(hook["httpGet"])


def pull_policy(image: str) -> str:
    """When an image is fetched if nobody said: always for `latest`, else only if it is not there."""
    name = image.partition("@")[0].rpartition("/")[2]
    tag = name.partition(":")[2]
    if "@" in image:
        return "IfNotPresent"
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _probe(probe: Object) -> None:
    for key, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)):
        if not probe.get(key):
            probe[key] = value
    if "httpGet" in probe:
        _http(probe["httpGet"])
    if "grpc" in probe:
        probe["grpc"].setdefault("service", "")


def _http(action: Object) -> None:
    action.setdefault("path", "/")
    action.setdefault("scheme", "HTTP")


def _volume(volume: Object) -> None:
    if not set(volume) - {"name"}:
        volume["emptyDir"] = {}
    for source in ("secret", "configMap", "downwardAPI", "projected"):
        if source in volume:
            volume[source].setdefault("defaultMode", _DEFAULT_MODE)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    for source in (volume.get("projected") or {}).get("sources", []):
        if "serviceAccountToken" in source:
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)


def _template(spec: Object) -> Object:
    template: Object = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    _pod_spec(template.setdefault("spec", {}))
    return template


def _replication_controller(controller: Object) -> None:
    spec = controller.setdefault("spec", {})
    labels = _template(spec)["metadata"].get("labels")
    if labels:
        if not spec.get("selector"):
            spec["selector"] = dict(labels)
        if not controller.setdefault("metadata", {}).get("labels"):
            controller["metadata"]["labels"] = dict(labels)
    spec.setdefault("replicas", 1)


def _replica_set(replica_set: Object) -> None:
    spec = replica_set.setdefault("spec", {})
    _template(spec)
    spec.setdefault("replicas", 1)


def _deployment(deployment: Object) -> None:
    spec = deployment.setdefault("spec", {})
    _template(spec)
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)


def _daemon_set(daemon_set: Object) -> None:
    spec = daemon_set.setdefault("spec", {})
    _template(spec)
    strategy = spec.setdefault("updateStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", 10)


def _job(job: Object) -> None:
    spec = job.setdefault("spec", {})
    labels = _template(spec)["metadata"].get("labels")
    if labels and not job.setdefault("metadata", {}).get("labels"):
        job["metadata"]["labels"] = dict(labels)
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("manualSelector", False)
    spec.setdefault("podReplacementPolicy", "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed")


def _service(service: Object) -> None:
    spec = service.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        client = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        client.setdefault("timeoutSeconds", SESSION_AFFINITY_S)
    for port in spec.get("ports", []):
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, 0, "") and "port" in port:
            port["targetPort"] = port["port"]
        if port.get("nodePort") == 0:
            del port["nodePort"]
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    if spec["type"] == "ExternalName":
        return
    if not spec.get("clusterIP") and spec.get("clusterIPs"):
        spec["clusterIP"] = spec["clusterIPs"][0]
    spec.setdefault("internalTrafficPolicy", "Cluster")
    spec.setdefault("ipFamilies", ["IPv6" if ":" in str(spec.get("clusterIP", "")) else "IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def _secret(secret: Object) -> None:
    secret.setdefault("type", "Opaque")
    texts = secret.pop("stringData", None)
    if texts:
        data = secret.setdefault("data", {})
        data.update({key: base64.b64encode(value.encode()).decode() for key, value in texts.items()})


def _endpoints(endpoints: Object) -> None:
    for subset in endpoints.get("subsets", []):
        for port in subset.get("ports", []):
            port.setdefault("protocol", "TCP")


def _endpoint_slice(endpoint_slice: Object) -> None:
    for port in endpoint_slice.get("ports", []):
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


def _namespace(namespace: Object) -> None:
    metadata = namespace.setdefault("metadata", {})
    if metadata.get("name"):
        metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = metadata["name"]


def _token_request(request: Object) -> None:
    request.setdefault("spec", {}).setdefault("expirationSeconds", 3600)


_BY_KIND: Mapping[tuple[str, str], Callable[[Object], None]] = {
    ("v1", "Pod"): _pod,
    ("v1", "ReplicationController"): _replication_controller,
    ("v1", "Service"): _service,
    ("v1", "Secret"): _secret,
    ("v1", "Endpoints"): _endpoints,
    ("v1", "Namespace"): _namespace,
    ("apps/v1", "ReplicaSet"): _replica_set,
    ("apps/v1", "Deployment"): _deployment,
    ("apps/v1", "DaemonSet"): _daemon_set,
    ("batch/v1", "Job"): _job,
    ("discovery.k8s.io/v1", "EndpointSlice"): _endpoint_slice,
    ("authentication.k8s.io/v1", "TokenRequest"): _token_request,
}
