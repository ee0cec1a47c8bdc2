"""What of the cluster a pod's containers refer to, fetched: config maps, secrets, tokens of its service account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trenza.cluster.api import CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS, Api, ApiError, Object
from trenza.cluster.node.environment import Surroundings, references


async def surroundings(
    api: Api, pod: Object, services: Sequence[Object], *, host_ip: str, pod_ip: str, node_name: str
) -> Surroundings:
    """All that a pod refers to and that is there. Raises ApiError where the server cannot be asked."""
    namespace = pod["metadata"]["namespace"]
    config_maps, secrets = references(pod)
    return Surroundings(
        services,
        await _found(api, CONFIG_MAPS, namespace, config_maps),
        await _found(api, SECRETS, namespace, secrets),
        host_ip,
        pod_ip,
        node_name,
        await _tokens(api, pod),
    )


async def _found(api: Api, resource: str, namespace: str, names: frozenset[str]) -> Mapping[str, Object]:
    found: dict[str, Object] = {}
    for name in sorted(names):
        try:
            found[name] = await api.get(resource, namespace, name)
        except ApiError as error:
            if error.status != 404:
                raise
    return found


async def _tokens(api: Api, pod: Object) -> Mapping[str, str]:
    """Tokens of the pod's service account, by audience, for those volumes that want them."""
    metadata, spec = pod["metadata"], pod["spec"]
    wanted = [
        source["serviceAccountToken"]
        for volume in spec.get("volumes", ())
        for source in (volume.get("projected") or {}).get("sources", ())
        if "serviceAccountToken" in source
    ]
    tokens: dict[str, str] = {}
    for one in wanted:
        audience = one.get("audience", "")
        request: Object = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {"namespace": metadata["namespace"], "name": spec.get("serviceAccountName", "default")},
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": one.get("expirationSeconds", 3600),
                "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]},
            },
        }
        answer = await api.create(SERVICE_ACCOUNTS, request, subresource="token")
        tokens[audience] = answer["status"]["token"]
    return tokens
