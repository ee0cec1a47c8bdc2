"""The rules of the format, one by one."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

import pytest

from trenza.errors import UsageError
from trenza.model.lab import Cable, FdbSpec, Lab, Port, ToBridge, ToHost, ToNat, ToNic, Unplugged
from trenza.model.names import Interface, Mac, NicName, NodeName
from trenza.model.state import MacvlanMode, Ready, Restart, RouteType
from trenza.spec import Choices

from .labs import bridge, codes_of, lab_of, nic, node, problems_of, reading


def interface(text: str) -> Interface:
    owner, _, name = text.partition(".")
    return Interface(NodeName(owner), NicName(name))


def to_bridge(owner: str, name: str | None = None) -> ToBridge:
    return ToBridge(NodeName(owner), NicName(name or owner))


def host(text: str, rest: str = "", choices: Choices | None = None) -> Lab:
    """A lab of one switch `lan` and one host `h` with the given content."""
    return lab_of(f"lab: x\nswitches: {{lan: {{}}}}\nhosts:\n  h: {text}\n{rest}", choices)


# what NICs plug into


def test_to_looks_in_the_same_host_before_the_lab() -> None:
    lab = lab_of("""\
lab: x
switches: {br: {}}
hosts:
  h1: {bridges: {br: {}}, containers: {c: {nics: {eth0: {to: br}}}}}
  h2: {containers: {c: {nics: {eth0: {to: br}}}}}
""")
    assert nic(lab, "h1/c.eth0").to == to_bridge("h1", "br")
    assert nic(lab, "h2/c.eth0").to == to_bridge("br")


def test_a_nic_is_found_in_the_same_host_first() -> None:
    lab = lab_of("""\
lab: x
hosts:
  h1: {containers: {a: {nics: {eth0: {to: b.eth0}}}, b: {nics: {eth0: {}}}}}
  h2: {containers: {b: {nics: {eth0: {}}}}}
""")
    assert nic(lab, "h1/a.eth0").to == ToNic(interface("h1/b.eth0"))
    assert nic(lab, "h1/b.eth0").to == ToNic(interface("h1/a.eth0"))
    assert nic(lab, "h2/b.eth0").to == Unplugged()


def test_host_and_nat_are_places() -> None:
    lab = lab_of("lab: x\nhosts: {h: {nics: {eth0: {to: nat, dhcp: true}}, containers: {c: {nics: {eth0: host}}}}}\n")
    assert nic(lab, "h.eth0").to == ToNat()
    assert nic(lab, "h.eth0").dhcp
    assert nic(lab, "h/c.eth0").to == ToHost(NodeName("h"))


def test_a_host_may_be_called_host() -> None:
    lab = lab_of("lab: x\nhosts: {host: {containers: {c: {nics: {eth0: {to: host}}}}}}\n")
    assert nic(lab, "host/c.eth0").to == ToHost(NodeName("host"))


def test_a_cable_joins_the_nics_that_name_it() -> None:
    lab = lab_of("lab: x\ncables: [w]\nhosts: {a: {nics: {eth0: w}}, b: {nics: {eth0: w}}}\n")
    assert nic(lab, "a.eth0").to == ToNic(interface("b.eth0"))
    assert nic(lab, "a.eth0").cable == "w"
    assert lab.cables == (Cable("w", (interface("a.eth0"), interface("b.eth0"))),)


def test_a_nic_named_by_a_cable_needs_no_plug() -> None:
    lab = lab_of("""\
lab: x
switches: {s1: {}, s2: {}}
cables: {k12: [s1, s2], k7: [h.eth0, s2], k8: [h/c.eth0, s1]}
hosts: {h: {nics: {eth0: {}}, containers: {c: {nics: {eth0: {to: k8}}}}}}
""")
    assert lab.cables[0] == Cable("k12", (to_bridge("s1"), to_bridge("s2")))
    assert nic(lab, "h.eth0").to == to_bridge("s2")
    assert nic(lab, "h.eth0").peer.name == "k7"
    assert nic(lab, "h/c.eth0").to == to_bridge("s1")


def test_a_switch_may_name_its_cables_as_ports() -> None:
    lab = lab_of("""\
lab: x
cables: [w1, w2]
switches: {s: {ports: {w1: {cost: 10}, w2: {}, h-eth1: {priority: 3}}}, t: [w2]}
hosts: {h: {nics: {eth0: w1, eth1: s}}}
""")
    assert nic(lab, "h.eth0").to == to_bridge("s")
    assert bridge(lab, "s").ports == (
        Port(NicName("w1"), cost=10),
        Port(NicName("w2")),
        Port(NicName("h-eth1"), priority=3),
    )
    assert lab.cables[1].ends == (to_bridge("s"), to_bridge("t"))


def test_a_free_cable_end_leaves_the_nic_unplugged() -> None:
    result = reading("lab: x\ncables: [w]\nhosts: {a: {nics: {eth0: w}}}\n")
    assert nic(result.lab, "a.eth0").to == Unplugged()
    assert nic(result.lab, "a.eth0").cable == "w"
    assert result.lab.cables[0].ends == (interface("a.eth0"), None)
    assert [problem.code for problem in result.problems] == ["W017"]


def test_peers_have_a_short_form() -> None:
    short = host("{bridges: {br0: {}}, containers: {c: {nics: {eth0: {to: br0, peer: v}}}}}")
    long = host("{bridges: {br0: {}}, containers: {c: {nics: {eth0: {to: br0, peer: {name: v}}}}}}")
    assert short == long
    assert nic(short, "h/c.eth0").peer.name == "v"


# values


def test_addresses_of_both_families_one_or_several() -> None:
    lab = host('{nics: {eth0: {to: lan, ip: [10.0.0.1/24, "2001:db8::1/64"]}, eth1: {ip: 10.1.0.1/16}}}')
    assert nic(lab, "h.eth0").addresses == (IPv4Interface("10.0.0.1/24"), IPv6Interface("2001:db8::1/64"))
    assert nic(lab, "h.eth1").addresses == (IPv4Interface("10.1.0.1/16"),)


def test_macs_and_mtus_everywhere() -> None:
    lab = lab_of("""\
lab: x
switches: {lan: {mac: "02:00:00:00:00:0A", mtu: 9000}}
hosts:
  h:
    nics: {eth0: {to: lan, mac: 10:20:30:40:50:51, mtu: 9000}}
    bridges: {br0: {mac: 02:00:00:00:00:02, mtu: 1400}}
    vxlans: {vx: {vni: 1, mac: 02:00:00:00:00:03, mtu: 1400}}
    macvlans: {mv: {parent: eth0, mac: 02:00:00:00:00:04, mtu: 1300}}
    containers: {c: {nics: {eth0: {to: host, peer: {mac: 02:00:00:00:00:05, mtu: 1500}}}}}
""")
    h = node(lab, "h")
    assert (bridge(lab, "lan").mac, bridge(lab, "lan").mtu_bytes) == ("02:00:00:00:00:0a", 9000)
    assert (h.nics[0].mac, h.nics[0].mtu_bytes) == ("10:20:30:40:50:51", 9000)
    assert (h.bridges[0].mac, h.bridges[0].mtu_bytes) == ("02:00:00:00:00:02", 1400)
    assert (h.vxlans[0].mac, h.vxlans[0].mtu_bytes) == ("02:00:00:00:00:03", 1400)
    assert (h.macvlans[0].mac, h.macvlans[0].mtu_bytes) == ("02:00:00:00:00:04", 1300)
    peer = nic(lab, "h/c.eth0").peer
    assert (peer.mac, peer.mtu_bytes) == ("02:00:00:00:00:05", 1500)


def test_bridges_and_their_short_forms() -> None:
    assert host("{nics: {eth0: {}}, bridges: {br0: [eth0]}}") == host(
        "{nics: {eth0: {}}, bridges: {br0: {ports: {eth0: {}}}}}"
    )
    lab = host(
        "{nics: {eth0: {}}, bridges: {br0: {ports: {eth0: {cost: 5, priority: 9}}, stp: true, ageing_time: 2.5}}}"
    )
    assert bridge(lab, "h.br0").ports == (Port(NicName("eth0"), 5, 9),)
    assert bridge(lab, "h.br0").stp is not None
    assert bridge(lab, "h.br0").ageing_time_s == 2.5
    assert bridge(host("{bridges: {br0: {stp: false}}}"), "h.br0").stp is None


def test_vxlans() -> None:
    lab = lab_of("""\
lab: x
switches: {lan: {}}
hosts:
  a:
    nics: {eth0: {to: lan, ip: 10.0.0.1/24}}
    vxlans:
      vx:
        {vni: 42, local: 10.0.0.1, remote: 10.0.0.2, port: 8472, dev: eth0, learning: false,
         ip: 10.244.1.0/32, fdb: [{mac: 02:00:00:00:00:01, dst: 10.0.0.2}]}
      vy: {vni: 43, remotes: [10.0.0.2, 10.0.0.2]}
  b: {nics: {eth0: {to: lan, ip: 10.0.0.2/24}}}
""")
    vx, vy = node(lab, "a").vxlans
    assert (vx.vni, vx.local, vx.remotes) == (42, IPv4Address("10.0.0.1"), (IPv4Address("10.0.0.2"),))
    assert (vx.udp_port, vx.dev, vx.learning, vx.mtu_bytes) == (8472, "eth0", False, None)
    assert vx.fdb == (FdbSpec(Mac("02:00:00:00:00:01"), IPv4Address("10.0.0.2")),)
    assert vy.remotes == (IPv4Address("10.0.0.2"),)


def test_macvlans_stand_on_their_node_or_its_host() -> None:
    lab = host(
        "{nics: {eth0: {}}, macvlans: {mv: eth0}, containers: {c: {macvlans: {eth0: {parent: h.eth0, mode: vepa}}}}}"
    )
    assert node(lab, "h").macvlans[0].parent == interface("h.eth0")
    assert node(lab, "h/c").macvlans[0].parent == interface("h.eth0")
    assert node(lab, "h/c").macvlans[0].mode is MacvlanMode.VEPA


def test_routes() -> None:
    lab = host("""
    nics: {eth0: {to: lan, ip: [10.0.0.1/24, "2001:db8::1/64"]}}
    routes:
      - {to: default, dev: eth0}
      - {to: default, via: "fe80::1", dev: eth0}
      - {to: 10.9.0.0/16, via: 10.8.0.1, dev: eth0, onlink: true, metric: 7}
      - {to: 10.7.0.1, dev: eth0}
      - {to: 10.6.0.0/16, via: 10.7.0.1}
      - {to: 10.5.0.0/16, type: blackhole}
    accept: [W007]
""")
    routes = node(lab, "h").routes
    assert [str(route.to) for route in routes[:2]] == ["0.0.0.0/0", "::/0"]
    assert routes[1].to == IPv6Network("::/0")
    assert (routes[2].onlink, routes[2].metric, routes[2].dev) == (True, 7, "eth0")
    assert routes[3].to == IPv4Network("10.7.0.1/32")
    assert routes[4].via == IPv4Address("10.7.0.1")
    assert routes[5].type is RouteType.BLACKHOLE


def test_files_sysctls_and_services() -> None:
    lab = host("""
    hostname: web
    sysctls: {net.ipv4.ip_forward: true, net.ipv4.tcp_rmem: 4096 8192 16384, net.ipv4.conf.eth0/1.rp_filter: 0}
    files:
      /etc/motd: hello
      /etc/a: {text: "b", mode: 0755, owner: www-data}
      /etc/b: {from: conf/b.txt, mode: "600"}
    services:
      web: {run: [httpd, -p, 80, on], ready: {tcp: 80, deadline: 5}, restart: always, env: {A: 1}, user: nobody}
      other: [sleep, 1000]
""")
    h = node(lab, "h")
    assert h.hostname == "web"
    assert h.sysctls == (
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv4.tcp_rmem", "4096 8192 16384"),
        ("net.ipv4.conf.eth0/1.rp_filter", "0"),
    )
    assert [(file.path, file.text, file.source, oct(file.mode), file.owner) for file in h.files] == [
        ("/etc/motd", "hello", None, "0o644", "root"),
        ("/etc/a", "b", None, "0o755", "www-data"),
        ("/etc/b", None, "conf/b.txt", "0o600", "root"),
    ]
    web, other = h.services
    assert (web.argv, web.ready) == (("httpd", "-p", "80", "on"), Ready(tcp=80, deadline_s=5))
    assert (web.restart, web.env, web.user) == (Restart.ALWAYS, (("A", "1"),), "nobody")
    assert (other.name, other.argv) == ("other", ("sleep", "1000"))


def test_scalars_are_those_of_yaml_1_2() -> None:
    lab = host("{files: {/a: on, /b: no, /c: 12:30, /d: 0o17, /e: 2001-01-01, /f: '', /g: '~'}}", "title: yes\n")
    assert [file.text for file in node(lab, "h").files] == ["on", "no", "12:30", "0o17", "2001-01-01", "", "~"]
    assert lab.title == {"en": "yes"}


# parameters


PARAMETERS = """\
lab: x
parameters: {mtu: 1400, third: 7, on: true, name: lan}
switches: {lan: {}}
hosts:
  h:
    nics: {eth0: {to: $name, mtu: $mtu, ip: "10.0.${third}.1/24", up: $on}}
    files: {/a: "$third costs $$5 and $HOME", /b: "$$third"}
    services: {s: {run: [sh, -c, 'echo $PATH $mtu ${third}']}}
"""


def test_parameters_are_filled_into_any_value() -> None:
    lab = lab_of(PARAMETERS + "title: $third for $$third\n")
    assert lab.title == {"en": "7 for $third"}
    assert nic(lab, "h.eth0").mtu_bytes == 1400
    assert nic(lab, "h.eth0").addresses == (IPv4Interface("10.0.7.1/24"),)
    assert nic(lab, "h.eth0").to == to_bridge("lan")
    assert [file.text for file in node(lab, "h").files] == ["7 costs $$5 and $HOME", "$third"]
    assert node(lab, "h").services[0].argv[2] == "echo $PATH 1400 7"
    assert lab.parameters == {"mtu": 1400, "third": 7, "on": True, "name": "lan"}


def test_set_beats_the_profile_which_beats_the_default() -> None:
    text = PARAMETERS + "profiles: {small: {mtu: 1300, third: 8}}\n"
    lab = lab_of(text, Choices(profile="small", parameters={"mtu": "1200"}))
    assert nic(lab, "h.eth0").mtu_bytes == 1200
    assert nic(lab, "h.eth0").addresses == (IPv4Interface("10.0.8.1/24"),)


def test_a_set_text_stays_text() -> None:
    lab = lab_of(
        'lab: x\nparameters: {word: "a"}\nhosts: {h: {files: {/a: $word}}}\n', Choices(parameters={"word": "12"})
    )
    assert node(lab, "h").files[0].text == "12"
    assert lab.parameters == {"word": "12"}


@pytest.mark.parametrize(
    "choices",
    [
        Choices(profile="fats"),
        Choices(parameters={"mtv": "1"}),
        Choices(variants=("none",)),
        Choices(until="nowhere"),
        Choices(until="0"),
        Choices(until="2"),
    ],
    ids=str,
)
def test_a_choice_that_is_not_there_is_bad_usage(choices: Choices) -> None:
    text = PARAMETERS + "profiles: {fast: {}}\ncheckpoints: [{name: one}]\n"
    with pytest.raises(UsageError):
        reading(text, choices)


# copies and templates


def test_copies_count_and_address_themselves() -> None:
    lab = lab_of(
        'lab: x\nswitches: {s: {}}\nhosts: {h: {each: 1..300, nics: {eth0: {to: s, ip: "10.0.0.0/16[$n]"}}}}\n'
    )
    assert len(lab.nodes) == 301
    assert nic(lab, "h300.eth0").addresses == (IPv4Interface("10.0.1.44/16"),)


def test_copies_by_list_of_containers_and_switches() -> None:
    lab = lab_of("""\
lab: x
switches: {s: {each: [a, b]}}
hosts:
  h:
    each: 1..2
    containers: {c: {each: [7, 1..2], nics: {eth0: {to: host, ip: 10.0.$n.2/24}}}}
""")
    assert [each.name for each in lab.nodes] == [
        *("sa", "sb"), *("h1", "h1/c7", "h1/c1", "h1/c2"), *("h2", "h2/c7", "h2/c1", "h2/c2"),
    ]  # fmt: skip


def test_what_is_added_to_copies_is_added_to_each() -> None:
    lab = lab_of("""\
lab: x
hosts: {h: {each: 1..3}}
checkpoints:
  - {name: one, adds: {hosts: {h: {forwarding: true, hostname: "r$n"}}}}
  - {name: two, adds: {hosts: {h2: {hostname: other}}}}
""")
    assert [(each.hostname, each.forwarding) for each in lab.nodes] == [("r1", True), ("other", True), ("r3", True)]


def test_templates_lie_under_what_uses_them_in_order() -> None:
    lab = lab_of("""\
lab: x
templates:
  quiet: {sysctls: {net.ipv6.conf.all.disable_ipv6: 1}, bridges: {br0: {stp: true}}, files: {/a: quiet}}
  router: {use: quiet, forwarding: true, sysctls: {net.ipv4.ip_default_ttl: 9}, files: {/a: router, /b: {from: b}}}
hosts:
  h1: {use: router, bridges: {br0: null}, files: {/b: mine}}
  h2: {use: [router, quiet], forwarding: false}
""")
    h1, h2 = lab.nodes
    assert h1.forwarding
    assert h1.bridges == ()
    assert dict(h1.sysctls) == {"net.ipv6.conf.all.disable_ipv6": "1", "net.ipv4.ip_default_ttl": "9"}
    assert [(file.text, file.source) for file in h1.files] == [("router", None), ("mine", None)]
    assert not h2.forwarding
    assert h2.files[0].text == "quiet"


# merging


def merged(adds: str) -> Lab:
    return lab_of(f"""\
lab: x
accept: [W007]
switches: {{lan: {{}}}}
hosts:
  h:
    nics: {{eth0: {{to: lan, ip: [10.0.0.1/24]}}, eth1: {{}}, eth2: {{to: lan, mtu: 1400}}}}
    bridges: {{br0: [eth1]}}
    routes: [{{to: default, via: 10.0.0.2}}]
    services: {{s: {{run: [sleep, 1]}}}}
checkpoints: [{{name: one, adds: {{hosts: {{h: {adds}}}}}}}]
""")


def test_lists_append_without_repeats_and_scalars_replace() -> None:
    lab = merged("""{
      nics: {eth0: {ip: [10.0.0.1/24, 10.0.0.3/24]}, eth2: {mtu: 1300}},
      bridges: {br0: {ports: [eth1, eth2]}},
      routes: [{to: default, via: 10.0.0.2}, {to: 10.1.0.0/16, via: 10.0.0.2}],
      services: {s: {run: [sleep, 2]}}}""")
    h = node(lab, "h")
    assert [str(address) for address in nic(lab, "h.eth0").addresses] == ["10.0.0.1/24", "10.0.0.3/24"]
    assert nic(lab, "h.eth2").mtu_bytes == 1300
    assert [port.name for port in h.bridges[0].ports] == ["eth1", "eth2"]
    assert len(h.routes) == 2
    assert h.services[0].argv == ("sleep", "2")


def test_one_address_replaces() -> None:
    assert [str(ip) for ip in nic(merged("{nics: {eth0: {ip: 10.0.0.9/24}}}"), "h.eth0").addresses] == ["10.0.0.9/24"]


def test_null_removes() -> None:
    lab = merged("{nics: {eth2: null, eth0: {to: null}}, routes: null, bridges: null}")
    assert [each.name for each in node(lab, "h").nics] == ["eth0", "eth1"]
    assert nic(lab, "h.eth0").to == Unplugged()
    assert node(lab, "h").routes == ()
    assert node(lab, "h").bridges == ()


def test_null_where_nothing_is_to_be_removed_is_an_empty_one_in_the_base() -> None:
    lab = lab_of("lab: x\nswitches:\n  lan:\nhosts:\n  h:\n    nics:\n      eth0:\n")
    assert [each.name for each in lab.nodes] == ["lan", "h"]
    assert nic(lab, "h.eth0").to == Unplugged()


def test_names_alone_may_be_listed() -> None:
    lab = lab_of("lab: x\nswitches: [s]\nhosts: {a: {nics: [eth0], bridges: [br0], containers: [c]}}\n")
    assert lab == lab_of(
        "lab: x\nswitches: {s: {}}\nhosts: {a: {nics: {eth0: {}}, bridges: {br0: {}}, containers: {c: {}}}}\n"
    )
    assert [each.name for each in lab_of("lab: x\nhosts: [a, b]\n").nodes] == ["a", "b"]


def test_variants_come_last_and_only_when_chosen() -> None:
    text = """\
lab: x
hosts: {h: {hostname: a}}
checkpoints: [{name: one, adds: {hosts: {h: {hostname: b}}}}]
variants: {v: {title: V, adds: {hosts: {h: {hostname: c}}}}}
"""
    assert node(lab_of(text), "h").hostname == "b"
    assert node(lab_of(text, Choices(variants=("v",))), "h").hostname == "c"
    assert node(lab_of(text, Choices(start=True)), "h").hostname == "a"
    assert lab_of(text).variants[0].title == {"en": "V"}


def test_adds_may_bring_switches_and_cables() -> None:
    lab = lab_of("""\
lab: x
cables: [w1]
hosts: {a: {nics: {eth0: w1}}, b: {nics: {eth0: {}}}}
checkpoints: [{name: one, adds: {cables: {w1: [b.eth0], w2: [s1, s2]}, switches: [s1, s2]}}]
""")
    assert nic(lab, "a.eth0").to == ToNic(interface("b.eth0"))
    assert lab.cables[1].ends == (to_bridge("s1"), to_bridge("s2"))


# problems


def test_accept_silences_at_the_element_its_node_its_host_and_the_lab() -> None:
    text = """\
lab: x
{lab}
switches: {{lan: {{}}}}
hosts:
  h:
    {host}
    containers: {{c: {{{node} nics: {{eth0: {{{nic} to: lan, ip: 10.0.0.0/24}}}}}}}}
"""
    nothing = {"lab": "", "host": "", "node": "", "nic": ""}
    assert codes_of(text.format(**nothing)) == ["W009"]
    for place in nothing:
        accept = "accept: [W009]" if place in ("lab", "host") else "accept: [W009],"
        assert codes_of(text.format(**{**nothing, place: accept})) == []


def test_errors_in_parts_that_are_not_chosen_are_found() -> None:
    text = """\
lab: x
hosts: {h: {}}
checkpoints: [{name: one, adds: {hosts: {h: {nisc: {}}}}}]
variants: {v: {adds: {hosts: {h: {forwarding: 7}}}}}
templates: {t: {mtu: 7}}
"""
    assert sorted(codes_of(text, Choices(start=True))) == ["E016", "E019", "E019"]


def test_a_base_without_its_solution_is_not_said_to_be_incomplete() -> None:
    text = """\
lab: x
parameters: {a: 10.0.0.1/24}
cables: [w]
hosts: {h: {nics: {eth0: {to: w}, eth1: {}}}}
checkpoints: [{name: one, adds: {hosts: {h: {nics: {eth0: {ip: $a}}}}}}]
"""
    assert codes_of(text, Choices(start=True)) == []


def test_problems_can_be_said_in_spanish() -> None:
    from trenza.errors import LabFileError
    from trenza.spec import read

    with pytest.raises(LabFileError) as caught:
        read(b"lab: x\nhosts: {h: {nisc: {}}}\n", "lab.yaml", language="es")
    (problem,) = caught.value.problems
    assert problem.message == "clave desconocida 'nisc' en host"
    assert problem.hint is not None
    assert problem.hint.startswith("¿quería decir nics?")


def test_a_loop_through_a_tunnel_is_a_loop() -> None:
    text = """\
lab: x
switches: {{lan: {{}}}}
cables: {{w: [a.eth1, b.eth1]}}
hosts:
  a:
    nics: {{eth0: {{to: lan, ip: 10.0.0.1/24}}, eth1: {{}}}}
    vxlans: {{vx: {{vni: 1, local: 10.0.0.1, remote: 10.0.0.2}}}}
    bridges: {{br0: {{ports: [vx, eth1], stp: {stp}}}}}
  b:
    nics: {{eth0: {{to: lan, ip: 10.0.0.2/24}}, eth1: {{}}}}
    vxlans: {{vx: {{vni: 1, local: 10.0.0.2, remote: 10.0.0.1}}}}
    bridges: {{br0: {{ports: [vx, eth1]}}}}
"""
    assert codes_of(text.format(stp="false")) == ["W001"]
    assert codes_of(text.format(stp="true")) == []


def test_equal_addresses_in_separate_segments_are_no_problem() -> None:
    text = """\
lab: x
hosts:
  h:
    each: 1..2
    bridges: {docker0: {ip: 172.17.0.1/16}}
    containers: {c: {nics: {eth0: {to: docker0, ip: 172.17.0.2/16}}}}
"""
    assert codes_of(text) == []


def test_columns_count_characters() -> None:
    (problem,) = problems_of("lab: x\ntitle: {es: 'ñandú €', fr: [x]}\n")
    assert (problem.line, problem.column, problem.length) == (2, 28, 1)


def test_every_code_is_in_a_golden_file_or_known_not_to_be() -> None:
    from pathlib import Path

    from trenza.spec.catalogue import CODES

    golden = "".join(path.read_text() for path in (Path(__file__).parents[2] / "golden").glob("*/error.txt"))
    told = set(re.findall(r"^lab\.yaml(?::\d+:\d+)? ([EWN]\d{3}) ", golden, re.MULTILINE))
    assert CODES.keys() - told == {"W018"}, "W018 is of a machine"


# the cluster

CLUSTERED = """\
lab: x
switches: {lan: {}}
hosts:
  m: {nics: {eth0: {to: lan, ip: 10.0.0.1/24}}}
  n: {nics: {eth0: {to: lan, ip: 10.0.0.2/24}}}
cluster: {master: m, nodes: [n], etcd: [m]}
variants: {ha: {adds: {cluster: {etcd: [n], overlay: host-gw}}}}
"""


def test_a_variant_adds_members_to_a_clusters_etcd() -> None:
    (one,), both = (lab_of(CLUSTERED, Choices(variants=chosen)).cluster.etcd for chosen in ((), ("ha",)))  # type: ignore[union-attr]
    assert (one.node, [member.node for member in both]) == ("m", ["m", "n"])
    assert {item.name for item in lab_of(CLUSTERED, Choices(variants=("ha",))).nodes if item.services} == {"m", "n"}


def test_without_etcd_on_the_machine_a_cluster_keeps_its_objects_itself_and_says_so() -> None:
    result = reading(CLUSTERED, Choices(has_etcd=False))
    (problem,) = result.problems
    assert (problem.code, problem.line) == ("W018", 6)
    assert "apt install etcd-server" in str(problem)
    assert result.lab.cluster is not None
    assert result.lab.cluster.etcd == ()
    assert not any(item.services for item in result.lab.nodes)
    embedded = CLUSTERED.replace("etcd: [m]}\n", "store: embedded}\n")
    assert reading(embedded, Choices(has_etcd=False)).problems == ()
