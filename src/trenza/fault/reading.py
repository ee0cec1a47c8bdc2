"""Faults out of what people type: `cut w4`, `down vswout1`, `kill bal1 haproxy`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trenza.errors import UsageError
from trenza.fault.catalogue import Cut, Down, Fault, Impair, Impairment, Kill, Partition, Pause, PowerOff, Stop
from trenza.model.cluster import PARTS
from trenza.model.names import Interface, NicName, NodeName, bare_name
from trenza.model.state import Bridge, NodeKind, State, Veth

KINDS: Mapping[str, str] = {
    "cut": "cut CABLE | NODE.NIC",
    "down": "down BRIDGE | NODE.NIC",
    "poweroff": "poweroff NODE | BRIDGE",
    "kill": "kill NODE SERVICE",
    "stop": "stop NODE SERVICE",
    "pause": "pause NODE SERVICE",
    "impair": "impair CABLE | NODE.NIC --loss 10% --rate 1mbit --delay 50ms --jitter 5ms --corrupt 1%",
    "partition": "partition NODE,NODE… [NODE,NODE…]",
}
"""How each is typed."""

OF_SERVICES = ("kill", "stop", "pause")

_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)([a-z%]*)")
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_BITS = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What names may mean: the lab as it is, its cables by name with both ends, services by node."""

    state: State
    cables: Mapping[str, tuple[Interface, Interface]] = field(default_factory=dict)
    services: Mapping[NodeName, Sequence[str]] = field(default_factory=dict)


def read_fault(words: Sequence[str], options: Mapping[str, str], around: Surroundings) -> Fault:
    """The fault that some words mean; `options` are those of `impair`. Raises UsageError with what to write instead."""
    if not words or words[0] not in KINDS:
        given = words[0] if words else ""
        raise UsageError(
            f"no such fault: {given!r}" if given else "which fault?",
            hint=_near(given, KINDS) or "\n".join(KINDS.values()),
        )
    kind, names = words[0], words[1:]
    if options and kind != "impair":
        raise UsageError(f"{', '.join(f'--{name}' for name in options)} goes with impair only", hint=KINDS["impair"])
    wanted = (2, 2) if kind in OF_SERVICES else (1, 2) if kind == "partition" else (1, 1)
    if not wanted[0] <= len(names) <= wanted[1]:
        raise UsageError(f"{kind} takes {'one name' if wanted == (1, 1) else 'two names'}", hint=KINDS[kind])
    match kind:
        case "cut":
            return _cut(names[0], around)
        case "down":
            return Down(_interface(names[0], around))
        case "poweroff":
            return _power_off(names[0], around)
        case "kill":
            return Kill(*_service(kind, names, around))
        case "stop":
            return Stop(*_service(kind, names, around))
        case "pause":
            return Pause(*_service(kind, names, around))
        case "impair":
            return _impair(names[0], options, around)
        case _:
            return _partition(names, around)


def duration_s(text: str) -> float:
    """Seconds from `20s`, `1.5s`, `300ms`, `2m` or plain `20`. Raises UsageError."""
    found = _QUANTITY.fullmatch(text)
    units = {**_SECONDS, "": 1.0, "m": 60.0, "min": 60.0}
    if found is None or found[2] not in units:
        raise UsageError(f"{text!r} is no duration", hint="write 20s, 300ms or 2m")
    return float(found[1]) * units[found[2]]


# ---------------------------------------------------------------- names
def _near(name: str, names: Iterable[str]) -> str | None:
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else None


def _node(name: str, around: Surroundings) -> NodeName:
    nodes = around.state.nodes
    if NodeName(name) in nodes:
        return NodeName(name)
    matching = sorted(node for node in nodes if bare_name(node) == name)
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise UsageError(f"{name} is ambiguous: {', '.join(matching)}")
    raise UsageError(f"unknown node {name!r}", hint=_near(name, map(bare_name, nodes)) or f"nodes: {_listed(nodes)}")


def _listed(names: Iterable[str]) -> str:
    return " ".join(sorted(names)[:20])


def _interfaces(state: State) -> set[Interface]:
    return {Interface(NodeName(key[1]), NicName(key[2])) for key in state.provided if key[0] == "link"}


def _interface(name: str, around: Surroundings) -> Interface:
    """`NODE.NIC`, a switch (its bridge), or a bridge's name where it is unique."""
    state = around.state
    there = _interfaces(state)
    node, dot, nic = name.partition(".")
    if dot:
        found = Interface(_node(node, around), NicName(nic))
        if found in there:
            return found
        own = [one.nic for one in there if one.node == found.node]
        raise UsageError(f"{found.node} has no interface {nic!r}", hint=_near(nic, own) or f"it has: {_listed(own)}")
    bridges = [thing.interface for thing in state if isinstance(thing, Bridge)]
    matching = [bridge for bridge in bridges if bridge.nic == name]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise UsageError(f"{name} is ambiguous: {' '.join(sorted(map(str, matching)))}")
    known = {bridge.nic for bridge in bridges}
    hint = _of_node(name, around) or _near(name, known) or f"bridges: {_listed(known)}"
    raise UsageError(f"{name!r} is no bridge, and no interface as NODE.NIC", hint=hint)


def _of_node(name: str, around: Surroundings) -> str | None:
    """Where a node is named and one of its cables is meant: the ends of these that it has."""
    nodes = [node for node in around.state.nodes if name in (node, bare_name(node))]
    ends = [end.interface for thing in around.state if isinstance(thing, Veth) for end in (thing.a, thing.b)]
    own = sorted(str(end) for end in ends if end.node in nodes)
    if len(own) == 1:
        return f"did you mean {own[0]}?"
    return f"{name} is a node; its cables end at: {_listed(own)}" if own else None


def _cable(name: str, around: Surroundings) -> tuple[Interface, Interface, str | None]:
    """A cable by its name, or the veth that an interface is an end of."""
    if name in around.cables:
        return *around.cables[name], name
    if "." not in name:
        known = around.cables
        hint = _of_node(name, around) or _near(name, known)
        hint = hint or (f"cables: {_listed(known)}" if known else "name one of its ends: NODE.NIC")
        raise UsageError(f"unknown cable {name!r}", hint=hint)
    interface = _interface(name, around)
    for thing in around.state:
        if isinstance(thing, Veth) and interface in (thing.a.interface, thing.b.interface):
            ends = (thing.a.interface, thing.b.interface)
            named = next((cable for cable, both in around.cables.items() if set(both) == set(ends)), None)
            return *ends, named
    raise UsageError(f"{interface} is no end of a cable")


def _service(kind: str, names: Sequence[str], around: Surroundings) -> tuple[NodeName, str]:
    node = _node(names[0], around)
    known = around.services.get(node, ())
    if names[1] not in known:
        hint = _part(kind, names[1], node, around) or _near(names[1], known)
        hint = hint or (f"it runs: {_listed(known)}" if known else "it runs no service")
        raise UsageError(f"{node} runs no {names[1]!r}", hint=hint)
    return node, names[1]


def _part(kind: str, name: str, node: NodeName, around: Surroundings) -> str | None:
    """Of what is a part of a cluster's server or agents: of which, and how that is broken."""
    whole = PARTS.get(name)
    if whole is None:
        return None
    hosts = sorted(one for one, known in around.services.items() if whole in known)
    host = node if node in hosts else next(iter(hosts), None)
    return None if host is None else f"{name} is a part of {whole} here: {kind} {host} {whole}"


# ---------------------------------------------------------------- kinds
def _cut(name: str, around: Surroundings) -> Cut:
    one, other, cable = _cable(name, around)
    return Cut(one, other, cable)


def _power_off(name: str, around: Surroundings) -> PowerOff:
    """A node, or one bridge of a node. A host that is named as its bridge is meant as the host."""
    nodes = around.state.nodes
    if "." not in name and any(name in (node, bare_name(node)) for node in nodes):
        node = _node(name, around)
        if nodes[node].kind is not NodeKind.SWITCH:
            return PowerOff(node)
    interface = _interface(name, around) if "." in name or not any(name == bare_name(node) for node in nodes) else None
    if interface is None:
        return PowerOff(_node(name, around))
    if not isinstance(around.state.things.get(("link", interface.node, interface.nic)), Bridge):
        raise UsageError(f"{interface} is no bridge", hint=KINDS["poweroff"])
    return PowerOff(interface.node, interface)


def _impair(name: str, options: Mapping[str, str], around: Surroundings) -> Impair:
    how = _impairment(options)
    if name in around.cables or "." not in name:
        one, other, cable = _cable(name, around)
        return Impair((one, other), how, cable)
    return Impair((_interface(name, around),), how)


def _impairment(options: Mapping[str, str]) -> Impairment:
    if not options:
        raise UsageError("impair how?", hint=KINDS["impair"])
    rate = options.get("rate")
    return Impairment(
        delay_s=_quantity("delay", options.get("delay", "0s"), _SECONDS),
        jitter_s=_quantity("jitter", options.get("jitter", "0s"), _SECONDS),
        loss=_share("loss", options.get("loss", "0%")),
        corrupt=_share("corrupt", options.get("corrupt", "0%")),
        rate_bit_s=None if rate is None else int(_quantity("rate", rate, _BITS)),
    )


def _quantity(name: str, text: str, units: Mapping[str, float]) -> float:
    found = _QUANTITY.fullmatch(text)
    if found is None or found[2] not in units:
        example = next(iter(units))
        raise UsageError(
            f"--{name} {text}: write a number and a unit ({' '.join(units)})", hint=f"--{name} 50{example}"
        )
    return float(found[1]) * units[found[2]]


def _share(name: str, text: str) -> float:
    found = _QUANTITY.fullmatch(text)
    if found is None or found[2] != "%" or float(found[1]) > 100:
        raise UsageError(f"--{name} {text}: write a share of 100", hint=f"--{name} 10%")
    return float(found[1]) / 100


def _partition(names: Sequence[str], around: Surroundings) -> Partition:
    """Two groups; a second that is not given is everything else."""
    groups = [frozenset(_node(one, around) for one in name.split(",") if one) for name in names]
    roots = {node for node, thing in around.state.nodes.items() if thing.host is None}
    if len(groups) == 1:
        groups.append(frozenset(roots - groups[0] - {NodeName(node.split("/")[0]) for node in groups[0]}))
    if both := groups[0] & groups[1]:
        raise UsageError(f"{_listed(both)} cannot be on both sides")
    return Partition(groups[0], groups[1])
