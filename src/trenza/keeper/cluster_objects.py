"""The objects of a lab's cluster: what manifests have, what there is, and what people made."""

from __future__ import annotations

import asyncio
import json
import posixpath
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trenza.engine.engine import Engine
from trenza.keeper.clustering import READY_S, Clustering
from trenza.keeper.manifests import Manifests
from trenza.keeper.pods import Pods
from trenza.linux.inside import SandboxNodes
from trenza.model.cluster import MANIFESTS, SAVED, Cluster
from trenza.model.names import NodeName
from trenza.model.state import File

_ASK_AGAIN_S = 0.05


class ClusterObjects:
    """Asks a cluster's API server, and has it keep what the manifests say; `directory` is the lab's."""

    def __init__(self, engine: Engine, nodes: SandboxNodes, clustering: Clustering, directory: Path) -> None:
        self._engine = engine
        self._nodes = nodes
        self._clustering = clustering
        self._applied = Manifests(directory / "cluster" / "applied.json")

    @property
    def has_cluster(self) -> bool:
        return self._clustering.cluster is not None

    async def settle(self, deadline_s: float = READY_S, *, keep_unread: bool = True) -> list[str]:
        """Wait until nodes are Ready and the manifests' objects have their pods; what is missing at the deadline.

        With `keep_unread` what a manifest had that cannot be read any more stays.
        """
        cluster = self._clustering.cluster
        if cluster is None or not self._clustering.should_answer:
            return []
        until = time.monotonic() + deadline_s
        self._clustering.attend()
        missing = await self._clustering.unready(deadline_s)
        if missing:
            return missing
        api = self._clustering.api(cluster)
        try:
            problems = await self._applied.apply(api, self._manifests(cluster), keep_unread=keep_unread)
            while True:
                missing = await self._applied.unready(api)
                if not missing or problems or time.monotonic() > until:
                    return [*problems, *missing]
                await asyncio.sleep(_ASK_AGAIN_S)
        finally:
            api.close()

    def _manifests(self, cluster: Cluster) -> dict[str, bytes]:
        """The manifests by name, as they are in the master now."""
        master = cluster.master.node
        names = {
            thing.path.removeprefix(f"{MANIFESTS}/")
            for thing in self._engine.wanted
            if isinstance(thing, File) and thing.node == master and thing.path.startswith(f"{MANIFESTS}/")
        }
        names |= {name for name in self._nodes.names_in(master, MANIFESTS) if name.endswith((".yaml", ".yml", ".json"))}
        read = {name: self._nodes.read(master, f"{MANIFESTS}/{name}") for name in names}
        return {name: file[0] for name, file in read.items() if file is not None}

    def has_manifest(self, node: NodeName, path: str) -> bool:
        """Whether a file of a node is a manifest."""
        cluster = self._clustering.cluster
        return cluster is not None and node == cluster.master.node and posixpath.dirname(path) == MANIFESTS

    async def made(self) -> bytes | None:
        """What people made in the cluster, as a manifest named SAVED would have it; None if that is nothing.

        Raises TrenzaError where the server does not answer.
        """
        from trenza.keeper.made import SAVED_KINDS, made_by_people

        applied = self._applied.paths(but=SAVED)
        made: list[Any] = []
        for plural in SAVED_KINDS:
            made += made_by_people(await self.list(plural), applied)
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": made}, indent=1).encode() if made else None

    # ------------------------------------------------------------------ what there is
    async def list(self, plural: str) -> Sequence[dict[str, Any]]:
        """All objects of a kind. Raises Unanswered, ApiError, and UsageError where there is no cluster."""
        from trenza.cluster.api import ApiError
        from trenza.cluster.kinds.resources import RESOURCES

        resource = next(one for one in RESOURCES if one.plural == plural)
        version = f"{resource.group}/{resource.version}" if resource.group else resource.version
        cluster = self._clustering.required()
        if not self._clustering.should_answer:
            raise self._clustering.unanswered()
        api = self._clustering.api(cluster)
        try:
            found = (await api.list(f"{version}/{plural}")).items
        except ApiError as error:
            if error.status:
                raise
            raise self._clustering.unanswered(error) from error
        finally:
            api.close()
        return [{"apiVersion": version, "kind": resource.kind, **one} for one in found]

    async def pods(self) -> Pods:
        """The pods and services of now; close them. Raises like `list`."""
        from trenza.cluster.node.containers import pause_node

        pods, services, slices = await asyncio.gather(*map(self.list, ("pods", "services", "endpointslices")))
        namespaces: dict[str, int] = {}
        for member in self._clustering.required().nodes:
            names = {
                pause_node(member.node, one["metadata"]["uid"]): one["metadata"]["uid"]
                for one in pods
                if one["spec"].get("nodeName") == member.node
            }
            opened = self._nodes.open_netns(f"kubelet {member.node}", names.keys())
            namespaces |= {names[name]: descriptor for name, descriptor in opened.items()}
        return Pods(pods, services, slices, namespaces)
