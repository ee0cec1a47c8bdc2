"""What Práctica 6 suffers from each fault, as theory says before anything is measured."""

from __future__ import annotations

import math
from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest
from practica6 import at, killed, practica6, suffering, without

from trenza.model.names import NicName, NodeName
from trenza.model.state import Process, State, VrrpInstance, Vxlan
from trenza.theory.frames import l2_path
from trenza.theory.mtu import Beyond, PathMtu, path_mtu
from trenza.theory.outage import Cause, Fate, Note, Prediction, as_declared, predict_outage
from trenza.theory.vrrp import virtual_routers

VIP = ip_address("172.16.1.254")
USER, USER2 = NodeName("user"), NodeName("user2")


def predicted(
    fault: str, source: NodeName = USER, *variants: str, profile: str | None = "fast", http: bool = False
) -> Prediction:
    state = practica6(*variants, profile=profile)
    return predict_outage(state, suffering(fault, state), source, VIP, http=http)


def causes(prediction: Prediction) -> list[str]:
    return [part.cause.value for part in prediction.parts]


# ---------------------------------------------------------------- the ways
def test_a_frame_goes_over_forwarding_ports_only() -> None:
    path = l2_path(practica6(), at("user.eth0"), at("vm2/bal2.out"))
    assert [(str(hop.bridge), str(hop.enters), str(hop.leaves)) for hop in path.hops] == [
        ("swout1.swout1", "swout1.eth0", "swout1.eth1"),
        ("vm1.vswout1", "vm1.enp0s8", "vm1.enp0s9"),
        ("swout2.swout2", "swout2.eth1", "swout2.eth2"),
        ("vm2.vswout2", "vm2.enp0s9", "vm2.vbal2out"),
    ]


def test_a_frame_from_a_bridge_itself_enters_nowhere() -> None:
    path = l2_path(practica6(), at("vm1.vswout1"), at("user.eth0"))
    assert path.hops[0].enters is None
    assert str(path.hops[0].leaves) == "vm1.enp0s8"


def test_a_frame_that_has_no_way_says_so() -> None:
    state = practica6()
    assert l2_path(state, at("user.eth0"), at("vm1/serv1.eth0")).wrong == "no frame of user.eth0 gets to vm1/serv1.eth0"
    assert l2_path(without(state, "user.eth0"), at("user.eth0"), at("user2.eth0")).wrong == "user.eth0 is down"


BAL1, SERV3 = NodeName("vm1/bal1"), ip_address("10.0.0.3")


def test_packets_larger_than_the_tunnel_vanish_silently() -> None:
    """The sheet's trap: its servers' 1500 bytes do not fit."""
    assert path_mtu(practica6(), BAL1, SERV3) == PathMtu(1450, at("vm1.vx1"), Beyond.SILENCE)
    assert path_mtu(practica6(), BAL1, ip_address("10.0.0.1")) == PathMtu(1500, at("vm1/bal1.in"), Beyond.SENDER)
    assert path_mtu(practica6("inner-mtu"), BAL1, SERV3) == PathMtu(1450, at("vm1/bal1.in"), Beyond.SENDER)


def test_a_tunnel_carries_no_more_than_its_underlay_leaves() -> None:
    state = State.of(replace(one, mtu_bytes=1500) if isinstance(one, Vxlan) else one for one in practica6())
    assert path_mtu(state, BAL1, SERV3) == PathMtu(1450, at("vm1.vswout1"), Beyond.TUNNEL)


def test_there_is_no_mtu_without_a_path() -> None:
    assert path_mtu(practica6(), USER, SERV3) is None


# ---------------------------------------------------------------- VRRP
def with_instances(**changes: object) -> State:
    """The sheet, with bal2's instance changed."""
    return State.of(
        replace(thing, vrrp=tuple(replace(one, **changes) for one in thing.vrrp))  # type: ignore[arg-type]
        if isinstance(thing, Process) and thing.node == "vm2/bal2"
        else thing
        for thing in practica6()
    )


def masters(state: State, *incumbents: str) -> list[str]:
    return [router.master.node for router in virtual_routers(state, [NodeName(one) for one in incumbents])]


def test_the_higher_priority_is_master() -> None:
    assert masters(practica6()) == ["vm1/bal1"]
    assert masters(with_instances(priority=200)) == ["vm2/bal2"]


def test_of_equal_priorities_the_higher_address_is_master() -> None:
    assert masters(with_instances(priority=150)) == ["vm2/bal2"]


def test_who_does_not_preempt_leaves_the_master_in_office() -> None:
    assert masters(with_instances(priority=200, preempt=False)) == ["vm2/bal2"]
    assert masters(with_instances(priority=200, preempt=False), "vm1/bal1") == ["vm1/bal1"]
    assert masters(with_instances(priority=200), "vm1/bal1") == ["vm2/bal2"]


def test_a_partition_has_two_masters_and_a_dead_daemon_or_interface_none() -> None:
    state = practica6()
    assert sorted(masters(without(state, "vm1.vswout1"))) == ["vm1/bal1", "vm2/bal2"]
    assert masters(without(state, "vm1/bal1.out")) == ["vm2/bal2"]
    assert masters(without(state, "vm1.vbal1out")) == ["vm2/bal2"], "no carrier"
    assert masters(killed(state, "vm1/bal1", "keepalived")) == ["vm2/bal2"]


def test_routers_of_different_ids_do_not_meet() -> None:
    assert sorted(masters(with_instances(id=13))) == ["vm1/bal1", "vm2/bal2"]


# ---------------------------------------------------------------- outages
def test_the_loss_of_the_root_port_is_noticed_at_once() -> None:
    """swout1 loses its root port and has another: twice the forward delay."""
    found = predicted("cut w1")
    assert found.fate is Fate.OUTAGE
    assert causes(found) == ["stp-direct"]
    assert found.parts[0].at == at("swout1.eth2")
    assert found.parts[0].formula == "2 × forward delay = 4 s"
    assert found.low_s <= 4 <= found.high_s < 7
    assert (found.master_before, found.master_after) == ("vm1/bal1", "vm1/bal1")


def test_with_the_sheets_timers_it_takes_half_a_minute() -> None:
    found = predicted("cut w1", profile=None)
    assert found.parts[0].seconds == 30
    # Meanwhile bal2 is out of reach as well, being behind the same port.
    assert found.low_s == 30


def test_a_cable_that_carries_nothing_is_not_missed() -> None:
    assert predicted("cut w3").fate is Fate.UNHARMED
    assert predicted("cut w4").fate is Fate.UNHARMED
    assert predicted("cut w2").fate is Fate.UNHARMED, "bal1 is on this side"


def test_what_a_neighbour_lost_is_noticed_at_max_age_and_the_other_master_may_be_quicker() -> None:
    found = predicted("cut w2", USER2)
    assert set(causes(found)) == {"stp-indirect", "vrrp"}
    assert found.parts[0].formula == "max age + 2 × forward delay = 10 s"
    assert Note.OTHER_MASTER_MEANWHILE in found.notes
    assert found.composition == "min(stp-indirect, vrrp)"
    assert 2 < found.low_s < 4 < found.high_s < 5
    assert found.master_after == "vm1/bal1"


def test_a_bridge_that_is_set_down_is_noticed_at_max_age() -> None:
    found = predicted("down vswout1")
    by_cause = {part.cause: part for part in found.parts}
    assert set(by_cause) == {Cause.STP_INDIRECT, Cause.VRRP, Cause.ARP}
    assert by_cause[Cause.STP_INDIRECT].seconds == 10
    assert by_cause[Cause.VRRP].formula == "3 × advert_int + (256 − 100)/256 = 3.609 s"
    assert found.low_s == 7.25, "max age and twice the delay, less a hello and a hold time"
    assert found.high_s > 27, "facts: 27 s, because the gratuitous ARP was lost"
    assert (found.master_before, found.master_after) == ("vm1/bal1", "vm2/bal2")
    assert found.composition == "max(stp-indirect, vrrp, arp)"


def test_from_the_other_switch_only_vrrp_counts() -> None:
    found = predicted("down vswout1", USER2)
    assert causes(found) == ["vrrp"]
    assert found.low_s == pytest.approx(2.609, abs=0.01)
    assert 3.609 <= found.high_s < 4.2


def test_a_bridge_without_power_is_noticed_at_once() -> None:
    found = predicted("poweroff vswout1")
    assert set(causes(found)) == {"stp-direct", "vrrp", "arp"}
    assert found.low_s <= 8.5 <= found.high_s < 10, "facts: 8.5 s, with keepalived's second gratuitous ARP"


def test_a_master_that_repeats_its_gratuitous_arp_is_found_as_soon_as_the_tree_allows() -> None:
    found = predicted("down vswout1", USER, "garp-refresh")
    arp = found.parts[-1]
    assert (arp.cause, arp.formula) == (Cause.ARP, "garp_master_refresh = 1 s")
    assert found.high_s <= 12


def test_who_has_only_heard_of_a_root_that_lost_its_power_notices_at_max_age() -> None:
    """swout2 is the root: vswout1 and vswout2 lose their root ports, swout1 hears so at max age."""
    found = predict_outage(
        practica6(), suffering("poweroff swout2", practica6()), NodeName("vm1"), ip_address("172.16.1.151")
    )
    assert causes(found) == ["stp-indirect"]
    assert (found.low_s, found.high_s) == (7.25, 11)


def test_a_repair_costs_as_much_as_a_loss() -> None:
    state = practica6()
    found = predict_outage(suffering("cut w1", state), state, USER, VIP)
    assert causes(found) == ["stp-direct"]
    assert found.parts[0].seconds == 4


def test_who_has_one_switch_only_is_lost_with_it() -> None:
    found = predicted("down swout1")
    assert found.fate is Fate.LOST
    assert math.isinf(found.high_s)
    assert found.why == "172.16.1.254 (vm1/bal1.out) is not on the segment of user.eth0"


def test_what_did_not_arrive_before_is_not_blamed_on_the_fault() -> None:
    state = practica6()
    found = predict_outage(state, without(state, "vm1.vswout1"), USER, ip_address("10.0.0.1"))
    assert found.fate is Fate.LOST_BEFORE


def test_a_keepalived_that_was_killed_may_not_be_missed() -> None:
    state = practica6()
    found = predict_outage(state, killed(state, "vm1/bal1", "keepalived"), USER, VIP)
    assert causes(found) == ["vrrp"]
    assert found.low_s == 0
    assert Note.ADDRESS_STAYS in found.notes


def test_a_dead_balancer_with_a_living_address_is_for_ever() -> None:
    state = practica6()
    after = killed(state, "vm1/bal1", "haproxy")
    assert predict_outage(state, after, USER, VIP).fate is Fate.UNHARMED
    found = predict_outage(state, after, USER, VIP, http=True)
    assert (found.fate, found.why) == (Fate.LOST, "no balancer runs in vm1/bal1")


def test_a_master_that_tracks_its_balancer_may_give_way() -> None:
    state = practica6("vrrp-script")
    found = predict_outage(state, killed(state, "vm1/bal1", "haproxy"), USER, VIP, http=True)
    assert (found.fate, found.notes) == (Fate.LOST, (Note.SCRIPTS,))


def test_an_observed_process_does_what_the_lab_declares() -> None:
    wanted = practica6()
    observed = State.of(
        replace(one, vrrp=(), health_checks=()) if isinstance(one, Process) else one for one in wanted
    )  # fmt: skip
    assert masters(observed) == []
    assert masters(as_declared(observed, wanted)) == ["vm1/bal1"]


def test_a_server_that_cannot_be_reached_is_tried_until_its_checks_have_failed() -> None:
    state = practica6()
    found = predict_outage(state, without(state, "vm1/serv1.eth0"), USER, VIP, http=True)
    assert causes(found) == ["health-check"]
    assert found.parts[0].formula == "fall × (inter + its timeout) = 3 × 2 × 2 s = 12 s"
    assert (found.low_s, found.high_s) == (10, 12)
    assert Note.SOME_REQUESTS in found.notes


def test_a_cut_that_a_ping_does_not_notice_costs_requests_until_the_checks_do() -> None:
    """serv3 is behind the tunnel, whose underlay has to converge."""
    assert predicted("cut w4").fate is Fate.UNHARMED
    found = predicted("cut w4", http=True)
    assert causes(found) == ["health-check"]
    assert (found.parts[0].seconds, found.low_s, found.high_s) == (12, 7.25, 11)
    assert Note.SOME_REQUESTS in found.notes


def test_a_server_whose_process_has_gone_refuses_and_is_given_up_sooner() -> None:
    state = State.of([*practica6(), Process(NodeName("vm1/serv1"), "apache", ("apache2",))])
    found = predict_outage(state, killed(state, "vm1/serv1", "apache"), USER, VIP, http=True)
    assert causes(found) == ["health-check"]
    assert found.parts[0].formula == "fall × inter = 3 × 2 s = 6 s"
    assert (found.low_s, found.high_s) == (4, 6)
    assert Note.SOME_REQUESTS in found.notes


def test_a_balancer_whose_servers_were_all_away_takes_them_back_after_rise_checks() -> None:
    """user2's requests end at bal2 with only serv1 and serv2 to ask, which are behind the tunnel."""
    state = killed(practica6(), "vm1/bal1", "keepalived")
    state = without(state, "vm2/serv3.eth0")
    found = predict_outage(state, without(state, "vm2.enp0s9", "vm2.enp0s8"), USER2, VIP, http=True)
    assert found.fate is Fate.LOST
    found = predict_outage(state, suffering("cut w2", state), USER2, VIP, http=True)
    assert found.composition == "stp-indirect + health-check"
    assert found.parts[-1].formula == "rise × inter = 2 × 2 s = 4 s"
    assert found.low_s == 7.25, "max age and twice the delay, less a hello and a hold time"
    assert found.high_s == 15


def test_nothing_changes_for_who_asks_an_address_that_stays() -> None:
    state = practica6()
    found = predict_outage(state, without(state, "vm1.vswout1"), USER2, ip_address("172.16.1.151"))
    assert found.fate is Fate.UNHARMED
    assert found.master_before is None


def test_an_ipv6_router_is_a_router_of_its_own() -> None:
    instance = VrrpInstance("six", NicName("out"), 12, 90, addresses=(ip_interface("fd00::fe/64"),))
    state = practica6()
    six = Process(NodeName("vm1/bal1"), "six", ("keepalived",), vrrp=(instance,))
    assert [router.version for router in virtual_routers(State.of([*state, six]))] == [4, 6]
