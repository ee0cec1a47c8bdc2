"""The difference of two states: the plan that makes one into the other.

Adding and removing is not set subtraction, because things die with others and Linux takes more along than one asked
for. So the plan is found in four steps:

1. *Asked for*: what only one side has, and what differs: changed in place where Linux can, else removed and made again.
   A daemon goes with its config file, which it read when it was started.
2. *Lost*: whatever dies with what is removed (`stands_on`), and what Linux takes along (`trenza.plan.losses`).
3. *Put back*: lost things that are still wanted are made again; a surviving port of a lost bridge joins its new one.
4. *Order*: removals first, from the top of the stack down and only the roots; then creations and changes from the
   bottom up (`trenza.plan.stages`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter

from trenza.model.state import Key, Loopback, Process, State, Sysctl, Thing, file_key, node_key
from trenza.plan.losses import Losses
from trenza.plan.operations import Change, Create, Operation, Plan, Remove
from trenza.plan.stages import Order, Place, changeable, stage_of
from trenza.plan.wanted import BORN_SYSCTLS


def diff(observed: State, wanted: State) -> Plan:
    """The operations that make `observed` into `wanted`, in an order in which the kernel accepts them.

    Loopbacks and sysctls cannot be removed: those that only `observed` has are left as they are.
    """
    have, want = observed.things, wanted.things
    creations: dict[Key, Thing] = {}
    changes: dict[Key, tuple[Thing, Thing]] = {}
    removals: dict[Key, Thing] = {}
    for key, new in want.items():
        old = have.get(key)
        if old is None:
            creations[key] = new
        elif old is not new and old != new:
            if changeable(old, new):
                changes[key] = (old, new)
            else:
                removals[key] = old
    for key, old in have.items():
        if key not in want and not isinstance(old, Loopback | Sysctl):
            removals[key] = old
    if not (creations or changes or removals):
        return ()
    removals |= {thing.key: thing for thing in _reading_another(have, want, {*creations, *changes})}

    roots: Iterable[Thing] = ()
    if removals or changes:
        losses = Losses(observed, removals, changes)
        roots = losses.roots
        for key in losses.lost:
            changes.pop(key, None)
            if key in want:
                creations[key] = want[key]
        for port in losses.orphans:
            changes.pop(port.key, None)
            free, new = losses.without_lost_bridges(port), want[port.key]
            if free != new:
                changes[port.key] = (free, new)
    spare_the_born(creations, changes)

    removing = sorted(roots, key=lambda thing: (-stage_of(thing), thing.key))
    order = Order(wanted)
    making: list[tuple[Place, Operation]] = [(order.of(key, thing), Create(thing)) for key, thing in creations.items()]
    making += [(order.of(key, new), Change(old, new)) for key, (old, new) in changes.items()]
    making.sort(key=itemgetter(0))
    return (*(Remove(thing) for thing in removing), *(operation for _, operation in making))


def _reading_another(have: Mapping[Key, Thing], want: Mapping[Key, Thing], made: set[Key]) -> Iterator[Thing]:
    """Processes that run, and whose config file is put back: what they have read is another one."""
    for key, old in have.items():
        new = want.get(key)
        if isinstance(new, Process) and new.config is not None and file_key(new.node, new.config) in made:
            yield old


def spare_the_born(creations: dict[Key, Thing], changes: dict[Key, tuple[Thing, Thing]]) -> None:
    """Drop what a new node brings by itself: its loopback, which is changed if at all, and `BORN_SYSCTLS`."""
    born: list[Key] = []
    for key, thing in creations.items():
        if isinstance(thing, Loopback):
            born.append(key)
            default = Loopback(thing.interface)
            if default != thing:
                changes[key] = (default, thing)
        elif (
            isinstance(thing, Sysctl)
            and BORN_SYSCTLS.get(thing.name) == thing.value
            and node_key(thing.node) in creations
        ):
            born.append(key)
    for key in born:
        del creations[key]
