"""An outage, read from hand-made samples and events."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from dataclasses import replace

import pytest

from trenza.errors import UsageError
from trenza.fault.outage import Layer, OutageReport, ProbeOutage, Sample, Watched, is_settled, is_well, read_outage
from trenza.fault.picture import outage_svg
from trenza.fault.probes import (
    Probe,
    ProbeKind,
    echo_reply_sequence,
    echo_request,
    http_request,
    parse_probe,
    read_http_answer,
)
from trenza.fault.telling import report_data, report_lines
from trenza.model.event import Event
from trenza.model.names import NodeName
from trenza.theory.outage import Fate, Prediction

FAULT_S = 1000.0
PING = Probe(ProbeKind.PING, "user", "172.16.1.254", interval_s=0.01)
HTTP = Probe(ProbeKind.HTTP, "user", "172.16.1.254", 8000, interval_s=0.02)


def samples(
    probe: Probe, begin: float, end: float, lost: Iterable[tuple[float, float]] = (), note: str = ""
) -> list[Sample]:
    """One question an interval, seconds counting from the fault; those sent within `lost` get no answer."""
    made = []
    for number in range(round((end - begin) / probe.interval_s)):
        at = begin + number * probe.interval_s
        gone = any(low <= at < high for low, high in lost)
        made.append(Sample(FAULT_S + at, None if gone else FAULT_S + at + 0.001, "no answer" if gone else note))
    return made


def event(at: float, kind: str, node: str, text: str, **fields: str) -> Event:
    return Event(FAULT_S + at, kind, node, text, fields)


MASTER = event(3.2, "vrrp", "vm2/bal2", "vrrpext: MASTER \x1b[0m", state="MASTER")
FORWARDING = event(8.8, "stp", "swout1", "eth2 of swout1 is forwarding", state="forwarding")
MOVED = event(9.2, "arp", "user", "172.16.1.254 is at vm2/bal2.out now")


def test_silence_is_measured_from_the_last_good_reply_to_the_first() -> None:
    found = read_outage(PING, samples(PING, -1, 5, [(0, 3)]), (), FAULT_S)
    assert (found.sent, found.lost) == (300, 300)
    assert found.seconds == pytest.approx(3.001)
    assert found.resolution_s == 0.01
    assert found.windows == ((pytest.approx(FAULT_S - 0.009), pytest.approx(FAULT_S + 3.001)),)
    assert not found.intermittent
    assert found.reasons == {"no answer": 300}


def test_samples_in_any_order_give_the_same() -> None:
    ordered = samples(PING, -1, 5, [(0, 3)])
    assert read_outage(PING, ordered[::-1], (), FAULT_S) == read_outage(PING, ordered, (), FAULT_S)


def test_what_was_lost_long_before_the_fault_is_none_of_its_doing() -> None:
    found = read_outage(PING, samples(PING, -5, 5, [(-4, -3)]), (), FAULT_S)
    assert not found.harmed
    assert found.seconds == 0


def test_a_direct_outage_is_put_down_to_the_tree() -> None:
    found = read_outage(
        PING,
        samples(PING, -1, 12, [(0, 4)]),
        [event(3.995, *("stp", "swout1", "forwards"), state="forwarding")],
        FAULT_S,
    )
    assert [segment.layer for segment in found.segments] == [Layer.STP]
    assert found.by_layer() == {Layer.STP: pytest.approx(4.001)}


def test_each_stretch_is_put_down_to_the_layer_that_ended_it() -> None:
    found = read_outage(PING, samples(PING, -1, 12, [(0, 9.21)]), [MOVED, FORWARDING, MASTER], FAULT_S)
    assert [segment.layer for segment in found.segments] == [Layer.VRRP, Layer.STP, Layer.ARP]
    assert [round(segment.seconds, 2) for segment in found.segments] == [3.2, 5.6, 0.41]
    assert found.seconds == pytest.approx(sum(segment.seconds for segment in found.segments))


def test_what_no_event_explains_is_said_to_be_unexplained() -> None:
    found = read_outage(PING, samples(PING, -1, 12, [(0, 7)]), [MASTER], FAULT_S)
    assert [segment.layer for segment in found.segments] == [Layer.VRRP, Layer.UNEXPLAINED]
    assert read_outage(PING, samples(PING, -1, 12, [(0, 7)]), (), FAULT_S).by_layer().keys() == {Layer.UNEXPLAINED}


def test_somebody_elses_events_explain_nothing() -> None:
    others = [
        event(4, "arp", "user2", "172.16.1.254 is at vm2/bal2.out now"),
        event(5, "haproxy", "vm2/bal2", "b/serv1 is DOWN", state="DOWN"),
        event(6, "stp", "swout1", "eth2 of swout1 is listening", state="listening"),
    ]
    found = read_outage(PING, samples(PING, -1, 12, [(0, 7)]), others, FAULT_S)
    assert [segment.layer for segment in found.segments] == [Layer.UNEXPLAINED]


def test_a_balancer_matters_to_requests_once_they_get_there() -> None:
    down = [event(at, "haproxy", "vm2/bal2", f"b/serv{at} is DOWN", state="DOWN") for at in (5, 11)]
    elsewhere = event(11.5, "haproxy", "vm1/bal1", "b/serv3 is DOWN", state="DOWN")
    said = Prediction(Fate.OUTAGE, low_s=8, high_s=12, master_after=NodeName("vm2/bal2"))
    events = [MASTER, FORWARDING, MOVED, *down, elsewhere]
    found = read_outage(HTTP, samples(HTTP, -1, 15, [(0, 11.01)]), events, FAULT_S, said)
    assert [segment.layer for segment in found.segments] == [Layer.VRRP, Layer.STP, Layer.ARP, Layer.HEALTH]
    assert found.segments[-1].milestone is not None
    assert found.segments[-1].milestone.text == "b/serv11 is DOWN"


def thirds() -> list[Sample]:
    """One request in three is lost for six seconds; the others are answered by two servers in turn."""
    made = []
    for number in range(-50, 450):
        at = FAULT_S + 0.02 * number
        lost = number % 3 == 2 and 0 <= number < 300
        answered = None if lost else at + 0.002
        made.append(Sample(at, answered, "no answer" if lost else f"serv{number % 3 + 1}"))
    return made


def test_one_request_in_three_is_lost_until_the_checks_notice() -> None:
    down = event(5.99, "haproxy", "vm1/bal1", "b/serv3 is DOWN", state="DOWN")
    found = read_outage(HTTP, thirds(), [MASTER, FORWARDING, down], FAULT_S)
    assert found.intermittent
    assert found.lost == 100
    assert found.lost / found.sent == pytest.approx(1 / 3, abs=0.01)
    assert found.answers[0].keys() == {"serv1", "serv2", "serv3"}
    assert found.answers[1].keys() == {"serv1", "serv2"}
    assert [segment.layer for segment in found.segments] == [Layer.HEALTH]


def test_good_answers_by_chance_do_not_end_an_outage() -> None:
    """Two in three are answered anyway, twelve in a row (240 ms) one time in a hundred."""
    told = [event(at, "cluster", "master", f"told at {at}", state="endpoints") for at in (6.2, 6.22)]
    (segment,) = read_outage(HTTP, thirds(), told, FAULT_S).segments
    assert (segment.layer, segment.milestone and segment.milestone.text) == (Layer.CLUSTER, "told at 6.2")
    late = event(6.4, "cluster", "master", "told", state="endpoints")
    (segment,) = read_outage(HTTP, thirds(), [late], FAULT_S).segments
    assert segment.layer is Layer.UNEXPLAINED


def test_one_request_in_three_is_lost_until_the_cluster_withdraws_the_endpoint() -> None:
    lost = event(5.99, "cluster", "playancha", "the service default/web has lost 172.16.88.2", state="endpoints")
    ending = event(5.995, "cluster", "larrain", "the pod default/web is to end", state="Terminating")
    found = read_outage(HTTP, thirds(), [lost, ending], FAULT_S)
    (segment,) = found.segments
    assert segment.layer is Layer.CLUSTER
    assert segment.milestone is not None
    assert segment.milestone.text == lost.text


def test_one_that_does_not_come_back_has_no_length() -> None:
    found = read_outage(PING, samples(PING, -1, 5, [(0, 9)]), [MASTER], FAULT_S)
    assert (found.seconds, found.first_good_s, found.segments) == (None, None, ())
    assert not found.is_over
    assert found.windows[-1][1] is None


# ---------------------------------------------------------------- when it is over
def watched(own: list[Sample], waiting: float | None = None) -> Watched:
    return Watched(PING, own, None if waiting is None else FAULT_S + waiting)


def settled(
    own: list[Sample],
    now: float,
    *events: Event,
    moving: bool = False,
    waiting: float | None = None,
    unnoticed_s: float = 0,
) -> bool:
    return is_settled(
        [watched(own, waiting)], events, now=FAULT_S + now, since_s=FAULT_S, moving=moving, unnoticed_s=unnoticed_s
    )  # fmt: skip


def test_an_outage_is_over_when_all_is_well_and_quiet() -> None:
    own = samples(PING, -1, 12, [(0, 9)])
    assert settled(own, 12)
    assert not settled(own, 12, moving=True)
    assert not settled(own, 12, event(11.5, "haproxy", "b", "", state="DOWN"))
    assert settled(own, 12, event(10.5, "haproxy", "b", "", state="DOWN"))
    assert not settled(own, 12, waiting=11)
    assert not settled(own, 12, unnoticed_s=13)
    assert not settled(samples(PING, -1, 9.5, [(0, 9)]), 9.5)
    assert not settled(samples(PING, -1, 0.5), 0.5)


def test_a_probe_without_answers_is_not_well() -> None:
    assert not is_well(watched([]), FAULT_S)
    assert not is_well(watched(samples(PING, -1, 0, [(-2, 0)])), FAULT_S)
    assert is_well(watched(samples(PING, -1, 0)), FAULT_S)
    assert not is_well(watched(samples(PING, -1, 0)), FAULT_S + 5)


# ---------------------------------------------------------------- telling
def report(*probes: ProbeOutage) -> OutageReport:
    return OutageReport("down vm1.vswout1", FAULT_S, FAULT_S + 15, True, probes, (MASTER, FORWARDING, MOVED))


SAID = Prediction(Fate.OUTAGE, low_s=8, high_s=12)
WHOLE = report(
    read_outage(PING, samples(PING, -1, 12, [(0, 9.21)]), [MASTER, FORWARDING, MOVED], FAULT_S, SAID),
    read_outage(HTTP, thirds(), (), FAULT_S, Prediction(Fate.UNHARMED)),
    read_outage(
        PING, samples(PING, -1, 5, [(0, 9)]), (), FAULT_S, Prediction(Fate.LOST, high_s=math.inf, why="it is <gone>")
    ),
    read_outage(PING, samples(PING, -1, 5), (), FAULT_S),
)


def test_a_report_is_told_in_english_and_spanish() -> None:
    text = "\n".join(report_lines(WHOLE))
    assert "silent for 9.21 s ± 10 ms: 921 of 921 lost (100%)" in text
    assert "  3.20 s  VRRP          until vm2/bal2: vrrpext: MASTER" in text
    assert "theory: between 8.00 s and 12.00 s; measured within" in text
    assert "100 of 298 lost (34%)" in text
    assert "theory: nothing is lost; not what was measured" in text
    assert "theory: lost until it is mended: it is <gone>" in text
    assert "unharmed: none of 500 lost" in text
    assert "+3.200 s * vrrp" in text
    spanish = "\n".join(report_lines(WHOLE, "es"))
    assert "mudo 9.21 s ± 10 ms: 921 de 921 perdidas (100%)" in spanish
    assert "no vuelve al final" in spanish
    fields = {"state": "NotReady", "es": "larrain está NotReady"}
    lost = replace(WHOLE, events=(Event(FAULT_S + 5, "cluster", "larrain", "larrain is NotReady", fields),))
    assert "\n".join(report_lines(lost, "es")).endswith("+5.000 s * cluster  larrain    larrain está NotReady")
    assert "\n".join(report_lines(lost)).endswith("larrain is NotReady")
    assert "larrain está NotReady" in outage_svg(lost, "es")
    assert "teoría: entre 8.00 s y 12.00 s; lo medido está dentro" in spanish


def test_a_report_as_data_counts_from_the_fault() -> None:
    data = report_data(WHOLE)
    first = data["probes"][0]
    assert (first["outage_s"], first["last_good"]) == (
        pytest.approx(9.211, abs=0.001),
        pytest.approx(-0.009, abs=0.001),
    )
    assert data["probes"][2]["outage_s"] is None
    assert data["probes"][2]["theory"]["high_s"] is None
    assert data["events"][0]["at"] == pytest.approx(3.2)


@pytest.mark.parametrize("language", ["en", "es"])
def test_a_picture_is_an_image_with_a_description(language: str) -> None:
    root = ElementTree.fromstring(outage_svg(WHOLE, language))
    space = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img"
    description = root.find(f"{space}desc")
    assert description is not None
    assert "9.21 s" in (description.text or "")
    bars = [float(one.get("width", "0")) for one in root.iter(f"{space}rect") if one.get("class") == "bad"]
    assert len(bars) >= 100
    assert all(width > 0 for width in bars)


# ---------------------------------------------------------------- probes
def test_probes_as_people_write_them() -> None:
    assert parse_probe("ping user -> 172.16.1.254") == PING
    assert parse_probe("ping user→172.16.1.254") == PING
    assert parse_probe("http user -> http://172.16.1.254:8000") == HTTP
    assert parse_probe("http user -> 172.16.1.254:8000/a?b=c").path == "/a?b=c"
    assert parse_probe("tcp c1 -> [fd00::1]:80 every 50ms") == Probe(ProbeKind.TCP, "c1", "fd00::1", 80, "/", 0.05)
    assert parse_probe("ping c1 -> fd00::1").target == "fd00::1"
    assert parse_probe(str(HTTP)) == HTTP
    assert parse_probe("ping pod/@larrain -> pod/app=web@larrain") == Probe(
        ProbeKind.PING, "pod/@larrain", "pod/app=web@larrain"
    )
    at_pod = Probe(ProbeKind.HTTP, "c1", "pod/other/web", 8080, "/a/b", 0.02)
    assert parse_probe("http c1 -> http://pod/other/web:8080/a/b") == at_pod
    assert parse_probe(str(at_pod)) == at_pod
    assert parse_probe("tcp c1 -> pod/web:80") == Probe(ProbeKind.TCP, "c1", "pod/web", 80, "/", 0.02)
    assert parse_probe("http c1 -> http://web.svc/").target == "web.svc"


@pytest.mark.parametrize(
    "text",
    ["", "ping", "ping a", "ping a b", "ping a ->", "pong a -> b", "ping a -> b:80", "tcp a -> b", "http a -> ftp://b/",
     "tcp a -> b:99999", "ping a -> b every 1ms", "ping a -> b every soon",
     "ping a -> pod/b:80", "tcp a -> pod/b", "tcp a -> pod/b:99999", "http a -> http://pod/b/"],
)  # fmt: skip
def test_probes_that_cannot_be_meant_are_told(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_probe(text)
    assert caught.value.hint


@pytest.mark.parametrize("version", [4, 6])
def test_only_ones_own_echo_counts(version: int) -> None:
    nonce = b"12345678"
    request = echo_request(version, 77, 70_000, nonce)
    reply = bytes([0 if version == 4 else 129]) + request[1:]
    packet = (b"\x45" + bytes(19) if version == 4 else b"") + reply
    assert echo_reply_sequence(version, packet, nonce) == 70_000
    assert echo_reply_sequence(version, packet, b"87654321") is None
    assert echo_reply_sequence(version, packet[:-1], nonce) is None
    assert echo_reply_sequence(version, (b"\x45" + bytes(19) if version == 4 else b"") + request, nonce) is None
    assert echo_reply_sequence(version, b"", nonce) is None


def test_an_answer_is_read_when_it_is_whole() -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Length: 31\r\n\r\n<html><H1>serv1 <b>x</b></h1>\n\n"
    assert read_http_answer(page[:20], ended=False) is None
    assert read_http_answer(page[:-5], ended=False) is None
    answer = read_http_answer(page, ended=False)
    assert answer is not None
    assert (answer.status, answer.said) == (200, "serv1 x")
    endless = b"HTTP/1.0 503 No\r\n\r\n\nService down\n"
    assert read_http_answer(endless, ended=False) is None
    answer = read_http_answer(endless, ended=True)
    assert answer is not None
    assert (answer.status, answer.said) == (503, "Service down")
    for nonsense in (b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 ok\r\n\r\n"):
        with pytest.raises(ValueError, match="no HTTP answer"):
            read_http_answer(nonsense, ended=True)
    assert b"Host: 172.16.1.254:8000\r\n" in http_request(HTTP)
