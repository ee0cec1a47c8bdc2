"""Questions to the cluster's name server and what it answers, as bytes."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.reversename
from hypothesis import given
from hypothesis import strategies as st

from trenza.cluster.node.dns import ResolvConf, answer, failure, resolv_conf, zone


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "default", "name": name}, "spec": spec}


SLICE = {
    "metadata": {"namespace": "default", "name": "db-1", "labels": {"kubernetes.io/service-name": "db"}},
    "endpoints": [
        {"addresses": ["172.16.27.2"], "hostname": "db-0", "conditions": {"ready": True}},
        {"addresses": ["172.16.24.3"], "conditions": {"ready": True}},
        {"addresses": ["172.16.24.4"], "conditions": {"ready": False}},
    ],
    "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}],
}
KNOWN = zone(
    [
        service("web", clusterIP="10.254.0.5", ports=[{"name": "http", "port": 80}]),
        service("db", clusterIP="None", ports=[{"name": "sql", "port": 5432}]),
        service("away", type="ExternalName", externalName="example.org"),
    ],
    [SLICE],
)


def ask(name: str, kind: str = "A") -> dns.message.Message:
    question = dns.message.make_query(name, kind)
    wire = answer(question.to_wire(), KNOWN)
    assert wire
    found = dns.message.from_wire(wire)
    assert found.id == question.id and found.flags & dns.flags.AA
    return found


def data(name: str, kind: str = "A") -> list[str]:
    return sorted(one.to_text() for rrset in ask(name, kind).answer for one in rrset)


def test_services_endpoints_and_pods_have_names() -> None:
    assert data("web.default.svc.cluster.local") == ["10.254.0.5"]
    assert data("WEB.Default.svc.cluster.LOCAL") == ["10.254.0.5"]
    assert data("db.default.svc.cluster.local") == ["172.16.24.3", "172.16.27.2"]
    assert data("db-0.db.default.svc.cluster.local") == ["172.16.27.2"]
    assert data("172-16-24-3.db.default.svc.cluster.local") == ["172.16.24.3"]
    assert data("172-16-27-9.default.pod.cluster.local") == ["172.16.27.9"]
    assert data("away.default.svc.cluster.local") == ["example.org."]


def test_ports_and_addresses_have_names() -> None:
    assert data("_http._tcp.web.default.svc.cluster.local", "SRV") == ["0 100 80 web.default.svc.cluster.local."]
    found = ask("_sql._tcp.db.default.svc.cluster.local", "SRV")
    assert len(found.answer[0]) == 2 and len(found.additional) == 2
    assert data(str(dns.reversename.from_address("10.254.0.5")), "PTR") == ["web.default.svc.cluster.local."]
    assert data(str(dns.reversename.from_address("172.16.27.2")), "PTR") == ["db-0.db.default.svc.cluster.local."]


def test_what_is_not_there_is_denied_and_what_has_no_such_data_is_empty() -> None:
    assert ask("no.default.svc.cluster.local").rcode() == dns.rcode.NXDOMAIN
    assert ask("x.pod.cluster.local").rcode() == dns.rcode.NXDOMAIN
    for name, kind in (("web.default.svc.cluster.local", "AAAA"), ("default.svc.cluster.local", "A")):
        found = ask(name, kind)
        assert found.rcode() == dns.rcode.NOERROR and not found.answer and found.authority


def test_what_is_elsewhere_is_for_others() -> None:
    assert answer(dns.message.make_query("example.org", "A").to_wire(), KNOWN) is None
    assert (
        dns.message.from_wire(failure(dns.message.make_query("example.org", "A").to_wire())).rcode()
        == dns.rcode.SERVFAIL
    )


def test_an_answer_too_large_for_a_datagram_is_cut() -> None:
    many = {**SLICE, "endpoints": [{"addresses": [f"172.16.{n // 250}.{n % 250 + 1}"]} for n in range(400)]}
    known = zone([service("db", clusterIP="None", ports=[])], [many])
    question = dns.message.make_query("db.default.svc.cluster.local", "A").to_wire()
    cut = dns.message.from_wire(answer(question, known) or b"")
    assert cut.flags & dns.flags.TC
    whole = dns.message.from_wire(answer(question, known, limit_bytes=65535) or b"")
    assert len(whole.answer[0]) == 400


def test_who_does_not_say_how_much_it_takes_gets_512_bytes() -> None:
    some = {**SLICE, "endpoints": [{"addresses": [f"172.16.1.{n + 1}"]} for n in range(40)]}
    known = zone([service("db", clusterIP="None", ports=[])], [some])
    plain = dns.message.make_query("db.default.svc.cluster.local", "A")
    wire = answer(plain.to_wire(), known) or b""
    assert len(wire) <= 512
    assert dns.message.from_wire(wire).flags & dns.flags.TC
    for payload, count in ((4096, 40), (100, 0)):
        asked = dns.message.make_query("db.default.svc.cluster.local", "A", use_edns=0, payload=payload)
        found = dns.message.from_wire(answer(asked.to_wire(), known) or b"")
        assert sum(len(rrset) for rrset in found.answer) == count


@given(st.binary(max_size=80))
def test_any_bytes_are_answered_or_ignored(junk: bytes) -> None:
    assert answer(junk, KNOWN) is not None or len(junk) >= 12
    failure(junk)


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "default", "name": "p"}, "spec": spec}


HOST = ResolvConf.read("# by hand\nnameserver 10.9.0.254\nsearch dept.example\noptions timeout:1\n")
SERVER = IPv4Address("10.254.0.10")
CLUSTER = "search default.svc.cluster.local svc.cluster.local cluster.local dept.example"


def test_a_pods_resolver_is_the_clusters_or_its_hosts() -> None:
    mine = f"{CLUSTER}\nnameserver 10.254.0.10\noptions ndots:5\n"
    hosts = "search dept.example\nnameserver 10.9.0.254\noptions timeout:1\n"
    assert str(resolv_conf(pod(), SERVER, HOST)) == mine
    assert str(resolv_conf(pod(hostNetwork=True), SERVER, HOST)) == hosts
    assert str(resolv_conf(pod(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet"), SERVER, HOST)) == mine
    assert str(resolv_conf(pod(dnsPolicy="Default"), SERVER, HOST)) == hosts


def test_what_a_pod_says_of_its_resolver_is_added_whatever_its_policy() -> None:
    said = {
        "nameservers": ["10.9.0.53", "10.254.0.10"],
        "searches": ["more.example"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
    }
    assert str(resolv_conf(pod(dnsConfig=said), SERVER, HOST)) == (
        f"{CLUSTER} more.example\nnameserver 10.254.0.10\nnameserver 10.9.0.53\noptions ndots:2 edns0\n"
    )
    alone = str(resolv_conf(pod(dnsConfig=said, dnsPolicy="None"), SERVER, HOST))
    assert alone == "search more.example\nnameserver 10.9.0.53\nnameserver 10.254.0.10\noptions ndots:2 edns0\n"
