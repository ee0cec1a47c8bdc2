"""The lab sheet of the balanced service, done by hand with its own commands from what it gives (`--start`)."""

from __future__ import annotations

import re

import pytest
from conftest import Cli, until
from terminal import Terminal

pytestmark = [pytest.mark.kernel, pytest.mark.side_by_side]

VIP = "172.16.1.254"
KEEPALIVED = """\
vrrp_instance vrrpext {
        state BACKUP
        interface vbal1out_b
        virtual_router_id 12
        priority 150
        advert_int 1
        virtual_ipaddress {
                172.16.1.254
        }
}
"""
INDEX = """\
<html><body><h1>Esto es el servidor serv1</h1>
<p>El cliente que ha pedido esta pagina tiene direccion:
<?php
print_r($_SERVER['REMOTE_ADDR']);
?>
</body></html>
"""
HAPROXY = """\
frontend miservidor
  bind *:8000
  default_backend misServidores
backend misServidores
  balance roundrobin
  server serv1 10.0.0.1:80 check
  server serv2 10.0.0.2:80 check
  server serv3 10.0.0.3:80 check
"""


def written(path: str, text: str, how: str = ">") -> str:
    """A shell line that writes a text into a file."""
    return f"cat {how} {path} <<'THE-END'\n{text}THE-END"


def switch(cli: Cli, node: str, bridge: str, mac: str, *ports: str) -> None:
    """A bridge with STP on before its ports are up, and timers for the impatient."""
    cli.types(
        node,
        *(f"ifconfig {port} down" for port in ports),
        f"brctl addbr {bridge}",
        f"ifconfig {bridge} hw ether {mac}",
        f"brctl stp {bridge} on",
        f"brctl setfd {bridge} 2",
        f"brctl sethello {bridge} 1",
        f"brctl setmaxage {bridge} 6",
        *(f"brctl addif {bridge} {port}" for port in ports),
        *(f"ifconfig {port} up" for port in ports),
        f"ifconfig {bridge} up",
    )


def container(cli: Cli, host: str, name: str) -> None:
    """A container, launched inside its host."""
    cli.types(host, f"trenza launch {name}")


def wire(cli: Cli, host: str, name: str, outer: str, inner: str, bridge: str, address: str) -> None:
    """A pair of veths, one end in a bridge of the host, the other in a container with an address."""
    cli.types(
        host,
        f"ip link add {outer} type veth peer name {inner}",
        f"ip link set {inner} netns $(trenza info {name} | sed -n 's/^PID: //p')",
        f"brctl addif {bridge} {outer}",
        f"ifconfig {outer} up",
    )
    cli.types(name, f"ifconfig {inner} {address}")


def reaches(cli: Cli, source: str, destination: str) -> bool:
    return cli("exec", source, "--", "ping", "-n", "-c", "1", "-W", "1", destination).returncode == 0


def port_state(cli: Cli, node: str, bridge: str, port: str) -> str:
    """As `brctl showstp` has it."""
    shown = cli.types(node, f"brctl showstp {bridge}")
    found = re.search(rf"^{port} \(\d\)\n.*?state\s+(\w+)", shown, re.MULTILINE | re.DOTALL)
    assert found is not None, shown
    return found[1]


def page(cli: Cli, user: str) -> str:
    """What a browser gets; empty if it gets nothing."""
    return cli("exec", user, "--", "curl", "-s", "-m", "2", f"http://{VIP}:8000/").stdout


def servers(cli: Cli, user: str, requests: int = 6) -> list[str]:
    """The servers that answered requests in a row."""
    pages = (page(cli, user) for _ in range(requests))
    return [found[1] if (found := re.search(r"servidor (\w+)", one)) else "none" for one in pages]


def is_master(cli: Cli, balancer: str) -> bool:
    """By the balancer's own log, as the sheet says."""
    states = re.findall(r"Entering (\w+) STATE", cli.types(balancer, "cat /var/log/messages"))
    return states[-1:] == ["MASTER"]


def test_the_sheet_by_hand(cli: Cli) -> None:
    cli.ok("up", "balanced-web", "--start")
    outer_subnet(cli)
    balancers(cli)
    web_servers(cli)
    inner_subnet(cli)


def outer_subnet(cli: Cli) -> None:
    """Section 5."""
    switch(cli, "swout1", "swout1", "02:00:00:00:0a:01", "eth0", "eth1", "eth2")
    switch(cli, "swout2", "swout2", "02:00:00:00:0a:02", "eth0", "eth1", "eth2")
    switch(cli, "vm1", "vswout1", "02:00:00:00:0b:01", "enp0s8", "enp0s9")
    switch(cli, "vm2", "vswout2", "02:00:00:00:0b:02", "enp0s8", "enp0s9")
    cli.types("vm1", "ifconfig vswout1 172.16.1.150/24")
    cli.types("vm2", "ifconfig vswout2 172.16.1.151 netmask 255.255.255.0")
    cli.types("swout2", "brctl setbridgeprio swout2 4096")
    until(lambda: port_state(cli, "swout1", "swout1", "eth0") == "forwarding", 15, "the tree is made")
    for address in ("172.16.1.150", "172.16.1.151"):
        until(lambda address=address: reaches(cli, "user", address), 10, f"ping {address}")  # type: ignore[misc]
    assert "1000.020000000a02" in cli.types("swout1", "brctl showstp swout1 | grep 'designated root'")
    assert port_state(cli, "swout1", "swout1", "eth2") == "blocking"
    assert "is local?" in cli.types("swout2", "brctl showmacs swout2")
    # A costlier root port: the other one is forwarding instead, and without it, the first again.
    cli.types("swout1", "brctl setpathcost swout1 eth1 100")
    until(lambda: port_state(cli, "swout1", "swout1", "eth1") == "blocking", 10, "the cost counts")
    until(lambda: port_state(cli, "swout1", "swout1", "eth2") == "forwarding", 10, "the tree is made anew")
    cli.types("swout1", "ifconfig eth2 down")
    until(lambda: port_state(cli, "swout1", "swout1", "eth1") == "forwarding", 10, "the tree goes round")
    until(lambda: reaches(cli, "user", "172.16.1.151"), 5, "round about")
    cli.types("swout1", "ifconfig eth2 up", "brctl setpathcost swout1 eth1 2")


def balancers(cli: Cli) -> None:
    """Section 6."""
    cli.ok("launch", "vm1", "bal1")
    container(cli, "vm2", "bal2")
    for number, priority in ((1, 150), (2, 100)):
        balancer, end = f"bal{number}", f"vbal{number}out_b"
        nowhere = cli("exec", balancer, "--", "/etc/init.d/keepalived", "start")
        assert nowhere.returncode == 1
        assert "keepalived.conf is not there" in nowhere.stderr
        assert "OK: 4 packages" in cli.types(balancer, "apk update", "apk add keepalived haproxy curl tcpdump")
        wire(
            cli, f"vm{number}", balancer, end.removesuffix("_b"), end, f"vswout{number}", f"172.16.1.25{number - 1}/24"
        )
        text = KEEPALIVED.replace("vbal1out_b", end).replace("150", str(priority))
        cli.types(balancer, written("/etc/keepalived/keepalived.conf", text))
    with Terminal(cli, "sh", "bal1") as terminal:
        terminal.expect(r"# $")
        terminal.types("/etc/init.d/keepalived start\r")
        terminal.expect(r"Starting keepalived \.\.\. \[ ok \]")
        terminal.types("tail -f /var/log/messages\r")
        terminal.expect("Entering MASTER STATE")
        terminal.types("\x03")
        terminal.types("exit\r")
    cli.types("bal2", "/etc/init.d/keepalived start", "/etc/init.d/keepalived status")
    for address in ("172.16.1.250", "172.16.1.251", VIP):
        until(lambda address=address: reaches(cli, "user", address), 10, f"ping {address}")  # type: ignore[misc]
    until(lambda: is_master(cli, "bal1") and not is_master(cli, "bal2"), 10, "one master")
    cli.types("vm1", "ifconfig vswout1 down")
    until(lambda: is_master(cli, "bal2"), 10, "bal2 takes over")
    until(lambda: reaches(cli, "user2", VIP), 10, "the service goes on for user2")
    cli.types("vm1", "ifconfig vswout1 up")


def web_servers(cli: Cli) -> None:
    """Section 7."""
    cli.types("vm1", "brctl addbr vswin1", "ifconfig vswin1 up")
    cli.types("vm2", "brctl addbr vswin2", "ifconfig vswin2 up")
    for number, host in ((1, 1), (2, 1), (3, 2)):
        server = f"serv{number}"
        container(cli, f"vm{host}", server)
        wire(cli, f"vm{host}", server, f"v{server}", "eth0", f"vswin{host}", f"10.0.0.{number}/24")
        cli.types(
            server,
            "apk add apache2 php-apache2 tcpdump",
            written("/var/www/localhost/htdocs/index.php", INDEX.replace("serv1", server)),
            "/etc/init.d/apache2 start",
        )
    for number in (1, 2):
        balancer, end = f"bal{number}", f"vbal{number}in_b"
        wire(cli, f"vm{number}", balancer, f"vbal{number}in", end, f"vswin{number}", f"10.0.0.25{number - 1}/24")
        cli.types(balancer, written("/etc/haproxy/haproxy.cfg", HAPROXY, ">>"), "/etc/init.d/haproxy restart")
    assert reaches(cli, "bal1", "10.0.0.1")
    assert not reaches(cli, "bal1", "10.0.0.3")
    until(lambda: is_master(cli, "bal1") and not is_master(cli, "bal2"), 15, "bal1 is master again")
    until(lambda: set(servers(cli, "user")) == {"serv1", "serv2"}, 20, "two servers")
    shown = servers(cli, "user")
    assert shown in (["serv1", "serv2"] * 3, ["serv2", "serv1"] * 3)
    assert "10.0.0.250" in page(cli, "user")
    # bal1 loses the outer subnet.
    cli.types("vm1", "ifconfig vbal1out down")
    until(lambda: servers(cli, "user", 4) == ["serv3"] * 4, 15, "serv3 alone")
    assert "10.0.0.251" in page(cli, "user")
    cli.types("vm1", "ifconfig vbal1out up")


def inner_subnet(cli: Cli) -> None:
    """Section 8."""
    for here, there in ((1, 2), (2, 1)):
        cli.types(
            f"vm{here}",
            f"ip link add vx1 type vxlan id 42 local 172.16.1.{149 + here} remote 172.16.1.{149 + there} dstport 4789",
            f"brctl addif vswin{here} vx1",
            "ifconfig vx1 up",
        )
    inside = {"bal1": "10.0.0.250", "bal2": "10.0.0.251", "serv1": "10.0.0.1", "serv3": "10.0.0.3"}
    until(lambda: reaches(cli, "serv1", "10.0.0.3"), 15, "through the tunnel")
    for source in inside:
        for address in inside.values():
            until(lambda source=source, to=address: reaches(cli, source, to), 5, f"{source} → {address}")  # type: ignore[misc]
    until(lambda: servers(cli, "user", 3) != ["none"] * 3 and set(servers(cli, "user")) == {"serv1", "serv2", "serv3"},
          30, "three servers")  # fmt: skip
    with Terminal(cli, "exec", "vm2", "--", "tcpdump", "-n", "-i", "vswout2", "-c", "2", "udp port 4789") as terminal:
        terminal.expect("listening on vswout2")
        servers(cli, "user", 3)
        terminal.expect(r"172\.16\.1\.150\.\d+ > 172\.16\.1\.151\.4789: VXLAN.*vni 42")
    # Whoever else is in a host of daemons is left alone: a container's are not the host's.
    cli.types("vm1", written("/etc/haproxy/haproxy.cfg", HAPROXY, ">>"), "/etc/init.d/haproxy start")
    cli.types("vm1", "/etc/init.d/haproxy stop")
    assert "none" not in servers(cli, "user")
