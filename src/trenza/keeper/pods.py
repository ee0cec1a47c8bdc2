"""Pods as those who ask and are asked: which of the cluster's a question means, their network namespaces held open."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from ipaddress import ip_address
from typing import Any

from trenza.check.verdict import Said, same
from trenza.cluster.controllers.pods import is_ready
from trenza.keeper.absent import Absent
from trenza.keeper.unready import Object, Trouble, not_ready, trouble_of
from trenza.linux.nodes import NodeHandle
from trenza.model.checks import ClusterService, Pod
from trenza.model.names import NicName, NodeName
from trenza.model.state import IpAddress, Node, NodeKind

_FIRST_NODE_PORT = 30000
POD_NIC = NicName("eth0")
"""The one interface that a pod has beside lo."""


class Pods:
    """The pods and services of one moment. `namespaces`: descriptors by the pods' uids, which `close` closes."""

    def __init__(
        self,
        pods: Sequence[Object],
        services: Sequence[Object],
        slices: Sequence[Object],
        namespaces: Mapping[str, int],
    ) -> None:
        self._slices = slices
        self._pods = sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))
        self._services = services
        self._namespaces = namespaces

    def close(self) -> None:
        for descriptor in self._namespaces.values():
            os.close(descriptor)

    def names(self) -> list[str]:
        """How each of the pods is named."""
        return sorted(map(name_of, self._pods))

    # ------------------------------------------------------------------ all raise Absent
    def handle(self, meant: Pod) -> NodeHandle:
        """The pod as a node, `pod/NAME`."""
        return self._node(self._find(meant))

    def network(self, meant: Pod) -> NodeHandle:
        """The pod as a node, Ready or not, as soon as it has a network."""
        return self._node(self._find(meant, lambda pod: pod["metadata"]["uid"] in self._namespaces))

    def container(self, meant: Pod) -> tuple[str, NodeName]:
        """A pod, `pod/NAME`, and its first container that runs as the spawner names it, Ready or not."""
        from trenza.cluster.node.containers import container_node

        pod = self._find(meant, lambda pod: find_running(pod) is not None)
        running = find_running(pod)
        if running is None:  # what is Ready runs one, or its kubelet is not heard of any more
            name = pod["metadata"]["name"]
            raise Absent(Said(f"{name} runs no container", f"{name} no tiene ningún contenedor en marcha"))
        node = container_node(pod["spec"]["nodeName"], pod["metadata"]["uid"], *running)
        return name_of(pod), NodeName(node)

    def _node(self, pod: Object) -> NodeHandle:
        netns = self._namespaces.get(pod["metadata"]["uid"])
        if netns is None:
            name = pod["metadata"]["name"]
            raise Absent(Said(f"{name} has no network of its own", f"{name} no tiene red propia"))
        host = NodeName(pod["spec"]["nodeName"])
        return NodeHandle(Node(NodeName(name_of(pod)), NodeKind.CONTAINER, host), netns)

    def address(self, meant: Pod | ClusterService) -> IpAddress:
        """A pod's address, a service's cluster IP."""
        if isinstance(meant, Pod):
            return ip_address(self._find(meant)["status"]["podIP"])
        for service in self._services:
            metadata = service["metadata"]
            if (metadata["name"], metadata["namespace"]) == (meant.name, meant.namespace):
                given = service["spec"].get("clusterIP", "None")
                if given == "None":
                    raise Absent(Said(f"{meant} has no address of its own", f"{meant} no tiene dirección propia"))
                return ip_address(given)
        said = Said(f"there is no service {meant.name}", f"no hay ningún servicio {meant.name}")
        raise Absent(said, same("kubectl get services" + _in_namespace(meant)))

    def why_unserved(self, to: IpAddress, port: int) -> Trouble | None:
        """Why a service's address or node port refuses; None where it is neither."""
        spec: Mapping[str, Any]
        for service in self._services:
            spec = service["spec"]
            at_cluster_ip = spec.get("clusterIP") == str(to)
            ports = [one for one in spec.get("ports", ()) if port in (one.get("nodePort"), one["port"])]
            if at_cluster_ip and not ports:
                shown = " ".join(str(one["port"]) for one in spec.get("ports", ()))
                name = service["metadata"]["name"]
                said = Said(f"the Service {name} has the port {shown}", f"el Service {name} tiene el puerto {shown}")
                return Trouble(said, _describe(service), stays=True)
            if (at_cluster_ip and ports) or any(one.get("nodePort") == port for one in ports):
                return self._why_unserved(service, ports[0])
        if port < _FIRST_NODE_PORT:
            return None
        said = Said(f"no Service has the node port {port}", f"ningún Service tiene el puerto de nodo {port}")
        return Trouble(said, same("kubectl get services -A"), stays=True)

    def why_silent(self, to: IpAddress, port: int) -> Trouble | None:
        """Why a service without endpoints does not even refuse: its host tells of few refusals a second."""
        for service in self._services:
            ports = service["spec"].get("ports", ())
            if service["spec"].get("clusterIP") == str(to) or any(one.get("nodePort") == port for one in ports):
                return None if served_by(service, self._slices) else self._why_unserved(service, {})
        return None

    def _why_unserved(self, service: Object, port: Object) -> Trouble:
        from trenza.cluster.kinds.selectors import selector_of_labels

        name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
        if served_by(service, self._slices):
            target = port.get("targetPort", port["port"])
            said = Said(
                f"the pods of the Service {name} do not answer at its targetPort {target}",
                f"los pods del Service {name} no responden en su targetPort {target}",
            )
            return Trouble(said, _describe(service))
        labels = service["spec"].get("selector") or {}
        selector = selector_of_labels(labels)
        chosen = [
            one
            for one in self._pods
            if one["metadata"]["namespace"] == namespace and labels and selector.holds(one["metadata"].get("labels"))
        ]
        if not chosen:
            said = Said(
                f"the Service {name} has no endpoints: no pod has its labels {selector}",
                f"el Service {name} no tiene endpoints: ningún pod tiene sus etiquetas {selector}",
            )
            where = _in_namespace(ClusterService(name, namespace))
            return Trouble(said, same(f"kubectl get pods --show-labels{where}"))
        why = not_ready(chosen[0])
        said = Said(f"the Service {name} has no endpoints: {why.en}", f"el Service {name} no tiene endpoints: {why.es}")
        return Trouble(said, trouble_of(chosen[0]).look)

    def say(self, meant: Pod | ClusterService) -> str:
        """Whom it means now, or the words it was asked in."""
        try:
            return str(self.handle(meant).node.name) if isinstance(meant, Pod) else str(meant)
        except Absent:
            return str(meant)

    def _find(self, meant: Pod, will_do: Callable[[Object], bool] = lambda _: False) -> Object:
        """A pod that is Ready, with an address; else one that will do as it is."""
        found = [pod for pod in self._pods if _is(pod, meant)]
        ready = next((pod for pod in found if is_ready(pod) and pod["status"].get("podIP")), None)
        chosen = ready or next(filter(will_do, found), None)
        if chosen is not None:
            return chosen
        if not found:
            raise Absent(_none_there(meant), same("kubectl get pods -o wide" + _in_namespace(meant)))
        raise Absent(not_ready(found[0]), trouble_of(found[0]).look, stays=False)


def _describe(service: Object) -> Said:
    metadata = service["metadata"]
    meant = ClusterService(metadata["name"], metadata["namespace"])
    return same(f"kubectl describe service {meant.name}{_in_namespace(meant)}")


def served_by(service: Object, slices: Sequence[Object]) -> set[str]:
    """The addresses that a Service sends its requests to."""
    from trenza.cluster.node.proxy import owner_of

    owner = (service["metadata"]["namespace"], service["metadata"]["name"])
    return {
        address
        for one in slices
        if owner_of(one) == owner
        for endpoint in one.get("endpoints") or ()
        if endpoint.get("conditions", {}).get("ready", True)
        for address in endpoint["addresses"]
    }


def find_running(pod: Object) -> tuple[str, int] | None:
    """The first container of a pod that runs, and how often it was started before; None if none does."""
    spec, status = pod["spec"], pod.get("status", {})
    running = {
        one["name"]: int(one["restartCount"])
        for one in (*status.get("containerStatuses", ()), *status.get("initContainerStatuses", ()))
        if "running" in one.get("state", {})
    }
    names = [one["name"] for one in (*spec.get("containers", ()), *spec.get("initContainers", ()))]
    return next(((name, running[name]) for name in names if name in running), None)


def name_of(pod: Object) -> str:
    """How people name a pod: `pod/NAME`, `pod/NAMESPACE/NAME`."""
    return str(Pod(pod["metadata"]["name"], namespace=pod["metadata"]["namespace"]))


def _is(pod: Object, meant: Pod) -> bool:
    from trenza.cluster.kinds.selectors import label_selector

    metadata = pod["metadata"]
    return (
        metadata["namespace"] == meant.namespace
        and "deletionTimestamp" not in metadata
        and meant.name in ("", metadata["name"])
        and meant.node in (None, pod["spec"].get("nodeName"))
        and label_selector(meant.labels).holds(metadata.get("labels"))
        and (meant.name != "" or not pod["spec"].get("hostNetwork"))
    )


def _none_there(meant: Pod) -> Said:
    which = f" {meant.name}" if meant.name else ""
    with_en, with_es = (f" with {meant.labels}", f" con {meant.labels}") if meant.labels else ("", "")
    on_en, on_es = (f" on {meant.node}", f" en {meant.node}") if meant.node else ("", "")
    return Said(f"there is no pod{which}{with_en}{on_en}", f"no hay ningún pod{which}{with_es}{on_es}")


def _in_namespace(meant: Pod | ClusterService) -> str:
    return "" if meant.namespace == "default" else f" -n {meant.namespace}"


def names_pods(value: object) -> bool:
    """Whether a question, or part of one, is about a pod or a service."""
    if isinstance(value, Pod | ClusterService):
        return True
    if is_dataclass(value):
        return any(names_pods(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, Mapping):
        return any(map(names_pods, value))
    return isinstance(value, tuple) and any(map(names_pods, value))
