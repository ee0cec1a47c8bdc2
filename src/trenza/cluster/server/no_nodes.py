"""The nodes of a cluster whose nodes have no agents: every stream is refused. For servers by themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator

from trenza.cluster.kinds.resources import Object
from trenza.cluster.kinds.status import ApiError
from trenza.cluster.server.nodestreams import CommandOptions, Joined, LogOptions, Running


class NoNodes:
    """Implements NodeStreams."""

    async def logs(self, pod: Object, options: LogOptions) -> AsyncIterator[bytes]:
        """See NodeStreams."""
        raise _unreachable(pod)

    async def run(self, pod: Object, options: CommandOptions) -> Running:
        """See NodeStreams."""
        raise _unreachable(pod)

    async def connect(self, pod: Object, port: int) -> Joined:
        """See NodeStreams."""
        raise _unreachable(pod)


def _unreachable(pod: Object) -> ApiError:
    node = (pod.get("spec") or {}).get("nodeName", "")
    return ApiError(500, "InternalError", f"Internal error occurred: no agent answers on node {node}")
