"""Every kind of check on one lab: what is so passes, and what is not so fails for the right reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Cli

pytestmark = [pytest.mark.kernel, pytest.mark.side_by_side]

BASE = """
lab: kinds
switches: {lan: {}}
cables: [w1]
hosts:
  srv:
    forwarding: true
    nics:
      eth0: {to: lan, ip: 10.0.0.1/24, mac: "02:00:00:00:00:01"}
      eth1: {to: w1, ip: 10.9.0.1/24, mtu: 1400}
    services:
      web: {run: [python3, -m, http.server, "80"], ready: {tcp: 80}}
      dnsmasq:
        interface: [eth0, eth1]
        dhcp-range: "10.0.0.100,10.0.0.150,1h"
        address: /web.lab/10.0.0.1
  cl:
    nics: {eth0: {to: lan, ip: 10.0.0.2/24, gateway: 10.0.0.1, mac: "02:00:00:00:00:02"}}
    files: {/etc/resolv.conf: {text: "nameserver 10.0.0.1\\n"}}
    containers: {box: {nics: {eth0: {to: host, ip: 10.5.0.2/30, peer: {ip: 10.5.0.1/30}}}}}
  new: {nics: {eth0: {to: lan}}}
  far: {nics: {eth0: {to: w1, ip: 10.9.0.2/24, gateway: 10.9.0.1, mtu: 1400}}}
checkpoints:
  - name: all
    points: 1
    checks:
      - ping: {from: cl, to: srv}
"""

RIGHT = """
- ping: {from: cl, to: far, size: 1400}
- ping_all: [cl, srv, far]
- path: {from: cl, to: far, hops: [srv.eth0, far], record_route: [cl, srv.eth1, far, far, srv.eth0, cl]}
- http: {from: far, to: "http://srv/", body: "Directory listing", served_by: [srv]}
- tcp: {from: cl, to: srv, port: 53}
- tcp: {from: cl, to: srv, port: 81, open: false}
- dns: {from: cl, name: web.lab, answers: 10.0.0.1}
- dns: {from: far, name: web.lab, server: srv}
- dhcp: {at: new.eth0, network: 10.0.0.0/24, server: srv, router: srv}
- mtu: {from: cl, to: far, bytes: 1400}
- mtu: {from: cl, to: srv, bytes: 1500}
- fdb: {bridge: lan, has: [cl.eth0, srv.eth0], during: {ping: {from: cl, to: srv}}}
- arp: {node: cl, ip: 10.0.0.1, is: srv.eth0, during: {ping: {from: cl, to: srv}}}
- route: {node: cl, to: far, via: srv.eth0, dev: cl.eth0}
- route: {node: new, to: far, type: unreachable}
- seen: {at: w1, frames: icmp, src: srv, dst: far, count: 3, during: {ping: {from: cl, to: far}}}
- seen: {at: far.eth0, frames: "tcp port 80", during: {http: {from: far, to: "http://srv/"}}}
- not_seen: {at: w1, frames: icmp, during: {ping: {from: cl, to: srv}}}
- owner: {of: 10.0.0.1, seen_from: cl, is: srv}
- netns: {node: cl, name: my-box, is: box}
- no_ip: new.eth0
- service: {node: srv, runs: dnsmasq, port: 53}
- run: {node: cl, argv: [cat, /etc/hostname], output: cl}
- fault: {break: cut w1, probe: "ping cl -> 10.0.0.1", like: theory, checks: [{ping: {from: cl, to: srv}}]}
"""

WRONG = """
- ping: {from: cl, to: 10.0.0.77}
- ping_all: [cl, new]
- path: {from: cl, to: far, hops: [far]}
- http: {from: far, to: "http://srv/", status: 404}
- http: {from: far, to: "http://srv/", body: "no such words"}
- http: {from: far, to: "http://srv/", served_by: [cl]}
- http: {from: cl, to: "http://far/"}
- tcp: {from: cl, to: far, port: 80}
- tcp: {from: cl, to: srv, port: 80, open: false}
- dns: {from: cl, name: web.lab, answers: 10.0.0.9}
- dns: {from: new, name: web.lab}
- dhcp: {at: far.eth0}
- mtu: {from: cl, to: srv, bytes: 1400}
- mtu: {from: cl, to: far, bytes: 1401}
- fdb: {bridge: lan, has: [cl.eth0, srv.eth0], only: true, count: 9, during: {ping: {from: cl, to: srv}}}
- arp: {node: cl, ip: 10.0.0.1, is: new.eth0, during: {ping: {from: cl, to: srv}}}
- route: {node: cl, to: far, via: far.eth0}
- seen: {at: w1, frames: icmp, during: {ping: {from: cl, to: srv}}}
- not_seen: {at: w1, frames: icmp, during: {ping: {from: cl, to: far}}}
- not_seen: {at: w1, frames: icmp, during: {ping: {from: cl, to: 10.0.0.77}}}
- owner: {of: 10.0.0.1, seen_from: cl, is: new}
- netns: {node: cl, name: other, is: box}
- no_ip: cl.eth0
- service: {node: cl, runs: dnsmasq}
- service: {node: srv, runs: dnsmasq, port: 5353}
- no_ping: {from: cl, to: srv}
- fault: {break: cut w1, probe: "ping far -> 10.0.0.1", at_most: 5}
"""
WHY = [
    "nobody has 10.0.0.77, which cl.eth0 looks for", "new has no address", "hop 1 is 10.0.0.1, not 10.9.0.2",
    "the status is 200, not 404", "the page does not contain 'no such words'",
    "cl served none; 12 were served by nobody of these",
    "nobody listens on port 80 of far", "nobody listens on port 80 of far", "", "10.0.0.1 says: 10.0.0.1",
    "new has no name server in /etc/resolv.conf", "nobody offers an address at far.eth0", "", "only 1400 fit",
    "not 9", "10.0.0.1 is at srv.eth0, not new", "the next hop is 10.0.0.1, not far.eth0", "", "",
    "the traffic failed: 0 of 3 answered", "srv.eth0 answers for 10.0.0.1, not new",
    "cl has no name other for box below /run/netns", "cl.eth0 has 10.0.0.2/24", "no dnsmasq runs in cl",
    "srv accepts no connection at 5353", "", "",
]  # fmt: skip
UNTOLD = {20}
SKIPPED = {27}

FAULTS = """
- fault: {break: cut w1, probe: "ping far -> 10.0.0.1", at_most: 5}
- fault: {break: explode w1, probe: "ping far -> 10.0.0.1"}
- fault: {break: cut w1, checks: [{ping: {from: far, to: srv}}]}
- fault: {break: cut w1, checks: [{no_ping: {from: far, to: srv}}]}
"""


def checks(cli: Cli, text: str) -> list[dict[str, Any]]:
    hidden = "checkpoints:\n- name: all\n  checks:\n" + "".join(f"  {line}\n" for line in text.strip().splitlines())
    result = cli("check", "--hidden", cli.lab(hidden, "hidden.yaml"), "-f", "json", timeout_s=240)
    assert result.returncode in (0, 1), result.stderr
    found: list[dict[str, Any]] = json.loads(result.stdout)["checkpoints"][0]["checks"][1:]
    return found


@pytest.fixture
def lab(cli: Cli) -> Cli:
    cli.ok("up", cli.lab(BASE), "--wait")
    pid = "$(lxc info box | awk '/PID/ {print $2}')"
    cli.types("cl", "mkdir -p /run/netns", f"ln -s /proc/{pid}/ns/net /run/netns/my-box")
    return cli


def test_what_is_so_passes(lab: Cli) -> None:
    wrong = [f"{one['title']}: {one['verdict']} {one['said']} {one['because']}" for one in checks(lab, RIGHT)
             if one["verdict"] != "pass"]  # fmt: skip
    assert not wrong, "\n".join(wrong)


def test_what_is_not_so_fails_and_says_why(lab: Cli) -> None:
    found = checks(lab, WRONG)
    assert len(found) == len(WHY)
    for number, (one, why) in enumerate(zip(found, WHY, strict=True), start=1):
        told = f"{number} {one['title']}: {one['verdict']} ({one['said']}) {one['because']}"
        expected = "cannot-tell" if number in UNTOLD else "skipped" if number in SKIPPED else "fail"
        assert one["verdict"] == expected, told
        assert one["credit"] < 1, told
        assert why in one["because"] if why else not one["because"], f"{told}\nnot: {why}"


def test_a_fault_is_judged_by_what_it_does_and_is_always_undone(lab: Cli) -> None:
    found = [(one["verdict"], one["because"]) for one in checks(lab, FAULTS)]
    assert found[:2] == [
        ("fail", "ping far → 10.0.0.1: ∞, more than 5 s"),
        ("cannot-tell", "no such fault: 'explode'"),
    ]
    assert found[2][0] == "fail"
    assert found[2][1].startswith("ping far → srv: far")
    assert found[3] == ("pass", "")
    assert lab.json("show", "faults")["faults"] == []
    assert "nothing to do" in lab.ok("plan")
