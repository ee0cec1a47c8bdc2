"""The format of checks: one record for each kind of question. Part of `trenza.spec.format`."""

from __future__ import annotations

import re
from ipaddress import ip_address
from posixpath import isabs
from urllib.parse import SplitResult, urlsplit

from trenza.model.checks import ClusterService, Pod
from trenza.model.cluster import KINDS
from trenza.model.names import NodeName
from trenza.model.state import RouteType
from trenza.spec import forms
from trenza.spec.kinds import Form, Many, Option, Record, Table, Wrong, record
from trenza.spec.report import Hint, Word, meant
from trenza.spec.tree import Scalar

_SPOT = re.compile(r"[a-z0-9][a-z0-9-]*(/[a-z0-9][a-z0-9-]*)?(\.[A-Za-z0-9_][A-Za-z0-9_.+~-]*)?")
_POD = re.compile(r"pod/((?P<namespace>[a-z0-9-]+)/)?(?P<which>[A-Za-z0-9._=!,-]*)(@(?P<node>[a-z0-9][a-z0-9-]*))?")
_SERVICE = re.compile(r"(?P<name>[a-z0-9-]+)(\.(?P<namespace>[a-z0-9-]+))?\.svc")
_LABELS = re.compile(r"[A-Za-z0-9./_-]+(!?==?[A-Za-z0-9._-]*)?(,[A-Za-z0-9./_-]+(!?==?[A-Za-z0-9._-]*)?)*")
DNS_TYPES = ("A", "AAAA", "CNAME", "MX", "NS", "PTR", "SRV", "TXT")
MAX_WITHIN_S = 600


def _wanted(what: str, scalar: Scalar, hint: Hint | None = None) -> Wrong:
    return Wrong("E016", hint, what=Word(what), got=scalar.text or Word("nothing"))


def pod_of(text: str) -> Pod | None:
    """The pod that `pod/NAME`, `pod/LABEL=VALUE`, `pod/…@NODE` or `pod/NAMESPACE/…` means; None for another word."""
    found = _POD.fullmatch(text)
    if found is None or not (found["which"] or found["node"]):
        return None
    which, by_labels = found["which"], "=" in found["which"]
    return Pod(
        "" if by_labels else which, which if by_labels else "", NodeName(found["node"]) if found["node"] else None,
        found["namespace"] or "default",
    )  # fmt: skip


def service_of(text: str) -> ClusterService | None:
    """The service that `NAME.svc` or `NAME.NAMESPACE.svc` means; None for another word."""
    found = _SERVICE.fullmatch(text)
    return None if found is None else ClusterService(found["name"], found["namespace"] or "default")


def _is_pod(text: str) -> bool:
    return text.startswith("pod/") and pod_of(text) is not None


def _spot(scalar: Scalar) -> object:
    try:
        return ip_address(scalar.text)
    except ValueError:
        if _SPOT.fullmatch(scalar.text) is None and not _is_pod(scalar.text):
            raise _wanted("a node, NODE.NIC or an address", scalar) from None
    return scalar.text


def _asker(scalar: Scalar) -> str:
    if scalar.text.startswith("pod/") and not _is_pod(scalar.text):
        raise _wanted("a node or pod/…", scalar, ("write", {"text": "pod/NAME, pod/LABEL=VALUE, pod/@NODE"}))
    return scalar.text if _is_pod(scalar.text) else _name(scalar)


def _labels(scalar: Scalar) -> str:
    if _LABELS.fullmatch(scalar.text) is None:
        raise _wanted("labels", scalar, ("write", {"text": "app=web"}))
    return scalar.text


def _kind(scalar: Scalar) -> str:
    kind = scalar.text.lower()
    found = next((one for one, also in KINDS.items() if kind == one or kind in also), None)
    if found is None:
        raise _wanted("a kind of Kubernetes objects", scalar, meant(kind, [*KINDS], "kinds"))
    return found


def _name(scalar: Scalar) -> str:
    found = _SPOT.fullmatch(scalar.text)
    if found is None or found[2] is not None:
        raise _wanted("a node", scalar)
    return scalar.text


def _nic(scalar: Scalar) -> str:
    found = _SPOT.fullmatch(scalar.text)
    if found is None or found[2] is None:
        raise _wanted("NODE.NIC", scalar)
    return scalar.text


def _url(scalar: Scalar) -> SplitResult:
    try:
        parts = urlsplit(scalar.text)
        right = parts.scheme == "http" and parts.hostname and (parts.port is None or 0 < parts.port < 65536)
    except ValueError:
        right = None
    if not right or parts.username is not None or parts.fragment or not scalar.text.isprintable() or " " in scalar.text:
        raise _wanted("an http:// address", scalar, ("write", {"text": "http://172.16.1.254:8000/"}))
    return parts


def _pattern(scalar: Scalar) -> str:
    try:
        re.compile(scalar.text)
    except (re.error, RecursionError, OverflowError) as error:
        raise _wanted("a pattern", scalar, ("said", {"text": error})) from None
    return scalar.text


def _program(scalar: Scalar) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.+-]{1,63}", scalar.text):
        raise _wanted("a program's name", scalar)
    return scalar.text


def _netns(scalar: Scalar) -> str:
    if not scalar.text or isabs(scalar.text) or "/" in scalar.text or scalar.text in (".", ".."):
        raise _wanted("a name", scalar)
    return scalar.text


def _blocked(scalar: Scalar) -> object:
    if isinstance(value := scalar.value, int) and not isinstance(value, bool) and 0 <= value <= 10_000:
        return value
    return _nic(scalar)


SPOT = Form("a node, NODE.NIC or an address", _spot, {"type": "string", "examples": ["c1", "c1.eth0", "10.0.0.1"]})
NODE_NAME = Form("a node", _name)
ASKER = Form("a node or pod/…", _asker, {"type": "string", "examples": ["c1", "pod/app=web@larrain"]})
NODE_NIC = Form("NODE.NIC", _nic)
NODE_OR_NIC = Form("a node or NODE.NIC", lambda scalar: _nic(scalar) if "." in scalar.text else _name(scalar))
ASKER_OR_NIC = Form(
    "a node, NODE.NIC or pod/…",
    lambda scalar: _nic(scalar) if "." in scalar.text and not _is_pod(scalar.text) else _asker(scalar),
)
URL = Form("an http:// address", _url, {"type": "string", "examples": ["http://172.16.1.254:8000/"]})
PATTERN = Form("a pattern", _pattern)
BLOCKED = Form("a number or NODE.NIC", _blocked, {"type": ["integer", "string"]})
SHARE = forms.number(0, 1)
_PORT = forms.whole(1, 65535)
_THEORY = forms.choice("theory")

_FROM = Option("from", ASKER, "The node or pod that asks.", required=True)
_TO = Option(
    "to", SPOT,
    "A node (its first address that is not loopback's), NODE.NIC or an address; in a cluster `pod/NAME`, "
    "`pod/LABEL=VALUE@NODE` or `SERVICE.svc`.", required=True,
)  # fmt: skip
_COUNT = Option(
    "count", forms.whole(1, 1000), "How many echoes. Without it 10, and 3 where it is only `during` something."
)

PING = record(
    "ping", "Echoes get there and back; of some lost ones the rest counts.", _FROM, _TO, _COUNT,
    Option("size", forms.whole(40, 65535), "Bytes of the whole IP packet."),
)  # fmt: skip
NO_PING = record(
    "no_ping", "No echo gets there and back, though both ends live and the target has the address.", _FROM, _TO, _COUNT
)
PING_ALL = record(
    "ping_all", "Echoes get from each to each other; of some silent pairs the rest counts.",
    Option("among", Many(ASKER_OR_NIC), "Nodes, or NODE.NIC, or pods.", required=True),
    sequence="among",
)  # fmt: skip
PATH = record(
    "path", "The hops that packets take.", _FROM, _TO,
    Option("hops", Many(SPOT), "As traceroute shows them, the target the last. A node stands for any address of it."),
    Option("record_route", Many(SPOT), "As `ping -R` shows them there and back (RFC 791), the asker first and last."),
)  # fmt: skip
SERVED = record(
    "share", "How much a server answers.",
    Option("share", SHARE, "Its share of the requests; without it any but none."), scalar="share",
)  # fmt: skip
HTTP = record(
    "http", "A page is answered over HTTP.", _FROM,
    Option("to", URL, "`http://HOST:PORT/PATH`; HOST is an address, a node, NODE.NIC or SERVICE.svc.", required=True),
    Option("status", forms.whole(100, 599), "Without it 200."),
    Option("body", PATTERN, "A pattern that the page contains."),
    Option(
        "served_by", Table(ASKER, SERVED, listable=True),
        "Who served it, seen at their own interfaces: nodes or pods, perhaps with their shares of the requests.",
    ),
    Option("affinity", forms.FLAG, "`true`: one of `served_by` serves all requests, whichever it is."),
    Option("requests", forms.whole(1, 1000), "How many. Without it 1; with `served_by` 12 for each of its nodes."),
    Option("tolerance", SHARE, "By how much a share may differ. Without it 0.1."),
)  # fmt: skip
TCP = record(
    "tcp", "A connection is accepted, or is not.", _FROM, _TO,
    Option("port", _PORT, "The port.", required=True),
    Option("open", forms.FLAG, "`false`: nobody accepts it, though both ends live."),
)  # fmt: skip
DNS = record(
    "dns", "A name is answered.", _FROM,
    Option("name", forms.TEXT, "The name that is asked for.", required=True),
    Option("type", forms.choice(*DNS_TYPES), "Without it A."),
    Option("server", SPOT, "Whom it asks. Without it the first of the node's /etc/resolv.conf."),
    Option("answers", Many(forms.TEXT, single=True), "The records, in any order. Without them any will do."),
)  # fmt: skip
DHCP = record(
    "dhcp", "A DHCP server offers an address.",
    Option("at", NODE_NIC, "The interface that asks.", required=True),
    Option("network", forms.DESTINATION, "Where the address lies."),
    Option("server", SPOT, "Who offers."),
    Option("router", SPOT, "The offered default router."),
)  # fmt: skip
MTU = record(
    "mtu", "The largest IP packet that gets there whole.", _FROM, _TO,
    Option("bytes", forms.whole(68, 65535), "Its size: one byte more does not get there.", required=True),
)  # fmt: skip
STP = record(
    "stp check", "A spanning tree that has converged.",
    Option("root", NODE_OR_NIC, "The root bridge: its node, or NODE.BRIDGE."),
    Option("members", Many(NODE_OR_NIC), "Whose bridges take part, all in one tree: nodes, or NODE.BRIDGE."),
    Option("blocked", Many(BLOCKED, single=True), "How many ports block, or which."),
    Option("like", _THEORY, "`theory`: all roots, roles and states as 802.1D says for what is configured."),
)  # fmt: skip
_TRAFFIC = (
    Option("ping", PING, PING.doc, group="kind"),
    Option("ping_all", PING_ALL, PING_ALL.doc, group="kind"),
    Option("http", HTTP, HTTP.doc, group="kind"),
    Option("tcp", TCP, TCP.doc, group="kind"),
)
TRAFFIC = record("traffic", "What goes on while one looks.", *_TRAFFIC)
_DURING = Option("during", TRAFFIC, "Traffic that goes on while one looks.")
FDB = record(
    "fdb check", "The MAC addresses that a bridge has learnt.",
    Option("bridge", NODE_OR_NIC, "A switch, or NODE.BRIDGE.", required=True),
    Option("has", Many(SPOT), "Whose address is among them: NODE.NIC, a node, or who has an IP address."),
    Option("lacks", Many(SPOT), "Whose is not."),
    Option("count", forms.whole(0, 10_000), "How many there are."),
    Option("only", forms.FLAG, "`true`: none but those of `has`."),
    _DURING,
)  # fmt: skip
ARP = record(
    "arp", "Whose MAC address a node has for an address.",
    Option("node", NODE_NAME, "Whose table.", required=True),
    Option("ip", SPOT, "The address.", required=True),
    Option("is", NODE_OR_NIC, "Whose MAC address it is.", required=True),
    _DURING,
)  # fmt: skip
ROUTE = record(
    "route check", "What a node does with packets to an address.",
    Option("node", NODE_NAME, "The node.", required=True), _TO,
    Option("via", SPOT, "The next hop."),
    Option("dev", NODE_NIC, "The interface they leave by."),
    Option("type", forms.choice(*(kind.value for kind in RouteType)), "Without it unicast."),
)  # fmt: skip
_SEEN = (
    Option("at", Form("a place", lambda scalar: scalar.text),
           "NODE.NIC, or a switch, a cable or a node, all of whose interfaces count.", required=True),
    Option("frames", forms.TEXT, "Which frames: a filter as of `trenza capture`.", required=True),
    Option("src", SPOT, "Whose MAC address they come from."),
    Option("dst", SPOT, "Whose they go to."),
    Option("during", TRAFFIC, "The traffic.", required=True),
)  # fmt: skip
SEEN = record(
    "seen", "Frames are seen somewhere while there is traffic.", *_SEEN,
    Option("count", forms.whole(1, 1000), "At least so many. Without it 1."),
)  # fmt: skip
NOT_SEEN = record("not_seen", "None of these frames is seen, though the traffic succeeds.", *_SEEN)
OWNER = record(
    "owner", "Who answers ARP for an address, and nobody else does.",
    Option("of", forms.ADDRESS, "The address.", required=True),
    Option("seen_from", NODE_NAME, "The node that asks.", required=True),
    Option("is", NODE_NAME, "Who answers.", required=True),
)  # fmt: skip
NETNS = record(
    "netns", "A name below /run/netns of a host means a container's network namespace.",
    Option("node", NODE_NAME, "The host.", required=True),
    Option("name", Form("a name", _netns), "The name, as for `ip netns exec`.", required=True),
    Option("is", NODE_NAME, "The container. Without it the one of that name."),
)  # fmt: skip
NO_IP = record(
    "no_ip", "An interface has no address of its own.",
    Option("nic", NODE_NIC, "The interface.", required=True), scalar="nic",
)  # fmt: skip
SERVICE_CHECK = record(
    "service check", "A program runs in a node and does its work.",
    Option("node", NODE_NAME, "The node.", required=True),
    Option("runs", Form("a program's name", _program), "The program: keepalived, haproxy, apache2…", required=True),
    Option("port", Many(_PORT, single=True), "TCP ports of the node that accept connections."),
)  # fmt: skip
RUN = record(
    "run check", "A command of the lab's author: what nothing else can ask.",
    Option("node", NODE_NAME, "Where it runs.", required=True),
    Option("argv", Many(forms.VERBATIM, appends=False), "Its words.", required=True),
    Option("status", forms.whole(0, 255), "Its exit status. Without it 0."),
    Option("output", PATTERN, "A pattern in what it prints."),
)  # fmt: skip
KUBERNETES = record(
    "kubernetes check", "Objects of the lab's Kubernetes cluster.",
    Option("kind", Form("a kind of Kubernetes objects", _kind), "pods, services, nodes, deployments…", required=True),
    Option("name", forms.TEXT, "The object's name."),
    Option("namespace", forms.TEXT, "Without it default."),
    Option("labels", Form("labels", _labels), "Labels that they have, as for `kubectl get -l`."),
    Option("node", NODE_NAME, "The node that they are on: of pods."),
    Option("condition", forms.TEXT, "A condition, as for `kubectl wait`: `Ready`, `Available`, `Ready=Unknown`."),
    Option("has", Table(forms.TEXT, forms.PLAIN), "What their fields say, by dotted path: `spec.replicas: 2`."),
    Option("endpoints", forms.whole(0, 10_000), "How many addresses serve it: of services."),
    Option("count", forms.whole(0, 10_000), "For how many all that holds.", group="how many"),
    Option(
        "at_least", forms.whole(1, 10_000), "For how many at least. Without either for all, and there is one.",
        group="how many",
    ),
)  # fmt: skip

_COMMON = (
    Option("title", Table(forms.LANGUAGE, forms.TEXT, short="en"), "What it shows, for people."),
    Option("weight", forms.number(0, 1_000_000), "Its share of the checkpoint's points. Without it 1."),
    Option("required", forms.FLAG, "`true`: without it the checkpoint is worth nothing."),
    Option(
        "within", forms.number(0.1, MAX_WITHIN_S),
        "Seconds that it may take to come true. Without it, as long as the network needs to settle, and a little more.",
    ),
)  # fmt: skip
_FAULT_KEYS = (
    Option("break", forms.TEXT, "The fault, in the words of `trenza fault`.", required=True),
    Option("probe", Many(forms.TEXT, single=True), "Probes in the words of `trenza outage`."),
    Option("at_most", forms.number(0, MAX_WITHIN_S), "Seconds that a probe may be out."),
    Option("like", _THEORY, "`theory`: the outage is within what theory predicts."),
)


def _kinds(*more: Option) -> tuple[Option, ...]:
    records = {
        "ping": PING, "no_ping": NO_PING, "ping_all": PING_ALL, "path": PATH, "http": HTTP, "tcp": TCP, "dns": DNS,
        "dhcp": DHCP, "mtu": MTU, "stp": STP, "fdb": FDB, "arp": ARP, "route": ROUTE, "seen": SEEN,
        "not_seen": NOT_SEEN, "owner": OWNER, "netns": NETNS, "no_ip": NO_IP, "service": SERVICE_CHECK, "run": RUN,
        "kubernetes": KUBERNETES,
    }  # fmt: skip
    return (*(Option(name, kind, kind.doc, group="kind") for name, kind in records.items()), *more, *_COMMON)


MEANWHILE = record("check during a fault", "One question, while a fault is in effect.", *_kinds())
FAULT = record(
    "fault check", "What a fault does; it is always undone.", *_FAULT_KEYS,
    Option("checks", Many(MEANWHILE), "What is true while it is in effect."),
)  # fmt: skip
CHECK = record(
    "check", "One question and what it counts for.",
    *_kinds(
        Option("fault", FAULT, FAULT.doc, group="kind"),
        Option("until", forms.NAME, "A later checkpoint after which it is no longer true: it passes if that one does."),
    ),
)  # fmt: skip
CHECK_KINDS = tuple(name for name, option in CHECK.options.items() if option.group == "kind")

CHECK_RECORDS: tuple[Record, ...] = (
    CHECK, PING, NO_PING, PING_ALL, PATH, HTTP, SERVED, TCP, DNS, DHCP, MTU, STP, FDB, ARP, ROUTE, SEEN, NOT_SEEN,
    TRAFFIC, OWNER, NETNS, NO_IP, SERVICE_CHECK, FAULT, MEANWHILE, RUN, KUBERNETES,
)  # fmt: skip
