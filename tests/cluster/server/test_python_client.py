"""The official Python client: its models are strict about what answers are."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import kubernetes
import pytest
from fake_nodes import FakeNode

from trenza.cluster.server.server import Server

# The client leaves the connection of a watch that was stopped to the garbage collector.
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def garbage() -> Iterator[None]:
    """What the client leaves is collected where it is to be ignored, and not in another test."""
    yield
    gc.collect()


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


async def test_a_terminal_a_log_that_is_followed_and_a_forwarded_port(server: Server, node: FakeNode) -> None:
    ended = asyncio.Event()

    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while content := await reader.read(1 << 16):
            writer.write(content.upper())
        writer.close()
        await writer.wait_closed()
        ended.set()

    node.logs["c"] = ["begun"]
    echo = await asyncio.start_server(shout, "127.0.0.1", 0)
    brief = await asyncio.start_server(_greet, "127.0.0.1", 0)
    ports = [listening.sockets[0].getsockname()[1] for listening in (echo, brief)]
    async with echo, brief:
        await asyncio.to_thread(use_streams, str(server.settings.directory / "admin.kubeconfig"), node, *ports)
        async with asyncio.timeout(10):
            await ended.wait()
            while node.streams_open:
                await asyncio.sleep(0.01)


async def _greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello")
    writer.close()
    await writer.wait_closed()


def use_streams(kubeconfig: str, node: FakeNode, echo: int, brief: int) -> None:
    from kubernetes.stream import portforward, stream

    with kubernetes.config.new_client_from_config(kubeconfig) as connected:
        core = kubernetes.client.CoreV1Api(connected)
        spec = {"containers": [{"name": "c", "image": "host"}]}
        core.create_namespaced_pod("default", {"metadata": {"name": "p"}, "spec": spec})
        watch = kubernetes.watch.Watch()
        events: Any = watch.stream(core.list_namespaced_pod, "default", timeout_seconds=20)
        for event in events:
            if event["object"].status.phase == "Running":
                watch.stop()

        typed = stream(
            core.connect_get_namespaced_pod_exec, "p", "default", command=["sh"], stdout=True, stderr=True, stdin=True,
            tty=False, _preload_content=False,
        )  # fmt: skip
        typed.write_stdin("echo out; echo err >&2; exit 3\n")
        typed.run_forever(timeout=20)
        typed.close()
        assert (typed.read_stdout(), typed.read_stderr(), typed.returncode) == ("out\n", "err\n", 3)

        log = core.read_namespaced_pod_log("p", "default", follow=True, _preload_content=False)
        assert next(log.stream()) == b"begun\n"
        log.close()

        connect = core.connect_get_namespaced_pod_portforward
        forwarded: Any = portforward(connect, "p", "default", ports=f"{echo},{brief}")
        loud, greeting = (forwarded.socket(port) for port in (echo, brief))
        loud.settimeout(20)
        greeting.settimeout(20)
        assert greeting.recv(100) == b"hello"
        for _ in range(3):
            sent = b"x" * 300_000
            loud.sendall(sent)
            answer = b""
            while len(answer) < len(sent):
                answer += loud.recv(1 << 20)
            assert answer == sent.upper()
        forwarded.close()

        nobody: Any = portforward(connect, "p", "default", ports="1")
        silent = nobody.socket(1)
        silent.settimeout(20)
        assert silent.recv(100) == b""
        assert "an error occurred forwarding 1" in nobody.error(1)
