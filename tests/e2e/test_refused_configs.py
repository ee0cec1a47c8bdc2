"""A config that its daemon refuses: said at once, in the daemon's own words and where it is; the rest is up."""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest
from conftest import Cli, until

pytestmark = [pytest.mark.kernel, pytest.mark.side_by_side]

VRRP = """\
vrrp_instance vrrpext {
    state BACKUP
    interface eth0
    virtual_router_id 12
    priority 150
    prority 150
    virtual_ipaddress {
        10.0.0.254
    }
}
"""
HAPROXY = """\
defaults
    mode http
frontend f
    bind *:8000
    default_backend b
backend b
    blance roundrobin
    server a 10.0.0.1:80 chek
"""
APACHE = """\
LoadModule mpm_prefork_module /usr/lib/apache2/modules/mod_mpm_prefork.so
Listen 80
ServrName x
"""
DNSMASQ = "user=root\ndhcp-rnge=10.0.0.2,10.0.0.3\n"
GOOD_HAPROXY = {"frontends": {"f": {"bind": "*:8000", "default_backend": "b"}}, "backends": {"b": {}}}


def lab(cli: Cli, name: str, **services: object) -> str:
    """A lab with a host for each of some services, on one switch (JSON is YAML)."""
    hosts = {
        host: {"nics": {"eth0": {"to": "lan", "ip": f"10.0.0.{number}/24"}}, "services": what}
        for number, (host, what) in enumerate(services.items(), 1)
    }
    return cli.lab(json.dumps({"lab": name, "switches": {"lan": {}}, "hosts": hosts}))


def test_each_daemons_refusal_is_told_at_once_and_the_rest_is_up(cli: Cli) -> None:
    path = lab(
        cli,
        "refused",
        k={"keepalived": {"config": VRRP}},
        h={"haproxy": {"config": HAPROXY}},
        a={"apache": {"config": APACHE}},
        d={"dnsmasq": {"config": DNSMASQ}},
        good={"haproxy": GOOD_HAPROXY},
    )
    began = time.monotonic()
    result = cli("up", path)
    assert time.monotonic() - began < 5, "it does not wait for what will not come"
    assert result.returncode == 1
    for words in (
        "k: keepalived refuses its config (running",
        "/etc/keepalived/keepalived.conf:6: Unknown keyword 'prority'",
        "h: haproxy refuses its config",
        "/etc/haproxy/haproxy.cfg:7: unknown keyword 'blance'",
        "/etc/haproxy/haproxy.cfg:8: 'server b/a' : unknown keyword 'chek'",
        "/etc/apache2/httpd.conf:3: Invalid command 'ServrName'",
        "/etc/dnsmasq.conf:2: bad option",
    ):
        assert words in result.stderr, result.stderr
    assert "good:" not in result.stderr
    report = json.loads(cli("up", path, "-f", "json").stdout)
    lines = {one["service"]: [refusal["line"] for refusal in one["refusals"]] for one in report["unready"]}
    assert lines == {"keepalived": [6], "haproxy": [7, 8], "apache": [3], "dnsmasq": [2]}
    cli.ok("exec", "a", "--", "ping", "-c", "1", "-W", "2", "10.0.0.5")
    states = {(one["node"], one["service"]): one["state"] for one in cli.json("show")["services"]}
    assert states["k", "keepalived"] == states["good", "haproxy"] == "running"
    assert states["h", "haproxy"] == states["a", "apache"] == states["d", "dnsmasq"] == "dead"
    said = Counter(event["node"] for event in events(cli) if "refuses its config" in event["text"])
    assert said["h"] <= 4, "it is not started again and again"


def events(cli: Cli) -> list[dict[str, str]]:
    lines = cli.ok("events", "--kind", "service", "--format", "json").splitlines()
    return [json.loads(line) for line in lines]


def test_a_config_mended_in_the_node_is_served_by_starting_the_daemon_there(cli: Cli) -> None:
    path = lab(cli, "mended", h={"haproxy": {"config": HAPROXY}})
    assert cli("up", path).returncode == 1
    refused = cli("exec", "h", "--", "/etc/init.d/haproxy", "start")
    assert refused.returncode == 1
    assert "blance" in refused.stderr
    config = "/etc/haproxy/haproxy.cfg"
    cli.types("h", f"sed -i 's/blance/balance/; s/chek/check/' {config}", "/etc/init.d/haproxy start")
    (shown,) = [one for one in cli.json("show", "h")["services"] if one["service"] == "haproxy"]
    assert shown["state"] == "running", "trenza's own again, not one beside it"
    assert "cfg (haproxy, changed by hand)" in cli.ok("show", "h", "--config")
    # `up` puts the file back, and with it the daemon.
    result = cli("up", path)
    assert result.returncode == 1
    assert f"{config}:7: unknown keyword 'blance'" in result.stderr


def test_a_config_mended_in_the_lab_file_is_no_longer_refused(cli: Cli) -> None:
    path = lab(cli, "edited", h={"haproxy": {"config": HAPROXY}}, k={"keepalived": {"config": VRRP}})
    assert cli("up", path).returncode == 1
    good = HAPROXY.replace("blance", "balance").replace("chek", "check")
    lab(
        cli,
        "edited",
        h={"haproxy": {"config": good}},
        k={"keepalived": {"config": VRRP.replace("    prority 150\n", "")}},
    )
    cli.ok("up", path)
    cli.ok("up", path)
    until(lambda: "MASTER STATE" in cli.ok("logs", "k", "messages", "-n", "100"), 10, "keepalived takes part")


def test_missing_programs_are_named_before_anything_is_built(cli: Cli) -> None:
    path = lab(cli, "lacking", h={"one": {"run": ["no-such-daemon"]}}, k={"two": {"run": ["nor-this-one", "-f"]}})
    result = cli("up", path)
    assert result.returncode == 3
    assert "no-such-daemon" in result.stderr
    assert "nor-this-one" in result.stderr
    assert "no lab is running" in cli.ok("ls")
