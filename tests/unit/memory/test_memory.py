"""Linux in memory refuses and forgets what Linux does. What both kernels share is in the conformance suite."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from trenza.errors import KernelError
from trenza.memory import MemoryKernel
from trenza.model.names import Interface, Mac, NicName, NodeName, derived_mac
from trenza.model.state import (
    Address,
    Bridge,
    BridgePort,
    FdbEntry,
    Macvlan,
    Neighbour,
    Node,
    NodeKind,
    Route,
    State,
    Sysctl,
    Thing,
    Veth,
    VethEnd,
    Vxlan,
    veth,
)
from trenza.plan.operations import Change, Create, Operation, Remove

A, B = NodeName("a"), NodeName("b")
ETH0 = Interface(A, NicName("eth0"))
MAC = Mac("02:00:00:00:00:09")


def end(node: NodeName, nic: str, *, up: bool = True, bridge: str | None = None, mtu_bytes: int = 1500) -> VethEnd:
    port = None if bridge is None else BridgePort(NicName(bridge))
    return VethEnd(Interface(node, NicName(nic)), derived_mac("lab", node, nic), mtu_bytes, up, port)


def cable(**options: bool) -> Veth:
    return veth(end(A, "eth0", **options), end(B, "eth0"))  # type: ignore[arg-type]


def bridge(nic: str) -> Bridge:
    return Bridge(Interface(A, NicName(nic)), derived_mac("lab", A, nic))


def kernel(*things: Thing) -> MemoryKernel:
    """Two nodes with a cable, and `things`."""
    made = MemoryKernel()
    nodes = [Node(name, NodeKind.HOST) for name in (A, B)]
    made.perform(tuple(Create(thing) for thing in (*nodes, cable(), *things)))
    return made


def refused(made: MemoryKernel, *operations: Operation) -> int:
    with pytest.raises(KernelError) as error:
        made.perform(operations)
    return error.value.errno


def has(made: MemoryKernel, *things: Thing) -> list[bool]:
    there = made.observe(State()).things
    return [there.get(thing.key) == thing for thing in things]


ADDRESS = Address(ETH0, ip_interface("10.0.0.1/24"))
ADDRESS6 = Address(ETH0, ip_interface("fd00::1/64"))
ROUTE = Route(A, ip_network("172.16.0.0/16"), ip_address("10.0.0.2"), ETH0.nic)
ROUTE6 = Route(A, ip_network("fd77::/64"), ip_address("fd00::2"), ETH0.nic, 1024)
NEIGHBOUR = Neighbour(ETH0, ip_address("10.0.0.3"), MAC)
ALL = (ADDRESS, ADDRESS6, ROUTE, ROUTE6, NEIGHBOUR)


@pytest.mark.parametrize(
    ("things", "number"),
    [
        ([Node(A, NodeKind.HOST)], errno.EEXIST),
        ([Node(NodeName("x/c"), NodeKind.CONTAINER, NodeName("x"))], errno.ENOENT),
        ([bridge("eth0")], errno.EEXIST),
        ([bridge("a-name-far-too-long")], errno.EINVAL),
        ([bridge("a:b")], errno.EINVAL),
        ([ADDRESS, ADDRESS], errno.EEXIST),
        ([Address(Interface(A, NicName("eth9")), ADDRESS.address)], errno.ENODEV),
        ([ROUTE], errno.ENETUNREACH),
        ([ROUTE6], errno.EHOSTUNREACH),
        ([ADDRESS, ROUTE, ROUTE], errno.EEXIST),
        ([ADDRESS, Route(A, ip_network("10.0.0.0/24"), dev=ETH0.nic)], errno.EEXIST),
        ([ADDRESS, Route(A, ip_network("172.16.0.0/16"), ADDRESS.address.ip, ETH0.nic)], errno.EINVAL),
        ([FdbEntry(ETH0, MAC)], errno.EOPNOTSUPP),
        ([FdbEntry(ETH0, MAC, ip_address("10.0.0.2"))], errno.EOPNOTSUPP),
        ([veth(end(A, "x", bridge="br0"), end(A, "y"))], errno.ENODEV),
        ([veth(end(A, "x", bridge="eth0"), end(A, "y"))], errno.EOPNOTSUPP),
        ([Vxlan(Interface(A, NicName(name)), MAC, 7) for name in ("vx0", "vx1")], errno.EEXIST),
        ([bridge("br0"), veth(end(A, "x", bridge="br0"), end(A, "y")),
          Macvlan(Interface(A, NicName("mv")), MAC, Interface(A, NicName("x")))], errno.EBUSY),
        ([Sysctl(A, "net.ipv4.conf.eth9.rp_filter", "0")], errno.ENODEV),
    ],
    ids=repr,
)  # fmt: skip
def test_linux_refuses(things: Sequence[Thing], number: int) -> None:
    made = kernel()
    *before, last = things
    made.perform(tuple(Create(thing) for thing in before))
    assert refused(made, Create(last)) == number


def test_a_link_that_goes_down_forgets_routes_neighbours_and_ipv6() -> None:
    made = kernel(*ALL)
    assert all(has(made, *ALL))
    made.perform((Change(cable(), cable(up=False)),))
    assert has(made, *ALL) == [True, False, False, False, False]
    assert refused(made, Create(ROUTE)) == errno.ENETDOWN


def test_a_small_mtu_forgets_ipv6() -> None:
    made = kernel(*ALL)
    small = veth(end(A, "eth0", mtu_bytes=1279), end(B, "eth0"))
    made.perform((Change(cable(), small),))
    assert has(made, *ALL) == [True, False, True, False, True]


def test_the_last_ipv4_address_takes_routes_and_neighbours_along() -> None:
    other = Address(ETH0, ip_interface("10.0.0.9/24"))
    made = kernel(*ALL, other)
    made.perform((Remove(other),))
    assert all(has(made, *ALL))
    made.perform((Remove(ADDRESS),))
    assert has(made, *ALL) == [False, True, False, True, False]


def test_a_veth_takes_its_peer_and_what_lies_over_it_along() -> None:
    made = kernel(
        Macvlan(Interface(B, NicName("mv0")), MAC, Interface(B, NicName("eth0"))),
        Vxlan(Interface(A, NicName("vx0")), MAC, 7, dev=ETH0.nic),
    )
    made.perform((Remove(cable()),))
    assert {link.interface.nic for link in made.measure().links} == {"lo"}


def test_a_host_takes_its_containers_along() -> None:
    made = kernel(Node(NodeName("a/c"), NodeKind.CONTAINER, A), veth(end(NodeName("a/c"), "eth0"), end(B, "c")))
    made.perform((Remove(Node(A, NodeKind.HOST)),))
    assert {link.interface for link in made.measure().links} == {Interface(B, NicName("lo"))}


def test_a_bridge_that_goes_leaves_its_ports_and_their_entries_do_not_stay() -> None:
    port = veth(end(A, "x", bridge="br0"), end(A, "y"))
    entry = FdbEntry(port.a.interface, MAC)
    made = kernel(bridge("br0"), port, entry)
    made.perform((Remove(bridge("br0")),))
    assert has(made, veth(end(A, "x"), end(A, "y")), entry) == [True, False]


def test_a_bridge_has_1023_ports() -> None:
    ports = [veth(end(A, f"p{number}", bridge="br0"), end(A, f"q{number}")) for number in range(1024)]
    made = kernel(bridge("br0"), *ports[:-1])
    assert refused(made, Create(ports[-1])) == errno.EXFULL


def test_a_switch_that_has_ipv6_off_by_default_refuses_it_on_new_links() -> None:
    made = kernel(Sysctl(A, "net.ipv6.conf.default.disable_ipv6", "1"), bridge("br0"))
    address = Address(Interface(A, NicName("br0")), ip_interface("fd00::1/64"))
    assert refused(made, Create(address)) == errno.EACCES


def test_the_operations_before_a_refused_one_have_happened() -> None:
    made, done = kernel(), list[Operation]()
    with pytest.raises(KernelError, match=r"cannot create route a 172\.16\.0\.0/16") as error:
        made.perform((Create(ADDRESS6), Create(ROUTE), Create(ADDRESS)), done.append)
    assert error.value.errno == errno.ENETUNREACH
    assert has(made, ADDRESS6, ADDRESS) == [True, False]
    assert done == [Create(ADDRESS6)]


def test_carrier_needs_both_ends() -> None:
    made = kernel()
    made.perform((Change(cable(), cable(up=False)),))
    assert {str(link.interface): link.carrier for link in made.measure([B]).links} == {"b.lo": True, "b.eth0": False}
