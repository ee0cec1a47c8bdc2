"""What of the cluster a pod's containers refer to, fetched: config maps, secrets, tokens of its service account."""

from __future__ import annotations

from collections.abc import Sequence

from trenza.cluster.api import CONFIG_MAPS, SECRETS, Object
from trenza.cluster.node.account_tokens import AccountTokens
from trenza.cluster.node.capacity import capacity
from trenza.cluster.node.environment import Surroundings, references
from trenza.cluster.node.sources import Sources


async def surroundings(
    sources: Sources,
    tokens: AccountTokens,
    pod: Object,
    services: Sequence[Object],
    *,
    host_ip: str,
    pod_ip: str,
    node_name: str,
) -> Surroundings:
    """All that a pod refers to and that is there. Raises ApiError where the server cannot be asked."""
    uid, namespace = pod["metadata"]["uid"], pod["metadata"]["namespace"]
    config_maps, secrets = references(pod)
    return Surroundings(
        services,
        await sources.found(uid, CONFIG_MAPS, namespace, config_maps),
        await sources.found(uid, SECRETS, namespace, secrets),
        host_ip,
        pod_ip,
        node_name,
        capacity(),
        await tokens.of(pod),
    )
