"""Forwarded ports: a browser on this machine sees what one in a node would see."""

from __future__ import annotations

import hashlib
import http.client
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from conftest import Cli, until
from lives import keeper, kill

pytestmark = pytest.mark.kernel

LAB = """
lab: {lab}
switches: {{lan: {{}}}}
hosts:
  user: {{nics: {{eth0: {{to: lan, ip: [172.16.1.100/24, "fd00::100/64"]}}}}}}
  web:
    nics: {{eth0: {{to: lan, ip: [172.16.1.254/24, "fd00::254/64"]}}}}
    files:
      /srv/index.html: {{text: "hello from web"}}
      /opt/serve.py:
        text: |
          import hashlib, http.server
          class Handler(http.server.SimpleHTTPRequestHandler):
              def do_POST(self):
                  body = self.rfile.read(int(self.headers["Content-Length"]))
                  said = (hashlib.sha256(body).hexdigest() + " " + self.client_address[0]).encode()
                  self.send_response(200)
                  self.send_header("Content-Length", str(len(said)))
                  self.end_headers()
                  self.wfile.write(said)
          class Server(http.server.ThreadingHTTPServer):
              address_family = http.server.socket.AF_INET6
          Server(("::", 8000), lambda *given: Handler(*given, directory="/srv")).serve_forever()
    services:
      http: {{run: [python3, /opt/serve.py], ready: {{tcp: 8000}}}}
  elsewhere: {{}}
"""
LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def fetch(port: int, path: str = "/", *, host: str = "127.0.0.1", body: bytes | None = None) -> bytes:
    with LOCAL.open(f"http://{host}:{port}{path}", body, timeout=20) as answer:
        return bytes(answer.read())


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def ends(port: int) -> bool:
    """Whether a connection to the port is taken and ended without a word."""
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.settimeout(20)
        try:
            return sock.recv(1) == b""
        except ConnectionResetError:
            return True


def test_a_port_of_this_machine_leads_on_from_a_node(cli: Cli) -> None:
    cli.ok("up", cli.lab(LAB.format(lab="fwd")))
    port = free_port()
    out = cli.ok("forward", str(port), "user", "172.16.1.254:8000")
    assert out == f"http://localhost:{port} leads to 172.16.1.254:8000, seen from user\n"
    assert fetch(port) == b"hello from web"
    assert fetch(port, host="[::1]") == b"hello from web"
    big = bytes(range(256)) * 40_000
    assert fetch(port, "/", body=big).decode() == f"{hashlib.sha256(big).hexdigest()} ::ffff:172.16.1.100"
    cli.types("web", "head -c 30000000 /dev/zero > /srv/zeros; stat -c %s /srv/zeros")
    assert len(fetch(port, "/zeros")) == 30_000_000
    other = free_port()
    assert "lleva a [fd00::254]:8000" in cli.ok("--lang", "es", "forward", str(other), "user", "[fd00::254]:8000")
    assert fetch(other, body=b"x").split()[1] == b"fd00::100"
    listed = cli.json("forward")["forwards"]
    assert [(one["port"], one["node"], one["host"], one["to"], one["open"]) for one in listed] == [
        (port, "user", "172.16.1.254", 8000, True),
        (other, "user", "fd00::254", 8000, True),
    ]
    assert f"localhost:{port}" in cli.ok("forward")
    cli.ok("forward", "--stop", str(other))
    assert refused(other)
    assert fetch(port) == b"hello from web"
    cli.ok("down", "fwd")
    assert refused(port)


def test_only_loopback_unless_another_address_is_named(cli: Cli) -> None:
    cli.ok("up", cli.lab(LAB.format(lab="bind")))
    port = cli.json("forward", "0", "user", "172.16.1.254:8000")["forward"]["port"]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    places = {row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")}
    assert places == {f"0100007F:{port:04X}"}
    two = cli.json("forward", "127.0.0.2:0", "user", "172.16.1.254:8000")["forward"]["port"]
    assert fetch(two, host="127.0.0.2") == b"hello from web"
    assert refused(two)
    wide = cli("forward", "0.0.0.0:0", "user", "172.16.1.254:8000")
    assert wide.returncode == 0
    assert "whoever reaches 0.0.0.0" in wide.stderr


def test_what_cannot_be_is_refused_with_its_reason(cli: Cli) -> None:
    cli.ok("up", cli.lab(LAB.format(lab="bad")))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = cli("forward", str(port), "user", "172.16.1.254:8000")
        assert (result.returncode, f"port {port} of 127.0.0.1 is in use" in result.stderr) == (2, True)
    free = str(free_port())
    for words, said in (
        (("99999", "user", "172.16.1.254:80"), "port up to 65535"),
        ((free, "user", "172.16.1.254"), "write it as HOST:PORT"),
        ((free, "user", "web:80"), "is no IP address"),
        ((free, "nobody", "172.16.1.254:80"), "unknown node 'nobody'"),
        ((free, "user"), "which port, seen from which node"),
        (("192.0.2.7:8000", "user", "172.16.1.254:80"), "is no address of this machine"),
        (("--stop", free), f"port {free} is not forwarded"),
    ):
        result = cli("forward", *words)
        assert result.returncode == 2, (words, result.stderr)
        assert said in result.stderr, (words, result.stderr)
    assert refused(int(free)), "a refused forward leaves nothing open"
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) > 7:
        assert "needs rights" in cli("forward", "7", "user", "172.16.1.254:80").stderr
    assert cli.json("forward")["forwards"] == []


def test_what_cannot_be_reached_ends_the_connection_and_is_said(cli: Cli) -> None:
    cli.ok("up", cli.lab(LAB.format(lab="far")))
    port = free_port()
    cli.ok("forward", str(port), "elsewhere", "172.16.1.254:8000")
    assert ends(port)
    said = f"port {port}: 172.16.1.254:8000 cannot be reached from elsewhere: Network is unreachable"
    until(lambda: said in cli.ok("events"), what="the event")
    closed = free_port()
    cli.ok("forward", str(closed), "user", "172.16.1.254:1")
    assert ends(closed)
    until(lambda: "Connection refused" in cli.ok("events"), what="the event")
    cli.ok("stop", "user")
    assert ends(closed)
    until(lambda: "user is not running" in cli.ok("events"), what="the event")
    cli.ok("start", "user")
    assert ends(closed)
    assert "open" not in cli.ok("forward")


def test_a_port_refuses_as_long_as_nobody_listens_where_it_leads(cli: Cli) -> None:
    """A client of the API tries a connection that is taken and ended ten times; one that is refused it believes."""
    cli.ok("up", cli.lab(LAB.format(lab="shut")))
    port, loop = free_port(), free_port()
    cli.ok("forward", str(port), "web", "172.16.1.254:8000")
    cli.ok("forward", str(loop), "web", "[::1]:8001")
    assert fetch(port) == b"hello from web"
    assert refused(loop)
    cli.ok("fault", "kill", "web", "http")
    until(lambda: refused(port), what="the refusal")
    with socket.socket() as other, pytest.raises(OSError, match="in use"):  # it is still ours
        other.bind(("127.0.0.1", port))
    cli.ok("heal")
    until(lambda: not refused(port), what="the port")
    assert fetch(port) == b"hello from web"
    assert refused(loop)
    cli.types("web", "python3 -m http.server --bind :: -d /srv 8001 </dev/null >/dev/null 2>&1 &")
    until(lambda: not refused(loop), what="the other port")
    assert fetch(loop) == b"hello from web"
    cli.ok("forward", "--stop", str(port))
    cli.ok("forward", "--stop", str(loop))


def test_a_forwarded_port_is_opened_again_by_whoever_starts_the_next_keeper(cli: Cli) -> None:
    path = cli.lab(LAB.format(lab="again"))
    cli.ok("up", path)
    port, lost = free_port(), free_port()
    cli.ok("forward", str(port), "user", "172.16.1.254:8000")
    cli.ok("forward", str(lost), "user", "172.16.1.254:8000")
    kill(keeper(cli, "again"))
    until(lambda: keeper(cli, "again") is None, what="the keeper's end")
    until(lambda: refused(port) and refused(lost), what="the ports' end")
    with socket.create_server(("127.0.0.1", lost)):
        cli.ok("show")
        assert fetch(port) == b"hello from web"
        assert f"port {lost} is taken by another program" in cli.ok("events")
        assert {one["port"]: one["open"] for one in cli.json("forward")["forwards"]} == {port: True, lost: False}
    cli.ok("up", path)
    assert fetch(port) == b"hello from web", "`up` forgets no port"
    cli.ok("forward", "--stop", str(lost))
    assert [one["port"] for one in cli.json("forward")["forwards"]] == [port]


def test_a_slow_reader_slows_the_sender_and_a_stopped_node_ends_its_connections(cli: Cli) -> None:
    cli.ok("up", cli.lab(LAB.format(lab="slow")))
    cli.types("web", "truncate -s 200M /srv/sparse")
    port = free_port()
    cli.ok("forward", str(port), "user", "172.16.1.254:8000")
    pid = keeper(cli, "slow")

    def resident_kb() -> int:
        status = Path(f"/proc/{pid}/status").read_text().split()
        return int(status[status.index("VmRSS:") + 1])

    before = resident_kb()
    slow = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    slow.request("GET", "/sparse")
    answer = slow.getresponse()
    assert len(answer.read(1 << 20)) == 1 << 20
    for _ in range(20):  # others get through meanwhile
        assert fetch(port) == b"hello from web"
    assert resident_kb() - before < 10_000
    until(lambda: cli.json("forward")["forwards"][0]["connections"] == 1, what="one connection")
    cli.ok("stop", "user")
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        while answer.read(1 << 20):
            pass
        raise http.client.IncompleteRead(b"")
    slow.close()
    assert cli.json("forward")["forwards"][0]["connections"] == 0
    with pytest.raises((urllib.error.URLError, ConnectionError, http.client.HTTPException)):
        fetch(port)
