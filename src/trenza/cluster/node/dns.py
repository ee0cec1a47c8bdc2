"""The cluster's DNS in values: records of services and pods, a question's bytes in, the answer's bytes out.

`NAME.NAMESPACE.svc.cluster.local` is a service's address or, of a headless one, those of its endpoints;
`_PORT._PROTOCOL` before it asks for a port (SRV); `1-2-3-4.NAMESPACE.pod.cluster.local` is a pod's; and addresses have
names (PTR).
Source: the specification of DNS-based service discovery (kubernetes/dns, docs/specification.md), version 1.1.0.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dns.message import Message

DOMAIN: Final = "cluster.local"
TTL_S: Final = 5
MAX_UDP_BYTES: Final = 1232
Object = Mapping[str, Any]
_Records = dict[str, dict[str, list[str]]]


@dataclass(frozen=True, slots=True)
class Zone:
    """Names in lower case without the dot at their end; by type their data, as a zone file writes them."""

    records: Mapping[str, Mapping[str, list[str]]] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    """Every name that exists, those in between included: a question about one is answered, if by nothing."""


def zone(services: Iterable[Object], slices: Iterable[Object]) -> Zone:
    """What the cluster's name server knows."""
    records: _Records = defaultdict(lambda: defaultdict(list))
    records[f"dns-version.{DOMAIN}"]["TXT"].append('"1.1.0"')
    by_owner: dict[tuple[str, str], list[Object]] = defaultdict(list)
    for one in slices:
        owner = (one["metadata"].get("labels") or {}).get("kubernetes.io/service-name", "")
        by_owner[one["metadata"]["namespace"], owner].append(one)
    for service in services:
        metadata = service["metadata"]
        # what people wrote into the store by hand and cannot mean has no names; the others keep theirs
        with suppress(KeyError, TypeError, ValueError, AttributeError):
            _add_service(records, service, by_owner[metadata["namespace"], metadata["name"]])
    plain = {name: {kind: sorted(set(data)) for kind, data in kinds.items()} for name, kinds in records.items()}
    return Zone(plain, frozenset(parent for name in plain for parent in _parents(name)))


def _add_service(records: _Records, service: Object, slices: Iterable[Object]) -> None:
    metadata, spec = service["metadata"], service.get("spec", {})
    name = f"{metadata['name']}.{metadata['namespace']}.svc.{DOMAIN}".lower()
    if spec.get("type") == "ExternalName":
        records[name]["CNAME"].append(f"{spec['externalName'].rstrip('.')}.")
    elif spec.get("clusterIP") == "None":
        for one in slices:
            _add_endpoints(records, name, one, unready=bool(spec.get("publishNotReadyAddresses")))
    elif spec.get("clusterIP"):
        ip_address(spec["clusterIP"])
        _add_address(records, name, spec["clusterIP"])
        for port in spec.get("ports", ()):
            _add_port(records, name, name, port.get("name"), port.get("protocol", "TCP"), port["port"])


def _parents(name: str) -> Iterable[str]:
    labels = name.split(".")
    return (".".join(labels[start:]) for start in range(len(labels)))


def _add_address(records: _Records, name: str, address: str) -> None:
    records[name]["A" if ":" not in address else "AAAA"].append(address)
    if ":" not in address:
        records[f"{'.'.join(reversed(address.split('.')))}.in-addr.arpa"]["PTR"].append(f"{name}.")


def _add_port(records: _Records, service: str, target: str, name: str | None, protocol: str, port: int) -> None:
    if name:
        records[f"_{name}._{protocol.lower()}.{service}"]["SRV"].append(f"0 100 {port} {target}.")


def _add_endpoints(records: _Records, service: str, one: Object, *, unready: bool) -> None:
    for endpoint in one.get("endpoints") or ():
        if (endpoint.get("conditions") or {}).get("ready") is False and not unready:
            continue
        for address in endpoint["addresses"]:
            host = (endpoint.get("hostname") or address.replace(".", "-").replace(":", "-")).lower()
            records[service]["A" if ":" not in address else "AAAA"].append(address)
            _add_address(records, f"{host}.{service}", address)
            for port in one.get("ports") or ():
                number, protocol = port.get("port"), port.get("protocol") or "TCP"
                if number is not None:
                    _add_port(records, service, f"{host}.{service}", port.get("name"), protocol, number)


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """What a resolv.conf says: whom to ask, what to put behind short names, and how."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @staticmethod
    def read(text: str) -> ResolvConf:
        """Of several lines `search` the last counts, as in glibc."""
        found: dict[str, list[str]] = {"nameserver": [], "search": [], "options": []}
        for line in text.splitlines():
            key, *words = line.split() or [""]
            if key == "search":
                found[key] = words
            elif key in found:
                found[key] += words[:1] if key == "nameserver" else words
        return ResolvConf(*(tuple(words) for words in found.values()))

    def __str__(self) -> str:
        lines = [f"search {' '.join(self.searches)}"] if self.searches else []
        lines += [f"nameserver {server}" for server in self.servers]
        lines += [f"options {' '.join(self.options)}"] if self.options else []
        return "".join(f"{line}\n" for line in lines)


def resolv_conf(pod: Object, server: IPv4Address, host: ResolvConf) -> ResolvConf:
    """A pod's, by its dnsPolicy, with what its dnsConfig adds (Kubernetes' pkg/kubelet/network/dns)."""
    spec = pod["spec"]
    policy = spec.get("dnsPolicy", "ClusterFirst")
    if policy == "None":
        base = ResolvConf()
    elif policy == "Default" or (policy == "ClusterFirst" and spec.get("hostNetwork")):
        base = host
    else:
        own = (f"{pod['metadata']['namespace']}.svc.{DOMAIN}", f"svc.{DOMAIN}", DOMAIN)
        base = ResolvConf((str(server),), (*own, *host.searches), ("ndots:5",))
    more = spec.get("dnsConfig") or {}
    options = {option.partition(":")[0]: option for option in base.options}
    for one in more.get("options", ()):
        options[one["name"]] = f"{one['name']}:{one['value']}" if one.get("value") else one["name"]
    return ResolvConf(
        tuple(dict.fromkeys((*base.servers, *more.get("nameservers", ())))),
        tuple(dict.fromkeys((*base.searches, *more.get("searches", ())))),
        tuple(options.values()),
    )


# ------------------------------------------------------------------ bytes
def answer(question: bytes, known: Zone, *, limit_bytes: int = MAX_UDP_BYTES) -> bytes | None:
    """The answer's bytes; None for a name outside the cluster, which somebody else must be asked for.

    A datagram has no more than its asker takes (RFC 6891, section 6.2.5; who does not say: 512 bytes).
    What is no question gets FORMERR, or nothing where it has not even an id: then the answer is empty.
    """
    import dns.exception
    import dns.flags
    import dns.message
    import dns.rcode

    try:
        query = dns.message.from_wire(question, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError, struct.error):
        if len(question) < 12 or question[2] & 0x80:
            return b""
        return question[:2] + bytes((0x80 | question[2] & 0x79, 1)) + bytes(8)  # FORMERR
    if query.flags & dns.flags.QR:
        return b""
    if limit_bytes <= MAX_UDP_BYTES:
        limit_bytes = min(limit_bytes, max(512, query.payload))
    if len(query.question) != 1:
        return _pack(dns.message.make_response(query), limit_bytes)
    name = query.question[0].name.to_text(omit_final_dot=True).lower()
    inside = name == DOMAIN or name.endswith(f".{DOMAIN}")
    if not inside and name not in known.records:
        return None
    response = dns.message.make_response(query)
    response.flags |= dns.flags.AA
    _fill(response, name, query.question[0].rdtype, known)
    return _pack(response, limit_bytes)


def _pack(response: Message, limit_bytes: int) -> bytes:
    import dns.exception
    import dns.flags

    try:
        return response.to_wire(max_size=limit_bytes)
    except dns.exception.TooBig:
        response.flags |= dns.flags.TC
        response.answer.clear()
        response.additional.clear()
        return response.to_wire(max_size=max(512, limit_bytes))


def _fill(response: Message, name: str, kind: int, known: Zone) -> None:
    import dns.rcode
    import dns.rdatatype
    import dns.rrset

    found = known.records.get(name) or _pod_records(name)
    wanted = dns.rdatatype.to_text(dns.rdatatype.RdataType.make(kind))
    data = (found or {}).get(wanted) or []
    owner = f"{name}."
    if not data and found and "CNAME" in found:
        response.answer.append(dns.rrset.from_text(owner, TTL_S, "IN", "CNAME", *found["CNAME"]))
        return
    if data:
        response.answer.append(dns.rrset.from_text(owner, TTL_S, "IN", wanted, *data))
        if wanted == "SRV":
            _add_targets(response, data, known)
        return
    if found is None and name not in known.names:
        response.set_rcode(dns.rcode.NXDOMAIN)
    soa = f"ns.dns.{DOMAIN}. hostmaster.{DOMAIN}. 1 7200 1800 86400 {TTL_S}"
    response.authority.append(dns.rrset.from_text(f"{DOMAIN}.", TTL_S, "IN", "SOA", soa))


def _add_targets(response: Message, data: Iterable[str], known: Zone) -> None:
    import dns.rrset

    for target in sorted({one.split()[3] for one in data}):
        addresses = known.records.get(target.rstrip("."), {}).get("A")
        if addresses:
            response.additional.append(dns.rrset.from_text(target, TTL_S, "IN", "A", *addresses))


def _pod_records(name: str) -> Mapping[str, list[str]] | None:
    """A pod's name says its address."""
    labels = name.removesuffix(f".{DOMAIN}").split(".")
    if len(labels) != 3 or labels[2] != "pod":
        return None
    try:
        return {"A": [str(IPv4Address(labels[0].replace("-", ".")))]}
    except ValueError:
        return None


def failure(question: bytes) -> bytes:
    """SERVFAIL to a question that nobody could be asked."""
    import dns.exception
    import dns.message
    import dns.rcode

    try:
        response = dns.message.make_response(dns.message.from_wire(question, ignore_trailing=True))
    except (dns.exception.DNSException, ValueError, struct.error):
        return b""
    response.set_rcode(dns.rcode.SERVFAIL)
    return response.to_wire()
