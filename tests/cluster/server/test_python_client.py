"""The official Python client: its models are strict about what answers are."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fake_nodes import FakeNode

from trenza.cluster.server.server import Server

kubernetes = pytest.importorskip("kubernetes")
# The client leaves the connection of a watch that was stopped to the garbage collector.
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


async def test_objects_watches_and_exec_as_programs_use_them(server: Server, node: FakeNode) -> None:
    await asyncio.to_thread(use, str(server.settings.directory / "admin.kubeconfig"))


def use(kubeconfig: str) -> None:
    from kubernetes.stream import stream

    with kubernetes.config.new_client_from_config(kubeconfig) as connected:
        core, apps = kubernetes.client.CoreV1Api(connected), kubernetes.client.AppsV1Api(connected)
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "host"}]}}
        spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}
        apps.create_namespaced_deployment("default", {"metadata": {"name": "web"}, "spec": spec})
        watch = kubernetes.watch.Watch()
        ready: set[str] = set()
        events: Any = watch.stream(core.list_namespaced_pod, "default", label_selector="app=web", timeout_seconds=20)
        for event in events:
            pod = event["object"]
            if any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions or ()):
                ready.add(pod.metadata.name)
            if len(ready) == 2:
                watch.stop()
        assert len(ready) == 2
        name = sorted(ready)[0]
        said = stream(
            core.connect_get_namespaced_pod_exec, name, "default", command=["echo", "hi"], stdout=True, stderr=True,
            stdin=False, tty=False,
        )  # fmt: skip
        assert said == "hi\n"
        assert core.read_namespaced_pod_log(name, "default") == ""
        ports = [{"port": 80}]
        core.create_namespaced_service(
            "default", {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports}}
        )
        apps.patch_namespaced_deployment_scale("web", "default", {"spec": {"replicas": 1}})
        assert apps.read_namespaced_deployment_scale("web", "default").spec.replicas == 1
        core.delete_namespaced_service("web", "default")
        apps.delete_namespaced_deployment("web", "default")
        with pytest.raises(kubernetes.client.ApiException) as refused:
            core.read_namespaced_service("web", "default")
        assert refused.value.status == 404
        page = core.list_node(limit=1)
        assert [one.metadata.name for one in page.items] == ["larrain"]
        assert kubernetes.client.VersionApi(connected).get_code().minor == "32"
        dynamic = kubernetes.dynamic.DynamicClient(connected)
        maps = dynamic.resources.get(api_version="v1", kind="ConfigMap")
        body = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "d"}, "data": {"a": "b"}}
        maps.server_side_apply(body=body, namespace="default", field_manager="python")
        assert maps.get(name="d", namespace="default").data.a == "b"
