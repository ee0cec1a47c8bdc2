"""Telling: a lab as text, for whoever reads why a test failed."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trenza.pytest_plugin.lab import Lab

Data = Mapping[str, Any]
MAX_EVENTS = 200


def journal_lines(events: Sequence[Data], since_s: float) -> list[str]:
    """Events as `trenza events` prints them; of very many the last, and of the building only how much it was."""
    first, recent = events[:1], [event for event in events if event["time"] >= since_s]
    lines = [f"… {len(recent) - MAX_EVENTS} earlier ones"] if len(recent) > MAX_EVENTS else []
    for event in recent[-MAX_EVENTS:]:
        when = time.strftime("%H:%M:%S", time.localtime(event["time"])) + f".{int(event['time'] % 1 * 1000):03d}"
        lines.append(f"{when}  {event['kind']:<8} {event['node']:<14} {event['text']}")
        if event not in first:
            lines += [f"{'':14}{line}" for line in event.get("operations") or ()]
    return lines


def wrong_lines(lab: Lab) -> Iterator[str]:
    """Faults in effect, what is not as the lab file or theory says, and the nodes that this or a failure is about."""
    for fault in lab.show("faults")["faults"]:
        yield f"fault in effect: {fault['fault']}"
    for line in lab.running.plan():
        yield f"not as the lab file says: {line}"
    for bridge in lab.show("stp")["stp"]:
        yield from _tree_lines(bridge)
    said = " ".join(f"{one.title} {one.because} {one.hint}" for one in lab.failed)
    for node in lab.show("nodes")["nodes"]:
        if node["state"] != "running" or _is_named(node["name"], said) or any(map(_is_down, node["nics"])):
            yield from _node_lines(node)


def _tree_lines(bridge: Data) -> Iterator[str]:
    name = f"{bridge['node']}.{bridge['bridge']}"
    places = [(name, bridge), *((f"{bridge['node']}.{port['port']}", port) for port in bridge["ports"])]
    for place, data in places:
        for one in data["differences"]:
            yield f"{place}: {one['field']} is {one['kernel']}, theory says {one['theory']} ({one['why']})"


def _is_named(node: str, said: str) -> bool:
    """Whether sentences speak of a node, by its whole name or its bare one."""
    names = "|".join(map(re.escape, {node, node.rpartition("/")[2]}))
    return re.search(rf"(?<![\w-])({names})(?![\w-])", said) is not None


def _is_down(nic: Data) -> bool:
    return bool(nic["state"] != "up" and nic["name"] != "lo")


def _node_lines(node: Data) -> Iterator[str]:
    yield f"{node['name']} ({node['kind']}, {node['state']})"
    for nic in node["nics"]:
        if nic["name"] != "lo":
            place = nic["bridge"] or nic["peer"]
            addresses = " ".join(one for one in nic["addresses"] if not one.startswith("fe80:"))
            link = f"{nic['name']:<15} {nic['state']:<10} {nic['mac']}"
            yield "  ".join(["", link, *([addresses] if addresses else []), *([f"→ {place}"] if place else [])])
