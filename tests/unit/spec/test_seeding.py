"""What each student's own parameters are, and how a lab file says that they are."""

from __future__ import annotations

from collections import Counter

from trenza.spec import Choices, read
from trenza.spec.seeding import limits_of, seeded_values

LAB = b"""\
lab: tunnel
parameters: {vni: 42, net: 10.0.0}
seeded: {vni: 100..4000, net: [10.1.0, 10.2.0]}
hosts:
  h1:
    nics: {eth0: {to: h2.eth0, ip: $net.1/24}}
    vxlans: {vx: {vni: $vni, local: $net.1, remote: $net.2}}
  h2: {nics: {eth0: {ip: $net.2/24}}}
"""


def test_a_lab_without_a_seed_has_its_defaults() -> None:
    lab = read(LAB, "lab.yaml").lab
    assert lab.parameters == {"vni": 42, "net": "10.0.0"}
    assert lab.seeded == {"vni": (range(100, 4001),), "net": ("10.1.0", "10.2.0")}


def test_a_seeded_value_is_set_as_any_other() -> None:
    values = seeded_values(read(LAB, "lab.yaml").lab.seeded, "alice", "secret")
    lab = read(LAB, "lab.yaml", Choices(parameters=values)).lab
    assert 100 <= lab.parameters["vni"] <= 4000
    assert next(node for node in lab.nodes if node.name == "h1").vxlans[0].vni == int(values["vni"])


def test_a_student_has_the_same_values_every_time_however_her_name_is_typed() -> None:
    seeded = {"vni": (range(100, 4001),), "words": ("a", "b")}
    first = seeded_values(seeded, "Lucía Díaz", "s")
    assert first == seeded_values(seeded, " LUCI\N{COMBINING ACUTE ACCENT}A DI\N{COMBINING ACUTE ACCENT}AZ ", "s")
    assert seeded_values({"vni": (range(100, 4001),)}, "Lucía Díaz", "s")["vni"] == first["vni"], (
        "one alone is the same"
    )


def test_values_are_pinned() -> None:
    """They may not change between versions: labs that were handed out would."""
    assert seeded_values({"vni": (range(100, 4001),)}, "alice", "S") == {"vni": "2946"}


def test_students_and_seeds_differ() -> None:
    seeded = {"vni": (range(100, 4001),)}
    assert len({seeded_values(seeded, f"student{n}", "s")["vni"] for n in range(50)}) > 40
    assert len({seeded_values(seeded, "alice", f"s{n}")["vni"] for n in range(50)}) > 40
    assert seeded_values(seeded, "a", "bc") != seeded_values(seeded, "ab", "c")


def test_all_values_are_equally_likely_within_a_range_or_alone() -> None:
    seeded = {"one": ("cut w1", "kill vm1/bal1 keepalived", range(1, 3))}
    found = Counter(seeded_values(seeded, f"student{n}", "s")["one"] for n in range(2000))
    assert set(found) == {"cut w1", "kill vm1/bal1 keepalived", "1", "2"}
    assert all(400 < count < 600 for count in found.values())


def test_an_author_is_told_of_values_that_cannot_be_built_by_trying_those_at_the_limits() -> None:
    assert set(limits_of({"vni": (range(100, 4001), "7"), "net": ("a",)})) == {
        ("vni", "100"), ("vni", "4000"), ("vni", "7"), ("net", "a"),
    }  # fmt: skip
