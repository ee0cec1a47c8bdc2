"""Behaviour: all that theory says a state does, as values that compare; and the first in which two states differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace

from trenza.check.verdict import NOTHING, Said, same
from trenza.model.names import Interface, NodeName, bare_name
from trenza.model.state import Bridge, File, IpAddress, Process, State, file_key
from trenza.theory.frames import Frames
from trenza.theory.mtu import PathMtus
from trenza.theory.segments import link_ends
from trenza.theory.spanning_tree import spanning_trees
from trenza.theory.vrrp import virtual_routers, with_virtual_addresses

_Pair = tuple[NodeName, IpAddress]


@dataclass(frozen=True)
class Behaviour:
    """What a network does once it has settled. Two states with equal behaviour answer every question alike.

    `ways`: for each node and address that exchange packets, the hops there and back; `mtus` of these, in bytes.
    `segments`: groups of interfaces that hear each other, but for ports. `trees`: root and states of every bridge that
    takes part in STP. `masters`: the members of every virtual router, the master first. `programs`, `files`: what runs
    and what was placed.
    """

    ways: Mapping[_Pair, Hashable]
    mtus: Mapping[_Pair, int]
    segments: frozenset[frozenset[Interface]]
    trees: Mapping[Interface, Hashable]
    masters: frozenset[Hashable]
    programs: Mapping[tuple[NodeName, str], Hashable]
    files: Mapping[tuple[NodeName, str], str]


def behaviour(state: State) -> Behaviour:
    """What theory says a state does."""
    routers = virtual_routers(state)
    whole = with_virtual_addresses(state, routers)
    trees = spanning_trees(whole)
    frames = Frames(whole, trees)
    network, mtus = frames.network, PathMtus(frames, whole)
    ways: dict[_Pair, Hashable] = {}
    sizes: dict[_Pair, int] = {}
    for pair in network.reachable_pairs():
        there, back = network.path(pair.source, pair.ip).hops, network.way_back(pair.source, pair.ip).hops
        ways[pair.source, pair.ip] = (there, back)
        narrowest = mtus.find(pair.source, pair.ip)
        if narrowest is not None:
            sizes[pair.source, pair.ip] = narrowest.mtu_bytes
    groups: dict[Hashable, set[Interface]] = defaultdict(set)
    for interface, end in link_ends(whole).items():
        segment = None if isinstance(end, Bridge) else network.segments.segment(interface)
        if segment is not None:
            groups[segment].add(interface)
    processes = [thing for thing in state if isinstance(thing, Process)]
    configs = {file_key(one.node, one.config) for one in processes if one.config is not None}
    return Behaviour(
        ways=ways,
        mtus=sizes,
        segments=frozenset(frozenset(group) for group in groups.values() if len(group) > 1),
        trees={
            bridge.interface: (bridge.root, frozenset((port.interface, port.role, port.state) for port in bridge.ports))
            for bridge in trees.bridges.values()
            if bridge.stp and bridge.up
        },
        masters=frozenset(
            (router.id, router.version, router.addresses, tuple(member.interface for member in router.members))
            for router in routers
        ),
        programs={(one.node, one.name): _doing(one) for one in processes},
        files={
            (thing.node, thing.path): thing.digest
            for thing in state
            if isinstance(thing, File) and thing.key not in configs
        },
    )


def _doing(process: Process) -> Hashable:
    """What a program does, as far as theory knows: of virtual routers all; `masters` has the priorities' order."""
    said = tuple(replace(router, priority=0) for router in process.vrrp)
    return (process.argv, said or process.digest)


def difference(before: Behaviour, after: Behaviour) -> Said:
    """The first thing in which the second does not do what the first does; NOTHING where they do the same."""
    for (source, ip), way in before.ways.items():
        name = bare_name(source)
        if (source, ip) not in after.ways:
            return Said(f"{name} no longer reaches {ip}", f"{name} ya no llega a {ip}")
        if after.ways[source, ip] != way:
            return Said(f"{name} reaches {ip} another way", f"{name} llega a {ip} por otro camino")
    for source, ip in after.ways.keys() - before.ways.keys():
        return Said(f"{bare_name(source)} reaches {ip}", f"{bare_name(source)} llega a {ip}")
    for bridge in sorted(before.trees.keys() | after.trees.keys()):
        if before.trees.get(bridge) != after.trees.get(bridge):
            return Said(f"{bridge} has another place in the tree", f"{bridge} tiene otro lugar en el árbol")
    for (source, ip), size in before.mtus.items():
        if after.mtus.get((source, ip)) != size:
            return same(f"{bare_name(source)} → {ip}: MTU {size} → {after.mtus.get((source, ip))}")
    if before.masters != after.masters:
        return Said("virtual routers have other members", "los routers virtuales tienen otros miembros")
    if before.segments != after.segments:
        lost = sorted(one for group in before.segments - after.segments for one in group)
        shown = " ".join(map(str, lost[:3]))
        return Said(f"others hear {shown}", f"otros oyen a {shown}")
    for node, program in sorted(before.programs.keys() | after.programs.keys()):
        if before.programs.get((node, program)) != after.programs.get((node, program)):
            return Said(f"{program} of {node} is another", f"{program} de {node} es otro")
    for node, path in sorted(before.files.keys() | after.files.keys()):
        if before.files.get((node, path)) != after.files.get((node, path)):
            return Said(f"{path} of {node} is another", f"{path} de {node} es otro")
    return NOTHING
