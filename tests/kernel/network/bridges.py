"""Random networks of bridges, and what the kernel makes of them beside what theory says."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import ip_address

from grounds import Ground, address, bridge, nic, node

from trenza.model.names import Mac, NicName
from trenza.model.state import BridgePort, NodeKind, State, Thing, VethEnd, Vxlan, veth
from trenza.theory.spanning_tree import SpanningTrees, spanning_trees

FAST = {"forward_delay_s": 2, "hello_time_s": 1, "max_age_s": 6}


def random_bridges(seed: int) -> State:
    """Three to six bridges, some without STP, joined at random: parallel cables, loops of one bridge, a tunnel."""
    chance = random.Random(seed)
    count = chance.randint(3, 6)
    silent = set(chance.sample(range(count), chance.choice([0, 0, 1, 1, 2])))
    things: list[Thing] = []
    for number in range(count):
        name = f"s{number}"
        things += node(name, NodeKind.SWITCH)
        made = bridge(
            name, name, stp=number not in silent, priority=chance.choice([4096, 32768, 32768, 32768, 40960]), **FAST
        )
        things.append(replace(made, mac=Mac(f"02:00:00:00:{chance.randrange(256):02x}:{number:02x}")))
    joined = {0}
    pairs = []
    for number in range(1, count):
        pairs.append((number, chance.choice(sorted(joined))))
        joined.add(number)
    for _ in range(chance.randint(1, 5)):
        pairs.append((chance.randrange(count), chance.randrange(count)))
    ports = [0] * count
    loops_of_the_silent = _Loops(silent)

    def end(number: int) -> VethEnd:
        ports[number] += 1
        port = BridgePort(
            NicName(f"s{number}"),
            chance.choice([None, None, None, 1, 2, 4, 7]),
            chance.choice([32, 32, 32, 16, 40]),
        )
        return VethEnd(
            nic(f"s{number}", f"p{ports[number]}"),
            Mac(f"02:01:00:00:{number:02x}:{ports[number]:02x}"),
            up=chance.random() > 0.05,
            port=port,
        )

    for one, other in pairs:
        if not loops_of_the_silent.closes(one, other):
            things.append(veth(end(one), end(other)))
    if chance.random() < 0.4:
        things += _tunnel(chance, [number for number in range(count) if number not in silent])
    return State.of(things)


class _Loops:
    """Bridges without STP must not close a loop among themselves, which would be a storm."""

    def __init__(self, silent: set[int]) -> None:
        self._silent = silent
        self._sets = {number: {number} for number in silent}

    def closes(self, one: int, other: int) -> bool:
        if one not in self._silent or other not in self._silent:
            return False
        if self._sets[one] is self._sets[other]:
            return True
        self._sets[one] |= self._sets[other]
        for number in self._sets[other]:
            self._sets[number] = self._sets[one]
        return False


def _tunnel(chance: random.Random, loud: list[int]) -> list[Thing]:
    """A VXLAN between two bridges with STP, over a cable of its own."""
    if len(loud) < 2:
        return []
    one, other = chance.sample(loud, 2)
    under = veth(
        VethEnd(nic(f"s{one}", "u"), Mac("02:02:00:00:00:01")), VethEnd(nic(f"s{other}", "u"), Mac("02:02:00:00:00:02"))
    )
    things: list[Thing] = [under]
    over = chance.choice([None, NicName("u")])
    for here, own, remote in ((one, 1, 2), (other, 2, 1)):
        name = f"s{here}"
        things.append(address(name, "u", f"10.9.0.{own}/24"))
        things.append(
            Vxlan(
                nic(name, "vx"), Mac(f"02:03:00:00:00:{own:02x}"), 42, ip_address(f"10.9.0.{own}"),
                ip_address(f"10.9.0.{remote}"), dev=over, port=BridgePort(NicName(name)),
            )
        )  # fmt: skip
    return things


def disagreements(there: Ground, state: State) -> list[str]:
    """Where the kernel is not as theory says, with the kernel's own port numbers."""
    measured = there.kernel.measure()
    trees = spanning_trees(state, measured.ports)
    found = []
    for one in measured.bridges:
        predicted = trees.bridges[one.interface]
        if not one.stp or not predicted.up:
            continue
        for field in ("bridge_id", "root_id", "root_path_cost", "root_port"):
            kernel, theory = getattr(one, field), getattr(predicted, field)
            if kernel != theory:
                found.append(f"{one.interface} {field}: {kernel}, theory {theory}")
    for port in measured.ports:
        said = trees.ports[port.interface]
        fields = ["state", "role", "cost", "priority"]
        if said.state != "disabled" and trees.bridges[nic(port.interface.node, port.bridge)].stp:
            fields += ["designated_root", "designated_bridge", "designated_port", "designated_cost"]
        for field in fields:
            kernel, theory = getattr(port, field), getattr(said, field)
            if kernel != theory:
                found.append(f"{port.interface} {field}: {kernel}, theory {theory}")
    assert len(measured.ports) == len(trees.ports)
    return found


def guessed_wrong(there: Ground, state: State) -> list[str]:
    """Ports whose number is not the one that theory takes for that of a fresh lab."""
    trees: SpanningTrees = spanning_trees(state)
    return [
        f"{port.interface}: {port.number}, theory {trees.ports[port.interface].number}"
        for port in there.kernel.measure().ports
        if port.number != trees.ports[port.interface].number
    ]
