"""The shipped lab `kubernetes` through the real CLI and Debian's kubectl: what the report shows, and what breaks.

Each test brings the lab up once and walks through one story, since bringing up is what costs.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE_S, Cli, until
from lives import keeper, kill, lab_directory, lock_holder

pytestmark = [pytest.mark.kernel, pytest.mark.side_by_side]

LAB = "kubernetes"
NODES = ("concepcion", "larrain")
DEBIAN_KUBECTL = Path(__file__).parents[2] / ".cache" / "kubectl" / "1.20" / "kubectl"
PORT = 30080
REQUESTS = 24
"""So many requests, and chance leaves none of two pods out: 2 in 2^24."""
GIVEN_UP_S = 30.0
"""A node is given up after 5 s, its pods after 5 more; the rest is for a busy machine."""


class Cluster:
    """A running lab and a kubectl that knows it: the shipped one without its solution, or that of a file."""

    def __init__(self, cli: Cli, *words: str, lab: str = LAB, file: str = "") -> None:
        self.cli = cli
        self.program = str(DEBIAN_KUBECTL) if DEBIAN_KUBECTL.exists() else shutil.which("kubectl")
        assert self.program is not None, "no kubectl: scripts/kubectl.sh fetches it"
        cli.ok("up", *((file,) if file else (lab, "--start")), *words)
        self.config = cli.directory / "kubeconfig"
        self.config.write_text(cli.ok("kubeconfig", lab))

    def try_kubectl(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.cli.environment, "KUBECONFIG": str(self.config)}
        return subprocess.run(
            [str(self.program), *words],
            env=environment,
            text=True,
            capture_output=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def kubectl(self, *words: str) -> str:
        """Its stdout; the test fails unless it returned 0."""
        done = self.try_kubectl(*words)
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def get(self, *words: str) -> Any:
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def apply_apache(self) -> None:
        """The report's controller and service, both pods serving."""
        directory = Path(self.cli.ok("labs", "--directory", LAB).strip())
        self.kubectl("apply", "-f", str(directory / "apache.yaml"))
        until(lambda: len(self.endpoints()) == 2, GIVEN_UP_S, "two endpoints of apache")
        until(lambda: not self.refuses(), what="the service")

    def refuses(self) -> bool:
        return not all(self.served(f"10.9.0.{last}:{PORT}", times=1) for last in (2, 3))

    def pods(self) -> dict[str, tuple[str, str]]:
        """Running pods that are not to end: by their nodes, name and address. The test fails if a node has two."""
        items = [one for one in self.get("pods")["items"] if "deletionTimestamp" not in one["metadata"]]
        found = {one["spec"]["nodeName"]: (one["metadata"]["name"], one["status"].get("podIP", "")) for one in items}
        assert len(found) == len(items), items
        return found

    def endpoints(self, service: str = "apache") -> set[str]:
        """The addresses that serve; none where nothing is known of the service."""
        found = self.get("endpoints", "--field-selector", f"metadata.name={service}")["items"]
        subsets = [subset for one in found for subset in one.get("subsets") or ()]
        return {address["ip"] for one in subsets for address in one.get("addresses") or ()}

    def is_ready(self, node: str) -> bool:
        conditions = self.get("node", node)["status"]["conditions"]
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def served(self, where: str, *, source: str = "playancha", times: int = REQUESTS) -> Counter[str]:
        """Which pods answered so many requests, each over a connection of its own."""
        script = f"for n in $(seq {times}); do curl -s -m 2 http://{where}/; done"
        return Counter(
            line.split()[0] for line in self.cli("exec", source, "--", "sh", "-c", script).stdout.splitlines()
        )

    def hops(self, pod: str, to: str) -> list[str]:
        """The addresses that a traceroute inside a pod shows."""
        shown = self.kubectl("exec", pod, "--", "traceroute", "-n", "-q", "1", "-w", "2", to)
        return re.findall(r"^ *\d+ +([\d.]+)", shown, re.MULTILINE)

    def process(self, what: str) -> int | None:
        """The machine's pid of the server or an agent: who holds the lock of its directory."""
        return lock_holder(lab_directory(self.cli, LAB) / "cluster" / what / "lock")

    def plan_is_empty(self) -> None:
        assert "nothing to do" in self.cli.ok("plan", LAB)


@pytest.fixture
def cluster(cli: Cli) -> Iterator[Cluster]:
    yield Cluster(cli)
    assert "nothing is left" in cli.ok("down", LAB)


def test_the_reports_experiments(cluster: Cluster, cli: Cli) -> None:
    assert [one["metadata"]["name"] for one in cluster.get("nodes")["items"]] == [*NODES]
    assert all(cluster.is_ready(node) for node in NODES)
    cluster.apply_apache()
    pods = cluster.pods()
    (first, one), (second, other) = pods["larrain"], pods["concepcion"]

    link = cluster.kubectl("exec", first, "--", "ip", "-o", "link", "show", "eth0")
    assert "mtu 1450" in link
    assert f"link/ether 02:42:{':'.join(f'{int(part):02x}' for part in one.split('.'))}" in link

    # to the outside through docker0, whose host lends its address
    assert cluster.hops(first, "8.8.4.4") == [_gateway(one), "10.9.0.254", "8.8.4.4"]
    assert cluster.hops(second, one) == [_gateway(other), _subnet(one), one]
    outside = _captured(cluster, "gateway.eth0", first, "8.8.4.4")
    assert {frame[1] for frame in outside} == {"10.9.0.2 → 8.8.4.4", "8.8.4.4 → 10.9.0.2"}

    # the same ping three times: at docker0, at flannel.1, and inside UDP on the cable
    seen = _captured(cluster, "larrain.docker0 larrain.flannel.1 larrain.eth0", first, other)
    there, back = f"{one} → {other}", f"{other} → {one}"
    for where in ("larrain.docker0", "larrain.flannel.1"):
        assert {frame[1] for frame in seen if frame[0] == where} == {there, back}
    wrapped = [frame[2] for frame in seen if frame[0] == "larrain.eth0"]
    assert len(wrapped) == 2
    assert all("8472 VXLAN VNI 1" in text and ":8472" in text for text in wrapped)

    # one address, two pods; with affinity the first one stays
    for where in (f"10.9.0.2:{PORT}", f"10.9.0.3:{PORT}"):
        assert set(cluster.served(where)) == {first, second}
    address = cluster.get("service", "apache")["spec"]["clusterIP"]
    assert set(cluster.served(address, source="larrain")) == {first, second}
    cluster.kubectl("patch", "service", "apache", "-p", '{"spec": {"sessionAffinity": "ClientIP"}}')
    until(lambda: len(cluster.served(f"10.9.0.2:{PORT}")) == 1, what="affinity")
    words = cli.ok("show", "cluster", "apache")
    assert "who was here less than 10800 s ago goes to the same one again" in words
    assert f"{other}:80" in words
    unknown = cli("show", "cluster", "apachi")
    assert unknown.returncode == 2
    assert "services: default/apache, default/kubernetes" in unknown.stderr

    keys = cli.ok("exec", "playancha", "--", "etcdctl", "get", "--prefix", "--keys-only", "/").split()
    assert {f"/registry/pods/default/{name}" for name, _ in pods.values()} <= set(keys)
    assert {"/registry/minions/larrain", "/registry/services/specs/default/apache", "/coreos.com/network/config",
            f"/coreos.com/network/subnets/{_subnet(one)}-24"} <= set(keys)  # fmt: skip
    cluster.plan_is_empty()


def test_a_node_that_is_cut_off_is_given_up_and_comes_back(cluster: Cluster, cli: Cli) -> None:
    bare = {**cli.environment, "PATH": str(cli.directory)}  # as on a machine without kubectl
    told = subprocess.run([cli.program, "kubeconfig"], env=bare, text=True, capture_output=True, timeout=20, check=True)
    assert told.stdout.startswith("apiVersion: v1")
    assert "there is no kubectl on your PATH" in told.stderr
    assert "kubernetes-client" in told.stderr
    cluster.apply_apache()
    (lost, address), (kept, _) = cluster.pods()["larrain"], cluster.pods()["concepcion"]
    cli.ok("fault", "cut", "larrain.eth0")
    until(lambda: not cluster.is_ready("larrain"), GIVEN_UP_S, "larrain NotReady")
    until(lambda: address not in cluster.endpoints(), GIVEN_UP_S, "the lost endpoint withdrawn")
    until(lambda: set(cluster.served(f"10.9.0.3:{PORT}", times=8)) == {kept}, GIVEN_UP_S, "only what is left serves")

    def replaced() -> bool:
        items = [one for one in cluster.get("pods")["items"] if "deletionTimestamp" not in one["metadata"]]
        return len(items) == 2 and {one["spec"]["nodeName"] for one in items} == {"concepcion"}

    until(replaced, GIVEN_UP_S, "the lost pod replaced on concepcion")
    until(lambda: len(cluster.endpoints()) == 2, GIVEN_UP_S, "the new pod among the endpoints")
    cluster.plan_is_empty()
    cli.ok("heal")
    until(lambda: cluster.is_ready("larrain"), GIVEN_UP_S, "larrain Ready again")
    until(lambda: cluster.try_kubectl("get", "pod", lost).returncode == 1, GIVEN_UP_S, "the lost pod gone")
    events = map(json.loads, cli.ok("events", "--format", "json", "--kind", "cluster").splitlines())
    states = [event["state"] for event in events if event["node"] == "larrain" and "state" in event]
    assert "larrain está NotReady" in cli.ok("--lang", "es", "events", "--kind", "cluster")
    assert states[:4] == ["Ready", "Running", "NotReady", "Terminating"]
    assert {*states[4:]} == {"Ready", "Deleted"}
    cluster.plan_is_empty()


def test_an_outages_timeline_tells_what_the_cluster_does(cluster: Cluster, cli: Cli) -> None:
    cluster.apply_apache()
    probe = f"http playancha -> http://10.9.0.3:{PORT} every 40ms"
    report = cli.json("outage", "--fault", "cut larrain.eth0", "--probe", probe)
    (seen,) = report["probes"]
    assert report["settled"]
    states = [event["state"] for event in report["events"] if event["kind"] == "cluster"]
    assert states == ["NotReady", "endpoints", "Terminating", "Running", "endpoints"]
    assert [one["layer"] for one in seen["segments"]] == ["cluster"]
    assert "the service default/apache has lost" in seen["segments"][0]["until"]


def test_what_is_killed_comes_back_and_traffic_does_not_notice(cluster: Cluster, cli: Cli) -> None:
    cluster.apply_apache()
    pods = cluster.pods()
    _kill_and_await(cluster, "server", pods)
    _kill_and_await(cluster, "larrain", pods)
    until(lambda: cluster.is_ready("larrain"), GIVEN_UP_S, "larrain Ready")
    assert cluster.pods() == pods
    assert {one["status"]["containerStatuses"][0]["restartCount"] for one in cluster.get("pods")["items"]} == {0}

    # a keeper's death is noticed by nobody, and the next finds what runs
    running = {what: cluster.process(what) for what in ("server", *NODES)}
    assert kill(keeper(cli, LAB))
    cluster.plan_is_empty()
    assert running == {what: cluster.process(what) for what in running}
    cluster.kubectl("delete", "pod", pods["larrain"][0])
    until(lambda: len(cluster.endpoints()) == 2 and cluster.pods() != pods, GIVEN_UP_S, "another pod")


@pytest.mark.parametrize("setting", ["store=embedded", "overlay=host-gw"])
def test_a_variant_of_the_lab(cli: Cli, setting: str) -> None:
    cluster = Cluster(cli, "--set", setting)
    cluster.apply_apache()
    (first, one), (second, other) = cluster.pods()["larrain"], cluster.pods()["concepcion"]
    assert set(cluster.served(f"10.9.0.2:{PORT}")) == {first, second}
    between = "10.9.0.3" if setting == "overlay=host-gw" else _subnet(other)
    assert cluster.hops(first, other) == [_gateway(one), between, other]
    cluster.plan_is_empty()
    assert "nothing is left" in cli.ok("down", LAB)


def _kill_and_await(cluster: Cluster, what: str, pods: dict[str, tuple[str, str]]) -> None:
    """Kill the server or an agent; the pods serve meanwhile, and another takes its place."""
    before = cluster.process(what)
    assert kill(before)
    until(lambda: cluster.process(what) != before, what=f"the death of {what}")
    assert set(cluster.served(f"10.9.0.2:{PORT}")) == {name for name, _ in pods.values()}
    until(lambda: cluster.process(what) is not None, what=f"another {what}")
    until(lambda: cluster.try_kubectl("get", "nodes").returncode == 0, GIVEN_UP_S, "the server's answers")


def _gateway(address: str) -> str:
    return f"{address.rpartition('.')[0]}.1"


def _subnet(address: str) -> str:
    return f"{address.rpartition('.')[0]}.0"


def _captured(cluster: Cluster, where: str, pod: str, to: str) -> list[tuple[str, str, str]]:
    """One ping from a pod, as interfaces see it: each frame's interface, `from → to`, and the whole line."""
    asked = ("capture", *where.split(), "-e", "icmp or udp port 8472", "-t", "20", "-c", str(2 * len(where.split())))
    capture = cluster.cli.start(*asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert capture.stderr is not None
    assert "listening" in capture.stderr.readline()
    cluster.kubectl("exec", pod, "--", "ping", "-n", "-c", "1", "-W", "5", to)
    out, _ = capture.communicate(timeout=DEADLINE_S)
    frames = [line.split(maxsplit=3) for line in out.splitlines() if "→" in line]
    found = []
    for _, interface, _, text in frames:
        ends = re.search(r"([\d.]+) → ([\d.]+) ICMP", text)
        assert ends is not None, text
        found.append((interface, f"{ends[1]} → {ends[2]}", text))
    return found
