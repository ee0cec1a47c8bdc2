"""What a cluster has before anybody asks: four namespaces, the service of the API itself, flannel's config."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

from trenza.cluster.kinds.resources import Object, find_resource
from trenza.cluster.kinds.status import ApiError
from trenza.cluster.server.flannel import CONFIG
from trenza.cluster.server.registry import Registry, Writer
from trenza.cluster.server.stored import encoded

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_WRITER = Writer("kube-apiserver")


@dataclass(frozen=True, slots=True)
class Networks:
    """The addresses of pods (a subnet of `subnet_length` for each node) and of services; flannel's backend."""

    pods: IPv4Network
    services: IPv4Network | IPv6Network
    backend: str = "vxlan"
    subnet_length: int = 24


async def ensure_first_objects(registry: Registry, networks: Networks, address: str, port: int) -> None:
    """Make what is missing; the server is reached at `address` and `port`. Another address than before is put right."""
    for name in NAMESPACES:
        await _ensure(registry, "", "v1", "namespaces", {"metadata": {"name": name}})
    await _ensure(registry, "", "v1", "services", _service(networks))
    if not ip_address(address).is_loopback:  # which no pod would find the server at
        await _ensure_backends(registry, address, port)
    config = {
        "Network": str(networks.pods),
        "SubnetLen": networks.subnet_length,
        "Backend": {"Type": networks.backend},
    }
    stored = await registry.store.get(CONFIG)
    if stored is None or stored.value != encoded(config):
        await registry.store.put(CONFIG, encoded(config), expected=None)


async def _ensure_backends(registry: Registry, address: str, port: int) -> None:
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    subsets = [{"addresses": [{"ip": address}], "ports": ports}]
    await _ensure(registry, "", "v1", "endpoints", {"metadata": _metadata(), "subsets": subsets})
    endpoint_slice = {
        "metadata": _metadata({"kubernetes.io/service-name": "kubernetes"}),
        "addressType": "IPv4" if ":" not in address else "IPv6",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": ports,
    }
    await _ensure(registry, "discovery.k8s.io", "v1", "endpointslices", endpoint_slice)


async def _ensure(registry: Registry, group: str, version: str, plural: str, wanted: Object) -> None:
    resource = find_resource(group, version, plural)
    assert resource is not None
    written = {"kind": resource.kind, "apiVersion": resource.api_version, **wanted}
    metadata = written["metadata"]
    try:
        await registry.create(resource, written, _WRITER)
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
        if plural in ("endpoints", "endpointslices"):
            await registry.update(
                resource, metadata["namespace"], metadata["name"], lambda live: {**live, **wanted}, _WRITER
            )


def _metadata(labels: dict[str, str] | None = None) -> Object:
    # Nobody mirrors or replaces what is ours.
    ours = {"endpointslice.kubernetes.io/skip-mirror": "true", **(labels or {})}
    return {"name": "kubernetes", "namespace": "default", "labels": ours}


def _service(networks: Networks) -> Object:
    labels = {"component": "apiserver", "provider": "kubernetes"}
    return {
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": str(networks.services[1]),
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
    }
