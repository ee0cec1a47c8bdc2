"""A running cluster whose server, agents, store and cables are lost, one after the other, through the real CLI.

What the API says meanwhile is written down by clients from outside, and judged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from api_recorder import ApiRecorder
from conftest import Cli, until
from lives import dice, keeper, kill, soak
from test_cluster_lab import GIVEN_UP_S, LAB, NODES, PORT, Cluster
from test_commands import completed

pytestmark = [pytest.mark.kernel, pytest.mark.side_by_side]

MEMBERS = ("playancha", "larrain", "concepcion")
SERVER, AGENT = "kube-apiserver", "kubelet"
ROUNDS = 20
WRITES = 30
"""So many answered writes between two changes of fortune."""
SUBNETS = "/coreos.com/network/subnets"
DATABASE = "/var/lib/etcd/default/member/snap/db"


@pytest.fixture
def ha(cli: Cli) -> Iterator[Cluster]:
    """The lab with three members of etcd."""
    yield Cluster(cli, "--with", "ha")
    assert "nothing is left" in cli.ok("down", LAB)


@pytest.fixture
def cluster(cli: Cli) -> Iterator[Cluster]:
    yield Cluster(cli)
    assert "nothing is left" in cli.ok("down", LAB)


def faults(cli: Cli) -> list[str]:
    return [one["fault"] for one in cli.json("show", "faults")["faults"]]


def recorder_of(cluster: Cluster, seed: int) -> ApiRecorder:
    return ApiRecorder(cluster.config.read_text(), seed)


# ---------------------------------------------------------------- faults know the cluster's own processes
def test_what_faults_kill_of_a_cluster_stays_dead_until_it_is_healed(cluster: Cluster, cli: Cli) -> None:
    cluster.apply_apache()
    pods = cluster.pods()
    for node, typed, meant in (("playancha", "server", SERVER), ("larrain", "kubelt", AGENT)):
        refused = cli("fault", "kill", node, typed)
        assert refused.returncode == 2
        assert f"did you mean {meant}?" in refused.stderr
    assert completed(cli, "trenza fault kill larrain ") == {AGENT}
    assert {SERVER, "etcd"} <= completed(cli, "trenza fault stop playancha ")
    assert {"kill", "cut"} <= completed(cli, "trenza fault ")
    assert set(NODES) <= completed(cli, "trenza fault kill ")

    cli.ok("fault", "kill", "larrain", AGENT)
    cli.ok("fault", "stop", "concepcion", AGENT)
    cli.ok("fault", "kill", "playancha", SERVER)
    broken = {"kill larrain kubelet", "stop concepcion kubelet", "kill playancha kube-apiserver"}
    assert set(faults(cli)) == broken
    dead = ("server", *NODES)
    until(lambda: all(cluster.process(what) is None for what in dead), what="the death of all three")
    assert kill(keeper(cli, LAB))  # the next one knows
    cluster.plan_is_empty()
    assert "as it should be" in cli.ok("up")
    assert cluster.try_kubectl("get", "nodes").returncode == 1
    # what they made lives on, and nobody starts them behind our back
    assert set(cluster.served(f"10.9.0.2:{PORT}")) == {name for name, _ in pods.values()}
    assert all(cluster.process(what) is None for what in dead)
    assert set(faults(cli)) == broken

    cli.ok("heal", "playancha")
    until(lambda: cluster.try_kubectl("get", "nodes").returncode == 0, GIVEN_UP_S, "the server")
    assert cluster.process("larrain") is None
    until(lambda: not any(cluster.is_ready(node) for node in NODES), GIVEN_UP_S, "the silence of the agents noticed")
    cli.ok("heal")
    until(lambda: all(cluster.is_ready(node) for node in NODES), GIVEN_UP_S, "the nodes again")
    assert cluster.pods() == pods
    assert {one["status"]["containerStatuses"][0]["restartCount"] for one in cluster.get("pods")["items"]} == {0}


def test_what_faults_stop_of_a_cluster_goes_on_where_it_was(cluster: Cluster, cli: Cli) -> None:
    before = {what: cluster.process(what) for what in ("server", *NODES)}
    cli.ok("fault", "pause", "larrain", AGENT)
    until(lambda: not cluster.is_ready("larrain"), GIVEN_UP_S, "its silence noticed")
    cli.ok("fault", "pause", "playancha", SERVER)
    silent = cluster.try_kubectl("get", "nodes", "--request-timeout", "1s")
    assert silent.returncode == 1
    cli.ok("heal")
    until(lambda: cluster.is_ready("larrain"), GIVEN_UP_S, "larrain again")
    assert {what: cluster.process(what) for what in ("server", *NODES)} == before
    cluster.plan_is_empty()


# ---------------------------------------------------------------- the history of the API
def test_the_apis_history_while_members_and_the_server_are_lost(ha: Cluster, cli: Cli) -> None:
    recorder = recorder_of(ha, 1)
    with recorder.at_work():
        recorder.more_writes(WRITES)
        for fault in (*(f"kill {member} etcd" for member in MEMBERS), "cut larrain.eth0", "poweroff concepcion"):
            cli.ok("fault", *fault.split())
            recorder.more_writes(WRITES)  # two of three go on
            cli.ok("heal")
            recorder.more_writes(WRITES)
        cli.ok("fault", "kill", "playancha", SERVER)
        cli.ok("heal")
        recorder.more_writes(WRITES)
    assert recorder.verdict() == ()
    assert recorder.answers[200] > 500
    until(lambda: all(one["problem"] is None for one in cli.json("show", "cluster")["store"]["members"]), GIVEN_UP_S)
    ha.plan_is_empty()


def test_the_apis_history_while_a_server_with_its_own_store_is_killed(cli: Cli) -> None:
    cluster = Cluster(cli, "--set", "store=embedded")
    recorder = recorder_of(cluster, 2)
    with recorder.at_work():
        for _ in range(3):
            recorder.more_writes(WRITES)
            assert kill(cluster.process("server"))
    assert recorder.verdict() == ()
    assert "nothing is left" in cli.ok("down", LAB)


@pytest.mark.skipif(not soak(), reason="long: TRENZA_SOAK=1")
@pytest.mark.parametrize("words", [("--with", "ha"), (), ("--set", "store=embedded")], ids=["ha", "etcd", "embedded"])
def test_the_apis_history_through_many_losses(cli: Cli, words: tuple[str, ...]) -> None:
    chance = dice("losses")
    cluster = Cluster(cli, *words)
    recorder = recorder_of(cluster, chance.randrange(1 << 16))
    members = MEMBERS if "ha" in words else () if words else MEMBERS[:1]
    of_the_store = [f"{how} {member} etcd" for how in ("kill", "pause", "stop") for member in members]
    cables = [f"cut {member}.eth0" for member in MEMBERS]
    kinds = [*of_the_store, *cables, *(f"{how} playancha {SERVER}" for how in ("kill", "pause", "stop"))]
    with recorder.at_work():
        for _ in range(ROUNDS):
            for fault in chance.sample(kinds, chance.randint(1, 2)):
                cli("fault", *fault.split())  # one may be so already
            recorder.wait(chance.uniform(0, 3))
            cli.ok("heal")
            recorder.more_writes(WRITES, within_s=60)
    assert recorder.verdict() == ()
    assert "nothing is left" in cli.ok("down", LAB)


# ---------------------------------------------------------------- what etcd cannot do without
def test_without_a_majority_the_api_says_so_and_traffic_goes_on(ha: Cluster, cli: Cli) -> None:
    ha.apply_apache()
    names = {name for name, _ in ha.pods().values()}
    for member in MEMBERS[1:]:
        cli.ok("fault", "kill", member, "etcd")
    for words in (("get", "nodes"), ("create", "configmap", "late", "--from-literal=a=1")):
        refused = ha.try_kubectl(*words)
        assert refused.returncode == 1
        assert "etcd does not answer (more than half of its members have to)" in refused.stderr
        assert "http://10.9.0.2:2379: connection refused" in refused.stderr
    shown = cli("show", "cluster")
    assert shown.returncode == 1
    assert "etcd does not answer" in shown.stderr
    assert shown.stdout.count("connection refused") == 2
    assert set(ha.served(f"10.9.0.2:{PORT}")) == names
    cli.ok("heal")
    until(lambda: ha.try_kubectl("get", "nodes").returncode == 0, GIVEN_UP_S, "the API")
    assert ha.try_kubectl("get", "configmap", "late").returncode == 1
    until(lambda: all(ha.is_ready(node) for node in NODES), GIVEN_UP_S, "the nodes")
    assert {name for name, _ in ha.pods().values()} == names


def test_a_corrupt_member_is_named_and_can_be_mended(ha: Cluster, cli: Cli) -> None:
    """As docs/kubernetes.md says it."""
    ha.kubectl("create", "configmap", "victim", "--from-literal=a=what-it-says")
    cli.ok("fault", "stop", "larrain", "etcd")
    until(lambda: cli("exec", "larrain", "--", "pgrep", "-x", "etcd").returncode != 0, what="its end")
    cli.ok("exec", "larrain", "--", "sed", "-i", "s/what-it-says/what-it-lies/g", DATABASE)
    cli.ok("heal")

    def alarms() -> list[str]:
        return list(cli.json("show", "cluster")["store"]["alarms"])

    until(lambda: alarms() == ["etcd raised the alarm CORRUPT"], GIVEN_UP_S, "the alarm")
    (bad,) = (one for one in cli.json("show", "cluster")["store"]["members"] if one["problem"] is not None)
    assert (bad["node"], bad["problem"]) == ("larrain", "its data differ from what most members have")
    assert "the store is read-only: etcd raised the alarm CORRUPT" in cli("show", "cluster").stderr
    refused = ha.try_kubectl("create", "configmap", "late", "--from-literal=a=1")
    assert refused.returncode == 1
    assert "the store is read-only: etcd raised the alarm CORRUPT" in refused.stderr
    assert ha.get("configmap", "victim")["data"]["a"] == "what-it-says"
    until(lambda: "ReadOnly" in _store_events(cli), what="the event")

    cli.ok("fault", "stop", "larrain", "etcd")
    listed = cli.ok("exec", "playancha", "--", "etcdctl", "member", "list")
    (identity,) = (line.split(",")[0] for line in listed.splitlines() if " larrain," in line)
    cli.ok("exec", "playancha", "--", "etcdctl", "member", "remove", identity)
    cli.ok("exec", "larrain", "--", "rm", "-r", "/var/lib/etcd/default")
    add = ("etcdctl", "member", "add", "larrain", "--peer-urls=http://10.9.0.2:2380")
    until(lambda: cli("exec", "playancha", "--", *add).returncode == 0, what="connections that are 5 s old")
    cli.ok("exec", "larrain", "--", "sh", "-c", REJOIN)
    cli.ok("exec", "playancha", "--", "etcdctl", "alarm", "disarm")
    cli.ok("heal")
    until(lambda: ha.try_kubectl("create", "configmap", "late", "--from-literal=a=1").returncode == 0, GIVEN_UP_S)
    until(lambda: all(one["problem"] is None for one in cli.json("show", "cluster")["store"]["members"]), GIVEN_UP_S)
    own = cli.ok("exec", "larrain", "--", "etcdctl", "get", "/registry/configmaps/default/victim")
    assert "what-it-says" in own
    until(lambda: "Writable" in _store_events(cli), what="the event")
    ha.plan_is_empty()


def test_what_people_write_into_etcd_of_flannels_is_taken_back_or_refused(cluster: Cluster, cli: Cli) -> None:
    cluster.apply_apache()
    names = {name for name, _ in cluster.pods().values()}

    def etcdctl(*words: str) -> str:
        return cli.ok("exec", "playancha", "--", "etcdctl", *words)

    leases = etcdctl("get", "--prefix", SUBNETS)
    assert etcdctl("del", "--prefix", SUBNETS).strip() == "2"
    until(lambda: etcdctl("get", "--prefix", SUBNETS) == leases, what="both leases again")
    assert set(cluster.served(f"10.9.0.2:{PORT}")) == names

    etcdctl("put", "/coreos.com/network/config", '{"Network": "10.9.0.0/16", "Backend": {"Type": "vxlan"}}')
    cli.ok("fault", "kill", "larrain", AGENT)
    cli.ok("heal")

    def ready() -> str:
        conditions = cluster.get("node", "larrain")["status"]["conditions"]
        return next(f"{one['status']}: {one['message']}" for one in conditions if one["type"] == "Ready")

    until(lambda: "False: the pod network 10.9.0.0/16 overlaps 10.9.0.2/24" in ready(), GIVEN_UP_S, "its refusal")
    assert set(cluster.served(f"10.9.0.3:{PORT}")) & names
    cli.ok("fault", "kill", "playancha", SERVER)
    cli.ok("heal")
    until(lambda: cluster.try_kubectl("get", "nodes").returncode == 0, GIVEN_UP_S, "the server")
    until(lambda: cluster.is_ready("larrain"), GIVEN_UP_S, "larrain")
    until(lambda: len(set(cluster.served(f"10.9.0.2:{PORT}"))) == 2, GIVEN_UP_S, "two pods")
    cluster.plan_is_empty()


REJOIN = """
timeout 30 etcd --name larrain --data-dir /var/lib/etcd/default --initial-cluster-state existing \
  --initial-cluster playancha=http://10.9.0.1:2380,larrain=http://10.9.0.2:2380,concepcion=http://10.9.0.3:2380 \
  --listen-peer-urls http://10.9.0.2:2380 --initial-advertise-peer-urls http://10.9.0.2:2380 2> /dev/null &
until etcdctl endpoint health 2> /dev/null; do sleep 0.2; done; kill $!; wait $!; true
"""


def _store_events(cli: Cli) -> list[str]:
    events = map(json.loads, cli.ok("events", "--format", "json", "--kind", "cluster").splitlines())
    return [event["state"] for event in events if event.get("state") in ("ReadOnly", "Writable")]
