"""Frames: what passes a place while there is traffic."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from trenza.check.verdict import Finding, Said, Verdict, cannot_tell, failed, passed
from trenza.keeper.questions.asker import Asker
from trenza.keeper.questions.traffic import traffic
from trenza.keeper.scene import Scene
from trenza.linux.asking.frames import FrameWatch
from trenza.linux.capture_sockets import Frame
from trenza.model.checks import (
    Seen,
)
from trenza.model.names import Interface, Mac, NodeName


async def seen(asker: Asker, scene: Scene, question: Seen) -> Finding:
    place = _place(asker, scene, question.at)
    source = scene.macs(question.src) if question.src is not None else None
    target = scene.macs(question.dst) if question.dst is not None else None
    netns, node, nic = place
    frames, during = await watched(
        asker, FrameWatch(netns, node, nic, question.frames), lambda: traffic(asker, scene, question.during)
    )
    passing = [one for one in frames if _between(one, source, target)]
    where = question.at if isinstance(question.at, str) else scene.say(question.at)
    said = Said(f"{len(passing)} frames at {where}", f"{len(passing)} tramas en {where}")
    evidence: dict[str, Any] = {"during": during.said.en, "frames": len(frames), "matching": len(passing)}
    if question.never:
        if during.verdict is not Verdict.PASS:
            return cannot_tell(
                Said(f"the traffic failed: {during.said.en}", f"el tráfico falló: {during.said.es}"), **evidence
            )
        return passed(said, **evidence) if not passing else failed(said, **evidence)
    if len(passing) >= question.count:
        return passed(said, **evidence)
    if during.verdict is not Verdict.PASS and during.because:
        return failed(said, because=during.because, hint=during.hint, stays=during.stays, **evidence)
    return failed(said, credit=len(passing) / question.count, **evidence)


async def watched(
    asker: Asker, watch: FrameWatch, work: Callable[[], Awaitable[Finding]]
) -> tuple[Sequence[Frame], Finding]:
    """What a watch recorded while something was done."""
    await asker.in_thread(watch.__enter__)
    try:
        during = await work()
        frames = await asker.in_thread(watch.frames)
    finally:
        await asker.in_thread(watch.__exit__, None, None, None)
    return frames, during


def _place(asker: Asker, scene: Scene, at: Interface | str) -> tuple[int, NodeName, Any]:
    """Where to listen: a namespace, its node's name, and an interface or None for all."""
    if isinstance(at, Interface):
        interface = scene.interface(at)
        return scene.handle(at.node).netns, interface.node, interface.nic
    cable = next((cable for cable in asker.engine.lab.cables if cable.name == at), None)
    if cable is not None:
        for end in cable.ends:
            if isinstance(end, Interface) and end.node in scene.handles:
                return scene.handles[end.node].netns, end.node, end.nic
    node = scene.handle(NodeName(at))
    return node.netns, node.node.name, None


def _between(frame: Frame, source: frozenset[Mac] | None, target: frozenset[Mac] | None) -> bool:
    to, by = (":".join(f"{octet:02x}" for octet in frame.data[start : start + 6]) for start in (0, 6))
    return (source is None or by in source) and (target is None or to in target)
