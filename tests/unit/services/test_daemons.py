"""What daemons' configs become and what is read out of them, whoever wrote them."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_interface

import pytest

from trenza.model.names import NicName
from trenza.model.services import Apache, Dnsmasq, Haproxy, Keepalived, Section, Server, TrackScript, VrrpOptions
from trenza.model.state import HealthCheck, Ready, VrrpInstance
from trenza.services import apache, dnsmasq, haproxy, keepalived
from trenza.services.daemons import Refusal, program_of, refusals

SHEET_KEEPALIVED = """
vrrp_instance vrrpext {\x20
        state BACKUP\x20
        interface vbal1out_b
        virtual_router_id 12\x20
        priority 150
        advert_int 1
        virtual_ipaddress {
                172.16.1.254
        }
}
"""
SHEET_HAPROXY = """
frontend miservidor
  bind *:8000
  default_backend misServidores
backend misServidores
  balance roundrobin
  server serv1 10.0.0.1:80 check
  server serv2 10.0.0.2:80 check inter 500 fall 2   # milliseconds
  server serv3 10.0.0.3:80
"""


def instance(**options: object) -> VrrpOptions:
    return VrrpOptions("vrrpext", NicName("out"), 12, 150, addresses=(ip_interface("172.16.1.254/32"),), **options)  # type: ignore[arg-type]


def test_the_sheets_keepalived_config_is_read() -> None:
    (router,) = keepalived.instances(SHEET_KEEPALIVED)
    assert router == VrrpInstance(
        "vrrpext", NicName("vbal1out_b"), 12, 150, 1, (ip_interface("172.16.1.254/32"),), preempt=True
    )


def test_a_generated_keepalived_config_says_what_was_asked() -> None:
    options = Keepalived(
        (instance(nopreempt=True, numbers={"garp_master_refresh": 5}, track_script=("haproxy",)),),
        (TrackScript("haproxy", ("/usr/bin/killall", "-0", "a b"), {"interval": 1, "weight": -60}),),
        vrrp_startup_delay=5.5,
    )
    text = keepalived.config_text(options)
    assert "    script \"/usr/bin/killall -0 'a b'\"\n    interval 1\n    weight -60\n" in text
    assert "    vrrp_startup_delay 5.5\n" in text
    assert "    track_script {\n        haproxy\n    }\n" in text
    assert "    garp_master_refresh 5\n" in text
    (router,) = keepalived.instances(text)
    assert (router.priority, router.preempt, router.addresses) == (150, False, instance().addresses)


def test_braces_on_lines_of_their_own_and_comments_are_read() -> None:
    text = (
        "vrrp_instance a\n{\n interface e0 # the outer one\n virtual_router_id 7\n virtual_ipaddress { 10.0.0.1/24 }\n}"
    )
    (router,) = keepalived.instances(text)
    assert (router.nic, router.id, router.priority) == ("e0", 7, 100)
    assert router.addresses == (ip_interface("10.0.0.1/24"),)


def test_an_instance_without_interface_or_with_nonsense_is_left_out() -> None:
    assert keepalived.instances("vrrp_instance a { virtual_router_id x }\nvrrp_instance b {") == ()


def test_the_sheets_haproxy_checks() -> None:
    assert haproxy.health_checks(SHEET_HAPROXY) == (
        HealthCheck("misServidores", "serv1", IPv4Address("10.0.0.1"), 80, 2.0, 3, 2),
        HealthCheck("misServidores", "serv2", IPv4Address("10.0.0.2"), 80, 0.5, 2, 2),
    )
    assert haproxy.bound_port(SHEET_HAPROXY) == 8000


def test_defaults_and_default_server_count() -> None:
    text = "defaults\n default-server inter 1s fall 5\nbackend b\n default-server check fall 4\n"
    text += " server s 10.0.0.1:81 rise 1\n"
    (check,) = haproxy.health_checks(text)
    assert (check.inter_s, check.fall, check.rise, check.port) == (1.0, 4, 1, 81)


def test_a_port_bound_on_one_address_is_not_on_the_loopback() -> None:
    assert haproxy.bound_port("frontend f\n bind 172.16.1.254:8000\n") is None
    assert haproxy.bound_port("frontend f\n bind :8000\n") == 8000


def test_a_generated_haproxy_config() -> None:
    server = Server("serv1", "10.0.0.1:80", check=True, inter=0.5, fall=2, weight=3, cookie="a", backup=True)
    sections = (Section("backend", "b", (("balance", "roundrobin"), ("option", "redispatch 1")), (server,)),)
    text = haproxy.config_text(Haproxy(sections))
    assert text.startswith(haproxy.BASE)
    assert "backend b\n    balance roundrobin\n    option redispatch 1\n" in text
    assert "    server serv1 10.0.0.1:80 check inter 500ms fall 2 weight 3 cookie a backup\n" in text


def test_a_config_given_word_for_word_is_kept() -> None:
    for service in (Keepalived(config="x\n"), Haproxy(config="x\n"), Apache(config="x\n"), Dnsmasq(config="x\n")):
        program = program_of(service)
        assert program.files == ((program.config, "x\n"),)


def test_apache_has_php_unless_it_is_left_out() -> None:
    assert f"Include {apache.PHP_CONFIG_PATH}\n" in apache.config_text(Apache())
    assert "php" not in apache.config_text(Apache(php=False))
    assert "Listen 8080\n" in apache.config_text(Apache(listen=8080))
    assert program_of(Apache(listen=8080)).ready == Ready(tcp=8080)


def test_dnsmasq_has_its_own_options_line_by_line() -> None:
    text = dnsmasq.config_text(Dnsmasq((("dhcp-range", "10.0.0.10,10.0.0.20,1h"), ("interface", "eth0"))))
    assert text.endswith("dhcp-range=10.0.0.10,10.0.0.20,1h\ninterface=eth0\n")


def test_apache_is_ready_when_its_port_answers_whoever_wrote_its_config() -> None:
    assert program_of(Apache(config="listen 8081\n")).ready == Ready(tcp=8081)
    assert program_of(Apache(config="Listen *:80\nListen 10.0.0.1:81\n")).ready == Ready(tcp=80)
    ready = program_of(Apache(config="Listen 10.0.0.1:81\n")).ready
    assert ready.command == ("apache2", "-t", "-f", "/etc/apache2/httpd.conf")


KEEPALIVED = "/etc/keepalived/keepalived.conf"
HAPROXY = "/etc/haproxy/haproxy.cfg"
HTTPD = "/etc/apache2/httpd.conf"


@pytest.mark.parametrize(
    ("service", "said", "expected"),
    [
        (
            "haproxy",
            f"[NOTICE]   (7) : haproxy version is 2.6.12\n"
            f"[ALERT]    (7) : config : parsing [{HAPROXY}:12] : unknown keyword 'balanse'\n"
            f"[ALERT]    (7) : config : [{HAPROXY}:13] : 'server b/a' : unknown keyword 'chek'\n"
            f"[ALERT]    (7) : config : Fatal errors found in configuration.\n",
            (
                Refusal("unknown keyword 'balanse'", HAPROXY, 12),
                Refusal("'server b/a' : unknown keyword 'chek'", HAPROXY, 13),
            ),
        ),
        (
            "haproxy",
            "[ALERT]    (7) : config : Fatal errors found in configuration.\n",
            (Refusal("Fatal errors found in configuration."),),
        ),
        ("haproxy", "[WARNING] (9) : Server b/s is DOWN, reason: Layer4 timeout\n", ()),
        (
            "keepalived",
            f"Thu Nov 26 10:00:00 2026: ({KEEPALIVED}: Line 3) Unknown keyword 'prioriti'\n"
            f"Thu Nov 26 10:00:00 2026: ({KEEPALIVED}: Line 4) WARNING - interface x for instance a doesn't exist\n"
            "Thu Nov 26 10:00:00 2026: Non-existent interface specified in configuration\n",
            (
                Refusal("Unknown keyword 'prioriti'", KEEPALIVED, 3),
                Refusal("interface x for instance a doesn't exist", KEEPALIVED, 4),
            ),
        ),
        (
            "keepalived",
            "Thu Nov 26 10:00:00 2026: There are 2 missing '}'s or extra '{'s\n",
            (Refusal("There are 2 missing '}'s or extra '{'s"),),
        ),
        (
            "keepalived",
            "Thu Nov 26 10:00:00 2026: Unsafe permissions found for script '/usr/bin/killall' - disabling.\n",
            (Refusal("Unsafe permissions found for script '/usr/bin/killall' - disabling."),),
        ),
        (
            "keepalived",
            f"Thu Nov 26 10:00:00 2026: ({KEEPALIVED}: Line 3) Unknown keyword 'prioriti'\n"
            "Thu Nov 26 10:00:09 2026: Reloading ...\nThu Nov 26 10:00:09 2026: (vrrpext) Entering BACKUP STATE\n",
            (),
        ),
        (
            "apache",
            f"AH00526: Syntax error on line 3 of {HTTPD}:\nInvalid command 'Lissten', perhaps\n",
            (Refusal("Invalid command 'Lissten', perhaps", HTTPD, 3),),
        ),
        (
            "apache",
            f"apache2: Syntax error on line 1 of {HTTPD}: Cannot load /x.so into server: /x.so\n",
            (Refusal("Cannot load /x.so into server: /x.so", HTTPD, 1),),
        ),
        (
            "apache",
            "AH00558: apache2: Could not reliably determine the server's name\n"
            "AH00534: apache2: Configuration error: No MPM loaded.\n",
            (Refusal("No MPM loaded."),),
        ),
        (
            "dnsmasq",
            "\ndnsmasq: bad option at line 5 of /etc/dnsmasq.conf\n",
            (Refusal("bad option", "/etc/dnsmasq.conf", 5),),
        ),
        ("some", "Syntax error on line 3 of /etc/x:\nwhatever\n", ()),
    ],
)  # fmt: skip
def test_what_daemons_say_against_their_configs_is_found(
    service: str, said: str, expected: tuple[Refusal, ...]
) -> None:
    assert refusals(service, said) == expected
