"""Pods of two hosts, run by real agents: their networks, probes and restarts, and what outlives an agent."""

from __future__ import annotations

import time
from datetime import datetime
from itertools import pairwise

import pytest
from clusters import Cluster, until

from trenza.cluster.node.launch import find

pytestmark = [pytest.mark.kernel, pytest.mark.side_by_side]


def test_a_pod_runs_and_reaches_another_across_the_overlay(cluster: Cluster) -> None:
    begun = time.monotonic()
    cluster.pod("a", "larrain", "sleep", "1000")
    until(lambda: cluster.status("a").get("phase") == "Running", "a runs")
    print("running after", time.monotonic() - begun)
    cluster.pod("b", "concepcion", "sleep", "1000")
    a, b = cluster.ready("a"), cluster.ready("b")
    assert "1 received" in cluster.exec("a", f"ping -c 1 -W 5 {b}")["out"]
    shown = cluster.exec("a", "ip -d addr show eth0")["out"]
    assert "mtu 1450" in shown
    octets = ":".join(f"{int(part):02x}" for part in a.split("."))
    assert f"02:42:{octets}" in shown


def test_a_container_that_ends_is_restarted_and_backs_off(cluster: Cluster) -> None:
    cluster.pod("crash", "larrain", "sh", "-c", "echo I was here; exit 3")
    until(
        lambda: cluster.state("crash")["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff", "a crash loop"
    )
    state = cluster.state("crash")
    assert state["restartCount"] >= 1
    assert state["lastState"]["terminated"]["exitCode"] == 3 and state["lastState"]["terminated"]["reason"] == "Error"
    assert state["state"]["waiting"]["message"].startswith(
        "back-off 1s restarting failed container=main pod=crash_default("
    )
    until(lambda: cluster.state("crash")["restartCount"] >= 3, "three restarts")
    assert cluster.status("crash")["phase"] == "Running"
    until(lambda: {"Pulled", "Created", "Started", "BackOff"} <= set(cluster.events("crash")), "events")
    said = cluster.exec("crash", "", verb="containerLogs", query={"previous": "true"}, check=False)
    assert said == {"http": 200, "out": "I was here\n"}


def test_a_command_that_does_not_exist_says_so(cluster: Cluster) -> None:
    cluster.pod("none", "larrain", "no-such-command", restartPolicy="Never")
    until(lambda: cluster.status("none").get("phase") == "Failed", "it fails")
    ended = cluster.state("none")["state"]["terminated"]
    assert ended["exitCode"] == 128 and ended["reason"] == "StartError"
    assert 'exec: "no-such-command": executable file not found in $PATH' in ended["message"]


def test_an_image_that_cannot_be_had_says_why(cluster: Cluster) -> None:
    cluster.pod("image", "larrain", image="nginx:1.27")
    until(lambda: cluster.state("image")["state"].get("waiting", {}).get("reason") == "ErrImagePull", "it is tried")
    until(lambda: cluster.state("image")["state"]["waiting"]["reason"] == "ImagePullBackOff", "it backs off")
    assert "there is no registry in a lab" in cluster.state("image")["state"]["waiting"]["message"]
    assert cluster.status("image")["phase"] == "Pending"
    cluster.delete_pod("image")
    until(lambda: cluster.get_pod("image") is None, "it is gone")


def test_init_containers_volumes_and_variables(cluster: Cluster) -> None:
    cluster.create(
        "configmaps", {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "c"}, "data": {"page": "hello"}}
    )
    shared = {"volumeMounts": [{"name": "d", "mountPath": "/data"}, {"name": "c", "mountPath": "/var/run/conf"}]}
    cluster.pod(
        "v", "larrain", "sh", "-c", "cat /data/made; echo $GREETING-$(hostname)-$ADDRESS; exec sleep 1000",
        container={
            **shared,
            "env": [
                {"name": "GREETING", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "page"}}},
                {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            ],
        },
        initContainers=[{"name": "init", "image": "host", "command": ["cp", "/run/conf/page", "/data/made"], **shared}],
        volumes=[{"name": "d", "emptyDir": {}}, {"name": "c", "configMap": {"name": "c"}}],
        more=[{"name": "side", "image": "host", "command": ["sleep", "1000"], **shared}],
    )  # fmt: skip
    address = cluster.ready("v")
    log = until(lambda: cluster.exec("v", "", verb="containerLogs", check=False)["out"].count("\n") >= 1, "output")
    assert log and cluster.exec("v", "", verb="containerLogs", check=False)["out"] == f"hellohello-v-{address}\n"
    cluster.exec("v", "echo shared > /data/other; ! touch /var/run/conf/x")
    assert cluster.exec("v", "cat /data/other", container="side")["out"] == "shared\n"
    # One network; each its own files and processes.
    cluster.exec("v", "touch /only-here")
    assert cluster.exec("v", "test -e /only-here", container="side", check=False)["code"] == 1
    networks = [
        cluster.exec("v", "readlink /proc/self/ns/net /proc/self/ns/pid", container=one)["out"].split()
        for one in ("main", "side")
    ]
    assert networks[0][0] == networks[1][0] and networks[0][1] != networks[1][1]
    assert "init" in cluster.run("larrain", "ps faxu")


def test_volumes_follow_what_they_show(cluster: Cluster) -> None:
    maps = "/api/v1/namespaces/default/configmaps/c"
    cluster.create(
        "configmaps", {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "c"}, "data": {"a": "1", "b": "1"}}
    )
    labels = {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}
    shown = [
        {"name": "c", "mountPath": "/conf"},
        {"name": "c", "mountPath": "/a", "subPath": "a"},
        {"name": "l", "mountPath": "/down"},
    ]
    cluster.pod(
        "v", "larrain", "sh", "-c",
        # As who reads a pair sees it: never half of a change, though it may be gone.
        "while :; do cd /conf/..data; a=$(cat a); b=$(cat b); [ $a = $b ] || [ -z $a ] || [ -z $b ] || echo torn; done",
        container={"volumeMounts": shown}, labels={"app": "web"},
        volumes=[{"name": "c", "configMap": {"name": "c"}}, {"name": "l", "downwardAPI": labels}],
    )  # fmt: skip
    cluster.ready("v")
    for number in range(2, 12):
        cluster.ask("PATCH", maps, {"data": {"a": f"{number}", "b": f"{number}", f"new-{number}": ""}})
        until(lambda n=number: cluster.exec("v", "cat /conf/a /conf/b")["out"] == f"{n}{n}", "the change is shown", 5)
    assert cluster.exec("v", "ls /conf; cat /a")["out"].split()[-1] == "1"
    cluster.ask("PATCH", "/api/v1/namespaces/default/pods/v", {"metadata": {"labels": {"tier": "front"}}})
    until(lambda: 'tier="front"' in cluster.exec("v", "cat /down/labels")["out"], "the label is shown", 5)
    cluster.ask("DELETE", maps)
    cluster.kill_agent("larrain")
    cluster.start_agent("larrain")
    cluster.create(
        "configmaps", {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "c"}, "data": {"a": "z", "b": "z"}}
    )
    until(lambda: cluster.exec("v", "cat /conf/a", check=False).get("out") == "z", "the next agent goes on")
    assert cluster.exec("v", "ls /conf")["out"].split() == ["a", "b"]
    assert "torn" not in cluster.exec("v", "", verb="containerLogs", check=False)["out"]


def test_a_port_of_the_host_leads_to_its_pod(cluster: Cluster) -> None:
    serve = ("busybox", "httpd", "-f", "-p", "80", "-h", "/etc")
    ports = [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 80, "hostPort": 8081, "hostIP": "10.9.0.2"}]
    cluster.pod("web", "larrain", *serve, container={"ports": ports})
    cluster.pod("odd", "larrain", "sleep", "1000", container={"ports": [{"hostPort": 1, "hostIP": "x"}]})
    cluster.ready("web")
    cluster.ready("odd")
    fetch = "curl -s --max-time 2 http://{}/hostname"
    for source in ("larrain", "concepcion", "internet"):
        for place in ("10.9.0.2:8080", "10.9.0.2:8081"):
            until(lambda at=(source, place): cluster.run(at[0], fetch.format(at[1]), check=False) == "web\n", place)
    assert cluster.run("internet", fetch.format("10.9.0.3:8080"), check=False) == ""
    cluster.delete_pod("web", gracePeriodSeconds=0)
    until(lambda: "host-port" not in cluster.run("larrain", "nft list table ip kube-proxy"), "its rules are gone")


def test_a_container_that_takes_more_memory_than_it_may_is_ended(cluster: Cluster) -> None:
    limited = {"resources": {"limits": {"memory": "48Mi"}}}
    takes = "import time; a = bytearray(64 << 20); time.sleep(1000)"
    cluster.pod("greedy", "larrain", "python3", "-c", takes, container=limited)
    below = f"python3 -c '{takes}' & wait; echo gone"  # the limit is of all of the container's processes
    cluster.pod("parent", "larrain", "sh", "-c", below, container=limited, restartPolicy="Never")
    reserves = "import mmap, time; a = mmap.mmap(-1, 1 << 30); a[:1 << 20] = bytes(1 << 20); time.sleep(1000)"
    cluster.pod("frugal", "larrain", "python3", "-c", reserves, container=limited)
    until(lambda: cluster.state("greedy").get("restartCount"), "it is ended, and begins again")
    ended = cluster.state("greedy")["lastState"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
    until(lambda: cluster.status("parent").get("phase") == "Failed", "so is the other")
    assert cluster.state("parent")["state"]["terminated"]["reason"] == "OOMKilled"
    assert "sleep(1000)" not in cluster.run(
        "larrain", "ps axww | grep 'bytearray(64' | grep -v grep | grep parent; true"
    )
    assert cluster.state("frugal")["restartCount"] == 0
    cluster.kill_agent("larrain")
    cluster.start_agent("larrain")
    before = cluster.state("greedy")["restartCount"]
    until(lambda: cluster.state("greedy")["restartCount"] > before, "the next agent looks too")


def test_last_words_are_kept(cluster: Cluster) -> None:
    cluster.pod(
        "says", "larrain", "sh", "-c", "echo out; printf bye > /dev/termination-log; exit 3", restartPolicy="Never"
    )
    cluster.pod(
        "silent", "larrain", "sh", "-c", "seq 100; exit 3", restartPolicy="Never",
        container={"terminationMessagePolicy": "FallbackToLogsOnError"},
    )  # fmt: skip
    cluster.pod(
        "elsewhere", "larrain", "sh", "-c", "head -c 5000 /dev/zero | tr '\\0' x > /tmp/end", restartPolicy="Never",
        container={"terminationMessagePath": "/tmp/end"},
    )  # fmt: skip
    for name, message in (
        ("says", "bye"),
        ("silent", "".join(f"{number}\n" for number in range(21, 101))),
        ("elsewhere", "x" * 4096),
    ):
        until(lambda name=name: cluster.status(name).get("phase") in ("Failed", "Succeeded"), f"{name} ends")
        assert cluster.state(name)["state"]["terminated"]["message"] == message


def test_a_missing_config_map_holds_a_container_until_it_is_there(cluster: Cluster) -> None:
    cluster.pod("m", "larrain", "sleep", "9", container={"envFrom": [{"configMapRef": {"name": "late"}}]})
    until(
        lambda: cluster.state("m")["state"].get("waiting", {}).get("reason") == "CreateContainerConfigError", "it waits"
    )
    assert cluster.state("m")["state"]["waiting"]["message"] == 'configmap "late" not found'
    cluster.create(
        "configmaps", {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "late"}, "data": {"A": "1"}}
    )
    cluster.ready("m")
    assert cluster.exec("m", "echo $A")["out"] == "1\n"


def test_probes_make_ready_and_restart(cluster: Cluster) -> None:
    cluster.pod(
        "p", "larrain", "sh", "-c", "touch /tmp/alive; exec sleep 1000", terminationGracePeriodSeconds=1,
        container={
            "readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1},
            "livenessProbe": {"exec": {"command": ["test", "-e", "/tmp/alive"]}, "periodSeconds": 1},
            "startupProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1},
        },
    )  # fmt: skip
    until(lambda: cluster.state("p").get("started"), "started")
    conditions = {one["type"]: one for one in cluster.status("p")["conditions"]}
    assert conditions["Ready"]["status"] == "False" and conditions["Ready"]["reason"] == "ContainersNotReady"
    cluster.exec("p", "touch /tmp/ready")
    cluster.ready("p")
    cluster.exec("p", "rm /tmp/ready")
    until(lambda: not cluster.state("p")["ready"], "not ready any more")
    cluster.exec("p", "rm /tmp/alive")
    until(lambda: cluster.state("p")["restartCount"] == 1, "a restart")
    assert cluster.state("p")["lastState"]["terminated"]["exitCode"] == 143
    until(lambda: {"Unhealthy", "Killing"} <= set(cluster.events("p")), "events")


def test_a_pod_that_is_done_is_done(cluster: Cluster) -> None:
    cluster.pod("done", "larrain", "true", restartPolicy="OnFailure")
    until(lambda: cluster.status("done").get("phase") == "Succeeded", "it succeeds")
    assert cluster.state("done")["state"]["terminated"]["reason"] == "Completed"
    assert "pod." not in cluster.run("larrain", "ls /nodes 2>/dev/null; true")
    cluster.delete_pod("done")
    until(lambda: cluster.get_pod("done") is None, "it is gone")


def test_a_pod_is_asked_to_end_and_then_killed(cluster: Cluster) -> None:
    trap = "trap 'echo bye; sleep 0.3; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    cluster.pod("polite", "larrain", "sh", "-c", trap)
    cluster.pod("rude", "larrain", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done")
    for name in ("polite", "rude"):
        cluster.ready(name)
        until(lambda name=name: "up" in cluster.exec(name, "", verb="containerLogs", check=False)["out"], "it is up")
    begun = time.monotonic()
    cluster.delete_pod("polite", gracePeriodSeconds=30)
    cluster.delete_pod("rude", gracePeriodSeconds=2)
    until(lambda: cluster.get_pod("polite") is None, "polite is gone")
    assert time.monotonic() - begun < 2
    until(lambda: cluster.get_pod("rude") is None, "rude is gone")
    assert 0.5 < time.monotonic() - begun < 6
    links = cluster.run("larrain", "ip -br link show type veth")
    assert links.count("veth") == 0, links


def test_a_pod_that_is_deleted_at_once_leaves_nothing(cluster: Cluster) -> None:
    cluster.pod("gone", "larrain", "sh", "-c", "trap '' TERM; while :; do sleep 0.05; done")
    cluster.ready("gone")
    cluster.delete_pod("gone", gracePeriodSeconds=0)
    until(lambda: "sleep 0.05" not in cluster.run("larrain", "ps ax"), "its processes are gone")
    until(lambda: "veth" not in cluster.run("larrain", "ip -br link show type veth"), "its interface is gone")


def test_pods_outlive_their_agent_and_the_next_adopts_them(cluster: Cluster) -> None:
    cluster.pod("stays", "larrain", "sh", "-c", "echo one; sleep 1000; exit 7")
    cluster.pod(
        "ends", "larrain", "sh", "-c", "while test ! -e /tmp/end; do sleep 0.05; done; exit 5", restartPolicy="Never"
    )
    cluster.pod("goes", "larrain", "sleep", "1000")
    address, _, _ = cluster.ready("stays"), cluster.ready("ends"), cluster.ready("goes")
    cluster.pod("far", "concepcion", "sleep", "1000")
    cluster.ready("far")
    cluster.kill_agent("larrain")
    assert "1 received" in cluster.exec("far", f"ping -c 1 -W 5 {address}")["out"]
    pids = cluster.run("larrain", "pgrep -f 'e /tmp/en[d]'").split()
    cluster.run("larrain", f"touch /proc/{pids[-1]}/root/tmp/end")
    until(lambda: not cluster.run("larrain", "pgrep -f 'e /tmp/en[d]'; true").strip(), "it ends unseen")
    cluster.delete_pod("goes", gracePeriodSeconds=0)
    cluster.start_agent("larrain")
    until(lambda: cluster.status("ends").get("phase") == "Failed", "the end is seen")
    assert cluster.state("ends")["state"]["terminated"]["exitCode"] in (5, 255)
    until(lambda: cluster.run("larrain", "pgrep -c -f '^sleep 100[0]'; true").strip() == "1", "only one is left")
    stays = cluster.state("stays")
    assert stays["restartCount"] == 0 and "running" in stays["state"] and cluster.ready("stays") == address
    assert cluster.exec("stays", "echo back")["out"] == "back\n"
    # It is watched again.
    cluster.run("larrain", "pkill -f '^sleep 100[0]'", check=False)
    until(lambda: cluster.state("stays")["restartCount"] == 1, "a restart")
    assert cluster.state("stays")["lastState"]["terminated"]["exitCode"] in (7, 143)


def test_streams_of_exec_attach_and_port_forward(cluster: Cluster) -> None:
    serve = (
        "import socket;s=socket.create_server(('127.0.0.1',9000));\n"
        "while 1:\n c,_=s.accept();c.sendall(b'you said '+c.recv(99));c.close()"
    )
    cluster.pod("s", "larrain", "python3", "-uc", serve)
    cluster.pod("cat", "larrain", "cat", container={"stdin": True})
    cluster.pod("tty", "larrain", "sh", container={"stdin": True, "tty": True})
    for name in ("s", "cat", "tty"):
        cluster.ready(name)
    assert cluster.exec("s", "cat; echo more >&2; exit 7", stdin="typed", check=False) == {
        "code": 7,
        "out": "typed",
        "err": "more\n",
    }
    assert cluster.exec("s", "head -c 3000000 /dev/zero | tr '\\0' x")["out"] == "x" * 3_000_000
    assert "/dev/pts/" in cluster.exec("s", "tty; stty size", tty=True)["out"]
    refused = cluster.exec("s", "", argv=["nothing-like-that"], check=False)
    assert refused["code"] == 127 and "executable file not found" in refused["message"]
    until(lambda: cluster.exec("s", "ss -ltn | grep -q 9000", check=False)["code"] == 0, "it listens")
    assert (
        cluster.exec(
            "s", "", verb="portForward", container="", port=9000, stdin="hello", open=True, until="hello", check=False
        )["out"]
        == "you said hello"
    )
    assert cluster.exec("s", "", verb="portForward", container="", port=9999, stdin="", check=False)["code"] == 1
    assert (
        cluster.exec("cat", "", verb="attach", stdin="through and back\n", open=True, until="back", check=False)["out"]
        == "through and back\n"
    )
    assert (
        "42"
        in cluster.exec("tty", "", verb="attach", stdin="echo $((6*7))\n", open=True, until="42\r", check=False)["out"]
    )
    assert "42" in cluster.exec("tty", "", verb="containerLogs", check=False)["out"]
    assert (
        cluster.exec("cat", "", verb="containerLogs", query={"tailLines": "1"}, check=False)["out"]
        == "through and back\n"
    )
    assert cluster.exec("none", "true", check=False) if cluster.get_pod("none") else True


def test_a_pod_on_the_hosts_network_sees_its_interfaces(cluster: Cluster) -> None:
    cluster.pod("sniff", "larrain", "sleep", "1000", hostNetwork=True)
    assert cluster.ready("sniff") == "10.9.0.2"
    shown = cluster.exec("sniff", "ip -br link; hostname; cat /sys/class/net/docker0/address")["out"]
    assert "docker0" in shown and "flannel.1" in shown and "larrain" in shown
    cluster.delete_pod("sniff", gracePeriodSeconds=0)
    until(lambda: cluster.get_pod("sniff") is None, "gone")
    assert "eth0" in cluster.run("larrain", "ip -br link")


def test_an_agent_shows_nothing_of_the_machine(cluster: Cluster) -> None:
    shown = cluster.run("larrain", "ps faxww -o args")
    assert "kubelet" in shown and "python" not in shown and "/work" not in shown
    pid = cluster.run("larrain", "pgrep -x kubelet").strip()
    looks = cluster.run(
        "larrain",
        f"ls /proc/{pid}/root/ /proc/{pid}/cwd/ /proc/{pid}/fd/4/; cat /proc/{pid}/environ /proc/{pid}/maps",
        check=False,
    )
    assert looks.strip() == "", looks


def test_a_hundred_pods_start_fast(cluster: Cluster) -> None:
    begun = time.monotonic()
    for number in range(50):
        cluster.pod(f"n{number}", ("larrain", "concepcion")[number % 2], "sleep", "1000")
    until(lambda: all(cluster.status(f"n{n}").get("phase") == "Running" for n in (48, 49, 47, 46)), "they run")
    until(
        lambda: (
            sum(one["status"].get("phase") == "Running" for one in cluster.ask("GET", "/api/v1/pods")["items"]) == 50
        ),
        "all run",
    )
    took_s = time.monotonic() - begun
    print(f"{50 / took_s:.0f} pods a second")
    assert took_s < 10


def test_exit_codes_are_known_where_a_kernel_tells_only_parents(bare: Cluster) -> None:
    bare.start_api()
    bare.start_agent("larrain", init_adopts=False)
    for name, command in (("five", "exit 5"), ("term", "kill -TERM $$$$"), ("none", "exec no-such-thing")):
        bare.pod(name, "larrain", "sh", "-c", command, restartPolicy="Never")
    bare.pod("stays", "larrain", "sleep", "1000")
    for name, code in (("five", 5), ("term", 143), ("none", 127)):
        until(lambda name=name: bare.status(name).get("phase") == "Failed", f"{name} fails")
        assert bare.state(name)["state"]["terminated"]["exitCode"] == code
    bare.ready("stays")
    bare.kill_agent("larrain")
    bare.start_agent("larrain", init_adopts=False)
    bare.run("larrain", "pkill -KILL -f '^sleep 100[0]'")
    until(lambda: bare.state("stays")["restartCount"] == 1, "a restart")
    assert bare.state("stays")["lastState"]["terminated"]["exitCode"] == 137
    bare.pod("rude", "larrain", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done")
    until(lambda: "up" in bare.exec("rude", "", verb="containerLogs", check=False).get("out", ""), "it is up")
    bare.delete_pod("rude", gracePeriodSeconds=1)
    until(lambda: bare.get_pod("rude") is None, "it is gone, though its end was not to be asked for")


def test_a_host_that_is_cut_off_goes_on_and_is_heard_again(cluster: Cluster) -> None:
    cluster.pod("a", "larrain", "sh", "-c", "sleep 1; exit 1")
    cluster.pod("stays", "larrain", "sleep", "1000")
    cluster.ready("stays")
    lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/larrain"
    cluster.run("larrain", "ip link set eth0 down")
    beaten = cluster.ask("GET", lease)["spec"]["renewTime"]
    until(lambda: "2.log" in cluster.run("larrain", "ls /var/log/pods/default_a_*/main"), "it restarts alone, twice")
    assert cluster.ask("GET", lease)["spec"]["renewTime"] == beaten
    cluster.run("larrain", "ip link set eth0 up; ip route add default via 10.9.0.100")
    until(lambda: cluster.ask("GET", lease)["spec"]["renewTime"] != beaten, "a heartbeat")
    until(lambda: cluster.state("a")["restartCount"] >= 2, "what happened meanwhile is told")
    assert cluster.state("stays")["restartCount"] == 0


def test_a_host_that_was_switched_off_runs_its_pods_again(cluster: Cluster) -> None:
    cluster.pod("a", "larrain", "sleep", "1000")
    cluster.ready("a")
    cluster.trenza("stop", "larrain")
    assert find(cluster.directory / "larrain") is None
    cluster.trenza("start", "larrain")
    cluster.learn_pids()
    cluster.start_agent("larrain")
    until(lambda: cluster.state("a")["restartCount"] == 1, "a second run")
    cluster.ready("a")
    assert cluster.state("a")["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
    cluster.pod("b", "concepcion", "sleep", "1000")
    assert "1 received" in cluster.exec("a", f"ping -c 1 -W 5 {cluster.ready('b')}")["out"]


def test_lines_of_a_log_have_their_times(cluster: Cluster) -> None:
    cluster.pod("slow", "larrain", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 1.1; done; printf end; sleep 1000")
    until(lambda: "end" in cluster.exec("slow", "", verb="containerLogs", check=False)["out"], "its output")

    def logs(**query: str) -> list[str]:
        return str(cluster.exec("slow", "", verb="containerLogs", query=query, check=False)["out"]).split("\n")

    lines = [line.split(" ") for line in logs(timestamps="true")]
    assert [line[1] for line in lines] == ["1", "2", "3", "end"]
    times = [datetime.fromisoformat(line[0][:26] + "+00:00").timestamp() for line in lines]
    assert all(1.0 < later - earlier < 1.6 for earlier, later in pairwise(times)), times
    assert logs(sinceSeconds="2")[-1] == "end" and "1" not in logs(sinceSeconds="2")


def test_a_long_log_loses_its_beginning_and_nothing_else(cluster: Cluster) -> None:
    cluster.pod("wordy", "larrain", "sh", "-c", "seq -w 0 9999999; echo end; sleep 1000")

    def logs(**query: str) -> list[str]:
        return str(cluster.exec("wordy", "", verb="containerLogs", query=query, check=False)["out"]).splitlines()

    until(lambda: logs(tailLines="1") == ["end"], "its output")
    file = "/var/log/pods/default_wordy_*/main/0.log"
    kept = f'set -- $(stat -c "%s %b %B" {file}); echo $1 $(($2 * $3))'
    until(lambda: int(cluster.run("larrain", kept).split()[1]) <= 51 << 20, "it is shortened")
    assert cluster.run("larrain", kept).split()[0] == str(8 * 10_000_000 + 4)  # offsets are what they were
    first = int(logs(limitBytes="8")[0])
    assert 3_000_000 < first < 5_000_000
    assert logs(tailLines="9999999", limitBytes="16") == [f"{first:07}", f"{first + 1:07}"]
    shown = cluster.run("larrain", f"tr -d '\\0' < $(echo {file}) | md5sum")
    assert shown == cluster.run("larrain", f"(seq -w {first} 9999999; echo end) | md5sum")


def test_only_the_logs_of_the_last_two_runs_are_kept(cluster: Cluster) -> None:
    cluster.pod("crash", "larrain", "sh", "-c", "echo once")
    until(lambda: cluster.state("crash").get("restartCount") == 2, "a third run")
    listed = "ls /var/log/pods/default_crash_*/main"
    assert set(cluster.run("larrain", listed).split()) == {"1.log", "1.times", "2.log", "2.times"}


def test_hooks_greet_and_say_goodbye(cluster: Cluster) -> None:
    hooks = {
        "postStart": {"exec": {"command": ["touch", "/greeted"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "echo bye > /proc/$(pgrep -of sleep)/fd/1; sleep 0.5"]}},
    }
    cluster.pod("polite", "larrain", "sleep", "1000", container={"lifecycle": hooks})
    cluster.pod(
        "rude", "larrain", "sleep", "1000", container={"lifecycle": {"postStart": {"exec": {"command": ["false"]}}}}
    )
    cluster.ready("polite")
    until(lambda: cluster.exec("polite", "test -e /greeted", check=False)["code"] == 0, "it greets")
    until(lambda: cluster.state("rude")["restartCount"] >= 1, "it is ended for not greeting")
    until(lambda: "FailedPostStartHook" in cluster.events("rude"), "it is said")
    cluster.delete_pod("polite")
    log = "cat /var/log/pods/default_polite_*/main/0.log"
    until(lambda: "bye" in cluster.run("larrain", log, check=False), "it says goodbye")
    until(lambda: cluster.get_pod("polite") is None, "it is gone")


def test_a_service_accounts_token_is_in_its_volume(cluster: Cluster) -> None:
    volume = {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    shown = {"volumeMounts": [{"name": "t", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]}
    cluster.pod("t", "larrain", "sleep", "1000", container=shown, volumes=[volume], serviceAccountName="robot")
    cluster.ready("t")
    token = cluster.exec("t", "cat /run/secrets/kubernetes.io/serviceaccount/token")["out"]
    assert token == "token-of-robot"
