"""Judging: what answers prove. Each function takes what came back for one kind of question."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from trenza.check.verdict import Finding, Said, cannot_tell, failed, passed, same
from trenza.model.measurements import BridgeMeasure, FdbMeasure, PortMeasure
from trenza.model.names import Interface, Mac
from trenza.model.state import IpAddress

MAX_SHOWN = 4


def echoes(sent: int, answered: int, errors: Sequence[str] = (), **evidence: Any) -> Finding:
    """A window of echoes: all answered, or a share of them."""
    said = _answered(answered, sent)
    evidence = {"sent": sent, "answered": answered, "errors": list(errors), **evidence}
    if sent and answered == sent:
        return passed(said, **evidence)
    because = same(errors[-1]) if errors and not answered else same("")
    return failed(said, credit=answered / sent if sent else 0, because=because, **evidence)


def no_echoes(sent: int, answered: int, **evidence: Any) -> Finding:
    """A window of echoes of which none may be answered."""
    said = _answered(answered, sent)
    evidence = {"sent": sent, "answered": answered, **evidence}
    if not sent:
        return cannot_tell(Said("nothing could be sent", "no se pudo enviar nada"), **evidence)
    return passed(said, **evidence) if not answered else failed(said, **evidence)


def _answered(answered: int, sent: int) -> Said:
    return Said(f"{answered} of {sent} answered", f"{answered} de {sent} con respuesta")


def pairs(silent: Sequence[tuple[str, str]], total: int, **evidence: Any) -> Finding:
    """Every pair of a group; those that stay silent are named."""
    good = total - len(silent)
    said = Said(f"{good} of {total} pairs", f"{good} de {total} pares")
    evidence = {"pairs": total, "silent": [f"{source} → {to}" for source, to in silent], **evidence}
    if not silent and total:
        return passed(said, **evidence)
    named = ", ".join(f"{source} → {to}" for source, to in silent[:MAX_SHOWN])
    more = "…" if len(silent) > MAX_SHOWN else ""
    because = Said(f"no answer: {named}{more}", f"sin respuesta: {named}{more}")
    return failed(said, credit=good / total if total else 0, because=because, **evidence)


def hops(found: Sequence[IpAddress | None], wanted: Sequence[Collection[IpAddress]], **evidence: Any) -> Finding:
    """A way, hop by hop; each wanted one by any of some addresses. The share of right ones from the first on counts."""
    shown = " ".join("*" if hop is None else str(hop) for hop in found) or "*"
    evidence = {"hops": [None if hop is None else str(hop) for hop in found], **evidence}
    right = 0
    for hop, any_of in zip(found, wanted, strict=False):
        if hop not in any_of:
            break
        right += 1
    if right == len(wanted) == len(found):
        return passed(same(shown), **evidence)
    credit = right / max(len(wanted), len(found), 1)
    if right < len(wanted):
        there = "*" if right >= len(found) or found[right] is None else str(found[right])
        names = "/".join(map(str, sorted(wanted[right], key=str))) or "?"
        because = Said(f"hop {right + 1} is {there}, not {names}", f"el salto {right + 1} es {there}, no {names}")
    else:
        because = Said(
            f"{len(found)} hops where {len(wanted)} were expected",
            f"{len(found)} saltos donde se esperaban {len(wanted)}",
        )
    return failed(same(shown), credit=credit, because=because, **evidence)


def shares(
    counts: Mapping[str, int], wanted: Mapping[str, float | None], total: int, tolerance: float, **evidence: Any
) -> Finding:
    """Who served how many of `total` requests. Each node's share that is right counts."""
    shown = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()) if count) or "-"
    said = Said(f"of {total}: {shown}", f"de {total}: {shown}")
    evidence = {"requests": total, "served": dict(counts), **evidence}
    wrong: list[tuple[str, str]] = []
    for name, share in wanted.items():
        count = counts.get(name, 0)
        if not count:
            wrong.append((f"{name} served none", f"{name} no sirvió ninguna"))
        elif share is not None and total and abs(count / total - share) > tolerance:
            part = f"{name}: {count}/{total} = {count / total:.2f}"
            wrong.append((f"{part}, not {share:g}", f"{part}, no {share:g}"))
    lost = total - sum(counts.values())
    if lost > 0:
        wrong.append((f"{lost} were served by nobody of these", f"{lost} no las sirvió ninguno de estos"))
    if not wrong and total:
        return passed(said, **evidence)
    because = Said("; ".join(en for en, _ in wrong), "; ".join(es for _, es in wrong))
    good = len(wanted) - len({one for one in wrong if not one[0][0].isdigit()})
    credit = max(0.0, good / len(wanted)) * (1 - max(lost, 0) / total if total else 0)
    return failed(said, credit=min(credit, 0.99), because=because, **evidence)


def affinity(counts: Mapping[str, int], total: int, **evidence: Any) -> Finding:
    """Whether one server, whichever it is, served all of `total` requests; else the share of the busiest counts."""
    shown = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()) if count) or "-"
    said = Said(f"of {total}: {shown}", f"de {total}: {shown}")
    evidence = {"requests": total, "served": dict(counts), **evidence}
    most = max(counts.values(), default=0)
    if total and most == total == sum(counts.values()):
        return passed(said, **evidence)
    because = Said("not one server for all", "no un servidor para todas")
    return failed(said, credit=min(most / total, 0.99) if total else 0, because=because, **evidence)


def spanning_tree(
    bridges: Sequence[BridgeMeasure],
    ports: Sequence[PortMeasure],
    *,
    root: Collection[Interface] | None,
    blocked: int | Sequence[Interface] | None,
    differences: Sequence[str],
    like_theory: bool,
    members: Mapping[str, Collection[Interface]] = MappingProxyType({}),
) -> Finding:
    """A spanning tree as the kernel has it: its root, what blocks, who takes part, in what it is not as theory says."""
    speaking = [bridge for bridge in bridges if bridge.stp]
    at = {bridge.interface for bridge in speaking}
    own = [port for port in ports if Interface(port.interface.node, port.bridge) in at]
    roots = sorted({_owner(bridge.root_id, speaking) for bridge in speaking})
    blocking = sorted(port.interface for port in own if port.state == "blocking")
    said = Said(
        f"root {' '.join(roots) or '-'}, blocking {' '.join(map(str, blocking)) or '-'}",
        f"raíz {' '.join(roots) or '-'}, bloquea {' '.join(map(str, blocking)) or '-'}",
    )
    evidence: dict[str, Any] = {
        "roots": roots, "blocking": [str(port) for port in blocking], "differences": list(differences)
    }  # fmt: skip
    if not speaking:
        none = Said("no bridge takes part in STP", "ningún puente participa en STP")
        return failed(said, because=none, **evidence)
    wrong: list[Said] = []
    moving = [port.interface for port in own if port.state in ("listening", "learning")]
    if moving:
        named = " ".join(map(str, moving[:MAX_SHOWN]))
        wrong.append(Said(f"still converging: {named}", f"aún convergiendo: {named}"))
    asked = right = 0
    if members:
        asked += 1
        trees = [{one.root_id for one in speaking if one.interface in any_of} for any_of in members.values()]
        alone = [who for who, roots_of in zip(members, trees, strict=True) if not roots_of]
        if alone:
            who = " ".join(alone)
            wrong.append(Said(f"{who} takes no part in STP", f"{who} no participa en STP"))
        elif set.intersection(*trees):
            right += 1
        else:
            wrong.append(
                Said(f"they have several roots: {' '.join(roots)}", f"tienen varias raíces: {' '.join(roots)}")
            )
    if root is not None:
        asked += 1
        ids = {bridge.bridge_id for bridge in speaking if bridge.interface in root}
        if ids and {bridge.root_id for bridge in speaking} <= ids:
            right += 1
        else:
            names = " ".join(map(str, sorted(root))) or "?"
            shown = " ".join(roots)
            wrong.append(Said(f"the root is {shown}, not {names}", f"la raíz es {shown}, no {names}"))
    if blocked is not None:
        asked += 1
        if len(blocking) == blocked if isinstance(blocked, int) else blocking == sorted(blocked):
            right += 1
        else:
            what = str(blocked) if isinstance(blocked, int) else " ".join(map(str, blocked))
            wrong.append(
                Said(f"{len(blocking)} ports block, not {what}", f"bloquean {len(blocking)} puertos, no {what}")
            )
    if like_theory:
        asked += 1
        if not differences:
            right += 1
        else:
            wrong.append(Said(f"not as theory says: {differences[0]}", f"no es como dice la teoría: {differences[0]}"))
    if not wrong:
        return passed(said, **evidence)
    return failed(said, credit=right / asked if asked and not moving else 0, because=wrong[0], **evidence)


def _owner(root_id: str, bridges: Sequence[BridgeMeasure]) -> str:
    return next((str(bridge.interface) for bridge in bridges if bridge.bridge_id == root_id), root_id)


def learnt(
    entries: Sequence[FdbMeasure],
    *,
    has: Mapping[str, Collection[Mac]],
    lacks: Mapping[str, Collection[Mac]],
    count: int | None,
    only: bool,
    owners: Mapping[Mac, str],
) -> Finding:
    """The MAC addresses that a bridge has learnt, of which some are asked for by whose they are."""
    macs = sorted({entry.mac for entry in entries if entry.origin == "learnt"})
    named = [owners.get(mac, mac) for mac in macs]
    said = same(f"{len(macs)}: {', '.join(named)}" if macs else "0")
    wrong: list[Said] = []
    asked = len(has) + len(lacks) + (count is not None) + only
    for who, any_of in has.items():
        if not set(any_of) & set(macs):
            wrong.append(Said(f"{who} is not among them", f"{who} no está entre ellas"))
    for who, any_of in lacks.items():
        if set(any_of) & set(macs):
            wrong.append(Said(f"{who} is among them", f"{who} está entre ellas"))
    if count is not None and len(macs) != count:
        wrong.append(Said(f"there are {len(macs)}, not {count}", f"hay {len(macs)}, no {count}"))
    known = {mac for any_of in has.values() for mac in any_of}
    strangers = [owners.get(mac, mac) for mac in macs if mac not in known]
    if only and strangers:
        shown = ", ".join(strangers[:MAX_SHOWN])
        wrong.append(Said(f"also {shown}", f"además {shown}"))
    evidence: dict[str, Any] = {"learnt": [{"mac": mac, "whose": owners.get(mac)} for mac in macs]}
    if not wrong:
        return passed(said, **evidence)
    return failed(said, credit=(asked - len(wrong)) / asked if asked else 0, because=wrong[0], **evidence)
