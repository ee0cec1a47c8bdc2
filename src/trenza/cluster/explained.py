"""One service in words: what the hosts of a cluster do with packets that are sent to it."""

from __future__ import annotations

from collections.abc import Sequence

from trenza.cluster.api import Object
from trenza.cluster.node.proxy import Network, owner_of, service_ports
from trenza.cluster.node.words import service_words
from trenza.errors import UsageError
from trenza.model.cluster import Cluster


def explained(
    cluster: Cluster, services: Sequence[Object], slices: Sequence[Object], namespace: str, name: str, language: str
) -> list[str]:
    """What the first host does, under its name; all of them where each serves with its own pods.

    Raises UsageError for a service that is not there, saying which are.
    """
    names = {(one["metadata"]["namespace"], one["metadata"]["name"]): one for one in services}
    service = names.get((namespace, name))
    if service is None:
        known = ", ".join("/".join(key) for key in sorted(names))
        raise UsageError(f"there is no service {namespace}/{name}", hint=f"services: {known}")
    own = [one for one in slices if owner_of(one) == (namespace, name)]
    lines: list[str] = []
    for member in cluster.nodes:
        # which pods are the host's own is told by the endpoints; no sentence needs their network
        network = Network(member.node, cluster.pods, cluster.services, cluster.pods, (member.address,))
        ports = service_ports(service, own, member.node)
        if not ports:
            return [_without_address(service, language)]
        words = [f"  {line}" for line in service_words(network, ports, language=language)]
        head = f"{member.node} ({member.address})"
        if not any(port.local_only or port.inside_local_only for port in ports):
            return [head + (", como cada nodo" if language == "es" else ", as every node does"), *words]
        lines += [head, *words]
    return lines


def _without_address(service: Object, language: str) -> str:
    name = f"{service['metadata']['namespace']}/{service['metadata']['name']}"
    if service["spec"].get("type") == "ExternalName":
        other = service["spec"].get("externalName", "")
        return f"{name} es otro nombre de {other}" if language == "es" else f"{name} is another name of {other}"
    if language == "es":
        return f"{name} no tiene dirección propia: su nombre da las de sus pods, y ningún host reescribe nada"
    return f"{name} has no address of its own: its name has those of its pods, and no host rewrites anything"
