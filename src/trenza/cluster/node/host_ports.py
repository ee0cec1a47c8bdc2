"""`hostPort` in values: a port of the host that leads to a pod of it, by the rules of a node port with one endpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address
from typing import Any

from trenza.cluster.node.proxy import Endpoint, ServicePort, ipv4

Object = Mapping[str, Any]
_EVERYWHERE = ("", "0.0.0.0")


def host_ports(pod: Object) -> Iterator[ServicePort]:
    """Those of a pod of this host that runs, in a network of its own; who asks from outside is seen by the pod."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    if spec.get("hostNetwork") or status.get("phase") != "Running" or not status.get("podIP"):
        return
    for container in spec.get("containers", ()):
        for port in container.get("ports") or ():
            number = port.get("hostPort")
            everywhere = port.get("hostIP", "") in _EVERYWHERE
            if not number or not (everywhere or ipv4(port["hostIP"])):
                continue
            yield ServicePort(
                metadata["namespace"],
                f"pod/{metadata['name']}",
                f"host-port-{number}",
                port.get("protocol", "TCP").lower(),
                None,
                number,
                number if everywhere else 0,
                () if everywhere else (IPv4Address(port["hostIP"]),),
                local_only=True,
                endpoints=(Endpoint(IPv4Address(status["podIP"]), port["containerPort"], True),),
            )
