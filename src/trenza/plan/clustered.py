"""What a cluster's agents make on its hosts (docker0, flannel.1, pods' veths, routes): theirs, and nobody's drift."""

from __future__ import annotations

from ipaddress import IPv4Network

from trenza.model.cluster import BRIDGE, TUNNEL, Cluster
from trenza.model.names import Interface
from trenza.model.state import Key, Route, State, Sysctl, link_key, provides

FORWARDING = "net.ipv4.ip_forward"
_POD_LINKS = "veth"


def without_clustered(observed: State, wanted: State, cluster: Cluster | None) -> State:
    """What is there, without what the agents made on the hosts that run pods."""
    if cluster is None:
        return observed
    hosts = {member.node for member in cluster.nodes}
    theirs = {link_key(Interface(host, nic)) for host in hosts for nic in (BRIDGE, TUNNEL)}
    theirs |= {
        thing.key
        for thing in observed
        if thing.key not in wanted.things
        and any(key[0] == "link" and key[1] in hosts and key[2].startswith(_POD_LINKS) for key in provides(thing))
    }
    theirs |= {
        thing.key
        for thing in observed
        if isinstance(thing, Route) and thing.node in hosts and _is_theirs(thing, (cluster.pods, cluster.services))
    }
    kept = [thing for thing in observed if not _stands_on(thing.key, thing.stands_on(), theirs)]
    # a host of a cluster forwards, whatever the lab file says of it
    return State.of(
        wanted.things[thing.key]
        if isinstance(thing, Sysctl) and thing.node in hosts and thing.name == FORWARDING and thing.key in wanted.things
        else thing
        for thing in kept
    )


def is_pod_link(cluster: Cluster | None, node: str, nic: str) -> bool:
    """Whether an interface of a host leads to one of its pods."""
    return cluster is not None and nic.startswith(_POD_LINKS) and any(node == member.node for member in cluster.nodes)


def _is_theirs(route: Route, networks: tuple[IPv4Network, ...]) -> bool:
    return isinstance(route.to, IPv4Network) and any(route.to.subnet_of(network) for network in networks)


def _stands_on(key: Key, below: tuple[Key, ...], gone: set[Key]) -> bool:
    return key in gone or any(one in gone for one in below)
