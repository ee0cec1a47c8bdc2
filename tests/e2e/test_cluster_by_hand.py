"""The lab `kubernetes` in the hands of somebody new: pods as places, and what is said when something is wrong."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator

import pytest
from conftest import DEADLINE_S, Cli, until
from test_cluster_checks import points
from test_cluster_lab import LAB, Cluster
from test_commands import completed

pytestmark = [pytest.mark.kernel, pytest.mark.side_by_side]

BROKEN = """
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: Pod
    metadata: {name: crash}
    spec: {containers: [{name: page, image: host, command: [sh, -c, 'sleep 0.2; echo no port is free; exit 3']}]}
  - apiVersion: v1
    kind: Pod
    metadata: {name: apache-nosuch, labels: {app: apache}}
    spec: {containers: [{name: page, image: host, command: [apahce2]}]}
  - apiVersion: v1
    kind: Service
    metadata: {name: apache}
    spec: {type: NodePort, selector: {app: apache}, ports: [{port: 80, nodePort: 30080}]}
"""


@pytest.fixture
def cluster(cli: Cli) -> Iterator[Cluster]:
    yield Cluster(cli)
    assert "nothing is left" in cli.ok("down", LAB)


def test_pods_are_places_where_one_works_looks_and_asks_from(cluster: Cluster, cli: Cli) -> None:
    cluster.apply_apache()
    (first, address), (second, other) = cluster.pods()["larrain"], cluster.pods()["concepcion"]

    # exec and sh: by name, by labels, by node
    assert cli.ok("exec", f"pod/{first}", "--", "hostname").strip() == first
    by_label = cli("exec", "pod/app=apache@concepcion", "--", "ip", "-4", "-o", "addr", "show", "eth0")
    assert f"{other}/24" in by_label.stdout
    assert by_label.stderr.strip() == f"in pod/{second}"
    assert cli.types("pod/@larrain", "hostname").strip() == first
    assert cli("exec", f"pod/{first}", "--", "no-such-program").returncode == 127
    assert first not in cli.ok("history")

    # show: whose each veth is, by the index that the pod itself has for it
    far = cli.ok("exec", f"pod/{first}", "--", "cat", "/sys/class/net/eth0/iflink").strip()
    (link,) = [one for one in cli.json("show", "larrain")["nodes"][0]["nics"] if one["index"] == int(far)]
    assert (link["bridge"], link["peer"]) == ("docker0", f"pod/{first}.eth0")
    assert f"docker0 (pod/{first})" in next(one for one in cli.ok("show").splitlines() if link["name"] in one)

    # capture: what its eth0 sees, and only that
    capture = cli.start(
        "capture", f"pod/{first}.eth0", "-e", "icmp", "-c", "2", "-t", "20",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert capture.stderr is not None
    assert f"listening on pod/{first}.eth0" in capture.stderr.readline()
    cli.ok("exec", "pod/@concepcion", "--", "ping", "-c", "1", "-W", "5", address)
    out, _ = capture.communicate(timeout=DEADLINE_S)
    assert f"pod/{first}.eth0  in   {other} → {address} ICMP echo request" in out
    assert f"pod/{first}.eth0  out  {address} → {other} ICMP echo reply" in out

    # outage: from a pod to a Service and to another pod, beside what is not disturbed
    probes = ("http pod/@concepcion -> http://apache.svc/", "ping pod/@concepcion -> pod/@larrain",
              "ping pod/@concepcion -> 10.9.0.3")  # fmt: skip
    words = [word for probe in probes for word in ("--probe", probe)]
    until(lambda: cli("exec", "pod/@concepcion", "--", "ping", "-c", "1", "-W", "1", address).returncode == 0)
    report = cli("outage", "--fault", "cut larrain.eth0", *words, "--deadline", "3.5s", "-f", "json")
    assert report.returncode == 1, report.stderr  # not all was well when the deadline came; a request has two seconds
    service, pod, near = json.loads(report.stdout)["probes"]
    assert service["lost"] > 0
    assert service["answers"]["before"].keys() == {f"{first} {address} larrain", f"{second} {other} concepcion"}
    assert pod["lost"] == pod["sent"] > 0
    assert near["lost"] == 0

    # what is not there, or does not run, is said with what to do
    typo = cli("exec", f"pod/{first[:-1]}", "--", "true")
    assert (typo.returncode, f"did you mean pod/{first}?" in typo.stderr) == (2, True)
    assert "unknown node 'larain'" in cli("capture", "pod/@larain").stderr
    nobodys = "http pod/@larrain -> http://apaches.svc/"
    assert "there is no service apaches" in cli("outage", "--fault", "cut larrain.eth0", "--probe", nobodys).stderr
    asked = cli("--lang", "es", "exec", "pod/app=apaches", "--", "true")
    assert "no hay ningún pod con app=apaches" in asked.stderr

    assert f"pod/{first}" in completed(cli, "trenza exec pod/")
    assert {"larrain", f"pod/{second}"} <= completed(cli, "trenza capture ")
    assert f"pod/{second}" not in completed(cli, "trenza stop ")


def test_what_is_wrong_is_said_with_the_command_that_tells_more(cluster: Cluster, cli: Cli) -> None:
    began = time.monotonic()
    assert points(cli) == 0
    assert time.monotonic() - began < 8, "nobody makes pods or Services while one looks"

    broken = cluster.cli.lab(BROKEN, "broken.yaml")
    cluster.kubectl("apply", "-f", broken)
    until(lambda: "CrashLoopBackOff" in cluster.kubectl("get", "pod", "crash"), what="a crash loop")
    until(lambda: "CrashLoopBackOff" in cluster.kubectl("get", "pod", "apache-nosuch"), what="another")

    def said_of_crash() -> str:
        return cli("exec", "pod/crash", "--", "true").stderr

    ended = "crash is not Ready: CrashLoopBackOff: page ended with exit code 3 (Error)"
    until(lambda: ended in said_of_crash(), what="it to be said")  # it runs for a moment, now and then
    (hint,) = re.findall(r"^  kubectl (.*)$", cli.results[-1].stderr, re.MULTILINE)
    assert cluster.kubectl(*hint.split()) == "no port is free\n"
    report = cli("check", "--checkpoint", "service").stdout
    found = cluster.kubectl("get", "events,pods,nodes", "-A") + cli.ok("events", "--kind", "cluster")
    assert "apache-nosuch: Ready=False (CrashLoopBackOff: page: StartError: " in report, report + found
    assert "→ kubectl describe pod apache-nosuch" in report
    assert "the Service apache has no endpoints: apache-nosuch is not Ready: " in report

    # a network is there all the same
    assert "eth0" in cli("capture", "pod/crash", "-t", "0.1").stderr

    # an API server that is gone is said to be at once, by kubectl too
    cli.ok("fault", "kill", "playancha", "kube-apiserver")
    began = time.monotonic()
    refused = cluster.try_kubectl("get", "nodes")
    took_s = time.monotonic() - began
    assert "was refused" in refused.stderr
    assert took_s < 5, "it was tried again, ten times a second apart"
    shown = cli("--lang", "es", "show", "cluster")
    assert shown.returncode == 1
    assert (
        "el servidor de la API de playancha no responde: hay una avería, kill playancha kube-apiserver" in shown.stderr
    )
    assert "no responde: hay una avería" in cli("--lang", "es", "check", "--checkpoint", "pods").stdout
    cli.ok("heal", *re.findall(r"trenza heal (\d+)", shown.stderr))
    until(lambda: cluster.try_kubectl("get", "nodes").returncode == 0, what="the API server again")
