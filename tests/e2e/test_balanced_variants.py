"""The shipped lab of the balanced service: each checkpoint and each variant does, by traffic, what its title says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest
from conftest import Cli, until
from lives import soak

from trenza.client.labfiles import shipped_labs
from trenza.spec import read

pytestmark = pytest.mark.kernel

VIP = "172.16.1.254"
LOCAL = "http://127.0.0.1:8000/"
"""bal1's own haproxy, which nobody has to find through a spanning tree."""

SERVICE = f"http://{VIP}:8000/"
CONVERGES_S = 20.0


def up(cli: Cli, *words: str) -> None:
    cli.ok("up", "balanced-web", "--profile", "fast", *words)


def reaches(cli: Cli, source: str, destination: str) -> bool:
    return cli("exec", source, "--", "ping", "-n", "-c", "1", "-W", "1", destination).returncode == 0


def served(cli: Cli, node: str, url: str, requests: int, *options: str) -> list[str]:
    """The servers that answered requests in a row; `none` for one that was not answered."""
    script = f"for i in $(seq {requests}); do curl -s -m 2 {' '.join(options)} {url} || true; echo; echo THE-END; done"
    pages = cli.types(node, script).split("THE-END\n")[:requests]
    return [found[1] if (found := re.search(r"servidor (\w+)", page)) else "none" for page in pages]


def in_turn(cli: Cli, node: str, url: str, *names: str) -> Callable[[], bool]:
    """Whether requests go to these servers, to each as often."""
    return lambda: Counter(served(cli, node, url, 2 * len(names))) == dict.fromkeys(names, 2)


def keeps_its_server(cli: Cli, node: str, url: str) -> bool:
    seen = served(cli, node, url, 5, "-c /tmp/jar -b /tmp/jar")
    return len(set(seen)) == 1 and seen[0] != "none"


def master(cli: Cli) -> list[str]:
    """The balancers that hold the virtual address."""
    return [one for one in ("bal1", "bal2") if f"{VIP}/32" in cli.types(one, "ip -br address show dev out")]


def is_balancer(cli: Cli, user: str, name: str) -> bool:
    """Whether the virtual address answers, from whom the user thinks it does."""
    mac = re.search(r"link/ether (\S+)", cli.types(name, "ip link show dev out"))
    assert mac is not None
    cli("exec", user, "--", "ping", "-n", "-c", "1", "-W", "1", VIP)
    return mac[1] in cli.types(user, f"ip neighbour show {VIP}")


# ---------------------------------------------------------------- in every run
@pytest.mark.parametrize("checkpoint", ["1", "2", "3"])
def test_a_checkpoint_does_what_its_section_is_for(cli: Cli, checkpoint: str) -> None:
    up(cli, "--until", checkpoint)
    match checkpoint:
        case "1":
            until(lambda: reaches(cli, "user", "172.16.1.151"), CONVERGES_S, "ping over the tree")
        case "2":
            until(lambda: reaches(cli, "user", VIP), CONVERGES_S, "ping to the virtual address")
            until(lambda: master(cli) == ["bal1"], CONVERGES_S, "bal1 is master")
        case _:
            until(in_turn(cli, "user", SERVICE, "serv1", "serv2"), CONVERGES_S, "two servers")
            assert served(cli, "bal2", LOCAL, 2) == ["serv3", "serv3"]


def test_all_variants_at_once(cli: Cli) -> None:
    variants = [variant.name for variant in read(shipped_labs()["balanced-web"].read_bytes(), "lab").lab.variants]
    assert len(variants) > 10
    up(cli, "--allow-nat", "--with", ",".join(variants))
    # weights and third-host; what is not PHP goes to all of them
    weighted = {"serv1": 4, "serv2": 2, "serv3": 2, "serv4": 2}
    until(lambda: Counter(served(cli, "bal1", LOCAL, 10)) == weighted, CONVERGES_S, "four servers, by their weights")
    # content-switching
    assert set(served(cli, "bal1", f"{LOCAL}index.php", 6)) == {"serv1", "serv2"}
    # cookies
    assert keeps_its_server(cli, "bal1", LOCAL)
    # inner-mtu
    cli.ok("exec", "bal1", "--", "ping", "-c", "1", "-W", "2", "-s", "1472", "10.0.0.3")
    # vrrp-script
    until(lambda: is_balancer(cli, "user", "bal1"), CONVERGES_S, "bal1 is master")
    until(lambda: "none" not in served(cli, "user", SERVICE, 2), 5, "the service")
    cli.types("bal1", "/etc/init.d/haproxy stop")
    until(lambda: is_balancer(cli, "user", "bal2"), 10, "bal2 takes over")
    assert "none" not in served(cli, "user", SERVICE, 8)
    cli.types("bal1", "/etc/init.d/haproxy start")
    until(lambda: is_balancer(cli, "user", "bal1"), 10, "bal1 takes over again")


def test_a_hand_edited_config_serves_until_up_puts_the_labs_back(cli: Cli) -> None:
    up(cli, "--with", "fast-checks")
    three = ("serv1", "serv2", "serv3")
    until(in_turn(cli, "bal1", LOCAL, *three), CONVERGES_S, "three servers")
    config = "/etc/haproxy/haproxy.cfg"
    for _ in range(2):  # a second time as well
        cli.types(
            "bal1",
            f"sed -i 's/ weight [0-9]*//; s/server serv1 .*/& weight 3/' {config}",
            "/etc/init.d/haproxy restart",
        )
        until(
            lambda: Counter(served(cli, "bal1", LOCAL, 5)) == {"serv1": 3, "serv2": 1, "serv3": 1},
            10,
            "serv1 three times",
        )
    shown = next(one for one in cli.json("show", "bal1")["services"] if one["service"] == "haproxy")
    assert (shown["state"], shown["restarts"]) == ("running", 0)
    # A config that it refuses: what runs goes on.
    cli.types("bal1", f"sed -i s/roundrobin/roundrobbing/ {config}")
    for verb in ("restart", "reload"):
        refused = cli("exec", "bal1", "--", "/etc/init.d/haproxy", verb)
        assert refused.returncode == 1
        assert f"{config}:1" in refused.stderr, "it says where"
    assert "none" not in served(cli, "bal1", LOCAL, 2)
    cli.types("bal1", f"sed -i s/roundrobbing/roundrobin/ {config}", "/etc/init.d/haproxy reload")
    for verb in ("stop", "stop"):
        cli.types("bal1", f"/etc/init.d/haproxy {verb}")
    assert served(cli, "bal1", LOCAL, 1) == ["none"]
    assert "stopped by hand" in cli.ok("events", "--kind", "service")
    cli.ok("up")
    until(in_turn(cli, "bal1", LOCAL, *three), 10, "the lab's own weights")
    # keepalived and Apache: several times, and only what the node runs itself.
    cli.types(
        "bal1", "/etc/init.d/keepalived restart", "/etc/init.d/keepalived restart", "/etc/init.d/keepalived reload"
    )
    cli.types("serv1", "/etc/init.d/apache2 restart", "/etc/init.d/apache2 reload", "/etc/init.d/apache2 status")
    cli.types("vm1", "/etc/init.d/apache2 stop", "/etc/init.d/keepalived stop")
    assert cli("plan").returncode == 0
    until(in_turn(cli, "bal1", LOCAL, *three), 10, "all as before")


# ---------------------------------------------------------------- each by itself, where there is time
def weights(cli: Cli) -> None:
    until(lambda: Counter(served(cli, "bal1", LOCAL, 8)) == {"serv1": 4, "serv2": 2, "serv3": 2}, 15, "by weight")


def cookies(cli: Cli) -> None:
    until(in_turn(cli, "bal1", LOCAL, "serv1", "serv2", "serv3"), 15, "three servers")
    assert keeps_its_server(cli, "bal1", LOCAL)


def content_switching(cli: Cli) -> None:
    until(in_turn(cli, "bal1", LOCAL, "serv1", "serv2", "serv3"), 15, "three servers")
    assert set(served(cli, "bal1", f"{LOCAL}index.php", 6)) == {"serv1", "serv2"}


def third_host(cli: Cli) -> None:
    until(in_turn(cli, "user", SERVICE, "serv1", "serv2", "serv3", "serv4"), CONVERGES_S, "four servers")
    until(lambda: reaches(cli, "serv4", "10.0.0.3"), 10, "servers of different hosts")


def inner_mtu(cli: Cli) -> None:
    until(lambda: reaches(cli, "bal1", "10.0.0.3"), CONVERGES_S, "the tunnel")
    for server in ("10.0.0.3", "10.0.0.1"):
        cli.ok("exec", "bal1", "--", "ping", "-c", "1", "-W", "2", "-s", "1472", server)  # in two fragments
    too_large = cli("exec", "bal1", "--", "ping", "-M", "do", "-s", "1423", "-c", "1", "-W", "1", "10.0.0.3")
    assert "message too long, mtu=1450" in too_large.stdout + too_large.stderr


def vrrp_script(cli: Cli) -> None:
    until(lambda: is_balancer(cli, "user", "bal1"), CONVERGES_S, "bal1 is master")
    cli.types("bal1", "/etc/init.d/haproxy stop")
    until(lambda: is_balancer(cli, "user", "bal2"), 10, "bal2 takes over")
    until(lambda: "none" not in served(cli, "user", SERVICE, 4), 5, "bal2 serves")


def garp_refresh(cli: Cli) -> None:
    until(lambda: is_balancer(cli, "user", "bal1"), CONVERGES_S, "bal1 is master")
    mac = cli.types("bal1", "cat /sys/class/net/out/address").strip()
    wrong = "02:00:00:00:ff:01"
    cli.types("user", f"ip neighbour replace {VIP} lladdr {wrong} nud stale dev eth0")
    # Nobody asks: the balancer says it by itself. An answer within a second is believed to be old news (arp(7)).
    until(lambda: mac in cli.types("user", f"ip neighbour show {VIP}"), 5, "it is told again")


def startup_delay(cli: Cli) -> None:
    until(lambda: master(cli) != [], CONVERGES_S, "somebody is master")
    until(lambda: master(cli) == ["bal1"], CONVERGES_S, "bal1 is")
    assert "Entering MASTER" not in cli.types("bal2", "cat /var/log/messages"), "bal2 heard bal1 before it began"


def short_ageing(cli: Cli) -> None:
    until(lambda: reaches(cli, "user", "172.16.1.151"), CONVERGES_S, "the tree")
    cli.types("user", "ip address add 172.16.1.77/24 dev eth0")
    learnt = [one for one in cli.json("show", "fdb", "swout1")["fdb"] if one["whose"] == "user.eth0"]
    assert learnt
    cli.types("user", "ip link set eth0 down")
    until(
        lambda: not [one for one in cli.json("show", "fdb", "swout2")["fdb"] if one["whose"] == "user.eth0"],
        12, "swout2 forgets it",
    )  # fmt: skip


def fast_checks(cli: Cli) -> None:
    until(in_turn(cli, "bal1", LOCAL, "serv1", "serv2", "serv3"), 15, "three servers")
    cli.types("serv2", "ip link set eth0 down")  # nobody refuses: the checks have to find out
    until(lambda: "serv2" not in served(cli, "bal1", LOCAL, 3), 8, "serv2 is left out")
    assert "DOWN" in cli.types("bal1", "cat /var/log/haproxy.log")


def redispatch(cli: Cli) -> None:
    until(in_turn(cli, "bal1", LOCAL, "serv1", "serv2", "serv3"), 15, "three servers")
    cli.types("serv2", "ip link set eth0 down")
    assert "none" not in served(cli, "bal1", LOCAL, 3), "a request goes on to another server"


def nat(cli: Cli) -> None:
    """As the sheet has it: a veth from each container to br0, and a lease for each from the uplink behind it."""
    found = set()
    for name in ("bal1", "serv1"):
        (shown,) = cli.json("show", name)["nodes"]
        end = f"n{name}"
        cli.types("vm1", f"ip link add {end} type veth peer name inet netns {shown['pid_in_host']}")
        cli.types("vm1", f"ip link set {end} master br0", f"ip link set {end} up")
        cli.types(name, "ip link set inet up", "udhcpc -q -n -i inet")
        lease = re.search(r"10\.0\.2\.(\d+)/24", cli.types(name, "ip -4 address show dev inet"))
        assert lease is not None
        found.add(lease[1])
    assert len(found) == 2


BY_ITSELF = (
    weights, cookies, content_switching, third_host, inner_mtu, vrrp_script, garp_refresh, startup_delay, short_ageing,
    fast_checks, redispatch, nat,
)  # fmt: skip


@pytest.mark.skipif(not soak(), reason="takes minutes: TRENZA_SOAK=1")
@pytest.mark.parametrize("behaves", BY_ITSELF, ids=lambda behaves: behaves.__name__)
def test_a_variant_by_itself(cli: Cli, behaves: Callable[[Cli], None]) -> None:
    up(cli, "--with", behaves.__name__.replace("_", "-"), "--allow-nat")
    behaves(cli)


def test_every_variant_is_tried_by_itself() -> None:
    lab = read(shipped_labs()["balanced-web"].read_bytes(), "lab").lab
    assert {variant.name for variant in lab.variants} == {one.__name__.replace("_", "-") for one in BY_ITSELF}
