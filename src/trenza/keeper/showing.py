"""What `show` asks, answered from the engine's state and measurements."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from trenza.engine.engine import Engine
from trenza.engine.view import (
    Data,
    addresses_view,
    fdb_view,
    name_macs,
    neighbours_view,
    nodes_view,
    routes_view,
    services_view,
    stp_view,
)
from trenza.errors import UsageError
from trenza.keeper.breaking import fault_view
from trenza.linux.inside import SandboxNodes
from trenza.model.measurements import Measurements
from trenza.model.names import Interface, NodeName
from trenza.model.state import File, Process, State, file_key
from trenza.plan.wanted import digest_of
from trenza.theory.spanning_tree import spanning_trees
from trenza.wire import Message


def show(engine: Engine, nodes: SandboxNodes, message: Message, pods: Mapping[Interface, Interface]) -> Message:
    """The answer to one `show`: `what` of all nodes, or of those it names. Raises UsageError.

    `pods`: the interfaces of a cluster's pods by those of their nodes that lead there.
    """
    only = [engine.resolve(name) for name in message.get("nodes") or ()]
    wanted, alive = engine.declared, nodes.alive()
    scope = only or None
    measured = engine.measure(scope)
    record = engine.record
    assert record is not None
    result: Message = {"lab": engine.lab.name, "mode": record.mode.value, "file": record.file}
    what = message.get("what") or "nodes"
    match what:
        case "nodes":
            result["nodes"] = nodes_view(wanted, alive, _leading_to(pods, measured), scope)
            result["services"] = _services(wanted, nodes, record.restarts, scope)
        case "services":
            result["services"] = _services(wanted, nodes, record.restarts, scope)
        case "configs":
            result["configs"] = [one for one in _configs(wanted, nodes) if scope is None or one["node"] in scope]
        case "links":
            result["links"] = [
                {"node": node["name"], **nic}
                for node in nodes_view(wanted, alive, _leading_to(pods, measured), scope)
                for nic in node["nics"]
            ]
        case "addresses":
            result["addresses"] = addresses_view(measured)
        case "routes":
            result["routes"] = routes_view(measured)
        case "neighbours":
            everything = measured if scope is None else engine.measure(None)
            result["neighbours"] = name_macs(neighbours_view(measured), everything)
        case "fdb":
            everything = measured if scope is None else engine.measure(None)
            result["fdb"] = name_macs(fdb_view(measured), everything)
        case "stp":
            everything = measured if scope is None else engine.measure(None)
            trees = spanning_trees(engine.kernel.observe(wanted), everything.ports)
            result["stp"] = stp_view(measured, trees)
        case "faults":
            result["faults"] = [] if engine.faults is None else [fault_view(one) for one in engine.faults.active]
        case _:
            raise UsageError(f"cannot show {what!r}")
    return result


def _leading_to(pods: Mapping[Interface, Interface], measured: Measurements) -> Measurements:
    links = tuple(replace(one, peer=pods.get(one.interface, one.peer)) for one in measured.links)
    return replace(measured, links=links)


def _services(
    wanted: State, nodes: SandboxNodes, restarts: Mapping[str, int], scope: Collection[NodeName] | None
) -> list[Data]:
    running = {(thing.node, thing.name): nodes.pid_of_process(thing) for thing in wanted if isinstance(thing, Process)}
    services = services_view(wanted, running, restarts)
    return [one for one in services if scope is None or one["node"] in scope]


def _configs(wanted: State, nodes: SandboxNodes) -> Iterator[Message]:
    """The config file of each service as its node has it now; `text` is null where it is not there."""
    alive = nodes.alive()
    for thing in wanted:
        if isinstance(thing, Process) and thing.config is not None:
            read = nodes.read(thing.node, thing.config) if thing.node in alive else None
            file = wanted.things.get(file_key(thing.node, thing.config))
            generated = isinstance(file, File) and read is not None and digest_of(read[0]) == file.digest
            yield {
                "node": thing.node,
                "service": thing.name,
                "path": thing.config,
                "text": None if read is None else read[0].decode(errors="replace"),
                "changed": not generated,
            }
