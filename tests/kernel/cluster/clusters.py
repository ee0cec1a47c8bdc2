"""Small clusters: a lab of the real command line, an API server in memory on its master, a real agent in every host."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from trenza.cluster.api import ApiError
from trenza.cluster.client import HttpApi
from trenza.linux import sandbox

Object = dict[str, Any]
FAKE = Path(__file__).with_name("fake_api.py")
DEADLINE_S = 20.0
NETWORK = {"Network": "172.16.0.0/16", "SubnetLen": 24, "Backend": {"Type": "vxlan", "VNI": 1}}
LAB = """
lab: {lab}
switches: {{di: {{}}}}
hosts:
  playancha: {{forwarding: true, nics: {{eth0: {{to: di, ip: 10.9.0.1/24}}}}}}
  larrain: {{forwarding: true, nics: {{eth0: {{to: di, ip: 10.9.0.2/24}}}}, routes: [{{to: default, via: 10.9.0.100}}]}}
  concepcion:
    {{forwarding: true, nics: {{eth0: {{to: di, ip: 10.9.0.3/24}}}}, routes: [{{to: default, via: 10.9.0.100}}]}}
  internet: {{nics: {{eth0: {{to: di, ip: [10.9.0.100/24, 8.8.4.4/32]}}}}}}
"""


def until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Wait until it is true, or fail saying what it last was."""
    end = time.monotonic() + deadline_s
    while not (value := condition()):
        assert time.monotonic() < end, f"{what}: not within {deadline_s:g} s"
        time.sleep(0.01)
    return value


@dataclass
class Cluster:
    """A lab with an API server and agents."""

    lab: str
    program: str
    environment: dict[str, str]
    directory: Path
    tls: Object | None = None
    pids: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Of a host's init: on the machine, and in the sandbox."""

    # -------------------------------------------------------------- the lab
    def up(self, text: str) -> None:
        path = self.directory / "lab.yaml"
        path.write_text(text)
        self.trenza("up", str(path))
        self.learn_pids()

    def learn_pids(self) -> None:
        for node in json.loads(self.trenza("show", "-f", "json"))["nodes"]:
            status = Path(f"/proc/{node['pid']}/status").read_text()
            numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
            self.pids[node["name"]] = (node["pid"], int(numbers[1]))

    def trenza(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            [self.program, *words], env=self.environment, text=True, capture_output=True, timeout=60, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"trenza {words}: {done.stdout}{done.stderr}"
        return done.stdout

    def run(self, node: str, command: str, *, check: bool = True) -> str:
        return self.trenza("exec", node, "--", "sh", "-c", command, check=check)

    # -------------------------------------------------------------- processes
    def execute(self, argv: list[str], keep: dict[int, int], log: Path) -> None:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
            child = sandbox.execute_inside(self.lab, argv, keep=keep, log=descriptor, environment=environment)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, log.read_text()
        finally:
            os.close(descriptor)

    def start_api(self, network: Object = NETWORK) -> None:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.directory / "api"))
        listener.listen(64)
        settings = {"host_pid": self.pids["playancha"][1], "network": network, "tls": self.tls}
        self.execute(
            [sys.executable, "-I", str(FAKE), json.dumps(settings)], {3: listener.fileno()}, self.directory / "api.log"
        )  # fmt: skip
        listener.close()

    def start_agent(self, node: str, **more: Any) -> None:
        scheme = "https" if self.tls else "http"
        settings = {
            "lab": self.lab, "node": node, "host_pid": self.pids[node][1], "api": f"{scheme}://10.9.0.1:6443",
            "directory": str(self.directory / node), "pods": "172.16.0.0/16", "services": "10.254.0.0/16",
            "dns": "10.254.0.10", "backoff_s": 1.0, "heartbeat_s": 1.0, "resync_s": 1.0, "tls": self.tls,
            "single_id": os.environ.get("TRENZA_SINGLE_ID") == "1", **more,
        }  # fmt: skip
        given = os.memfd_create("settings")
        os.write(given, json.dumps(settings).encode())
        os.lseek(given, 0, os.SEEK_SET)
        try:
            log = self.directory / f"{node}.log"
            start = "from trenza.cluster.node.launch import Path, start; start(open(3).read(), Path('/'), 1)"
            self.execute([sys.executable, "-I", "-c", start], {3: given}, log)
        finally:
            os.close(given)

    def kill_agent(self, node: str) -> None:
        from trenza.cluster.node.launch import find

        pid = find(self.directory / node)
        assert pid is not None
        descriptor = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        until(lambda: find(self.directory / node) is None, "the agent's end")
        os.close(descriptor)

    # -------------------------------------------------------------- the API
    def ask(self, method: str, path: str, body: Object | None = None, **query: str) -> Object:
        async def ask() -> Object:
            api = HttpApi(
                "http://test", connect=lambda: asyncio.open_unix_connection(str(self.directory / "api")), timeout_s=40
            )
            try:
                return await api.request(method, path, query=query, body=body)
            finally:
                api.close()

        return asyncio.run(ask())

    def create(self, plural: str, thing: Object, group: str = "api/v1") -> Object:
        return self.ask("POST", f"/{group}/namespaces/default/{plural}", thing)

    def pod(self, name: str, node: str, *argv: str, image: str = "host", **spec: Any) -> Object:
        """Create a pod with one container, bound to a node; `container` of `spec` goes into that."""
        container = {
            "name": "main",
            "image": image,
            **({"command": list(argv)} if argv else {}),
            **spec.pop("container", {}),
        }
        thing = {
            "kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "labels": spec.pop("labels", {})},
            "spec": {"nodeName": node, "containers": [container, *spec.pop("more", ())], **spec},
        }  # fmt: skip
        return self.create("pods", thing)

    def get_pod(self, name: str) -> Object | None:
        try:
            return self.ask("GET", f"/api/v1/namespaces/default/pods/{name}")
        except ApiError as error:
            assert error.status == 404, error
            return None

    def status(self, name: str) -> Object:
        pod = self.get_pod(name)
        return {} if pod is None else pod.get("status", {})

    def ready(self, name: str) -> str:
        """The address of a pod, once it is Ready."""

        def is_ready() -> str:
            status = self.status(name)
            conditions = {one["type"]: one["status"] for one in status.get("conditions", ())}
            return status.get("podIP", "") if conditions.get("Ready") == "True" else ""

        try:
            return str(until(is_ready, f"{name} is Ready"))
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(self.status(name), indent=1)}\n{self.logs()}") from None

    def state(self, name: str, container: str = "main") -> Object:
        statuses = [
            *self.status(name).get("containerStatuses", ()),
            *self.status(name).get("initContainerStatuses", ()),
        ]
        return next((one for one in statuses if one["name"] == container), {"state": {}, "lastState": {}})

    def delete_pod(self, name: str, **options: Any) -> None:
        self.ask("DELETE", f"/api/v1/namespaces/default/pods/{name}", options)

    def service(
        self, name: str, address: str, port: int, target: int, pods: dict[str, str], protocol: str = "TCP", **spec: Any
    ) -> None:
        """A service, and a slice with these pods (address by node)."""
        ports = [
            {
                "name": "http",
                "protocol": protocol,
                "port": port,
                **({"nodePort": spec.pop("nodePort")} if "nodePort" in spec else {}),
            }
        ]
        self.create(
            "services",
            {
                "kind": "Service",
                "apiVersion": "v1",
                "metadata": {"name": name},
                "spec": {"clusterIP": address, "ports": ports, **spec},
            },
        )
        self.endpoints(name, target, pods, protocol)

    def endpoints(self, name: str, target: int, pods: dict[str, str], protocol: str = "TCP") -> None:
        thing = {
            "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "addressType": "IPv4",
            "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
            "endpoints": [
                {"addresses": [address], "nodeName": node, "conditions": {"ready": True}}
                for address, node in pods.items()
            ],
            "ports": [{"name": "http", "protocol": protocol, "port": target}],
        }  # fmt: skip
        try:
            self.create("endpointslices", thing, "apis/discovery.k8s.io/v1")
        except ApiError:
            self.ask(
                "PATCH",
                f"/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/{name}-1",
                {"endpoints": thing["endpoints"]},
            )

    def exec(self, pod: str, command: str, *, container: str = "main", check: bool = True, **more: Any) -> Object:
        """What a command in a pod's container prints, through the endpoint of its host."""
        node = (self.get_pod(pod) or {})["spec"]["nodeName"]
        hosts = {"larrain": "10.9.0.2", "concepcion": "10.9.0.3"}
        body = {"host": hosts[node], "namespace": "default", "pod": pod, "container": container, **more}
        if command:
            body["argv"] = ["sh", "-c", command]
        answer = self.ask("POST", "/test/exec", body)
        assert not check or answer.get("code") == 0, answer
        return answer

    def events(self, name: str) -> list[str]:
        items = self.ask("GET", "/api/v1/namespaces/default/events")["items"]
        return [one["reason"] for one in items if one["involvedObject"]["name"] == name]

    def nodes_ready(self, *names: str) -> None:
        def ready() -> bool:
            for name in names:
                try:
                    node = self.ask("GET", f"/api/v1/nodes/{name}")
                except ApiError:
                    return False
                conditions = {one["type"]: one["status"] for one in node.get("status", {}).get("conditions", ())}
                if conditions.get("Ready") != "True":
                    return False
            return True

        try:
            until(ready, "nodes Ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from None

    def logs(self) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.directory.glob("*.log")))


@contextlib.contextmanager
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> Iterator[Cluster]:
    for name in ("run", "state", "home"):
        (tmp_path / name).mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path / "home"), "LANG": "C.UTF-8",
        "XDG_RUNTIME_DIR": str(tmp_path / "run"), "XDG_STATE_HOME": str(tmp_path / "state"),
        **{name: os.environ[name] for name in ("TRENZA_SINGLE_ID", "PYTHONDONTWRITEBYTECODE") if name in os.environ},
    }  # fmt: skip
    it = Cluster("cluster", program, environment, tmp_path)
    try:
        it.up(LAB.format(lab=it.lab))
        yield it
    except BaseException:
        print(it.logs())
        raise
    finally:
        it.trenza("down", "--all", check=False)
