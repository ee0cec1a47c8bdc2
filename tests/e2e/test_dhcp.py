"""DHCP: `dhcp: true` and udhcpc by hand, against a server of the lab; what is leased is nobody's configuration."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Cli, until
from lives import keeper, kill, pings

pytestmark = [pytest.mark.kernel, pytest.mark.side_by_side]


def served(lab: str, *, lease: str = "2m") -> str:
    """A router that leases 10.0.0.100 to 110, a host with a client, and a container with one behind a bridge."""
    return f"""
lab: {lab}
switches: {{lan: {{}}}}
hosts:
  gw:
    forwarding: true
    nics:
      eth0: {{to: lan, ip: 10.0.0.1/24}}
      eth1: {{to: far.eth0, ip: 10.9.0.1/24}}
    services:
      leases:
        run: [dnsmasq, --keep-in-foreground, --conf-file=/etc/leases.conf]
    files:
      /etc/leases.conf: |
        user=root
        no-resolv
        no-hosts
        no-ping
        interface=eth0
        bind-interfaces
        dhcp-range=10.0.0.100,10.0.0.110,{lease}
        dhcp-authoritative
        dhcp-leasefile=/run/leases
        domain=lab
  far: {{nics: {{eth0: {{ip: 10.9.0.2/24, gateway: 10.9.0.1}}}}}}
  h1:
    nics: {{eth0: {{to: lan, dhcp: true}}}}
  h2:
    bridges: {{br0: [eth0]}}
    nics: {{eth0: {{to: lan}}}}
    containers:
      c1: {{nics: {{eth0: {{to: br0, dhcp: true}}}}}}
      c2: {{nics: {{eth0: {{to: br0}}}}}}
"""


def leased(cli: Cli, node: str) -> list[str]:
    """The addresses of eth0 that somebody leased to it."""
    shown: list[dict[str, Any]] = cli.json("show", node)["nodes"][0]["nics"]
    return next(list(nic["leased"]) for nic in shown if nic["name"] == "eth0")


def run_in(cli: Cli, node: str, script: str) -> str:
    return cli.ok("exec", node, "--", "sh", "-c", script)


def test_a_host_and_a_container_get_leases_routes_and_a_resolver(cli: Cli) -> None:
    report = cli.json("up", cli.lab(served("leases")))
    assert report["unready"] == []
    found = {node: leased(cli, node) for node in ("h1", "c1")}
    assert all(len(addresses) == 1 and addresses[0].startswith("10.0.0.1") for addresses in found.values()), found
    assert found["h1"] != found["c1"]
    for node in ("h1", "c1"):
        pings(cli, node, "10.9.0.2")  # by the leased default route
        assert "nameserver 10.0.0.1" in run_in(cli, node, "cat /etc/resolv.conf")
        assert "search lab" in run_in(cli, node, "cat /etc/resolv.conf")
        assert "proto dhcp" in run_in(cli, node, "ip route show default")
        assert "(dhcp)" in cli.ok("show", node)
    origins = {(one["node"], one["address"]): one["origin"] for one in cli.json("show", "addresses")["addresses"]}
    assert {origins["h1", found["h1"][0]], origins["h2/c1", found["c1"][0]]} == {"dhcp"}
    assert origins["gw", "10.0.0.1/24"] == "static"
    assert "h1" in run_in(cli, "gw", "cat /run/leases"), "the server was not told the name"
    assert cli.ok("plan") == "nothing to do\n", "a lease is no drift"


def test_what_is_added_by_hand_is_drift_and_what_is_leased_is_not(cli: Cli) -> None:
    cli.ok("up", cli.lab(served("drift")))
    run_in(cli, "h1", "ip address add 10.0.0.77/24 dev eth0; ip route add 10.50.0.0/16 via 10.0.0.1")
    plan = cli("plan").stdout
    assert "10.0.0.77/24" in plan and "10.50.0.0/16" in plan
    assert "10.0.0.10" not in plan
    before = leased(cli, "h1")
    cli.ok("up")
    assert leased(cli, "h1") == before
    assert "10.0.0.77" not in run_in(cli, "h1", "ip address show dev eth0")
    pings(cli, "h1", "10.9.0.2")


def test_udhcpc_typed_by_hand_leases_and_gives_back(cli: Cli) -> None:
    cli.ok("up", cli.lab(served("typed")))
    assert leased(cli, "c2") == []
    out = run_in(cli, "c2", "udhcpc -i eth0 -q -n")
    assert "from 10.0.0.1, router 10.0.0.1, DNS 10.0.0.1" in out
    (address,) = leased(cli, "c2")
    pings(cli, "c2", "10.9.0.2")
    assert cli.ok("plan") == "nothing to do\n"
    run_in(cli, "c2", "udhcpc -i eth0 -R -p /run/client.pid >/dev/null 2>&1")  # in the background, once it has a lease
    assert leased(cli, "c2") == [address], "the same client gets the same address"
    assert address.split("/")[0] in run_in(cli, "gw", "cat /run/leases")
    run_in(cli, "c2", "kill $(cat /run/client.pid)")
    until(lambda: leased(cli, "c2") == [], what="the end of the lease")
    until(lambda: address.split("/")[0] not in run_in(cli, "gw", "cat /run/leases"), what="the server's knowing of it")
    assert "default" not in run_in(cli, "c2", "ip route")


def test_a_lease_is_renewed_and_ends_with_its_client(cli: Cli) -> None:
    """A lease of two minutes (dnsmasq knows no shorter) is renewed on demand, and lives no longer than it is good."""
    cli.ok("up", cli.lab(served("renewed")))

    def left_s() -> int:
        words = run_in(cli, "h1", "ip -4 -o address show dev eth0").split()
        return int(words[words.index("valid_lft") + 1].removesuffix("sec"))

    until(lambda: left_s() <= 118, what="two seconds of the lease gone")
    run_in(cli, "h1", "pkill -USR1 udhcpc")
    until(lambda: left_s() >= 119, what="the renewal")
    kill(keeper(cli, "renewed"))
    assert run_in(cli, "h1", "pgrep -c udhcpc") == "1\n", "the client outlives the keeper"
    run_in(cli, "h1", "pkill -KILL udhcpc")
    until(lambda: cli.json("show", "h1")["services"][0]["restarts"] == 1, what="the restart")
    until(lambda: leased(cli, "h1") != [], what="the lease of its successor")


def test_a_client_whose_interface_was_lost_begins_again(cli: Cli) -> None:
    cli.ok("up", cli.lab(served("lost")))
    run_in(cli, "h1", "ip link del eth0")
    cli.ok("up")
    assert len(leased(cli, "h1")) == 1
    pings(cli, "h1", "10.9.0.2")
    assert cli.ok("plan") == "nothing to do\n"


def test_without_a_server_up_names_the_client_and_the_rest_is_up(cli: Cli) -> None:
    path = cli.lab(
        "lab: alone\nhosts:\n  h1: {nics: {eth0: {to: h2.eth0, dhcp: true}}}\n"
        "  h2: {nics: {eth0: {ip: 10.0.0.2/24}}, services: {idle: {run: [sleep, '1000']}}}\n"
    )
    result = cli("up", path)
    assert result.returncode == 1
    assert "h1: service dhcp-eth0: not ready after 15 s" in result.stderr
    assert "no DHCP server answers" in result.stderr
    assert cli.json("show", "h2")["services"][0]["state"] == "running"
    run_in(cli, "h1", "ip address add 10.0.0.1/24 dev eth0")
    pings(cli, "h1", "10.0.0.2")


def test_a_resolver_that_the_lab_writes_is_left_alone(cli: Cli) -> None:
    text = served("resolver").replace(
        "  h1:\n", '  h1:\n    files: {/etc/resolv.conf: {text: "nameserver 10.0.0.53\\n"}}\n'
    )
    cli.ok("up", cli.lab(text))
    assert leased(cli, "h1")
    assert run_in(cli, "h1", "cat /etc/resolv.conf") == "nameserver 10.0.0.53\n"
    assert cli.ok("plan") == "nothing to do\n"
