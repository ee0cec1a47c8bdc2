"""Probes between real namespaces: what they measure is what happened."""

from __future__ import annotations

import itertools
import socket
import threading
import time

import pytest
from grounds import Ground, end, ground, star

from trenza.fault.outage import Watched, read_outage
from trenza.fault.probes import parse_probe
from trenza.linux.prober import Prober, Vantage
from trenza.model.names import NodeName
from trenza.model.state import Veth, veth
from trenza.plan.operations import Change

pytestmark = pytest.mark.kernel


def vantage(place: Ground, text: str) -> Vantage:
    probe = parse_probe(text)
    return Vantage(probe, place.nodes.alive()[NodeName(probe.source)].netns, probe.target)


def good(watched: Watched) -> int:
    return sum(sample.answered_s is not None for sample in watched.samples)


def await_good(prober: Prober, count: int, deadline_s: float = 5) -> None:
    until = time.monotonic() + deadline_s
    while any(good(watched) < count for watched in prober.watched()):
        assert time.monotonic() < until, [watched.samples[-3:] for watched in prober.watched()]
        time.sleep(0.01)


def test_a_cable_that_is_gone_for_a_while_is_missed_for_as_long() -> None:
    with ground() as place:
        place.become(star(2))
        up = veth(end("h1", "eth0"), end("lan", "h1-eth0", "lan"))
        down = veth(end("h1", "eth0"), end("lan", "h1-eth0", "lan", up=False))
        assert isinstance(up, Veth)
        # Only one side asks: who asks for an address in vain asks again a second later, and would lengthen it.
        prober = Prober([vantage(place, "ping h0 -> 10.0.0.2")])
        prober.start()
        try:
            await_good(prober, 20)
            broken_s = time.time()
            place.kernel.perform((Change(up, down),))
            until = time.monotonic() + 0.3
            while time.monotonic() < until:
                time.sleep(0.01)
            place.kernel.perform((Change(down, up),))
            mended_s = time.time()
            before = [good(watched) for watched in prober.watched()]
            await_good(prober, max(before) + 60)
            until = time.monotonic() + 1.2
            while time.monotonic() < until:  # what was lost is known to be so after its second
                time.sleep(0.01)
        finally:
            prober.stop()
        for watched in prober.watched():
            found = read_outage(watched.probe, watched.samples, (), broken_s)
            assert found.harmed
            assert found.seconds is not None
            step = watched.probe.interval_s
            assert mended_s - broken_s - 2 * step <= found.seconds <= mended_s - broken_s + 2 * step + 0.1


def test_connections_are_answered_refused_or_left_waiting() -> None:
    with ground() as place:
        place.become(star(3))
        with place.home.inside(place.nodes.alive()[NodeName("h1")].netns):
            server, silent = socket.create_server(("10.0.0.2", 80)), socket.create_server(("10.0.0.2", 82))

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<h1>hello</h1>")

        threading.Thread(target=serve, daemon=True).start()
        asked = [
            "http h0 -> http://10.0.0.2/",
            "tcp h0 -> 10.0.0.2:80",
            "tcp h2 -> 10.0.0.2:81",
            "http h2 -> 10.0.0.2:82",
        ]
        prober = Prober([vantage(place, text) for text in asked])
        prober.start()
        until = time.monotonic() + 3
        while time.monotonic() < until:
            time.sleep(0.01)
        prober.stop()
        server.close()
        silent.close()
        web, tcp, refused, waiting = prober.watched()
        assert good(web) > 50
        assert {sample.note for sample in web.samples} == {"hello"}
        assert good(tcp) > 50
        assert {sample.note for sample in refused.samples} == {"connection refused"}
        assert good(refused) == 0
        assert {sample.note for sample in waiting.samples} == {"no answer"}
        assert waiting.waiting_since_s is not None


def test_each_connection_comes_from_the_next_port_that_is_free() -> None:
    with ground() as place:
        place.become(star(2))
        home, nodes = place.home, place.nodes.alive()
        with home.inside(nodes[NodeName("h1")].netns):
            server = socket.create_server(("10.0.0.2", 80))
        server.settimeout(5)
        prober = Prober([vantage(place, "tcp h0 -> 10.0.0.2:80")])
        prober.start()
        taken = None
        ports: list[int] = []
        try:
            while len(ports) < 60:
                connection, (_, port) = server.accept()
                connection.close()
                ports.append(port)
                if taken is None and port + 30 in range(32768, 61000):
                    with home.inside(nodes[NodeName("h0")].netns):
                        taken = socket.create_server(("", port + 30))
                        skipped = port + 30
        finally:
            prober.stop()
            server.close()
        assert taken is not None
        taken.close()
        (watched,) = prober.watched()
        assert all(sample.answered_s is not None for sample in watched.samples)
    steps = {(later - earlier) % (61000 - 32768) for earlier, later in itertools.pairwise(ports)}
    assert skipped not in ports
    assert steps == {1, 2}, "one after the other, but for the one that is taken"


def test_nobody_elses_answers_count() -> None:
    with ground() as place:
        place.become(star(2))
        prober = Prober([vantage(place, "ping h0 -> 10.0.0.9"), vantage(place, "ping h0 -> 10.0.0.2")])
        prober.start()
        try:
            until = time.monotonic() + 5
            while good(prober.watched()[1]) < 50:
                assert time.monotonic() < until
                time.sleep(0.01)
        finally:
            prober.stop()
        assert good(prober.watched()[0]) == 0
