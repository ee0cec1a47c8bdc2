"""In how few sends a lab is built, what happens when the kernel refuses, and what becomes of names that are taken."""

from __future__ import annotations

import errno
import os
import threading
import time

import pytest
from grounds import address, bridge, end, ground, line, nic, node, route, star

from trenza.errors import KernelError
from trenza.linux.netlink import Traffic
from trenza.model.names import NodeName
from trenza.model.state import NodeKind, State, veth
from trenza.plan.diff import diff
from trenza.plan.operations import Create, Operation, Remove

pytestmark = pytest.mark.kernel


def test_a_star_of_a_hundred_takes_one_send_a_host() -> None:
    """And three for the switch: two with its veths, and the bridge coming up."""
    with ground() as there:
        there.kernel.perform(diff(State(), star(100)))
        assert there.kernel.traffic == Traffic(sends=103, messages=604)


def test_a_line_of_routers_takes_two_sends_a_router() -> None:
    """One with its cable to the next, one with all the rest; the two at the ends need but one."""
    with ground() as there:
        there.kernel.perform(diff(State(), line(10)))
        assert there.kernel.traffic.sends == 2 * 8 + 2


def test_looking_again_at_what_is_as_wanted_plans_nothing_and_writes_nothing() -> None:
    with ground() as there:
        wanted = star(3)
        there.become(wanted)
        before = there.kernel.traffic.messages
        plan = diff(there.kernel.observe(wanted), wanted)
        assert plan == ()
        there.kernel.perform(plan)
        assert there.kernel.traffic.messages - before == 2 * 4  # two questions about sysctls a node, no request


def test_a_refusal_names_the_operation_and_what_came_before_has_happened() -> None:
    with ground() as there:
        things = [*node("a"), *node("b"), veth(end("a", "eth0"), end("b", "eth0")), address("a", "eth0", "10.0.0.1/24")]
        wrong = route("a", "10.9.0.0/24", "192.0.2.1", "eth0")
        late = address("b", "eth0", "10.0.0.2/24")
        done: list[Operation] = []
        plan = (*diff(State(), State.of(things)), Create(wrong), Create(late))
        with pytest.raises(KernelError) as refused:
            there.kernel.perform(plan, done.append)
        assert refused.value.errno == errno.ENETUNREACH
        assert "route to 10.9.0.0/24 via 192.0.2.1 dev eth0 in a" in refused.value.message
        assert refused.value.hint
        assert done == list(plan[:-2])
        assert there.kernel.observe(State()).things.keys() >= {thing.key for thing in things}


def test_an_unknown_interface_is_named() -> None:
    with ground() as there:
        there.become(State.of(node("a")))
        with pytest.raises(KernelError, match="a has no interface eth7"):
            there.kernel.perform((Create(address("a", "eth7", "10.0.0.1/24")),))


def test_a_node_that_does_not_run_is_named() -> None:
    with ground() as there, pytest.raises(KernelError, match="a is not running"):
        there.kernel.perform((Create(bridge("a", "br0")),))


def test_stp_refuses_a_forward_delay_that_the_kernel_would_change() -> None:
    with ground() as there:
        there.become(State.of(node("s", NodeKind.SWITCH)))
        with pytest.raises(KernelError) as refused:
            there.kernel.perform((Create(bridge("s", "br0", stp=True, forward_delay_s=1)),))
        assert refused.value.errno == errno.ERANGE


def test_a_removed_node_leaves_no_cable_in_those_that_stay() -> None:
    with ground() as there:
        wanted = star(3)
        there.become(wanted)
        there.kernel.perform((Remove(wanted.nodes[NodeName("h1")]),))
        assert "h1-eth0" not in there.run("lan", "ip -br link")
        there.become(wanted)
        assert there.pings("h0", "10.0.0.2", deadline_s=0.5)


def test_a_name_taken_by_a_dying_cable_is_waited_for() -> None:
    """A node that died by itself leaves its cables to the kernel, which takes them away when it pleases."""
    with ground() as there:
        things = [*node("s", NodeKind.SWITCH), bridge("s", "br0"), *node("h")]
        cable = veth(end("h", "eth0"), end("s", "p", "br0"))
        there.become(State.of(things))
        # somebody else's namespace holds the other end for a while yet
        foreign = there.home.make_netns()
        there.run("s", f"ip link add p type veth peer name x netns /proc/{os.getpid()}/fd/{foreign}")
        ending = threading.Timer(0.3, os.close, (foreign,))
        ending.start()
        began = time.monotonic()
        there.kernel.perform((Create(cable),))
        assert time.monotonic() - began > 0.25
        ending.join()
        assert there.kernel.observe(State()).provided[("link", "s", "p")] == cable


def test_a_name_that_stays_taken_is_refused_at_once() -> None:
    with ground() as there:
        wanted = State.of([*node("a"), *node("b"), veth(end("a", "eth0"), end("b", "eth0"))])
        there.become(wanted)
        began = time.monotonic()
        with pytest.raises(KernelError) as refused:
            there.kernel.perform((Create(veth(end("a", "eth0"), end("b", "eth1"))),))
        assert refused.value.errno == errno.EEXIST
        assert time.monotonic() - began < 1


def test_interfaces_are_numbered_uniquely_in_the_whole_lab() -> None:
    with ground() as there:
        there.become(star(4))
        links = [one for one in there.kernel.measure().links if one.kind != "loopback"]
        assert len({link.index for link in links}) == len(links) == 9
        assert min(link.index for link in links) == 100


def test_a_kernel_that_adopts_a_lab_numbers_on() -> None:
    from trenza.linux.kernel import LinuxKernel

    with ground() as there:
        wanted = star(2)
        there.become(wanted)
        adopter = LinuxKernel(there.nodes)
        assert adopter.observe(wanted) == wanted
        adopter.perform(diff(wanted, star(3)))
        assert adopter.observe(star(3)) == star(3)
        links = [one for one in adopter.measure().links if one.kind != "loopback"]
        assert len({link.index for link in links}) == len(links)
        adopter.close()
        assert nic("h2", "eth0") in {link.interface for link in links}
