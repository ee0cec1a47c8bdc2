"""kube-proxy in values: Services and EndpointSlices become a ruleset, and one ruleset becomes the next in one step.

The layout is that of kube-proxy's nftables mode: verdict maps from (address, protocol, port) to a service's chain, a
chain for each endpoint, `numgen random` between them, a set with timeouts where clients have affinity, marks for what
must come back through this host, and refusals for what nobody serves. A ruleset is made of parts, one for each
service; the next one shares those that did not change, and so a change is as large as what changed.

Sources: Kubernetes' pkg/proxy/nftables/proxier.go.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, collapse_addresses, ip_network
from socket import IPPROTO_UDP
from typing import Any, Final

from trenza.cluster.node import nft
from trenza.cluster.node.nft import Command, Statement
from trenza.linux.conntrack import Flow

TABLE: Final = "kube-proxy"
MASQUERADE_MARK: Final = 0x4000
DEFAULT_AFFINITY_S: Final = 10800
_PRIORITY_FILTER_BEFORE_NAT, _PRIORITY_DNAT, _PRIORITY_AFTER_DNAT, _PRIORITY_SNAT = -110, -100, -90, 100

Object = Mapping[str, Any]
MapKey = tuple[str, tuple[str | int, ...]]
"""A map or set of the table, and an element's key."""
Owner = tuple[int, str, str]
"""Whose ports they are: rank, namespace and name. What two want is the last one's."""


@dataclass(frozen=True, slots=True)
class Network:
    """What the rules of one host must know of its surroundings.

    `bridged_seen`: netfilter sees what is only bridged between two pods of this host.
    """

    node: str
    pods: IPv4Network
    services: IPv4Network
    own_pods: IPv4Network
    node_addresses: tuple[IPv4Address, ...]
    bridged_seen: bool = True


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """Where a service's packets may go."""

    address: IPv4Address
    port: int
    local: bool = False
    """Whether it is of this host."""


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a service, with those that back it."""

    namespace: str
    service: str
    port_name: str
    protocol: str
    address: IPv4Address | None
    port: int
    node_port: int = 0
    external_addresses: tuple[IPv4Address, ...] = ()
    affinity_s: int = 0
    """How long a client stays with an endpoint; 0: no time at all."""
    local_only: bool = False
    """`externalTrafficPolicy: Local`: from outside only endpoints of this host serve, and see who asks."""
    endpoints: tuple[Endpoint, ...] = ()
    inside_local_only: bool = False
    """`internalTrafficPolicy: Local`: at the service's own address only endpoints of this host serve."""
    ending_here: tuple[Endpoint, ...] = ()
    """Those of this host that are ending but still serve, where `endpoints` has none of it."""
    balancer_addresses: tuple[IPv4Address, ...] = ()
    """Those of `external_addresses` that are of a load balancer, and that only `sources` may reach, if it says any."""
    sources: tuple[IPv4Network, ...] = ()

    @property
    def local_endpoints(self) -> tuple[Endpoint, ...]:
        """What a policy `Local` leaves: this host's, chosen without regard to those of others (KEP-1669)."""
        return tuple(one for one in self.endpoints if one.local) or self.ending_here

    @property
    def words(self) -> str:
        """`default/web:http`."""
        return f"{self.namespace}/{self.service}" + (f":{self.port_name}" if self.port_name else "")

    @property
    def chain_end(self) -> str:
        """What the names of its chains end in, with a hash: the rest may be cut."""
        name = f"{self.namespace}/{self.service}/{self.protocol}/{self.port_name}"
        return f"{_hash(name)}-{name}"


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=5).hexdigest().upper()[:8]


def _chain(kind: str, end: str) -> str:
    """A chain's name: 127 characters at most, and those that nft takes."""
    return f"{kind}-{end}"[:120]


# ------------------------------------------------------------------ services
def service_ports(service: Object, slices: Sequence[Object], node: str) -> tuple[ServicePort, ...]:
    """The ports of a service that has an address, each with its ready endpoints in order; `slices` are its own.

    Endpoints that are ending but still serve count where no other is left (KEP-1669). What people wrote into the store
    by hand and cannot mean has none: nft would refuse it together with all the others.
    """
    try:
        return tuple(port for port in _service_ports(service, slices, node) if _is_sound(port))
    except (KeyError, TypeError, ValueError, AttributeError):
        return ()


def _service_ports(service: Object, slices: Sequence[Object], node: str) -> Iterator[ServicePort]:
    spec, metadata = service.get("spec", {}), service["metadata"]
    if spec.get("type") == "ExternalName" or spec.get("clusterIP") in (None, "", "None"):
        return
    balancers = _parsed(_ingress(service))
    external = (*_parsed(spec.get("externalIPs", ())), *balancers)
    sources = _sources(spec) if balancers else ()
    for port in spec.get("ports", ()):
        name, protocol = port.get("name", ""), port.get("protocol", "TCP").lower()
        endpoints, ending = _endpoints(slices, name, protocol, node)
        yield ServicePort(
            metadata["namespace"],
            metadata["name"],
            name,
            protocol,
            ipv4(spec["clusterIP"]),
            port["port"],
            port.get("nodePort", 0),
            external,
            _affinity_s(spec),
            spec.get("externalTrafficPolicy") == "Local",
            endpoints or ending,
            spec.get("internalTrafficPolicy") == "Local",
            () if any(one.local for one in endpoints) else tuple(one for one in ending if one.local),
            balancers,
            sources,
        )


def _is_sound(port: ServicePort) -> bool:
    numbers = (port.port, port.node_port or 1, *(one.port for one in port.endpoints))
    names = f"{port.namespace}{port.service}{port.port_name}"
    return (
        port.protocol in ("tcp", "udp", "sctp")
        and all(0 < number < 1 << 16 for number in numbers)
        and re.fullmatch(r"[-.a-z0-9]+", names) is not None
    )


def owner_of(endpoint_slice: Object) -> tuple[str, str] | None:
    """Namespace and name of the service that a slice of IPv4 endpoints belongs to."""
    metadata = endpoint_slice["metadata"]
    name = metadata.get("labels", {}).get("kubernetes.io/service-name")
    return (metadata["namespace"], name) if name and endpoint_slice.get("addressType") == "IPv4" else None


def ipv4(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except ValueError:
        return None


def _parsed(texts: Iterable[str]) -> tuple[IPv4Address, ...]:
    return tuple(address for text in texts if (address := ipv4(text)) is not None)


def _ingress(service: Object) -> Iterator[str]:
    """The addresses of a load balancer that leaves them as they are: one that is a proxy asks by itself (KEP-1860)."""
    for one in service.get("status", {}).get("loadBalancer", {}).get("ingress", ()):
        if one.get("ip") and one.get("ipMode") != "Proxy":
            yield one["ip"]


def _sources(spec: Object) -> tuple[IPv4Network, ...]:
    networks = (ip_network(text.strip(), strict=False) for text in spec.get("loadBalancerSourceRanges") or ())
    return tuple(one for one in networks if isinstance(one, IPv4Network))


def _affinity_s(spec: Object) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(config.get("timeoutSeconds", DEFAULT_AFFINITY_S))


def _endpoints(
    slices: Sequence[Object], port_name: str, protocol: str, node: str
) -> tuple[tuple[Endpoint, ...], tuple[Endpoint, ...]]:
    """Those that are ready, and those that are ending but still serve."""
    ready: set[Endpoint] = set()
    ending: set[Endpoint] = set()
    for one in slices:
        for port in one.get("ports") or ():
            if (port.get("name") or "") != port_name or (port.get("protocol") or "TCP").lower() != protocol:
                continue
            if port.get("port") is None:
                continue
            for endpoint in one.get("endpoints") or ():
                conditions = endpoint.get("conditions") or {}
                local = endpoint.get("nodeName") == node
                made = {Endpoint(address, port["port"], local) for address in _parsed(endpoint["addresses"])}
                if conditions.get("ready") in (None, True):
                    ready |= made
                elif conditions.get("serving") and conditions.get("terminating"):
                    ending |= made
    return tuple(sorted(ready)), tuple(sorted(ending))


# ------------------------------------------------------------------ the ruleset
Rules = tuple[tuple[Statement, ...], ...]


@dataclass(frozen=True, slots=True)
class Part:
    """What the ports of a service add: chains by name (the statements of each rule, in order), elements, sets."""

    chains: Mapping[str, Rules] = field(default_factory=dict)
    elements: Mapping[MapKey, str] = field(default_factory=dict)
    """A map's element: the chain it goes to; a set's: nothing."""
    affinities: Mapping[str, int] = field(default_factory=dict)
    """A set of clients: for how many seconds each stays in it."""


_NO_PART: Final = Part()
_HOST: Final[Owner] = (-1, "", "")


@dataclass(frozen=True, slots=True)
class Ruleset:
    """The rules of one host that are not the same on every host: a part for each owner.

    `wishes` are the parts' elements by who wants them: by hand two services can be given one address.
    """

    network: Network
    parts: Mapping[Owner, Part] = field(default_factory=dict)
    wishes: Mapping[MapKey, Mapping[Owner, str]] = field(default_factory=dict)

    def element(self, key: MapKey) -> str | None:
        """Where an element leads, None if there is none."""
        wishes = self.wishes.get(key)
        return None if wishes is None else wishes[max(wishes)]


def ruleset(network: Network, served: Mapping[Owner, Sequence[ServicePort]]) -> Ruleset:
    """The rules of one host for these service ports."""
    addresses = Part({}, {("nodeport-ips", (str(address),)): "" for address in network.node_addresses})
    wishes = {key: {_HOST: target} for key, target in addresses.elements.items()}
    return changed(Ruleset(network, {_HOST: addresses}, wishes), served)


def changed(before: Ruleset, served: Mapping[Owner, Sequence[ServicePort]]) -> Ruleset:
    """The next rules: with these ports of these owners, and no others of theirs. All other parts are shared."""
    parts, wishes = dict(before.parts), dict(before.wishes)
    for owner, ports in served.items():
        part = _part_of(before.network, ports)
        known = parts.pop(owner, _NO_PART)
        for key in known.elements.keys() | part.elements.keys():
            wanted = {one: target for one, target in wishes.pop(key, {}).items() if one != owner}
            if key in part.elements:
                wanted[owner] = part.elements[key]
            if wanted:
                wishes[key] = wanted
        if part != _NO_PART:
            parts[owner] = part
    return Ruleset(before.network, parts, wishes)


def _part_of(network: Network, ports: Sequence[ServicePort]) -> Part:
    every = [_part(network, port) for port in ports]
    return every[0] if len(every) == 1 else _together(every)


def _together(parts: Iterable[Part]) -> Part:
    chains: dict[str, Rules] = {}
    elements: dict[MapKey, str] = {}
    affinities: dict[str, int] = {}
    for part in parts:
        chains.update(part.chains)
        elements.update(part.elements)
        affinities.update(part.affinities)
    return Part(chains, elements, affinities)


def _part(network: Network, port: ServicePort) -> Part:
    outside = tuple(str(address) for address in port.external_addresses)
    own = () if port.address is None else (str(port.address),)
    elements: dict[MapKey, str] = {("cluster-ips", (address,)): "" for address in own}
    if not port.endpoints:
        for address in (*own, *outside):
            elements["no-endpoint-services", (address, port.protocol, port.port)] = "reject-chain"
        if port.node_port:
            elements["no-endpoint-nodeports", (port.protocol, port.node_port)] = "reject-chain"
        return Part({}, elements, {})
    wide, local = _chain("service", port.chain_end), _chain("local", port.chain_end)
    inside = local if port.inside_local_only else wide
    served = {wide: port.endpoints, local: port.local_endpoints}
    used = [inside]
    for address in own:
        key = (address, port.protocol, port.port)
        if served[inside]:
            elements["service-ips", key] = inside
        else:
            elements["no-endpoint-services", key] = "drop-chain"
    chains: dict[str, Rules] = {}
    if port.node_port or outside:
        entry = _chain("external", port.chain_end)
        chains[entry] = _entry_rules(network, port, wide, local)
        used += [wide, local] if port.local_only else [wide]
        for address in outside:
            elements["service-ips", (address, port.protocol, port.port)] = entry
        if port.node_port:
            elements["service-nodeports", (port.protocol, port.node_port)] = entry
    if port.sources:
        guard = _chain("firewall", port.chain_end)
        chains[guard] = _firewall_rules(network, port)
        for one in port.balancer_addresses:
            elements["firewall-ips", (str(one), port.protocol, port.port)] = guard
    for name in used:
        if served[name]:
            chains[name] = _service_rules(network, port, served[name], cluster_address=name == inside)
    reached = sorted({one for name in used for one in served[name]})
    chains |= {_endpoint_chain(port, one): _endpoint_rules(port, one, network) for one in reached}
    kept = reached if port.affinity_s else ()
    return Part(chains, elements, {_affinity_set(port, one): port.affinity_s for one in kept})


def _endpoint_chain(port: ServicePort, endpoint: Endpoint) -> str:
    end = f"{port.namespace}/{port.service}/{port.protocol}/{port.port_name}__{endpoint.address}/{endpoint.port}"
    return _chain("endpoint", f"{_hash(end)}-{end}")


def _affinity_set(port: ServicePort, endpoint: Endpoint) -> str:
    return _endpoint_chain(port, endpoint).replace("endpoint-", "affinity-", 1)


def _service_rules(
    network: Network, port: ServicePort, endpoints: Sequence[Endpoint], *, cluster_address: bool
) -> Rules:
    rules: list[tuple[Statement, ...]] = []
    source = nft.payload("ip", "saddr")
    if cluster_address and port.address is not None:
        # From outside the cluster: the answer must come back through this host.
        rules.append(
            (
                nft.match(nft.payload("ip", "daddr"), str(port.address)),
                nft.match(nft.payload(port.protocol, "dport"), port.port),
                nft.match(source, nft.prefix(network.pods), "!="),
                nft.jump("mark-for-masquerade"),
            )
        )
    if port.affinity_s:
        rules += [
            (nft.match(source, f"@{_affinity_set(port, one)}"), nft.goto(_endpoint_chain(port, one)))
            for one in endpoints
        ]
    chains = [nft.goto(_endpoint_chain(port, one)) for one in endpoints]
    dice = {"numgen": {"mode": "random", "mod": len(chains), "offset": 0}}
    rules.append((nft.verdicts(dice, nft.mapping(enumerate(chains))),) if len(chains) > 1 else (chains[0],))
    return tuple(rules)


def _entry_rules(network: Network, port: ServicePort, wide: str, local: str) -> Rules:
    """What comes from outside: masqueraded, or with `Local` kept to this host's endpoints and left as it is."""
    if not port.local_only:
        return ((nft.jump("mark-for-masquerade"),), (nft.goto(wide),))
    from_pods = (nft.match(nft.payload("ip", "saddr"), nft.prefix(network.pods)), nft.goto(wide))
    from_here = nft.match({"fib": {"result": "type", "flags": ["saddr"]}}, "local")
    others: Statement = nft.goto(local) if port.local_endpoints else nft.DROP
    return (from_pods, (from_here, nft.jump("mark-for-masquerade")), (from_here, nft.goto(wide)), (others,))


def _firewall_rules(network: Network, port: ServicePort) -> Rules:
    """Who is in none of the source ranges gets no further; a host that may ask may use the balancer's address too."""
    sources = port.sources
    if any(address in one for address in network.node_addresses for one in sources):
        sources += tuple(map(IPv4Network, port.balancer_addresses))
    known = {"set": [nft.prefix(one) for one in collapse_addresses(sources)]}
    return ((nft.match(nft.payload("ip", "saddr"), known, "!="), nft.DROP),)


def _endpoint_rules(port: ServicePort, endpoint: Endpoint, network: Network) -> Rules:
    source = nft.payload("ip", "saddr")
    # An endpoint that reaches itself through the service would answer itself past all translation.
    itself = nft.prefix(network.own_pods) if endpoint.local and not network.bridged_seen else str(endpoint.address)
    rules: list[tuple[Statement, ...]] = [(nft.match(source, itself), nft.jump("mark-for-masquerade"))]
    if port.affinity_s:
        remember: Statement = {"set": {"op": "update", "elem": source, "set": f"@{_affinity_set(port, endpoint)}"}}
        rules.append((remember,))
    to = {"dnat": {"addr": str(endpoint.address), "port": endpoint.port}}
    rules.append((nft.match(nft.meta("l4proto"), port.protocol), to))
    return tuple(rules)


def leads_astray(flow: Flow, ports: Iterable[ServicePort], network: Network) -> bool:
    """Whether a flow of UDP to one of these ports goes where none of its endpoints is (any more).

    Packets of UDP have no beginning: as long as its client goes on, no rule is asked again.
    Source: Kubernetes' pkg/proxy/conntrack/cleanup.go.
    """
    return flow.protocol == IPPROTO_UDP and any(
        flow.answers not in {endpoint.address for endpoint in (*port.endpoints, *port.ending_here)}
        for port in ports
        if (flow.port == port.port and flow.to in (port.address, *port.external_addresses))
        or (flow.port == port.node_port and flow.to in network.node_addresses)
    )


# ------------------------------------------------------------------ what to say to nft
_TABLE = {"family": "ip", "table": TABLE}
_TO_SERVICE = nft.concat(nft.payload("ip", "daddr"), nft.meta("l4proto"), nft.payload("th", "dport"))
_TO_PORT = nft.concat(nft.meta("l4proto"), nft.payload("th", "dport"))
_TO_NODE = nft.match(nft.payload("ip", "daddr"), "@nodeport-ips")
_NEW = nft.match({"ct": {"key": "state"}}, "new", "in")
_MARK = {"|": [nft.meta("mark"), MASQUERADE_MARK]}

_SETS: Final[Mapping[str, tuple[str, ...]]] = {"cluster-ips": ("ipv4_addr",), "nodeport-ips": ("ipv4_addr",)}
_MAPS: Final[Mapping[str, tuple[str, ...]]] = {
    "service-ips": ("ipv4_addr", "inet_proto", "inet_service"),
    "firewall-ips": ("ipv4_addr", "inet_proto", "inet_service"),
    "service-nodeports": ("inet_proto", "inet_service"),
    "no-endpoint-services": ("ipv4_addr", "inet_proto", "inet_service"),
    "no-endpoint-nodeports": ("inet_proto", "inet_service"),
}
_HOOKS: Final[Mapping[str, tuple[str, str, int]]] = {
    "filter-prerouting": ("filter", "prerouting", _PRIORITY_FILTER_BEFORE_NAT),
    "filter-input": ("filter", "input", _PRIORITY_FILTER_BEFORE_NAT),
    "filter-forward": ("filter", "forward", _PRIORITY_FILTER_BEFORE_NAT),
    "filter-output": ("filter", "output", _PRIORITY_FILTER_BEFORE_NAT),
    "filter-output-post-dnat": ("filter", "output", _PRIORITY_AFTER_DNAT),
    "nat-prerouting": ("nat", "prerouting", _PRIORITY_DNAT),
    "nat-output": ("nat", "output", _PRIORITY_DNAT),
    "nat-postrouting": ("nat", "postrouting", _PRIORITY_SNAT),
}


def _standing_rules(network: Network) -> Iterator[tuple[str, tuple[Statement, ...]]]:
    """The rules that are the same whatever services there are."""
    destination = nft.payload("ip", "daddr")
    yield "filter-prerouting", (_NEW, nft.jump("firewall-check"))
    yield "filter-input", (_NEW, nft.jump("nodeport-endpoints-check"))
    yield "filter-input", (_NEW, nft.jump("service-endpoints-check"))
    yield "filter-forward", (_NEW, nft.jump("service-endpoints-check"))
    yield "filter-forward", (_NEW, nft.jump("cluster-ips-check"))
    yield "filter-output", (_NEW, nft.jump("service-endpoints-check"))
    yield "filter-output", (_NEW, nft.jump("firewall-check"))
    yield "filter-output-post-dnat", (_NEW, nft.jump("cluster-ips-check"))
    yield "nat-prerouting", (nft.jump("services"),)
    yield "nat-output", (nft.jump("services"),)
    yield "nat-postrouting", (nft.jump("masquerading"),)
    yield "services", (nft.verdicts(_TO_SERVICE, "@service-ips"),)
    yield "services", (_TO_NODE, nft.verdicts(_TO_PORT, "@service-nodeports"))
    yield "firewall-check", (nft.verdicts(_TO_SERVICE, "@firewall-ips"),)
    yield "service-endpoints-check", (nft.verdicts(_TO_SERVICE, "@no-endpoint-services"),)
    yield "nodeport-endpoints-check", (_TO_NODE, nft.verdicts(_TO_PORT, "@no-endpoint-nodeports"))
    yield "cluster-ips-check", (nft.match(destination, "@cluster-ips"), nft.REJECT)
    yield "cluster-ips-check", (nft.match(destination, nft.prefix(network.services)), nft.DROP)
    yield "mark-for-masquerade", ({"mangle": {"key": nft.meta("mark"), "value": _MARK}},)
    marked = nft.match({"&": [nft.meta("mark"), MASQUERADE_MARK]}, 0)
    yield "masquerading", (marked, nft.RETURN)
    unmark = {"^": [nft.meta("mark"), MASQUERADE_MARK]}
    yield "masquerading", ({"mangle": {"key": nft.meta("mark"), "value": unmark}},)
    yield "masquerading", ({"masquerade": {"flags": "fully-random"}},)
    yield "reject-chain", (nft.REJECT,)
    yield "drop-chain", (nft.DROP,)


def replacement(wanted: Ruleset) -> list[Command]:
    """The commands that make the whole table anew, whatever is there."""
    table = {"table": {"family": "ip", "name": TABLE}}
    commands: list[Command] = [{"add": table}, {"delete": table}, {"add": table}]
    for name, kinds in _SETS.items():
        commands.append({"add": {"set": {**_TABLE, "name": name, "type": _type(kinds)}}})
    for name, kinds in _MAPS.items():
        commands.append({"add": {"map": {**_TABLE, "name": name, "type": _type(kinds), "map": "verdict"}}})
    for name, (kind, hook, priority) in _HOOKS.items():
        chain = {**_TABLE, "name": name, "type": kind, "hook": hook, "prio": priority, "policy": "accept"}
        commands.append({"add": {"chain": chain}})
    standing = list(_standing_rules(wanted.network))
    for name in dict.fromkeys(name for name, _ in standing):
        if name not in _HOOKS:
            commands.append({"add": {"chain": {**_TABLE, "name": name}}})
    commands += [nft.rule(TABLE, name, statements) for name, statements in standing]
    return commands + update(Ruleset(wanted.network), wanted)


def _type(kinds: tuple[str, ...]) -> Any:
    return kinds[0] if len(kinds) == 1 else list(kinds)


def differing(held: Ruleset, wanted: Ruleset) -> list[Owner]:
    """Whose parts are not the same."""
    return [one for one in {**held.parts, **wanted.parts} if held.parts.get(one) is not wanted.parts.get(one)]


def update(held: Ruleset, wanted: Ruleset, of: Sequence[Owner] | None = None) -> list[Command]:
    """The commands that make the table of `held` that of `wanted`: one transaction, as large as what changed.

    Both are of one network. A client's affinity survives, unless its endpoint goes. With `of` only the parts of these
    owners are made so; others that differ have no elements of theirs.
    """
    owners = differing(held, wanted) if of is None else of
    before = _together(held.parts.get(one, _NO_PART) for one in owners)
    after = _together(wanted.parts.get(one, _NO_PART) for one in owners)
    keys = sorted(before.elements.keys() | after.elements.keys(), key=str)
    moved = [key for key in keys if held.element(key) != wanted.element(key)]
    gone = {key: target for key in moved if (target := held.element(key)) is not None}
    new = {key: target for key in moved if (target := wanted.element(key)) is not None}
    new_chains = [name for name in after.chains if name not in before.chains]
    rewritten = [name for name, rules in after.chains.items() if before.chains.get(name) != rules]
    gone_chains = [name for name in before.chains if name not in after.chains]
    affinities = {name: s for name, s in after.affinities.items() if before.affinities.get(name) != s}
    lost_affinities = [name for name, s in before.affinities.items() if after.affinities.get(name) != s]

    commands = [{"delete": {"element": _element(key, target)}} for key, target in gone.items()]
    # Emptied before what they name is deleted.
    retimed = {name.replace("affinity-", "endpoint-", 1) for name in lost_affinities} & after.chains.keys()
    users = {name for name, rules in after.chains.items() if lost_affinities and _names_any(rules, lost_affinities)}
    rewritten += sorted((retimed | users) - set(rewritten))
    commands += [{"add": {"chain": {**_TABLE, "name": name}}} for name in new_chains]
    emptied = [name for name in (*rewritten, *gone_chains) if name in before.chains]
    commands += [{"flush": {"chain": {**_TABLE, "name": name}}} for name in emptied]
    commands += [{"delete": {"chain": {**_TABLE, "name": name}}} for name in gone_chains]
    commands += [{"delete": {"set": {**_TABLE, "name": name}}} for name in lost_affinities]
    commands += [
        {"add": {"set": {**_TABLE, "name": name, "type": "ipv4_addr", "flags": ["timeout"], "timeout": s}}}
        for name, s in affinities.items()
    ]
    commands += [nft.rule(TABLE, name, statements) for name in rewritten for statements in after.chains[name]]
    commands += [{"add": {"element": _element(key, target)}} for key, target in new.items()]
    return commands


def _names_any(rules: Rules, sets: Sequence[str]) -> bool:
    text = repr(rules)
    return any(f"@{name}'" in text for name in sets)


def _element(key: MapKey, target: str) -> dict[str, Any]:
    name, parts = key
    value: Any = parts[0] if len(parts) == 1 else nft.concat(*parts)
    return {**_TABLE, "name": name, "elem": [[value, nft.goto(target)] if target else value]}
