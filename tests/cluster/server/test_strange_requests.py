"""Requests made of random pieces: each is answered, and none with a failure of ours."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path
from random import Random

import pytest

from trenza.cluster.kinds.resources import RESOURCES
from trenza.cluster.server.first_objects import Networks, ensure_first_objects
from trenza.cluster.server.http import Request, Response
from trenza.cluster.server.node_agents import NodeAgents
from trenza.cluster.server.registry import Registry
from trenza.cluster.server.routes import Api
from trenza.cluster.server.tls import Authority
from trenza.cluster.server.users import AUTHENTICATED, MASTERS, Tokens, User
from trenza.cluster.store.embedded import EmbeddedStore

pytestmark = pytest.mark.anyio

NOW_S = 1_800_000_000.0
REQUESTS = 4000
BODIES: tuple[object, ...] = (
    {},
    [],
    None,
    1,
    "x",
    {"metadata": None},
    {"metadata": []},
    {"metadata": {"name": "x"}},
    {"metadata": {"name": ["x"]}},
    {"metadata": {"name": "x", "labels": 1}},
    {"metadata": {"name": "x", "uid": "other", "resourceVersion": "1"}},
    {"metadata": {"name": "x", "finalizers": ["a/b"], "ownerReferences": [{}]}},
    {"metadata": {"name": "x", "managedFields": [{"fieldsV1": 1}]}},
    {"metadata": {"name": "x", "managedFields": [{"manager": "m", "fieldsV1": {"f:a": {}}}]}},
    {"metadata": {"generateName": "x-"}},
    {"metadata": {"name": "x"}, "spec": {}},
    {"metadata": {"name": "x"}, "spec": None, "status": []},
    {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c", "image": "host"}], "nodeName": "n"}},
    {"metadata": {"name": "x"}, "spec": {"containers": [None]}},
    {"metadata": {"name": "x"}, "spec": {"ports": [{"port": 80}], "clusterIP": "x"}},
    {"metadata": {"name": "x"}, "spec": {"ports": [{"port": 80, "nodePort": 31000}], "type": "NodePort"}},
    {"metadata": {"name": "x"}, "spec": {"ports": [{"port": 80}], "type": "ExternalName", "externalName": "a"}},
    {"metadata": {"name": "x"}, "spec": {"replicas": -1, "selector": {"a": "b"}, "template": {}}},
    {
        "metadata": {"name": "x"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "host"}]}},
        },
    },
    {"spec": {"replicas": 2}},
    {"spec": {"replicas": "2"}},
    {"target": {"name": "n"}, "metadata": {"name": "x"}},
    {"target": None},
    {"deleteOptions": {"gracePeriodSeconds": "soon"}, "metadata": {"name": "x"}},
    {"propagationPolicy": "Foreground"},
    {"gracePeriodSeconds": -3},
    {"preconditions": []},
    {"data": {"a": "b"}, "metadata": {"name": "x"}, "immutable": True},
    {"spec": {"resourceAttributes": {"verb": "get"}}},
    {"spec": {"token": 1}},
    {"spec": {"expirationSeconds": 10}},
    {"metadata": {"name": "x", "deletionTimestamp": "yesterday"}},
    [{"op": "add", "path": "/metadata/labels", "value": []}],
    [{"op": "remove", "path": "/metadata/uid"}, {"op": "move", "from": "/spec", "path": "/status"}],
    [{"op": "replace", "path": "", "value": 1}],
    {"$patch": "delete"},
    {"spec": {"containers": [{"$patch": "replace"}]}},
    {"metadata": {"$retainKeys": [1]}},
)
QUERIES = (
    (),
    (("fieldManager", "m"),),
    (("fieldManager", "m"), ("force", "true")),
    (("dryRun", "All"),),
    (("watch", "1"), ("timeoutSeconds", "1")),
    (("limit", "1"),),
    (("limit", "-1"), ("labelSelector", "a in (b)")),
    (("fieldSelector", "metadata.name=x"),),
    (("resourceVersion", "1"), ("resourceVersionMatch", "Exact")),
    (("continue", "e30"),),
    (("gracePeriodSeconds", "x"),),
    (("container", "c"), ("tailLines", "-1")),
    (("command", "x"), ("stdout", "1")),
    (("fieldValidation", "Strict"),),
)
MEDIA = (
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "",
)
ACCEPT = (
    "application/json",
    "application/yaml",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    "*/*",
    ";;,=",
)


def paths() -> list[str]:
    """Every resource's collection, object and what is below it, in both kinds of namespace."""
    found = ["/", "/api", "/apis", "/openapi/v2", "/coreos.com/network/subnets/1", "/coreos.com/network/subnets"]
    for resource in RESOURCES:
        root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
        inside = f"{root}/namespaces/default/{resource.plural}" if resource.namespaced else f"{root}/{resource.plural}"
        found += [
            inside,
            inside,
            f"{inside}/x",
            f"{inside}/x",
            f"{root}/{resource.plural}",
            f"{root}/watch/{resource.plural}",
        ]
        found += [f"{inside}/x/{below.name}" for below in resource.subresources]
    return found


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    store = await EmbeddedStore.open(tmp_path / "store")
    networks = Networks(IPv4Network("172.16.0.0/16"), IPv4Network("10.254.0.0/16"))
    registry = Registry(store, networks.services, lambda: NOW_S, Random(3))
    await ensure_first_objects(registry, networks, "10.9.0.1", 6443)
    tokens = Tokens(Authority.made(datetime.now(UTC)), {"t": User("admin", (MASTERS, AUTHENTICATED))})
    yield Api(registry, tokens, NodeAgents(registry, None), "10.9.0.1:6443")
    await store.close()


@pytest.mark.parametrize("seed", range(2))
async def test_every_strange_request_is_answered(api: Api, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    random, every = Random(seed), paths()
    caplog.set_level(logging.ERROR)
    for _ in range(REQUESTS):
        body = json.dumps(random.choice(BODIES)).encode()
        if random.random() < 0.1:
            body = random.randbytes(random.randrange(30))
        elif random.random() < 0.1:
            at = random.randrange(len(body))
            body = body[:at] + random.randbytes(1) + body[at + 1 :]
        request = Request(
            random.choice(("GET", "POST", "PUT", "PATCH", "DELETE")),
            random.choice(every),
            random.choice(QUERIES),
            {
                "authorization": "Bearer t",
                "content-type": random.choice(MEDIA),
                "accept": random.choice(ACCEPT) if random.random() < 0.3 else "application/json",
            },
            body,
        )
        answer = await api.answer(request)
        assert not caplog.records, f"{request}: {caplog.text}"
        assert isinstance(answer, Response), request
        if not isinstance(answer.body, bytes):
            await answer.body.aclose()  # type: ignore[attr-defined]  # an async generator: a watch
