"""What answers prove, kind by kind."""

from __future__ import annotations

from ipaddress import ip_address

from trenza.check import judge
from trenza.check.verdict import Verdict
from trenza.model.measurements import BridgeMeasure, FdbMeasure, PortMeasure
from trenza.model.names import Interface, Mac, NicName, NodeName

A, B, C = (ip_address(f"10.0.0.{number}") for number in (1, 2, 3))


def at(text: str) -> Interface:
    node, _, nic = text.partition(".")
    return Interface(NodeName(node), NicName(nic))


def test_a_window_of_echoes_passes_only_whole() -> None:
    assert judge.echoes(10, 10).verdict is Verdict.PASS
    most = judge.echoes(20, 17)
    assert (most.verdict, most.credit) == (Verdict.FAIL, 0.85)
    assert judge.echoes(0, 0).verdict is Verdict.FAIL


def test_silence_proves_something_only_where_something_was_sent() -> None:
    assert judge.no_echoes(10, 0).verdict is Verdict.PASS
    assert judge.no_echoes(10, 1).verdict is Verdict.FAIL
    assert judge.no_echoes(0, 0).verdict is Verdict.CANNOT_TELL


def test_pairs_count_and_are_named() -> None:
    found = judge.pairs([("a", "b")], 6)
    assert (found.verdict, found.credit) == (Verdict.FAIL, 5 / 6)
    assert "a → b" in found.because.en
    assert judge.pairs([], 0).verdict is Verdict.FAIL


def test_a_way_is_compared_hop_by_hop() -> None:
    assert judge.hops([A, B], [{A, C}, {B}]).verdict is Verdict.PASS
    assert judge.hops([A, None], [{A}, {B}]).because.en == "hop 2 is *, not 10.0.0.2"
    assert judge.hops([A, B], [{A}, {C}]).credit == 0.5
    longer = judge.hops([A, B, C], [{A}, {B}])
    assert longer.verdict is Verdict.FAIL
    assert longer.because.en == "3 hops where 2 were expected"
    assert judge.hops([], [{A}]).credit == 0


def test_shares_are_compared_within_their_tolerance() -> None:
    wanted = {"s1": 0.5, "s2": 0.5}
    assert judge.shares({"s1": 13, "s2": 11}, wanted, 24, 0.1).verdict is Verdict.PASS
    assert judge.shares({"s1": 20, "s2": 4}, wanted, 24, 0.1).verdict is Verdict.FAIL
    one = judge.shares({"s1": 24}, {"s1": None, "s2": None}, 24, 0.1)
    assert one.because.en == "s2 served none"
    assert one.credit == 0.5
    strangers = judge.shares({"s1": 8, "s2": 8}, {"s1": 0.5, "s2": 0.5}, 24, 0.2)
    assert strangers.because.en == "8 were served by nobody of these"


def bridge(name: str, bridge_id: str, root: str, *, stp: bool = True) -> BridgeMeasure:
    return BridgeMeasure(at(name), stp, bridge_id, root, 0, None)


def port(name: str, of: str, state: str) -> PortMeasure:
    return PortMeasure(at(name), NicName(of), state, "", 2, "", "", 0)


def test_a_spanning_tree_has_one_root_and_its_blocked_ports() -> None:
    bridges = [bridge("s1.s1", "8000.1", "1000.2"), bridge("s2.s2", "1000.2", "1000.2")]
    ports = [port("s1.eth1", "s1", "forwarding"), port("s1.eth2", "s1", "blocking")]
    asked = {"root": [at("s2.s2")], "blocked": 1, "differences": (), "like_theory": False}
    assert judge.spanning_tree(bridges, ports, **asked).verdict is Verdict.PASS  # type: ignore[arg-type]
    other = judge.spanning_tree(bridges, ports, **{**asked, "root": [at("s1.s1")]})  # type: ignore[arg-type]
    assert other.because.en == "the root is s2.s2, not s1.s1"
    assert other.credit == 0.5
    moving = [*ports, port("s2.eth1", "s2", "listening")]
    assert judge.spanning_tree(bridges, moving, **asked).because.en == "still converging: s2.eth1"  # type: ignore[arg-type]
    two = [bridge("s1.s1", "8000.1", "8000.1"), bridges[1]]
    assert judge.spanning_tree(two, ports, **asked).verdict is Verdict.FAIL  # type: ignore[arg-type]
    off = [bridge("s1.s1", "8000.1", "8000.1", stp=False)]
    assert judge.spanning_tree(off, ports, **asked).because.en == "no bridge takes part in STP"  # type: ignore[arg-type]


def test_learnt_addresses_are_those_of_whom_was_asked_and_no_others() -> None:
    mac = [Mac(f"02:00:00:00:00:0{number}") for number in range(4)]
    entries = [FdbMeasure(at("lan.p1"), mac[0], "learnt"), FdbMeasure(at("lan.p2"), mac[1], "learnt"),
               FdbMeasure(at("lan.p2"), mac[2], "local")]  # fmt: skip
    owners = {mac[0]: "c1.eth0"}
    has = {"c1": frozenset({mac[0]}), "c2": frozenset({mac[1]})}
    asked = {"lacks": {}, "count": 2, "only": True, "owners": owners}
    assert judge.learnt(entries, has=has, **asked).verdict is Verdict.PASS  # type: ignore[arg-type]
    more = judge.learnt(entries, has={"c1": has["c1"]}, **asked)  # type: ignore[arg-type]
    assert more.because.en == f"also {mac[1]}"
    gone = judge.learnt(entries, has={"c3": frozenset({mac[3]})}, **{**asked, "only": False})  # type: ignore[arg-type]
    assert gone.because.en == "c3 is not among them"
    seen = judge.learnt(entries, has={}, **{**asked, "lacks": has, "only": False})  # type: ignore[arg-type]
    assert (seen.verdict, seen.because.en) == (Verdict.FAIL, "c1 is among them")


def test_affinity_is_one_server_for_all_whichever_it_is() -> None:
    assert judge.affinity({"a": 0, "b": 12}, 12).verdict is Verdict.PASS
    two = judge.affinity({"a": 3, "b": 9}, 12)
    assert (two.verdict, two.credit) == (Verdict.FAIL, 0.75)
    elsewhere = judge.affinity({"a": 11, "b": 0}, 12)
    assert elsewhere.verdict is Verdict.FAIL
    assert judge.affinity({}, 0).verdict is Verdict.FAIL
