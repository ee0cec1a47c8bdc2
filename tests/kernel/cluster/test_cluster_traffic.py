"""What packets do in a cluster of two hosts: the overlay's hops, services, node ports, names, and the way out."""

from __future__ import annotations

from collections import Counter

import pytest
from clusters import NETWORK, Cluster, until

pytestmark = [pytest.mark.kernel, pytest.mark.side_by_side]

SERVE = "import http.server,os;\nclass H(http.server.BaseHTTPRequestHandler):\n def do_GET(s):\n  b=(os.uname().nodename+' '+s.client_address[0]).encode();s.send_response(200);s.send_header('Content-Length',str(len(b)));s.end_headers();s.wfile.write(b)\n def log_message(s,*a):pass\nhttp.server.ThreadingHTTPServer(('',8080),H).serve_forever()"  # noqa: E501
READY = {"readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1}}
ASK = "import urllib.request,sys\nfor _ in range({n}): print(urllib.request.urlopen('http://{to}',timeout=5).read().decode())"

ECHO = """
import os, socket
listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listening.bind(("", 5300))
while True:
    listening.sendto(os.uname().nodename.encode(), listening.recvfrom(99)[1])
"""
ASK_BY_UDP = """
import socket, time
asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asking.bind(("", 40000))
asking.settimeout(0.2)
answers = open("/tmp/answers", "w", buffering=1)
while True:
    try:
        asking.sendto(b"?", ("10.254.1.7", 53))
        print(asking.recv(99).decode(), file=answers)
        time.sleep(0.05)
    except OSError:
        print("nobody", file=answers)
"""


def web(cluster: Cluster, name: str, node: str) -> None:
    cluster.pod(name, node, "python3", "-c", SERVE, container=READY)


def asks(cluster: Cluster, pod: str, to: str, count: int = 1) -> list[list[str]]:
    """Who answers, and whom it saw."""
    script = ASK.format(n=count, to=to)
    return [line.split() for line in cluster.exec(pod, f'python3 -c "{script}"')["out"].splitlines()]


def webs(cluster: Cluster) -> dict[str, str]:
    """Web servers on both hosts and a client; the servers' addresses with their hosts."""
    for name, node in (("w1", "larrain"), ("w2", "concepcion"), ("w3", "concepcion")):
        web(cluster, name, node)
    cluster.pod("client", "larrain", "sleep", "1000")
    cluster.ready("client")
    return {cluster.ready("w1"): "larrain", cluster.ready("w2"): "concepcion", cluster.ready("w3"): "concepcion"}


def test_a_packet_takes_the_three_hops_of_the_overlay(cluster: Cluster) -> None:
    cluster.pod("a", "larrain", "sleep", "1000")
    cluster.pod("b", "concepcion", "sleep", "1000")
    a, b = cluster.ready("a"), cluster.ready("b")
    lines = cluster.exec("a", f"traceroute -n -q 1 -w 2 {b}")["out"].splitlines()[1:]
    hops = [line.split()[1] for line in lines]
    assert hops == [f"{a.rsplit('.', 1)[0]}.1", f"{b.rsplit('.', 1)[0]}.0", b]
    assert "1 received" in cluster.exec("a", f"ping -c 1 -W 5 -M do -s 1422 {b}")["out"]
    assert cluster.exec("a", f"ping -c 1 -W 1 -M do -s 1423 {b}", check=False)["code"] != 0
    tunnel = cluster.run(
        "larrain", "ip -d link show flannel.1; bridge fdb show dev flannel.1; ip neigh show dev flannel.1"
    )
    assert "vxlan id 1 " in tunnel and "dstport 8472 nolearning" in tunnel and "mtu 1450" in tunnel
    assert "dst 10.9.0.3 self permanent" in tunnel and f"{b.rsplit('.', 1)[0]}.0 lladdr" in tunnel
    env = cluster.run("larrain", "cat /run/flannel/subnet.env")
    assert f"FLANNEL_SUBNET={a.rsplit('.', 1)[0]}.1/24" in env and "FLANNEL_MTU=1450" in env


def test_the_seen_source_is_the_pods_in_the_cluster_and_the_hosts_outside(cluster: Cluster) -> None:
    web(cluster, "w", "concepcion")
    cluster.pod("a", "larrain", "sleep", "1000")
    w, a = cluster.ready("w"), cluster.ready("a")
    assert asks(cluster, "a", f"{w}:8080") == [["w", a]]
    cluster.run("internet", f'(python3 -c "{SERVE}" >/dev/null 2>&1 &) ')
    until(lambda: ":8080" in cluster.run("internet", "ss -ltn"), "a server outside")
    assert asks(cluster, "a", "8.8.4.4:8080") == [["internet", "10.9.0.2"]]
    hops = cluster.exec("a", "traceroute -n -q 1 -w 2 8.8.4.4")["out"].splitlines()[1:]
    assert hops[0].split()[1] == f"{a.rsplit('.', 1)[0]}.1" and hops[-1].split()[1] == "8.8.4.4"


def test_a_service_spreads_over_the_pods_of_both_hosts(cluster: Cluster) -> None:
    cluster.service("web", "10.254.1.1", 80, 8080, webs(cluster), type="NodePort", nodePort=30080)
    until(lambda: "10.254.1.1" in cluster.run("larrain", "nft list map ip kube-proxy service-ips"), "rules")
    shares = Counter(name for name, _ in asks(cluster, "client", "10.254.1.1", 90))
    assert set(shares) == {"w1", "w2", "w3"} and min(shares.values()) >= 12, shares
    # One who reaches itself sees its host; from outside the cluster, and by the port, the host too.
    sources = {source for name, source in asks(cluster, "w1", "10.254.1.1", 30) if name == "w1"}
    assert sources and cluster.ready("w1") not in sources
    until(lambda: "30080" in cluster.run("larrain", "nft list map ip kube-proxy service-nodeports"), "node port")
    for host in ("10.9.0.2", "10.9.0.3"):
        said = cluster.run("internet", f"curl -s --max-time 5 http://{host}:30080")
        assert said.split()[0] in shares, said
    # A host itself reaches the service, too.
    assert cluster.run("concepcion", "curl -s --max-time 5 http://10.254.1.1").split()[0] in shares


def test_a_client_with_affinity_stays(cluster: Cluster) -> None:
    affinity = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 100}}}
    cluster.service("web", "10.254.1.2", 80, 8080, webs(cluster), **affinity)
    until(lambda: "10.254.1.2" in cluster.run("larrain", "nft list map ip kube-proxy service-ips"), "rules")
    assert len({name for name, _ in asks(cluster, "client", "10.254.1.2", 20)}) == 1


def test_nobody_behind_a_service_is_a_refusal_until_somebody_is(cluster: Cluster) -> None:
    cluster.service("web", "10.254.1.3", 80, 8080, {}, type="NodePort", nodePort=30081)
    cluster.pod("client", "larrain", "sleep", "1000")
    cluster.ready("client")
    until(lambda: "10.254.1.3" in cluster.run("larrain", "nft list map ip kube-proxy no-endpoint-services"), "rules")
    refused = cluster.exec("client", "curl -sS --max-time 5 http://10.254.1.3", check=False)
    assert refused["code"] == 7, refused
    assert "curl: (7)" in cluster.run("internet", "curl -sS --max-time 5 http://10.9.0.2:30081 2>&1 || true")
    web(cluster, "w1", "concepcion")
    cluster.endpoints("web", 8080, {cluster.ready("w1"): "concepcion"})
    until(lambda: cluster.exec("client", "curl -s --max-time 5 http://10.254.1.3", check=False)["code"] == 0, "answers")
    wrong = cluster.exec("client", "curl -sS --max-time 5 http://10.254.1.3:81", check=False)
    assert wrong["code"] == 7, wrong


def test_a_udp_client_that_goes_on_is_sent_to_who_is_there(cluster: Cluster) -> None:
    """From one source port, without a pause: conntrack alone would send it to the first endpoint for good."""
    for name, node in (("u1", "larrain"), ("u2", "concepcion")):
        cluster.pod(name, node, "python3", "-c", ECHO)
    cluster.pod("client", "larrain", "python3", "-uc", ASK_BY_UDP)
    cluster.ready("client")
    u1, u2 = cluster.ready("u1"), cluster.ready("u2")

    def answers() -> list[str]:
        return cluster.exec("client", "tail -n 5 /tmp/answers", check=False)["out"].split()

    cluster.service("names", "10.254.1.7", 53, 5300, {}, protocol="UDP")
    until(lambda: answers() == ["nobody"] * 5, "nobody's answers")
    cluster.endpoints("names", 5300, {u1: "larrain"}, protocol="UDP")
    until(lambda: answers() == ["u1"] * 5, "u1's answers")
    cluster.endpoints("names", 5300, {u2: "concepcion"}, protocol="UDP")
    until(lambda: answers() == ["u2"] * 5, "u2's answers")
    cluster.endpoints("names", 5300, {u1: "larrain", u2: "concepcion"}, protocol="UDP")
    until(lambda: f"dnat to {u1}:5300" in cluster.run("larrain", "nft list table ip kube-proxy"), "rules")
    assert answers() == ["u2"] * 5, "who is served well is left in peace"


def test_names_of_services_resolve(cluster: Cluster) -> None:
    cluster.service("web", "10.254.1.4", 80, 8080, {"172.16.9.9": "larrain"})
    cluster.service("nobody", "None", 80, 8080, {"172.16.9.9": "larrain", "172.16.9.10": "larrain"})
    cluster.pod("client", "larrain", "sleep", "1000")
    cluster.ready("client")
    until(lambda: cluster.exec("client", "getent hosts web", check=False)["code"] == 0, "a name")
    assert cluster.exec("client", "getent hosts web")["out"].split() == ["10.254.1.4", "web.default.svc.cluster.local"]
    addresses = cluster.exec("client", "getent ahostsv4 nobody.default | cut -d' ' -f1 | sort -u")["out"].split()
    assert addresses == ["172.16.9.10", "172.16.9.9"]
    assert cluster.exec("client", "getent hosts 10.254.1.4")["out"].split()[1] == "web.default.svc.cluster.local"
    assert cluster.exec("client", "getent hosts no.such.name", check=False)["code"] == 2
    # By TCP too, from a host.
    question = (
        "00000100000100000000000003776562" + "0764656661756c74037376630763" + "6c7573746572056c6f63616c0000010001"
    )
    script = (
        f"import socket;s=socket.create_connection(('10.254.0.10',53),5);q=bytes.fromhex('{question}');"
        "s.sendall(len(q).to_bytes(2,'big')+q);print(s.recv(500)[-4:].hex())"
    )
    assert cluster.run("concepcion", f'python3 -c "{script}"').strip() == "0afe0104"


def test_what_somebody_deletes_by_hand_comes_back(cluster: Cluster) -> None:
    before = cluster.run("larrain", "bridge fdb show dev flannel.1; ip route; ip neigh show dev flannel.1")
    cluster.run("larrain", "ip link del flannel.1; ip addr flush dev docker0")
    until(
        lambda: (
            cluster.run("larrain", "bridge fdb show dev flannel.1; ip route; ip neigh show dev flannel.1", check=False)
            == before
        ),
        "the overlay is back",
    )


def test_hosts_on_one_lan_need_no_tunnel(bare: Cluster) -> None:
    bare.start_api({**NETWORK, "Backend": {"Type": "host-gw"}})
    for node in ("larrain", "concepcion"):
        bare.start_agent(node)
    bare.pod("a", "larrain", "sleep", "1000")
    bare.pod("b", "concepcion", "sleep", "1000")
    a, b = bare.ready("a"), bare.ready("b")
    hops = [line.split()[1] for line in bare.exec("a", f"traceroute -n -q 1 -w 2 {b}")["out"].splitlines()[1:]]
    assert hops == [f"{a.rsplit('.', 1)[0]}.1", "10.9.0.3", b]
    assert "flannel.1" not in bare.run("larrain", "ip -br link")
    assert "mtu 1500" in bare.exec("a", "ip link show eth0")["out"]


def test_a_lease_that_comes_or_goes_is_followed(cluster: Cluster) -> None:
    path = "/coreos.com/network/subnets/172.16.200.0-24"
    value = {"PublicIP": "10.9.0.77", "BackendType": "vxlan", "BackendData": {"VNI": 1, "VtepMAC": "02:00:00:00:00:77"}}
    cluster.ask("PUT", path, value, ttl="100")
    until(lambda: "172.16.200.0/24 via 172.16.200.0 dev flannel.1" in cluster.run("larrain", "ip route"), "a peer")
    cluster.ask("DELETE", path)
    until(lambda: "172.16.200.0" not in cluster.run("larrain", "ip route; bridge fdb show dev flannel.1"), "no peer")
    own = next(
        one["subnet"]
        for one in cluster.ask("GET", "/coreos.com/network/subnets")["leases"]
        if one["value"]["PublicIP"] == "10.9.0.2"
    )
    cluster.ask("DELETE", f"/coreos.com/network/subnets/{own}")
    until(lambda: own in str(cluster.ask("GET", "/coreos.com/network/subnets")), "the own lease is taken again")
