"""Questions: one attempt at each kind, from the keeper's own sockets in the nodes' namespaces.

An attempt takes about a second at most; whether and how often it is repeated is `checking`'s. Sockets wait in worker
threads; what the kernel's tables say is read by the loop.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import select
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, TypeVar, assert_never

from trenza.check import judge
from trenza.check.verdict import NOTHING, Finding, Said, Verdict, cannot_tell, failed, passed, same
from trenza.engine.engine import Engine
from trenza.engine.spanning import differences
from trenza.errors import KernelError, TrenzaError
from trenza.keeper.scene import Absent, Scene
from trenza.linux.asking.dhcp import discover
from trenza.linux.asking.dns import resolve
from trenza.linux.asking.echoes import echo_window
from trenza.linux.asking.frames import FrameWatch
from trenza.linux.asking.http import http_get
from trenza.linux.asking.owners import who_has
from trenza.linux.asking.routes import route_get
from trenza.linux.asking.served import ServerWatch
from trenza.linux.asking.sizes import fits
from trenza.linux.asking.steps import record_route, trace
from trenza.linux.asking.tcp import Outcome, connect
from trenza.linux.capture_sockets import Frame
from trenza.linux.inside import SandboxNodes, SpawnerClient
from trenza.linux.netns import Home
from trenza.linux.probes import Pair, connects, unanswered
from trenza.linux.processes import own_processes
from trenza.model.checks import (
    Arp,
    Dhcp,
    Dns,
    FaultOutcome,
    Fdb,
    Http,
    Mtu,
    Netns,
    NoIp,
    NoPing,
    Owner,
    PathTaken,
    Ping,
    PingAll,
    Question,
    RouteTo,
    Run,
    Seen,
    ServiceRuns,
    Stp,
    Tcp,
    Traffic,
)
from trenza.model.names import Interface, Mac, NodeName
from trenza.model.state import IpAddress
from trenza.theory.spanning_tree import spanning_trees

T = TypeVar("T")

PINGED_FOR_S = 1.0
_WORKERS = 24
_INTERVAL_S = 0.04
_ANSWER_S = 2.0
_RUN_S = 10.0
_OUTPUT_BYTES = 1 << 16
_NEGATIVE = (NoPing, NoIp)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Frames of one place as a pcapng file."""

    name: str
    data: bytes


class Questions:
    """Asks. One that is about something that is not there fails, or, if it is negative, cannot be told."""

    def __init__(self, engine: Engine, nodes: SandboxNodes) -> None:
        self._engine = engine
        self._nodes = nodes
        self._loop = asyncio.get_running_loop()
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="question")

    async def ask(self, scene: Scene, question: Question) -> Finding:
        """One attempt. Faults are `checking`'s."""
        try:
            return await self._asked(scene, question)
        except Absent as absent:
            if is_negative(question):
                return cannot_tell(absent.said, hint=absent.hint)
            return failed(absent.said, because=absent.said, hint=absent.hint, stays=True)
        except TrenzaError as error:  # the kernel refuses, tcpdump is not there or does not know the filter…
            return cannot_tell(same(error.message))

    async def _asked(self, scene: Scene, question: Question) -> Finding:
        match question:
            case Ping() | PingAll() | Http() | Tcp():
                return await self.traffic(scene, question)
            case NoPing():
                return await self._no_ping(scene, question)
            case PathTaken():
                return await self._path(scene, question)
            case Dns():
                return await self._dns(scene, question)
            case Dhcp():
                return await self._dhcp(scene, question)
            case Mtu():
                return await self._mtu(scene, question)
            case Stp():
                return self._stp(scene, question)
            case Fdb():
                return await self._fdb(scene, question)
            case Arp():
                return await self._arp(scene, question)
            case RouteTo():
                return await self._route(scene, question)
            case Seen():
                return await self._seen(scene, question)
            case Owner():
                return await self._owner(scene, question)
            case Netns():
                return self._netns(scene, question)
            case NoIp():
                return self._no_ip(scene, question)
            case ServiceRuns():
                return await self._service(scene, question)
            case Run():
                return await self._run(scene, question)
            case FaultOutcome():
                raise AssertionError("faults are injected by whoever asks")
            case _:
                assert_never(question)

    def _in_thread(self, work: Callable[..., T], *arguments: Any, **options: Any) -> Awaitable[T]:
        return self._loop.run_in_executor(self._workers, lambda: work(*arguments, **options))

    # ------------------------------------------------------------------ traffic
    async def traffic(self, scene: Scene, question: Traffic) -> Finding:
        match question:
            case Ping():
                return await self._ping(scene, question)
            case PingAll():
                return await self._ping_all(scene, question)
            case Http():
                return await self._http(scene, question)
            case Tcp():
                return await self._tcp(scene, question)

    async def _ping(self, scene: Scene, question: Ping) -> Finding:
        source = scene.handle(question.source)
        to = scene.address(question.to, source.node.name)
        echoes = await self._in_thread(
            echo_window, source.netns, to, count=question.count, interval_s=_INTERVAL_S,
            timeout_s=PINGED_FOR_S, size_bytes=question.size_bytes,
        )  # fmt: skip
        said = [*echoes.errors, *(str(error) for error in echoes.icmp_errors)]
        finding = judge.echoes(
            echoes.sent, echoes.answered, said, to=str(to), rtt_s=[one.rtt_s for one in echoes.replies]
        )
        return self._explained(scene, finding, source.node.name, to)

    async def _no_ping(self, scene: Scene, question: NoPing) -> Finding:
        source, to = scene.handle(question.source), scene.address(question.to)
        if not scene.answers_for(to):
            said = Said(f"nobody who runs has {to}", f"nadie en marcha tiene {to}")
            return cannot_tell(said)
        if not any(end.up for end in scene.explainer.faces(source.node.name)):
            name = scene.say(question.source)
            return cannot_tell(
                Said(f"{name} has no interface that is up", f"{name} no tiene ningún interfaz levantado")
            )
        echoes = await self._in_thread(
            echo_window, source.netns, to, count=question.count, interval_s=_INTERVAL_S, timeout_s=PINGED_FOR_S
        )
        return judge.no_echoes(echoes.sent, echoes.answered, to=str(to))

    async def _ping_all(self, scene: Scene, question: PingAll) -> Finding:
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
        silent = await self._in_thread(home_and_ask, netns, pairs, PINGED_FOR_S) if home_and_ask else ()
        named = [*absent, *(pairs[pair] for pair in silent)]
        finding = judge.pairs(named, len(pairs) + len(absent))
        if finding.verdict is Verdict.PASS:
            return finding
        if why is not None:
            return failed(
                finding.said, credit=finding.credit, because=why.said, hint=why.hint, stays=True, **finding.evidence
            )
        first = silent[0]
        return self._explained(scene, finding, first.source, first.destination)

    async def _tcp(self, scene: Scene, question: Tcp) -> Finding:
        source = scene.handle(question.source)
        to = scene.address(question.to, source.node.name)
        found = await self._in_thread(connect, source.netns, to, question.port, timeout_s=PINGED_FOR_S)
        said = same(f"{to}:{question.port} {found.outcome.value}")
        evidence: dict[str, Any] = {"to": str(to), "outcome": found.outcome.value, "error": found.error}
        if question.open:
            if found.outcome is Outcome.ACCEPTED:
                return passed(said, **evidence)
            finding = failed(said, **evidence)
            if found.outcome is Outcome.REFUSED:
                return _refused(scene, finding, to, question.port)
            return self._explained(scene, finding, source.node.name, to)
        if found.outcome is Outcome.ACCEPTED:
            return failed(said, **evidence)
        if not scene.answers_for(to):
            return cannot_tell(Said(f"nobody who runs has {to}", f"nadie en marcha tiene {to}"), **evidence)
        return passed(said, **evidence)

    async def _http(self, scene: Scene, question: Http) -> Finding:
        source = scene.handle(question.source)
        to = scene.address(question.to, source.node.name)
        answers, seen = await self._in_thread(_ask_pages, scene, question, source.netns, to)
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
            explained = self._explained(scene, finding, source.node.name, to)
            return explained if explained.because else finding
        if not question.served_by:
            status = answers[-1].status
            return passed(Said(f"status {status}", f"estado {status}"), **evidence)
        wanted = {scene.say(name): share for name, share in question.served_by.items()}
        return judge.shares(seen, wanted, len(answers), question.tolerance, **evidence)

    # ------------------------------------------------------------------ ways
    async def _path(self, scene: Scene, question: PathTaken) -> Finding:
        source = scene.handle(question.source)
        to = scene.address(question.to, source.node.name)
        findings: list[Finding] = []
        if question.hops:
            wanted = [set(scene.counterparts.addresses(spot)) for spot in question.hops]
            walked = await self._in_thread(trace, source.netns, to)
            finding = judge.hops(walked.hops, wanted, arrived=walked.arrived, to=str(to))
            if not walked.arrived:
                finding = self._explained(scene, finding, source.node.name, to)
            findings.append(finding)
        if question.record_route and to.version == 4:
            wanted = [set(scene.counterparts.addresses(spot)) for spot in question.record_route]
            recorded = await self._in_thread(record_route, source.netns, to)
            finding = judge.hops(recorded or (), wanted, recorded=recorded is not None, to=str(to))
            if recorded is None:
                finding = self._explained(scene, finding, source.node.name, to)
            findings.append(finding)
        return _worst(findings)

    async def _route(self, scene: Scene, question: RouteTo) -> Finding:
        node = scene.handle(question.node)
        to = scene.address(question.to)
        found = await self._in_thread(route_get, node.netns, to)
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
        if question.via is not None and found.via not in scene.counterparts.addresses(question.via):
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

    async def _mtu(self, scene: Scene, question: Mtu) -> Finding:
        source = scene.handle(question.source)
        to = scene.address(question.to, source.node.name)
        whole, larger = await asyncio.gather(
            self._in_thread(fits, source.netns, to, question.size_bytes),
            self._in_thread(fits, source.netns, to, question.size_bytes + 1),
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
        return self._explained(scene, finding, source.node.name, to)

    # ------------------------------------------------------------------ what the kernel has learnt
    def _stp(self, scene: Scene, question: Stp) -> Finding:
        root: tuple[Interface, ...] | None = None
        if isinstance(question.root, Interface):
            root = (scene.interface(question.root),)
        elif question.root is not None:
            node = scene.node(question.root)
            root = _bridges(scene, node)
        members = {
            scene.say(one): (scene.interface(one),) if isinstance(one, Interface) else _bridges(scene, scene.node(one))
            for one in question.members
        }
        blocked = question.blocked
        if isinstance(blocked, tuple):
            blocked = tuple(scene.interface(port) for port in blocked)
        told: list[str] = []
        if question.like_theory:
            trees = spanning_trees(scene.observed, scene.measured.ports)
            told = [
                f"{one.interface} {one.field} {one.kernel or '-'} ({one.theory or '-'})"
                for one in differences(scene.measured, trees)
            ]
        return judge.spanning_tree(
            scene.measured.bridges, scene.measured.ports, root=root, blocked=blocked, differences=told,
            like_theory=question.like_theory, members=members,
        )  # fmt: skip

    async def _fdb(self, scene: Scene, question: Fdb) -> Finding:
        bridge = scene.interface(question.bridge)
        during = await self._meanwhile(scene, question.during)
        if during is not None and during.verdict is not Verdict.PASS:
            return during
        measured = self._engine.measure({bridge.node})
        entries = [one for one in measured.fdb if one.interface.node == bridge.node and one.bridge == bridge.nic]
        return judge.learnt(
            entries,
            has={scene.say(spot): scene.macs(spot) for spot in question.has},
            lacks={scene.say(spot): scene.macs(spot) for spot in question.lacks},
            count=question.count,
            only=question.only,
            owners={mac: str(interface) for mac, interface in scene.owners.items()},
        )

    async def _arp(self, scene: Scene, question: Arp) -> Finding:
        node = scene.node(question.node)
        ip = scene.address(question.ip)
        during = await self._meanwhile(scene, question.during)
        if during is not None and during.verdict is not Verdict.PASS:
            return during
        macs = scene.macs(question.owner)
        table = [one for one in self._engine.measure({node}).neighbours if one.ip == ip and one.interface.node == node]
        shown = ", ".join(f"{one.mac or '-'} {one.state}" for one in table) or "-"
        evidence: dict[str, Any] = {"ip": str(ip), "table": shown}
        found = [one.mac for one in table if one.mac is not None]
        if found and set(found) <= macs:
            return passed(same(shown), **evidence)
        name, who = scene.say(question.node), scene.say(question.owner)
        if not found:
            because = Said(f"{name} has no entry for {ip}", f"{name} no tiene entrada para {ip}")
        else:
            whose = ", ".join(str(scene.owners.get(mac, mac)) for mac in found)
            because = Said(f"{ip} is at {whose}, not {who}", f"{ip} está en {whose}, no en {who}")
        return failed(same(shown), because=because, **evidence)

    async def _owner(self, scene: Scene, question: Owner) -> Finding:
        asker = scene.handle(question.seen_from)
        owner = scene.node(question.owner)
        ip = scene.counterparts.address(question.of)
        route = await self._in_thread(route_get, asker.netns, ip)
        name = scene.say(question.seen_from)
        if route.dev is None or route.via is not None:
            said = Said(f"{ip} is not on a link of {name}", f"{ip} no está en un enlace de {name}")
            return failed(said, because=said, stays=True)
        answers = await self._in_thread(who_has, asker.netns, route.dev, ip)
        whose = {one.mac: scene.owners.get(one.mac) for one in answers}
        shown = ", ".join(str(whose[one.mac] or one.mac) for one in answers) or "-"
        evidence: dict[str, Any] = {
            "ip": str(ip),
            "answers": [{"mac": one.mac, "whose": str(whose[one.mac] or "")} for one in answers],
        }
        nodes = {interface.node if interface is not None else "" for interface in whose.values()}
        if nodes == {owner}:
            return passed(same(shown), **evidence)
        wanted = scene.say(question.owner)
        if not answers:
            because = Said(f"nobody answers ARP for {ip} to {name}", f"nadie responde ARP por {ip} a {name}")
        elif owner in nodes:
            because = Said(f"several answer for {ip}: {shown}", f"responden varios por {ip}: {shown}")
        else:
            because = Said(f"{shown} answers for {ip}, not {wanted}", f"por {ip} responde {shown}, no {wanted}")
        return failed(same(shown), because=because, **evidence)

    async def _seen(self, scene: Scene, question: Seen) -> Finding:
        place = self._place(scene, question.at)
        source = scene.macs(question.src) if question.src is not None else None
        target = scene.macs(question.dst) if question.dst is not None else None
        netns, node, nic = place
        frames, during = await self._watched(
            FrameWatch(netns, node, nic, question.frames), lambda: self.traffic(scene, question.during)
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

    async def _watched(
        self, watch: FrameWatch, work: Callable[[], Awaitable[Finding]]
    ) -> tuple[Sequence[Frame], Finding]:
        """What a watch recorded while something was done."""
        await self._in_thread(watch.__enter__)
        try:
            during = await work()
            frames = await self._in_thread(watch.frames)
        finally:
            await self._in_thread(watch.__exit__, None, None, None)
        return frames, during

    async def _meanwhile(self, scene: Scene, traffic: Traffic | None) -> Finding | None:
        return None if traffic is None else await self.traffic(scene, traffic)

    def _place(self, scene: Scene, at: Interface | str) -> tuple[int, NodeName, Any]:
        """Where to listen: a namespace, its node's name, and an interface or None for all."""
        if isinstance(at, Interface):
            interface = scene.interface(at)
            return scene.handle(at.node).netns, interface.node, interface.nic
        cable = next((cable for cable in self._engine.lab.cables if cable.name == at), None)
        if cable is not None:
            for end in cable.ends:
                if isinstance(end, Interface) and end.node in scene.handles:
                    return scene.handles[end.node].netns, end.node, end.nic
        node = scene.handle(NodeName(at))
        return node.netns, node.node.name, None

    def _netns(self, scene: Scene, question: Netns) -> Finding:
        host, container = scene.node(question.node), scene.node(question.container)
        names = self._nodes.names_of_netns(container)
        shown = " ".join(sorted(names)) or "-"
        if question.name in names and container.startswith(f"{host}/"):
            return passed(same(shown), names=sorted(names))
        because = Said(
            f"{host} has no name {question.name} for {scene.say(question.container)} below /run/netns",
            f"{host} no tiene el nombre {question.name} para {scene.say(question.container)} en /run/netns",
        )
        return failed(same(shown), because=because, stays=True, names=sorted(names))

    def _no_ip(self, scene: Scene, question: NoIp) -> Finding:
        nic = scene.interface(question.nic)
        own = [one.address for one in scene.measured.addresses if one.interface == nic and one.scope != "link"]
        evidence: dict[str, Any] = {"addresses": own}
        if not own:
            return passed(Said("no address", "sin dirección"), **evidence)
        shown = ", ".join(own)
        because = Said(f"{nic} has {shown}", f"{nic} tiene {shown}")
        end = scene.explainer.end(nic)
        port = getattr(end, "port", None)
        hint = NOTHING
        if port is not None:
            hint = Said(f"it is a port: give it to {port.bridge}", f"es un puerto: désela a {port.bridge}")
        return failed(same(shown), because=because, hint=hint, stays=True, **evidence)

    # ------------------------------------------------------------------ services
    async def _dns(self, scene: Scene, question: Dns) -> Finding:
        node = scene.handle(question.source)
        server = scene.address(question.server, node.node.name) if question.server is not None else None
        if server is None:
            server = self._name_server(node.node.name)
            if server is None:
                name = scene.say(question.source)
                said = Said(
                    f"{name} has no name server in /etc/resolv.conf", f"{name} no tiene servidor en /etc/resolv.conf"
                )
                return failed(said, because=said, stays=True)
        found = await self._in_thread(resolve, node.netns, server, question.name, question.type)
        shown = found.error or " ".join(found.answers) or found.rcode or "-"
        evidence: dict[str, Any] = {
            "server": str(server),
            "rcode": found.rcode,
            "answers": list(found.answers),
            "error": found.error,
        }
        wanted = {
            str(scene.counterparts.address(ip)) if (ip := _ip(text)) else text.rstrip(".") for text in question.answers
        }
        if found.answers and (not wanted or set(found.answers) == wanted):
            return passed(same(shown), **evidence)
        finding = failed(same(shown), because=Said(f"{server} says: {shown}", f"{server} dice: {shown}"), **evidence)
        if found.rcode is None:
            explained = self._explained(scene, finding, node.node.name, server)
            return explained if explained.because else finding
        return finding

    def _name_server(self, node: NodeName) -> IpAddress | None:
        read = self._nodes.read(node, "/etc/resolv.conf", limit_bytes=1 << 16)
        for line in (read[0] if read else b"").decode(errors="replace").splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver":
                return _ip(words[1])
        return None

    async def _dhcp(self, scene: Scene, question: Dhcp) -> Finding:
        nic = scene.interface(question.at)
        offers = await self._in_thread(discover, scene.handle(question.at.node).netns, nic.nic)
        shown = ", ".join(f"{one.address} ({one.server})" for one in offers) or "-"
        told = [{"address": one.address, "server": one.server, "router": one.router} for one in offers]
        evidence: dict[str, Any] = {"offers": told}
        if not offers:
            said = Said(f"nobody offers an address at {nic}", f"nadie ofrece una dirección en {nic}")
            return failed(said, because=said, **evidence)
        for offer in offers:
            wrong: Said | None = None
            if question.network is not None and offer.address not in question.network:
                wrong = Said(
                    f"{offer.address} is not in {question.network}", f"{offer.address} no está en {question.network}"
                )
            elif question.server is not None and offer.server not in scene.counterparts.addresses(question.server):
                wrong = Said(f"{offer.server} offers", f"ofrece {offer.server}")
            elif question.router is not None and offer.router not in scene.counterparts.addresses(question.router):
                wrong = Said(f"the router is {offer.router or '-'}", f"el router es {offer.router or '-'}")
            if wrong is not None:
                return failed(same(shown), because=wrong, **evidence)
        return passed(same(shown), **evidence)

    async def _service(self, scene: Scene, question: ServiceRuns) -> Finding:
        node = scene.handle(question.node)
        name = scene.say(question.node)
        running = [] if node.pid is None else _programs(node.pid)
        ports = {port: await self._in_thread(_listens, node.netns, port) for port in question.ports}
        evidence: dict[str, Any] = {"programs": running, "ports": {str(port): open_ for port, open_ in ports.items()}}
        asked = 1 + len(ports)
        right = (question.program in running) + sum(ports.values())
        if right == asked:
            shown = " ".join([question.program, *(f":{port}" for port in ports)])
            return passed(same(shown), **evidence)
        if question.program not in running:
            because = Said(f"no {question.program} runs in {name}", f"en {name} no corre {question.program}")
            return failed(because, because=because, **evidence)
        closed = " ".join(str(port) for port, open_ in ports.items() if not open_)
        because = Said(f"{name} accepts no connection at {closed}", f"{name} no acepta conexiones en {closed}")
        return failed(because, credit=right / asked, because=because, **evidence)

    async def _run(self, scene: Scene, question: Run) -> Finding:
        node = scene.node(question.node)
        status, output = await self._in_thread(_run_in, node, question.argv)
        text = output.decode(errors="replace")
        evidence: dict[str, Any] = {"argv": list(question.argv), "status": status, "output": text[:4000]}
        last = text.strip().splitlines()[-1][:120] if text.strip() else ""
        if status is None:
            return cannot_tell(Said(f"it did not end in {_RUN_S:g} s", f"no acabó en {_RUN_S:g} s"), **evidence)
        if status in (125, 126, 127):
            return cannot_tell(Said(f"it could not be run ({status})", f"no se pudo ejecutar ({status})"), **evidence)
        said = Said(f"status {status}: {last}", f"estado {status}: {last}")
        if status == question.status and (question.output is None or re.search(question.output, text)):
            return passed(said, **evidence)
        return failed(said, because=said, **evidence)

    # ------------------------------------------------------------------ why
    def _explained(self, scene: Scene, finding: Finding, source: NodeName, to: IpAddress) -> Finding:
        """With the first thing wrong on the way, where it is known; it stays so if the configuration says so."""
        if finding.verdict is Verdict.PASS:
            return finding
        because = scene.explainer.way(source, to)
        if not because:
            return finding
        stays = not scene.moving and not scene.explainer.arrives(source, to)
        return failed(finding.said, credit=finding.credit, because=because, stays=stays, **finding.evidence)


def is_negative(question: Question) -> bool:
    """Whether it asks that something does not happen, so that what is not there proves nothing."""
    return isinstance(question, _NEGATIVE) or (
        isinstance(question, Seen) and question.never) or (isinstance(question, Tcp) and not question.open)  # fmt: skip


def _silent_pairs(netns: dict[NodeName, int], pairs: Sequence[Pair], deadline_s: float) -> Sequence[Pair]:
    home = Home()
    try:
        return unanswered(home, netns, pairs, deadline_s=deadline_s)
    finally:
        home.close()


def _listens(netns: int, port: int) -> bool:
    home = Home()
    try:
        return connects(home, netns, port)
    finally:
        home.close()


def _ask_pages(scene: Scene, question: Http, netns: int, to: IpAddress) -> tuple[list[Any], dict[str, int]]:
    """The answers, and of those asked about how many requests each one got."""
    servers = {}
    for name in question.served_by:
        node = scene.counterparts.find_node(name)
        if node is not None and node in scene.handles:
            servers[scene.say(name)] = [scene.handles[node].netns]
    nonce = secrets.token_hex(8)
    mark = "&" if "?" in question.path else "?"
    until = time.monotonic() + max(_ANSWER_S, question.requests * 0.2)
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


def _refused(scene: Scene, finding: Finding, to: IpAddress, port: int) -> Finding:
    owners = scene.counterparts.interfaces_of(to)
    who = str(owners[0].node) if owners else str(to)
    because = Said(f"nobody listens on port {port} of {who}", f"nadie escucha en el puerto {port} de {who}")
    return failed(finding.said, credit=finding.credit, because=because, **finding.evidence)


def _bridges(scene: Scene, node: NodeName) -> tuple[Interface, ...]:
    return tuple(one.interface for one in scene.measured.bridges if one.interface.node == node)


def _between(frame: Frame, source: frozenset[Mac] | None, target: frozenset[Mac] | None) -> bool:
    to, by = (":".join(f"{octet:02x}" for octet in frame.data[start : start + 6]) for start in (0, 6))
    return (source is None or by in source) and (target is None or to in target)


def _worst(findings: Sequence[Finding]) -> Finding:
    """Of several that must all pass, the first that does not, with the mean of their credits."""
    wrong = next((one for one in findings if one.verdict is not Verdict.PASS), None)
    if wrong is None:
        return findings[-1]
    credit = sum(one.credit for one in findings) / len(findings)
    return failed(
        wrong.said, credit=credit, because=wrong.because, hint=wrong.hint, stays=wrong.stays, **wrong.evidence
    )


def _ip(text: str) -> IpAddress | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _programs(init_pid: int) -> list[str]:
    """The programs that run in a node, by the name of the file that is executed: a process cannot choose that."""
    found = set()
    for process in own_processes(init_pid):
        if process.state in ("Z", "X"):
            continue
        try:
            found.add(os.path.basename(os.readlink(f"/proc/{process.pid}/exe")).removesuffix(" (deleted)"))
        except OSError:
            continue
    return sorted(found)


def _run_in(node: NodeName, argv: tuple[str, ...]) -> tuple[int | None, bytes]:
    """A command's status (None: it did not end in time) and what it printed, of that the beginning."""
    client = SpawnerClient()
    reader, writer = os.pipe2(os.O_CLOEXEC)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            client.ask({"do": "exec", "node": node, "argv": list(argv)}, (null, writer, writer))
        finally:
            os.close(writer)
            os.close(null)
        return _await_end(client, reader, time.monotonic() + _RUN_S)
    except KernelError as error:
        return getattr(error, "status", 125), b""
    finally:
        os.close(reader)
        client.close()  # which hangs up a command that still runs


def _await_end(client: SpawnerClient, reader: int, until: float) -> tuple[int | None, bytes]:
    poll = select.poll()
    poll.register(client.fileno(), select.POLLIN)
    poll.register(reader, select.POLLIN)
    output = b""
    while (left_s := until - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(left_s * 1000):
            if descriptor == reader:
                data = os.read(reader, 1 << 14)
                if not data:
                    poll.unregister(reader)
                output = (output + data)[:_OUTPUT_BYTES]
            else:
                status = int(client.receive()[0]["exit"])
                os.set_blocking(reader, False)
                try:
                    output = (output + os.read(reader, 1 << 16))[:_OUTPUT_BYTES]
                except BlockingIOError:
                    pass
                return (status if status >= 0 else 128 - status), output
    return None, output
