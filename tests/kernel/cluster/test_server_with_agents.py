"""The real server on a lab's master, real agents on its hosts, and a real kubectl outside of the sandbox."""

from __future__ import annotations

import json
import os
import pty
import select
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from clusters import DEADLINE_S, Cluster, until

from trenza.cluster.server.tls import Authority, write_private

pytestmark = [pytest.mark.kernel, pytest.mark.side_by_side]

KUBECTLS = Path(__file__).parents[3] / ".cache" / "kubectl"
WEB = """
kind: ReplicationController
apiVersion: v1
metadata: {name: web}
spec:
  replicas: 4
  selector: {app: web}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: web, image: host, command: [busybox, httpd, -f, -p, "80", -h, /etc],
                    readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}}]
---
kind: Service
apiVersion: v1
metadata: {name: web}
spec: {clusterIP: 10.254.0.80, selector: {app: web}, ports: [{port: 8080, targetPort: 80}]}
"""
ASKING = """
kind: Pod
apiVersion: v1
metadata: {name: asks}
spec: {serviceAccountName: robot, containers: [{name: c, image: host, command: [sleep, inf]}]}
---
kind: Pod
apiVersion: v1
metadata: {name: silent}
spec: {automountServiceAccountToken: false, containers: [{name: c, image: host, command: [sleep, inf]}]}
"""
GRACE_S = 3.0
HOSTS = {"larrain": "10.9.0.2", "concepcion": "10.9.0.3"}


@dataclass
class Kubectl:
    """A kubectl for one cluster."""

    program: Path
    server: str
    cluster: Cluster

    def argv(self, *arguments: str) -> list[str]:
        state = self.cluster.directory / "server"
        return [str(self.program), f"--kubeconfig={state}/admin.kubeconfig", f"--server={self.server}", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.cluster.directory / "home")}

    def __call__(self, *arguments: str, given: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            self.argv(*arguments), input=given, text=True, capture_output=True, timeout=60, check=False,
            env=self.environment,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}\n{self.cluster.logs()}"
        return done.stdout


class Typed:
    """A program on a terminal of its own."""

    def __init__(self, argv: list[str], environment: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)

    def types(self, text: str) -> None:
        os.write(self._master, text.encode())

    def until(self, mark: str) -> str:
        """All that is shown, until the mark is among it."""
        said, end = "", time.monotonic() + DEADLINE_S
        while mark not in said:
            assert time.monotonic() < end and select.select([self._master], [], [], DEADLINE_S)[0], said
            said += os.read(self._master, 1 << 16).decode()
        return said

    def close(self) -> int:
        """Its exit status."""
        try:
            return self._process.wait(DEADLINE_S)
        finally:
            self._process.kill()
            os.close(self._master)


@pytest.fixture
def kubectl(request: pytest.FixtureRequest, bare: Cluster) -> Kubectl:
    """kubectl for a cluster of one server and two agents."""
    version = getattr(request, "param", "1.32")
    program = KUBECTLS / version / "kubectl"
    if not program.exists():
        pytest.skip(f"kubectl {version} is not in .cache (scripts/kubectl.sh)")
    state = bare.directory / "server"
    listener = socket.create_server(("127.0.0.1", 0))
    argv = [sys.executable, "-I", "-m", "trenza.cluster.server", "--listen", "10.9.0.1:6443", "--state", str(state),
            "--address", "10.9.0.1", "--node-grace", str(GRACE_S), "--descriptor", "3",
            "--host-pid", str(bare.pids["playancha"][1])]  # fmt: skip
    bare.execute(argv, {3: listener.fileno()}, bare.directory / "server.log")
    port = listener.getsockname()[1]
    listener.close()
    until((state / "admin.kubeconfig").exists, "the server's kubeconfig")
    authority = Authority.kept_in(state, datetime.now(UTC))
    for name, address in HOSTS.items():
        made = authority.node(name, [address], datetime.now(UTC))
        paths = {"ca": state / "ca.crt", "certificate": state / f"{name}.crt", "key": state / f"{name}.key"}
        write_private(paths["certificate"], made.certificate)
        write_private(paths["key"], made.key)
        bare.tls = {kind: str(path) for kind, path in paths.items()}
        bare.start_agent(name, lease_s=GRACE_S)

    return Kubectl(program, f"https://127.0.0.1:{port}", bare)


def test_a_cluster_works_and_survives_the_loss_of_a_host(bare: Cluster, kubectl: Kubectl) -> None:
    def found(*what: str) -> Any:
        return json.loads(kubectl("get", *what, "-o", "json"))

    def ready() -> bool:
        return found("rc", "web")["status"].get("readyReplicas") == 4

    until(lambda: len(found("nodes")["items"]) == 2, "two nodes")
    kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=15s")
    kubectl("apply", "-f", "-", given=WEB)
    until(ready, "four pods are ready")
    pods = found("pods")["items"]
    assert {pod["spec"]["nodeName"] for pod in pods} == set(HOSTS)
    name = pods[0]["metadata"]["name"]
    assert kubectl("exec", name, "--", "hostname").strip() == name
    assert kubectl("logs", name) == ""
    fetch = "curl -s --max-time 3 -o /dev/null -w %{http_code} http://10.254.0.80:8080/hostname"
    assert kubectl("exec", name, "--", "sh", "-c", fetch) == "200"
    until(lambda: bare.run("larrain", fetch, check=False) == "200", "the service answers on a host")
    bare.trenza("fault", "cut", "larrain.eth0")
    until(lambda: "NotReady" in kubectl("get", "node", "larrain"), "larrain is NotReady")
    addresses = {pod["status"]["podIP"] for pod in pods if pod["spec"]["nodeName"] == "larrain"}

    def withdrawn() -> bool:
        subsets = found("endpoints", "web").get("subsets") or []
        return addresses.isdisjoint(one["ip"] for subset in subsets for one in subset.get("addresses") or ())

    until(withdrawn, "the lost endpoints are withdrawn")
    bare.trenza("heal")
    until(lambda: " Ready" in kubectl("get", "node", "larrain"), "larrain is Ready again")
    until(ready, "four pods are ready again")
    kubectl("run", "bad", "--image=nobodys")
    asked = kubectl.argv("logs", "bad")

    def refused() -> str:
        return subprocess.run(asked, env=kubectl.environment, text=True, capture_output=True, timeout=60).stderr

    until(
        lambda: 'container "bad" in pod "bad" is waiting to start: trying and failing to pull image' in refused(), "why"
    )
    kubectl("delete", "pod", "bad", "--timeout=20s")
    kubectl("delete", "rc,svc", "--all", "--timeout=20s")
    until(lambda: not found("pods")["items"], "the pods are gone")


@pytest.mark.parametrize("kubectl", ["1.32", "1.36"], indirect=True)
def test_a_pod_that_runs_is_debugged(bare: Cluster, kubectl: Kubectl) -> None:
    until(lambda: kubectl("get", "nodes", "-o", "name").count("node/") == 2, "two nodes")
    kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=15s")
    kubectl("run", "one", "--image=host", "--command", "--", "sleep", "inf")
    kubectl("wait", "--for=condition=Ready", "pod/one", "--timeout=15s")
    address = kubectl("get", "pod", "one", "-o", "jsonpath={.status.podIP}")

    # a command whose output is read afterwards; it has the pod's network, and it is not run again
    kubectl("debug", "one", "--image=host", "-c", "look", "--", "sh", "-c", "ip -4 -br addr show eth0; exit 3")
    status = "jsonpath={.status.ephemeralContainerStatuses[?(@.name=='look')]}"

    def ended() -> Any:
        said = kubectl("get", "pod", "one", "-o", status)
        return json.loads(said)["state"].get("terminated") if said else None

    assert until(ended, "its end")["exitCode"] == 3
    assert f" {address}/24" in kubectl("logs", "one", "-c", "look")
    # one that is talked to through a pipe, and one through a terminal
    said = kubectl(
        "debug", "-i", "one", "--image=host", "-c", "pipe", "--", "sh", given="hostname; echo $((6 * 7)); exit\n"
    )
    assert said.split()[-2:] == ["one", "42"]
    words = ("debug", "-it", "one", "--image=host", "-c", "shell", "--target=one", "--", "sh")
    shell = Typed(kubectl.argv(*words), kubectl.environment)
    shell.until("try pressing enter")  # the prompt came before anybody was attached
    shell.types("tty && hostname -I; echo done-$?\n")
    said = shell.until("done-0")
    assert address in said and "/dev/pts/" in said
    shell.types("exit\n")
    assert shell.close() == 0
    # the pod is what it was
    pod = json.loads(kubectl("get", "pod", "one", "-o", "json"))
    assert pod["status"]["phase"] == "Running" and pod["status"]["containerStatuses"][0]["restartCount"] == 0
    assert [one["name"] for one in pod["spec"]["ephemeralContainers"]] == ["look", "pipe", "shell"]
    assert kubectl("get", "pod", "one", "--no-headers").split()[1:3] == ["1/1", "Running"]
    assert kubectl("exec", "one", "--", "echo", "still") == "still\n"
    kubectl("debug", "one", "--image=busybox", "-c", "none")
    until(lambda: "there is no registry in a lab" in kubectl("describe", "pod", "one"), "why it does not run")
    kubectl("delete", "pod", "one", "--timeout=20s")


@pytest.mark.parametrize("kubectl", ["1.36"], indirect=True)
def test_a_pod_asks_the_api_with_its_own_token(bare: Cluster, kubectl: Kubectl) -> None:
    until(lambda: kubectl("get", "nodes", "-o", "name").count("node/") == 2, "two nodes")
    kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=15s")
    kubectl("create", "serviceaccount", "robot")
    kubectl("apply", "-f", "-", given=ASKING)
    kubectl("wait", "--for=condition=Ready", "pod/asks", "pod/silent", "--timeout=15s")
    mount = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert kubectl("exec", "asks", "--", "ls", mount).split() == ["ca.crt", "namespace", "token"]
    assert kubectl("exec", "asks", "--", "cat", f"{mount}/namespace") == "default"
    assert "No such file" in kubectl("exec", "silent", "--", "sh", "-c", f"ls {mount} 2>&1", check=False)

    def ask(server: str, path: str, *options: str) -> Any:
        token = f'-H "Authorization: Bearer $(cat {mount}/token)"'
        command = f"curl -s --max-time 5 --cacert {mount}/ca.crt {token} {' '.join(options)} https://{server}{path}"
        return json.loads(kubectl("exec", "asks", "--", "sh", "-c", command))

    by_address = "$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT"
    for server in (by_address, "kubernetes.default.svc", "kubernetes"):
        assert ask(server, "/version")["minor"] == "32"
    review = ("-H", "Content-Type:application/json", "-d", "{}")
    me = ask("kubernetes", "/apis/authentication.k8s.io/v1/selfsubjectreviews", *review)
    assert me["status"]["userInfo"]["username"] == "system:serviceaccount:default:robot"
    refused = ask("kubernetes", "/api/v1/namespaces/default/pods")
    assert 'User "system:serviceaccount:default:robot" cannot list resource "pods"' in refused["message"]
    kubectl("delete", "serviceaccount", "robot")
    assert ask("kubernetes", "/version", "-o", "/dev/null", "-w", "%{http_code}") == 401
