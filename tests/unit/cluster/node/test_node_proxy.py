"""Services as rules: what is asked of nft, and that an update is all and only the difference."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from socket import IPPROTO_UDP
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trenza.cluster.node.batches import batches
from trenza.cluster.node.dns import zone
from trenza.cluster.node.proxy import (
    Endpoint,
    Network,
    Owner,
    Ruleset,
    ServicePort,
    changed,
    leads_astray,
    owner_of,
    replacement,
    ruleset,
    service_ports,
    update,
)
from trenza.cluster.node.words import service_words
from trenza.linux.conntrack import Flow

NETWORK = Network(
    "larrain", IPv4Network("172.16.0.0/16"), IPv4Network("10.254.0.0/16"), IPv4Network("172.16.27.0/24"),
    (IPv4Address("10.9.0.2"),),
)  # fmt: skip


def backend(number: int) -> Endpoint:
    return Endpoint(IPv4Address("172.16.27.2") + number, 8080, number % 2 == 0)


PORTS = st.builds(
    ServicePort,
    st.just("default"),
    st.sampled_from(["web", "db", "dns"]),
    st.sampled_from(["", "http"]),
    st.sampled_from(["tcp", "udp"]),
    st.sampled_from([IPv4Address("10.254.0.5"), IPv4Address("10.254.0.6")]),
    st.sampled_from([80, 81]),
    st.sampled_from([0, 30080]),
    st.just(()),
    st.sampled_from([0, 100, 200]),
    st.booleans(),
    st.lists(st.integers(0, 4), unique=True, max_size=4).map(lambda numbers: tuple(map(backend, sorted(numbers)))),
    st.booleans(),
    st.just(()),
    st.just((IPv4Address("10.9.0.200"),)),
    st.sampled_from([(), (IPv4Network("10.0.0.0/8"),)]),
)
SETS = st.lists(PORTS, max_size=4, unique_by=lambda port: (port.service, port.port_name, port.protocol))


class Table:
    """What nft holds after commands, as far as these use it; refuses what nft would."""

    def __init__(self) -> None:
        self.chains: dict[str, list[str]] = {}
        self.elements: dict[tuple[str, str], str] = {}
        self.sets: dict[str, Any] = {}

    def say(self, commands: list[dict[str, Any]]) -> None:
        for command in commands:
            ((verb, what),) = command.items()
            ((kind, value),) = what.items()
            getattr(self, f"{verb}_{kind}")(value)

    def add_table(self, value: dict[str, Any]) -> None:
        pass

    def delete_table(self, value: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]

    def add_chain(self, value: dict[str, Any]) -> None:
        self.chains.setdefault(value["name"], [])

    def flush_chain(self, value: dict[str, Any]) -> None:
        self.chains[value["name"]] = []

    def delete_chain(self, value: dict[str, Any]) -> None:
        assert not self.chains.pop(value["name"])
        name = f'"{value["name"]}"'
        assert not any(name in rule for rules in self.chains.values() for rule in rules), f"{name} is used"
        assert value["name"] not in self.elements.values()

    def add_rule(self, value: dict[str, Any]) -> None:
        rule = json.dumps(value["expr"])
        for word in rule.split('"'):
            if word.startswith(("endpoint-", "service-", "external-", "local-", "firewall-")):
                assert word in self.chains or word in self.sets, word
            if word.startswith("@affinity-"):
                assert word[1:] in self.sets, word
        self.chains[value["chain"]].append(rule)

    def add_set(self, value: dict[str, Any]) -> None:
        assert value["name"] not in self.sets
        self.sets[value["name"]] = value.get("timeout", 0)

    def add_map(self, value: dict[str, Any]) -> None:
        self.sets[value["name"]] = 0

    def delete_set(self, value: dict[str, Any]) -> None:
        name = f'"@{value["name"]}"'
        assert not any(name in rule for rules in self.chains.values() for rule in rules), f"{name} is used"
        del self.sets[value["name"]]

    def add_element(self, value: dict[str, Any]) -> None:
        (element,) = value["elem"]
        key, verdict = element if isinstance(element, list) else (element, "")
        target = verdict["goto"]["target"] if verdict else ""
        assert not target or target in self.chains
        place = (value["name"], json.dumps(key))
        assert place not in self.elements or self.elements[place] == target, f"{place} is there"
        self.elements[place] = target

    def delete_element(self, value: dict[str, Any]) -> None:
        (element,) = value["elem"]
        key = element[0] if isinstance(element, list) else element
        del self.elements[value["name"], json.dumps(key)]

    def value(self) -> Any:
        return self.chains, self.elements, self.sets


def served(ports: Iterable[ServicePort]) -> dict[Owner, list[ServicePort]]:
    """The ports by who has them."""
    found: dict[Owner, list[ServicePort]] = {}
    for one in ports:
        found.setdefault((0, one.namespace, one.service), []).append(one)
    return found


def rules_of(ports: Iterable[ServicePort], network: Network = NETWORK) -> Ruleset:
    return ruleset(network, served(ports))


def chains_of(rules: Ruleset) -> dict[str, Any]:
    return {name: chain for part in rules.parts.values() for name, chain in part.chains.items()}


@given(SETS, SETS, SETS)
def test_an_update_ends_where_a_replacement_would(
    first: list[ServicePort], second: list[ServicePort], third: list[ServicePort]
) -> None:
    table, held = Table(), rules_of(first)
    table.say(replacement(held))
    for ports in (second, third, first):
        nobody: dict[Owner, list[ServicePort]] = {owner: [] for owner in held.parts if owner[0] == 0}
        wanted = changed(held, nobody | served(ports))
        assert wanted == rules_of(ports)
        table.say(update(held, wanted))
        fresh = Table()
        fresh.say(replacement(wanted))
        assert table.value() == fresh.value()
        assert update(wanted, wanted) == []
        held = wanted


def test_a_change_in_a_thousand_services_is_a_few_commands() -> None:
    ports = [port(number, 3) for number in range(1000)]
    held = rules_of(ports)
    wanted = changed(held, served([port(500, 4)]))
    assert len(update(held, wanted)) <= 8
    less = changed(held, {(0, "default", "web0"): ()})
    assert len(update(held, less)) <= 14
    for after in (wanted, less):  # and nobody has looked at the others
        assert sum(after.parts.get(owner) is not part for owner, part in held.parts.items()) == 1
        assert sum(after.wishes.get(key) is not wishes for key, wishes in held.wishes.items()) <= 2


@given(SETS, SETS, st.sampled_from([100, 3000, 6000, 1 << 20]))
def test_batches_end_where_one_transaction_would(
    first: list[ServicePort], second: list[ServicePort], limit_bytes: int
) -> None:
    table, held, wanted = Table(), rules_of(first), rules_of(second)
    for commands in (*batches(None, held, limit_bytes), *batches(held, wanted, limit_bytes)):
        table.say(commands)
    fresh = Table()
    fresh.say(replacement(wanted))
    assert table.value() == fresh.value()


def test_no_batch_leaves_half_a_service_behind() -> None:
    def service_of(table: Table, number: int) -> object:
        mark = f"/web{number}/"
        chains = {name: rules for name, rules in table.chains.items() if mark in name}
        elements = {key: target for key, target in table.elements.items() if f'"10.254.1.{number}"' in key[1]}
        return chains, elements

    tables: list[Table] = []
    held = rules_of([port(number, 3) for number in range(40)])
    # others have more endpoints, some none any more, and one's address and port are another's
    after = [port(number, number % 5) for number in range(39)]
    wanted = rules_of([*after, replace(port(60, 2), address=IPv4Address("10.254.1.39"))])
    for rules in (held, wanted):
        tables.append(Table())
        tables[-1].say(replacement(rules))
    for one, first in ((held, tables[0]), (None, Table())):
        now = Table()
        now.say(replacement(held))
        steps = list(batches(one, wanted, 10_000))
        assert len(steps) > 3 and all(len(json.dumps(step, separators=(",", ":"))) <= 10_000 for step in steps)
        for step in steps:
            now.say(step)
            for number in range(61):
                assert service_of(now, number) in (service_of(first, number), service_of(tables[1], number)), number
        assert now.value() == tables[1].value()


def test_what_fits_is_one_transaction_and_a_large_service_is_cut() -> None:
    held = rules_of([port(number, 3) for number in range(40)])
    assert len(list(batches(None, held, 1 << 20))) == 1
    assert [*batches(None, held, 1 << 20)] == [replacement(held)]
    assert list(batches(held, held, 1 << 20)) == []
    large = rules_of([port(0, 400)])
    sizes = [len(json.dumps(step, separators=(",", ":"))) for step in batches(held, large, 70_000)]
    assert len(sizes) > 1 and max(sizes) <= 70_000


def port(number: int, endpoints: int) -> ServicePort:
    address = IPv4Address("10.254.1.0") + number
    return ServicePort(
        "default", f"web{number}", "", "tcp", address, 80, endpoints=tuple(map(backend, range(endpoints)))
    )


def service(**spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "protocol": "TCP", "nodePort": 30080}]
    return {
        "metadata": {"namespace": "default", "name": "web"},
        "spec": {"clusterIP": "10.254.0.5", "ports": ports, **spec},
    }


def slice_of(*endpoints: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "default", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": list(endpoints),
    }


def endpoint(address: str, node: str = "larrain", **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "nodeName": node, "conditions": conditions}


def test_ports_have_their_ready_endpoints() -> None:
    one = slice_of(
        endpoint("172.16.24.4", "concepcion", ready=True), endpoint("172.16.27.7"), endpoint("172.16.27.8", ready=False)
    )
    assert owner_of(one) == ("default", "web")
    (found,) = service_ports(service(sessionAffinity="ClientIP"), [one], "larrain")
    assert found.endpoints == (
        Endpoint(IPv4Address("172.16.24.4"), 8080),
        Endpoint(IPv4Address("172.16.27.7"), 8080, True),
    )
    assert found.affinity_s == 10800 and found.node_port == 30080 and found.words == "default/web:http"


def test_endpoints_that_end_serve_while_there_is_no_other() -> None:
    ending = endpoint("172.16.27.7", ready=False, serving=True, terminating=True)
    (found,) = service_ports(service(), [slice_of(ending)], "larrain")
    assert [str(one.address) for one in found.endpoints] == ["172.16.27.7"]
    (found,) = service_ports(service(), [slice_of(ending, endpoint("172.16.27.8", ready=True))], "larrain")
    assert [str(one.address) for one in found.endpoints] == ["172.16.27.8"]


def test_what_has_no_address_has_no_rules() -> None:
    assert service_ports(service(clusterIP="None"), [], "larrain") == ()
    assert service_ports(service(type="ExternalName"), [], "larrain") == ()


def test_without_endpoints_there_is_only_a_refusal() -> None:
    rules = rules_of(service_ports(service(), [], "larrain"))
    assert rules.element(("no-endpoint-services", ("10.254.0.5", "tcp", 80))) == "reject-chain"
    assert rules.element(("no-endpoint-nodeports", ("tcp", 30080))) == "reject-chain"
    assert not chains_of(rules)
    assert isinstance(rules, Ruleset)


def test_local_traffic_stays_and_is_dropped_where_there_is_nobody() -> None:
    far = slice_of(endpoint("172.16.24.4", "concepcion", ready=True))
    (found,) = service_ports(service(externalTrafficPolicy="Local"), [far], "larrain")
    rules = rules_of([found])
    (entry,) = (chain for name, chain in chains_of(rules).items() if name.startswith("external-"))
    assert entry[-1] == ({"drop": None},)
    assert rules.element(("service-ips", ("10.254.0.5", "tcp", 80))).startswith("service-")


def test_a_local_policy_inside_is_of_the_services_own_address_only() -> None:
    both = slice_of(endpoint("172.16.24.4", "concepcion", ready=True), endpoint("172.16.27.7", ready=True))
    (found,) = service_ports(service(internalTrafficPolicy="Local"), [both], "larrain")
    rules = rules_of([found])
    inside = chains_of(rules)[rules.element(("service-ips", ("10.254.0.5", "tcp", 80)))]
    assert "172.16.27.7" in str(inside[-1]) and "172.16.24.4" not in str(inside)
    entry = chains_of(rules)[rules.element(("service-nodeports", ("tcp", 30080)))]
    assert "172.16.24.4" in str(chains_of(rules)[entry[-1][0]["goto"]["target"]])
    nobody = rules_of(service_ports(service(internalTrafficPolicy="Local"), [both], "playancha"))
    assert nobody.element(("no-endpoint-services", ("10.254.0.5", "tcp", 80))) == "drop-chain"
    assert nobody.element(("service-nodeports", ("tcp", 30080))) is not None
    # without a way in from outside nothing is kept for those elsewhere
    closed = service(internalTrafficPolicy="Local", ports=[{"name": "http", "port": 80}])
    assert not chains_of(rules_of(service_ports(closed, [both], "playancha")))


def test_a_local_endpoint_that_ends_serves_while_this_host_has_no_other() -> None:
    ending = endpoint("172.16.27.7", ready=False, serving=True, terminating=True)
    both = slice_of(endpoint("172.16.24.4", "concepcion", ready=True), ending)
    (found,) = service_ports(service(externalTrafficPolicy="Local"), [both], "larrain")
    assert [str(one.address) for one in found.endpoints] == ["172.16.24.4"]
    assert [str(one.address) for one in found.local_endpoints] == ["172.16.27.7"]
    entry = rules_of([found]).element(("service-nodeports", ("tcp", 30080)))
    chains = chains_of(rules_of([found]))
    assert "172.16.27.7" in str(chains[chains[entry][-1][0]["goto"]["target"]])
    own = endpoint("172.16.27.8", ready=True)
    (found,) = service_ports(service(), [slice_of(ending, own)], "larrain")
    assert [str(one.address) for one in found.local_endpoints] == ["172.16.27.8"]


def test_a_flow_of_udp_stays_where_any_endpoint_still_serves_it() -> None:
    endings = (Endpoint(IPv4Address("172.16.27.7"), 53, True),)
    ready = (Endpoint(IPv4Address("172.16.24.4"), 53),)
    dns = ServicePort(
        "default", "dns", "", "udp", IPv4Address("10.254.0.5"), 53, endpoints=ready, ending_here=endings,
        local_only=True,
    )  # fmt: skip
    for answers, is_astray in (("172.16.24.4", False), ("172.16.27.7", False), ("172.16.27.9", True)):
        flow = Flow(IPPROTO_UDP, IPv4Address("10.254.0.5"), 53, IPv4Address(answers), b"")
        assert leads_astray(flow, [dns], NETWORK) is is_astray


def test_a_load_balancers_address_is_guarded_by_its_source_ranges() -> None:
    def made(*ranges: str, mode: str = "VIP") -> Ruleset:
        ingress = [{"ip": "10.9.0.200", "ipMode": mode}]
        balanced = service(type="LoadBalancer", loadBalancerSourceRanges=list(ranges))
        balanced["status"] = {"loadBalancer": {"ingress": ingress}}
        return rules_of(service_ports(balanced, [slice_of(endpoint("172.16.27.7", ready=True))], "larrain"))

    key = ("firewall-ips", ("10.9.0.200", "tcp", 80))
    rules = made("10.8.0.0/24 ", "10.8.0.0/16", "2001:db8::/64")
    ((source, drop),) = chains_of(rules)[rules.element(key)]
    assert source["match"]["op"] == "!=" and drop == {"drop": None}
    assert source["match"]["right"] == {"set": [{"prefix": {"addr": "10.8.0.0", "len": 16}}]}
    assert "10.9.0.200" in str(chains_of(made("10.9.0.0/30")))  # a host that may ask does so from there, too
    assert made().element(key) is None and made("2001:db8::/64").element(key) is None
    assert made().element(("service-ips", key[1])) is not None
    assert made(mode="Proxy").element(("service-ips", key[1])) is None


def test_where_bridged_packets_are_not_seen_neighbours_are_masqueraded() -> None:
    blind = Network(NETWORK.node, NETWORK.pods, NETWORK.services, NETWORK.own_pods, NETWORK.node_addresses, False)
    (chain,) = (
        rules for name, rules in chains_of(rules_of([port(1, 1)], blind)).items() if name.startswith("endpoint")
    )
    assert chain[0][0]["match"]["right"] == {"prefix": {"addr": "172.16.27.0", "len": 24}}


def test_names_of_chains_are_ones_that_nft_takes() -> None:
    long = ServicePort("n" * 63, "s" * 63, "p" * 15, "tcp", IPv4Address("10.254.0.5"), 80, endpoints=(backend(0),))
    other = ServicePort("n" * 63, "s" * 63, "q" * 15, "tcp", IPv4Address("10.254.0.5"), 81, endpoints=(backend(0),))
    names = [*chains_of(rules_of([long, other]))]
    assert len(set(names)) == 4 and max(map(len, names)) <= 127


def test_a_service_in_words_in_both_languages() -> None:
    ports = service_ports(
        service(sessionAffinity="ClientIP"),
        [slice_of(endpoint("172.16.27.7", ready=True), endpoint("172.16.24.4"))],
        "larrain",
    )
    english = service_words(NETWORK, ports)
    assert english[0] == "To 10.254.0.5 port 80/tcp (default/web:http):"
    assert "  who was here less than 10800 s ago goes to the same one again" in english
    assert (
        "  a new connection goes to one of 2 by chance, each as likely: 172.16.24.4:8080, 172.16.27.7:8080" in english
    )
    assert "  the same on port 30080 of this host (10.9.0.2), and the source becomes this host's" in english
    spanish = service_words(NETWORK, service_ports(service(), [], "larrain"), language="es")
    assert spanish[1] == "  nadie lo atiende; un paquete se rechaza en el acto (ICMP puerto inalcanzable)"


@pytest.mark.parametrize(
    "spec",
    [
        {"clusterIP": "10.254.0.9", "ports": None},
        {"clusterIP": "10.254.0.9", "ports": [{"port": 99_999, "protocol": "TCP"}]},
        {"clusterIP": "10.254.0.9", "ports": [{"port": "http"}]},
        {"clusterIP": "10.254.0.9", "ports": [{"port": 80, "protocol": "ICMP"}]},
        {"clusterIP": "10.254.0.9", "ports": [{"port": 80, "nodePort": -1}]},
        {"clusterIP": "10.254.0.9", "ports": [{"port": 80, "name": "a b; drop"}]},
        {"clusterIP": "10.254.0.9", "ports": [{}]},
        {"clusterIP": "10.254.0.9", "ports": [{"port": 80}], "sessionAffinity": "ClientIP", "sessionAffinityConfig": 1},
        None,
    ],
)
def test_what_is_written_by_hand_and_is_no_service_has_no_rules_and_no_names(spec: Any) -> None:
    service = {"metadata": {"namespace": "default", "name": "odd"}, "spec": spec}
    assert service_ports(service, [], "larrain") == ()
    good = {"metadata": {"namespace": "default", "name": "good"}, "spec": {"clusterIP": "10.254.0.5", "ports": []}}
    known = zone([service, good], [{"metadata": {"namespace": "default"}}])
    assert known.records["good.default.svc.cluster.local"] == {"A": ["10.254.0.5"]}
