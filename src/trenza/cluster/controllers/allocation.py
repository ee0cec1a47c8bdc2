"""Addresses and node ports of services, as the registry gives them when a service is written.

What is taken is what the services that there are have, so that nothing is ever lost or given twice; the caller holds
writes of services apart. A wish is fulfilled or refused in the words that a real API server uses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from trenza.cluster.controllers.objects import Object, spec_of, with_spec
from trenza.errors import TrenzaError

Address = IPv4Address | IPv6Address
NODE_PORTS = range(30000, 32768)
# Ports and addresses that are given without being asked for come from above this share of their range, so that those
# that people write down, usually small ones, stay free.
STATIC_SHARE = 16
MOST_STATIC = 256


class AllocationError(TrenzaError):
    """A wish for an address or a port that cannot be had: `field` is the path, `value` what was asked for."""

    code = "allocation"

    def __init__(self, field: str, value: object, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.value = value


@dataclass(frozen=True, slots=True)
class Pool:
    """What services are given from, and what they have: `addresses` of `network`, `ports` of `port_range`."""

    network: IPv4Network | IPv6Network
    addresses: Collection[Address] = frozenset()
    ports: Collection[tuple[str, int]] = frozenset()  # protocol and number: TCP and UDP have ports of their own
    port_range: range = NODE_PORTS


@dataclass(frozen=True, slots=True)
class Uses:
    """What a service has of a pool."""

    addresses: frozenset[Address] = frozenset()
    ports: frozenset[tuple[str, int]] = frozenset()


def uses_of(service: Object) -> Uses:
    """What `service` has. Raises ValueError for what no address is and people wrote into the store by hand."""
    spec = spec_of(service)
    texts = {spec.get("clusterIP"), *(spec.get("clusterIPs") or ())} - {None, "", "None"}
    ports = ((port.get("protocol") or "TCP", port.get("nodePort")) for port in spec.get("ports") or ())
    return Uses(
        frozenset(ip_address(text) for text in texts),
        frozenset((protocol, int(number)) for protocol, number in ports if number),
    )


def pool_of(network: IPv4Network | IPv6Network, services: Iterable[Object]) -> Pool:
    """What is left of `network` and of the node ports beside `services`."""
    uses = [uses_of(service) for service in services]
    addresses, ports = (one.addresses for one in uses), (one.ports for one in uses)
    return Pool(network, frozenset().union(*addresses), frozenset().union(*ports))


def allocated(service: Object, pool: Pool, *, seed: str) -> Object:
    """`service` with the cluster address and the node ports that its type asks for and that it does not have yet.

    `pool` is without the service itself. What the type does not ask for any more is taken away. `seed` (the
    service's uid, say) chooses among what is free. Raises AllocationError.
    """
    spec = spec_of(service)
    kind = spec.get("type") or "ClusterIP"
    if kind == "ExternalName":
        return _without(service, "clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")
    wish = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or ()), None)
    address = "None" if wish == "None" else str(cluster_address(pool, wish, seed=seed))
    families = spec.get("ipFamilies") or [f"IPv{pool.network.version}"]
    policy = spec.get("ipFamilyPolicy") or "SingleStack"
    ports = [dict(port) for port in spec.get("ports") or ()]
    if kind in ("NodePort", "LoadBalancer"):
        _give_node_ports(ports, pool, seed)
    else:
        for port in ports:
            port.pop("nodePort", None)
    changes = {"clusterIP": address, "clusterIPs": [address], "ipFamilies": families, "ipFamilyPolicy": policy}
    return with_spec(service, **changes, **({"ports": ports} if ports else {}))


def cluster_address(pool: Pool, wish: str | None, *, seed: str) -> Address:
    """The address wished for, or a free one."""
    if not wish:
        return _free_address(pool, seed)
    address = ip_address(wish)
    lead = f"failed to allocated ip:{wish} with error:"
    if address not in pool.network or address in _reserved(pool.network):
        words = f"provided IP is not in the valid range. The range of valid IPs is {pool.network}"
        raise AllocationError("spec.clusterIPs", [wish], lead + words)
    if address in pool.addresses:
        raise AllocationError("spec.clusterIPs", [wish], f"{lead}provided IP is already allocated")
    return address


def node_port(
    pool: Pool, wish: int | None, protocol: str, own: Container[tuple[str, int]], *, seed: str, field: str
) -> int:
    """The port wished for, or a free one; `own` are those that other ports of the service have."""
    if not wish:
        return _free_port(pool, protocol, own, seed, field)
    if wish not in pool.port_range:
        bounds = f"{pool.port_range.start}-{pool.port_range.stop - 1}"
        words = f"provided port is not in the valid range. The range of valid ports is {bounds}"
        raise AllocationError(field, wish, words)
    if (protocol, wish) in pool.ports or (protocol, wish) in own:
        raise AllocationError(field, wish, "provided port is already allocated")
    return wish


def _give_node_ports(ports: list[Object], pool: Pool, seed: str) -> None:
    """A node port for each of `ports`; TCP and UDP of one service port share their number where they can."""
    given: dict[tuple[int, str], int] = {}
    for index, port in enumerate(ports):
        field = f"spec.ports[{index}].nodePort"
        protocol = port.get("protocol") or "TCP"
        twins = {number for (of_port, of_protocol), number in given.items() if of_port == port["port"]}
        wish = port.get("nodePort") or next((n for n in twins if (protocol, n) not in pool.ports), None)
        own = {(of_protocol, number) for (_, of_protocol), number in given.items()}
        number = node_port(pool, wish, protocol, own, seed=f"{seed}/{index}", field=field)
        given[port["port"], protocol] = port["nodePort"] = number


def _free_address(pool: Pool, seed: str) -> Address:
    size = pool.network.num_addresses
    low = min(max(size // STATIC_SHARE, 16), MOST_STATIC)
    reserved = _reserved(pool.network)
    for offset in _around(low, size, seed):
        address = pool.network[offset]
        if address not in pool.addresses and address not in reserved:
            return address
    raise AllocationError("spec.clusterIPs", [], f"failed to allocate a serviceIP: range is full ({pool.network})")


def _free_port(pool: Pool, protocol: str, own: Container[tuple[str, int]], seed: str, field: str) -> int:
    size = len(pool.port_range)
    low = min(max(size // 32, 16), 128)
    for offset in _around(low, size, seed):
        port = (protocol, pool.port_range[offset])
        if port not in pool.ports and port not in own:
            return pool.port_range[offset]
    raise AllocationError(field, None, "failed to allocate a nodePort: range is full")


def _around(low: int, size: int, seed: str) -> Iterator[int]:
    """Every number below `size` once: those from `low` up first, beginning where `seed` says, then the lower ones."""
    low = min(low, size - 1)
    begin = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]) % (size - low)
    for step in range(size - low):
        yield low + (begin + step) % (size - low)
    yield from range(low)


def _reserved(network: IPv4Network | IPv6Network) -> tuple[Address, ...]:
    if isinstance(network, IPv4Network):
        return network.network_address, network.broadcast_address
    return (network.network_address,)


def _without(service: Object, *fields: str) -> Object:
    return {**service, "spec": {key: value for key, value in spec_of(service).items() if key not in fields}}
