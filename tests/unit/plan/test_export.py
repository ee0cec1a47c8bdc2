"""Lab files made of states: each makes its state again, and says what it cannot make."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from trenza.client.labfiles import shipped_labs
from trenza.errors import LabFileError
from trenza.model.names import Interface, Mac, NicName, NodeName
from trenza.model.plain import plain_state, state_of_plain
from trenza.model.state import Bridge, File, Neighbour, OtherLink, State
from trenza.plan.export import Export, exported
from trenza.plan.wanted import wanted_state
from trenza.spec import Choices, read
from trenza.spec.reading import Reading

GOLDEN = Path(__file__).parents[2] / "golden"


def contents_of(state: State) -> dict[tuple[str, str], bytes]:
    return {
        (thing.node, thing.path): thing.content
        for thing in state
        if isinstance(thing, File) and thing.content is not None
    }


def again(reading: Reading, files: dict[str, bytes] | None = None) -> tuple[State, Export]:
    state = wanted_state(reading.lab, files or {})
    return state, exported(state, reading.lab.name, contents_of(state), reading.lab.title)


@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize("name", shipped_labs())
def test_a_shipped_lab_is_the_same_after_its_export(name: str, start: bool) -> None:
    path = shipped_labs()[name]
    reading = read(path.read_bytes(), str(path), Choices(start=start))
    sources = {file.source for node in reading.lab.nodes for file in node.files if file.source is not None}
    state, export = again(reading, {source: (path.parent / source).read_bytes() for source in sources})
    assert export.left_out == ()
    assert wanted_state(read(export.text.encode(), "again.yaml").lab) == state
    assert state_of_plain(plain_state(state)) == state


def _lab_of(case: Path) -> Reading | None:
    try:
        return read((case / "lab.yaml").read_bytes(), "lab.yaml")
    except LabFileError:
        return None


READABLE = [case for case in sorted(GOLDEN.iterdir()) if (case / "lab.yaml").exists() and _lab_of(case) is not None]


@pytest.mark.parametrize("case", READABLE, ids=lambda case: case.name)
def test_a_lab_with_warnings_is_the_same_after_its_export(case: Path) -> None:
    reading = _lab_of(case)
    assert reading is not None
    sources = {file.source for node in reading.lab.nodes for file in node.files if file.source is not None}
    _, export = again(reading, dict.fromkeys(sources, b"text\n"))
    assert export.left_out == ()


EVERYTHING = """
lab: everything
title: {en: "All: of it"}
switches: {s1: {mtu: 1400, ageing_time: 20, stp: {priority: 4096}, ports: {h1-up: {cost: 7}}}, s2: {}, s3: [k]}
cables: {core: [s1, s2], loop: [s2, s2], k: [s3]}
hosts:
  h1:
    hostname: first
    forwarding: true
    nics:
      up:
        {to: s1, ip: [10.0.0.1/24, "fd00::1/64"], mtu: 1400, mac: "02:00:00:00:00:01", peer: {mac: "02:00:00:00:00:02"}}
      e1: {to: h2.e1, ip: 10.1.0.1/30}
      free: {up: false}
      d: {to: s2, dhcp: true}
    bridges: {br0: {ports: {e1: {priority: 3}}, stp: true, ip: 10.9.0.1/24}, br1: {up: false}}
    vxlans:
      vx0: {vni: 5, local: 10.0.0.1, remotes: [10.0.0.2, 10.0.0.3], learning: false}
      vx1:
        fdb: [{mac: "02:00:00:00:00:09", dst: 10.0.0.3}]
        local: 10.0.0.1
        remote: 10.0.0.2
        vni: 6
        dev: up
        port: 8472
    macvlans: {m0: {parent: up, mode: private}}
    routes:
      - {to: default, via: 10.0.0.9}
      - {to: 10.5.0.0/16, type: blackhole}
      - {to: "fd01::/64", via: "fd00::9", metric: 7}
    sysctls: {net.ipv4.conf.all.rp_filter: "0"}
    files:
      /etc/one: "one line, no end"
      /etc/two: {text: "a: $x\\n  b #c\\n\\n", mode: "0755", owner: daemon}
      /etc/three: "\\ttab\\n"
    services:
      web:
        run: [busybox, httpd, -f, -p, "8080"]
        ready: {tcp: 8080, deadline: 5}
        env: {A: "1"}
        user: daemon
        restart: "no"
      dnsmasq: {dhcp-range: "10.9.0.10,10.9.0.20"}
    containers:
      c1: {nics: {eth0: {to: br0, ip: 10.9.0.2/24, gateway: 10.9.0.1}, x: {to: c2.x}}}
      c2: {nics: {x: {}, eth0: {to: host, peer: {name: v2, ip: 10.8.0.1/30}}}, macvlans: {m: {parent: h1.up}}}
  h2: {nics: {e1: {mtu: 1300}}}
"""


def test_everything_that_a_file_can_say_is_said_again() -> None:
    reading = read(EVERYTHING.encode(), "lab.yaml")
    state, export = again(reading)
    assert export.left_out == ()
    assert state_of_plain(plain_state(state)) == state


def test_what_no_file_can_say_is_named_in_words_and_in_a_comment() -> None:
    path = shipped_labs()["bridged-lan"]
    state = wanted_state(read(path.read_bytes(), str(path)).lab)
    nic = Interface(NodeName("host1"), NicName("eth0"))
    odd = State.of(
        [*state, OtherLink(Interface(NodeName("host1"), NicName("tun0")), "tun"),
         Neighbour(nic, ip_address("10.0.0.9"), Mac("02:00:00:00:00:09"))]
    )  # fmt: skip
    export = exported(odd, "bridged-lan", {})
    assert len(export.left_out) == 2
    assert "tun0" in " ".join(export.left_out) and "10.0.0.9" in " ".join(export.left_out)
    assert all(f"#   {line}" in export.text.splitlines() for line in export.left_out)
    assert wanted_state(read(export.text.encode(), "again.yaml").lab) == state


def test_a_hand_made_bridge_and_container_are_in_the_file() -> None:
    path = shipped_labs()["bridged-lan"]
    solved = wanted_state(read(path.read_bytes(), str(path)).lab)
    mac = Mac("02:11:22:33:44:55")
    by_hand = State.of(replace(thing, mac=mac) if isinstance(thing, Bridge) else thing for thing in solved)
    export = exported(by_hand, "bridged-lan", {}, {"en": "Mine"})
    assert export.left_out == ()
    assert "02:11:22:33:44:55" in export.text


@pytest.mark.parametrize(
    "data",
    [
        {}, [1], [{"is": "Nothing"}], [{"is": "Node"}], [{"is": "Node", "name": "a", "kind": "ship"}],
        [{"is": "Node", "name": "a", "kind": "host", "colour": 1}], [{"is": "Node", "name": 5, "kind": "host"}],
        [{"is": "Address", "interface": {"node": "a", "nic": "b"}, "address": "nowhere"}],
        [{"is": "Address", "interface": {"node": "a", "nic": "b"}, "address": 5}],
        [{"is": "Process", "node": "a", "name": "b", "argv": "ls"}],
        [{"is": "Process", "node": "a", "name": "b", "argv": ["ls"], "env": [["A"]]}],
        [{"is": ["Node"]}],
    ],
)  # fmt: skip
def test_what_is_no_state_is_refused(data: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        state_of_plain(data)


GOLDEN_EXPORT = """\
lab: golden
title: {en: "Two hosts: one \\"LAN\\""}
switches: {lan: {}}
hosts:
  h1:
    forwarding: true
    nics: {eth0: {to: lan}}
    bridges: {br0: {ports: [eth0], ip: 10.0.0.1/24, stp: {priority: 4096}}}
    files:
      /etc/motd: |
        Hello
          $you
    containers:
      c1:
        nics: {eth0: {to: br0, ip: 10.0.0.2/24, mtu: 1400, peer: {name: v1}}}
        routes: [{to: default, via: 10.0.0.1, dev: eth0}]
  h2:
    nics: {eth0: {to: lan, ip: 10.0.0.3/24}}
    services: {web: {run: [busybox, httpd, "-f"], ready: {tcp: 80}}}
"""


def test_an_export_reads_as_a_person_would_have_written_it() -> None:
    _, export = again(read(GOLDEN_EXPORT.encode(), "golden.yaml"))
    assert export.text == GOLDEN_EXPORT
