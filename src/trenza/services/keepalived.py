"""keepalived: its config from options, and what a config, whoever wrote it, makes a node do (keepalived.conf(5))."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from ipaddress import ip_interface

from trenza.model.names import NicName
from trenza.model.services import Keepalived, TrackScript, VrrpOptions
from trenza.model.state import IpInterface, VrrpInstance

CONFIG_PATH = "/etc/keepalived/keepalived.conf"
VRRP_NUMBERS = {
    "preempt_delay": (0, 1000, "Seconds that a better router waits before it takes over."),
    "garp_master_delay": (0, 3600, "Seconds after becoming master until gratuitous ARP is sent a second time; 5."),
    "garp_master_repeat": (0, 255, "How many gratuitous ARP messages are sent at a time; 5."),
    "garp_master_refresh": (0, 3600, "Seconds between gratuitous ARP messages while master; 0 sends none."),
    "garp_master_refresh_repeat": (0, 255, "How many are sent at each refresh; 1."),
    "garp_lower_prio_delay": (0, 3600, "Seconds until gratuitous ARP is repeated after a lower priority was heard."),
    "garp_lower_prio_repeat": (0, 255, "How many are sent then."),
}
"""The options of an instance that are numbers: the range, and what each is."""

SCRIPT_NUMBERS = {
    "interval": (1, 3600, "Seconds between two runs; 1."),
    "timeout": (1, 3600, "Seconds after which a run has failed."),
    "weight": (
        -254,
        254,
        "Added to the priority while the script succeeds, or (negative) while it fails; 0 is a fault.",
    ),
    "fall": (1, 255, "Failures in a row until it counts as failed; 1."),
    "rise": (1, 255, "Successes in a row until it counts as well; 1."),
}


def config_text(options: Keepalived) -> str:
    """The config file."""
    if options.config is not None:
        return options.config
    # Not enable_script_security: it wants scripts of root's, and a node's /usr belongs to the machine's root, who is
    # nobody there; keepalived then ignores the script.
    defaults = ["    script_user root"] if options.scripts else []
    if options.vrrp_startup_delay is not None:
        defaults.append(f"    vrrp_startup_delay {options.vrrp_startup_delay:g}")
    parts = [_block("global_defs", defaults)] if defaults else []
    parts += [_script(script) for script in options.scripts]
    parts += [_instance(instance) for instance in options.vrrp]
    return "\n".join(parts)


def _script(script: TrackScript) -> str:
    lines = [f"    script {_quoted(shlex.join(script.script))}"]
    lines += [f"    {name} {value:g}" for name, value in script.numbers.items()]
    return _block(f"vrrp_script {script.name}", lines)


def _instance(instance: VrrpOptions) -> str:
    lines = [
        f"    state {instance.state}",
        f"    interface {instance.nic}",
        f"    virtual_router_id {instance.id}",
        f"    priority {instance.priority}",
        f"    advert_int {instance.advert_int:g}",
    ]
    if instance.nopreempt:
        lines.append("    nopreempt")
    lines += [f"    {name} {value:g}" for name, value in instance.numbers.items()]
    for name, values in (
        ("track_script", instance.track_script),
        ("track_interface", instance.track_interface),
        ("virtual_ipaddress", tuple(_short(address) for address in instance.addresses)),
    ):
        if values:
            lines += [f"    {name} {{", *(f"        {value}" for value in values), "    }"]
    return _block(f"vrrp_instance {instance.name}", lines)


def _block(head: str, lines: list[str]) -> str:
    return "\n".join([f"{head} {{", *lines, "}", ""])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _short(address: IpInterface) -> str:
    """As people write it: a host address without its prefix length, which is keepalived's default."""
    return str(address.ip) if address.network.prefixlen == address.max_prefixlen else str(address)


# ---------------------------------------------------------------- what a config says
Block = list[tuple[list[str], "Block"]]
"""Lines as words, each with the block that it opens (empty for a plain line)."""


def instances(text: str) -> tuple[VrrpInstance, ...]:
    """The virtual routers of a config file, generated or written by hand; what cannot be read is left out."""
    found = []
    for words, block in _parsed(text):
        if words[:1] == ["vrrp_instance"] and len(words) > 1:
            instance = _read_instance(words[1], block)
            if instance is not None:
                found.append(instance)
    return tuple(found)


def _read_instance(name: str, block: Block) -> VrrpInstance | None:
    values = {words[0]: words[1] for words, _ in block if len(words) > 1}
    addresses: list[IpInterface] = []
    scripts = tuple(words[0] for named, inner in block if named[:1] == ["track_script"] for words, _ in inner)
    for words, inner in block:
        if words[:1] == ["virtual_ipaddress"]:
            for address, _ in inner:
                try:
                    addresses.append(ip_interface(address[0]))
                except ValueError:
                    continue
    try:
        return VrrpInstance(
            name,
            NicName(values["interface"]),
            int(values["virtual_router_id"]),
            int(values.get("priority", "100")),
            float(values.get("advert_int", "1")),
            tuple(addresses),
            preempt=not any(words[:1] == ["nopreempt"] for words, _ in block),
            garp_delay_s=float(values.get("garp_master_delay", "5")),
            garp_refresh_s=float(values.get("garp_master_refresh", "0")),
            scripts=scripts,
        )
    except (KeyError, ValueError):
        return None


def _parsed(text: str) -> Block:
    top: Block = []
    stack = [top]
    for words in _lines(text):
        opens = words[-1:] == ["{"]
        if words == ["}"]:
            if len(stack) > 1:
                stack.pop()
            continue
        if opens:
            words = words[:-1]
            if not words and stack[-1]:  # the brace stands alone on the line after
                stack.append(stack[-1][-1][1])
                continue
        entry: tuple[list[str], Block] = (words, [])
        stack[-1].append(entry)
        if opens:
            stack.append(entry[1])
    return top


def _lines(text: str) -> Iterator[list[str]]:
    """Words of each line without comments (`#` and `!`), braces as words that end a line."""
    for line in text.splitlines():
        line = line.split("#", 1)[0].split("!", 1)[0]
        words: list[str] = []
        for word in line.replace("{", " { ").replace("}", " } ").split():
            if word == "}":
                if words:
                    yield words
                yield ["}"]
                words = []
            elif word == "{":
                yield [*words, "{"]
                words = []
            else:
                words.append(word)
        if words:
            yield words
