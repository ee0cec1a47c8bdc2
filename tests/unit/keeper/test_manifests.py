"""Manifests: what of them is applied, what is taken away, and what is said of those that cannot be read."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast

from trenza.cluster.api import ApiError
from trenza.cluster.client import HttpApi
from trenza.keeper.manifests import Manifests, problems_of

POD = b"""
apiVersion: v1
kind: Pod
metadata: {name: a}
spec: {containers: [{name: c, image: host, args: ["a > b"]}]}
"""
LIST = b"""
kind: List
apiVersion: v1
items:
  - {apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: n}, spec: {replicas: 3}}
  - {apiVersion: v1, kind: Namespace, metadata: {name: n}}
---
"""
A_POD = "/api/v1/namespaces/default/pods/a"
A_DEPLOYMENT = "/apis/apps/v1/namespaces/n/deployments/d"
A_NAMESPACE = "/api/v1/namespaces/n"


class Server:
    """Stands for the API server: keeps what it is sent."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.refuses: set[str] = set()

    async def request(self, method: str, path: str, **options: Any) -> Any:
        if path in self.refuses or (method != "PATCH" and path not in self.objects):
            raise ApiError("no", status=422 if path in self.refuses else 404)
        if method == "PATCH":
            assert options["query"] == {"fieldManager": "trenza", "force": "true", "fieldValidation": "Strict"}
            self.objects[path] = options["body"]
        elif method == "DELETE":
            del self.objects[path]
        return self.objects.get(path)


def applied(server: Server, record: Path, files: dict[str, bytes], **options: bool) -> list[str]:
    return asyncio.run(Manifests(record).apply(cast(HttpApi, server), files, **options))


def test_objects_are_there_as_long_as_files_have_them(tmp_path: Path) -> None:
    server, record = Server(), tmp_path / "applied.json"
    assert applied(server, record, {"a.yaml": POD, "b.yaml": LIST}) == []
    assert server.objects.keys() == {A_POD, A_DEPLOYMENT, A_NAMESPACE}
    assert applied(server, record, {"b.yaml": LIST}) == []
    assert server.objects.keys() == {A_DEPLOYMENT, A_NAMESPACE}
    del server.objects[A_NAMESPACE]  # by hand; so it need not be deleted again
    assert applied(server, record, {}) == []
    assert server.objects == {}


def test_kubectl_finds_what_it_would_have_written_itself(tmp_path: Path) -> None:
    server = Server()
    applied(server, tmp_path / "applied.json", {"a.yaml": POD})
    written = server.objects[A_POD]["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
    assert written == (
        '{"apiVersion":"v1","kind":"Pod","metadata":{"annotations":{},"name":"a","namespace":"default"},'
        '"spec":{"containers":[{"args":["a \\u003e b"],"image":"host","name":"c"}]}}\n'
    )


def test_what_cannot_be_applied_is_said_and_the_rest_is(tmp_path: Path) -> None:
    server, record = Server(), tmp_path / "applied.json"
    server.refuses.add(A_DEPLOYMENT)
    files = {
        "a.yaml": POD,
        "b.yaml": LIST,
        "c.yaml": b"a: [",
        "d.yaml": b"kind: Pot\napiVersion: v1\nmetadata: {name: x}",
        "e.yaml": b"- 1",
        "f.yaml": b"\xff",
    }
    problems = applied(server, record, files)
    assert [one.split(":")[0] for one in problems] == ["c.yaml", "d.yaml", "e.yaml", "f.yaml", "deployment/d"]
    assert "no matches for kind 'Pot' in version 'v1'" in problems[1]
    assert server.objects.keys() == {A_POD, A_NAMESPACE}


def test_what_may_have_been_applied_before_a_death_is_known(tmp_path: Path) -> None:
    """It is written down before it is sent, so that it can be taken away again."""
    record = tmp_path / "applied.json"

    class Dying(Server):
        async def request(self, method: str, path: str, **options: Any) -> Any:
            assert ["a.yaml", "v1/pods", "default", "a"] in json.loads(record.read_text())
            raise KeyboardInterrupt

    try:
        applied(Dying(), record, {"a.yaml": POD})
    except KeyboardInterrupt:
        pass
    server = Server()
    server.objects[A_POD] = {}
    assert applied(server, record, {}) == []
    assert server.objects == {}


def test_pods_are_counted_before_all_is_ready(tmp_path: Path) -> None:
    server, manifests = Server(), Manifests(tmp_path / "applied.json")
    applied(server, tmp_path / "applied.json", {"a.yaml": POD, "b.yaml": LIST})
    missing = asyncio.run(manifests.unready(cast(HttpApi, server)))
    assert missing == ["pod/a: 0 of 1 pods are Ready", "deployment/d: 0 of 3 pods are Ready"]
    server.objects[A_DEPLOYMENT]["status"] = {"readyReplicas": 3}
    server.objects[A_POD]["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
    assert asyncio.run(manifests.unready(cast(HttpApi, server))) == []


def test_a_slip_in_a_manifest_takes_nothing_away(tmp_path: Path) -> None:
    server, record = Server(), tmp_path / "applied.json"
    applied(server, record, {"a.yaml": POD, "b.yaml": LIST})
    assert applied(server, record, {"a.yaml": b"kind: [", "b.yaml": LIST}) != []
    assert server.objects.keys() == {A_POD, A_DEPLOYMENT, A_NAMESPACE}
    assert applied(server, record, {"a.yaml": b"kind: [", "b.yaml": LIST}, keep_unread=False) != []
    assert server.objects.keys() == {A_DEPLOYMENT, A_NAMESPACE}


def test_an_object_may_move_from_one_file_to_another(tmp_path: Path) -> None:
    server, record = Server(), tmp_path / "applied.json"
    applied(server, record, {"a.yaml": POD})
    assert applied(server, record, {"b.yaml": POD}) == []
    assert server.objects.keys() == {A_POD}


def test_what_a_server_would_refuse_is_known_without_one() -> None:
    assert problems_of(POD + b"---\n" + LIST) == []
    assert problems_of(b"a: [") == ["line 1: not YAML: expected the node content, but found '<stream end>'"]
    strange = b"{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containerz: []}}"
    (problem,) = problems_of(strange + b"\n---\n" + strange.replace(b"Pod", b"Pot"))[:1]
    assert problem.endswith('unknown field "spec.containerz"')
    assert problems_of(strange.replace(b"Pod", b"Pot")) == ["Pot p: no matches for kind 'Pot' in version 'v1'"]
