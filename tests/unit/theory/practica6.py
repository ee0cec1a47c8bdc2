"""Práctica 6 as a state: four bridges, two balancers with VRRP and haproxy, three servers, a tunnel inside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_interface

from trenza.model.names import Interface, NicName, NodeName
from trenza.model.state import Bridge, HealthCheck, Process, State, Thing, Veth, VethEnd, VrrpInstance
from trenza.plan.wanted import wanted_state
from trenza.spec import read

FAST = "forward_delay: 2, hello_time: 1, max_age: 6"
SHEET = "forward_delay: 15, hello_time: 2, max_age: 20"
VIP = ip_address("172.16.1.254")

LAB = """\
lab: balanced-web
cables: [w1, w2, w3, w4, u1, u2]
hosts:
  swout1:
    nics: {eth1: {to: w1}, eth2: {to: w3}, eth0: {to: u1}}
    bridges: {swout1: {mac: "02:00:00:00:00:21", ports: [eth0, eth1, eth2], stp: {TIMERS}}}
  swout2:
    nics: {eth1: {to: w2}, eth2: {to: w4}, eth0: {to: u2}}
    bridges: {swout2: {mac: "02:00:00:00:00:22", ports: [eth0, eth1, eth2], stp: {priority: 4096, TIMERS}}}
  vm1:
    nics: {enp0s8: {to: w1}, enp0s9: {to: w2}}
    bridges:
      vswout1: {mac: "02:00:00:00:00:11", ports: [enp0s8, enp0s9], ip: 172.16.1.150/24, stp: {TIMERS}}
      vswin1: {ports: [vx1]}
    vxlans: {vx1: {vni: 42, local: 172.16.1.150, remote: 172.16.1.151}}
    containers:
      bal1: {nics: {out: {to: vswout1, ip: 172.16.1.250/24}, in: {to: vswin1, ip: 10.0.0.250/24, mtu: 1450}}}
      serv1: {nics: {in: {to: vswin1, ip: 10.0.0.1/24, mtu: 1450}}}
      serv2: {nics: {in: {to: vswin1, ip: 10.0.0.2/24, mtu: 1450}}}
  vm2:
    nics: {enp0s8: {to: w3}, enp0s9: {to: w4}}
    bridges:
      vswout2: {mac: "02:00:00:00:00:12", ports: [enp0s8, enp0s9], ip: 172.16.1.151/24, stp: {TIMERS}}
      vswin2: {ports: [vx1]}
    vxlans: {vx1: {vni: 42, local: 172.16.1.151, remote: 172.16.1.150}}
    containers:
      bal2: {nics: {out: {to: vswout2, ip: 172.16.1.251/24}, in: {to: vswin2, ip: 10.0.0.251/24, mtu: 1450}}}
      serv3: {nics: {in: {to: vswin2, ip: 10.0.0.3/24, mtu: 1450}}}
  user: {nics: {eth0: {to: u1, ip: 172.16.1.100/24}}}
  user2: {nics: {eth0: {to: u2, ip: 172.16.1.101/24}}}
"""


def practica6(timers: str = FAST) -> State:
    """The whole sheet."""
    wanted = wanted_state(read(LAB.replace("TIMERS", timers).encode(), "lab.yaml").lab, {})
    return State.of([*wanted, *_daemons()])


def _daemons() -> Iterator[Process]:
    checks = tuple(
        HealthCheck("misServidores", f"serv{number}", ip_address(f"10.0.0.{number}"), 80) for number in (1, 2, 3)
    )
    for node, priority in (("vm1/bal1", 150), ("vm2/bal2", 100)):
        instance = VrrpInstance("vrrpext", NicName("out"), 12, priority, 1, (ip_interface("172.16.1.254/32"),))
        yield Process(NodeName(node), "keepalived", ("keepalived",), vrrp=(instance,))
        yield Process(NodeName(node), "haproxy", ("haproxy",), health_checks=checks)


def at(text: str) -> Interface:
    node, _, nic = text.partition(".")
    return Interface(NodeName(node), NicName(nic))


def without(state: State, *gone: str) -> State:
    """The state with interfaces down, named NODE.NIC."""
    names = {at(text) for text in gone}
    things: list[Thing] = []
    for thing in state:
        if isinstance(thing, Veth):
            things.append(Veth(_down(thing.a, names), _down(thing.b, names)))
        elif isinstance(thing, Bridge) and thing.interface in names:
            things.append(replace(thing, up=False))
        else:
            things.append(thing)
    return State.of(things)


def _down(end: VethEnd, names: set[Interface]) -> VethEnd:
    return replace(end, up=False) if end.interface in names else end


def killed(state: State, node: str, service: str) -> State:
    return State.of(
        thing
        for thing in state
        if not (isinstance(thing, Process) and thing.node == node and thing.name == service)
    )  # fmt: skip
