"""The pods behind a service: which, under what addresses and ports, ready or not. For endpoints and slices alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from trenza.cluster.controllers.objects import Object, is_deleting, name_of, namespace_of, spec_of, status_of, uid_of
from trenza.cluster.controllers.pods import is_finished, is_ready, node_of
from trenza.cluster.controllers.snapshot import PODS, Bucket, Snapshot

Port = tuple[str, int, str, str]  # name, number, protocol, application protocol ("" for none)


@dataclass(frozen=True, slots=True)
class Backend:
    """A pod that a service may send to. `serving`: ready as a pod; `ready`: to be sent new connections."""

    pod: Object
    address: str
    ports: tuple[Port, ...]
    ready: bool
    serving: bool
    terminating: bool
    hostname: str = ""

    @property
    def target(self) -> Object:
        pod = self.pod
        return {"kind": "Pod", "namespace": namespace_of(pod), "name": name_of(pod), "uid": uid_of(pod)}

    @property
    def node(self) -> str:
        return node_of(self.pod)


def selector_of(service: Object) -> Mapping[str, str]:
    """Empty for a service whose endpoints somebody else writes."""
    spec = spec_of(service)
    return {} if spec.get("type") == "ExternalName" else spec.get("selector") or {}


def is_headless(service: Object) -> bool:
    return spec_of(service).get("clusterIP") == "None"


def publishes_unready(service: Object) -> bool:
    return bool(spec_of(service).get("publishNotReadyAddresses"))


def families_of(service: Object) -> Sequence[str]:
    """The service's IP families, the first one first."""
    spec = spec_of(service)
    if families := spec.get("ipFamilies"):
        return [str(family) for family in families]
    address = spec.get("clusterIP")
    return [family_of(address)] if address and address != "None" else ["IPv4"]


@lru_cache(maxsize=65536)
def _parsed(address: str) -> tuple[int, bytes]:
    parsed = ip_address(address)
    return parsed.version, parsed.packed


def family_of(address: str) -> str:
    return f"IPv{_parsed(address)[0]}"


def candidates(snapshot: Snapshot, service: Object) -> tuple[Bucket, ...]:
    """All pods that can be behind the service, more than once: who has seen these has seen its backends."""
    return snapshot[PODS].carrying(namespace_of(service), selector_of(service))


def backends(snapshot: Snapshot, service: Object, family: str) -> list[Backend]:
    """The pods that the service selects and that have an address of `family`, by address."""
    found = []
    for pod in snapshot[PODS].labelled(namespace_of(service), selector_of(service)):
        address = _address(pod, family)
        if address is None or is_finished(pod) or not node_of(pod):
            continue
        leaving, serving = is_deleting(pod), is_ready(pod)
        ready = publishes_unready(service) or (serving and not leaving)
        spec = spec_of(pod)
        named = bool(spec.get("hostname")) and spec.get("subdomain") == name_of(service)
        hostname = str(spec["hostname"]) if named else ""
        found.append(Backend(pod, address, _ports(service, pod), ready, serving, leaving, hostname))
    return sorted(found, key=lambda backend: (_parsed(backend.address), uid_of(backend.pod)))


def _address(pod: Object, family: str) -> str | None:
    status = status_of(pod)
    several = [each.get("ip") for each in status.get("podIPs") or ()]
    for address in several or [status.get("podIP")]:
        if address and family_of(address) == family:
            return str(address)
    return None


def _ports(service: Object, pod: Object) -> tuple[Port, ...]:
    """The service's ports as this pod has them; a named target port that the pod does not have is left out."""
    found = []
    for port in spec_of(service).get("ports") or ():
        protocol = port.get("protocol") or "TCP"
        number = _target(pod, port.get("targetPort") or port["port"], protocol)
        if number is not None:
            found.append((str(port.get("name") or ""), number, protocol, str(port.get("appProtocol") or "")))
    return tuple(found)


def _target(pod: Object, target: Any, protocol: str) -> int | None:
    if isinstance(target, int):
        return target
    spec = spec_of(pod)
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    for container in (*(spec.get("containers") or ()), *sidecars):
        for port in container.get("ports") or ():
            if port.get("name") == target and (port.get("protocol") or "TCP") == protocol:
                return int(port["containerPort"])
    return None


def port_objects(ports: Sequence[Port], *, names_always: bool) -> list[Object]:
    """Ports as Endpoints write them, or as slices do, where a port without a name has an empty one."""
    found = []
    for name, number, protocol, application in ports:
        port: Object = {"port": number, "protocol": protocol}
        if name or names_always:
            port["name"] = name
        if application:
            port["appProtocol"] = application
        found.append(port)
    return found
