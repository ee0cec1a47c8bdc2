"""Echoes, traces, sizes and routes between real namespaces."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

import pytest
from asking_ground import become_shipped, descriptors, here, netns, until
from grounds import ground, line, star

from trenza.errors import KernelError, UsageError
from trenza.linux import syscalls
from trenza.linux.asking.echoes import Echoes, echo_window
from trenza.linux.asking.frames import FrameWatch
from trenza.linux.asking.icmp import IcmpError
from trenza.linux.asking.routes import RouteSaid, route_get
from trenza.linux.asking.sizes import Fits, fits
from trenza.linux.asking.steps import record_route, trace
from trenza.model.names import NicName, NodeName

pytestmark = pytest.mark.kernel


def test_all_echoes_come_back_and_say_how_far_they_went() -> None:
    with ground() as place:
        place.become(line(3))
        place.run("r0", "ip -6 address add fd00::1/64 dev right nodad")
        place.run("r1", "ip -6 address add fd00::2/64 dev left nodad")
        until(lambda: echo_window(netns(place, "r0"), ip_address("10.0.0.6"), count=1).answered, "the lab")
        before, fds = here(), descriptors()
        echoes = echo_window(netns(place, "r0"), ip_address("10.0.0.6"), nonce=b"8 bytes!", interval_s=0.01)
        assert (echoes.sent, echoes.answered, echoes.errors, echoes.icmp_errors) == (10, 10, (), ())
        assert [reply.sequence for reply in echoes.replies] == list(range(10))
        assert all(0 < reply.rtt_s < 1 and reply.ttl == 63 for reply in echoes.replies)
        six = echo_window(netns(place, "r0"), ip_address("fd00::2"), count=2)
        assert [reply.ttl for reply in six.replies] == [64, 64]
        big = echo_window(netns(place, "r0"), ip_address("10.0.0.6"), count=1, size_bytes=9001)
        assert big.answered == 1, big
        assert (here(), descriptors()) == (before, fds)


def test_what_hinders_an_echo_is_told() -> None:
    with ground() as place:
        place.become(line(3))
        expired = echo_window(netns(place, "r0"), ip_address("10.0.0.6"), count=2, ttl=1, timeout_s=5)
        assert expired.icmp_errors == (IcmpError(ip_address("10.0.0.2"), 11, 0),)
        assert (expired.sent, expired.answered) == (2, 0)
        nowhere = echo_window(netns(place, "r0"), ip_address("192.0.2.1"), count=2, interval_s=0)
        assert nowhere == Echoes(2, errors=("network is unreachable",))
        place.run("r1", "ip route add prohibit 198.51.100.0/24")
        place.run("r0", "ip route add 198.51.100.0/24 via 10.0.0.2")
        forbidden = echo_window(netns(place, "r0"), ip_address("198.51.100.1"), count=1, timeout_s=5)
        assert forbidden.icmp_errors == (IcmpError(ip_address("10.0.0.2"), 3, 13),)
        begin = time.monotonic()
        assert echo_window(netns(place, "r0"), ip_address("198.51.100.1"), until=begin - 1).sent == 0
        for options in ({"size_bytes": 39}, {"size_bytes": 65536}, {"nonce": b"x"}):
            with pytest.raises(UsageError):
                echo_window(netns(place, "r0"), ip_address("10.0.0.6"), **options)  # type: ignore[arg-type]


def test_a_flapping_link_loses_some_echoes_and_not_all() -> None:
    with ground() as place:
        place.become(star(2))
        assert place.pings("h0", "10.0.0.2")
        found: list[Echoes] = []

        def ask() -> None:
            window = echo_window(netns(place, "h0"), ip_address("10.0.0.2"), count=100, interval_s=0.03, timeout_s=1)
            found.append(window)

        with FrameWatch(netns(place, "h0"), NodeName("h0"), NicName("eth0"), "icmp[0] = 8") as watch:
            asking = threading.Thread(target=ask)
            asking.start()
            for number in range(1, 4):
                assert watch.await_frames(16 * number, timeout_s=10)
                place.run("lan", f"bridge link set dev h1-eth0 state {0 if number % 2 else 3}")
            place.run("lan", "bridge link set dev h1-eth0 state 3")
            asking.join()
        assert found[0].sent == 100
        assert 20 < found[0].answered < 95
        assert found[0].replies[0].sequence == 0


def test_traces_over_the_routed_lab() -> None:
    with ground() as place:
        become_shipped(place, "routed")
        ways = {
            ("host1/c1", "192.168.2.2"): ("192.168.1.1", "10.1.0.2", "192.168.2.2"),
            ("host2/c4", "192.168.1.12"): ("192.168.2.5", "10.1.0.1", "192.168.1.12"),
            ("host1/c1", "192.168.1.12"): ("192.168.1.12",),
            ("host1/c1", "192.168.1.11"): ("192.168.1.11",),
        }
        for (name, to), hops in ways.items():
            begin = time.monotonic()
            found = trace(netns(place, name), ip_address(to), timeout_s=5)
            assert found.arrived, found
            assert tuple(map(str, found.hops)) == hops
            assert time.monotonic() - begin < 4  # nobody's silence was waited for
        looping = trace(netns(place, "host1/c1"), ip_address("203.0.113.1"), max_hops=8, timeout_s=0.2)
        assert not looping.arrived
        assert tuple(map(str, looping.hops[:3])) == ("192.168.1.1", "10.1.0.2", "192.168.1.1")
        route = record_route(netns(place, "host1/c1"), ip_address("192.168.2.2"))
        assert route is not None
        assert tuple(map(str, route)) == (
            "192.168.1.11", "10.1.0.1", "192.168.2.1", "192.168.2.2", "192.168.2.2", "10.1.0.2", "192.168.1.1",
            "192.168.1.11",
        )  # fmt: skip
        assert record_route(netns(place, "host1/c1"), ip_address("192.168.1.77"), tries=1, timeout_s=0.1) is None
        with pytest.raises(UsageError):
            record_route(netns(place, "host1/c1"), ip_address("fd00::1"))


def test_a_trace_ends_where_the_way_does() -> None:
    with ground() as place:
        place.become(line(4))
        r0 = netns(place, "r0")
        assert str(trace(r0, ip_address("192.0.2.1")).error) == "network is unreachable"
        place.run("r2", "ip route replace unreachable 10.0.0.8/30")
        stopped = trace(r0, ip_address("10.0.0.10"))
        assert not stopped.arrived
        assert tuple(map(str, stopped.hops)) == ("10.0.0.2", "10.0.0.6")
        place.run("r2", "ip route replace blackhole 10.0.0.8/30")
        silent = trace(r0, ip_address("10.0.0.10"))
        assert not silent.arrived
        assert tuple(map(str, silent.hops)) == ("10.0.0.2",)  # what a black hole swallows does not expire there either


def test_a_silent_hop_is_a_gap_in_a_trace() -> None:
    with ground() as place:
        place.become(line(4))
        r0 = netns(place, "r0")
        place.run("r1", "nft 'table ip t { chain c { type filter hook output priority 0; icmp type 11 drop; }; }'")
        hidden = trace(r0, ip_address("10.0.0.10"))
        assert hidden.arrived
        assert tuple(map(str, hidden.hops)) == ("None", "10.0.0.6", "10.0.0.10")
        begin = time.monotonic()
        trace(r0, ip_address("10.0.0.10"), timeout_s=5, until=begin + 0.05)
        assert time.monotonic() - begin < 1


def test_a_trace_of_ipv6() -> None:
    with ground() as place:
        place.become(line(3))
        for name, nic, ip in (("r0", "right", "a::1"), ("r1", "left", "a::2"), ("r1", "right", "b::1"),
                              ("r2", "left", "b::2")):  # fmt: skip
            place.run(name, f"ip -6 address add fd00:0:0:{ip}/64 dev {nic} nodad")
            # without a link-local address a router asks for no neighbour on behalf of others
            place.run(name, f"ip -6 address add fe80::{ip[-1]}/64 dev {nic} nodad")
        place.run("r1", "sysctl -qw net.ipv6.conf.all.forwarding=1")
        place.run("r0", "ip -6 route add default via fd00:0:0:a::2")
        place.run("r2", "ip -6 route add default via fd00:0:0:b::1")
        found = trace(netns(place, "r0"), ip_address("fd00:0:0:b::2"))
        assert tuple(map(str, found.hops)) == ("fd00:0:0:a::2", "fd00:0:0:b::2")
        assert found.arrived


def test_a_size_fits_or_the_mtu_is_told_by_whoever_knows_it() -> None:
    with ground() as place:
        place.become(line(3))
        r0, target = netns(place, "r0"), ip_address("10.0.0.6")
        for name, nic in (("r1", "right"), ("r2", "left")):
            place.run(name, f"ip link set {nic} mtu 1400")
        assert fits(r0, target, 1400) == Fits(answered=True)
        told = fits(r0, target, 1401)
        assert (told.answered, told.mtu_bytes) == (False, 1400)
        assert told.icmp_error == IcmpError(ip_address("10.0.0.2"), 3, 4, 1400)
        assert fits(r0, target, 1401) == told  # asked again, not remembered
        own = fits(r0, target, 1501)
        assert own == Fits(answered=False, error="message too long", mtu_bytes=1500)
        for name, nic, ip in (("r0", "right", "fd00::1"), ("r1", "left", "fd00::2")):
            place.run(name, f"ip -6 address add {ip}/64 dev {nic} nodad")
        assert fits(r0, ip_address("fd00::2"), 1500).answered
        assert fits(r0, ip_address("fd00::2"), 1501) == Fits(False, "message too long", mtu_bytes=1500)
        place.run("r0", "ip link set right mtu 1600")  # the far end takes no more than its own
        assert not fits(r0, ip_address("10.0.0.2"), 1600, timeout_s=0.2).answered


def test_the_route_of_a_packet_is_the_kernels_own_answer() -> None:
    with ground() as place:
        place.become(line(3))
        r0 = netns(place, "r0")
        via = route_get(r0, ip_address("10.0.0.6"))
        assert via == RouteSaid(ip_address("10.0.0.2"), "right", ip_address("10.0.0.1"), "unicast")
        assert route_get(r0, ip_address("10.0.0.2")).via is None
        assert route_get(r0, ip_address("10.0.0.1")).type == "local"
        assert route_get(r0, ip_address("192.0.2.1")) == RouteSaid(error="network is unreachable")
        place.run("r0", "ip route add prohibit 192.0.2.0/24; ip -6 address add fd00::1/64 dev right nodad")
        assert route_get(r0, ip_address("192.0.2.1")).error == "permission denied"
        six = route_get(r0, ip_address("fd00::2"))
        assert (six.via, six.dev, six.source) == (None, "right", ip_address("fd00::1"))
        assert route_get(r0, ip_address("fd99::2")).error == "network is unreachable"


def test_an_unusable_namespace_is_a_kernel_error_and_leaves_the_thread_at_home() -> None:
    with ground() as place:
        place.become(star(1))
        before, fds = here(), descriptors()
        with open(os.devnull) as no_namespace:
            for ask in (echo_window, trace, route_get):
                with pytest.raises(KernelError):
                    ask(no_namespace.fileno(), ip_address("10.0.0.1"))  # type: ignore[operator]
        with pytest.raises(KernelError):
            echo_window(9999, ip_address("10.0.0.1"))
        assert (here(), descriptors()) == (before, fds)


def test_many_threads_ask_from_many_nodes_at_once() -> None:
    with ground() as place:
        place.become(star(8))
        assert all(place.pings("h0", f"10.0.0.{number}") for number in range(2, 9))
        home = here()

        def ask(number: int) -> tuple[int, int]:
            source, to = number % 8, (number + 1) % 8
            window = echo_window(netns(place, f"h{source}"), ip_address(f"10.0.0.{to + 1}"), count=5, timeout_s=5)
            return window.answered, here()

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(ask, range(32))) == {(5, home)}


def test_replaced_programs_of_a_node_make_no_difference() -> None:
    syscalls.unshare(syscalls.CLONE_NEWNS)
    for program in ("ping", "traceroute", "ip"):
        syscalls.bind("/bin/false", os.path.realpath(f"/usr/bin/{program}"))
    with ground() as place:
        place.become(star(2))
        assert not place.run("h0", "ping -c 1 10.0.0.2 && echo lie", check=False)
        assert echo_window(netns(place, "h0"), ip_address("10.0.0.2"), count=3, timeout_s=5).answered == 3
        assert trace(netns(place, "h0"), ip_address("10.0.0.2")).arrived
        assert route_get(netns(place, "h0"), ip_address("10.0.0.2")).dev == "eth0"
