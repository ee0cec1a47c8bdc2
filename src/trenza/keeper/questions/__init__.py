"""Questions: one attempt at each kind, from the keeper's own sockets in the nodes' namespaces.

An attempt takes about a second at most; whether and how often it is repeated is `checking`'s. Sockets wait in worker
threads; what the kernel's tables say is read by the loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import assert_never

from trenza.check.verdict import Finding, cannot_tell, failed, same
from trenza.engine.engine import Engine
from trenza.errors import TrenzaError
from trenza.keeper.absent import Absent, Unanswered
from trenza.keeper.cluster_objects import ClusterObjects
from trenza.keeper.pods import names_pods
from trenza.keeper.questions import frames, kubernetes, services, tables, traffic, ways
from trenza.keeper.questions.asker import Asker
from trenza.keeper.scene import Scene
from trenza.linux.asking.frames import FrameWatch, write_pcapng
from trenza.linux.inside import SandboxNodes
from trenza.model.checks import (
    Arp,
    Dhcp,
    Dns,
    FaultOutcome,
    Fdb,
    Http,
    KubernetesObject,
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
)
from trenza.model.names import NodeName

_NEGATIVE = (NoPing, NoIp)
MAX_RECORDED_FRAMES = 200


class Questions:
    """Asks. One that is about something that is not there fails, or, if it is negative, cannot be told."""

    def __init__(self, engine: Engine, nodes: SandboxNodes, there: ClusterObjects) -> None:
        self._asker = Asker(engine, nodes)
        self._objects = there

    async def recorded(self, scene: Scene, question: Question) -> tuple[Finding, bytes]:
        """One attempt, and as a pcapng file what passed whoever asked; empty where nobody sends anything."""
        asker = getattr(question, "during", None) or question
        async with self._with_pods(scene, question) as scene:
            try:
                source = scene.handle(getattr(asker, "source", NodeName("")))
            except Absent:
                return await self._told(scene, question), b""
            watch = FrameWatch(source.netns, source.node.name, limit=MAX_RECORDED_FRAMES)
            passing, finding = await frames.watched(self._asker, watch, lambda: self._told(scene, question))
            return finding, write_pcapng(passing)

    async def ask(self, scene: Scene, question: Question) -> Finding:
        """One attempt. Faults are `checking`'s."""
        try:
            async with self._with_pods(scene, question) as scene:
                return await self._told(scene, question)
        except TrenzaError as error:  # the API server does not answer
            return _untold(error)

    @asynccontextmanager
    async def _with_pods(self, scene: Scene, question: Question) -> AsyncIterator[Scene]:
        """A scene with the cluster's pods, if the question may be about them or a service. Raises TrenzaError."""
        if not names_pods(question) and not (isinstance(question, Http | Tcp) and self._objects.has_cluster):
            yield scene
            return
        pods = await self._objects.pods()
        try:
            yield replace(scene, pods=pods)
        finally:
            pods.close()

    async def _told(self, scene: Scene, question: Question) -> Finding:
        try:
            return await self._asked(scene, question)
        except Absent as absent:
            if is_negative(question):
                finding = cannot_tell(absent.said, hint=absent.hint, stays=absent.stays)
            else:
                finding = failed(absent.said, because=absent.said, hint=absent.hint, stays=absent.stays)
            return replace(finding, unasked=True)
        except TrenzaError as error:  # the kernel refuses, tcpdump is not there or does not know the filter…
            return _untold(error)

    async def _asked(self, scene: Scene, question: Question) -> Finding:
        match question:
            case Ping() | PingAll() | Http() | Tcp():
                return await traffic.traffic(self._asker, scene, question)
            case NoPing():
                return await traffic.no_ping(self._asker, scene, question)
            case PathTaken():
                return await ways.path(self._asker, scene, question)
            case Dns():
                return await services.dns(self._asker, scene, question)
            case Dhcp():
                return await services.dhcp(self._asker, scene, question)
            case Mtu():
                return await ways.mtu(self._asker, scene, question)
            case Stp():
                return tables.stp(self._asker, scene, question)
            case Fdb():
                return await tables.fdb(self._asker, scene, question)
            case Arp():
                return await tables.arp(self._asker, scene, question)
            case RouteTo():
                return await ways.route(self._asker, scene, question)
            case Seen():
                return await frames.seen(self._asker, scene, question)
            case Owner():
                return await tables.owner(self._asker, scene, question)
            case Netns():
                return tables.netns(self._asker, scene, question)
            case NoIp():
                return tables.no_ip(self._asker, scene, question)
            case ServiceRuns():
                return await services.service(self._asker, scene, question)
            case Run():
                return await services.run(self._asker, scene, question)
            case KubernetesObject():
                return await kubernetes.objects(self._objects, scene, question)
            case FaultOutcome():
                raise AssertionError("faults are injected by whoever asks")
            case _:
                assert_never(question)


def _untold(error: TrenzaError) -> Finding:
    if isinstance(error, Unanswered):
        return cannot_tell(error.said, hint=error.look)
    return cannot_tell(same(error.message))


def is_negative(question: Question) -> bool:
    """Whether it asks that something does not happen, so that what is not there proves nothing."""
    return isinstance(question, _NEGATIVE) or (
        isinstance(question, Seen) and question.never) or (isinstance(question, Tcp) and not question.open)  # fmt: skip
