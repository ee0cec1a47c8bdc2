"""The reference of the lab file in Markdown, out of its declaration and the catalogue of codes."""

from __future__ import annotations

from trenza.spec.catalogue import CODES
from trenza.spec.check_format import CHECK_KINDS
from trenza.spec.format import RECORDS
from trenza.spec.kinds import Form, Kind, Many, Record, Table

_HEAD = """\
# The lab file

<!-- Made by `python -m trenza.spec.reference`; a test holds it to the code. -->

A lab is one YAML file, in which nodes nest: a lab has hosts, a host has containers.

```yaml
lab: two-hosts
switches:
  lan: {}
hosts:
  h1: {nics: {eth0: {to: lan, ip: 10.0.0.1/24}}}
  h2: {nics: {eth0: {to: lan, ip: 10.0.0.2/24}}}
```

## Rules

- **Names.** A node is `host/container`, or its bare name where that is unique; an interface is `NODE.NIC`. Interface
  names have at most 15 bytes.
- **Plugs.** `to:` names a switch, a cable, a bridge of the same host, `host` (a veth that ends in the host itself),
  another NIC (`host2.eth1`, an implicit cable), or `nat` ([a way out](uplink.md), where the
  person who runs the lab allows it). It is looked up in the same host first, then in the lab.
  A cable has two ends. A NIC that is named below `cables:` needs no `to:`.
- **Far ends.** The far end of a veth into a bridge, a switch or the host is called `CONTAINER-NIC` (shortened to 15
  bytes), or what `peer:` says; at the end of a cable, as the cable. A switch may name cables among its `ports`.
- **MAC addresses** that are not given follow from the names of lab, node and interface, the same in every run.
- **Parameters.** `$name` or `${name}` in any value; a value that is exactly `$name` keeps the parameter's type; `$$` is
  a `$`. In the text of files and in commands only known names are replaced. `profiles:` are sets of parameters.
- **Copies.** `each: 1..1000` (or a list of words) on a node named `h` makes h1 to h1000, with `$n` inside.
  `"10.0.0.0/16[$n]"` is the n-th address of a network, its prefix length kept, counted from 0.
- **Templates.** `templates:` are parts of nodes; a node that says `use: NAME` is laid over them, in order.
- **Merging** (`adds`, `use`, variants). Mappings merge by key; lists append without repeats, commands replace; a scalar
  replaces; `null` removes.
- **Base** is what is given at the top; `checkpoints[].adds` are the reference solution of each step, merged in order.
- **Scalars** follow YAML 1.2: `on`, `no` and `12:30` are text. In flow style (`{…}`, `[…]`) quote values that begin
  with `*` or `:`, or hold braces or brackets.
- **Lint.** Errors cannot be built, warnings are built and said once, notes are for the author. `accept: [W001]` in an
  element, or in one around it, says that it is meant so.

```yaml
lab: star
parameters: {mtu: 1500}
profiles: {jumbo: {mtu: 9000}}
switches: {hub: {mtu: $mtu}}
templates:
  quiet: {sysctls: {net.ipv6.conf.default.disable_ipv6: 1}}
hosts:
  h: {each: 1..8, use: quiet, nics: {eth0: {to: hub, mtu: $mtu, ip: "10.0.0.0/16[$n]"}}}
```
"""


def lab_reference() -> str:
    parts = [_HEAD, "## Options\n", *(_section(record) for record in RECORDS)]
    parts += [
        "## Checks\n",
        "A check is a mapping with one kind of question: " + ", ".join(f"`{kind}`" for kind in CHECK_KINDS) + ".\n",
        "## Codes\n",
        "| Code | Says | What to do |\n|---|---|---|",
        *(f"| {name} | {_cell(code.english)} | {_cell(code.cure)} |" for name, code in CODES.items()),
    ]
    return "\n".join(parts) + "\n"


def _section(record: Record) -> str:
    lines = [f"### {record.name}\n", record.doc + _short(record) + "\n", "| Key | Value | Meaning |\n|---|---|---|"]
    for option in record.options.values():
        needed = " Needed." if option.required else ""
        lines.append(f"| `{option.name}` | {_cell(_value(option.kind))} | {_cell(option.doc)}{needed} |")
    return "\n".join(lines) + "\n"


def _short(record: Record) -> str:
    forms = []
    if record.scalar is not None:
        forms.append(f"a single value is its `{record.scalar}`")
    if record.sequence is not None:
        forms.append(f"a list is its `{record.sequence}`")
    if record.switchable:
        forms.append("`true` takes all defaults")
    return f" Short form: {'; '.join(forms)}." if forms else ""


def _value(kind: Kind) -> str:
    match kind:
        case Form():
            words = kind.schema.get("enum")
            if isinstance(words, list):
                return ", ".join(f"`{word}`" for word in words)
            if "minimum" in kind.schema:
                return f"{kind.what}, {kind.schema['minimum']} to {kind.schema['maximum']}"
            return kind.what
        case Many():
            return f"{_value(kind.of)}, or a list" if kind.single else f"list of: {_value(kind.of)}"
        case Table():
            own = "".join(f"; `{name}`: {_value(below)}" for name, below in kind.own.items())
            return f"mapping to: {_value(kind.of)}" + own + (", or a list of names" if kind.listable else "")
        case Record():
            return f"[{kind.name}](#{kind.name.replace(' ', '-')})"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("{{", "{").replace("}}", "}")


if __name__ == "__main__":
    print(lab_reference(), end="")
