"""VRRP: who is the master of each virtual router (RFC 3768, section 6.4; keepalived).

There is one wherever its routers hear each other.
A router counts if its process runs and its interface is up and has carrier; one that is cut off further away does, but
is heard by nobody: a partition has a master on each side.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from trenza.model.names import Interface, Mac, NodeName
from trenza.model.state import Address, IpAddress, IpInterface, Loopback, Process, State, VrrpInstance
from trenza.theory.network import Network
from trenza.theory.segments import link_ends


@dataclass(frozen=True, slots=True)
class Member:
    """A node that takes part in a virtual router. `primary` is its address there: a tie goes to the higher one."""

    node: NodeName
    process: str
    instance: VrrpInstance
    primary: tuple[int, ...]

    @property
    def interface(self) -> Interface:
        return Interface(self.node, self.instance.nic)

    @property
    def rank(self) -> tuple[int, tuple[int, ...]]:
        return (self.instance.priority, self.primary)

    @property
    def skew_s(self) -> float:
        """How much longer than three adverts it waits: the less, the higher its priority."""
        return (256 - self.instance.priority) / 256

    @property
    def master_down_s(self) -> float:
        """How long it hears nothing before it becomes master (Master_Down_Interval)."""
        return 3 * self.instance.advert_s + self.skew_s


@dataclass(frozen=True, slots=True)
class VirtualRouter:
    """The members of one virtual router that hear each other, the master first, then by rank."""

    id: int
    version: int
    members: tuple[Member, ...]

    @property
    def master(self) -> Member:
        return self.members[0]

    @property
    def addresses(self) -> tuple[IpInterface, ...]:
        """What its master holds."""
        return self.master.instance.addresses


def virtual_routers(
    state: State, incumbents: Collection[NodeName] = (), network: Network | None = None
) -> tuple[VirtualRouter, ...]:
    """Each virtual router, once for every group of its members that hear each other.

    `incumbents` are the masters so far: members that do not preempt leave them in office.
    """
    segments = (Network(state) if network is None else network).segments
    ends = link_ends(state)
    routers: dict[tuple[int, int], list[list[Member]]] = defaultdict(list)
    for process in state:
        if not isinstance(process, Process):
            continue
        for instance in process.vrrp:
            version = instance.addresses[0].version if instance.addresses else 4
            at = Interface(process.node, instance.nic)
            end = ends.get(at)
            if end is None or not end.up or not segments.has_carrier(at):
                continue
            member = Member(
                process.node,
                process.name,
                instance,
                _primary(state, at, version, None if isinstance(end, Loopback) else end.mac),
            )
            groups = routers[instance.id, version]
            heard = [group for group in groups if segments.hears(group[0].interface, at)]
            if heard:
                heard[0].append(member)
            else:
                groups.append([member])
    return tuple(
        VirtualRouter(number, version, _by_office(group, incumbents))
        for (number, version), groups in sorted(routers.items())
        for group in groups
    )


def _by_office(group: list[Member], incumbents: Collection[NodeName]) -> tuple[Member, ...]:
    ranked = sorted(group, key=lambda member: member.rank, reverse=True)
    in_office = [member for member in ranked if member.node in incumbents]
    master = ranked[0]
    if in_office:
        rivals = [member for member in ranked if member.instance.preempt and member.rank > in_office[0].rank]
        master = rivals[0] if rivals else in_office[0]
    return (master, *(member for member in ranked if member is not master))


def _primary(state: State, at: Interface, version: int, mac: Mac | None) -> tuple[int, ...]:
    """The address that adverts carry: the first of an interface, in IPv6 the link-local one, which follows the MAC."""
    if version == 6 and mac is not None:
        octets = [int(octet, 16) for octet in mac.split(":")]
        return (octets[0] ^ 2, *octets[1:])
    for thing in state:
        if isinstance(thing, Address) and thing.interface == at and thing.address.version == version:
            return tuple(thing.address.ip.packed)
    return ()


def with_virtual_addresses(state: State, routers: Collection[VirtualRouter]) -> State:
    """The state as its masters make it: each holds its virtual addresses, and nobody else does."""
    virtual = {
        (member.interface, address.ip)
        for router in routers
        for member in router.members
        for address in member.instance.addresses
    }
    held = [
        Address(router.master.interface, address)
        for router in routers
        for address in router.addresses
    ]  # fmt: skip
    kept = [
        thing for thing in state if not isinstance(thing, Address) or (thing.interface, thing.address.ip) not in virtual
    ]
    return State.of([*kept, *held])


def is_virtual(state: State, ip: IpAddress) -> bool:
    """Whether an address is one that VRRP moves."""
    return any(
        address.ip == ip
        for process in state
        if isinstance(process, Process)
        for instance in process.vrrp
        for address in instance.addresses
    )
