"""Wrong solutions: each is wrong in one way, has a name of its own, and is a network that Linux has."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import trenza
from trenza.check.altered_manifests import altered_manifests
from trenza.check.behaviour import behaviour, difference
from trenza.check.mutants import Mutant, mutants
from trenza.memory import MemoryKernel
from trenza.model.names import Interface, NicName, NodeName
from trenza.model.state import File, Node, Process, Route, State, Veth, Vxlan
from trenza.plan.diff import diff
from trenza.plan.wanted import wanted_state
from trenza.spec import Choices, read

LABS = Path(trenza.__file__).parent / "labs"
NAMES = ("bridged-lan", "routed", "namespaces", "balanced-web")


def base_and_solution(name: str) -> tuple[State, State]:
    source = (LABS / name / "lab.yaml").read_bytes()
    base, solution = (wanted_state(read(source, name, Choices(start=start)).lab) for start in (True, False))
    return base, solution


def bred(name: str) -> dict[str, Mutant]:
    return {one.name: one for one in mutants(*base_and_solution(name))}


def bred_of(text: str) -> dict[str, Mutant]:
    base, solution = (wanted_state(read(text.encode(), "x", Choices(start=start)).lab) for start in (True, False))
    return {one.name: one for one in mutants(base, solution)}


def ports(state: State, bridge: str) -> set[str]:
    """The interfaces that are ports of bridges of a name."""
    ends = [end for thing in state if isinstance(thing, Veth) for end in thing.ends]
    ends += [thing for thing in state if isinstance(thing, Vxlan)]  # type: ignore[misc]
    return {str(end.interface) for end in ends if end.port is not None and end.port.bridge == bridge}


@pytest.mark.parametrize("name", NAMES)
def test_every_mutant_has_a_name_of_its_own_and_is_not_the_solution(name: str) -> None:
    base, solution = base_and_solution(name)
    found = mutants(base, solution)
    assert len({one.name for one in found}) == len(found) > 20
    assert all(one.state != solution for one in found)
    assert [one.name for one in found] == [one.name for one in mutants(base, solution)]


@pytest.mark.parametrize("name", NAMES)
def test_the_kernel_becomes_every_mutant_and_the_solution_again(name: str) -> None:
    base, solution = base_and_solution(name)
    kernel = MemoryKernel()
    kernel.perform(diff(kernel.observe(solution), solution))
    assert kernel.observe(solution) == solution
    for mutant in mutants(base, solution):
        kernel.perform(diff(kernel.observe(mutant.state), mutant.state))
        assert kernel.observe(mutant.state) == mutant.state, mutant.name
        kernel.perform(diff(kernel.observe(solution), solution))
        assert kernel.observe(solution) == solution, mutant.name


def test_the_base_is_no_element_of_the_solution() -> None:
    base, _ = base_and_solution("balanced-web")
    assert mutants(base, base) == ()
    assert not any("user" in name for name in bred("balanced-web"))


def test_what_stood_on_a_removed_thing_goes_with_it() -> None:
    state = bred("bridged-lan")["node host1/c1 removed"].state
    assert NodeName("host1/c1") not in state.nodes
    assert not any(key[1] == "host1/c1" for key in state.things)
    without_bridge = bred("bridged-lan")["bridge host1.br0 removed"].state
    assert "host1.eth0" not in ports(without_bridge, "br0")
    assert "host2.eth0" in ports(without_bridge, "br0")


def test_a_port_is_left_out_and_stays_an_interface() -> None:
    state = bred("bridged-lan")["host1.eth0 left out of br0"].state
    assert ports(state, "br0") == {"host1.c1-eth0", "host2.eth0", "host2.c2-eth0"}
    assert ("link", "host1", "eth0") in state.provided


def test_an_address_of_another_subnet_takes_the_routes_through_it_along() -> None:
    found = bred("routed")
    moved = found["address host1/c1.eth0 192.168.1.11/24 → 192.168.3.11/24"].state
    assert not any(isinstance(thing, Route) and thing.node == "host1/c1" for thing in moved)
    wrong_hop = found["route host1 default via 10.1.0.2 → 10.1.0.254"].state
    assert [str(one.via) for one in wrong_hop if isinstance(one, Route) and one.node == "host1"] == ["10.1.0.254"]


def test_theory_says_which_mutants_are_right() -> None:
    no_ipv6 = "net.ipv6.conf.all.forwarding 1 → 0"
    for name, right in {
        "routed": {f"sysctl host1 {no_ipv6}", f"sysctl host2 {no_ipv6}"},
        "balanced-web": {
            "service vm1/bal1 keepalived priority 150 → 254", "service vm2/bal2 keepalived priority 100 → 1",
        },
        "bridged-lan": set(),
    }.items():  # fmt: skip
        before = behaviour(base_and_solution(name)[1])
        found = bred(name)
        assert {one for one, mutant in found.items() if not difference(before, behaviour(mutant.state))} == right


def test_theory_says_what_a_mutant_does() -> None:
    _, solution = base_and_solution("balanced-web")
    before, found = behaviour(solution), bred("balanced-web")
    said = {
        "vm1.vx1 mtu 1450 → 1280": "bal1 → 10.0.0.251: MTU 1450 → 1280",
        "bridge swout2.swout2 priority 4096 → 32768": "swout1.swout1 has another place in the tree",
        "service vm2/bal2 keepalived removed": "virtual routers have other members",
        "service vm1/serv1 apache removed": "apache of vm1/serv1 is another",
        "vxlan vm1.vx1 vni 42 → 43": "bal1 no longer reaches 10.0.0.251",
    }
    assert {name: difference(before, behaviour(found[name].state)).en for name in said} == said


def test_a_daemons_values_are_changed_in_its_config() -> None:
    found = bred("balanced-web")
    state = found["service vm1/bal1 keepalived virtual_router_id 12 → 13"].state
    process = state.things["process", "vm1/bal1", "keepalived"]
    assert isinstance(process, Process)
    assert [one.id for one in process.vrrp] == [13]
    config = state.things["file", "vm1/bal1", "/etc/keepalived/keepalived.conf"]
    assert b"virtual_router_id 13" in config.content  # type: ignore[union-attr, operator]
    moved = found["service vm1/bal1 haproxy bind 8000 → 8001"].state.things["process", "vm1/bal1", "haproxy"]
    assert isinstance(moved, Process)
    assert moved.ready.tcp == 8001


def test_only_what_the_solution_changed_of_the_base_is_changed() -> None:
    names = set(
        bred_of("""
lab: x
hosts:
  h1: {nics: {eth0: {to: h2.eth0, ip: 10.0.0.1/24}}, bridges: {br0: {ip: 10.9.0.1/24}}}
  h2: {nics: {eth0: {to: h1.eth0}}}
checkpoints:
  - name: a
    adds: {hosts: {h1: {bridges: {br0: {stp: {priority: 4096}}}}, h2: {nics: {eth0: {ip: 10.0.0.2/24}}}}}
""")
    )
    assert names == {
        "address h2.eth0 10.0.0.2/24 removed",
        "address h2.eth0 10.0.0.2/24 → 10.0.1.2/24",
        "address h2.eth0 10.0.0.2/24 → 10.0.0.2/32",
        "bridge h1.br0 stp off",
        "bridge h1.br0 priority 4096 → 32768",
        "bridge h1.br0 priority 4096 → 65535",
    }


def test_ipv6_is_lost_with_its_link_as_in_linux() -> None:
    found = bred_of("""
lab: x
hosts: {h1: {nics: {eth0: {to: h2.eth0}}}, h2: {nics: {eth0: {to: h1.eth0, ip: "fd00::2/64"}}}}
checkpoints:
  - name: a
    adds: {hosts: {h1: {bridges: {br0: {ip: "fd01::1/64"}}, nics: {eth0: {ip: "fd00::1/64", gateway: "fd00::2"}}}}}
""")
    down = found["bridge h1.br0 down"].state
    assert not any(key[0] == "address" and key[1:3] == ("h1", "br0") for key in down.things)
    assert "route h1 default via fd00::2 removed" in found


def test_a_mutant_is_listed_by_name_or_pattern_with_arrows_as_typed() -> None:
    mutant = Mutant("vm1.vx1 mtu 1450 → 1280", State())
    assert mutant.is_like("vm1.vx1 mtu 1450 → 1280")
    assert mutant.is_like("vm1.vx1 mtu 1450 -> 1280")
    assert mutant.is_like("*.vx1 mtu *->*")
    assert not mutant.is_like("vm2.vx1 mtu 1450 → 1280")


def test_a_lone_node_may_go() -> None:
    lone = State.of([Node(NodeName("h"), kind=next(iter(base_and_solution("routed")[0].nodes.values())).kind)])
    assert [one.name for one in mutants(State(), lone)] == ["node h removed"]
    assert Interface(NodeName("h"), NicName("x")) not in lone.provided


CLUSTERED = """
lab: x
switches: {lan: {}}
hosts:
  m: {nics: {eth0: {to: lan, ip: 10.9.0.1/24}}}
  n: {nics: {eth0: {to: lan, ip: 10.9.0.2/24}}}
cluster: {master: m, nodes: [n]}
checkpoints:
  - {name: web, points: 1, adds: {cluster: {manifests: [web.yaml]}}}
"""
MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {replicas: 2, template: {spec: {containers: [{name: web, image: host, ports: [{containerPort: 80}]}]}}}
---
apiVersion: v1
kind: List
items:
  - {kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80, nodePort: 32767}]}}
"""


def test_manifests_are_wrong_in_what_decides_what_their_objects_do() -> None:
    labs = [read(CLUSTERED.encode(), "x", Choices(start=start)).lab for start in (True, False)]
    base, solution = (wanted_state(lab, {"web.yaml": MANIFEST.encode()}) for lab in labs)
    found = {one.name: one for one in mutants(base, solution) if "web.yaml" in one.name}
    at = "file m /etc/kubernetes/addons/web.yaml "
    assert found.keys() == {
        at + words
        for words in (
            "with another text", "Deployment web replicas 2 → 1", "Deployment web image host → nobodys",
            "Service web selector app web → nobodys", "Service web targetPort 80 → 81",
            "Service web nodePort 32767 → 32766",
        )
    }  # fmt: skip
    (changed,) = set(found[at + "Service web targetPort 80 → 81"].state) - set(solution)
    assert isinstance(changed, File) and changed.content is not None
    deployment, services = yaml.safe_load_all(changed.content)
    assert services["items"][0]["spec"]["ports"] == [{"port": 80, "nodePort": 32767, "targetPort": 81}]
    assert deployment == next(yaml.safe_load_all(MANIFEST)), "one value is wrong, and one only"


def test_what_is_no_manifest_is_wrong_as_a_whole_only() -> None:
    for text in ("a: [", "- 1", "kind: Service", ""):
        assert [*altered_manifests(text)] == []
