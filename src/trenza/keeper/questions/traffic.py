"""Traffic: echoes, connections and pages."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from typing import Any

from trenza.check import judge
from trenza.check.verdict import Finding, Said, Verdict, cannot_tell, failed, passed, same
from trenza.keeper.absent import Absent
from trenza.keeper.questions.asker import Asker, explained
from trenza.keeper.scene import Scene
from trenza.keeper.unready import Trouble
from trenza.linux.asking.echoes import echo_window
from trenza.linux.asking.http import http_get
from trenza.linux.asking.served import ServerWatch
from trenza.linux.asking.tcp import Outcome, connect
from trenza.linux.netns import Home
from trenza.linux.probes import Pair, unanswered
from trenza.model.checks import (
    Http,
    NoPing,
    Ping,
    PingAll,
    Tcp,
    Traffic,
)
from trenza.model.names import Interface, NodeName
from trenza.model.state import IpAddress

PINGED_FOR_S = 1.0
_INTERVAL_S = 0.04
_ANSWER_S = 1.0


async def traffic(asker: Asker, scene: Scene, question: Traffic) -> Finding:
    match question:
        case Ping():
            return await ping(asker, scene, question)
        case PingAll():
            return await ping_all(asker, scene, question)
        case Http():
            return await http(asker, scene, question)
        case Tcp():
            return await tcp(asker, scene, question)


async def ping(asker: Asker, scene: Scene, question: Ping) -> Finding:
    source = scene.handle(question.source)
    to = scene.address(question.to, source.node.name)
    echoes = await asker.in_thread(
        echo_window, source.netns, to, count=question.count, interval_s=_INTERVAL_S,
        timeout_s=PINGED_FOR_S, size_bytes=question.size_bytes,
    )  # fmt: skip
    said = [*echoes.errors, *(str(error) for error in echoes.icmp_errors)]
    finding = judge.echoes(echoes.sent, echoes.answered, said, to=str(to), rtt_s=[one.rtt_s for one in echoes.replies])
    return explained(scene, finding, source.node.name, to)


async def no_ping(asker: Asker, scene: Scene, question: NoPing) -> Finding:
    source, to = scene.handle(question.source), scene.address(question.to)
    if not scene.answers_for(to):
        said = Said(f"nobody who runs has {to}", f"nadie en marcha tiene {to}")
        return cannot_tell(said)
    if not any(end.up for end in scene.explainer.faces(source.node.name)):
        name = scene.say(question.source)
        return cannot_tell(Said(f"{name} has no interface that is up", f"{name} no tiene ningún interfaz levantado"))
    echoes = await asker.in_thread(
        echo_window, source.netns, to, count=question.count, interval_s=_INTERVAL_S, timeout_s=PINGED_FOR_S
    )
    return judge.no_echoes(echoes.sent, echoes.answered, to=str(to))


async def ping_all(asker: Asker, scene: Scene, question: PingAll) -> Finding:
    pairs: dict[Pair, tuple[str, str]] = {}
    absent: list[tuple[str, str]] = []
    netns: dict[NodeName, int] = {}
    why: Absent | None = None
    for one in question.among:
        for other in question.among:
            if one == other:
                continue
            name = one.node if isinstance(one, Interface) else one
            try:
                source = scene.handle(name)
                to = scene.address(other, source.node.name)
            except Absent as missing:
                why = why or missing
                absent.append((scene.say(one), scene.say(other)))
                continue
            netns[source.node.name] = source.netns
            pairs[Pair(source.node.name, to)] = (scene.say(one), scene.say(other))
    home_and_ask = _silent_pairs if pairs else None
    silent = await asker.in_thread(home_and_ask, netns, pairs, PINGED_FOR_S) if home_and_ask else ()
    named = [*absent, *(pairs[pair] for pair in silent)]
    finding = judge.pairs(named, len(pairs) + len(absent))
    if finding.verdict is Verdict.PASS:
        return finding
    if why is not None:
        return failed(
            finding.said, credit=finding.credit, because=why.said, hint=why.hint, stays=True, **finding.evidence
        )
    first = silent[0]
    return explained(scene, finding, first.source, first.destination)


async def tcp(asker: Asker, scene: Scene, question: Tcp) -> Finding:
    source = scene.handle(question.source)
    to = scene.address(question.to, source.node.name)
    found = await asker.in_thread(connect, source.netns, to, question.port, timeout_s=PINGED_FOR_S)
    said = same(f"{to}:{question.port} {found.outcome.value}")
    evidence: dict[str, Any] = {"to": str(to), "outcome": found.outcome.value, "error": found.error}
    if question.open:
        if found.outcome is Outcome.ACCEPTED:
            return passed(said, **evidence)
        finding = failed(said, **evidence)
        if found.outcome is Outcome.REFUSED:
            return _refused(scene, finding, to, question.port)
        return explained(scene, finding, source.node.name, to)
    if found.outcome is Outcome.ACCEPTED:
        return failed(said, **evidence)
    if not scene.answers_for(to):
        return cannot_tell(Said(f"nobody who runs has {to}", f"nadie en marcha tiene {to}"), **evidence)
    return passed(said, **evidence)


async def http(asker: Asker, scene: Scene, question: Http) -> Finding:
    source = scene.handle(question.source)
    to = scene.address(question.to, source.node.name)
    answers, seen = await asker.in_thread(_ask_pages, scene, question, source.netns, to)
    good, wrong = 0, None
    for answer in answers:
        problem = _page_problem(question, answer)
        good += problem is None
        wrong = wrong or problem
    evidence: dict[str, Any] = {
        "to": str(to), "answered": good, "requests": len(answers),
        "statuses": [answer.status for answer in answers],
        "bodies": [answer.body[:300].decode(errors="replace") for answer in answers[:3]],
    }  # fmt: skip
    if wrong is not None:
        said = Said(f"{good} of {len(answers)} pages", f"{good} de {len(answers)} páginas")
        finding = failed(said, credit=good / len(answers), because=wrong, **evidence)
        unheard = next((answer.error for answer in answers if answer.status is None), None)
        if unheard is None:
            return finding
        if "refused" in unheard:
            return _refused(scene, finding, to, question.port)
        why = explained(scene, finding, source.node.name, to)
        silent = None if scene.pods is None or why is not finding else scene.pods.why_silent(to, question.port)
        return why if silent is None else _troubled(finding, silent)
    if not question.served_by:
        status = answers[-1].status
        return passed(Said(f"status {status}", f"estado {status}"), **evidence)
    wanted = {scene.say(name): share for name, share in question.served_by.items()}
    if question.affinity:
        return judge.affinity(seen, len(answers), **evidence)
    return judge.shares(seen, wanted, len(answers), question.tolerance, **evidence)


async def meanwhile(asker: Asker, scene: Scene, during: Traffic | None) -> Finding | None:
    """What comes of the traffic that goes on, if any is to."""
    return None if during is None else await traffic(asker, scene, during)


def _silent_pairs(netns: dict[NodeName, int], pairs: Sequence[Pair], deadline_s: float) -> Sequence[Pair]:
    home = Home()
    try:
        return unanswered(home, netns, pairs, deadline_s=deadline_s)
    finally:
        home.close()


def _ask_pages(scene: Scene, question: Http, netns: int, to: IpAddress) -> tuple[list[Any], dict[str, int]]:
    """The answers, and of those asked about how many requests each one got."""
    servers = {}
    for name in question.served_by:
        try:
            servers[scene.say(name)] = [scene.handle(name).netns]
        except Absent:
            continue  # who is not there serves nobody
    nonce = secrets.token_hex(8)
    mark = "&" if "?" in question.path else "?"
    until = time.monotonic() + 2 * _ANSWER_S + question.requests * 0.05
    answers = []
    counts: dict[str, int] = dict.fromkeys(servers, 0)
    if not question.served_by:
        for _ in range(question.requests):
            answers.append(http_get(netns, to, question.port, question.path, timeout_s=_ANSWER_S, until=until))
        return answers, counts
    with ServerWatch(servers, nonce) as watch:
        for number in range(question.requests):
            path = f"{question.path}{mark}trenza={nonce}-{number}"
            answers.append(http_get(netns, to, question.port, path, timeout_s=_ANSWER_S, until=until))
        seen = watch.seen()
    for names in seen.values():
        for served in names:
            counts[served] += 1
    return answers, counts


def _page_problem(question: Http, answer: Any) -> Said | None:
    if answer.status is None:
        return same(answer.error or "no answer")
    if answer.status != question.status:
        return Said(
            f"the status is {answer.status}, not {question.status}",
            f"el estado es {answer.status}, no {question.status}",
        )
    if question.body is not None and not re.search(question.body, answer.body.decode(errors="replace")):
        return Said(f"the page does not contain {question.body!r}", f"la página no contiene {question.body!r}")
    return None


def _troubled(finding: Finding, trouble: Trouble) -> Finding:
    return failed(
        finding.said, credit=finding.credit, because=trouble.said, hint=trouble.look, stays=trouble.stays,
        **finding.evidence,
    )  # fmt: skip


def _refused(scene: Scene, finding: Finding, to: IpAddress, port: int) -> Finding:
    unserved = None if scene.pods is None else scene.pods.why_unserved(to, port)
    if unserved is not None:
        return _troubled(finding, unserved)
    owners = scene.counterparts.interfaces_of(to)
    who = str(owners[0].node) if owners else str(to)
    because = Said(f"nobody listens on port {port} of {who}", f"nadie escucha en el puerto {port} de {who}")
    return failed(finding.said, credit=finding.credit, because=because, **finding.evidence)
