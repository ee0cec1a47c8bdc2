"""Services, endpoints and endpoint slices: ports, addresses, affinity."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from trenza.cluster.kinds.resources import Object
from trenza.cluster.kinds.rules import (
    cidr_problems,
    ip_problems,
    label_1123_problems,
    port_name_problems,
    port_problems,
    subdomain_1123_problems,
)
from trenza.cluster.kinds.status import Cause, Causes
from trenza.cluster.kinds.validation.metadata import check_labels
from trenza.cluster.kinds.validation.pods import PROTOCOLS, check_port

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_AFFINITIES = ("ClientIP", "None")
_POLICIES = ("Cluster", "Local")
_LONGEST_AFFINITY_S = 86_400
_MOST_ENDPOINTS = 1000


@dataclass(frozen=True, slots=True)
class Ranges:
    """What the cluster gives away: the network of service addresses (None: not asked about) and node ports."""

    services: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    first_node_port: int = 30_000
    last_node_port: int = 32_767


def check_service(service: Object, ranges: Ranges, causes: Causes) -> None:
    """A Service with its defaults in it."""
    spec = service.get("spec") or {}
    kind = spec.get("type", "")
    if kind not in _TYPES:
        causes.unsupported("spec.type", kind, _TYPES)
    headless = spec.get("clusterIP") == "None"
    ports = spec.get("ports") or []
    if not ports and not headless and kind != "ExternalName":
        causes.required("spec.ports")
    _check_ports(ports, kind, ranges, causes)
    if kind == "ExternalName":
        _check_external_name(spec, causes)
    else:
        _check_cluster_addresses(spec, kind, ranges, causes)
    check_labels(spec.get("selector"), "spec.selector", causes)
    affinity = spec.get("sessionAffinity", "")
    if affinity not in _AFFINITIES:
        causes.unsupported("spec.sessionAffinity", affinity, _AFFINITIES)
    client = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    timeout = client.get("timeoutSeconds")
    if timeout is not None and not 0 < timeout <= _LONGEST_AFFINITY_S:
        path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
        causes.invalid(path, timeout, f"must be greater than 0 and less than {_LONGEST_AFFINITY_S}")
    for index, address in enumerate(spec.get("externalIPs") or ()):
        for problem in ip_problems(address):
            causes.invalid(f"spec.externalIPs[{index}]", address, problem)
    _check_policies(spec, kind, causes)
    ranges_path = "spec.LoadBalancerSourceRanges"  # the spelling of real servers
    sources = spec.get("loadBalancerSourceRanges") or []
    if sources and kind != "LoadBalancer":
        causes.forbidden(ranges_path, "may only be used when `type` is 'LoadBalancer'")
    for index, text in enumerate(sources):
        for problem in cidr_problems(text.strip()):
            causes.invalid(f"{ranges_path}[{index}]", text.strip(), problem)


def _check_policies(spec: Object, kind: str, causes: Causes) -> None:
    external = spec.get("externalTrafficPolicy")
    if external is not None and kind not in ("NodePort", "LoadBalancer") and not spec.get("externalIPs"):
        why = "may only be set for externally-accessible services"
        causes.invalid("spec.externalTrafficPolicy", external, why)
    elif external is not None and external not in _POLICIES:
        causes.unsupported("spec.externalTrafficPolicy", external, _POLICIES)
    internal = spec.get("internalTrafficPolicy")
    if internal is not None and internal not in _POLICIES:
        causes.unsupported("spec.internalTrafficPolicy", internal, _POLICIES)


def _check_ports(ports: Iterable[Object], kind: str, ranges: Ranges, causes: Causes) -> None:
    every = list(ports)
    names: set[str] = set()
    served: set[tuple[str, int]] = set()
    opened: set[tuple[str, int]] = set()
    for index, port in enumerate(every):
        path = f"spec.ports[{index}]"
        name = port.get("name", "")
        if len(every) > 1 and not name:
            causes.required(f"{path}.name")
        for problem in label_1123_problems(name) if name else ():
            causes.invalid(f"{path}.name", name, problem)
        if name and name in names:
            causes.duplicate(f"{path}.name", name)
        names.add(name)
        for problem in port_problems(port.get("port", 0)):
            causes.invalid(f"{path}.port", port.get("port", 0), problem)
        protocol = port.get("protocol", "")
        if protocol not in PROTOCOLS:
            causes.unsupported(f"{path}.protocol", protocol, PROTOCOLS)
        check_port(port.get("targetPort"), f"{path}.targetPort", causes)
        key = (protocol, port.get("port", 0))
        if key in served:
            causes.duplicate(path, {"port": port.get("port", 0), "protocol": protocol})
        served.add(key)
        _check_node_port(port, path, kind, ranges, opened, causes)


def _check_node_port(
    port: Object, path: str, kind: str, ranges: Ranges, opened: set[tuple[str, int]], causes: Causes
) -> None:
    node_port = port.get("nodePort", 0)
    if not node_port:
        return
    if kind in ("ClusterIP", "ExternalName"):
        causes.forbidden(f"{path}.nodePort", f"may not be used when `type` is '{kind}'")
        return
    key = (port.get("protocol", ""), node_port)
    if key in opened:
        causes.duplicate(f"{path}.nodePort", node_port)
    opened.add(key)
    if not ranges.first_node_port <= node_port <= ranges.last_node_port:
        causes.found.append(node_port_out_of_range(path, node_port, ranges))


def node_port_out_of_range(path: str, node_port: int, ranges: Ranges) -> Cause:
    """The cause for a node port that the cluster does not give away."""
    said = f"{ranges.first_node_port}-{ranges.last_node_port}"
    why = f"provided port is not in the valid range. The range of valid ports is {said}"
    return _cause(f"{path}.nodePort", node_port, why)


def _cause(path: str, value: Any, why: str) -> Cause:
    causes = Causes()
    causes.invalid(path, value, why)
    return causes.found[0]


def _check_external_name(spec: Object, causes: Causes) -> None:
    name = spec.get("externalName", "")
    if not name:
        causes.required("spec.externalName")
    for problem in subdomain_1123_problems(name.removesuffix(".").lower()) if name else ():
        causes.invalid("spec.externalName", name, problem)
    if spec.get("clusterIP"):
        causes.forbidden("spec.clusterIPs[0]", "may not be set for ExternalName services")


def _check_cluster_addresses(spec: Object, kind: str, ranges: Ranges, causes: Causes) -> None:
    address, addresses = spec.get("clusterIP", ""), spec.get("clusterIPs") or []
    if address and addresses and addresses[0] != address:
        causes.invalid("spec.clusterIPs", addresses, "first value must match `clusterIP`")
        return
    if address == "None" and kind != "ClusterIP":
        causes.invalid("spec.clusterIPs[0]", address, f"may not be set to 'None' for {kind} services")
        return
    for index, one in enumerate(addresses):
        if one in ("", "None"):
            continue
        if ip_problems(one):
            why = "must be empty, 'None', or a valid IP address"
            causes.invalid(f"spec.clusterIPs[{index}]", one, why)
        elif ranges.services is not None and ipaddress.ip_address(one) not in ranges.services:
            why = f"provided IP is not in the valid range. The range of valid IPs is {ranges.services}"
            causes.invalid("spec.clusterIPs", addresses, f"failed to allocated ip:{one} with error:{why}")


def check_endpoints(endpoints: Object, causes: Causes) -> None:
    """An Endpoints object: addresses, ready or not, and ports of each subset."""
    for index, subset in enumerate(endpoints.get("subsets") or ()):
        path = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            causes.required(path, "must specify `addresses` or `notReadyAddresses`")
        for key in ("addresses", "notReadyAddresses"):
            for place, address in enumerate(subset.get(key) or ()):
                _check_endpoint_address(address.get("ip", ""), f"{path}.{key}[{place}].ip", causes)
        _check_endpoint_ports(subset.get("ports") or (), f"{path}.ports", causes)


def _check_endpoint_address(text: str, path: str, causes: Causes) -> None:
    problems = ip_problems(text)
    for problem in problems:
        causes.invalid(path, text, problem)
    if problems:
        return
    address = ipaddress.ip_address(text)
    if address.is_unspecified:
        causes.invalid(path, text, f"may not be unspecified ({address})")
    elif address.is_loopback:
        causes.invalid(path, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    elif address.is_link_local:
        causes.invalid(path, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")


def _check_endpoint_ports(ports: Iterable[Object], path: str, causes: Causes) -> None:
    every = list(ports)
    for index, port in enumerate(every):
        place = f"{path}[{index}]"
        if len(every) > 1 and not port.get("name"):
            causes.required(f"{place}.name")
        for problem in port_problems(port.get("port", 0)):
            causes.invalid(f"{place}.port", port.get("port", 0), problem)
        if port.get("protocol") not in PROTOCOLS:
            causes.unsupported(f"{place}.protocol", port.get("protocol", ""), PROTOCOLS)


def check_endpoint_slice(endpoint_slice: Object, causes: Causes) -> None:
    """An EndpointSlice: its family, addresses and ports."""
    families = ("FQDN", "IPv4", "IPv6")
    family = endpoint_slice.get("addressType", "")
    if not family:
        causes.required("addressType")
    elif family not in families:
        causes.unsupported("addressType", family, families)
    endpoints = endpoint_slice.get("endpoints") or ()
    if len(endpoints) > _MOST_ENDPOINTS:
        causes.too_many("endpoints", len(endpoints), _MOST_ENDPOINTS)
    for index, endpoint in enumerate(endpoints):
        path = f"endpoints[{index}].addresses"
        if not endpoint.get("addresses"):
            causes.required(path, "must contain at least 1 address")
        for place, address in enumerate(endpoint.get("addresses") or ()):
            if family in ("IPv4", "IPv6"):
                _check_endpoint_address(address, f"{path}[{place}]", causes)
    names: set[str] = set()
    for index, port in enumerate(endpoint_slice.get("ports") or ()):
        name = port.get("name", "")
        for problem in port_name_problems(name) if name else ():
            causes.invalid(f"ports[{index}].name", name, problem)
        if name in names:
            causes.duplicate(f"ports[{index}].name", name)
        names.add(name)
        if port.get("protocol") not in PROTOCOLS:
            causes.unsupported(f"ports[{index}].protocol", port.get("protocol", ""), PROTOCOLS)
