"""Forms: what each kind of scalar may look like, and the value it becomes. All of them raise Wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Network, ip_address, ip_interface, ip_network
from posixpath import normpath

from trenza.model.names import MAX_NIC_BYTES, Mac
from trenza.model.state import IpAddress, IpInterface, IpNetwork
from trenza.spec.catalogue import CODES
from trenza.spec.kinds import Form, Wrong
from trenza.spec.report import Hint, Word, nearest
from trenza.spec.tree import Plain, Scalar

MAX_COPIES = 10_000
DEFAULT = "default"

_LAB = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_NIC = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+~-]*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_SYSCTL = re.compile(r"net(\.[A-Za-z0-9_/-]+)+")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_NTH = re.compile(r"([0-9A-Fa-f.:]+/[0-9]{1,3})\[(-?[0-9]{1,12})\]")
_SPAN = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})")
_MODE = re.compile(r"(0o?)?([0-7]{3,4})")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
RESERVED = ("host", "nat")
UNUSABLE_NICS = ("lo", "all", "default")


def _wanted(what: str, scalar: Scalar, hint: Hint | None = None) -> Wrong:
    return Wrong("E016", hint, what=Word(what), got=scalar.text or Word("nothing"))


def _text(scalar: Scalar) -> str:
    return scalar.text


def _flag(scalar: Scalar) -> bool:
    if isinstance(value := scalar.value, bool):
        return value
    meant = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(scalar.text.lower())
    if not scalar.plain and scalar.text in ("true", "false"):
        meant = scalar.text
    raise _wanted("true or false", scalar, ("write", {"text": meant}) if meant else None)


def _number(scalar: Scalar, what: str, low: float, high: float) -> int | float:
    value = scalar.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        unquoted = Scalar(scalar.text, plain=True, at=scalar.at).value
        number = isinstance(unquoted, int | float) and not isinstance(unquoted, bool)
        raise _wanted(what, scalar, ("write", {"text": scalar.text}) if number else None)
    if not low <= value <= high:
        raise Wrong("E017", None, got=scalar.text, low=low, high=high)
    return value


def whole(low: int, high: int) -> Form:
    """An integer of a range."""

    def parse(scalar: Scalar) -> int:
        value = _number(scalar, "a whole number", low, high)
        if isinstance(value, float):
            raise _wanted("a whole number", scalar)
        return value

    return Form("a whole number", parse, {"type": "integer", "minimum": low, "maximum": high})


def number(low: float, high: float) -> Form:
    """A number of a range, fractions allowed."""

    def parse(scalar: Scalar) -> float:
        return _number(scalar, "a number", low, high)

    return Form("a number", parse, {"type": "number", "minimum": low, "maximum": high})


def choice(*words: str) -> Form:
    """One of some words."""

    def parse(scalar: Scalar) -> str:
        if scalar.text in words:
            return scalar.text
        near = nearest(scalar.text, words)
        shown = {"kind": Word("words"), "names": " ".join(words)}
        raise Wrong(
            "E018", ("there_are", shown) if near is None else ("did_you_mean", {**shown, "near": near}), got=scalar.text
        )

    return Form("a word", parse, {"type": "string", "enum": list(words)})


def _named(what: str, pattern: re.Pattern[str], hint: str) -> Callable[[Scalar], str]:
    def parse(scalar: Scalar) -> str:
        if pattern.fullmatch(scalar.text) is None:
            raise Wrong("E020", (hint, {}), what=Word(what), name=scalar.text)
        return scalar.text

    return parse


_node = _named("a node", _LABEL, "label_rule")


def _unreserved(name: str, what: str) -> str:
    if name in RESERVED:
        raise Wrong("E022", ("reserved", {}), what=Word(what), name=name)
    return name


def _nic(scalar: Scalar) -> str:
    name = scalar.text
    if len(name.encode()) > MAX_NIC_BYTES:
        raise Wrong("E021", None, name=name, length=len(name.encode()), most=MAX_NIC_BYTES)
    _named("an interface", _NIC, "nic_rule")(scalar)
    if name in UNUSABLE_NICS:
        raise Wrong("E022", None, what=Word("an interface"), name=name)
    return name


def _plugged_nic(scalar: Scalar) -> str:
    return _unreserved(_nic(scalar), "an interface")


def _switch(scalar: Scalar) -> str:
    _plugged_nic(scalar)
    return _node(scalar)


def _parameter(scalar: Scalar) -> str:
    name = _named("a parameter", _PARAMETER, "parameter_rule")(scalar)
    if name == "n":
        raise Wrong("E022", ("n_is_taken", {}), what=Word("a parameter"), name=name)
    return name


def _plain(scalar: Scalar) -> Plain:
    return scalar.value


def _nth(text: str) -> IpInterface | None:
    """The n-th address of a network with its prefix length, from `10.0.0.0/16[7]`; None for other texts."""
    if (found := _NTH.fullmatch(text)) is None:
        if "[" in text:
            raise Wrong("E024", ("nth_form", {}), what=Word("an address"), got=text)
        return None
    network, index = _network_of(found[1], found[1]), int(found[2])
    if not 0 <= index < network.num_addresses:
        raise Wrong("E034", None, network=network, index=index, count=network.num_addresses)
    return ip_interface((network.network_address + index, network.prefixlen))


def _usable(address: IpAddress, text: str) -> None:
    if address.is_multicast or address.is_unspecified or "%" in text:
        raise Wrong("E024", ("unicast_only", {}), what=Word("an address"), got=text)


def address_of(text: str) -> IpAddress:
    if (nth := _nth(text)) is not None:
        return nth.ip
    try:
        address = ip_address(text)
    except ValueError:
        bare = text.partition("/")[0]
        hint: Hint | None = ("without_prefix", {"text": bare}) if "/" in text and _is_address(bare) else None
        raise Wrong("E024", hint, what=Word("an address"), got=text) from None
    _usable(address, text)
    return address


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def interface_of(text: str) -> IpInterface:
    if (nth := _nth(text)) is not None:
        return nth
    bare, slash, prefix = text.partition("/")
    if not _is_address(bare) or (slash and not prefix.isdecimal()):
        raise Wrong("E024", ("interface_form", {}), what=Word("an address"), got=text)
    if not slash:
        shown = f"{bare}/64" if ":" in bare else f"{bare}/24"
        raise Wrong("E025", ("write_prefix", {"text": shown}), got=text)
    try:
        interface = ip_interface(text)
    except ValueError:
        most = 128 if ":" in bare else 32
        raise Wrong("E017", None, got=f"/{prefix}", low=0, high=most) from None
    _usable(interface.ip, bare)
    return interface


def _host_address(text: str) -> IpInterface:
    """An address with its prefix length, or alone: then it is a host's, as in keepalived."""
    return interface_of(text) if "/" in text else ip_interface(address_of(text))


def _network_of(text: str, shown: str) -> IpNetwork:
    bare, slash, prefix = text.partition("/")
    if slash and not prefix.isdecimal():
        raise Wrong("E024", ("network_form", {}), what=Word("a network"), got=shown)
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise Wrong("E024", ("network_form", {}), what=Word("a network"), got=shown) from None
    if str(network.network_address) != str(ip_address(bare)):
        raise Wrong("E026", ("write", {"text": network}), got=shown)
    return network


def _destination(scalar: Scalar) -> IpNetwork | str:
    """A route's `to`: a network, one address, or `default`."""
    if scalar.text == DEFAULT:
        return DEFAULT
    if (nth := _nth(scalar.text)) is not None:
        return ip_network(nth.ip)
    return _network_of(scalar.text, scalar.text)


def _mac(scalar: Scalar) -> Mac:
    text = scalar.text.lower()
    if _MAC.fullmatch(text) is None:
        dashed = text.replace("-", ":")
        raise Wrong("E027", ("write", {"text": dashed}) if _MAC.fullmatch(dashed) else None, got=scalar.text)
    if int(text[:2], 16) & 1 or text == "00:00:00:00:00:00":
        raise Wrong("E028", ("unicast_mac", {}), got=scalar.text)
    return Mac(text)


def _zero_or_mac(scalar: Scalar) -> Mac:
    """A MAC of a tunnel's table, where all zeros stands for whatever is not known."""
    return Mac(scalar.text) if scalar.text == "00:00:00:00:00:00" else _mac(scalar)


def _path(scalar: Scalar) -> str:
    text = scalar.text
    if not text.startswith("/") or normpath(text) != text or text == "/" or text.startswith("//"):
        raise Wrong("E051", ("absolute_path", {}), got=text)
    if text.split("/")[1] in ("proc", "sys", "dev"):
        raise Wrong("E051", ("not_kernel_files", {}), got=text)
    return text


def _source(scalar: Scalar) -> str:
    text = scalar.text
    if not text or text.startswith("/") or ".." in text.split("/") or normpath(text) != text or text == ".":
        raise Wrong("E052", ("below_lab", {}), got=text)
    return text


def _mode(scalar: Scalar) -> int:
    """Octal however it is written: in YAML 1.2 an unquoted 0644 is the number 644."""
    if (found := _MODE.fullmatch(scalar.text)) is None:
        raise _wanted("a file mode", scalar, ("write", {"text": "0644"}))
    return int(found[2], 8)


def _sysctl(scalar: Scalar) -> str:
    if _SYSCTL.fullmatch(scalar.text):
        return scalar.text
    dotted = scalar.text.replace("/", ".")
    raise Wrong("E050", ("write", {"text": dotted}) if _SYSCTL.fullmatch(dotted) else ("net_only", {}), got=scalar.text)


def _sysctl_value(scalar: Scalar) -> str:
    if isinstance(value := scalar.value, bool):
        return "1" if value else "0"
    return scalar.text.strip()


def _code(scalar: Scalar) -> str:
    """A code that may be accepted: a warning's or a note's."""
    if scalar.text not in CODES or scalar.text.startswith("E"):
        names = " ".join(code for code in CODES if not code.startswith("E"))
        raise Wrong("E056", ("there_are", {"kind": Word("codes"), "names": names}), got=scalar.text)
    return scalar.text


def _span(scalar: Scalar) -> tuple[Scalar, ...]:
    """The copies that an item of `each` stands for: a range, or itself."""
    if (found := _SPAN.fullmatch(scalar.text)) is None:
        if scalar.is_null or not re.fullmatch(r"[a-z0-9-]{1,40}", scalar.text):
            raise Wrong("E032", ("each_form", {}), got=scalar.text)
        return (scalar,)
    first, last = int(found[1]), int(found[2])
    if last < first:
        raise Wrong("E032", ("each_form", {}), got=scalar.text)
    if last - first >= MAX_COPIES:
        raise Wrong("E033", None, most=MAX_COPIES)
    return tuple(Scalar(str(number), plain=True, at=scalar.at) for number in range(first, last + 1))


def _choice(scalar: Scalar) -> str | range:
    """What a seed chooses from: a word as written, or the whole numbers of a range, both ends included."""
    found = _SPAN.fullmatch(scalar.text)
    if scalar.is_null or (found is not None and int(found[2]) < int(found[1])):
        raise _wanted("a word or a range", scalar, ("seeded_form", {}))
    return scalar.text if found is None else range(int(found[1]), int(found[2]) + 1)


def _pattern(pattern: re.Pattern[str]) -> dict[str, object]:
    return {"type": "string", "pattern": f"^{pattern.pattern}$"}


_ADDRESS_SCHEMA = {"type": "string", "examples": ["10.0.0.1", "2001:db8::1", "10.0.0.0/16[$n]"]}
_INTERFACE_SCHEMA = {"type": "string", "examples": ["10.0.0.1/24", "2001:db8::1/64", "10.0.0.0/16[$n]"]}
_SCALAR_SCHEMA = {"type": ["string", "number", "boolean"]}

TEXT = Form("text", _text, _SCALAR_SCHEMA)
VERBATIM = Form("text", _text, _SCALAR_SCHEMA, verbatim=True)
PLAIN = Form("a value", _plain, _SCALAR_SCHEMA)
FLAG = Form("true or false", _flag, {"type": "boolean"})
LAB = Form("a lab's name", _named("a lab", _LAB, "lab_rule"), _pattern(_LAB))
HOSTNAME = Form("a host name", _named("a host name", _LABEL, "label_rule"), _pattern(_LABEL))
NODE = Form("a node's name", _node, _pattern(_LABEL))
SWITCH = Form("a switch's name", _switch, _pattern(_LABEL))
NIC = Form("an interface's name", _nic, {**_pattern(_NIC), "maxLength": MAX_NIC_BYTES})
BRIDGE = Form("a bridge's name", _plugged_nic, NIC.schema)
CABLE = Form("a cable's name", _plugged_nic, NIC.schema)
NAME = Form("a name", _named("a name", _NAME, "name_rule"), _pattern(_NAME))
PARAMETER = Form("a parameter's name", _parameter, _pattern(_PARAMETER))
LANGUAGE = Form("a language", _named("a language", re.compile("[a-z]{2}"), "language_rule"), {"pattern": "^[a-z]{2}$"})
CODE = Form("a code", _code, {"pattern": "^[WN][0-9]{3}$"})
PLUG = Form("something to plug into", _text)
ADDRESS = Form("an address", lambda scalar: address_of(scalar.text), _ADDRESS_SCHEMA)
INTERFACE = Form("an address with its prefix length", lambda scalar: interface_of(scalar.text), _INTERFACE_SCHEMA)
HOST_ADDRESS = Form("an address", lambda scalar: _host_address(scalar.text), _ADDRESS_SCHEMA)
DESTINATION = Form("a network or default", _destination, {"type": "string", "examples": [DEFAULT, "10.0.0.0/24"]})
MAC = Form("a MAC address", _mac, {"type": "string", "examples": ["02:00:00:00:00:01"]})
FDB_MAC = Form("a MAC address", _zero_or_mac, MAC.schema)
MTU = whole(68, 65535)
PATH = Form("an absolute path", _path, {"type": "string", "pattern": "^/"})
SOURCE = Form("a file below the lab's directory", _source)
MODE = Form("a file mode", _mode, {"type": ["string", "integer"], "examples": ["0644", "0755"]})
USER = Form("a user's name", _named("a user", _USER, "user_rule"), _pattern(_USER))
SYSCTL = Form("a sysctl below net.", _sysctl, {"pattern": "^net\\."})
SYSCTL_VALUE = Form("a sysctl's value", _sysctl_value, _SCALAR_SCHEMA)
SPAN = Form("copies", _span, {"type": ["string", "integer"], "examples": ["1..1000"]})
SEEDED = Form("a word or a range", _choice, {**_SCALAR_SCHEMA, "examples": ["100..4000", "10.1.0"]})
ENVIRONMENT = Form("a variable's name", _named("a variable", _PARAMETER, "parameter_rule"), _pattern(_PARAMETER))


def default_route(via: IpAddress | None) -> IpNetwork:
    """What `default` means for a next hop of one family; IPv4 where there is none."""
    return ip_network("::/0") if via is not None and via.version == 6 else IPv4Network("0.0.0.0/0")
