"""Ways: hops, routes and the sizes that get there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from trenza.check import judge
from trenza.check.verdict import Finding, Said, Verdict, failed, passed, same
from trenza.keeper.questions.asker import Asker, explained
from trenza.keeper.scene import Scene
from trenza.linux.asking.routes import route_get
from trenza.linux.asking.sizes import fits
from trenza.linux.asking.steps import record_route, trace
from trenza.model.checks import (
    Mtu,
    PathTaken,
    RouteTo,
)


async def path(asker: Asker, scene: Scene, question: PathTaken) -> Finding:
    source = scene.handle(question.source)
    to = scene.address(question.to, source.node.name)
    findings: list[Finding] = []
    if question.hops:
        wanted = [set(scene.addresses(spot)) for spot in question.hops]
        walked = await asker.in_thread(trace, source.netns, to)
        finding = judge.hops(walked.hops, wanted, arrived=walked.arrived, to=str(to))
        if not walked.arrived:
            finding = explained(scene, finding, source.node.name, to)
        findings.append(finding)
    if question.record_route and to.version == 4:
        wanted = [set(scene.addresses(spot)) for spot in question.record_route]
        recorded = await asker.in_thread(record_route, source.netns, to)
        finding = judge.hops(recorded or (), wanted, recorded=recorded is not None, to=str(to))
        if recorded is None:
            finding = explained(scene, finding, source.node.name, to)
        findings.append(finding)
    return _worst(findings)


async def route(asker: Asker, scene: Scene, question: RouteTo) -> Finding:
    node = scene.handle(question.node)
    to = scene.address(question.to)
    found = await asker.in_thread(route_get, node.netns, to)
    shown = " ".join(
        word
        for word in (
            found.error or found.type or "",
            f"via {found.via}" if found.via else "",
            f"dev {found.dev}" if found.dev else "",
        )
        if word
    )
    evidence: dict[str, Any] = {
        "to": str(to),
        "via": str(found.via or ""),
        "dev": found.dev,
        "type": found.type,
        "error": found.error,
    }
    wrong: list[Said] = []
    if found.type != question.type.value and not (found.error and question.type.value == found.error.split()[-1]):
        wrong.append(Said(f"{scene.say(question.node)}: {shown}", f"{scene.say(question.node)}: {shown}"))
    if question.via is not None and found.via not in scene.addresses(question.via):
        via = scene.say(question.via)
        wrong.append(
            Said(
                f"the next hop is {found.via or '-'}, not {via}",
                f"el siguiente salto es {found.via or '-'}, no {via}",
            )
        )
    if question.dev is not None and found.dev != scene.interface(question.dev).nic:
        dev = scene.interface(question.dev).nic
        wrong.append(Said(f"it leaves by {found.dev or '-'}, not {dev}", f"sale por {found.dev or '-'}, no {dev}"))
    if not wrong:
        return passed(same(shown), **evidence)
    return failed(same(shown), because=wrong[0], stays=True, **evidence)


async def mtu(asker: Asker, scene: Scene, question: Mtu) -> Finding:
    source = scene.handle(question.source)
    to = scene.address(question.to, source.node.name)
    whole, larger = await asyncio.gather(
        asker.in_thread(fits, source.netns, to, question.size_bytes),
        asker.in_thread(fits, source.netns, to, question.size_bytes + 1),
    )
    size = question.size_bytes
    evidence: dict[str, Any] = {"to": str(to), "fits": whole.answered, "one_more_fits": larger.answered}
    if whole.answered and not larger.answered:
        return passed(same(f"{size}"), **evidence)
    if whole.answered:
        return failed(
            Said(f"{size + 1} bytes get there, too", f"también llegan {size + 1} bytes"), credit=0.5, **evidence
        )
    finding = failed(Said(f"{size} bytes do not get there", f"no llegan {size} bytes"), **evidence)
    if whole.mtu_bytes is not None:
        limit = Said(f"only {whole.mtu_bytes} fit", f"solo caben {whole.mtu_bytes}")
        return failed(finding.said, because=limit, **evidence)
    return explained(scene, finding, source.node.name, to)


def _worst(findings: Sequence[Finding]) -> Finding:
    """Of several that must all pass, the first that does not, with the mean of their credits."""
    wrong = next((one for one in findings if one.verdict is not Verdict.PASS), None)
    if wrong is None:
        return findings[-1]
    credit = sum(one.credit for one in findings) / len(findings)
    return failed(
        wrong.said, credit=credit, because=wrong.because, hint=wrong.hint, stays=wrong.stays, **wrong.evidence
    )
