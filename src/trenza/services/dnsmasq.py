"""dnsmasq: its own options, line by line (dnsmasq(8))."""

from __future__ import annotations

from trenza.model.services import Dnsmasq

CONFIG_PATH = "/etc/dnsmasq.conf"
LEASES = "/var/lib/dnsmasq.leases"
OPTIONS = {
    "interface": "An interface to serve on.",
    "dhcp-range": "Addresses to lease: `10.0.0.100,10.0.0.200,12h`.",
    "dhcp-host": "A fixed lease: `02:00:00:00:00:01,10.0.0.5`.",
    "dhcp-option": "What clients are told: `option:router,10.0.0.1`.",
    "host-record": "A name and its address: `web.lab,10.0.0.80`.",
    "address": "A domain and the address of every name in it: `/lab/10.0.0.80`.",
    "cname": "Another name: `www.lab,web.lab`.",
    "domain": "The domain that clients are given.",
    "server": "A server to ask: `10.0.0.53`, or `/lab/10.0.0.53` for one domain.",
}


def config_text(options: Dnsmasq) -> str:
    """The config file: nothing of the machine's (no resolv.conf, no hosts), then the options."""
    if options.config is not None:
        return options.config
    lines = ["user=root", "no-resolv", "no-hosts", f"dhcp-leasefile={LEASES}"]
    return "\n".join([*lines, *(f"{name}={value}" for name, value in options.lines)]) + "\n"
