"""Who asks: the threads that sockets wait in, and what a failure is explained with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from trenza.check.verdict import Finding, Verdict, failed
from trenza.engine.engine import Engine
from trenza.errors import KernelError
from trenza.keeper.scene import Scene
from trenza.linux.inside import SandboxNodes
from trenza.model.names import NodeName
from trenza.model.state import IpAddress

T = TypeVar("T")
_WORKERS = 24


class Asker:
    """What every question needs: the lab, its nodes, and threads to wait in."""

    def __init__(self, engine: Engine, nodes: SandboxNodes) -> None:
        self.engine = engine
        self.nodes = nodes
        self._loop = asyncio.get_running_loop()
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="question")

    def in_thread(self, work: Callable[..., T], *arguments: Any, **options: Any) -> Awaitable[T]:
        """Do blocking work of at most a few seconds. Raises KernelError where there is no thread to be had."""
        try:
            return self._loop.run_in_executor(self._workers, lambda: work(*arguments, **options))
        except RuntimeError as error:  # somebody in the sandbox has taken all the processes there may be
            raise KernelError(f"cannot ask: {error}") from error


def explained(scene: Scene, finding: Finding, source: NodeName, to: IpAddress) -> Finding:
    """With the first thing wrong on the way, where it is known; it stays so if the configuration says so."""
    if finding.verdict is Verdict.PASS or source not in scene.handles:  # theory knows nothing of pods
        return finding
    because = scene.explainer.way(source, to)
    if not because:
        return finding
    configured = scene.counterparts.is_configured(to)  # else daemons hand it on, and may yet
    stays = configured and not scene.moving and not scene.explainer.arrives(source, to)
    return failed(finding.said, credit=finding.credit, because=because, stays=stays, **finding.evidence)
