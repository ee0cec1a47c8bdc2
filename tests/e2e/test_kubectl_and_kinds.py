"""A real kubectl against the kinds: it finds them, creates them, explains them, shows them and merges into them.

The server is a toy (tiny_api_server); what is proven is that kubectl understands what the kinds say, and they it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_api_server import TinyApi, serving

Kubectl = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here (package kubernetes-client)")

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: "nginx:1", ports: [{containerPort: 80}]}]}
"""


@pytest.fixture
def api() -> Iterator[tuple[TinyApi, str]]:
    with serving() as served:
        yield served


@pytest.fixture
def kubectl(api: tuple[TinyApi, str], tmp_path: Path) -> Kubectl:
    """Runs kubectl in an empty home against the API; fails the test where the exit code is not the expected one."""

    def run(*words: str, fails: bool = False, stdin: str = "") -> subprocess.CompletedProcess[str]:
        ended = subprocess.run(
            ["kubectl", "--server", api[1], *words],
            capture_output=True,
            text=True,
            timeout=60,
            input=stdin,
            env={"HOME": str(tmp_path), "PATH": os.environ["PATH"], "KUBECONFIG": "/dev/null"},
            check=False,
        )
        assert (ended.returncode != 0) is fails, ended.stderr
        return ended

    return run


def test_what_is_created_is_shown(kubectl: Kubectl) -> None:
    kubectl("create", "namespace", "demo")
    kubectl("create", "deployment", "web", "--image=nginx", "--replicas=0", "--port=80")
    kubectl("create", "configmap", "settings", "--from-literal=a=b")
    kubectl("create", "secret", "generic", "secret", "--from-literal=a=b")
    kubectl("create", "service", "nodeport", "open", "--tcp=80:8080")
    kubectl("create", "serviceaccount", "someone")
    kubectl("create", "job", "once", "--image=x", "--", "true")
    kubectl("run", "alone", "--image=x:1", "--env=A=b", "--", "sleep", "1")
    kubectl("expose", "deployment", "web", "--port=80")
    shown = kubectl("get", "all,configmaps,secrets", "-o", "wide").stdout
    for words in (
        "pod/alone 0/1 Pending 0 65s <none> <none> <none> <none>",
        "service/open NodePort <none> <none> 80/TCP 65s app=open",
        "deployment.apps/web 0/0 0 0 65s nginx nginx app=web",
        "job.batch/once Running 0/1 65s once x batch.kubernetes.io/controller-uid=",
        "configmap/settings 1 65s",
        "secret/secret Opaque 1 65s",
    ):
        assert any(" ".join(line.split()).startswith(words) for line in shown.splitlines()), shown
    assert kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}").stdout == "0"
    assert kubectl("get", "pods", "-l", "run=alone", "--field-selector", "status.phase=Pending", "-o", "name").stdout


def test_every_field_is_explained(kubectl: Kubectl) -> None:
    said = kubectl("explain", "pod.spec.containers.ports").stdout
    assert "containerPort" in said
    assert "Number of port to expose on the pod's IP address." in " ".join(said.split())
    assert "maxSurge" in kubectl("explain", "deployment.spec.strategy", "--recursive").stdout


def test_apply_merges_by_name_and_by_server(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT.replace("nginx:1", "nginx:2").replace("replicas: 2", "replicas: 5"))
    assert kubectl("get", "deployment", "web", "-o", "jsonpath={..image} {.spec.replicas}").stdout == "nginx:2 5"
    apply = ("apply", "--server-side", "--field-manager=other", "-f", "-")
    refused = kubectl(*apply, stdin=DEPLOYMENT, fails=True).stderr
    assert 'Apply failed with 2 conflicts: conflicts with "kubectl-client-side-apply" using apps/v1' in refused
    assert '- .spec.template.spec.containers[name="c"].image' in refused
    kubectl(*apply, "--force-conflicts", stdin=DEPLOYMENT)
    assert kubectl("get", "deployment", "web", "-o", "jsonpath={..image} {.spec.replicas}").stdout == "nginx:1 2"
    patch = '{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"y"}]}}}}'
    kubectl("patch", "deployment", "web", "-p", patch)
    kubectl("set", "image", "deployment/web", "c=nginx:3")
    kubectl("scale", "deployment/web", "--replicas=7")
    assert kubectl("get", "deployment", "web", "-o", "jsonpath={..image} {.spec.replicas}").stdout == "y nginx:3 7"


def test_refusals_reach_the_person(kubectl: Kubectl) -> None:
    misspelt = kubectl("create", "-f", "-", stdin=DEPLOYMENT.replace("replicas", "replicsa"), fails=True).stderr
    assert 'unknown field "' in misspelt
    assert "replicsa" in misspelt
    bad = DEPLOYMENT.replace("labels: {app: web}", "labels: {app: other}")
    refused = kubectl("create", "-f", "-", stdin=bad, fails=True).stderr
    assert 'The Deployment "web" is invalid: spec.template.metadata.labels: Invalid value' in refused
    kubectl("create", "-f", "-", stdin=DEPLOYMENT)
    assert "AlreadyExists" in kubectl("create", "-f", "-", stdin=DEPLOYMENT, fails=True).stderr
    nowhere = kubectl("create", "quota", "q", "--hard=cpu=1", fails=True).stderr
    assert "the server does not allow this method on the requested resource" in nowhere


def test_typed_commands_speak_protobuf(kubectl: Kubectl, api: tuple[TinyApi, str]) -> None:
    version = kubectl("version", "--client", "-o", "yaml").stdout
    if 'minor: "20"' in version:
        pytest.skip("this kubectl is older than 1.32: it sends JSON")
    kubectl("create", "serviceaccount", "someone")
    assert kubectl("create", "token", "someone").stdout.strip() == "t0ken"
    assert kubectl("auth", "can-i", "get", "pods").stdout == "yes\n"
    sent = {path.partition("?")[0]: media for method, path, media in api[0].requests if method == "POST"}
    assert set(sent.values()) == {"application/vnd.kubernetes.protobuf"}
