"""Cluster: the Kubernetes cluster that a lab's hosts form, as its file declares it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from trenza.model.names import NicName, NodeName

API_PORT = 6443
ETCD = "/usr/bin/etcd"
SERVER = "kube-apiserver"
AGENT = "kubelet"
PARTS = {
    **dict.fromkeys(("kube-proxy", "flanneld", "flannel", "coredns", "kube-dns", "dockerd", "containerd"), AGENT),
    **dict.fromkeys(("kube-scheduler", "kube-controller-manager"), SERVER),
}
"""What is a process of its own in other clusters, and in ours a part of one of the two."""

"""What the cluster's own processes are called: in `ps`, and by whoever breaks them."""
ETCD_PORT = 2379
ETCD_PEER_PORT = 2380
MANIFESTS = "/etc/kubernetes/addons"
"""The master's directory of files of objects that are to be there, as of Kubernetes' addon manager."""
SAVED = "saved.yaml"
"""The manifest in which a saved lab has what people made in the cluster."""
PODS = IPv4Network("172.16.0.0/16")
SERVICES = IPv4Network("10.254.0.0/16")

BRIDGE = NicName("docker0")
"""The bridge of a node's pods, as Docker names it."""
TUNNEL = NicName("flannel.1")
"""A node's end of the overlay, as flannel names it."""

KINDS: Mapping[str, tuple[str, ...]] = {
    "configmaps": ("configmap", "cm"),
    "daemonsets": ("daemonset", "ds"),
    "deployments": ("deployment", "deploy"),
    "endpoints": ("ep",),
    "endpointslices": ("endpointslice",),
    "jobs": ("job",),
    "namespaces": ("namespace", "ns"),
    "nodes": ("node", "no"),
    "pods": ("pod", "po"),
    "replicasets": ("replicaset", "rs"),
    "replicationcontrollers": ("replicationcontroller", "rc"),
    "secrets": ("secret",),
    "serviceaccounts": ("serviceaccount", "sa"),
    "services": ("service", "svc"),
}
"""The kinds of objects that checks ask for, by their plural; with what kubectl calls them besides."""


@dataclass(frozen=True, slots=True)
class Member:
    """A host with the address by which the others reach it: the first IPv4 address of its interfaces."""

    node: NodeName
    address: IPv4Address

    @property
    def etcd(self) -> str:
        """Where its etcd answers, if it holds the store."""
        return f"http://{self.address}:{ETCD_PORT}"


@dataclass(frozen=True, slots=True)
class Cluster:
    """`master` runs the API server, scheduler and controllers; `nodes` run pods; `etcd` hosts hold the store.

    Without `etcd` the store is embedded in the server. Times are seconds: a node that was not heard of for `grace_s` is
    NotReady, and its pods are replaced after another `eviction_s`.
    """

    master: Member
    nodes: tuple[Member, ...]
    pods: IPv4Network = PODS
    services: IPv4Network = SERVICES
    overlay: str = "vxlan"
    etcd: tuple[Member, ...] = ()
    heartbeat_s: float = 1.0
    grace_s: float = 5.0
    eviction_s: float = 5.0

    @property
    def dns(self) -> IPv4Address:
        """The address of the cluster's name server."""
        return self.services.network_address + 10

    @property
    def api(self) -> str:
        return f"https://{self.master.address}:{API_PORT}"
