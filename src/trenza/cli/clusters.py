"""The lab's Kubernetes cluster from outside: kubeconfig, and what `show cluster` prints."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from typing import Any

from trenza.cli.arguments import add_running_lab
from trenza.cli.speech import note, put, table, tr
from trenza.client.session import ask, get_running

Data = Mapping[str, Any]


def configure_kubeconfig(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port", type=int, default=0, help="which port of this machine's loopback; any free one without"
    )
    add_running_lab(parser, "which lab")


def run_kubeconfig(arguments: argparse.Namespace) -> int:
    lab = get_running(arguments.lab)
    server = ask(lab, {"verb": "api_server"})
    port = arguments.port or _forwarded(lab, server) or _forward(lab, server, 0)
    if arguments.port and port not in {one["port"] for one in ask(lab, {"verb": "forwards"})["forwards"]}:
        port = _forward(lab, server, arguments.port)
    print(ask(lab, {"verb": "kubeconfig", "port": port})["kubeconfig"], end="")
    if shutil.which("kubectl") is None:
        from trenza.linux.doctor.cures import install_line
        from trenza.linux.doctor.probe import MachineProbe
        from trenza.linux.doctor.tables import PROGRAMS

        package = PROGRAMS["kubectl"]
        how = install_line(MachineProbe(), package.debian, package.fedora)
        note(tr("there is no kubectl on your PATH; to have one:", "no hay kubectl en tu PATH; para tenerlo:"))
        note(f"  {how}")
    return 0


def _forwarded(lab: str, server: Data) -> int | None:
    """A port that leads to the API server already."""
    for one in ask(lab, {"verb": "forwards"})["forwards"]:
        if (one["node"], one["host"], one["to"]) == (server["node"], server["host"], server["port"]) and one["open"]:
            return int(one["port"])
    return None


def _forward(lab: str, server: Data, port: int) -> int:
    from trenza.client.forwards import Place, open_listeners

    listeners = open_listeners(Place("127.0.0.1", port))
    try:
        found = int(listeners[0].getsockname()[1])
        request = {"verb": "forward", "bind": "127.0.0.1", "port": found, "node": server["node"],
                   "host": server["host"], "to": server["port"]}  # fmt: skip
        ask(lab, request, [sock.fileno() for sock in listeners])
    finally:
        for sock in listeners:
            sock.close()
    return found


# ---------------------------------------------------------------- show cluster
def put_cluster(shown: Data) -> None:
    """Nodes with their leases, pods, services, the store; of one service the rules behind it in words."""
    if "words" in shown:
        put("\n".join(shown["words"]))
        return
    for alarm in shown["store"]["alarms"]:
        note(tr(f"the store is read-only: {alarm}", f"el almacén es de solo lectura: {alarm}"))
    if shown["problem"] is not None:
        note(shown["problem"])
    if shown["problem"] is None:
        _put_objects(shown)
    members = [
        [one["node"], one["kind"], _health(one), f"{one['bytes'] / 1e6:.1f} MB" if one["bytes"] else "-"]
        for one in shown["store"]["members"]
    ]
    put(table([tr("STORE", "ALMACÉN"), tr("KIND", "TIPO"), tr("STATE", "ESTADO"), tr("SIZE", "TAMAÑO")], members))


def _put_objects(shown: Data) -> None:
    leases = {one["value"].get("PublicIP"): one["subnet"].replace("-", "/") for one in shown["leases"] if one["value"]}
    rows = [[_name(one), _ready(one), _address(one), leases.get(_address(one), "-")] for one in shown["nodes"]]
    put(table([tr("NODE", "NODO"), tr("STATE", "ESTADO"), tr("ADDRESS", "DIRECCIÓN"), tr("PODS IN", "PODS EN")], rows))
    put()
    pods = [
        [f"{one['metadata']['namespace']}/{_name(one)}", _phase(one), one.get("status", {}).get("podIP", "-"),
         one.get("spec", {}).get("nodeName", "-")]
        for one in shown["pods"]
    ]  # fmt: skip
    put(table(["POD", tr("STATE", "ESTADO"), tr("ADDRESS", "DIRECCIÓN"), tr("NODE", "NODO")], pods))
    put()
    services = [
        [f"{one['metadata']['namespace']}/{_name(one)}", one["spec"].get("clusterIP", "-"), _ports(one),
         " ".join(_backends(shown, one)) or "-"]
        for one in shown["services"]
    ]  # fmt: skip
    heads = [tr("SERVICE", "SERVICIO"), tr("ADDRESS", "DIRECCIÓN"), tr("PORTS", "PUERTOS"), tr("BACKENDS", "DESTINOS")]
    put(table(heads, services))
    put()


def _health(member: Data) -> str:
    if member["problem"] is not None:
        return str(member["problem"])
    return tr("leader", "líder") if member["leader"] else tr("follower", "seguidor")


def _name(one: Data) -> str:
    return str(one["metadata"]["name"])


def _ready(node: Data) -> str:
    ready = next((c["status"] for c in node.get("status", {}).get("conditions", ()) if c["type"] == "Ready"), "Unknown")
    state = "Ready" if ready == "True" else "NotReady"
    return f"{state},SchedulingDisabled" if node.get("spec", {}).get("unschedulable") else state


def _address(node: Data) -> str:
    addresses = node.get("status", {}).get("addresses", ())
    return next((str(one["address"]) for one in addresses if one["type"] == "InternalIP"), "-")


def _phase(pod: Data) -> str:
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    for container in pod.get("status", {}).get("containerStatuses", ()):
        waiting = container.get("state", {}).get("waiting")
        if waiting and waiting.get("reason"):
            return str(waiting["reason"])
    return str(pod.get("status", {}).get("phase", "-"))


def _ports(service: Data) -> str:
    return " ".join(
        f"{port['port']}" + (f":{port['nodePort']}" if port.get("nodePort") else "") + f"/{port.get('protocol', 'TCP')}"
        for port in service["spec"].get("ports", ())
    )


def _backends(shown: Data, service: Data) -> list[str]:
    """The addresses of the ready endpoints of a service."""
    meta = service["metadata"]
    found: list[str] = []
    for one in shown["slices"]:
        labels = one["metadata"].get("labels", {})
        if (
            one["metadata"]["namespace"] != meta["namespace"]
            or labels.get("kubernetes.io/service-name") != meta["name"]
        ):
            continue
        for endpoint in one.get("endpoints") or ():
            if endpoint.get("conditions", {}).get("ready", True):
                found += endpoint["addresses"]
    return sorted(found)


def service_request(name: str) -> dict[str, str]:
    """What the keeper is asked for the rules behind a service, NAME or NAMESPACE/NAME."""
    namespace, slash, bare = name.rpartition("/")
    return {"service": bare, "namespace": namespace if slash else "default"}
