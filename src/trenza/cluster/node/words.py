"""The rules behind one service, in sentences: what a host does with its packets, in the order in which it does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trenza.cluster.node.proxy import Endpoint, Network, ServicePort

_SENTENCES: Final = {
    "to": ("To {address} port {port}/{protocol} ({words}):", "Hacia {address}, puerto {port}/{protocol} ({words}):"),
    "refused": (
        "nobody serves it; a packet is refused at once (ICMP port unreachable)",
        "nadie lo atiende; un paquete se rechaza en el acto (ICMP puerto inalcanzable)",
    ),
    "inside_local": (
        "only endpoints of this host serve whoever asks from it",
        "solo atienden destinos de este host a quien pregunta desde él",
    ),
    "inside_nobody": (
        "this host has no endpoint, and a packet is dropped",
        "este host no tiene destino, y un paquete se descarta",
    ),
    "sources": (
        "at {addresses} only who comes from {sources} gets through; others are dropped",
        "por {addresses} solo pasa quien viene de {sources}; lo demás se descarta",
    ),
    "one": ("every connection goes to {endpoint}", "toda conexión va a {endpoint}"),
    "many": (
        "a new connection goes to one of {count} by chance, each as likely: {endpoints}",
        "una conexión nueva va al azar a uno de {count}, todos igual de probables: {endpoints}",
    ),
    "affinity": (
        "who was here less than {seconds} s ago goes to the same one again",
        "quien estuvo hace menos de {seconds} s vuelve al mismo",
    ),
    "translated": (
        "the destination is rewritten to the endpoint's address; answers are written back by the same host",
        "el destino se reescribe con la dirección elegida; el mismo host deshace el cambio en las respuestas",
    ),
    "outside": (
        "who asks from outside {pods} appears to the endpoint as this host",
        "a quien pregunta desde fuera de {pods}, el destino lo ve como este host",
    ),
    "hairpin": (
        "an endpoint that reaches itself sees this host as the source",
        "un destino que se alcanza a sí mismo ve como origen a este host",
    ),
    "node_port": (
        "the same on port {port} of this host ({addresses}), and the source becomes this host's",
        "lo mismo en el puerto {port} de este host ({addresses}), y el origen pasa a ser el de este host",
    ),
    "node_port_local": (
        "port {port} of this host ({addresses}) leads only to endpoints of this host, which see who asks: {endpoints}",
        "el puerto {port} de este host ({addresses}) lleva solo a destinos de este host, que ven quién pregunta: "
        "{endpoints}",
    ),
    "nobody": ("none, so it is dropped", "ninguno, así que se descarta"),
}


def service_words(network: Network, ports: Sequence[ServicePort], *, language: str = "en") -> tuple[str, ...]:
    """What a host does for a service: a heading for each of its ports, and indented sentences below it."""
    lines: list[str] = []
    for port in ports:
        lines.append(
            _say("to", language, address=port.address, port=port.port, protocol=port.protocol, words=port.words)
        )
        lines += [f"  {line}" for line in _port_words(network, port, language)]
    return tuple(lines)


def _port_words(network: Network, port: ServicePort, language: str) -> list[str]:
    if not port.endpoints:
        return [_say("refused", language)]
    lines = [_say("affinity", language, seconds=port.affinity_s)] if port.affinity_s else []
    endpoints = port.local_endpoints if port.inside_local_only else port.endpoints
    if port.inside_local_only:
        lines.append(_say("inside_local" if endpoints else "inside_nobody", language))
    if len(endpoints) == 1:
        lines.append(_say("one", language, endpoint=_endpoints(endpoints)))
    elif endpoints:
        lines.append(_say("many", language, count=len(endpoints), endpoints=_endpoints(endpoints)))
    lines.append(_say("translated", language))
    lines.append(_say("outside", language, pods=network.pods))
    lines.append(_say("hairpin", language))
    if port.node_port:
        addresses = ", ".join(str(address) for address in network.node_addresses)
        local = _endpoints(port.local_endpoints) or _say("nobody", language)
        key = "node_port_local" if port.local_only else "node_port"
        lines.append(_say(key, language, port=port.node_port, addresses=addresses, endpoints=local))
    if port.sources:
        addresses = ", ".join(map(str, port.balancer_addresses))
        lines.append(_say("sources", language, addresses=addresses, sources=", ".join(map(str, port.sources))))
    return lines


def _endpoints(endpoints: Sequence[Endpoint]) -> str:
    return ", ".join(f"{one.address}:{one.port}" for one in endpoints)


def _say(key: str, language: str, **values: object) -> str:
    return _SENTENCES[key][1 if language == "es" else 0].format(**values)
