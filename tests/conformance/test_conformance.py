"""Laws that every kernel keeps, on random networks."""

from __future__ import annotations

import errno
import os
import random
from ipaddress import IPv4Interface

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import Contestant
from networks import network, variation, varied

from trenza.errors import KernelError
from trenza.model.names import Interface, Mac, NicName, NodeName, derived_mac
from trenza.model.state import (
    Address,
    Bridge,
    Loopback,
    Macvlan,
    Node,
    NodeKind,
    State,
    Sysctl,
    Thing,
    Veth,
    VethEnd,
    Vxlan,
    veth,
)
from trenza.plan.diff import diff
from trenza.plan.kernel import Kernel
from trenza.plan.missing import missing
from trenza.plan.operations import Change, Create, Operation, Remove
from trenza.plan.wanted import WATCHED_SYSCTLS

SEEDS = st.integers(0, 2**64)


def law(contestant: Contestant) -> settings:
    """How often a law is tried on this kernel: the same examples in every run, many new ones in a soak."""
    more = 25 if os.environ.get("TRENZA_SOAK") else 1
    return settings(max_examples=contestant.examples * more, deadline=None, derandomize=more == 1)


def become(kernel: Kernel, wanted: State) -> State:
    """Make the kernel hold `wanted`; gives what is there then."""
    kernel.perform(diff(kernel.observe(wanted), wanted))
    return kernel.observe(wanted)


def test_a_kernel_becomes_any_network_from_nothing_from_any_other_and_nothing_again(contestant: Contestant) -> None:
    @law(contestant)
    @given(SEEDS)
    def holds(seed: int) -> None:
        one, other = (network(seed + n, places=contestant.places) for n in (0, 1))
        with contestant.fresh() as kernel:
            for wanted in (one, other, variation(other, seed), other, State()):
                there = become(kernel, wanted)
                assert there.things == wanted.things
                assert diff(there, wanted) == ()
                assert diff(wanted, wanted) == ()

    holds()


def test_manual_edits_are_named_and_repaired(contestant: Contestant) -> None:
    """Parts of another network put in by hand, own parts taken out or changed: the next plan undoes it all."""

    @law(contestant)
    @given(SEEDS)
    def holds(seed: int) -> None:
        wanted, strange = (network(seed + n, places=contestant.places) for n in (0, 1))
        with contestant.fresh() as kernel:
            become(kernel, wanted)
            for edit in edits(wanted, strange, random.Random(seed)):
                try:
                    kernel.perform((edit,))
                except KernelError:
                    continue  # what a person tries, the kernel may refuse
            edited = kernel.observe(wanted)
            plan = diff(edited, wanted)
            assert (edited == wanted) == (plan == ())
            kernel.perform(plan)
            assert kernel.observe(wanted).things == wanted.things

    holds()


def test_what_a_base_lacks_comes_back_beside_a_persons_changes(contestant: Contestant) -> None:
    """Nothing of the person's is removed, the kernel takes the plan, and afterwards nothing is lacking."""

    @law(contestant)
    @given(SEEDS)
    def holds(seed: int) -> None:
        base, strange = (network(seed + n, places=contestant.places) for n in (0, 1))
        with contestant.fresh() as kernel:
            become(kernel, base)
            for edit in edits(base, strange, random.Random(seed)):
                try:
                    kernel.perform((edit,))
                except KernelError:
                    continue
            edited = kernel.observe(base)
            plan, _ = missing(edited, base)
            kernel.perform(plan)
            there = kernel.observe(base)
            assert edited.things.keys() <= there.things.keys()
            assert missing(there, base)[0] == ()

    holds()


def edits(wanted: State, strange: State, chance: random.Random) -> list[Operation]:
    """A handful of things of `strange` made, and of `wanted` removed and changed."""
    makeable: list[Thing] = [thing for thing in strange if not isinstance(thing, Loopback)]
    removable: list[Thing] = [thing for thing in wanted if not isinstance(thing, Loopback | Sysctl)]
    made: list[Operation] = [Create(thing) for thing in chance.sample(makeable, min(6, len(makeable)))]
    removed: list[Operation] = [Remove(thing) for thing in chance.sample(removable, min(4, len(removable)))]
    links = [thing for thing in wanted if isinstance(thing, Veth | Bridge | Vxlan | Macvlan)]
    chosen = chance.sample(links, min(3, len(links)))
    changed: list[Operation] = [Change(link, varied(link, wanted.things, chance)) for link in chosen]
    mixed = chance.choice((made, [])) + chance.choice((removed, [])) + changed
    chance.shuffle(mixed)
    return mixed


def pair() -> tuple[State, Interface]:
    """Two hosts and a cable between them."""
    things: list[Thing] = []
    for name in (NodeName("h1"), NodeName("h2")):
        things += [Node(name, NodeKind.HOST, None, name), Loopback(Interface(name, NicName("lo")))]
        things += [Sysctl(name, sysctl, "0") for sysctl in WATCHED_SYSCTLS]
    ends = [Interface(NodeName(name), NicName("eth0")) for name in ("h1", "h2")]
    one, other = (VethEnd(end, derived_mac("lab", end.node, end.nic)) for end in ends)
    return State.of([*things, veth(one, other)]), ends[0]


def test_done_is_called_after_each_operation(contestant: Contestant) -> None:
    wanted, _ = pair()
    plan = diff(State(), wanted)
    seen: list[Operation] = []
    with contestant.fresh() as kernel:
        kernel.perform(plan, seen.append)
    assert sorted(seen, key=lambda operation: operation.key) == sorted(plan, key=lambda operation: operation.key)


def test_removing_what_is_already_gone_is_no_error(contestant: Contestant) -> None:
    wanted, interface = pair()
    address = Address(interface, IPv4Interface("10.0.0.1/24"))
    with contestant.fresh() as kernel:
        become(kernel, wanted)
        kernel.perform((Remove(address),))
        kernel.perform((Create(address), Remove(address), Remove(address)))
        assert kernel.observe(wanted) == wanted


def test_a_clash_of_names_is_refused_with_its_errno(contestant: Contestant) -> None:
    wanted, interface = pair()
    third = VethEnd(Interface(NodeName("h2"), NicName("eth7")), Mac("02:00:00:00:00:07"))
    clash = veth(VethEnd(interface, Mac("02:00:00:00:00:08")), third)
    with contestant.fresh() as kernel:
        become(kernel, wanted)
        with pytest.raises(KernelError) as refused:
            kernel.perform((Create(clash),))
        assert refused.value.errno == errno.EEXIST
        assert kernel.observe(wanted) == wanted


def test_a_node_is_born_without_forwarding(contestant: Contestant) -> None:
    """Whatever the machine's own settings are: `BORN_SYSCTLS`."""
    wanted, _ = pair()
    with contestant.fresh() as kernel:
        kernel.perform(tuple(Create(thing) for thing in wanted if isinstance(thing, Node)))
        there = kernel.observe(wanted)
        assert {thing.value for thing in there if isinstance(thing, Sysctl)} == {"0"}
