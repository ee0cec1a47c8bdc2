"""The real server on a lab's master, real agents on its hosts, and a real kubectl outside of the sandbox."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from clusters import Cluster, until

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


@pytest.fixture
def kubectl(request: pytest.FixtureRequest, bare: Cluster) -> Callable[..., str]:
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

    def run(*arguments: str, given: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            [program, f"--kubeconfig={state}/admin.kubeconfig", f"--server=https://127.0.0.1:{port}", *arguments],
            input=given, text=True, capture_output=True, timeout=60, check=False,
            env={"PATH": os.environ["PATH"], "HOME": str(bare.directory / "home")},
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}\n{bare.logs()}"
        return done.stdout

    return run


def test_a_cluster_works_and_survives_the_loss_of_a_host(bare: Cluster, kubectl: Callable[..., str]) -> None:
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
    kubectl("delete", "rc,svc", "--all", "--timeout=20s")
    until(lambda: not found("pods")["items"], "the pods are gone")


@pytest.mark.parametrize("kubectl", ["1.36"], indirect=True)
def test_a_pod_asks_the_api_with_its_own_token(bare: Cluster, kubectl: Callable[..., str]) -> None:
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
