"""The shipped labs: their solutions carry packets, and from their starts the sheets can be done by hand, literally."""

from __future__ import annotations

import re

import pytest
from conftest import Cli

pytestmark = pytest.mark.kernel

CONTAINERS_LEARNT = {"host1/c1.eth0", "host2/c2.eth0"}


def learnt(cli: Cli, lab: str = "lan") -> set[str]:
    """Whose MACs the switch learnt."""
    shown = cli.json("show", "fdb", lab)["fdb"]
    return {entry["whose"] or entry["mac"] for entry in shown if entry["origin"] == "learnt"}


# ---------------------------------------------------------------- bridged-lan (Práctica 4, section 2)
def test_bridged_lan_carries_packets_and_the_switch_learns_the_containers(cli: Cli) -> None:
    cli.ok("up", "bridged-lan", "--wait")
    assert " 0% packet loss" in cli.ok("exec", "c1", "--", "ping", "-c", "2", "-i", "0.2", "10.0.0.12")
    route = cli.ok("exec", "c1", "--", "traceroute", "-n", "-q", "1", "10.0.0.12")
    assert re.findall(r"^ *\d+  (\S+)", route, re.MULTILINE) == ["10.0.0.12"]


def test_bridged_lan_by_hand(cli: Cli) -> None:
    cli.ok("up", "bridged-lan", "--start")
    nodes = {node["name"] for node in cli.json("show")["nodes"]}
    assert nodes == {"lan", "host1", "host2"}
    for number in (1, 2):
        cli.types(
            f"host{number}",
            "ip link add br0 type bridge",
            "ip link set eth0 master br0",
            "ip link set br0 up",
            "trenza launch c",
            "mkdir -p /var/run/netns",
            "pid=$(trenza info c | awk '/PID/ { print $2 }')",
            "ln -sf /proc/$pid/ns/net /var/run/netns/net-c",
            "ip link add v-a type veth peer name v-b",
            "ip link set dev v-b netns net-c",
            "brctl addif br0 v-a",
            "ip link set v-a up",
            f"ip netns exec net-c ip addr add 10.0.0.1{number}/24 dev v-b",
            "ip netns exec net-c ip link set v-b up",
        )
    assert " 0% packet loss" in cli.ok("exec", "host1/c", "--", "ping", "-c", "2", "-i", "0.2", "-W", "3", "10.0.0.12")
    assert learnt(cli) >= {"host1/c.v-b", "host2/c.v-b"}
    # What she built is hers: `up` changes nothing of it.
    again = cli.ok("up")
    assert " 0% packet loss" in cli.ok("exec", "host1/c", "--", "ping", "-c", "1", "10.0.0.12"), again


def test_the_switch_of_bridged_lan_learns_containers_only(cli: Cli) -> None:
    """As the sheet's question wants it: the containers' MACs, no host's (addresses of the hosts are not used yet)."""
    cli.ok("up", "bridged-lan")
    cli.ok("exec", "c1", "--", "ping", "-c", "1", "10.0.0.12")
    assert learnt(cli) == CONTAINERS_LEARNT


# ---------------------------------------------------------------- routed (Práctica 4, section 3)
def test_routed_carries_packets_through_both_hosts_and_the_switch_learns_the_hosts(cli: Cli) -> None:
    cli.ok("up", "routed", "--wait")
    route = cli.ok("exec", "c1", "--", "traceroute", "-n", "-q", "1", "192.168.2.6")
    assert re.findall(r"^ *\d+  (\S+)", route, re.MULTILINE) == ["192.168.1.1", "10.1.0.2", "192.168.2.6"]
    recorded = cli.ok("exec", "c1", "--", "ping", "-R", "-c", "1", "-n", "192.168.2.2")
    hops = re.findall(r"^\s*(?:RR:\s*)?(\d+\.\d+\.\d+\.\d+)$", recorded.replace("RR:", "\n"), re.MULTILINE)
    assert hops[:3] == ["192.168.1.11", "10.1.0.1", "192.168.2.1"]
    assert learnt(cli) == {"host1.eth0", "host2.eth0"}


def test_routed_by_hand(cli: Cli) -> None:
    cli.ok("up", "routed", "--start")
    link = [
        "mkdir -p /var/run/netns",
        "trenza launch c1",
        "pid=$(trenza info c1 | awk '/PID/ { print $2 }')",
        "ln -sf /proc/$pid/ns/net /var/run/netns/net-c1",
        "ip link add v-1a type veth peer name v-1b",
        "ip link set dev v-1b netns net-c1",
        "ip link set v-1a up",
        "ip netns exec net-c1 ip link set v-1b up",
        "sysctl -w net.ipv4.ip_forward=1",
        "ip link set eth0 up",
    ]
    cli.types(
        "host1",
        *link,
        "ip addr add 10.1.0.1/24 dev eth0",
        "ip route add default via 10.1.0.2",
        "brctl addbr br0",
        "brctl addif br0 v-1a",
        "ifconfig br0 192.168.1.1 netmask 255.255.255.0 up",
        "ip netns exec net-c1 ip addr add 192.168.1.11/24 dev v-1b",
        "ip netns exec net-c1 ip route add default via 192.168.1.1",
    )
    cli.types(
        "host2",
        *link,
        "ip addr add 10.1.0.2/24 dev eth0",
        "ip route add default via 10.1.0.1",
        "ip addr add 192.168.2.1/30 dev v-1a",
        "ip netns exec net-c1 ip addr add 192.168.2.2/30 dev v-1b",
        "ip netns exec net-c1 ip route add default via 192.168.2.1",
    )
    ping = ("ping", "-c", "2", "-i", "0.2", "-W", "3", "192.168.2.2")
    assert " 0% packet loss" in cli.ok("exec", "host1/c1", "--", *ping)
    assert learnt(cli) == {"host1.eth0", "host2.eth0"}


# ---------------------------------------------------------------- namespaces
def test_namespaces_carries_packets_between_all_containers(cli: Cli) -> None:
    report = cli.json("up", "namespaces", "--wait")
    assert report["silent_pairs"] == []
    assert report["containers"] == 6


def test_namespaces_by_hand_with_the_sheets_own_words(cli: Cli) -> None:
    cli.ok("up", "namespaces", "--start")
    host = next(node["name"] for node in cli.json("show")["nodes"] if node["kind"] == "host")
    before = cli.types(host, "ps faxu > /tmp/processes", "grep -c /sbin/init /tmp/processes")
    assert before == "1\n"
    cli.ok("launch", f"{host}/contenedor1")
    cli.ok("launch", f"{host}/contenedor2")
    out = cli.types(
        host,
        "ps faxu",
        "mkdir -p /var/run/netns",
        "for n in 1 2; do",
        "  pid=$(trenza info contenedor$n | awk '/PID/ { print $2 }')",
        "  test $(readlink /proc/$pid/ns/net) != $(readlink /proc/1/ns/net)",
        "  ls -l /proc/$pid/ns/net",
        "  ln -sf /proc/$pid/ns/net /var/run/netns/net-contenedor$n",
        "done",
        "ip netns exec net-contenedor1 ifconfig -a",
        "ip link add v-1a type veth peer name v-1b",
        "ip link del v-1a",
        "ip link add v-1a type veth peer name v-1b",
        "ip link set dev v-1a netns net-contenedor1",
        "ip link set dev v-1b netns net-contenedor2",
        "! ifconfig -a | grep v-1",
        "ip netns exec net-contenedor1 ifconfig v-1a 10.9.0.1/24 up",
        "ip netns exec net-contenedor2 ifconfig v-1b 10.9.0.2/24 up",
        "ip netns exec net-contenedor1 ping -c 2 -i 0.2 -W 3 10.9.0.2",
        "ip netns exec net-contenedor1 sysctl -w net.ipv4.ip_forward=1",
    )
    assert " 0% packet loss" in out
    assert out.count("/sbin/init") >= 3  # the host's and both containers'
    # The host's own pid numbers, as `lxc info` would print them.
    shown = {node["name"]: node for node in cli.json("show")["nodes"]}
    pid = shown[f"{host}/contenedor1"]["pid_in_host"]
    assert f"/proc/{pid}/ns/net" in cli.types(host, "readlink /var/run/netns/net-contenedor1")
    # Stopping one makes its veths vanish, and the name that dangles says so.
    cli.ok("stop", f"{host}/contenedor1")
    assert "v-1b" not in cli.types(host, "ip netns exec net-contenedor2 ip link")
    dangling = cli("exec", host, "--", "ip", "netns", "exec", "net-contenedor1", "ip", "link")
    assert dangling.returncode != 0
    assert "net-contenedor1" in dangling.stderr
