"""Connections, pages, who served them, and names, asked of real daemons."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest
from asking_ground import here, netns, running, serving, until
from grounds import Ground, ground, star

from trenza.errors import KernelError, UsageError
from trenza.linux.asking.dns import DnsSaid, resolve
from trenza.linux.asking.http import http_get
from trenza.linux.asking.served import ServerWatch
from trenza.linux.asking.tcp import Outcome, connect

pytestmark = pytest.mark.kernel

OK = b"HTTP/1.1 200 OK\r\nServer: liar\r\nContent-Length: 5\r\n\r\nserv1"


def test_a_connection_is_accepted_refused_left_waiting_or_cannot_be() -> None:
    with ground() as place:
        place.become(star(2))
        h0, there = netns(place, "h0"), ip_address("10.0.0.2")
        with serving(place, "h1", "10.0.0.2", OK):
            accepted = connect(h0, there, 80)
        assert (accepted.outcome, accepted.error) == (Outcome.ACCEPTED, None)
        refused = connect(h0, there, 81)
        assert (refused.outcome, refused.error) == (Outcome.REFUSED, "connection refused")
        place.run("h1", "nft 'table ip t { chain c { type filter hook input priority 0; tcp dport 82 drop; }; }'")
        silent = connect(h0, there, 82, timeout_s=0.1)
        assert silent.outcome is Outcome.SILENT
        assert 0.1 <= silent.seconds < 1
        place.run("h0", "ip route del default")
        nowhere = connect(h0, ip_address("192.0.2.1"), 80)
        assert (nowhere.outcome, nowhere.error) == (Outcome.UNREACHABLE, "network is unreachable")
        with pytest.raises(KernelError):
            connect(9999, there, 80)


def test_a_page_is_read_whole_and_what_is_no_page_is_told() -> None:
    with ground() as place:
        place.become(star(2))
        h0, there, home = netns(place, "h0"), ip_address("10.0.0.2"), here()
        with serving(place, "h1", "10.0.0.2", OK) as requests:
            said = http_get(h0, there, 80, "/a?b=c", host="web.lab", headers={"X-Ask": "1"})
        assert (said.status, said.reason, said.body, said.error) == (200, "OK", b"serv1", None)
        assert ("server", "liar") in said.headers
        assert requests[0].startswith(b"GET /a?b=c HTTP/1.1\r\nHost: web.lab\r\nX-Ask: 1\r\n")
        cases = {b"SSH-2.0-x\r\n": "no HTTP answer", b"HTTP/1.1 200 OK\r\nContent-": "closed within the head"}
        for port, (answer, words) in enumerate(cases.items(), 81):
            with serving(place, "h1", "10.0.0.2", answer, port):
                said = http_get(h0, there, port)
            assert said.status is None
            assert words in str(said.error)
        with serving(place, "h1", "10.0.0.2", b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300_000, 84):
            assert len(http_get(h0, there, 84).body) == 256 << 10
        assert http_get(h0, there, 85).error == "connection refused"
        with pytest.raises(UsageError):
            http_get(h0, there, 80, "/ HTTP/1.1\r\nX: y")
        assert here() == home


def test_a_server_that_drips_does_not_hold_us() -> None:
    with ground() as place:
        place.become(star(2))
        with place.home.inside(netns(place, "h1")):
            server = socket.create_server(("10.0.0.2", 80))
        done = threading.Event()

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while not done.wait(0.01):
                    try:
                        connection.sendall(b"X: y\r\n")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        begin = time.monotonic()
        said = http_get(netns(place, "h0"), ip_address("10.0.0.2"), timeout_s=0.2)
        assert said.error == "connection timed out"
        assert time.monotonic() - begin < 1
        done.set()
        thread.join()
        server.close()


@contextmanager
def balanced(place: Ground, directory: Path) -> Iterator[None]:
    """haproxy in h1 before h2 and h3, which both say that they are serv1."""
    place.become(star(4))
    config = directory / "haproxy.cfg"
    config.write_text(
        "defaults\n mode http\n timeout connect 2s\n timeout client 5s\n timeout server 5s\n"
        "frontend f\n bind 10.0.0.2:80\n default_backend b\n"
        "backend b\n balance roundrobin\n server a 10.0.0.3:80\n server c 10.0.0.4:80\n"
    )
    with ExitStack() as stack:
        for name, address in (("h2", "10.0.0.3"), ("h3", "10.0.0.4")):
            stack.enter_context(serving(place, name, address, OK))
        stack.enter_context(running(place, "h1", ["haproxy", "-db", "-f", str(config)]))
        until(lambda: http_get(netns(place, "h0"), ip_address("10.0.0.2")).status == 200, "haproxy")
        yield


def test_who_served_is_seen_whatever_the_page_says(tmp_path: Path) -> None:
    with ground() as place, balanced(place, tmp_path):
        servers = {name: [netns(place, name)] for name in ("h2", "h3")}
        with ServerWatch(servers, "n0nce") as watch:
            for number in range(200):
                said = http_get(netns(place, "h0"), ip_address("10.0.0.2"), 80, f"/?trenza=n0nce-{number}")
                assert said.body == b"serv1"
                if number == 6:
                    assert set(watch.seen()) == set(range(7))
            http_get(netns(place, "h0"), ip_address("10.0.0.2"), 80, "/?trenza=other-1")
        seen = watch.seen()
        assert watch.dropped() == 0
        assert set(seen) == set(range(200))
        shares = Counter(name for names in seen.values() for name in names)
        assert shares == {"h2": 100, "h3": 100}
        with ServerWatch({"balancer": [netns(place, "h1")], **servers}, "again") as watch:
            http_get(netns(place, "h0"), ip_address("10.0.0.2"), 80, "/?trenza=again-0")
        assert set(watch.seen()) == {0}
        assert "balancer" in watch.seen()[0]
        assert len(watch.seen()[0]) == 2
        with pytest.raises(KernelError), ServerWatch({"gone": [9999]}, "n"):
            pass


NAMES = [
    "dnsmasq", "-d", "-C", "/dev/null", "-u", "root", "--pid-file=", "--no-resolv", "--no-hosts", "-i", "eth0",
    "--host-record=web.lab,10.0.0.80,fd00::80", "--cname=www.lab,web.lab", "--local=/lab/",
    *(f"--txt-record=big.lab,{'x' * 90}{number}" for number in range(20)),
]  # fmt: skip


def test_names_are_resolved_by_a_real_server() -> None:
    with ground() as place:
        place.become(star(2))
        h0, server = netns(place, "h0"), ip_address("10.0.0.2")
        assert place.pings("h0", "10.0.0.2")
        assert resolve(h0, server, "web.lab", timeout_s=1) == DnsSaid(None, error="connection refused")
        with running(place, "h1", NAMES):
            until(lambda: resolve(h0, server, "web.lab").rcode == "NOERROR", "dnsmasq")
            assert resolve(h0, server, "web.lab") == DnsSaid("NOERROR", ("10.0.0.80",))
            assert resolve(h0, server, "WEB.lab.", "aaaa") == DnsSaid("NOERROR", ("fd00::80",))
            assert resolve(h0, server, "www.lab") == DnsSaid("NOERROR", ("10.0.0.80",))
            assert resolve(h0, server, "www.lab", "CNAME") == DnsSaid("NOERROR", ("web.lab",))
            assert resolve(h0, server, "10.0.0.80", "PTR") == DnsSaid("NOERROR", ("web.lab",))
            assert resolve(h0, server, "none.lab") == DnsSaid("NXDOMAIN")
            big = resolve(h0, server, "big.lab", "TXT")
            assert (big.rcode, len(big.answers)) == ("NOERROR", 20)  # more than a datagram holds: over TCP
        with pytest.raises(UsageError):
            resolve(h0, server, "web.lab", "NONSENSE")


def test_answers_to_another_question_are_not_believed() -> None:
    with ground() as place:
        place.become(star(2))
        with place.home.inside(netns(place, "h1")):
            server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            server.bind(("10.0.0.2", 53))
        asked: list[bytes] = []

        def lie() -> None:
            while True:
                data, client = server.recvfrom(4096)
                if data == b"end":
                    return
                asked.append(data)
                server.sendto(b"garbage", client)
                number = struct.unpack_from("!H", data)[0]
                server.sendto(struct.pack("!HH", number ^ 1, 0x8180) + data[4:], client)

        thread = threading.Thread(target=lie)
        thread.start()
        said = resolve(netns(place, "h0"), ip_address("10.0.0.2"), "web.lab", timeout_s=0.4)
        assert said == DnsSaid(None, error="no answer")
        assert len(asked) == 2  # once again in silence
        with place.home.inside(netns(place, "h1")), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            place.run("h1", "ip link set lo up")
            end.sendto(b"end", ("10.0.0.2", 53))
        thread.join(5)
        assert not thread.is_alive()
        server.close()
