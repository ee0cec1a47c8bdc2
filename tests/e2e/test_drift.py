"""What people change by hand is named by `plan` and repaired alone by `up`, or kept where the lab is theirs."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from conftest import Cli, until
from lives import SINGLE_ID, dice, pings, soak

pytestmark = pytest.mark.kernel

LAB = """\
lab: {lab}
switches: {{lan: {{}}}}
hosts:
  h1:
    forwarding: true
    nics: {{eth0: {{to: lan, ip: 10.1.0.1/24}}}}
    bridges:
      br0: {{ip: 192.168.1.1/24}}
      tree: {{stp: {{priority: 4096, forward_delay: 4, hello_time: 1, max_age: 6}}, ageing_time: 100}}
    vxlans: {{vx1: {{vni: 42, local: 10.1.0.1, remotes: [10.1.0.2, 10.1.0.3], ip: 10.42.0.1/24}}}}
    routes: [{{to: 192.168.2.0/24, via: 10.1.0.2}}, {{to: 10.9.0.0/16, via: 10.1.0.2, metric: 50}}]
    sysctls: {{net.ipv4.conf.all.rp_filter: '0'}}
    files: {{/etc/app.conf: {{text: "one\\n", mode: '0640'}}}}
    services: {{beat: {{run: [sleep, '77777'], restart: 'no'}}}}
    containers:
      c1: {{nics: {{eth0: {{to: br0, ip: 192.168.1.11/24, gateway: 192.168.1.1, peer: v1}}}}}}
      c2: {{nics: {{eth0: {{to: br0, ip: 192.168.1.12/24, gateway: 192.168.1.1, peer: v2}}}}}}
  h2:
    forwarding: true
    nics: {{eth0: {{to: lan, ip: 10.1.0.2/24}}}}
    routes: [{{to: 192.168.1.0/24, via: 10.1.0.1}}]
    containers:
      c3:
        nics: {{eth0: {{to: host, ip: 192.168.2.2/30, gateway: 192.168.2.1, peer: {{name: v3, ip: 192.168.2.1/30}}}}}}
"""


@dataclass(frozen=True)
class Edit:
    """What somebody types in a node, the line by which `plan` must name it, and the lines it may add for what stood

    on the thing (patterns of whole lines, without the node where `also` holds none).
    """

    node: str
    typed: str
    named: str
    also: tuple[str, ...] = ()


H1_ROUTES = (r"\+ h1: route (192\.168\.2\.0/24|10\.9\.0\.0/16) via 10\.1\.0\.2 dev eth0.*",)
C1_ROUTE = (r"\+ h1/c1: route default via 192\.168\.1\.1 dev eth0",)
EDITS = (
    # up and down
    Edit("c1", "ip link set eth0 down", r"~ h1/c1\.eth0: state down → up", C1_ROUTE),
    Edit("h1", "ip link set eth0 down", r"~ h1\.eth0: state down → up", H1_ROUTES),
    Edit("h1", "ifconfig v1 down", r"~ h1\.v1: state down → up"),
    Edit("h1", "ip link set br0 down", r"~ h1\.br0: state down → up"),
    Edit("lan", "ip link set lan down", r"~ lan\.lan: state down → up"),
    Edit("h1", "ip link set tree down", r"~ h1\.tree: state down → up"),
    Edit("h1", "ip link set lo down", r"~ h1\.lo: state down → up"),
    # MTU, MAC
    Edit("c2", "ip link set eth0 mtu 1400", r"~ h1/c2\.eth0: mtu 1400 → 1500"),
    Edit("h1", "ip link set br0 mtu 1300", r"~ h1\.br0: mtu 1300 → 1500"),
    Edit("h1", "ip link set vx1 mtu 1200", r"~ h1\.vx1: mtu 1200 → 1450"),
    Edit("c1", "ip link set eth0 address 02:00:00:00:00:99", r"~ h1/c1\.eth0: mac 02:00:00:00:00:99 → \S+", C1_ROUTE),
    Edit("h1", "ip link set br0 address 02:00:00:00:00:98", r"~ h1\.br0: mac 02:00:00:00:00:98 → \S+"),
    # addresses
    Edit("c1", "ip addr add 10.5.5.5/24 dev eth0", r"- h1/c1\.eth0: address 10\.5\.5\.5/24"),
    Edit("h2", "ip addr add fd00::7/64 dev eth0", r"- h2\.eth0: address fd00::7/64"),
    Edit("c1", "ip addr del 192.168.1.11/24 dev eth0", r"\+ h1/c1\.eth0: address 192\.168\.1\.11/24", C1_ROUTE),
    Edit("h1", "ip addr flush dev br0", r"\+ h1\.br0: address 192\.168\.1\.1/24"),
    # routes
    Edit("h1", "ip route add 10.77.0.0/16 via 10.1.0.2", r"- h1: route 10\.77\.0\.0/16 via 10\.1\.0\.2 dev eth0"),
    Edit("h2", "ip route add blackhole 10.66.0.0/16", r"- h2: route blackhole 10\.66\.0\.0/16"),
    Edit("h1", "ip route del 10.9.0.0/16", r"\+ h1: route 10\.9\.0\.0/16 via 10\.1\.0\.2 dev eth0 metric 50"),
    Edit("c3", "ip route del default", r"\+ h2/c3: route default via 192\.168\.2\.1 dev eth0"),
    Edit(
        "h1", "ip route change 192.168.2.0/24 via 10.1.0.9", r"\+ h1: route 192\.168\.2\.0/24 via 10\.1\.0\.2 dev eth0",
        (r"- h1: route 192\.168\.2\.0/24 via 10\.1\.0\.9 dev eth0",),
    ),
    # ports
    Edit("h1", "ip link set v1 nomaster", r"~ h1\.v1: bridge none → br0"),
    Edit("h1", "brctl delif br0 v2", r"~ h1\.v2: bridge none → br0"),
    Edit("h1", "ip link set v1 nomaster; brctl addif tree v1", r"~ h1\.v1: bridge tree → br0"),
    Edit("h1", "brctl addif br0 vx1", r"~ h1\.vx1: bridge br0 → none"),
    Edit("h1", "bridge link set dev v1 cost 77", r"~ h1\.v1: cost 77 → .*"),
    # bridges' options
    Edit("h1", "brctl setbridgeprio tree 8192", r"~ h1\.tree: priority 8192 → 4096"),
    Edit("h1", "brctl setfd tree 6", r"~ h1\.tree: forward_delay 6 → 4"),
    Edit("h1", "ip link set tree type bridge stp_state 0", r"~ h1\.tree: stp off → on"),
    Edit("h1", "brctl setageing tree 50", r"~ h1\.tree: ageing_time 50 → 100"),
    Edit("h1", "brctl stp br0 on", r"~ h1\.br0: stp on → off"),
    # sysctls
    Edit("h1", "sysctl -w net.ipv4.ip_forward=0", r"~ h1: net\.ipv4\.ip_forward 0 → 1"),
    Edit("c1", "sysctl -w net.ipv4.ip_forward=1", r"~ h1/c1: net\.ipv4\.ip_forward 1 → 0"),
    Edit("h1", "sysctl -w net.ipv4.conf.all.rp_filter=2", r"~ h1: net\.ipv4\.conf\.all\.rp_filter 2 → 0"),
    # FDB and neighbours
    Edit(
        "h1", "bridge fdb add 02:00:00:00:00:77 dev v1 master static", r"- h1\.v1: static entry 02:00:00:00:00:77"
    ),
    Edit(
        "h1", "bridge fdb del 00:00:00:00:00:00 dev vx1 dst 10.1.0.3", r"\+ h1\.vx1: static entry \* dst 10\.1\.0\.3"
    ),
    Edit(
        "c1", "ip neigh replace 192.168.1.12 lladdr 02:00:00:00:00:55 dev eth0",
        r"- h1/c1\.eth0: neighbour 192\.168\.1\.12 is at 02:00:00:00:00:55",
    ),
    # links
    Edit("h1", "ip link add extra type bridge", r"- h1: bridge extra, down"),
    Edit("c1", "ip link add va type veth peer name vb", r"- h1/c1\.va: cable to h1/c1\.vb.*"),
    Edit("h2", "ip link add mv0 link eth0 type macvlan mode bridge", r"- h2: macvlan mv0 over h2\.eth0.*"),
    Edit(
        "c1", "ip link del eth0", r"\+ h1\.v1: cable to h1/c1\.eth0.*",
        (*C1_ROUTE, r"\+ h1/c1\.eth0: address 192\.168\.1\.11/24"),
    ),
    Edit(
        "h2", "ip link del v3", r"\+ h2\.v3: cable to h2/c3\.eth0.*",
        (r"\+ h2\.v3: address .*", r"\+ h2/c3\.eth0: address .*", r"\+ h2/c3: route default .*"),
    ),
    Edit(
        "h1", "ip link del br0", r"\+ h1: bridge br0",
        (r"\+ h1\.br0: address 192\.168\.1\.1/24", r"~ h1\.v[12]: bridge none → br0"),
    ),
    Edit("h1", "ip link set tree down; brctl delbr tree", r"\+ h1: bridge tree, STP"),
    Edit(
        "h1", "ip link del vx1", r"\+ h1: vxlan vx1, vni 42.*",
        (r"\+ h1\.vx1: static entry .*", r"\+ h1\.vx1: address 10\.42\.0\.1/24"),
    ),
    # files and services
    Edit("h1", "echo two > /etc/app.conf", r"~ h1: file /etc/app\.conf \(content\)"),
    Edit("h1", "chmod 644 /etc/app.conf", r"~ h1: file /etc/app\.conf \(mode 644 → 640\)"),
    Edit("h1", "chown daemon /etc/app.conf", r"~ h1: file /etc/app\.conf \(owner .* → root\)"),
    Edit("h1", "rm /etc/app.conf", r"\+ h1: file /etc/app\.conf"),
    Edit("h1", "pkill -x -f 'sleep 77777'", r"\+ h1: process beat"),
)  # fmt: skip


def lines_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()[:2] in ("+ ", "- ", "~ ")]


def test_edits_by_hand_are_each_named_and_repaired_alone(cli: Cli) -> None:
    random = dice("edits")
    path = cli.lab(LAB.format(lab="drifting"))
    cli.ok("up", path, "--wait")
    count = 200 if soak() else 60
    edits = [one for one in EDITS if not (SINGLE_ID and "chown" in one.typed)]
    while len(edits) < count:
        edits.append(random.choice(edits))
    random.shuffle(edits)
    for number, edit in enumerate(edits):
        what = f"edit {number}: {edit.node}: {edit.typed}"
        cli.ok("exec", edit.node, "--", "sh", "-c", edit.typed)
        if edit.typed.startswith("pkill"):
            until(lambda: cli("plan", path).returncode == 1, what=what)
        plan = cli("plan", path)
        lines = lines_of(plan.stdout)
        assert plan.returncode == 1, f"{what} is not named\n{plan.stdout}{plan.stderr}"
        assert any(re.fullmatch(edit.named, line) for line in lines), f"{what}\nnot named in {lines}"
        strange = [line for line in lines if not any(re.fullmatch(one, line) for one in (edit.named, *edit.also))]
        assert not strange, f"{what}\nnames more: {strange}"
        repaired = cli.ok("up", path)
        assert lines_of(repaired) == lines, f"{what}\n`up` did something else than `plan` said"
        plan = cli("plan", path)
        assert plan.returncode == 0, f"{what} is not repaired\n{plan.stdout}{plan.stderr}"
        pings(cli, "c1", "192.168.2.2")
        pings(cli, "c2", "192.168.1.11")


KEPT = (
    ("c1", "ip link set eth0 mtu 1400", "cat /sys/class/net/eth0/mtu", "1400"),
    ("c2", "ip link set eth0 address 02:00:00:00:00:99", "cat /sys/class/net/eth0/address", "02:00:00:00:00:99"),
    ("c1", "ip addr add 10.5.5.5/24 dev eth0", "ip -o addr show dev eth0", "10.5.5.5/24"),
    ("h1", "ip route add 10.77.0.0/16 via 10.1.0.2", "ip route", "10.77.0.0/16 via 10.1.0.2"),
    ("h1", "ip route change 192.168.2.0/24 via 10.1.0.9", "ip route", "192.168.2.0/24 via 10.1.0.9"),
    ("h1", "brctl delif br0 v2", "ls /sys/class/net/v2", "!brport"),
    ("h1", "brctl setbridgeprio tree 8192", "cat /sys/class/net/tree/bridge/bridge_id", "2000."),
    ("h1", "sysctl -w net.ipv4.ip_forward=0", "cat /proc/sys/net/ipv4/ip_forward", "0"),
    ("h1", "bridge fdb add 02:00:00:00:00:77 dev v1 master static", "bridge fdb", "02:00:00:00:00:77 dev v1"),
    ("c1", "ip neigh add 192.168.1.50 lladdr 02:00:00:00:00:55 dev eth0", "ip neigh", "02:00:00:00:00:55 PERMANENT"),
    ("h1", "ip link add extra type bridge", "ls /sys/class/net", "extra"),
    ("h2", "ip link set v3 down", "cat /sys/class/net/v3/flags", "0x1002"),
    ("h1", "echo two > /etc/app.conf", "cat /etc/app.conf", "two"),
)  # fmt: skip
RESTORED = (
    ("h1", "ip route del 10.9.0.0/16", "ip route", "10.9.0.0/16 via 10.1.0.2"),
    ("h1", "ip link del vx1", "ls /sys/class/net", "vx1"),
    ("h1", "pkill -x -f 'sleep 77777'", "pgrep -fa 77777", "sleep 77777"),
    ("h2", "ip addr del 10.1.0.2/24 dev eth0", "ip -o addr show dev eth0", "10.1.0.2/24"),
)
NAMED = (
    r"h1/c1\.eth0: mtu .*1400", r"h1/c2\.eth0: mac .*02:00:00:00:00:99", r"h1/c1\.eth0: address 10\.5\.5\.5/24",
    r"h1: route 10\.77\.0\.0/16", r"h1: route 192\.168\.2\.0/24 via 10\.1\.0\.9", r"h1\.v2: bridge",
    r"h1\.tree: priority",
    r"h1: net\.ipv4\.ip_forward", r"h1\.v1: static entry 02:00:00:00:00:77", r"neighbour 192\.168\.1\.50",
    r"h1: bridge extra", r"h2\.v3: state", r"h1: file /etc/app\.conf",
)  # fmt: skip


def test_in_a_lab_of_hers_up_restores_what_is_missing_and_says_what_it_left_alone(cli: Cli) -> None:
    path = cli.lab(LAB.format(lab="hers"))
    cli.ok("up", path, "--start", "--wait")
    for node, typed, *_ in (*KEPT, *RESTORED):
        cli.ok("exec", node, "--", "sh", "-c", typed)
    said = cli.ok("up", path)
    for node, typed, look, expected in (*KEPT, *RESTORED):
        seen = cli.ok("exec", node, "--", "sh", "-c", look)
        if expected.startswith("!"):
            assert expected[1:] not in seen, f"{node}: {typed}\n{seen}\n{said}"
        else:
            assert expected in seen, f"{node}: {typed}\n{seen}\n{said}"
    alone = said.partition("left alone")[2]
    for pattern in NAMED:
        assert re.search(pattern, alone), f"{pattern} is not named in\n{alone}"
    assert not [line for line in lines_of(said) if line.startswith("- ")], said
    plan = cli("plan", path)
    assert plan.returncode == 0, plan.stdout
    assert "left alone" in plan.stdout


def test_what_is_deleted_in_a_lab_of_hers_comes_back_with_what_stood_on_it(cli: Cli) -> None:
    path = cli.lab(LAB.format(lab="back"))
    cli.ok("up", path, "--start")
    for node, typed in (
        ("c1", "ip link del eth0"),
        ("h1", "ip link del br0"),
        ("h2", "ip link del eth0"),
        ("h1", "rm /etc/app.conf"),
    ):
        cli.ok("exec", node, "--", "sh", "-c", typed)
    cli.ok("up", path)
    assert cli("plan", path).returncode == 0
    assert cli.ok("exec", "h1", "--", "cat", "/etc/app.conf") == "one\n"
    pings(cli, "c1", "192.168.2.2")
    pings(cli, "c2", "192.168.1.11")


MONITOR = "nohup ip -o monitor link address route rule netconf > /tmp/monitor 2>&1 &"
MARK = "ip link add {0} type bridge; ip link del {0}"


def test_the_second_up_writes_nothing_to_the_kernel(cli: Cli) -> None:
    path = cli.lab(LAB.format(lab="still"))
    cli.ok("up", path, "--wait")
    nodes = ("lan", "h1", "h2", "h1/c1", "h1/c2", "h2/c3")

    def heard(node: str) -> str:
        return cli.ok("exec", node, "--", "cat", "/tmp/monitor")

    def mark(node: str, name: str) -> None:
        def marked() -> bool:
            cli.ok("exec", node, "--", "sh", "-c", MARK.format(name))
            return name in heard(node)

        until(marked, what=f"{node} hears of {name}")

    for node in nodes:
        cli.ok("exec", node, "--", "sh", "-c", MONITOR)
        mark(node, "before")
    assert "as it should be" in cli.ok("up", path)
    assert cli("plan", path).returncode == 0
    assert "as it should be" in cli.ok("up", path)
    for node in nodes:
        mark(node, "after")
        # Neither our marks, also after their names are gone, nor the kernel's own link-local addresses
        between = [line for line in heard(node).splitlines() if not re.search(r"before|after|\bif\d|fe80::", line)]
        assert not between, f"{node}:\n" + "\n".join(between)
