"""The Node of a host, and its heartbeat, as a kubelet writes them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from trenza.cluster.api import Object
from trenza.cluster.kinds.discovery import RELEASE
from trenza.cluster.node.capacity import capacity
from trenza.cluster.node.endpoint import PORT
from trenza.cluster.node.times import micro_time_of, time_of

LEASE_NAMESPACE = "kube-node-lease"


def node_object(name: str, labels: Mapping[str, str]) -> Object:
    """The Node that a host registers."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    own = {
        "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": machine,
        "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": machine,
    }  # fmt: skip
    return {"kind": "Node", "apiVersion": "v1", "metadata": {"name": name, "labels": {**own, **labels}}, "spec": {}}


def node_status(
    name: str,
    address: str,
    *,
    problem: str,
    images: tuple[str, ...],
    before: Object,
    now_s: float,
) -> dict[str, Any]:
    """What a host says of itself; `problem` is why its pods can have no network."""
    resources = capacity()
    machine = node_object(name, {})["metadata"]["labels"]["kubernetes.io/arch"]
    found = {
        "NetworkUnavailable": (bool(problem), "NoRouteCreated" if problem else "FlannelIsUp",
                               problem or "Flannel is running on this node"),
        "MemoryPressure": (False, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        "DiskPressure": (False, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        "PIDPressure": (False, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        "Ready": (not problem, "KubeletNotReady" if problem else "KubeletReady",
                  problem or "kubelet is posting ready status"),
    }  # fmt: skip
    old = {one["type"]: one for one in before.get("conditions") or ()}
    return {
        "capacity": resources,
        "allocatable": resources,
        "conditions": [_condition(kind, *said, old.get(kind), now_s) for kind, said in found.items()],
        "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": PORT}},
        "nodeInfo": {
            "machineID": name, "systemUUID": name, "bootID": name, "kernelVersion": platform.release(),
            "osImage": "trenza", "containerRuntimeVersion": "trenza://0.1", "kubeletVersion": RELEASE,
            "kubeProxyVersion": RELEASE, "operatingSystem": "linux", "architecture": machine,
        },
        "images": [{"names": [image], "sizeBytes": 0} for image in images],
    }  # fmt: skip


def _condition(kind: str, holds: bool, reason: str, message: str, old: Object | None, now_s: float) -> dict[str, Any]:
    status = "True" if holds else "False"
    since = old["lastTransitionTime"] if old and old.get("status") == status else time_of(now_s)
    return {
        "type": kind, "status": status, "lastHeartbeatTime": time_of(now_s), "lastTransitionTime": since,
        "reason": reason, "message": message,
    }  # fmt: skip


def lease_object(name: str, uid: str, duration_s: float, now_s: float) -> Object:
    """The heartbeat: a Lease that the node owns."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}
    return {
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": LEASE_NAMESPACE, "ownerReferences": [owner]},
        "spec": {
            "holderIdentity": name, "leaseDurationSeconds": max(1, round(duration_s)),
            "renewTime": micro_time_of(now_s),
        },
    }  # fmt: skip
