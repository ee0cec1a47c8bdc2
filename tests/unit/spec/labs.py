"""Short ways to read labs in tests, and the labs that must always be right."""

from __future__ import annotations

from importlib.resources import files

from trenza.errors import LabFileError, Problem
from trenza.model.lab import BridgeSpec, Lab, Nic, NodeSpec
from trenza.spec import Choices, Reading, read

# The examples of the design page, which are the contract of format version 1.
BRIDGED = """\
lab: bridged-lan
title: {en: Containers of two hosts on one LAN, es: Contenedores de dos hosts en una LAN}
switches:
  lan: {}                       # a learning switch one can look into (an STP-less bridge of its own)
hosts:
  host1: {nics: {eth0: {to: lan}}}
  host2: {nics: {eth0: {to: lan}}}
checkpoints:
  - name: bridged
    title: {en: Bridged through the LAN, es: Puenteado a través de la LAN}
    points: 50
    adds:                       # the reference solution; `trenza up --start` leaves it to the student
      hosts:
        host1:
          bridges: {br0: {ports: [eth0]}}
          containers: {c1: {nics: {eth0: {to: br0, ip: 10.0.0.11/24}}}}
        host2:
          bridges: {br0: {ports: [eth0]}}
          containers: {c2: {nics: {eth0: {to: br0, ip: 10.0.0.12/24}}}}
    checks:
      - ping: {from: c1, to: c2}
      - path: {from: c1, to: c2, hops: [10.0.0.12]}
      - seen: {at: lan, frames: arp or icmp, src: c1.eth0, during: {ping: {from: c1, to: c2}}}
      - no_ip: {nic: host1.eth0}
"""
ROUTED = """\
lab: routed
switches: {lan: {}}
hosts:
  host1:
    forwarding: true
    nics: {eth0: {to: lan, ip: 10.1.0.1/24}}
    routes: [{to: default, via: 10.1.0.2}]
    bridges: {br0: {ip: 192.168.1.1/24}}
    containers:
      c1: {nics: {eth0: {to: br0, ip: 192.168.1.11/24, gateway: 192.168.1.1}}}
      c2: {nics: {eth0: {to: br0, ip: 192.168.1.12/24, gateway: 192.168.1.1}}}
  host2:
    forwarding: true
    nics: {eth0: {to: lan, ip: 10.1.0.2/24}}
    routes: [{to: default, via: 10.1.0.1}]
    containers:                                  # no bridge: a veth each, a /30 on each
      c3: {nics: {eth0: {to: host, ip: 192.168.2.2/30, gateway: 192.168.2.1, peer: {name: v3, ip: 192.168.2.1/30}}}}
      c4: {nics: {eth0: {to: host, ip: 192.168.2.6/30, gateway: 192.168.2.5, peer: {name: v4, ip: 192.168.2.5/30}}}}
"""
BALANCED = """\
lab: balanced-web
parameters: {forward_delay: 15, hello_time: 2, max_age: 20}
profiles: {fast: {forward_delay: 2, hello_time: 1, max_age: 6}}
cables: [w1, w2, w3, w4, u1, u2]          # point to point and named, so that they can be cut
hosts:
  swout1: {nics: {eth1: {to: w1}, eth2: {to: w3}, eth0: {to: u1}}}
  swout2: {nics: {eth1: {to: w2}, eth2: {to: w4}, eth0: {to: u2}}}
  vm1: {nics: {enp0s8: {to: w1}, enp0s9: {to: w2}}}
  vm2: {nics: {enp0s8: {to: w3}, enp0s9: {to: w4}}}
  user: {nics: {eth0: {to: u1, ip: 172.16.1.100/24}}}
  user2: {nics: {eth0: {to: u2, ip: 172.16.1.101/24}}}
checkpoints:
  - name: outer-subnet
    points: 25
    adds:
      hosts:
        swout2: {bridges: {swout2: {ports: [eth0, eth1, eth2], stp: {priority: 4096, forward_delay: $forward_delay}}}}
        vm1: {bridges: {vswout1: {ports: [enp0s8, enp0s9], stp: {forward_delay: $forward_delay}, ip: 172.16.1.150/24}}}
  - name: vrrp
    points: 30
    adds:
      hosts:
        vm1:
          containers:
            bal1:
              nics: {out: {to: vswout1, ip: 172.16.1.250/24, peer: vbal1out}}
              services:
                keepalived: {vrrp: {vrrpext: {nic: out, id: 12, priority: 150, addresses: [172.16.1.254]}}}
variants:
  garp-refresh: {title: {en: keepalived repeats its gratuitous ARP}, adds: {hosts: {}}}   # `--with garp-refresh`
"""
SHIPPED = {
    folder.name: folder.joinpath("lab.yaml").read_bytes()
    for folder in files("trenza.labs").iterdir()
    if folder.joinpath("lab.yaml").is_file()
}


def reading(text: str, choices: Choices | None = None) -> Reading:
    return read(text.encode(), "lab.yaml", choices)


def lab_of(text: str, choices: Choices | None = None) -> Lab:
    """The lab of a text without warnings."""
    result = reading(text, choices)
    assert [str(problem) for problem in result.problems if not problem.code.startswith("N")] == []
    return result.lab


def problems_of(text: str, choices: Choices | None = None) -> tuple[Problem, ...]:
    try:
        return reading(text, choices).problems
    except LabFileError as error:
        return error.problems


def codes_of(text: str, choices: Choices | None = None) -> list[str]:
    return [problem.code for problem in problems_of(text, choices)]


def node(lab: Lab, name: str) -> NodeSpec:
    return next(node for node in lab.nodes if node.name == name)


def nic(lab: Lab, name: str) -> Nic:
    """A NIC by `NODE.NIC`."""
    owner, _, bare = name.partition(".")
    return next(nic for nic in node(lab, owner).nics if nic.name == bare)


def bridge(lab: Lab, name: str) -> BridgeSpec:
    owner, _, bare = name.partition(".")
    return next(bridge for bridge in node(lab, owner).bridges if bridge.name == (bare or owner))
