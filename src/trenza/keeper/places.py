"""Places: nodes of the lab and pods of its cluster, by the words that people have for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from trenza.engine.engine import Engine
from trenza.engine.suggestions import suggest
from trenza.errors import TrenzaError, UsageError
from trenza.keeper.absent import Absent, Unanswered
from trenza.keeper.cluster_objects import ClusterObjects
from trenza.keeper.pods import POD_NIC, Pods, name_of
from trenza.linux.nodes import NodeHandle, Nodes
from trenza.model.checks import ClusterService, Pod
from trenza.model.names import Interface, NicName, NodeName
from trenza.model.state import IpAddress
from trenza.spec.check_format import pod_of, service_of

_AT_ONCE_S = 1.0


class Places:
    """Finds them; pods as checks do: `pod/NAME`, `pod/LABEL=VALUE@NODE`, `pod/@NODE`, and services as `NAME.svc`."""

    def __init__(self, engine: Engine, nodes: Nodes, there: ClusterObjects) -> None:
        self._engine = engine
        self._nodes = nodes
        self._objects = there

    @asynccontextmanager
    async def found(self, words: Iterable[str], language: str = "en") -> AsyncIterator[Found]:
        """What some words may mean now; pods' namespaces are open until the end of the block.

        Raises UsageError for a pod on a node that is none, and TrenzaError where the API server does not answer.
        """
        meant = {word: pod for word in words if (pod := self._meant(word)) is not None}
        try:
            pods = await self._objects.pods() if meant else None
        except Unanswered as error:
            raise error.in_language(language) from error
        try:
            yield Found(self._engine, self._nodes, meant, pods, language)
        finally:
            if pods is not None:
                pods.close()

    def without_nic(self, word: str) -> str:
        """A pod that somebody named by its interface, as captures do, as a pod; any other word as it is."""
        return word.removesuffix(f".{POD_NIC}") if isinstance(self._meant(word), Pod) else word

    async def names(self) -> list[str]:
        """What completes a word: nodes, and pods where there is a cluster that answers at once."""
        return [*self._engine.names(), *Pods(await self._pods_at_once(), (), (), {}).names()]

    async def pod_links(self) -> dict[Interface, Interface]:
        """The interface of each pod by that of its node which leads there; none of a cluster that does not answer."""
        from trenza.cluster.node.network import host_nic_name

        found = {}
        for pod in await self._pods_at_once():
            node, inside = pod["spec"].get("nodeName"), Interface(NodeName(name_of(pod)), POD_NIC)
            if node is not None:
                found[Interface(NodeName(node), NicName(host_nic_name(pod["metadata"]["uid"])))] = inside
        return found

    async def _pods_at_once(self) -> Sequence[dict[str, Any]]:
        """The cluster's pods, for what is worth no waiting."""
        if self._objects.has_cluster:
            with suppress(TrenzaError, TimeoutError):
                async with asyncio.timeout(_AT_ONCE_S):
                    return await self._objects.list("pods")
        return ()

    def _meant(self, word: str) -> Pod | ClusterService | None:
        """As in checks, `pod/…` is a container only where a host of that name has it."""
        if not self._objects.has_cluster:
            return None
        service = service_of(word)
        if service is not None:
            return service
        pod = pod_of(word)
        if pod is None or "pod" in self._engine.names():
            return None
        return pod if pod.node is None else replace(pod, node=self._engine.resolve(pod.node))


@dataclass(frozen=True, slots=True)
class Found:
    """What words mean at one moment. All raise UsageError."""

    _engine: Engine
    _nodes: Nodes
    _meant: dict[str, Pod | ClusterService]
    _pods: Pods | None
    _language: str

    def is_in_cluster(self, word: str) -> bool:
        """Whether it is a pod's or a service's, of which theory knows nothing."""
        return word in self._meant

    def is_pod(self, word: str) -> bool:
        return isinstance(self._meant.get(word), Pod)

    def handle(self, word: str) -> NodeHandle:
        """A node that runs, or a pod that has its network, Ready or not."""
        meant = self._meant.get(word)
        if isinstance(meant, Pod):
            try:
                return self._there().network(meant)
            except Absent as absent:
                raise self._missing(word, meant, absent) from absent
        node = self._engine.resolve(word)
        handle = self._nodes.alive().get(node)
        if handle is None:
            raise UsageError(f"{node} is not running", hint=f"trenza start {node}")
        return handle

    def find_address(self, word: str) -> IpAddress | None:
        """The address of a pod that is Ready, or of a service; None for a word that means something else."""
        meant = self._meant.get(word)
        if meant is None:
            return None
        try:
            return self._there().address(meant)
        except Absent as absent:
            raise self._missing(word, meant, absent) from absent

    def find_container(self, word: str) -> tuple[str, NodeName] | None:
        """A pod, `pod/NAME`, and the spawner's name for its first container that runs; None where no pod is meant."""
        meant = self._meant.get(word)
        if not isinstance(meant, Pod):
            return None
        try:
            return self._there().container(meant)
        except Absent as absent:
            raise self._missing(word, meant, absent) from absent

    def _there(self) -> Pods:
        assert self._pods is not None  # it was asked for with the words
        return self._pods

    def _missing(self, word: str, meant: Pod | ClusterService, absent: Absent) -> UsageError:
        hint = absent.hint.in_language(self._language)
        if isinstance(meant, Pod) and absent.stays:
            names = self._there().names()
            hint = suggest(word, names, names)
        return UsageError(absent.said.in_language(self._language), hint=hint or None)
