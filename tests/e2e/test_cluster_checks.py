"""Checks of a cluster: the shipped lab's, solved with kubectl under other names, and manifests that come and go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, until
from test_cluster_lab import GIVEN_UP_S, LAB, Cluster

pytestmark = [pytest.mark.kernel, pytest.mark.side_by_side]

LITTLE = """
lab: little
switches: {di: {}}
hosts:
  m: {nics: {eth0: {to: di, ip: 10.9.0.1/24}}}
  n: {nics: {eth0: {to: di, ip: 10.9.0.2/24}}}
cluster: {master: m, nodes: [n], manifests: [web.yaml, MORE]}
"""
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: host, command: [sleep, infinity]}]}
"""
SETTINGS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
"""


def shipped(cli: Cli, name: str) -> str:
    return (Path(cli.ok("labs", "--directory", LAB).strip()) / name).read_text()


def checked(cli: Cli, *words: str) -> Any:
    """A report, whatever the points."""
    return json.loads(cli("check", LAB, "-f", "json", *words).stdout)


def points(cli: Cli) -> float:
    return float(checked(cli)["points"])


def because(cli: Cli, checkpoint: str) -> list[str]:
    report = checked(cli, "--checkpoint", checkpoint)
    return [one["because"] for one in report["checkpoints"][0]["checks"] if one["verdict"] != "pass"]


def test_a_student_with_kubectl_goes_from_nothing_to_all(cli: Cli) -> None:
    cluster = Cluster(cli)
    assert points(cli) == 0
    assert because(cli, "pods") == ["there is no pod"] * 2
    mine = cli.directory / "mine.yaml"
    mine.write_text(shipped(cli, "box.yaml").replace("box", "mine"))
    cluster.kubectl("apply", "-f", str(mine))
    cluster.kubectl("rollout", "status", "daemonset/mine", "--timeout=30s")
    assert points(cli) == 60, "out through docker0 and from node to node"
    mine.write_text(shipped(cli, "apache.yaml").replace("image: host", "image: httpd"))
    cluster.kubectl("apply", "-f", str(mine))
    until(
        lambda: any("ErrImagePull" in why or "ImagePullBackOff" in why for why in because(cli, "service")), GIVEN_UP_S
    )
    cluster.kubectl("delete", "-f", str(mine))
    cluster.apply_apache()
    assert because(cli, "service") == ["no Service has the node port 30081"] * 2, (
        "what a later fault breaks is to be shown"
    )
    mine.write_text(shipped(cli, "affinity.yaml"))
    cluster.kubectl("apply", "-f", str(mine))
    report = checked(cli)
    wrong = [one["because"] for checkpoint in report["checkpoints"] for one in checkpoint["checks"] if one["because"]]
    assert (report["points"], wrong) == (100, [])
    (fault,) = [one for one in report["checkpoints"][-1]["checks"] if one["kind"] == "fault"]
    assert 1 < fault["evidence"]["answers"]["outages"][0]["seconds"] <= 10, "the node was missed, and its pod left out"
    assert points(cli) == 100, "what was shown stays so, though the pods are on one node now"
    assert "nothing is left" in cli.ok("down", LAB)


def test_the_lab_tests_itself_and_sees_mistakes_in_manifests(cli: Cli) -> None:
    solved = cli("lint", "--solve", LAB, "--sample", "2", "--seed", "1", "-f", "json", timeout_s=300)
    found = json.loads(solved.stdout)
    assert (solved.returncode, found["whole"]["points"], found["unused"]) == (0, 100, []), found
    mutants = found["mutants"]
    assert (mutants["survived"], len(mutants["killed"]), mutants["left_out"]) == ([], 2, 7)
    assert all(".yaml Service " in one["name"] or ".yaml Repl" in one["name"] for one in mutants["killed"]), mutants


def test_manifests_are_there_as_long_as_the_lab_says_so(cli: Cli) -> None:
    (cli.directory / "web.yaml").write_text(WEB)
    (cli.directory / "more.yaml").write_text(SETTINGS)
    file = cli.lab(LITTLE.replace("MORE", "more.yaml"))
    cluster = Cluster(cli, lab="little", file=file)
    assert cluster.get("deployment", "web")["status"]["readyReplicas"] == 1, "up waits for pods"
    unchanged = cluster.kubectl("apply", "-f", str(cli.directory / "web.yaml"), "-f", str(cli.directory / "more.yaml"))
    assert unchanged.split() == ["deployment.apps/web", "unchanged", "configmap/settings", "unchanged"]
    assert "nothing to do" in cli.ok("plan", file)
    # what a lab file no longer has goes, what somebody made stays
    cluster.kubectl("create", "configmap", "mine")
    cli.lab(LITTLE.replace(", MORE", ""))
    assert "- m: file /etc/kubernetes/addons/more.yaml" in cli("up", "--dry-run", file).stdout
    cli.ok("up", file)
    assert {one["metadata"]["name"] for one in cluster.get("configmaps")["items"]} == {"mine", "kube-root-ca.crt"}
    # one that the server refuses is told with its reason
    (cli.directory / "web.yaml").write_text(WEB.replace("Deployment", "Deploymint"))
    assert "E081 web.yaml: Deploymint web: no matches for kind 'Deploymint'" in cli("lint", file).stderr
    refused = cli("up", file)
    assert refused.returncode == 1
    assert "web.yaml: no matches for kind 'Deploymint' in version 'apps/v1'" in refused.stderr
    assert cluster.get("deployment", "web")["status"]["readyReplicas"] == 1, "a slip takes nothing away"
    assert "nothing is left" in cli.ok("down", "little")


def test_what_was_made_with_kubectl_is_saved_and_built_again(cli: Cli) -> None:
    cluster = Cluster(cli)
    cluster.apply_apache()
    cluster.kubectl("create", "namespace", "mine")
    cluster.kubectl("-n", "mine", "create", "deployment", "d", "--image=host", "--", "sleep", "infinity")
    cluster.kubectl("create", "job", "once", "--image=host", "--", "true")
    cluster.kubectl("run", "bare", "--image=host", "--command", "--", "sleep", "infinity")
    address = cluster.get("service", "apache")["spec"]["clusterIP"]
    cli.ok("save", "-o", "mine.trenza", LAB)
    assert "nothing is left" in cli.ok("down", LAB)
    assert "the same as when it was saved" in cli.ok("up", "mine.trenza")
    cluster.config.write_text(cli.ok("kubeconfig", LAB))
    assert cluster.get("service", "apache")["spec"]["clusterIP"] == address
    assert set(cluster.served(f"{address}:80", source="larrain")) == {
        one["metadata"]["name"] for one in cluster.get("pods", "-l", "app=apache")["items"]
    }
    cluster.kubectl("-n", "mine", "rollout", "status", "deployment/d", "--timeout=30s")
    cluster.kubectl("wait", "--for=condition=Complete", "--timeout=30s", "job/once")
    assert cluster.get("pod", "bare")["status"]["phase"] == "Running"
    assert checked(cli, "--checkpoint", "pods")["points"] == 10
    # a manifest that is copied there is applied, and one with a slip is told
    good, bad = cli.directory / "good.yaml", cli.directory / "bad.yaml"
    good.write_text(SETTINGS)
    bad.write_text("kind: [")
    cli.ok("cp", str(good), "playancha:/etc/kubernetes/addons/")
    assert cluster.get("configmap", "settings")["data"] == {"colour": "blue"}
    told = cli("cp", str(bad), "playancha:/etc/kubernetes/addons/")
    assert (told.returncode, "bad.yaml: line 1: not YAML" in told.stderr) == (1, True), told
    assert "nothing is left" in cli.ok("down", LAB)
