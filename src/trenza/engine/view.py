"""What `show` shows: state and measurements as plain data, ready for JSON and for tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from trenza.engine.spanning import differences
from trenza.linux.nodes import NodeHandle
from trenza.model.measurements import LinkMeasure, Measurements
from trenza.model.names import Interface, NodeName, is_uplink
from trenza.model.state import NodeKind, Process, State
from trenza.theory.spanning_tree import BridgePrediction, PortPrediction, Reason, SpanningTrees

Data = dict[str, Any]


def nodes_view(
    wanted: State,
    alive: Mapping[NodeName, NodeHandle],
    measured: Measurements,
    only: Collection[NodeName] | None = None,
) -> list[Data]:
    """Every node, running or stopped: name, kind, host, state, pids, NICs."""
    nics: dict[NodeName, list[Data]] = defaultdict(list)
    addresses: dict[tuple[str, str], list[str]] = defaultdict(list)
    leased: dict[tuple[str, str], list[str]] = defaultdict(list)
    for address in measured.addresses:
        place = (address.interface.node, address.interface.nic)
        addresses[place].append(address.address)
        if address.origin == "dhcp":
            leased[place].append(address.address)
    for link in measured.links:
        place = (link.interface.node, link.interface.nic)
        nics[link.interface.node].append(nic_view(link, addresses[place], leased[place]))
    known = {**wanted.nodes, **{name: handle.node for name, handle in alive.items()}}
    views = []
    for name, node in known.items():
        if node.kind is NodeKind.UPLINK or (only is not None and name not in only):
            continue
        handle = alive.get(name)
        views.append(
            {
                "name": name,
                "kind": node.kind.value,
                "host": node.host,
                "state": "running" if handle is not None else "stopped",
                "pid_in_sandbox": None if handle is None else handle.pid,
                "pid_in_host": None if handle is None else handle.pid_in_host,
                "nics": sorted(nics[name], key=lambda nic: (nic["name"] != "lo", nic["index"])),
            }
        )
    return views


def nic_view(link: LinkMeasure, addresses: list[str], leased: list[str]) -> Data:
    """One interface; `state` is up, down or no-carrier, `leased` those of its addresses that a DHCP server gave."""
    state = ("up" if link.carrier else "no-carrier") if link.up else "down"
    return {
        "name": link.interface.nic,
        "kind": link.kind,
        "index": link.index,
        "mac": link.mac,
        "mtu": link.mtu_bytes,
        "state": state,
        "addresses": addresses,
        "leased": leased,
        "bridge": link.bridge,
        "peer": None if link.peer is None else "nat" if is_uplink(link.peer.node) else str(link.peer),
        "rx_packets": link.rx_packets,
        "tx_packets": link.tx_packets,
        "rx_bytes": link.rx_bytes,
        "tx_bytes": link.tx_bytes,
    }


def addresses_view(measured: Measurements) -> list[Data]:
    return [
        {
            "node": one.interface.node,
            "nic": one.interface.nic,
            "address": one.address,
            "scope": one.scope,
            "origin": one.origin,
        }
        for one in measured.addresses
    ]


def routes_view(measured: Measurements) -> list[Data]:
    return [
        {
            "node": one.node,
            "to": one.to,
            "via": one.via,
            "dev": one.dev,
            "metric": one.metric,
            "protocol": one.protocol,
            "type": one.type,
            "source": one.source,
        }
        for one in measured.routes
    ]


def neighbours_view(measured: Measurements) -> list[Data]:
    return [
        {
            "node": one.interface.node,
            "nic": one.interface.nic,
            "ip": str(one.ip),
            "mac": one.mac,
            "state": one.state,
            "whose": None,
        }
        for one in measured.neighbours
    ]


def fdb_view(measured: Measurements) -> list[Data]:
    return [
        {
            "node": one.interface.node,
            "bridge": one.bridge,
            "port": one.interface.nic,
            "mac": one.mac,
            "origin": one.origin,
            "destination": None if one.destination is None else str(one.destination),
            "age_s": one.age_s,
        }
        for one in measured.fdb
    ]


def stp_view(measured: Measurements, trees: SpanningTrees) -> list[Data]:
    """Bridges with their ports, each beside its prediction. A bridge without STP is shown too, as such."""
    found: dict[Interface, list[Data]] = defaultdict(list)
    for one in differences(measured, trees):
        found[one.interface].append(
            {
                "field": one.field,
                "kernel": one.kernel,
                "theory": one.theory,
                "why": one.why.value,
                "remaining_s": one.remaining_s,
            }
        )
    ports: dict[Interface, list[Data]] = defaultdict(list)
    for port in measured.ports:
        ports[Interface(port.interface.node, port.bridge)].append(
            {
                "port": port.interface.nic,
                "number": port.number,
                "state": port.state,
                "role": port.role,
                "cost": port.cost,
                "priority": port.priority,
                "designated_root": port.designated_root,
                "designated_bridge": port.designated_bridge,
                "designated_cost": port.designated_cost,
                "theory": _port_theory(trees.ports.get(port.interface)),
                "differences": found[port.interface],
            }
        )
    return [
        {
            "node": one.interface.node,
            "bridge": one.interface.nic,
            "stp": one.stp,
            "bridge_id": one.bridge_id,
            "root_id": one.root_id,
            "is_root": one.bridge_id == one.root_id,
            "root_path_cost": one.root_path_cost,
            "root_port": one.root_port,
            "topology_changes": one.topology_changes,
            "theory": _bridge_theory(trees.bridges.get(one.interface)),
            "differences": found[one.interface],
            "ports": ports[one.interface],
        }
        for one in measured.bridges
    ]


def _bridge_theory(predicted: BridgePrediction | None) -> Data | None:
    """What theory says of a bridge that takes part in STP."""
    if predicted is None or not predicted.stp or not predicted.up:
        return None
    return {
        "root": str(predicted.root),
        "root_id": predicted.root_id,
        "root_path_cost": predicted.root_path_cost,
        "root_port": predicted.root_port,
        "forward_delay_s": predicted.forward_delay_s,
        "hello_time_s": predicted.hello_time_s,
        "max_age_s": predicted.max_age_s,
        "for_root": _reason(predicted.for_root),
    }


def _port_theory(predicted: PortPrediction | None) -> Data | None:
    if predicted is None:
        return None
    return {
        "state": predicted.state,
        "role": predicted.role,
        "cost": predicted.cost,
        "designated_bridge": predicted.designated_bridge,
        "designated_cost": predicted.designated_cost,
        "for_root": _reason(predicted.for_root),
        "for_segment": _reason(predicted.for_segment),
    }


def _reason(reason: Reason | None) -> Data | None:
    if reason is None:
        return None
    return {
        "tie": reason.tie.value,
        "winner": str(reason.winner),
        "over": None if reason.over is None else str(reason.over),
        "won": reason.won,
        "lost": reason.lost,
        "by_number": reason.by_number,
        "guessed": reason.guessed,
    }


def name_macs(rows: list[Data], measured: Measurements) -> list[Data]:
    """Say beside each MAC whose it is (`whose`: NODE.NIC), where an interface of the lab has it."""
    owners = {link.mac: str(link.interface) for link in measured.links if link.kind != "loopback"}
    for row in rows:
        row["whose"] = owners.get(row["mac"])
    return rows


def services_view(
    wanted: State, running: Mapping[tuple[NodeName, str], int | None], restarts: Mapping[str, int]
) -> list[Data]:
    """Declared processes: running with their pid in the sandbox, or dead."""
    return [
        {
            "node": process.node,
            "service": process.name,
            "argv": list(process.argv),
            "state": "running" if running.get((process.node, process.name)) else "dead",
            "pid": running.get((process.node, process.name)),
            "restarts": restarts.get(f"{process.node} {process.name}", 0),
        }
        for process in wanted
        if isinstance(process, Process)
    ]
